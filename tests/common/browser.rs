//! What needs a real browser.

use std::env;
use std::process::Command;

use super::node::Scenarios;

pub const OPT_OUT: &str = "ENCKE_SKIP_BROWSER";

pub static SCENARIOS: Scenarios = Scenarios::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser"), OPT_OUT);

/// Fails if there is no Chromium. The scenarios look in the same place.
pub fn find_chromium() {
    let path = env::var("ENCKE_CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    if let Err(error) = Command::new(&path).arg("--version").output() {
        panic!(
            "{path}: {error}; these tests need Chromium (Debian: apt-get install chromium), or another one named by \
             ENCKE_CHROMIUM; {OPT_OUT}=1 leaves them out"
        );
    }
}

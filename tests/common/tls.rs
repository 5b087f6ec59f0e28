//! What the daemon proves itself with in tests whose clients are told to trust it by a variable of their environment.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::Daemon;

/// Has all scenarios of clients go over TLS that can, if it is 1.
const WANTED: &str = "ENCKE_INTEROP_TLS";

pub fn is_wanted() -> bool {
    std::env::var_os(WANTED).is_some_and(|value| value == "1")
}

/// The file with the certificate, which vouches for itself, and its key. Made once, whichever test comes first.
pub fn identity() -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join("this-machine.pem");
    if !file.exists() {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let own = folder.join(format!("this-machine-{}-{:?}.pem", std::process::id(), std::thread::current().id()));
        fs::write(&own, cert.pem() + &signing_key.serialize_pem()).unwrap();
        // If another test was faster, its file stays.
        let _ = fs::hard_link(&own, &file);
        fs::remove_file(&own).unwrap();
    }
    file.into_os_string().into_string().unwrap()
}

/// The daemon with TLS, on a free port of 127.0.0.1, with these options.
pub fn start(options: &[&str]) -> Daemon {
    let file = identity();
    Daemon::start_by("tls:", &[&["--tls-certificate", &file, "--tls-key", &file], options].concat(), &[])
}

/// Has a client in Node or Python trust the daemon.
pub fn trust(command: &mut Command) {
    command.env("NODE_EXTRA_CA_CERTS", identity()).env("SSL_CERT_FILE", identity());
}

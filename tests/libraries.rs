//! cometd.js and Faye as npm has them for browsers, in a headless Chromium, in pages of the daemon's site and of others.
//!
//! Each test runs one scenario of `tests/browser/` under Node; the libraries are those of `tests/interop/`.
//! `ENCKE_SKIP_BROWSER=1` leaves all of this out.

#![cfg(all(feature = "daemon", feature = "demo"))]

mod common;

use common::Daemon;
use common::browser::{OPT_OUT, SCENARIOS, find_chromium};
use common::node::{Scenarios, left_out};
use common::peer::eventually;
use common::port::Port;

/// Where the libraries are.
static LIBRARIES: Scenarios = Scenarios::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop"), OPT_OUT);

/// Faye takes a request for lost after 1.2 times that, which must not be too little on a busy machine.
const TIMEOUT: &[&str] = &["--timeout", "3s"];

/// All that the libraries know. Faye shakes hands by callback-polling with another site, whatever comes after that.
const KNOWN: &str = "websocket,eventsource,long-polling,cross-origin-long-polling,callback-polling";

const ALL: &str = "websocket,streaming,eventsource,long-polling,cross-origin-long-polling,callback-polling,iframe";

/// Whose page it is.
#[derive(Clone, Copy)]
enum Site {
    /// The daemon's, which stands behind a reverse proxy there.
    Own,
    /// Another port, which the daemon allows.
    Other,
}

#[test]
fn cometd_by_websocket_from_another_site() {
    talk("cometd", "websocket", Site::Other);
}

#[test]
fn cometd_by_long_polling_from_another_site() {
    talk("cometd", "long-polling", Site::Other);
}

#[test]
fn cometd_by_long_polling_from_its_own_site() {
    talk("cometd", "long-polling", Site::Own);
}

#[test]
fn cometd_by_callback_polling_from_another_site() {
    talk("cometd", "callback-polling", Site::Other);
}

#[test]
fn faye_by_websocket_from_another_site() {
    talk("faye", "websocket", Site::Other);
}

#[test]
fn faye_by_event_source_from_its_own_site() {
    talk("faye", "eventsource", Site::Own);
}

#[test]
fn faye_by_long_polling_from_its_own_site() {
    talk("faye", "long-polling", Site::Own);
}

#[test]
fn faye_by_cross_origin_long_polling_from_another_site() {
    talk("faye", "cross-origin-long-polling", Site::Other);
}

#[test]
fn faye_by_callback_polling_from_another_site() {
    talk("faye", "callback-polling", Site::Other);
}

#[test]
fn faye_loses_nothing_when_its_event_source_ends_and_opens_again() {
    run("aged", &[], &["--timeout", "3s", "--max-stream-age", "1s"]);
}

#[test]
fn cometd_works_with_all_its_extensions_by_websocket() {
    extended("websocket");
}

#[test]
fn cometd_works_with_all_its_extensions_by_long_polling() {
    extended("long-polling");
}

#[test]
fn faye_cannot_start_from_another_site_without_callback_polling() {
    let site = Port::any();
    let port = site.addr().port().to_string();
    run("unable", &[&port], &["--allowed-origins", &format!("http://127.0.0.1:{port}")]);
}

/// cometd.js with all its extensions, in a page of another site.
fn extended(transport: &str) {
    let site = Port::any();
    let port = site.addr().port().to_string();
    let allowed = format!("http://127.0.0.1:{port}");
    run("extended", &[transport, &port], &["--timeout", "3s", "--allowed-origins", &allowed]);
}

/// The browser build of a library, with one transport, in a page of that site.
fn talk(library: &str, transport: &str, site: Site) {
    let place = Port::any();
    let port = place.addr().port().to_string();
    let allowed = format!("http://127.0.0.1:{port}");
    let mut options = [TIMEOUT, &["--transports", KNOWN]].concat();
    let site = match site {
        Site::Own => "own",
        Site::Other => {
            options.extend(["--allowed-origins", &allowed]);
            "other"
        }
    };
    run("libraries", &[library, transport, site, &port], &options);
}

#[test]
fn a_page_of_a_site_that_is_not_allowed_gets_nowhere() {
    for (host, offers, options) in [
        ("localhost", "some", &[][..]),
        ("127.0.0.1", "some", &[]),
        ("localhost", "all", &["--transports", ALL, "--http-api", "true"]),
    ] {
        if left_out(OPT_OUT, &format!("forbidden {host} {offers}")) {
            return;
        }
        find_chromium();
        LIBRARIES.install();
        let mut daemon = Daemon::start(options);
        let url = daemon.url().to_owned();
        SCENARIOS.run_against(&mut daemon, "forbidden", &url, &[host, offers]);
        daemon.wait_for_stderr(": 403 Origin http://");
        // Only the page of its own has a session.
        eventually("the counts", || {
            daemon.signal("USR1");
            daemon.stderr().contains("since the start: sessions=").then_some(())
        });
        assert!(daemon.stderr().contains("since the start: sessions=1 "), "{}", daemon.stderr());
    }
}

fn run(scenario: &str, words: &[&str], options: &[&str]) {
    if left_out(OPT_OUT, &format!("{scenario} {}", words.join(" "))) {
        return;
    }
    find_chromium();
    LIBRARIES.install();
    SCENARIOS.run(scenario, words, options);
}

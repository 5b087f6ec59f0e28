//! A page of another site, in a headless Chromium, that knows the client id of a session of the same browser; and one that
//! has its own name lead to the daemon.
//!
//! Each test runs one scenario of `tests/browser/` under Node. `ENCKE_SKIP_BROWSER=1` leaves all of this out.

#![cfg(all(feature = "daemon", feature = "demo"))]

mod common;

use common::Daemon;
use common::browser::{OPT_OUT, SCENARIOS, find_chromium};
use common::node::left_out;
use common::peer::eventually;

const ALL: &str = "websocket,streaming,eventsource,long-polling,cross-origin-long-polling,callback-polling,iframe";

#[test]
fn a_page_of_another_site_cannot_speak_or_listen_for_a_session() {
    nothing_gets_through("localhost", &[]);
}

#[test]
fn nor_where_all_transports_and_plain_http_are_on() {
    nothing_gets_through("localhost", &["--transports", ALL, "--http-api", "true"]);
}

#[test]
fn nor_can_a_page_of_another_port_of_the_same_host() {
    nothing_gets_through("127.0.0.1", &["--transports", ALL, "--http-api", "true"]);
}

#[test]
fn a_page_whose_own_name_leads_here_is_answered_under_an_allowed_host_only() {
    if left_out(OPT_OUT, "rebound") {
        return;
    }
    find_chromium();
    let mut daemon = Daemon::start(&["--transports", ALL, "--http-api", "true", "--allowed-hosts", "comet.example"]);
    let url = daemon.url().to_owned();
    SCENARIOS.run_against(&mut daemon, "rebound", &url, &["evil.example", "comet.example"]);
    daemon.wait_for_stderr(": 421 Host evil.example:");
}

fn nothing_gets_through(host: &str, options: &[&str]) {
    if left_out(OPT_OUT, &format!("crossing {host} {}", options.join(" "))) {
        return;
    }
    find_chromium();
    let mut daemon = Daemon::start(options);
    let url = daemon.url().to_owned();
    SCENARIOS.run_against(&mut daemon, "crossing", &url, &[host]);
    // One session, and the one event that it published itself.
    eventually("the counts", || {
        daemon.signal("USR1");
        daemon.stderr().contains("since the start: sessions=").then_some(())
    });
    assert!(daemon.stderr().contains("since the start: sessions=1 published=1 "), "{}", daemon.stderr());
}

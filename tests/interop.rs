//! The daemon against real clients: cometd.js, Faye and jsforce from npm, unmodified, and the encke.js that it serves.
//!
//! Each test runs one scenario of `tests/interop/`, or of `tests/salesforce/`, under Node against a daemon of its own. The
//! clients are installed on first use, in the versions that `package-lock.json` pins. `ENCKE_SKIP_INTEROP=1` leaves all of this out; with
//! `ENCKE_INTEROP_TLS=1` all of it that can goes over TLS, of which a part always does.

#![cfg(feature = "daemon")]

mod common;

use common::node::Scenarios;

static SCENARIOS: Scenarios =
    Scenarios::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop"), "ENCKE_SKIP_INTEROP");

/// jsforce brings a hundred packages along, so it has a folder of its own.
static SALESFORCE: Scenarios =
    Scenarios::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/salesforce"), "ENCKE_SKIP_INTEROP");

/// A connect is held for so long that, in a scenario that hears anything, it was the event that ended it.
const PATIENT: &[&str] = &["--timeout", "5m"];

/// Sessions end soon that nobody connects, but not because the machine is busy for a moment.
const BRIEF: &[&str] = &["--timeout", "1s", "--max-interval", "1500ms"];

#[test]
fn cometd_hears_exact_channels_and_patterns() {
    run("patterns", &["cometd"], PATIENT);
}

#[test]
fn cometd_on_a_websocket_hears_exact_channels_and_patterns() {
    run("patterns", &["cometd:websocket"], PATIENT);
}

#[test]
fn faye_hears_exact_channels_and_patterns() {
    run("patterns", &["faye"], PATIENT);
}

#[test]
fn faye_on_a_websocket_hears_exact_channels_and_patterns() {
    run("patterns", &["faye:websocket"], PATIENT);
}

#[cfg(feature = "jwt")]
#[test]
fn every_library_shows_a_token() {
    let secret = "0123456789abcdef".repeat(2);
    let patterns = "subscribe = ['/user/{sub}/*'], publish = ['/user/{sub}/*']";
    let auth = format!("{{ jwt = {{ key = {{ algorithm = 'HS256', secret = '{secret}' }}, {patterns} }} }}");
    for client in ["cometd", "faye", "cometd:websocket", "encke", "encke:websocket"] {
        run("token", &[client, &secret], &["--timeout", "5m", "--auth", &auth]);
    }
}

#[test]
fn cometd_publishes_alone_in_a_batch_and_to_a_service() {
    run("publish", &["cometd"], PATIENT);
}

#[test]
fn cometd_on_a_websocket_publishes_alone_in_a_batch_and_to_a_service() {
    run("publish", &["cometd:websocket"], PATIENT);
}

#[test]
fn faye_publishes_alone_in_a_batch_and_to_a_service() {
    run("publish", &["faye"], PATIENT);
}

#[test]
fn faye_on_a_websocket_publishes_alone_in_a_batch_and_to_a_service() {
    run("publish", &["faye:websocket"], PATIENT);
}

#[test]
fn cometd_unsubscribes_and_disconnects() {
    run("leave", &["cometd"], PATIENT);
}

#[test]
fn cometd_on_a_websocket_unsubscribes_and_disconnects() {
    run("leave", &["cometd:websocket"], PATIENT);
}

#[test]
fn faye_unsubscribes_and_disconnects() {
    run("leave", &["faye"], PATIENT);
}

#[test]
fn faye_on_a_websocket_unsubscribes_and_disconnects() {
    run("leave", &["faye:websocket"], PATIENT);
}

#[test]
fn two_cometd_clients_chat() {
    run("chat", &["cometd", "cometd"], PATIENT);
}

#[test]
fn two_faye_clients_chat() {
    run("chat", &["faye", "faye"], PATIENT);
}

#[test]
fn cometd_and_faye_chat_with_each_other() {
    run("chat", &["cometd", "faye"], PATIENT);
}

#[test]
fn clients_chat_by_any_two_transports() {
    let pairs = [
        ["cometd:websocket", "cometd"],
        ["faye:websocket", "faye"],
        ["cometd:websocket", "faye"],
        ["cometd", "faye:websocket"],
        ["cometd:websocket", "faye:websocket"],
    ];
    for kinds in pairs {
        run("chat", &kinds, PATIENT);
    }
}

#[test]
fn many_messages_of_cometd_arrive_in_order_and_once() {
    run("order", &["cometd"], PATIENT);
}

#[test]
fn many_messages_of_cometd_on_a_websocket_arrive_in_order_and_once() {
    run("order", &["cometd:websocket"], PATIENT);
}

#[test]
fn many_messages_of_faye_arrive_in_order_and_once() {
    run("order", &["faye"], PATIENT);
}

#[test]
fn many_messages_of_faye_on_a_websocket_arrive_in_order_and_once() {
    run("order", &["faye:websocket"], PATIENT);
}

#[test]
fn cometd_goes_on_after_a_connect_that_nothing_ended() {
    run("held", &["cometd", "1000"], &["--timeout", "1s"]);
}

#[test]
fn cometd_on_a_websocket_goes_on_after_a_connect_that_nothing_ended() {
    run("held", &["cometd:websocket", "1000"], &["--timeout", "1s"]);
}

#[test]
fn faye_goes_on_after_a_connect_that_nothing_ended() {
    // Faye gives a request up after 1.2 times the timeout: that must not be too little on a busy machine.
    run("held", &["faye", "2000"], &["--timeout", "2s"]);
}

#[test]
fn faye_on_a_websocket_goes_on_after_a_connect_that_nothing_ended() {
    run("held", &["faye:websocket", "2000"], &["--timeout", "2s"]);
}

#[test]
fn cometd_finds_its_way_back_after_a_restart() {
    run("restart", &["cometd"], PATIENT);
}

#[test]
fn cometd_on_a_websocket_finds_its_way_back_after_a_restart() {
    run("restart", &["cometd:websocket"], PATIENT);
}

#[test]
fn faye_finds_its_way_back_after_a_restart() {
    run("restart", &["faye"], PATIENT);
}

#[test]
fn faye_on_a_websocket_finds_its_way_back_after_a_restart() {
    run("restart", &["faye:websocket"], PATIENT);
}

#[test]
fn cometd_wakes_up_without_its_session_and_gets_another() {
    run("asleep", &["cometd", "4000"], BRIEF);
}

#[test]
fn cometd_on_a_websocket_wakes_up_without_its_session_and_gets_another() {
    run("asleep", &["cometd:websocket", "4000"], BRIEF);
}

#[test]
fn faye_wakes_up_without_its_session_and_gets_another() {
    run("asleep", &["faye", "4000"], BRIEF);
}

#[test]
fn faye_on_a_websocket_wakes_up_without_its_session_and_gets_another() {
    run("asleep", &["faye:websocket", "4000"], BRIEF);
}

#[test]
fn sessions_that_stop_polling_end() {
    run("expired", &["1500", "long-polling"], BRIEF);
}

#[test]
fn sessions_that_stop_connecting_end_though_their_websockets_are_open() {
    run("expired", &["1500", "websocket"], BRIEF);
}

#[test]
fn cometd_sends_after_the_handshake_what_was_said_before() {
    run("queued", &["cometd"], PATIENT);
}

#[test]
fn cometd_on_a_websocket_sends_after_the_handshake_what_was_said_before() {
    run("queued", &["cometd:websocket"], PATIENT);
}

#[test]
fn cometd_finds_its_transport_by_itself() {
    run("transports", &["cometd", "faye", "websocket"], PATIENT);
}

#[test]
fn faye_finds_its_transport_by_itself() {
    run("transports", &["faye", "cometd", "websocket"], PATIENT);
}

#[test]
fn cometd_and_faye_do_without_a_websocket_if_the_server_has_none() {
    for words in [["cometd", "faye", "long-polling"], ["faye", "cometd", "long-polling"]] {
        run("transports", &words, &["--timeout", "5m", "--transports", "long-polling"]);
    }
}

#[test]
fn cometd_works_with_all_its_extensions() {
    run("extensions", &["cometd"], PATIENT);
}

#[test]
fn cometd_on_a_websocket_works_with_all_its_extensions() {
    run("extensions", &["cometd:websocket"], PATIENT);
}

#[test]
fn cometd_loses_nothing_that_is_acknowledged_though_connections_break() {
    run("acknowledged", &["cometd"], PATIENT);
}

#[test]
fn cometd_on_a_websocket_loses_nothing_that_is_acknowledged_though_connections_break() {
    run("acknowledged", &["cometd:websocket"], PATIENT);
}

#[test]
fn cometd_keeps_its_session_when_its_page_is_loaded_again() {
    for kind in ["cometd", "cometd:websocket"] {
        run("reload", &[kind], PATIENT);
    }
}

#[test]
fn six_tabs_of_one_browser_share_four_places() {
    run("tabs", &[], &["--timeout", "5m", "--multi-session-interval", "200ms"]);
}

#[test]
fn a_tab_that_is_told_to_wait_keeps_its_session_for_so_long() {
    let options = ["--timeout", "5m", "--multi-session-interval", "1500ms", "--max-interval", "1s"];
    run("tabs", &[], &options);
}

#[test]
fn sessions_of_one_cookie_share_four_places() {
    run("cookies", &[], PATIENT);
}

#[test]
fn encke_hears_exact_channels_and_patterns() {
    run("patterns", &["encke"], PATIENT);
}

#[test]
fn encke_publishes_alone_in_a_batch_and_to_a_service() {
    run("publish", &["encke"], PATIENT);
}

#[test]
fn encke_unsubscribes_and_disconnects() {
    run("leave", &["encke"], PATIENT);
}

#[test]
fn encke_and_cometd_chat_with_each_other() {
    run("chat", &["encke", "cometd"], PATIENT);
}

#[test]
fn encke_and_faye_chat_with_each_other() {
    run("chat", &["encke", "faye"], PATIENT);
}

#[test]
fn many_messages_of_encke_arrive_in_order_and_once() {
    run("order", &["encke"], PATIENT);
}

#[test]
fn encke_goes_on_after_a_connect_that_nothing_ended() {
    run("held", &["encke", "1000"], &["--timeout", "1s"]);
}

#[test]
fn encke_finds_its_way_back_after_a_restart() {
    run("restart", &["encke"], PATIENT);
}

#[test]
fn encke_wakes_up_without_its_session_and_gets_another() {
    run("asleep", &["encke", "4000"], BRIEF);
}

#[test]
fn encke_keeps_its_promises() {
    run("encke", &[], PATIENT);
}

#[test]
fn encke_keeps_its_promises_at_the_worst_moments() {
    run("scripted", &[], PATIENT);
}

/// All that encke.js speaks.
const ALL: &str = "websocket,streaming,eventsource,long-polling";

/// What encke.js has to do over each transport that is not long-polling.
fn encke_over(transport: &str) {
    let kind = format!("encke:{transport}");
    let patient = ["--timeout", "5m", "--transports", ALL];
    for scenario in ["patterns", "publish", "leave", "order", "restart"] {
        run(scenario, &[&kind], &patient);
    }
    run("chat", &[&kind, "encke"], &patient);
    run("chat", &[&kind, "cometd"], &patient);
    // A stream's connect is held as long as the stream may be open.
    let age = if transport == "streaming" { "1s" } else { "5m" };
    let brief = ["--timeout", "1s", "--max-stream-age", age, "--transports", ALL];
    run("held", &[&kind, "1000"], &brief);
    run("asleep", &[&kind, "4000"], &[&brief[..], &["--max-interval", "1500ms"]].concat());
    run("transport", &["alone", transport], &patient);
}

#[test]
fn encke_does_everything_over_a_websocket() {
    encke_over("websocket");
}

#[test]
fn encke_does_everything_over_a_stream() {
    encke_over("streaming");
}

#[test]
fn encke_does_everything_over_an_event_source() {
    encke_over("eventsource");
}

#[test]
fn encke_is_content_with_long_polling() {
    run("transport", &["alone", "long-polling"], PATIENT);
}

#[test]
fn encke_goes_from_any_transport_to_any_other_and_misses_nothing() {
    run("transport", &["switching"], &["--timeout", "5m", "--transports", ALL]);
}

#[test]
fn encke_does_without_websockets_where_they_do_not_get_through() {
    for part in ["refused", "silent", "dropped"] {
        run("transport", &[part], &["--timeout", "5m", "--transports", ALL]);
    }
}

#[test]
fn encke_polls_where_a_proxy_keeps_streams_back() {
    run("transport", &["buffered", "client"], &["--timeout", "5m", "--transports", ALL]);
    run("transport", &["kept"], &["--timeout", "1s", "--transports", ALL]);
    run("transport", &["buffered", "server"], &["--timeout", "5m", "--transports", ALL, "--probe-timeout", "500ms"]);
}

#[test]
fn encke_opens_streams_again_that_are_too_old() {
    let options = |age| ["--timeout", "5m", "--transports", ALL, "--max-stream-age", age];
    run("transport", &["aged", "streaming"], &options("300ms"));
    run("transport", &["aged", "eventsource"], &options("1500ms"));
}

#[test]
fn encke_notices_a_server_that_is_gone_without_a_word() {
    run("transport", &["vanished"], &["--timeout", "1s", "--heartbeat-interval", "500ms", "--transports", ALL]);
}

#[test]
fn encke_does_not_try_what_is_not_there() {
    run("transport", &["lacking"], &["--transports", "streaming,long-polling"]);
}

/// Every client over every transport that it has, by https and wss.
#[cfg(feature = "tls")]
mod over_tls {
    use super::{ALL, PATIENT, SCENARIOS};

    fn chat(one: &str, other: &str) {
        SCENARIOS.run_over_tls("chat", &[one, other], &["--timeout", "5m", "--transports", ALL]);
    }

    #[test]
    fn cometd_chats_by_both_of_its_transports() {
        chat("cometd", "cometd:websocket");
    }

    #[test]
    fn faye_chats_by_both_of_its_transports() {
        chat("faye", "faye:websocket");
    }

    #[test]
    fn encke_chats_by_all_of_its_transports() {
        chat("encke:streaming", "encke:eventsource");
        chat("encke:websocket", "encke");
    }

    #[test]
    fn many_messages_arrive_in_order_and_once() {
        for kind in ["cometd:websocket", "faye", "encke:streaming"] {
            SCENARIOS.run_over_tls("order", &[kind], &["--timeout", "5m", "--transports", ALL]);
        }
    }

    #[test]
    fn clients_find_their_way_back_after_a_restart() {
        for kind in ["cometd:websocket", "faye"] {
            SCENARIOS.run_over_tls("restart", &[kind], PATIENT);
        }
    }

    #[test]
    fn clients_find_their_transport_by_themselves() {
        SCENARIOS.run_over_tls("transports", &["cometd", "faye", "websocket"], PATIENT);
        SCENARIOS.run_over_tls("transports", &["faye", "cometd", "websocket"], PATIENT);
    }
}

/// A rule that has a history.
const KEPT: &str = r#"{ pattern = "/kept/**", history = true }"#;

#[test]
fn encke_with_acknowledgement_loses_nothing_when_connections_break() {
    for transport in ["websocket", "streaming", "long-polling"] {
        run("nothing-lost", &["acknowledged", transport], &["--timeout", "5m", "--transports", ALL]);
    }
    run("nothing-lost", &["moving"], &["--timeout", "5m", "--transports", ALL]);
}

#[test]
fn encke_goes_on_in_a_history_after_its_session_has_ended() {
    let brief = [BRIEF, &["--transports", ALL, "--channel", KEPT]].concat();
    run("nothing-lost", &["expired"], &brief);
    run("nothing-lost", &["loaded"], &brief);
}

#[test]
fn encke_is_told_what_a_restart_has_lost() {
    run("nothing-lost", &["restarted"], &["--timeout", "5m", "--transports", ALL, "--channel", KEPT]);
}

#[test]
fn encke_is_told_what_is_not_kept_any_more() {
    let few = r#"{ pattern = "/kept/**", history = { count = 3 } }"#;
    run("nothing-lost", &["gone"], &[BRIEF, &["--channel", few]].concat());
    let salesforce = r#"{ pattern = "/kept/**", history = { count = 3 }, replay-shape = "salesforce" }"#;
    run("nothing-lost", &["gone"], &[BRIEF, &["--channel", salesforce]].concat());
}

#[test]
fn jsforce_replays() {
    let rule = r#"{ pattern = "/event/*", history = { count = 3 }, replay-shape = "salesforce" }"#;
    SALESFORCE.run("replay", &[], &["--timeout", "5m", "--http-api", "true", "--channel", rule]);
}

fn run(scenario: &str, words: &[&str], options: &[&str]) {
    SCENARIOS.run(scenario, words, options);
}

//! Where values come from, without a process.

use super::*;
use crate::broker::Overflow;
use crate::broker::rate::Rate;
use crate::broker::rules::{Keep, ReplayShape, Rule};

fn inputs(environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Inputs, String> {
    let mut inputs = Inputs::default();
    for (name, value) in flags {
        inputs.flag(name, (*value).to_owned())?;
    }
    inputs.environment(environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))?;
    Ok(inputs)
}

fn load(environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, String> {
    inputs(environment, flags)?.load()
}

/// Everything that can be set, as text.
fn values(config: &Config) -> Vec<(&'static str, Shown)> {
    KEYS.iter().map(|key| (key.name, key.shown(&config.options))).collect()
}

#[test]
fn every_default_in_the_help_is_the_default_and_is_accepted() {
    let before = load(&[], &[]).unwrap();
    let said: Vec<(&str, String)> = KEYS.iter().map(|key| (key.name, key.default())).collect();
    let said: Vec<(&str, &str)> = said.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let depends = ["demo", "http-token", "max-connections", "tls-certificate", "tls-key", "transports"];
    let said: Vec<_> = said.into_iter().filter(|(name, _)| !depends.contains(name)).collect();
    assert_eq!(said.len(), KEYS.len() - depends.len());
    assert_eq!(values(&load(&[], &said).unwrap()), values(&before));
}

#[test]
fn variables_of_others_are_ignored_and_unknown_ones_are_not() {
    for name in [
        "ENCKE_SERVICE_HOST",
        "ENCKE_SERVICE_PORT",
        "ENCKE_SERVICE_PORT_HTTP",
        "ENCKE_PORT",
        "ENCKE_PORT_8080_TCP",
        "ENCKE_PORT_8080_TCP_ADDR",
        "ENCKED",
        "PATH",
    ] {
        assert!(load(&[(name, "x")], &[]).is_ok(), "{name}");
    }
    for name in ["ENCKE_", "ENCKE_SERVICE", "ENCKE_SERVICE_HOST_X", "ENCKE_PORTS", "ENCKE_timeout", "ENCKE_TIME_OUT"] {
        let error = load(&[(name, "x")], &[]).unwrap_err();
        assert!(error.starts_with(&format!("unknown environment variable {name}: ")), "{error}");
    }
}

#[test]
fn connections_fit_under_the_limit_of_open_files() {
    for (files, connections) in [(20_000, 19_968), (33, 1), (u64::MAX, 1_000_000)] {
        let mut config = load(&[], &[]).unwrap();
        config.fit_into_files(files).unwrap();
        assert_eq!(config.connections(), connections, "{files}");
    }
    for files in [32, 8, 0] {
        let error = load(&[], &[]).unwrap().fit_into_files(files).unwrap_err();
        assert!(error.starts_with(&format!("the limit of open files is {files}, and 32 are needed")), "{error}");
    }
    let mut config = load(&[], &[("max-connections", "968")]).unwrap();
    config.fit_into_files(1_000).unwrap();
    assert_eq!(config.connections(), 968);
    let error = config.fit_into_files(999).unwrap_err();
    assert!(error.starts_with("--max-connections 968: the limit of open files is 999"), "{error}");
}

#[test]
fn values_that_do_not_go_together_are_refused() {
    let error = load(&[("ENCKE_MOUNT", "/")], &[("demo", "true")]).unwrap_err();
    assert!(error.starts_with("--demo true: must be false") && error.contains("(ENCKE_MOUNT=/)"), "{error}");
    assert!(!load(&[], &[("mount", "/")]).unwrap().demo(), "nobody asked for it");
    let error = load(&[], &[("max-queued-bytes", "512KiB")]).unwrap_err();
    assert!(error.contains("max-queue-size 1MiB by default") && error.contains("--max-queued-bytes 512KiB"), "{error}");
    assert!(load(&[], &[("max-queued-bytes", "1MiB")]).is_ok());
}

#[test]
fn what_changed_is_told_and_what_needs_a_restart_stays() {
    let running = load(&[], &[("listen", "127.0.0.1:1"), ("timeout", "30s"), ("mount", "/a")]).unwrap();
    let next = load(&[], &[("listen", "127.0.0.1:2"), ("timeout", "45s"), ("max-connections", "7")]).unwrap();
    let (now, changes) = running.succeeded_by(next, false).unwrap();
    assert_eq!(changes.live, ["timeout is now 45s (was 30s)", "max-connections is now 7 (was 1000000)"]);
    assert_eq!(
        changes.at_restart,
        [
            "listen cannot change at run time: restart encke for 127.0.0.1:2 (still 127.0.0.1:1)",
            "mount cannot change at run time: restart encke for /cometd (still /a)",
        ]
    );
    assert_eq!(now.options.mount, "/a");
    let of_sockets = [("listen", "127.0.0.1:2"), ("backlog", "2"), ("socket-mode", "0600")];
    let again = load(&[], &[&of_sockets[..], &[("timeout", "45s"), ("max-connections", "7")]].concat()).unwrap();
    let (_, changes) = now.succeeded_by(again.clone(), false).unwrap();
    assert_eq!((changes.live.len(), changes.at_restart.len()), (0, 4));
    let (_, changes) = now.succeeded_by(again, true).unwrap();
    assert_eq!((changes.live.len(), changes.at_restart.len()), (0, 1), "it is not about sockets of systemd's");
    let running = load(&[], &[("mount", "/")]).unwrap();
    let error = running.succeeded_by(load(&[], &[("demo", "true")]).unwrap(), false).unwrap_err();
    assert!(
        error.starts_with("--demo true: must be false") && error.contains("(mount is / until a restart)"),
        "{error}"
    );
}

#[test]
fn every_key_sets_the_field_that_it_is_named_for() {
    let config = load(
        &[],
        &[
            ("backlog", "1"),
            ("demo", "false"),
            ("timeout", "2ms"),
            ("interval", "3ms"),
            ("max-interval", "4ms"),
            ("max-sessions-per-browser", "5"),
            ("multi-session-interval", "6ms"),
            ("require-browser-cookie", "true"),
            ("allowed-origins", "*"),
            ("trusted-proxies", "unix"),
            ("shutdown-timeout", "7ms"),
            ("max-message-size", "8B"),
            ("max-batch", "9"),
            ("max-subscriptions", "10"),
            ("max-subscribed-bytes", "30B"),
            ("max-queue", "11"),
            ("max-queue-size", "12B"),
            ("max-queued-bytes", "13B"),
            ("max-sessions", "14"),
            ("max-head-size", "15B"),
            ("head-timeout", "16ms"),
            ("body-timeout", "17ms"),
            ("idle-timeout", "18ms"),
            ("write-timeout", "19ms"),
            ("ping-interval", "20ms"),
            ("max-stream-age", "21ms"),
            ("heartbeat-interval", "22ms"),
            ("probe-timeout", "23ms"),
            ("http-api", "true"),
            ("http-token", "0123456789abcdef"),
            ("max-activity", "24ms"),
            ("max-lazy-timeout", "25ms"),
            ("max-history-size", "26B"),
            ("max-history-channels", "27"),
            ("overflow", "drop-oldest"),
            ("channel", "{ pattern = \"/a\", lazy = true }"),
            ("allowed-hosts", "a.example,*.b.example:80"),
            ("handshake-rate", "28/29"),
        ],
    );
    let Options { backlog, settings, .. } = config.unwrap().options;
    let Settings {
        allowed_hosts,
        allowed_origins,
        trusted_proxies,
        http_api,
        http_token,
        http_by_policy,
        demo,
        shutdown_ms,
        broker: b,
        limits: l,
    } = settings;
    assert_eq!((backlog, demo, shutdown_ms), (1, false, 7));
    assert_eq!((b.timeout_ms, b.interval_ms, b.max_interval_ms, b.multi_session_interval_ms), (2, 3, 4, 6));
    assert_eq!((b.max_sessions_per_browser, b.require_browser_cookie), (Some(5), true));
    assert_eq!((allowed_origins, trusted_proxies), (vec!["*".to_owned()], vec!["unix".to_owned()]));
    assert_eq!((l.body_bytes, l.batch_messages, l.subscriptions, l.outbox_events), (8, 9, 10, 11));
    assert_eq!((l.outbox_bytes, l.queued_bytes, l.sessions, l.head_bytes, l.subscribed_bytes), (12, 13, 14, 15, 30));
    assert_eq!((l.head_ms, l.body_ms, l.idle_ms, l.write_ms), (16, 17, 18, 19));
    assert_eq!((l.ping_ms, l.stream_ms, l.heartbeat_ms, l.confirm_ms), (20, 21, 22, 23));
    assert_eq!((b.max_activity_ms, b.max_lazy_ms, l.history_bytes, l.history_channels), (24, 25, 26, 27));
    assert_eq!((b.timestamps, b.delivery_during_handshake, b.overflow), (false, false, Overflow::DropOldest));
    assert_eq!(b.channels, [Rule { pattern: "/a".to_owned(), lazy: Some(true), ..Rule::default() }]);
    assert_eq!(allowed_hosts, ["a.example", "*.b.example:80"]);
    assert_eq!(b.handshake_rate, Some(Rate { per_second: 28, burst: 29 }));
    assert_eq!((http_api, http_token.as_deref(), http_by_policy), (true, Some("0123456789abcdef"), false));
}

#[test]
fn each_of_two_that_say_whether_sets_its_own_field() {
    let broker = |name| load(&[], &[(name, "true")]).unwrap().options.settings.broker;
    let (stamped, told) = (broker("timestamp"), broker("message-delivery-during-handshake"));
    assert_eq!((stamped.timestamps, stamped.delivery_during_handshake), (true, false));
    assert_eq!((told.timestamps, told.delivery_during_handshake), (false, true));
}

#[test]
fn a_rule_has_what_it_says_and_nothing_else() {
    let rule = |text: &str| load(&[], &[("channel", text)]).unwrap().options.settings.broker.channels.remove(0);
    let plain = Rule { pattern: "/a/**".to_owned(), ..Rule::default() };
    let kept = |keep| Rule { history: Some(Some(keep)), ..plain.clone() };
    for (more, expected) in [
        ("", plain.clone()),
        (", history = false", Rule { history: Some(None), ..plain.clone() }),
        (", history = true", kept(Keep::default())),
        (", history = {}", kept(Keep::default())),
        (", history = { count = 2 }", kept(Keep { count: 2, ..Keep::default() })),
        (", history = { bytes = \"3KiB\" }", kept(Keep { bytes: 3_072, ..Keep::default() })),
        (", history = { age = \"48h\" }", kept(Keep { age_ms: 172_800_000, ..Keep::default() })),
        (", replay-shape = \"plain\"", Rule { replay_shape: Some(ReplayShape::Plain), ..plain.clone() }),
        (", replay-shape = \"salesforce\"", Rule { replay_shape: Some(ReplayShape::Salesforce), ..plain.clone() }),
        (", lazy = false", Rule { lazy: Some(false), ..plain.clone() }),
        (", lazy = true", Rule { lazy: Some(true), ..plain.clone() }),
        (", broadcast-to-publisher = false", Rule { broadcast_to_publisher: Some(false), ..plain.clone() }),
    ] {
        let read = rule(&format!("{{ pattern = \"/a/**\"{more} }}"));
        assert_eq!(read, expected, "{more}");
        let config = load(&[], &[("channel", &format!("{{ pattern = \"/a/**\"{more} }}"))]).unwrap();
        let shown = config.plain(keys::find("channel").unwrap());
        assert_eq!(rule(&shown), expected, "{shown}");
    }
}

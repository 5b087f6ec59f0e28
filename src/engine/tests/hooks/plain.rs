//! Those who do not speak Bayeux, under policies and authorizers.

use super::super::bench::{Bench, Post};
use super::{Later, Log, comes_to_rest, policy};
use crate::conn::plain::Publishing;
use crate::hooks::{Admission, Denial, Hooks, Opinion, Query, SecurityPolicy, Session, SessionKind, Verdict};

fn bench(hooks: Hooks) -> Bench {
    Bench::with(|setup| {
        setup.hooks = hooks;
        setup.publishing = Publishing::Token("t".to_owned());
    })
}

fn listen(b: &mut Bench, path: &str) -> (u16, String) {
    let conn = b.open();
    b.give(conn, format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").as_bytes());
    b.advance(30_000);
    let response = b.one(conn);
    b.cut(conn);
    (response.status, response.body)
}

fn publish(b: &mut Bench, channel: &str) -> (u16, String) {
    let post = Post::new("1").path(&format!("/publish{channel}")).field("Authorization", "Bearer t");
    let response = b.post(&post);
    (response.status, response.body)
}

#[test]
fn a_guest_is_asked_about_as_one_who_shakes_hands_and_subscribes() {
    struct Asked(Log);
    impl SecurityPolicy for Asked {
        fn can_handshake(&mut self, query: &Query<'_>, admission: &mut Admission) -> Verdict {
            self.0.note(format!("handshake {:?} {:?}", query.message().channel, query.query_string()));
            admission.attributes.set("name", "guest").unwrap();
            if query.query_string() == Some("no") { Verdict::deny("not you") } else { Verdict::Allow }
        }
        fn can_create(&mut self, _: &Query<'_>, session: Option<&mut Session<'_>>, channel: &str) -> Verdict {
            let session = session.unwrap();
            self.0.note(format!("create {channel} {:?} {:?}", session.attribute("name"), session.kind()));
            if channel == "/old" { Verdict::deny("no new ones") } else { Verdict::Allow }
        }
        fn can_subscribe(&mut self, _: &Query<'_>, session: &mut Session<'_>, channel: &str) -> Verdict {
            assert_eq!((session.kind(), session.is_local()), (SessionKind::Guest, false));
            self.0.note(format!("subscribe {channel}"));
            if channel == "/secret" { Verdict::deny("secret") } else { Verdict::Allow }
        }
    }
    let log = Log::default();
    let mut b = bench(Hooks::default().policy(Asked(log.clone())));
    assert_eq!(listen(&mut b, "/events/a/*?x=1"), (200, "[]".to_owned()));
    let handshake = r#"handshake Some("/meta/handshake") "#;
    let asked = [&format!("{handshake}Some(\"x=1\")"), "create /a/* Some(\"guest\") Guest", "subscribe /a/*"];
    assert_eq!(log.take(), asked);
    for (path, reason) in [("/a?no", "not you"), ("/old", "no new ones"), ("/secret", "secret")] {
        let expected = format!("Subscribing is denied: {reason}\n");
        assert_eq!(listen(&mut b, &format!("/events{path}")), (403, expected));
    }
    assert_eq!((b.sessions(), b.engine.counters().sessions_added), (0, 1));
    comes_to_rest(&mut b, &[]);
}

#[test]
fn publishing_by_plain_http_is_asked_about_without_a_session() {
    let log = Log::default();
    let noted = log.clone();
    let authorizer = move |operation: crate::hooks::Operation,
                           query: &Query<'_>,
                           session: Option<&mut Session<'_>>,
                           channel: &str| {
        let token = query.header("authorization").is_some_and(|token| token == b"Bearer t");
        noted.note(format!("{operation:?} {channel} {token} {}", session.is_none()));
        match channel {
            "/granted" => Opinion::Grant,
            "/denied" => Opinion::Deny(Denial::new("closed").with_error("403:closed:until monday")),
            _ => Opinion::Ignore,
        }
    };
    let mut b = bench(Hooks::default().authorizer("/**", authorizer).unwrap());
    assert_eq!(publish(&mut b, "/granted").0, 200);
    assert_eq!(log.take(), ["Create /granted true true", "Publish /granted true true"]);
    let denied = |text: &str| (403, format!("publishing is denied: {text}\n"));
    assert_eq!(publish(&mut b, "/ignored"), denied("denied_by_not_granting"));
    assert_eq!(publish(&mut b, "/denied"), denied("403:closed:until monday"));
    assert_eq!(b.published(), 1);
}

/// A plain request has no reply that could come later. Today what is deferred is no.
#[test]
fn what_a_policy_defers_is_refused_to_plain_requests_at_once() {
    let why = "the policy answers later, for which a plain request cannot wait\n";
    for operation in ["handshake", "create", "subscribe"] {
        let later = Later::default();
        let mut b = bench(later.hooks(move |asked, _| asked == operation));
        assert_eq!(listen(&mut b, "/events/a"), (403, format!("Subscribing is denied: {why}")));
        assert_eq!((later.take().len(), b.sessions()), (1, 0));
        comes_to_rest(&mut b, &[]);
    }
    let later = Later::default();
    let mut b = bench(later.hooks(|asked, _| asked == "publish"));
    assert_eq!(publish(&mut b, "/a"), (403, format!("publishing is denied: {why}")));
    let ticket = later.one("publish /a");
    super::allow(&mut b, ticket);
    assert_eq!(b.published(), 0);
}

#[test]
fn a_new_channel_beyond_the_limit_is_refused_to_plain_requests_too() {
    let mut b = Bench::with(|setup| {
        setup.hooks = Hooks::default().policy(policy(|_, _, _| Verdict::Allow));
        setup.publishing = Publishing::Token("t".to_owned());
        setup.limits.channels = 1;
    });
    assert_eq!(publish(&mut b, "/a").0, 200);
    assert_eq!(publish(&mut b, "/b"), (403, "publishing is denied: there are too many channels\n".to_owned()));
    assert_eq!(publish(&mut b, "/a").0, 200);
    let denied = "Subscribing is denied: there are too many channels\n".to_owned();
    assert_eq!((listen(&mut b, "/events/b"), b.sessions()), ((403, denied), 0));
}

#[test]
fn a_guest_is_let_in_for_a_time() {
    struct Ends;
    impl SecurityPolicy for Ends {
        fn can_handshake(&mut self, query: &Query<'_>, admission: &mut Admission) -> Verdict {
            admission.ends_unix_ms = Some(query.now().unix_ms + 1_000);
            Verdict::Allow
        }
    }
    let mut b = bench(Hooks::default().policy(Ends));
    let conn = b.open();
    b.give(conn, b"GET /events/a HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n");
    b.inject("/a", "1");
    assert!(b.stream(conn).1.ends_with("data: 1\n\n"));
    b.advance(1_000);
    assert!(b.stream(conn).2, "the stream ends");
    assert_eq!(b.sessions(), 0);
    b.engine.check_links();
    b.cut(conn);
    comes_to_rest(&mut b, &[]);
}

//! What holds for channels: who gets his own events, what may wait, which channels there are and how long.

use serde_json::{Value, json};

use super::super::bench::{Bench, Client, connected};
use super::{Log, Words, comes_to_rest, done, failed, policy};
use crate::broker::rules::{Keep, Rule};
use crate::hooks::{Hooks, Verdict};

fn rule(pattern: &str, change: impl FnOnce(&mut Rule)) -> Rule {
    let mut rule = Rule { pattern: pattern.to_owned(), ..Rule::default() };
    change(&mut rule);
    rule
}

fn ruled(rules: Vec<Rule>, hooks: Hooks) -> Bench {
    Bench::with(|setup| {
        setup.broker.channels = rules;
        setup.hooks = hooks;
    })
}

fn heard(b: &mut Bench, client: &Client) -> Vec<String> {
    let event = |event: &Value| format!("{} {}", event["channel"].as_str().unwrap(), event["data"]);
    b.events(client).iter().map(event).collect()
}

fn not_to_publisher(pattern: &str) -> Rule {
    rule(pattern, |rule| rule.broadcast_to_publisher = Some(false))
}

/// CometD looks at the channel whose subscribers are gone through, so that who is subscribed to `/**` gets his own events of
/// `/x` whatever holds for `/x`. With ours what holds for `/x` holds for its events, however they reach their subscribers.
#[test]
fn who_publishes_gets_his_own_events_unless_the_channel_says_otherwise() {
    let allow = rule("/a/b", |rule| rule.broadcast_to_publisher = Some(true));
    let mut b = ruled(vec![not_to_publisher("/a/**"), allow], Hooks::default());
    let publisher = b.subscriber(json!(["/**", "/a/*", "/a/x"]));
    let other = b.subscriber(json!(["/**", "/a/x"]));
    for (at, channel) in ["/x", "/a/x", "/a/b", "/a"].into_iter().enumerate() {
        b.say(publisher.up, &publisher.publish(channel, at));
    }
    assert_eq!(heard(&mut b, &publisher), ["/x 0", "/a/b 2", "/a 3"]);
    assert_eq!(heard(&mut b, &other), ["/x 0", "/a/x 1", "/a/b 2", "/a 3"], "each once");
    b.say(other.up, &other.publish("/a/x", "other"));
    b.inject("/a/x", "\"server\"");
    assert_eq!(heard(&mut b, &publisher), ["/a/x \"other\"", "/a/x \"server\""], "what others publish");
    comes_to_rest(&mut b, &[&publisher, &other]);
}

#[test]
fn who_publishes_gets_none_of_his_own_events_from_a_history_later_either() {
    let mut keeps = not_to_publisher("/a");
    keeps.history = Some(Some(Keep::default()));
    let mut b = ruled(vec![keeps], Hooks::default());
    let client = b.subscriber("/a");
    b.say(client.up, &client.publish("/a", 1));
    assert_eq!((heard(&mut b, &client).len(), b.engine.census().kept), (0, 1));
    // Who asks for what there was asks for all of it.
    let mut again = client.subscribe("/b");
    again["subscription"] = json!("/a");
    again["ext"] = json!({"replay": {"/a": -2}});
    b.say(client.up, &client.unsubscribe("/a"));
    b.say(client.up, &again);
    assert_eq!(heard(&mut b, &client), ["/a 1"]);
}

fn lazy(pattern: &str, lazy: bool) -> Rule {
    rule(pattern, |rule| rule.lazy = Some(lazy))
}

/// As with CometD, a wildcard's flag holds for all that it matches; a plain parent's for itself alone. With ours the nearest
/// pattern decides, so that a channel below may be prompt; with CometD one that is lazy makes all below it so.
#[test]
fn what_is_lazy_waits_for_an_answer_that_goes_anyway() {
    let rules = vec![lazy("/a/**", true), lazy("/a/now", false), lazy("/b", true)];
    for (channel, waits) in
        [("/a/x", true), ("/a/x/y", true), ("/a/now", false), ("/a", false), ("/b", true), ("/b/x", false)]
    {
        let mut b = ruled(rules.clone(), Hooks::default());
        let (client, publisher) = (b.subscriber("/**"), b.client());
        b.hold(&client);
        b.tell(publisher.up, &publisher.publish(channel, 1));
        assert_eq!(b.raw(client.down).is_empty(), waits, "{channel}");
        if waits {
            b.advance(4_999);
            assert_eq!(b.raw(client.down), "");
            b.advance(1);
            assert_eq!(b.one(client.down).json(), json!([{"channel": channel, "data": 1}, connected()]));
        }
    }
}

#[test]
fn channels_come_and_go_where_hooks_want_to_know() {
    let log = Log::default();
    let persistent = rule("/stays/**", |rule| rule.persistent = Some(true));
    let mut b = ruled(vec![persistent], Hooks::default().listener(Words::all(&log)));
    let client = b.subscriber(json!(["/a", "/stays/*"]));
    b.inject("/b", "1");
    b.inject("/stays/x", "1");
    log.take();
    b.events(&client);
    b.hold(&client);
    b.advance(2_999);
    assert_eq!(log.take(), Vec::<String>::new());
    // Somebody is subscribed to one, and one has just been used.
    b.inject("/c", "1");
    b.advance(3_001);
    assert_eq!(
        log.take(),
        ["channel added /c", "message /c 1 by the server", "channel removed /b", "channel removed /c"]
    );
    b.tell(client.up, &client.unsubscribe(json!(["/a", "/stays/*"])));
    b.advance(6_000);
    assert_eq!(log.take(), ["unsubscribed - /a", "unsubscribed - /stays/*", "channel removed /a"]);
    b.inject("/stays/x", "2");
    assert_eq!(log.take(), ["message /stays/x 2 by the server"], "it has been there all the time");
    comes_to_rest(&mut b, &[&client]);
}

#[test]
fn a_channel_stays_for_as_long_as_somebody_is_subscribed() {
    let log = Log::default();
    let mut b = ruled(Vec::new(), Hooks::default().listener(Words::all(&log)));
    let (first, second) = (b.subscriber("/a"), b.subscriber("/a"));
    assert_eq!(log.take().iter().filter(|line| line.starts_with("channel")).count(), 1);
    b.hold(&first);
    b.tell(first.up, &first.unsubscribe("/a"));
    b.inject("/a", "1");
    b.advance(8_000);
    assert_eq!(log.take(), ["unsubscribed - /a", "message /a 1 by the server"]);
    // Nothing is to be swept, and nobody woken for it.
    let next = b.engine.poll_timeout().map(|(at, _)| at - b.now_ms());
    assert_eq!(next, Some(2_000), "the end of the session that does not connect");
    b.tell(second.up, &second.disconnect());
    b.advance(3_000);
    assert_eq!(log.take(), ["unsubscribed - /a", "removed - Disconnected", "channel removed /a"]);
    comes_to_rest(&mut b, &[&first, &second]);
}

#[test]
fn there_are_so_many_channels_and_no_more() {
    let log = Log::default();
    let mut b = Bench::with(|setup| {
        let allows = policy(|_, _, _| Verdict::Allow);
        setup.hooks = Hooks::default().policy(allows).listener(Words::all(&log));
        setup.limits.channels = 2;
    });
    let client = b.subscriber("/a");
    assert_eq!(b.tell(client.up, &client.publish("/b", 1)), done("/b", "p"));
    assert_eq!(b.tell(client.up, &client.publish("/c", 1)), failed("/c", "p", "429::channel_limit"));
    let refused = b.tell(client.up, &client.subscribe("/c"));
    assert_eq!(refused["error"], "429::channel_limit");
    for known in ["/a", "/b"] {
        assert_eq!(b.say(client.up, &client.publish(known, 1))[0]["successful"], true);
    }
    assert_eq!(b.tell(client.up, &client.subscribe("/b"))["successful"], true);
    assert_eq!(b.tell(client.up, &client.publish("/service/x", 1)), done("/service/x", "p"), "it takes no room");
    log.take();
    // The server's own word goes out even so; hooks know nothing of its channel.
    assert!(b.inject("/d", "1"));
    assert_eq!(log.take(), ["message /d 1 by the server"]);
    b.tell(client.up, &client.unsubscribe("/b"));
    b.events(&client);
    b.hold(&client);
    b.advance(6_000);
    assert_eq!(b.tell(client.up, &client.publish("/c", 1)), done("/c", "p"), "there is room again");
}

/// Without a policy nobody is refused for want of room in the list of channels, which is there for hooks alone.
#[test]
fn without_a_policy_channels_beyond_the_limit_are_not_told_of_and_work() {
    let log = Log::default();
    let mut b = Bench::with(|setup| {
        setup.hooks = Hooks::default().listener(Words::all(&log));
        setup.limits.channels = 1;
    });
    let client = b.subscriber(json!(["/a", "/b"]));
    b.inject("/b", "1");
    assert_eq!(heard(&mut b, &client), ["/b 1"]);
    b.tell(client.up, &client.unsubscribe("/b"));
    let told = [
        "added -",
        "channel added /a",
        "subscribed - /a",
        "subscribed - /b",
        "message /b 1 by the server",
        "unsubscribed - /b",
    ];
    assert_eq!(log.take(), told);
    comes_to_rest(&mut b, &[&client]);
}

/// A policy hears of a channel that is made, and not of one that there is, be it that somebody only listens.
#[test]
fn a_channel_that_was_swept_is_made_anew() {
    let log = Log::default();
    let noted = log.clone();
    let asks = policy(move |operation, channel, _| {
        if operation == "create" {
            noted.note(channel);
        }
        Verdict::Allow
    });
    let mut b = ruled(Vec::new(), Hooks::default().policy(asks));
    let (client, hearer) = (b.client(), b.subscriber("/b"));
    b.hold(&hearer);
    log.take();
    for (channel, asked) in [("/a", true), ("/a", false), ("/b", false)] {
        b.tell(client.up, &client.publish(channel, 1));
        assert_eq!(!log.take().is_empty(), asked, "{channel}");
    }
    b.advance(6_000);
    b.tell(client.up, &client.publish("/a", 1));
    assert_eq!(log.take(), ["/a"]);
    b.tell(client.up, &client.subscribe("/a"));
    assert_eq!(log.take(), Vec::<String>::new());
}

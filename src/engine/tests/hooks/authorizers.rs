//! Policies and authorizers: who is asked, in which order, and what their answers come to.

use serde_json::{Value, json};

use super::super::bench::{Bench, Client, HANDSHAKE, Post};
use super::{Log, failed, policy, with_hooks};
use crate::bayeux::{Reconnect, ReplyAdvice};
use crate::hooks::{Denial, Hooks, Operation, Opinion, Query, Session, Verdict};

/// Says the same about everything, and notes that it was asked.
fn says(opinion: Opinion) -> impl FnMut(Operation, &Query<'_>, Option<&mut Session<'_>>, &str) -> Opinion {
    move |_, _, _, _| opinion.clone()
}

fn noting(
    log: &Log,
    name: &'static str,
    opinion: Opinion,
) -> impl FnMut(Operation, &Query<'_>, Option<&mut Session<'_>>, &str) -> Opinion + 'static {
    let log = log.clone();
    move |operation, _, _, channel| {
        log.note(format!("{name} {operation:?} {channel}"));
        opinion.clone()
    }
}

fn grants(these: &'static [Operation]) -> impl FnMut(Operation, &Query<'_>, Option<&mut Session<'_>>, &str) -> Opinion {
    move |operation, _, _, _| if these.contains(&operation) { Opinion::Grant } else { Opinion::Ignore }
}

fn error(b: &mut Bench, client: &Client, message: &Value) -> Option<String> {
    let reply = b.tell(client.up, message);
    assert_eq!(reply["successful"], reply["error"].is_null());
    reply["error"].as_str().map(str::to_owned)
}

#[test]
fn without_authorizers_the_policys_word_holds() {
    let mut b = Bench::new();
    let client = b.client();
    assert_eq!(error(&mut b, &client, &client.publish("/a", 1)), None);
    let mut b = with_hooks(Hooks::default().authorizer("/b/**", says(Opinion::Ignore)).unwrap());
    let client = b.client();
    for message in
        [client.publish("/a", 1), client.subscribe("/a"), client.subscribe("/*"), client.publish("/b/x/y", 1)]
    {
        let inside = message["channel"] == "/b/x/y";
        let expected = inside.then(|| "403:denied_by_not_granting:channel_create_denied".to_owned());
        assert_eq!(error(&mut b, &client, &message), expected, "{message}");
    }
}

/// Of the authorizers of a channel, whatever their order: any that denies is enough for no, and one has to grant.
#[test]
fn any_denial_denies_and_one_has_to_grant_in_whatever_order() {
    let denied = |reason: &str| Opinion::Deny(Denial::new(reason));
    let opinions = [Opinion::Grant, Opinion::Ignore, denied("no")];
    for first in &opinions {
        for second in &opinions {
            for third in &opinions {
                let all = [first, second, third].map(Clone::clone);
                let expected = if all.contains(&denied("no")) {
                    Some("403:no:channel_create_denied".to_owned())
                } else if all.contains(&Opinion::Grant) {
                    None
                } else {
                    Some("403:denied_by_not_granting:channel_create_denied".to_owned())
                };
                let [one, two, three] = all.clone();
                let hooks = Hooks::default().authorizer("/a/b", says(one)).unwrap();
                let hooks = hooks.authorizer("/**", says(two)).unwrap().authorizer("/a/*", says(three)).unwrap();
                let mut b = with_hooks(hooks);
                let client = b.client();
                assert_eq!(error(&mut b, &client, &client.publish("/a/b", 1)), expected, "{all:?}");
            }
        }
    }
}

/// CometD asks those of `/**` first and those of the channel last, and says that the order does not matter. Ours asks in the
/// order of adding.
#[test]
fn all_whose_pattern_matches_are_asked_until_one_denies() {
    let log = Log::default();
    let hooks = ["/a/b", "/**", "/a/*", "/a/**", "/a", "/a/b/*", "/a/c", "/*"]
        .into_iter()
        .fold(Hooks::default(), |hooks, pattern| {
            hooks.authorizer(pattern, noting(&log, pattern, Opinion::Grant)).unwrap()
        });
    let hooks = hooks.authorizer("/a/b", noting(&log, "last", Opinion::Deny(Denial::new("x")))).unwrap();
    let hooks = hooks.authorizer("/a/b", noting(&log, "never", Opinion::Grant)).unwrap();
    let mut b = with_hooks(hooks);
    let client = b.client();
    assert_eq!(error(&mut b, &client, &client.publish("/a/b", 1)).as_deref(), Some("403:x:channel_create_denied"));
    let asked = ["/a/b", "/**", "/a/*", "/a/**", "last"].map(|pattern| format!("{pattern} Create /a/b"));
    assert_eq!(log.take(), asked);
}

#[test]
fn the_policy_is_asked_first_and_its_no_is_enough() {
    let log = Log::default();
    let noted = log.clone();
    let hooks = Hooks::default().authorizer("/**", noting(&log, "authorizer", Opinion::Grant)).unwrap();
    let mut b = with_hooks(hooks.policy(policy(move |operation, channel, _| {
        noted.note(format!("policy {operation} {channel}"));
        if channel == "/no" { Verdict::deny("denied_by_security_policy") } else { Verdict::Allow }
    })));
    let client = b.client();
    assert_eq!(log.take(), ["policy handshake "]);
    let refused = error(&mut b, &client, &client.publish("/no", 1));
    assert_eq!(refused.as_deref(), Some("403:denied_by_security_policy:channel_create_denied"));
    assert_eq!(log.take(), ["policy create /no"]);
    b.tell(client.up, &client.publish("/a", 1));
    let create = ["policy create /a", "authorizer Create /a"];
    let publish = ["policy publish /a", "authorizer Publish /a"];
    assert_eq!(log.take(), [create, publish].concat());
    b.tell(client.up, &client.subscribe("/a"));
    assert_eq!(log.take(), ["policy subscribe /a", "authorizer Subscribe /a"], "it is there by now");
    b.tell(client.up, &client.publish("/a", 1));
    assert_eq!(log.take(), publish);
    // As with CometD, nobody is asked about the rest.
    b.tell(client.up, &client.unsubscribe("/a"));
    b.say(client.up, &client.glance());
    b.tell(client.up, &client.disconnect());
    assert_eq!(log.take(), Vec::<String>::new());
}

/// One that grants creating and subscribing does not let publish, not even bring the channel into being for it: publishing is
/// another question. And the other way round.
#[test]
fn to_create_to_subscribe_and_to_publish_are_granted_each_by_itself() {
    use Operation::{Create, Publish, Subscribe};
    let cases: [(&'static [Operation], [Option<&str>; 2]); 5] = [
        (&[Create, Subscribe], [None, Some("publish_denied")]),
        (&[Create, Publish], [Some("subscribe_denied"), None]),
        (&[Subscribe, Publish], [Some("create_denied"), Some("channel_create_denied")]),
        (&[Create, Subscribe, Publish], [None, None]),
        (&[], [Some("create_denied"), Some("channel_create_denied")]),
    ];
    for (granted, expected) in cases {
        let mut b = with_hooks(Hooks::default().authorizer("/chat/*", grants(granted)).unwrap());
        let client = b.client();
        let expected = expected.map(|what| what.map(|what| format!("403:denied_by_not_granting:{what}")));
        let subscribe = error(&mut b, &client, &client.subscribe("/chat/one"));
        let publish = error(&mut b, &client, &client.publish("/chat/two", 1));
        assert_eq!([subscribe, publish], expected, "{granted:?}");
    }
}

/// A subscribe that names several channels has all of them or none: with CometD those stay subscribed that stand before the
/// one that was denied, though the reply says that it failed.
#[test]
fn of_several_names_one_that_is_denied_denies_all() {
    let hooks = Hooks::default().authorizer("/b", says(Opinion::Deny(Denial::new("private")))).unwrap();
    let mut b = with_hooks(hooks);
    let client = b.client();
    let message = client.subscribe(json!(["/a", "/b", "/c"]));
    assert_eq!(error(&mut b, &client, &message).as_deref(), Some("403:private:create_denied"));
    assert_eq!(b.engine.census().topics, 0);
}

#[test]
fn the_words_of_a_refusal_are_the_policys_own() {
    let mut denial = Denial::new("reason").with_error("401:token:expired: x");
    denial.advice = Some(ReplyAdvice::new(Reconnect::Handshake, 250, 60_000));
    let own = denial.clone();
    let hooks = Hooks::default()
        .policy(policy(move |_, channel, _| if channel == "/p" { Verdict::Deny(own.clone()) } else { Verdict::Allow }));
    let mut b = with_hooks(hooks.authorizer("/q", says(Opinion::Deny(denial))).unwrap());
    let client = b.client();
    for channel in ["/p", "/q"] {
        let advice = json!({"reconnect": "handshake", "interval": 250, "timeout": 60_000});
        let mut publish = failed(channel, "p", "401:token:expired: x");
        publish["advice"] = advice.clone();
        assert_eq!(b.tell(client.up, &client.publish(channel, 1)), publish);
        let mut subscribe = failed("/meta/subscribe", "s", "401:token:expired: x");
        (subscribe["advice"], subscribe["subscription"]) = (advice, json!(channel));
        assert_eq!(b.tell(client.up, &client.subscribe(channel)), subscribe);
    }
}

#[test]
fn a_handshake_is_refused_with_the_advice_not_to_come_back_unless_the_policy_says_otherwise() {
    let advice = |reconnect, interval| Some(ReplyAdvice::new(reconnect, interval, 5));
    let cases = [
        (Denial::new("x"), "403:x:handshake_denied", json!({"reconnect": "none"})),
        (Denial::default().with_error("403:you:banned"), "403:you:banned", json!({"reconnect": "none"})),
        (
            Denial { advice: advice(Reconnect::Handshake, 7), ..Denial::default() },
            "403::handshake_denied",
            json!({"reconnect": "handshake", "interval": 7, "timeout": 5}),
        ),
        (
            Denial { advice: advice(Reconnect::Handshake, 0), ..Denial::default() },
            "403::handshake_denied",
            json!({"reconnect": "handshake", "interval": 1_000, "timeout": 5}),
        ),
        (
            Denial { advice: advice(Reconnect::None, 0), ..Denial::default() },
            "403::handshake_denied",
            json!({"reconnect": "none"}),
        ),
    ];
    for (denial, error, advice) in cases {
        let own = denial.clone();
        let mut b = with_hooks(Hooks::default().policy(policy(move |_, _, _| Verdict::Deny(own.clone()))));
        let reply = b.post(&Post::new(HANDSHAKE)).json()[0].clone();
        assert_eq!((&reply["error"], &reply["advice"]), (&json!(error), &advice), "{denial:?}");
        assert_eq!(b.sessions(), 0);
    }
}

/// Publishing to a service channel asks as any publish does. It never comes into being, so each time whether it may; CometD
/// keeps such a channel for ever.
#[test]
fn a_channel_of_a_service_is_asked_about_each_time() {
    let log = Log::default();
    let hooks = Hooks::default().authorizer("/service/**", noting(&log, "s", Opinion::Grant)).unwrap();
    let mut b = with_hooks(hooks.authorizer("/**", noting(&log, "all", Opinion::Grant)).unwrap());
    let client = b.client();
    for _ in 0..2 {
        assert_eq!(error(&mut b, &client, &client.publish("/service/x", 1)), None);
        assert_eq!(log.take(), ["s Create /service/x", "s Publish /service/x"], "which /** is not about");
    }
    assert_eq!(error(&mut b, &client, &client.subscribe("/service/x")), None);
    assert_eq!(log.take(), ["s Create /service/x", "s Subscribe /service/x"]);
    assert_eq!(b.engine.census().topics, 0, "nobody is subscribed to a service");
}

/// Whether a pattern matches a channel, word by word.
fn matches(pattern: &str, channel: &str) -> bool {
    let (pattern, channel): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), channel.split('/').collect());
    let (last, stem) = pattern.split_last().unwrap();
    match *last {
        "**" => channel.len() > stem.len() && channel[..stem.len()] == *stem,
        "*" => channel.len() == pattern.len() && channel[..stem.len()] == *stem,
        _ => channel == pattern,
    }
}

/// Every channel of up to four words of these; `z` stands in no pattern, so what matches all of them that another pattern does
/// matches all that there can be.
fn world() -> Vec<String> {
    let mut all = vec![String::new()];
    let mut level = all.clone();
    for _ in 0..4 {
        level = level.iter().flat_map(|stem| ["a", "b", "z"].map(|word| format!("{stem}/{word}"))).collect();
        all.extend(level.clone());
    }
    all.remove(0);
    all
}

/// What the authorizers come to for a subscription, from what each of their patterns reaches of it.
fn oracle(world: &[String], authorizers: &[(&str, Opinion)], name: &str) -> bool {
    let wanted: Vec<&String> = world.iter().filter(|channel| matches(name, channel)).collect();
    let reached = |pattern: &str| wanted.iter().filter(|channel| matches(pattern, channel)).count();
    let asked: Vec<_> = authorizers.iter().filter(|(pattern, _)| reached(pattern) > 0).collect();
    let whole: Vec<_> = asked.iter().filter(|(pattern, _)| reached(pattern) == wanted.len()).collect();
    if asked.iter().any(|(_, opinion)| matches!(opinion, Opinion::Deny(_))) {
        return false;
    }
    if whole.is_empty() {
        return asked.iter().all(|(_, opinion)| *opinion == Opinion::Grant);
    }
    whole.iter().any(|(_, opinion)| *opinion == Opinion::Grant)
}

/// CometD asks about `/a/*` those of `/**`, `/a/**` and `/a/*` only, so one who may not hear `/a/b` hears it all the same. Ours
/// asks all that have a say in some of it.
#[test]
fn a_subscription_to_a_wildcard_is_up_to_all_who_have_a_say_in_it() {
    const PATTERNS: [&str; 9] = ["/**", "/*", "/a", "/a/*", "/a/**", "/a/b", "/b/**", "/a/b/**", "/a/b/*"];
    const NAMES: [&str; 10] = ["/**", "/*", "/a", "/a/*", "/a/**", "/a/b", "/b/z", "/a/b/*", "/a/b/**", "/z/**"];
    let opinions = [Opinion::Grant, Opinion::Ignore, Opinion::Deny(Denial::new("x"))];
    let world = world();
    let mut granted = 0;
    for (at, first) in PATTERNS.iter().enumerate() {
        for second in &PATTERNS[at..] {
            for (one, two) in opinions.iter().flat_map(|one| opinions.iter().map(move |two| (one, two))) {
                let authorizers = [(*first, one.clone()), (*second, two.clone())];
                let hooks = authorizers.iter().fold(Hooks::default(), |hooks, (pattern, opinion)| {
                    hooks.authorizer(pattern, says(opinion.clone())).unwrap()
                });
                let mut b = with_hooks(hooks);
                let client = b.client();
                let messages: Vec<Value> = NAMES.iter().map(|name| client.subscribe(*name)).collect();
                let replies = b.say(client.up, &Value::Array(messages));
                for (name, reply) in NAMES.iter().zip(replies.as_array().unwrap()) {
                    let expected = oracle(&world, &authorizers, name);
                    granted += usize::from(expected);
                    assert_eq!(reply["successful"], expected, "{name} with {authorizers:?}: {reply}");
                }
            }
        }
    }
    assert!(granted > 500, "{granted}");
}

//! All short names and patterns, against rules that are written down once more here, and through a whole server.

use serde_json::json;

use super::super::bench::{Bench, Post};
use crate::bayeux::{Channel, Pattern};

/// Every text of at most so many of these letters.
fn texts(letters: &[&str], most: usize) -> Vec<String> {
    let (mut all, mut last) = (vec![String::new()], vec![String::new()]);
    for _ in 0..most {
        last = last.iter().flat_map(|text| letters.iter().map(move |letter| format!("{text}{letter}"))).collect();
        all.extend_from_slice(&last);
    }
    all
}

/// Where in a name one is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    Slash,
    Segment,
    /// Behind a segment that is one star, or two.
    Star,
    TwoStars,
}

/// What a text is: `None` if neither a name nor a pattern, else whether it is a pattern. Letter by letter.
fn kind(text: &str) -> Option<bool> {
    let mut place = Place::Start;
    for letter in text.chars() {
        let ordinary = letter.is_ascii_alphanumeric() || " !#$()+-.@_{}~'".contains(letter);
        place = match (place, letter) {
            (Place::Start | Place::Segment, '/') => Place::Slash,
            (Place::Slash | Place::Segment, _) if ordinary => Place::Segment,
            (Place::Slash, '*') => Place::Star,
            (Place::Star, '*') => Place::TwoStars,
            _ => return None,
        };
    }
    match place {
        Place::Start | Place::Slash => None,
        Place::Segment => Some(false),
        Place::Star | Place::TwoStars => Some(true),
    }
}

/// Whether a channel falls under a name or pattern, from the front: a segment each, and a star for one or more.
fn falls_under(channel: &str, pattern: &str) -> bool {
    fn rest(channel: &[&str], pattern: &[&str]) -> bool {
        match (channel, pattern) {
            ([], []) => true,
            ([_], ["*"]) | ([_, ..], ["**"]) => true,
            ([a, channel @ ..], [b, pattern @ ..]) => a == b && rest(channel, pattern),
            _ => false,
        }
    }
    let (channel, pattern): (Vec<&str>, Vec<&str>) =
        (channel.split('/').skip(1).collect(), pattern.split('/').skip(1).collect());
    let reserved = ["meta", "service"].contains(&channel[0]);
    (!reserved || channel[0] == pattern[0]) && rest(&channel, &pattern)
}

const LETTERS: [&str; 7] = ["/", "a", "*", ".", "%", "é", "\u{0}"];

#[test]
fn every_short_text_is_a_name_or_a_pattern_or_neither() {
    let all = texts(&LETTERS, 6);
    assert_eq!(all.len(), (7_usize.pow(7) - 1) / 6);
    let (mut names, mut patterns) = (0, 0);
    for text in &all {
        let kind = kind(text);
        assert_eq!(Channel::parse(text).is_ok(), kind == Some(false), "the name {text:?}");
        assert_eq!(Pattern::parse(text).is_ok(), kind.is_some(), "the pattern {text:?}");
        names += u32::from(kind == Some(false));
        patterns += u32::from(kind == Some(true));
    }
    assert!(names > 100 && patterns > 20, "{names} {patterns}");
}

#[test]
fn every_short_name_falls_under_every_short_pattern_or_does_not() {
    let all = texts(&["/", "a", "b", "*"], 6);
    let reserved = ["/meta", "/meta/a", "/meta/*", "/meta/**", "/service", "/service/a/b", "/service/**", "/a/meta"];
    let all: Vec<&str> = all.iter().map(String::as_str).chain(reserved).collect();
    let names: Vec<_> = all.iter().filter_map(|text| Channel::parse(text).ok()).collect();
    let patterns: Vec<_> =
        all.iter().filter_map(|text| Pattern::parse(text).ok().map(|pattern| (text, pattern))).collect();
    let mut under = 0_u32;
    for &(text, pattern) in &patterns {
        for &name in &names {
            let expected = falls_under(name.as_str(), text);
            assert_eq!(pattern.matches(name), expected, "{name} under {text}");
            under += u32::from(expected);
        }
    }
    assert!(under > 400 && patterns.len() > 100, "{under} of {} and {}", patterns.len(), names.len());
}

/// One session that says everything.
#[test]
fn every_short_text_is_published_to_and_subscribed_to_by_the_same_rules() {
    let mut b = Bench::new();
    let client = b.client();
    let error = |text: &str| json!(format!("405:{text}:channel_invalid"));
    for text in texts(&["/", "a", "*", ".", "é"], 4) {
        let publish = b.tell(client.up, &client.publish(&text, 1));
        let subscribe = b.tell(client.up, &client.subscribe(text.as_str()));
        let (name, pattern) = (kind(&text) == Some(false), kind(&text).is_some());
        assert_eq!(publish["successful"], name, "{text}: {publish}");
        assert_eq!(subscribe["successful"], pattern, "{text}: {subscribe}");
        assert!(name || publish["error"] == error(&text), "{publish}");
        assert!(pattern || subscribe["error"] == error(&text), "{subscribe}");
        if pattern {
            assert_eq!(b.tell(client.up, &client.unsubscribe(text.as_str()))["successful"], true);
        }
    }
    assert_eq!(b.engine.census().topics, 0);
}

/// A session for each pattern, and an event for each name: who gets it, through the tables of a server.
#[test]
fn every_event_reaches_those_whose_patterns_it_falls_under() {
    let mut b = Bench::with(|setup| setup.broker.max_sessions_per_browser = None);
    let all = texts(&["/", "a", "b", "*"], 5);
    let patterns: Vec<&String> = all.iter().filter(|text| kind(text).is_some()).collect();
    let clients: Vec<_> = patterns.iter().map(|pattern| b.subscriber(pattern.as_str())).collect();
    let mut delivered = 0_u32;
    for name in all.iter().filter(|text| kind(text) == Some(false)) {
        assert!(b.inject(name, "1"));
        for (client, pattern) in clients.iter().zip(&patterns) {
            b.give(client.down, &Post::json(&client.glance()).bytes());
            let replies = b.one(client.down).json();
            let got = replies[0]["channel"] == **name;
            assert_eq!(got, falls_under(name, pattern), "{name} to a subscriber of {pattern}: {replies}");
            assert_eq!(replies.as_array().unwrap().len(), 1 + usize::from(got), "once");
            delivered += u32::from(got);
        }
    }
    assert!(delivered > 100, "{delivered}");
}

//! What must hold, whatever happens.
//!
//! Owns the book in which model clients write what they have asked for and got ([`Ledger`]), and the watch over the
//! engine's own numbers ([`Watch`]). What does not hold panics; the trace tells the story then.
//!
//! How an event may be missing: if bytes with it were handed to a connection that died. Those bytes are searched when the
//! connection goes, so a loss inside the server is never taken for one on the way.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{Census, Engine};
use crate::limits::Limits;

use super::network::WireId;

/// The number of an event, which stands in its data. Later publishes of one publisher have higher ones.
pub(crate) type Mark = usize;
/// A session as its client knows it: an index into the book.
pub(crate) type SessionNo = usize;

/// What is counted, to see that a scenario shows what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Someone had to get an event for sure.
    Due,
    /// An event may not have come because its connection died.
    Lost,
    /// A connect was held.
    Held,
    /// A connect was refused because a newer one, to be answered with events as well, had come.
    Superseded,
    /// A client heard that its session is unknown.
    Unknown,
    /// A session went on after its client had lost a connection or had vanished.
    Resumed,
    /// A request was lost with its connection.
    Unanswered,
    /// A session was ended by the server.
    Dismissed,
    /// A publish was refused because too much was waiting.
    Refused,
    /// An unsubscribe was confirmed.
    Unsubscribed,
    /// A client was told that too many of its browser are waiting.
    Crowded,
    /// A session was ended because too much was waiting for it.
    Overflow,
    /// A client changed its transport.
    Switched,
    /// A stream ended with the advice to poll.
    Fallback,
    /// An event came over a stream of lines.
    Streamed,
    /// An event came over a WebSocket.
    Pushed,
    /// An event came over an event source.
    Sourced,
    /// An event came to someone who does not speak Bayeux.
    Listened,
    /// A stream or a connect ended because a newer connect took another way.
    Moved,
    /// A ping was answered.
    Ponged,
}

/// The way on which an event came. Ways of a higher rank were taken later; of one rank, in an order that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) wire: WireId,
    /// The least and the greatest rank that the way may have had.
    pub(crate) low: u64,
    pub(crate) high: u64,
}

/// How often what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally(BTreeMap<Kind, u64>);

impl Tally {
    /// It happened so many times more.
    pub(crate) fn add(&mut self, kind: Kind, count: u64) {
        *self.0.entry(kind).or_default() += count;
    }

    /// Adds what happened elsewhere.
    pub(crate) fn join(&mut self, other: &Self) {
        other.0.iter().for_each(|(kind, count)| self.add(*kind, *count));
    }

    /// How often it happened.
    pub(crate) fn of(&self, kind: Kind) -> u64 {
        self.0.get(&kind).copied().unwrap_or_default()
    }
}

#[derive(Debug)]
struct Publication {
    by: usize,
    channel: String,
    data: String,
    sent_at: u64,
    acked_at: Option<u64>,
    refused: bool,
}

/// A subscription, as wide and as narrow as its client can know it.
#[derive(Debug)]
struct Window {
    pattern: String,
    asked_at: u64,
    sure_from: Option<u64>,
    sure_until: Option<u64>,
    until: Option<u64>,
}

#[derive(Debug, Default)]
struct Seen {
    client: usize,
    windows: Vec<Window>,
    received: BTreeSet<Mark>,
    /// The last event of each publisher on each channel, on each connection.
    on_wire: BTreeMap<(WireId, usize, String), Mark>,
    /// The same for each rank of ways.
    by_rank: BTreeMap<(usize, String), BTreeMap<u64, Mark>>,
    /// The latest time of a connect that was answered without events.
    caught_up: Option<u64>,
    /// Its end has been confirmed.
    ended: bool,
}

/// What all clients have asked for and got.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    publications: Vec<Publication>,
    sessions: Vec<Seen>,
    /// Events on connections that died, by client.
    lost: BTreeSet<(usize, Mark)>,
    tally: Tally,
}

/// Whether a pattern matches a channel, said once more in other words than the server's.
pub(crate) fn matches(pattern: &str, channel: &str) -> bool {
    if let Some(stem) = pattern.strip_suffix("**") {
        return channel.len() > stem.len() && channel.starts_with(stem);
    }
    if let Some(stem) = pattern.strip_suffix('*') {
        return channel.strip_prefix(stem).is_some_and(|last| !last.is_empty() && !last.contains('/'));
    }
    pattern == channel
}

impl Ledger {
    /// It has happened.
    pub(crate) fn count(&mut self, kind: Kind) {
        self.tally.add(kind, 1);
    }

    /// An event is about to be published; `data` makes its data from its mark.
    pub(crate) fn publish(
        &mut self,
        by: usize,
        channel: &str,
        now: u64,
        data: impl FnOnce(Mark) -> String,
    ) -> (Mark, &str) {
        let mark = self.publications.len();
        let (data, channel) = (data(mark), channel.to_owned());
        self.publications.push(Publication { by, channel, data, sent_at: now, acked_at: None, refused: false });
        (mark, &self.publications[mark].data)
    }

    /// A publish has been answered.
    pub(crate) fn acked(&mut self, mark: Mark, successful: bool, now: u64) {
        let publication = &mut self.publications[mark];
        assert!(publication.acked_at.is_none(), "publish {mark} was answered twice");
        publication.acked_at = Some(now);
        publication.refused = !successful;
    }

    /// The mark of a publish from inside the server, by its data.
    pub(crate) fn mark_of(&self, data: &str) -> Option<Mark> {
        self.publications.iter().rposition(|publication| publication.data == data)
    }

    /// A client has made a session.
    pub(crate) fn begin(&mut self, client: usize) -> SessionNo {
        self.sessions.push(Seen { client, ..Seen::default() });
        self.sessions.len() - 1
    }

    /// A session's end has been confirmed.
    pub(crate) fn end(&mut self, session: SessionNo) {
        self.sessions[session].ended = true;
    }

    /// A subscribe is sent.
    pub(crate) fn subscribing(&mut self, session: SessionNo, pattern: &str, now: u64) {
        let window =
            Window { pattern: pattern.to_owned(), asked_at: now, sure_from: None, sure_until: None, until: None };
        self.sessions[session].windows.push(window);
    }

    fn windows(&mut self, session: SessionNo, pattern: &str) -> impl Iterator<Item = &mut Window> {
        self.sessions[session].windows.iter_mut().filter(move |window| window.pattern == pattern)
    }

    /// A subscribe has been confirmed.
    pub(crate) fn subscribed(&mut self, session: SessionNo, pattern: &str, now: u64) {
        if let Some(window) = self.windows(session, pattern).last() {
            window.sure_from.get_or_insert(now);
        }
    }

    /// An unsubscribe is sent.
    pub(crate) fn unsubscribing(&mut self, session: SessionNo, pattern: &str, now: u64) {
        for window in self.windows(session, pattern) {
            window.sure_until.get_or_insert(now);
        }
    }

    /// An unsubscribe has been confirmed.
    pub(crate) fn unsubscribed(&mut self, session: SessionNo, pattern: &str, now: u64) {
        for window in self.windows(session, pattern).filter(|window| window.sure_until.is_some()) {
            window.until.get_or_insert(now);
        }
    }

    /// A connect that was sent then has been answered without events: nothing was waiting.
    pub(crate) fn caught_up(&mut self, session: SessionNo, asked_at: u64) {
        let seen = &mut self.sessions[session];
        seen.caught_up = seen.caught_up.max(Some(asked_at));
    }

    /// Until when a session surely has got everything.
    pub(crate) fn is_caught_up(&self, session: SessionNo, since: u64) -> bool {
        self.sessions[session].caught_up.is_some_and(|at| at >= since)
    }

    /// An event has come.
    pub(crate) fn received(&mut self, session: SessionNo, (channel, data): (&str, &str), path: Path, now: u64) {
        let mark = marks(data.as_bytes()).next().unwrap_or_else(|| panic!("an event that no one published: {data}"));
        let publication = self.publications.get(mark).expect("an event of a publish to come");
        let seen = &mut self.sessions[session];
        let client = seen.client;
        assert_eq!(publication.data, data, "the data of event {mark} was changed on the way to client {client}");
        assert_eq!(publication.channel, channel, "event {mark} came to client {client} on another channel");
        assert!(!publication.refused, "event {mark} came to client {client} although its publish was refused");
        assert!(!seen.ended, "event {mark} came to client {client} after its session had ended");
        let wanted = seen.windows.iter().any(|window| {
            matches(&window.pattern, channel)
                && publication.sent_at <= window.until.unwrap_or(u64::MAX)
                && publication.acked_at.unwrap_or(now) >= window.asked_at
        });
        assert!(wanted, "event {mark} on {channel} came to client {client}, who was not subscribed");
        assert!(seen.received.insert(mark), "event {mark} on {channel} came twice to client {client}");
        let by = publication.by;
        let ranks = seen.by_rank.entry((by, channel.to_owned())).or_default();
        let earlier = ranks.range(..path.low).map(|(_, last)| *last).max();
        let last = seen.on_wire.insert((path.wire, by, channel.to_owned()), mark).max(earlier);
        ranks.entry(path.high).and_modify(|last| *last = mark.max(*last)).or_insert(mark);
        assert!(
            last.is_none_or(|last| last < mark),
            "event {mark} on {channel} came to client {client} after {last:?} of the same publisher ({path:?})"
        );
    }

    /// A connection died with these bytes on it.
    pub(crate) fn lost(&mut self, client: usize, bytes: &[u8]) {
        self.lost.extend(marks(bytes).map(|mark| (client, mark)));
    }

    /// Whether everyone got what it had to; what happened on the way.
    pub(crate) fn check(&self) -> Tally {
        let mut tally = self.tally.clone();
        for seen in &self.sessions {
            let Some(caught_up) = seen.caught_up else { continue };
            for (mark, publication) in self.publications.iter().enumerate() {
                let Some(acked_at) = publication.acked_at.filter(|at| *at <= caught_up) else { continue };
                let subscribed = seen.windows.iter().any(|window| {
                    matches(&window.pattern, &publication.channel)
                        && window.sure_from.is_some_and(|from| from <= publication.sent_at)
                        && window.sure_until.is_none_or(|until| until >= acked_at)
                });
                if publication.refused || !subscribed {
                    continue;
                }
                let received = seen.received.contains(&mark);
                tally.add(if received { Kind::Due } else { Kind::Lost }, 1);
                assert!(
                    received || self.lost.contains(&(seen.client, mark)),
                    "event {mark} on {} never came to client {}, who was subscribed from before until after",
                    publication.channel,
                    seen.client
                );
            }
        }
        tally
    }
}

/// The marks in some bytes.
fn marks(bytes: &[u8]) -> impl Iterator<Item = Mark> {
    const LABEL: &[u8] = b"\"mark\":";
    let places = bytes.windows(LABEL.len()).enumerate().filter(|(_, window)| *window == LABEL);
    places.filter_map(|(at, _)| {
        let rest = &bytes[at + LABEL.len()..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        core::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
    })
}

/// Looks at the engine's numbers after every turn.
#[derive(Debug)]
pub(crate) struct Watch {
    limits: Limits,
}

impl Watch {
    /// A watch over an engine with these limits.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { limits: limits.clone() }
    }

    /// After a turn.
    pub(crate) fn check(&self, engine: &Engine, open: usize) {
        let (census, counters) = (engine.census(), engine.counters());
        assert!(counters.encoded <= counters.published, "more than one encoding of a publish: {counters:?}");
        assert!(counters.delivered <= counters.queued, "more delivered than queued: {counters:?}");
        assert_eq!(census.connections, open, "connections in the engine and sockets: {census:?}");
        let alive = counters.sessions_added - counters.sessions_removed;
        assert_eq!(census.sessions as u64, alive, "sessions counted and there: {census:?}");
        assert!(census.sessions <= self.limits.sessions, "{census:?}");
        assert!(census.browsers <= census.sessions, "{census:?}");
        assert!(census.timers <= census.sessions + census.connections, "{census:?}");
        assert!(census.topics <= census.sessions * self.limits.subscriptions, "{census:?}");
        // The publish that reaches the limit still goes.
        assert!(census.queued_bytes < self.limits.queued_bytes + self.limits.body_bytes, "{census:?}");
    }

    /// When everyone has left.
    pub(crate) fn check_rest(&self, engine: &Engine) {
        assert_eq!(engine.census(), Census::default(), "something is kept for no one");
        assert!(engine.is_at_rest(), "something is kept for no one that the census does not show");
    }
}

#[test]
fn patterns_match_as_the_protocol_says() {
    let table = [
        ("/a/b", "/a/b", true),
        ("/a/b", "/a/b/c", false),
        ("/a/*", "/a/b", true),
        ("/a/*", "/a", false),
        ("/a/*", "/a/b/c", false),
        ("/a/**", "/a/b/c", true),
        ("/a/**", "/a", false),
        ("/**", "/a", true),
        ("/*", "/a/b", false),
    ];
    for (pattern, channel, expected) in table {
        assert_eq!(matches(pattern, channel), expected, "{pattern} {channel}");
    }
}

#[test]
fn marks_are_found_in_the_middle_of_anything() {
    let bytes = br#"x{"mark":17,"a"}{"mark":3"#;
    assert_eq!(marks(bytes).collect::<Vec<_>>(), [17, 3]);
}

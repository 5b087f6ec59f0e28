//! What must hold, whatever happens.
//!
//! Owns the book in which model clients write what they have asked for and got ([`Ledger`]), and the watch over the
//! engine's own numbers ([`Watch`]). What does not hold panics; the trace tells the story then.
//!
//! How an event may be missing: if bytes with it were handed to a connection that died. Those bytes are searched when the
//! connection goes, so a loss inside the server is never taken for one on the way.

mod hooked;

use std::collections::{BTreeMap, BTreeSet};

use crate::broker::outbox::PLACE;
use crate::broker::rate::Rate;
use crate::engine::{Census, Engine};
use crate::event::BESIDE_JSON;
use crate::limits::Limits;

use super::hooks::{Aim, HANDED, News, OWN, PLANNED, Shared};
use super::network::WireId;
use super::shelf::Shelf;

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
    /// A batch was not taken because a newer connect was under way.
    Abandoned,
    /// A batch with events was acknowledged.
    Acked,
    /// Someone was told of losses.
    Gap,
    /// An event was got from the history.
    Replayed,
    /// An event was gone before it could be read, and that was told.
    Evicted,
    /// Events were dropped by the server, and that was told.
    Dropped,
    /// Somebody hostile did something.
    Assaulted,
    /// A connection of somebody hostile was ended by the server, or by the network.
    Shed,
    /// A world was played without its hostile people, and everyone else got the same at the same times.
    Compared,
    /// Of these worlds, those in which that was so only with all answers of a turn made before the first was written.
    Regrouped,
    /// The server died, and another one took its place.
    Died,
    /// Somebody well-behaved shook hands too fast, and was told when to come again.
    Hasty,
    /// Somebody well-behaved was sent off, to try again later: there were too many, or too much was being received.
    SentOff,
    /// A handshake of anybody came too fast.
    RateReached,
    /// A peer heard that there is no room for another connection.
    FullReached,
    /// A request was refused as too much was being received.
    ReceivedReached,
    /// Half of all that may wait for anybody waited at slow readers.
    UnsentReached,
    /// A connection ended that had taken too little of what waited for it, and one that had taken nothing.
    SlowReached,
    StuckReached,
    /// Requests waited for the next turn, as many events had been put into queues in this one.
    FanoutReached,
    /// A host was not answered for.
    HostReached,
    /// A hook has said no, has ended a message, or an event.
    Denied,
    Deleted,
    Ended,
    /// A policy has put off its answer, and has not given it in time.
    Deferred,
    TooLate,
    /// The data of an event was changed.
    Reshaped,
    /// A hook has given a command, and was told that there is no room for it.
    Commanded,
    CommandsFull,
    /// A client was told that something is refused, as hooks want it.
    TurnedDown,
    /// An event of hooks came to a client: one for all, and one for nobody else.
    OwnEvent,
    Handed,
}

/// What each client got: when, and which event.
pub(crate) type Got = BTreeMap<usize, Vec<(u64, Mark)>>;

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

    /// All that happened, by name.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (String, u64)> {
        self.0.iter().map(|(kind, count)| (format!("{kind:?}").to_lowercase(), *count))
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
    aim: Aim,
    /// It may wait for an answer that goes anyway.
    lazy: bool,
    /// What hooks have made of its data, and whether they have ended it.
    reshaped: Option<String>,
    dropped: bool,
}

/// A subscription, as wide and as narrow as its client can know it.
#[derive(Debug)]
struct Window {
    pattern: String,
    asked_at: u64,
    sure_from: Option<u64>,
    sure_until: Option<u64>,
    until: Option<u64>,
    /// The number after which its events are wanted, if it is one of those that begin so, as soon as that is known.
    after: Option<u64>,
    /// Its client has been told that something is gone.
    gap: bool,
}

impl Window {
    /// One that has been asked for.
    fn asked(pattern: &str, after: Option<u64>, now: u64) -> Self {
        let (pattern, asked_at) = (pattern.to_owned(), now);
        Self { pattern, asked_at, sure_from: None, sure_until: None, until: None, after, gap: false }
    }
}

#[derive(Debug, Default)]
struct Seen {
    client: usize,
    /// The name by which hooks know it.
    name: Option<String>,
    windows: Vec<Window>,
    /// What came, and how often.
    received: BTreeMap<Mark, usize>,
    /// Losses that it was told of, by channel or pattern.
    gaps: BTreeMap<String, i64>,
    /// The last event of each publisher on each channel, on each connection.
    on_wire: BTreeMap<(WireId, usize, String), Mark>,
    /// The same for each rank of ways.
    by_rank: BTreeMap<(usize, String), BTreeMap<u64, Mark>>,
    /// The latest time of a connect that was answered without events.
    caught_up: Option<u64>,
    /// Its end has been confirmed, and nothing is under way after that time.
    ended: Option<u64>,
    /// It acknowledges what it gets: nothing may be lost on the way.
    acks: bool,
}

/// What all clients have asked for and got.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// How long an event may wait for an answer that goes anyway, ms.
    pub(crate) lazy_ms: u64,
    /// Connections may wait so long to be accepted that what was sent on one first comes last.
    pub(crate) starves: bool,
    /// What the server keeps.
    pub(crate) shelf: Shelf,
    got: Got,
    /// Clients that may not have heard of a gap.
    unheard: BTreeSet<usize>,
    publications: BTreeMap<Mark, Publication>,
    /// The mark of the next event of a client.
    next: Mark,
    /// What hooks have done, and subscriptions that they have made, by the name of the session.
    pub(crate) hooked: Option<Shared>,
    own_windows: BTreeMap<String, Vec<Window>>,
    /// What hooks want done and may not have been done yet.
    unsettled: Vec<News>,
    /// Sessions that hooks may have ended.
    ending: BTreeSet<String>,
    sessions: Vec<Seen>,
    /// Events on connections that died, by client.
    lost: BTreeSet<(usize, Mark)>,
    tally: Tally,
    /// How often each address has shaken hands, and when, of those times that were not refused.
    hands: BTreeMap<usize, (u64, Vec<u64>)>,
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

    /// How often it has happened so far.
    pub(crate) fn counted(&self, kind: Kind) -> u64 {
        self.tally.of(kind)
    }

    /// Somebody asks for a session.
    pub(crate) fn shakes_hands(&mut self, who: usize, now: u64) {
        let (count, times) = self.hands.entry(who).or_default();
        *count += 1;
        times.push(now);
    }

    /// That was refused, as its address had shaken hands too fast: it must have, whatever others did. How often it has so far.
    pub(crate) fn was_hasty(&mut self, who: usize, rate: Rate, (asked_at, patience): (u64, u64)) -> u64 {
        self.count(Kind::Hasty);
        let (count, hands) = self.hands.entry(who).or_default();
        let own = hands.iter().rposition(|at| *at == asked_at).expect("only who has asked is refused");
        hands.remove(own);
        let (each, within) = (1_000 / u64::from(rate.per_second), u64::from(rate.burst - 1));
        // So many tokens had been taken since some instant, and not so many had come back.
        let is_reason =
            |(count, at): (u64, &u64)| count * (each + 1) + patience > within * each + asked_at.saturating_sub(*at);
        let enough = (1..).zip(hands.iter().rev()).filter(|(count, _)| *count > within).any(is_reason);
        assert!(enough, "{who} is told to be hasty at {asked_at} and has shaken hands at {hands:?}");
        *count
    }

    /// An event is about to be published; `data` makes its data from its mark.
    pub(crate) fn publish(
        &mut self,
        by: usize,
        channel: &str,
        now: u64,
        data: impl FnOnce(Mark) -> String,
    ) -> (Mark, &str) {
        let mark = self.next;
        self.next += 1;
        let aim = if channel.starts_with("/service/") { Aim::Nobody } else { Aim::All };
        let data = data(mark);
        self.put(mark, (by, aim, false), (channel, data), now);
        (mark, &self.publications[&mark].data)
    }

    /// A publish has been answered.
    pub(crate) fn acked(&mut self, mark: Mark, successful: bool, now: u64) {
        let publication = self.publications.get_mut(&mark).expect("it was published");
        assert!(publication.acked_at.is_none(), "publish {mark} was answered twice");
        assert!(
            !(publication.dropped && successful),
            "publish {mark} was ended by hooks, and its publisher is not told"
        );
        publication.acked_at = Some(now);
        publication.refused = !successful;
    }

    /// When the event with this data was published.
    pub(crate) fn sent_at(&self, data: &str) -> u64 {
        marks(data.as_bytes()).next().map_or(0, |mark| self.publications[&mark].sent_at)
    }

    /// The mark of a publish from inside the server, by its data.
    pub(crate) fn mark_of(&self, data: &str) -> Option<Mark> {
        self.publications.iter().rfind(|(_, publication)| publication.data == data).map(|(mark, _)| *mark)
    }

    fn put(&mut self, mark: Mark, (by, aim, lazy): (usize, Aim, bool), (channel, data): (&str, String), now: u64) {
        let (channel, sent_at, acked_at) = (channel.to_owned(), now, None);
        let (refused, reshaped, dropped) = (false, None, false);
        self.publications
            .insert(mark, Publication { by, channel, data, sent_at, acked_at, refused, aim, lazy, reshaped, dropped });
    }

    /// A client has made a session.
    pub(crate) fn begin(&mut self, client: usize, acks: bool) -> SessionNo {
        self.sessions.push(Seen { client, acks, ..Seen::default() });
        self.sessions.len() - 1
    }

    /// A session's end has been confirmed; what is under way comes by then.
    pub(crate) fn end(&mut self, session: SessionNo, by: u64) {
        self.sessions[session].ended = Some(by);
    }

    /// A subscribe is sent; `after` is the number from which on, if one is said.
    pub(crate) fn subscribing(&mut self, session: SessionNo, pattern: &str, after: Option<u64>, now: u64) {
        self.sessions[session].windows.push(Window::asked(pattern, after, now));
    }

    /// The reply to a subscribe has said from where on, or that something is gone. Nothing is said to be gone that is not.
    pub(crate) fn begins(&mut self, session: SessionNo, pattern: &str, (after, gap): (Option<u64>, bool), now: u64) {
        let Some(at) = self.sessions[session].windows.iter().rposition(|window| window.pattern == pattern) else {
            return;
        };
        let window = &mut self.sessions[session].windows[at];
        window.after = window.after.or(after);
        window.gap |= gap;
        let after = window.after.unwrap_or_default();
        let newest = self.shelf.entries.keys().last().copied().unwrap_or_default();
        let real = !gap || after < self.shelf.start || after > newest || self.shelf.misses(pattern, after, now);
        // A channel that had to go as a whole is not told apart from others.
        let forgotten = self.shelf.limits.history_channels < 100;
        assert!(real || forgotten, "nothing of {pattern} after {after} is gone");
    }

    /// A client is told of losses: how many of which channel, −1 if that is not known.
    pub(crate) fn told_of_gaps(&mut self, session: SessionNo, json: &str) {
        let gaps: BTreeMap<String, i64> = serde_json::from_str(json).expect("losses by name");
        assert!(gaps.values().all(|count| *count == -1 || *count > 0), "{json}");
        self.count(Kind::Gap);
        for (name, count) in gaps {
            let sum = self.sessions[session].gaps.entry(name).or_default();
            *sum = if count < 0 || *sum < 0 { -1 } else { *sum + count };
        }
    }

    /// The number of an event must be the one that it was given.
    pub(crate) fn check_number(&self, data: &str, json: &str) -> u64 {
        let number = json.strip_prefix("{\"id\":").and_then(|rest| rest.split_once(",\"epoch\":\""));
        let (id, epoch) = number.expect("a number and an epoch");
        let (id, epoch): (u64, u64) = (id.trim().parse().unwrap(), epoch.trim_end_matches("\"}").parse().unwrap());
        let known = marks(data.as_bytes()).next().and_then(|mark| self.shelf.id_of(mark));
        assert_eq!((known, epoch), (Some(id), id >> 20), "the number of {data}");
        id
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
        let publication = self.publications.get(&mark).expect("an event of a publish to come");
        let own = self.sessions[session].name.as_ref().and_then(|name| self.own_windows.get(name));
        let seen = &mut self.sessions[session];
        let client = seen.client;
        self.got.entry(client).or_default().push((now, mark));
        let expected = publication.reshaped.as_ref().unwrap_or(&publication.data);
        assert_eq!(expected, data, "the data of event {mark} was changed on the way to client {client}");
        assert_eq!(publication.channel, channel, "event {mark} came to client {client} on another channel");
        assert!(!publication.refused, "event {mark} came to client {client} although its publish was refused");
        assert!(
            seen.ended.is_none_or(|by| now <= by),
            "event {mark} came to client {client} after its session had ended"
        );
        let id = self.shelf.id_of(mark).unwrap_or_default();
        let windows = || seen.windows.iter().chain(own.into_iter().flatten());
        let of_channel = windows().filter(|window| matches(&window.pattern, channel));
        let patterns: BTreeSet<&str> = of_channel.clone().map(|window| window.pattern.as_str()).collect();
        // Whoever asks again, or has been given something by hooks and asks from further back, gets older events after
        // newer ones.
        let given = own.is_some_and(|own| own.iter().any(|window| matches(&window.pattern, channel)));
        let back = id > 0 && (given || of_channel.count() > patterns.len());
        let wants = |window: &&Window| {
            matches(&window.pattern, channel)
                && publication.sent_at <= window.until.unwrap_or(u64::MAX)
                && match window.after {
                    Some(after) => id > after,
                    None => publication.acked_at.unwrap_or(now) >= window.asked_at,
                }
        };
        let asked: BTreeSet<u64> = windows().filter(wants).map(|window| window.asked_at).collect();
        let handed = matches!(&publication.aim, Aim::One(name) if seen.name.as_ref() == Some(name));
        assert!(handed || publication.aim == Aim::All, "event {mark} came to client {client}: {publication:?}");
        assert!(
            handed || !asked.is_empty(),
            "event {mark} ({id}) on {channel} came to client {client}, who was not subscribed"
        );
        // Whoever asks again from where it was gets again what has come meanwhile.
        let again = asked.len() > 1 && id > 0;
        if matches!(publication.by, OWN | HANDED | PLANNED) {
            self.tally.add(if handed { Kind::Handed } else { Kind::OwnEvent }, 1);
        }
        let times = seen.received.entry(mark).or_default();
        *times += 1;
        assert!(*times <= asked.len().max(1), "event {mark} on {channel} came {times} times to client {client}");
        assert!(*times == 1 || again, "event {mark} on {channel} came twice to client {client}");
        let by = publication.by;
        let ranks = seen.by_rank.entry((by, channel.to_owned())).or_default();
        let earlier = ranks.range(..path.low).map(|(_, last)| *last).max();
        let last = seen.on_wire.insert((path.wire, by, channel.to_owned()), mark).max(earlier);
        ranks.entry(path.high).and_modify(|last| *last = mark.max(*last)).or_insert(mark);
        assert!(
            again || back || self.starves || last.is_none_or(|last| last < mark),
            "event {mark} on {channel} came to client {client} after {last:?} of the same publisher ({path:?})"
        );
    }

    /// A connection died with these bytes on it.
    pub(crate) fn lost(&mut self, client: usize, bytes: &[u8]) {
        self.lost.extend(marks(bytes).map(|mark| (client, mark)));
        if bytes.windows(5).any(|five| five == b"\"gap\"" || five == b": gap") {
            self.unheard.insert(client);
        }
    }

    /// What each client got.
    pub(crate) fn got(&self) -> Got {
        self.got.clone()
    }

    /// Whether everyone got what it had to; what happened on the way.
    pub(crate) fn check(&self) -> Tally {
        let mut tally = self.tally.clone();
        for seen in &self.sessions {
            let mut missing: BTreeMap<&str, Vec<Mark>> = BTreeMap::new();
            self.check_kept(seen, &mut tally, &mut missing);
            self.check_live(seen, &mut tally, &mut missing);
            self.check_gaps(seen, &mut tally, &missing);
        }
        tally
    }

    /// Of subscriptions that say from where on: all that was numbered since, unless it was gone, and that was told.
    fn check_kept<'a>(&'a self, seen: &Seen, tally: &mut Tally, missing: &mut BTreeMap<&'a str, Vec<Mark>>) {
        let mut looked_at = BTreeSet::new();
        for window in &seen.windows {
            let (Some(after), Some(from), None) = (window.after, window.sure_from, window.sure_until) else { continue };
            let Some(caught_up) = seen.caught_up.filter(|at| *at > from) else { continue };
            // By the name of whichever subscription was still reading.
            let told = |channel: &str| {
                window.gap || seen.gaps.iter().any(|(name, count)| *count < 0 && matches(name, channel))
            };
            for (id, entry) in self.shelf.entries.range(after + 1..) {
                let waits =
                    if self.publications.get(&entry.mark).is_some_and(|own| own.lazy) { self.lazy_ms } else { 0 };
                let due = entry.at + waits <= caught_up && matches(&window.pattern, &entry.channel);
                if !due || !looked_at.insert(*id) {
                    continue;
                }
                if seen.received.contains_key(&entry.mark) {
                    tally.add(Kind::Due, 1);
                    tally.add(Kind::Replayed, u64::from(entry.at < window.asked_at));
                    continue;
                }
                let gone_by = |then: u64| entry.gone_at.is_some_and(|at| at <= then);
                // Whoever asks for all that is kept misses nothing of what was not.
                if after == 0 && gone_by(from) {
                    continue;
                }
                let gone = gone_by(caught_up);
                if !seen.acks && self.lost.contains(&(seen.client, entry.mark)) {
                    tally.add(Kind::Lost, 1);
                } else if gone && (told(&entry.channel) || (!seen.acks && self.unheard.contains(&seen.client))) {
                    tally.add(Kind::Evicted, 1);
                } else {
                    assert!(!gone, "event {id} on {} was gone and client {} was not told", entry.channel, seen.client);
                    missing.entry(&entry.channel).or_default().push(entry.mark);
                }
            }
        }
    }

    /// Of other subscriptions: all that was published while they were.
    fn check_live<'a>(&'a self, seen: &Seen, tally: &mut Tally, missing: &mut BTreeMap<&'a str, Vec<Mark>>) {
        let Some(caught_up) = seen.caught_up else { return };
        for (&mark, publication) in &self.publications {
            let waits = if publication.lazy { self.lazy_ms } else { 0 };
            let Some(acked_at) = publication.acked_at.filter(|at| at + waits <= caught_up) else { continue };
            let own = seen.name.as_ref().and_then(|name| self.own_windows.get(name));
            let subscribed = seen.windows.iter().chain(own.into_iter().flatten()).any(|window| {
                matches(&window.pattern, &publication.channel)
                    && window.after.is_none()
                    // Within a millisecond nobody knows what came first.
                    && window.sure_from.is_some_and(|from| from < publication.sent_at)
                    && window.sure_until.is_none_or(|until| until > acked_at)
            });
            let due = match &publication.aim {
                Aim::All => subscribed,
                Aim::One(name) => seen.name.as_ref() == Some(name),
                Aim::Nobody => false,
            };
            if publication.refused || !due {
                continue;
            }
            let received = seen.received.contains_key(&mark);
            tally.add(if received { Kind::Due } else { Kind::Lost }, 1);
            if !received && (seen.acks || !self.lost.contains(&(seen.client, mark))) {
                missing.entry(&publication.channel).or_default().push(mark);
            }
        }
    }

    /// What never came without a reason on the way was dropped by the server, and it has told how many.
    fn check_gaps(&self, seen: &Seen, tally: &mut Tally, missing: &BTreeMap<&str, Vec<Mark>>) {
        for (channel, marks) in missing {
            let count = marks.len() as i64;
            let told = seen.gaps.get(*channel).copied().unwrap_or_default();
            // While a wider subscription reads the history, all comes from there: a gap has the name of that one.
            let gone = seen.windows.iter().any(|window| {
                let reads = window.after.is_some() && matches(&window.pattern, channel);
                reads && seen.gaps.get(&window.pattern).is_some_and(|told| *told < 0)
            });
            let known = told < 0 || told >= count || self.unheard.contains(&seen.client);
            let enough = gone || (!seen.acks && known);
            assert!(
                enough,
                "events {marks:?} on {channel} never came to client {}, who was subscribed, and was told of {told}; hooks know \
                its session as {:?}, and it had got everything at {:?}",
                seen.client, seen.name, seen.caught_up
            );
        }
        for (channel, told) in &seen.gaps {
            let came = |mark: &Mark| seen.received.contains_key(mark);
            let never = self.publications.iter().filter(|(_, publication)| publication.channel == *channel);
            let never = never.filter(|(mark, _)| !came(mark)).count() as i64;
            assert!(*told <= never, "client {} was told of {told} on {channel}, and lacks {never}", seen.client);
            tally.add(Kind::Dropped, u64::try_from(*told).unwrap_or_default());
        }
    }
}

/// The marks in some bytes.
pub(crate) fn marks(bytes: &[u8]) -> impl Iterator<Item = Mark> {
    const LABEL: &[u8] = b"\"mark\":";
    let places = bytes.windows(LABEL.len()).enumerate().filter(|(_, window)| *window == LABEL);
    places.filter_map(|(at, _)| {
        let rest = &bytes[at + LABEL.len()..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        core::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
    })
}

/// Bytes in which a connection is told that it ends, although it has not taken what it was told before.
const LAST_WORDS: usize = 512;

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
    pub(crate) fn check(&self, engine: &Engine, open: usize, handed: u64) {
        let (census, counters) = (engine.census(), engine.counters());
        assert!(counters.encoded <= counters.published + handed, "more than one encoding of a publish: {counters:?}");
        let given = counters.delivered - counters.resent;
        assert!(given <= counters.queued + counters.replayed, "more delivered than queued: {counters:?}");
        assert_eq!(census.connections, open, "connections in the engine and sockets: {census:?}");
        let alive = counters.sessions_added - counters.sessions_removed;
        assert_eq!(census.sessions as u64, alive, "sessions counted and there: {census:?}");
        assert!(census.sessions <= self.limits.sessions, "{census:?}");
        assert!(census.connections <= self.limits.connections, "{census:?}");
        assert!(census.browsers <= census.sessions, "{census:?}");
        assert!(census.timers <= census.sessions + census.connections, "{census:?}");
        assert!(census.topics <= census.sessions * self.limits.subscriptions, "{census:?}");
        // The publish that reaches the limit still goes.
        assert!(census.kept_bytes <= self.limits.history_bytes, "{census:?}");
        assert!(census.received_bytes <= self.limits.received_bytes, "{census:?}");
        let largest = self.limits.body_bytes.min(self.limits.outbox_bytes) + BESIDE_JSON + census.sessions * PLACE;
        assert!(census.queued_bytes < self.limits.half_of_queued() + largest, "{census:?}");
    }

    /// What waits to be written on one connection is no more than the mark at which it is read no further, and what one
    /// batch can bring beyond that: as many bytes of events, or one event, and replies that repeat what was asked.
    ///
    /// `before` waited when it took nothing the last time. If that was beyond the mark already, only a poll can be answered
    /// that was held by then. Whether more than the news of its end has been added since.
    pub(crate) fn check_waiting(&self, waiting: usize, before: usize) -> bool {
        let Limits { output_bytes, body_bytes, .. } = self.limits;
        let most = output_bytes + output_bytes.max(body_bytes) + body_bytes + 64 * 1024;
        assert!(waiting <= most, "{waiting} bytes wait on one connection, {most} may");
        before >= output_bytes && waiting > before + LAST_WORDS
    }

    /// When everyone has left.
    pub(crate) fn check_rest(&self, engine: &Engine) {
        let Census { kept, kept_bytes, .. } = engine.census();
        assert_eq!(engine.census(), Census { kept, kept_bytes, ..Census::default() }, "something is kept for no one");
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

//! Reading the history: where a subscription begins, and how a session catches up.
//!
//! Owns the join of what was kept with what is published: while a session reads, events of what it reads reach it by
//! reading alone; once it has read the newest one, in the same turn, they are pushed. So nothing is missed or doubled.

use std::collections::HashSet;

use crate::bayeux::{Channel, Error, Pattern, Subscription as Names, encode};
use crate::event::Event;

use super::Broker;
use super::ext::{self, Said, Told};
use super::history::{Read, Room};
use super::meta::Refusal;
use super::outbox::PLACE;
use super::rules::ReplayShape;
use super::session::{Session, SessionKey};
use super::sums;

/// Events that are read at once; and a session that has as many waiting reads no more until they have gone.
const AT_ONCE: usize = 128;
/// Of the memory that is left to who reads, one reader gets this part at most, so that many leave room to each other.
const SHARE: usize = 64;

/// Where a reader wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// With what is published from now on: −1 on the wire.
    Now,
    /// With the oldest event that is kept: −2.
    Oldest,
    /// With the event after this number.
    After(u64),
}

impl Since {
    /// The meaning of a number on the wire; there is none below −2.
    pub fn from_number(number: i64) -> Option<Self> {
        match number {
            -2 => Some(Self::Oldest),
            -1 => Some(Self::Now),
            number => u64::try_from(number).ok().map(Self::After),
        }
    }
}

/// Where one name of a subscribe message begins.
#[derive(Debug)]
pub(super) struct Position<'m> {
    name: &'m str,
    pattern: Pattern<'m>,
    since: Since,
    shape: ReplayShape,
}

impl Position<'_> {
    /// Whether it has to be looked for in all histories.
    fn is_wild(&self) -> bool {
        self.since != Since::Now && !matches!(self.pattern, Pattern::Exact(_))
    }
}

impl Broker {
    /// Where the names of a subscribe message begin that say so, each with whether some of its events are gone.
    pub(super) fn positions<'m>(
        &mut self,
        key: SessionKey,
        names: &'m Names<'_>,
        said: &Said<'m>,
    ) -> Result<Vec<(Position<'m>, bool)>, Refusal<'m>> {
        let Some(map) = said.replay.filter(|map| map.get().starts_with('{')) else { return Ok(Vec::new()) };
        // Read once, and each name looked up: both lists may be long.
        let map_text = map.get();
        let numbers = said.replay_map();
        let (mut positions, mut seen) = (Vec::new(), HashSet::new());
        for name in &names.names {
            // What is no pattern is refused elsewhere; of a service nothing is kept.
            let Some(pattern) = Pattern::parse(name).ok().filter(|pattern| !pattern.is_service()) else { continue };
            if !seen.insert(&**name) {
                continue;
            }
            let shape = self.rules.of_name(pattern).shape;
            let Some((text, number)) = numbers.get(&**name).copied().map(ext::replay_number) else {
                if shape == ReplayShape::Salesforce {
                    return Err(Refusal::Plain(Error::ReplayMissing { channel: name, map: map_text }));
                }
                continue;
            };
            let Some(since) = number.and_then(Since::from_number) else {
                return Err(Refusal::Plain(Error::ReplayInvalid(text)));
            };
            positions.push((Position { name, pattern, since, shape }, text));
        }
        self.may_read(key, &positions)?;
        let mut looked_at = Vec::with_capacity(positions.len());
        for (position, text) in positions {
            let lost = self.misses(position.pattern, position.since);
            if lost && position.shape == ReplayShape::Salesforce {
                return Err(Refusal::Plain(Error::ReplayInvalid(text)));
            }
            looked_at.push((position, lost));
        }
        Ok(looked_at)
    }

    /// Whether a session may read all of this beside what it reads; then that counts among what the batch under way begins
    /// with.
    fn may_read<'m>(&mut self, key: SessionKey, positions: &[(Position<'_>, &str)]) -> Result<(), Refusal<'m>> {
        let wild = || positions.iter().map(|(position, _)| position).filter(|position| position.is_wild());
        let reads = self.sessions.get(key).and_then(|session| session.extras.as_ref());
        let others = reads.into_iter().flat_map(|extras| extras.wants.wildcards());
        let others = others.filter(|(own, _)| !wild().any(|position| own.is(position.pattern))).count();
        let more = wild().count();
        let most = self.limits.replay_wildcards;
        let begun = self.begun_wildcards.saturating_add(more);
        if more > 0 && (begun > most || others.saturating_add(more) > most) {
            return Err(Refusal::Plain(Error::ReplayLimit(most)));
        }
        self.begun_wildcards = begun;
        Ok(())
    }

    /// Whether somebody who begins there will miss some events of a pattern. What is too old of it has gone then.
    fn misses(&mut self, pattern: Pattern<'_>, since: Since) -> bool {
        match since {
            Since::Now => false,
            Since::Oldest => {
                self.history.has_lost(pattern, 0, self.now_ms);
                false
            }
            Since::After(after) => {
                let has_lost = self.history.has_lost(pattern, after, self.now_ms);
                has_lost || self.is_never_kept(pattern)
            }
        }
    }

    /// Whether it is one channel without a history.
    fn is_never_kept(&self, pattern: Pattern<'_>) -> bool {
        matches!(pattern, Pattern::Exact(channel) if self.rules.of(channel).history.is_none())
    }

    /// Begins to read; returns what the reply says of it: for names that begin now, after which number that is, and the names
    /// of which events are gone.
    pub(super) fn begin_reading(&mut self, key: SessionKey, positions: Vec<(Position<'_>, bool)>) -> Told {
        let newest = self.history.newest();
        let (mut now, mut gap) = (Vec::new(), Vec::new());
        for (Position { name, pattern, since, shape }, lost) in positions {
            if since == Since::Now && shape == ReplayShape::Plain && !self.is_never_kept(pattern) {
                now.push(name);
            }
            if lost {
                gap.push(name);
            }
            self.start_reading(key, pattern, since);
        }
        let mut told = Told::default();
        for (entry, names, value) in [("replay", now, newest.to_string()), ("gap", gap, "-1".to_owned())] {
            if names.is_empty() {
                continue;
            }
            told.add(entry, |out| {
                for (at, name) in names.into_iter().enumerate() {
                    out.push(if at == 0 { b'{' } else { b',' });
                    encode::string(out, name);
                    out.push(b':');
                    out.extend_from_slice(value.as_bytes());
                }
                out.push(b'}');
            });
        }
        told
    }

    /// The same for a guest, who is told of what is gone with the first events.
    pub(super) fn read_from(&mut self, key: SessionKey, pattern: Pattern<'_>, since: Since) {
        let lost = self.misses(pattern, since);
        self.start_reading(key, pattern, since);
        if let Some(session) = self.sessions.get_mut(key).filter(|_| lost) {
            session.extras.get_or_insert_default().gaps.add(&pattern.to_string(), None);
        }
    }

    /// Has the session read the events of a pattern before those to come.
    fn start_reading(&mut self, key: SessionKey, pattern: Pattern<'_>, since: Since) {
        let after = match since {
            Since::Now => return self.read_no_more(key, pattern),
            Since::Oldest => 0,
            Since::After(after) => after,
        };
        let place = self.history.place(after);
        if let Some(session) = self.sessions.get_mut(key) {
            session.extras.get_or_insert_default().wants.set(pattern, place);
            if self.readers.last() != Some(&key) {
                self.readers.push(key);
            }
        }
    }

    /// Reads for the sessions that have asked for it in the call under way.
    pub(super) fn begin_readers(&mut self) {
        while let Some(key) = self.readers.pop() {
            self.refill_for_request(key);
            self.list(key);
        }
    }

    /// What was kept of a pattern is not wanted any more. What came since reading began was not pushed, not even for other
    /// subscriptions: it is still read, and given as far as they match.
    pub(super) fn read_no_more(&mut self, key: SessionKey, pattern: Pattern<'_>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(extras) = session.extras.as_mut().filter(|extras| !extras.wants.is_empty()) else { return };
        if session.subscriptions.as_slice().is_empty() {
            extras.wants.clear();
        }
        extras.wants.skip_old(pattern);
    }

    /// Reads on for a session of the batch under way, unless that has read enough: then it is done when the session is
    /// answered.
    pub(super) fn refill_for_request(&mut self, key: SessionKey) {
        if self.work() < self.enough {
            self.refill(key);
        }
    }

    /// Reads on for a session that has room.
    pub(super) fn refill(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(extras) = session.extras.as_mut().filter(|extras| !extras.wants.is_empty()) else { return };
        // As with the outbox, half of the memory for all is for what is published meanwhile.
        let left = (self.limits.half_of_queued() / 2).saturating_sub(self.held.bytes());
        let count = AT_ONCE.min(self.limits.outbox_events / 2).min(left / (SHARE * PLACE)).max(1);
        if session.outbox.len() >= count {
            return;
        }
        // Half of the outbox is for what is published meanwhile.
        let bytes = (self.limits.outbox_bytes / 2).saturating_sub(session.outbox.bytes());
        let room = Room { count, bytes, one_at_least: session.outbox.is_empty() };
        let Read { events, lost } = self.history.read(&mut extras.wants, room, self.now_ms);
        for name in lost {
            extras.gaps.add(&name, None);
        }
        let topics = &self.topics;
        let mut looks = events.len();
        let mut subscribed = |event: &Event| {
            let channel = std::str::from_utf8(event.channel()).ok().and_then(|name| Channel::parse(name).ok());
            let mut all = session.subscriptions.as_slice().iter();
            let place = channel.and_then(|channel| all.position(|one| topics.covers(one.topic, channel)));
            looks = looks.saturating_add(place.unwrap_or(session.subscriptions.as_slice().len()));
            place.is_some()
        };
        let events: Vec<_> = events.into_iter().filter(|event| subscribed(event)).collect();
        sums::add(&mut self.worked, looks as u64);
        sums::add(&mut self.counters.replayed, events.len() as u64);
        for event in events {
            session.outbox.push(&event, &mut self.held);
            session.urgent = true;
        }
    }
}

/// Whether an event reaches the session by reading, and so is not to be pushed.
pub(super) fn will_read(session: &Session, channel: Channel<'_>, event: &Event) -> bool {
    let Some(extras) = &session.extras else { return false };
    event.id().is_some() && extras.wants.covers(channel)
}

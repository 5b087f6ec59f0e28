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

impl Broker {
    /// Where the names of a subscribe message begin that say so.
    pub(super) fn positions<'m>(
        &mut self,
        names: &'m Names<'_>,
        said: &Said<'m>,
    ) -> Result<Vec<Position<'m>>, Refusal<'m>> {
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
            let strict = shape == ReplayShape::Salesforce;
            let Some((text, number)) = numbers.get(&**name).copied().map(ext::replay_number) else {
                if strict {
                    return Err(Refusal::Plain(Error::ReplayMissing { channel: name, map: map_text }));
                }
                continue;
            };
            let invalid = Refusal::Plain(Error::ReplayInvalid(text));
            match number.and_then(Since::from_number) {
                None => return Err(invalid),
                Some(Since::After(after)) if strict && self.misses(pattern, after) => return Err(invalid),
                Some(since) => positions.push(Position { name, pattern, since, shape }),
            }
        }
        Ok(positions)
    }

    /// Whether somebody who has the events of a pattern up to a number will miss some.
    fn misses(&mut self, pattern: Pattern<'_>, after: u64) -> bool {
        self.is_never_kept(pattern) || self.history.has_lost(pattern, after, self.now_ms)
    }

    /// Whether it is one channel without a history.
    fn is_never_kept(&self, pattern: Pattern<'_>) -> bool {
        matches!(pattern, Pattern::Exact(channel) if self.rules.of(channel).history.is_none())
    }

    /// Begins to read; returns what the reply says of it: for names that begin now, after which number that is, and the names
    /// of which events are gone.
    pub(super) fn begin_reading(&mut self, key: SessionKey, positions: Vec<Position<'_>>) -> Told {
        let newest = self.history.newest();
        let (mut now, mut gap) = (Vec::new(), Vec::new());
        for Position { name, pattern, since, shape } in positions {
            if since == Since::Now && shape == ReplayShape::Plain && !self.is_never_kept(pattern) {
                now.push(name);
            }
            if self.start_reading(key, pattern, since) {
                gap.push(name);
            }
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
        if self.start_reading(key, pattern, since)
            && let Some(session) = self.sessions.get_mut(key)
        {
            session.extras.get_or_insert_default().gaps.add(&pattern.to_string(), None);
        }
    }

    /// Has the session read the events of a pattern before those to come; whether some are gone.
    fn start_reading(&mut self, key: SessionKey, pattern: Pattern<'_>, since: Since) -> bool {
        let (after, lost) = match since {
            Since::Now => {
                self.read_no_more(key, pattern);
                return false;
            }
            Since::Oldest => (0, false),
            Since::After(after) => (after, self.misses(pattern, after)),
        };
        let wanted = self.history.wanted(pattern, after, self.now_ms);
        if let Some(session) = self.sessions.get_mut(key) {
            let all = &mut session.extras.get_or_insert_default().wanted;
            all.retain(|one| !one.pattern.is(pattern));
            all.push(wanted);
            if self.readers.last() != Some(&key) {
                self.readers.push(key);
            }
        }
        lost
    }

    /// Reads for the sessions that have asked for it in the call under way.
    pub(super) fn begin_readers(&mut self) {
        while let Some(key) = self.readers.pop() {
            self.refill(key);
            self.list(key);
        }
    }

    /// What was kept of a pattern is not wanted any more. What came since reading began was not pushed, not even for other
    /// subscriptions: it is still read, and given as far as they match.
    pub(super) fn read_no_more(&mut self, key: SessionKey, pattern: Pattern<'_>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(extras) = session.extras.as_mut().filter(|extras| !extras.wanted.is_empty()) else { return };
        if session.subscriptions.as_slice().is_empty() {
            extras.wanted.clear();
        }
        for one in extras.wanted.iter_mut().filter(|one| one.pattern.is(pattern)) {
            one.skip_old();
        }
    }

    /// Reads on for a session that has room.
    pub(super) fn refill(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(extras) = session.extras.as_mut().filter(|extras| !extras.wanted.is_empty()) else { return };
        // As with the outbox, half of the memory for all is for what is published meanwhile.
        let left = (self.limits.half_of_queued() / 2).saturating_sub(self.held.bytes());
        let count = AT_ONCE.min(self.limits.outbox_events / 2).min(left / (SHARE * PLACE)).max(1);
        if session.outbox.len() >= count {
            return;
        }
        // Half of the outbox is for what is published meanwhile.
        let bytes = (self.limits.outbox_bytes / 2).saturating_sub(session.outbox.bytes());
        let room = Room { count, bytes, one_at_least: session.outbox.is_empty() };
        let Read { events, lost } = self.history.read(&mut extras.wanted, room, self.now_ms);
        for name in lost {
            extras.gaps.add(&name, None);
        }
        let topics = &self.topics;
        let subscribed = |event: &Event| {
            let channel = std::str::from_utf8(event.channel()).ok().and_then(|name| Channel::parse(name).ok());
            let mut all = session.subscriptions.as_slice().iter();
            channel.is_some_and(|channel| all.any(|one| topics.covers(one.topic, channel)))
        };
        let events: Vec<_> = events.into_iter().filter(|event| subscribed(event)).collect();
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
    event.id().is_some() && extras.wanted.iter().any(|one| one.covers(channel))
}

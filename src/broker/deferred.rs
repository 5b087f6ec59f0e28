//! Batches that wait: for the answer of a policy, or behind one of their session that does.
//!
//! Owns them while they wait, in the order of each session, and their deadlines. What becomes of one that goes on is decided
//! where batches are handled.
//!
//! | state | next | by |
//! |---|---|---|
//! | asking | goes on | [`Deferred::answered`] with its ticket, [`Deferred::overdue`] |
//! | behind | goes on | the batch before it of its session is done |

use core::net::IpAddr;
use std::collections::{HashMap, VecDeque};

use crate::bayeux::{Kind, Meta, OwnedMessage};
use crate::http::head::OwnedHead;
use crate::reply::{Answer, Link, Ticket, Way};

use super::ask::Pending;
use super::browser::Presented;
use super::session::SessionKey;
use super::sums;

/// Deadlines of questions that have been answered which are kept behind that of one that has not, count.
const ANSWERED: usize = 64;

/// A batch that has not been handled as a whole.
#[derive(Debug)]
pub(super) struct Suspended {
    /// What its connection knows it by.
    pub(super) id: u64,
    pub(super) link: Link,
    pub(super) way: Way,
    pub(super) client: Option<IpAddr>,
    pub(super) browser: Presented,
    pub(super) insider: Option<Ticket>,
    pub(super) head: Option<OwnedHead>,
    pub(super) address: Option<IpAddr>,
    /// What is left of it, in the order in which it is handled.
    pub(super) messages: Vec<OwnedMessage>,
    /// Whether it had one message.
    pub(super) sole: bool,
    /// The question about the first of them that is to be answered; `None`: it has not begun.
    pub(super) question: Option<Pending>,
    /// Whose message the first is, unless it is a handshake.
    pub(super) session: Option<SessionKey>,
    /// What has been answered so far.
    pub(super) answer: Answer,
}

fn is_connect(message: &OwnedMessage) -> bool {
    message.kind() == Some(Kind::Meta(Meta::Connect))
}

impl Suspended {
    fn weight(&self) -> usize {
        let head = self.head.as_ref().map_or(0, OwnedHead::weight);
        let messages = self.messages.iter().map(OwnedMessage::weight);
        let own = size_of::<Self>().saturating_add(head).saturating_add(self.answer.replies.weight());
        messages.fold(own, usize::saturating_add)
    }
}

/// How many batches wait, and how many bytes of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) batches: usize,
    pub(super) bytes: usize,
}

/// What waits of each.
#[derive(Debug)]
struct Loads<K>(HashMap<K, Load>);

impl<K> Default for Loads<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + core::hash::Hash> Loads<K> {
    fn add(&mut self, of: Option<K>, bytes: usize) {
        let Some(load) = of.map(|of| self.0.entry(of).or_default()) else { return };
        sums::put(&mut load.batches, 1);
        sums::put(&mut load.bytes, bytes);
    }

    fn remove(&mut self, of: Option<K>, bytes: usize) {
        let Some(of) = of else { return };
        let Some(load) = self.0.get_mut(&of) else { return };
        sums::take(&mut load.batches, 1);
        sums::take(&mut load.bytes, bytes);
        if load.batches == 0 {
            self.0.remove(&of);
        }
    }

    /// Whether as much waits as may. One may, whatever it takes.
    fn is_full(&self, of: Option<K>, share: Load) -> bool {
        let load = of.and_then(|of| self.0.get(&of));
        load.is_some_and(|load| load.batches >= share.batches || load.bytes >= share.bytes)
    }
}

/// Whose batch it would be that is to wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) session: Option<SessionKey>,
    pub(super) link: Link,
    pub(super) address: Option<IpAddr>,
}

/// An address that stands for somebody: not this machine, on which a proxy may be.
fn counted(address: Option<IpAddr>) -> Option<IpAddr> {
    address.filter(|address| !address.to_canonical().is_loopback())
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Deferred {
    batches: HashMap<u64, Suspended>,
    /// By ticket, which batch asks.
    asking: HashMap<u64, u64>,
    /// When which ticket is overdue, ms: all have the same time, so the first is the earliest.
    deadlines: VecDeque<(u64, u64)>,
    /// By session; the first is the one that asks.
    queues: HashMap<u64, VecDeque<u64>>,
    of_sessions: Loads<u64>,
    of_links: Loads<u64>,
    of_addresses: Loads<IpAddr>,
    /// Those with a connect, and the links that these hold, so that each close costs a look at few words.
    connects: Vec<(Link, u64)>,
    bytes: usize,
    ticket: u64,
    id: u64,
}

impl Deferred {
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.batches.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A ticket for a question. Each has its own, whatever comes of it: one that is deferred and cannot wait must not leave
    /// its ticket to the next.
    pub(super) fn new_ticket(&mut self) -> u64 {
        sums::one(&mut self.ticket);
        self.ticket
    }

    /// A name for a batch that is to wait.
    pub(super) fn new_id(&mut self) -> u64 {
        sums::one(&mut self.id);
        self.id
    }

    /// Whether a batch waits.
    pub(super) fn has(&self, id: u64) -> bool {
        self.batches.contains_key(&id)
    }

    /// Whether the first batch of a session waits for an answer, not for its turn.
    pub(super) fn asks_first(&self, session: SessionKey) -> bool {
        let first = self.queues.get(&session.to_bits()).and_then(|queue| queue.front());
        first.and_then(|id| self.batches.get(id)).is_some_and(|batch| batch.question.is_some())
    }

    /// Whether messages of a session have to wait behind others.
    pub(super) fn holds_back(&self, session: SessionKey) -> bool {
        self.queues.contains_key(&session.to_bits())
    }

    /// Whether as much waits of a session or of a link as may of one of them, or of an address.
    pub(super) fn is_full_for(&self, owner: Owner, of_one: Load, of_address: Load) -> bool {
        self.of_sessions.is_full(owner.session.map(SessionKey::to_bits), of_one)
            || self.of_links.is_full(Some(owner.link.0), of_one)
            || self.of_addresses.is_full(counted(owner.address), of_address)
    }

    /// Keeps a batch whose question with this ticket has just been deferred, until then, ms. It comes before those of its
    /// session that are behind it.
    pub(super) fn ask(&mut self, batch: Suspended, ticket: u64, deadline_ms: u64) {
        self.asking.insert(ticket, batch.id);
        self.deadlines.push_back((deadline_ms, ticket));
        if let Some(session) = batch.session {
            self.queues.entry(session.to_bits()).or_default().push_front(batch.id);
        }
        self.keep(batch);
    }

    /// Keeps a batch behind those of the session of its first message.
    pub(super) fn follow(&mut self, batch: Suspended) {
        if let Some(session) = batch.session {
            self.queues.entry(session.to_bits()).or_default().push_back(batch.id);
        }
        self.keep(batch);
    }

    fn keep(&mut self, batch: Suspended) {
        let weight = batch.weight();
        sums::put(&mut self.bytes, weight);
        self.of_sessions.add(batch.session.map(SessionKey::to_bits), weight);
        self.of_links.add(Some(batch.link.0), weight);
        self.of_addresses.add(counted(batch.address), weight);
        if batch.messages.iter().any(is_connect) {
            self.connects.push((batch.link, batch.id));
        }
        self.batches.insert(batch.id, batch);
    }

    fn take(&mut self, id: u64) -> Option<Suspended> {
        let batch = self.batches.remove(&id)?;
        if batch.messages.iter().any(is_connect) {
            self.connects.retain(|(_, own)| *own != id);
        }
        let weight = batch.weight();
        sums::take(&mut self.bytes, weight);
        self.of_sessions.remove(batch.session.map(SessionKey::to_bits), weight);
        self.of_links.remove(Some(batch.link.0), weight);
        self.of_addresses.remove(counted(batch.address), weight);
        Some(batch)
    }

    /// No answer gets to a link any more: connects that wait for it are taken out, or they would take events along.
    pub(super) fn forget_link(&mut self, link: Link) {
        while let Some((_, id)) = self.connects.iter().find(|(own, _)| *own == link).copied() {
            let Some(mut batch) = self.take(id) else { return };
            batch.messages.retain(|message| !is_connect(message));
            self.keep(batch);
        }
    }

    fn queue_of(&mut self, batch: &Suspended) -> Option<&mut VecDeque<u64>> {
        self.queues.get_mut(&batch.session?.to_bits())
    }

    /// The batch whose question has this ticket; a ticket is good once.
    pub(super) fn answered(&mut self, ticket: u64) -> Option<Suspended> {
        let id = self.asking.remove(&ticket)?;
        while self.deadlines.front().is_some_and(|(_, first)| !self.asking.contains_key(first)) {
            self.deadlines.pop_front();
        }
        // Behind one that nobody answers, those that have been answered must not pile up.
        if self.deadlines.len() > self.asking.len().saturating_mul(2).saturating_add(ANSWERED) {
            self.deadlines.retain(|(_, ticket)| self.asking.contains_key(ticket));
        }
        let batch = self.take(id)?;
        if let Some(queue) = self.queue_of(&batch) {
            queue.pop_front();
        }
        Some(batch)
    }

    /// The next batch of a session whose first has gone on and is done.
    pub(super) fn next_of(&mut self, session: SessionKey) -> Option<Suspended> {
        let queue = self.queues.get_mut(&session.to_bits())?;
        match queue.pop_front() {
            Some(id) => self.take(id),
            None => {
                self.queues.remove(&session.to_bits());
                None
            }
        }
    }

    /// When the first ticket is overdue, ms.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.deadlines.front().map(|(at, _)| *at)
    }

    /// A ticket that is overdue; each once.
    pub(super) fn overdue(&mut self, now_ms: u64) -> Option<u64> {
        self.deadlines.front().filter(|(at, _)| *at <= now_ms)?;
        self.deadlines.pop_front().map(|(_, ticket)| ticket)
    }
}

impl Deferred {
    /// The first batch of a session that is gone, which waits for nothing any more.
    pub(super) fn abandon(&mut self, session: SessionKey) -> Option<Suspended> {
        let id = *self.queues.get(&session.to_bits())?.front()?;
        let ticket = self.asking.iter().find(|(_, asking)| **asking == id).map(|(ticket, _)| *ticket)?;
        self.answered(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(slot: u64) -> SessionKey {
        SessionKey::from_bits(1 << 32 | slot).unwrap()
    }

    fn batch(deferred: &mut Deferred, of: Option<SessionKey>) -> Suspended {
        Suspended {
            id: deferred.new_id(),
            link: Link(7),
            way: Way::Answer,
            client: None,
            browser: Presented::Nothing,
            insider: None,
            head: None,
            address: None,
            messages: vec![OwnedMessage::default()],
            sole: true,
            question: None,
            session: of,
            answer: Answer::default(),
        }
    }

    #[test]
    fn questions_that_have_been_answered_are_forgotten_whoever_is_first() {
        let mut deferred = Deferred::default();
        for _ in 0..10_000 {
            let (one, ticket) = (batch(&mut deferred, None), deferred.new_ticket());
            deferred.ask(one, ticket, 100);
            // The first is never answered.
            assert!(ticket == 1 || deferred.answered(ticket).is_some());
            assert!(deferred.deadlines.len() <= ANSWERED + 4);
        }
        assert_eq!((deferred.next_deadline(), deferred.overdue(100), deferred.len()), (Some(100), Some(1), 1));
    }

    #[test]
    fn what_has_been_answered_of_a_batch_counts() {
        let mut deferred = Deferred::default();
        let mut one = batch(&mut deferred, None);
        let before = one.weight();
        one.answer.replies.push(|out| out.extend_from_slice(&[b' '; 1_000]));
        assert!(one.weight() >= before + 1_000);
    }

    #[test]
    fn batches_of_a_session_go_on_one_after_another() {
        let mut deferred = Deferred::default();
        let (a, b) = (Some(session(1)), Some(session(2)));
        let first = batch(&mut deferred, a);
        let ask = |deferred: &mut Deferred, batch, deadline_ms| {
            let ticket = deferred.new_ticket();
            deferred.ask(batch, ticket, deadline_ms);
        };
        ask(&mut deferred, first, 100);
        let second = batch(&mut deferred, a);
        deferred.follow(second);
        let other = batch(&mut deferred, b);
        ask(&mut deferred, other, 110);
        let nobody = batch(&mut deferred, None);
        ask(&mut deferred, nobody, 120);
        assert!(deferred.holds_back(session(1)) && !deferred.holds_back(session(3)));
        let all = deferred.of_sessions.0[&session(1).to_bits()];
        assert_eq!((all.batches, deferred.of_links.0[&7].batches), (2, 4));
        let full = |of, batches, bytes| {
            let owner = Owner { session: Some(session(of)), link: Link(8), address: None };
            deferred.is_full_for(owner, Load { batches, bytes }, Load::default())
        };
        let bytes = all.bytes;
        assert!(full(1, 2, bytes + 1) && full(1, 3, bytes) && !full(1, 3, bytes + 1) && !full(3, 0, 0));
        let linked = |link| Owner { session: None, link: Link(link), address: None };
        let most = Load { batches: 4, bytes: usize::MAX };
        assert!(deferred.is_full_for(linked(7), most, most) && !deferred.is_full_for(linked(8), most, most));
        assert!(deferred.len() == 4 && deferred.bytes() > 4 * size_of::<Suspended>());
        assert_eq!(deferred.answered(9).map(|batch| batch.id), None);
        let first = deferred.answered(1).unwrap();
        assert_eq!((first.id, deferred.next_deadline()), (1, Some(110)));
        assert!(deferred.answered(1).is_none() && deferred.holds_back(session(1)));
        assert_eq!(deferred.of_sessions.0[&session(1).to_bits()].bytes, bytes / 2);
        // It asks once more: those behind it stay there.
        ask(&mut deferred, first, 130);
        assert_eq!(deferred.answered(4).map(|batch| batch.id), Some(1));
        assert_eq!(deferred.next_of(session(1)).map(|batch| batch.id), Some(2));
        assert!(deferred.next_of(session(1)).is_none() && !deferred.holds_back(session(1)));
        assert_eq!((deferred.overdue(109), deferred.overdue(110)), (None, Some(2)));
        assert_eq!(deferred.abandon(session(2)).map(|batch| batch.id), Some(3));
        assert!(deferred.abandon(session(2)).is_none());
        assert!(deferred.next_of(session(2)).is_none());
        assert_eq!(deferred.answered(3).map(|batch| batch.id), Some(4));
        assert!(deferred.is_empty() && deferred.bytes() == 0 && deferred.queues.is_empty());
        assert!(deferred.of_sessions.0.is_empty() && deferred.of_links.0.is_empty());
    }
}

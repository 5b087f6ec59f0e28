//! From a batch to its replies, at once or later.
//!
//! Owns the order in which messages are handled: those of one session never pass one another, whatever some of them wait
//! for, unless they share a batch with those of others. What each kind of message does is next door.

use crate::bayeux::{Error, Kind, Message, Meta, OwnedMessage};
use crate::clock::Now;
use crate::hooks::{Admission, Denial, Origin, Passage, PolicyTicket};
use crate::http::head::OwnedHead;
use crate::limits::Limits;
use crate::reply::{Answer, Link, Way};

use super::ask::{Pending, Questions, Settled, Stop};
use super::deferred::{Load, Owner, Suspended};
use super::session::SessionKey;
use super::{Broker, Request};

/// What a policy is taken to have said that has not answered in time.
const TOO_LATE: &str = "no answer in time";

/// One session, and one connection, may have this part of what may wait.
const SHARES: usize = 16;
/// One address may have this part of it: there may be many behind one.
const ADDRESS_SHARES: usize = 4;

/// The answer to a batch that had to wait.
#[derive(Debug)]
pub struct Late {
    /// Where it goes.
    pub link: Link,
    /// What the batch is known by there.
    pub id: u64,
    /// What it is answered.
    pub answer: Answer,
}

/// The first message of a batch has been begun before.
struct Begun {
    /// The answer to what it waited for; `None` if there is no use for one any more.
    settled: Option<Settled>,
}

/// What is done next about batches that have waited.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A question has not been answered in time.
    Overdue(PolicyTicket),
    /// The batches of a session go on, as the one before them is done.
    Next(SessionKey),
}

/// Why a batch does not go on now.
enum Halt {
    /// A policy answers this question about its first message later.
    Asking(Pending),
    /// Others of the session come first.
    Behind,
}

impl Broker {
    /// Handles one batch and appends what it is answered now to `answer`; or, if it has to wait, sets what it is known by
    /// when its answer comes: [`Broker::take_late`].
    ///
    /// A handshake stands alone: what else is in its batch is ignored. Connects are handled last, so that their replies
    /// come after all others and the events queued by the batch itself go with them (Bayeux 1.0, "Batching").
    pub fn receive(&mut self, request: &Request<'_>, messages: &[Message<'_>], now: Now, answer: &mut Answer) {
        self.tell_time(now);
        self.begin_call();
        let whole = (messages.len() == 1, None, None);
        if messages.len() <= 1 {
            return self.proceed((request, &mut messages.iter()), whole, answer);
        }
        let is_meta = |message: &Message<'_>, meta| message.kind() == Some(Kind::Meta(meta));
        if let Some(at) = messages.iter().position(|message| is_meta(message, Meta::Handshake)) {
            return self.proceed((request, &mut messages.iter().skip(at).take(1)), whole, answer);
        }
        let last = messages.iter().filter(|message| is_meta(message, Meta::Connect));
        let first = messages.iter().filter(|message| !is_meta(message, Meta::Connect));
        self.proceed((request, &mut first.chain(last)), whole, answer);
    }

    /// Handles messages one after another, until one has to wait: then it is kept with all that follow. The first may have
    /// been begun. A session's own batch does not wait behind itself.
    fn proceed<'m>(
        &mut self,
        (request, messages): (&Request<'_>, &mut dyn Iterator<Item = &'m Message<'m>>),
        (sole, begun, own): (bool, Option<Begun>, Option<SessionKey>),
        answer: &mut Answer,
    ) {
        let (mut fresh, mut settled) = (begun.is_none(), begun.and_then(|begun| begun.settled));
        while let Some(message) = messages.next() {
            let session = self.held_back(request, message, own);
            let halted = if let Some(session) = session {
                self.speaker = Some(session);
                Some((OwnedMessage::from(message), Halt::Behind, Some(session)))
            } else {
                let result = self.handle((request, message), (sole, fresh, settled.take()), answer);
                fresh = true;
                result.map(|(message, pending)| (message, Halt::Asking(pending), self.speaker))
            };
            let Some((first, halt, session)) = halted else { continue };
            let owner = Owner { session, link: request.link, address: request.origin.address };
            if self.has_no_room(owner, own) {
                self.speaker = session;
                self.fail(&first.as_message(), Error::DeferredLimit, answer);
                continue;
            }
            let rest = core::iter::once(first).chain(messages.map(OwnedMessage::from)).collect();
            let pending = if let Halt::Asking(pending) = halt { Some(pending) } else { None };
            return self.suspend(request, (rest, sole, pending, session), answer);
        }
        self.begin_readers();
    }

    /// Whether no more batches may wait, or no more of this owner: what one client sends must not be all that may wait. What
    /// has waited before, in the queue of `own`, has its place.
    fn has_no_room(&self, owner: Owner, own: Option<SessionKey>) -> bool {
        let Limits { deferred_batches: most, deferred_bytes: bytes, .. } = self.limits;
        if own.is_some() && owner.session == own {
            return false;
        }
        let of_one = Load { batches: (most / SHARES).max(1), bytes: bytes / SHARES };
        let of_address = Load { batches: (most / ADDRESS_SHARES).max(1), bytes: bytes / ADDRESS_SHARES };
        let full = own.is_none() && (self.deferred.len() >= most || self.deferred.bytes() >= bytes);
        full || self.deferred.is_full_for(owner, of_one, of_address)
    }

    /// Keeps the rest of a batch, with what has been answered so far.
    fn suspend(
        &mut self,
        request: &Request<'_>,
        (messages, sole, pending, session): (Vec<OwnedMessage>, bool, Option<Pending>, Option<SessionKey>),
        answer: &mut Answer,
    ) {
        self.begin_readers();
        let id = answer.deferred.unwrap_or_else(|| self.deferred.new_id());
        let batch = Suspended {
            id,
            link: request.link,
            way: request.way,
            client: request.client,
            browser: request.browser.clone(),
            insider: request.insider,
            head: request.origin.head.map(OwnedHead::from),
            address: request.origin.address,
            messages,
            sole,
            question: pending,
            session,
            answer: core::mem::take(answer),
        };
        answer.deferred = Some(id);
        if let Some(Pending { ticket, .. }) = batch.question {
            self.deferred.ask(batch, ticket, self.now_ms.saturating_add(self.limits.defer_ms));
        } else {
            self.deferred.follow(batch);
        }
    }

    /// The session that a message belongs to, if others of it come first.
    fn held_back(&self, request: &Request<'_>, message: &Message<'_>, own: Option<SessionKey>) -> Option<SessionKey> {
        // A connect by itself is how a client waits, and has an effect on nothing else.
        if self.deferred.is_empty() || matches!(message.kind(), Some(Kind::Meta(Meta::Handshake | Meta::Connect))) {
            return None;
        }
        let session = self.speaker_of(request, message)?;
        (Some(session) != own && self.deferred.holds_back(session)).then_some(session)
    }

    /// Has extensions look at a message that is `fresh`, and does what it asks for. The message as it is by then, and the
    /// question about it, if the policy answers later.
    fn handle(
        &mut self,
        (request, message): (&Request<'_>, &Message<'_>),
        (sole, fresh, settled): (bool, bool, Option<Settled>),
        answer: &mut Answer,
    ) -> Option<(OwnedMessage, Pending)> {
        let extended = fresh && !self.hooks.extensions.is_empty();
        self.from = request.origin.address;
        self.speaker = if extended { self.speaker_of(request, message) } else { None };
        let mut questions = Questions::settled(settled);
        if !extended {
            let stopped = self.act((request, message), sole, &mut questions, answer);
            return stopped
                .err()
                .and_then(|stop| stop.into_pending(questions))
                .map(|pending| (message.into(), pending));
        }
        let mut changed = OwnedMessage::from(message);
        if self.extend_incoming(&mut changed, (self.speaker, request.origin)) == Passage::Delete {
            self.fail(message, Error::MessageDeleted, answer);
            return None;
        }
        let stopped = self.act((request, &changed.as_message()), sole, &mut questions, answer);
        stopped.err().and_then(|stop| stop.into_pending(questions)).map(|pending| (changed, pending))
    }

    /// Does what a message asks for; only what is deferred comes back.
    fn act(
        &mut self,
        (request, message): (&Request<'_>, &Message<'_>),
        sole: bool,
        questions: &mut Questions,
        answer: &mut Answer,
    ) -> Result<(), Stop> {
        match message.kind() {
            Some(Kind::Meta(Meta::Handshake)) => return self.handshake((request, message), questions, answer),
            Some(Kind::Meta(Meta::Connect)) => {
                self.begin_readers();
                self.connect(request, message, sole, answer);
                return Ok(());
            }
            _ => {}
        }
        if let Some(invalid) = message.invalid {
            self.fail(message, invalid.into(), answer);
            return Ok(());
        }
        let channel = message.channel.as_deref().unwrap_or_default();
        match message.kind() {
            None => self.fail(message, Error::ChannelMissing, answer),
            Some(Kind::Invalid) => self.fail(message, Error::ChannelInvalid(channel), answer),
            Some(Kind::UnknownMeta) => self.fail(message, Error::ChannelUnknown, answer),
            Some(Kind::Meta(meta)) => {
                let Some(session) = self.authenticate(request, message) else {
                    self.fail(message, Error::SessionUnknown, answer);
                    return Ok(());
                };
                match meta {
                    Meta::Subscribe => return self.subscribe((request, session), message, questions, answer),
                    Meta::Unsubscribe => self.unsubscribe(session, message, answer),
                    Meta::Disconnect => self.disconnect(session, message, answer),
                    Meta::Handshake | Meta::Connect => {}
                }
            }
            Some(Kind::Service(channel) | Kind::Broadcast(channel)) => {
                return self.publish_from((request, channel), message, questions, answer);
            }
        }
        Ok(())
    }

    /// The answer to a question that was deferred; nothing happens if it has been answered already.
    pub(super) fn resolve(&mut self, ticket: PolicyTicket, result: Result<Admission, Denial>) {
        let Some(batch) = self.deferred.answered(ticket.0) else { return };
        let settled = batch.question.clone().map(|question| question.settled(result));
        self.release(batch, settled);
    }

    /// Says no to questions that have not been answered in time, as the next steps.
    pub(super) fn give_up_waiting(&mut self) {
        while let Some(ticket) = self.deferred.overdue(self.now_ms) {
            self.steps.push_back(Step::Overdue(PolicyTicket(ticket)));
        }
    }

    /// Lets one batch go on that waits for nothing any more; whether there was one. One at a time: what comes of it, answers
    /// and links that end, has to be told in order.
    pub(super) fn go_on(&mut self) -> bool {
        match self.steps.pop_front() {
            Some(Step::Overdue(ticket)) => self.resolve(ticket, Err(Denial::new(TOO_LATE))),
            Some(Step::Next(session)) => {
                if let Some(batch) = self.deferred.next_of(session) {
                    self.release(batch, None);
                }
            }
            None => return self.release_orphan(),
        }
        true
    }

    /// Lets what waits for a session go on that is gone: all of it fails. Whether there was such a session.
    fn release_orphan(&mut self) -> bool {
        let Some(session) = self.orphans.pop() else { return false };
        if let Some(batch) = self.deferred.abandon(session) {
            // Extensions have seen its first message; whatever the answer would be, it is nobody's.
            let settled = batch.question.clone().map(|question| question.settled(Err(Denial::default())));
            self.release(batch, settled);
        }
        true
    }

    /// Goes on with a batch. Those behind it come next, unless it has to wait again.
    fn release(&mut self, batch: Suspended, settled: Option<Settled>) {
        self.begin_call();
        let session = batch.session;
        self.run(batch, settled);
        if let Some(session) = session.filter(|session| !self.deferred.asks_first(*session)) {
            self.steps.push_back(Step::Next(session));
        }
    }

    fn run(&mut self, batch: Suspended, settled: Option<Settled>) {
        let Suspended { id, link, way, client, browser, insider, head, address, .. } = batch;
        let Suspended { messages, sole, question, session, mut answer, .. } = batch;
        let begun = question.map(|_| Begun { settled });
        let limits = self.limits.clone();
        let head = head.as_ref().and_then(|head| head.head(&limits));
        let origin = Origin { head: head.as_ref(), address, local: way == Way::Inside };
        let request = Request { link, way, client, browser, origin, insider };
        let messages: Vec<Message<'_>> = messages.iter().map(OwnedMessage::as_message).collect();
        answer.deferred = Some(id);
        self.proceed((&request, &mut messages.iter()), (sole, begun, session), &mut answer);
        // It is another one if the batch has to wait again.
        if answer.deferred.take_if(|_| !self.deferred.has(id)).is_some() {
            self.late.push_back(Late { link, id, answer });
        }
    }

    /// A link takes no more, or is gone.
    pub fn forget_link(&mut self, link: Link) {
        self.deferred.forget_link(link);
    }

    /// The next answer to a batch that had to wait; `None` when there is no more.
    pub fn take_late(&mut self) -> Option<Late> {
        self.late.pop_front()
    }
}

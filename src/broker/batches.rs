//! From a batch to its replies, at once or later.
//!
//! Owns the order in which messages are handled: those of one session never pass one another, whatever some of them wait
//! for. What each kind of message does is next door.

use crate::bayeux::{Error, Kind, Message, Meta, OwnedMessage};
use crate::clock::Now;
use crate::hooks::{Admission, Denial, Origin, Passage, PolicyTicket};
use crate::http::head::OwnedHead;
use crate::reply::{Answer, Link, Way};

use super::ask::{Questions, Settled, Stop};
use super::deferred::Suspended;
use super::session::SessionKey;
use super::token::ClientId;
use super::{Broker, Request};

/// What a policy is taken to have said that has not answered in time.
const TOO_LATE: &str = "no answer in time";

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

/// Why a batch does not go on now.
enum Halt {
    /// A policy answers this question about its first message later.
    Asking(u32),
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
        let is_meta = |message: &Message<'_>, meta| message.kind() == Some(Kind::Meta(meta));
        let handshake = messages.iter().position(|message| is_meta(message, Meta::Handshake));
        let sole = messages.len() == 1;
        if let Some(at) = handshake {
            let alone = messages.iter().skip(at).take(1);
            return self.proceed((request, alone), (sole, None, None), answer);
        }
        let (mut connects, mut others) = (0_usize, 0_usize);
        for message in messages {
            let counted = if is_meta(message, Meta::Connect) { &mut connects } else { &mut others };
            *counted = counted.saturating_add(1);
        }
        if connects == 0 || others == 0 {
            return self.proceed((request, messages.iter()), (sole, None, None), answer);
        }
        let last = messages.iter().filter(|message| is_meta(message, Meta::Connect));
        let first = messages.iter().filter(|message| !is_meta(message, Meta::Connect));
        self.proceed((request, first.chain(last)), (sole, None, None), answer);
    }

    /// Handles messages one after another, until one has to wait: then it is kept with all that follow. The answer to what
    /// the first was waiting for may have come. A session's own batch does not wait behind itself.
    fn proceed<'m>(
        &mut self,
        (request, mut messages): (&Request<'_>, impl Iterator<Item = &'m Message<'m>>),
        (sole, mut settled, own): (bool, Option<Settled>, Option<SessionKey>),
        answer: &mut Answer,
    ) {
        let mut fresh = settled.is_none();
        while let Some(message) = messages.next() {
            let session = self.held_back(message, own);
            let halted = if let Some(session) = session {
                Some((OwnedMessage::from(message), Halt::Behind, Some(session)))
            } else {
                let result = self.handle((request, message), (sole, fresh, settled.take()), answer);
                fresh = true;
                result.map(|(message, question)| (message, Halt::Asking(question), self.speaker))
            };
            let Some((first, halt, session)) = halted else { continue };
            let full = self.deferred.len() >= self.limits.deferred_batches
                || self.deferred.bytes() >= self.limits.deferred_bytes;
            if full {
                self.fail(&first.as_message(), Error::DeferredLimit, answer);
                continue;
            }
            let rest = core::iter::once(first).chain(messages.map(OwnedMessage::from)).collect();
            let question = if let Halt::Asking(question) = halt { Some(question) } else { None };
            return self.suspend(request, (rest, sole, question, session), answer);
        }
        self.begin_readers();
    }

    /// Keeps the rest of a batch, with what has been answered so far.
    fn suspend(
        &mut self,
        request: &Request<'_>,
        (messages, sole, question, session): (Vec<OwnedMessage>, bool, Option<u32>, Option<SessionKey>),
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
            head: request.origin.head.map(OwnedHead::from),
            address: request.origin.address,
            messages,
            sole,
            question,
            session,
            answer: core::mem::take(answer),
        };
        answer.deferred = Some(id);
        if question.is_some() {
            self.deferred.ask(batch, self.now_ms.saturating_add(self.limits.defer_ms));
        } else {
            self.deferred.follow(batch);
        }
    }

    /// The session that a message belongs to, if others of it come first.
    fn held_back(&self, message: &Message<'_>, own: Option<SessionKey>) -> Option<SessionKey> {
        if self.deferred.is_empty() || message.kind() == Some(Kind::Meta(Meta::Handshake)) {
            return None;
        }
        // A connect by itself is how a client waits, and has an effect on nothing else.
        let id = ClientId::from_text(message.client_id.as_deref()?)?;
        let session = self.sessions.key_at(id.slot)?;
        let waits = message.kind() != Some(Kind::Meta(Meta::Connect));
        (waits && Some(session) != own && self.deferred.holds_back(session)).then_some(session)
    }

    /// Has extensions look at a message that is `fresh`, and does what it asks for. The message as it is by then, and the
    /// question about it, if the policy answers later.
    fn handle(
        &mut self,
        (request, message): (&Request<'_>, &Message<'_>),
        (sole, fresh, settled): (bool, bool, Option<Settled>),
        answer: &mut Answer,
    ) -> Option<(OwnedMessage, u32)> {
        self.speaker = None;
        let mut questions = Questions::settled(settled);
        if self.hooks.extensions.is_empty() || !fresh {
            let stopped = self.act((request, message), sole, &mut questions, answer);
            return stopped.err().and_then(|stop| stop.question()).map(|question| (message.into(), question));
        }
        let mut changed = OwnedMessage::from(message);
        if self.extend_incoming(&mut changed, request.origin) == Passage::Delete {
            self.fail(message, Error::MessageDeleted, answer);
            return None;
        }
        let stopped = self.act((request, &changed.as_message()), sole, &mut questions, answer);
        stopped.err().and_then(|stop| stop.question()).map(|question| (changed, question))
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
        let settled = batch.question.map(|question| Settled { question, result });
        self.go_on(batch, settled);
    }

    /// Says no to questions that have not been answered in time.
    pub(super) fn give_up_waiting(&mut self) {
        while let Some(ticket) = self.deferred.overdue(self.now_ms) {
            self.resolve(PolicyTicket(ticket), Err(Denial::new(TOO_LATE)));
        }
    }

    /// Lets what waits for a session go on that is gone: all of it fails.
    pub(super) fn release_orphans(&mut self) {
        while let Some(session) = self.orphans.pop() {
            if let Some(batch) = self.deferred.abandon(session) {
                self.go_on(batch, None);
            }
        }
    }

    /// Goes on with a batch, and with those behind it for as long as none has to wait again.
    fn go_on(&mut self, batch: Suspended, settled: Option<Settled>) {
        self.begin_call();
        let (mut next, mut settled) = (Some(batch), settled);
        while let Some(batch) = next {
            let session = batch.session;
            self.run(batch, settled.take());
            let waits_again = session.is_some_and(|session| self.deferred.asks_first(session));
            next = session.filter(|_| !waits_again).and_then(|session| self.deferred.next_of(session));
        }
    }

    fn run(&mut self, batch: Suspended, settled: Option<Settled>) {
        let Suspended { id, link, way, client, browser, head, address, messages, sole, session, mut answer, .. } =
            batch;
        let limits = self.limits.clone();
        let head = head.as_ref().and_then(|head| head.head(&limits));
        let origin = Origin { head: head.as_ref(), address, local: way == Way::Inside };
        let request = Request { link, way, client, browser, origin, insider: None };
        let messages: Vec<Message<'_>> = messages.iter().map(OwnedMessage::as_message).collect();
        answer.deferred = Some(id);
        self.proceed((&request, messages.iter()), (sole, settled, session), &mut answer);
        // It is another one if the batch has to wait again.
        if answer.deferred.take_if(|_| !self.deferred.has(id)).is_some() {
            self.late.push_back(Late { link, id, answer });
        }
    }

    /// The next answer to a batch that had to wait; `None` when there is no more.
    pub fn take_late(&mut self) -> Option<Late> {
        self.late.pop_front()
    }
}

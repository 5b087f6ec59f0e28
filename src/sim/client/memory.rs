//! What a model client remembers beyond one answer: the batch that it acknowledges.
//!
//! Owns the rules of acknowledgement as clients have them: events count only with the reply that numbers them, the reply to
//! an abandoned connect is dropped with its events, numbers rise by one for each reply.

use crate::sim::invariants::{Kind, Path, matches};
use crate::sim::lane::{Call, Way, What};
use crate::sim::network::WireId;
use crate::sim::speech::Incoming;

use super::{Client, Scene};

impl Client {
    /// How its events come: those of a session that acknowledges them never come over an event source.
    pub(super) fn effect(&self) -> Way {
        if self.acks && self.way == Way::EventSource { Way::LongPolling } else { self.way }
    }

    /// The extensions that its handshake asks for.
    pub(super) fn wished_extensions(&self) -> String {
        match (self.acks, self.replays) {
            (false, false) => String::new(),
            (true, false) => ",\"ext\":{\"ack\":true}".to_owned(),
            (false, true) => ",\"ext\":{\"replay\":true}".to_owned(),
            (true, true) => ",\"ext\":{\"ack\":true,\"replay\":true}".to_owned(),
        }
    }

    /// The server must have agreed to them.
    pub(super) fn agreed(&self, message: &Incoming) {
        assert_eq!(message.ext("ack").as_deref(), self.acks.then_some("true"), "{message:?}");
        assert_eq!(message.ext("replay").as_deref(), self.replays.then_some("true"), "{message:?}");
    }

    /// Whether the answer to a connect comes to nothing, as a newer connect is under way that does not acknowledge it.
    pub(super) fn drops(&self, call: &Call, body: &[u8], scene: &mut Scene<'_, '_>) -> bool {
        if !self.acks {
            return false;
        }
        let newest = self.session.as_ref().filter(|own| Some(own.no) == call.session).map(|own| own.connects);
        let dropped = !call.asks(|what| matches!(what, What::Connect(serial) if Some(*serial) == newest));
        if dropped {
            scene.ledger.count(Kind::Abandoned);
            scene.ledger.lost(self.number, body);
        }
        dropped
    }

    /// The call of the connect to which one of these messages replies.
    pub(super) fn connect_of(&self, wire: WireId, messages: &[Incoming]) -> Option<Call> {
        let calls = &self.lanes.get(&wire)?.calls;
        let replied = |call: &&Call| {
            let connect = call.asked.iter().find(|asked| matches!(asked.what, What::Connect(_)));
            connect.is_some_and(|asked| messages.iter().any(|message| message.raw("id") == Some(&asked.id)))
        };
        calls.iter().find(replied).cloned()
    }

    /// Events of a session that acknowledges them come in one order, whichever way they take.
    pub(super) fn path_of(&self, path: Path) -> Path {
        if self.acks { Path { wire: WireId(usize::MAX), low: 0, high: 0 } } else { path }
    }

    /// A connect has been answered with a batch, which the next one acknowledges.
    pub(super) fn got_batch(&mut self, message: &Incoming, empty: bool, call: &Call, scene: &mut Scene<'_, '_>) {
        let number = message.ext("ack").map(|text| text.parse::<i64>().expect("a number"));
        let Some(session) = self.session.as_mut().filter(|_| self.acks) else {
            assert!(number.is_none(), "a batch is numbered for no one: {message:?}");
            return;
        };
        let Some(number) = number else {
            let over = message.advice().is_some_and(|advice| advice.reconnect == "none");
            return assert!(over, "a batch without a number: {message:?}");
        };
        // An older connect may come after a newer one: so all that were sent count.
        let rises = number > session.batch.max(0) && number <= session.tries;
        assert!(rises, "batch {number} after {} with {} connects", session.batch, session.tries);
        session.batch = number;
        // Who is told of a gap may have more to read, even if nothing of it was left to be sent.
        if empty && message.ext("gap").is_none() {
            scene.ledger.caught_up(session.no, call.at);
        } else {
            scene.ledger.count(Kind::Acked);
        }
    }

    /// An event has come: what it was subscribed by goes on from there another time.
    pub(super) fn note_number(
        &mut self,
        number: Option<String>,
        (channel, data): (&str, &str),
        scene: &mut Scene<'_, '_>,
    ) {
        let Some(id) = number.map(|number| scene.ledger.check_number(data, &number)) else { return };
        for pattern in self.wanted.iter().filter(|pattern| matches(pattern, channel)) {
            let position = self.positions.entry(pattern).or_default();
            *position = id.max(*position);
        }
    }

    /// Where all events are lazy and no connection is lost, they end a held connect when the oldest of them has waited for as
    /// long as it may, and never come later.
    pub(super) fn check_lazy(&self, call: &Call, oldest: u64, scene: &Scene<'_, '_>) {
        let (now, slack) = (scene.now(), 2 * scene.patience());
        let waits = u64::from(scene.scenario.broker.max_lazy_ms);
        assert!(now <= oldest + waits + slack, "a lazy event came to client {} after {} ms", self.number, now - oldest);
        let held = now - call.at;
        let timed_out = held + slack >= u64::from(scene.scenario.broker.timeout_ms);
        // Of who acknowledges, events that have come already may have waited for longer.
        let early = !self.acks && held > slack && !timed_out && now + slack < oldest + waits;
        assert!(!early, "client {} was in a hurry: held for {held} ms, the event for {}", self.number, now - oldest);
    }
}

//! What a model client makes of a server with hooks.
//!
//! Owns what each reply must say of them: a refusal is one that a hook has said or has left to time, and what no hook has
//! refused is not. Extensions sign each reply, so that it is seen whose they took it to be.

use crate::sim::invariants::Kind;
use crate::sim::lane::What;
use crate::sim::speech::Incoming;

use super::answers::Replied;
use super::{Client, Mood, Scene};

/// Channels of services that clients call.
pub(super) const SERVICES: [&str; 2] = ["/service/ask", "/service/ask/more"];

impl Client {
    /// Whether a reply says no as hooks want it.
    pub(super) fn is_turned_down(&self, replied: &Replied<'_>, scene: &mut Scene<'_, '_>) -> bool {
        let Replied { asked, message, .. } = *replied;
        let Some(log) = scene.ledger.log() else { return false };
        let (errors, goes_on) = log.expects(&asked.id, scene.ground.now);
        let crowded = log.may_be_too_many() && message.has_error("429::deferred_limit");
        drop(log);
        let error = message.text("error");
        let said = error.as_ref().is_some_and(|error| errors.contains(error));
        let unknown = message.has_error("402:");
        // There was room for it when it came.
        let full = asked.what == What::Handshake && message.has_error("429::session_limit");
        assert!(
            said || goes_on || crowded || unknown || full,
            "client {} is told {error:?}, and hooks say {errors:?}: {message:?}",
            self.number
        );
        self.check_signature(replied, unknown, scene);
        said || crowded
    }

    /// Extensions have taken it for a reply to this very session.
    fn check_signature(&self, replied: &Replied<'_>, unknown: bool, scene: &Scene<'_, '_>) {
        let Replied { call, message, .. } = *replied;
        assert_eq!(message.ext("last").as_deref(), Some("1"), "{message:?}");
        let Some(name) = message.ext("session") else {
            let shakes = message.text("channel").as_deref() == Some("/meta/handshake");
            let deleted = message.has_error("404::message_deleted");
            // Nor is a session there any more when its end is confirmed.
            let over = message.text("channel").as_deref() == Some("/meta/disconnect");
            // Nor is one whose own event was too much for it.
            let over = over || scene.ground.counters.overflows > 0;
            let nobody = unknown || deleted || over || (shakes && !message.is_successful());
            return assert!(nobody, "extensions do not know whose reply it is: {message:?}");
        };
        let bits = u64::from_str_radix(name.trim_matches('"').split_once('.').expect("a life").1, 16).expect("hex");
        assert_eq!(message.ext("served"), Some((bits % 2 == 0).to_string()), "{message:?}");
        let own = call.session.and_then(|no| scene.ledger.name_of(no));
        assert!(
            own.is_none_or(|own| name.trim_matches('"') == own),
            "{own:?} gets a reply to another one: {message:?}"
        );
    }

    /// The name that extensions give a session.
    pub(super) fn name_in(message: &Incoming) -> Option<String> {
        message.ext("session").map(|name| name.trim_matches('"').to_owned())
    }

    /// Hooks have refused something.
    pub(super) fn turned_down(&mut self, replied: &Replied<'_>, scene: &mut Scene<'_, '_>) {
        let Replied { call, asked, message, .. } = *replied;
        scene.ledger.count(Kind::TurnedDown);
        if message.text("error").is_some_and(|error| error.contains("no answer in time")) {
            scene.ledger.count(Kind::TooLate);
        }
        if let (What::Subscribe(patterns), Some(no)) = (&asked.what, call.session) {
            patterns.iter().for_each(|pattern| scene.ledger.unasked(no, pattern));
        }
        if asked.what == What::Handshake {
            let advice = message.advice();
            let hasty = advice.as_ref().is_some_and(|advice| advice.reconnect == "handshake" && advice.interval == 0);
            assert!(!hasty, "a refused handshake is to be tried again at once: {message:?}");
            let interval = advice.map_or(0, |advice| advice.interval);
            self.not_before = scene.now() + interval.max(1 + self.rng.below(300));
            return;
        }
        let Some(session) = self.session.as_mut().filter(|session| Some(session.no) == call.session) else { return };
        match &asked.what {
            What::Subscribe(patterns) => session.subscriptions.retain(|pattern, _| !patterns.contains(pattern)),
            What::Disconnect if self.mood == Mood::Leaving => {
                self.mood = Mood::Gone;
                self.drop_lanes(|network, wire, now| network.close(wire, now), scene);
            }
            What::Connect(_) => panic!("a connect is turned down: {message:?}"),
            _ => {}
        }
    }
}

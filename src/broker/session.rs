//! One session: the server's half of a client, which outlives connections.
//!
//! Owns a session's state and the rules of its lifetime. Knows links as names only, and never what is behind them.
//!
//! How a session is reached, and what may happen next:
//!
//! | state | next | by |
//! |---|---|---|
//! | `New` | `Answering` | its first connect, which is always answered at once |
//! | `Answering` | `Away` | the answer is written, or its connection is gone |
//! | | `Answering`, `Held` | a newer connect |
//! | `Away` | `Answering`, `Held` | a connect |
//! | `Held` | `Answering` | an event, the connect's timeout, a newer connect |
//! | | `Away` | its connection is gone |
//! | `Guest`, `Local` | | |
//!
//! Beside that a session may have a [`Stream`], a link over which events go without waiting for a connect. Then events do
//! not end a held connect. A `Guest` has nothing but its stream, and ends with it; so does
//! a `Local` one, which belongs to this program and also sends messages.
//!
//! | stream | next | by |
//! |---|---|---|
//! | `Unconfirmed` | `Open` | a message of the client that names the stream's number |
//! | `Open` | `Busy` | events or a reply given to the link |
//! | `Busy` | `Open` | all of it is written |
//! | any | none | the link is gone, a connect over another one |
//!
//! Any state ends with a disconnect, be it the client's, the server's, or that of an overflow; `New` and `Away` also with
//! expiry. The one timer of a session is armed for the earliest of its deadlines, and what it means follows from the state:
//!
//! | deadline | of | when it has passed |
//! |---|---|---|
//! | `expires_ms` | `New`, `Away` | the session ends |
//! | | `Held`, a `Guest` for once | the connect, or the wait, ends |
//! | `hurry_ms` | a stream that is `Unconfirmed` | its connect ends, with the advice to poll |
//! | | lazy events | they go as if they were not |
//! | [`Extras::ends_ms`] | any | the session ends |

use crate::arena::Key;
use crate::bayeux::Id;
use crate::reply::Link;
use crate::wheel::TimerKey;

use super::browser::BrowserId;
use super::extras::{Acks, Extras};
use super::outbox::Outbox;
use super::ready::Listed;
use super::token::SECRET_BYTES;
use super::topics::TopicKey;

/// For how long a client may be between two connects before what waits for it has to give way when memory is short, ms.
const AWAY_MS: u64 = 5_000;

/// Names one session.
pub type SessionKey = Key<Session>;

/// Where the session can be reached.
#[derive(Debug)]
pub enum Reach {
    /// Handshaken; no connect yet.
    New,
    /// A connect has been answered there, and not all bytes are written.
    Answering(Link),
    /// No connect is with us; the session expires unless one comes.
    Away,
    /// A connect waits there for events.
    Held(Hold),
    /// It was made for a stream, and is never heard of again. Once: for a single batch of events.
    Guest {
        /// Whether it ends with the first events.
        once: bool,
    },
    /// Part of this program: it is reached over its stream, and never expires.
    Local,
}

/// A link over which events go at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Which one.
    pub link: Link,
    /// Whether it takes events.
    pub flow: Flow,
    /// When it ends.
    pub lasts: Lasts,
}

/// How long a stream lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// As long as its link.
    Link,
    /// Until the connect is answered that is held there.
    Connect,
}

/// Whether a stream takes events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Not until the client has shown with this number that it gets what is sent.
    Unconfirmed(u32),
    /// Now.
    Open,
    /// When what it was given is written.
    Busy,
}

/// A held connect.
#[derive(Debug)]
pub struct Hold {
    /// Where.
    pub link: Link,
    /// The connect's id, for its reply.
    pub id: HeldId,
    /// Whether the client sent advice, and so gets ours.
    pub advised: bool,
    /// Whether it counts as one of its browser's.
    pub counting: Counting,
}

/// Whether a held connect counts as one of its browser's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// It does not, whatever comes.
    No,
    /// It will when its browser has another session.
    Alone,
    /// It does.
    Counted,
}

/// The id of a held connect, as JSON. Short ones stand inline, since a heap block for each waiting client adds up.
#[derive(Debug, PartialEq, Eq)]
pub enum HeldId {
    /// The connect had none.
    None,
    /// Up to 22 bytes.
    Short(u8, [u8; 22]),
    /// More.
    Long(Box<str>),
}

impl HeldId {
    /// Keeps an id beyond its request.
    pub fn keep(id: Option<Id<'_>>) -> Self {
        let Some(id) = id else { return Self::None };
        let json = id.as_json();
        let mut short = [0; 22];
        match (short.get_mut(..json.len()), u8::try_from(json.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(json.as_bytes());
                Self::Short(len, short)
            }
            _ => Self::Long(json.into()),
        }
    }

    /// The JSON text.
    pub fn as_json(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Short(len, bytes) => std::str::from_utf8(bytes.get(..usize::from(*len))?).ok(),
            Self::Long(json) => Some(json),
        }
    }
}

/// One end of a subscription, at the session.
#[derive(Clone, Copy, Debug)]
pub struct Subscription {
    /// To what.
    pub topic: TopicKey,
    /// The place of the other end in the topic's list.
    pub place: u32,
}

/// The subscriptions of a session. One stands inline, since most sessions never have a second.
#[derive(Debug, Default)]
pub enum Subscriptions {
    /// None.
    #[default]
    None,
    /// One.
    One(Subscription),
    /// Several, in no order.
    Many(Box<Vec<Subscription>>),
}

impl Subscriptions {
    /// All of them.
    pub fn as_slice(&self) -> &[Subscription] {
        match self {
            Self::None => &[],
            Self::One(one) => core::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    /// All of them, to be told of a move.
    pub fn as_mut_slice(&mut self) -> &mut [Subscription] {
        match self {
            Self::None => &mut [],
            Self::One(one) => core::slice::from_mut(one),
            Self::Many(many) => many,
        }
    }

    /// Appends one.
    pub fn push(&mut self, new: Subscription) {
        *self = match core::mem::take(self) {
            Self::None => Self::One(new),
            Self::One(old) => Self::Many(Box::new(vec![old, new])),
            Self::Many(mut many) => {
                many.push(new);
                Self::Many(many)
            }
        };
    }

    /// Takes out the one at a place; the last one takes its place.
    pub fn swap_remove(&mut self, place: usize) -> Option<Subscription> {
        match self {
            Self::None => None,
            Self::One(one) => {
                let one = *one;
                (place == 0).then(|| {
                    *self = Self::None;
                    one
                })
            }
            Self::Many(many) => {
                let removed = (place < many.len()).then(|| many.swap_remove(place));
                if let [last] = many.as_slice() {
                    *self = Self::One(*last);
                }
                removed
            }
        }
    }
}

/// The advice that a client has been given last, to know when it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// ms.
    pub timeout: u32,
    /// ms.
    pub interval: u32,
    /// Whether the client has been told that too many sessions of its browser are waiting.
    pub multiple_clients: bool,
}

/// A session.
#[derive(Debug)]
pub struct Session {
    /// What its client must know.
    pub secret: [u8; SECRET_BYTES],
    /// Where it can be reached.
    pub reach: Reach,
    /// Over which events go without waiting for a connect.
    pub stream: Option<Stream>,
    /// Where it stands among the sessions that are to be answered.
    pub listed: Listed,
    /// Whether streams do not get through to its client.
    pub buffered: bool,
    /// The advice that its client has.
    pub told: Option<Told>,
    /// The browser that made it.
    pub browser: Option<BrowserId>,
    /// Whether its browser has had another session beside it.
    pub has_company: bool,
    /// What it is subscribed to.
    pub subscriptions: Subscriptions,
    /// What waits for it.
    pub outbox: Outbox,
    /// Whether something waits that shall go as soon as it can; else what waits is lazy.
    pub urgent: bool,
    /// A deadline before the session's own, ms; 0: none. See the [module](self).
    pub hurry_ms: u64,
    /// When it last had an event or a message that is no meta message, ms.
    pub active_ms: u64,
    /// What only some sessions have.
    pub extras: Option<Box<Extras>>,
    /// The number of the last publish that reached it, so that overlapping patterns deliver once.
    pub stamp: u64,
    /// The armed timer, if any.
    pub timer: Option<TimerKey<SessionKey>>,
    /// When the last answer to a connect was written, ms; the handshake before the first.
    pub answered_ms: u64,
    /// When it expires, ms, while `New` or `Away`: later than the armed timer if messages came meanwhile. While `Held`,
    /// when the connect ends at the latest.
    pub expires_ms: u64,
    /// How long its client waits between connects, ms, if it said so with its last connect.
    pub interval_ms: Option<u32>,
}

impl Session {
    /// A session that waits for its first connect, or a guest.
    pub fn new(secret: [u8; SECRET_BYTES], reach: Reach, now_ms: u64) -> Self {
        Self {
            secret,
            reach,
            stream: None,
            listed: Listed::No,
            buffered: false,
            told: None,
            browser: None,
            has_company: false,
            subscriptions: Subscriptions::None,
            outbox: Outbox::default(),
            urgent: false,
            hurry_ms: 0,
            active_ms: now_ms,
            extras: None,
            stamp: 0,
            timer: None,
            answered_ms: now_ms,
            expires_ms: now_ms,
            interval_ms: None,
        }
    }

    /// Whether events can be given to a link now.
    pub fn takes_events(&self) -> bool {
        match self.stream {
            Some(stream) => stream.flow == Flow::Open,
            None => matches!(self.reach, Reach::Held(_)),
        }
    }

    /// Whether its client has not come back for what waits, though it has had time to.
    pub fn is_away(&self, now_ms: u64) -> bool {
        matches!(self.reach, Reach::New | Reach::Away)
            && self.stream.is_none()
            && self.answered_ms.saturating_add(AWAY_MS) <= now_ms
    }

    /// Whether there is something to say now: events, perhaps still to be read, losses, or the end of what it waits with.
    pub fn has_news(&self, now_ms: u64) -> bool {
        let tellable = matches!(self.reach, Reach::Held(_) | Reach::Guest { .. } | Reach::Local);
        let events = self.urgent && !self.outbox.is_empty() || self.is_reading() || tellable && self.has_gaps();
        self.is_over(now_ms) || self.takes_events() && events
    }

    /// Whether it has not read all of the history that it wants.
    pub fn is_reading(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| !extras.wants.is_empty())
    }

    /// Whether what ends its held connect, or its wait as a guest, has come.
    pub fn is_over(&self, now_ms: u64) -> bool {
        matches!(self.reach, Reach::Held(_) | Reach::Guest { once: true })
            && (self.expires_ms <= now_ms || self.is_unconfirmed() && self.hurry_ms <= now_ms)
    }

    /// Events have left the outbox.
    pub fn relieved(&mut self) {
        if self.outbox.is_empty() {
            self.urgent = false;
            self.hurry_ms = if self.is_unconfirmed() { self.hurry_ms } else { 0 };
        }
    }

    /// Whether its stream has not been shown to get through.
    pub fn is_unconfirmed(&self) -> bool {
        matches!(self.stream, Some(Stream { flow: Flow::Unconfirmed(_), .. }))
    }

    /// Whether its client is to be told of losses.
    pub fn has_gaps(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| !extras.gaps.is_empty())
    }

    /// What it acknowledges, if it does.
    pub fn acks(&mut self) -> Option<&mut Acks> {
        self.extras.as_mut()?.acks.as_mut()
    }

    /// The next of its deadlines, ms.
    pub fn deadline(&self) -> Option<u64> {
        let own = match self.reach {
            Reach::New | Reach::Away | Reach::Held(_) | Reach::Guest { once: true } => Some(self.expires_ms),
            Reach::Answering(_) | Reach::Guest { once: false } | Reach::Local => None,
        };
        let hurry = Some(self.hurry_ms).filter(|at| *at != 0 && (self.is_unconfirmed() || self.takes_events()));
        own.into_iter().chain(hurry).chain(self.ends_ms()).min()
    }

    /// When it ends at the latest, ms.
    pub fn ends_ms(&self) -> Option<u64> {
        self.extras.as_ref().map(|extras| extras.ends_ms).filter(|at| *at != 0)
    }

    /// The state of its stream, if that is this link.
    pub fn flow_of(&mut self, link: Link) -> Option<&mut Flow> {
        self.stream.as_mut().filter(|stream| stream.link == link).map(|stream| &mut stream.flow)
    }

    /// The link of the held connect.
    pub fn held_by(&self) -> Option<Link> {
        match &self.reach {
            Reach::Held(hold) => Some(hold.link),
            _ => None,
        }
    }

    /// Takes the held connect out, if it is held there; the session is then `Away` until the caller says otherwise.
    pub fn take_hold(&mut self, link: Link) -> Option<Hold> {
        if self.held_by() != Some(link) {
            return None;
        }
        match core::mem::replace(&mut self.reach, Reach::Away) {
            Reach::Held(hold) => Some(hold),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_stays_small() {
        // A million of these are meant to fit; growth here is a decision.
        assert!(size_of::<Session>() <= 224, "{}", size_of::<Session>());
        assert!(size_of::<Reach>() <= 40, "{}", size_of::<Reach>());
    }

    #[test]
    fn an_id_is_kept_inline_up_to_22_bytes() {
        let body = |id: &str| format!(r#"{{"channel":"/meta/connect","id":{id}}}"#);
        for (id, inline) in [("1", true), (r#""12345678901234567890""#, true), (r#""123456789012345678901""#, false)] {
            let body = body(id);
            let messages = crate::bayeux::decode(body.as_bytes(), &crate::limits::Limits::default()).unwrap();
            let held = HeldId::keep(messages[0].id);
            assert_eq!(held.as_json(), Some(id));
            assert_eq!(matches!(held, HeldId::Short(..)), inline, "{id}");
        }
        assert_eq!(HeldId::keep(None).as_json(), None);
    }

    #[test]
    fn subscriptions_move_between_their_three_forms() {
        let topic = TopicKey::from_bits(1 << 32).unwrap();
        let mut subscriptions = Subscriptions::default();
        for place in 0..3 {
            subscriptions.push(Subscription { topic, place });
        }
        assert_eq!(subscriptions.swap_remove(0).unwrap().place, 0);
        assert_eq!(subscriptions.as_slice().iter().map(|s| s.place).collect::<Vec<_>>(), [2, 1]);
        assert!(subscriptions.swap_remove(7).is_none());
        subscriptions.swap_remove(0);
        assert!(matches!(subscriptions, Subscriptions::One(Subscription { place: 1, .. })));
        assert!(subscriptions.swap_remove(1).is_none());
        subscriptions.swap_remove(0);
        assert!(subscriptions.as_slice().is_empty());
    }
}

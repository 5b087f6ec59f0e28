//! Sessions within the program: CometD's local sessions.
//!
//! Owns what such a session is given and how it takes it. It goes the same way as any other: its messages pass extensions and
//! the policy, and what it subscribes to waits in an outbox like everybody's.

use core::num::NonZeroU32;

/// Names a local session; chosen by who opens it, and never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalId(pub NonZeroU32);

/// What a local session is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery<'a> {
    /// An event.
    Event {
        /// Its channel.
        channel: &'a str,
        /// Its data: JSON.
        data: &'a str,
        /// All of it, as clients get it: a JSON object.
        json: &'a str,
    },
    /// The reply to one of its messages: a JSON object.
    Reply(&'a str),
    /// It was slower than events came, and lost some: how many of which channels, −1 where nobody knows. A JSON object.
    Lost(&'a str),
    /// The session has ended, or was never made. Nothing follows.
    Closed,
}

/// Whether more is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// At once.
    More,
    /// No more events until [`LocalSession::ready`](crate::server::LocalSession::ready), or
    /// [`Engine::local_ready`](crate::engine::Engine::local_ready): those to come wait in the session's outbox, and what
    /// becomes of it when it is full is what the settings say.
    Full,
}

/// Takes what a local session is given. Called on the server's thread: it must not wait for anything.
pub trait Sink: Send {
    /// Takes something.
    fn take(&mut self, delivery: Delivery<'_>) -> Room;
}

impl<F> Sink for F
where
    F: FnMut(Delivery<'_>) -> Room + Send,
{
    fn take(&mut self, delivery: Delivery<'_>) -> Room {
        self(delivery)
    }
}

//! The vocabulary of Bayeux 1.0: channel names and patterns, messages in, replies and events out, error strings.
//!
//! Owns what the bytes of one batch mean and how a batch is written. Pure: text in, values or text out. Must not know
//! sessions, subscriptions, connections or wire framings, must not touch a clock or do I/O, and never acts on a
//! message. No input may make it panic, recurse deeply, or allocate more than a small multiple of the input.
//!
//! Embedders meet a [`Message`] in questions to policies, an [`OwnedMessage`] in extensions, and [`ReplyAdvice`] in
//! refusals.
//!
//! In the source: `channel` has names, patterns, and which kind of channel a message is addressed to; `message` one
//! decoded message, borrowed from the request body; `owned` one with its own memory, which may be changed; `pattern`
//! patterns with their own memory; `decode` a request body into messages, or the reason why not; `check` the pass over
//! a text before it is decoded; `encode` events and replies, appended to a buffer; `error` the `code:args:message`
//! strings of failed replies; `raw` looks into a JSON value that is kept as text.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

#[doc(hidden)]
pub mod channel;
#[doc(hidden)]
pub mod check;
#[doc(hidden)]
pub mod decode;
#[doc(hidden)]
pub mod encode;
#[doc(hidden)]
pub mod error;
#[doc(hidden)]
pub mod message;
#[doc(hidden)]
pub mod owned;
#[doc(hidden)]
pub mod pattern;
#[doc(hidden)]
pub mod raw;

pub use channel::{Channel, InvalidChannel, Kind, Meta, Pattern};
pub use decode::{DecodeError, DecodeErrorKind};
pub use encode::{Reconnect, ReplyAdvice};
pub use message::{Advice, Field, FieldError, Id, Message, Subscription};
pub use owned::{NotJson, OwnedMessage};

#[doc(hidden)]
pub use channel::OwnedChannel;
#[doc(hidden)]
pub use decode::{decode, decode_into};
#[doc(hidden)]
pub use encode::{Handshake, Reply};
#[doc(hidden)]
pub use error::Error;
#[doc(hidden)]
pub use pattern::OwnedPattern;

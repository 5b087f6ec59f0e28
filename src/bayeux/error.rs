//! The error strings of failed replies (Bayeux 1.0, "error").
//!
//! Owns the list of failures and their wording `code:args:message`. Must not decide when a reply fails, and knows
//! nothing of HTTP statuses: the codes look like them and are not.

use super::message::{Field, FieldError};
use crate::limits;
use core::fmt;
use std::borrow::Cow;

/// Why a message failed. What a peer sent is repeated up to [`limits::ECHO_BYTES`] and not escaped here: writing it
/// into JSON or a log line is where it is made harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<'a> {
    /// `400::channel_missing`: the message has no channel.
    ChannelMissing,
    /// `405:<channel>:channel_invalid`: the named channel or pattern breaks the grammar (Bayeux 1.0, "Channels").
    ChannelInvalid(&'a str),
    /// `404::channel_unknown`: below `/meta` but none of the known five.
    ChannelUnknown,
    /// `405::message_id_invalid`: the id is neither a string nor a number, or too long.
    MessageIdInvalid,
    /// `402::session_unknown`: the client id is missing, wrong, expired or somebody else's; all look the same.
    SessionUnknown,
    /// `404::message_deleted`: an extension has ended the message.
    MessageDeleted,
    /// `403:<reason>:handshake_denied`: policy, with its reason.
    HandshakeDenied(&'a str),
    /// `403:<reason>:publish_denied`: policy, with its reason.
    PublishDenied(&'a str),
    /// `403:<channel or reason>:subscribe_denied`: policy, or a meta channel.
    SubscribeDenied(&'a str),
    /// `403:<reason>:create_denied`: policy, with its reason.
    CreateDenied(&'a str),
    /// `403:<reason>:channel_create_denied`: the same for a publish to a channel that is new.
    ChannelCreateDenied(&'a str),
    /// `403::subscription_missing`: a subscribe or unsubscribe names no channel.
    SubscriptionMissing,
    /// `403::subscription_invalid`: neither a string nor an array of one or more strings.
    SubscriptionInvalid,
    /// `402::data_missing`: a publish without data.
    DataMissing,
    /// `301:<types>:no_common_connection_type`: the types that the client offered, with commas between them.
    NoCommonConnectionType(&'a [Cow<'a, str>]),
    /// `400:<field>:field_invalid`: a known field of the wrong type.
    FieldInvalid(Field),
    /// `429:<limit>:subscription_limit`: the session may not hold more than so many subscriptions.
    SubscriptionLimit(usize),
    /// `429::subscriptions_full`: all subscriptions together take as much memory as they may.
    SubscriptionsFull,
    /// `429:<limit>:replay_limit`: the session may not read more than so many wildcards from histories at a time, and a batch
    /// may not begin with more.
    ReplayLimit(usize),
    /// `413:<bytes>:event_too_large`: the event alone is more than may wait for one session.
    EventTooLarge(usize),
    /// `429::session_limit`: the server holds as many sessions as it may.
    SessionLimit,
    /// `429::handshake_rate`: its address makes sessions too fast.
    HandshakeRate,
    /// `429::deferred_limit`: too many messages wait for the answers of policies.
    DeferredLimit,
    /// `429::channel_limit`: there are as many channels as there may be.
    ChannelLimit,
    /// A whole error string of a policy's own.
    Custom(&'a str),
    /// `429::queue_limit`: too much is waiting to be delivered.
    QueueLimit,
    /// `400::The replayId {…} you provided was invalid. …`: no number to read on from, or one from which events are gone; in
    /// the words of Salesforce, whose clients look for them.
    ReplayInvalid(&'a str),
    /// `400::The replayId for channel {…} wasn't found …`: the map of numbers has none for the channel; likewise.
    ReplayMissing {
        /// The channel.
        channel: &'a str,
        /// The map, as JSON.
        map: &'a str,
    },
}

impl<'a> Error<'a> {
    /// The three parts: the code, the arguments (already cut to [`limits::ECHO_BYTES`]) and the message.
    #[must_use]
    pub fn parts(&self) -> (u16, Cow<'a, str>, Cow<'static, str>) {
        let (code, arguments, message): (u16, Cow<'a, str>, &'static str) = match *self {
            Self::ChannelMissing => (400, "".into(), "channel_missing"),
            Self::ChannelInvalid(channel) => (405, cut(channel).into(), "channel_invalid"),
            Self::ChannelUnknown => (404, "".into(), "channel_unknown"),
            Self::MessageIdInvalid => (405, "".into(), "message_id_invalid"),
            Self::SessionUnknown => (402, "".into(), "session_unknown"),
            Self::HandshakeDenied(reason) => (403, cut(reason).into(), "handshake_denied"),
            Self::MessageDeleted => (404, "".into(), "message_deleted"),
            Self::PublishDenied(reason) => (403, cut(reason).into(), "publish_denied"),
            Self::SubscribeDenied(reason) => (403, cut(reason).into(), "subscribe_denied"),
            Self::CreateDenied(reason) => (403, cut(reason).into(), "create_denied"),
            Self::ChannelCreateDenied(reason) => (403, cut(reason).into(), "channel_create_denied"),
            Self::SubscriptionMissing => (403, "".into(), "subscription_missing"),
            Self::SubscriptionInvalid => (403, "".into(), "subscription_invalid"),
            Self::DataMissing => (402, "".into(), "data_missing"),
            Self::NoCommonConnectionType(types) => (301, join(types).into(), "no_common_connection_type"),
            Self::FieldInvalid(field) => (400, field.name().into(), "field_invalid"),
            Self::SubscriptionLimit(limit) => (429, limit.to_string().into(), "subscription_limit"),
            Self::SubscriptionsFull => (429, "".into(), "subscriptions_full"),
            Self::ReplayLimit(limit) => (429, limit.to_string().into(), "replay_limit"),
            Self::EventTooLarge(limit) => (413, limit.to_string().into(), "event_too_large"),
            Self::SessionLimit => (429, "".into(), "session_limit"),
            Self::HandshakeRate => (429, "".into(), "handshake_rate"),
            Self::QueueLimit => (429, "".into(), "queue_limit"),
            Self::DeferredLimit => (429, "".into(), "deferred_limit"),
            Self::ChannelLimit => (429, "".into(), "channel_limit"),
            Self::Custom(text) => return custom(text),
            Self::ReplayInvalid(id) => return (400, "".into(), replay_invalid(id).into()),
            Self::ReplayMissing { channel, map } => return (400, "".into(), replay_missing(channel, map).into()),
        };
        (code, arguments, message.into())
    }
}

impl fmt::Display for Error<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, arguments, message) = self.parts();
        write!(f, "{code}:{arguments}:{message}")
    }
}

impl core::error::Error for Error<'_> {}

impl From<FieldError> for Error<'_> {
    /// A few fields have an error of their own; a channel of the wrong type has no name that could be repeated.
    fn from(error: FieldError) -> Self {
        match error.field {
            Field::Channel => Self::ChannelInvalid(""),
            Field::Id => Self::MessageIdInvalid,
            Field::Subscription => Self::SubscriptionInvalid,
            field => Self::FieldInvalid(field),
        }
    }
}

/// The parts of a whole error string; what is none is the reason of a refusal.
fn custom(text: &str) -> (u16, Cow<'_, str>, Cow<'static, str>) {
    let mut parts = text.splitn(3, ':');
    let code = parts.next().and_then(|code| code.parse().ok());
    match (code, parts.next(), parts.next()) {
        (Some(code), Some(arguments), Some(message)) => (code, cut(arguments).into(), cut(message).to_owned().into()),
        _ => (403, cut(text).into(), "denied".into()),
    }
}

fn replay_invalid(id: &str) -> String {
    let id = cut(id);
    format!(
        "The replayId {{{id}}} you provided was invalid. Please provide a valid ID, -2 to replay all events, or -1 to \
         replay only new events."
    )
}

fn replay_missing(channel: &str, map: &str) -> String {
    let (channel, map) = (cut(channel), cut(map));
    format!(
        "The replayId for channel {{{channel}}} wasn't found using the provided replay ID map {{{map}}}. Ensure that the \
         channel name you provided in the replay map is valid and matches the channel name used for subscribing."
    )
}

/// The longest beginning of a text that is within [`limits::ECHO_BYTES`] and ends between two characters.
#[must_use]
pub fn cut(text: &str) -> &str {
    let mut end = text.len().min(limits::ECHO_BYTES);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or("")
}

/// The texts with commas between them, as far as [`limits::ECHO_BYTES`]; stops early, so that a long list costs
/// nothing.
fn join(texts: &[Cow<'_, str>]) -> String {
    let mut joined = String::new();
    for text in texts {
        if joined.len() > limits::ECHO_BYTES {
            break;
        }
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(cut(text));
    }
    joined.truncate(cut(&joined).len());
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wording() {
        let types = [Cow::Borrowed("flash"), Cow::Borrowed("pigeon")];
        let cases = [
            (Error::ChannelMissing, "400::channel_missing"),
            (Error::ChannelInvalid("/a//b"), "405:/a//b:channel_invalid"),
            (Error::ChannelUnknown, "404::channel_unknown"),
            (Error::MessageIdInvalid, "405::message_id_invalid"),
            (Error::SessionUnknown, "402::session_unknown"),
            (Error::HandshakeDenied("no token"), "403:no token:handshake_denied"),
            (Error::MessageDeleted, "404::message_deleted"),
            (Error::DeferredLimit, "429::deferred_limit"),
            (Error::ChannelLimit, "429::channel_limit"),
            (Error::Custom("401:bearer:token_expired: yesterday"), "401:bearer:token_expired: yesterday"),
            (Error::Custom("no"), "403:no:denied"),
            (Error::Custom("x:y:z"), "403:x:y:z:denied"),
            (Error::PublishDenied("quiet hours"), "403:quiet hours:publish_denied"),
            (Error::SubscribeDenied("/meta/*"), "403:/meta/*:subscribe_denied"),
            (Error::CreateDenied("fixed set"), "403:fixed set:create_denied"),
            (Error::ChannelCreateDenied("fixed set"), "403:fixed set:channel_create_denied"),
            (Error::SubscriptionMissing, "403::subscription_missing"),
            (Error::SubscriptionInvalid, "403::subscription_invalid"),
            (Error::DataMissing, "402::data_missing"),
            (Error::NoCommonConnectionType(&types), "301:flash,pigeon:no_common_connection_type"),
            (Error::NoCommonConnectionType(&[]), "301::no_common_connection_type"),
            (Error::FieldInvalid(Field::ClientId), "400:clientId:field_invalid"),
            (Error::SubscriptionLimit(256), "429:256:subscription_limit"),
            (Error::SubscriptionsFull, "429::subscriptions_full"),
            (Error::ReplayLimit(16), "429:16:replay_limit"),
            (Error::SessionLimit, "429::session_limit"),
            (Error::QueueLimit, "429::queue_limit"),
        ];
        for (error, expected) in cases {
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn errors_of_fields() {
        for field in Field::ALL {
            let expected = match field {
                Field::Channel => "405::channel_invalid".to_string(),
                Field::Id => "405::message_id_invalid".to_string(),
                Field::Subscription => "403::subscription_invalid".to_string(),
                other => format!("400:{}:field_invalid", other.name()),
            };
            assert_eq!(Error::from(FieldError { field }).to_string(), expected);
        }
    }

    #[test]
    fn echoes_are_cut_between_characters() {
        for (length, kept) in [(255, 255), (256, 256), (257, 256)] {
            assert_eq!(cut(&"x".repeat(length)).len(), kept);
        }
        // The two bytes of the last character would be the 256th and the 257th.
        let text = format!("{}é", "x".repeat(255));
        assert_eq!(cut(&text), "x".repeat(255));
        let text = format!("{}é", "x".repeat(254));
        assert_eq!(cut(&text), text);
        let text = "😀".repeat(100);
        assert_eq!(cut(&text), "😀".repeat(64));
        assert_eq!(cut(""), "");
        let shown = Error::ChannelInvalid(&text).to_string();
        assert_eq!(shown, format!("405:{}:channel_invalid", "😀".repeat(64)));
        assert_eq!(limits::ECHO_BYTES, 256);
    }

    #[test]
    fn joined_types_are_cut_as_a_whole() {
        let many = vec![Cow::Borrowed("é€"); 1_000];
        let (_, arguments, _) = Error::NoCommonConnectionType(&many).parts();
        assert!(arguments.len() <= 256 && arguments.len() > 250);
        assert!(arguments.starts_with("é€,é€,é€"));
        let long = [Cow::Owned("y".repeat(5_000)), Cow::Borrowed("z")];
        let (_, arguments, _) = Error::NoCommonConnectionType(&long).parts();
        assert_eq!(arguments, "y".repeat(256));
    }
}

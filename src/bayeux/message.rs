//! One message as a client sent it (Bayeux 1.0, "Message Field Definitions").
//!
//! Owns the typed form and the names of the fields. Everything borrows the request body; `data`, `ext` and fields that
//! Bayeux does not define stay the text that the client wrote. Must not read JSON itself ([`decode`](mod@super::decode)
//! does) and must not judge what a message may do.

use super::channel::Kind;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A field that Bayeux defines at the top level of a message (Bayeux 1.0, "Message Field Definitions").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// `channel`
    Channel,
    /// `id`
    Id,
    /// `clientId`
    ClientId,
    /// `version`
    Version,
    /// `minimumVersion`
    MinimumVersion,
    /// `supportedConnectionTypes`
    SupportedConnectionTypes,
    /// `connectionType`
    ConnectionType,
    /// `subscription`
    Subscription,
    /// `data`
    Data,
    /// `successful`
    Successful,
    /// `error`
    Error,
    /// `advice`
    Advice,
    /// `ext`
    Ext,
    /// `timestamp`
    Timestamp,
}

impl Field {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 14] = [
        Self::Channel,
        Self::Id,
        Self::ClientId,
        Self::Version,
        Self::MinimumVersion,
        Self::SupportedConnectionTypes,
        Self::ConnectionType,
        Self::Subscription,
        Self::Data,
        Self::Successful,
        Self::Error,
        Self::Advice,
        Self::Ext,
        Self::Timestamp,
    ];

    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Channel => "channel",
            Self::Id => "id",
            Self::ClientId => "clientId",
            Self::Version => "version",
            Self::MinimumVersion => "minimumVersion",
            Self::SupportedConnectionTypes => "supportedConnectionTypes",
            Self::ConnectionType => "connectionType",
            Self::Subscription => "subscription",
            Self::Data => "data",
            Self::Successful => "successful",
            Self::Error => "error",
            Self::Advice => "advice",
            Self::Ext => "ext",
            Self::Timestamp => "timestamp",
        }
    }

    /// The field of this name; case counts. `None` for a name that Bayeux does not define.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }
}

/// A known field holds a value that it cannot hold. The message is answered `successful:false`; the rest of its batch
/// is not affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Which one.
    pub field: Field,
}

/// The `id` of a message: the JSON text of a string (with its quotes) or of a number, at most
/// [`limits::MESSAGE_ID_BYTES`](crate::limits::MESSAGE_ID_BYTES). It goes back on the reply as it is, so `1`, `"1"` and
/// `1.0` are three ids (Bayeux 1.0, "id").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id<'a>(pub(super) &'a str);

impl<'a> Id<'a> {
    /// The id again, from the text of one that was kept beyond its message.
    #[must_use]
    pub fn from_kept(json: &'a str) -> Self {
        Self(json)
    }

    /// The JSON text.
    #[must_use]
    pub fn as_json(self) -> &'a str {
        self.0
    }
}

/// The `subscription` of a message: a string or an array of strings (Bayeux 1.0, "subscription").
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Subscription<'a> {
    /// The whole value as text: replies repeat it in the same shape.
    #[doc(hidden)]
    pub raw: &'a RawValue,
    /// The names without escapes, in order, unchecked: patterns may be invalid. Empty only if the message's
    /// [`invalid`](Message::invalid) is set: then the value is something else, or an empty array.
    pub names: Vec<Cow<'a, str>>,
}

/// What the server reads of a client's `advice` (Bayeux 1.0, "advice").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Advice {
    /// How long the client wants its connect held, ms; not yet cut to any limit.
    pub timeout: Option<u64>,
    /// How long the client will wait between connects, ms; not yet cut to any limit.
    pub interval: Option<u64>,
}

/// One message. A field that is absent, or is JSON `null`, is `None`; `data` alone keeps `null` as data. `successful`,
/// `error` and `timestamp` are the server's to say and are not kept, whatever their type.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Message<'a> {
    /// The channel's name, unchecked; see [`Message::kind`].
    pub channel: Option<Cow<'a, str>>,
    /// To repeat on the reply; present also if another field is invalid.
    pub id: Option<Id<'a>>,
    /// The session that the message claims to belong to.
    pub client_id: Option<Cow<'a, str>>,
    /// The transport that a connect names.
    pub connection_type: Option<Cow<'a, str>>,
    /// The transports that a handshake offers; a single string counts as a list of one.
    pub supported_connection_types: Option<Vec<Cow<'a, str>>>,
    /// The protocol version of a handshake, as the client wrote it.
    pub version: Option<Cow<'a, str>>,
    /// The lowest protocol version that the client accepts, as it wrote it.
    pub minimum_version: Option<Cow<'a, str>>,
    /// What to subscribe or unsubscribe.
    pub subscription: Option<Subscription<'a>>,
    /// The published value, any JSON.
    #[doc(hidden)]
    pub data: Option<&'a RawValue>,
    /// A JSON object for extensions.
    #[doc(hidden)]
    pub ext: Option<&'a RawValue>,
    /// What the client asks for.
    pub advice: Option<Advice>,
    /// Fields that Bayeux does not define, in order, repeated names included.
    #[doc(hidden)]
    pub extra: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// The first known field, in the order of the text, that cannot be what it is.
    pub invalid: Option<FieldError>,
}

impl Message<'_> {
    /// Where the message goes; `None` without a channel.
    #[must_use]
    pub fn kind(&self) -> Option<Kind<'_>> {
        self.channel.as_deref().map(Kind::of)
    }

    /// The data, as JSON.
    #[must_use]
    pub fn data(&self) -> Option<&str> {
        self.data.map(RawValue::get)
    }

    /// An entry of the `ext`, as JSON; of several of one name the first.
    #[must_use]
    pub fn ext(&self, name: &str) -> Option<&str> {
        self.ext_value(name).map(RawValue::get)
    }

    /// The value of a field that Bayeux does not define, as JSON; of several of one name the first.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.extra.iter().find(|(own, _)| own == name).map(|(_, value)| value.get())
    }

    /// A whole number that stands in the `ext` under this name.
    #[must_use]
    pub fn ext_number(&self, name: &str) -> Option<u64> {
        super::raw::whole_number(self.ext_value(name)?)
    }

    /// A text that stands in the `ext` under this name.
    #[must_use]
    pub fn ext_text(&self, name: &str) -> Option<Cow<'_, str>> {
        super::raw::text(self.ext_value(name)?)
    }

    /// What stands in the `ext` under this name, any JSON.
    #[doc(hidden)]
    #[must_use]
    pub fn ext_value(&self, name: &str) -> Option<&RawValue> {
        let entries = super::raw::entries(self.ext?)?;
        entries.into_iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::super::channel::Meta;
    use super::*;

    #[test]
    fn names_and_fields_are_one_to_one() {
        for (index, field) in Field::ALL.into_iter().enumerate() {
            assert_eq!(Field::from_name(field.name()), Some(field));
            assert_eq!(field as usize, index);
        }
        let expected = "channel id clientId version minimumVersion supportedConnectionTypes connectionType \
                        subscription data successful error advice ext timestamp";
        assert_eq!(Field::ALL.map(Field::name).join(" "), expected);
        for other in ["", "Channel", "clientid", "channel ", "hosts", "reconnect"] {
            assert_eq!(Field::from_name(other), None, "{other}");
        }
    }

    #[test]
    fn the_kind_is_that_of_the_channel() {
        let mut message = Message::default();
        assert_eq!(message.kind(), None);
        message.channel = Some("/meta/connect".into());
        assert_eq!(message.kind(), Some(Kind::Meta(Meta::Connect)));
        message.channel = Some("".into());
        assert_eq!(message.kind(), Some(Kind::Invalid));
    }

    #[test]
    fn a_message_stays_small() {
        // A batch of `{}` costs three bytes of input each; growth here is a decision.
        assert!(size_of::<Message<'_>>() <= 320, "{}", size_of::<Message<'_>>());
    }
}

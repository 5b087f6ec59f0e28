//! One message with its own memory: it outlives its request, and may be changed on its way.
//!
//! Owns the changes that keep a message valid: what it is given is JSON, or is refused. Which changes make sense is for those
//! to know who make them; where a message goes, and whose it is, cannot be changed.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::channel::Kind;
use super::message::{Advice, FieldError, Id, Message, Subscription};
use super::{check, encode, raw};

/// Nesting of arrays and objects in a value that is put into a message, count.
const DEPTH: usize = 30;

/// A text that is put into a message is not the JSON that it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotJson(String);

impl core::fmt::Display for NotJson {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for NotJson {}

/// A message with its own memory: it outlives its request, and may be changed on its way.
///
/// What it is given is JSON, or is refused; where it goes, and whose it is, cannot be changed.
#[derive(Clone, Debug, Default)]
pub struct OwnedMessage {
    channel: Option<String>,
    id: Option<String>,
    client_id: Option<String>,
    connection_type: Option<String>,
    supported_connection_types: Option<Vec<String>>,
    version: Option<String>,
    minimum_version: Option<String>,
    subscription: Option<(Box<RawValue>, Vec<String>)>,
    data: Option<Box<RawValue>>,
    ext: Option<Box<RawValue>>,
    advice: Option<Advice>,
    extra: Vec<(String, Box<RawValue>)>,
    invalid: Option<FieldError>,
}

impl From<&Message<'_>> for OwnedMessage {
    fn from(message: &Message<'_>) -> Self {
        let text = |text: &Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
        let names = |names: &[Cow<'_, str>]| names.iter().map(|name| name.clone().into_owned()).collect();
        Self {
            channel: text(&message.channel),
            id: message.id.map(|id| id.as_json().to_owned()),
            client_id: text(&message.client_id),
            connection_type: text(&message.connection_type),
            supported_connection_types: message.supported_connection_types.as_deref().map(names),
            version: text(&message.version),
            minimum_version: text(&message.minimum_version),
            subscription: message.subscription.as_ref().map(|all| (all.raw.to_owned(), names(&all.names))),
            data: message.data.map(ToOwned::to_owned),
            ext: message.ext.map(ToOwned::to_owned),
            advice: message.advice,
            extra: message.extra.iter().map(|(name, value)| (name.clone().into_owned(), (*value).to_owned())).collect(),
            invalid: message.invalid,
        }
    }
}

impl OwnedMessage {
    /// The message as the rest of the server reads it.
    #[must_use]
    pub fn as_message(&self) -> Message<'_> {
        fn text(text: &Option<String>) -> Option<Cow<'_, str>> {
            text.as_deref().map(Cow::Borrowed)
        }
        fn names(names: &[String]) -> Vec<Cow<'_, str>> {
            names.iter().map(|name| Cow::Borrowed(name.as_str())).collect()
        }
        Message {
            channel: text(&self.channel),
            id: self.id.as_deref().map(Id::from_kept),
            client_id: text(&self.client_id),
            connection_type: text(&self.connection_type),
            supported_connection_types: self.supported_connection_types.as_deref().map(names),
            version: text(&self.version),
            minimum_version: text(&self.minimum_version),
            subscription: self.subscription.as_ref().map(|(raw, all)| Subscription { raw, names: names(all) }),
            data: self.data.as_deref(),
            ext: self.ext.as_deref(),
            advice: self.advice,
            extra: self.extra.iter().map(|(name, value)| (name.as_str().into(), &**value)).collect(),
            invalid: self.invalid,
        }
    }

    /// The channel's name, as it was sent; empty if there was none.
    #[must_use]
    pub fn channel(&self) -> &str {
        self.channel.as_deref().unwrap_or_default()
    }

    /// Where the message goes; `None` without a channel.
    #[must_use]
    pub fn kind(&self) -> Option<Kind<'_>> {
        self.channel.as_deref().map(Kind::of)
    }

    /// The id, as JSON.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The data, as JSON.
    #[must_use]
    pub fn data(&self) -> Option<&str> {
        self.data.as_deref().map(RawValue::get)
    }

    /// Puts other data in place of what there is.
    ///
    /// # Errors
    /// The text is not JSON; nothing has changed then.
    pub fn set_data(&mut self, json: impl Into<String>) -> Result<(), NotJson> {
        self.data = Some(value(json.into())?);
        Ok(())
    }

    /// An entry of the `ext`, as JSON; of several of one name the first.
    #[must_use]
    pub fn ext(&self, name: &str) -> Option<&str> {
        let entries = raw::entries(self.ext.as_deref()?)?;
        entries.into_iter().find(|(own, _)| own == name).map(|(_, value)| value.get())
    }

    /// Puts an entry into the `ext`, in place of those of its name.
    ///
    /// # Errors
    /// The text is not JSON; nothing has changed then.
    pub fn set_ext(&mut self, name: &str, json: impl Into<String>) -> Result<(), NotJson> {
        let new = value(json.into())?;
        self.write_ext(name, Some(&new));
        Ok(())
    }

    /// Takes an entry out of the `ext`; one that is not there is no error.
    pub fn remove_ext(&mut self, name: &str) {
        self.write_ext(name, None);
    }

    fn write_ext(&mut self, name: &str, new: Option<&RawValue>) {
        let entries = self.ext.as_deref().and_then(raw::entries).unwrap_or_default();
        let kept = entries.iter().filter(|(own, _)| own != name).map(|(own, value)| (&**own, *value));
        let json = object(kept.chain(new.map(|new| (name, new))));
        self.ext = json.and_then(|json| RawValue::from_string(json).ok());
    }

    /// The value of a field that Bayeux does not define, as JSON.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.extra.iter().find(|(own, _)| own == name).map(|(_, value)| value.get())
    }

    /// Puts a field into the message that Bayeux does not define; one that it defines is left alone.
    ///
    /// # Errors
    /// The text is not JSON; nothing has changed then.
    pub fn set_field(&mut self, name: &str, json: impl Into<String>) -> Result<(), NotJson> {
        let new = value(json.into())?;
        if super::Field::from_name(name).is_none() {
            self.extra.retain(|(own, _)| own != name);
            self.extra.push((name.to_owned(), new));
        }
        Ok(())
    }

    /// An event that is not a client's, with data that is JSON; `None` if it is not.
    #[must_use]
    pub(crate) fn event(channel: &str, data: &str) -> Option<Self> {
        let data = RawValue::from_string(data.to_owned()).ok()?;
        Some(Self { channel: Some(channel.to_owned()), data: Some(data), ..Self::default() })
    }

    /// The memory that it takes, bytes, roughly.
    pub(crate) fn weight(&self) -> usize {
        let raw = |value: &Option<Box<RawValue>>| value.as_ref().map_or(0, |value| value.get().len());
        let extra = self.extra.iter().map(|(name, value)| {
            size_of::<(String, Box<RawValue>)>().saturating_add(name.len()).saturating_add(value.get().len())
        });
        let (own, types) = (&self.subscription, &self.supported_connection_types);
        let lists = [own.as_ref().map(|(_, names)| names), types.as_ref()].into_iter().flatten().flatten();
        let names = lists.map(|name| size_of::<String>().saturating_add(name.len()));
        let texts =
            [&self.channel, &self.id, &self.client_id, &self.connection_type, &self.version, &self.minimum_version];
        let texts = texts.into_iter().flatten().map(String::len);
        let list = own.as_ref().map_or(0, |(raw, _)| raw.get().len());
        let parts = [raw(&self.data), raw(&self.ext), list, size_of::<Self>()];
        parts.into_iter().chain(extra).chain(names).chain(texts).fold(0, usize::saturating_add)
    }
}

/// A JSON object of these entries; `None` without any.
pub(crate) fn object<'a>(entries: impl Iterator<Item = (&'a str, &'a RawValue)>) -> Option<String> {
    let mut json = Vec::new();
    for (name, value) in entries {
        json.push(if json.is_empty() { b'{' } else { b',' });
        encode::string(&mut json, name);
        json.push(b':');
        encode::raw(&mut json, value.get());
    }
    if json.is_empty() {
        return None;
    }
    json.push(b'}');
    String::from_utf8(json).ok()
}

/// A text as a value, if it is one that clients take.
pub(crate) fn value(json: String) -> Result<Box<RawValue>, NotJson> {
    check::value(json.as_bytes(), DEPTH).map_err(NotJson)?;
    RawValue::from_string(json).map_err(|error| NotJson(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;
    use crate::limits::Limits;

    const TEXT: &str = r#"{"channel":"/a","id":"7","clientId":"x","version":"1.0","minimumVersion":"0.9",
        "supportedConnectionTypes":["a","b"],"connectionType":"c","subscription":["/s","/t"],"data":[1,2.50],
        "advice":{"timeout":5,"interval":6},"ext":{"e":{"f":1},"g":2},"chatty":"yes"}"#;

    fn owned(text: &str) -> OwnedMessage {
        OwnedMessage::from(&decode(text.as_bytes(), &Limits::default()).unwrap()[0])
    }

    #[test]
    fn it_is_the_message_that_it_was_made_of() {
        for text in [TEXT, "{}", r#"{"channel":5,"subscription":{}}"#, r#"{"data":null}"#] {
            let messages = decode(text.as_bytes(), &Limits::default()).unwrap();
            let (own, message) = (owned(text), &messages[0]);
            assert_eq!(format!("{:?}", own.as_message()), format!("{message:?}"));
            assert_eq!(
                (own.data(), own.ext("e"), own.field("chatty")),
                (message.data(), message.ext("e"), message.field("chatty"))
            );
        }
        assert_eq!((owned(TEXT).ext("e"), owned(TEXT).field("chatty")), (Some(r#"{"f":1}"#), Some(r#""yes""#)));
    }

    #[test]
    fn whatever_it_has_counts() {
        let long = "x".repeat(10_000);
        for name in ["channel", "clientId", "connectionType", "version", "minimumVersion", "data", "ext", "chatty"] {
            let text = format!(r#"{{"{name}":"{long}"}}"#);
            let value = if name == "ext" { format!(r#"{{"ext":{{"a":"{long}"}}}}"#) } else { text };
            assert!(owned(&value).weight() >= 10_000, "{name}");
        }
        for name in ["subscription", "supportedConnectionTypes"] {
            let list = vec!["\"/a\""; 1_000].join(",");
            let weight = owned(&format!(r#"{{"{name}":[{list}]}}"#)).weight();
            assert!(weight >= 1_000 * size_of::<String>(), "{name}: {weight}");
        }
    }

    #[test]
    fn what_is_changed_is_valid_and_else_nothing_changes() {
        let mut message = owned(TEXT);
        assert_eq!((message.channel(), message.id(), message.data()), ("/a", Some(r#""7""#), Some("[1,2.50]")));
        message.set_data(r#"{"new":true}"#).unwrap();
        message.set_ext("g", "3").unwrap();
        message.set_ext("h", "[4]").unwrap();
        message.remove_ext("e");
        message.remove_ext("nothing");
        message.set_field("chatty", "\"no\"").unwrap();
        message.set_field("clientId", "\"stolen\"").unwrap();
        let json = |message: &OwnedMessage| message.as_message().ext.map(|ext| ext.get().to_owned());
        assert_eq!(json(&message).as_deref(), Some(r#"{"g":3,"h":[4]}"#));
        assert_eq!((message.ext("h"), message.ext("e"), message.field("chatty")), (Some("[4]"), None, Some("\"no\"")));
        assert_eq!(message.as_message().client_id.as_deref(), Some("x"));
        let before = format!("{message:?}");
        for bad in ["", "{", "1 2", "\"\\ud800\"", &"[".repeat(50)] {
            assert!(message.set_data(bad).is_err() && message.set_ext("g", bad).is_err(), "{bad}");
            assert!(message.set_field("f", bad).is_err());
        }
        assert_eq!(format!("{message:?}"), before);
        message.remove_ext("g");
        message.remove_ext("h");
        assert_eq!(json(&message), None);
    }
}

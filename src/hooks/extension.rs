//! What is changed on the way: messages in, events and replies out.
//!
//! Owns [`Extension`] and [`DataFilter`].

use serde_json::value::RawValue;

use crate::bayeux::owned::{NotJson, object, value};
use crate::bayeux::{Kind, OwnedMessage, raw};
use crate::clock::Now;

use super::command::Context;
use super::session::Session;

/// Whether something goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It goes on.
    Pass,
    /// It ends here. A message is answered `404::message_deleted`, an event goes to nobody.
    Delete,
}

/// The reply to a message, before it is written.
#[derive(Debug)]
pub struct OutgoingReply<'a> {
    pub(crate) channel: &'a str,
    pub(crate) successful: bool,
    pub(crate) ext: Option<String>,
}

impl OutgoingReply<'_> {
    /// The channel of the message that is answered.
    #[must_use]
    pub fn channel(&self) -> &str {
        self.channel
    }

    /// Where that message went.
    #[must_use]
    pub fn kind(&self) -> Kind<'_> {
        Kind::of(self.channel)
    }

    /// Whether the message had its effect.
    #[must_use]
    pub fn is_successful(&self) -> bool {
        self.successful
    }

    /// Puts an entry into the `ext` of the reply, in place of those of its name.
    ///
    /// # Errors
    /// The text is not JSON; nothing has changed then.
    pub fn set_ext(&mut self, name: &str, json: impl Into<String>) -> Result<(), NotJson> {
        let new = value(json.into())?;
        let old = self.ext.take().and_then(|ext| RawValue::from_string(ext).ok());
        let entries = old.as_deref().and_then(raw::entries).unwrap_or_default();
        let kept = entries.iter().filter(|(own, _)| own != name).map(|(own, value)| (&**own, *value));
        self.ext = object(kept.chain([(name, &*new)]));
        Ok(())
    }
}

/// CometD's `Extension`: sees every message that comes, every event once before it is encoded for all of its subscribers,
/// and every reply. Extensions are asked in the order in which they were added for what comes in, and in the opposite order
/// for what goes out. Every method passes things on unless it is overridden. There is an [example](crate::hooks#extensions).
pub trait Extension: Send {
    /// Whether messages of this session, and replies to it, go through the extension: one of CometD's per-session
    /// extensions says yes for those only that it has been told of, perhaps by an attribute.
    fn serves(&self, session: &Session<'_>) -> bool {
        let _ = session;
        true
    }

    /// A message has come, before anything else looks at it. There is no session for a handshake, and for a message whose
    /// client id is not known.
    fn incoming(
        &mut self,
        message: &mut OwnedMessage,
        session: Option<&mut Session<'_>>,
        context: &mut Context<'_>,
    ) -> Passage {
        let _ = (message, session, context);
        Passage::Pass
    }

    /// An event goes to all of its subscribers, whoever has published it.
    fn outgoing(&mut self, event: &mut OwnedMessage, context: &mut Context<'_>) -> Passage {
        let _ = (event, context);
        Passage::Pass
    }

    /// A reply goes to its client. There is no session if the message named none that is known.
    fn reply(&mut self, reply: &mut OutgoingReply<'_>, session: Option<&mut Session<'_>>, context: &mut Context<'_>) {
        let _ = (reply, session, context);
    }
}

/// What becomes of the data of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Filtered {
    /// It stays.
    Keep,
    /// This takes its place: JSON. What is none ends the event, and the log says so.
    Replace(String),
    /// The event goes to nobody. A client that has published it is answered `404::message_deleted`.
    Drop,
}

/// CometD's `DataFilter`: looks at the data of each event of the channels of a pattern, before it goes anywhere. There
/// is an [example](crate::hooks#data-filters).
pub trait DataFilter: Send {
    /// What becomes of this data? There is no session for what is published from within the server, or by
    /// `POST /publish/…`.
    fn filter(&mut self, channel: &str, data: &str, session: Option<&mut Session<'_>>, now: Now) -> Filtered;
}

impl<F> DataFilter for F
where
    F: FnMut(&str, &str, Option<&mut Session<'_>>, Now) -> Filtered + Send,
{
    fn filter(&mut self, channel: &str, data: &str, session: Option<&mut Session<'_>>, now: Now) -> Filtered {
        self(channel, data, session, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_a_reply_takes_the_place_of_its_namesake() {
        let mut reply = OutgoingReply { channel: "/meta/subscribe", successful: true, ext: None };
        reply.set_ext("a", "1").unwrap();
        reply.set_ext("b", "\"x\\u2028\"").unwrap();
        assert!(reply.set_ext("a", "{").is_err());
        assert_eq!(reply.ext.as_deref(), Some(r#"{"a":1,"b":"x\u2028"}"#));
        reply.set_ext("a", "2").unwrap();
        assert_eq!(reply.ext.as_deref(), Some(r#"{"b":"x\u2028","a":2}"#));
        assert!(reply.is_successful() && matches!(reply.kind(), Kind::Meta(crate::bayeux::Meta::Subscribe)));
    }
}

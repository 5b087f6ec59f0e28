//! What a hook sees of a session.
//!
//! Owns the names by which embedders call sessions, and what they may write on one. A [`SessionId`] is no secret: it cannot
//! be used as a client id.

use core::fmt;
use core::net::IpAddr;

/// Bytes of one session's, or one channel's, attributes: of names and values, and 32 for each.
pub const ATTRIBUTE_BYTES: usize = 64 * 1024;
/// What an attribute takes beside its texts, bytes.
const ENTRY_BYTES: usize = 32;

/// Names one session for as long as the server lives; the next session never has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(u64);

impl SessionId {
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// There is no room for an attribute: all of them may take [`ATTRIBUTE_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributesFull;

impl fmt::Display for AttributesFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attributes may take {ATTRIBUTE_BYTES} bytes")
    }
}

impl core::error::Error for AttributesFull {}

/// What an embedder has written on a session or a channel: texts by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    all: Vec<(Box<str>, Box<str>)>,
    bytes: usize,
}

/// What an attribute takes, bytes.
fn weight(name: &str, value: &str) -> usize {
    ENTRY_BYTES.saturating_add(name.len()).saturating_add(value.len())
}

impl Attributes {
    /// The text of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all.iter().find(|(own, _)| **own == *name).map(|(_, value)| &**value)
    }

    /// Writes a text, in place of the one of the same name.
    ///
    /// # Errors
    /// All would take more than [`ATTRIBUTE_BYTES`]; nothing has changed then.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), AttributesFull> {
        let old = self.get(name).map_or(0, |old| weight(name, old));
        let bytes = self.bytes.saturating_sub(old).saturating_add(weight(name, value));
        if bytes > ATTRIBUTE_BYTES {
            return Err(AttributesFull);
        }
        self.bytes = bytes;
        match self.all.iter_mut().find(|(own, _)| **own == *name) {
            Some((_, old)) => *old = value.into(),
            None => self.all.push((name.into(), value.into())),
        }
        Ok(())
    }

    /// Takes one out; what it was.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        let place = self.all.iter().position(|(own, _)| **own == *name)?;
        let (name, value) = self.all.remove(place);
        self.bytes = self.bytes.saturating_sub(weight(&name, &value));
        Some(value.into())
    }

    /// All of them, in the order in which their names came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The memory that they take, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

/// Who a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionKind {
    /// A client of Bayeux.
    Remote,
    /// Somebody who reads a plain event stream, or waits for one batch, and does not speak Bayeux.
    Guest,
    /// A [local session](crate::server::LocalSession): part of this very program.
    Local,
}

/// A session, as a hook sees it.
#[derive(Debug)]
pub struct Session<'a> {
    pub(crate) id: SessionId,
    pub(crate) kind: SessionKind,
    pub(crate) address: Option<IpAddr>,
    /// What is written on it.
    pub attributes: &'a mut Attributes,
}

impl Session<'_> {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Who its client is.
    #[must_use]
    pub fn kind(&self) -> SessionKind {
        self.kind
    }

    /// Whether it is part of this program, as CometD's local sessions are.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.kind == SessionKind::Local
    }

    /// The address that the request at hand came from, as far as it is known: behind a trusted proxy, the client's. `None`
    /// for a Unix socket, for a local session, and where no request is at hand.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// What is written on it under a name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_written_over_and_bounded() {
        let mut attributes = Attributes::default();
        attributes.set("a", "1").unwrap();
        attributes.set("b", "2").unwrap();
        attributes.set("a", "3").unwrap();
        assert_eq!(attributes.iter().collect::<Vec<_>>(), [("a", "3"), ("b", "2")]);
        let most = "x".repeat(ATTRIBUTE_BYTES - 1 - 2 - 2 * ENTRY_BYTES);
        assert_eq!(attributes.set("a", &format!("{most}y")), Err(AttributesFull));
        assert_eq!(attributes.get("a"), Some("3"));
        attributes.set("a", &most).unwrap();
        assert_eq!(attributes.set("c", ""), Err(AttributesFull));
        assert_eq!(attributes.remove("a").as_deref(), Some(&*most));
        assert_eq!(attributes.remove("a"), None);
        attributes.set("c", "").unwrap();
        assert!(!attributes.is_empty() && attributes.get("a").is_none());
    }
}

//! What a hook sees of a session.
//!
//! Owns the names by which embedders call sessions, and what they may write on one. A [`SessionId`] is no secret: it cannot
//! be used as a client id.

use core::fmt;
use core::net::IpAddr;

/// Bytes of names and values of one session's, or one channel's, attributes.
pub const ATTRIBUTE_BYTES: usize = 64 * 1024;

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
pub struct Attributes(Vec<(Box<str>, Box<str>)>);

impl Attributes {
    /// The text of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| **own == *name).map(|(_, value)| &**value)
    }

    /// Writes a text, in place of the one of the same name.
    ///
    /// # Errors
    /// All would take more than [`ATTRIBUTE_BYTES`]; nothing has changed then.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), AttributesFull> {
        let others = self.0.iter().filter(|(own, _)| **own != *name);
        let bytes: usize = others.map(|(own, value)| own.len().saturating_add(value.len())).sum();
        if bytes.saturating_add(name.len()).saturating_add(value.len()) > ATTRIBUTE_BYTES {
            return Err(AttributesFull);
        }
        match self.0.iter_mut().find(|(own, _)| **own == *name) {
            Some((_, old)) => *old = value.into(),
            None => self.0.push((name.into(), value.into())),
        }
        Ok(())
    }

    /// Takes one out; what it was.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(own, _)| **own == *name)?;
        Some(self.0.remove(place).1.into())
    }

    /// All of them, in the order in which their names came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
        let most = "x".repeat(ATTRIBUTE_BYTES - 1 - 2);
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

//! TLS, for listeners whose clients speak it without a proxy in between (RFC 8446, RFC 5246).
//!
//! Owns what all TLS connections share: what the server proves itself with, the tickets by which clients resume, and the
//! buffer in which records are read and written. A connection keeps only what a short read or a short write has left
//! over, so that an idle one has no buffers.

mod identity;
mod session;
#[cfg(test)]
pub(super) mod tests;

use core::cell::RefCell;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;

pub use identity::{Flaw, Identity};
pub(super) use session::{Shaken, TlsStream};

/// Bytes of a record's content that are written at once.
const CONTENT_BYTES: usize = 16 * 1024;
/// Bytes that come from a socket at once, with what was left of a record before: plain text that one read may give.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// What all TLS connections of a server share.
pub(super) struct Terms {
    /// For handshakes from now on; `None` before there is an [`Identity`].
    config: RefCell<Option<Arc<ServerConfig>>>,
    /// What they are shown.
    chain: RefCell<Vec<CertificateDer<'static>>>,
    scratch: RefCell<Vec<u8>>,
}

impl core::fmt::Debug for Terms {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Terms").finish_non_exhaustive()
    }
}

impl Terms {
    pub(super) fn new(identity: Option<Identity>) -> Self {
        let scratch = if identity.is_some() { vec![0; READ_BYTES] } else { Vec::new() };
        let chain = identity.as_ref().map(|identity| identity.chain().to_vec()).unwrap_or_default();
        let config = identity.map(Identity::into_config);
        Self { config: RefCell::new(config), chain: RefCell::new(chain), scratch: RefCell::new(scratch) }
    }

    /// The TLS of one more connection.
    fn session(&self) -> Result<UnbufferedServerConnection, String> {
        let config = self.config.borrow().as_ref().map(Arc::clone).ok_or("there is no certificate")?;
        UnbufferedServerConnection::new(config).map_err(|error| error.to_string())
    }

    pub(super) fn has_identity(&self) -> bool {
        self.config.borrow().is_some()
    }

    /// Changes what new connections are shown. Clients resume what they began before, by the tickets that they have.
    /// Whether that is another certificate, or another chain.
    pub(super) fn renew(&self, identity: Identity) -> bool {
        let before = self.chain.replace(identity.chain().to_vec());
        let is_new = before != identity.chain();
        let mut config = self.config.borrow_mut();
        let next = match config.as_ref() {
            Some(now) => identity.succeeding(now),
            None => identity.into_config(),
        };
        *config = Some(next);
        self.scratch.borrow_mut().resize(READ_BYTES, 0);
        is_new
    }
}

//! What the keys of TLS mean together, and the files that they name.
//!
//! Owns the reading of these files: at the start, when they are checked, and again at each SIGHUP, for they change while
//! their names stay.

use crate::server::Listen;

use super::Config;
use super::value::echo;

impl Config {
    /// Whether what is said of TLS goes together.
    pub(super) fn agree_on_tls(&self) -> Result<(), String> {
        let options = &self.options;
        let named = (options.tls_certificate.is_some(), options.tls_key.is_some());
        if !cfg!(feature = "tls") && named != (false, false) {
            let key = if named.0 { "tls-certificate" } else { "tls-key" };
            let build = "this encke was built without TLS: cargo build --release --features tls";
            return Err(format!("{}: {build}", self.says(key)));
        }
        let place = options.listen.iter().find(|at| matches!(at, Listen::Tls(_)));
        match (named, place) {
            ((true, false), _) => Err(format!("{}: needs tls-key as well", self.says("tls-certificate"))),
            ((false, true), _) => Err(format!("{}: needs tls-certificate as well", self.says("tls-key"))),
            ((false, false), Some(at)) => {
                let at = echo(&at.to_string());
                Err(format!("{}: {at} needs tls-certificate and tls-key, which are PEM files", self.says("listen")))
            }
            _ => Ok(()),
        }
    }

    /// Whether a certificate is named that nothing uses.
    pub fn has_idle_certificate(&self) -> bool {
        let options = &self.options;
        options.tls_certificate.is_some() && !options.listen.iter().any(|at| matches!(at, Listen::Tls(_)))
    }
}

#[cfg(feature = "tls")]
mod files {
    use std::fs;
    use std::io::Read;

    use crate::http::date::iso8601;
    use crate::server::tls::{Flaw, Identity};

    use super::Config;

    /// Bytes of a file; far more than any chain needs.
    const FILE_BYTES: u64 = 1 << 20;
    /// How long before it expires a certificate is worth a warning, in seconds.
    const NOTICE_SECONDS: u64 = 14 * 24 * 3_600;

    impl Config {
        /// What the server proves itself with, read from the files; `None` if none are named.
        ///
        /// # Errors
        /// One line for the operator: which file, and what is wrong with it.
        pub fn identity(&self) -> Result<Option<Identity>, String> {
            let (Some(certificate), Some(key)) = (&self.options.tls_certificate, &self.options.tls_key) else {
                return Ok(None);
            };
            let told = |name: &str, text: String| format!("{}: {text}", self.says(name));
            let chain = contents(certificate).map_err(|text| told("tls-certificate", text))?;
            let secret = contents(key).map_err(|text| told("tls-key", text))?;
            let identity = Identity::from_pem(&chain, &secret).map_err(|flaw| match flaw {
                Flaw::Certificate(text) => told("tls-certificate", text),
                Flaw::Key(text) => told("tls-key", text),
            })?;
            Ok(Some(identity))
        }

        /// What an operator should know of the certificate: that it has expired, or soon will.
        pub fn warning_of(&self, identity: &Identity, unix_seconds: u64) -> Option<String> {
            let expires = identity.expires()?;
            if expires > unix_seconds.saturating_add(NOTICE_SECONDS) {
                return None;
            }
            let how =
                if expires <= unix_seconds { "the certificate has expired" } else { "the certificate expires soon" };
            let when = iso8601(expires.saturating_mul(1_000));
            Some(format!("{}: {how}: {when}", self.says("tls-certificate")))
        }
    }

    fn contents(path: &str) -> Result<Vec<u8>, String> {
        let unreadable = |error: std::io::Error| format!("cannot read it: {error}");
        let file = fs::File::open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        // One byte more shows that there are too many.
        file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > FILE_BYTES {
            return Err(format!("it has more than {FILE_BYTES} bytes"));
        }
        Ok(bytes)
    }
}

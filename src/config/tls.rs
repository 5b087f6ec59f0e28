//! What the keys of TLS mean together, and the files that they name.
//!
//! Owns the reading of these files: at the start, when they are checked, and again at each SIGHUP, for they change while
//! their names stay.

use super::Config;
#[cfg(not(feature = "tls"))]
use super::keys::key;

#[cfg(not(feature = "tls"))]
impl Config {
    /// Whether what is said of TLS goes together: nothing can be.
    pub(super) fn agree_on_tls(&self) -> Result<(), String> {
        let key = match (&self.options.tls_certificate, &self.options.tls_key) {
            (None, None) => return Ok(()),
            (Some(_), _) => key!("tls-certificate"),
            (None, Some(_)) => key!("tls-key"),
        };
        Err(format!("{}: {}", self.says(key), crate::server::listen::WITHOUT_TLS))
    }
}

#[cfg(feature = "tls")]
mod files {
    use std::path::Path;

    use crate::http::date::iso8601;
    use crate::server::Listen;
    use crate::server::tls::{Flaw, Identity};

    use super::super::file;
    use super::super::keys::key;
    use super::Config;

    /// How long before it expires a certificate is worth a warning, in seconds.
    const NOTICE_SECONDS: u64 = 14 * 24 * 3_600;

    impl Config {
        /// Whether what is said of TLS goes together.
        pub(in super::super) fn agree_on_tls(&self) -> Result<(), String> {
            let options = &self.options;
            match (&options.tls_certificate, &options.tls_key, self.tls_place()) {
                (Some(_), None, _) => Err(format!("{}: needs tls-key as well", self.says(key!("tls-certificate")))),
                (None, Some(_), _) => Err(format!("{}: needs tls-certificate as well", self.says(key!("tls-key")))),
                (None, None, Some(at)) => {
                    let listen = self.says(key!("listen"));
                    Err(format!("{listen}: {at} needs tls-certificate and tls-key, which are PEM files"))
                }
                _ => Ok(()),
            }
        }

        fn tls_place(&self) -> Option<&Listen> {
            self.options.listen.iter().find(|at| matches!(at, Listen::Tls(_)))
        }

        /// Whether a certificate is named that nothing in `listen` uses.
        pub fn has_idle_certificate(&self) -> bool {
            self.options.tls_certificate.is_some() && self.tls_place().is_none()
        }

        /// What the server proves itself with, read from the files; `None` if none are named.
        ///
        /// # Errors
        /// One line for the operator: which file, and what is wrong with it.
        pub fn identity(&self) -> Result<Option<Identity>, String> {
            let (Some(certificate), Some(key)) = (&self.options.tls_certificate, &self.options.tls_key) else {
                return Ok(None);
            };
            let told = |key: usize, text: String| format!("{}: {text}", self.says(key));
            let chain = contents(certificate).map_err(|text| told(key!("tls-certificate"), text))?;
            let secret = contents(key).map_err(|text| told(key!("tls-key"), text))?;
            let identity = Identity::from_pem(&chain, &secret).map_err(|flaw| match flaw {
                Flaw::Certificate(text) => told(key!("tls-certificate"), text),
                Flaw::Key(text) => told(key!("tls-key"), text),
                Flaw::Mismatch => {
                    told(key!("tls-key"), format!("it is not the key of the first certificate in {certificate}"))
                }
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
            Some(format!("{}: {how}: {when}", self.says(key!("tls-certificate"))))
        }
    }

    fn contents(path: &str) -> Result<Vec<u8>, String> {
        file::bytes(Path::new(path)).map_err(|why| format!("cannot read it: {why}"))
    }
}

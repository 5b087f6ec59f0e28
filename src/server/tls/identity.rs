//! What a server proves itself with: a certificate, those that vouch for it, and its key.
//!
//! Owns the reading of PEM and the choice of protocols and suites. Says what is wrong with a file in one line.

use core::time::Duration;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring::{self, Ticketer};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore, ServerConfig};

/// HTTP/1.1 and nothing else (RFC 7301).
const ALPN: &[u8] = b"http/1.1";
/// Later than any certificate lasts, in seconds since 1970: the end of the year 9999.
const END_OF_TIME: u64 = 253_402_300_799;

/// The keys that the provider signs with.
const KEY_KINDS: &str = "RSA of 2048 to 4096 bits, ECDSA P-256 or P-384, Ed25519";

/// A certificate with its chain, and its key.
pub struct Identity {
    config: ServerConfig,
    /// All that is shown.
    chain: Vec<CertificateDer<'static>>,
    expires: Option<u64>,
}

impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Identity").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// Which of the two texts is no good, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// The certificate, or one of its chain.
    Certificate(String),
    /// The key.
    Key(String),
    /// The key is fine, but is not that of the first certificate.
    Mismatch,
}

impl core::fmt::Display for Flaw {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Certificate(text) => write!(f, "the certificate: {text}"),
            Self::Key(text) => write!(f, "the key: {text}"),
            Self::Mismatch => f.write_str("the key: it is not that of the first certificate"),
        }
    }
}

impl core::error::Error for Flaw {}

impl Identity {
    /// Reads PEM: a certificate followed by those that vouch for it, and the key that belongs to the first.
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, Flaw> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<_, _>>()
            .map_err(|error| Flaw::Certificate(not_pem(&error)))?;
        let Some(first) = chain.first().cloned() else {
            return Err(Flaw::Certificate("no -----BEGIN CERTIFICATE----- in it".to_owned()));
        };
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| Flaw::Key(of_key(key, &error)))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Flaw::Certificate(error.to_string()))?;
        let mut config = builder.with_no_client_auth().with_single_cert(chain.clone(), key).map_err(unfit)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Clients keep what they need to resume; the server keeps nothing of them.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Ticketer::new().map_err(|error| Flaw::Key(error.to_string()))?;
        Ok(Self { config, chain, expires: expiry(&first) })
    }

    /// When the certificate expires, in seconds since 1970, if that can be read.
    pub fn expires(&self) -> Option<u64> {
        self.expires
    }

    /// The certificate, and those that vouch for it.
    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(super) fn into_config(self) -> Arc<ServerConfig> {
        Arc::new(self.config)
    }

    /// The same, but with the key of the tickets that have been given out.
    pub(super) fn succeeding(mut self, before: &ServerConfig) -> Arc<ServerConfig> {
        self.config.ticketer = Arc::clone(&before.ticketer);
        self.into_config()
    }
}

/// Why a text has no key.
fn of_key(text: &[u8], error: &pem::Error) -> String {
    let holds = |what: &[u8]| text.windows(what.len()).any(|part| part == what);
    if holds(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || holds(b"Proc-Type: 4,ENCRYPTED") {
        return "it is encrypted; `openssl pkey -in KEY -out FILE` decrypts it".to_owned();
    }
    match error {
        pem::Error::NoItemsFound => "no -----BEGIN PRIVATE KEY----- in it".to_owned(),
        error => not_pem(error),
    }
}

/// What is wrong with a text that is to be PEM, in letters: the error itself shows bytes.
fn not_pem(error: &pem::Error) -> String {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().escape_debug().to_string();
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            let label = shown(end_marker);
            format!("not PEM: there is no -----END {label}----- behind its -----BEGIN {label}-----")
        }
        pem::Error::IllegalSectionStart { line } => format!("not PEM: a section begins with {}", shown(line)),
        error => format!("not PEM: {error}"),
    }
}

/// Why a certificate and a key cannot be used.
fn unfit(error: Error) -> Flaw {
    match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Flaw::Mismatch,
        Error::InvalidCertificate(error) => Flaw::Certificate(format!("not a certificate: {error}")),
        // It says this of no other than a key that it cannot use.
        Error::General(_) => Flaw::Key(format!("it is of no kind that is taken: {KEY_KINDS}")),
        error => Flaw::Key(error.to_string()),
    }
}

/// When a certificate expires, in seconds since 1970. Nothing but verifying it reads that; so it is verified at the end
/// of time, which is refused with that instant before anything else is looked at.
fn expiry(certificate: &CertificateDer<'_>) -> Option<u64> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).ok()?;
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
    let name = ServerName::try_from("encke.invalid").ok()?;
    let late = UnixTime::since_unix_epoch(Duration::from_secs(END_OF_TIME));
    match verifier.verify_server_cert(certificate, &[], &name, &[], late) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => Some(not_after.as_secs()),
        _ => None,
    }
}

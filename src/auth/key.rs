//! Keys that signatures are checked with.
//!
//! Owns how a key is read, and which one algorithm it is for: what a token says of that is only compared.

use core::fmt;

use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

/// Bytes of a secret for HS256, at least (RFC 7518 section 3.2).
const SECRET_BYTES: usize = 32;
/// Bits of a public key for RS256 (RFC 7518 section 3.3).
const RSA_BITS: core::ops::RangeInclusive<usize> = 2_048..=8_192;
/// `rsaEncryption`, with NULL for its parameters (RFC 3279 section 2.3.1).
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// `id-ecPublicKey`, with P-256 for its parameters (RFC 5480 section 2.1.1).
const P256: &[u8] =
    &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// Bytes of a point of P-256: 4, and both coordinates.
const POINT_BYTES: usize = 65;
const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// A key that cannot be used: why, in one line, without the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidKey(pub(super) String);

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for InvalidKey {}

/// A key that signatures are checked with, and its algorithm.
#[derive(Clone)]
pub struct Key {
    /// The `kid` of tokens that it is for.
    pub(super) id: Option<String>,
    check: Check,
}

#[derive(Clone)]
enum Check {
    Secret(hmac::Key),
    Public(&'static str, UnparsedPublicKey<Vec<u8>>),
}

/// Without the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

impl Key {
    /// A secret for HS256, which whoever makes tokens has as well.
    ///
    /// # Errors
    /// It has less than 32 bytes.
    pub fn hs256(secret: &[u8]) -> Result<Self, InvalidKey> {
        if secret.len() < SECRET_BYTES {
            return Err(InvalidKey(format!("a secret for HS256 must have at least {SECRET_BYTES} bytes")));
        }
        Ok(Self { id: None, check: Check::Secret(hmac::Key::new(hmac::HMAC_SHA256, secret)) })
    }

    /// An RSA public key for RS256, in PEM (`BEGIN PUBLIC KEY`).
    ///
    /// # Errors
    /// It is none, or it has less than 2,048 bits.
    pub fn rs256(pem: &[u8]) -> Result<Self, InvalidKey> {
        let info = der(pem)?;
        let key = key_of(&info, RSA).ok_or_else(|| other_kind("RSA"))?;
        let bits = modulus_bits(key).ok_or_else(|| other_kind("RSA"))?;
        if !RSA_BITS.contains(&bits) {
            let (least, most) = (RSA_BITS.start(), RSA_BITS.end());
            return Err(InvalidKey(format!("an RSA key must have {least} to {most} bits, and this has {bits}")));
        }
        Ok(Self::public("RS256", &signature::RSA_PKCS1_2048_8192_SHA256, key))
    }

    /// A public key on the curve P-256 for ES256, in PEM (`BEGIN PUBLIC KEY`).
    ///
    /// # Errors
    /// It is none.
    pub fn es256(pem: &[u8]) -> Result<Self, InvalidKey> {
        let info = der(pem)?;
        let key = key_of(&info, P256).filter(|key| key.len() == POINT_BYTES && key.first() == Some(&4));
        let key = key.ok_or_else(|| other_kind("P-256 (prime256v1)"))?;
        Ok(Self::public("ES256", &signature::ECDSA_P256_SHA256_FIXED, key))
    }

    fn public(name: &'static str, algorithm: &'static dyn VerificationAlgorithm, key: &[u8]) -> Self {
        Self { id: None, check: Check::Public(name, UnparsedPublicKey::new(algorithm, key.to_vec())) }
    }

    /// The same, for tokens whose header has this `kid`.
    #[must_use]
    pub fn with_id(self, id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..self }
    }

    /// The name of its algorithm, as it stands in the header of a token.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match &self.check {
            Check::Secret(_) => "HS256",
            Check::Public(name, _) => name,
        }
    }

    /// Whether this is the signature of this message.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.check {
            Check::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            Check::Public(_, key) => key.verify(message, signature).is_ok(),
        }
    }
}

fn other_kind(wanted: &str) -> InvalidKey {
    InvalidKey(format!("it is a public key, but not one of {wanted}"))
}

/// What is in the only `PUBLIC KEY` of a PEM text (RFC 7468).
fn der(pem: &[u8]) -> Result<Vec<u8>, InvalidKey> {
    let wrong = |why: &str| InvalidKey(why.to_owned());
    let text =
        core::str::from_utf8(pem).map_err(|_| wrong("it is not PEM: it must begin with -----BEGIN PUBLIC KEY-----"))?;
    if text.contains("PRIVATE KEY-----") {
        return Err(wrong("it has a private key, which does not belong here: it must be the public one"));
    }
    let Some((_, rest)) = text.split_once(BEGIN) else {
        let certificate = text.contains("-----BEGIN CERTIFICATE-----");
        let found = if certificate { "it has a certificate" } else { "it is not PEM" };
        return Err(InvalidKey(format!("{found}: it must begin with {BEGIN}")));
    };
    let (lines, behind) = rest.split_once(END).ok_or_else(|| InvalidKey(format!("there is no {END}")))?;
    if behind.contains(BEGIN) {
        return Err(wrong("it has more than one key"));
    }
    let compact: Vec<u8> = lines.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    decode(&STANDARD, &compact).ok_or_else(|| wrong("what stands within it is not base64"))
}

/// What base64 stands for.
pub(super) fn decode(engine: &impl base64::Engine, text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = vec![0; base64::decoded_len_estimate(text.len())];
    let length = engine.decode_slice(text, &mut bytes).ok()?;
    bytes.truncate(length);
    Some(bytes)
}

/// The key in a `SubjectPublicKeyInfo` (RFC 5280 section 4.1) of this kind.
fn key_of<'a>(info: &'a [u8], kind: &[u8]) -> Option<&'a [u8]> {
    let (whole, rest) = element(info, SEQUENCE)?;
    let (algorithm, after) = element(whole, SEQUENCE)?;
    let (bits, end) = element(after, BIT_STRING)?;
    let key = bits.strip_prefix(&[0])?;
    (algorithm == kind && rest.is_empty() && end.is_empty()).then_some(key)
}

/// Bits of the modulus of an `RSAPublicKey` (RFC 8017 appendix A.1.1).
fn modulus_bits(key: &[u8]) -> Option<usize> {
    let (numbers, rest) = element(key, SEQUENCE)?;
    let (modulus, after) = element(numbers, INTEGER)?;
    let (_, end) = element(after, INTEGER)?;
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let unused = modulus.first()?.leading_zeros() as usize;
    let bits = modulus.len().checked_mul(8)?.checked_sub(unused)?;
    (rest.is_empty() && end.is_empty()).then_some(bits)
}

/// The content of the element of DER at the beginning, which must be of this type, and what is behind it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [first, short, rest @ ..] = der else { return None };
    let (length, rest) = match *short {
        length @ ..=0x7f => (usize::from(length), rest),
        0x81 => {
            let (length, rest) = rest.split_first()?;
            (usize::from(*length), rest)
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    (*first == tag).then(|| rest.split_at_checked(length)).flatten()
}

//! How sessions and browsers are named on the wire.
//!
//! Owns the text form: lower-case letters and the digits 2 to 7, five bits each (the alphabet of RFC 4648 section 6). Must
//! not decide who may use a name.

use core::fmt::Write;

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Random bytes in a secret.
pub const SECRET_BYTES: usize = 16;

/// Where secrets come from: 128 bits from the operating system, or a seeded source in the simulator.
pub trait Entropy {
    /// The next secret, never to be handed out twice.
    fn secret(&mut self) -> [u8; SECRET_BYTES];
}

/// A `clientId`: the session's slot, to find it in one step, and a secret, to be sure that it is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId {
    /// The slot in the broker's arena. Tells nothing worth hiding.
    pub slot: u32,
    /// 128 bits that only the client knows.
    pub secret: [u8; SECRET_BYTES],
}

impl ClientId {
    /// 32 characters: 160 bits, five a character.
    pub fn to_text(self) -> String {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&self.slot.to_be_bytes());
        bytes[4..].copy_from_slice(&self.secret);
        encode(&bytes)
    }

    /// The id that has exactly this text.
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes: [u8; 20] = decode(text)?;
        let (slot, secret) = bytes.split_at(4);
        Some(Self { slot: u32::from_be_bytes(slot.try_into().ok()?), secret: secret.try_into().ok()? })
    }
}

/// The value of a browser cookie that is issued for this secret: 26 characters.
pub fn browser_text(secret: &[u8; SECRET_BYTES]) -> String {
    encode(secret)
}

/// The secret of a cookie value that [`browser_text`] made.
pub fn browser_secret(text: &str) -> Option<[u8; SECRET_BYTES]> {
    decode(text)
}

/// Whether two secrets are equal, in a time that does not depend on where they differ.
pub fn same_secret(a: &[u8; SECRET_BYTES], b: &[u8; SECRET_BYTES]) -> bool {
    a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let mut bits: u32 = 0;
    let mut held = 0;
    let mut push = |five: u32| {
        let letter = ALPHABET[(five & 31) as usize];
        // Writing to a String cannot fail.
        let _ = text.write_char(char::from(letter));
    };
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            push(bits >> held);
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        push(bits << (5 - held));
    }
    text
}

/// The value of each letter; [`NO_LETTER`] for all other bytes.
const VALUES: [u8; 256] = {
    let mut values = [NO_LETTER; 256];
    let mut value = 0;
    while value < ALPHABET.len() {
        values[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    values
};
/// More than five bits hold.
const NO_LETTER: u8 = 0xff;

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != (N * 8).div_ceil(5) {
        return None;
    }
    let mut bytes = [0; N];
    // Eight letters are five bytes. All are looked at before it is said that one is none: each poll comes through here.
    let mut seen = 0;
    for (letters, out) in text.as_bytes().chunks(8).zip(bytes.chunks_mut(5)) {
        let mut bits: u64 = 0;
        for letter in letters {
            let five = VALUES[usize::from(*letter)];
            seen |= five;
            bits = bits << 5 | u64::from(five & 31);
        }
        let (held, wanted) = (letters.len() * 5, out.len() * 8);
        // One text for one value: bits left over must be zero.
        if bits & ((1 << (held - wanted)) - 1) != 0 {
            return None;
        }
        let word = (bits >> (held - wanted) << (64 - wanted)).to_be_bytes();
        out.copy_from_slice(word.get(..out.len())?);
    }
    (seen != NO_LETTER).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_client_id_reads_back(slot: u32, secret: [u8; 16]) {
            let text = ClientId { slot, secret }.to_text();
            prop_assert_eq!(text.len(), 32);
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            prop_assert_eq!(ClientId::from_text(&text), Some(ClientId { slot, secret }));
        }

        #[test]
        fn a_browser_value_reads_back(secret: [u8; 16]) {
            prop_assert_eq!(browser_secret(&browser_text(&secret)), Some(secret));
        }

        #[test]
        fn any_other_text_is_refused_or_is_the_very_text(text in "[a-z2-7A-Z01 ]{24,34}") {
            if let Some(id) = ClientId::from_text(&text) {
                prop_assert_eq!(id.to_text(), text);
            } else if let Some(secret) = browser_secret(&text) {
                prop_assert_eq!(browser_text(&secret), text);
            }
        }
    }
}

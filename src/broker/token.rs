//! How sessions and browsers are named on the wire.
//!
//! Owns the text form: lower-case letters and the digits 2 to 7, five bits each (the alphabet of RFC 4648 section 6). Must
//! not decide who may use a name.

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Marks a byte that is no letter of the alphabet.
const NONE: u8 = 0x80;
/// The five bits of each letter.
const FIVES: [u8; 256] = {
    let mut fives = [NONE; 256];
    let mut rest: &mut [u8] = &mut fives;
    let mut letter = 0_u8;
    while let Some((five, behind)) = rest.split_first_mut() {
        *five = match letter {
            b'a'..=b'z' => letter.wrapping_sub(b'a'),
            b'2'..=b'7' => letter.wrapping_sub(b'2').wrapping_add(26),
            _ => NONE,
        };
        letter = letter.wrapping_add(1);
        rest = behind;
    }
    fives
};
/// Where the five bits of eight letters stand in a number whose first five bytes they are.
const SHIFTS: [u32; 8] = [59, 54, 49, 44, 39, 34, 29, 24];

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
        let (slot, secret) = bytes.split_first_chunk()?;
        Some(Self { slot: u32::from_be_bytes(*slot), secret: secret.try_into().ok()? })
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

/// The same for texts, whose lengths are no secret.
pub fn same_text(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// Letters for so many bytes.
const fn letters(bytes: usize) -> usize {
    bytes.saturating_mul(8).div_ceil(5)
}

fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(letters(bytes.len()));
    for group in bytes.chunks(5) {
        let mut first = [0; 8];
        for (place, byte) in first.iter_mut().zip(group) {
            *place = *byte;
        }
        let bits = u64::from_be_bytes(first);
        for shift in SHIFTS.iter().take(letters(group.len())) {
            let letter = ALPHABET.get((bits >> shift & 31) as usize);
            text.extend(letter.map(|letter| char::from(*letter)));
        }
    }
    text
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != letters(N) {
        return None;
    }
    let mut bytes = [0; N];
    let (mut wrong, mut left_over) = (0, 0);
    // Eight letters are five bytes.
    for (letters, out) in text.as_bytes().chunks(8).zip(bytes.chunks_mut(5)) {
        let mut bits: u64 = 0;
        for (letter, shift) in letters.iter().zip(SHIFTS) {
            let five = FIVES.get(usize::from(*letter)).copied().unwrap_or(NONE);
            wrong |= five & NONE;
            bits |= u64::from(five) << shift;
        }
        let mut group = bits.to_be_bytes().into_iter();
        for (place, byte) in out.iter_mut().zip(&mut group) {
            *place = byte;
        }
        left_over |= group.next().unwrap_or_default();
    }
    // One text for one value: bits left over must be zero.
    (wrong == 0 && left_over == 0).then_some(bytes)
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

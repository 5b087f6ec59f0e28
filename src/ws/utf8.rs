//! UTF-8 checked as it arrives, in whatever pieces.
//!
//! Owns the table of well-formed byte sequences (RFC 3629 section 4; Unicode table 3-7). It keeps three bytes, no text.

/// How far a text has been checked. Start the next text with a fresh one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8 {
    /// Bytes that the current character still needs.
    missing: u8,
    /// The least and the greatest next byte, if one is missing.
    low: u8,
    high: u8,
}

impl Utf8 {
    /// Takes the next bytes and tells whether the text can still become valid. It says no at the first byte that no
    /// valid text has there; after that it must not be asked again.
    pub fn take(&mut self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        loop {
            if self.missing == 0 {
                rest = after_ascii(rest);
            }
            let Some((&byte, after)) = rest.split_first() else { return true };
            if !self.step(byte) {
                return false;
            }
            rest = after;
        }
    }

    /// Whether the text may end here: no character is cut off.
    pub const fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Judges one byte.
    fn step(&mut self, byte: u8) -> bool {
        if self.missing > 0 {
            if byte < self.low || byte > self.high {
                return false;
            }
            *self = Self { missing: self.missing.saturating_sub(1), low: 0x80, high: 0xbf };
            return true;
        }
        // The second byte is bounded so that nothing is longer than needed, a surrogate, or above U+10FFFF.
        let (missing, low, high) = match byte {
            0x00..=0x7f => (0, 0, 0),
            0xc2..=0xdf => (1, 0x80, 0xbf),
            0xe0 => (2, 0xa0, 0xbf),
            0xed => (2, 0x80, 0x9f),
            0xe1..=0xef => (2, 0x80, 0xbf),
            0xf0 => (3, 0x90, 0xbf),
            0xf1..=0xf3 => (3, 0x80, 0xbf),
            0xf4 => (3, 0x80, 0x8f),
            _ => return false,
        };
        *self = Self { missing, low, high };
        true
    }
}

/// What follows the leading blocks that are nothing but ASCII.
fn after_ascii(bytes: &[u8]) -> &[u8] {
    let (blocks, _) = bytes.as_chunks::<16>();
    let blocks = blocks.iter().take_while(|block| block.is_ascii()).count();
    bytes.get(blocks.saturating_mul(16)..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The verdict over pieces: `None` for invalid, else whether it is complete.
    fn verdict(pieces: &[&[u8]]) -> Option<bool> {
        let mut state = Utf8::default();
        pieces.iter().all(|piece| state.take(piece)).then(|| state.is_complete())
    }

    /// What the standard library says.
    fn expected(text: &[u8]) -> Option<bool> {
        match core::str::from_utf8(text) {
            Ok(_) => Some(true),
            Err(error) => error.error_len().is_none().then_some(false),
        }
    }

    #[test]
    fn it_is_small() {
        assert_eq!(size_of::<Utf8>(), 3);
    }

    #[test]
    fn all_texts_of_up_to_three_bytes() {
        for a in 0..=255 {
            assert_eq!(verdict(&[&[a]]), expected(&[a]), "{a:x}");
            for b in 0..=255 {
                assert_eq!(verdict(&[&[a, b]]), expected(&[a, b]), "{a:x} {b:x}");
                // Behind ASCII, or a byte that begins nothing, a third one adds nothing.
                for c in if a < 0xc0 { 0..=0 } else { 0..=255 } {
                    assert_eq!(verdict(&[&[a, b, c]]), expected(&[a, b, c]), "{a:x} {b:x} {c:x}");
                }
            }
        }
    }

    /// All leads with four bytes behind them, from the bounds of every range.
    #[test]
    fn longer_texts_from_the_bounds_of_the_ranges() {
        let edges = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xed, 0xf0, 0xf4, 0xff];
        for a in 0xc0..=0xff {
            for (b, c) in edges.iter().flat_map(|b| edges.map(|c| (*b, c))) {
                for (d, e) in edges.iter().flat_map(|d| edges.map(|e| (*d, e))) {
                    let text = [a, b, c, d, e];
                    assert_eq!(verdict(&[&text]), expected(&text), "{text:x?}");
                }
            }
        }
    }

    #[test]
    fn every_character() {
        let mut all = String::new();
        for character in '\0'..=char::MAX {
            let mut bytes = [0; 4];
            let text = character.encode_utf8(&mut bytes).as_bytes();
            let mut state = Utf8::default();
            let complete: Vec<bool> = text.chunks(1).map(|byte| state.take(byte) && state.is_complete()).collect();
            assert_eq!(complete.iter().position(|it| *it), Some(text.len() - 1), "{character:?}");
            all.push(character);
        }
        assert_eq!(verdict(&[all.as_bytes()]), Some(true));
    }

    #[test]
    fn the_first_offending_byte_is_the_one() {
        let mut state = Utf8::default();
        assert!(state.take(b"\xed"));
        assert!(!state.take(b"\xa0"));
        let mut state = Utf8::default();
        assert!(state.take(b"0123456789abcdef0123456789abcde\xf4\x8f\xbf"));
        assert!(!state.is_complete());
        assert!(!state.take(b"\x7f"));
    }

    proptest! {
        #[test]
        fn as_the_standard_library_says_however_cut(
            text in prop_oneof![
                any::<String>().prop_map(String::into_bytes),
                proptest::collection::vec(any::<u8>(), 0..40),
                (any::<String>(), proptest::collection::vec(any::<u8>(), 0..3), "[a-z]{0,40}")
                    .prop_map(|(head, odd, tail)| [head.into_bytes(), odd, tail.into_bytes()].concat()),
            ],
            cut in 0..40_usize,
        ) {
            let (left, right) = text.split_at(cut.min(text.len()));
            prop_assert_eq!(verdict(&[&text]), expected(&text));
            prop_assert_eq!(verdict(&[left, right]), expected(&text));
        }
    }
}

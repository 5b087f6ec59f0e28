//! Masking (RFC 6455 section 5.3): the same operation puts the mask on and takes it off.

/// XORs the bytes with the mask. `before` is how many bytes of the frame's payload came earlier.
pub(super) fn apply(bytes: &mut [u8], mask: [u8; 4], before: usize) {
    let mut mask = mask;
    mask.rotate_left(before % 4);
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (blocks, rest) = bytes.as_chunks_mut::<8>();
    for block in blocks {
        *block = (u64::from_ne_bytes(*block) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Miri is slow: not each length.
    const STEP: usize = if cfg!(miri) { 9 } else { 1 };

    #[test]
    fn as_the_rfc_says_it_from_any_place() {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        for (length, before) in (0..40).step_by(STEP).flat_map(|length| (0..9).map(move |before| (length, before))) {
            let plain: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut masked = plain.clone();
            apply(&mut masked, mask, before);
            let expected: Vec<u8> = plain.iter().enumerate().map(|(at, it)| it ^ mask[(at + before) % 4]).collect();
            assert_eq!(masked, expected, "{length} bytes after {before}");
            apply(&mut masked, mask, before);
            assert_eq!(masked, plain);
        }
    }
}

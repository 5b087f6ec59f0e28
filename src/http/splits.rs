//! Test helper: shows one input to a parser whole, cut in two at every point, and byte by byte.
//!
//! Owns the ways of cutting; knows nothing of any parser.

use std::fmt::Debug;

/// Calls `read` with the pieces of each cut, demands the same verdict every time and returns it.
pub(crate) fn same_however_split<T: PartialEq + Debug>(input: &[u8], read: impl Fn(&[&[u8]]) -> T) -> T {
    let whole = read(&[input]);
    for at in 0..=input.len() {
        let (left, right) = input.split_at(at);
        assert_eq!(read(&[left, right]), whole, "cut at {at} of {:?}", String::from_utf8_lossy(input));
    }
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(read(&bytes), whole, "byte by byte: {:?}", String::from_utf8_lossy(input));
    whole
}

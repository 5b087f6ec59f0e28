//! Test helper: shows one input to a parser whole, cut in two at every point, and byte by byte. Under Miri, which is some
//! hundred times slower, not at every point but in the middle.
//!
//! Owns the ways of cutting; knows nothing of any parser.

use std::fmt::Debug;

/// Calls `read` with the pieces of each cut, demands the same verdict every time and returns it.
pub(crate) fn same_however_split<T: PartialEq + Debug>(input: &[u8], read: impl Fn(&[&[u8]]) -> T) -> T {
    let whole = read(&[input]);
    let all = 0..=input.len();
    let some = input.len() / 2..=input.len() / 2;
    for at in if cfg!(miri) { some } else { all } {
        let (left, right) = input.split_at(at);
        assert_eq!(read(&[left, right]), whole, "cut at {at} of {:?}", String::from_utf8_lossy(input));
    }
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(read(&bytes), whole, "byte by byte: {:?}", String::from_utf8_lossy(input));
    whole
}

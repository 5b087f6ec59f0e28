//! Ways to cut an input, for what must not depend on how it comes.
//!
//! Owns the choice of cuts. It is made from the input, so that one input is always cut the same way.

/// The ends of the pieces for several ways to cut so many bytes: whole, byte by byte, in two at a few places, and in
/// pieces of changing sizes. A few of all ways, as longer inputs would take too long with all of them.
pub(crate) fn cuts(input: &[u8]) -> Vec<Vec<usize>> {
    let len = input.len();
    let mut ways = vec![vec![], (1..len).collect()];
    let mut chance = input
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mut next = |below: usize| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) as usize % below.max(1)
    };
    for _ in 0..4 {
        ways.push(vec![next(len + 1)]);
    }
    for most in [3, 17, 200] {
        let mut at = 0;
        let mut ends = Vec::new();
        while at < len {
            at += 1 + next(most);
            ends.push(at.min(len));
        }
        ways.push(ends);
    }
    ways
}

/// The pieces that end there, and the rest.
pub(crate) fn pieces<'i>(input: &'i [u8], ends: &'i [usize]) -> impl Iterator<Item = &'i [u8]> {
    let starts = core::iter::once(0).chain(ends.iter().copied());
    let ends = ends.iter().copied().chain(core::iter::once(input.len()));
    starts.zip(ends).map(|(from, to)| &input[from..to])
}

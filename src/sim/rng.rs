//! Chance, from a seed.
//!
//! Owns the one source of randomness in the simulator: xoshiro256** (Blackman and Vigna), its state filled by splitmix64.
//! Each part of the world has a generator of its own, split off by name, so that a change in one does not shift the others.

use crate::broker::token::{Entropy, SECRET_BYTES};

/// A generator of numbers that look random.
#[derive(Clone, Debug)]
pub(crate) struct Rng {
    state: [u64; 4],
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

impl Rng {
    /// The generator of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut state = seed;
        Self { state: core::array::from_fn(|_| splitmix(&mut state)) }
    }

    /// A generator for one part of the world, which depends on the seed and on its name only.
    pub(crate) fn of(seed: u64, part: &str, number: usize) -> Self {
        let mut state = seed ^ number as u64;
        for byte in part.bytes() {
            state = splitmix(&mut state) ^ u64::from(byte);
        }
        Self::new(state)
    }

    /// 64 random bits.
    pub(crate) fn next(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let c2 = c ^ a;
        let d2 = d ^ b;
        self.state = [a ^ d2, b ^ c2, c2 ^ b << 17, d2.rotate_left(45)];
        result
    }

    /// A number below `end`; 0 if there is none. The bias is too small to matter here.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// A number of a range, both ends included.
    pub(crate) fn between(&mut self, (from, to): (u64, u64)) -> u64 {
        from + self.below(to.saturating_sub(from).saturating_add(1))
    }

    /// A length of 1 to `most`; small ones are as likely as large ones.
    pub(crate) fn length(&mut self, most: usize) -> usize {
        let bits = self.below(u64::from(most.max(1).ilog2()) + 1);
        let some = 1 + self.below(2 << bits) as usize;
        some.min(most)
    }

    /// True so many times out of a thousand.
    pub(crate) fn chance(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.below(1_000) < u64::from(per_mille)
    }

    /// One of several.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// Another order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}

/// Secrets from a seed.
#[derive(Debug)]
pub(crate) struct SeededEntropy(pub(crate) Rng);

impl Entropy for SeededEntropy {
    fn secret(&mut self) -> [u8; SECRET_BYTES] {
        (u128::from(self.0.next()) << 64 | u128::from(self.0.next())).to_be_bytes()
    }
}

#[test]
fn the_same_seed_gives_the_same_numbers_and_each_part_its_own() {
    let take = |mut rng: Rng| -> Vec<u64> { (0..8).map(|_| rng.next()).collect() };
    assert_eq!(take(Rng::of(1, "network", 0)), take(Rng::of(1, "network", 0)));
    assert_ne!(take(Rng::of(1, "network", 0)), take(Rng::of(1, "client", 0)));
    assert_ne!(take(Rng::of(1, "client", 0)), take(Rng::of(1, "client", 1)));
    assert_ne!(take(Rng::of(1, "client", 0)), take(Rng::of(2, "client", 0)));
    let mut rng = Rng::new(7);
    assert!((0..1_000).all(|_| rng.below(10) < 10 && (1..=9).contains(&rng.length(9))));
    assert!((0..1_000).all(|_| (3..=5).contains(&rng.between((3, 5)))));
}

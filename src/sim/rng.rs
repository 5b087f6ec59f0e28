//! Chance, from a seed or from a script of bytes.
//!
//! Owns the one source of randomness in the simulator: xoshiro256** (Blackman and Vigna), its state filled by splitmix64.
//! Each part of the world has a generator of its own, split off by name, so that a change in one does not shift the others.
//! With a script they all take their choices from its bytes, in the order in which they are made, until it is used up:
//! so a fuzzer can lead the story.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::broker::token::{Entropy, SECRET_BYTES};

/// Bytes that decide before the seed does.
type Script = Arc<Mutex<VecDeque<u8>>>;

/// What decides everything in one world.
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    seed: u64,
    script: Option<Script>,
}

impl Chance {
    /// A seed alone.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { seed, script: None }
    }

    /// These bytes first, then a seed that depends on them.
    pub(crate) fn scripted(bytes: &[u8]) -> Self {
        let seed = bytes.iter().fold(0, |mut seed, byte| splitmix(&mut seed) ^ u64::from(*byte));
        Self { seed, script: Some(Arc::new(Mutex::new(bytes.iter().copied().collect()))) }
    }

    /// Whether it is one of a third of all seeds.
    pub(crate) fn is_third(&self) -> bool {
        self.seed.is_multiple_of(3)
    }

    /// Whether bytes decide, as far as they go.
    pub(crate) fn is_scripted(&self) -> bool {
        self.script.is_some()
    }

    /// A generator for one part of the world, which without a script depends on the seed and on its name only.
    pub(crate) fn of(&self, part: &str, number: usize) -> Rng {
        Rng { script: self.script.clone(), ..self.secret(part, number) }
    }

    /// The same for what no script may decide, as two secrets that are the same would not be the server's fault.
    pub(crate) fn secret(&self, part: &str, number: usize) -> Rng {
        let mut state = self.seed ^ number as u64;
        for byte in part.bytes() {
            state = splitmix(&mut state) ^ u64::from(byte);
        }
        Rng::new(state)
    }
}

/// A generator of numbers that look random.
#[derive(Clone, Debug)]
pub(crate) struct Rng {
    state: [u64; 4],
    script: Option<Script>,
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
        Self { state: core::array::from_fn(|_| splitmix(&mut state)), script: None }
    }

    /// 64 random bits. No script decides them: of so many bits none is a choice.
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
        if let Some(number) = self.dictated(end) {
            return number;
        }
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// The same from as few bytes of the script as hold it, if there are any left.
    fn dictated(&self, end: u64) -> Option<u64> {
        let mut script = self.script.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let mut number = u64::from(script.pop_front()?);
        let mut most = 256;
        while most < end && most < 1 << 56 {
            number = number << 8 | u64::from(script.pop_front().unwrap_or_default());
            most <<= 8;
        }
        Some(number % end.max(1))
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
    let of = |seed, part, number| take(Chance::seeded(seed).of(part, number));
    assert_eq!(of(1, "network", 0), of(1, "network", 0));
    assert_ne!(of(1, "network", 0), of(1, "client", 0));
    assert_ne!(of(1, "client", 0), of(1, "client", 1));
    assert_ne!(of(1, "client", 0), of(2, "client", 0));
    let mut rng = Rng::new(7);
    assert!((0..1_000).all(|_| rng.below(10) < 10 && (1..=9).contains(&rng.length(9))));
    assert!((0..1_000).all(|_| (3..=5).contains(&rng.between((3, 5)))));
}

#[test]
fn a_script_decides_until_it_is_used_up() {
    let chance = Chance::scripted(&[7, 3, 1, 0]);
    let (mut one, mut two, mut other) = (chance.of("one", 0), chance.of("two", 0), chance.secret("one", 0));
    assert_eq!((one.below(10), two.below(256), one.below(300)), (7, 3, 256));
    let rest: Vec<u64> = (0..8).map(|_| one.below(1 << 40)).collect();
    assert_eq!(rest, (0..8).map(|_| other.below(1 << 40)).collect::<Vec<_>>());
    assert_ne!(Chance::scripted(&[1]).of("one", 0).next(), Chance::scripted(&[2]).of("one", 0).next());
}

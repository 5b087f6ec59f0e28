//! How fast one address makes sessions.
//!
//! Owns a bucket of tokens for each address that has shaken hands lately: so many at once, then so many a second. A bucket
//! is kept as the instant at which it will be full again (the generic cell rate algorithm), so it takes 16 bytes and no
//! timer. Must not decide what becomes of who comes too fast.

use core::net::{IpAddr, Ipv6Addr};
use std::collections::HashMap;

/// Addresses, count, at which those are first looked for that can be forgotten.
const SWEEP_FROM: usize = 1_024;
/// Between two such looks at a table that is full, µs.
const SWEEP_EVERY_US: u64 = 100_000;
/// Who comes too fast is told to wait at most so long, ms.
const LONGEST_WAIT_MS: u64 = 60_000;

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Each second, count.
    pub per_second: u32,
    /// At once, after a pause, count.
    pub burst: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// When it is full, µs.
    full_us: u64,
    /// Who has been sent away since a token was last to be had, count.
    refused: u32,
}

/// The buckets.
#[derive(Debug)]
pub struct Rates {
    buckets: HashMap<IpAddr, Bucket>,
    /// At so many buckets, those that are full are forgotten.
    sweep_at: usize,
    /// Not before that, µs.
    sweep_from_us: u64,
}

impl Default for Rates {
    fn default() -> Self {
        Self { buckets: HashMap::new(), sweep_at: SWEEP_FROM, sweep_from_us: 0 }
    }
}

impl Rates {
    /// Takes a token of the address, of which at most `most` are told apart.
    ///
    /// # Errors
    /// After how long there is one, ms, if all who have been sent away before come first.
    pub fn take(&mut self, address: IpAddr, rate: Rate, most: usize, now_ms: u64) -> Result<(), u64> {
        let now_us = now_ms.saturating_mul(1_000);
        let each_us = 1_000_000_u64.checked_div(u64::from(rate.per_second)).unwrap_or(1_000_000);
        let within_us = each_us.saturating_mul(u64::from(rate.burst.max(1)));
        let network = self.known(network(address), most, now_us);
        let bucket = self.buckets.entry(network).or_default();
        let full_us = bucket.full_us.max(now_us).saturating_add(each_us);
        let over_us = full_us.saturating_sub(now_us.saturating_add(within_us));
        if over_us == 0 {
            *bucket = Bucket { full_us, refused: 0 };
            return Ok(());
        }
        let before_us = each_us.saturating_mul(u64::from(bucket.refused));
        bucket.refused = bucket.refused.saturating_add(1);
        Err(over_us.saturating_add(before_us).div_ceil(1_000).min(LONGEST_WAIT_MS))
    }

    /// The name under which an address is counted: its own, or, if there are too many, one for all that are left.
    fn known(&mut self, address: IpAddr, most: usize, now_us: u64) -> IpAddr {
        if self.buckets.len() < self.sweep_at.min(most) || self.buckets.contains_key(&address) {
            return address;
        }
        if now_us >= self.sweep_from_us {
            self.buckets.retain(|_, bucket| bucket.full_us > now_us);
            self.buckets.shrink_to_fit();
            self.sweep_at = SWEEP_FROM.max(self.buckets.len().saturating_mul(2));
            self.sweep_from_us = now_us.saturating_add(SWEEP_EVERY_US);
        }
        if self.buckets.len() < most { address } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) }
    }
}

/// What belongs to one site: an IPv4 address, the upper half of an IPv6 address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 3 };
    const NOW: u64 = 1_000_000;

    fn take(rates: &mut Rates, address: &str, now_ms: u64) -> Result<(), u64> {
        rates.take(address.parse().unwrap(), RATE, 2_000, now_ms)
    }

    #[test]
    fn so_many_at_once_and_then_so_many_a_second() {
        let mut rates = Rates::default();
        assert_eq!([(); 4].map(|()| take(&mut rates, "192.0.2.1", NOW)), [Ok(()), Ok(()), Ok(()), Err(100)]);
        assert_eq!(take(&mut rates, "192.0.2.2", NOW), Ok(()), "another address has tokens of its own");
        assert_eq!([(); 2].map(|()| take(&mut rates, "192.0.2.1", NOW + 100)), [Ok(()), Err(100)]);
        assert_eq!([(); 4].map(|()| take(&mut rates, "192.0.2.1", NOW + 9_000)), [Ok(()), Ok(()), Ok(()), Err(100)]);
    }

    #[test]
    fn who_is_sent_away_is_told_to_come_one_after_another() {
        let mut rates = Rates::default();
        let told: Vec<_> = (0..700).map(|_| take(&mut rates, "192.0.2.1", NOW)).skip(3).collect();
        assert_eq!(told[..3], [Err(100), Err(200), Err(300)]);
        assert_eq!(told.last(), Some(&Err(LONGEST_WAIT_MS)));
        // Who does as told finds a token.
        assert_eq!([100, 200, 300].map(|ms| take(&mut rates, "192.0.2.1", NOW + ms)), [Ok(()), Ok(()), Ok(())]);
    }

    #[test]
    fn an_ipv6_site_counts_as_one_and_a_mapped_address_as_what_it_is() {
        let mut rates = Rates::default();
        let site = ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:3", "2001:db8::4"];
        assert_eq!(site.map(|address| take(&mut rates, address, NOW).is_ok()), [true, true, true, false]);
        assert_eq!(take(&mut rates, "2001:db8:0:1::1", NOW), Ok(()));
        let same = ["::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1"];
        assert_eq!(same.map(|address| take(&mut rates, address, NOW).is_ok()), [true, true, true, false]);
    }

    #[test]
    fn limit_handshake_addresses() {
        let mut rates = Rates::default();
        let address = |at: u32| IpAddr::from(at.to_be_bytes());
        for at in 0..2_000 {
            assert_eq!(rates.take(address(at), RATE, 2_000, NOW), Ok(()), "{at}");
        }
        // No more are told apart: those beyond share three tokens.
        let beyond: Vec<bool> = (2_000..2_005).map(|at| rates.take(address(at), RATE, 2_000, NOW).is_ok()).collect();
        assert_eq!(beyond, [true, true, true, false, false]);
        assert!(rates.buckets.len() <= 2_001);
        assert_eq!(rates.take(address(7), RATE, 2_000, NOW), Ok(()), "who is known keeps his own");
        // Those that are full again are forgotten.
        assert_eq!(rates.take(address(9_999), RATE, 2_000, NOW + 1_000), Ok(()));
        assert_eq!(rates.buckets.len(), 1);
    }
}

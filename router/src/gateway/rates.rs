//! How often one address may send requests.
//!
//! Whoever holds credentials can ask for sessions without end, and each costs a worker about a
//! millisecond and memory until it is given up (RFC 9725 §5).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::rate::Bucket;

/// Requests of one address per second, and at once: an office full of viewers behind one address can
/// start together; a loop cannot take more than a fifth of a worker.
const REQUESTS_PER_SECOND: u32 = 200;
/// Addresses remembered: about 1 MiB. With more at once, the oldest of them start anew.
const ADDRESSES_MAX: usize = 8_192;

/// What each address has left.
#[derive(Default)]
pub(super) struct Rates {
    buckets: Mutex<HashMap<IpAddr, (Bucket, Instant)>>,
}

impl Rates {
    /// Whether this address may send a request now. This machine always may: a proxy in front of us
    /// speaks for everybody.
    pub(super) fn admit(&self, address: IpAddr, now: Instant) -> bool {
        let address = address.to_canonical();
        if address.is_loopback() {
            return true;
        }
        // Nothing can be left half-done in it.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let key = network(address);
        if buckets.len() >= ADDRESSES_MAX && !buckets.contains_key(&key) {
            make_room(&mut buckets, now);
        }
        let fresh = || (Bucket::new(REQUESTS_PER_SECOND, now), now);
        let (bucket, seen) = buckets.entry(key).or_insert_with(fresh);
        *seen = now;
        bucket.take(now)
    }
}

/// A bucket is full after a second without requests, which says as much as none.
fn make_room(buckets: &mut HashMap<IpAddr, (Bucket, Instant)>, now: Instant) {
    buckets.retain(|_, (_, seen)| now.saturating_duration_since(*seen).as_secs() < 1);
    if buckets.len() >= ADDRESSES_MAX {
        buckets.clear();
    }
}

/// Whoever has an IPv6 address has at least 2^64 of them (RFC 7084 §4.3).
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let bits = v6.to_bits() & (u128::MAX << 64);
            Ipv6Addr::from_bits(bits).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn admitted(rates: &Rates, address: &str, now: Instant) -> usize {
        let address = address.parse().unwrap();
        (0..1_000).filter(|_| rates.admit(address, now)).count()
    }

    #[test]
    fn each_network_has_its_own_share_and_this_machine_no_bound() {
        let now = Instant::now();
        let rates = Rates::default();
        assert_eq!(admitted(&rates, "192.0.2.1", now), 200);
        assert_eq!(admitted(&rates, "192.0.2.2", now), 200);
        assert_eq!(admitted(&rates, "::ffff:192.0.2.1", now), 0, "the same one");
        assert_eq!(admitted(&rates, "2001:db8:0:1::1", now), 200);
        assert_eq!(admitted(&rates, "2001:db8:0:1:ffff::2", now), 0);
        assert_eq!(admitted(&rates, "2001:db8:0:2::1", now), 200);
        for here in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(admitted(&rates, here, now), 1_000);
        }
        let later = now + Duration::from_millis(500);
        assert_eq!(admitted(&rates, "192.0.2.1", later), 100);
    }

    #[test]
    fn memory_is_bounded() {
        let now = Instant::now();
        let rates = Rates::default();
        for bits in 0..20_000_u32 {
            assert!(rates.admit(IpAddr::V4((bits + (1 << 24)).into()), now));
            assert!(rates.buckets.lock().unwrap().len() <= ADDRESSES_MAX);
        }
    }
}

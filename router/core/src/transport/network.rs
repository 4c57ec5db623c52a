//! What is known of the network toward a client, from its feedback.

use std::time::{Duration, Instant};

use crate::limits::NETWORK_REPORTS;

/// The network of one transport, as its congestion control sees it.
///
/// Whoever sends the media fills it in; layers are chosen by it, see `shard/layers.rs`.
#[derive(Debug, Default)]
pub(crate) struct Network {
    /// What it can carry, bits per second; `None`: not measured.
    pub(crate) estimate_bps: Option<u32>,
    /// The estimate that was last acted on.
    acted_on: Option<u32>,
    /// The estimate was given by somebody who knows: nothing measured takes its place.
    pub(crate) given: bool,
    /// Round trip, milliseconds; 0: not measured.
    pub(crate) rtt_ms: u16,
    /// Packets lost of a thousand, over the last second.
    pub(crate) loss_permille: u16,
    counting: Option<Counting>,
}

/// What reports say of the present second.
#[derive(Debug)]
struct Counting {
    since: Instant,
    expected: u64,
    lost: u64,
}

/// An estimate that moved by less than one in so many is no news.
const NEWS: u32 = 32;

impl Network {
    /// A new estimate. True if it differs enough from the last one acted on to act on it.
    pub(crate) fn on_estimate(&mut self, bps: u64) -> bool {
        let bps = u32::try_from(bps).unwrap_or(u32::MAX);
        self.estimate_bps = Some(bps);
        let news = match self.acted_on {
            None => true,
            Some(before) => before.abs_diff(bps) > before / NEWS,
        };
        if news {
            self.acted_on = Some(bps);
        }
        news
    }

    /// A round trip, as smoothed.
    pub(crate) fn on_round_trip(&mut self, span: Duration) {
        let ms = span.as_millis().clamp(1, u128::from(u16::MAX));
        self.rtt_ms = ms as u16;
    }

    /// A receiver reports how many packets were due to it since its last report, and how many were lost.
    pub(crate) fn on_reception(&mut self, now: Instant, expected: u32, lost: u32) {
        let counting = self.counting.get_or_insert(Counting {
            since: now,
            expected: 0,
            lost: 0,
        });
        counting.expected += u64::from(expected);
        counting.lost += u64::from(lost.min(expected));
        let complete = now.saturating_duration_since(counting.since) >= NETWORK_REPORTS;
        if complete && counting.expected > 0 {
            let permille = (counting.lost * 1_000).div_ceil(counting.expected);
            self.loss_permille = permille.min(1_000) as u16;
            self.counting = None;
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_that_wavers_is_no_news() {
        let mut network = Network::default();
        assert!(network.on_estimate(1_000_000));
        for bps in [1_010_000, 990_000, 1_030_000] {
            assert!(!network.on_estimate(bps), "{bps}");
            assert_eq!(network.estimate_bps, Some(bps as u32));
        }
        assert!(network.on_estimate(1_040_000));
        assert!(!network.on_estimate(1_020_000), "against the last news");
        assert!(network.on_estimate(u64::MAX));
        assert_eq!(network.estimate_bps, Some(u32::MAX));
    }

    #[test]
    fn round_trips_are_rounded_and_bounded() {
        let mut network = Network::default();
        network.on_round_trip(Duration::from_micros(300));
        assert_eq!(network.rtt_ms, 1);
        network.on_round_trip(Duration::from_secs(900));
        assert_eq!(network.rtt_ms, u16::MAX);
    }

    #[test]
    fn losses_of_all_streams_are_counted_over_a_second() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let mut network = Network::default();
        network.on_reception(at(0), 50, 1);
        network.on_reception(at(500), 900, 19);
        assert_eq!(network.loss_permille, 0, "the second is not over");
        network.on_reception(at(1_000), 50, 0);
        assert_eq!(network.loss_permille, 20);
        // More than all cannot be lost.
        network.on_reception(at(1_100), 10, 10);
        network.on_reception(at(2_100), 10, u32::MAX);
        assert_eq!(network.loss_permille, 1_000);
        network.on_reception(at(3_000), 0, 0);
        network.on_reception(at(4_100), 0, 0);
        assert_eq!(network.loss_permille, 1_000, "nothing was due");
        network.on_reception(at(4_200), 2, 0);
        assert_eq!(network.loss_permille, 0);
    }
}

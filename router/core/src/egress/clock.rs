//! The shard's time as peers see it.

use std::time::{Duration, Instant};

/// Seconds from 1900, where NTP begins, to 1970.
const NTP_UNIX_SECONDS: u64 = 2_208_988_800;

/// Relates instants to a wall clock that was read once, at the start: reports need times that go on
/// evenly, not such as are corrected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    began: Instant,
    unix: Duration,
}

impl Clock {
    /// `unix`: since 1970, at `now`.
    pub(crate) fn new(now: Instant, unix: Duration) -> Self {
        Clock { began: now, unix }
    }

    fn unix(&self, now: Instant) -> Duration {
        self.unix + now.saturating_duration_since(self.began)
    }

    /// NTP timestamp (RFC 3550 §4).
    pub(crate) fn ntp(&self, now: Instant) -> u64 {
        let unix = self.unix(now);
        let fraction = (u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000;
        (unix.as_secs().wrapping_add(NTP_UNIX_SECONDS) << 32) | fraction
    }

    /// The middle of it, as reports refer to it: 1/65536 s.
    pub(crate) fn short_ntp(&self, now: Instant) -> u32 {
        (self.ntp(now) >> 16) as u32
    }

    /// 24 bits of seconds, 18 of them behind the point (abs-send-time).
    pub(crate) fn send_time(&self, now: Instant) -> u32 {
        ((self.ntp(now) >> 14) & 0xff_ffff) as u32
    }
}

/// A span of RTCP: 1/65536 s.
pub(crate) fn from_short(span: u32) -> Duration {
    Duration::from_micros(u64::from(span) * 1_000_000 / 65_536)
}

/// A duration as RTCP has it: 1/65536 s.
pub(crate) fn to_short(span: Duration) -> u32 {
    u32::try_from(span.as_micros() * 65_536 / 1_000_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Tests may look at the clock; the core may not.
    #[allow(clippy::disallowed_methods)]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn one_moment_has_three_names() {
        let start = start();
        let clock = Clock::new(start, Duration::from_secs(1_000));
        let now = start + Duration::from_millis(500);
        assert_eq!(clock.ntp(now), ((2_208_989_800 << 32) | (1 << 31)));
        assert_eq!(
            clock.short_ntp(now),
            (2_208_989_800_u64 << 16) as u32 | 0x8000
        );
        let seconds = (2_208_989_800_u64 % 64) as u32;
        assert_eq!(clock.send_time(now), (seconds << 18) | (1 << 17));
    }

    #[test]
    fn spans_survive_the_journey() {
        for micros in [0, 16, 1_000, 123_456, 9_999_999] {
            let span = Duration::from_micros(micros);
            let back = from_short(to_short(span));
            assert!(span.abs_diff(back) < Duration::from_micros(20), "{span:?}");
        }
    }
}

//! Spreads what a path could only queue: a keyframe toward a slow link, or what still comes of a layer that
//! no longer fits. As long as no estimate bounds it, and wherever the link has room, nothing waits and runs
//! stay whole.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Departure;
use super::congestion::Pace;
use super::history::Packet;

/// So many bytes may leave at once over any path.
const BURST_BYTES: f64 = 3_000.0;

/// Waiting packets are looked at this often.
const INTERVAL: Duration = Duration::from_millis(5);

/// Packets wait for so long at most: nobody looks at older pictures.
const AGE: Duration = Duration::from_millis(1_500);

/// Packets that wait at most: 2 s at 8 Mb/s.
const HELD: usize = 2_048;

/// Places kept when nothing waits.
const HELD_KEPT: usize = 64;

/// A packet that waits.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) departure: Departure,
    pub(super) packet: Packet,
    at: Instant,
}

/// The pacer of one transport.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    /// Bytes per second; `None`: no bound.
    rate: Option<f64>,
    /// Bytes that may leave now. Sound, retransmissions and the last packet of a burst may overdraw it.
    credit: f64,
    /// When it was filled up last.
    filled: Option<Instant>,
    /// Retransmissions first: somebody waits for them.
    again: VecDeque<Held>,
    held: VecDeque<Held>,
}

impl Pacer {
    /// A turn begins.
    pub(super) fn begin_turn(&mut self, now: Instant, pace: Option<Pace>) {
        let Some(pace) = pace else {
            self.rate = None;
            return;
        };
        let rate = pace.bytes_per_second;
        let most = pace.burst_bytes.max(BURST_BYTES);
        let filled = match self.filled.filter(|_| self.rate.is_some()) {
            Some(at) => now.saturating_duration_since(at).as_secs_f64() * rate,
            None => most,
        };
        self.rate = Some(rate);
        self.filled = Some(now);
        // What is overdrawn is paid back within a moment, or what waits would wait for sound alone.
        self.credit = (self.credit.max(-most) + filled).min(most);
    }

    /// So many bytes are to leave now at least.
    pub(super) fn allow(&mut self, bytes: usize) {
        self.credit = self.credit.max(bytes as f64);
    }

    /// Whether a packet may leave now, if it may wait at all.
    pub(super) fn is_open(&self) -> bool {
        self.rate.is_none() || self.credit > 0.0
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.again.is_empty()
    }

    /// So many bytes left.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.credit -= bytes as f64;
    }

    /// Has a packet wait. False: too many do.
    pub(super) fn hold(&mut self, now: Instant, departure: Departure, packet: &Packet) -> bool {
        if self.held.len() + self.again.len() >= HELD {
            return false;
        }
        let queue = if departure.again {
            &mut self.again
        } else {
            &mut self.held
        };
        queue.push_back(Held {
            departure,
            packet: packet.clone(),
            at: now,
        });
        true
    }

    /// The next that waited, if it may leave now.
    pub(super) fn release(&mut self) -> Option<Held> {
        if !self.is_open() {
            return None;
        }
        let next = self.again.pop_front().or_else(|| self.held.pop_front());
        if next.is_some() && self.is_empty() {
            self.again.shrink_to(HELD_KEPT);
            self.held.shrink_to(HELD_KEPT);
        }
        next
    }

    /// Forgets retransmissions that are too old, and tells of a stream that has waited too long.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<u16> {
        let old = |held: &Held| now.saturating_duration_since(held.at) > AGE;
        while self.again.front().is_some_and(old) {
            self.again.pop_front();
        }
        let oldest = self.held.front().filter(|held| old(held))?;
        Some(oldest.departure.stream)
    }

    /// Forgets what waits of a stream; how many packets, without retransmissions, and their lowest and highest numbers.
    pub(super) fn forget(&mut self, stream: u16) -> (u64, Option<(u64, u64)>) {
        self.again.retain(|held| held.departure.stream != stream);
        let before = self.held.len();
        let mut numbers = None;
        self.held.retain(|held| {
            let other = held.departure.stream != stream;
            if !other {
                numbers = Some(widened(numbers, held.departure.sequence));
            }
            other
        });
        ((before - self.held.len()) as u64, numbers)
    }

    /// Forgets everything; how many packets.
    pub(super) fn clear(&mut self) -> u64 {
        let count = self.held.len() + self.again.len();
        self.held = VecDeque::new();
        self.again = VecDeque::new();
        count as u64
    }

    /// When something may leave that waits.
    pub(super) fn wake_at(&self, now: Instant) -> Option<Instant> {
        if self.is_empty() {
            return None;
        }
        let owed = self.rate.map_or(0.0, |rate| -self.credit / rate.max(1.0));
        let pause = Duration::from_secs_f64(owed.clamp(0.0, 1.0));
        Some(now + pause.max(INTERVAL))
    }
}

/// Lowest and highest, one more considered.
pub(super) fn widened(numbers: Option<(u64, u64)>, number: u64) -> (u64, u64) {
    let (lowest, highest) = numbers.unwrap_or((number, number));
    (lowest.min(number), highest.max(number))
}

#[cfg(test)]
#[path = "pacer_tests.rs"]
mod tests;

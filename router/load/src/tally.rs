//! What a thread of the swarm counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;

use crate::clock::Window;
use crate::marker::Medium;

/// Longest time that is told from longer ones, microseconds.
const LONGEST_US: u64 = 60_000_000;

/// Times in microseconds, to three digits.
pub(crate) fn times() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, 3).expect("bounds that the library takes")
}

/// Counters that other threads look at, for progress.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) packets: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) sent: AtomicU64,
}

/// What one thread counts.
pub(crate) struct Tally {
    pub(crate) run: u32,
    pub(crate) window: Window,
    pub(crate) audio: Histogram<u64>,
    pub(crate) video: Histogram<u64>,
    /// How late the thread did what was due.
    pub(crate) late: Histogram<u64>,
    /// RTP packets that were genuine.
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// RTP packets sent.
    pub(crate) sent: u64,
    /// Came a second time.
    pub(crate) repeated: u64,
    /// Without a marker: padding, probes.
    pub(crate) unmarked: u64,
    /// With the marker of another run.
    pub(crate) foreign: u64,
    /// Could not be opened.
    pub(crate) strange: u64,
    shared: Arc<Counters>,
}

impl Tally {
    pub(crate) fn new(run: u32, window: Window, shared: Arc<Counters>) -> Self {
        Tally {
            run,
            window,
            audio: times(),
            video: times(),
            late: times(),
            packets: 0,
            bytes: 0,
            sent: 0,
            repeated: 0,
            unmarked: 0,
            foreign: 0,
            strange: 0,
            shared,
        }
    }

    pub(crate) fn latency(&mut self, medium: Medium, micros: u64) {
        let times = match medium {
            Medium::Audio => &mut self.audio,
            Medium::Video => &mut self.video,
        };
        times.saturating_record(micros);
    }

    /// Shows the others where it is.
    pub(crate) fn share(&self) {
        let Counters {
            packets,
            bytes,
            sent,
        } = &*self.shared;
        packets.store(self.packets, Ordering::Relaxed);
        bytes.store(self.bytes, Ordering::Relaxed);
        sent.store(self.sent, Ordering::Relaxed);
    }
}

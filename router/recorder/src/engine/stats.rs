//! What the recorder counts, for the router's metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Shared counters and gauges; written by the recorder, read by whoever shows them.
        #[derive(Debug, Default)]
        pub struct Stats { $(pub(crate) $name: AtomicU64),+ }

        /// [`Stats`] at one moment.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Snapshot { $($(#[$doc])* pub $name: u64),+ }

        impl Stats {
            /// As they are now.
            #[must_use]
            pub fn snapshot(&self) -> Snapshot {
                Snapshot { $($name: self.$name.load(Relaxed)),+ }
            }
        }
    };
}

stats! {
    /// Gauge: tracks being recorded.
    tracks,
    /// Gauge: files being written.
    files_open,
    /// Files completed.
    files_finished,
    /// Files whose writing failed; they may be playable up to there.
    files_failed,
    /// Files that a crash left and that were finished at start.
    files_recovered,
    /// Bytes written to files.
    written_bytes,
    /// Packets taken from the workers' queues.
    packets,
    /// Packets dropped because a worker's queue was full.
    packets_dropped_queue,
    /// Packets dropped because the disk could not keep up.
    packets_dropped_disk,
    /// Drops: times when a track began to lose frames for either reason.
    drops,
    /// fdatasync calls done.
    syncs,
    /// Time they took together, µs.
    sync_us,
    /// The longest of them, µs.
    sync_us_max,
    /// Most packets that were found in one worker's queue.
    queue_packets_max,
    /// Gauge: bytes that wait for the disk.
    waiting_bytes,
    /// Gauge: free bytes beneath the root, when last seen.
    free_bytes,
    /// Gauge: 1 while recording is stopped (no space, or read-only).
    stopped,
    /// Alarms: times when recording stopped or a file failed for a reason that operators have to mend. One for
    /// each reason, until it has passed.
    alarms,
    /// Events lost because nobody took them in time.
    events_lost,
    /// Gauge: 1 if files are written on a ring.
    on_ring,
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

pub(crate) fn set(gauge: &AtomicU64, n: u64) {
    gauge.store(n, Relaxed);
}

pub(crate) fn max(gauge: &AtomicU64, n: u64) {
    gauge.fetch_max(n, Relaxed);
}

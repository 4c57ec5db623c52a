//! What the recorder counts, read once a second.

use metrics::{Counter, Gauge};
use rillway_recorder::engine::Snapshot;

use super::registry::Registry;
use super::table::{self, Metric};
use super::worker::{Buckets, Shape};

/// A metric, its labels, and where its number is.
type Read = (
    &'static Metric,
    &'static [&'static str],
    fn(&Snapshot) -> u64,
);

const COUNTERS: &[Read] = &[
    (&table::RECORDER_FILES, &["finished"], |s| s.files_finished),
    (&table::RECORDER_FILES, &["failed"], |s| s.files_failed),
    (&table::RECORDER_FILES, &["recovered"], |s| {
        s.files_recovered
    }),
    (&table::RECORDER_WRITTEN, &[], |s| s.written_bytes),
    (&table::RECORDER_PACKETS, &[], |s| s.packets),
    (&table::RECORDER_DROPPED, &["queue"], |s| {
        s.packets_dropped_queue
    }),
    (&table::RECORDER_DROPPED, &["disk"], |s| {
        s.packets_dropped_disk
    }),
    (&table::RECORDER_DROPS, &[], |s| s.drops),
    (&table::RECORDER_ALARMS, &[], |s| s.alarms),
    (&table::RECORDER_EVENTS_LOST, &[], |s| s.events_lost),
];

const GAUGES: &[Read] = &[
    (&table::RECORDER_TRACKS, &[], |s| s.tracks),
    (&table::RECORDER_FILES_OPEN, &[], |s| s.files_open),
    (&table::RECORDER_QUEUE_MAX, &[], |s| s.queue_packets_max),
    (&table::RECORDER_WAITING, &[], |s| s.waiting_bytes),
    (&table::RECORDER_FREE, &[], |s| s.free_bytes),
    (&table::RECORDER_STOPPED, &[], |s| s.stopped),
];

/// Handles of the recorder's series.
pub struct RecorderRecorder {
    counters: Vec<Counter>,
    gauges: Vec<Gauge>,
    syncs: Shape,
    sync_max: Gauge,
}

impl RecorderRecorder {
    pub(super) fn new(registry: &Registry) -> Self {
        let counters = COUNTERS.iter();
        let gauges = GAUGES.iter();
        RecorderRecorder {
            counters: counters.map(|(m, l, _)| registry.counter(m, l)).collect(),
            gauges: gauges.map(|(m, l, _)| registry.gauge(m, l)).collect(),
            syncs: Shape::new(
                registry.distribution(&table::RECORDER_SYNC_TIME, &[], Vec::new()),
                1,
            ),
            sync_max: registry.gauge(&table::RECORDER_SYNC_MAX, &[]),
        }
    }

    /// Takes the recorder's numbers, all of them since it started.
    pub fn record(&mut self, now: &Snapshot) {
        for (counter, (_, _, read)) in self.counters.iter().zip(COUNTERS) {
            counter.absolute(read(now));
        }
        for (gauge, (_, _, read)) in self.gauges.iter().zip(GAUGES) {
            gauge.set(read(now) as f64);
        }
        let syncs = Buckets {
            counts: &[now.syncs],
            sum: now.sync_us,
        };
        self.syncs.follow(syncs, 1e-6);
        self.sync_max.set(now.sync_us_max as f64 / 1e6);
    }
}

//! What a worker counts: plain numbers on its own stack, copied out once a second.

use std::time::Duration;

use rillway_core::stats::ShardStats;
use rillway_ring::DriverStats;

use crate::telemetry::metrics::{self as telemetry, LoopStats, WorkerRecorder};

use super::backlog::BacklogStats;
use super::handover::HandoverStats;
use super::links::LinkStats;
use super::rooms::RoomsStats;
use super::transmit::TransmitStats;

/// Upper bounds of the turn-time buckets, microseconds; the last bucket is open.
pub(crate) const TURN_MICROS: [u64; 12] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000,
];

/// Upper bounds of the buckets of forwarding latency, microseconds; the last bucket is open.
pub(crate) const LATENCY_MICROS: [u64; 14] = [
    25, 50, 100, 150, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
];

/// Upper bounds of the batch-size buckets, datagrams; the last bucket is open.
pub(crate) const BATCH_DATAGRAMS: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// Counts by size in `N` buckets: one for each bound, which is inclusive, and an open one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buckets<const N: usize> {
    bounds: &'static [u64],
    counts: [u64; N],
    sum: u64,
    /// Where the last value went: the next one often goes there too, and need not be looked for.
    last: usize,
}

impl<const N: usize> PartialEq for Buckets<N> {
    fn eq(&self, other: &Self) -> bool {
        (self.bounds, self.counts, self.sum) == (other.bounds, other.counts, other.sum)
    }
}

impl<const N: usize> Eq for Buckets<N> {}

impl<const N: usize> Buckets<N> {
    /// Nothing counted yet.
    pub(super) const fn new(bounds: &'static [u64]) -> Self {
        assert!(bounds.len() + 1 == N, "one bucket more than bounds");
        Buckets {
            bounds,
            counts: [0; N],
            sum: 0,
            last: 0,
        }
    }

    /// Counts one value.
    pub(super) fn add(&mut self, value: u64) {
        self.sum = self.sum.wrapping_add(value);
        if !self.is_in(self.last, value) {
            self.last = self.bounds.partition_point(|&bound| bound < value);
        }
        if let Some(count) = self.counts.get_mut(self.last) {
            *count += 1;
        }
    }

    fn is_in(&self, index: usize, value: u64) -> bool {
        let above = index
            .checked_sub(1)
            .is_none_or(|before| self.bounds[before] < value);
        above && self.bounds.get(index).is_none_or(|&bound| value <= bound)
    }

    /// Counts by bucket, with the bound of each; the last has none.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = self.bounds.iter().copied().map(Some);
        bounds.chain([None]).zip(self.counts)
    }

    /// Sum of all values.
    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }

    fn shape(&self) -> telemetry::Buckets<'_> {
        telemetry::Buckets {
            counts: &self.counts,
            sum: self.sum,
        }
    }
}

/// What the buckets of a worker's histograms end at.
pub(crate) const BOUNDS: telemetry::Bounds<'static> = telemetry::Bounds {
    turn_micros: &TURN_MICROS,
    turn_datagrams: &BATCH_DATAGRAMS,
    latency_micros: &LATENCY_MICROS,
};

/// Counters of the turn loop since start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TurnStats {
    /// Turns made.
    pub(crate) turns: u64,
    /// Time spent in turns.
    pub(crate) busy: Duration,
    /// Turn time, microseconds.
    pub(crate) turn_micros: Buckets<13>,
    /// Datagrams received in a turn that received any.
    pub(crate) batch: Buckets<10>,
    /// Requests handled.
    pub(crate) requests: u64,
    /// Events handed to the control thread.
    pub(crate) events: u64,
}

impl TurnStats {
    /// Nothing counted yet.
    pub(crate) const fn new() -> Self {
        TurnStats {
            turns: 0,
            busy: Duration::ZERO,
            turn_micros: Buckets::new(&TURN_MICROS),
            batch: Buckets::new(&BATCH_DATAGRAMS),
            requests: 0,
            events: 0,
        }
    }

    /// Counts a turn that took `took` and received `datagrams`.
    pub(crate) fn turn(&mut self, took: Duration, datagrams: usize) {
        self.turns += 1;
        self.busy += took;
        self.turn_micros
            .add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        if datagrams > 0 {
            self.batch.add(datagrams as u64);
        }
    }
}

/// All counters of a worker at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerStats {
    /// The turn loop.
    pub(crate) turn: TurnStats,
    /// Forwarding latency, microseconds.
    pub(crate) latency: Buckets<15>,
    /// The driver.
    pub(crate) driver: DriverStats,
    /// The shard.
    pub(crate) shard: ShardStats,
    /// Runs that were not sent.
    pub(crate) transmit: TransmitStats,
    /// Events that were not delivered.
    pub(crate) backlog: BacklogStats,
    /// Events about rooms that were not delivered.
    pub(crate) rooms: RoomsStats,
    /// The ways to and from other workers.
    pub(crate) links: LinkStats,
    /// Datagrams handed over.
    pub(crate) handover: HandoverStats,
    /// Share of the last period spent in turns, 0 to 1.
    pub(crate) busy_ratio: f64,
    /// Requests waiting now.
    pub(crate) requests_waiting: usize,
}

impl WorkerStats {
    /// Hands the numbers over for Prometheus: some eighty atomic additions, without waiting.
    pub(super) fn record(&self, recorder: &mut WorkerRecorder) {
        let looping = LoopStats {
            busy_ratio: self.busy_ratio,
            requests: self.turn.requests,
            requests_waiting: self.requests_waiting,
            events: self.turn.events,
            events_dropped: self.backlog.dropped + self.rooms.dropped,
            rooms_lost: self.rooms.lost,
            clients_lost: self.backlog.clients_lost,
            crossed_dropped: [
                self.links.dropped_video,
                self.links.dropped_audio,
                self.links.dropped_words,
            ],
            crossed_waiting: self.links.waiting,
            handed_over: [self.handover.taken, self.handover.given],
            handover_dropped: self.handover.dropped,
            send_dropped_full: self.transmit.dropped_full,
            send_dropped_unsendable: self.transmit.dropped_invalid,
        };
        let shapes = telemetry::Shapes {
            turn_micros: self.turn.turn_micros.shape(),
            turn_datagrams: self.turn.batch.shape(),
            latency_micros: self.latency.shape(),
        };
        recorder.record(&looping, &shapes, &self.driver, &self.shard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_the_last_bucket_is_open() {
        let mut buckets = Buckets::<10>::new(&BATCH_DATAGRAMS);
        // In any order, whatever came before.
        for value in [0, 1, 2, 3, 256, 257, 10_000, 2, 1, 257, 256, 0] {
            buckets.add(value);
        }
        assert_eq!(buckets.counts, [4, 2, 1, 0, 0, 0, 0, 0, 2, 3]);
        assert_eq!(buckets.sum, 11_035);
    }

    /// Counts packets in turns of so many; nanoseconds of this thread's processor time for each: what else the machine
    /// does is not in it.
    fn count_packets(
        batch: u32,
        shard: &mut ShardStats,
        turns: &mut TurnStats,
        latency: &mut crate::worker::latency::Latency,
    ) -> f64 {
        use std::hint::black_box;
        use std::time::{SystemTime, UNIX_EPOCH};

        use rustix::time::{ClockId, clock_gettime};

        const PACKETS: u32 = 4_000_000;
        let processor = || {
            let spent = clock_gettime(ClockId::ThreadCPUTime);
            Duration::new(spent.tv_sec.cast_unsigned(), spent.tv_nsec as u32)
        };
        let wall = || {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
        };
        let (began, mut now) = (processor(), wall());
        for turn in 0..PACKETS / batch {
            if turn.is_multiple_of(512) {
                now = wall();
            }
            for packet in 0..batch {
                // What a shard counts for each packet received, whatever the number of its receivers.
                let shard = black_box(&mut *shard);
                shard.rtp_received += 1;
                shard.rtp_received_bytes += u64::from(black_box(packet));
                shard.rtp_forwarded += 100;
                shard.rtp_forwarded_bytes += u64::from(black_box(packet)) * 100;
                // The kernel stamps each by itself, some microseconds apart.
                let apart = Duration::from_nanos(u64::from(turn % 97 + packet) * 2_700);
                latency.message(Some(black_box(now - apart)));
                latency.forwarded();
            }
            latency.sent();
            let took = Duration::from_micros(u64::from(turn % 500));
            black_box(&mut *turns).turn(took, batch as usize);
        }
        (processor() - began).as_secs_f64() * 1e9 / f64::from(PACKETS)
    }

    /// Processor time of what is counted for metrics, for docs/performance.md: `cargo test --release -p rillway --lib
    /// -- --ignored --nocapture what_counting_costs`.
    #[test]
    #[ignore = "a measurement"]
    fn what_counting_costs() {
        use crate::telemetry::metrics::Registry;
        use crate::worker::latency::{Latency, Window};
        use std::hint::black_box;
        use std::time::Instant;

        let mut shard = ShardStats::default();
        let mut turns = TurnStats::new();
        let mut latency = Latency::new(256);
        for batch in [1, 8] {
            let packet = count_packets(batch, &mut shard, &mut turns, &mut latency);
            println!(
                "for each packet received, in turns of {batch}, however many receive it: {packet:.1} ns"
            );
        }
        let registry = Registry::new();
        let _others = (registry.gateway(), registry.rules(), registry.config());
        let _more = (
            registry.recorder(),
            registry.management(),
            registry.traces(),
        );
        let mut recorder = registry.worker(0, &BOUNDS);
        let stats = WorkerStats {
            turn: turns,
            latency: latency.coarse(),
            driver: DriverStats::default(),
            shard,
            transmit: TransmitStats::default(),
            backlog: BacklogStats::default(),
            rooms: RoomsStats::default(),
            links: LinkStats::default(),
            handover: HandoverStats::default(),
            busy_ratio: 0.5,
            requests_waiting: 0,
        };
        let each = |what: &str, times: u32, work: &mut dyn FnMut()| {
            let began = Instant::now();
            (0..times).for_each(|_| work());
            println!("{what}: {:?}", began.elapsed() / times);
        };
        let window = Window::new();
        each("a worker, once a second", 10_000, &mut || {
            let latency = black_box(&latency);
            stats.record(&mut recorder);
            window.show(Instant::now(), &stats, latency);
        });
        let mut bytes = 0;
        each("a scrape", 1_000, &mut || bytes = registry.render().len());
        println!("its answer: {bytes} bytes");
        assert!(bytes > 10_000);
    }
}

//! What a worker counted, once a second.

use metrics::{Counter, Gauge};
use rillway_core::stats::{DropCause, FailCause, ShardStats};
use rillway_ring::{DriverStats, StreamEnd};

use super::distribution::Distribution;
use super::registry::Registry;
use super::table::{self, Metric};

/// Counters of a worker's loop since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LoopStats {
    /// Share of the last period spent in turns, 0 to 1.
    pub busy_ratio: f64,
    /// Requests handled.
    pub requests: u64,
    /// Requests waiting now.
    pub requests_waiting: usize,
    /// Events handed to the control thread.
    pub events: u64,
    /// Dispensable events dropped.
    pub events_dropped: u64,
    /// Clients given up.
    pub clients_lost: u64,
    /// Rooms whose rules had to start anew.
    pub rooms_lost: u64,
    /// Lost between workers: packets of video, of audio, and anything else.
    pub crossed_dropped: [u64; 3],
    /// What waits from other workers.
    pub crossed_waiting: u64,
    /// Datagrams that other workers behind the same port gave to this one, and this one to them.
    pub handed_over: [u64; 2],
    /// Of those for others, dropped.
    pub handover_dropped: u64,
    /// Datagrams dropped because the send queue was full.
    pub send_dropped_full: u64,
    /// Datagrams dropped because they cannot be sent.
    pub send_dropped_unsendable: u64,
}

/// What a worker bucketed since it started.
#[derive(Debug, Clone, Copy)]
pub struct Buckets<'a> {
    /// Values per bucket (not cumulative), the bucket above all bounds last.
    pub counts: &'a [u64],
    /// Sum of the values.
    pub sum: u64,
}

/// What a worker's histograms show, all of it since it started.
#[derive(Debug, Clone, Copy)]
pub struct Shapes<'a> {
    /// Time of turns, microseconds.
    pub turn_micros: Buckets<'a>,
    /// Datagrams received in a turn.
    pub turn_datagrams: Buckets<'a>,
    /// Forwarding latency, microseconds.
    pub latency_micros: Buckets<'a>,
}

/// Upper bounds of their buckets, but for the last of each, which is open.
#[derive(Debug, Clone, Copy)]
pub struct Bounds<'a> {
    /// Time of turns, microseconds.
    pub turn_micros: &'a [u64],
    /// Datagrams received in a turn.
    pub turn_datagrams: &'a [u64],
    /// Forwarding latency, microseconds.
    pub latency_micros: &'a [u64],
}

/// A metric, its labels after `worker`, and where its number is.
type Read<S> = (&'static Metric, &'static [&'static str], fn(&S) -> u64);

const LOOP: &[Read<LoopStats>] = &[
    (&table::REQUESTS, &[], |s| s.requests),
    (&table::EVENTS, &[], |s| s.events),
    (&table::EVENTS_DROPPED, &[], |s| s.events_dropped),
    (&table::CLIENTS_LOST, &[], |s| s.clients_lost),
    (&table::ROOMS_LOST, &[], |s| s.rooms_lost),
    (&table::CROSSED_DROPPED, &["video"], |s| {
        s.crossed_dropped[0]
    }),
    (&table::CROSSED_DROPPED, &["audio"], |s| {
        s.crossed_dropped[1]
    }),
    (&table::CROSSED_DROPPED, &["other"], |s| {
        s.crossed_dropped[2]
    }),
    (&table::HANDED_OVER, &["received"], |s| s.handed_over[0]),
    (&table::HANDED_OVER, &["sent"], |s| s.handed_over[1]),
    (&table::HANDOVER_DROPPED, &[], |s| s.handover_dropped),
    (&table::UDP_SEND_DROPPED, &["queue_full"], |s| {
        s.send_dropped_full
    }),
    (&table::UDP_SEND_DROPPED, &["unsendable"], |s| {
        s.send_dropped_unsendable
    }),
];

const DRIVER: &[Read<DriverStats>] = &[
    (&table::UDP_RECEIVED, &[], |s| s.received_datagrams),
    (&table::UDP_RECEIVED_BYTES, &[], |s| s.received_bytes),
    (&table::UDP_RECEIVED_BATCHES, &[], |s| s.received_batches),
    (&table::UDP_TRUNCATED, &[], |s| s.received_truncated),
    (&table::UDP_REARMED, &[], |s| s.receive_rearmed),
    (&table::UDP_SENT, &[], |s| s.sent_datagrams),
    (&table::UDP_SENT_BYTES, &[], |s| s.sent_bytes),
    (&table::UDP_SENT_BATCHES, &[], |s| s.sent_runs),
    (&table::UDP_SEND_ERRORS, &[], |s| s.send_errors),
    (&table::UDP_SEND_FULL, &[], |s| s.send_full),
    (&table::UDP_SYSCALLS, &[], |s| s.syscalls),
    (&table::TCP_ACCEPTED, &[], |s| s.streams.accepted),
    (&table::TCP_REFUSED, &["full"], |s| s.streams.refused_full),
    (&table::TCP_REFUSED, &["address"], |s| {
        s.streams.refused_address
    }),
    (&table::TCP_RECEIVED, &[], |s| s.streams.received_packets),
    (&table::TCP_RECEIVED_BYTES, &[], |s| {
        s.streams.received_bytes
    }),
    (&table::TCP_SENT, &[], |s| s.streams.sent_packets),
    (&table::TCP_SENT_BYTES, &[], |s| s.streams.sent_bytes),
    (&table::TCP_DROPPED, &["video"], |s| s.streams.dropped_video),
    (&table::TCP_DROPPED, &["other"], |s| s.streams.dropped_other),
    (&table::TCP_DROPPED, &["gone"], |s| s.streams.dropped_gone),
    (&table::TCP_SYSCALLS, &[], |s| s.streams.syscalls),
];

const SHARD: &[Read<ShardStats>] = &[
    (&table::STUN_ANSWERED, &[], |s| s.stun_answered),
    (&table::TRANSPORT_CONNECTS, &["udp"], |s| {
        s.connects_by_path[0]
    }),
    (&table::TRANSPORT_PATH_CHANGES, &["udp"], |s| {
        s.path_changes[0]
    }),
    (&table::TRANSPORT_PATH_REBINDS, &[], |s| s.paths_rebound),
    (&table::TRANSPORT_CONNECTS, &["turn-udp"], |s| {
        s.connects_by_path[1]
    }),
    (&table::TRANSPORT_PATH_CHANGES, &["turn-udp"], |s| {
        s.path_changes[1]
    }),
    (&table::TRANSPORT_CONNECTS, &["tcp"], |s| {
        s.connects_by_path[2]
    }),
    (&table::TRANSPORT_PATH_CHANGES, &["tcp"], |s| {
        s.path_changes[2]
    }),
    (&table::TRANSPORT_CONNECTS, &["turn-tcp"], |s| {
        s.connects_by_path[3]
    }),
    (&table::TRANSPORT_PATH_CHANGES, &["turn-tcp"], |s| {
        s.path_changes[3]
    }),
    (&table::TRANSPORT_CONNECTS, &["turn-tls"], |s| {
        s.connects_by_path[4]
    }),
    (&table::TRANSPORT_PATH_CHANGES, &["turn-tls"], |s| {
        s.path_changes[4]
    }),
    (&table::RTP_RECEIVED, &[], |s| s.rtp_received),
    (&table::RTP_RECEIVED_BYTES, &[], |s| s.rtp_received_bytes),
    (&table::RTP_FORWARDED, &[], |s| s.rtp_forwarded),
    (&table::RTP_FORWARDED_BYTES, &[], |s| s.rtp_forwarded_bytes),
    (&table::RTP_RECORDED, &[], |s| s.rtp_recorded),
    (&table::RTP_RECORDED_BYTES, &[], |s| s.rtp_recorded_bytes),
    (&table::CROSSED, &["sent"], |s| s.crossed_out),
    (&table::CROSSED, &["received"], |s| s.crossed_in),
    (&table::RTP_RETRANSMITTED, &[], |s| s.rtp_retransmitted),
    (&table::RTP_REFUSED, &[], |s| s.rtp_refused),
    (&table::RTP_GIVEN_UP, &[], |s| s.pacer_dropped),
    (&table::RTP_PADDING, &[], |s| s.padding_sent),
    (&table::NETWORK_PROBES, &[], |s| s.probes_sent),
    (&table::TRANSPORT_FEEDBACK, &["read"], |s| {
        s.feedback_received
    }),
    (&table::TRANSPORT_FEEDBACK, &["malformed"], |s| {
        s.feedback_malformed
    }),
    (&table::NACKS, &[], |s| s.nacks_received),
    (&table::NACKED, &[], |s| s.nacked),
    (&table::REPORTED, &[], |s| s.reported),
    (&table::REPORTED_LOST, &[], |s| s.reported_lost),
    (&table::KEYFRAME_REQUESTS, &["received"], |s| {
        s.keyframe_requests_received
    }),
    (&table::KEYFRAME_REQUESTS, &["sent"], |s| {
        s.keyframe_requests_sent
    }),
    (&table::DATA_FORWARDED, &[], |s| s.data_forwarded),
    (&table::DATA_DROPPED, &[], |s| s.data_dropped),
    (&table::LAYER_VIEWS, &[], |s| s.layer_views),
    (&table::LAYER_CHOICES, &["applied"], |s| s.layer_choices),
    (&table::LAYER_CHOICES, &["refused"], |s| {
        s.layer_choices_refused
    }),
    (&table::LAYER_CHOICES, &["stale"], |s| s.layer_choices_stale),
    (&table::LAYER_FALLBACKS, &[], |s| s.layer_fallbacks),
    (&table::JOINS, &[], |s| s.joins),
    (&table::TRANSPORT_PANICS, &[], |s| s.transport_panics),
];

const SHARD_GAUGES: &[Read<ShardStats>] = &[
    (&table::ROOMS, &[], |s| s.rooms),
    (&table::PARTICIPANTS, &[], |s| s.participants),
    (&table::TRACKS, &[], |s| s.tracks),
    (&table::SUBSCRIPTIONS, &[], |s| s.subscriptions),
    (&table::RECORDED_TRACKS, &[], |s| s.recordings),
    (&table::TRANSPORTS, &["new"], |s| s.transports[0]),
    (&table::TRANSPORTS, &["connecting"], |s| s.transports[1]),
    (&table::TRANSPORTS, &["connected"], |s| s.transports[2]),
    (&table::TRANSPORTS, &["disconnected"], |s| s.transports[3]),
];

/// Seconds.
const MICROS: f64 = 1e-6;

/// A counter, and how far the worker's own one was when it was last read.
struct Follower {
    counter: Counter,
    seen: u64,
}

impl Follower {
    fn follow(&mut self, now: u64) {
        self.counter.increment(grown(&mut self.seen, now));
    }
}

/// How much a counter has grown since it was seen. A smaller one has started anew.
fn grown(seen: &mut u64, now: u64) -> u64 {
    let before = std::mem::replace(seen, now);
    now.checked_sub(before).unwrap_or(now)
}

/// A histogram or summary, and its counts when they were last read.
pub(super) struct Shape {
    series: Distribution,
    seen: Vec<u64>,
    seen_sum: u64,
}

impl Shape {
    pub(super) fn new(series: Distribution, buckets: usize) -> Self {
        Shape {
            series,
            seen: vec![0; buckets],
            seen_sum: 0,
        }
    }

    /// Follows counts per bucket and their sum, one unit of which is `unit` base units.
    pub(super) fn follow(&mut self, now: Buckets<'_>, unit: f64) {
        let more = self
            .seen
            .iter_mut()
            .zip(now.counts)
            .map(|(seen, now)| grown(seen, *now));
        let more = more.collect::<Vec<_>>();
        self.series
            .add(more, grown(&mut self.seen_sum, now.sum) as f64 * unit);
    }
}

/// Handles of a worker's series. It goes to the worker's thread, whose numbers it takes once a second:
/// some eighty atomic additions.
pub struct WorkerRecorder {
    registry: Registry,
    worker: String,
    looping: Vec<Follower>,
    driver: Vec<Follower>,
    shard: Vec<Follower>,
    dropped: Vec<Follower>,
    failed: Vec<Follower>,
    tcp_ended: Vec<Follower>,
    tcp_open: Gauge,
    shard_gauges: Vec<Gauge>,
    busy: Gauge,
    waiting: Gauge,
    crossings: Gauge,
    turns: Shape,
    batches: Shape,
    latency: Shape,
    connects: Shape,
    estimates: Shape,
}

impl WorkerRecorder {
    pub(super) fn new(registry: &Registry, worker: u16, bounds: &Bounds<'_>) -> Self {
        let worker = worker.to_string();
        let dropped = DropCause::ALL.map(|(_, cause)| Follower {
            counter: registry.counter(&table::DROPPED, &[&worker, cause]),
            seen: 0,
        });
        let tcp_ended = StreamEnd::ALL.map(|(_, cause)| Follower {
            counter: registry.counter(&table::TCP_ENDED, &[&worker, cause]),
            seen: 0,
        });
        let failed = FailCause::ALL.map(|(_, cause)| Follower {
            counter: registry.counter(&table::TRANSPORTS_FAILED, &[&worker, cause]),
            seen: 0,
        });
        let shape = |metric, bounds: &[u64], unit: f64| {
            let values = bounds.iter().map(|bound| *bound as f64 / unit).collect();
            let series = registry.distribution(metric, &[&worker], values);
            Shape::new(series, bounds.len() + 1)
        };
        WorkerRecorder {
            looping: followers(registry, &worker, LOOP),
            driver: followers(registry, &worker, DRIVER),
            shard: followers(registry, &worker, SHARD),
            dropped: dropped.into(),
            failed: failed.into(),
            tcp_ended: tcp_ended.into(),
            tcp_open: registry.gauge(&table::TCP_OPEN, &[&worker]),
            shard_gauges: gauges(registry, &worker, SHARD_GAUGES),
            busy: registry.gauge(&table::BUSY_RATIO, &[&worker]),
            waiting: registry.gauge(&table::REQUESTS_WAITING, &[&worker]),
            crossings: registry.gauge(&table::CROSSED_WAITING, &[&worker]),
            turns: shape(&table::TURN_TIME, bounds.turn_micros, 1e6),
            batches: shape(&table::TURN_DATAGRAMS, bounds.turn_datagrams, 1.0),
            latency: shape(&table::FORWARDING_LATENCY, bounds.latency_micros, 1e6),
            connects: shape(&table::CONNECT_TIME, &[], 1e6),
            estimates: shape(&table::ESTIMATES, &[], 1.0),
            registry: registry.clone(),
            worker,
        }
    }

    /// Says which driver the worker uses and why: labels of `rillway_worker_driver_info`.
    pub fn driver(&self, driver: &str, reason: &str) {
        self.registry
            .gauge(&table::DRIVER_INFO, &[&self.worker, driver, reason])
            .set(1.0);
    }

    /// Takes the worker's numbers, all of them since it started: its loop's, the driver's, the shard's.
    pub fn record(
        &mut self,
        looping: &LoopStats,
        shapes: &Shapes<'_>,
        driver: &DriverStats,
        shard: &ShardStats,
    ) {
        follow(&mut self.looping, LOOP, looping);
        follow(&mut self.driver, DRIVER, driver);
        follow(&mut self.shard, SHARD, shard);
        for (follower, now) in self.dropped.iter_mut().zip(shard.dropped) {
            follower.follow(now);
        }
        for (follower, now) in self.failed.iter_mut().zip(shard.transports_failed) {
            follower.follow(now);
        }
        for (follower, now) in self.tcp_ended.iter_mut().zip(driver.streams.ended) {
            follower.follow(now);
        }
        self.tcp_open.set(driver.streams.open as f64);
        for (gauge, (_, _, read)) in self.shard_gauges.iter().zip(SHARD_GAUGES) {
            gauge.set(read(shard) as f64);
        }
        self.busy.set(looping.busy_ratio);
        self.waiting.set(looping.requests_waiting as f64);
        self.crossings.set(looping.crossed_waiting as f64);
        self.turns.follow(shapes.turn_micros, MICROS);
        self.batches.follow(shapes.turn_datagrams, 1.0);
        self.latency.follow(shapes.latency_micros, MICROS);
        let connects = Buckets {
            counts: &[shard.connects],
            sum: shard.connect_micros_sum,
        };
        self.connects.follow(connects, MICROS);
        let estimates = Buckets {
            counts: &[shard.estimates],
            sum: shard.estimate_bps_sum,
        };
        // Bits.
        self.estimates.follow(estimates, 0.125);
    }
}

/// The values of a worker's labels: its number first.
fn values<'a>(worker: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    std::iter::once(worker)
        .chain(rest.iter().copied())
        .collect()
}

fn followers<S>(registry: &Registry, worker: &str, reads: &[Read<S>]) -> Vec<Follower> {
    let follower = |(metric, rest, _): &Read<S>| Follower {
        counter: registry.counter(metric, &values(worker, rest)),
        seen: 0,
    };
    reads.iter().map(follower).collect()
}

fn gauges<S>(registry: &Registry, worker: &str, reads: &[Read<S>]) -> Vec<Gauge> {
    reads
        .iter()
        .map(|(metric, rest, _)| registry.gauge(metric, &values(worker, rest)))
        .collect()
}

fn follow<S>(followers: &mut [Follower], reads: &[Read<S>], stats: &S) {
    for (follower, (_, _, read)) in followers.iter_mut().zip(reads) {
        follower.follow(read(stats));
    }
}

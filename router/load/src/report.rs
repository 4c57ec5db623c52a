//! What a run found.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Quantiles of a time, milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Times {
    /// How many were measured.
    pub count: u64,
    /// Median.
    pub p50: f64,
    /// One of a hundred took longer.
    pub p99: f64,
    /// One of a thousand took longer.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl Times {
    pub(crate) fn of(micros: &Histogram<u64>) -> Self {
        let ms = |quantile| micros.value_at_quantile(quantile) as f64 / 1_000.0;
        Times {
            count: micros.len(),
            p50: ms(0.5),
            p99: ms(0.99),
            p999: ms(0.999),
            max: micros.max() as f64 / 1_000.0,
        }
    }
}

/// How clients joined.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Joins {
    /// Clients of the run.
    pub clients: u64,
    /// Those that joined.
    pub joined: u64,
    /// Those that did not, or were cut off later.
    pub failed: u64,
    /// Joins a second, from the first that began to the last that was done.
    pub per_second: f64,
    /// As asked for.
    pub per_second_asked: f64,
    /// From the first request to connected media.
    pub took_ms: Times,
    /// From the first request to the first whole picture (without pictures, the first packet), of clients that came to
    /// where somebody was publishing.
    pub first_frame_ms: Times,
    /// Clients that never got one.
    pub without_frame: u64,
    /// Why clients failed, and how many did.
    pub failures: BTreeMap<String, u64>,
}

/// What was delivered of what was sent while it was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Delivery {
    /// What was measured, seconds.
    pub seconds: f64,
    /// Packets that publishers sent.
    pub sent: u64,
    /// What players should have received: each packet once for each who plays its stream.
    pub expected: u64,
    /// What they received, each packet once.
    pub delivered: u64,
    /// The rest of it.
    pub lost: u64,
    /// Of a hundred.
    pub loss_percent: f64,
    /// Of `lost`: numbers that were missing in RTP. The server, the way or the swarm lost them.
    pub missing: u64,
    /// Of `lost`: without a gap in RTP. The server did not mean to send them, for instance for want of a network.
    pub withheld: u64,
    /// Came a second time.
    pub repeated: u64,
    /// RTP packets without media: probes and padding.
    pub probes: u64,
    /// RTP packets that could not be opened, or had the marks of another run.
    pub strange: u64,
    /// RTP packets received a second, of any kind.
    pub packets_per_second: f64,
    /// Bits received a second, in RTP packets.
    pub bits_per_second: f64,
}

/// From write to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Audio and video.
    pub all_ms: Times,
    /// Opus.
    pub audio_ms: Times,
    /// VP8.
    pub video_ms: Times,
}

/// A thread of the swarm while it measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct ThreadHealth {
    /// Of a core.
    pub busy_percent: f64,
    /// Of the time, in which it could have run, and others did.
    pub waited_percent: f64,
    /// How late it did what was due.
    pub late_ms: Times,
    /// Processor time for each RTP packet received, microseconds.
    pub us_per_packet: f64,
}

/// How the swarm itself fared.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Health {
    /// Those for media.
    pub threads: Vec<ThreadHealth>,
    /// Datagrams that came and found the swarm's sockets full, from the first join on.
    pub dropped_before: u64,
    /// While it was measured, and until the end.
    pub dropped: u64,
}

/// A watched process while it was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Watched {
    /// Its number.
    pub pid: u32,
    /// Of a core.
    pub busy_percent: f64,
    /// Processor time for each RTP packet that the swarm received, microseconds.
    pub us_per_packet: f64,
    /// Memory before anybody joined, bytes.
    pub resident_before: u64,
    /// Memory while it was measured, bytes.
    pub resident: u64,
    /// What it has grown by, for each client that joined, bytes.
    pub resident_per_client: u64,
}

/// What a run found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// The server.
    pub server: String,
    /// What media was encrypted by, and how many connections by it.
    pub profiles: BTreeMap<String, u64>,
    /// How clients joined.
    pub joins: Joins,
    /// What was delivered.
    pub delivery: Delivery,
    /// How long it took.
    pub latency: Latency,
    /// The swarm.
    pub swarm: Health,
    /// Watched processes.
    pub watched: Vec<Watched>,
    /// What of these figures is not to be trusted, or not the server's doing.
    pub warnings: Vec<String>,
}

/// Busier than this, a thread has no room for a burst, percent.
const BUSY_MAX: f64 = 85.0;
/// Waiting longer than this for a processor shows in latencies, percent.
const WAITED_MAX: f64 = 10.0;
/// Later than this shows in latencies too, milliseconds.
const LATE_MAX: f64 = 10.0;

impl Health {
    /// Where the swarm was what limited the run.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (number, thread) in self.threads.iter().enumerate() {
            if thread.busy_percent > BUSY_MAX {
                warnings.push(format!(
                    "the swarm's thread {number} was busy for {:.0} % of the time: latencies, and maybe losses, are its \
                     own; take more --threads, fewer clients, or another machine for the swarm",
                    thread.busy_percent
                ));
            }
            if thread.waited_percent > WAITED_MAX {
                warnings.push(format!(
                    "the swarm's thread {number} waited for a processor for {:.0} % of the time: other programs, the \
                     server among them, had it; latencies are partly its own",
                    thread.waited_percent
                ));
            }
            if thread.late_ms.p99 > LATE_MAX {
                warnings.push(format!(
                    "the swarm's thread {number} was late by {:.1} ms (p99): latencies are partly its own",
                    thread.late_ms.p99
                ));
            }
        }
        if self.dropped > 0 {
            warnings.push(format!(
                "{} datagrams came and found the swarm's sockets full: these losses are its own; raise net.core.rmem_max, \
                 or take more --threads",
                self.dropped
            ));
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::times;

    #[test]
    fn times_are_quantiles_in_milliseconds() {
        let mut micros = times();
        (1..=1_000).for_each(|n| micros.saturating_record(n * 1_000));
        let found = Times::of(&micros);
        assert_eq!(found.count, 1_000);
        for (value, expected) in [
            (found.p50, 500.0),
            (found.p99, 990.0),
            (found.p999, 999.0),
            (found.max, 1_000.0),
        ] {
            assert!(
                (value - expected).abs() < expected / 500.0,
                "{value} {expected}"
            );
        }
        assert_eq!(Times::of(&times()), Times::default());
    }

    #[test]
    fn a_swarm_that_was_the_bottleneck_says_so() {
        let thread = |busy_percent, waited_percent, late| ThreadHealth {
            busy_percent,
            waited_percent,
            late_ms: Times {
                p99: late,
                ..Times::default()
            },
            us_per_packet: 1.0,
        };
        let health = |thread, dropped| Health {
            threads: vec![thread],
            dropped_before: 9,
            dropped,
        };
        assert_eq!(
            health(thread(80.0, 5.0, 2.0), 0).warnings(),
            Vec::<String>::new()
        );
        for (health, word) in [
            (health(thread(95.0, 0.0, 0.0), 0), "busy for 95 %"),
            (health(thread(0.0, 30.0, 0.0), 0), "waited for a processor"),
            (health(thread(0.0, 0.0, 50.0), 0), "late by 50.0 ms"),
            (health(thread(0.0, 0.0, 0.0), 3), "3 datagrams"),
        ] {
            let warnings = health.warnings();
            assert!(
                warnings.len() == 1 && warnings[0].contains(word),
                "{warnings:?}"
            );
        }
    }
}

//! What the TURN relay counts, read once a second.

use metrics::{Counter, Gauge};
use rillway_turn::{Refusal, Stats};

use super::registry::Registry;
use super::table::{self, Metric};
use crate::turn::SocketStats;

/// A metric, its labels, and where its number is.
type Read = (
    &'static Metric,
    &'static [&'static str],
    fn(&Stats, &SocketStats) -> u64,
);

const COUNTERS: &[Read] = &[
    (&table::TURN_ALLOCATED, &[], |s, _| s.allocated),
    (&table::TURN_PACKETS, &["to-peers"], |s, _| {
        s.to_peers_packets
    }),
    (&table::TURN_PACKETS, &["to-clients"], |s, _| {
        s.to_clients_packets
    }),
    (&table::TURN_BYTES, &["to-peers"], |s, _| s.to_peers_bytes),
    (&table::TURN_BYTES, &["to-clients"], |s, _| {
        s.to_clients_bytes
    }),
    (&table::TURN_DROPPED, &["client"], |_, n| {
        n.dropped_to_clients
    }),
    (&table::TURN_DROPPED, &["peer"], |_, n| n.dropped_to_peers),
    (&table::TURN_DROPPED, &["unexpected"], |s, _| s.unexpected),
    (&table::TURN_CREDENTIALS, &["wrong"], |s, _| {
        s.credentials_wrong
    }),
    (&table::TURN_CREDENTIALS, &["expired"], |s, _| {
        s.credentials_expired
    }),
    (&table::TURN_FAULTS, &[], |s, _| s.faults),
];

const GAUGES: &[Read] = &[
    (&table::TURN_ALLOCATIONS, &[], |s, _| s.allocations),
    (&table::TURN_CONNECTIONS, &[], |_, n| n.connections),
];

/// Handles of the relay's series.
pub struct TurnRecorder {
    counters: Vec<Counter>,
    gauges: Vec<Gauge>,
    refused: Vec<(Refusal, Counter)>,
}

impl TurnRecorder {
    pub(super) fn new(registry: &Registry) -> Self {
        let (counters, gauges) = (COUNTERS.iter(), GAUGES.iter());
        let refused = Refusal::ALL.iter();
        TurnRecorder {
            counters: counters.map(|(m, l, _)| registry.counter(m, l)).collect(),
            gauges: gauges.map(|(m, l, _)| registry.gauge(m, l)).collect(),
            refused: refused
                .map(|(refusal, word)| (*refusal, registry.counter(&table::TURN_REFUSED, &[word])))
                .collect(),
        }
    }

    /// Takes the relay's numbers, all of them since it started.
    pub(crate) fn record(&mut self, now: &Stats, sockets: &SocketStats) {
        for (counter, (_, _, read)) in self.counters.iter().zip(COUNTERS) {
            counter.absolute(read(now, sockets));
        }
        for (gauge, (_, _, read)) in self.gauges.iter().zip(GAUGES) {
            gauge.set(read(now, sockets) as f64);
        }
        for (refusal, counter) in &self.refused {
            counter.absolute(now.refused(*refusal));
        }
    }
}

//! What the management channel counts.

use std::time::Duration;

use metrics::{Counter, Gauge};

use super::distribution::Distribution;
use super::registry::Registry;
use super::table::{self, MANAGEMENT_REFUSALS, MANAGEMENT_RESULTS};

/// Upper bounds of the time to an answer, seconds: a worker is asked within its turn, a plugin is compiled.
const ANSWER_SECONDS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0, 10.0];

/// Handles of the series about the management channel. Clones are the same.
#[derive(Clone)]
pub struct ManagementRecorder {
    connections: Gauge,
    accepted: Counter,
    refused: [Counter; MANAGEMENT_REFUSALS.len()],
    calls: [Counter; MANAGEMENT_RESULTS.len()],
    open: Gauge,
    answers: Distribution,
    lost: Counter,
}

/// Something that is counted as long as this lives.
pub(crate) struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Counted(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl ManagementRecorder {
    pub(super) fn new(registry: &Registry) -> Self {
        ManagementRecorder {
            connections: registry.gauge(&table::MANAGEMENT_CONNECTIONS, &[]),
            accepted: registry.counter(&table::MANAGEMENT_ACCEPTED, &[]),
            refused: MANAGEMENT_REFUSALS
                .map(|cause| registry.counter(&table::MANAGEMENT_REFUSED, &[cause])),
            calls: MANAGEMENT_RESULTS
                .map(|result| registry.counter(&table::MANAGEMENT_CALLS, &[result])),
            open: registry.gauge(&table::MANAGEMENT_OPEN, &[]),
            answers: registry.distribution(&table::MANAGEMENT_TIME, &[], ANSWER_SECONDS.to_vec()),
            lost: registry.counter(&table::MANAGEMENT_LOST, &[]),
        }
    }

    /// A connection was refused or ended; `cause`: one of [`MANAGEMENT_REFUSALS`].
    pub(crate) fn refused(&self, cause: &str) {
        count(&self.refused, &MANAGEMENT_REFUSALS, cause);
    }

    /// A connection is open.
    pub(crate) fn connected(&self) -> Counted {
        self.accepted.increment(1);
        Counted::new(&self.connections)
    }

    /// A call begins.
    pub(crate) fn began(&self) -> Counted {
        Counted::new(&self.open)
    }

    /// Its answer begins.
    pub(crate) fn answered(&self, took: Duration) {
        self.answers.observe(took.as_secs_f64());
    }

    /// It ended; `result`: one of [`MANAGEMENT_RESULTS`].
    pub(crate) fn ended(&self, result: &str) {
        count(&self.calls, &MANAGEMENT_RESULTS, result);
    }

    /// A watcher was too slow for so many events.
    pub(crate) fn lost(&self, events: u64) {
        self.lost.increment(events);
    }
}

/// Counts by a word of a table.
fn count(counters: &[Counter], words: &[&str], word: &str) {
    let index = words.iter().position(|known| *known == word);
    if let Some(counter) = index.and_then(|index| counters.get(index)) {
        counter.increment(1);
    }
}

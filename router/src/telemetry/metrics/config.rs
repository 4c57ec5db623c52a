//! What reloads count.

use std::time::UNIX_EPOCH;

use metrics::{Counter, Gauge};

use super::registry::Registry;
use super::table::{self, CONFIG_RELOAD_RESULTS};
use crate::run::InForce;

/// Handles of the series about the configuration.
#[derive(Clone)]
pub struct ConfigRecorder {
    reloads: [Counter; CONFIG_RELOAD_RESULTS.len()],
    generation: Gauge,
    since: Gauge,
}

impl ConfigRecorder {
    pub(super) fn new(registry: &Registry) -> Self {
        ConfigRecorder {
            reloads: CONFIG_RELOAD_RESULTS
                .map(|result| registry.counter(&table::CONFIG_RELOADS, &[result])),
            generation: registry.gauge(&table::CONFIG_GENERATION, &[]),
            since: registry.gauge(&table::CONFIG_TIME, &[]),
        }
    }

    /// A reload ended; `result`: one of [`CONFIG_RELOAD_RESULTS`].
    pub(crate) fn reloaded(&self, result: &str) {
        let index = CONFIG_RELOAD_RESULTS.iter().position(|r| *r == result);
        if let Some(counter) = index.and_then(|index| self.reloads.get(index)) {
            counter.increment(1);
        }
    }

    /// This one is in force.
    pub(crate) fn in_force(&self, now: &InForce) {
        let since = now.since.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.since.set(since.as_secs_f64());
        self.generation.set(now.generation as f64);
    }
}

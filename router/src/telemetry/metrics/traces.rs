//! What becomes of spans.

use metrics::Counter;

use super::registry::Registry;
use super::table;

/// Handles of the series about traces.
#[derive(Clone)]
pub struct TracesRecorder {
    exported: Counter,
    rejected: Counter,
    failed: Counter,
    full: Counter,
}

impl std::fmt::Debug for TracesRecorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TracesRecorder")
    }
}

impl TracesRecorder {
    pub(super) fn new(registry: &Registry) -> Self {
        let [exported, rejected, failed, full] = table::TRACE_SPAN_RESULTS
            .map(|result| registry.counter(&table::TRACE_SPANS, &[result]));
        TracesRecorder {
            exported,
            rejected,
            failed,
            full,
        }
    }

    /// The collector took so many.
    pub fn exported(&self, spans: u64) {
        self.exported.increment(spans);
    }

    /// It answered that it did not take so many.
    pub fn rejected(&self, spans: u64) {
        self.rejected.increment(spans);
    }

    /// So many could not be sent.
    pub fn failed(&self, spans: u64) {
        self.failed.increment(spans);
    }

    /// So many found the queue full.
    pub fn full(&self, spans: u64) {
        self.full.increment(spans);
    }
}

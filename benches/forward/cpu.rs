//! What a piece of work costs the thread that does it.

use rustix::time::{ClockId, clock_gettime};

fn thread_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// CPU time this thread spends on `work`, ns. The two readings themselves cost about 0.5 µs.
pub(crate) fn timed<R>(work: impl FnOnce() -> R) -> (u64, R) {
    let before = thread_ns();
    let result = work();
    (thread_ns().saturating_sub(before), result)
}

/// Figures of many repetitions, ns per unit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples {
    each: Vec<f64>,
    spent_ns: u64,
    units: u64,
}

impl Samples {
    /// Adds one repetition that handled `units` of something; nothing if it handled none.
    pub(crate) fn add(&mut self, spent_ns: u64, units: u64) {
        if units > 0 {
            self.each.push(spent_ns as f64 / units as f64);
            self.spent_ns += spent_ns;
            self.units += units;
        }
    }

    /// The value below which this share of the repetitions lies.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.each.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        sorted.get(at).copied().unwrap_or(f64::NAN)
    }

    /// Everything spent by everything handled.
    pub(crate) fn mean(&self) -> f64 {
        self.spent_ns as f64 / self.units as f64
    }
}

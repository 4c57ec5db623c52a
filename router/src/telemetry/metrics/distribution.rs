//! Histograms and summaries whose counts are made elsewhere.
//!
//! Workers bucket their values themselves, and the exporter library takes single samples only; so these
//! series are kept and written here.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use super::table::{Kind, Metric};

/// One series of a histogram, or of a summary if it has no bounds. Cheap to clone; clones are the same.
#[derive(Debug, Clone)]
pub struct Distribution {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default, Clone, PartialEq)]
struct Counts {
    bounds: Vec<f64>,
    /// Per bucket, not cumulative; the last is above all bounds.
    buckets: Vec<u64>,
    sum: f64,
}

impl Distribution {
    /// With inclusive upper bounds, ascending, in base units; none of them is infinite.
    pub(super) fn new(bounds: Vec<f64>) -> Self {
        let buckets = vec![0; bounds.len() + 1];
        Distribution {
            counts: Arc::new(Mutex::new(Counts {
                bounds,
                buckets,
                sum: 0.0,
            })),
        }
    }

    /// Counts one value.
    pub fn observe(&self, value: f64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let index = counts.bounds.partition_point(|bound| *bound < value);
        counts.sum += value;
        if let Some(bucket) = counts.buckets.get_mut(index) {
            *bucket += 1;
        }
    }

    /// Adds what was counted elsewhere: values per bucket, the one above all bounds last, and their sum.
    pub fn add(&self, buckets: impl IntoIterator<Item = u64>, sum: f64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.sum += sum;
        for (bucket, more) in counts.buckets.iter_mut().zip(buckets) {
            *bucket += more;
        }
    }

    /// Takes over what is counted elsewhere: values per bucket, the one above all bounds last, and their sum.
    pub fn set(&self, buckets: impl IntoIterator<Item = u64>, sum: f64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.sum = sum;
        for (bucket, value) in counts.buckets.iter_mut().zip(buckets) {
            *bucket = value;
        }
    }

    fn read(&self) -> Counts {
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// All series of one metric.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) metric: Metric,
    /// By their labels, already written: `worker="0"`, or nothing.
    pub(super) series: Vec<(String, Distribution)>,
}

impl Family {
    /// Writes the family in the text exposition format.
    pub(super) fn write(&self, text: &mut String) {
        let Metric {
            name, help, kind, ..
        } = self.metric;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {}",
            kind.as_str()
        );
        for (labels, series) in &self.series {
            let counts = series.read();
            let before = if labels.is_empty() {
                String::new()
            } else {
                format!("{labels},")
            };
            let mut total = 0;
            for (bucket, bound) in counts.buckets.iter().zip(&counts.bounds) {
                total += bucket;
                let _ = writeln!(text, "{name}_bucket{{{before}le=\"{bound}\"}} {total}");
            }
            total += counts.buckets.last().unwrap_or(&0);
            if kind == Kind::Histogram {
                let _ = writeln!(text, "{name}_bucket{{{before}le=\"+Inf\"}} {total}");
            }
            let braces = if labels.is_empty() {
                String::new()
            } else {
                format!("{{{labels}}}")
            };
            let _ = writeln!(
                text,
                "{name}_sum{braces} {}\n{name}_count{braces} {total}",
                counts.sum
            );
        }
    }
}

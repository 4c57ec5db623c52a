//! Metrics of a plugin's own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Names one plugin may use (part of the ABI).
const NAMES_MAX: usize = 32;
/// Longest name, bytes (part of the ABI).
const NAME_BYTES_MAX: usize = 64;

/// What a plugin counted and observed under one name.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Custom {
    /// Sum of `metrics.add`.
    pub total: u64,
    /// Calls of `metrics.observe`.
    pub observations: u64,
    /// Sum of what was observed.
    pub sum: f64,
}

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    names: Mutex<BTreeMap<String, Custom>>,
    dropped: AtomicU64,
}

impl Metrics {
    pub(crate) fn add(&self, name: &str, delta: u64) {
        self.change(name, |custom| {
            custom.total = custom.total.wrapping_add(delta);
        });
    }

    pub(crate) fn observe(&self, name: &str, value: f64) {
        if !value.is_finite() {
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        self.change(name, |custom| {
            custom.observations += 1;
            custom.sum += value;
        });
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Custom)) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(custom) = names.get_mut(name) {
            change(custom);
        } else if names.len() < NAMES_MAX && is_name(name) {
            change(names.entry(name.to_owned()).or_default());
        } else {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn snapshot(&self) -> (Vec<(String, Custom)>, u64) {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let all = names.iter().map(|(name, c)| (name.clone(), *c)).collect();
        (all, self.dropped.load(Relaxed))
    }
}

fn is_name(name: &str) -> bool {
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_have_bounds() {
        let metrics = Metrics::default();
        for i in 0..40 {
            metrics.add(&format!("name_{i}"), 2);
        }
        for name in ["", "Upper", "with-dash", &"x".repeat(65)] {
            metrics.add(name, 1);
        }
        metrics.observe("name_0", 1.5);
        metrics.observe("name_0", f64::NAN);
        metrics.observe("name_0", f64::INFINITY);
        let (all, dropped) = metrics.snapshot();
        assert_eq!((all.len(), dropped), (32, 8 + 4 + 2));
        let first = Custom {
            total: 2,
            observations: 1,
            sum: 1.5,
        };
        assert_eq!(all[0], ("name_0".to_owned(), first));
    }
}

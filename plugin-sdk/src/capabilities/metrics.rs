//! Metrics of the plugin's own, for Prometheus. WIT: `rillway:policy/metrics`.

use super::backend;

/// Adds to a counter, exported as `rillway_plugin_custom_total{plugin,name}`. A name has 1 to 64 characters
/// of `[a-z0-9_]`; a plugin may use 32 names, and what is beyond is dropped and counted.
pub fn add(counter: &str, delta: u64) {
    backend::add(counter, delta);
}

/// Notes a value, exported as `rillway_plugin_custom_sum` and `…_count`. Names as for [`add`]; what is not
/// finite is dropped and counted.
pub fn observe(name: &str, value: f64) {
    backend::observe(name, value);
}

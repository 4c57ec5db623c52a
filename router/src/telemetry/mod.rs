//! Logs, metrics and traces.

pub mod log;
pub mod metrics;
pub(crate) mod traces;

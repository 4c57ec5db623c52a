//! The router: configuration, workers, gateway and telemetry put together.

pub mod cli;
pub mod config;
pub mod telemetry;

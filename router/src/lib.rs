//! The router: configuration, workers, gateway and telemetry put together.

#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
mod console;
mod directory;
pub mod doctor;
mod gateway;
pub mod management;
mod policies;
mod rate;
mod recorder;
mod rules;
mod run;
pub mod sandbox;
mod session;
mod stun;
pub mod telemetry;
mod turn;
mod worker;

pub use run::{RunError, Running, Signals, run};

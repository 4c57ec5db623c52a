//! Metrics for Prometheus.
//!
//! [`table`] is the one list of names. Workers count in plain memory and hand their numbers over once a
//! second ([`WorkerRecorder`]); the control side counts as it goes ([`GatewayRecorder`]). Nothing here is
//! on the packet path.

mod config;
mod distribution;
mod gateway;
mod management;
mod plugin;
mod recorder;
mod registry;
mod rules;
mod server;
pub mod table;
mod traces;
mod turn;
mod worker;

#[cfg(test)]
mod tests;

pub use config::ConfigRecorder;
pub use distribution::Distribution;
pub use gateway::{GatewayRecorder, Reject, RequestTarget, Resumed};
pub use management::ManagementRecorder;
pub use plugin::PluginRecorder;
pub use recorder::RecorderRecorder;
pub use registry::Registry;
pub use rules::RulesRecorder;
pub use server::serve;
pub use table::reference;
pub use traces::TracesRecorder;
pub use turn::TurnRecorder;
pub use worker::{Bounds, Buckets, LoopStats, Shapes, WorkerRecorder};

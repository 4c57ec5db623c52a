//! The plugin host: loads policy components, bounds what they may use, and speaks every supported version
//! of the ABI (`plugin-sdk/wit`). It never runs on a media core and does not know the router's core.
//!
//! [`Host::start`] makes the threads, [`Host::load`] a [`Plugin`], and the plugin hands out what it decides:
//! [`SignalingPolicy`], [`AuthenticationPolicy`], [`LayerSelectionPolicy`], [`RecordingPolicy`]. Each instance
//! is an actor on a policy thread with a store of its own; a handle is its mailbox and may be used from any
//! thread and any runtime. Whatever a plugin does comes back as a [`Fault`], within its time.
#![forbid(unsafe_code)]

mod abi;
mod breaker;
mod budgets;
mod capabilities;
mod check;
mod context;
mod error;
mod host;
pub mod inline;
mod kind;
mod load;
mod plugin;
mod rate;
mod runtime;
mod spec;
mod stats;
#[cfg(feature = "testing")]
pub mod testing;
mod version;
mod weigh;

pub use breaker::BreakerState;
pub use budgets::{Budgets, Limits};
pub use capabilities::crypto::{Algorithm, Key, KeyProblem};
pub use capabilities::http::{HttpStats, Network, NetworkProblem, Origin, OriginProblem};
pub use capabilities::metrics::Custom;
pub use error::{Excess, Fault, HostError, LoadError, Refusal};
pub use host::{Host, HostConfig, ThreadRole, ThreadStarted};
pub use kind::{Capability, Kind};
pub use plugin::{
    AuthenticationPolicy, Calls, LayerInstance, LayerSelectionPolicy, Measured, Plugin,
    PluginStats, Prepared, RecordingInstance, RecordingPolicy, Rounds, SignalingInstance,
    SignalingPolicy, VersionStats,
};
pub use spec::{PluginSpec, Rollout, Source, VersionId};
pub use stats::{BUCKETS_US, Durations, KindStats};

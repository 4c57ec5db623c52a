//! What a valid configuration says of policies.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rillway_policy::{Network, Origin};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Secret;

/// The plugin host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// Threads that run policies, at least 1.
    pub threads: u16,
    /// Instances of all plugins at once.
    pub instances_max: u32,
    /// Largest component, bytes.
    pub component_bytes_max: u32,
    /// Folder for compiled components, if there is to be one.
    pub cache_folder: Option<PathBuf>,
    /// Authorities that HTTPS of plugins trusts beside the system's, PEM.
    pub http_ca_file: Option<PathBuf>,
    /// Whether a component's file is reloaded once it has changed.
    pub watch_files: bool,
}

/// A path that leads to a signaling policy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignalingRoute {
    /// Path of the URL; for HTTP, all below it too. No other route has it.
    pub path: String,
    /// Key of [`super::Config::plugins`].
    pub plugin: String,
    /// WebSocket subprotocol; `None`: plain HTTP.
    pub subprotocol: Option<String>,
}

/// What selects layers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerSelection {
    /// Key of [`super::Config::plugins`].
    pub policy: String,
    /// Least time between two calls for one room.
    pub every: Duration,
}

/// Where a component comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Component {
    /// It is part of the program.
    BuiltIn(String),
    /// A file, which was there when the configuration was read.
    File(PathBuf),
}

/// A policy and what it may use.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plugin {
    /// The component.
    pub component: Component,
    /// SHA-256 it must have.
    pub sha256: Option<[u8; 32]>,
    /// Capabilities it may import.
    pub imports: Vec<Capability>,
    /// Whom it may ask by HTTP.
    pub http_origins: Vec<Origin>,
    /// Networks that names of those may stand for.
    pub http_private_networks: Vec<Network>,
    /// Its own table, an object.
    pub config: serde_json::Value,
    /// Its keys.
    pub keys: BTreeMap<String, PluginKey>,
    /// Bounds that differ from the defaults of its kind.
    pub budgets: Budgets,
}

/// A key that a plugin may use and not see.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PluginKey {
    /// What it is for.
    pub algorithm: KeyAlgorithm,
    /// The secret, or the public key in PEM.
    pub material: Secret,
}

/// Bounds of one plugin; `None`: the default of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Budgets {
    /// Time of one call.
    pub call_time_max: Option<Duration>,
    /// Linear memory of an instance, bytes.
    pub memory_bytes_max: Option<u32>,
    /// Instances at once.
    pub instances_max: Option<u32>,
    /// Calls per second.
    pub calls_per_second_max: Option<u32>,
    /// Bytes in and out per second.
    pub bytes_per_second_max: Option<u32>,
    /// Log lines per second.
    pub log_lines_per_second_max: Option<u32>,
    /// Bytes in `kv`.
    pub kv_bytes_max: Option<u32>,
    /// HTTP requests at once.
    pub http_requests_max: Option<u32>,
}

/// What a plugin may import.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// Log lines.
    Log,
    /// Counters of its own.
    Metrics,
    /// Its table of the configuration.
    Config,
    /// Time.
    Clock,
    /// A small store that its instances share.
    Kv,
    /// Signatures and random numbers; keys stay with the router.
    Crypto,
    /// HTTP requests to `http_origins`.
    Http,
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum KeyAlgorithm {
    /// HMAC with SHA-256: tokens (RFC 7518 §3.2) and `hmac-sha256`; the file holds a secret.
    HS256,
    /// RSA PKCS #1 v1.5 with SHA-256 (RFC 7518 §3.3); the file holds a public key in PEM.
    RS256,
    /// ECDSA on P-256 with SHA-256 (RFC 7518 §3.4); the file holds a public key in PEM.
    ES256,
    /// Ed25519 (RFC 8037 §3.1); the file holds a public key in PEM.
    EdDSA,
}

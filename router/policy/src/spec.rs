//! What is to be loaded, and with which rights.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::budgets::Budgets;
use crate::capabilities::crypto::Key;
use crate::capabilities::http::{Network, Origin};
use crate::kind::Capability;

/// Where a component comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// Part of the router.
    Embedded {
        /// Its name, for logs.
        name: &'static str,
        /// The component.
        bytes: &'static [u8],
    },
    /// A file, read when the plugin is loaded and when it is reloaded.
    File(PathBuf),
    /// Bytes, for tests and tools.
    Bytes(Arc<[u8]>),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Embedded { name, bytes } => write!(f, "Embedded({name}, {} B)", bytes.len()),
            Source::File(path) => write!(f, "File({})", path.display()),
            Source::Bytes(bytes) => write!(f, "Bytes({} B)", bytes.len()),
        }
    }
}

/// A plugin to load.
#[derive(Debug, Clone)]
pub struct PluginSpec {
    /// Its name in configuration, logs and metrics: 1 to 64 of `[a-z0-9-]`.
    pub name: String,
    /// Where it comes from.
    pub source: Source,
    /// The only SHA-256 it may have.
    pub sha256: Option<[u8; 32]>,
    /// What it may import.
    pub imports: Vec<Capability>,
    /// What `config.get` returns; an object, or null for an empty one.
    pub config: serde_json::Value,
    /// Keys it may use, by name.
    pub keys: BTreeMap<String, Key>,
    /// Origins it may send HTTP requests to, at most 64; one that imports `http` has at least one.
    pub http_origins: Vec<Origin>,
    /// Networks that names in [`PluginSpec::http_origins`] may stand for although they are not public; at
    /// most 64. An origin that is an address needs none, nor does `localhost`.
    pub http_private_networks: Vec<Network>,
    /// Bounds; what is not set is the default of each kind.
    pub budgets: Budgets,
}

impl PluginSpec {
    /// A plugin that may import nothing, with default bounds.
    #[must_use]
    pub fn new(name: impl Into<String>, source: Source) -> PluginSpec {
        PluginSpec {
            name: name.into(),
            source,
            sha256: None,
            imports: Vec::new(),
            config: serde_json::Value::Null,
            keys: BTreeMap::new(),
            http_origins: Vec::new(),
            http_private_networks: Vec::new(),
            budgets: Budgets::default(),
        }
    }
}

/// How a new version takes over from the running one.
///
/// Instances of the old version finish. For [`Rollout::watch`] the new one is watched: if its breaker opens, or
/// more than [`Rollout::faults_permille`] of its calls end in a fault (three at least), the old version is
/// back for new instances at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// Percent of new instances (clients, rooms, calls of authentication) that get the new version, 1 to
    /// 100; below 100 until [`Plugin::promote`](crate::Plugin::promote) or
    /// [`Plugin::rollback`](crate::Plugin::rollback).
    pub percent: u8,
    /// How long it is watched.
    pub watch: Duration,
    /// See above.
    pub faults_permille: u32,
}

impl Default for Rollout {
    fn default() -> Self {
        Rollout {
            percent: 100,
            watch: Duration::from_secs(600),
            faults_permille: 10,
        }
    }
}

impl Rollout {
    /// The default with a share of new instances.
    #[must_use]
    pub fn canary(percent: u8) -> Rollout {
        Rollout {
            percent,
            ..Rollout::default()
        }
    }
}

/// Names one loaded version of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VersionId {
    /// Grows with every load and reload of the plugin, from 1.
    pub generation: u64,
    /// Of the component.
    pub sha256: [u8; 32],
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.generation)?;
        let prefix = self.sha256.iter().take(6);
        prefix
            .into_iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

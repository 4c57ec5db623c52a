//! The policies that the configuration names, as WebAssembly components on policy threads: what it says of
//! them becomes the plugin host's words, and their handles stand behind the seams of sessions and rooms.

mod files;
mod report;
mod rules;
mod seams;
mod spec;
mod threads;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rillway_policy::{Host, HostConfig, HostError, Kind, Plugin};

use crate::config::{Config, ConfigError};
use crate::rules::{LayerRule, RuleSet};
use crate::session::{Authenticator, SignalingFactory};

pub(crate) use files::watch;
pub(crate) use report::report;
pub(crate) use spec::spec;

/// Time the host's threads have to end with the process.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(1);

/// Why policies cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PoliciesError {
    /// The plugin host does not start.
    #[error("the plugin host: {0}")]
    Host(#[from] HostError),
    /// A component cannot be used.
    #[error("{0}")]
    Config(ConfigError),
}

/// Every policy in use. Dropping it ends the plugin host.
pub(crate) struct Policies {
    host: Host,
    plugins: BTreeMap<String, Plugin>,
}

impl Policies {
    /// Starts the plugin host and loads every component.
    ///
    /// # Errors
    /// The first component that cannot be used, with its place in the configuration.
    pub(crate) async fn load(config: &Config) -> Result<Policies, PoliciesError> {
        let policy = &config.policy;
        let host = Host::start(HostConfig {
            threads: usize::from(policy.threads),
            instances: policy.instances_max,
            component_bytes: u64::from(policy.component_bytes_max),
            cache: policy.cache_folder.clone(),
            http_ca: policy.http_ca_file.clone(),
            instance_memory_bytes: spec::memory_bytes_max(config),
            thread_started: Some(Arc::new(threads::started)),
            ..HostConfig::default()
        })?;
        let mut policies = Policies {
            host,
            plugins: BTreeMap::new(),
        };
        for (name, plugin) in &config.plugins {
            let refused =
                |problem: String| PoliciesError::Config(config.plugin_refused(name, &problem));
            let spec = spec(name, plugin);
            let spec = spec.map_err(|problem| refused(format!("plugin {name}: {problem}")))?;
            let loaded = policies.host.load(spec).await;
            let loaded = loaded.map_err(|error| refused(error.to_string()))?;
            policies.plugins.insert(name.clone(), loaded);
        }
        Ok(policies)
    }

    /// Who may join.
    ///
    /// # Errors
    /// The policy that the configuration names decides something else.
    pub(crate) fn authenticator(
        &self,
        config: &Config,
    ) -> Result<Box<dyn Authenticator>, PoliciesError> {
        let name = &config.authentication;
        let policy = self.plugins.get(name).and_then(Plugin::authentication);
        match policy {
            Some(policy) => Ok(Box::new(seams::Authentication(policy))),
            None => Err(wrong_kind(config, name, Kind::Authentication)),
        }
    }

    /// The signaling policy of a name.
    ///
    /// # Errors
    /// It decides something else.
    pub(crate) fn signaling(
        &self,
        config: &Config,
        name: &str,
    ) -> Result<Rc<dyn SignalingFactory>, PoliciesError> {
        match self.plugins.get(name).and_then(Plugin::signaling) {
            Some(policy) => Ok(Rc::new(seams::Signaling::new(policy))),
            None => Err(wrong_kind(config, name, Kind::Signaling)),
        }
    }

    /// What decides about rooms.
    ///
    /// # Errors
    /// A policy that the configuration names decides something else.
    pub(crate) fn rules(&self, config: &Config) -> Result<RuleSet, PoliciesError> {
        let mut set = RuleSet::default();
        if let Some(layers) = &config.layers {
            let plugin = self.plugins.get(&layers.policy);
            let policy = plugin.and_then(Plugin::layer_selection);
            let wrong = || wrong_kind(config, &layers.policy, Kind::LayerSelection);
            set.layers = Some(LayerRule {
                factory: Rc::new(rules::Layers(policy.ok_or_else(wrong)?)),
                every: Cell::new(layers.every),
            });
        }
        if let Some(name) = &config.recording {
            let policy = self.plugins.get(name).and_then(Plugin::recording);
            let wrong = || wrong_kind(config, name, Kind::Recording);
            set.recording = Some(Rc::new(rules::Recording(policy.ok_or_else(wrong)?)));
        }
        Ok(set)
    }

    /// Handles to every plugin, by name.
    pub(crate) fn by_name(&self) -> BTreeMap<String, Plugin> {
        self.plugins.clone()
    }

    /// Every plugin.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = &Plugin> {
        self.plugins.values()
    }
}

impl Drop for Policies {
    fn drop(&mut self) {
        if !self.host.shutdown(SHUTDOWN_PATIENCE) {
            tracing::warn!("a policy thread did not end in time");
        }
    }
}

fn wrong_kind(config: &Config, name: &str, kind: Kind) -> PoliciesError {
    let problem = format!("plugin {name} does not export `{kind}`, which it is used for");
    PoliciesError::Config(config.plugin_refused(name, &problem))
}

//! What the configuration says of a plugin, in the plugin host's words.

use std::collections::BTreeMap;

use rillway_policy::{Algorithm, Budgets, Capability, Key, PluginSpec, Source};

use crate::config::{self, Component, Config, KeyAlgorithm};

/// Linear memory that the host reserves for an instance where no plugin asks for more.
const MEMORY_BYTES: usize = 128 << 20;

/// The largest memory that any plugin may have.
pub(super) fn memory_bytes_max(config: &Config) -> usize {
    let wanted = config.plugins.values().filter_map(|plugin| {
        let bytes = plugin.budgets.memory_bytes_max?;
        usize::try_from(bytes).ok()
    });
    wanted.fold(MEMORY_BYTES, usize::max)
}

/// A plugin for the host to load.
///
/// # Errors
/// What is wrong with it, for people.
pub(crate) fn spec(name: &str, plugin: &config::Plugin) -> Result<PluginSpec, String> {
    let mut spec = PluginSpec::new(name, source(&plugin.component)?);
    spec.sha256 = plugin.sha256;
    spec.imports = capabilities(plugin);
    spec.config = plugin.config.clone();
    spec.keys = keys(plugin)?;
    spec.http_origins.clone_from(&plugin.http_origins);
    spec.http_private_networks
        .clone_from(&plugin.http_private_networks);
    spec.budgets = budgets(&plugin.budgets);
    Ok(spec)
}

fn source(component: &Component) -> Result<Source, String> {
    match component {
        Component::File(path) => Ok(Source::File(path.clone())),
        Component::BuiltIn(wanted) => rillway_components::COMPONENTS
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|&(name, bytes)| Source::Embedded { name, bytes })
            .ok_or_else(|| format!("there is no built-in component `{wanted}`")),
    }
}

fn capabilities(plugin: &config::Plugin) -> Vec<Capability> {
    let capability = |capability: &config::Capability| match capability {
        config::Capability::Log => Capability::Log,
        config::Capability::Metrics => Capability::Metrics,
        config::Capability::Config => Capability::Config,
        config::Capability::Clock => Capability::Clock,
        config::Capability::Kv => Capability::Kv,
        config::Capability::Crypto => Capability::Crypto,
        config::Capability::Http => Capability::Http,
    };
    plugin.imports.iter().map(capability).collect()
}

fn keys(plugin: &config::Plugin) -> Result<BTreeMap<String, Key>, String> {
    let key = |(name, key): (&String, &config::PluginKey)| {
        let algorithm = match key.algorithm {
            KeyAlgorithm::HS256 => Algorithm::Hs256,
            KeyAlgorithm::RS256 => Algorithm::Rs256,
            KeyAlgorithm::ES256 => Algorithm::Es256,
            KeyAlgorithm::EdDSA => Algorithm::EdDsa,
        };
        Key::pem(algorithm, key.material.reveal().as_bytes())
            .map(|key| (name.clone(), key))
            .map_err(|problem| format!("keys.{name}: {problem}"))
    };
    plugin.keys.iter().map(key).collect()
}

fn budgets(budgets: &config::Budgets) -> Budgets {
    let size = |value: Option<u32>| value.and_then(|size| usize::try_from(size).ok());
    Budgets {
        call: budgets.call_time_max,
        memory_bytes: size(budgets.memory_bytes_max),
        instances: size(budgets.instances_max),
        calls_per_second: budgets.calls_per_second_max,
        bytes_per_second: budgets.bytes_per_second_max,
        log_lines_per_second: budgets.log_lines_per_second_max,
        kv_bytes: size(budgets.kv_bytes_max),
        http_requests: size(budgets.http_requests_max),
        ..Budgets::default()
    }
}

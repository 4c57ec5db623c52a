//! A component in the router's own plugin host, as `check`, `bench` and `run` need it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use rillway_policy::{
    Budgets, Calls, Capability, Fault, Host, HostConfig, Kind, LoadError, Plugin, PluginSpec,
    Source,
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::component::{Component, ComponentError};
use super::{PluginError, script};
use crate::config::{Config, Overrides};
use crate::policies;

/// Memory that an instance may be given at most; reserved, not used.
const INSTANCE_MEMORY_BYTES: usize = 1 << 30;
/// Instances at once. These commands need two at most; but the host counts the modules of a component too, and
/// an interpreter has dozens.
const INSTANCES: u32 = 64;
/// How long the host has to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which component, and what it gets.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct Subject {
    /// File of a component, or the name of one that is part of the program, such as `auth-jwt`
    #[arg(value_name = "COMPONENT")]
    component: String,
    /// A router's configuration; its [plugins.NAME] says what the plugin gets: config, imports, keys, budgets
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// NAME in there [default: that of the component's file]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// The bytes of a component and how they are to be loaded.
pub(super) struct Subjected {
    pub(super) component: Component,
    pub(super) spec: PluginSpec,
    /// Whether a configuration was given, or is part of the program.
    configured: bool,
    /// Name of the component where it is part of the program.
    pub(super) shipped: Option<&'static str>,
}

impl Subject {
    /// Reads everything that is named.
    ///
    /// # Errors
    /// [`PluginError`].
    pub(super) fn read(&self) -> Result<Subjected, PluginError> {
        let path = Path::new(&self.component);
        let shipped = rillway_components::COMPONENTS
            .iter()
            .find(|(name, _)| *name == self.component && !path.exists());
        let (bytes, source) = match shipped {
            Some(&(name, bytes)) => (bytes.to_vec(), Source::Embedded { name, bytes }),
            None => {
                let bytes = std::fs::read(path).map_err(|error| self.unreadable(&error))?;
                let shared: Arc<[u8]> = bytes.as_slice().into();
                (bytes, Source::Bytes(shared))
            }
        };
        let component = Component::read(bytes).map_err(|error| match error {
            ComponentError::Decode(why) => PluginError::Unfit(format!(
                "{}: this is no component: {why}. `rillway plugin build` makes one of a crate, `rillway plugin wrap` \
                 of a module",
                self.component
            )),
            error => PluginError::Component(path.to_owned(), error),
        })?;
        let mut spec = PluginSpec::new(self.plugin_name(path), source);
        spec.imports = Capability::ALL.to_vec();
        let mut subjected = Subjected {
            component,
            spec,
            configured: false,
            shipped: shipped.map(|(name, _)| *name),
        };
        self.configure(&mut subjected)?;
        Ok(subjected)
    }

    fn unreadable(&self, error: &std::io::Error) -> PluginError {
        let shipped = rillway_components::COMPONENTS.iter().map(|(name, _)| *name);
        let shipped: Vec<&str> = shipped.collect();
        PluginError::Subject(format!(
            "cannot read {}: {error}. COMPONENT is a file, or one of {}",
            self.component,
            shipped.join(", ")
        ))
    }

    /// Its name in the configuration.
    fn plugin_name(&self, path: &Path) -> String {
        let stem = || {
            path.file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
        };
        let name = self.name.clone().or_else(stem).unwrap_or_default();
        name.replace('_', "-").to_lowercase()
    }

    /// What a router with the configuration would give it; development's defaults stand in for what the file
    /// does not say.
    fn configure(&self, subjected: &mut Subjected) -> Result<(), PluginError> {
        let Some(path) = &self.config else {
            if let Some(name) = subjected.shipped {
                let configured = script::configure_shipped(name, &mut subjected.spec);
                subjected.configured =
                    configured.map_err(|error| PluginError::Subject(error.to_string()))?;
            }
            return Ok(());
        };
        let config = Config::load_dev(Some(path), &Overrides::default())?;
        let spec = &mut subjected.spec;
        let plugin = config.plugins.get(&spec.name).ok_or_else(|| {
            let path = path.display();
            PluginError::Subject(format!(
                "{path} has no [plugins.{}]; `--name` chooses another one",
                spec.name
            ))
        })?;
        let configured = policies::spec(&spec.name, plugin).map_err(PluginError::Subject)?;
        *spec = PluginSpec {
            // The file that is in question, which is not pinned yet.
            source: spec.source.clone(),
            sha256: None,
            ..configured
        };
        subjected.configured = true;
        Ok(())
    }
}

impl Subjected {
    /// Kinds that it exports.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        let kinds = self.component.kinds.iter();
        kinds.filter_map(|name| Kind::from_name(name)).collect()
    }

    /// The kinds a command is about: the wanted one, or all.
    ///
    /// # Errors
    /// It does not export the wanted one.
    pub(super) fn wanted(&self, kind: Option<Kind>) -> Result<Vec<Kind>, PluginError> {
        let kinds = self.kinds();
        match kind {
            None => Ok(kinds),
            Some(kind) if kinds.contains(&kind) => Ok(vec![kind]),
            Some(kind) => Err(PluginError::Subject(format!(
                "the component does not export {kind}, but {}",
                self.component.kinds.join(" and ")
            ))),
        }
    }

    /// What to play to it, and the same as values.
    ///
    /// # Errors
    /// The file cannot be read, or is no script.
    pub(super) fn calls(
        &self,
        kind: Kind,
        file: Option<&Path>,
    ) -> Result<(Calls, Vec<Value>), PluginError> {
        let (name, text) = match file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| PluginError::File(path.to_owned(), error))?;
                (path.display().to_string(), text)
            }
            None => {
                let own = self.shipped.and_then(script::of_shipped);
                let text = own.unwrap_or_else(|| script::of_kind(kind));
                ("the built-in script".to_owned(), text.to_owned())
            }
        };
        let calls = script::parse(kind, &text, &name)?;
        if calls.is_empty() {
            return Err(PluginError::Subject(format!("{name} has no inputs")));
        }
        Ok((calls, script::values(&text)))
    }
}

/// A script is for one policy, and the component has several.
pub(super) fn several(subject: &Subjected) -> PluginError {
    PluginError::Subject(format!(
        "the component exports {}: `--kind` says which is meant",
        subject.component.kinds.join(" and ")
    ))
}

/// A running host.
pub(super) struct Stage {
    runtime: Runtime,
    host: Host,
}

/// A plugin in it.
pub(super) struct Loaded {
    pub(super) plugin: Plugin,
    /// How long compiling and trying it took.
    pub(super) took: Duration,
}

/// What a call came to.
pub(super) type Answer = Result<Value, Fault>;

impl Stage {
    pub(super) fn start() -> Result<Stage, PluginError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| PluginError::Subject(format!("no runtime: {error}")))?;
        let host = Host::start(HostConfig {
            instances: INSTANCES,
            instance_memory_bytes: INSTANCE_MEMORY_BYTES,
            component_bytes: 256 << 20,
            ..HostConfig::default()
        })?;
        Ok(Stage { runtime, host })
    }

    /// Loads a plugin.
    ///
    /// # Errors
    /// Why the router would not, and how to mend it.
    pub(super) fn load(&self, subject: &Subjected) -> Result<Loaded, PluginError> {
        let began = Instant::now();
        let plugin = self.load_spec(subject.spec.clone());
        let plugin = plugin.map_err(|error| {
            let hint = match &error {
                LoadError::Trial {
                    fault: Fault::Start(_),
                    ..
                } if !subject.configured => {
                    "; `--config FILE` names a router's configuration with its [plugins.NAME]"
                }
                LoadError::Trial {
                    fault: Fault::Memory,
                    ..
                } => "; `budgets.memory_bytes_max` of its [plugins.NAME] allows more",
                LoadError::Trial {
                    fault: Fault::Timeout(_),
                    ..
                } => "; on a machine that is busy, try again",
                _ => "",
            };
            PluginError::Unfit(format!("{error}{hint}"))
        })?;
        Ok(Loaded {
            plugin,
            took: began.elapsed(),
        })
    }

    /// Loads what is known to be good, or not.
    pub(super) fn load_spec(&self, spec: PluginSpec) -> Result<Plugin, LoadError> {
        self.runtime.block_on(self.host.load(spec))
    }

    /// Waits for something of the host.
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Plays calls to one instance. Ends with the first fault that ends the instance.
    pub(super) fn play(&self, plugin: &Plugin, calls: Calls) -> Vec<Answer> {
        self.runtime.block_on(play(plugin, calls))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A thread that does not end ends with the process, which is about to.
        let _ = self.host.shutdown(PATIENCE);
    }
}

/// Budgets for a component that shall not be slowed down.
pub(super) fn unhurried(budgets: &Budgets) -> Budgets {
    Budgets {
        calls_per_second: Some(u32::MAX),
        bytes_per_second: Some(u32::MAX),
        ..budgets.clone()
    }
}

fn value(name: &str, output: &impl Serialize) -> Value {
    json!({ name: output })
}

/// Whether a script can go on after an answer.
fn goes_on(answers: &[Answer]) -> bool {
    !matches!(answers.last(), Some(Err(fault)) if fault.ends_instance())
}

macro_rules! play_instance {
    ($policy:expr, $call:ident, $calls:expr, |$output:ident| $shown:expr) => {{
        let mut answers = Vec::new();
        let Some(policy) = $policy else {
            return vec![Err(Fault::Gone)];
        };
        let mut instance = match policy.open().await {
            Ok(instance) => instance,
            Err(fault) => return vec![Err(fault)],
        };
        for call in $calls {
            let answer = instance.$call(call).await;
            answers.push(answer.map(|output| {
                let $output = &output;
                $shown
            }));
            if !goes_on(&answers) {
                break;
            }
        }
        answers
    }};
}

async fn play(plugin: &Plugin, calls: Calls) -> Vec<Answer> {
    match calls {
        Calls::Authentication(calls) => {
            let mut answers = Vec::new();
            let Some(policy) = plugin.authentication() else {
                return vec![Err(Fault::Gone)];
            };
            for call in calls {
                let answer = policy.decide(call).await;
                answers.push(answer.map(|decision| match decision {
                    Ok(grant) => value("granted", &grant),
                    Err(denial) => value("denied", &denial),
                }));
            }
            answers
        }
        Calls::Signaling(calls) => {
            play_instance!(plugin.signaling(), call, calls, |commands| value(
                "commands", commands
            ))
        }
        Calls::LayerSelection(calls) => {
            play_instance!(plugin.layer_selection(), choose, calls, |decision| json!(
                decision
            ))
        }
        Calls::Recording(calls) => {
            play_instance!(plugin.recording(), decide, calls, |orders| value(
                "orders", orders
            ))
        }
    }
}

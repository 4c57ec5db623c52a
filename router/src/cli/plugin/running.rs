//! The plugins of a running router: see them, give them another version, take it back.

use std::path::PathBuf;

use clap::Subcommand;

use crate::cli::operate::{Ask, OperateError, table};
use crate::management::wire::request::Verb;
use crate::management::wire::response::Part;
use crate::management::wire::{
    Plugin, PluginPromoteRequest, PluginReloadRequest, PluginReturnRequest, PluginsRequest,
};

const RELOAD_HELP: &str = "\
Examples:
  rillway plugin reload auth-ours                        read again the file the configuration names
  rillway plugin reload auth-ours --component new.wasm   upload another
  rillway plugin reload auth-ours --component new.wasm --canary 10
                                 every tenth new client or room gets it, until promote or rollback

Who is connected stays with the version it has. A component that is refused changes nothing.";

/// What is to be done with a running router's plugins.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Running {
    /// List a running router's plugins: versions, calls, faults
    Ls {
        /// Which router, and how its answer is shown
        #[command(flatten)]
        ask: Ask,
    },
    /// Give a running router's plugin another version
    #[command(after_help = RELOAD_HELP)]
    Reload {
        /// Name of the plugin
        name: String,
        /// The new component; at most 16 MiB
        #[arg(long, value_name = "FILE")]
        component: Option<PathBuf>,
        /// Share of new clients, rooms or calls that get it
        #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=99))]
        canary: Option<u32>,
        /// Which router, and how its answer is shown
        #[command(flatten)]
        ask: Ask,
    },
    /// Give the version on trial to everybody
    Promote {
        /// Name of the plugin
        name: String,
        /// Which router, and how its answer is shown
        #[command(flatten)]
        ask: Ask,
    },
    /// Go back to the version before
    Rollback {
        /// Name of the plugin
        name: String,
        /// Which router, and how its answer is shown
        #[command(flatten)]
        ask: Ask,
    },
}

impl Running {
    /// Asks the router, and shows the plugins as they are then.
    ///
    /// # Errors
    /// [`OperateError`].
    pub fn run(&self) -> Result<String, OperateError> {
        let (ask, verb) = match self {
            Running::Ls { ask } => (ask, Verb::Plugins(PluginsRequest {})),
            Running::Reload {
                name,
                component,
                canary,
                ask,
            } => {
                let component = component.as_ref().map(|path| {
                    std::fs::read(path)
                        .map_err(|error| OperateError::argument(&path.display(), &error))
                });
                let request = PluginReloadRequest {
                    name: name.clone(),
                    component: component.transpose()?.unwrap_or_default(),
                    canary_percent: canary.unwrap_or(0),
                };
                (ask, Verb::PluginReload(request))
            }
            Running::Promote { name, ask } => {
                let name = name.clone();
                (ask, Verb::PluginPromote(PluginPromoteRequest { name }))
            }
            Running::Rollback { name, ask } => {
                let name = name.clone();
                (ask, Verb::PluginReturn(PluginReturnRequest { name }))
            }
        };
        ask.call(verb, |part| match part {
            Part::Plugins(plugins) => shown(&plugins.plugins),
            _ => String::new(),
        })
    }
}

/// A line for each version that new instances get.
fn shown(plugins: &[Plugin]) -> String {
    let rows = plugins.iter().flat_map(|plugin| {
        let versions = plugin.versions.iter().filter(|v| v.percent > 0);
        versions.map(|version| {
            [
                plugin.name.clone(),
                plugin.kinds.join(","),
                version.version.clone(),
                format!("{} %", version.percent),
                plugin.abi.clone(),
                version.instances.to_string(),
                version.calls.to_string(),
                version.faults.to_string(),
                plugin.breaker.clone(),
            ]
        })
    });
    let header = [
        "PLUGIN",
        "KINDS",
        "VERSION",
        "SHARE",
        "ABI",
        "INSTANCES",
        "CALLS",
        "FAULTS",
        "BREAKER",
    ];
    table(header, rows)
}

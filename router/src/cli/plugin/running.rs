//! The plugins of a running router: see them, give them another version, take it back.

use std::path::PathBuf;

use clap::Subcommand;

use crate::cli::operate::{Ask, OperateError, table};
use crate::management::wire::request::Verb;
use crate::management::wire::response::Part;
use crate::management::wire::{
    Count, Plugin, PluginKind, PluginPromoteRequest, PluginReloadRequest, PluginReturnRequest,
    PluginsRequest,
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
    /// Show one: versions, faults by kind, what it may use and what it uses
    Show {
        /// Name of the plugin
        name: String,
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
            Running::Show { name, ask } => return show(name, ask),
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

fn show(name: &str, ask: &Ask) -> Result<String, OperateError> {
    let parts = ask.parts(Verb::Plugins(PluginsRequest {}))?;
    let plugins = parts.into_iter().filter_map(|part| match part {
        Part::Plugins(plugins) => Some(plugins.plugins),
        _ => None,
    });
    let plugins: Vec<Plugin> = plugins.flatten().collect();
    match plugins.iter().find(|plugin| plugin.name == name) {
        Some(plugin) => ask.show(plugin, details),
        None => {
            let names: Vec<_> = plugins.iter().map(|plugin| plugin.name.as_str()).collect();
            Err(OperateError::Absent(format!(
                "there is no plugin `{name}`\nhelp: there are: {}",
                names.join(", ")
            )))
        }
    }
}

/// Its versions, and for each kind what was counted beside what it may use.
fn details(plugin: &Plugin) -> String {
    let versions = plugin.versions.iter().map(|version| {
        let share = match version.percent {
            0 => "before".to_owned(),
            percent => format!("{percent} %"),
        };
        [
            version.version.clone(),
            share,
            version.instances.to_string(),
            version.calls.to_string(),
            version.faults.to_string(),
        ]
    });
    let header = ["VERSION", "SHARE", "INSTANCES", "CALLS", "FAULTS"];
    let head = format!(
        "{} (ABI {}), {} times back to the version before",
        plugin.name, plugin.abi, plugin.returns
    );
    let mut tables = vec![head, table(header, versions)];
    tables.extend(plugin.by_kind.iter().map(of_kind));
    tables.join("\n\n")
}

fn of_kind(kind: &PluginKind) -> String {
    let budget = kind.budget.unwrap_or_default();
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let counts = |counts: &[Count]| {
        let some = counts.iter().filter(|count| count.count > 0);
        let some: Vec<_> = some.map(|c| format!("{} {}", c.count, c.name)).collect();
        match some.is_empty() {
            true => "none".to_owned(),
            false => some.join(", "),
        }
    };
    let none = || "-".to_owned();
    let rows = [
        ["calls".to_owned(), kind.calls.to_string(), none()],
        ["faults".to_owned(), counts(&kind.faults), none()],
        ["refused".to_owned(), counts(&kind.refusals), none()],
        ["breaker".to_owned(), kind.breaker.clone(), none()],
        [
            "time of a call, p50".to_owned(),
            format!("{} µs", kind.p50_us),
            format!("{} µs", budget.call_us_max),
        ],
        [
            "time of a call, p99".to_owned(),
            format!("{} µs", kind.p99_us),
            format!("{} µs", budget.call_us_max),
        ],
        [
            "instances".to_owned(),
            kind.instances.to_string(),
            budget.instances_max.to_string(),
        ],
        [
            "memory of the largest".to_owned(),
            mib(kind.memory_bytes_max),
            mib(budget.memory_bytes_max),
        ],
        [
            "memory of all".to_owned(),
            mib(kind.memory_bytes),
            format!("{} beyond 2 MiB each", mib(budget.memory_total_bytes_max)),
        ],
        [
            "calls per second".to_owned(),
            none(),
            budget.calls_per_second_max.to_string(),
        ],
        [
            "bytes per second".to_owned(),
            none(),
            mib(budget.bytes_per_second_max),
        ],
    ];
    table([&kind.kind.to_uppercase(), "NOW", "BUDGET"], rows)
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

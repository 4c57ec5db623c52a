//! `rillway config`: the configuration of a running router, and its reload.

use std::path::PathBuf;

use clap::Subcommand;

use super::operate::{self, Ask, OperateError, table};
use crate::management::wire::request::Verb;
use crate::management::wire::response::Part;
use crate::management::wire::{
    self, ConfigApplyRequest, ConfigDiffRequest, ConfigReloadRequest, ConfigRequest,
};

pub(super) const HELP: &str = "\
Examples:
  rillway config show              every key that is set, with its value and where it is from
  rillway config show --all        and those with their defaults
  rillway config diff              what a reload would change
  rillway config diff new.toml     if new.toml stood in place of the file
  rillway config apply new.toml    put new.toml in place of the file, if it can be used, and reload
  rillway config reload            change it, or nothing; `kill -HUP` does the same

`rillway check FILE` needs no running router, `rillway reference config` shows what there is.";

/// `rillway config`.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Configuration {
    /// Show the configuration in force, with the origin of each value
    Show {
        /// Those with their defaults too
        #[arg(long)]
        all: bool,
        /// Which router, and how its answer is shown
        #[command(flatten)]
        ask: Ask,
    },
    /// Show what a reload would change, and what would need a restart
    Diff {
        /// Compare with this file, as if it stood in place of the router's own; needs the role admin
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Which router, and how its answer is shown
        #[command(flatten)]
        ask: Ask,
    },
    /// Put a file in place of the router's own, if it can be used, and reload; needs the role admin
    Apply {
        /// The file; paths in it start from where the router's own is
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Which router, and how its answer is shown
        #[command(flatten)]
        ask: Ask,
    },
    /// Read the file again, and put into force what differs: all of it, or nothing
    Reload {
        /// Which router, and how its answer is shown
        #[command(flatten)]
        ask: Ask,
    },
}

impl Configuration {
    /// Asks, and shows.
    ///
    /// # Errors
    /// [`OperateError`].
    pub fn run(&self) -> Result<String, OperateError> {
        match self {
            Configuration::Show { all, ask } => {
                ask.call(Verb::Config(ConfigRequest {}), |part| match part {
                    Part::Config(config) => settings(config, *all),
                    _ => String::new(),
                })
            }
            Configuration::Diff { file, ask } => {
                let text = file.as_ref().map(|file| operate::read(file)).transpose()?;
                let name = file.as_ref().map(|file| file.display().to_string());
                let request = ConfigDiffRequest {
                    text,
                    name: name.unwrap_or_default(),
                };
                ask.call(Verb::ConfigDiff(request), |part| match part {
                    Part::ConfigChanges(changes) => differences(changes),
                    _ => String::new(),
                })
            }
            Configuration::Apply { file, ask } => {
                let request = ConfigApplyRequest {
                    text: operate::read(file)?,
                    name: file.display().to_string(),
                };
                ask.call(Verb::ConfigApply(request), |part| match part {
                    Part::ConfigChanges(changes) => reloaded(changes),
                    _ => String::new(),
                })
            }
            Configuration::Reload { ask } => {
                let verb = Verb::ConfigReload(ConfigReloadRequest {});
                ask.call(verb, |part| match part {
                    Part::ConfigChanges(changes) => reloaded(changes),
                    _ => String::new(),
                })
            }
        }
    }
}

fn settings(config: &wire::Config, all: bool) -> String {
    let shown = config
        .settings
        .iter()
        .filter(|setting| all || setting.origin != "default");
    let rows = shown.map(|setting| {
        [
            setting.key.clone(),
            setting.value.clone().unwrap_or_else(|| "-".to_owned()),
            from(&setting.origin, &setting.place),
            setting.effect.clone(),
        ]
    });
    let file = match config.file.as_str() {
        "" => "no file",
        file => file,
    };
    let keys = table(["KEY", "VALUE", "FROM", "CHANGES"], rows);
    format!("{file}, generation {}\n\n{keys}", config.generation)
}

fn from(origin: &str, place: &str) -> String {
    match place {
        "" if origin == "program" => "rillway dev".to_owned(),
        "" => origin.to_owned(),
        place => place.to_owned(),
    }
}

fn rows(changes: &wire::ConfigChanges) -> String {
    let rows = changes.changes.iter().map(|change| {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let after = match change.content {
            true => format!("{} (new content)", shown(&change.after)),
            false => shown(&change.after),
        };
        [
            change.key.clone(),
            shown(&change.before),
            after,
            from(&change.origin, &change.place),
            change.effect.clone(),
        ]
    });
    table(["KEY", "IN FORCE", "FILE", "FROM", "CHANGES"], rows)
}

fn differences(changes: &wire::ConfigChanges) -> String {
    if changes.changes.is_empty() {
        return "nothing differs".to_owned();
    }
    let outlook = match changes.needs_restart {
        true => "a reload would be refused: `restart` above needs one",
        false => "a reload would change that",
    };
    format!("{}\n\n{outlook}", rows(changes))
}

fn reloaded(changes: &wire::ConfigChanges) -> String {
    let generation = changes.generation;
    if changes.changes.is_empty() {
        return format!("nothing differs; generation {generation}");
    }
    format!("{}\n\nin force, generation {generation}", rows(changes))
}

//! `rillway log`: what a running router writes into its log, for a time.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};

use super::drain::time;
use super::operate::{Ask, OperateError, table};
use crate::management::wire::request::Verb;
use crate::management::wire::response::Part;
use crate::management::wire::{LogLevels, LogLevelsRequest, LogResetRequest, LogSetRequest};

pub(super) const HELP: &str = "\
Examples:
  rillway log set rillway_core debug            for ten minutes
  rillway log set rillway::gateway trace --for 30s
  rillway log ls
  rillway log reset rillway_core                before its time is over
  rillway log reset                             all that were set

A target is the part of a line before its text; what is beneath it is meant too. Of two that match, the longer
one counts. `log.filter` of the configuration stays as it is.";

/// `rillway log`.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Log {
    /// Give a target another level for a time
    Set {
        /// Which: a module as in log lines, such as rillway_core or rillway::gateway
        target: String,
        /// Which level
        #[arg(value_enum)]
        level: Level,
        /// Until it is as before: `30s`, `10m`, `2h`
        #[arg(long = "for", value_name = "TIME", value_parser = time, default_value = "10m")]
        time: Duration,
        /// Which router, and how its answer is shown
        #[command(flatten)]
        ask: Ask,
    },
    /// List the targets that have another level now
    Ls(Ask),
    /// Take that back before its time
    Reset {
        /// Only of this target [default: all]
        #[arg(default_value_t, hide_default_value = true)]
        target: String,
        /// Which router, and how its answer is shown
        #[command(flatten)]
        ask: Ask,
    },
}

/// Lines of which weight are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// None
    Off,
    /// Faults
    Error,
    /// And what may become one
    Warn,
    /// And what happens
    Info,
    /// And what concerns one client or room
    Debug,
    /// And every step
    Trace,
}

impl Log {
    /// Asks, and shows the levels as they are then.
    ///
    /// # Errors
    /// [`OperateError`].
    pub fn run(&self) -> Result<String, OperateError> {
        let (ask, verb) = match self {
            Log::Ls(ask) => (ask, Verb::LogLevels(LogLevelsRequest {})),
            Log::Set {
                target,
                level,
                time,
                ask,
            } => {
                let level = level.to_possible_value();
                let request = LogSetRequest {
                    target: target.clone(),
                    level: level.map_or_else(String::new, |level| level.get_name().to_owned()),
                    ms: u32::try_from(time.as_millis()).unwrap_or(u32::MAX),
                };
                (ask, Verb::LogSet(request))
            }
            Log::Reset { target, ask } => {
                let target = target.clone();
                (ask, Verb::LogReset(LogResetRequest { target }))
            }
        };
        ask.call(verb, |part| match part {
            Part::LogLevels(levels) => shown(levels),
            _ => String::new(),
        })
    }
}

fn shown(levels: &LogLevels) -> String {
    let configured = format!("log.filter = \"{}\"", levels.filter);
    if levels.levels.is_empty() {
        return format!("{configured}, and nothing else");
    }
    let rows = levels.levels.iter().map(|level| {
        [
            level.target.clone(),
            level.level.clone(),
            format!("{} s", level.ms_left.div_ceil(1_000)),
            level.by.clone(),
        ]
    });
    let rows = table(["TARGET", "LEVEL", "LEFT", "SET BY"], rows);
    format!("{configured}\n\n{rows}")
}

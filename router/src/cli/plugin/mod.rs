//! `rillway plugin`: what the author of a policy needs.

pub mod bench;
pub mod build;
pub mod check;
pub mod component;
pub mod new;
pub mod run;
pub mod running;
mod script;
mod stage;
pub mod toolchain;
pub mod wit;
pub mod wrap;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};

pub use rillway_policy::Kind;

use crate::config::ConfigError;

use super::operate::OperateError;

/// Exit code where a plugin cannot be built or is not what it should be, `EX_DATAERR` of sysexits.h.
pub const EXIT_PLUGIN: u8 = 65;

/// Part of the help of `check`, `bench` and `run`.
const EXIT_CODES: &str = "\
Exit codes:
  0   nothing is wrong with it
  2   the arguments are wrong
  65  the component cannot be loaded, a call of it failed, or a file that the
      arguments name cannot be used; standard error says which and why
  70  a fault of the program or the machine
  78  the configuration cannot be used";

/// What is to be done with a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Plugin {
    /// Begin a plugin: a crate with a policy, its tests and the SDK
    #[command(after_help = new::HELP)]
    New(new::Arguments),
    /// Build a plugin's crate as a component
    #[command(after_help = build::HELP)]
    Build(build::Arguments),
    /// Make a component of a module that a compiler of another language made
    #[command(after_help = wrap::HELP)]
    Wrap(wrap::Arguments),
    /// Write the interfaces (WIT) of policies, or bindings for C
    #[command(after_help = wit::HELP)]
    Wit(wit::Arguments),
    /// Load a component as the router would and call it: is it fit, and what does it need?
    #[command(after_help = check::help())]
    Check(check::Arguments),
    /// Measure calls of a component, beside one that does nothing
    #[command(after_help = bench::help())]
    Bench(bench::Arguments),
    /// Play a script to a component and show what it answers
    #[command(after_help = run::help())]
    Run(run::Arguments),
    /// Those of a running router
    #[command(flatten)]
    Running(running::Running),
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// There is no new plugin.
    #[error(transparent)]
    New(#[from] new::NewError),
    /// It could not be built.
    #[error(transparent)]
    Build(#[from] build::BuildError),
    /// A file cannot be read or written.
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    File(std::path::PathBuf, std::io::Error),
    /// A module cannot be made a component.
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    Component(std::path::PathBuf, component::ComponentError),
    /// There is no such component.
    #[error("{0}")]
    Subject(String),
    /// The router's configuration cannot be used.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// A script cannot be read.
    #[error(transparent)]
    Script(#[from] script::ScriptError),
    /// Interfaces or bindings cannot be made.
    #[error("{0}")]
    Wit(String),
    /// The plugin host does not start.
    #[error(transparent)]
    Host(#[from] rillway_policy::HostError),
    /// The component cannot be loaded, or a call of it failed.
    #[error("{0}")]
    Unfit(String),
    /// A running router was not asked, or refused.
    #[error(transparent)]
    Running(#[from] OperateError),
}

impl PluginError {
    /// The exit code that says so.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            PluginError::Host(_) => crate::cli::EXIT_INTERNAL,
            PluginError::Config(_) => ConfigError::EXIT_CODE,
            PluginError::Running(error) => error.exit_code(),
            _ => EXIT_PLUGIN,
        }
    }
}

/// What was done.
#[derive(Debug)]
pub struct Done {
    /// For standard output.
    pub text: String,
    /// What was found wrong after all; the text says more.
    pub failed: Option<PluginError>,
}

impl From<String> for Done {
    fn from(text: String) -> Self {
        Done { text, failed: None }
    }
}

impl Plugin {
    /// Does it. Progress goes to standard error; returned is what belongs on standard output.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn run(&self) -> Result<Done, PluginError> {
        match self {
            Plugin::New(arguments) => Ok(arguments.run()?.into()),
            Plugin::Build(arguments) => Ok(arguments.run()?.into()),
            Plugin::Wrap(arguments) => Ok(arguments.run()?.into()),
            Plugin::Wit(arguments) => Ok(arguments.run()?.into()),
            Plugin::Check(arguments) => arguments.run(),
            Plugin::Bench(arguments) => arguments.run(),
            Plugin::Run(arguments) => arguments.run(),
            Plugin::Running(running) => Ok(running.run()?.into()),
        }
    }
}

/// Reads the name of a kind.
fn kind() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(Kind::ALL.map(Kind::name))
        .try_map(|name| Kind::from_name(&name).ok_or("no such kind"))
}

/// A number with its thousands set apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_readable() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(18_312_123), "18,312,123");
    }
}

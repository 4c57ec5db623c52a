//! `rillway plugin`: what the author of a policy needs.

pub mod build;
pub mod component;
pub mod toolchain;

use clap::Subcommand;

/// Exit code where a plugin cannot be built or is not what it should be, `EX_DATAERR` of sysexits.h.
pub const EXIT_PLUGIN: u8 = 65;

/// What is to be done with a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Plugin {
    /// Build a plugin's crate as a component
    #[command(after_help = build::HELP)]
    Build(build::Arguments),
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// It could not be built.
    #[error(transparent)]
    Build(#[from] build::BuildError),
}

impl Plugin {
    /// Does it. Progress goes to standard error; returned is what belongs on standard output.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn run(&self) -> Result<String, PluginError> {
        match self {
            Plugin::Build(arguments) => Ok(arguments.run()?),
        }
    }
}

//! `rillway plugin wrap`: a module that brings its interfaces along becomes a component.

use std::path::PathBuf;

use clap::Args;

use super::PluginError;
use super::component::Component;

pub(super) const HELP: &str = "\
Example:
  rillway plugin wrap my-plugin.module.wasm --out my-plugin.wasm

The module is what a compiler such as clang makes with bindings of the
interfaces: `rillway plugin wit --bindings c` writes some. It may import nothing
but capabilities, so no WASI. Crates need no wrapping: `rillway plugin build`.";

/// Arguments of `rillway plugin wrap`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Arguments {
    /// The module
    #[arg(value_name = "MODULE")]
    module: PathBuf,
    /// Where to write the component
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Arguments {
    pub(super) fn run(&self) -> Result<String, PluginError> {
        let module = std::fs::read(&self.module)
            .map_err(|error| PluginError::File(self.module.clone(), error))?;
        let component = Component::encode(&module)
            .map_err(|error| PluginError::Component(self.module.clone(), error))?;
        std::fs::write(&self.out, &component.bytes)
            .map_err(|error| PluginError::File(self.out.clone(), error))?;
        Ok(component.summary(&self.out.display().to_string()))
    }
}

//! `rillway plugin wit`: the interfaces of policies as files, and bindings of them for C.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use wit_bindgen_core::Files;
use wit_parser::Resolve;

use super::PluginError;

pub(super) const HELP: &str = "\
Examples:
  rillway plugin wit wit/deps/rillway-policy
      the package `rillway:policy`, for a world of one's own in wit/world.wit
  rillway plugin wit generated --bindings c --from wit --world my-plugin
      C for that world: a header, a source, and an object with its types

A world of one's own includes only the imports that the plugin uses:

  package example:my-plugin;

  world my-plugin {
    import rillway:policy/log@0.2.0;
    export rillway:policy/lifecycle@0.2.0;
    export rillway:policy/authentication@0.2.0;
  }";

/// Languages there are bindings for. Others bring their own tools, which read the WIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    /// C, for clang and wasi-libc
    C,
}

/// Arguments of `rillway plugin wit`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Arguments {
    /// The folder to write into; made if it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Write bindings in place of the interfaces
    #[arg(long, value_name = "LANGUAGE", value_enum, requires_all = ["from", "world"])]
    bindings: Option<Language>,
    /// Folder of the world: its *.wit, and deps/ with a folder for each package it names
    #[arg(long, value_name = "DIR", requires = "bindings")]
    from: Option<PathBuf>,
    /// Name of the world
    #[arg(long, value_name = "NAME", requires = "bindings")]
    world: Option<String>,
}

impl Arguments {
    pub(super) fn run(&self) -> Result<String, PluginError> {
        let files = match (&self.bindings, &self.from, &self.world) {
            (Some(Language::C), Some(from), Some(world)) => bindings_for_c(from, world)?,
            _ => rillway_policy_wit::FILES
                .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
                .to_vec(),
        };
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| PluginError::File(path, error)
        };
        std::fs::create_dir_all(&self.folder).map_err(failed(&self.folder))?;
        let mut said = String::new();
        for (name, content) in files {
            let path = self.folder.join(name);
            std::fs::write(&path, content).map_err(failed(&path))?;
            said.push_str(&path.display().to_string());
            said.push('\n');
        }
        Ok(said)
    }
}

/// Name and content of each file.
fn bindings_for_c(from: &Path, world: &str) -> Result<Vec<(String, Vec<u8>)>, PluginError> {
    let failed = |error: anyhow::Error| PluginError::Wit(format!("{}: {error:#}", from.display()));
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(from).map_err(failed)?;
    let world = resolve
        .select_world(&[package], Some(world))
        .map_err(failed)?;
    let mut files = Files::default();
    wit_bindgen_c::Opts::default()
        .build()
        .generate(&mut resolve, world, &mut files)
        .map_err(failed)?;
    let files = files.iter();
    Ok(files
        .map(|(name, content)| (name.to_owned(), content.to_vec()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_world_of_the_package_has_bindings_for_c() {
        let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugin-sdk/wit");
        for kind in super::super::Kind::ALL {
            let world = format!("{kind}-plugin");
            let files = bindings_for_c(Path::new(wit), &world).expect("bindings");
            let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
            let stem = world.replace('-', "_");
            for expected in [
                format!("{stem}.h"),
                format!("{stem}.c"),
                format!("{stem}_component_type.o"),
            ] {
                assert!(names.contains(&expected.as_str()), "{expected}: {names:?}");
            }
        }
    }

    #[test]
    fn a_world_that_is_not_there_is_named() {
        let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugin-sdk/wit");
        let error = bindings_for_c(Path::new(wit), "nowhere").expect_err("there is none");
        assert!(error.to_string().contains("nowhere"), "{error}");
    }
}

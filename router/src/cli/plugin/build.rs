//! `rillway plugin build`: a plugin's crate becomes a component.
//!
//! The author's manifest says nothing about crate types, profiles or linkers: this does, so that every
//! plugin is small, and the same sources make the same bytes on whatever machine and in whatever folder.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde::Deserialize;

use super::component::{Component, ComponentError};
use super::toolchain::{TARGET, Toolchain, Way};

pub(super) const HELP: &str = "\
Examples:
  rillway plugin build                     the crate in this folder
  rillway plugin build my-plugin --out my-plugin.wasm

The compiler: `rustup target add wasm32-unknown-unknown`, or on Debian 12
`apt-get install rustc-web rust-web-src`. The first build compiles what the
SDK needs (a minute or two), later ones only what changed.";

/// What goes into every build beside sources and compiler, as environment of cargo: small code, no unwinding
/// (a component that panics traps), names of functions kept for the backtraces of traps.
pub const PROFILE: [(&str, &str); 9] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_STRIP", "debuginfo"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
    ("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "false"),
    ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "false"),
    ("CARGO_PROFILE_RELEASE_INCREMENTAL", "false"),
];

/// Settings of a desk or of an outer cargo that would change what comes out.
const UNWANTED: [&str; 6] = [
    "RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_INCREMENTAL",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_TARGET_DIR",
];

/// Arguments of `rillway plugin build`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Arguments {
    /// Folder of the plugin's Cargo.toml
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Where to write the component [default: NAME.wasm in the crate's target folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Which compiler
    #[arg(long, value_name = "WAY", value_enum, default_value_t)]
    toolchain: Way,
    /// Fail if Cargo.lock would have to change
    #[arg(long)]
    locked: bool,
}

/// Why a plugin was not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no compiler.
    #[error("{0}")]
    Toolchain(String),
    /// There is no crate.
    #[error("{folder} is no crate of a plugin: {why}", folder = .0.display(), why = .1)]
    NoCrate(PathBuf, String),
    /// Cargo cannot be started.
    #[error("cannot run cargo (it comes with Rust, https://rustup.rs): {0}")]
    Cargo(io::Error),
    /// Cargo has said why.
    #[error("{0} was not compiled: see the messages of the compiler above")]
    Compile(String),
    /// It compiles, and is not what a router could load.
    #[error("{0} compiles, but {1}")]
    Component(String, ComponentError),
    /// A file cannot be read or written.
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    File(PathBuf, io::Error),
}

/// A plugin's crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crate {
    /// Name of the package.
    pub name: String,
    folder: PathBuf,
    workspace: PathBuf,
    target: PathBuf,
}

/// The part of `cargo metadata` that is of interest.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    /// A registry or repository; a package from a folder has none.
    source: Option<String>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

impl Crate {
    /// The crate whose Cargo.toml is in `folder`.
    ///
    /// # Errors
    /// There is none, or it is no library.
    pub fn at(folder: &Path) -> Result<Self, BuildError> {
        let none = |why: &str| BuildError::NoCrate(folder.to_owned(), why.to_owned());
        let manifest = folder.join("Cargo.toml");
        let manifest = match manifest.canonicalize() {
            Ok(manifest) => manifest,
            Err(_) => return Err(none("it has no Cargo.toml")),
        };
        let output = cargo()
            .args([
                "metadata",
                "--format-version=1",
                "--no-deps",
                "--manifest-path",
            ])
            .arg(&manifest)
            .output()
            .map_err(BuildError::Cargo)?;
        if !output.status.success() {
            return Err(none(String::from_utf8_lossy(&output.stderr).trim()));
        }
        let metadata: Metadata = serde_json::from_slice(&output.stdout)
            .map_err(|error| none(&format!("`cargo metadata` answers strangely: {error}")))?;
        let mut packages = metadata.packages.into_iter();
        let package = packages
            .find(|package| package.manifest_path == manifest)
            .ok_or_else(|| none("its Cargo.toml has no [package]"))?;
        let library = |kind: &String| kind.ends_with("lib");
        if !package.targets.iter().any(|t| t.kind.iter().any(library)) {
            return Err(none("a plugin is a library, with a src/lib.rs"));
        }
        Ok(Crate {
            name: package.name,
            folder: manifest.parent().unwrap_or(folder).to_owned(),
            workspace: metadata.workspace_root,
            target: metadata.target_directory,
        })
    }

    /// Where its component goes unless told otherwise.
    fn default_out(&self) -> PathBuf {
        self.target.join(format!("{}.wasm", self.name))
    }

    /// Compiles it and makes a component of it. Cargo shows its progress on standard error. `target` is
    /// where it keeps what it compiled, for the next time.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(
        &self,
        toolchain: &Toolchain,
        target: &Path,
        locked: bool,
    ) -> Result<Component, BuildError> {
        let mut command = cargo();
        command
            .args(["rustc", "--release", "--lib", "--crate-type=cdylib"])
            .args(["--target", TARGET])
            .arg("--message-format=json-render-diagnostics")
            .arg("--manifest-path")
            .arg(self.folder.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(target)
            .args(locked.then_some("--locked"))
            .current_dir(&self.folder)
            .stderr(Stdio::inherit());
        for name in UNWANTED {
            command.env_remove(name);
        }
        toolchain.apply(&mut command);
        command.envs(PROFILE).env(
            "CARGO_ENCODED_RUSTFLAGS",
            self.flags(toolchain, target, locked),
        );
        let output = command.output().map_err(BuildError::Cargo)?;
        let module = module_of(&output.stdout).filter(|_| output.status.success());
        let module = module.ok_or_else(|| BuildError::Compile(self.name.clone()))?;
        let module = std::fs::read(&module).map_err(|error| BuildError::File(module, error))?;
        Component::encode(&module).map_err(|error| BuildError::Component(self.name.clone(), error))
    }

    /// Where the default target folder of plugins is, beside that of other builds: these have another
    /// compiler and another profile.
    #[must_use]
    pub fn target(&self) -> PathBuf {
        self.target.join("plugins")
    }

    /// Packages that come from folders outside of the workspace, such as a copy of the SDK. Where cargo
    /// cannot tell, the build itself says why.
    fn path_dependencies(&self, locked: bool) -> Vec<(String, PathBuf)> {
        let output = cargo()
            .args([
                "metadata",
                "--format-version=1",
                "--filter-platform",
                TARGET,
            ])
            .args(locked.then_some("--locked"))
            .arg("--manifest-path")
            .arg(self.folder.join("Cargo.toml"))
            .output();
        let metadata = output
            .ok()
            .and_then(|output| serde_json::from_slice::<Metadata>(&output.stdout).ok());
        let packages = metadata.into_iter().flat_map(|metadata| metadata.packages);
        packages
            .filter(|package| package.source.is_none())
            .filter(|package| !package.manifest_path.starts_with(&self.workspace))
            .filter_map(|package| Some((package.name, package.manifest_path.parent()?.to_owned())))
            .collect()
    }

    /// Flags of the compiler: no path of this machine gets into the component.
    fn flags(&self, toolchain: &Toolchain, target: &Path, locked: bool) -> String {
        let mut flags = Vec::new();
        let mut remap = |from: &Path, to: &str| {
            flags.push(format!("--remap-path-prefix={}={to}", from.display()));
        };
        // The last one that fits counts, and the target folder mostly is in the workspace.
        for (name, folder) in self.path_dependencies(locked) {
            remap(&folder, &name);
        }
        remap(&self.workspace, ".");
        remap(target, "target");
        for sources in toolchain.library_sources() {
            remap(&sources, "rust");
        }
        if let Some(home) = cargo_home() {
            // A folder for each registry, named after the host it was fetched from.
            let registries = std::fs::read_dir(home.join("registry/src"));
            for registry in registries.into_iter().flatten().flatten() {
                remap(&registry.path(), "crates");
            }
            remap(&home.join("git/checkouts"), "git");
        }
        flags.join("\x1f")
    }
}

impl Arguments {
    /// Builds and returns a summary.
    pub(super) fn run(&self) -> Result<String, BuildError> {
        let plugin = Crate::at(&self.folder)?;
        let toolchain =
            Toolchain::find(self.toolchain, &plugin.folder).map_err(BuildError::Toolchain)?;
        let component = plugin.build(&toolchain, &plugin.target(), self.locked)?;
        let out = self.out.clone().unwrap_or_else(|| plugin.default_out());
        std::fs::write(&out, &component.bytes)
            .map_err(|error| BuildError::File(out.clone(), error))?;
        let name = format!("{}: {}", plugin.name, out.display());
        let compiler = toolchain.version();
        Ok(format!(
            "{}  compiler  {compiler}\n",
            component.summary(&name)
        ))
    }
}

/// The cargo that runs us, or that of PATH.
pub(super) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn cargo_home() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| Some(std::env::home_dir()?.join(".cargo")))
}

/// The module among cargo's messages; the last artefact is the crate that was asked for.
fn module_of(messages: &[u8]) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        #[serde(default)]
        filenames: Vec<PathBuf>,
    }
    let messages = messages.split(|byte| *byte == b'\n').rev();
    let mut files = messages
        .filter_map(|line| serde_json::from_slice::<Message>(line).ok())
        .flat_map(|message| message.filenames);
    files.find(|file| file.extension().is_some_and(|e| e == "wasm"))
}

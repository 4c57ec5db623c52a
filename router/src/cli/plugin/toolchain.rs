//! Which compiler makes WebAssembly on this machine.
//!
//! Two ways: a toolchain with a standard library for the target (`rustup target add`), or Debian's compiler
//! with its library's sources, from which cargo builds one. Nothing else fits, as sources have to match the
//! compiler to the commit.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;

/// What components are compiled for. Not a WASI target: those import its interfaces whether or not a plugin
/// uses them, and a policy imports nothing but capabilities.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Where Debian's `rustc` and `rustc-web` put the compiler, and `rust-src` and `rust-web-src` its library.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SYSROOT: &str = "/usr";
const LIBRARY: &str = "lib/rustlib/src/rust";

/// How to look for a toolchain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Way {
    /// The target of the toolchain in use if it is there, else Debian's packages
    #[default]
    Auto,
    /// `rustc` as it is, with a library for the target: `rustup target add wasm32-unknown-unknown`
    Target,
    /// Debian's compiler and the sources of its library
    Debian,
}

/// A compiler that can make components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    rustc: OsString,
    /// For a compiler that has sources instead of a library: where they are, and who links.
    from_source: Option<FromSource>,
    version: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct FromSource {
    sysroot: PathBuf,
    linker: PathBuf,
}

impl Toolchain {
    /// Looks for one. `folder` is where the plugin is: rustup may have a toolchain of its own for it.
    ///
    /// # Errors
    /// What is missing and both ways to mend it, for people.
    pub fn find(way: Way, folder: &Path) -> Result<Self, String> {
        let target = match way {
            Way::Auto | Way::Target => Self::with_target(folder),
            Way::Debian => Err("not looked for".to_owned()),
        };
        let target = match target {
            Ok(toolchain) => return Ok(toolchain),
            Err(why) => why,
        };
        let debian = match way {
            Way::Auto | Way::Debian => Self::of_debian(folder),
            Way::Target => Err("not looked for".to_owned()),
        };
        debian.map_err(|debian| {
            format!(
                "no toolchain makes WebAssembly here. Either of these mends it:\n  \
                 - with rustup: `rustup target add {TARGET}` ({target})\n  \
                 - on Debian 12: `apt-get install rustc-web rust-web-src`, later `rustc rust-src` ({debian})"
            )
        })
    }

    fn with_target(folder: &Path) -> Result<Self, String> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let libraries = ask(
            &rustc,
            &["--print", "target-libdir", "--target", TARGET],
            folder,
        )
        .ok_or("there is no `rustc` in PATH")?;
        if !has_std(Path::new(&libraries)) {
            return Err(format!("`rustc` has no library in {libraries}"));
        }
        Ok(Toolchain {
            version: version(&rustc, folder).ok_or("`rustc -vV` does not answer")?,
            rustc,
            from_source: None,
        })
    }

    fn of_debian(folder: &Path) -> Result<Self, String> {
        let rustc = OsString::from(DEBIAN_RUSTC);
        let sysroot = ask(&rustc, &["--print", "sysroot"], folder)
            .ok_or_else(|| format!("there is no {DEBIAN_RUSTC}"))?;
        let sysroot = PathBuf::from(sysroot);
        let library = sysroot.join(LIBRARY).join("library/std/Cargo.toml");
        if sysroot != Path::new(DEBIAN_SYSROOT) || !library.is_file() {
            return Err(format!("there is no {}", library.display()));
        }
        let linker = linker(folder)
            .ok_or("there is no `rust-lld` (part of every toolchain of rustup) and no `wasm-ld` (Debian's lld)")?;
        let version = version(&rustc, folder).ok_or("`rustc -vV` does not answer")?;
        let linker_version = ask(
            linker.as_os_str(),
            &["-flavor", "wasm", "--version"],
            folder,
        )
        .ok_or_else(|| format!("{} does not run", linker.display()))?;
        Ok(Toolchain {
            version: format!("{version}, library from source, {linker_version}"),
            rustc,
            from_source: Some(FromSource { sysroot, linker }),
        })
    }

    /// Everything whose version shows in what it makes: compiler, cargo, linker. Two builds of the same
    /// sources by equal versions are equal.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Makes `cargo` use it.
    pub(super) fn apply(&self, cargo: &mut Command) {
        cargo.env("RUSTC", &self.rustc);
        if let Some(from_source) = &self.from_source {
            cargo
                .arg("-Zbuild-std=std,panic_abort")
                // A release's compiler allows building its own library only with this.
                .env("RUSTC_BOOTSTRAP", "1")
                .env(
                    "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER",
                    &from_source.linker,
                );
        }
    }

    /// Where the library is compiled from, if it is: the folder, and what it links to.
    pub(super) fn library_sources(&self) -> Vec<PathBuf> {
        let Some(from_source) = &self.from_source else {
            return Vec::new();
        };
        let link = from_source.sysroot.join(LIBRARY);
        let real = link.canonicalize();
        std::iter::once(link).chain(real.ok()).collect()
    }
}

/// First line of what a program answers.
fn ask(program: &OsStr, arguments: &[&str], folder: &Path) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .ok()?;
    let answer = String::from_utf8(output.stdout).ok()?;
    let line = answer.lines().next()?.trim().to_owned();
    output.status.success().then_some(line)
}

fn version(rustc: &OsStr, folder: &Path) -> Option<String> {
    let output = Command::new(rustc)
        .arg("-vV")
        .current_dir(folder)
        .output()
        .ok()?;
    let answer = String::from_utf8(output.stdout).ok()?;
    let field = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name));
    // Cargo's version is in the names of symbols, by which the linker sorts.
    let cargo = ask(super::build::cargo().get_program(), &["--version"], folder)?;
    Some(format!(
        "{}, LLVM {}, {}, {cargo}",
        answer.lines().next()?,
        field("LLVM version: ")?,
        field("host: ")?,
    ))
}

fn has_std(libraries: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(libraries) else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

/// A linker for WebAssembly: rustup's, which is not in PATH, or LLVM's.
fn linker(folder: &Path) -> Option<PathBuf> {
    let of_rustup = || {
        let rustc = OsString::from("rustc");
        let sysroot = PathBuf::from(ask(&rustc, &["--print", "sysroot"], folder)?);
        let host = ask(&rustc, &["--print", "host-tuple"], folder)?;
        let linker = sysroot.join("lib/rustlib").join(host).join("bin/rust-lld");
        linker.is_file().then_some(linker)
    };
    of_rustup().or_else(|| {
        let path = std::env::var_os("PATH")?;
        let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        // Debian's versioned packages keep theirs out of PATH under the plain name.
        folders.extend(
            (14..40)
                .rev()
                .map(|v| format!("/usr/lib/llvm-{v}/bin").into()),
        );
        let names = ["rust-lld", "wasm-ld"];
        let mut all = names
            .iter()
            .flat_map(|name| folders.iter().map(move |f| f.join(name)));
        all.find(|file| file.is_file())
    })
}

//! Policies that nobody would write: modules of `wasm-smith`, wrapped as components of a kind.
//!
//! They validate, and that is all that can be said of them: they loop, trap, recurse, grow what can grow, and
//! return pointers to anywhere. The tests of the plugin host and the load test of the router load them beside
//! policies that behave well. The first of these include this file as it is, so that it knows nothing else of
//! this crate.
//!
//! The generator is a program of its own, `tests/smith`, which is compiled when it is needed.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use rillway_policy::Kind;
use rillway_policy::testing::Assembly;

/// Environment variable with the only seed to run.
pub const SEED: &str = "RILLWAY_SEED";

/// The seed that the environment names.
///
/// # Panics
/// It is no number.
#[must_use]
pub fn seed_of_environment() -> Option<u64> {
    let seed = std::env::var(SEED).ok()?;
    match seed.parse() {
        Ok(seed) => Some(seed),
        Err(error) => panic!("{SEED}={seed}: {error}"),
    }
}

/// A folder that goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder for modules");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left there is in nobody's way.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Of the generator. This file is compiled in more than one package; all lie in the repository.
fn manifest() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("tests/smith/Cargo.toml"))
        .find(|path| path.is_file())
        .expect("tests/smith/Cargo.toml lies in the repository")
}

/// Where cargo puts the generator: in the target folder of this test, which is at TARGET/PROFILE/deps/NAME.
fn target() -> PathBuf {
    let this = std::env::current_exe().expect("the path of this test");
    let target = this.ancestors().nth(3).expect("it is in a target folder");
    target.join("smith")
}

/// Has the generator write SEED.wasm for each seed to `folder`.
fn generate(folder: &Path, templates: &[PathBuf], seeds: &Range<u64>) {
    let manifest = manifest();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command.args(["run", "--quiet", "--release", "--manifest-path"]);
    command.arg(&manifest).arg("--target-dir").arg(target());
    // As in `tests/run`: in CI a lock file that does not match is an error.
    if std::env::var_os("CI").is_some_and(|ci| !ci.is_empty()) {
        command.arg("--locked");
    }
    command.arg("--").arg(folder);
    command.arg(seeds.start.to_string());
    command.arg(seeds.end.saturating_sub(seeds.start).to_string());
    command.args(templates);
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => panic!(
            "modules are made by tests/smith, which cargo compiles, and {} does not run: {error}",
            cargo.display()
        ),
    };
    assert!(
        output.status.success(),
        "modules are made by tests/smith, and `cargo run --release --manifest-path {}` fails with {}; if it lacks \
         crates, `cargo fetch --manifest-path {0}` gets them:\n{}",
        manifest.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The components that seeds make, always the same ones, with their seed. The kind of each is that of `kinds`
/// whose place is the seed modulo their number.
///
/// # Panics
/// The generator cannot be compiled or fails, or the module of a seed cannot be wrapped.
pub fn components(kinds: &[Kind], seeds: Range<u64>) -> impl Iterator<Item = (u64, Kind, Vec<u8>)> {
    let assemblies: Vec<(Kind, Assembly)> = kinds
        .iter()
        .map(|&kind| (kind, Assembly::new(kind, "unreachable")))
        .collect();
    let folder = Folder::new("rillway-smith");
    let templates: Vec<PathBuf> = (0..assemblies.len())
        .map(|place| folder.0.join(format!("template-{place}.wasm")))
        .collect();
    for ((_, assembly), path) in assemblies.iter().zip(&templates) {
        std::fs::write(path, assembly.module()).expect("a template is written");
    }
    generate(&folder.0, &templates, &seeds);
    seeds.map(move |seed| {
        let place = seed % u64::try_from(assemblies.len()).expect("few");
        let (kind, assembly) = &assemblies[usize::try_from(place).expect("few")];
        let path = folder.0.join(format!("{seed}.wasm"));
        let module = match std::fs::read(&path) {
            Ok(module) => module,
            Err(error) => panic!("tests/smith did not write {}: {error}", path.display()),
        };
        match assembly.wrap(&module) {
            Ok(component) => (seed, *kind, component),
            Err(why) => panic!("the module of seed {seed} makes no component: {why}"),
        }
    })
}

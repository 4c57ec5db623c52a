//! `rillway plugin new`: a folder that is a whole plugin, with the SDK of this version beside it, so that it
//! builds wherever it is copied to.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use rust_embed::RustEmbed;
use toml::{Table, Value};

use super::{Kind, kind};

pub(super) const HELP: &str = "\
Examples:
  rillway plugin new authentication members
  rillway plugin new signaling my-protocol --dir plugins/my-protocol

The folder holds everything: the policy with its tests (src/lib.rs), the SDK it
is written against (sdk/), a configuration of the router that loads it
(rillway.toml), and a README with the commands.";

/// The SDK's sources and templates, as they were when this program was built.
#[derive(RustEmbed)]
#[folder = "../plugin-sdk"]
struct Sdk;

/// Versions of the SDK's dependencies are the workspace's.
const WORKSPACE: &str = include_str!("../../../../Cargo.toml");

/// Arguments of `rillway plugin new`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Arguments {
    /// What the policy decides
    #[arg(value_name = "KIND", value_parser = kind())]
    kind: Kind,
    /// Its name: 1 to 64 of a-z, 0-9 and `-`, beginning with a letter
    #[arg(value_name = "NAME", value_parser = name)]
    name: String,
    /// The folder to make [default: NAME]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// Why there is no new plugin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NewError {
    /// The folder exists.
    #[error("`{}` is there already: name another folder with `--dir`, or remove it", .0.display())]
    Exists(PathBuf),
    /// A file could not be written.
    #[error("cannot write `{path}`: {source}", path = path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn name(text: &str) -> Result<String, &'static str> {
    let fits = text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    match text {
        "none" => Err("in a configuration this means that there is no policy"),
        _ if fits => Ok(text.to_owned()),
        _ => Err("1 to 64 of a-z, 0-9 and `-`, beginning with a letter"),
    }
}

impl Arguments {
    /// Makes the folder; returns what to say about it. A folder that was there is left alone.
    pub(super) fn run(&self) -> Result<String, NewError> {
        let Arguments { kind, name, dir } = self;
        let folder = dir.clone().unwrap_or_else(|| PathBuf::from(name));
        if folder.exists() {
            return Err(NewError::Exists(folder));
        }
        for (path, content) in files(*kind, name) {
            write(&folder.join(path), &content)?;
        }
        let shown = folder.display();
        Ok(format!(
            "{shown}: src/lib.rs says what it decides, sdk/ is what it is written against.\n\n  \
             cd {shown}\n  \
             cargo test                                   its own tests, without a router\n  \
             rillway plugin build --out {name}.wasm\n  \
             rillway plugin check {name}.wasm --config rillway.toml\n  \
             rillway plugin bench {name}.wasm --config rillway.toml\n  \
             rillway dev --config rillway.toml\n"
        ))
    }
}

fn write(path: &Path, content: &[u8]) -> Result<(), NewError> {
    let failed = |source| NewError::Write {
        path: path.to_owned(),
        source,
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    fs::write(path, content).map_err(failed)
}

/// Every file of a new plugin.
fn files(kind: Kind, name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = vec![
        (
            PathBuf::from("Cargo.toml"),
            manifest(kind, name).into_bytes(),
        ),
        (PathBuf::from(".gitignore"), b"target/\n*.wasm\n".to_vec()),
    ];
    let template = format!("template/{}", kind.name());
    for (from, to) in [
        (format!("{template}.rs"), "src/lib.rs"),
        (format!("{template}.toml"), "rillway.toml"),
        ("template/README.md".to_owned(), "README.md"),
    ] {
        if let Some(file) = Sdk::get(&from) {
            let text = String::from_utf8_lossy(&file.data).replace("NAME", name);
            files.push((PathBuf::from(to), text.into_bytes()));
        }
    }
    let sdk = |path: &str| match path.split_once('/') {
        Some(("src", _)) => path.ends_with(".rs"),
        Some(("wit", file)) => file.ends_with(".wit") && !file.contains('/'),
        _ => false,
    };
    for path in Sdk::iter().filter(|path| sdk(path)) {
        if let Some(file) = Sdk::get(&path) {
            let to = Path::new("sdk").join(path.as_ref());
            files.push((to, file.data.into_owned()));
        }
    }
    let manifest = sdk_manifest().into_bytes();
    files.push((PathBuf::from("sdk/Cargo.toml"), manifest));
    files
}

fn manifest(kind: Kind, name: &str) -> String {
    // What its template uses.
    let serde = match kind {
        Kind::Authentication | Kind::LayerSelection => {
            "serde = { version = \"1\", features = [\"derive\"] }\n"
        }
        Kind::Signaling => "serde_json = \"1\"\n",
        Kind::Recording => "",
    };
    format!(
        "[package]\n\
         name = \"{name}\"\n\
         version = \"0.1.0\"\n\
         edition = \"2024\"\n\
         publish = false\n\
         \n\
         [dependencies]\n\
         rillway-plugin-sdk = {{ path = \"sdk\" }}\n\
         {serde}\n\
         # It is built alone, wherever it lies.\n\
         [workspace]\n"
    )
}

/// The SDK's manifest with everything it inherits from the workspace written out.
fn sdk_manifest() -> String {
    let workspace: Table = WORKSPACE.parse().unwrap_or_default();
    let inherited = &workspace
        .get("workspace")
        .cloned()
        .unwrap_or(Value::Table(Table::new()));
    let text = Sdk::get("Cargo.toml").map_or(String::new(), |file| {
        String::from_utf8_lossy(&file.data).into_owned()
    });
    let mut manifest: Table = text.parse().unwrap_or_default();
    // Lints and tests are this workspace's business.
    for key in ["lints", "dev-dependencies"] {
        manifest.remove(key);
    }
    if let Some(Value::Table(package)) = manifest.get_mut("package") {
        resolve(package, inherited.get("package"));
    }
    let mut tables: Vec<&mut Table> = Vec::new();
    for (key, value) in &mut manifest {
        match (key.as_str(), value) {
            ("dependencies", Value::Table(table)) => tables.push(table),
            ("target", Value::Table(targets)) => {
                let of_target = targets.iter_mut().filter_map(|(_, target)| {
                    target.get_mut("dependencies").and_then(Value::as_table_mut)
                });
                tables.extend(of_target);
            }
            _ => {}
        }
    }
    for table in tables {
        resolve(table, inherited.get("dependencies"));
    }
    manifest.to_string()
}

/// Replaces each `KEY.workspace = true` by what the workspace says of it.
fn resolve(table: &mut Table, workspace: Option<&Value>) {
    for (key, value) in table {
        let Value::Table(own) = value else {
            continue;
        };
        if own.remove("workspace").is_none() {
            continue;
        }
        let Some(shared) = workspace.and_then(|w| w.get(key)) else {
            continue;
        };
        let mut merged = match shared {
            Value::Table(table) => table.clone(),
            Value::String(version) if !own.is_empty() => {
                let version = Value::String(version.clone());
                Table::from_iter([("version".to_owned(), version)])
            }
            other => {
                *value = other.clone();
                continue;
            }
        };
        merged.extend(std::mem::take(own));
        *value = Value::Table(merged);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_template_and_its_name_in_it() {
        for kind in Kind::ALL {
            let files = files(kind, "my-policy");
            let text = |path: &str| {
                let file = files.iter().find(|(name, _)| name == Path::new(path));
                let (_, text) = file.unwrap_or_else(|| panic!("{kind}: no {path}"));
                String::from_utf8_lossy(text).into_owned()
            };
            assert!(text("src/lib.rs").contains("sdk::export!(Policy: "));
            assert!(text("README.md").contains("# my-policy\n"));
            assert!(text("Cargo.toml").contains("name = \"my-policy\"\n"));
            assert!(text("sdk/wit/worlds.wit").contains("world "));
            // Copies of released versions, and the crate that carries them, stay here.
            let wit = files
                .iter()
                .filter_map(|(name, _)| name.strip_prefix("sdk/wit").ok());
            assert!(wit.clone().all(|name| name.components().count() == 1));
            assert_eq!(wit.count(), rillway_policy_wit::FILES.len());
            let toml: Table = text("rillway.toml").parse().expect("TOML");
            assert_eq!(
                toml["plugins"]["my-policy"]["component"].as_str(),
                Some("my-policy.wasm")
            );
        }
    }

    #[test]
    fn the_sdks_manifest_stands_alone() {
        let manifest: Table = sdk_manifest().parse().expect("TOML");
        assert!(!sdk_manifest().contains("workspace"), "{}", sdk_manifest());
        assert_eq!(manifest["package"]["edition"].as_str(), Some("2024"));
    }

    #[test]
    fn a_folder_that_is_there_is_left_alone() {
        let folder = std::env::temp_dir().join(format!("rillway-new-{}", std::process::id()));
        let arguments = Arguments {
            kind: Kind::Authentication,
            name: "my-auth".to_owned(),
            dir: Some(folder.clone()),
        };
        let said = arguments.run().expect("it is new");
        assert!(said.contains("rillway plugin build"));
        assert!(matches!(arguments.run(), Err(NewError::Exists(_))));
        fs::remove_dir_all(folder).expect("it is ours");
    }

    #[test]
    fn names_are_what_tables_and_metrics_may_be_called() {
        assert!(name("my-auth-2").is_ok());
        for bad in [
            "",
            "none",
            "My",
            "2fast",
            "a_b",
            "a b",
            "-a",
            &"a".repeat(65),
        ] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}

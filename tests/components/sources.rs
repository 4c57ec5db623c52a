//! What a component is made from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rillway::cli::plugin::build::PROFILE;
use rillway::cli::plugin::component::hex;
use sha2::{Digest, Sha256};
use toml::{Table, Value};

use crate::root;

/// Names of the plugins that are shipped: every folder of `plugins/` with a crate but the components' own.
pub(crate) fn plugins() -> Vec<String> {
    let entries = std::fs::read_dir(root().join("plugins")).expect("plugins/");
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != "components")
        .collect();
    names.sort();
    names
}

/// Hash of everything that decides what a plugin's component is, but the compiler.
pub(crate) fn hash(plugin: &str) -> String {
    let mut hasher = Sha256::new();
    let mut add = |name: &str, bytes: &[u8]| {
        hasher.update(format!("{name}\n{}\n", bytes.len()));
        hasher.update(bytes);
    };
    let workspace = table("Cargo.toml");
    add(
        "package",
        workspace["workspace"]["package"].to_string().as_bytes(),
    );
    add("profile", format!("{PROFILE:?}").as_bytes());
    let mut files = BTreeMap::new();
    // What only native builds compile is left out, and the crate that carries the WIT.
    collect(
        "plugin-sdk",
        &[
            "src/testing",
            "src/json.rs",
            "template",
            "wit/src",
            "wit/Cargo.toml",
            "wit/released",
        ],
        &mut files,
    );
    collect(&format!("plugins/{plugin}"), &["tests"], &mut files);
    for (name, bytes) in files {
        add(&name, &bytes);
    }
    let (packages, shared) = dependencies(plugin, &workspace);
    for package in packages {
        add("dependency", package.as_bytes());
    }
    for (name, how) in shared {
        add(&name, how.as_bytes());
    }
    hex(&hasher.finalize())
}

fn table(file: &str) -> Table {
    let text = std::fs::read_to_string(root().join(file)).expect(file);
    text.parse().expect(file)
}

/// Files beneath a folder, by their path from the root.
fn collect(folder: &str, without: &[&str], files: &mut BTreeMap<String, Vec<u8>>) {
    fn walk(path: &Path, name: &str, without: &[String], files: &mut BTreeMap<String, Vec<u8>>) {
        if without.iter().any(|left_out| left_out == name) {
            return;
        }
        if path.is_file() {
            files.insert(name.to_owned(), std::fs::read(path).expect(name));
            return;
        }
        for entry in std::fs::read_dir(path).expect(name).flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            // Build output and what editors leave behind.
            if !file.starts_with('.') && file != "target" {
                walk(&entry.path(), &format!("{name}/{file}"), without, files);
            }
        }
    }
    let without: Vec<String> = without.iter().map(|w| format!("{folder}/{w}")).collect();
    walk(&root().join(folder), folder, &without, files);
}

/// What a plugin and the SDK stand on: packages with version and checksum as Cargo.lock has them, and how
/// the workspace asks for those that they name. Packages of other targets and features may be among them:
/// a hash that changes too often costs a build, one that does not change enough a stale component.
fn dependencies(plugin: &str, workspace: &Table) -> (BTreeSet<String>, BTreeMap<String, String>) {
    let lock = table("Cargo.lock");
    let lock = lock["package"].as_array().expect("Cargo.lock has packages");
    let mut shared = BTreeMap::new();
    let mut todo = Vec::new();
    for folder in ["plugin-sdk".to_owned(), format!("plugins/{plugin}")] {
        for name in normal_dependencies(&table(&format!("{folder}/Cargo.toml"))) {
            let how = workspace["workspace"]["dependencies"].get(&name);
            shared.insert(
                name.clone(),
                how.map(ToString::to_string).unwrap_or_default(),
            );
            if name != "rillway-plugin-sdk" {
                todo.push(name);
            }
        }
    }
    let mut found = BTreeSet::new();
    while let Some(wanted) = todo.pop() {
        // `name`, or `name version` where there are several.
        let (name, version) = match wanted.split_once(' ') {
            Some((name, version)) => (name, Some(version)),
            None => (wanted.as_str(), None),
        };
        let packages = lock.iter().filter(|package| {
            package["name"].as_str() == Some(name)
                && version.is_none_or(|v| package["version"].as_str() == Some(v))
        });
        for package in packages {
            let field = |key| package.get(key).and_then(Value::as_str).unwrap_or("-");
            let line = format!("{name} {} {}", field("version"), field("checksum"));
            if found.insert(line) {
                let next = package.get("dependencies").and_then(Value::as_array);
                let next = next.into_iter().flatten().filter_map(Value::as_str);
                todo.extend(next.map(str::to_owned));
            }
        }
    }
    assert!(found.len() > 5, "only {found:?} were found");
    (found, shared)
}

/// Names in `[dependencies]` and `[build-dependencies]`, for every target but native ones.
fn normal_dependencies(manifest: &Table) -> Vec<String> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets.into_iter().flatten();
    let targets = targets.filter(|(cfg, _)| !cfg.contains("not("));
    let tables = targets.filter_map(|(_, target)| target.as_table());
    std::iter::once(manifest)
        .chain(tables)
        .flat_map(|table| ["dependencies", "build-dependencies"].map(|key| table.get(key)))
        .flatten()
        .filter_map(Value::as_table)
        .flat_map(|table| table.keys().cloned())
        .collect()
}

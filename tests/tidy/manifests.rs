//! Which crate may know which. `deny.toml` holds the same arrows for cargo-deny; this runs everywhere,
//! and covers what too many foreign crates use for a rule there (libc, tokio).

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::repository::{assert_none, files};

/// Package name → its manifest.
fn packages() -> BTreeMap<String, Table> {
    let manifests = files().into_iter().filter(|file| {
        file.path.ends_with("/Cargo.toml")
            && !["tests/fuzz/", "tests/schema/", "tests/smith/"]
                .iter()
                .any(|own| file.path.starts_with(own))
    });
    let packages: BTreeMap<String, Table> = manifests
        .map(|file| {
            let manifest: Table = file.text.parse().expect("a manifest is TOML");
            let name = manifest["package"]["name"]
                .as_str()
                .expect("a name")
                .to_owned();
            (name, manifest)
        })
        .collect();
    assert!(
        packages.len() >= 7,
        "only {} packages were found",
        packages.len()
    );
    packages
}

/// Names in the given tables of a manifest, for any target.
fn dependencies(manifest: &Table, tables: &[&str]) -> Vec<String> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets
        .into_iter()
        .flat_map(|t| t.values().filter_map(Value::as_table));
    let all = std::iter::once(manifest).chain(targets);
    all.flat_map(|m| {
        tables
            .iter()
            .filter_map(|t| m.get(*t).and_then(Value::as_table))
    })
    .flat_map(|table| table.keys().cloned())
    .collect()
}

/// Complaints about dependencies of `package` that are not in `allowed`.
fn beyond(package: &str, tables: &[&str], allowed: &[&str]) -> Vec<String> {
    let packages = packages();
    let manifest = packages.get(package).expect("the package exists");
    dependencies(manifest, tables)
        .into_iter()
        .filter(|name| !allowed.contains(&name.as_str()))
        .map(|name| format!("{package} -> {name}"))
        .collect()
}

/// Complaints about any package but `allowed` that depends on `dependency`.
fn only(dependency: &str, allowed: &[&str]) -> Vec<String> {
    let tables = ["dependencies", "build-dependencies", "dev-dependencies"];
    packages()
        .iter()
        // A crate may turn on a feature of its own for its tests.
        .filter(|(package, _)| *package != dependency && !allowed.contains(&package.as_str()))
        .filter(|(_, manifest)| {
            dependencies(manifest, &tables)
                .iter()
                .any(|name| name == dependency)
        })
        .map(|(package, _)| format!("{package} -> {dependency}"))
        .collect()
}

const NORMAL: [&str; 2] = ["dependencies", "build-dependencies"];

#[test]
fn the_core_stands_on_media_and_pure_data_only() {
    let allowed = [
        "str0m",
        "str0m-proto",
        "str0m-aws-lc-rs",
        "dimpl",
        "aws-lc-rs",
        "crc32fast",
        "hashbrown",
        "foldhash",
        "slotmap",
        "rand_chacha",
        "thiserror",
        "tracing",
    ];
    let found = beyond("rillway-core", &NORMAL, &allowed);
    assert_none(
        "the core has no clock, socket, thread or runtime to depend on",
        &found,
    );
}

#[test]
fn plugins_stand_on_the_sdk_and_pure_data_only() {
    let allowed = [
        "rillway-plugin-sdk",
        "serde",
        "serde_json",
        "serde_path_to_error",
        "base64",
        "percent-encoding",
        "thiserror",
    ];
    let plugins: Vec<String> = files()
        .into_iter()
        .filter_map(|file| {
            let folder = file.path.strip_prefix("plugins/")?;
            folder.strip_suffix("/Cargo.toml")?;
            let manifest: Table = file.text.parse().expect("a manifest is TOML");
            manifest["package"]["name"].as_str().map(str::to_owned)
        })
        .filter(|name| name != "rillway-components")
        .collect();
    assert!(plugins.len() >= 2, "only {plugins:?} were found");
    let found: Vec<String> = plugins
        .iter()
        .flat_map(|plugin| beyond(plugin, &NORMAL, &allowed))
        .collect();
    assert_none(
        "a plugin is a pure state machine that becomes a component",
        &found,
    );
}

#[test]
fn arrows_point_one_way() {
    let top = ["rillway", "rillway-tests", "rillway-benches"];
    let mut found = Vec::new();
    let lower = [
        "rillway-core",
        "rillway-ring",
        "rillway-policy",
        "rillway-recorder",
        "rillway-turn",
        "rillway-load",
    ];
    for lower in lower {
        found.extend(only(lower, &top));
    }
    found.extend(only("wasmtime", &["rillway-policy"]));
    found.extend(only("rillway", &["rillway-tests", "rillway-benches"]));
    assert_none("see the picture in docs/architecture.md", &found);
}

#[test]
fn the_system_is_called_from_the_ring_only() {
    let mut found = only("libc", &["rillway-ring", "rillway-tests"]);
    found.extend(only("io-uring", &["rillway-ring"]));
    found.extend(only("nix", &[]));
    assert_none("system calls live in router/ring", &found);
}

#[test]
fn unsafe_code_is_forbidden_but_in_the_ring() {
    let mut found = Vec::new();
    let mut roots = 0;
    for file in files() {
        let is_root = file.path.ends_with("src/lib.rs") || file.path.ends_with("src/main.rs");
        if !is_root || file.path.starts_with("router/ring/") {
            continue;
        }
        roots += 1;
        if !file.text.contains("#![forbid(unsafe_code)]") {
            found.push(format!("{}: lacks `#![forbid(unsafe_code)]`", file.path));
        }
    }
    assert!(roots >= 5, "only {roots} crate roots were found");
    assert_none("unsafe code lives in router/ring", &found);
}

#[test]
fn every_package_shares_the_workspaces_lints_and_licence() {
    let mut found = Vec::new();
    for (name, manifest) in packages() {
        let inherits = |keys: [&str; 2]| {
            let value = manifest.get(keys[0]).and_then(|t| t.get(keys[1]));
            value == Some(&Value::Boolean(true))
                || value.and_then(|v| v.get("workspace")) == Some(&Value::Boolean(true))
        };
        if !inherits(["lints", "workspace"]) || !inherits(["package", "license"]) {
            found.push(format!(
                "{name}: `lints.workspace` or `license.workspace` is missing"
            ));
        }
        if manifest["package"].get("description").is_none() {
            found.push(format!("{name}: no description"));
        }
    }
    assert_none("manifests", &found);
}

/// Without its name there a package's tests run without the checks of a debug build, and nobody notices.
#[test]
fn tests_are_compiled_with_checks() {
    let profile = files().into_iter().find(|f| f.path == "tests/profile.toml");
    let profile: Table = profile.expect("there").text.parse().expect("TOML");
    let ours = profile["profile"]["release"]["package"].as_table();
    let ours = ours.expect("a table of packages");
    let mut found = Vec::new();
    for name in packages().keys() {
        let checks = ours.get(name).and_then(|p| p.get("debug-assertions"));
        if checks != Some(&Value::Boolean(true)) {
            found.push(format!("{name}: not in tests/profile.toml"));
        }
    }
    assert_none("checks in tests", &found);
}

//! The components that are checked in are those of their sources.

mod manifest;
mod outside;
mod rebuild;
mod sources;

use std::path::{Path, PathBuf};

use rillway::cli::plugin::component::Component;
use rillway_components::COMPONENTS;

use manifest::Manifest;

/// The repository's root.
fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests/ is in the root").to_owned()
}

const MEND: &str = "run plugins/components/refresh and commit what it wrote";

#[test]
fn every_plugin_is_embedded() {
    let embedded: Vec<&str> = COMPONENTS.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        embedded,
        sources::plugins(),
        "the list in plugins/components/src/lib.rs and the folders of plugins/"
    );
    let described: Vec<String> = Manifest::read().components.into_keys().collect();
    assert_eq!(
        described, embedded,
        "plugins/components/manifest.toml: {MEND}"
    );
}

#[test]
fn no_source_has_changed_since_its_component_was_built() {
    let manifest = Manifest::read();
    let stale: Vec<&str> = manifest
        .components
        .iter()
        .filter(|(name, entry)| entry.sources != sources::hash(name))
        .map(|(name, _)| name.as_str())
        .collect();
    assert!(
        stale.is_empty(),
        "the sources of {stale:?} have changed: {MEND}"
    );
}

#[test]
fn the_manifest_describes_the_components() {
    let manifest = Manifest::read();
    for (name, bytes) in COMPONENTS {
        let component = Component::read(bytes.to_vec()).expect(name);
        let recorded = &manifest.components[*name];
        assert_eq!(recorded.sha256, component.sha256(), "{name}: {MEND}");
        assert_eq!(recorded.bytes, bytes.len(), "{name}: {MEND}");
        assert_eq!(recorded.exports, component.kinds, "{name}: {MEND}");
        assert_eq!(recorded.imports, component.imports, "{name}: {MEND}");
    }
}

/// A path of somebody's machine would also mean that nobody else can build the same bytes.
#[test]
fn components_name_no_machine() {
    let homes = ["ro|ot", "ho|me", "wo|rk", "us|r", "tm|p", "Us|ers"];
    for (name, bytes) in COMPONENTS {
        let text = String::from_utf8_lossy(bytes);
        for home in homes {
            let home = format!("/{}/", home.replace('|', ""));
            let at = text.match_indices(&home).next();
            // `crates/serde/` is a path too, and nobody's.
            let before = at.and_then(|(at, _)| text[..at].chars().next_back());
            assert!(
                at.is_none() || before.is_some_and(char::is_alphanumeric),
                "{name} holds a path in {home}"
            );
        }
    }
}

//! `plugins/components/manifest.toml`.

use std::collections::BTreeMap;

use rillway::cli::plugin::component::Component;
use serde::{Deserialize, Serialize};

use crate::root;

const FILE: &str = "plugins/components/manifest.toml";

const HEAD: &str = "\
# What the components beside this file were made from. Written by plugins/components/refresh, checked by
# tests/components: `sources` is a hash of the plugin's crate, the SDK, the WIT, their dependencies in
# Cargo.lock, and the way they are built; equal sources and an equal compiler make equal bytes.

";

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) components: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Of the component.
    pub(crate) sha256: String,
    pub(crate) bytes: usize,
    pub(crate) sources: String,
    pub(crate) compiler: String,
    pub(crate) exports: Vec<String>,
    pub(crate) imports: Vec<String>,
}

impl Entry {
    pub(crate) fn new(component: &Component, sources: String, compiler: &str) -> Self {
        Entry {
            sha256: component.sha256(),
            bytes: component.bytes.len(),
            sources,
            compiler: compiler.to_owned(),
            exports: component.kinds.clone(),
            imports: component.imports.clone(),
        }
    }
}

impl Manifest {
    pub(crate) fn read() -> Self {
        let text = std::fs::read_to_string(root().join(FILE)).expect(FILE);
        toml::from_str(&text).expect(FILE)
    }

    pub(crate) fn write(&self) {
        let text = toml::to_string(self).expect("it is a table");
        std::fs::write(root().join(FILE), format!("{HEAD}{text}")).expect(FILE);
    }
}

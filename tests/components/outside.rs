//! A plugin that is none of ours, in a folder of its own, as its author would build it.

use std::path::{Path, PathBuf};

use rillway::cli::plugin::build::{BuildError, Crate};
use rillway::cli::plugin::component::{Component, ComponentError};
use rillway::cli::plugin::toolchain::{Toolchain, Way};

use crate::root;

/// A crate in a folder of its own, removed with it.
struct Outside(PathBuf);

impl Outside {
    fn new(name: &str, code: &str) -> Self {
        // The same place in every run: paths are among the compiler's flags, and new ones compile all anew.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(folder.join("src")).expect("a folder");
        let sdk = root().join("plugin-sdk");
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
             [dependencies]\nrillway-plugin-sdk = {{ path = {sdk:?} }}\n\n[workspace]\n"
        );
        std::fs::write(folder.join("Cargo.toml"), manifest).expect("a manifest");
        std::fs::write(folder.join("src/lib.rs"), code).expect("a source");
        // The versions that are here already.
        std::fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("a lock file");
        Outside(folder)
    }

    fn build(&self) -> Result<Component, BuildError> {
        let toolchain = Toolchain::find(Way::Auto, &self.0).map_err(BuildError::Toolchain)?;
        // Not that of our own plugins: other paths are other flags, and each would throw out the other's.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("outside-target");
        Crate::at(&self.0)?.build(&toolchain, &target, false)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Two kinds in one component, and two of seven capabilities.
const CODE: &str = r#"
#![forbid(unsafe_code)]
use rillway_plugin_sdk as sdk;

struct Both(u64);

impl sdk::Plugin for Both {
    type Config = ();
    fn start((): ()) -> Result<Self, String> {
        sdk::log::panics();
        Ok(Both(0))
    }
}

impl sdk::Authentication for Both {
    fn authenticate(
        &mut self,
        attempt: sdk::authentication::Attempt,
    ) -> Result<sdk::types::Grant, sdk::types::Denial> {
        let count = sdk::kv::increment("attempts", 1, None).unwrap_or(0);
        Err(sdk::types::Denial::Forbidden(format!("{count}: {}", attempt.scheme)))
    }
}

impl sdk::LayerSelection for Both {
    fn choose(&mut self, view: sdk::layers::View) -> Vec<sdk::layers::Choice> {
        self.0 += view.now_ms;
        Vec::new()
    }
}

sdk::export!(Both: authentication, layer_selection);
"#;

/// One test, as a second folder would compile the library again.
#[test]
#[ignore = "compiles to WebAssembly: `tests/run plugins`"]
fn a_plugin_outside_the_workspace_is_built() {
    let plugin = Outside::new("outside-plugin", CODE);
    let component = match plugin.build() {
        Ok(component) => component,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(component.kinds, ["authentication", "layer-selection"]);
    assert_eq!(component.imports, ["log", "kv"]);
    let text = String::from_utf8_lossy(&component.bytes);
    for folder in [&plugin.0, &root()] {
        let folder = folder.to_string_lossy();
        assert!(!text.contains(&*folder), "the component names {folder}");
    }

    // Without its last line, the same crate exports nothing.
    let (code, _) = CODE.rsplit_once("sdk::export!").expect("the line is there");
    std::fs::write(plugin.0.join("src/lib.rs"), code).expect("a source");
    let error = plugin.build();
    let Err(BuildError::Component(name, ComponentError::NoPolicy)) = error else {
        panic!("{error:?}");
    };
    assert_eq!(name, "outside-plugin");
}

#[test]
fn what_is_no_plugin_is_told_so() {
    let refused = |folder: &Path| Crate::at(folder).expect_err("refused").to_string();
    assert!(refused(Path::new("/nowhere")).contains("no Cargo.toml"));
    assert!(refused(&root()).contains("no [package]"));
}

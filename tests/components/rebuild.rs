//! Builds every component again, as `rillway plugin build` would.

use std::path::PathBuf;

use rillway::cli::plugin::build::Crate;
use rillway::cli::plugin::component::Component;
use rillway::cli::plugin::toolchain::{Toolchain, Way};

use crate::manifest::{Entry, Manifest};
use crate::{MEND, root, sources};

/// The compiler that made what is checked in if it is here, else whichever is.
fn toolchain(recorded: Option<&str>) -> Toolchain {
    let ways = [Way::Debian, Way::Target];
    let all = ways.map(|way| Toolchain::find(way, &root()).ok());
    let mut same = all.into_iter().flatten();
    same.find(|toolchain| Some(toolchain.version()) == recorded)
        .unwrap_or_else(|| match Toolchain::find(Way::Auto, &root()) {
            Ok(toolchain) => toolchain,
            Err(why) => panic!("{why}"),
        })
}

fn build(plugin: &str, toolchain: &Toolchain) -> Component {
    let folder = root().join("plugins").join(plugin);
    let plugin = Crate::at(&folder).expect("a crate");
    // One folder for all: the library and the SDK are compiled once.
    match plugin.build(toolchain, &plugin.target(), true) {
        Ok(component) => component,
        Err(error) => panic!("{error}"),
    }
}

fn file(plugin: &str) -> PathBuf {
    root().join(format!("plugins/components/{plugin}.wasm"))
}

/// With `RILLWAY_REFRESH`, what is checked in is replaced; without, it is compared.
#[test]
#[ignore = "compiles to WebAssembly: `tests/run plugins`, and `plugins/components/refresh`"]
fn components_are_what_their_sources_make() {
    let refresh = std::env::var("RILLWAY_REFRESH").ok();
    let mut manifest = Manifest::read();
    for plugin in sources::plugins() {
        let recorded = manifest.components.get(&plugin).cloned();
        let hash = sources::hash(&plugin);
        let same_sources = recorded.as_ref().is_some_and(|r| r.sources == hash);
        if refresh.as_deref() == Some("changed") && same_sources {
            continue;
        }
        let toolchain = toolchain(recorded.as_ref().map(|r| r.compiler.as_str()));
        println!("{plugin}: {}", toolchain.version());
        let component = build(&plugin, &toolchain);
        let made = Entry::new(&component, hash, toolchain.version());
        if refresh.is_some() {
            std::fs::write(file(&plugin), &component.bytes).expect("it can be written");
            println!("{plugin}: {} bytes, imports {:?}", made.bytes, made.imports);
            manifest.components.insert(plugin, made);
            manifest.write();
            continue;
        }
        let recorded = recorded.unwrap_or_else(|| panic!("{plugin} is not recorded: {MEND}"));
        assert_eq!(made.sources, recorded.sources, "{plugin} is stale: {MEND}");
        assert_eq!(made.exports, recorded.exports, "{plugin}");
        assert_eq!(made.imports, recorded.imports, "{plugin}");
        if made.compiler == recorded.compiler {
            assert_eq!(
                made.sha256, recorded.sha256,
                "{plugin}: the same sources and compiler made other bytes ({} in place of {}): {MEND}",
                made.bytes, recorded.bytes
            );
        } else {
            println!("{plugin}: another compiler, so bytes are not compared");
        }
    }
}

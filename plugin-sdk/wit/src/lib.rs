//! The WIT package `rillway:policy`, for tools that have no copy of this folder: the router writes it out
//! with every new plugin. The `*.wit` files beside this crate are the only copy of the present version;
//! `released/` holds one frozen copy for each version that was released.
#![forbid(unsafe_code)]

/// Version of the package, as in `rillway:policy@VERSION`.
pub const VERSION: &str = "0.1.0";

/// Every file of the package: its name and text, in the order in which they are to be read.
pub const FILES: [(&str, &str); 8] = [
    ("types.wit", include_str!("../types.wit")),
    ("capabilities.wit", include_str!("../capabilities.wit")),
    ("lifecycle.wit", include_str!("../lifecycle.wit")),
    ("authentication.wit", include_str!("../authentication.wit")),
    ("signaling.wit", include_str!("../signaling.wit")),
    (
        "layer-selection.wit",
        include_str!("../layer-selection.wit"),
    ),
    ("recording.wit", include_str!("../recording.wit")),
    ("worlds.wit", include_str!("../worlds.wit")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_parses_with_a_world_for_each_kind() {
        let mut resolve = wit_parser::Resolve::default();
        let folder = env!("CARGO_MANIFEST_DIR");
        let (package, _) = resolve.push_path(folder).expect("valid WIT");
        let worlds = &resolve.packages[package].worlds;
        for kind in [
            "authentication",
            "signaling",
            "layer-selection",
            "recording",
        ] {
            assert!(
                worlds.contains_key(&format!("{kind}-plugin")),
                "a world for {kind}"
            );
        }
        let name = &resolve.packages[package].name;
        assert_eq!(
            name.version.as_ref().map(ToString::to_string).as_deref(),
            Some(VERSION)
        );
    }

    #[test]
    fn every_file_names_the_version() {
        for (name, text) in FILES {
            let package = format!("package rillway:policy@{VERSION};");
            assert!(text.contains(&package), "{name} lacks `{package}`");
        }
    }
}

//! The WIT package `rillway:policy`, for tools that have no copy of this folder: the router writes it out
//! with every new plugin. The `*.wit` files beside this crate are the only copy of the present version;
//! `released/` holds one frozen copy for each version that was released.
#![forbid(unsafe_code)]

/// Version of the package, as in `rillway:policy@VERSION`.
pub const VERSION: &str = "0.2.0";

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

/// A version of the package that was released: its number and its files, as in [`FILES`].
pub type Release = (&'static str, &'static [(&'static str, &'static str)]);

/// The files of a released version, from its folder.
macro_rules! release {
    ($version:literal: $($file:literal)+) => {
        ($version, &[$(($file, include_str!(concat!("../released/", $version, "/", $file)))),+])
    };
}

/// Every version that was released, the oldest first. None of them ever changes.
#[rustfmt::skip]
pub const RELEASED: &[Release] = &[
    release!("0.1.0": "types.wit" "capabilities.wit" "lifecycle.wit" "authentication.wit" "signaling.wit"
        "layer-selection.wit" "recording.wit" "worlds.wit"),
    release!("0.2.0": "types.wit" "capabilities.wit" "lifecycle.wit" "authentication.wit" "signaling.wit"
        "layer-selection.wit" "recording.wit" "worlds.wit"),
];

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// SHA-256 over every file of a release, in order: name, length and text. Added when it is released;
    /// there is no reason to change one.
    const FROZEN: &[(&str, &str)] = &[
        (
            "0.1.0",
            "cadd6cc811ce537ba2a9938b3803d3759d9043abcf3ac365caef261010fafc04",
        ),
        (
            "0.2.0",
            "a4152dddb5f6b306b62c50cd2edb69a890228210b0db894cf1d6bb2fb88ec84e",
        ),
    ];

    fn digest(files: &[(&str, &str)]) -> String {
        let mut hasher = Sha256::new();
        for (name, text) in files {
            hasher.update(format!("{name}\n{}\n{text}", text.len()));
        }
        let digest = hasher.finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn nobody_has_edited_a_released_file() {
        let found: Vec<_> = RELEASED
            .iter()
            .map(|(version, files)| (*version, digest(files)))
            .collect();
        let recorded: Vec<_> = FROZEN
            .iter()
            .map(|(version, digest)| (*version, (*digest).to_owned()))
            .collect();
        assert_eq!(
            found, recorded,
            "plugin-sdk/wit/released is what plugins were built against: restore it (git checkout). For a \
             new version, add a folder there, and its line to RELEASED and FROZEN"
        );
    }

    #[test]
    fn the_folder_holds_what_is_embedded() {
        let released = concat!(env!("CARGO_MANIFEST_DIR"), "/released");
        let names = |folder: &str| {
            let entries = std::fs::read_dir(folder).expect(folder).flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            names.collect::<std::collections::BTreeSet<_>>()
        };
        let versions = RELEASED.iter().map(|(version, _)| (*version).to_owned());
        assert_eq!(names(released), versions.collect());
        for (version, files) in RELEASED {
            let embedded = files.iter().map(|(name, _)| (*name).to_owned());
            assert_eq!(names(&format!("{released}/{version}")), embedded.collect());
        }
    }

    /// Before a version is released there is no copy, and its files may change.
    #[test]
    fn a_released_version_is_what_it_was() {
        let Some((_, frozen)) = RELEASED.iter().find(|(version, _)| *version == VERSION) else {
            return;
        };
        let changed: Vec<&str> = FILES
            .iter()
            .zip(*frozen)
            .filter(|(now, then)| now != then)
            .map(|(now, _)| now.0)
            .collect();
        assert!(
            changed.is_empty() && FILES.len() == frozen.len(),
            "{changed:?}: version {VERSION} of the ABI was released, so components out there have it. Say new \
             things in `attributes` or an `extension`; or give the package a new version (every `package` \
             line, VERSION, and the steps in router/policy/src/abi/mod.rs)"
        );
    }

    #[test]
    fn every_released_version_parses() {
        for (version, files) in RELEASED {
            let mut sources = wit_parser::SourceMap::new();
            for (name, text) in *files {
                sources.push_str(name, *text);
            }
            let Ok(group) = sources.parse() else {
                panic!("{version} does not parse");
            };
            let mut resolve = wit_parser::Resolve::default();
            let package = resolve.push_group(group).expect("the WIT is whole");
            let name = &resolve.packages[package].name;
            let found = name.version.as_ref().map(ToString::to_string);
            assert_eq!(found.as_deref(), Some(*version));
        }
    }

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

//! What a component exports and imports, judged before anything of it runs.

use wasmtime::component::Component;

use super::Version;
use crate::error::LoadError;
use crate::kind::{Capability, Kind};

const PACKAGE: &str = "rillway:policy/";
const BUILD: &str = "build it with `rillway plugin build`, which wraps a core module and its WIT";

/// What a component turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Survey {
    pub(crate) version: Version,
    pub(crate) kinds: Vec<Kind>,
    /// Capabilities that it imports.
    pub(crate) imports: Vec<Capability>,
}

/// An interface of our package, as `rillway:policy/NAME@VERSION`.
fn ours(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(PACKAGE)?.split_once('@')
}

/// Looks at names only; types are checked when it is linked and instantiated.
///
/// # Errors
/// What is missing, unknown, not granted, or of another version.
pub(crate) fn survey(
    plugin: &str,
    component: &Component,
    granted: &[Capability],
) -> Result<Survey, LoadError> {
    let component_type = component.component_type();
    let engine = component.engine();
    let exports: Vec<String> = component_type
        .exports(engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    let imports: Vec<String> = component_type
        .imports(engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    let (version, kinds) = judge_exports(plugin, &exports)?;
    let imports = judge_imports(plugin, &imports, version, granted)?;
    Ok(Survey {
        version,
        kinds,
        imports,
    })
}

fn wrong_version(plugin: &str, interface: &str) -> LoadError {
    LoadError::Version {
        plugin: plugin.to_owned(),
        found: interface.to_owned(),
        known: Version::ALL.map(Version::name).join(" and "),
    }
}

fn mixed(plugin: &str, first: Version, interface: &str) -> LoadError {
    LoadError::MixedVersions {
        plugin: plugin.to_owned(),
        first: first.name(),
        found: interface.to_owned(),
    }
}

fn judge_exports(plugin: &str, exports: &[String]) -> Result<(Version, Vec<Kind>), LoadError> {
    let missing = |export: &str, mend| LoadError::MissingExport {
        plugin: plugin.to_owned(),
        export: export.to_owned(),
        mend,
    };
    let mut version = None;
    let mut kinds = Vec::new();
    let mut lifecycle = false;
    for export in exports {
        let Some((interface, number)) = ours(export) else {
            continue;
        };
        let found = Version::from_name(number).ok_or_else(|| wrong_version(plugin, export))?;
        let first = *version.get_or_insert(found);
        if first != found {
            return Err(mixed(plugin, first, export));
        }
        lifecycle |= interface == "lifecycle";
        kinds.extend(Kind::from_name(interface));
    }
    let Some(version) = version.filter(|_| !kinds.is_empty()) else {
        let kinds = Kind::ALL.map(Kind::name).join(", ");
        return Err(missing(&format!("{PACKAGE}{{{kinds}}}"), BUILD));
    };
    if !lifecycle {
        let export = format!("{PACKAGE}lifecycle@{}", version.name());
        let mend =
            "every plugin has a `lifecycle.start`; build it for one of the worlds of the WIT";
        return Err(missing(&export, mend));
    }
    kinds.sort_unstable();
    Ok((version, kinds))
}

fn judge_imports(
    plugin: &str,
    imports: &[String],
    version: Version,
    granted: &[Capability],
) -> Result<Vec<Capability>, LoadError> {
    let mut capabilities = Vec::new();
    for import in imports {
        let unknown = |mend| LoadError::UnknownImport {
            plugin: plugin.to_owned(),
            import: import.clone(),
            mend,
        };
        let Some((interface, number)) = ours(import) else {
            return Err(unknown(match import.starts_with("wasi:") {
                true => {
                    "plugins have no WASI; build it for `wasm32-unknown-unknown`, or stub WASI out \
                     (see the guide of its language)"
                }
                false => "a plugin imports interfaces of rillway:policy only",
            }));
        };
        if number != version.name() {
            return Err(match Version::from_name(number) {
                Some(_) => mixed(plugin, version, import),
                None => wrong_version(plugin, import),
            });
        }
        if let Some(capability) = Capability::from_name(interface) {
            if !granted.contains(&capability) {
                return Err(LoadError::NotGranted {
                    plugin: plugin.to_owned(),
                    capability,
                });
            }
            capabilities.push(capability);
        } else if interface != "types" && Kind::from_name(interface).is_none() {
            // An interface that is exported may be imported too: for its types.
            return Err(unknown(
                "it was built against a WIT that is not the released one",
            ));
        }
    }
    capabilities.sort_unstable();
    Ok(capabilities)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn exports(list: &[&str]) -> Result<(Version, Vec<Kind>), String> {
        judge_exports("p", &names(list)).map_err(|e| e.to_string())
    }

    fn imports(list: &[&str], granted: &[Capability]) -> Result<Vec<Capability>, String> {
        judge_imports("p", &names(list), Version::V0_1, granted).map_err(|e| e.to_string())
    }

    #[test]
    fn a_component_says_what_it_is() {
        let found = exports(&[
            "rillway:policy/recording@0.1.0",
            "rillway:policy/lifecycle@0.1.0",
            "rillway:policy/signaling@0.1.0",
            "author:own/thing",
        ]);
        let kinds = vec![Kind::Signaling, Kind::Recording];
        assert_eq!(found, Ok((Version::V0_1, kinds)));
    }

    #[test]
    fn what_is_missing_or_of_another_version_is_named() {
        let problem = exports(&["wasi:cli/run@0.2.0"]).unwrap_err();
        assert!(problem.contains("does not export"), "{problem}");
        assert!(problem.contains("layer-selection"), "{problem}");
        assert!(problem.contains("rillway plugin build"), "{problem}");
        let problem = exports(&["rillway:policy/signaling@0.1.0"]).unwrap_err();
        assert!(
            problem.contains("rillway:policy/lifecycle@0.1.0"),
            "{problem}"
        );
        let problem = exports(&["rillway:policy/signaling@0.9.0"]).unwrap_err();
        assert!(problem.contains("signaling@0.9.0") && problem.contains("speaks 0.2.0 and 0.1.0"));
        let problem = exports(&[
            "rillway:policy/lifecycle@0.2.0",
            "rillway:policy/signaling@0.1.0",
        ]);
        assert!(problem.unwrap_err().contains("two versions"));
    }

    #[test]
    fn imports_are_what_was_granted() {
        let log = "rillway:policy/log@0.1.0";
        let types = "rillway:policy/types@0.1.0";
        assert_eq!(imports(&[types], &[]), Ok(vec![]));
        let granted = [Capability::Log, Capability::Kv];
        assert_eq!(imports(&[types, log], &granted), Ok(vec![Capability::Log]));
        let problem = imports(&[log], &[Capability::Kv]).unwrap_err();
        assert!(
            problem.contains("add \"log\" to plugins.p.imports"),
            "{problem}"
        );
        for (import, mend) in [
            ("wasi:io/streams@0.2.0", "wasm32-unknown-unknown"),
            ("env", "interfaces of rillway:policy"),
            ("rillway:policy/camera@0.1.0", "not the released one"),
            ("rillway:policy/log@0.9.0", "speaks 0.2.0 and 0.1.0"),
            ("rillway:policy/log@0.2.0", "two versions"),
        ] {
            let problem = imports(&[import], &granted).unwrap_err();
            assert!(
                problem.contains(import) && problem.contains(mend),
                "{problem}"
            );
        }
    }
}

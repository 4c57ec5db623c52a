//! What a component is: made of a compiled module, and judged by what it exports and imports.

use sha2::{Digest, Sha256};
use wit_component::{ComponentEncoder, DecodedWasm};
use wit_parser::{Resolve, WorldItem};

/// Package of the ABI.
const PACKAGE: &str = "rillway:policy";
/// How a component begins; a core module has another version.
const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
/// What every component exports.
const LIFECYCLE: &str = "lifecycle";
/// Kinds of policies: interfaces of which a component exports at least one.
pub const KINDS: [&str; 4] = [
    "authentication",
    "signaling",
    "layer-selection",
    "recording",
];
/// Capabilities: interfaces that a component may import.
pub const CAPABILITIES: [&str; 7] = ["log", "metrics", "config", "clock", "kv", "crypto", "http"];

/// A component that a router could load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// The file.
    pub bytes: Vec<u8>,
    /// Kinds of policies that it exports, such as `signaling`.
    pub kinds: Vec<String>,
    /// Capabilities that it imports, such as `log`.
    pub imports: Vec<String>,
}

/// Why bytes are no component that a router could load.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ComponentError {
    /// The module says nothing about its interfaces.
    #[error(
        "the crate exports no policy: it needs `rillway_plugin_sdk::export!(MyPlugin: KIND);`, where KIND is one of \
         authentication, signaling, layer_selection, recording"
    )]
    NoPolicy,
    /// wit-component's judgement.
    #[error("the module cannot be made a component: {0}")]
    Encode(String),
    /// It is another thing.
    #[error("this is no component: {0}")]
    Decode(String),
    /// It wants something that no router gives.
    #[error(
        "it imports `{0}`; a policy may import the capabilities {list} only. A dependency that wants an operating \
         system brings such imports", list = CAPABILITIES.join(", ")
    )]
    ForeignImport(String),
    /// It does not export `lifecycle`.
    #[error("it does not export `{PACKAGE}/{LIFECYCLE}`, which every policy does")]
    NoLifecycle,
}

impl Component {
    /// Makes a component of a module that was compiled with the bindings of the SDK.
    ///
    /// # Errors
    /// [`ComponentError`].
    pub fn encode(module: &[u8]) -> Result<Self, ComponentError> {
        // What wit-component would say of such a module is that it has no world.
        if !contains(module, b"component-type") {
            return Err(ComponentError::NoPolicy);
        }
        let encode = |error: anyhow::Error| ComponentError::Encode(format!("{error:#}"));
        let bytes = ComponentEncoder::default()
            .validate(true)
            .module(module)
            .map_err(encode)?
            .encode()
            .map_err(encode)?;
        Self::read(bytes)
    }

    /// Reads a component's interface.
    ///
    /// # Errors
    /// [`ComponentError`].
    pub fn read(bytes: Vec<u8>) -> Result<Self, ComponentError> {
        if !bytes.starts_with(HEADER) {
            let what = "it is a core module, or no WebAssembly at all";
            return Err(ComponentError::Decode(what.to_owned()));
        }
        let decoded = wit_component::decode(&bytes)
            .map_err(|error| ComponentError::Decode(format!("{error:#}")))?;
        let DecodedWasm::Component(resolve, world) = decoded else {
            let what = "it is a package of interfaces without code";
            return Err(ComponentError::Decode(what.to_owned()));
        };
        let world = &resolve.worlds[world];
        let mut imports = Vec::new();
        for item in world.imports.values() {
            let item = name(&resolve, item);
            match item.strip_prefix("rillway:policy/") {
                // Types are no capability: nothing can be called.
                Some("types") => {}
                Some(known) if CAPABILITIES.contains(&known) => imports.push(known.to_owned()),
                _ => return Err(ComponentError::ForeignImport(item)),
            }
        }
        let exports = world.exports.values().map(|item| name(&resolve, item));
        let exports: Vec<String> = exports.collect();
        let exported = |kind: &str| exports.iter().any(|e| *e == format!("{PACKAGE}/{kind}"));
        let kinds: Vec<String> = KINDS
            .iter()
            .filter(|kind| exported(kind))
            .map(ToString::to_string)
            .collect();
        match (kinds.is_empty(), exported(LIFECYCLE)) {
            (true, _) => Err(ComponentError::NoPolicy),
            (_, false) => Err(ComponentError::NoLifecycle),
            _ => Ok(Component {
                bytes,
                kinds,
                imports,
            }),
        }
    }

    /// What it is, for people.
    pub(super) fn summary(&self, name: &str) -> String {
        let imports = match self.imports.as_slice() {
            [] => "nothing".to_owned(),
            imports => imports.join(", "),
        };
        format!(
            "{name}\n  size      {} bytes\n  sha256    {}\n  exports   {}\n  imports   {imports}\n",
            super::grouped(self.bytes.len() as u64),
            self.sha256(),
            self.kinds.join(", "),
        )
    }

    /// SHA-256 of the file, hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> String {
        hex(&Sha256::digest(&self.bytes))
    }
}

/// Bytes in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `package:name/interface` of an import or export, without its version.
fn name(resolve: &Resolve, item: &WorldItem) -> String {
    match item {
        WorldItem::Interface { id, .. } => {
            let interface = &resolve.interfaces[*id];
            let name = interface.name.as_deref().unwrap_or("an unnamed interface");
            match interface.package.map(|id| &resolve.packages[id].name) {
                Some(package) => format!("{}:{}/{name}", package.namespace, package.name),
                None => name.to_owned(),
            }
        }
        WorldItem::Function(function) => function.name.clone(),
        WorldItem::Type { .. } => "a type".to_owned(),
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_without_export_is_told_what_it_lacks() {
        let empty = b"\0asm\x01\0\0\0";
        assert_eq!(Component::encode(empty), Err(ComponentError::NoPolicy));
    }

    #[test]
    fn what_is_no_component_is_refused() {
        for bytes in [&b"\0asm\x01\0\0\0"[..], b"hello", b""] {
            let refused = Component::read(bytes.to_vec());
            assert!(
                matches!(refused, Err(ComponentError::Decode(_))),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn an_empty_component_is_no_policy() {
        let empty = b"\0asm\x0d\0\x01\0";
        assert_eq!(
            Component::read(empty.to_vec()),
            Err(ComponentError::NoPolicy)
        );
    }
}

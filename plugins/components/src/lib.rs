//! The shipped policies as components, so that building the router needs no WebAssembly toolchain.
//!
//! `manifest.toml` says of each from which sources and by which compiler it was made;
//! `plugins/components/refresh` makes them again, and `tests/components` fails when sources and binaries
//! have parted.
#![forbid(unsafe_code)]

macro_rules! components {
    ($($name:literal),+ $(,)?) => {
        /// Name and bytes of every component, by name.
        pub static COMPONENTS: &[(&str, &[u8])] = &[
            $(($name, include_bytes!(concat!("../", $name, ".wasm")))),+
        ];
    };
}

components![
    "auth-jwt",
    "auth-open",
    "auth-webhook",
    "layers-adaptive",
    "layers-speaker",
    "record-all",
    "record-on-request",
    "signaling-rooms",
    "signaling-whip"
];

/// The component of a name.
#[must_use]
pub fn get(name: &str) -> Option<&'static [u8]> {
    let mut all = COMPONENTS.iter();
    all.find(|(known, _)| *known == name)
        .map(|(_, bytes)| *bytes)
}

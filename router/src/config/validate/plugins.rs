//! Policies: names that lead somewhere, files that are there, keys that can be read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rillway_policy::{Network, Origin};

use super::super::check::nearest;
use super::super::raw;
use super::super::{
    Budgets, Capability, Component, KeyAlgorithm, LayerSelection, Plugin, PluginKey, Policy,
    Secret, SignalingRoute,
};
use super::{Checks, Readers, read_secret, read_text};

/// Components that are part of the program, by the interface they export.
pub(in super::super) const BUILT_IN: [(&str, &str); 9] = [
    ("auth-jwt", "authentication"),
    ("auth-open", "authentication"),
    ("auth-webhook", "authentication"),
    ("layers-adaptive", "layer-selection"),
    ("layers-speaker", "layer-selection"),
    ("record-all", "recording"),
    ("record-on-request", "recording"),
    ("signaling-rooms", "signaling"),
    ("signaling-whip", "signaling"),
];

/// What any component may import: none of it harms anybody.
const HARMLESS: [Capability; 4] = [
    Capability::Log,
    Capability::Metrics,
    Capability::Config,
    Capability::Clock,
];
/// What built-in components may import. `crypto` still needs keys, and `http` origins.
const ALL: [Capability; 7] = [
    Capability::Log,
    Capability::Metrics,
    Capability::Config,
    Capability::Clock,
    Capability::Kv,
    Capability::Crypto,
    Capability::Http,
];
/// A longer list of certificate authorities is a wrong file: the system's has a quarter of that.
const CA_BYTES_MAX: u64 = 1 << 20;
/// A longer public key is a wrong file.
const KEY_BYTES_MAX: u64 = 64 * 1024;
/// RFC 7518 §3.2 asks for a key of at least the hash's size.
const SECRET_BYTES_MIN: usize = 32;

/// What the tables about policies come to.
pub(super) struct Policies {
    pub(super) host: Policy,
    pub(super) plugins: BTreeMap<String, Plugin>,
    pub(super) routes: Vec<SignalingRoute>,
    pub(super) layers: Option<LayerSelection>,
    pub(super) recording: Option<String>,
}

/// In place of a policy's name.
const NONE: &str = "none";

impl Checks<'_> {
    pub(super) fn policies(&mut self) -> Policies {
        let raw = self.raw;
        let routes = self.routes();
        self.nothing_is_called_none();
        let mut plugins: BTreeMap<_, _> = raw
            .plugins
            .iter()
            .filter_map(|(name, table)| Some((name.clone(), self.plugin(name, table)?)))
            .collect();
        for (key, name, interface) in wanted(raw, &routes) {
            if raw.plugins.contains_key(name) {
                self.exports(&key, name, plugins.get(name), interface);
            } else if built_in(name).is_some() {
                let plugin = plugins
                    .entry(name.to_owned())
                    .or_insert_with(|| built_in_plugin(name));
                let plugin = plugin.clone();
                self.exports(&key, name, Some(&plugin), interface);
            } else {
                self.no_such_plugin(&key, name, interface);
            }
        }
        let cache = &raw.policy.cache_folder;
        let folder = &self.provenance.source().folder;
        Policies {
            host: Policy {
                threads: raw.policy.threads,
                instances_max: raw.policy.instances_max,
                component_bytes_max: raw.policy.component_bytes_max,
                cache_folder: (!cache.as_os_str().is_empty()).then(|| folder.join(cache)),
                http_ca_file: self.http_ca_file(),
                watch_files: raw.policy.watch_files,
            },
            plugins,
            layers: named(&raw.layers.policy).map(|policy| LayerSelection {
                policy: policy.to_owned(),
                every: Duration::from_millis(raw.layers.every_ms.into()),
            }),
            recording: named(&raw.recording.policy).map(str::to_owned),
            routes,
        }
    }

    fn nothing_is_called_none(&mut self) {
        if self.raw.plugins.contains_key(NONE) {
            let title = format!("no plugin can be called `{NONE}`: that means that there is none");
            let key = format!("plugins.{NONE}");
            self.report(title, &[(&key, "this one")], "give it another name");
        }
    }

    fn http_ca_file(&mut self) -> Option<PathBuf> {
        let file = &self.raw.policy.http_ca_file;
        if file.as_os_str().is_empty() {
            return None;
        }
        let path = self.provenance.source().folder.join(file);
        let text = read_text(&path, CA_BYTES_MAX, Readers::Anybody);
        let (why, help) = match text {
            Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => return Some(path),
            Ok(_) => (
                "it holds no certificate in PEM".to_owned(),
                "name the certificate of the authority, not of the server".to_owned(),
            ),
            Err(problem) => problem,
        };
        let title = format!("cannot use the authorities in `{}`: {why}", path.display());
        self.report(title, &[("policy.http_ca_file", "this file")], &help);
        None
    }

    fn routes(&mut self) -> Vec<SignalingRoute> {
        let routes = &self.raw.signaling.routes;
        for (index, route) in routes.iter().enumerate() {
            let earlier = routes
                .iter()
                .take(index)
                .position(|other| overlap(other, route));
            if let Some(earlier) = earlier {
                let (this, first) = (
                    format!("signaling.routes[{index}].path"),
                    format!("signaling.routes[{earlier}].path"),
                );
                let title = format!("two signaling routes lead from `{}`", route.path);
                let keys = [
                    (this.as_str(), "this one"),
                    (first.as_str(), "and this one"),
                ];
                self.report(title, &keys, "give one of them another path");
            }
        }
        if routes.is_empty() {
            return default_routes();
        }
        let route = |route: &raw::SignalingRoute| SignalingRoute {
            path: route.path.clone(),
            plugin: route.plugin.clone(),
            subprotocol: route.subprotocol.clone(),
        };
        routes.iter().map(route).collect()
    }

    fn plugin(&mut self, name: &str, raw: &raw::Plugin) -> Option<Plugin> {
        let component = self.component(name, raw)?;
        let imports = raw.imports.clone().unwrap_or_else(|| match component {
            Component::BuiltIn(_) => ALL.to_vec(),
            Component::File(_) => HARMLESS.to_vec(),
        });
        let keys = raw
            .keys
            .iter()
            .filter_map(|(key, table)| {
                let place = format!("plugins.{name}.keys.{key}");
                Some((key.clone(), self.key(&place, table)?))
            })
            .collect();
        let config = serde_json::to_value(&raw.config).unwrap_or_default();
        Some(Plugin {
            component,
            sha256: raw.sha256.as_deref().and_then(hexadecimal),
            imports,
            http_origins: parsed(&raw.http_origins, Origin::parse),
            http_private_networks: parsed(&raw.http_private_networks, Network::parse),
            config,
            keys,
            budgets: budgets(&raw.budgets),
        })
    }

    fn component(&mut self, name: &str, raw: &raw::Plugin) -> Option<Component> {
        let (key, wanted) = match &raw.component {
            None => (format!("plugins.{name}"), name),
            Some(component) => {
                let key = format!("plugins.{name}.component");
                match component.strip_prefix("builtin:") {
                    Some(wanted) => (key, wanted),
                    None => return self.component_file(&key, Path::new(component)),
                }
            }
        };
        if built_in(wanted).is_some() {
            return Some(Component::BuiltIn(wanted.to_owned()));
        }
        let title = format!("there is no built-in component `{wanted}`");
        let names = BUILT_IN.map(|(name, _)| name).join(", ");
        let help =
            format!("name a file with `component = \"FILE.wasm\"`; the built-in ones are {names}");
        self.report(title, &[(&key, "this one")], &help);
        None
    }

    fn component_file(&mut self, key: &str, file: &Path) -> Option<Component> {
        let path = self.provenance.source().folder.join(file);
        let why = match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => return Some(Component::File(path)),
            Ok(_) => "it is no regular file".to_owned(),
            Err(error) => error.to_string(),
        };
        let title = format!("cannot use the component `{}`: {why}", path.display());
        let help = "`rillway plugin build` makes one; paths start from this file's folder";
        self.report(title, &[(key, "this file")], help);
        None
    }

    fn key(&mut self, place: &str, raw: &raw::PluginKey) -> Option<PluginKey> {
        let path: PathBuf = self.provenance.source().folder.join(&raw.file);
        let secret = raw.algorithm == KeyAlgorithm::HS256;
        let material = if secret {
            read_secret(&path).and_then(|secret| match secret.reveal().len() {
                SECRET_BYTES_MIN.. => Ok(secret),
                bytes => Err((
                    format!("it holds {bytes} bytes, and HS256 wants {SECRET_BYTES_MIN} or more"),
                    "`openssl rand -base64 32` makes a good one".to_owned(),
                )),
            })
        } else {
            read_text(&path, KEY_BYTES_MAX, Readers::Anybody).and_then(|text| {
                if text.contains("-----BEGIN PUBLIC KEY-----") {
                    Ok(Secret::new(text))
                } else {
                    let help = "`openssl pkey -in KEY -pubout` writes one".to_owned();
                    Err(("it holds no public key in PEM".to_owned(), help))
                }
            })
        };
        match material {
            Ok(material) => Some(PluginKey {
                algorithm: raw.algorithm,
                material,
            }),
            Err((why, help)) => {
                let title = format!("cannot use the key in `{}`: {why}", path.display());
                self.report(title, &[(&format!("{place}.file"), "this file")], &help);
                None
            }
        }
    }

    /// A built-in component in the wrong place; what a file exports shows when it is loaded.
    fn exports(&mut self, key: &str, name: &str, plugin: Option<&Plugin>, interface: &str) {
        let Some(Plugin {
            component: Component::BuiltIn(component),
            ..
        }) = plugin
        else {
            return;
        };
        let found = built_in(component).unwrap_or_default();
        if found != interface {
            let title = format!("`{name}` cannot be used here: it is a policy for {found}");
            let label = format!("a policy for {interface} is needed");
            let names = BUILT_IN.iter().filter(|(_, exports)| *exports == interface);
            let names: Vec<_> = names.map(|(name, _)| format!("\"{name}\"")).collect();
            let help = format!("built in are {}", names.join(", "));
            self.report(title, &[(key, &label)], &help);
        }
    }

    fn no_such_plugin(&mut self, key: &str, name: &str, interface: &str) {
        let fitting = BUILT_IN.iter().filter(|(_, exports)| *exports == interface);
        let known: Vec<&str> = self
            .raw
            .plugins
            .keys()
            .map(String::as_str)
            .chain(fitting.map(|(name, _)| *name))
            .chain(
                ["layer-selection", "recording"]
                    .contains(&interface)
                    .then_some(NONE),
            )
            .collect();
        let title = format!("there is no policy `{name}`");
        let mut help = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"? "),
            None => String::new(),
        };
        let quoted: Vec<_> = known.iter().map(|name| format!("\"{name}\"")).collect();
        help += &format!(
            "a `[plugins.{name}]` with `component = \"FILE.wasm\"` makes one; there are {}",
            quoted.join(", ")
        );
        self.report(title, &[(key, "this one")], &help);
    }
}

/// The name of a policy; `None`: there shall be none.
fn named(policy: &str) -> Option<&str> {
    (policy != NONE).then_some(policy)
}

/// Every policy that a key names: the key, the name, and the interface that it must export.
fn wanted<'a>(
    raw: &'a raw::Raw,
    routes: &'a [SignalingRoute],
) -> Vec<(String, &'a str, &'static str)> {
    let routes = routes.iter().enumerate().map(|(index, route)| {
        let key = format!("signaling.routes[{index}].plugin");
        (key, Some(route.plugin.as_str()), "signaling")
    });
    // A missing one is reported elsewhere.
    let authentication = raw.authentication.policy.as_deref();
    let single = [
        ("authentication.policy", authentication, "authentication"),
        (
            "layers.policy",
            named(&raw.layers.policy),
            "layer-selection",
        ),
        (
            "recording.policy",
            named(&raw.recording.policy),
            "recording",
        ),
    ];
    let single = single.map(|(key, name, interface)| (key.to_owned(), name, interface));
    routes
        .chain(single)
        .filter_map(|(key, name, interface)| Some((key, name?, interface)))
        .collect()
}

fn default_routes() -> Vec<SignalingRoute> {
    let route = |path: &str, plugin: &str, subprotocol: Option<&str>| SignalingRoute {
        path: path.to_owned(),
        plugin: plugin.to_owned(),
        subprotocol: subprotocol.map(str::to_owned),
    };
    vec![
        route("/signal/rooms", "signaling-rooms", Some("rillway.rooms.v1")),
        route("/whip", "signaling-whip", None),
        route("/whep", "signaling-whip", None),
    ]
}

/// Whether a request could mean either: an HTTP route has all below its path.
fn overlap(a: &raw::SignalingRoute, b: &raw::SignalingRoute) -> bool {
    let below = |upper: &raw::SignalingRoute, lower: &raw::SignalingRoute| {
        upper.subprotocol.is_none()
            && lower
                .path
                .strip_prefix(upper.path.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
    };
    a.path == b.path || below(a, b) || below(b, a)
}

/// The interface a built-in component exports.
fn built_in(name: &str) -> Option<&'static str> {
    BUILT_IN
        .iter()
        .find(|(built_in, _)| *built_in == name)
        .map(|(_, interface)| *interface)
}

fn built_in_plugin(name: &str) -> Plugin {
    Plugin {
        component: Component::BuiltIn(name.to_owned()),
        sha256: None,
        imports: ALL.to_vec(),
        http_origins: Vec::new(),
        http_private_networks: Vec::new(),
        config: serde_json::Value::Object(serde_json::Map::new()),
        keys: BTreeMap::new(),
        budgets: Budgets::default(),
    }
}

fn budgets(raw: &raw::Budgets) -> Budgets {
    Budgets {
        call_time_max: raw
            .call_ms_max
            .map(|ms| Duration::from_millis(u64::from(ms))),
        memory_bytes_max: raw.memory_bytes_max,
        instances_max: raw.instances_max,
        calls_per_second_max: raw.calls_per_second_max,
        bytes_per_second_max: raw.bytes_per_second_max,
        log_lines_per_second_max: raw.log_lines_per_second_max,
        kv_bytes_max: raw.kv_bytes_max,
        http_requests_max: raw.http_requests_max,
    }
}

/// Values of a list, whose format the schema demands.
fn parsed<T, E>(texts: &[String], parse: impl Fn(&str) -> Result<T, E>) -> Vec<T> {
    texts.iter().filter_map(|text| parse(text).ok()).collect()
}

/// 64 hexadecimal digits, as the schema demands.
fn hexadecimal(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

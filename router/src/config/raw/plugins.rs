//! The tables about policies: which component decides what, and what each may use.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{Capability, KeyAlgorithm};

/// The plugin host. Policies run on threads of their own, never on a media worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Policy {
    /// Threads that run policies.
    #[schemars(range(min = 1, max = 64), extend("x-unit" = "threads"))]
    pub(in super::super) threads: u16,
    /// Instances of all plugins at once: one for each client, and for each room one that selects layers and one that
    /// decides what is recorded. What is over it is told to try later; a room does without. Memory: what the plugins use; only address space is reserved.
    #[schemars(range(min = 16, max = 100_000), extend("x-unit" = "instances"))]
    pub(in super::super) instances_max: u32,
    /// Largest component that is loaded. Those made of interpreted languages have 10 to 20 MB.
    #[schemars(range(min = 65_536, max = 1_073_741_824), extend("x-unit" = "bytes"))]
    pub(in super::super) component_bytes_max: u32,
    /// Folder for compiled components, relative to this file, so that the next start need not compile them;
    /// an entry is used only by the same version of the router. Empty: none.
    #[schemars(length(max = 4_096))]
    pub(in super::super) cache_folder: PathBuf,
    /// Certificate authorities that plugins' HTTPS trusts beside the system's: a PEM file, relative to this one,
    /// which is read whenever a plugin is loaded. Empty: the system's only.
    #[schemars(length(max = 4_096))]
    pub(in super::super) http_ca_file: PathBuf,
    /// Whether a component's file is looked at each second, and reloaded once it has changed. A file that
    /// cannot be used changes nothing.
    pub(in super::super) watch_files: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            threads: 1,
            instances_max: 12_000,
            component_bytes_max: 32 << 20,
            cache_folder: PathBuf::new(),
            http_ca_file: PathBuf::new(),
            watch_files: false,
        }
    }
}

/// How clients reach signaling policies.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Signaling {
    /// One `[[signaling.routes]]` each. None: the rooms protocol at `/signal/rooms`, WHIP at `/whip` and WHEP at
    /// `/whep`; whoever writes one writes all.
    #[schemars(length(max = 32))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in super::super) routes: Vec<SignalingRoute>,
}

/// A path that leads to a signaling policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct SignalingRoute {
    /// Path of the URL. For HTTP, all below it too.
    #[schemars(length(min = 2, max = 128), extend("format" = "route-path", "x-example" = "/signal/rooms"))]
    pub(in super::super) path: String,
    /// The policy: a `[plugins.NAME]`, or a built-in component.
    #[schemars(length(min = 1, max = 64), extend("x-example" = "signaling-rooms"))]
    pub(in super::super) plugin: String,
    /// WebSocket subprotocol that clients must offer. Without it the route takes plain HTTP requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 64), extend("x-example" = "rillway.rooms.v1"))]
    pub(in super::super) subprotocol: Option<String>,
}

/// Which layer of each video each viewer gets, where publishers send several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Layers {
    /// The policy: a `[plugins.NAME]`, or a built-in component: `"layers-adaptive"`, or `"layers-speaker"` for large
    /// rooms. `"none"`: the router's own choice, the smallest layer that fills the size it is shown at; it also
    /// decides while a policy fails. Whatever a policy chooses, nobody is sent more than their network carries.
    #[schemars(length(min = 1, max = 64))]
    pub(in super::super) policy: String,
    /// Least time between two calls for one room. It is called only when something has changed.
    #[schemars(range(min = 50, max = 5_000), extend("x-unit" = "milliseconds"))]
    pub(in super::super) every_ms: u32,
}

impl Default for Layers {
    fn default() -> Self {
        Layers {
            policy: "layers-adaptive".to_owned(),
            every_ms: 200,
        }
    }
}

/// What is recorded, and where it is written. A policy says what; the recorder writes on a thread of its own and
/// never holds up forwarding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Recording {
    /// The policy: a `[plugins.NAME]`, or a built-in component: `"record-on-request"`, for participants whose grant
    /// allows it, or `"record-all"`. `"none"`: nothing is recorded, and clients that ask for it are told so.
    #[schemars(length(min = 1, max = 64))]
    pub(in super::super) policy: String,
    /// Folder that recordings are written to, relative to this file; made if only its last part is missing. Each
    /// router needs one of its own. Empty: nothing is recorded, and whoever asks for it is told so. `rillway dev`
    /// takes a temporary one.
    #[schemars(length(max = 4_096))]
    pub(in super::super) directory: PathBuf,
    /// Free space on that disk below which recording stops: what runs is completed, and nothing begins.
    #[schemars(range(min = 1_048_576, max = 1_125_899_906_842_624_i64))]
    #[schemars(extend("x-unit" = "bytes"))]
    pub(in super::super) free_bytes_min: u64,
    /// How often what is written is made durable (fdatasync): what a crash of the machine costs at most.
    #[schemars(range(min = 100, max = 60_000), extend("x-unit" = "milliseconds"))]
    pub(in super::super) sync_every_ms: u32,
    /// Packets between each media worker and the recorder. When they are full, whole frames are left out up to a
    /// keyframe, and counted. The default is a third of a second of 1,000 tracks of 500 kb/s.
    #[schemars(range(min = 512, max = 1_048_576))]
    #[schemars(extend("x-unit" = "packets", "x-memory" = "about 150 bytes each, and the packets themselves while they wait"))]
    pub(in super::super) queue_packets: u32,
    /// Files written at once; what is over it is not recorded, and its policy is told. Each takes a file descriptor
    /// (`ulimit -n`).
    #[schemars(range(min = 1, max = 65_536), extend("x-unit" = "files"))]
    pub(in super::super) files_max: u32,
}

impl Default for Recording {
    fn default() -> Self {
        Recording {
            policy: "record-on-request".to_owned(),
            directory: PathBuf::new(),
            free_bytes_min: 1 << 30,
            sync_every_ms: 1_000,
            queue_packets: 16_384,
            files_max: 2_048,
        }
    }
}

/// A policy: a WebAssembly component and what it may use. One `[plugins.NAME]` each. Built-in components need
/// no table, unless something of them is to differ.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Plugin {
    /// File of the component, relative to this one; or `builtin:NAME`. Without it, the built-in component of this
    /// table's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 4_096), extend("x-example" = "my-auth.wasm"))]
    pub(in super::super) component: Option<String>,
    /// SHA-256 of the component, hexadecimal: another file is refused, at a reload too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "sha256", "x-example" = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"))]
    pub(in super::super) sha256: Option<String>,
    /// Capabilities it may import; a component that imports another one is refused. Default: those that harm
    /// nobody: `"log"`, `"metrics"`, `"config"`, `"clock"`, and for built-in components what they need.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Capability>", length(max = 7), extend("x-example" = ["log", "config", "crypto"]))]
    pub(in super::super) imports: Option<Vec<Capability>>,
    /// Whom it may ask by HTTP (`"http"`): `https://host`, or `http://host:port` for one without TLS. A component
    /// that imports `http` needs one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("items" = serde_json::json!({"type": "string", "format": "http-origin"}), "x-example" = ["https://backend.example"]))]
    pub(in super::super) http_origins: Vec<String>,
    /// Networks that are not public and that names in `http_origins` may stand for all the same. An origin that is
    /// an address needs none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("items" = serde_json::json!({"type": "string", "format": "network"}), "x-example" = ["10.0.0.0/8"]))]
    pub(in super::super) http_private_networks: Vec<String>,
    /// The plugin's own table, given to it as JSON; the plugin says what may be in it.
    #[serde(skip_serializing_if = "toml::Table::is_empty")]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub(in super::super) config: toml::Table,
    /// Keys for `crypto`, by the name the plugin calls them. They never reach the plugin.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(in super::super) keys: BTreeMap<String, PluginKey>,
    /// What one plugin may use. Each bound has a default for each kind of policy.
    #[serde(skip_serializing_if = "Budgets::is_default")]
    pub(in super::super) budgets: Budgets,
}

/// A key that a plugin may use and not see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct PluginKey {
    /// What it is for.
    #[schemars(extend("x-example" = "HS256"))]
    pub(in super::super) algorithm: KeyAlgorithm,
    /// File with the key, relative to this one: a secret on one line for HS256 (only its owner and group may be
    /// able to read it), else a public key in PEM.
    #[schemars(with = "String", length(min = 1, max = 4_096), extend("x-example" = "jwt.secret"))]
    pub(in super::super) file: PathBuf,
}

/// What one plugin may use; what it takes beyond is a fault, or refused.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in super::super) struct Budgets {
    /// Time of one call. Default: authentication and recording 50, signaling 20, layer selection 5 and one more for
    /// each 500 subscriptions of the room.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1, max = 60_000), extend("x-unit" = "milliseconds", "x-example" = 2_000))]
    pub(in super::super) call_ms_max: Option<u32>,
    /// Linear memory of one instance. Default: 33,554,432; for layer selection half of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 65_536, max = 1_073_741_824), extend("x-unit" = "bytes", "x-example" = 67_108_864))]
    pub(in super::super) memory_bytes_max: Option<u32>,
    /// Instances at once. Default: 4,000; for authentication 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1, max = 1_000_000), extend("x-unit" = "instances", "x-example" = 1_000))]
    pub(in super::super) instances_max: Option<u32>,
    /// Calls of all instances together. Default: signaling 50,000, layer selection 20,000, recording 5,000,
    /// authentication 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1, max = 10_000_000), extend("x-unit" = "calls per second", "x-example" = 5_000))]
    pub(in super::super) calls_per_second_max: Option<u32>,
    /// Bytes into and out of all instances together. Default: signaling and layer selection 67,108,864, others
    /// 16,777,216.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1_024, max = 4_294_967_295_u32), extend("x-unit" = "bytes per second", "x-example" = 16_777_216))]
    pub(in super::super) bytes_per_second_max: Option<u32>,
    /// Log lines of all instances together; more are dropped and counted. Default: 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(max = 100_000), extend("x-unit" = "lines per second", "x-example" = 5))]
    pub(in super::super) log_lines_per_second_max: Option<u32>,
    /// Keys and values in `kv`. Default: 1,048,576.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(max = 1_073_741_824), extend("x-unit" = "bytes", "x-example" = 262_144))]
    pub(in super::super) kv_bytes_max: Option<u32>,
    /// HTTP requests under way at once, of all instances together; more wait, within their time. Default: 32.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1, max = 4_096), extend("x-unit" = "requests", "x-example" = 64))]
    pub(in super::super) http_requests_max: Option<u32>,
}

impl Budgets {
    fn is_default(&self) -> bool {
        *self == Budgets::default()
    }
}

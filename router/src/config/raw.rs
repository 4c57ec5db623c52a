//! The file as it is written: one struct per table.
//!
//! This is the only place that says what keys there are. Key, type, default, bound, unit, meaning and
//! memory cost are read from here through the JSON schema: by the checker ([`super::check`]), by the
//! generated `config/rillway.toml` and by `rillway reference schema`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use rillway_core::limits::Limits;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::console::RawConsole;
use super::management::RawManagement;
use super::sandbox::RawSandbox;
use super::traces::RawTraces;
use super::turn::RawTurn;
use super::{DriverChoice, LogFormat, PublicAddress, UdpPorts};

mod plugins;

pub(super) use plugins::{
    Budgets, Layers, Plugin, PluginKey, Policy, Recording, Signaling, SignalingRoute,
};

/// Rillway's configuration.
///
/// All keys but `authentication.policy` have a default: a file holds only what differs. A key that is not
/// listed here is an error. `rillway check FILE` reads a file as the server would, and binds nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) gateway: Gateway,
    pub(super) signaling: Signaling,
    pub(super) authentication: Authentication,
    pub(super) layers: Layers,
    pub(super) recording: Recording,
    pub(super) policy: Policy,
    /// One `[plugins.NAME]` for each policy of your own, and for built-in components that shall differ: a
    /// WebAssembly component and what it may use.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) plugins: BTreeMap<String, Plugin>,
    pub(super) media: Media,
    pub(super) limits: RawLimits,
    pub(super) ice: Ice,
    pub(super) turn: RawTurn,
    pub(super) metrics: Metrics,
    pub(super) traces: RawTraces,
    pub(super) management: RawManagement,
    pub(super) console: RawConsole,
    pub(super) log: Log,
    pub(super) reload: Reload,
    pub(super) shutdown: Shutdown,
    pub(super) sandbox: RawSandbox,
}

/// HTTP and WebSocket for clients. Browsers give camera and microphone only to pages from HTTPS or from
/// localhost: for other machines, put a TLS proxy before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Gateway {
    /// Address and TCP port to listen on. `0.0.0.0` and `[::]` mean every interface.
    #[schemars(extend("format" = "socket-address"))]
    pub(super) listen: SocketAddr,
    /// Whether the built-in meeting page is served at `/`.
    pub(super) page: bool,
    /// WebSocket connections open at once; more are answered 503.
    #[schemars(range(min = 1, max = 1_000_000))]
    #[schemars(extend("x-unit" = "connections", "x-memory" = "about 20 KiB each, and up to `message_bytes_max` while a message arrives"))]
    pub(super) connections_max: u32,
    /// Longest message a client may send; a longer one closes its connection. More than
    /// `limits.sdp_bytes`, or a session description could not arrive.
    #[schemars(range(min = 4_096, max = 1_048_576))]
    #[schemars(extend("x-unit" = "bytes", "x-memory" = "at most this much per connection"))]
    pub(super) message_bytes_max: u32,
    /// Messages a client may send; the burst is one second's worth. Above it, its connection is closed.
    #[schemars(range(min = 1, max = 10_000), extend("x-unit" = "messages per second"))]
    pub(super) messages_per_second_max: u32,
    /// Time between pings to a client.
    #[schemars(range(min = 500, max = 60_000), extend("x-unit" = "milliseconds"))]
    pub(super) ping_interval_ms: u32,
    /// A client that is silent this long is gone, and leaves its room. Longer than `ping_interval_ms`.
    #[schemars(range(min = 1_000, max = 600_000), extend("x-unit" = "milliseconds"))]
    pub(super) idle_timeout_ms: u32,
    /// Time a client has to send a whole request head; then it is answered 408.
    #[schemars(range(min = 100, max = 60_000), extend("x-unit" = "milliseconds"))]
    pub(super) header_timeout_ms: u32,
    /// Time a client has to come back whose WebSocket broke, before it leaves its room; it goes on as if nothing had
    /// happened then, if its protocol can do that (that of the page can). Others see it standing still for so long when
    /// it has crashed. 0: it leaves at once.
    #[schemars(range(max = 60_000), extend("x-unit" = "milliseconds"))]
    pub(super) resume_ms: u32,
    /// Origins whose pages may connect, such as `"https://meet.example.org"`; no others may. Empty: the
    /// page's own origin and, as long as the gateway listens on loopback, any page of this machine.
    /// Clients that send no `Origin` are no web pages and always may.
    #[schemars(length(max = 64), extend("items" = serde_json::json!({"type": "string", "format": "origin"})))]
    pub(super) allowed_origins: Vec<String>,
}

impl Default for Gateway {
    fn default() -> Self {
        Gateway {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            page: true,
            connections_max: 10_000,
            message_bytes_max: 131_072,
            messages_per_second_max: 100,
            ping_interval_ms: 5_000,
            idle_timeout_ms: 15_000,
            header_timeout_ms: 5_000,
            resume_ms: 5_000,
            allowed_origins: Vec::new(),
        }
    }
}

/// Who may join.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Authentication {
    /// The policy: a `[plugins.NAME]`, or a built-in component: `"auth-jwt"`, `"auth-webhook"`, or
    /// `"auth-open"`, which admits everybody to every room. It has no default, so that nobody opens a server
    /// by leaving a line out; `rillway dev` takes `"auth-open"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 64), extend("x-example" = "auth-open"))]
    pub(super) policy: Option<String>,
}

/// Workers and their UDP sockets. A worker is a thread with its own port, unless `udp_ports` says otherwise: its
/// candidates name that port, so that no packet lands on the wrong core.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Media {
    /// Worker threads. 0: one per core this process may use.
    #[schemars(range(max = 256))]
    #[schemars(extend("x-unit" = "threads", "x-memory" = "up to 20 MiB of packet buffers each, besides the sockets' own"))]
    pub(super) workers: u16,
    /// Participants of a room that one worker has before those who come go to the next: a large room has a part on
    /// each of several workers then, and its packets cross between them. 0: a room never leaves its worker.
    #[schemars(range(max = 100_000), extend("x-unit" = "participants"))]
    pub(super) participants_per_part: u32,
    /// UDP port, and TCP port, of the first worker; the next ones use the next ports. Open as many in the firewall as
    /// there are workers. 0: any free ports, for tests.
    #[schemars(extend("x-unit" = "port"))]
    pub(super) first_port: u16,
    /// `"per-worker"`: as `first_port` says. `"one"`: all workers are behind the UDP port `first_port`, for firewalls that
    /// are to open one port alone. What the kernel gives to another worker than its own, that hands over. TCP ports stay
    /// one for each worker.
    pub(super) udp_ports: UdpPorts,
    /// Whether the kernel is told which clients are which worker's, where `udp_ports` is `"one"`, so that little is left
    /// to be handed over. That wants CAP_BPF; without it, everything goes on, at a higher cost for each packet.
    pub(super) udp_steering: bool,
    /// How datagrams are read and written.
    pub(super) driver: DriverChoice,
    /// Whether media ports are listened on for TCP too (RFC 6544), for clients whose network carries no UDP.
    /// Clients that can use UDP do: TCP's candidates come after it. Open the same ports in the firewall.
    pub(super) tcp: bool,
    /// TCP connections of one worker; a participant has up to two. Above it, those that have not shown that
    /// they belong to one make room.
    #[schemars(range(min = 1, max = 65_536))]
    #[schemars(extend("x-unit" = "connections", "x-memory" = "about 3 KiB each, and up to 1.3 MiB, kernel included, while its client does not read, for 10 s"))]
    pub(super) tcp_connections_max: u32,
    /// Of those, from one address: behind it may be a whole office.
    #[schemars(range(min = 1, max = 65_536), extend("x-unit" = "connections"))]
    pub(super) tcp_connections_per_address_max: u32,
    /// Addresses to bind. Empty: every address of every interface that is up, loopback included, link-local
    /// not. `0.0.0.0` is refused: a client must be told an address it can reach.
    #[schemars(length(max = 64))]
    pub(super) bind: Vec<IpAddr>,
    /// Interfaces whose addresses are bound where `bind` is empty: a name each, such as `"eth0"`; `"eth*"` means all that
    /// begin so, and `"!docker*"` leaves them out. Empty: every one.
    #[schemars(length(max = 32), extend("items" = serde_json::json!({"type": "string", "format": "interface"})))]
    pub(super) interfaces: Vec<String>,
    /// Addresses that clients are told instead of the bound ones, where a NAT forwards to this machine.
    /// `"203.0.113.7"` stands for every bound address of its family but loopback;
    /// `"203.0.113.7/10.0.0.5"` for 10.0.0.5 alone. Ports are never translated.
    #[schemars(length(max = 64))]
    pub(super) public_addresses: Vec<PublicAddress>,
    /// STUN servers, `HOST:PORT`, that are asked at the start where they see each bound address: for machines behind a 1:1
    /// NAT whose address outside is not known when this is written. What they say goes before `public_addresses`. Where
    /// none of them answers within two seconds, `public_addresses` stands, and without one the router does not start.
    #[schemars(length(max = 8), extend("items" = serde_json::json!({"type": "string", "format": "stun-server"})))]
    pub(super) public_address_servers: Vec<String>,
    /// Receive buffer of each socket. The kernel caps it at `net.core.rmem_max`.
    #[schemars(range(min = 65_536, max = 268_435_456))]
    #[schemars(extend("x-unit" = "bytes", "x-memory" = "up to twice this per worker and bound address, while it is full"))]
    pub(super) receive_buffer_bytes: u32,
    /// Send buffer of each socket. The kernel caps it at `net.core.wmem_max`.
    #[schemars(range(min = 65_536, max = 268_435_456))]
    #[schemars(extend("x-unit" = "bytes", "x-memory" = "up to twice this per worker and bound address, while it is full"))]
    pub(super) send_buffer_bytes: u32,
    /// Whether worker n is pinned to the n-th core this process may use. All other threads, those of plugins among them,
    /// then stay on the cores that are left, if there are any: have fewer workers than cores.
    pub(super) pin_cpus: bool,
}

impl Default for Media {
    fn default() -> Self {
        Media {
            workers: 0,
            participants_per_part: 200,
            first_port: 40_000,
            udp_ports: UdpPorts::PerWorker,
            udp_steering: true,
            driver: DriverChoice::Auto,
            tcp: true,
            tcp_connections_max: 512,
            tcp_connections_per_address_max: 256,
            bind: Vec::new(),
            interfaces: Vec::new(),
            public_addresses: Vec::new(),
            public_address_servers: Vec::new(),
            receive_buffer_bytes: 4 * 1024 * 1024,
            send_buffer_bytes: 4 * 1024 * 1024,
            pin_cpus: false,
        }
    }
}

/// Bounds of the media core. What is over a bound is refused or dropped, counted, and hurts nobody else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Limits")]
pub(super) struct RawLimits {
    /// Participants in one room.
    #[schemars(range(min = 1, max = 10_000))]
    #[schemars(extend("x-unit" = "participants", "x-memory" = "about 130 KiB each; per track received 12 KiB, and up to 500 KiB for retransmission while video flows"))]
    pub(super) participants_per_room: u32,
    /// Rooms of one worker.
    #[schemars(range(min = 1, max = 1_000_000), extend("x-unit" = "rooms"))]
    pub(super) rooms: u32,
    /// Tracks one participant may publish.
    #[schemars(range(min = 1, max = 256), extend("x-unit" = "tracks"))]
    pub(super) tracks_per_participant: u16,
    /// Tracks one participant may receive at once; each is a media section of its session description.
    #[schemars(range(min = 1, max = 1_000), extend("x-unit" = "tracks"))]
    pub(super) subscriptions_per_participant: u16,
    /// Longest session description; a longer one is refused before it is parsed.
    #[schemars(range(min = 4_096, max = 262_144), extend("x-unit" = "bytes"))]
    pub(super) sdp_bytes: u32,
    /// Longest data message.
    #[schemars(range(min = 1_024, max = 262_144), extend("x-unit" = "bytes"))]
    pub(super) data_message_bytes: u32,
    /// Data one participant may send; the burst is one second's worth.
    #[schemars(range(min = 1_024, max = 134_217_728), extend("x-unit" = "bytes per second"))]
    pub(super) data_bytes_per_second: u32,
    /// Data queued toward one receiver; at least `data_message_bytes`.
    #[schemars(range(min = 1_024, max = 67_108_864))]
    #[schemars(extend("x-unit" = "bytes", "x-memory" = "at most this much per participant"))]
    pub(super) data_queue_bytes: u32,
    /// STUN binding requests without credentials that one worker answers on its media ports (RFC 8489); the
    /// burst is one second's worth, and one address gets 50. 0: none. ICE's own checks are not counted.
    #[schemars(range(max = 100_000), extend("x-unit" = "answers per second"))]
    pub(super) stun_answers_per_second: u32,
}

impl Default for RawLimits {
    fn default() -> Self {
        let core = Limits::default();
        RawLimits {
            participants_per_room: core.participants_per_room,
            rooms: core.rooms,
            tracks_per_participant: core.tracks_per_participant,
            subscriptions_per_participant: core.subscriptions_per_participant,
            sdp_bytes: core.sdp_bytes,
            data_message_bytes: core.data_message_bytes,
            data_bytes_per_second: core.data_bytes_per_second,
            data_queue_bytes: core.data_queue_bytes,
            stun_answers_per_second: core.stun_answers_per_second,
        }
    }
}

impl From<&RawLimits> for Limits {
    // A bound the core gained keeps its default until it has a key; a test asks for the key.
    #[allow(clippy::needless_update)]
    fn from(raw: &RawLimits) -> Limits {
        Limits {
            participants_per_room: raw.participants_per_room,
            rooms: raw.rooms,
            tracks_per_participant: raw.tracks_per_participant,
            subscriptions_per_participant: raw.subscriptions_per_participant,
            sdp_bytes: raw.sdp_bytes,
            data_message_bytes: raw.data_message_bytes,
            data_bytes_per_second: raw.data_bytes_per_second,
            data_queue_bytes: raw.data_queue_bytes,
            stun_answers_per_second: raw.stun_answers_per_second,
            ..Limits::default()
        }
    }
}

/// STUN and TURN servers that clients are told of. A router with a public address needs none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Ice {
    /// One `[[ice.servers]]` each, in the order clients shall try them.
    #[schemars(length(max = 8))]
    pub(super) servers: Vec<IceServer>,
}

/// A STUN or TURN server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IceServer {
    /// Its URLs: `stun:`, `stuns:`, `turn:` or `turns:` (RFC 7064, RFC 7065).
    #[schemars(length(min = 1, max = 8), extend("items" = serde_json::json!({"type": "string", "format": "ice-url"})))]
    #[schemars(extend("x-example" = ["turn:turn.example.org:3478?transport=udp"]))]
    pub(super) urls: Vec<String>,
    /// User name; TURN needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 512), extend("x-example" = "rillway"))]
    pub(super) username: Option<String>,
    /// File with the credential, which TURN needs; relative to this file. Its text without the last line
    /// break. Only its owner and group may be able to read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 4_096), extend("x-example" = "turn.credential"))]
    pub(super) credential_file: Option<PathBuf>,
}

/// Metrics for Prometheus, on a listener of their own: `GET /metrics`. Their names are in `docs/metrics.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Metrics {
    /// Whether there is such a listener.
    pub(super) enabled: bool,
    /// Address and TCP port to listen on.
    #[schemars(extend("format" = "socket-address"))]
    pub(super) listen: SocketAddr,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            enabled: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 9090)),
        }
    }
}

/// Log lines, on standard error. One cause gives at most one line per second; the next line says how many
/// were left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Log {
    /// What a line looks like.
    pub(super) format: LogFormat,
    /// Which lines are written: a level (`error`, `warn`, `info`, `debug`, `trace`), or directives such as
    /// `"info,rillway::gateway=debug"`.
    #[schemars(length(max = 1_024), extend("format" = "log-filter"))]
    pub(super) filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Log {
            format: LogFormat::Json,
            filter: "info".to_owned(),
        }
    }
}

/// When this file is read again, beside SIGHUP and `rillway config reload`. A file that cannot be used changes
/// nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Reload {
    /// When the file has changed, and was left alone for half a second since. Files that it names do not count.
    pub(super) watch: bool,
}

/// What happens on SIGTERM and Ctrl-C. The second signal ends the process at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Shutdown {
    /// Time between the notice to clients and the end of their connections. New clients are refused
    /// meanwhile.
    #[schemars(range(max = 600_000), extend("x-unit" = "milliseconds"))]
    pub(super) notice_ms: u32,
}

impl Default for Shutdown {
    fn default() -> Self {
        Shutdown { notice_ms: 1_000 }
    }
}

impl fmt::Display for PublicAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bound {
            Some(bound) => write!(f, "{}/{bound}", self.public),
            None => write!(f, "{}", self.public),
        }
    }
}

impl FromStr for PublicAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = |part: &str| {
            part.parse::<IpAddr>()
                .map_err(|_| format!("`{part}` is no IP address"))
        };
        match text.split_once('/') {
            None => Ok(PublicAddress {
                public: address(text)?,
                bound: None,
            }),
            Some((public, bound)) => Ok(PublicAddress {
                public: address(public)?,
                bound: Some(address(bound)?),
            }),
        }
    }
}

impl Serialize for PublicAddress {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for PublicAddress {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "PublicAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "public-address" })
    }
}

//! Configuration: TOML → raw → validated [`Config`].
//!
//! Every key with its meaning, unit, default, bound and memory cost is in `config/rillway.toml`, which is
//! generated from the raw structs' doc comments. Nothing here binds a port.

mod change;
mod check;
mod console;
mod credentials;
mod error;
mod keys;
mod load;
mod management;
mod plugins;
mod provenance;
mod raw;
mod reference;
mod sandbox;
mod source;
mod traces;
mod turn;
mod validate;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use change::{Change, RereadError, Setting};
pub use console::Console;
pub use error::{ConfigError, Key, Problem};
pub use keys::{Effect, reloads};
pub(crate) use load::TEMPORARY_PREFIX;
pub use load::{MetricsFlag, Overrides};
pub use management::Management;
pub use plugins::{
    Budgets, Capability, Component, KeyAlgorithm, LayerSelection, Plugin, PluginKey, Policy,
    SignalingRoute,
};
pub use provenance::Origin;
pub use reference::{reference, schema};
pub use rillway_core::limits::Limits;
pub use sandbox::{Confinement, Sandbox};
pub use traces::Traces;
pub use turn::{Turn, TurnIdentity};
pub(crate) use validate::read_private;

/// A whole, valid configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// HTTP and WebSocket for clients.
    pub gateway: Gateway,
    /// The management channel; `None` when it is off.
    pub management: Option<Management>,
    /// The console page; `None` when it is off.
    pub console: Option<Console>,
    /// Workers and their UDP sockets.
    pub media: Media,
    /// Bounds of the media core, per worker.
    pub limits: Limits,
    /// The Prometheus listener; `None` when it is switched off.
    pub metrics: Option<Metrics>,
    /// Where traces go; `None`: nowhere.
    pub traces: Option<Traces>,
    /// Log output.
    pub log: Log,
    /// The plugin host.
    pub policy: Policy,
    /// Every policy that is used or has a table, by name.
    pub plugins: BTreeMap<String, Plugin>,
    /// Paths that lead to signaling policies; at least one.
    pub signaling_routes: Vec<SignalingRoute>,
    /// The policy that says who may join.
    pub authentication: String,
    /// The policy that selects layers; `None`: the router's own choice.
    pub layers: Option<LayerSelection>,
    /// The policy that decides what is recorded; `None`: nothing is.
    pub recording: Option<String>,
    /// Where and how it is written; `None`: there is no place for it.
    pub recorder: Option<Recorder>,
    /// ICE servers handed to clients, in order.
    pub ice_servers: Vec<IceServer>,
    /// The TURN relay; `None` when it is off.
    pub turn: Option<Turn>,
    /// How the process ends.
    pub shutdown: Shutdown,
    /// When its file is read again by itself.
    pub reload: Reload,
    /// What of the file system `rillway serve` keeps to itself.
    pub sandbox: Sandbox,
    provenance: provenance::Provenance,
}

/// HTTP and WebSocket for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gateway {
    /// Where it listens (TCP).
    pub listen: SocketAddr,
    /// Whether the built-in page is served at `/`.
    pub page: bool,
    /// Client connections open at once.
    pub connections_max: u32,
    /// Longest message a client may send, bytes.
    pub message_bytes_max: u32,
    /// Messages per second a client may send; the burst is one second's worth.
    pub messages_per_second_max: u32,
    /// Time between pings to a client.
    pub ping_interval: Duration,
    /// A client that is silent this long is gone; longer than `ping_interval`.
    pub idle_timeout: Duration,
    /// Time a client has to send its whole request head.
    pub header_timeout: Duration,
    /// Time a client has to come back whose WebSocket broke; zero: none.
    pub resume: Duration,
    /// Origins (RFC 6454) whose pages may connect; empty admits the page's own origin and clients that
    /// send none.
    pub allowed_origins: Vec<String>,
}

/// Workers and their UDP sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Media {
    /// Worker threads.
    pub workers: NonZeroU16,
    /// Participants of a room that one worker has before others go to another one; 0: any number.
    pub participants_per_part: u32,
    /// UDP port of worker 0; worker n uses `first_port + n`, which never exceeds 65,535, or the same. 0: every
    /// worker takes any free port, or all the one that the first gets.
    pub first_port: u16,
    /// Whether each worker has a UDP port of its own.
    pub udp_ports: UdpPorts,
    /// Whether the kernel is asked to give datagrams to their workers, where all are behind one port.
    pub udp_steering: bool,
    /// How datagrams are read and written.
    pub driver: DriverChoice,
    /// Whether workers listen on TCP beside UDP, and how many connections they have at most.
    pub tcp: Option<MediaTcp>,
    /// Addresses every worker binds; empty means every interface that is up,
    /// loopback included, link-local not. Never unspecified, never twice the same.
    pub bind: Vec<IpAddr>,
    /// Interfaces whose addresses are bound where `bind` is empty; empty means every one. Of these two, one is empty.
    pub interfaces: Vec<String>,
    /// Addresses advertised in place of bound ones (see [`Media::advertised`]).
    pub public_addresses: Vec<PublicAddress>,
    /// STUN servers that are asked for them at the start.
    pub public_address_servers: Vec<String>,
    /// `SO_RCVBUF` of each socket, bytes.
    pub receive_buffer_bytes: u32,
    /// `SO_SNDBUF` of each socket, bytes.
    pub send_buffer_bytes: u32,
    /// Whether each worker is pinned to a core.
    pub pin_cpus: bool,
}

impl Media {
    /// Whether several workers are behind one UDP port.
    #[must_use]
    pub fn shares_port(&self) -> bool {
        self.udp_ports == UdpPorts::One && self.workers.get() > 1
    }

    /// UDP port of a worker; 0 (any free one) if `first_port` is 0.
    #[must_use]
    pub fn port(&self, worker: u16) -> u16 {
        match self.shares_port() {
            false => self.nth_port(worker),
            true => self.first_port,
        }
    }

    /// TCP port of a worker where it is not that of its UDP: a connection is one worker's from the start.
    #[must_use]
    pub fn tcp_port(&self, worker: u16) -> Option<u16> {
        self.shares_port().then(|| self.nth_port(worker))
    }

    fn nth_port(&self, worker: u16) -> u16 {
        match self.first_port {
            0 => 0,
            first => first.saturating_add(worker),
        }
    }

    /// Addresses advertised to clients for a socket bound to `bound`: its own mapping if there is one,
    /// else the public address of its family (not for loopback), else `bound` itself.
    #[must_use]
    pub fn advertised(&self, bound: IpAddr) -> IpAddr {
        let mapped = self
            .public_addresses
            .iter()
            .find(|p| p.bound == Some(bound));
        let single = || {
            self.public_addresses.iter().find(|p| {
                p.bound.is_none() && p.public.is_ipv4() == bound.is_ipv4() && !bound.is_loopback()
            })
        };
        mapped.or_else(single).map_or(bound, |p| p.public)
    }
}

/// Bounds of media over TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaTcp {
    /// Connections of a worker.
    pub connections_max: u32,
    /// Of those, from one address.
    pub connections_per_address_max: u32,
}

/// An address clients reach us by, where a NAT stands before the bound one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicAddress {
    /// What clients are told.
    pub public: IpAddr,
    /// The bound address it stands for; `None`: every one of its family but loopback.
    pub bound: Option<IpAddr>,
}

/// `media.driver`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum DriverChoice {
    /// io_uring where the kernel allows it, else `recvmmsg` and `sendmmsg`; a log line and a metric say which.
    #[default]
    Auto,
    /// io_uring, or the process ends with an error that says why not.
    Ring,
    /// `recvmmsg` and `sendmmsg`, for hosts that forbid io_uring.
    Mmsg,
}

/// `media.udp_ports`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum UdpPorts {
    /// Each worker has its own, so no datagram comes to another than its worker.
    #[default]
    PerWorker,
    /// All workers are behind one; what comes to another than its worker is handed over.
    One,
}

/// The Prometheus listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Where it listens (TCP).
    pub listen: SocketAddr,
}

/// Log output.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Log {
    /// One line per event, for people or for machines.
    pub format: LogFormat,
    /// `tracing-subscriber` filter directives, already found to parse.
    pub filter: String,
}

/// `log.format`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For a terminal; coloured if it is one.
    Human,
    /// One JSON object per line.
    #[default]
    Json,
}

/// Where and how recordings are written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recorder {
    /// The folder beneath which everything is written.
    pub directory: PathBuf,
    /// It is nobody's choice, and goes with the router if nothing is in it.
    pub temporary: bool,
    /// Below so much free space, bytes, nothing is recorded.
    pub free_bytes_min: u64,
    /// How often what is written is made durable.
    pub sync_every: Duration,
    /// Packets between each worker and the recorder, at least 512.
    pub queue_packets: u32,
    /// Files written at once, at least 1.
    pub files_max: u32,
}

/// A STUN or TURN server clients are told of (`RTCIceServer`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IceServer {
    /// Its URLs (RFC 7064, RFC 7065); at least one.
    pub urls: Vec<String>,
    /// User name; with every TURN URL.
    pub username: Option<String>,
    /// Credential, read from its file; with every TURN URL.
    pub credential: Option<Secret>,
}

/// Text that neither logs nor error messages show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Secret(text)
    }

    /// The text, to be handed to whom it is meant for.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// When a configuration's file is read again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reload {
    /// When it has changed.
    pub watch: bool,
}

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shutdown {
    /// Time between the notice to clients and the closing of their connections.
    pub notice: Duration,
}

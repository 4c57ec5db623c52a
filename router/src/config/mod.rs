//! Configuration: TOML → raw → validated [`Config`].
//!
//! Every key with its meaning, unit, default, bound and memory cost is in `config/rillway.toml`, which is
//! generated from the raw structs' doc comments. Nothing here binds a port.

mod error;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

pub use error::{ConfigError, Key};
pub use rillway_core::limits::Limits;

/// A whole, valid configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// HTTP and WebSocket for clients.
    pub gateway: Gateway,
    /// Workers and their UDP sockets.
    pub media: Media,
    /// Bounds of the media core, per worker.
    pub limits: Limits,
    /// The Prometheus listener; `None` when it is switched off.
    pub metrics: Option<Metrics>,
    /// Log output.
    pub log: Log,
    /// Who may join.
    pub authentication: Authentication,
    /// ICE servers handed to clients, in order.
    pub ice_servers: Vec<IceServer>,
    /// How the process ends.
    pub shutdown: Shutdown,
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
    /// UDP port of worker 0; worker n uses `first_port + n`, which never exceeds 65,535. 0: every
    /// worker takes any free port.
    pub first_port: u16,
    /// How datagrams are read and written.
    pub driver: DriverChoice,
    /// Addresses every worker binds; empty means every interface that is up,
    /// loopback included, link-local not. Never unspecified, never twice the same.
    pub bind: Vec<IpAddr>,
    /// Addresses advertised in place of bound ones (see [`Media::advertised`]).
    pub public_addresses: Vec<PublicAddress>,
    /// `SO_RCVBUF` of each socket, bytes.
    pub receive_buffer_bytes: u32,
    /// `SO_SNDBUF` of each socket, bytes.
    pub send_buffer_bytes: u32,
    /// Whether each worker is pinned to a core.
    pub pin_cpus: bool,
}

impl Media {
    /// UDP port of a worker; 0 (any free one) if `first_port` is 0.
    #[must_use]
    pub fn port(&self, worker: u16) -> u16 {
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

/// An address clients reach us by, where a NAT stands before the bound one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicAddress {
    /// What clients are told.
    pub public: IpAddr,
    /// The bound address it stands for; `None`: every one of its family but loopback.
    pub bound: Option<IpAddr>,
}

/// `media.driver`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DriverChoice {
    /// The ring where the kernel allows it, else `Mmsg`.
    #[default]
    Auto,
    /// io_uring, or the process ends with an error.
    Ring,
    /// `recvmmsg` and `sendmmsg`.
    Mmsg,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For a terminal; coloured if it is one.
    Human,
    /// One JSON object per line.
    #[default]
    Json,
}

/// Who may join.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Authentication {
    /// The rule in force.
    pub policy: AuthenticationPolicy,
}

/// `authentication.policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthenticationPolicy {
    /// Anybody may join any room and publish.
    Open,
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

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shutdown {
    /// Time between the notice to clients and the closing of their connections.
    pub notice: Duration,
}

impl Config {
    /// What `rillway dev` runs with: loopback, the page, open authentication, human logs.
    #[must_use]
    pub fn dev() -> Self {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Config {
            gateway: Gateway {
                listen: SocketAddr::new(loopback, 8080),
                page: true,
                connections_max: 10_000,
                message_bytes_max: 131_072,
                messages_per_second_max: 100,
                ping_interval: Duration::from_secs(5),
                idle_timeout: Duration::from_secs(15),
                header_timeout: Duration::from_secs(5),
                allowed_origins: Vec::new(),
            },
            media: Media {
                workers: std::thread::available_parallelism()
                    .ok()
                    .and_then(|n| {
                        NonZeroU16::try_from(u16::try_from(n.get()).unwrap_or(u16::MAX)).ok()
                    })
                    .unwrap_or(NonZeroU16::MIN),
                first_port: 40_000,
                driver: DriverChoice::Auto,
                bind: Vec::new(),
                public_addresses: Vec::new(),
                receive_buffer_bytes: 4 << 20,
                send_buffer_bytes: 4 << 20,
                pin_cpus: false,
            },
            limits: Limits::default(),
            metrics: Some(Metrics {
                listen: SocketAddr::new(loopback, 9090),
            }),
            log: Log {
                format: LogFormat::Human,
                filter: "info".to_owned(),
            },
            authentication: Authentication {
                policy: AuthenticationPolicy::Open,
            },
            ice_servers: Vec::new(),
            shutdown: Shutdown {
                notice: Duration::from_millis(500),
            },
        }
    }

    /// The report for an address that could not be bound, naming the key, the file and line it came
    /// from, and the address. Exit code 78, like every [`ConfigError`].
    #[must_use]
    pub fn bind_error(&self, key: Key, address: SocketAddr, error: &std::io::Error) -> ConfigError {
        ConfigError::bind(key, address, error)
    }

    /// The report for a value that this machine refuses at run time for another reason than a bind.
    #[must_use]
    pub fn refused(&self, key: Key, problem: &str, help: &str) -> ConfigError {
        ConfigError::refused(key, problem, help)
    }
}

//! `[turn]`: as it is written, checked, and as it is used.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Secret;

/// A shorter secret can be guessed from one user name and its password.
pub(super) const SECRET_CHARS_MIN: usize = 16;

/// The TURN relay (`docs/turn.md`), for clients whose network lets nothing through to the media ports. Off unless `udp`,
/// `tcp` or `tls` names an address. It relays to this router's media addresses and to nothing else; clients are given
/// credentials when they join.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Turn")]
pub(super) struct RawTurn {
    /// Addresses and UDP ports to listen on; 3478 is TURN's. `0.0.0.0` is refused: a client must be told an address it
    /// can reach, and is told that of `media.public_addresses` where there is one.
    #[schemars(length(max = 16), extend("items" = serde_json::json!({"type": "string", "format": "socket-address"})))]
    pub(super) udp: Vec<SocketAddr>,
    /// The same for TCP, for networks without UDP.
    #[schemars(length(max = 16), extend("items" = serde_json::json!({"type": "string", "format": "socket-address"})))]
    pub(super) tcp: Vec<SocketAddr>,
    /// The same for TLS over TCP; 443 passes where nothing else does. Needs `host`, `certificate` and `key`.
    #[schemars(length(max = 16), extend("items" = serde_json::json!({"type": "string", "format": "socket-address"})))]
    pub(super) tls: Vec<SocketAddr>,
    /// Name of this router in the URLs that clients are given, which its certificate is for. Without it, addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 253), extend("x-example" = "turn.example.org"))]
    pub(super) host: Option<String>,
    /// File with the certificate of `tls` in PEM, and those between it and the authority; relative to this file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 4_096), extend("x-example" = "turn.pem"))]
    pub(super) certificate: Option<PathBuf>,
    /// File with its key in PEM. Only its owner and group may be able to read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 4_096), extend("x-example" = "turn.key"))]
    pub(super) key: Option<PathBuf>,
    /// File with what credentials are made with, one line of at least 16 characters; relative to this file. Only its
    /// owner and group may be able to read it. Whoever has it can make credentials (coturn's `static-auth-secret`).
    /// Without it there is another one at each start, which is enough where only this router makes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 4_096), extend("x-example" = "turn.secret"))]
    pub(super) secret_file: Option<PathBuf>,
    /// The realm that clients are asked for credentials of.
    #[schemars(length(min = 1, max = 64))]
    pub(super) realm: String,
    /// Addresses of this machine to relay from, one of each family at most. Empty: those that are listened on.
    #[schemars(length(max = 2))]
    pub(super) relay_addresses: Vec<IpAddr>,
    /// First UDP port to relay from; an allocation takes one. Only the router's own workers send to them, unless
    /// `public_peers` is set.
    #[schemars(range(min = 1_024, max = 65_535), extend("x-unit" = "port"))]
    pub(super) relay_first_port: u16,
    /// The last such port.
    #[schemars(range(min = 1_024, max = 65_535), extend("x-unit" = "port"))]
    pub(super) relay_last_port: u16,
    /// Whether clients may relay to public unicast addresses too, for direct calls. Loopback, private, link-local and
    /// multicast addresses and other ports of this machine are never relayed to.
    pub(super) public_peers: bool,
    /// How long credentials are good for making an allocation; not longer than the grant they were made for. Who has one
    /// keeps it.
    #[schemars(range(min = 60, max = 604_800), extend("x-unit" = "seconds"))]
    pub(super) credential_seconds: u32,
    /// Allocations at once.
    #[schemars(range(min = 1, max = 60_000))]
    #[schemars(extend("x-unit" = "allocations", "x-memory" = "about 5 KiB each and a socket, and up to 256 KiB while a client over TCP does not read"))]
    pub(super) allocations_max: u32,
    /// Of those, of one identity. A browser takes one for each of the URLs that it reaches, twice for its two connections, and as many again in an ICE restart.
    #[schemars(range(min = 1, max = 60_000), extend("x-unit" = "allocations"))]
    pub(super) allocations_per_user_max: u32,
    /// Of those, of one client address: behind it may be a whole office.
    #[schemars(range(min = 1, max = 60_000), extend("x-unit" = "allocations"))]
    pub(super) allocations_per_address_max: u32,
    /// Answers to those who have no allocation, of all together; the burst is one second's worth, and one address gets 50.
    /// An answer that asks for credentials is longer than what it answers, and its way back may be forged.
    #[schemars(range(min = 1, max = 100_000), extend("x-unit" = "answers per second"))]
    pub(super) stranger_answers_per_second: u32,
}

impl Default for RawTurn {
    fn default() -> Self {
        RawTurn {
            udp: Vec::new(),
            tcp: Vec::new(),
            tls: Vec::new(),
            host: None,
            certificate: None,
            key: None,
            secret_file: None,
            realm: "rillway".to_owned(),
            relay_addresses: Vec::new(),
            relay_first_port: 49_152,
            relay_last_port: 65_535,
            public_peers: false,
            credential_seconds: 14_400,
            allocations_max: 1_000,
            allocations_per_user_max: 40,
            allocations_per_address_max: 256,
            stranger_answers_per_second: 500,
        }
    }
}

/// The TURN relay.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Turn {
    /// Where it listens on UDP; no address is unspecified, here and below.
    pub udp: Vec<SocketAddr>,
    /// On TCP.
    pub tcp: Vec<SocketAddr>,
    /// On TLS over TCP.
    pub tls: Vec<SocketAddr>,
    /// Name in URLs; with every TLS listener.
    pub host: Option<String>,
    /// With every TLS listener.
    pub identity: Option<TurnIdentity>,
    /// What credentials are made with; `None`: chosen at the start.
    pub secret: Option<Secret>,
    /// The realm.
    pub realm: String,
    /// Addresses to relay from, at least one, at most one of each family.
    pub relay_addresses: Vec<IpAddr>,
    /// Ports to relay from.
    pub relay_ports: RangeInclusive<u16>,
    /// Whether public unicast peers are allowed.
    pub public_peers: bool,
    /// How long credentials are good.
    pub credential_time: Duration,
    /// Allocations at once.
    pub allocations_max: u32,
    /// Of those, of one identity.
    pub allocations_per_user_max: u32,
    /// Of those, of one address.
    pub allocations_per_address_max: u32,
    /// Answers to strangers a second.
    pub stranger_answers_per_second: u32,
}

/// Certificate and key of the TLS listeners, in PEM, found to belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnIdentity {
    /// The certificate and those between it and the authority.
    pub certificate: String,
    /// Its key.
    pub key: Secret,
}

//! What a driver is opened with.

use std::net::SocketAddr;
use std::{fmt, str};

use crate::bookkeeping::outbox::MESSAGE_BYTES_MAX;
use crate::open::OpenError;
use crate::steering::Steering;

/// Which driver an operator asked for (`driver` in TOML).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DriverChoice {
    /// io_uring where it works, else `recvmmsg`/`sendmmsg`.
    #[default]
    Auto,
    /// io_uring or an error.
    Ring,
    /// `recvmmsg`/`sendmmsg`, io_uring untouched.
    Mmsg,
}

/// Which driver carries the datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DriverKind {
    /// The nested io_uring media ring.
    Ring,
    /// Non-blocking sockets with `recvmmsg`/`sendmmsg`.
    Mmsg,
    /// The in-memory network.
    Sim,
}

impl DriverKind {
    /// The word used in TOML, logs and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Mmsg => "mmsg",
            Self::Sim => "sim",
        }
    }
}

impl fmt::Display for DriverKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Display for DriverChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Auto => "auto",
            Self::Ring => "ring",
            Self::Mmsg => "mmsg",
        })
    }
}

/// A word that is no driver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown driver {0:?}: expected \"auto\", \"ring\" or \"mmsg\"")]
pub struct UnknownDriver(pub String);

impl str::FromStr for DriverChoice {
    type Err = UnknownDriver;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "auto" => Ok(Self::Auto),
            "ring" => Ok(Self::Ring),
            "mmsg" => Ok(Self::Mmsg),
            other => Err(UnknownDriver(other.to_owned())),
        }
    }
}

/// TCP beside UDP (RFC 6544), for clients whose network carries no UDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamConfig {
    /// Connections at once; 1 to 65,536. Above it, those that have shown nothing make room.
    pub connections: usize,
    /// Connections from one address at once; at least 1. Many clients may share a NAT, and each has two.
    pub connections_per_address: usize,
    /// Port to listen on at each address, 0 for any free one; `None`: that of the UDP socket beside it.
    pub port: Option<u16>,
}

impl StreamConfig {
    /// Where to listen beside a UDP socket.
    pub(crate) fn beside(&self, udp: SocketAddr) -> SocketAddr {
        SocketAddr::new(udp.ip(), self.port.unwrap_or(udp.port()))
    }
}

/// Whether a driver's UDP ports are its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PortSharing {
    /// They are: nobody else has them.
    #[default]
    Own,
    /// They are nobody else's when they are bound, and then open to drivers with [`PortSharing::Joined`].
    Opened,
    /// They are shared with those of an opened driver of the same user: the kernel gives each datagram to one of them,
    /// always the same for the same pair of addresses as long as none comes or goes.
    Joined,
}

/// Sockets and memory of one driver (one worker).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DriverConfig {
    /// Addresses to bind, one socket each, in the order of [`crate::SocketId`]; 1 to 64. Port 0 takes
    /// any free port. An IPv6 socket carries IPv6 only, so `0.0.0.0` and `[::]` can share a port.
    pub addresses: Vec<SocketAddr>,
    /// Kernel receive buffer per socket, bytes; default 4 MiB (0.4 s at 80 Mbit/s), 4 KiB to 1 GiB.
    /// Without CAP_NET_ADMIN the kernel caps it at `net.core.rmem_max`; a cap is logged.
    pub receive_socket_bytes: usize,
    /// Kernel send buffer per socket, bytes; default 4 MiB, 4 KiB to 1 GiB, capped likewise by
    /// `net.core.wmem_max`.
    pub send_socket_bytes: usize,
    /// Receive buffers shared by the sockets; default 128, a power of two up to 32,768. Few stay in the
    /// cache; when all are in use, datagrams wait in the kernel. Pages never written cost address
    /// space, not memory.
    pub receive_buffers: u16,
    /// Longest payload one buffer takes, bytes; default 65,536, 2,048 to 65,536. Below 65,507, the
    /// longest train of joined datagrams, GRO is off and longer datagrams are discarded.
    pub receive_buffer_bytes: usize,
    /// Kernel messages queued between two flushes at most; default 512, 1 to 4,096.
    pub send_slots: usize,
    /// Payload bytes queued between two flushes at most; default 4 MiB, 64 KiB to 256 MiB.
    pub send_arena_bytes: usize,
    /// Whether each address is listened on for TCP too, on the same port; default no. Where port 0 was
    /// asked for, and TCP has the port that UDP got already in use, any other.
    pub streams: Option<StreamConfig>,
    /// Whether the UDP ports are shared with other drivers; default no. TCP ports never are.
    pub sharing: PortSharing,
    /// Its place among the drivers behind shared ports, where the kernel steers; default no.
    pub steering: Option<Steering>,
}

impl DriverConfig {
    /// Defaults for these addresses.
    pub fn new(addresses: impl Into<Vec<SocketAddr>>) -> Self {
        Self {
            addresses: addresses.into(),
            receive_socket_bytes: 4 << 20,
            send_socket_bytes: 4 << 20,
            receive_buffers: 128,
            receive_buffer_bytes: 65_536,
            send_slots: 512,
            send_arena_bytes: 4 << 20,
            streams: None,
            sharing: PortSharing::Own,
            steering: None,
        }
    }

    /// Where TCP is listened on, beside each address, as far as ports are known before they are bound; nowhere without
    /// [`DriverConfig::streams`].
    pub fn listened(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.streams.iter().flat_map(|streams| {
            let beside = |udp: &SocketAddr| streams.beside(*udp);
            self.addresses.iter().map(beside)
        })
    }

    /// Whether a buffer holds whatever GRO may join.
    pub(crate) fn joins_datagrams(&self) -> bool {
        self.receive_buffer_bytes >= MESSAGE_BYTES_MAX
    }

    /// Whether no address leaves its port to the kernel.
    pub(crate) fn has_fixed_ports(&self) -> bool {
        self.addresses.iter().all(|address| address.port() != 0)
    }

    /// Checks every bound named at the fields.
    ///
    /// # Errors
    /// [`OpenError::Config`] with the first bound broken.
    pub fn validate(&self) -> Result<(), OpenError> {
        let socket_bytes = 4 << 10..=1 << 30;
        let checks = [
            (
                (1..=64).contains(&self.addresses.len()),
                "a driver binds 1 to 64 addresses",
            ),
            (
                socket_bytes.contains(&self.receive_socket_bytes),
                "receive_socket_bytes is 4 KiB to 1 GiB",
            ),
            (
                socket_bytes.contains(&self.send_socket_bytes),
                "send_socket_bytes is 4 KiB to 1 GiB",
            ),
            (
                self.receive_buffers.is_power_of_two() && self.receive_buffers <= 1 << 15,
                "receive_buffers is a power of two up to 32768",
            ),
            (
                (2_048..=65_536).contains(&self.receive_buffer_bytes),
                "receive_buffer_bytes is 2048 to 65536",
            ),
            (
                (1..=4_096).contains(&self.send_slots),
                "send_slots is 1 to 4096",
            ),
            (
                (64 << 10..=256 << 20).contains(&self.send_arena_bytes),
                "send_arena_bytes is 64 KiB to 256 MiB",
            ),
            (
                self.streams.as_ref().is_none_or(|streams| {
                    (1..=65_536).contains(&streams.connections)
                        && streams.connections_per_address >= 1
                }),
                "a driver has 1 to 65536 TCP connections, and 1 or more from one address",
            ),
        ];
        match checks.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(OpenError::Config(rule)),
            None => Ok(()),
        }
    }
}

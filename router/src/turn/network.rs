//! The sockets that relay.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::rc::{Rc, Weak};

use rillway_turn::{Client, Family, ListenerId, Network, NoRelay};
use tokio::task::AbortHandle;

use super::streams::Pipe;
use super::{Shared, relayed};

/// Ports tried for one allocation. Where so many in a row are taken, all are.
const TRIES: u16 = 64;

/// What could not be sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SocketStats {
    /// Streams now.
    pub(crate) connections: u64,
    /// Packets dropped because a client did not take them.
    pub(crate) dropped_to_clients: u64,
    /// Packets dropped because they could not be sent to a peer.
    pub(crate) dropped_to_peers: u64,
}

struct RelaySocket {
    socket: Rc<tokio::net::UdpSocket>,
    receives: AbortHandle,
}

/// Every socket of the relay.
pub(super) struct Sockets {
    shared: Weak<Shared>,
    listeners: HashMap<ListenerId, Rc<tokio::net::UdpSocket>>,
    streams: HashMap<Client, Rc<Pipe>>,
    /// By the address that clients are told.
    relays: HashMap<SocketAddr, RelaySocket>,
    /// Relayed from, and what clients are told.
    addresses: Vec<(IpAddr, IpAddr)>,
    ports: RangeInclusive<u16>,
    stats: SocketStats,
}

impl Sockets {
    pub(super) fn new(
        shared: Weak<Shared>,
        addresses: Vec<(IpAddr, IpAddr)>,
        ports: RangeInclusive<u16>,
    ) -> Self {
        Sockets {
            shared,
            listeners: HashMap::new(),
            streams: HashMap::new(),
            relays: HashMap::new(),
            addresses,
            ports,
            stats: SocketStats::default(),
        }
    }

    pub(super) fn stats(&self) -> SocketStats {
        SocketStats {
            connections: self.streams.len() as u64,
            ..self.stats
        }
    }

    pub(super) fn listen(&mut self, id: ListenerId, socket: Rc<tokio::net::UdpSocket>) {
        self.listeners.insert(id, socket);
    }

    /// A stream has begun.
    pub(super) fn connect(&mut self, client: Client, pipe: Rc<Pipe>) {
        self.streams.insert(client, pipe);
    }

    /// It has ended.
    pub(super) fn disconnect(&mut self, client: Client) {
        self.streams.remove(&client);
    }

    /// A socket on a port that nobody can guess the next one from (RFC 8656 §7.2).
    fn bind(&self, address: IpAddr) -> Option<UdpSocket> {
        let mut random = [0; 2];
        getrandom::fill(&mut random).ok()?;
        let (first, last) = (*self.ports.start(), *self.ports.end());
        let count = u32::from(last - first) + 1;
        let start = u32::from(u16::from_ne_bytes(random)) % count;
        let tries = count.min(u32::from(TRIES));
        (0..tries).find_map(|step| {
            let port = u16::try_from(u32::from(first) + (start + step) % count).ok()?;
            let socket = UdpSocket::bind((address, port)).ok()?;
            socket.set_nonblocking(true).ok()?;
            Some(socket)
        })
    }
}

impl Network for Sockets {
    fn open(&mut self, family: Family) -> Result<SocketAddr, NoRelay> {
        let of_family = |(bound, _): &&(IpAddr, IpAddr)| bound.is_ipv4() == (family == Family::V4);
        let (bound, told) = self
            .addresses
            .iter()
            .find(of_family)
            .ok_or(NoRelay::Family)?;
        let socket = self.bind(*bound).ok_or(NoRelay::Ports)?;
        let port = socket.local_addr().map_err(|_| NoRelay::Ports)?.port();
        let socket = tokio::net::UdpSocket::from_std(socket).map_err(|_| NoRelay::Ports)?;
        let (socket, told) = (Rc::new(socket), SocketAddr::new(*told, port));
        let shared = self.shared.upgrade().ok_or(NoRelay::Ports)?;
        let task = tokio::task::spawn_local(relayed(shared, told, socket.clone()));
        let relay = RelaySocket {
            socket,
            receives: task.abort_handle(),
        };
        self.relays.insert(told, relay);
        Ok(told)
    }

    fn close(&mut self, relay: SocketAddr) {
        if let Some(relay) = self.relays.remove(&relay) {
            relay.receives.abort();
        }
    }

    fn to_client(&mut self, client: Client, message: &[u8]) {
        let sent = if let Some(pipe) = self.streams.get(&client) {
            pipe.put(message)
        } else if let Some(socket) = self.listeners.get(&client.listener) {
            socket.try_send_to(message, client.address).is_ok()
        } else {
            false
        };
        self.stats.dropped_to_clients += u64::from(!sent);
    }

    fn to_peer(&mut self, relay: SocketAddr, peer: SocketAddr, payload: &[u8]) {
        let relay = self.relays.get(&relay);
        let sent = relay.is_some_and(|r| r.socket.try_send_to(payload, peer).is_ok());
        self.stats.dropped_to_peers += u64::from(!sent);
    }
}

//! The sockets that relay.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use rillway_turn::{Client, Family, ListenerId, Network, NoRelay, Wanted};
use socket2::SockRef;
use tokio::task::AbortHandle;

use super::streams::Pipe;
use super::ways::Ways;
use super::{Shared, Transport, relayed};

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
    /// By listener.
    transports: Vec<Transport>,
    ways: Arc<Ways>,
    stats: SocketStats,
}

impl Sockets {
    pub(super) fn new(
        shared: Weak<Shared>,
        addresses: Vec<(IpAddr, IpAddr)>,
        ports: RangeInclusive<u16>,
        (transports, ways): (Vec<Transport>, Arc<Ways>),
    ) -> Self {
        Sockets {
            shared,
            listeners: HashMap::new(),
            streams: HashMap::new(),
            relays: HashMap::new(),
            addresses,
            ports,
            transports,
            ways,
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
    fn bind(&self, address: IpAddr, even: bool) -> Option<UdpSocket> {
        let mut random = [0; 2];
        getrandom::fill(&mut random).ok()?;
        let (first, last) = (*self.ports.start(), *self.ports.end());
        let count = u32::from(last - first) + 1;
        let start = u32::from(u16::from_ne_bytes(random)) % count;
        let tries = count.min(u32::from(TRIES));
        (0..tries).find_map(|step| {
            let port = u16::try_from(u32::from(first) + (start + step) % count).ok()?;
            if even && port % 2 == 1 {
                return None;
            }
            let socket = UdpSocket::bind((address, port)).ok()?;
            socket.set_nonblocking(true).ok()?;
            Some(socket)
        })
    }
}

impl Network for Sockets {
    fn open(&mut self, client: Client, wanted: Wanted) -> Result<SocketAddr, NoRelay> {
        let v4 = wanted.family == Family::V4;
        let of_family = |(bound, _): &&(IpAddr, IpAddr)| bound.is_ipv4() == v4;
        let (bound, told) = self
            .addresses
            .iter()
            .find(of_family)
            .ok_or(NoRelay::Family)?;
        let socket = self.bind(*bound, wanted.even).ok_or(NoRelay::Ports)?;
        let port = socket.local_addr().map_err(|_| NoRelay::Ports)?.port();
        let socket = tokio::net::UdpSocket::from_std(socket).map_err(|_| NoRelay::Ports)?;
        let (socket, told) = (Rc::new(socket), SocketAddr::new(*told, port));
        let shared = self.shared.upgrade().ok_or(NoRelay::Ports)?;
        if let Some(transport) = self.transports.get(usize::from(client.listener.0)) {
            self.ways.open(port, *transport);
        }
        let task = tokio::task::spawn_local(relayed(shared, told, socket.clone()));
        let relay = RelaySocket {
            socket,
            receives: task.abort_handle(),
        };
        self.relays.insert(told, relay);
        Ok(told)
    }

    fn close(&mut self, relay: SocketAddr) {
        if let Some(socket) = self.relays.remove(&relay) {
            socket.receives.abort();
            self.ways.close(relay.port());
        }
    }

    fn to_client(&mut self, client: Client, message: &[u8]) {
        let sent = if let Some(pipe) = self.streams.get(&client) {
            pipe.put(message)
        } else if let Some(socket) = self.listeners.get(&client.listener) {
            send(socket, message, client.address)
        } else {
            false
        };
        self.stats.dropped_to_clients += u64::from(!sent);
    }

    fn to_peer(&mut self, relay: SocketAddr, peer: SocketAddr, payload: &[u8]) {
        let relay = self.relays.get(&relay);
        let sent = relay.is_some_and(|r| send(&r.socket, payload, peer));
        self.stats.dropped_to_peers += u64::from(!sent);
    }
}

/// Sends at once; false: it cannot be. (The runtime's own way takes a socket that is new for one that is full.)
fn send(socket: &tokio::net::UdpSocket, bytes: &[u8], to: SocketAddr) -> bool {
    let sent = SockRef::from(socket).send_to(bytes, &to.into());
    sent.is_ok()
}

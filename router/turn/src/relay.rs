//! The relay: everything that clients and peers send goes through here.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use turn_server_proto::api::{SocketAllocateError, TurnServerApi as _, TurnServerPollRet};
use turn_types::AddressFamily;
use turn_types::stun::message::Message;

use crate::bucket::Strangers;
use crate::credentials::Secret;
use crate::limits::HALF_OPEN;
use crate::message;
use crate::peers::{PeerError, Peers};
use crate::session::{Session, Tick, contents};
use crate::stats::{Refusal, Stats};

mod admit;

/// Which listener something came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u16);

/// Where a client is: what it came by, and from where. Of a stream there is one between the two at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client {
    /// What it came by.
    pub listener: ListenerId,
    /// From where.
    pub address: SocketAddr,
    /// That it is there is proven: it completed the handshake of a stream.
    pub proven: bool,
}

/// Family of a relayed address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What a relayed address shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Its family.
    pub family: Family,
    /// Its port is even (RFC 8656 §7.2), as those expect who send RTCP by the next one (RFC 3550 §11).
    pub even: bool,
}

/// Why there is no relayed address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoRelay {
    /// None of this family.
    #[error("no address of this family relays")]
    Family,
    /// All ports are taken.
    #[error("no port is free")]
    Ports,
}

/// The sockets. What cannot be sent at once is dropped there, and counted.
pub trait Network {
    /// Takes a port to relay this client's packets by. Returns the address that clients are told.
    ///
    /// # Errors
    /// [`NoRelay`].
    fn open(&mut self, client: Client, wanted: Wanted) -> Result<SocketAddr, NoRelay>;
    /// Gives it back.
    fn close(&mut self, relay: SocketAddr);
    /// Sends to a client.
    fn to_client(&mut self, client: Client, message: &[u8]);
    /// Sends from a relayed address.
    fn to_peer(&mut self, relay: SocketAddr, peer: SocketAddr, payload: &[u8]);
}

/// What a relay is set up with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The realm of its credentials (RFC 8489 §9.2).
    pub realm: String,
    /// What credentials are made with.
    pub secret: Secret,
    /// Whom it reaches.
    pub peers: Peers,
    /// Allocations in total.
    pub allocations_max: usize,
    /// Of those, of one user.
    pub allocations_per_user_max: usize,
    /// Of those, of one address.
    pub allocations_per_address_max: usize,
    /// Answers a second to those who have no allocation.
    pub stranger_answers_per_second: u32,
}

/// A TURN relay. All time is handed in: `now`, and the time since 1970 for credentials.
#[derive(Debug)]
pub struct Relay {
    settings: Settings,
    start: Instant,
    sessions: HashMap<Client, Session>,
    /// Whose a relayed address is.
    relays: HashMap<SocketAddr, Client>,
    users: HashMap<String, usize>,
    addresses: HashMap<IpAddr, usize>,
    half_open: usize,
    strangers: Strangers,
    scratch: Vec<u8>,
    stats: Stats,
}

impl Relay {
    /// With nobody on it.
    #[must_use]
    pub fn new(settings: Settings, now: Instant) -> Self {
        Relay {
            strangers: Strangers::new(settings.stranger_answers_per_second, now),
            settings,
            start: now,
            sessions: HashMap::new(),
            relays: HashMap::new(),
            users: HashMap::new(),
            addresses: HashMap::new(),
            half_open: 0,
            scratch: Vec::new(),
            stats: Stats::default(),
        }
    }

    /// Its numbers.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            allocations: (self.sessions.len() - self.half_open) as u64,
            half_open: self.half_open as u64,
            ..self.stats
        }
    }

    /// Whether this client has an allocation.
    #[must_use]
    pub fn is_allocated(&self, client: &Client) -> bool {
        self.sessions.get(client).is_some_and(|s| s.user.is_some())
    }

    /// Whether nothing is remembered of anybody.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let clients = self.sessions.is_empty() && self.relays.is_empty() && self.half_open == 0;
        clients && self.users.is_empty() && self.addresses.is_empty()
    }

    fn tick(&self, now: Instant) -> Tick {
        let nanos = now.saturating_duration_since(self.start).as_nanos();
        Tick::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
    }

    /// A client sent this: one datagram, or one frame of a stream without its padding. `now`, and the time since 1970.
    pub fn handle_client(
        &mut self,
        client: Client,
        bytes: &[u8],
        (now, unix): (Instant, Duration),
        network: &mut impl Network,
    ) {
        match bytes.first().map(|first| first >> 6) {
            Some(1) => self.forward(client, bytes, now, network),
            Some(0) => match Message::from_bytes(bytes) {
                Ok(message) => self.handle_message(client, &message, (now, unix), network),
                Err(_) => self.stats.refuse(Refusal::Malformed),
            },
            _ => self.stats.refuse(Refusal::Malformed),
        }
    }

    /// A peer sent this to a relayed address.
    pub fn handle_peer(
        &mut self,
        relay: SocketAddr,
        from: SocketAddr,
        payload: &[u8],
        now: Instant,
        network: &mut impl Network,
    ) {
        let tick = self.tick(now);
        let peer = self.settings.peers.inward(from);
        let client = self.relays.get(&relay).copied();
        let (Ok(peer), Some(client)) = (peer, client) else {
            self.stats.unexpected += 1;
            return;
        };
        let Some(session) = self.sessions.get_mut(&client) else {
            return;
        };
        match contained(|| session.peer_sent(relay, peer, payload, tick)) {
            Ok(Some(sent)) => {
                network.to_client(client, contents(sent.data, &mut self.scratch));
                self.stats.to_clients_packets += 1;
                self.stats.to_clients_bytes += payload.len() as u64;
            }
            Ok(None) => self.stats.unexpected += 1,
            Err(Fault) => self.lose(client, network),
        }
    }

    /// The time goes on: what has ended is given back. To be called about once a second.
    pub fn handle_time(&mut self, now: Instant, network: &mut impl Network) {
        let clients: Vec<Client> = self.sessions.keys().copied().collect();
        for client in clients {
            let late = |s: &Session| {
                s.user.is_none() && now.saturating_duration_since(s.began) > HALF_OPEN
            };
            if self.sessions.get(&client).is_some_and(late) {
                self.gone(client, network);
            } else {
                self.pump(client, None, now, network);
            }
        }
    }

    /// A client's stream has ended, and all it had with it.
    pub fn gone(&mut self, client: Client, network: &mut impl Network) {
        let Some(session) = self.sessions.remove(&client) else {
            return;
        };
        for relay in session.relays {
            self.relays.remove(&relay);
            network.close(relay);
        }
        match session.user {
            None => self.half_open -= 1,
            Some(user) => {
                release(&mut self.users, &user);
                release(&mut self.addresses, &client.address.ip());
            }
        }
    }

    /// Channel data and Send indications: what the library makes of them goes to the peer.
    fn forward(&mut self, client: Client, bytes: &[u8], now: Instant, network: &mut impl Network) {
        let tick = self.tick(now);
        let session = self.sessions.get_mut(&client);
        let Some(session) = session.filter(|s| s.user.is_some()) else {
            self.stats.unexpected += 1;
            return;
        };
        let sent = match contained(|| session.client_sent(bytes, tick)) {
            Ok(Some(sent)) => sent,
            Ok(None) => {
                self.stats.unexpected += 1;
                return;
            }
            Err(Fault) => return self.lose(client, network),
        };
        // Once more, whatever the library thinks: nothing else leaves.
        match self.settings.peers.outward(sent.to) {
            Ok(bound) => {
                let payload = contents(sent.data, &mut self.scratch);
                network.to_peer(sent.from, bound, payload);
                self.stats.to_peers_packets += 1;
                self.stats.to_peers_bytes += payload.len() as u64;
            }
            Err(error) => self.refuse_peer(error),
        }
    }

    /// A request that the library may have: its answer goes back, and what it wants done is done.
    fn ask(
        &mut self,
        client: Client,
        message: &Message<'_>,
        now: Instant,
        network: &mut impl Network,
    ) {
        let tick = self.tick(now);
        let Some(session) = self.sessions.get_mut(&client) else {
            return;
        };
        match contained(|| session.client_sent(message.as_bytes(), tick)) {
            Ok(Some(sent)) => {
                network.to_client(client, contents(sent.data, &mut self.scratch));
            }
            Ok(None) => {}
            Err(Fault) => return self.lose(client, network),
        }
        self.pump(client, Some(message.as_bytes()), now, network);
    }

    /// Does what the library of a client wants done. `request`: what the client asked just now.
    fn pump(
        &mut self,
        client: Client,
        request: Option<&[u8]>,
        now: Instant,
        network: &mut impl Network,
    ) {
        let tick = self.tick(now);
        while let Some(session) = self.sessions.get_mut(&client) {
            match contained(|| session.server.poll(tick)) {
                Ok(TurnServerPollRet::AllocateSocket {
                    transport,
                    listen_addr,
                    client_addr,
                    allocation_transport,
                    family,
                }) => {
                    let even = request.is_some_and(message::asks_for_even);
                    let opened = open(client, (family, even), network);
                    match opened {
                        Ok(relay) => {
                            session.relays.push(relay);
                            self.relays.insert(relay, client);
                        }
                        Err(_) => self.stats.refuse(Refusal::Ports),
                    }
                    let server = &mut session.server;
                    let told = contained(|| {
                        server.allocated_socket(
                            transport,
                            listen_addr,
                            client_addr,
                            allocation_transport,
                            family,
                            opened,
                            tick,
                        );
                    });
                    // Of two it forgets both if the last one fails.
                    if told.is_err() || (opened.is_err() && !session.relays.is_empty()) {
                        return self.lose(client, network);
                    }
                }
                Ok(TurnServerPollRet::SocketClose { listen_addr, .. }) => {
                    session.relays.retain(|relay| *relay != listen_addr);
                    self.relays.remove(&listen_addr);
                    network.close(listen_addr);
                }
                Ok(TurnServerPollRet::WaitUntil(_)) => break,
                // Toward peers there is no TCP: such requests do not get there.
                Ok(TurnServerPollRet::TcpConnect { .. } | TurnServerPollRet::TcpClose { .. }) => {}
                Err(Fault) => return self.lose(client, network),
            }
        }
        self.answer(client, request, now, network);
        self.settle(client, network);
    }

    /// Sends what the library has to say by itself: answers to Allocate.
    fn answer(
        &mut self,
        client: Client,
        request: Option<&[u8]>,
        now: Instant,
        network: &mut impl Network,
    ) {
        let tick = self.tick(now);
        while let Some(session) = self.sessions.get_mut(&client) {
            match contained(|| session.server.poll_transmit(tick)) {
                Ok(Some(sent)) => {
                    network.to_client(client, &sent.data);
                    if let Some(request) = request.filter(|_| session.user.is_none()) {
                        session.allocated = Some((request.to_vec(), sent.data));
                    }
                }
                Ok(None) => return,
                Err(Fault) => return self.lose(client, network),
            }
        }
    }

    /// Counts an allocation that has come, and forgets a client whose allocation has ended.
    fn settle(&mut self, client: Client, network: &mut impl Network) {
        let Some(session) = self.sessions.get_mut(&client) else {
            return;
        };
        match (&session.user, session.relays.is_empty()) {
            (None, false) => {
                let name = session.named().unwrap_or_default();
                let user = name
                    .split_once(':')
                    .map_or(name, |(_, user)| user)
                    .to_owned();
                *self.users.entry(user.clone()).or_default() += 1;
                *self.addresses.entry(client.address.ip()).or_default() += 1;
                session.user = Some(user);
                self.half_open -= 1;
                self.stats.allocated += 1;
            }
            (Some(_), true) => self.gone(client, network),
            _ => {}
        }
    }

    /// A peer that is not allowed: one line says so.
    fn refuse_peer(&mut self, error: PeerError) {
        self.stats.refuse(Refusal::Peer);
        tracing::warn!(cause = "peer", %error, "TURN: a peer was refused");
    }

    /// A fault of the library costs the client that met it.
    fn lose(&mut self, client: Client, network: &mut impl Network) {
        self.stats.faults += 1;
        tracing::error!("TURN: a client was lost to a fault");
        self.gone(client, network);
    }
}

/// The library panicked.
struct Fault;

fn contained<T>(call: impl FnOnce() -> T) -> Result<T, Fault> {
    // What it was called on is dropped.
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| Fault)
}

fn open(
    client: Client,
    (family, even): (AddressFamily, bool),
    network: &mut impl Network,
) -> Result<SocketAddr, SocketAllocateError> {
    let family = match family {
        AddressFamily::IPV4 => Family::V4,
        AddressFamily::IPV6 => Family::V6,
    };
    network
        .open(client, Wanted { family, even })
        .map_err(|error| match error {
            NoRelay::Family => SocketAllocateError::AddressFamilyNotSupported,
            NoRelay::Ports => SocketAllocateError::InsufficientCapacity,
        })
}

/// One fewer of these.
fn release<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, of: &K) {
    if let Some(count) = counts.get_mut(of) {
        *count -= 1;
        if *count == 0 {
            counts.remove(of);
        }
    }
}

//! One UDP port for several workers: whose datagrams those are that the kernel gave to us.
//!
//! The kernel spreads datagrams over the sockets of a port by their addresses, and knows nothing of transports. A
//! check of ICE names its worker in our ufrag, and goes there. The worker that finds it right claims the address
//! ([`Claim`]) from whoever handed it over; from then on everything else from that address goes there too. So only
//! what a client has proven moves its packets, and an address that is somebody's is nobody else's until it is silent.
//!
//! What names nobody and comes from nowhere known may be of a client whose NAT gave it another port
//! ([`super::moved`]): so many times a second the others are given such a datagram, and what answers their questions.

use std::net::SocketAddr;
use std::time::Instant;

use hashbrown::HashMap;
use str0m::net::Protocol;

use super::slab::TransportKey;
use super::{Hasher, Shard};
use crate::id::{SocketId, WorkerId};
use crate::limits::{ADDRESS_LIFETIME, OWNED_ADDRESSES, OWNED_LIFETIME, OWNED_SWEEP};
use crate::stats::DropCause;

/// A datagram that is another worker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elsewhere {
    /// Whose it is; `None`: nobody here knows, and each of the others is to look.
    pub worker: Option<WorkerId>,
    /// Its source is known to be a client of that worker: it has shown that. Others only say so.
    pub proven: bool,
}

/// An address that a client of the worker that says this has proven to be its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Where it sends to; the workers of a port number their sockets alike.
    pub socket: SocketId,
    /// Where it sends from.
    pub remote: SocketAddr,
}

/// News of which addresses are ours, for whoever can tell the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Where it sends to.
    pub socket: SocketId,
    /// Where it sends from.
    pub remote: SocketAddr,
    /// It is ours from now on; else it was.
    pub ours: bool,
}

/// Why a datagram goes no further here.
pub(super) enum Stop {
    Dropped(DropCause),
    Elsewhere(Elsewhere),
}

impl From<DropCause> for Stop {
    fn from(cause: DropCause) -> Self {
        Stop::Dropped(cause)
    }
}

struct Owner {
    worker: WorkerId,
    /// Last claimed.
    seen: Instant,
}

/// What is known of the others behind the same port.
pub(super) struct SharedPort {
    others: Vec<WorkerId>,
    owners: HashMap<(SocketId, SocketAddr), Owner, Hasher>,
    swept: Instant,
    /// Addresses of ours, for whoever handed a check over.
    claims: Vec<(WorkerId, Claim)>,
    routes: Vec<Route>,
}

impl SharedPort {
    /// By whom this address was claimed, if that still counts.
    fn owner(&self, now: Instant, socket: SocketId, remote: SocketAddr) -> Option<WorkerId> {
        let owner = self.owners.get(&(socket, remote))?;
        let fresh = now.saturating_duration_since(owner.seen) < OWNED_LIFETIME;
        fresh.then_some(owner.worker)
    }

    /// Whether another worker's client has used this address just now.
    fn is_taken(&self, now: Instant, socket: SocketId, remote: SocketAddr) -> bool {
        let owner = self.owners.get(&(socket, remote));
        owner.is_some_and(|o| now.saturating_duration_since(o.seen) < ADDRESS_LIFETIME)
    }

    fn note(&mut self, now: Instant, from: WorkerId, claim: Claim) {
        if now.saturating_duration_since(self.swept) >= OWNED_SWEEP {
            self.swept = now;
            self.owners
                .retain(|_, o| now.saturating_duration_since(o.seen) < OWNED_LIFETIME);
        }
        let key = (claim.socket, claim.remote);
        let owner = Owner {
            worker: from,
            seen: now,
        };
        let full = self.owners.len() >= OWNED_ADDRESSES;
        match self.owners.get_mut(&key) {
            // A participant that forges another's address must not get its packets.
            Some(known)
                if known.worker != from
                    && now.saturating_duration_since(known.seen) < ADDRESS_LIFETIME => {}
            Some(known) => *known = owner,
            None if full => {}
            None => {
                self.owners.insert(key, owner);
            }
        }
    }
}

impl Shard {
    /// The UDP ports are shared with these workers from now on: datagrams of theirs come here, and ours there.
    pub fn share_ports(&mut self, now: Instant, others: Vec<WorkerId>) {
        self.port = Some(SharedPort {
            others,
            owners: HashMap::with_hasher(self.hasher.clone()),
            swept: now,
            claims: Vec::new(),
            routes: Vec::new(),
        });
    }

    /// A datagram that arrived at another worker, `from`, which found it to be ours.
    pub fn handle_handed(
        &mut self,
        now: Instant,
        from: WorkerId,
        (socket, source): (SocketId, SocketAddr),
        contents: &[u8],
    ) {
        // Two that each take it for the other's would hand it to and fro.
        if self.on_datagram(now, socket, source, contents).is_some() {
            self.count_drop(DropCause::UnvalidatedSource);
        }
        let stun = contents.first().is_some_and(|first| *first <= 3);
        if stun
            && self.demux.is_known(socket, source)
            && let Some(port) = &mut self.port
        {
            let claim = Claim {
                socket,
                remote: source,
            };
            port.claims.push((from, claim));
            // The kernel does not know, or has forgotten.
            self.note_route(socket, source, true);
        }
    }

    /// A client of another worker has proven that this address is its own.
    pub fn handle_claim(&mut self, now: Instant, from: WorkerId, claim: Claim) {
        // What is a client's of ours goes by that anyway.
        if let Some(port) = &mut self.port {
            port.note(now, from, claim);
        }
    }

    /// What is to be told to other workers before anything is sent: who gets an answer may send the next datagram at
    /// once.
    pub fn drain_claims(&mut self) -> impl Iterator<Item = (WorkerId, Claim)> + '_ {
        self.port.iter_mut().flat_map(|port| port.claims.drain(..))
    }

    /// Addresses that have become ours, or are no more: before anything is sent, too.
    pub fn drain_routes(&mut self) -> impl Iterator<Item = Route> + '_ {
        self.port.iter_mut().flat_map(|port| port.routes.drain(..))
    }

    /// An address has become a transport's, or is no more.
    pub(super) fn note_route(&mut self, socket: SocketId, remote: SocketAddr, ours: bool) {
        if self.factory.protocol(socket) == Protocol::Udp
            && let Some(port) = &mut self.port
        {
            port.routes.push(Route {
                socket,
                remote,
                ours,
            });
        }
    }

    /// An address is no longer this transport's.
    pub(super) fn forget_address(
        &mut self,
        socket: SocketId,
        remote: SocketAddr,
        key: TransportKey,
    ) {
        if self.demux.forget(socket, remote, key) {
            self.note_route(socket, remote, false);
        }
    }

    /// Where a check goes that names another worker.
    pub(super) fn check_elsewhere(
        &self,
        now: Instant,
        (socket, source): (SocketId, SocketAddr),
        worker: WorkerId,
    ) -> Stop {
        let Some(port) = self.shared(socket).filter(|p| p.others.contains(&worker)) else {
            return Stop::Dropped(DropCause::StunUnknownUfrag);
        };
        let owner = port.owner(now, socket, source);
        let forged = owner != Some(worker) && port.is_taken(now, socket, source);
        if forged || self.is_used(now, socket, source) {
            // A participant of that worker must not get the packets of a client of ours, or of a third one.
            return Stop::Dropped(DropCause::UnvalidatedSource);
        }
        Stop::Elsewhere(Elsewhere {
            worker: Some(worker),
            proven: owner == Some(worker),
        })
    }

    /// Whose anything else is, if its source is another worker's client.
    pub(super) fn elsewhere(
        &self,
        now: Instant,
        socket: SocketId,
        source: SocketAddr,
    ) -> Option<Elsewhere> {
        let worker = self.shared(socket)?.owner(now, socket, source)?;
        Some(Elsewhere {
            worker: Some(worker),
            proven: true,
        })
    }

    /// The others may know what is unknown here.
    pub(super) fn anywhere(&self, socket: SocketId) -> Option<Elsewhere> {
        self.shared(socket).map(|_| Elsewhere {
            worker: None,
            proven: false,
        })
    }

    /// Whether a client of another worker has used this address just now.
    pub(super) fn is_taken(&self, now: Instant, socket: SocketId, source: SocketAddr) -> bool {
        self.shared(socket)
            .is_some_and(|port| port.is_taken(now, socket, source))
    }

    /// Connections over TCP are each worker's own.
    fn shared(&self, socket: SocketId) -> Option<&SharedPort> {
        let port = self.port.as_ref()?;
        (self.factory.protocol(socket) == Protocol::Udp).then_some(port)
    }
}

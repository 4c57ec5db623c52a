//! The ways between a client and its transport: which addresses are the client's, and where it is sent to.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::ice::{StunMessage, TransId};
use str0m::net::Protocol;

use super::{Transport, TransportFactory};
use crate::egress::train::Route;
use crate::id::SocketId;
use crate::limits::{
    ADDRESS_LIFETIME, ADDRESSES_PER_SESSION, ADDRESSES_PER_TRANSPORT, MOVED_INTERVAL,
    MOVED_SILENCE, PATH_SILENCE,
};
use crate::mutants::{self, Mutant};
use crate::path::{PathKind, PathKinds, Reason};

/// An address of the client that ICE has validated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address {
    pub(crate) socket: SocketId,
    pub(crate) remote: SocketAddr,
    /// The last datagram from it.
    pub(crate) seen: Instant,
    /// The last verified check from it that chose it (USE-CANDIDATE), or answer that the client has moved there.
    pub(crate) chosen: Option<Instant>,
    /// The client has moved from it; it may come back.
    pub(crate) left: bool,
}

/// The address the client chose for media.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    socket: SocketId,
    remote: SocketAddr,
    /// PRIORITY of the check that chose it.
    priority: u32,
    /// ICE restarts before that check.
    session: u32,
}

/// A verified check.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Check {
    /// It has USE-CANDIDATE (RFC 8445 §7.1.2).
    pub(crate) chooses: bool,
    /// PRIORITY (RFC 8445 §7.1.1).
    pub(crate) priority: u32,
}

/// What [`Transport::validate`] found.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Validated {
    /// Already known.
    Known,
    /// New; an old one may have had to go.
    New {
        /// No longer the transport's.
        forgotten: Option<Address>,
    },
    /// Over a bound.
    Refused,
}

impl Transport {
    /// Notes a verified check from an address.
    pub(crate) fn validate(
        &mut self,
        factory: &TransportFactory,
        (socket, remote): (SocketId, SocketAddr),
        check: Check,
        now: Instant,
    ) -> Validated {
        let validated = self.note_address(socket, remote, check.chooses, now);
        if !matches!(validated, Validated::Refused) {
            self.heard.insert(factory.path_kind(socket, remote));
        }
        if check.chooses && !matches!(validated, Validated::Refused) {
            self.choose(socket, remote, check);
        }
        validated
    }

    fn note_address(
        &mut self,
        socket: SocketId,
        remote: SocketAddr,
        chooses: bool,
        now: Instant,
    ) -> Validated {
        let known = self
            .addresses
            .iter_mut()
            .find(|address| address.socket == socket && address.remote == remote);
        if let Some(address) = known {
            address.seen = now;
            if chooses {
                address.chosen = Some(now);
                address.left = false;
            }
            return Validated::Known;
        }
        if self.addresses_validated >= ADDRESSES_PER_SESSION {
            return Validated::Refused;
        }
        let mut forgotten = None;
        if self.addresses.len() >= ADDRESSES_PER_TRANSPORT {
            let oldest = self
                .addresses
                .iter()
                .enumerate()
                .min_by_key(|(_, address)| address.seen)
                .map(|(index, address)| (index, *address));
            match oldest {
                Some((index, address))
                    if now.saturating_duration_since(address.seen) > ADDRESS_LIFETIME =>
                {
                    self.addresses.swap_remove(index);
                    forgotten = Some(address);
                }
                _ => return Validated::Refused,
            }
        }
        self.addresses_validated += 1;
        self.addresses.push(Address {
            socket,
            remote,
            seen: now,
            chosen: chooses.then_some(now),
            left: false,
        });
        Validated::New { forgotten }
    }

    /// Notes a datagram from a validated address. True: the client has moved from it, so it may be back.
    pub(crate) fn touch(&mut self, socket: SocketId, remote: SocketAddr, now: Instant) -> bool {
        let mut addresses = self.addresses.iter_mut();
        let found = addresses.find(|a| a.remote == remote && a.socket == socket);
        let Some(address) = found else {
            return false;
        };
        address.seen = now;
        address.left
    }

    /// Where to send what the engine addresses to `remote`. The engine stays with a path for as long
    /// as it may still be alive (15 s); a client whose NAT gave it another port is heard from there at
    /// once, so a path that fell silent is left for the one the client chose last.
    pub(super) fn path(&self, socket: SocketId, remote: SocketAddr) -> (SocketId, SocketAddr) {
        if self.addresses.len() < 2 {
            return (socket, remote);
        }
        self.liveliest(socket, remote).unwrap_or((socket, remote))
    }

    fn liveliest(&self, socket: SocketId, remote: SocketAddr) -> Option<(SocketId, SocketAddr)> {
        let mut addresses = self.addresses.iter();
        let present = addresses.find(|a| a.remote == remote && a.socket == socket)?;
        if !present.left && self.age(present.seen) < PATH_SILENCE {
            return None;
        }
        let lively = self.addresses.iter().filter(|a| {
            let chosen = a.chosen.is_some_and(|at| self.age(at) < ADDRESS_LIFETIME);
            chosen && !a.left && self.age(a.seen) < PATH_SILENCE
        });
        let best = lively.max_by_key(|a| a.seen)?;
        Some((best.socket, best.remote))
    }

    fn age(&self, at: Instant) -> Duration {
        self.now.saturating_duration_since(at)
    }

    /// Where our media goes; `None`: nowhere, for want of an address or of consent (RFC 7675 §5.1).
    pub(crate) fn route(&mut self, factory: &TransportFactory, now: Instant) -> Option<Route> {
        self.now = now;
        if !self.is_connected() || self.disconnected_since.is_some() {
            return None;
        }
        let (socket, destination) = self.path_in_use()?;
        Some(Route {
            socket,
            destination,
            stream: factory.protocol(socket) == Protocol::Tcp,
        })
    }

    /// The path that the client chose, or the one that lives on in its place.
    pub(crate) fn path_in_use(&self) -> Option<(SocketId, SocketAddr)> {
        let choice = self.choice?;
        Some(self.path(choice.socket, choice.remote))
    }

    /// The kind of that path.
    pub(crate) fn path_kind(&self, factory: &TransportFactory) -> Option<PathKind> {
        let (socket, remote) = self.path_in_use()?;
        Some(factory.path_kind(socket, remote))
    }

    /// Why it is none of a kind that costs less.
    pub(crate) fn path_reason(&self, factory: &TransportFactory, used: PathKind) -> Option<Reason> {
        Reason::find(used, factory.offered(), self.heard)
    }

    /// A verified check chose an address. It is kept to while it lives: a check that somebody listened to
    /// and repeats from elsewhere is as good as new, so only a better one (a client that nominates every
    /// pair it checks means the best, RFC 8445 §8.1.1) or one after an ICE restart takes its place.
    fn choose(&mut self, socket: SocketId, remote: SocketAddr, check: Check) {
        let place = |a: &&Address| a.socket == socket && a.remote == remote;
        let Some(seen) = self.addresses.iter().find(place).map(|a| a.seen) else {
            return;
        };
        let stays = self.choice.is_some_and(|choice| {
            let mut addresses = self.addresses.iter();
            let present =
                addresses.find(|a| a.socket == choice.socket && a.remote == choice.remote);
            let alive =
                present.is_some_and(|a| seen.saturating_duration_since(a.seen) < PATH_SILENCE);
            alive && choice.session == self.restarts && choice.priority >= check.priority
        });
        if !stays {
            self.choice = Some(Choice {
                socket,
                remote,
                priority: check.priority,
                session: self.restarts,
            });
        }
    }

    /// The path in use, if the client has been silent there for so long that it may be elsewhere.
    pub(crate) fn silent_path(&self, now: Instant) -> Option<(SocketId, SocketAddr)> {
        let (socket, remote) = self.path_in_use().filter(|_| self.is_connected())?;
        let mut addresses = self.addresses.iter();
        let present = addresses.find(|a| a.socket == socket && a.remote == remote)?;
        let silent = now.saturating_duration_since(present.seen) >= MOVED_SILENCE;
        silent.then_some((socket, remote))
    }

    /// Whether the client was here last, and may be asked whether it has moved.
    pub(crate) fn may_have_moved(&self, place: (SocketId, SocketAddr), now: Instant) -> bool {
        self.may_be_asked(now) && self.silent_path(now) == Some(place)
    }

    /// Whether a client that moved, and is silent where it is now, may be asked whether it came back.
    pub(crate) fn may_be_back(&self, now: Instant) -> bool {
        self.may_be_asked(now) && self.silent_path(now).is_some()
    }

    /// Whether it was asked long enough ago.
    fn may_be_asked(&self, now: Instant) -> bool {
        let since = |at| now.saturating_duration_since(at);
        let long_ago = self.asked.is_none_or(|at| since(at) >= MOVED_INTERVAL);
        long_ago || mutants::is(Mutant::AskAlways)
    }

    /// A check of ours (RFC 8445 §7.2.2). An ICE-lite agent makes none to find a path, and is controlled.
    pub(crate) fn question(
        &self,
        transaction: TransId,
        tie_breaker: u64,
        sha1: impl Fn(&[u8], &[&[u8]]) -> [u8; 20],
    ) -> Option<Vec<u8>> {
        let remote = self.remote.as_ref()?;
        let username = format!("{}:{}", remote.ufrag, self.credentials.ufrag);
        let request = StunMessage::binding_request(
            &username,
            transaction,
            false,
            tie_breaker,
            QUESTION_PRIORITY,
            false,
        );
        let mut buffer = vec![0; QUESTION_BYTES];
        let length = request
            .to_bytes(Some(remote.pass.as_bytes()), &mut buffer, sha1)
            .ok()?;
        buffer.truncate(length);
        Some(buffer)
    }

    /// The client has shown that it is at one of its addresses now and no longer at another. False: it has not kept
    /// that address.
    pub(crate) fn leave(
        &mut self,
        from: (SocketId, SocketAddr),
        to: (SocketId, SocketAddr),
        now: Instant,
    ) -> bool {
        let at = |a: &&mut Address, place| (a.socket, a.remote) == place;
        let Some(address) = self.addresses.iter_mut().find(|a| at(a, to)) else {
            return false;
        };
        address.chosen = Some(now);
        address.left = false;
        if let Some(old) = self.addresses.iter_mut().find(|a| at(a, from)) {
            old.left = true;
        }
        if let Some(choice) = &mut self.choice {
            (choice.socket, choice.remote) = to;
        }
        self.now = now;
        true
    }
}

/// That of a peer-reflexive candidate that nobody asked for (RFC 8445 §5.1.2.1): nothing is chosen by it.
const QUESTION_PRIORITY: u32 = 110 << 24 | 0xffff << 8 | 0xff;
/// Longest check of ours: two ufrags of 256 characters (RFC 8839 §5.4) and 100 bytes of other attributes.
const QUESTION_BYTES: usize = 700;

impl TransportFactory {
    /// By which kind of way something from there came.
    fn path_kind(&self, socket: SocketId, remote: SocketAddr) -> PathKind {
        match self.protocol(socket) {
            Protocol::Tcp => PathKind::Tcp,
            _ => self
                .relays
                .as_ref()
                .and_then(|relays| relays.kind(remote))
                .unwrap_or(PathKind::Udp),
        }
    }

    /// The ways that clients are told of.
    pub(super) fn offered(&self) -> PathKinds {
        let mut kinds = PathKinds::default();
        for kind in PathKind::ALL {
            let offered = match kind {
                PathKind::Udp => self.first_listener > 0,
                PathKind::Tcp => self.first_listener < self.advertised.len(),
                _ => self.relays.as_ref().is_some_and(|r| r.offers(kind)),
            };
            if offered {
                kinds.insert(kind);
            }
        }
        kinds
    }
}

//! The network around a TURN relay, which knows what may cross it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rillway_turn::{Client, Family, Network, NoRelay, Wanted};
use turn_types::attribute::XorPeerAddress;
use turn_types::message::{CHANNEL_BIND, CREATE_PERMISSION};
use turn_types::stun::message::Message;
use turn_types::stun::prelude::{Attribute as _, AttributeFromRaw as _, AttributeStaticType as _};

use super::turn::{MEDIA, at};

/// The longest that anything lets a peer in: a channel (RFC 8656 §12). Refreshed by whatever is granted again.
const GRANT: Duration = Duration::from_secs(600);
/// Relays there are ports for.
const PORTS: u16 = 6;

pub struct Wires {
    public: bool,
    open: HashMap<SocketAddr, Client>,
    ports: u16,
    now: Instant,
    /// Who sent what is being handled.
    sender: Option<Client>,
    /// Whom it may reach, by the relay's own answers.
    grants: HashMap<(Client, IpAddr), Instant>,
    answers: Vec<Vec<u8>>,
}

impl Wires {
    pub fn new(public: bool) -> Self {
        Wires {
            public,
            open: HashMap::new(),
            ports: 0,
            now: Instant::now(),
            sender: None,
            grants: HashMap::new(),
            answers: Vec::new(),
        }
    }

    /// A client sends something now.
    pub fn expect(&mut self, client: Client, now: Instant) {
        (self.sender, self.now) = (Some(client), now);
    }

    /// A relayed address gets something now.
    pub fn expect_of(&mut self, relay: SocketAddr, now: Instant) {
        (self.sender, self.now) = (self.open.get(&relay).copied(), now);
    }

    /// What went to clients since.
    pub fn answers(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.answers)
    }

    /// Clients with relayed addresses.
    pub fn owners(&self) -> u64 {
        let mut owners: Vec<SocketAddr> = self.open.values().map(|c| c.address).collect();
        owners.sort_unstable();
        owners.dedup();
        owners.len() as u64
    }

    /// One of the relayed addresses, or one that is none.
    pub fn some_relay(&self, n: usize) -> SocketAddr {
        let mut relays: Vec<SocketAddr> = self.open.keys().copied().collect();
        relays.sort_unstable();
        relays
            .get(n)
            .copied()
            .unwrap_or_else(|| at("198.51.100.1:9"))
    }

    /// A request was answered with success: whom it names may be reached.
    pub fn granted(&mut self, request: &Message<'_>) {
        let client = self.sender.expect("a sender");
        if !request.has_method(CREATE_PERMISSION) && !request.has_method(CHANNEL_BIND) {
            return;
        }
        let attributes = request.iter_attributes();
        for (_, raw) in attributes.filter(|(_, raw)| raw.get_type() == XorPeerAddress::TYPE) {
            let peer = XorPeerAddress::from_raw(raw).expect("it was understood");
            let peer = peer.addr(request.transaction_id());
            assert!(self.is_allowed(peer).is_some(), "permission for {peer}");
            self.grants.insert((client, peer.ip()), self.now);
        }
    }

    /// Where a packet for this peer goes, if anywhere. By other means than the relay's.
    fn is_allowed(&self, peer: SocketAddr) -> Option<SocketAddr> {
        let told = MEDIA.iter().find(|(_, told)| at(told) == peer);
        if let Some((bound, _)) = told {
            return Some(at(bound));
        }
        let own = ["10.0.0.5", "127.0.0.1", "1.2.3.4", "5.6.7.8"];
        let own = own.iter().any(|own| own.parse() == Ok(peer.ip()));
        let foreign = !own && self.public && peer.port() >= 1_024 && is_public(peer.ip());
        foreign.then_some(peer)
    }

    /// Whether what a peer sends to a relayed address may reach its client.
    pub fn may_send(&self, relay: SocketAddr, from: SocketAddr) -> bool {
        let known = MEDIA.iter().find(|(bound, _)| at(bound) == from);
        let peer = known.map_or(from, |(_, told)| at(told));
        let client = self.open.get(&relay);
        self.is_allowed(peer).is_some() && client.is_some_and(|c| self.is_granted(*c, peer.ip()))
    }

    fn is_granted(&self, client: Client, peer: IpAddr) -> bool {
        let since = self.grants.get(&(client, peer));
        since.is_some_and(|since| self.now.duration_since(*since) <= GRANT)
    }
}

impl Network for Wires {
    fn open(&mut self, client: Client, wanted: Wanted) -> Result<SocketAddr, NoRelay> {
        let ip: IpAddr = match wanted.family {
            Family::V4 => [203, 0, 113, 9].into(),
            Family::V6 => [0x2001, 0xdb8, 0, 0, 0, 0, 0, 9].into(),
        };
        if self.open.len() >= usize::from(PORTS) {
            return Err(NoRelay::Ports);
        }
        self.ports = self.ports.wrapping_add(2);
        let port = 50_000 + self.ports % 10_000 + u16::from(!wanted.even);
        let relay = SocketAddr::new(ip, port);
        assert!(self.open.insert(relay, client).is_none());
        Ok(relay)
    }

    fn close(&mut self, relay: SocketAddr) {
        let client = self.open.remove(&relay).expect("closed twice");
        if !self.open.values().any(|other| *other == client) {
            self.grants.retain(|(of, _), _| *of != client);
        }
    }

    fn to_client(&mut self, client: Client, message: &[u8]) {
        assert_eq!(Some(client), self.sender, "for somebody else");
        assert!(!message.is_empty());
        self.answers.push(message.to_vec());
    }

    fn to_peer(&mut self, relay: SocketAddr, peer: SocketAddr, _: &[u8]) {
        let client = self.sender.expect("somebody sent it");
        assert_eq!(self.open.get(&relay), Some(&client), "another's relay");
        let told = MEDIA.iter().find(|(bound, _)| at(bound) == peer);
        let told = told.map_or(peer, |(_, told)| at(told));
        assert_eq!(self.is_allowed(told), Some(peer), "{peer} is forbidden");
        assert!(
            self.is_granted(client, told.ip()),
            "{told} without permission"
        );
    }
}

/// Whether an address is one of the Internet.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let protocol = a == 192 && b == 0 && c == 0;
            let benchmark = a == 198 && (18..20).contains(&b);
            let relays_6to4 = a == 192 && b == 88 && c == 99;
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_documentation()
                || a == 0
                || a >= 224
                || shared
                || protocol
                || benchmark
                || relays_6to4)
        }
        IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            let global = (0x2000..0x4000).contains(&a);
            let special = a == 0x2001 && (b < 0x200 || b == 0xdb8);
            global && !special && a != 0x2002 && !(a == 0x3fff && b < 0x1000)
        }
    }
}

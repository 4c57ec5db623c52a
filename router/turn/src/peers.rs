//! Whom a relay may reach.
//!
//! A relay that sends to whatever it is told makes its client a neighbour of everything this machine can reach
//! (CVE-2020-26262, CVE-2026-27624). So the list is of what is allowed: the addresses on which this router's workers
//! take media, each with its port, and nothing else; where the operator allows direct calls, public unicast addresses
//! too, but no other port of this machine.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// Ports below this are services', not calls'.
const PORT_MIN: u16 = 1_024;

/// Why a peer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// An IPv4 address written as one of IPv6.
    #[error("an IPv4 address in IPv6's clothes")]
    Mapped,
    /// Loopback, private, link-local, multicast and their like.
    #[error("an address that is not of the Internet")]
    NotPublic,
    /// This machine, but not a port that takes media.
    #[error("another port of this machine")]
    OwnPort,
    /// A port that no call uses.
    #[error("a port of a service")]
    Port,
    /// Public ones are not allowed.
    #[error("not this router's media address")]
    Foreign,
}

/// The rule.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    /// What clients are told → where it is bound.
    media: HashMap<SocketAddr, SocketAddr>,
    /// Where it is bound → what clients are told.
    told: HashMap<SocketAddr, SocketAddr>,
    /// Every address of this machine, told or bound.
    own: HashSet<IpAddr>,
    public: bool,
}

impl Peers {
    /// Media addresses as `(bound, told)`, and every other address that this machine is known to have; whether public
    /// peers are allowed.
    #[must_use]
    pub fn new(
        media: impl IntoIterator<Item = (SocketAddr, SocketAddr)>,
        own: impl IntoIterator<Item = IpAddr>,
        public: bool,
    ) -> Self {
        let mut peers = Peers {
            own: own.into_iter().map(|ip| ip.to_canonical()).collect(),
            public,
            ..Peers::default()
        };
        for (bound, told) in media {
            let (bound, told) = (plain(bound), plain(told));
            peers.own.extend([bound.ip(), told.ip()]);
            peers.media.insert(told, bound);
            peers.told.insert(bound, told);
        }
        peers
    }

    /// Where to send what a client wants sent to `peer`.
    ///
    /// # Errors
    /// [`PeerError`]: nowhere.
    pub fn outward(&self, peer: SocketAddr) -> Result<SocketAddr, PeerError> {
        let peer = plain(peer);
        match self.media.get(&peer) {
            Some(bound) => Ok(*bound),
            None => self.foreign(peer).map(|()| peer),
        }
    }

    /// Which peer a packet is from, as clients know it.
    ///
    /// # Errors
    /// [`PeerError`]: from none.
    pub fn inward(&self, from: SocketAddr) -> Result<SocketAddr, PeerError> {
        let from = plain(from);
        match self.told.get(&from) {
            Some(told) => Ok(*told),
            None => self.foreign(from).map(|()| from),
        }
    }

    /// Whether an address that takes no media of this router may be reached.
    fn foreign(&self, peer: SocketAddr) -> Result<(), PeerError> {
        if let IpAddr::V6(v6) = peer.ip()
            && v6.to_ipv4_mapped().is_some()
        {
            return Err(PeerError::Mapped);
        }
        if self.own.contains(&peer.ip()) {
            return Err(PeerError::OwnPort);
        }
        if !is_public(peer.ip()) {
            return Err(PeerError::NotPublic);
        }
        if !self.public {
            return Err(PeerError::Foreign);
        }
        match peer.port() < PORT_MIN {
            true => Err(PeerError::Port),
            false => Ok(()),
        }
    }
}

/// Without what no comparison should see: zone and flow label. A mapped address stays one.
pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

// The plugin host has the same list for names that plugins look up (`router/policy/src/capabilities/http/address.rs`):
// the two crates never see each other, and neither should change because of the other.

/// Of IPv4, what is not public unicast (RFC 6890 and the registry it began).
const NOT_PUBLIC_V4: [(Ipv4Addr, u8); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Of IPv6, public unicast is 2000::/3 without these: protocol assignments with Teredo, documentation, 6to4. Everything
/// else has another use: loopback, mapped and compatible, NAT64 (64:ff9b::/96), unique-local, link-local, multicast.
const NOT_PUBLIC_V6: [(Ipv6Addr, u8); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

fn is_public(address: IpAddr) -> bool {
    let within =
        |(network, bits): (IpAddr, u8)| IpNet::new_assert(network, bits).contains(&address);
    match address {
        IpAddr::V4(_) => !NOT_PUBLIC_V4
            .iter()
            .any(|&(n, bits)| within((n.into(), bits))),
        IpAddr::V6(v6) => {
            v6.segments()[0] >> 13 == 1
                && !NOT_PUBLIC_V6
                    .iter()
                    .any(|&(n, bits)| within((n.into(), bits)))
        }
    }
}

#[cfg(test)]
mod tests;

//! In which way the client behind each relayed port reaches the relay: written by the relay's thread, read by workers
//! when a client connects.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};

use rillway_core::path::{PathKind, Relays};

use super::Transport;

/// Nobody's port.
const NOBODY: u8 = u8::MAX;

#[derive(Debug)]
pub(crate) struct Ways {
    /// Relayed from.
    addresses: Vec<IpAddr>,
    offered: Vec<PathKind>,
    /// [`PathKind`] by port, of whichever address: an allocation takes a port of one.
    ports: Box<[AtomicU8]>,
}

impl Ways {
    pub(super) fn new(addresses: Vec<IpAddr>, offered: &[Transport]) -> Self {
        Ways {
            addresses,
            offered: offered.iter().map(|t| t.kind()).collect(),
            ports: (0..=u16::MAX).map(|_| AtomicU8::new(NOBODY)).collect(),
        }
    }

    // Relaxed: what is sent from a port comes long after, by way of the kernel.
    pub(super) fn open(&self, port: u16, transport: Transport) {
        if let Some(entry) = self.ports.get(usize::from(port)) {
            entry.store(transport.kind() as u8, Ordering::Relaxed);
        }
    }

    pub(super) fn close(&self, port: u16) {
        if let Some(entry) = self.ports.get(usize::from(port)) {
            entry.store(NOBODY, Ordering::Relaxed);
        }
    }
}

impl Relays for Ways {
    fn kind(&self, source: SocketAddr) -> Option<PathKind> {
        if !self.addresses.contains(&source.ip()) {
            return None;
        }
        let entry = self.ports.get(usize::from(source.port()))?;
        let kind = entry.load(Ordering::Relaxed);
        PathKind::ALL.into_iter().find(|k| *k as u8 == kind)
    }

    fn offers(&self, kind: PathKind) -> bool {
        self.offered.contains(&kind)
    }
}

impl Transport {
    fn kind(self) -> PathKind {
        match self {
            Transport::Udp => PathKind::TurnUdp,
            Transport::Tcp => PathKind::TurnTcp,
            Transport::Tls => PathKind::TurnTls,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_somebodys_while_it_is_open() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let ours = at("192.0.2.7:50000");
        let ways = Ways::new(vec![ours.ip()], &[Transport::Udp, Transport::Tls]);
        assert_eq!(ways.kind(ours), None);
        ways.open(50_000, Transport::Tls);
        assert_eq!(ways.kind(ours), Some(PathKind::TurnTls));
        assert_eq!(ways.kind(at("192.0.2.8:50000")), None);
        assert_eq!(ways.kind(at("192.0.2.7:50001")), None);
        ways.close(50_000);
        assert_eq!(ways.kind(ours), None);
        assert!(ways.offers(PathKind::TurnUdp) && ways.offers(PathKind::TurnTls));
        assert!(!ways.offers(PathKind::TurnTcp) && !ways.offers(PathKind::Udp));
    }
}

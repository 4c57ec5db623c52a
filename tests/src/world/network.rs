//! Links between clients and shards, and the account of who got how many bytes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use str0m_netem::{Input, Netem, NetemConfig, Output, WithLen};

/// A datagram under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Source as the receiver sees it.
    pub source: SocketAddr,
    /// Destination.
    pub destination: SocketAddr,
    /// Bytes.
    pub contents: Vec<u8>,
}

impl WithLen for Packet {
    fn len(&self) -> usize {
        self.contents.len()
    }
}

/// One direction of a client's access.
pub struct Link {
    netem: Netem<Packet>,
    /// What it was before, with what is still under way there: the order in which a [`Netem`] delivers belongs to its
    /// configuration.
    before: Vec<Netem<Packet>>,
    /// Cut: everything is lost.
    pub cut: bool,
    /// While `Some`: everything is taken away, and is here.
    pub stolen: Option<Vec<Packet>>,
    sent: u64,
    delivered: u64,
    /// When the world looks for arrivals next.
    pub(super) wake: Option<Instant>,
}

impl Link {
    /// A link of the given quality.
    pub fn new(config: NetemConfig) -> Self {
        Link {
            netem: Netem::new(config),
            before: Vec::new(),
            cut: false,
            stolen: None,
            sent: 0,
            delivered: 0,
            wake: None,
        }
    }

    /// Changes its quality; what is under way stays so.
    pub fn set_config(&mut self, config: NetemConfig) {
        let before = std::mem::replace(&mut self.netem, Netem::new(config));
        self.before.push(before);
    }

    /// Packets that were lost or are under way; none may be repeated.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.delivered)
    }

    /// Sends a packet, which may be lost.
    pub(super) fn send(&mut self, now: Instant, packet: Packet) {
        if let Some(stolen) = &mut self.stolen {
            stolen.push(packet);
        } else if !self.cut {
            self.sent += 1;
            self.netem.handle_input(Input::Packet(now, packet));
        }
    }

    /// The next packet that has arrived by now.
    pub(super) fn arrived(&mut self, now: Instant) -> Option<Packet> {
        let all = self.before.iter_mut().chain([&mut self.netem]);
        let arrived = all.into_iter().find_map(|netem| {
            netem.handle_input(Input::Timeout(now));
            match netem.poll_output() {
                Some(Output::Packet(packet)) => Some(packet),
                _ => None,
            }
        });
        self.before.retain(|netem| !netem.is_empty());
        self.delivered += u64::from(arrived.is_some());
        arrived
    }

    /// When the world must look again, if it does not know yet.
    pub(super) fn new_wake(&mut self) -> Option<Instant> {
        let all = self.before.iter().chain([&self.netem]);
        let busy = all.filter(|netem| !netem.is_empty());
        let at = busy.map(Netem::poll_timeout).min()?;
        earlier(&mut self.wake, at)
    }
}

/// Sets a wake-up if it comes before the one already set; returns it if so.
pub(super) fn earlier(wake: &mut Option<Instant>, at: Instant) -> Option<Instant> {
    if wake.is_some_and(|wake| wake <= at) {
        return None;
    }
    *wake = Some(at);
    Some(at)
}

/// Whether a wake-up is the one that was set last and not one that an earlier one replaced.
pub(super) fn take_wake(wake: &mut Option<Instant>, now: Instant) -> bool {
    let due = wake.is_some_and(|wake| wake <= now);
    if due {
        *wake = None;
    }
    due
}

/// Who sends something small may be asked with something larger, up to so many times as large.
const ASKED_SHARE: u64 = 4;

/// Bytes to and from one outside address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// Bytes it sent to the router.
    pub sent: u64,
    /// Bytes the router sent to it.
    pub received: u64,
    /// Datagrams it sent.
    pub sent_datagrams: u64,
    /// Datagrams it received.
    pub received_datagrams: u64,
    /// It proved by an honest connectivity check, or by its answer to one, that it wants traffic.
    pub validated: bool,
    /// Bytes of checks that the router sent it, to find out whether it is somebody whose NAT gave it another port.
    pub asked: u64,
}

/// What the router owes to whom (reliability invariant 9): toward an address that never made a valid
/// connectivity check, no more bytes may leave than came from it.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: BTreeMap<SocketAddr, Account>,
    /// Addresses that got more than they sent, with what they got.
    pub violations: Vec<String>,
}

impl Ledger {
    /// The account of an address.
    pub fn account(&self, address: SocketAddr) -> Account {
        self.accounts.get(&address).copied().unwrap_or_default()
    }

    /// A datagram reached the router. `honest`: sent by a client of the world.
    pub(super) fn arrived(&mut self, source: SocketAddr, contents: &[u8], honest: bool) {
        let account = self.accounts.entry(source).or_default();
        account.sent += contents.len() as u64;
        account.sent_datagrams += 1;
        // A binding request, or the answer to one (RFC 8489 §5): the clients of this world sign theirs properly.
        account.validated |=
            honest && (contents.starts_with(&[0, 1]) || contents.starts_with(&[1, 1]));
    }

    /// A datagram left the router.
    pub(super) fn left(&mut self, destination: SocketAddr, contents: &[u8]) {
        let account = self.accounts.entry(destination).or_default();
        if contents.starts_with(&[0, 1]) {
            account.asked += contents.len() as u64;
        } else {
            account.received += contents.len() as u64;
            account.received_datagrams += 1;
        }
        let asked_most = account.sent * ASKED_SHARE;
        let too_much = account.received > account.sent || account.asked > asked_most;
        if !account.validated && too_much && self.violations.len() < 20 {
            self.violations
                .push(format!("{destination} is not validated: {account:?}"));
        }
    }
}

//! What a relay counts.

/// Why something was not done. The words are labels of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// A peer that is neither this router nor, where allowed, a public address.
    Peer,
    /// The user has as many allocations as one may.
    UserQuota,
    /// The client's address has.
    AddressQuota,
    /// All of them are taken.
    TotalQuota,
    /// No port of the range was free.
    Ports,
    /// More strangers than are answered.
    Rate,
    /// More requests, permissions, channels or user names than one client may have.
    Excess,
    /// It cannot be read, or is nothing that a client sends.
    Malformed,
    /// What this relay does not do: TCP toward peers (RFC 6062), reserved ports.
    Unsupported,
}

impl Refusal {
    /// How many there are.
    pub const COUNT: usize = 9;

    /// All, with their words, in the order of [`Stats::refused`].
    pub const ALL: [(Refusal, &'static str); Refusal::COUNT] = [
        (Refusal::Peer, "peer"),
        (Refusal::UserQuota, "user-quota"),
        (Refusal::AddressQuota, "address-quota"),
        (Refusal::TotalQuota, "total-quota"),
        (Refusal::Ports, "ports"),
        (Refusal::Rate, "rate"),
        (Refusal::Excess, "excess"),
        (Refusal::Malformed, "malformed"),
        (Refusal::Unsupported, "unsupported"),
    ];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Refusal::ALL[self as usize].1
    }
}

/// Numbers since the start, and what there is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Allocations now.
    pub allocations: u64,
    /// Clients that were asked for credentials and have no allocation yet, now.
    pub half_open: u64,
    /// Allocations made.
    pub allocated: u64,
    /// Packets from clients to peers.
    pub to_peers_packets: u64,
    /// Their payload.
    pub to_peers_bytes: u64,
    /// Packets from peers to clients.
    pub to_clients_packets: u64,
    /// Their payload.
    pub to_clients_bytes: u64,
    /// Refused, by cause; see [`Refusal::ALL`].
    pub refused: [u64; Refusal::COUNT],
    /// Credentials that did not verify.
    pub credentials_wrong: u64,
    /// Credentials that had ended.
    pub credentials_expired: u64,
    /// Packets that came for an allocation and belonged to no permission or channel.
    pub unexpected: u64,
    /// Clients lost to a fault of the protocol's library.
    pub faults: u64,
}

impl Stats {
    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        self.refused[refusal as usize] += 1;
        tracing::debug!(cause = refusal.as_str(), "TURN: refused");
    }

    /// Refused for this cause.
    #[must_use]
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refused[refusal as usize]
    }
}

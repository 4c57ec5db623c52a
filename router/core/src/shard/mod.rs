//! One worker's whole state: rooms, participants, tracks, subscriptions, transports.
//!
//! Calling contract: any number of [`Shard::handle_datagram`], [`Shard::handle_request`] and
//! [`Shard::handle_timeout`] calls make a turn; at its end [`Shard::flush`] hands out what is to be
//! sent, grouped by destination, then [`Shard::poll_event`] until `None`, then sleep until
//! [`Shard::poll_timeout`].

use std::net::SocketAddr;
use std::time::Instant;

use crate::api::{Event, Request};
use crate::id::{SocketId, WorkerId};

/// Takes what the shard sends. Consecutive datagrams to one destination may be joined by the taker.
pub trait Transmit {
    /// One datagram.
    fn transmit(&mut self, socket: SocketId, destination: SocketAddr, contents: &[u8]);
}

/// How a shard is set up.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// Which worker this is.
    pub worker: WorkerId,
    /// Addresses really bound, by [`SocketId`].
    pub local_addresses: Vec<SocketAddr>,
    /// Address advertised in host candidates for each bound one (1:1 NAT maps them elsewhere).
    pub advertised_addresses: Vec<SocketAddr>,
    /// Bounds that configuration may change; the rest is in [`crate::limits`].
    pub limits: crate::limits::Limits,
    /// Seed of the shard's CSPRNG: from the OS in production, fixed in simulation.
    pub seed: [u8; 32],
}

/// One worker's rooms and transports.
pub struct Shard {
    _config: ShardConfig,
    stats: crate::stats::ShardStats,
}

impl Shard {
    /// An empty shard.
    pub fn new(config: ShardConfig, _now: Instant) -> Self {
        Shard {
            _config: config,
            stats: Default::default(),
        }
    }
    /// A datagram arrived.
    pub fn handle_datagram(
        &mut self,
        _now: Instant,
        _socket: SocketId,
        _source: SocketAddr,
        _contents: &[u8],
    ) {
    }
    /// A client wants something.
    pub fn handle_request(&mut self, _now: Instant, _request: Request) {}
    /// Time has passed.
    pub fn handle_timeout(&mut self, _now: Instant) {}
    /// When to call [`Shard::handle_timeout`] next, at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    /// Ends the turn: everything to be sent goes to `out`.
    pub fn flush(&mut self, _now: Instant, _out: &mut dyn Transmit) {}
    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }
    /// Counters since start.
    pub fn stats(&self) -> &crate::stats::ShardStats {
        &self.stats
    }
}

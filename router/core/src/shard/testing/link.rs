//! A link toward a client: a rate, a queue, delay, jitter and loss.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Bench;
use crate::id::{ClientId, SocketId};
use crate::inspect::NetworkView;

/// What a link is like, toward the client; from it there is only the delay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkConfig {
    pub(crate) rate_bps: f64,
    /// What its queue takes, as time at its rate.
    pub(crate) queue: Duration,
    /// One way.
    pub(crate) delay: Duration,
    /// Added to each packet's delay, without reordering.
    pub(crate) jitter: Duration,
    /// Share of packets lost.
    pub(crate) loss: f64,
    /// Share of packets that begin a run of four lost ones.
    pub(crate) burst_loss: f64,
    /// Share of packets that come [`LATE`] after their time.
    pub(crate) reorder: f64,
}

const LATE: Duration = Duration::from_millis(20);

impl LinkConfig {
    /// Without jitter and loss.
    pub(crate) fn new(rate_bps: f64) -> Self {
        LinkConfig {
            rate_bps,
            queue: Duration::from_millis(500),
            delay: Duration::from_millis(25),
            jitter: Duration::ZERO,
            loss: 0.0,
            burst_loss: 0.0,
            reorder: 0.0,
        }
    }
}

/// A datagram that went down the link.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passage {
    pub(crate) sent: Instant,
    /// Time in the queue; `None`: it was lost.
    pub(crate) queued: Option<Duration>,
    pub(crate) payload_type: u8,
}

/// The link of one connection object.
pub(crate) struct Link {
    pub(crate) address: SocketAddr,
    pub(crate) config: LinkConfig,
    pub(crate) passed: Vec<Passage>,
    random: fastrand::Rng,
    /// When the last packet has left the queue, and arrives.
    free: Option<Instant>,
    last: Option<Instant>,
    /// Left of a run of lost ones.
    losing: u32,
    down: VecDeque<(Instant, Vec<u8>)>,
    up: VecDeque<(Instant, Vec<u8>)>,
}

impl Link {
    pub(crate) fn new(address: SocketAddr, config: LinkConfig, seed: u64) -> Self {
        Link {
            address,
            config,
            passed: Vec::new(),
            random: fastrand::Rng::with_seed(seed),
            free: None,
            last: None,
            losing: 0,
            down: VecDeque::new(),
            up: VecDeque::new(),
        }
    }

    pub(super) fn send_up(&mut self, now: Instant, bytes: Vec<u8>) {
        self.up.push_back((now + self.config.delay, bytes));
    }

    pub(super) fn send_down(&mut self, now: Instant, bytes: Vec<u8>) {
        let begins = self.free.map_or(now, |free| free.max(now));
        let queued = begins - now;
        if self.random.f64() < self.config.burst_loss {
            self.losing = 4;
        }
        let lost =
            queued > self.config.queue || self.losing > 0 || self.random.f64() < self.config.loss;
        self.losing = self.losing.saturating_sub(1);
        self.passed.push(Passage {
            sent: now,
            queued: (!lost).then_some(queued),
            payload_type: bytes[1] & 0x7f,
        });
        if queued > self.config.queue {
            return;
        }
        let bits = (bytes.len() + 28) as f64 * 8.0;
        let left = begins + Duration::from_secs_f64(bits / self.config.rate_bps);
        self.free = Some(left);
        if lost {
            return;
        }
        let jitter = self.config.jitter.mul_f64(self.random.f64());
        let arrives = left + self.config.delay + jitter;
        if self.random.f64() < self.config.reorder {
            let late = arrives + LATE;
            let place = self.down.partition_point(|(at, _)| *at <= late);
            self.down.insert(place, (late, bytes));
            return;
        }
        let arrives = self.last.map_or(arrives, |last| last.max(arrives));
        self.last = Some(arrives);
        let place = self.down.partition_point(|(at, _)| *at <= arrives);
        self.down.insert(place, (arrives, bytes));
    }
}

impl Bench {
    /// Puts a link between the router and a subscriber.
    pub(crate) fn set_link(&mut self, client: usize, config: LinkConfig) {
        let address = self.clients[client].subscribe().outside();
        match &mut self.link {
            Some(link) => link.config = config,
            None => self.link = Some(Link::new(address, config, 7)),
        }
    }

    /// Delivers what has come through the link.
    pub(super) fn pass_link(&mut self) {
        let now = self.now;
        let due = |queue: &VecDeque<(Instant, Vec<u8>)>| queue.front().is_some_and(|p| p.0 <= now);
        loop {
            let Some(link) = &mut self.link else {
                return;
            };
            let address = link.address;
            if due(&link.up) {
                let (_, bytes) = link.up.pop_front().unwrap();
                self.shard
                    .handle_datagram(now, SocketId(0), address, &bytes);
            } else if due(&link.down) {
                let (_, bytes) = link.down.pop_front().unwrap();
                self.deliver(address, &bytes);
            } else {
                return;
            }
        }
    }

    /// What is known of the network toward a client.
    pub(crate) fn network(&self, client: usize) -> NetworkView {
        let id: ClientId = self.clients[client].id;
        let key = self
            .shard
            .transport_of(id, crate::api::Direction::Subscribe);
        self.shard
            .network_view(self.now, key)
            .expect("it subscribes")
    }
}

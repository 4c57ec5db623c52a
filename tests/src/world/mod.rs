//! Shards, clients and the network between them in virtual time.
//!
//! One heap of `(time, order, happening)`; equal seeds give equal runs, up to the key material, which
//! comes from the operating system.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rillway_core::api::{Direction, Event, RecordedPacket, Request};
use rillway_core::id::{ClientId, SocketId, WorkerId};
use rillway_core::limits::Limits;
use rillway_core::stats::ShardStats;
use rillway_core::{Shard, ShardConfig, Transmit};
use str0m_netem::NetemConfig;

use crate::client::{Client, ClientConfig};

pub mod checks;
mod heap;
mod network;
mod recording;

use heap::{Entry, Happening};
pub use network::{Account, Ledger, Link, Packet};
use network::{earlier, take_wake};

/// From one shard to another.
const CROSSING_TIME: Duration = Duration::from_micros(100);

/// Turns at one instant after which something is taken to spin.
const TURNS_AT_ONE_INSTANT_MAX: u32 = 10_000;

/// A client of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Who(pub usize);

struct ShardHost {
    shard: Shard,
    address: SocketAddr,
    wake: Option<Instant>,
    dirty: bool,
    recorded: Vec<RecordedPacket>,
}

struct ClientHost {
    client: Client,
    shard: usize,
    up: Link,
    down: Link,
    wake: Option<Instant>,
    connected: bool,
}

struct Outbox(Vec<(SocketAddr, Vec<u8>)>);

impl Transmit for Outbox {
    fn transmit(&mut self, _: SocketId, destination: SocketAddr, contents: &[u8]) {
        self.0.push((destination, contents.to_vec()));
    }
}

/// A datagram seen at a shard.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// When.
    pub at: Instant,
    /// True: toward the router.
    pub inward: bool,
    /// The outside address.
    pub outside: SocketAddr,
    /// Bytes.
    pub contents: Vec<u8>,
}

/// Everything.
pub struct World {
    /// Virtual now.
    pub now: Instant,
    /// Start of the virtual time.
    pub epoch: Instant,
    /// Accounts of bytes.
    pub ledger: Ledger,
    /// Datagrams the router sent to addresses that no client has.
    pub strays: Vec<(SocketAddr, Vec<u8>)>,
    /// One-way delay of signaling.
    pub signal_delay: Duration,
    /// Every datagram at the shards, while `Some`.
    pub tap: Option<Vec<Sighting>>,
    link: NetemConfig,
    seed: u64,
    order: u64,
    turns_here: u32,
    heap: BinaryHeap<Reverse<Entry>>,
    shards: Vec<ShardHost>,
    clients: Vec<ClientHost>,
    by_id: HashMap<ClientId, usize>,
    /// By outside address: the inside one, and whose it is.
    inside: BTreeMap<SocketAddr, (SocketAddr, usize)>,
    outside: BTreeMap<SocketAddr, SocketAddr>,
}

impl World {
    /// An empty world. Links have 1 ms of delay and no loss until [`World::set_default_link`].
    pub fn new(seed: u64) -> Self {
        fastrand::seed(seed);
        let now = Instant::now();
        World {
            now,
            epoch: now,
            ledger: Ledger::default(),
            strays: Vec::new(),
            signal_delay: Duration::from_millis(1),
            tap: None,
            link: NetemConfig::new().latency(Duration::from_millis(1)),
            seed,
            order: 0,
            turns_here: 0,
            heap: BinaryHeap::new(),
            shards: Vec::new(),
            clients: Vec::new(),
            by_id: HashMap::new(),
            inside: BTreeMap::new(),
            outside: BTreeMap::new(),
        }
    }

    /// A world with one shard of default limits.
    pub fn with_shard(seed: u64) -> Self {
        let mut world = World::new(seed);
        world.add_shard(Limits::default());
        world
    }

    /// Quality of the links of clients added from now on.
    pub fn set_default_link(&mut self, config: NetemConfig) {
        self.link = config;
    }

    /// Adds a shard; returns its index. Its address is `10.0.0.(index + 1):40000`.
    pub fn add_shard(&mut self, limits: Limits) -> usize {
        let index = self.shards.len();
        let ip = Ipv4Addr::new(10, 0, 0, index as u8 + 1);
        let address = SocketAddr::new(ip.into(), 40_000);
        let mut seed = [index as u8; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        let config = ShardConfig {
            worker: WorkerId(index as u8),
            local_addresses: vec![address],
            advertised_addresses: vec![address],
            listeners: 0,
            limits,
            relays: None,
            unix_time: Duration::from_secs(1_700_000_000),
            seed,
        };
        self.shards.push(ShardHost {
            shard: Shard::new(config, self.now),
            address,
            wake: None,
            dirty: false,
            recorded: Vec::new(),
        });
        index
    }

    /// Adds a client of shard 0 that publishes nothing by itself; `adjust` changes its set-up.
    pub fn add_client(&mut self, room: &str, adjust: impl FnOnce(&mut ClientConfig)) -> Who {
        self.add_client_at(0, room, adjust)
    }

    /// Adds a client of one shard.
    pub fn add_client_at(
        &mut self,
        shard: usize,
        room: &str,
        adjust: impl FnOnce(&mut ClientConfig),
    ) -> Who {
        let index = self.clients.len();
        let ip: IpAddr = Ipv4Addr::new(10, 1, (index / 250) as u8, (index % 250) as u8 + 1).into();
        let addresses = [SocketAddr::new(ip, 5_000), SocketAddr::new(ip, 5_001)];
        let id = ClientId(index as u64 + 1);
        let mut config = ClientConfig::new(id, room, addresses, self.epoch);
        config.world = self.seed;
        adjust(&mut config);
        for address in [config.publish_address, config.subscribe_address] {
            self.inside.insert(address, (address, index));
            self.outside.insert(address, address);
        }
        self.by_id.insert(config.client, index);
        let link = |side: u64| Link::new(self.link.seed(self.seed ^ (index as u64 * 2 + side)));
        let (up, down) = (link(0), link(1));
        self.clients.push(ClientHost {
            client: Client::new(config),
            shard,
            up,
            down,
            wake: None,
            connected: true,
        });
        Who(index)
    }

    /// A client.
    pub fn client(&self, who: Who) -> &Client {
        &self.clients[who.0].client
    }

    /// Does something to a client at the present time, then carries what came of it.
    pub fn with<R>(&mut self, who: Who, act: impl FnOnce(&mut Client, Instant) -> R) -> R {
        let result = act(&mut self.clients[who.0].client, self.now);
        self.collect_client(who.0);
        result
    }

    /// Every client.
    pub fn everybody(&self) -> Vec<Who> {
        (0..self.clients.len()).map(Who).collect()
    }

    /// Links of a client: up and down.
    pub fn links(&mut self, who: Who) -> (&mut Link, &mut Link) {
        let host = &mut self.clients[who.0];
        (&mut host.up, &mut host.down)
    }

    /// A shard's address.
    pub fn shard_address(&self, shard: usize) -> SocketAddr {
        self.shards[shard].address
    }

    /// A shard's counters.
    pub fn stats(&self, shard: usize) -> &ShardStats {
        self.shards[shard].shard.stats()
    }

    /// Sizes of a shard's tables, as text.
    pub fn table_sizes(&self, shard: usize) -> String {
        format!("{:?}", self.shards[shard].shard.table_sizes())
    }

    /// When a shard next wants to run.
    pub fn shard_timeout(&self, shard: usize) -> Option<Instant> {
        self.shards[shard].shard.poll_timeout()
    }

    /// The address by which the router knows one of a client's addresses.
    pub fn outside_of(&self, inside: SocketAddr) -> SocketAddr {
        self.outside[&inside]
    }

    /// The NAT in front of a client gives one of its addresses another outside address.
    pub fn rebind(&mut self, inside: SocketAddr, outside: SocketAddr) {
        let old = self.outside.insert(inside, outside);
        let owner = old.and_then(|old| self.inside.remove(&old));
        let (_, owner) = owner.expect("an address of a client");
        self.inside.insert(outside, (inside, owner));
    }

    /// The client's signaling connection is gone: nothing more goes either way.
    pub fn disconnect_signaling(&mut self, who: Who) {
        self.clients[who.0].connected = false;
    }

    /// A datagram from anywhere reaches a shard now. Returns what the router sent in the same turn,
    /// which is also delivered.
    pub fn inject(
        &mut self,
        shard: usize,
        source: SocketAddr,
        contents: &[u8],
    ) -> Vec<(SocketAddr, Vec<u8>)> {
        self.deliver(shard, source, contents, false);
        self.flush_shard(shard)
    }

    /// Lets a room have parts on all shards, or on one alone again.
    pub fn span(&mut self, room: &str, spans: bool) {
        let all: Vec<_> = (0..self.shards.len()).map(|n| WorkerId(n as u8)).collect();
        let parts = if spans { all.as_slice() } else { &[] };
        for index in 0..self.shards.len() {
            self.shards[index].shard.set_parts(self.now, room, parts);
            self.flush_shard(index);
        }
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Which shard a client is at.
    pub fn shard_of(&self, who: Who) -> usize {
        self.clients[who.0].shard
    }

    /// Hands a shard a request of a client that need not exist.
    pub fn request(&mut self, shard: usize, request: Request) {
        self.shards[shard].shard.handle_request(self.now, request);
        self.flush_shard(shard);
    }

    /// The next work on one of a client's transports panics.
    ///
    /// # Panics
    /// If the client has not joined.
    pub fn provoke_panic(&mut self, who: Who, direction: Direction) {
        let host = &self.clients[who.0];
        let me = host.client.me.expect("joined");
        let shard = &mut self.shards[host.shard];
        shard.shard.inject_panic(me, direction);
    }

    /// Runs for some virtual time.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_to(end);
    }

    /// Runs until `done`, asked every 5 ms of virtual time, or until `limit` has passed. Says whether
    /// it was done.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&World) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if self.now >= end {
                return false;
            }
            let step = (self.now + Duration::from_millis(5)).min(end);
            self.run_to(step);
        }
        true
    }

    /// Like [`World::run_until`], but asks after every instant at which something happens.
    pub fn run_closely(&mut self, limit: Duration, mut done: impl FnMut(&World) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if !self.turn(end) {
                self.now = end;
                return false;
            }
        }
        true
    }

    fn run_to(&mut self, end: Instant) {
        while self.turn(end) {}
        self.now = end;
    }

    /// Moves on to the next instant at which something happens, and lets it happen. False if there is
    /// none up to `end`.
    fn turn(&mut self, end: Instant) -> bool {
        let Some(Reverse(entry)) = self.heap.peek() else {
            return false;
        };
        let at = entry.at.max(self.now);
        if at > end {
            return false;
        }
        self.turns_here = if at == self.now {
            self.turns_here + 1
        } else {
            0
        };
        assert!(
            self.turns_here < TURNS_AT_ONE_INSTANT_MAX,
            "time stands still at {:?}",
            self.now - self.epoch
        );
        self.now = at;
        while let Some(Reverse(entry)) = self.heap.peek() {
            if entry.at > at {
                break;
            }
            if let Some(Reverse(entry)) = self.heap.pop() {
                self.happen(entry.what);
            }
        }
        for index in 0..self.shards.len() {
            if self.shards[index].dirty {
                self.flush_shard(index);
            }
        }
        true
    }

    fn schedule(&mut self, at: Instant, what: Happening) {
        self.order += 1;
        let order = self.order;
        self.heap.push(Reverse(Entry { at, order, what }));
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::ShardTimer(index) => {
                let host = &mut self.shards[index];
                if !take_wake(&mut host.wake, self.now) {
                    return;
                }
                if host.shard.poll_timeout().is_some_and(|at| at <= self.now) {
                    host.shard.handle_timeout(self.now);
                }
                host.dirty = true;
            }
            Happening::ClientTimer(index) => {
                let host = &mut self.clients[index];
                if !take_wake(&mut host.wake, self.now) {
                    return;
                }
                host.client.handle_timeout(self.now);
                self.collect_client(index);
            }
            Happening::Up(index) => self.link_up(index),
            Happening::Down(index) => self.link_down(index),
            Happening::Request(shard, request) => {
                let host = &mut self.shards[shard];
                host.shard.handle_request(self.now, request);
                host.dirty = true;
            }
            Happening::Crossing(from, to, crossing) => {
                let host = &mut self.shards[to];
                let from = WorkerId(from as u8);
                host.shard.handle_crossing(self.now, from, crossing);
                host.dirty = true;
            }
            Happening::Event(index, event) => {
                let host = &mut self.clients[index];
                if host.connected {
                    host.client.handle_event(self.now, event);
                    self.collect_client(index);
                }
            }
        }
    }

    fn link_up(&mut self, index: usize) {
        if !take_wake(&mut self.clients[index].up.wake, self.now) {
            return;
        }
        while let Some(packet) = self.clients[index].up.arrived(self.now) {
            let shard = self
                .shards
                .iter()
                .position(|s| s.address == packet.destination);
            if let Some(shard) = shard {
                self.deliver(shard, packet.source, &packet.contents, true);
            }
        }
        if let Some(at) = self.clients[index].up.new_wake() {
            self.schedule(at, Happening::Up(index));
        }
    }

    fn link_down(&mut self, index: usize) {
        if !take_wake(&mut self.clients[index].down.wake, self.now) {
            return;
        }
        while let Some(packet) = self.clients[index].down.arrived(self.now) {
            let Some((inside, _)) = self.inside.get(&packet.destination).copied() else {
                continue;
            };
            let client = &mut self.clients[index].client;
            client.handle_datagram(self.now, inside, packet.source, &packet.contents);
        }
        self.collect_client(index);
        if let Some(at) = self.clients[index].down.new_wake() {
            self.schedule(at, Happening::Down(index));
        }
    }

    fn deliver(&mut self, shard: usize, source: SocketAddr, contents: &[u8], honest: bool) {
        self.ledger.arrived(source, contents, honest);
        if let Some(tap) = &mut self.tap {
            tap.push(Sighting {
                at: self.now,
                inward: true,
                outside: source,
                contents: contents.to_vec(),
            });
        }
        let host = &mut self.shards[shard];
        host.shard
            .handle_datagram(self.now, SocketId(0), source, contents);
        host.dirty = true;
    }

    fn flush_shard(&mut self, index: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let now = self.now;
        let host = &mut self.shards[index];
        host.dirty = false;
        let mut outbox = Outbox(Vec::new());
        host.shard.flush(now, &mut outbox);
        host.recorded.extend(host.shard.drain_recorded());
        let mut events = Vec::new();
        while let Some(Event { client, kind }) = host.shard.poll_event() {
            events.push((client, kind));
        }
        let crossings: Vec<_> = host.shard.drain_crossings().collect();
        let address = host.address;
        let timeout = host.shard.poll_timeout();
        if let Some(at) = timeout.and_then(|at| earlier(&mut host.wake, at)) {
            self.schedule(at, Happening::ShardTimer(index));
        }
        for (client, kind) in events {
            if let Some(index) = self.by_id.get(&client).copied() {
                self.schedule(now + self.signal_delay, Happening::Event(index, kind));
            }
        }
        for (to, crossing) in crossings {
            let what = Happening::Crossing(index, usize::from(to.0), crossing);
            self.schedule(now + CROSSING_TIME, what);
        }
        for (destination, contents) in &outbox.0 {
            self.carry_down(address, *destination, contents);
        }
        outbox.0
    }

    fn carry_down(&mut self, source: SocketAddr, destination: SocketAddr, contents: &[u8]) {
        self.ledger.left(destination, contents);
        if let Some(tap) = &mut self.tap {
            tap.push(Sighting {
                at: self.now,
                inward: false,
                outside: destination,
                contents: contents.to_vec(),
            });
        }
        let Some((_, owner)) = self.inside.get(&destination).copied() else {
            self.strays.push((destination, contents.to_vec()));
            return;
        };
        let packet = Packet {
            source,
            destination,
            contents: contents.to_vec(),
        };
        let link = &mut self.clients[owner].down;
        link.send(self.now, packet);
        if let Some(at) = link.new_wake() {
            self.schedule(at, Happening::Down(owner));
        }
    }

    fn collect_client(&mut self, index: usize) {
        let now = self.now;
        while let Some((reference, action)) = self.clients[index].client.poll_request() {
            let host = &self.clients[index];
            if !host.connected {
                continue;
            }
            let request = Request {
                client: host.client.config.client,
                reference,
                action,
            };
            let what = Happening::Request(host.shard, request);
            self.schedule(now + self.signal_delay, what);
        }
        while let Some(datagram) = self.clients[index].client.poll_transmit() {
            let packet = Packet {
                source: self.outside[&datagram.source],
                destination: datagram.destination,
                contents: datagram.contents,
            };
            let link = &mut self.clients[index].up;
            link.send(now, packet);
            if let Some(at) = link.new_wake() {
                self.schedule(at, Happening::Up(index));
            }
        }
        let host = &mut self.clients[index];
        let timeout = host.client.poll_timeout();
        if let Some(at) = timeout.and_then(|at| earlier(&mut host.wake, at)) {
            self.schedule(at, Happening::ClientTimer(index));
        }
    }
}

//! A room in memory: one publisher, many subscribers, all of them real WebRTC clients, and a shard that
//! is fed by hand, so that its part can be measured alone.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::client::{Client, ClientConfig};
use crate::media::TrackSpec;
use rillway_core::api::{Event, Request};
use rillway_core::id::{ClientId, SocketId, WorkerId};
use rillway_core::limits::Limits;
use rillway_core::{Shard, ShardConfig, Transmit};

/// Virtual time of one step while everybody connects.
const STEP: Duration = Duration::from_millis(10);

/// What the shard sent, one behind the other, as a driver would copy it.
#[derive(Default)]
struct Sent {
    bytes: Vec<u8>,
    datagrams: Vec<(SocketAddr, usize)>,
}

impl Transmit for Sent {
    fn transmit(&mut self, _: SocketId, destination: SocketAddr, contents: &[u8]) {
        self.bytes.extend_from_slice(contents);
        self.datagrams.push((destination, contents.len()));
    }

    fn transmit_run(
        &mut self,
        _: SocketId,
        destination: SocketAddr,
        packet_bytes: usize,
        run: &[u8],
    ) {
        self.bytes.extend_from_slice(run);
        let lengths = run.chunks(packet_bytes).map(<[u8]>::len);
        self.datagrams
            .extend(lengths.map(|length| (destination, length)));
    }
}

impl Sent {
    fn clear(&mut self) {
        self.bytes.clear();
        self.datagrams.clear();
    }
}

/// What the shard is doing when it is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// From the publisher's datagrams to the subscribers'.
    Forwarding,
    /// The subscribers' feedback, and what comes of it.
    Feedback,
}

/// Runs a piece of the shard's work, measuring it.
pub type Meter<'a> = dyn FnMut(Part, &mut dyn FnMut()) + 'a;

/// Everything.
pub struct Scene {
    shard: Shard,
    clients: Vec<Client>,
    by_address: HashMap<SocketAddr, usize>,
    router: SocketAddr,
    now: Instant,
    sent: Sent,
}

impl Scene {
    /// Connects one publisher of these tracks and `subscribers` others.
    ///
    /// # Panics
    /// If they do not all receive within some virtual seconds.
    pub fn new(tracks: Vec<TrackSpec>, subscribers: usize) -> Self {
        let router = SocketAddr::from(([10, 0, 0, 1], 40_000));
        let now = Instant::now();
        let count = tracks.len() as u16;
        let config = ShardConfig {
            worker: WorkerId(0),
            local_addresses: vec![router],
            advertised_addresses: vec![router],
            listeners: 0,
            limits: Limits {
                participants_per_room: 10_000,
                tracks_per_participant: count.max(16),
                subscriptions_per_participant: count.max(16),
                ..Limits::default()
            },
            relays: None,
            unix_time: Duration::from_secs(1_700_000_000),
            seed: [7; 32],
        };
        let mut scene = Scene {
            shard: Shard::new(config, now),
            clients: Vec::new(),
            by_address: HashMap::new(),
            router,
            now,
            sent: Sent::default(),
        };
        scene.add(now, tracks);
        for _ in 0..subscribers {
            scene.add(now, Vec::new());
        }
        scene.connect();
        scene
    }

    fn add(&mut self, epoch: Instant, tracks: Vec<TrackSpec>) {
        let index = self.clients.len();
        let ip = Ipv4Addr::new(10, 1, (index / 250) as u8, (index % 250) as u8 + 1);
        let addresses = [5_000, 5_001].map(|port| SocketAddr::from((ip, port)));
        let id = ClientId(index as u64 + 1);
        let mut config = ClientConfig::new(id, "bench", addresses, epoch);
        config.tracks = tracks;
        for address in addresses {
            self.by_address.insert(address, index);
        }
        let mut client = Client::new(config);
        client.join();
        self.clients.push(client);
    }

    fn connect(&mut self) {
        for _ in 0..2_000 {
            self.now += STEP;
            self.turn(&mut |_, work| work());
            let receives = |client: &Client| {
                let mut inbound = client.inbound.values();
                !client.inbound.is_empty() && inbound.all(|i| i.packets > 0)
            };
            if self.clients.iter().skip(1).all(receives) {
                return;
            }
        }
        panic!("not everybody receives");
    }

    /// Lets time pass up to the publisher's next frame and measures what the shard does about it.
    /// Returns how many packets it forwarded.
    pub fn frame(&mut self, meter: &mut Meter<'_>) -> u64 {
        let next = self.clients[0].poll_timeout();
        self.now = next.unwrap_or(self.now).max(self.now);
        self.turn(meter)
    }

    /// Packets the subscribers got; each was checked.
    pub fn received(&self) -> u64 {
        let inbound = self.clients.iter().flat_map(|c| c.inbound.values());
        inbound.map(|i| i.packets).sum()
    }

    /// Asserts that no client noticed anything wrong.
    ///
    /// # Panics
    /// If one did.
    pub fn assert_sound(&self) {
        for client in &self.clients {
            assert_eq!(client.violations, Vec::<String>::new());
        }
    }

    fn turn(&mut self, meter: &mut Meter<'_>) -> u64 {
        self.tick(0..1);
        let before = self.shard.stats().rtp_forwarded;
        let incoming = self.outgoing(0..1);
        self.feed(Part::Forwarding, &incoming, meter);
        let forwarded = self.shard.stats().rtp_forwarded - before;
        let everybody = 0..self.clients.len();
        for _ in 0..50 {
            let moved = self.deliver() | self.signal();
            self.tick(everybody.clone());
            let incoming = self.outgoing(everybody.clone());
            if !moved && incoming.is_empty() {
                break;
            }
            self.feed(Part::Feedback, &incoming, meter);
        }
        forwarded
    }

    /// Hands the shard a turn's datagrams.
    fn feed(&mut self, part: Part, incoming: &[(SocketAddr, Vec<u8>)], meter: &mut Meter<'_>) {
        let Scene {
            shard, sent, now, ..
        } = self;
        meter(part, &mut || {
            for (source, contents) in incoming {
                shard.handle_datagram(*now, SocketId(0), *source, contents);
            }
            if shard.poll_timeout().is_some_and(|at| at <= *now) {
                shard.handle_timeout(*now);
            }
            shard.flush(*now, sent);
        });
    }

    fn tick(&mut self, which: Range<usize>) {
        for client in &mut self.clients[which] {
            if client.poll_timeout().is_some_and(|at| at <= self.now) {
                client.handle_timeout(self.now);
            }
        }
    }

    fn outgoing(&mut self, which: Range<usize>) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut datagrams = Vec::new();
        for client in &mut self.clients[which] {
            while let Some(datagram) = client.poll_transmit() {
                datagrams.push((datagram.source, datagram.contents));
            }
        }
        datagrams
    }

    fn deliver(&mut self) -> bool {
        let sent = std::mem::take(&mut self.sent);
        let mut rest = sent.bytes.as_slice();
        for (destination, length) in &sent.datagrams {
            let (datagram, after) = rest.split_at(*length);
            rest = after;
            if let Some(index) = self.by_address.get(destination) {
                let client = &mut self.clients[*index];
                client.handle_datagram(self.now, *destination, self.router, datagram);
            }
        }
        let moved = !sent.datagrams.is_empty();
        self.sent = sent;
        self.sent.clear();
        moved
    }

    fn signal(&mut self) -> bool {
        let mut moved = false;
        for client in &mut self.clients {
            while let Some((reference, action)) = client.poll_request() {
                moved = true;
                let client = client.config.client;
                let request = Request {
                    client,
                    reference,
                    action,
                };
                self.shard.handle_request(self.now, request);
            }
        }
        while let Some(Event { client, kind }) = self.shard.poll_event() {
            moved = true;
            let client = &mut self.clients[client.0 as usize - 1];
            client.handle_event(self.now, kind);
        }
        moved
    }
}

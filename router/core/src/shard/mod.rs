//! One worker's whole state: rooms, participants, tracks, subscriptions, transports.
//!
//! Calling contract: any number of [`Shard::handle_datagram`], [`Shard::handle_request`] and
//! [`Shard::handle_timeout`] calls make a turn; at its end [`Shard::flush`] hands out what is to be
//! sent, grouped by destination, then [`Shard::drain_crossings`], [`Shard::drain_recorded`],
//! [`Shard::drain_captured`] and [`Shard::poll_event`] until there is no more, then sleep until
//! [`Shard::poll_timeout`]. `now` never goes back.

pub(crate) mod bucket;
mod capture;
mod cross;
mod data;
mod datagrams;
mod events;
mod feedback;
mod forward;
mod incoming;
mod inspect;
mod layers;
mod lifecycle;
mod moved;
mod parts;
mod port;
mod publish;
mod receive;
mod recording;
mod requests;
pub(crate) mod slab;
mod stun;
mod subscribe;
mod ticks;
mod timers;
mod watch;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::api::{Direction, Event, EventKind, RecordedPacket, Request, RoomEvent};
use crate::crossing::Crossing;
use crate::egress::Egress;
use crate::id::{ClientId, ParticipantId, SocketId, TrackId, WorkerId};
use crate::limits::STUN_FAILURES_PER_SHARD;
use crate::participant::Participant;
use crate::path::Relays;
use crate::policy::allocate::Demand;
use crate::room::Room;
use crate::stats::ShardStats;
use crate::subscription::Subscription;
use crate::track::Track;
use crate::transport::dtls::KeyHolder;
use crate::transport::{Outgoing, Step, Transport, TransportFactory, dtls};
use bucket::Bucket;
use datagrams::Demux;
use moved::Questions;
use port::SharedPort;
use slab::{
    ParticipantKey, RoomKey, Slab, SubscriptionKey, TrackKey, TransportKey, from_public, to_public,
};
use timers::{Timer, Timers};

pub use port::{Claim, Elsewhere, Route};

/// Hashes for keys that peers choose: seeded, so that nobody can aim at one bucket.
pub(crate) type Hasher = foldhash::fast::FixedState;

/// Takes what the shard sends.
pub trait Transmit {
    /// One datagram. Consecutive ones to one destination may be joined by the taker.
    fn transmit(&mut self, socket: SocketId, destination: SocketAddr, contents: &[u8]);

    /// Datagrams of one length to one destination, one behind the other; the last may be shorter. At most
    /// 64 of them and 64,000 bytes in all, so that a driver can send them with one call (UDP GSO).
    /// `packet_bytes` is at least 1.
    fn transmit_run(
        &mut self,
        socket: SocketId,
        destination: SocketAddr,
        packet_bytes: usize,
        run: &[u8],
    ) {
        for contents in run.chunks(packet_bytes.max(1)) {
            self.transmit(socket, destination, contents);
        }
    }

    /// The same for packets of video on a TCP connection: if that does not keep up, they are what to drop.
    fn transmit_dispensable_run(
        &mut self,
        socket: SocketId,
        destination: SocketAddr,
        packet_bytes: usize,
        run: &[u8],
    ) {
        self.transmit_run(socket, destination, packet_bytes, run);
    }
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
    /// How many of them, the last ones, are listened on for TCP (RFC 6544). What comes in frames from
    /// their connections (RFC 4571) is handed over as datagrams, without its lengths.
    pub listeners: usize,
    /// Bounds that configuration may change; the rest is in [`crate::limits`].
    pub limits: crate::limits::Limits,
    /// This router's own relay, if there is one.
    pub relays: Option<Arc<dyn Relays>>,
    /// The wall clock when the shard is made, since 1970: what its RTCP reports count time from.
    pub unix_time: Duration,
    /// Seed of the shard's CSPRNG: from the OS in production, fixed in simulation.
    pub seed: [u8; 32],
}

/// One worker's rooms and transports.
pub struct Shard {
    config: ShardConfig,
    factory: TransportFactory,
    rng: ChaCha20Rng,
    /// The first time heard of.
    began: Instant,
    hasher: Hasher,
    rooms: Slab<RoomKey, Room>,
    room_names: HashMap<String, RoomKey, Hasher>,
    participants: Slab<ParticipantKey, Participant>,
    clients: HashMap<ClientId, ParticipantKey, Hasher>,
    /// Those published here, and mirrors of those of the same rooms on other workers.
    tracks: Slab<TrackKey, Track>,
    /// The mirrors, by the ids their workers gave them.
    mirrors: HashMap<TrackId, TrackKey, Hasher>,
    /// Other workers with parts of a room, by its name; rooms on several workers only.
    spans: HashMap<String, Vec<WorkerId>, Hasher>,
    /// What the turn has for other workers.
    outbound: Vec<(WorkerId, Crossing)>,
    subscriptions: Slab<SubscriptionKey, Subscription>,
    transports: Slab<TransportKey, Box<Transport>>,
    demux: Demux,
    questions: Questions,
    /// Who else is behind our UDP port.
    port: Option<SharedPort>,
    stun_failures: Bucket,
    timers: Timers,
    due: Vec<Timer>,
    /// Transports to be told the time.
    dirty: Vec<TransportKey>,
    /// Transports with datagrams to send.
    sending: Vec<TransportKey>,
    /// Participants whose subscribing transport is to be negotiated at the end of the turn.
    offers_due: Vec<ParticipantKey>,
    /// Last datagrams of transports that are gone.
    farewells: Vec<Outgoing>,
    /// Binding requests of strangers that may still be answered.
    stun_allowance: Bucket,
    /// Answers to strangers.
    stun_answers: Vec<(SocketId, SocketAddr, stun::Answer)>,
    egress: Egress,
    /// Where feedback is decrypted.
    scratch: Vec<u8>,
    events: VecDeque<Event>,
    /// The control side hears when rooms open and close.
    announce: bool,
    room_events: VecDeque<RoomEvent>,
    /// Rooms with news for the layer policy outside.
    touched: Vec<RoomKey>,
    /// What the turn has for the recorder.
    recorded: Vec<RecordedPacket>,
    /// What it has for captures.
    captured: Vec<RecordedPacket>,
    /// Scratch of `shard/layers.rs`.
    demands: Vec<Demand>,
    stats: ShardStats,
}

/// Sizes of the shard's tables, for tests that everything is freed.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableSizes {
    pub rooms: usize,
    pub room_names: usize,
    pub participants: usize,
    pub clients: usize,
    pub tracks: usize,
    pub mirrors: usize,
    pub spans: usize,
    pub outbound: usize,
    pub subscriptions: usize,
    pub transports: usize,
    pub addresses: usize,
    pub timers: usize,
    pub dirty: usize,
    pub sending: usize,
    pub offers_due: usize,
    pub touched: usize,
    pub recorded: usize,
    pub captured: usize,
}

impl Shard {
    /// An empty shard with a certificate of its own.
    ///
    /// # Panics
    /// If no key for the certificate can be made: the operating system has no randomness.
    pub fn new(config: ShardConfig, now: Instant) -> Self {
        let mut rng = ChaCha20Rng::from_seed(config.seed);
        let crypto = dtls::crypto_provider(KeyHolder::Engine);
        let certificate = crypto
            .dtls_provider
            .generate_certificate()
            .expect("a certificate can be made");
        let factory = TransportFactory {
            crypto,
            crypto_sending: dtls::crypto_provider(KeyHolder::Ourselves),
            certificate,
            first_listener: config
                .advertised_addresses
                .len()
                .saturating_sub(config.listeners),
            advertised: config.advertised_addresses.clone(),
            limits: config.limits,
            relays: config.relays.clone(),
        };
        let hasher = Hasher::with_seed(rng.next_u64());
        Shard {
            factory,
            rooms: Slab::new(),
            room_names: HashMap::with_hasher(hasher.clone()),
            participants: Slab::starting_anywhere(rng.next_u32()),
            clients: HashMap::with_hasher(hasher.clone()),
            tracks: Slab::starting_anywhere(rng.next_u32()),
            mirrors: HashMap::with_hasher(hasher.clone()),
            spans: HashMap::with_hasher(hasher.clone()),
            outbound: Vec::new(),
            subscriptions: Slab::new(),
            transports: Slab::new(),
            demux: Demux::new(hasher.clone(), now),
            questions: Questions::new(now),
            port: None,
            stun_failures: Bucket::new(STUN_FAILURES_PER_SHARD, now),
            timers: Timers::default(),
            due: Vec::new(),
            dirty: Vec::new(),
            sending: Vec::new(),
            offers_due: Vec::new(),
            farewells: Vec::new(),
            stun_allowance: Bucket::new(config.limits.stun_answers_per_second, now),
            stun_answers: Vec::new(),
            egress: Egress::new(now, config.unix_time),
            scratch: Vec::new(),
            events: VecDeque::new(),
            announce: false,
            room_events: VecDeque::new(),
            touched: Vec::new(),
            recorded: Vec::new(),
            captured: Vec::new(),
            demands: Vec::new(),
            stats: ShardStats::default(),
            began: now,
            config,
            rng,
            hasher,
        }
    }

    /// Other bounds from now on, for whoever and whatever comes next; nobody has to go. What participants were
    /// told when they joined, and have negotiated by, stays as it is: tracks, subscriptions, and the lengths of
    /// session descriptions and data messages.
    pub fn set_limits(&mut self, now: Instant, limits: crate::limits::Limits) {
        let old = self.config.limits;
        if limits.stun_answers_per_second != old.stun_answers_per_second {
            self.stun_allowance = Bucket::new(limits.stun_answers_per_second, now);
        }
        self.config.limits = crate::limits::Limits {
            tracks_per_participant: old.tracks_per_participant,
            subscriptions_per_participant: old.subscriptions_per_participant,
            sdp_bytes: old.sdp_bytes,
            data_message_bytes: old.data_message_bytes,
            ..limits
        };
    }

    /// A datagram arrived. What is another worker's ([`Shard::share_ports`]) is for the caller to hand over.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        socket: SocketId,
        source: SocketAddr,
        contents: &[u8],
    ) -> Option<Elsewhere> {
        self.on_datagram(now, socket, source, contents)
    }

    /// A client wants something.
    pub fn handle_request(&mut self, now: Instant, request: Request) {
        self.on_request(now, request);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.on_timeout(now);
    }

    /// When to call [`Shard::handle_timeout`] next, at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Ends the turn: everything to be sent goes to `out`.
    pub fn flush(&mut self, now: Instant, out: &mut dyn Transmit) {
        self.make_offers(now);
        // Draining one transport may concern others (keyframe requests, data): the list grows, but
        // not for ever within one turn.
        let most = 1_000 + 4 * self.transports.len();
        for _ in 0..most {
            let Some(key) = self.dirty.pop() else {
                break;
            };
            let Some(transport) = self.transports.get_mut(key) else {
                continue;
            };
            transport.queued = false;
            match transport.tick(now) {
                Ok(()) => self.drain(now, key),
                Err(fault) => self.fail_transport(now, key, &fault),
            }
        }
        let mut sending = std::mem::take(&mut self.sending);
        for key in sending.drain(..) {
            self.send(now, key, out);
        }
        // A fault may have had others say something.
        sending.append(&mut self.sending);
        self.sending = sending;
        self.egress.clear();
        self.arm_views(now);
        for outgoing in self.farewells.drain(..) {
            out.transmit(outgoing.socket, outgoing.destination, &outgoing.contents);
        }
        for (socket, asker, answer) in self.stun_answers.drain(..) {
            out.transmit(socket, asker, answer.contents());
        }
    }

    /// Sends what waits at a transport.
    fn send(&mut self, now: Instant, key: TransportKey, out: &mut dyn Transmit) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        transport.sending = false;
        for outgoing in transport.outgoing.drain(..) {
            out.transmit(outgoing.socket, outgoing.destination, &outgoing.contents);
        }
        transport.outgoing.shrink_to(OUTGOING_KEPT);
        let route = transport.route(&self.factory, now);
        let Shard {
            egress,
            timers,
            stats,
            ..
        } = self;
        let written = transport.guard_sender(|sender| {
            let written = egress.flush(now, sender, route, out);
            if let Some(at) = sender.wake_at(now) {
                timers.arm(&mut sender.timer, Timer::Reports(key), at);
            }
            written
        });
        match written {
            Ok(written) => {
                let written = written.unwrap_or_default();
                stats.rtp_retransmitted += written.again;
                stats.rtp_refused += written.refused;
                stats.pacer_dropped += written.dropped;
                stats.padding_sent += written.padding;
                stats.probes_sent += written.probes;
                transport.traffic.packets_sent += written.packets + written.padding;
                transport.traffic.bytes_sent += written.bytes;
                transport.traffic.retransmitted += written.again;
                if written.dropped > 0 {
                    self.mend_streams(key);
                }
            }
            Err(fault) => {
                egress.abandon();
                self.fail_transport(now, key, &fault);
            }
        }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Counters since start.
    pub fn stats(&self) -> &ShardStats {
        &self.stats
    }

    /// Makes the next work on a participant's transport panic, to show what a fault there costs.
    #[doc(hidden)]
    pub fn inject_panic(&mut self, participant: ParticipantId, direction: Direction) {
        let key = from_public::<ParticipantKey>(self.config.worker, participant.0)
            .and_then(|key| self.participants.get(key))
            .and_then(|participant| participant.transport(direction));
        if let Some(transport) = key.and_then(|key| self.transports.get_mut(key)) {
            transport.panic_next();
        }
    }

    /// Sizes of every table.
    #[doc(hidden)]
    pub fn table_sizes(&self) -> TableSizes {
        TableSizes {
            rooms: self.rooms.len(),
            room_names: self.room_names.len(),
            participants: self.participants.len(),
            clients: self.clients.len(),
            tracks: self.tracks.len(),
            mirrors: self.mirrors.len(),
            spans: self.spans.len(),
            outbound: self.outbound.len(),
            subscriptions: self.subscriptions.len(),
            transports: self.transports.len(),
            addresses: self.demux.len(),
            timers: self.timers.len(),
            dirty: self.dirty.len(),
            sending: self.sending.len(),
            offers_due: self.offers_due.len(),
            touched: self.touched.len(),
            recorded: self.recorded.len(),
            captured: self.captured.len(),
        }
    }

    fn emit(&mut self, client: ClientId, kind: EventKind) {
        self.events.push_back(Event { client, kind });
    }

    /// Tells everybody in a room but one, in its other parts too.
    fn broadcast(
        &mut self,
        room: RoomKey,
        except: Option<ParticipantKey>,
        kind: &dyn Fn() -> EventKind,
    ) {
        self.note(room, kind);
        if self.rooms.get(room).is_some_and(|r| !r.parts.is_empty()) {
            self.cross_event(room, &kind());
        }
        self.tell_present(room, except, kind);
    }

    /// Tells everybody in this part of a room but one. Who is not told yet that it is in learns all of it
    /// then.
    fn tell_present(
        &mut self,
        room: RoomKey,
        except: Option<ParticipantKey>,
        kind: &dyn Fn() -> EventKind,
    ) {
        let Some(room) = self.rooms.get(room) else {
            return;
        };
        for key in room.participants.iter().filter(|key| Some(**key) != except) {
            if let Some(participant) = self.participants.get(*key)
                && participant.unanswered.is_none()
            {
                self.events.push_back(Event {
                    client: participant.client,
                    kind: kind(),
                });
            }
        }
    }

    /// Has the transport told the time and drained at the end of the turn.
    fn mark(&mut self, key: TransportKey) {
        if let Some(transport) = self.transports.get_mut(key)
            && !transport.queued
        {
            transport.queued = true;
            self.dirty.push(key);
        }
    }

    /// Takes every output of a transport: events are handled, datagrams wait for the end of the turn.
    fn drain(&mut self, now: Instant, key: TransportKey) {
        for _ in 0..crate::limits::OUTPUTS_PER_DRAIN {
            let Some(transport) = self.transports.get_mut(key) else {
                return;
            };
            match transport.poll(&self.factory) {
                Ok(Step::Again) => {}
                Ok(Step::Event(event)) => self.on_engine_event(now, key, event),
                Ok(Step::Idle(at)) => {
                    if !transport.outgoing.is_empty() && !transport.sending {
                        transport.sending = true;
                        self.sending.push(key);
                    }
                    let alive = transport.is_alive();
                    self.timers
                        .arm(&mut transport.timer, Timer::Transport(key), at);
                    if !alive {
                        self.end_transport(now, key, "ended");
                    }
                    return;
                }
                Err(fault) => return self.fail_transport(now, key, &fault),
            }
        }
        tracing::warn!("a transport's output never ended");
    }
}

/// Capacity a transport's queue keeps between turns.
const OUTGOING_KEPT: usize = 64;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

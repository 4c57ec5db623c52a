//! Clients in memory for the shard's tests: each is a pair of full ICE agents of the same engine, on a
//! network without delay and loss unless a test says otherwise.

mod checks;
mod end;
mod link;
pub(crate) mod span;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpOffer};
use str0m::channel::{ChannelConfig, Reliability};
use str0m::media::{
    Direction as EngineDirection, MediaKind as Kind, Mid, Simulcast, SimulcastLayer,
};

pub(crate) use end::{End, Feed, TestPacket, binding_request, vp8};
pub(crate) use link::{Link, LinkConfig, Passage};

use super::{Shard, ShardConfig, Transmit};
use crate::api::*;
use crate::crossing::Crossing;
use crate::id::*;
use crate::limits::Limits;

pub(crate) const ROUTER: &str = "10.0.0.1:40000";

pub(crate) fn router() -> SocketAddr {
    ROUTER.parse().unwrap()
}

pub(crate) struct Client {
    pub(crate) id: ClientId,
    pub(crate) publish: Option<End>,
    pub(crate) subscribe: Option<End>,
    pub(crate) events: Vec<EventKind>,
    /// Answers offers by itself.
    pub(crate) answers: bool,
}

impl Client {
    pub(crate) fn me(&self) -> ParticipantId {
        let joined = self.events.iter().find_map(|event| match event {
            EventKind::Joined { me, .. } => Some(me.id),
            _ => None,
        });
        joined.expect("joined")
    }

    pub(crate) fn publish(&mut self) -> &mut End {
        self.publish.as_mut().unwrap()
    }

    pub(crate) fn subscribe(&mut self) -> &mut End {
        self.subscribe.as_mut().unwrap()
    }

    pub(crate) fn last_offer(&self) -> (u64, String, Vec<MidTrack>) {
        let offer = self.events.iter().rev().find_map(|event| match event {
            EventKind::Offer {
                offer_id,
                sdp,
                tracks,
            } => Some((*offer_id, sdp.clone(), tracks.clone())),
            _ => None,
        });
        offer.expect("an offer")
    }

    /// The mid that carries a track, by the last offer.
    pub(crate) fn mid_of(&self, track: TrackId) -> Mid {
        let (_, _, tracks) = self.last_offer();
        let line = tracks
            .iter()
            .find(|line| line.track == Some(track))
            .expect("a section");
        Mid::from(line.mid.as_str())
    }

    pub(crate) fn published(&self) -> Vec<MidTrack> {
        let answer = self.events.iter().rev().find_map(|event| match event {
            EventKind::Answer { tracks, .. } => Some(tracks.clone()),
            _ => None,
        });
        answer.expect("an answer")
    }

    pub(crate) fn track(&self, index: usize) -> TrackId {
        self.published()[index].track.expect("a track")
    }

    pub(crate) fn failures(&self) -> Vec<RequestError> {
        let failures = self.events.iter().filter_map(|event| match event {
            EventKind::Failed { error, .. } => Some(error.clone()),
            _ => None,
        });
        failures.collect()
    }

    pub(crate) fn states(&self, direction: Direction) -> Vec<TransportState> {
        let states = self.events.iter().filter_map(|event| match event {
            EventKind::TransportState(d, state) if *d == direction => Some(*state),
            _ => None,
        });
        states.collect()
    }
}

/// What the shard sent.
#[derive(Default)]
pub(crate) struct Sink(pub(crate) Vec<(SocketId, SocketAddr, Vec<u8>)>);

impl Transmit for Sink {
    fn transmit(&mut self, socket: SocketId, destination: SocketAddr, contents: &[u8]) {
        self.0.push((socket, destination, contents.to_vec()));
    }
}

/// Sees a datagram on its way; false drops it.
pub(crate) type Filter = Box<dyn FnMut(&[u8]) -> bool>;

pub(crate) struct Bench {
    pub(crate) shard: Shard,
    pub(crate) now: Instant,
    pub(crate) clients: Vec<Client>,
    next_reference: u64,
    next_port: u16,
    /// Datagrams of the shard to addresses nobody has.
    pub(crate) strays: Vec<(SocketAddr, Vec<u8>)>,
    /// Sees every datagram of a client before the shard; false drops it.
    pub(crate) filter: Option<Filter>,
    /// Loses RTP (not RTCP) on its way to clients.
    pub(crate) lose_media_to_clients: bool,
    /// The network of one connection object, where it is more than a wire.
    pub(crate) link: Option<Link>,
    /// Subscribers do not know transport-wide feedback.
    pub(crate) without_transport_feedback: bool,
    /// Loses everything from and to this address.
    pub(crate) blackhole: Option<SocketAddr>,
    /// Loses so many DTLS datagrams on their way to clients.
    pub(crate) lose_dtls_to_clients: usize,
    /// Changes publishing offers on their way.
    pub(crate) edit_offer: Option<Box<dyn Fn(String) -> String>>,
    /// Clients that come have nothing but TCP; see [`Bench::with_tcp`].
    pub(crate) tcp: bool,
    /// Publishing answers reach nobody.
    pub(crate) ignore_answers: bool,
    /// What the shard has for others; see [`Span`].
    pub(crate) crossings: Vec<(WorkerId, Crossing)>,
    /// Another worker behind the same port, to which the kernel gives all that clients send.
    pub(crate) neighbour: Option<Shard>,
}

/// The other worker of [`Bench::neighbour`].
pub(crate) const NEIGHBOUR: WorkerId = WorkerId(4);

pub(crate) fn config(limits: Limits) -> ShardConfig {
    ShardConfig {
        worker: WorkerId(3),
        local_addresses: vec![router()],
        advertised_addresses: vec![router()],
        listeners: 0,
        limits,
        relays: None,
        unix_time: Duration::from_secs(1_700_000_000),
        seed: [42; 32],
    }
}

pub(crate) fn grant(room: &str) -> Grant {
    Grant {
        room: room.into(),
        identity: "somebody".into(),
        name: None,
        publish: vec![
            Source::Camera,
            Source::Microphone,
            Source::Screen,
            Source::ScreenAudio,
            Source::Other,
        ],
        subscribe: true,
        publish_data: true,
        record_control: false,
        max_publish_bps: None,
        expires_at_ms: None,
        attributes: Vec::new(),
    }
}

/// A datagram of a client's.
fn arrive(
    shard: &mut Shard,
    neighbour: &mut Option<Shard>,
    now: Instant,
    (socket, source): (SocketId, SocketAddr),
    bytes: &[u8],
) {
    let Some(neighbour) = neighbour else {
        let elsewhere = shard.handle_datagram(now, socket, source, bytes);
        return assert_eq!(elsewhere, None);
    };
    if let Some(elsewhere) = neighbour.handle_datagram(now, socket, source, bytes) {
        assert!(elsewhere.worker.is_none_or(|worker| worker == WorkerId(3)));
        shard.handle_handed(now, NEIGHBOUR, (socket, source), bytes);
    }
}

#[allow(clippy::disallowed_methods)]
pub(crate) fn start() -> Instant {
    Instant::now()
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        let now = start();
        Bench {
            shard: Shard::new(config(limits), now),
            now,
            clients: Vec::new(),
            next_reference: 0,
            next_port: 50_000,
            strays: Vec::new(),
            filter: None,
            lose_media_to_clients: false,
            link: None,
            without_transport_feedback: false,
            blackhole: None,
            lose_dtls_to_clients: 0,
            edit_offer: None,
            tcp: false,
            ignore_answers: false,
            crossings: Vec::new(),
            neighbour: None,
        }
    }

    /// A shard behind a port that it shares, and whatever is sent there comes to the other worker.
    pub(crate) fn behind_another() -> Self {
        let mut bench = Self::new();
        let mut neighbour = Self::of_worker(NEIGHBOUR).shard;
        neighbour.share_ports(bench.now, vec![WorkerId(3)]);
        bench.shard.share_ports(bench.now, vec![NEIGHBOUR]);
        bench.neighbour = Some(neighbour);
        bench
    }

    /// The shard of another worker than the usual one.
    pub(crate) fn of_worker(worker: WorkerId) -> Self {
        let mut bench = Self::new();
        let setup = ShardConfig {
            worker,
            ..config(Limits::default())
        };
        bench.shard = Shard::new(setup, bench.now);
        bench
    }

    /// A shard that is reached over TCP too, at the same address and port.
    pub(crate) fn with_tcp() -> Self {
        let mut bench = Self::new();
        let mut setup = config(Limits::default());
        setup.local_addresses.push(router());
        setup.advertised_addresses.push(router());
        setup.listeners = 1;
        bench.shard = Shard::new(setup, bench.now);
        bench
    }

    pub(crate) fn request(&mut self, client: usize, action: Action) {
        self.next_reference += 1;
        let request = Request {
            client: self.clients[client].id,
            reference: Reference(self.next_reference),
            action,
        };
        self.shard.handle_request(self.now, request);
        self.settle();
    }

    /// A request that must succeed.
    pub(crate) fn ok(&mut self, client: usize, action: Action) {
        let before = self.clients[client].failures().len();
        self.request(client, action);
        let failures = self.clients[client].failures();
        assert_eq!(failures.len(), before, "{failures:?}");
    }

    /// A request that must fail.
    pub(crate) fn refused(&mut self, client: usize, action: Action) -> RequestError {
        let before = self.clients[client].failures().len();
        self.request(client, action);
        let mut failures = self.clients[client].failures();
        assert_eq!(failures.len(), before + 1, "it was not refused");
        failures.pop().unwrap()
    }

    pub(crate) fn join(&mut self, room: &str) -> usize {
        self.join_with(grant(room))
    }

    pub(crate) fn join_with(&mut self, grant: Grant) -> usize {
        let index = self.add_client();
        self.request(
            index,
            Action::Join {
                grant,
                joined_at_ms: 7,
            },
        );
        index
    }

    pub(crate) fn end(&mut self) -> End {
        self.next_port += 1;
        let address = SocketAddr::from(([10, 0, 1, 1], self.next_port));
        match self.tcp {
            true => End::over_tcp(address, self.now),
            false => End::new(address, self.now),
        }
    }

    /// Publishes what `media` adds to the client's offer; returns the mids.
    pub(crate) fn publish(&mut self, client: usize, media: &[Publication]) -> Vec<Mid> {
        if self.clients[client].publish.is_none() {
            let end = self.end();
            self.clients[client].publish = Some(end);
        }
        let end = self.clients[client].publish.as_mut().unwrap();
        let mut api = end.rtc.sdp_api();
        let mut mids = Vec::new();
        let mut sources = Vec::new();
        for publication in media {
            match publication {
                Publication::Channels => {
                    for (label, config) in channel_configs() {
                        let id = api.add_channel_with_config(config);
                        end.channels.push((id, label.into()));
                    }
                }
                Publication::Track(kind, source, rids) => {
                    let simulcast = (!rids.is_empty()).then(|| {
                        let mut simulcast = Simulcast::new();
                        for rid in *rids {
                            simulcast.add_send_layer(SimulcastLayer::new(rid));
                        }
                        simulcast
                    });
                    let mid =
                        api.add_media(*kind, EngineDirection::SendOnly, None, None, simulcast);
                    sources.push((mid.to_string(), *source));
                    mids.push(mid);
                }
            }
        }
        let (offer, pending) = api.apply().expect("an offer");
        end.pending = Some(pending);
        end.channels.retain({
            let mut seen = Vec::new();
            move |(id, _)| {
                let new = !seen.contains(id);
                seen.push(*id);
                new
            }
        });
        let mut sdp = offer.to_sdp_string();
        if let Some(edit) = &self.edit_offer {
            sdp = edit(sdp);
        }
        self.ok(client, Action::AcceptOffer { sdp, sources });
        mids
    }

    /// Joins, publishes audio and video, and waits for the connection.
    pub(crate) fn talker(&mut self, room: &str) -> (usize, Vec<Mid>) {
        let client = self.join(room);
        let mids = self.publish(client, &[AUDIO, VIDEO]);
        self.run(Duration::from_secs(1));
        assert!(self.clients[client].publish().connected);
        (client, mids)
    }

    /// Subscribes and waits until media can flow.
    pub(crate) fn watch(&mut self, client: usize, tracks: &[TrackId]) {
        for track in tracks {
            self.ok(client, Action::Subscribe(*track));
        }
        self.run(Duration::from_secs(1));
        assert!(self.clients[client].subscribe().connected);
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += Duration::from_millis(10);
            self.settle();
        }
    }

    /// Exchanges everything that is due now.
    pub(crate) fn settle(&mut self) {
        let now = self.now;
        self.pass_link();
        for _ in 0..200 {
            let mut moved = false;
            for client in &mut self.clients {
                for end in [&mut client.publish, &mut client.subscribe]
                    .into_iter()
                    .flatten()
                {
                    end.tick(now);
                    while let Some(bytes) = end.sent.pop_front() {
                        moved = true;
                        let heard = self.blackhole != Some(end.outside());
                        let link = self.link.as_mut().filter(|l| l.address == end.outside());
                        if let Some(link) = link {
                            link.send_up(now, bytes);
                        } else if heard && self.filter.as_mut().is_none_or(|filter| filter(&bytes))
                        {
                            let socket = SocketId(u16::from(end.tcp));
                            let at = (socket, end.outside());
                            arrive(&mut self.shard, &mut self.neighbour, now, at, &bytes);
                        }
                    }
                }
            }
            if self.shard.poll_timeout().is_some_and(|at| at <= now) {
                self.shard.handle_timeout(now);
            }
            let claims: Vec<_> = self.shard.drain_claims().collect();
            if let Some(neighbour) = &mut self.neighbour {
                for (_, claim) in claims {
                    neighbour.handle_claim(now, WorkerId(3), claim);
                }
            }
            let mut sink = Sink::default();
            self.shard.flush(now, &mut sink);
            self.crossings.extend(self.shard.drain_crossings());
            for (socket, destination, bytes) in sink.0 {
                assert!(socket == SocketId(0) || self.is_tcp(destination));
                moved = true;
                let link = self.link.as_mut().filter(|l| l.address == destination);
                if let Some(link) = link {
                    link.send_down(now, bytes);
                } else if !(self.lose_media_to_clients && is_rtp(&bytes)) {
                    self.deliver(destination, &bytes);
                }
            }
            while let Some(event) = self.shard.poll_event() {
                moved = true;
                self.handle(event);
            }
            if !moved {
                return;
            }
        }
        panic!("the exchange never ended");
    }

    fn is_tcp(&self, address: SocketAddr) -> bool {
        let ends = self.clients.iter().flat_map(|c| [&c.publish, &c.subscribe]);
        ends.flatten()
            .any(|end| end.tcp && end.outside() == address)
    }

    pub(super) fn deliver(&mut self, destination: SocketAddr, bytes: &[u8]) {
        let now = self.now;
        if self.blackhole == Some(destination) {
            return;
        }
        if (20..64).contains(&bytes[0]) && self.lose_dtls_to_clients > 0 {
            self.lose_dtls_to_clients -= 1;
            return;
        }
        for client in &mut self.clients {
            for end in [&mut client.publish, &mut client.subscribe]
                .into_iter()
                .flatten()
            {
                if end.outside() == destination {
                    return end.receive(now, bytes);
                }
            }
        }
        self.strays.push((destination, bytes.to_vec()));
    }

    pub(super) fn handle(&mut self, event: Event) {
        let index = self
            .clients
            .iter()
            .position(|c| c.id == event.client)
            .expect("a client");
        self.clients[index].events.push(event.kind.clone());
        match event.kind {
            EventKind::Answer { .. } if !self.ignore_answers => self.apply_answer(index),
            EventKind::Offer { offer_id, sdp, .. } if self.clients[index].answers => {
                self.answer(index, offer_id, &sdp);
            }
            _ => {}
        }
    }

    /// Applies the last publishing answer.
    pub(crate) fn apply_answer(&mut self, client: usize) {
        let answer = self.clients[client]
            .events
            .iter()
            .rev()
            .find_map(|e| match e {
                EventKind::Answer { sdp, .. } => Some(sdp.clone()),
                _ => None,
            });
        let answer = SdpAnswer::from_sdp_string(&answer.expect("an answer")).unwrap();
        let end = self.clients[client].publish.as_mut().unwrap();
        let pending = end.pending.take().expect("an offer of ours");
        end.rtc.sdp_api().accept_answer(pending, answer).unwrap();
        end.timeout = self.now;
    }

    pub(crate) fn answer(&mut self, client: usize, offer_id: u64, sdp: &str) {
        if self.clients[client].subscribe.is_none() {
            let end = self.end();
            self.clients[client].subscribe = Some(end);
        }
        let end = self.clients[client].subscribe.as_mut().unwrap();
        let known = |line: &&str| {
            let feedback = ["transport-wide-cc", "transport-cc"];
            !self.without_transport_feedback || !feedback.iter().any(|f| line.contains(f))
        };
        let sdp: String = sdp.split_inclusive('\n').filter(known).collect();
        let offer = SdpOffer::from_sdp_string(&sdp).unwrap();
        let answer = end.rtc.sdp_api().accept_offer(offer).unwrap();
        end.timeout = self.now;
        self.next_reference += 1;
        let request = Request {
            client: self.clients[client].id,
            reference: Reference(self.next_reference),
            action: Action::AcceptAnswer {
                offer_id,
                sdp: answer.to_sdp_string(),
            },
        };
        self.shard.handle_request(self.now, request);
    }
}

pub(crate) fn is_rtp(bytes: &[u8]) -> bool {
    (128..192).contains(&bytes[0]) && !(64..96).contains(&(bytes[1] & 0x7f))
}

/// What to publish.
#[derive(Clone, Copy)]
pub(crate) enum Publication {
    Track(Kind, Source, &'static [&'static str]),
    Channels,
}

pub(crate) const AUDIO: Publication = Publication::Track(Kind::Audio, Source::Microphone, &[]);
pub(crate) const VIDEO: Publication = Publication::Track(Kind::Video, Source::Camera, &[]);
pub(crate) const SIMULCAST: Publication =
    Publication::Track(Kind::Video, Source::Camera, &["q", "h", "f"]);

fn channel_configs() -> [(&'static str, ChannelConfig); 2] {
    [
        (
            "reliable",
            ChannelConfig {
                label: "reliable".into(),
                ..Default::default()
            },
        ),
        (
            "unreliable",
            ChannelConfig {
                label: "unreliable".into(),
                ordered: false,
                reliability: Reliability::MaxRetransmits { retransmits: 0 },
                ..Default::default()
            },
        ),
    ]
}

/// Seeds the engine's generator of mids and SSRCs for this thread.
pub(crate) fn fastrand_seed(seed: u64) {
    fastrand::seed(seed);
}

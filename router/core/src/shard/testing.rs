//! Clients in memory for the shard's tests: each is a pair of full ICE agents of the same engine, on a
//! network without delay and loss unless a test says otherwise.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use str0m::media::{
    Direction as EngineDirection, MediaKind as Kind, Mid, Rid, Simulcast, SimulcastLayer,
};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite};
use str0m::{Candidate, Event as EngineEvent, Input, Output, Rtc, RtcConfig};

use super::{Shard, ShardConfig, Transmit};
use crate::api::*;
use crate::id::*;
use crate::limits::Limits;

pub(crate) const ROUTER: &str = "10.0.0.1:40000";

pub(crate) fn router() -> SocketAddr {
    ROUTER.parse().unwrap()
}

/// One of a client's two connection objects.
pub(crate) struct End {
    pub(crate) rtc: Rtc,
    pub(crate) address: SocketAddr,
    timeout: Instant,
    pub(crate) pending: Option<SdpPendingOffer>,
    pub(crate) received: Vec<RtpPacket>,
    pub(crate) keyframe_requests: Vec<(Mid, Option<Rid>)>,
    pub(crate) connected: bool,
    pub(crate) closed: bool,
    pub(crate) channels: Vec<(ChannelId, String)>,
    pub(crate) data: Vec<(String, Vec<u8>)>,
    sent: VecDeque<Vec<u8>>,
}

impl End {
    pub(crate) fn new(address: SocketAddr, now: Instant) -> Self {
        let mut rtc = RtcConfig::new().set_rtp_mode(true).build(now);
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        End {
            rtc,
            address,
            timeout: now,
            pending: None,
            received: Vec::new(),
            keyframe_requests: Vec::new(),
            connected: false,
            closed: false,
            channels: Vec::new(),
            data: Vec::new(),
            sent: VecDeque::new(),
        }
    }

    pub(crate) fn drain(&mut self) {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(at) => {
                    self.timeout = at;
                    return;
                }
                Output::Transmit(t) => self.sent.push_back(t.contents.to_vec()),
                Output::Event(event) => match event {
                    EngineEvent::Connected => self.connected = true,
                    EngineEvent::Closed => self.closed = true,
                    EngineEvent::RtpPacket(packet) => self.received.push(packet),
                    EngineEvent::KeyframeRequest(r) => self.keyframe_requests.push((r.mid, r.rid)),
                    EngineEvent::ChannelOpen(id, label) => self.channels.push((id, label)),
                    EngineEvent::ChannelData(data) => {
                        let label = self.label(data.id);
                        assert!(data.binary, "the router sends binary");
                        self.data.push((label, data.data));
                    }
                    _ => {}
                },
            }
        }
    }

    fn label(&self, id: ChannelId) -> String {
        self.channels.iter().find(|c| c.0 == id).unwrap().1.clone()
    }

    pub(crate) fn receive(&mut self, now: Instant, bytes: &[u8]) {
        let receive = Receive::new(Protocol::Udp, router(), self.address, bytes).unwrap();
        self.rtc.handle_input(Input::Receive(now, receive)).unwrap();
        self.drain();
    }

    fn tick(&mut self, now: Instant) {
        if self.timeout <= now {
            self.rtc.handle_input(Input::Timeout(now)).unwrap();
            self.drain();
        }
    }

    pub(crate) fn send_rtp(&mut self, now: Instant, packet: &TestPacket) {
        let mid = packet.mid;
        let payload_type = packet.payload_type.unwrap_or_else(|| {
            let pts = self.rtc.media(mid).unwrap().remote_pts().to_vec();
            let config = self.rtc.codec_config();
            config
                .params()
                .iter()
                .find(|p| pts.contains(&p.pt()))
                .unwrap()
                .pt()
        });
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, packet.rid).expect("a stream");
        stream.write_rtp(
            RtpWrite::new(
                payload_type,
                packet.sequence.into(),
                packet.timestamp,
                now,
                packet.payload.as_slice(),
            )
            .marker(packet.marker)
            .ext_vals(packet.extensions.clone())
            .nackable(true),
        );
        self.rtc.handle_input(Input::Timeout(now)).unwrap();
        self.drain();
    }

    pub(crate) fn write(&mut self, now: Instant, label: &str, data: &[u8]) -> bool {
        let id = self
            .channels
            .iter()
            .find(|c| c.1 == label)
            .expect("an open channel")
            .0;
        let written = self.rtc.channel(id).unwrap().write(true, data).unwrap();
        self.rtc.handle_input(Input::Timeout(now)).unwrap();
        self.drain();
        written
    }
}

/// A packet a client sends.
#[derive(Clone)]
pub(crate) struct TestPacket {
    pub(crate) mid: Mid,
    pub(crate) rid: Option<Rid>,
    pub(crate) payload_type: Option<str0m::media::Pt>,
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) payload: Vec<u8>,
    pub(crate) extensions: ExtensionValues,
}

/// A VP8 payload with a 15-bit picture id and a TL0PICIDX.
pub(crate) fn vp8(keyframe: bool, picture: u16, tl0: u8, tag: u8) -> Vec<u8> {
    let [high, low] = (picture | 0x8000).to_be_bytes();
    let mut payload = vec![0x90, 0xe0, high, low, tl0, 0x00];
    if keyframe {
        // 320 × 180.
        payload.extend([0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00]);
    } else {
        payload.extend([0x11, 0, 0]);
    }
    payload.extend([tag; 40]);
    payload
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
    /// Loses everything from and to this address.
    pub(crate) blackhole: Option<SocketAddr>,
    /// Loses so many DTLS datagrams on their way to clients.
    pub(crate) lose_dtls_to_clients: usize,
    /// Changes publishing offers on their way.
    pub(crate) edit_offer: Option<Box<dyn Fn(String) -> String>>,
    /// Publishing answers reach nobody.
    pub(crate) ignore_answers: bool,
}

pub(crate) fn config(limits: Limits) -> ShardConfig {
    ShardConfig {
        worker: WorkerId(3),
        local_addresses: vec![router()],
        advertised_addresses: vec![router()],
        limits,
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
            blackhole: None,
            lose_dtls_to_clients: 0,
            edit_offer: None,
            ignore_answers: false,
        }
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
        End::new(address, self.now)
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
                        let heard = self.blackhole != Some(end.address);
                        if heard && self.filter.as_mut().is_none_or(|filter| filter(&bytes)) {
                            self.shard
                                .handle_datagram(now, SocketId(0), end.address, &bytes);
                        }
                    }
                }
            }
            if self.shard.poll_timeout().is_some_and(|at| at <= now) {
                self.shard.handle_timeout(now);
            }
            let mut sink = Sink::default();
            self.shard.flush(now, &mut sink);
            for (socket, destination, bytes) in sink.0 {
                assert_eq!(socket, SocketId(0));
                moved = true;
                if !(self.lose_media_to_clients && is_rtp(&bytes)) {
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

    fn deliver(&mut self, destination: SocketAddr, bytes: &[u8]) {
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
                if end.address == destination {
                    return end.receive(now, bytes);
                }
            }
        }
        self.strays.push((destination, bytes.to_vec()));
    }

    fn handle(&mut self, event: Event) {
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
        let offer = SdpOffer::from_sdp_string(sdp).unwrap();
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

fn is_rtp(bytes: &[u8]) -> bool {
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

/// A steady stream of one client's packets.
pub(crate) struct Feed {
    pub(crate) packet: TestPacket,
    pub(crate) ticks: u32,
    pub(crate) picture: u16,
    pub(crate) video: bool,
}

impl Feed {
    pub(crate) fn audio(mid: Mid) -> Self {
        Self::new(mid, None, false, 960)
    }

    pub(crate) fn video(mid: Mid, rid: Option<&str>) -> Self {
        Self::new(mid, rid, true, 3_000)
    }

    fn new(mid: Mid, rid: Option<&str>, video: bool, ticks: u32) -> Self {
        Feed {
            packet: TestPacket {
                mid,
                rid: rid.map(Rid::from),
                payload_type: None,
                sequence: 1_000,
                timestamp: 77_000,
                marker: true,
                payload: Vec::new(),
                extensions: ExtensionValues::default(),
            },
            ticks,
            picture: 500,
            video,
        }
    }

    /// The next packet: one frame.
    pub(crate) fn next(&mut self, keyframe: bool, tag: u8) -> TestPacket {
        self.packet.sequence += 1;
        self.packet.timestamp = self.packet.timestamp.wrapping_add(self.ticks);
        self.picture = (self.picture + 1) & 0x7fff;
        self.packet.payload = if self.video {
            vp8(keyframe, self.picture, self.picture as u8, tag)
        } else {
            vec![tag; 60]
        };
        self.packet.clone()
    }
}

impl Bench {
    /// A client sends a frame; everything is exchanged.
    pub(crate) fn send(&mut self, client: usize, packet: &TestPacket) {
        let now = self.now;
        self.clients[client].publish().send_rtp(now, packet);
        self.settle();
    }
}

impl Bench {
    /// How many packets a subscriber got whose payload ends with this tag.
    pub(crate) fn count(&mut self, client: usize, tag: u8) -> usize {
        let received = &self.clients[client].subscribe().received;
        received
            .iter()
            .filter(|packet| packet.payload.last() == Some(&tag))
            .count()
    }

    /// The router's ICE credentials toward a publisher.
    pub(crate) fn credentials(&self, client: usize) -> str0m::IceCreds {
        let id = self.clients[client].id;
        let key = self.shard.transport_of(id, Direction::Publish);
        self.shard.credentials_of(key)
    }

    pub(crate) fn drops(&self, cause: crate::stats::DropCause) -> u64 {
        self.shard.stats().dropped[cause as usize]
    }

    /// Packets of a section, in order of their sequence numbers.
    fn stream(&mut self, client: usize, mid: Mid) -> Vec<&RtpPacket> {
        let end = self.clients[client].subscribe.as_mut().unwrap();
        let mut api = end.rtc.direct_api();
        let ssrc = api.stream_rx_by_mid(mid, None).expect("a stream").ssrc();
        let mut packets: Vec<&RtpPacket> = end
            .received
            .iter()
            .filter(|packet| packet.header.ssrc == ssrc)
            .collect();
        packets.sort_by_key(|packet| packet.seq_no);
        packets
    }

    /// Sequence numbers missing in a section's stream.
    pub(crate) fn gaps(&mut self, client: usize, mid: Mid) -> u64 {
        let packets = self.stream(client, mid);
        let steps = packets
            .windows(2)
            .map(|pair| *pair[1].seq_no - *pair[0].seq_no);
        steps.map(|step| step - 1).sum()
    }

    /// One SSRC, no gap, timestamps that grow with the frames, picture ids that go on.
    pub(crate) fn assert_continuous(&mut self, client: usize, mid: Mid) {
        let end = self.clients[client].subscribe.as_mut().unwrap();
        let audio = end.rtc.media(mid).unwrap().kind() == Kind::Audio;
        let packets = self.stream(client, mid);
        assert!(packets.len() > 2);
        for pair in packets.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            assert_eq!(*a.seq_no + 1, *b.seq_no, "sequence");
            let step = b.header.timestamp.wrapping_sub(a.header.timestamp);
            assert!(step > 0 && step < 90_000 * 10, "timestamp step {step}");
            if audio {
                continue;
            }
            let ids = |p: &RtpPacket| {
                let picture = u16::from_be_bytes([p.payload[2] & 0x7f, p.payload[3]]);
                (picture, p.payload[4])
            };
            assert_eq!((ids(a).0 + 1) & 0x7fff, ids(b).0, "picture id");
            assert_eq!(ids(a).1.wrapping_add(1), ids(b).1, "TL0PICIDX");
        }
        let total = self.clients[client].subscribe().received.len();
        assert!(total > 0);
    }
}

impl Bench {
    /// A client that has not joined.
    pub(crate) fn add_client(&mut self) -> usize {
        let index = self.clients.len();
        self.clients.push(Client {
            id: ClientId(1_000 + index as u64),
            publish: None,
            subscribe: None,
            events: Vec::new(),
            answers: true,
        });
        index
    }
}

impl End {
    pub(crate) fn local_ufrag(&mut self) -> String {
        self.rtc.direct_api().local_ice_credentials().ufrag
    }

    /// Moves to another network: the old address is gone.
    pub(crate) fn move_to(&mut self, address: SocketAddr) {
        let old = Candidate::host(self.address, "udp").unwrap();
        self.rtc.direct_api().invalidate_candidate(&old);
        self.address = address;
        self.rtc
            .add_local_candidate(Candidate::host(address, "udp").unwrap());
    }
}

/// A STUN binding request as a client sends it (RFC 8445 §7.2.2).
pub(crate) fn binding_request(router: &str, client: &str, password: &str) -> Vec<u8> {
    use str0m::ice::{StunMessage, TransId};
    let username = format!("{router}:{client}");
    let message =
        StunMessage::binding_request(&username, TransId::new(), true, 7, 1_845_501_695, true);
    let mut buffer = vec![0; 512];
    let hmac = str0m_aws_lc_rs::default_provider().sha1_hmac_provider;
    let length = message
        .to_bytes(Some(password.as_bytes()), &mut buffer, |key, parts| {
            hmac.sha1_hmac(key, parts)
        })
        .unwrap();
    buffer.truncate(length);
    buffer
}

impl Shard {
    pub(crate) fn transport_keys(&self) -> Vec<super::slab::TransportKey> {
        let participants = self
            .clients
            .values()
            .filter_map(|key| self.participants.get(*key));
        participants
            .flat_map(|p| [p.publish, p.subscribe])
            .flatten()
            .collect()
    }
}

/// Seeds the engine's generator of mids and SSRCs for this thread.
pub(crate) fn fastrand_seed(seed: u64) {
    fastrand::seed(seed);
}

impl End {
    /// Takes what waits to be sent.
    pub(crate) fn take_sent(&mut self) -> Vec<Vec<u8>> {
        self.sent.drain(..).collect()
    }
}

impl Bench {
    /// Publishes without exchanging anything beyond the offer and answer.
    pub(crate) fn publish_quietly(&mut self, client: usize, media: &[Publication]) {
        self.filter = Some(Box::new(|_| false));
        self.publish(client, media);
        self.filter = None;
    }

    /// One exchange in which `before` sees every datagram of a client before the shard does.
    pub(crate) fn step_with(&mut self, before: &mut dyn FnMut(&mut Shard, Instant, &[u8])) {
        let now = self.now;
        for _ in 0..20 {
            let mut moved = false;
            for client in &mut self.clients {
                for end in [&mut client.publish, &mut client.subscribe]
                    .into_iter()
                    .flatten()
                {
                    end.tick(now);
                    while let Some(bytes) = end.sent.pop_front() {
                        moved = true;
                        before(&mut self.shard, now, &bytes);
                        self.shard
                            .handle_datagram(now, SocketId(0), end.address, &bytes);
                    }
                }
            }
            self.shard.handle_timeout(now);
            let mut sink = Sink::default();
            self.shard.flush(now, &mut sink);
            for (_, destination, bytes) in sink.0 {
                moved = true;
                self.deliver(destination, &bytes);
            }
            while let Some(event) = self.shard.poll_event() {
                self.handle(event);
            }
            if !moved {
                return;
            }
        }
    }
}

impl Shard {
    pub(crate) fn transport_of(
        &self,
        client: ClientId,
        direction: Direction,
    ) -> super::slab::TransportKey {
        let participant = self.participants.get(self.clients[&client]).unwrap();
        participant.transport(direction).unwrap()
    }

    pub(crate) fn credentials_of(&self, key: super::slab::TransportKey) -> str0m::IceCreds {
        self.transports.get(key).unwrap().credentials().clone()
    }
}

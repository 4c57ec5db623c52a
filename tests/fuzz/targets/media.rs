//! A call of two, encrypted and all: packets of a publisher, and reports of a subscriber, neither of whom means well.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rillway_core::Shard;
use rillway_core::api::{Action, Direction, Event, EventKind, Source};
use rillway_core::id::{ClientId, ParticipantId, SocketId, TrackId};
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::media::{Direction as MediaDirection, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpWrite};
use str0m::{Candidate, Input, Output, Rtc, RtcConfig};

use super::reader::Reader;
use super::shards::{self, ROUTER};

const CLIENTS: [u64; 2] = [1, 2];
/// Packets that a subscriber gets for one of the publisher at most: itself, again by requests, padding of probes.
const PACKETS_PER_STEP: usize = 2_048;

/// One connection object of a client.
struct End {
    rtc: Rtc,
    address: SocketAddr,
    timeout: Instant,
    pending: Option<SdpPendingOffer>,
    sent: VecDeque<Vec<u8>>,
    connected: bool,
    packets: usize,
}

impl End {
    fn new(port: u16, now: Instant) -> Self {
        let address = SocketAddr::from(([198, 51, 100, 1], port));
        let mut rtc = RtcConfig::new().set_rtp_mode(true).build(now);
        rtc.add_local_candidate(Candidate::host(address, "udp").expect("an address"));
        End {
            rtc,
            address,
            timeout: now,
            pending: None,
            sent: VecDeque::new(),
            connected: false,
            packets: 0,
        }
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output().expect("a client") {
                Output::Timeout(at) => {
                    self.timeout = at;
                    return;
                }
                Output::Transmit(sent) => self.sent.push_back(sent.contents.to_vec()),
                Output::Event(str0m::Event::Connected) => self.connected = true,
                Output::Event(str0m::Event::RtpPacket(_)) => self.packets += 1,
                Output::Event(_) => {}
            }
        }
    }

    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        let receive = Receive::new(Protocol::Udp, ROUTER, self.address, bytes);
        let receive = receive.expect("what the router sends can be told apart");
        let input = Input::Receive(now, receive);
        self.rtc.handle_input(input).expect("a client");
        self.drain();
    }

    fn tick(&mut self, now: Instant) {
        self.rtc
            .handle_input(Input::Timeout(now))
            .expect("a client");
        self.drain();
    }
}

struct Call {
    shard: Shard,
    now: Instant,
    publish: End,
    subscribe: End,
    mids: Vec<Mid>,
    tracks: Vec<TrackId>,
    subscriber: Option<ParticipantId>,
    reference: u64,
    /// Everything that the clients sent, where it is wanted.
    said: Option<Vec<Vec<u8>>>,
}

/// What clients send to connect.
pub fn said() -> Vec<Vec<u8>> {
    Call::begin(Some(Vec::new())).said.unwrap_or_default()
}

/// Input: steps, each of a kind and what that wants.
pub fn run(input: &[u8]) {
    let mut call = Call::begin(None);
    let mut reader = Reader::new(input);
    while call.step(&mut reader).is_some() {}
    call.pass(Duration::from_secs(2));
    shards::leave(&mut call.shard, call.now, &CLIENTS);
}

impl Call {
    fn begin(said: Option<Vec<Vec<u8>>>) -> Self {
        let now = Instant::now();
        let mut call = Call {
            shard: shards::shard(now),
            now,
            publish: End::new(5_001, now),
            subscribe: End::new(5_002, now),
            mids: Vec::new(),
            tracks: Vec::new(),
            subscriber: None,
            reference: 0,
            said,
        };
        for client in CLIENTS {
            shards::join(&mut call.shard, now, client);
        }
        let mut api = call.publish.rtc.sdp_api();
        let mut sources = Vec::new();
        for (kind, source) in [
            (MediaKind::Audio, Source::Microphone),
            (MediaKind::Video, Source::Camera),
        ] {
            let mid = api.add_media(kind, MediaDirection::SendOnly, None, None, None);
            sources.push((mid.to_string(), source));
            call.mids.push(mid);
        }
        let (offer, pending) = api.apply().expect("an offer");
        call.publish.pending = Some(pending);
        let sdp = offer.to_sdp_string();
        call.ask(1, Action::AcceptOffer { sdp, sources });
        for track in call.tracks.clone() {
            call.ask(2, Action::Subscribe(track));
        }
        for _ in 0..60 {
            if call.publish.connected && call.subscribe.connected {
                break;
            }
            call.pass(Duration::from_millis(50));
        }
        assert!(call.publish.connected && call.subscribe.connected);
        call
    }

    fn ask(&mut self, client: u64, action: Action) {
        self.reference += 1;
        shards::ask(&mut self.shard, self.now, client, self.reference, action);
        self.exchange();
    }

    /// Everything that is to be exchanged is.
    fn exchange(&mut self) {
        for _ in 0..50 {
            let mut moved = false;
            for end in [&mut self.publish, &mut self.subscribe] {
                if end.timeout <= self.now {
                    end.tick(self.now);
                }
                while let Some(bytes) = end.sent.pop_front() {
                    moved = true;
                    if let Some(said) = &mut self.said {
                        said.push(bytes.clone());
                    }
                    self.shard
                        .handle_datagram(self.now, SocketId(0), end.address, &bytes);
                }
            }
            let (sent, events) = shards::turn(&mut self.shard, self.now);
            for (to, bytes) in sent.0 {
                moved = true;
                for end in [&mut self.publish, &mut self.subscribe] {
                    if end.address == to {
                        end.receive(self.now, &bytes);
                    }
                }
            }
            for event in events {
                moved = true;
                self.heard(event);
            }
            if !moved {
                return;
            }
        }
    }

    fn heard(&mut self, event: Event) {
        match event.kind {
            EventKind::Joined { me, .. } if event.client == ClientId(2) => {
                self.subscriber = Some(me.id);
            }
            EventKind::Answer { sdp, tracks, .. } => {
                let answer = SdpAnswer::from_sdp_string(&sdp).expect("an answer");
                let pending = self.publish.pending.take().expect("an offer before");
                let api = self.publish.rtc.sdp_api();
                api.accept_answer(pending, answer).expect("it fits");
                self.publish.tick(self.now);
                self.tracks
                    .extend(tracks.iter().filter_map(|mid| mid.track));
            }
            EventKind::Offer { offer_id, sdp, .. } => {
                let offer = SdpOffer::from_sdp_string(&sdp).expect("an offer");
                let answer = self.subscribe.rtc.sdp_api().accept_offer(offer);
                let sdp = answer.expect("it fits").to_sdp_string();
                self.subscribe.tick(self.now);
                self.reference += 1;
                let action = Action::AcceptAnswer { offer_id, sdp };
                shards::ask(&mut self.shard, self.now, 2, self.reference, action);
            }
            EventKind::Removed { reason } => panic!("removed: {reason}"),
            EventKind::TransportState(Direction::Publish, state) => {
                let fine = !format!("{state:?}").contains("Failed");
                assert!(fine, "the publisher's transport failed");
            }
            _ => {}
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += Duration::from_millis(50).min(until - self.now);
            self.exchange();
        }
    }

    fn step(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let before = self.subscribe.packets;
        match reader.byte()? % 4 {
            0 | 1 => self.packet(reader)?,
            2 => {
                let report = reader.chunk()?;
                let subscriber = self.subscriber.expect("joined");
                self.shard.inject_feedback(self.now, subscriber, report);
                self.exchange();
            }
            _ => self.pass(Duration::from_millis(u64::from(reader.byte()?) * 4)),
        }
        let got = self.subscribe.packets - before;
        assert!(got <= PACKETS_PER_STEP, "{got} packets");
        Some(())
    }

    /// The publisher sends a packet.
    fn packet(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let flags = reader.byte()?;
        let mid = self.mids[usize::from(flags & 1)];
        let (sequence, timestamp) = (reader.short()?, reader.short()?);
        let payload = match flags & 2 {
            0 => reader.chunk()?,
            _ => reader.long_chunk()?,
        };
        if payload.is_empty() || payload.len() > 1_200 {
            return Some(());
        }
        let codec = reader.byte()?;
        let formats = self.publish.rtc.media(mid)?.remote_pts().to_vec();
        let format = *formats.get(usize::from(codec) % formats.len().max(1))?;
        let extensions = ExtensionValues {
            audio_level: (flags & 4 != 0).then_some(-i8::try_from(flags >> 4).unwrap_or(0)),
            voice_activity: (flags & 8 != 0).then_some(true),
            ..ExtensionValues::default()
        };
        let mut api = self.publish.rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, None)?;
        let write = RtpWrite::new(
            format,
            u64::from(sequence).into(),
            u32::from(timestamp) * 300,
            self.now,
            payload,
        );
        stream.write_rtp(write.marker(flags & 128 != 0).ext_vals(extensions));
        self.publish.tick(self.now);
        self.exchange();
        Some(())
    }
}

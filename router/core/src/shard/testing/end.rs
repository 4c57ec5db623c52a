//! A client's connection object, and what it sends.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use str0m::change::SdpPendingOffer;
use str0m::channel::ChannelId;
use str0m::media::{Mid, Rid, SenderFeedback};
use str0m::net::{Protocol, Receive, TcpType};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite};
use str0m::{Candidate, Event as EngineEvent, Input, Output, Rtc, RtcConfig};

use super::router;

/// One of a client's two connection objects.
pub(crate) struct End {
    pub(crate) rtc: Rtc,
    pub(crate) address: SocketAddr,
    /// What the router sees instead: the address a NAT gave it.
    pub(crate) mapped: Option<SocketAddr>,
    pub(super) timeout: Instant,
    pub(crate) pending: Option<SdpPendingOffer>,
    pub(crate) received: Vec<RtpPacket>,
    pub(crate) keyframe_requests: Vec<(Mid, Option<Rid>)>,
    /// Sender reports of the router.
    pub(crate) reports: Vec<SenderFeedback>,
    pub(crate) connected: bool,
    pub(crate) closed: bool,
    pub(crate) channels: Vec<(ChannelId, String)>,
    pub(crate) data: Vec<(String, Vec<u8>)>,
    pub(super) sent: VecDeque<Vec<u8>>,
    /// It is on a TCP connection, and has no other way.
    pub(crate) tcp: bool,
}

impl End {
    pub(crate) fn new(address: SocketAddr, now: Instant) -> Self {
        let mut rtc = RtcConfig::new().set_rtp_mode(true).build(now);
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        End {
            rtc,
            address,
            mapped: None,
            timeout: now,
            pending: None,
            received: Vec::new(),
            keyframe_requests: Vec::new(),
            reports: Vec::new(),
            connected: false,
            closed: false,
            channels: Vec::new(),
            data: Vec::new(),
            sent: VecDeque::new(),
            tcp: false,
        }
    }

    /// One that connects to TCP candidates and offers none but active ones.
    pub(crate) fn over_tcp(address: SocketAddr, now: Instant) -> Self {
        let mut rtc = RtcConfig::new().set_rtp_mode(true).build(now);
        let candidate = Candidate::builder()
            .tcp()
            .host(address)
            .tcptype(TcpType::Active)
            .build();
        rtc.add_local_candidate(candidate.unwrap());
        let mut end = End::new(address, now);
        end.rtc = rtc;
        end.tcp = true;
        end
    }

    /// The address the router knows it by.
    pub(crate) fn outside(&self) -> SocketAddr {
        self.mapped.unwrap_or(self.address)
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
                    EngineEvent::SenderFeedback(report) => self.reports.push(report),
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
        let protocol = match self.tcp {
            true => Protocol::Tcp,
            false => Protocol::Udp,
        };
        let receive = Receive::new(protocol, router(), self.address, bytes).unwrap();
        self.rtc.handle_input(Input::Receive(now, receive)).unwrap();
        self.drain();
    }

    /// Has the engine look at what was changed, as soon as it is told the time again.
    pub(crate) fn tick_at(&mut self, at: Instant) {
        self.timeout = at;
    }

    pub(super) fn tick(&mut self, now: Instant) {
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

impl End {
    /// Takes what waits to be sent.
    pub(crate) fn take_sent(&mut self) -> Vec<Vec<u8>> {
        self.sent.drain(..).collect()
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

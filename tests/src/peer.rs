//! One peer connection of a test client: a full-ICE `str0m::Rtc` in RTP mode, driven by
//! `(now, bytes)`.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use str0m::media::Mid;
use str0m::net::{Protocol, Receive, TcpType};
use str0m::rtp::Ssrc;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

/// A datagram a peer wants to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Its local address.
    pub source: SocketAddr,
    /// Where to.
    pub destination: SocketAddr,
    /// Bytes.
    pub contents: Vec<u8>,
}

/// A peer connection.
pub struct Peer {
    /// The engine. After changing it, call [`Peer::drain`].
    pub rtc: Rtc,
    protocol: Protocol,
    /// Its host candidate.
    pub local: SocketAddr,
    /// When it wants to be woken.
    pub timeout: Instant,
    /// Faults the engine reported.
    pub errors: Vec<String>,
    transmits: VecDeque<Datagram>,
    events: VecDeque<Event>,
    mids: HashMap<Ssrc, Mid>,
}

impl Peer {
    /// With Opus and VP8, and one host candidate.
    pub fn new(now: Instant, local: SocketAddr) -> Self {
        Self::with_config(now, local, default_config())
    }

    /// With a configuration of one's own.
    pub fn with_config(now: Instant, local: SocketAddr, config: RtcConfig) -> Self {
        Self::over(Protocol::Udp, now, local, config)
    }

    /// The same over UDP, or over TCP connections that it opens.
    pub fn over(protocol: Protocol, now: Instant, local: SocketAddr, config: RtcConfig) -> Self {
        let mut rtc = config.build(now);
        let candidate = match protocol {
            Protocol::Tcp => Candidate::builder()
                .tcp()
                .host(local)
                .tcptype(TcpType::Active)
                .build(),
            other => Candidate::host(local, other),
        };
        rtc.add_local_candidate(candidate.expect("a host address"));
        Peer {
            rtc,
            protocol,
            local,
            timeout: now,
            errors: Vec::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            mids: HashMap::new(),
        }
    }

    /// A datagram for [`Peer::local`] arrived. What the engine cannot parse is dropped.
    pub fn handle_datagram(&mut self, now: Instant, source: SocketAddr, contents: &[u8]) {
        let Ok(receive) = Receive::new(self.protocol, source, self.local, contents) else {
            return;
        };
        let input = Input::Receive(now, receive);
        if !self.rtc.accepts(&input) {
            return;
        }
        if let Err(error) = self.rtc.handle_input(input) {
            self.errors.push(error.to_string());
        }
        self.drain();
    }

    /// Time has passed, or the engine was changed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
            self.errors.push(error.to_string());
        }
        self.drain();
    }

    /// Takes everything the engine has to say.
    pub fn drain(&mut self) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.timeout = at;
                    return;
                }
                Ok(Output::Transmit(t)) => self.transmits.push_back(Datagram {
                    source: self.local,
                    destination: t.destination,
                    contents: t.contents.to_vec(),
                }),
                Ok(Output::Event(event)) => self.events.push_back(event),
                Err(error) => {
                    self.errors.push(error.to_string());
                    return;
                }
            }
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Datagram> {
        self.transmits.pop_front()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The media section an incoming SSRC belongs to.
    pub fn mid_of(&mut self, ssrc: Ssrc) -> Option<Mid> {
        if let Some(mid) = self.mids.get(&ssrc) {
            return Some(*mid);
        }
        let mid = self.rtc.direct_api().stream_rx(&ssrc)?.mid();
        self.drain();
        self.mids.insert(ssrc, mid);
        Some(mid)
    }

    /// Forgets which sections SSRCs belong to, after a negotiation.
    pub fn forget_mids(&mut self) {
        self.mids.clear();
    }
}

/// RTP mode, Opus and VP8.
pub fn default_config() -> RtcConfig {
    RtcConfig::new()
        .set_rtp_mode(true)
        .clear_codecs()
        .enable_opus(true, false)
        .enable_vp8(true)
}

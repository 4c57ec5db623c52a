//! A peer connection of the swarm: ICE and DTLS by str0m, media beside it.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::config::DtlsCert;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcConfig};
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::dtls;
use crate::link::Link;
use crate::marker::Medium;
use crate::media::Media;
use crate::player::Player;
use crate::publisher::Publisher;
use crate::rtp::Negotiated;
use crate::tally::Tally;

/// Longer than any run: reports of an engine that has no keys would go nowhere.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
/// After a fault, an engine is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a peer connection did not come about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PeerError {
    /// A description that cannot be used.
    #[error("the server's session description cannot be used: {0}")]
    Description(String),
    /// No socket, or an address that is none.
    #[error("no socket for media: {0}")]
    Socket(String),
    /// ICE or DTLS ended it.
    #[error("the connection for media failed: {0}")]
    Ended(String),
}

/// What all peers of a run share.
pub(crate) struct Shared {
    pub(crate) certificate: DtlsCert,
    pub(crate) media: Media,
    pub(crate) clock: Clock,
}

/// Who is told of the connection.
pub(crate) type Told = oneshot::Sender<Result<(), PeerError>>;

enum Side {
    Publisher(Publisher),
    Player(Box<Player>),
}

/// A peer connection.
pub(crate) struct Peer {
    rtc: Rtc,
    pub(crate) link: Link,
    side: Side,
    pending: Option<SdpPendingOffer>,
    timeout: Instant,
    told: Option<Told>,
    connected: bool,
    /// Where the engine sends to.
    destination: Option<SocketAddr>,
    /// Its end is near, and no fault.
    stopping: bool,
    /// Why it is over.
    pub(crate) ended: Option<PeerError>,
    /// In the thread's heap of times.
    pub(crate) scheduled: Option<Instant>,
}

/// An offer, and the sections of the media in it.
pub(crate) struct Offered {
    pub(crate) sdp: String,
    pub(crate) sections: Vec<(Medium, String)>,
}

/// What came of a peer.
pub(crate) enum Outcome {
    /// What was sent.
    Sent(Vec<crate::publisher::Sent>),
    /// What was received.
    Received {
        delivered: Vec<crate::player::Delivered>,
        missing: u64,
        first_frame: Option<Instant>,
        profile: Option<String>,
    },
}

impl Peer {
    /// Offers to publish, as the publisher of this number.
    pub(crate) fn publisher(
        number: u32,
        shared: &Shared,
        link: Link,
        now: Instant,
    ) -> Result<(Self, Offered), PeerError> {
        let mut rtc = engine(shared, false, &link, now)?;
        let (mids, offered, pending) = offer(&mut rtc, &shared.media, Direction::SendOnly)?;
        let side = Side::Publisher(Publisher::new(number, &shared.media, &mids, now));
        let mut peer = Peer::new(rtc, link, side, now);
        peer.pending = Some(pending);
        Ok((peer, offered))
    }

    /// Waits for the server's offer.
    pub(crate) fn player(shared: &Shared, link: Link, now: Instant) -> Result<Self, PeerError> {
        let rtc = engine(shared, true, &link, now)?;
        let player = Player::new(now, shared.media.video.is_some());
        Ok(Peer::new(rtc, link, Side::Player(Box::new(player)), now))
    }

    /// Offers to play.
    pub(crate) fn offering_player(
        shared: &Shared,
        link: Link,
        now: Instant,
    ) -> Result<(Self, Offered), PeerError> {
        let mut peer = Peer::player(shared, link, now)?;
        let (_, offered, pending) = offer(&mut peer.rtc, &shared.media, Direction::RecvOnly)?;
        peer.pending = Some(pending);
        Ok((peer, offered))
    }

    fn new(rtc: Rtc, link: Link, side: Side, now: Instant) -> Self {
        Peer {
            rtc,
            link,
            side,
            pending: None,
            timeout: now,
            told: None,
            connected: false,
            destination: None,
            stopping: false,
            ended: None,
            scheduled: None,
        }
    }

    /// Whom to tell when it is connected, or when it will not be.
    pub(crate) fn tell(&mut self, told: Told) {
        // Whoever asked may be gone.
        match &self.ended {
            Some(error) => drop(told.send(Err(error.clone()))),
            None if self.connected => drop(told.send(Ok(()))),
            None => self.told = Some(told),
        }
    }

    /// Takes the answer to its offer.
    pub(crate) fn accept_answer(&mut self, sdp: &str) -> Result<(), PeerError> {
        let broken = |error: String| PeerError::Description(error);
        let pending = self.pending.take();
        let pending = pending.ok_or_else(|| broken("nothing was offered".to_owned()))?;
        let answer = SdpAnswer::from_sdp_string(sdp).map_err(|error| broken(error.to_string()))?;
        let api = self.rtc.sdp_api();
        api.accept_answer(pending, answer)
            .map_err(|error| broken(error.to_string()))?;
        self.negotiated(sdp);
        Ok(())
    }

    /// Answers an offer of the server.
    pub(crate) fn answer(&mut self, sdp: &str) -> Result<String, PeerError> {
        let broken = |error: String| PeerError::Description(error);
        // str0m answers `actpass` with `passive`; browsers with `active` (RFC 8842 §5.3).
        let sdp = sdp.replace("a=setup:actpass", "a=setup:passive");
        let offer = SdpOffer::from_sdp_string(&sdp).map_err(|error| broken(error.to_string()))?;
        let api = self.rtc.sdp_api();
        let answer = api
            .accept_offer(offer)
            .map_err(|error| broken(error.to_string()))?;
        self.negotiated(&sdp);
        Ok(answer.to_sdp_string())
    }

    fn negotiated(&mut self, sdp: &str) {
        if let Side::Player(player) = &mut self.side {
            player.negotiated = Negotiated::read(sdp);
        }
    }

    /// Takes a datagram.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        source: SocketAddr,
        datagram: &[u8],
        shared: &Shared,
        tally: &mut Tally,
    ) {
        // RFC 7983.
        let media = datagram
            .first()
            .is_some_and(|first| (128..192).contains(first));
        match &mut self.side {
            Side::Player(player) if media => {
                player.take(now, shared.clock.ns(now), datagram, tally);
            }
            _ => {
                let Ok(received) = Receive::new(Protocol::Udp, source, self.link.local, datagram)
                else {
                    return;
                };
                let input = Input::Receive(now, received);
                if !self.rtc.accepts(&input) {
                    return;
                }
                if let Err(error) = self.rtc.handle_input(input) {
                    self.fault(&error.to_string());
                }
                self.drain(now, shared);
            }
        }
    }

    /// When [`Peer::tick`] is to be called.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.ended.is_some() {
            return None;
        }
        let own = match &self.side {
            Side::Publisher(publisher) => publisher.due(),
            Side::Player(player) => self.connected.then_some(player.next_feedback),
        };
        Some(own.map_or(self.timeout, |own| own.min(self.timeout)))
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Instant, shared: &Shared, tally: &mut Tally) {
        let mut asks = self.timeout <= now;
        match &mut self.side {
            Side::Publisher(publisher) => {
                asks |= publisher.write(now, &shared.clock, &mut self.rtc, tally);
            }
            Side::Player(player) if self.connected => {
                let feedback = player.feedback(now);
                if let Some(destination) = self.destination {
                    for compound in feedback {
                        let _ = self.link.socket.send_to(&compound, destination);
                    }
                }
            }
            Side::Player(_) => {}
        }
        if asks {
            // Packets were written with times after `now`.
            self.refresh(Instant::now(), shared);
        }
    }

    /// Tells the engine the time, and carries out what it wants then.
    pub(crate) fn refresh(&mut self, now: Instant, shared: &Shared) {
        if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
            self.fault(&error.to_string());
        }
        self.drain(now, shared);
    }

    fn drain(&mut self, now: Instant, shared: &Shared) {
        loop {
            let output = self.rtc.poll_output();
            if let Side::Player(player) = &mut self.side
                && let Some(exported) = dtls::take_exported()
                && !player.secure(&exported)
            {
                self.fault("the keys for media cannot be used");
                return;
            }
            match output {
                Ok(Output::Timeout(at)) => {
                    self.timeout = at;
                    break;
                }
                Ok(Output::Transmit(transmit)) => {
                    self.destination = Some(transmit.destination);
                    // What a full buffer does not take is lost, as on any network.
                    let socket = &self.link.socket;
                    let _ = socket.send_to(&transmit.contents, transmit.destination);
                }
                Ok(Output::Event(event)) => self.note(now, &event, shared),
                Err(error) => {
                    self.timeout = now + PAUSE;
                    self.fault(&error.to_string());
                    break;
                }
            }
        }
    }

    fn note(&mut self, now: Instant, event: &Event, shared: &Shared) {
        match event {
            Event::Connected => {
                self.connected = true;
                if let Side::Publisher(publisher) = &mut self.side {
                    publisher.start(&shared.media, now);
                }
                if let Some(told) = self.told.take() {
                    let _ = told.send(Ok(()));
                }
            }
            Event::KeyframeRequest(request) => {
                if let Side::Publisher(publisher) = &mut self.side {
                    publisher.want_keyframe(request.mid);
                }
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                self.end("no answer any more to connectivity checks");
            }
            Event::Closed => self.end("closed by the server"),
            _ => {}
        }
    }

    /// The engine refused something: fatal, if it gave up.
    fn fault(&mut self, error: &str) {
        if !self.rtc.is_alive() || !self.connected {
            self.end(error);
        }
    }

    fn end(&mut self, why: &str) {
        if self.stopping {
            return;
        }
        let error = PeerError::Ended(why.to_owned());
        if let Some(told) = self.told.take() {
            let _ = told.send(Err(error.clone()));
        }
        self.ended.get_or_insert(error);
    }

    /// Stops sending, and takes the end for none of the server's faults.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
        if let Side::Publisher(publisher) = &mut self.side {
            publisher.running = false;
        }
    }

    /// What came of it.
    pub(crate) fn outcome(&self) -> Outcome {
        match &self.side {
            Side::Publisher(publisher) => Outcome::Sent(publisher.result()),
            Side::Player(player) => {
                let (delivered, missing) = player.result();
                Outcome::Received {
                    delivered,
                    missing,
                    first_frame: player.first_frame,
                    profile: player.profile(),
                }
            }
        }
    }
}

fn engine(shared: &Shared, keep: bool, link: &Link, now: Instant) -> Result<Rtc, PeerError> {
    let mut config = RtcConfig::new()
        .set_rtp_mode(true)
        .set_crypto_provider(dtls::crypto_provider(keep))
        .set_dtls_cert(shared.certificate.clone())
        .clear_codecs()
        .enable_opus(true, false)
        .enable_vp8(true);
    if keep {
        config = config
            .set_rtcp_report_interval_audio(NEVER)
            .set_rtcp_report_interval_video(NEVER);
    }
    let mut rtc = config.build(now);
    let candidate = Candidate::host(link.local, Protocol::Udp);
    let candidate = candidate.map_err(|error| PeerError::Socket(error.to_string()))?;
    rtc.add_local_candidate(candidate);
    Ok(rtc)
}

fn offer(
    rtc: &mut Rtc,
    media: &Media,
    direction: Direction,
) -> Result<(Vec<Mid>, Offered, SdpPendingOffer), PeerError> {
    let mut api = rtc.sdp_api();
    let list = media.list();
    let mids: Vec<Mid> = list
        .iter()
        .map(|medium| {
            let kind = match medium {
                Medium::Audio => MediaKind::Audio,
                Medium::Video => MediaKind::Video,
            };
            api.add_media(kind, direction, None, None, None)
        })
        .collect();
    let (offer, pending) = api
        .apply()
        .ok_or_else(|| PeerError::Description("there is nothing to offer".to_owned()))?;
    let sections = list.into_iter().zip(mids.iter().map(ToString::to_string));
    let offered = Offered {
        sdp: offer.to_sdp_string(),
        sections: sections.collect(),
    };
    Ok((mids, offered, pending))
}

/// The address of this machine that a server there is reached from.
pub(crate) fn local_address(server: SocketAddr) -> io::Result<std::net::IpAddr> {
    let any: std::net::IpAddr = match server {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    // Nothing is sent: the kernel chooses the interface.
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    Ok(socket.local_addr()?.ip())
}

//! One ICE and DTLS association with a client: a [`str0m::Rtc`] (ICE-lite, RTP mode) and what the
//! shard knows about it.

pub(crate) mod channels;
pub(crate) mod credentials;
pub(crate) mod dtls;
pub(crate) mod lines;
pub(crate) mod network;
pub(crate) mod paths;
pub(crate) mod sdp;
pub(crate) mod streams;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::config::{CryptoProvider, DtlsCert};
use str0m::net::{DatagramSend, Protocol, Receive, TcpType};
use str0m::rtp::{Extension, ExtensionMap};
use str0m::{Candidate, Event, IceCreds, Input, Output, Rtc, RtcConfig, RtcError};

use crate::api::{Direction, TransportState};
use crate::egress::extensions::dependency_descriptor;
use crate::egress::sender::Sender;
use crate::guard::quietly;
use crate::id::SocketId;
use crate::inspect::Traffic;
use crate::limits::{
    DATAGRAMS_PER_TURN, ENGINE_ERRORS, Limits, RESTART_OVERLAP, SCTP_BUFFER_BYTES,
    STUN_FAILURES_PER_TRANSPORT,
};
use crate::path::{PathKind, PathKinds, Relays};
use crate::shard::Hasher;
use crate::shard::bucket::Bucket;
use crate::shard::slab::ParticipantKey;
use channels::Channels;
use lines::Lines;
use network::Network;
use paths::{Address, Choice};
pub(crate) use paths::{Check, Validated};
use streams::Streams;

/// What all transports of a shard are made with.
pub(crate) struct TransportFactory {
    pub(crate) crypto: Arc<CryptoProvider>,
    /// For those that send: the same, but the keys are ours.
    pub(crate) crypto_sending: Arc<CryptoProvider>,
    pub(crate) certificate: DtlsCert,
    /// By socket: what candidates name, and what the engine takes for the local address.
    pub(crate) advertised: Vec<SocketAddr>,
    /// From which on they carry TCP.
    pub(crate) first_listener: usize,
    pub(crate) limits: Limits,
    pub(crate) relays: Option<Arc<dyn Relays>>,
}

/// A datagram waiting for the end of the turn.
pub(crate) struct Outgoing {
    pub(crate) socket: SocketId,
    pub(crate) destination: SocketAddr,
    pub(crate) contents: DatagramSend,
}

/// Which credentials a ufrag belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// Those in force.
    Current,
    /// Those before the last ICE restart.
    Previous,
}

/// One step of [`Transport::poll`]. A value on the way, never stored.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Step {
    /// Ask again: a datagram was queued.
    Again,
    /// Something happened.
    Event(Event),
    /// Nothing before this time.
    Idle(Instant),
}

/// Why a transport must go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TransportFault {
    /// The engine or the sender panicked: its state cannot be trusted.
    #[error("fault in the media engine: {0}")]
    Panicked(String),
    /// The engine gave the association up.
    #[error("{0}")]
    Ended(String),
}

/// A client's association in one direction.
pub(crate) struct Transport {
    pub(crate) participant: ParticipantKey,
    pub(crate) direction: Direction,
    rtc: Rtc,
    credentials: IceCreds,
    previous: Option<(IceCreds, Instant)>,
    /// The client's as last answered or offered.
    pub(crate) remote: Option<IceCreds>,
    /// When it was asked last whether it has moved.
    pub(crate) asked: Option<Instant>,
    pub(crate) addresses: Vec<Address>,
    /// New addresses validated since the last ICE restart.
    addresses_validated: u32,
    /// ICE restarts so far.
    restarts: u32,
    choice: Option<Choice>,
    /// Kinds of ways that verified checks came by since the last ICE restart.
    heard: PathKinds,
    /// The kind that operators were told of last.
    pub(crate) said: Option<PathKind>,
    pub(crate) stun_failures: Bucket,
    pub(crate) state: TransportState,
    /// The ICE agent has a path.
    pub(crate) reachable: bool,
    /// DTLS is complete.
    pub(crate) secured: bool,
    /// When the offer or answer that began it was made.
    pub(crate) negotiated: Instant,
    pub(crate) disconnected_since: Option<Instant>,
    pub(crate) timer: Option<Instant>,
    /// In the shard's list of transports to be told the time.
    pub(crate) queued: bool,
    /// In the shard's list of transports with datagrams to send.
    pub(crate) sending: bool,
    pub(crate) outgoing: Vec<Outgoing>,
    errors: u32,
    panic_next: bool,
    /// The last time heard of.
    now: Instant,
    /// The client said goodbye (DTLS close_notify).
    pub(crate) closed_by_client: bool,
    /// `sess-id` of the client's descriptions.
    pub(crate) session: String,
    /// Publishing: where packets belong.
    pub(crate) streams: Streams,
    /// Subscribing: the sections.
    pub(crate) lines: Lines,
    /// Subscribing: RTP and RTCP.
    pub(crate) sender: Option<Box<Sender>>,
    /// Subscribing: what the way to the client carries.
    pub(crate) network: Network,
    /// What went over it, for operators.
    pub(crate) traffic: Traffic,
    pub(crate) channels: Channels,
}

impl Transport {
    /// A new transport with its candidates and credentials in place. `seed` spreads its reports.
    pub(crate) fn new(
        factory: &TransportFactory,
        participant: ParticipantKey,
        direction: Direction,
        credentials: IceCreds,
        (hasher, seed): (Hasher, u64),
        now: Instant,
    ) -> Self {
        let rtc = build(factory, direction, credentials.clone(), now);
        let sender = match direction {
            Direction::Publish => None,
            Direction::Subscribe => Some(Box::new(Sender::new(seed))),
        };
        Transport {
            participant,
            direction,
            rtc,
            credentials,
            previous: None,
            remote: None,
            asked: None,
            addresses: Vec::new(),
            addresses_validated: 0,
            restarts: 0,
            choice: None,
            heard: PathKinds::default(),
            said: None,
            stun_failures: Bucket::new(STUN_FAILURES_PER_TRANSPORT, now),
            state: TransportState::New,
            reachable: false,
            secured: false,
            negotiated: now,
            disconnected_since: None,
            timer: None,
            queued: false,
            sending: false,
            outgoing: Vec::new(),
            errors: 0,
            panic_next: false,
            now,
            closed_by_client: false,
            session: String::new(),
            streams: Streams::new(hasher),
            lines: Lines::default(),
            sender,
            network: Network::default(),
            traffic: Traffic::default(),
            channels: Channels::default(),
        }
    }

    /// Runs work on the engine so that a panic ends this transport and nothing else.
    ///
    /// # Errors
    /// [`TransportFault::Panicked`]: the transport must be dropped.
    pub(crate) fn guard<R>(
        &mut self,
        work: impl FnOnce(&mut Rtc) -> R,
    ) -> Result<R, TransportFault> {
        let inject = std::mem::take(&mut self.panic_next);
        contain(inject, || work(&mut self.rtc))
    }

    /// Runs work on the sender, if there is one, in the same way.
    ///
    /// # Errors
    /// [`TransportFault::Panicked`]: the transport must be dropped.
    pub(crate) fn guard_sender<R>(
        &mut self,
        work: impl FnOnce(&mut Sender) -> R,
    ) -> Result<Option<R>, TransportFault> {
        let Some(sender) = &mut self.sender else {
            return Ok(None);
        };
        let inject = std::mem::take(&mut self.panic_next);
        contain(inject, || work(sender)).map(Some)
    }

    /// Makes the next work on the engine panic.
    pub(crate) fn panic_next(&mut self) {
        self.panic_next = true;
    }

    /// Media can flow to and from the client.
    pub(crate) fn is_connected(&self) -> bool {
        self.reachable && self.secured
    }

    /// The ICE credentials in force.
    pub(crate) fn credentials(&self) -> &IceCreds {
        &self.credentials
    }

    /// Which credentials this ufrag of ours belongs to, and the password to verify with.
    pub(crate) fn password_for(&self, ufrag: &str, now: Instant) -> Option<(Era, &str)> {
        if self.credentials.ufrag == ufrag {
            return Some((Era::Current, &self.credentials.pass));
        }
        match &self.previous {
            Some((previous, until)) if previous.ufrag == ufrag && now < *until => {
                Some((Era::Previous, &previous.pass))
            }
            _ => None,
        }
    }

    /// Puts new credentials in force after an ICE restart, in place of those the engine made up.
    pub(crate) fn restart_with(
        &mut self,
        credentials: IceCreds,
        now: Instant,
    ) -> Result<(), TransportFault> {
        let given = credentials.clone();
        self.guard(|rtc| rtc.direct_api().set_local_ice_credentials(given))?;
        let previous = std::mem::replace(&mut self.credentials, credentials);
        self.previous = Some((previous, now + RESTART_OVERLAP));
        self.addresses_validated = 0;
        self.restarts += 1;
        self.heard = PathKinds::default();
        Ok(())
    }

    /// Hands a datagram to the engine. The outputs must be polled next.
    ///
    /// Errors of the engine are its refusals of bytes that anybody may have sent: they end nothing,
    /// unless the association was authenticated and is over.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        (protocol, local): (Protocol, SocketAddr),
        remote: SocketAddr,
        contents: &[u8],
    ) -> Result<bool, TransportFault> {
        let secured = self.secured;
        self.now = now;
        let parse = || Receive::new(protocol, remote, local, contents);
        let Some(Ok(received)) = quietly("datagram", parse) else {
            return Ok(false);
        };
        self.guard(|rtc| {
            match rtc.handle_input(Input::Receive(now, received)) {
                Ok(()) => Ok(true),
                // After the handshake only authenticated records can make DTLS fail.
                Err(RtcError::Dtls(error)) if secured => Err(TransportFault::Ended(format!(
                    "DTLS ended by the client: {error}"
                ))),
                Err(_) => Ok(false),
            }
        })?
    }

    /// Tells the engine the time. The outputs must be polled next.
    pub(crate) fn tick(&mut self, now: Instant) -> Result<(), TransportFault> {
        self.now = now;
        let result = self.guard(|rtc| rtc.handle_input(Input::Timeout(now)))?;
        self.tolerate(result)
    }

    /// The engine's next output; datagrams are queued.
    pub(crate) fn poll(&mut self, factory: &TransportFactory) -> Result<Step, TransportFault> {
        // What another engine may have left when it panicked is not for this one.
        let awaits_keys = self.sender.as_ref().is_some_and(|s| !s.is_secured());
        if awaits_keys {
            drop(dtls::take_keys());
        }
        let output = self.guard(Rtc::poll_output)?;
        if awaits_keys
            && let Some(keys) = dtls::take_keys()
            && let Some(sender) = &mut self.sender
        {
            sender.secure(&keys);
        }
        match output {
            Ok(Output::Timeout(at)) => Ok(Step::Idle(at)),
            Ok(Output::Event(event)) => Ok(Step::Event(event)),
            Ok(Output::Transmit(transmit)) => {
                self.take_datagram(factory, transmit);
                Ok(Step::Again)
            }
            Err(error) => {
                self.tolerate(Err(error))?;
                Ok(Step::Again)
            }
        }
    }

    /// Queues what the engine sends.
    fn take_datagram(&mut self, factory: &TransportFactory, transmit: str0m::net::Transmit) {
        let first = transmit.contents.first().copied().unwrap_or_default();
        // Media toward subscribers is ours alone, and the engine has no key to it.
        if self.sender.is_some() && (128..192).contains(&first) {
            debug_assert!(false, "the engine sends media");
            return;
        }
        let socket = factory.socket_of(transmit.proto, transmit.source);
        // Answers to checks go back where these came from, and need no consent.
        let check = first < 4;
        let consent = check || self.disconnected_since.is_none();
        let (socket, destination) = if check {
            (socket, transmit.destination)
        } else {
            self.path(socket, transmit.destination)
        };
        if consent && self.outgoing.len() < DATAGRAMS_PER_TURN {
            self.outgoing.push(Outgoing {
                socket,
                destination,
                contents: transmit.contents,
            });
        }
    }

    /// Queues the end of every stream, for whoever listens.
    pub(crate) fn say_goodbye(&mut self, factory: &TransportFactory, now: Instant) {
        let Some(route) = self.route(factory, now) else {
            return;
        };
        let datagrams = self.sender.as_mut().map(|sender| sender.goodbye());
        for contents in datagrams.unwrap_or_default() {
            self.outgoing.push(Outgoing {
                socket: route.socket,
                destination: route.destination,
                contents: contents.into(),
            });
        }
    }

    fn tolerate(&mut self, result: Result<(), RtcError>) -> Result<(), TransportFault> {
        let Err(error) = result else {
            return Ok(());
        };
        self.errors += 1;
        if !self.rtc.is_alive() || self.errors > ENGINE_ERRORS {
            return Err(TransportFault::Ended(error.to_string()));
        }
        tracing::debug!(%error, "engine error");
        Ok(())
    }

    /// The association goes on.
    pub(crate) fn is_alive(&self) -> bool {
        self.rtc.is_alive() && !self.closed_by_client
    }

    /// Gives queued data to the engine. Returns how many messages it refused for good.
    pub(crate) fn pump_channels(&mut self) -> Result<u64, TransportFault> {
        if !self.channels.is_waiting() {
            return Ok(0);
        }
        let mut channels = std::mem::take(&mut self.channels);
        let refused = self.guard(|rtc| channels.pump(rtc));
        self.channels = channels;
        refused
    }

    /// Read access to the engine.
    pub(crate) fn rtc(&self) -> &Rtc {
        &self.rtc
    }
}

fn contain<R>(inject: bool, work: impl FnOnce() -> R) -> Result<R, TransportFault> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        assert!(!inject, "injected for a test");
        work()
    }));
    outcome.map_err(|payload| {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned());
        TransportFault::Panicked(text.unwrap_or_else(|| "panic".into()))
    })
}

impl TransportFactory {
    /// The socket whose advertised address this is: UDP and TCP may share one.
    fn socket_of(&self, protocol: Protocol, local: SocketAddr) -> SocketId {
        let mut sockets = (0_u16..).zip(&self.advertised);
        let found = sockets.find(|(index, address)| {
            **address == local && self.protocol(SocketId(*index)) == protocol
        });
        SocketId(found.map_or(0, |(index, _)| index))
    }

    /// What a socket carries.
    pub(crate) fn protocol(&self, socket: SocketId) -> Protocol {
        match usize::from(socket.0) < self.first_listener {
            true => Protocol::Udp,
            false => Protocol::Tcp,
        }
    }
}

fn build(
    factory: &TransportFactory,
    direction: Direction,
    credentials: IceCreds,
    now: Instant,
) -> Rtc {
    let crypto = match direction {
        Direction::Publish => &factory.crypto,
        Direction::Subscribe => &factory.crypto_sending,
    };
    let mut config = RtcConfig::new();
    if direction == Direction::Subscribe {
        // Its reports would go nowhere.
        config = config
            .set_rtcp_report_interval_audio(NEVER)
            .set_rtcp_report_interval_video(NEVER);
    }
    let mut rtc = config
        .set_rtp_mode(true)
        .set_ice_lite(true)
        .set_crypto_provider(crypto.clone())
        .set_dtls_cert(factory.certificate.clone())
        .set_local_ice_credentials(credentials)
        .set_extension_map(extensions(direction))
        .set_sctp_max_message_size(factory.limits.data_message_bytes)
        .set_sctp_max_buffered_amount(SCTP_BUFFER_BYTES)
        .build(now);
    for (index, address) in (0_u16..).zip(&factory.advertised) {
        // Those of TCP have a lower type preference (90 of RFC 8445's 126), so that clients who can use
        // UDP do.
        let candidate = match factory.protocol(SocketId(index)) {
            Protocol::Tcp => Candidate::builder()
                .tcp()
                .host(*address)
                .tcptype(TcpType::Passive)
                .build(),
            _ => Candidate::host(*address, Protocol::Udp),
        };
        match candidate {
            Ok(candidate) => {
                rtc.add_local_candidate(candidate);
            }
            Err(error) => tracing::warn!(%address, %error, "address cannot be advertised"),
        }
    }
    rtc
}

/// Longer than any transport lives.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// Header extensions (RFC 8285): what belongs to a transport, and what is handed through.
pub(crate) fn extensions(direction: Direction) -> ExtensionMap {
    let mut map = ExtensionMap::empty();
    map.set(1, Extension::AudioLevel);
    map.set(2, Extension::AbsoluteSendTime);
    map.set(3, Extension::TransportSequenceNumber);
    map.set(4, Extension::RtpMid);
    map.set(5, Extension::PlayoutDelay);
    map.set(6, Extension::VideoContentType);
    map.set(7, Extension::AbsoluteCaptureTime);
    map.set(12, dependency_descriptor());
    map.set(13, Extension::VideoOrientation);
    if direction == Direction::Publish {
        // Nothing toward subscribers is simulcast.
        map.set(10, Extension::RtpStreamId);
        map.set(11, Extension::RepairedRtpStreamId);
    }
    map
}

//! A participant: two peer connections, the requests and events of the core, media to send, and
//! checks on everything received. No clock, no socket: driven by `(now, input)`.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use rillway_core::api::{
    Action, Direction, EventKind, Grant, MidTrack, ParticipantInfo, RequestError, Source,
    TrackInfo, TransportState,
};
use rillway_core::id::{ClientId, ParticipantId, Reference, TrackId};
use str0m::RtcConfig;
use str0m::change::SdpPendingOffer;
use str0m::channel::ChannelId;
use str0m::media::Mid;

use crate::inbound::Inbound;
use crate::media::{Beat, LayerState, TrackSpec};
use crate::payload;
use crate::peer::{Datagram, Peer, default_config};
use crate::scalable::receiver::Received;

mod negotiation;
mod receiving;
mod sending;

/// Violations kept; more say nothing new.
const VIOLATIONS_MAX: usize = 20;

/// How a client is set up.
pub struct ClientConfig {
    /// Connection.
    pub client: ClientId,
    /// What it presents at the join.
    pub grant: Grant,
    /// Address of its publishing peer connection.
    pub publish_address: SocketAddr,
    /// Address of its subscribing peer connection.
    pub subscribe_address: SocketAddr,
    /// Published as soon as it has joined.
    pub tracks: Vec<TrackSpec>,
    /// Opens the data channels `reliable` and `unreliable`.
    pub channels: bool,
    /// Publishes by itself after the join.
    pub auto_publish: bool,
    /// Subscribes by itself to every track it hears of.
    pub auto_subscribe: bool,
    /// Looks at what a decoder makes of what it gets, and asks for keyframes as one does.
    pub decodes: bool,
    /// Is the DTLS server; browsers are the client in both directions.
    pub dtls_passive: bool,
    /// Its peer connections have nothing but TCP, and connect to the router's candidates (RFC 6544).
    pub tcp: bool,
    /// Makes the configuration of its peer connections.
    pub rtc_factory: RtcFactory,
    /// Number of the world, part of what payloads carry.
    pub world: u64,
    /// Instant that payload times count from.
    pub epoch: Instant,
}

impl ClientConfig {
    /// A client that publishes nothing and subscribes to everything.
    pub fn new(client: ClientId, room: &str, addresses: [SocketAddr; 2], epoch: Instant) -> Self {
        ClientConfig {
            client,
            grant: full_grant(room, &format!("client-{}", client.0)),
            publish_address: addresses[0],
            subscribe_address: addresses[1],
            tracks: Vec::new(),
            channels: false,
            auto_publish: true,
            auto_subscribe: true,
            decodes: false,
            dtls_passive: false,
            tcp: false,
            rtc_factory: default_config,
            world: 1,
            epoch,
        }
    }
}

/// A grant that allows everything.
pub fn full_grant(room: &str, identity: &str) -> Grant {
    Grant {
        room: room.to_owned(),
        identity: identity.to_owned(),
        name: Some(identity.to_owned()),
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

/// A track this client publishes.
pub struct Published {
    /// What it is.
    pub spec: TrackSpec,
    /// Its section of the publishing SDP.
    pub mid: Mid,
    /// Its id, once the router answered.
    pub track: Option<TrackId>,
    /// By layer, smallest first.
    pub layers: Vec<LayerState>,
    /// No frames are made while this is false.
    pub running: bool,
    beat: Beat,
}

/// A data message received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// When.
    pub at: Instant,
    /// Channel label.
    pub label: String,
    /// Sender, from the first 8 bytes.
    pub from: ParticipantId,
    /// The rest.
    pub payload: Vec<u8>,
}

struct Section {
    track: Option<TrackId>,
    previous: Option<(TrackId, Instant)>,
}

/// Changes an SDP before it is sent, as an attacker or an odd client would.
pub type SdpFilter = Box<dyn FnMut(Direction, String) -> String + Send>;

/// Makes the configuration of a peer connection.
pub type RtcFactory = fn() -> RtcConfig;

/// A participant.
pub struct Client {
    /// Set-up.
    pub config: ClientConfig,
    /// Its participant id, once joined.
    pub me: Option<ParticipantId>,
    /// The publishing peer connection.
    pub publisher: Option<Peer>,
    /// The subscribing peer connection.
    pub subscriber: Option<Peer>,
    /// Own tracks.
    pub published: Vec<Published>,
    /// The others.
    pub roster: BTreeMap<ParticipantId, ParticipantInfo>,
    /// Tracks of the others.
    pub tracks: BTreeMap<TrackId, TrackInfo>,
    /// What came of each track ever subscribed to.
    pub inbound: BTreeMap<TrackId, Inbound>,
    /// Data messages received.
    pub messages: Vec<Message>,
    /// Every event the router sent.
    pub events: Vec<EventKind>,
    /// Refused requests.
    pub failures: Vec<(Reference, RequestError)>,
    /// Latest state the router told of each transport.
    pub states: HashMap<Direction, TransportState>,
    /// Rules that what it received broke.
    pub violations: Vec<String>,
    /// Packets that no known section or no body could be found for.
    pub unknown_packets: u64,
    /// Retransmission requests sent, if the peer connections count them
    /// ([`RtcConfig::set_stats_interval`]).
    pub nacks: u64,
    /// Applied to each SDP it sends.
    pub sdp_filter: Option<SdpFilter>,
    /// Offers are kept instead of answered.
    pub hold_offers: bool,
    /// Offers kept.
    pub held_offers: Vec<(u64, String, Vec<MidTrack>)>,
    /// Requests that no answer came for yet.
    pub unanswered: BTreeSet<Reference>,
    /// What came on its subscribing connection, kept as it is instead of being read, while `Some`.
    pub kept: Option<Vec<Received>>,
    joining: Option<Reference>,
    nacks_of: HashMap<Mid, u64>,
    requests: VecDeque<(Reference, Action)>,
    next_reference: u64,
    pending: Option<(Reference, SdpPendingOffer)>,
    sections: HashMap<Mid, Section>,
    channels: BTreeMap<String, (ChannelId, bool)>,
    room_hash: u64,
    scratch: Vec<u8>,
}

impl Client {
    /// Not joined yet.
    pub fn new(config: ClientConfig) -> Self {
        let room_hash = payload::room_hash(config.world, &config.grant.room);
        Client {
            config,
            me: None,
            publisher: None,
            subscriber: None,
            published: Vec::new(),
            roster: BTreeMap::new(),
            tracks: BTreeMap::new(),
            inbound: BTreeMap::new(),
            messages: Vec::new(),
            events: Vec::new(),
            failures: Vec::new(),
            states: HashMap::new(),
            violations: Vec::new(),
            unknown_packets: 0,
            nacks: 0,
            sdp_filter: None,
            hold_offers: false,
            held_offers: Vec::new(),
            unanswered: BTreeSet::new(),
            kept: None,
            joining: None,
            nacks_of: HashMap::new(),
            requests: VecDeque::new(),
            next_reference: 1,
            pending: None,
            sections: HashMap::new(),
            channels: BTreeMap::new(),
            room_hash,
            scratch: Vec::new(),
        }
    }

    /// Asks for anything. Returns the reference the answer will carry.
    pub fn request(&mut self, action: Action) -> Reference {
        let reference = Reference(self.next_reference);
        self.next_reference += 1;
        match action {
            // A leave may go unanswered, and ends what came before it.
            Action::Leave => self.unanswered.clear(),
            Action::Join { .. } => {
                self.joining = Some(reference);
                self.unanswered.insert(reference);
            }
            _ => {
                self.unanswered.insert(reference);
            }
        }
        self.requests.push_back((reference, action));
        reference
    }

    /// Asks to join the room of its grant.
    pub fn join(&mut self) -> Reference {
        let grant = self.config.grant.clone();
        self.request(Action::Join {
            grant,
            joined_at_ms: 0,
        })
    }

    /// Leaves and forgets its peer connections.
    pub fn leave(&mut self) -> Reference {
        self.me = None;
        self.publisher = None;
        self.subscriber = None;
        self.published.clear();
        self.roster.clear();
        self.tracks.clear();
        self.sections.clear();
        self.channels.clear();
        self.pending = None;
        self.states.clear();
        self.request(Action::Leave)
    }

    /// The next request to bring to the router.
    pub fn poll_request(&mut self) -> Option<(Reference, Action)> {
        self.requests.pop_front()
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Datagram> {
        let from = |peer: &mut Option<Peer>| peer.as_mut().and_then(Peer::poll_transmit);
        from(&mut self.publisher).or_else(|| from(&mut self.subscriber))
    }

    /// When [`Client::handle_timeout`] is to be called, at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let peers = [&self.publisher, &self.subscriber];
        let peers = peers.into_iter().flatten().map(|p| p.timeout);
        let beats = self.published.iter().filter(|p| self.is_due_later(p));
        let asking = self.asks_at();
        peers.chain(beats.map(|p| p.beat.next)).chain(asking).min()
    }

    fn is_due_later(&self, published: &Published) -> bool {
        published.running && published.track.is_some() && self.is_publishing()
    }

    /// Whether media can be sent.
    pub fn is_publishing(&self) -> bool {
        self.publisher
            .as_ref()
            .is_some_and(|p| p.rtc.is_connected())
    }

    /// Whether media can be received.
    pub fn is_subscribing(&self) -> bool {
        self.subscriber
            .as_ref()
            .is_some_and(|p| p.rtc.is_connected())
    }

    /// A datagram for one of its two addresses arrived.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        destination: SocketAddr,
        source: SocketAddr,
        contents: &[u8],
    ) {
        let peers = [&mut self.publisher, &mut self.subscriber];
        for peer in peers.into_iter().flatten() {
            if peer.local == destination {
                peer.handle_datagram(now, source, contents);
            }
        }
        self.take_events(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        for peer in [&mut self.publisher, &mut self.subscriber]
            .into_iter()
            .flatten()
        {
            if peer.timeout <= now {
                peer.handle_timeout(now);
            }
        }
        self.take_events(now);
        self.ask_keyframes(now);
        for index in 0..self.published.len() {
            while self.published[index].beat.next <= now
                && self.is_due_later(&self.published[index])
            {
                self.send_frame(now, index);
            }
        }
        self.take_events(now);
    }

    /// The router said something.
    pub fn handle_event(&mut self, now: Instant, event: EventKind) {
        self.events.push(event.clone());
        self.check_answer(&event);
        match event {
            EventKind::Joined {
                me,
                participants,
                tracks,
            } => self.joined(now, me.id, participants, tracks),
            EventKind::ParticipantJoined(info) => {
                self.roster.insert(info.id, info);
            }
            EventKind::ParticipantLeft(id) => {
                self.roster.remove(&id);
            }
            EventKind::TrackPublished(info) => self.track_published(info),
            EventKind::TrackUnpublished(id) => {
                self.tracks.remove(&id);
            }
            EventKind::TrackMuted(id, muted) => {
                if let Some(track) = self.tracks.get_mut(&id) {
                    track.muted = muted;
                }
            }
            EventKind::Answer {
                reference,
                sdp,
                tracks,
            } => self.answered(now, reference, &sdp, &tracks),
            EventKind::Offer {
                offer_id,
                sdp,
                tracks,
            } if self.hold_offers => self.held_offers.push((offer_id, sdp, tracks)),
            EventKind::Offer {
                offer_id,
                sdp,
                tracks,
            } => self.answer_offer(now, offer_id, &sdp, &tracks),
            EventKind::TransportState(direction, state) => {
                self.states.insert(direction, state);
                if matches!(state, TransportState::Failed | TransportState::Closed) {
                    self.drop_peer(direction);
                }
            }
            EventKind::Failed { reference, error } => {
                if self.pending.as_ref().is_some_and(|(r, _)| *r == reference) {
                    self.pending = None;
                }
                self.failures.push((reference, error));
            }
            _ => {}
        }
    }

    /// Each request is answered exactly once.
    fn check_answer(&mut self, event: &EventKind) {
        let reference = match event {
            EventKind::Joined { .. } => self.joining.take(),
            EventKind::Answer { reference, .. }
            | EventKind::Done { reference }
            | EventKind::Failed { reference, .. } => Some(*reference),
            _ => return,
        };
        let expected = reference.is_some_and(|r| self.unanswered.remove(&r));
        let was_leave = self.me.is_none() && matches!(event, EventKind::Done { .. });
        if !expected && !was_leave {
            self.violation(format!("answer without a question: {event:?}"));
        }
    }

    fn drop_peer(&mut self, direction: Direction) {
        match direction {
            Direction::Publish => {
                self.publisher = None;
                self.published.clear();
                self.channels.clear();
                self.pending = None;
            }
            Direction::Subscribe => {
                self.subscriber = None;
                self.sections.clear();
            }
        }
    }

    fn joined(
        &mut self,
        now: Instant,
        me: ParticipantId,
        participants: Vec<ParticipantInfo>,
        tracks: Vec<TrackInfo>,
    ) {
        self.me = Some(me);
        self.roster = participants.into_iter().map(|p| (p.id, p)).collect();
        for track in tracks {
            self.track_published(track);
        }
        let has_something = self.config.channels || !self.config.tracks.is_empty();
        if self.config.auto_publish && has_something {
            self.publish(now);
        }
    }

    fn track_published(&mut self, info: TrackInfo) {
        let id = info.id;
        self.tracks.insert(id, info);
        if self.config.auto_subscribe {
            self.request(Action::Subscribe(id));
        }
    }

    fn violation(&mut self, text: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(text);
        }
    }
}

#[cfg(test)]
mod tests;

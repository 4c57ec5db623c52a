//! What goes into a [`crate::Shard`] and what comes out, beside datagrams.
//!
//! Values here are the core's own words: the router translates them to and from the plugin ABI.

use crate::id::{ClientId, ParticipantId, Reference, TrackId};

mod recorded;
mod rooms;

pub use recorded::{RecordedCodec, RecordedPacket};
pub use rooms::{
    Choice, Choices, Decider, Decision, Fit, RoomEvent, RoomEventKind, RoomOrder, RoomOrderKind,
    RoomView, SubscriberView, SubscriptionView,
};

/// Audio or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// An audio track.
    Audio,
    /// A video track.
    Video,
}

/// Declared source of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A camera.
    Camera,
    /// A microphone.
    Microphone,
    /// A shared screen or window.
    Screen,
    /// The sound of a shared screen.
    ScreenAudio,
    /// Anything else.
    Other,
}

impl Source {
    /// Its word, as in metrics, files and the rooms protocol.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Camera => "camera",
            Source::Microphone => "microphone",
            Source::Screen => "screen",
            Source::ScreenAudio => "screen_audio",
            Source::Other => "other",
        }
    }
}

/// Which of a participant's two transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client: the client offers.
    Publish,
    /// To the client: the router offers.
    Subscribe,
}

/// What a client may do; checked by the core at every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The room it admits to.
    pub room: String,
    /// Who it is.
    pub identity: String,
    /// Display name.
    pub name: Option<String>,
    /// Sources it may publish.
    pub publish: Vec<Source>,
    /// May receive tracks.
    pub subscribe: bool,
    /// May send data.
    pub publish_data: bool,
    /// May control recording.
    pub record_control: bool,
    /// Bound on its published bit rate, bits per second.
    pub max_publish_bps: Option<u64>,
    /// Unix milliseconds at which the host removes it (the control side keeps the wall clock).
    pub expires_at_ms: Option<u64>,
    /// Free attributes.
    pub attributes: Vec<(String, String)>,
}

/// A participant as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParticipantInfo {
    /// Id.
    pub id: ParticipantId,
    /// Identity.
    pub identity: String,
    /// Display name.
    pub name: Option<String>,
    /// Attributes.
    pub attributes: Vec<(String, String)>,
    /// Unix milliseconds, as given with the join.
    pub joined_at_ms: u64,
}

/// One layer as measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerInfo {
    /// 0 = smallest.
    pub spatial: u8,
    /// 0 = base.
    pub temporal: u8,
    /// RTP stream id (RFC 8851).
    pub rid: Option<String>,
    /// Pixels; 0 = not known.
    pub width: u16,
    /// Pixels; 0 = not known.
    pub height: u16,
    /// Frames per second over the last second; 0 = not known.
    pub fps: u16,
    /// Bits per second over the last second, headers included.
    pub bitrate_bps: u32,
    /// Packets arrived in the last second.
    pub active: bool,
}

/// A track as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackInfo {
    /// Id.
    pub id: TrackId,
    /// Publisher.
    pub owner: ParticipantId,
    /// Audio or video.
    pub kind: MediaKind,
    /// Source.
    pub source: Source,
    /// Codec name as in SDP; empty until known.
    pub codec: String,
    /// Muted by its publisher.
    pub muted: bool,
    /// Layers known so far.
    pub layers: Vec<LayerInfo>,
}

/// A section of an SDP and the track it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MidTrack {
    /// `a=mid`.
    pub mid: String,
    /// The track; `None` when idle.
    pub track: Option<TrackId>,
}

/// What a subscriber would like of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Track.
    pub track: TrackId,
    /// Pixels; 0 = any.
    pub width: u16,
    /// Pixels; 0 = any.
    pub height: u16,
    /// Frames per second; 0 = any.
    pub fps: u16,
    /// 0 = least.
    pub priority: u8,
    /// Send nothing.
    pub paused: bool,
}

/// A request of a client, made for it by the control side.
#[derive(Debug, Clone)]
pub struct Request {
    /// The connection it came by. The core answers to this id.
    pub client: ClientId,
    /// Echoed in the answer.
    pub reference: Reference,
    /// What it wants.
    pub action: Action,
}

/// The action of a [`Request`].
#[derive(Debug, Clone)]
pub enum Action {
    /// Join the room of the grant. Answer: [`EventKind::Joined`].
    Join {
        /// The authentication policy's decision.
        grant: Grant,
        /// Wall clock at the join, for display only.
        joined_at_ms: u64,
    },
    /// Leave; also sent when the connection is gone. Frees everything of the client.
    Leave,
    /// A publishing offer. Answer: [`EventKind::Answer`].
    AcceptOffer {
        /// SDP.
        sdp: String,
        /// Sources by mid.
        sources: Vec<(String, Source)>,
    },
    /// An offer of a client that wants to receive: its sections are filled by subscriptions, and the
    /// core offers nothing itself. Answer: [`EventKind::Answer`].
    AcceptReceivingOffer {
        /// SDP.
        sdp: String,
    },
    /// The answer to the outstanding subscribing offer.
    AcceptAnswer {
        /// Id of that offer.
        offer_id: u64,
        /// SDP.
        sdp: String,
    },
    /// A trickled remote candidate line.
    AddCandidate(Direction, String),
    /// Restart ICE on the subscribing transport.
    RestartIce,
    /// Close one transport.
    CloseTransport(Direction),
    /// Receive a track.
    Subscribe(TrackId),
    /// Stop receiving it.
    Unsubscribe(TrackId),
    /// State a wish.
    Wish(Wish),
    /// Mute or unmute an own track.
    Mute(TrackId, bool),
    /// Stop publishing an own track.
    Unpublish(TrackId),
    /// Data through signaling; empty `to` = all others in the room.
    SendData {
        /// Receivers.
        to: Vec<ParticipantId>,
        /// Label.
        label: String,
        /// Payload.
        payload: Vec<u8>,
    },
}

/// Something that happened, addressed to one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whose.
    pub client: ClientId,
    /// What.
    pub kind: EventKind,
}

/// The kind of an [`Event`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// Answer to a join.
    Joined {
        /// Itself.
        me: ParticipantInfo,
        /// The others.
        participants: Vec<ParticipantInfo>,
        /// Their tracks.
        tracks: Vec<TrackInfo>,
    },
    /// Somebody else joined.
    ParticipantJoined(ParticipantInfo),
    /// Somebody else left.
    ParticipantLeft(ParticipantId),
    /// Somebody else published.
    TrackPublished(TrackInfo),
    /// A track of somebody else ended.
    TrackUnpublished(TrackId),
    /// A track was muted or unmuted (one's own too).
    TrackMuted(TrackId, bool),
    /// Answer to an offer of the client's.
    Answer {
        /// Echo.
        reference: Reference,
        /// SDP.
        sdp: String,
        /// Tracks by mid.
        tracks: Vec<MidTrack>,
    },
    /// The subscribing transport must be negotiated. At most one is outstanding.
    Offer {
        /// Grows by one.
        offer_id: u64,
        /// SDP.
        sdp: String,
        /// What each section carries.
        tracks: Vec<MidTrack>,
    },
    /// A transport changed state.
    TransportState(Direction, TransportState),
    /// Loudest first, 0–127 loud.
    Speakers(Vec<(ParticipantId, u8)>),
    /// The forwarded layer of a subscription changed.
    Layer {
        /// Track.
        track: TrackId,
        /// Now forwarded; `None` = paused.
        spatial: Option<u8>,
        /// Now forwarded.
        temporal: Option<u8>,
    },
    /// Data through signaling.
    Data {
        /// Sender.
        from: ParticipantId,
        /// Label.
        label: String,
        /// Payload.
        payload: Vec<u8>,
    },
    /// Data messages were dropped at a bound.
    DataDropped {
        /// True: this client's own; false: those of others to it.
        outgoing: bool,
        /// Since the last report.
        count: u64,
    },
    /// The core removed the client (fault in its transport, room closed). It must not be used again.
    Removed {
        /// Why, for people.
        reason: String,
    },
    /// The request was carried out. Every request of a live client is answered by exactly one of
    /// [`EventKind::Joined`] (join), [`EventKind::Answer`] (the client's offers), this (all others;
    /// a leave may go unanswered) or [`EventKind::Failed`].
    Done {
        /// Echo.
        reference: Reference,
    },
    /// A request was refused; nothing changed.
    Failed {
        /// Echo.
        reference: Reference,
        /// Why.
        error: RequestError,
    },
}

/// State of a transport, as `RTCPeerConnectionState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransportState {
    /// Negotiated, nothing received yet.
    New,
    /// ICE or DTLS under way.
    Connecting,
    /// Media can flow.
    Connected,
    /// No validated path now.
    Disconnected,
    /// Ended by a fault.
    Failed,
    /// Ended on purpose.
    Closed,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The grant forbids it.
    #[error("not allowed: {0}")]
    Forbidden(String),
    /// No such thing in this room.
    #[error("not found: {0}")]
    NotFound(String),
    /// Malformed SDP, candidate or argument.
    #[error("invalid: {0}")]
    Invalid(String),
    /// A bound was met.
    #[error("limit reached: {0}")]
    Limit(String),
    /// Not now.
    #[error("wrong state: {0}")]
    WrongState(String),
    /// Our fault.
    #[error("internal: {0}")]
    Internal(String),
}

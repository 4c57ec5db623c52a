//! The signaling interface: one instance per client connection, bytes and events in, commands out.
//! WIT: `rillway:policy/signaling`.

use crate::types::{
    Attributes, Denial, Direction, Extension, Grant, IceServer, Limits, Participant, ParticipantId,
    Track, TrackId,
};

/// Name of an [`Action::Extension`] that asks the router not to tell [`Input::Done`] of commands whose reference has the
/// bit [`QUIET`]; failures are told. A call into a component costs more than such news is worth. A router that does
/// not know the extension tells it all the same.
pub const QUIET_DONE: &str = "quiet-done";
/// The bit of a reference that [`QUIET_DONE`] is about.
pub const QUIET: u64 = 1 << 62;

/// A message on the client's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Frame {
    /// UTF-8 text.
    Text(String),
    /// Bytes.
    Binary(#[cfg_attr(feature = "json", serde(with = "crate::json"))] Vec<u8>),
}

/// How the client connected. The host has already checked size, rate and origin limits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Opened {
    /// Request path, such as `/signal/rooms`.
    pub path: String,
    /// Query string without `?`; may be empty.
    pub query: String,
    /// Negotiated WebSocket subprotocol; empty if none.
    pub subprotocol: String,
    /// Client address as the gateway saw it.
    pub remote_address: String,
    /// Over HTTP: the path, not guessable, under which further requests reach this instance. `None` for
    /// a WebSocket connection.
    pub resource: Option<String>,
    /// Further facts. Over HTTP `route`: the path that led to the plugin, such as `/whip`.
    pub attributes: Attributes,
}

/// An HTTP request to the plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct HttpRequest {
    /// Names it in the answer.
    pub id: u64,
    /// Upper-case.
    pub method: String,
    /// Path.
    pub path: String,
    /// Query string without `?`; may be empty.
    pub query: String,
    /// Names in lower case, at most 64.
    pub headers: Vec<(String, String)>,
    /// Body.
    #[cfg_attr(feature = "json", serde(with = "crate::json"))]
    pub body: Vec<u8>,
}

/// The answer to an [`HttpRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct HttpResponse {
    /// The request's.
    pub id: u64,
    /// 200 to 599.
    pub status: u16,
    /// At most 64; those of the connection are the router's, and cookies nobody's.
    pub headers: Vec<(String, String)>,
    /// At most 1 MiB.
    #[cfg_attr(feature = "json", serde(with = "crate::json"))]
    pub body: Vec<u8>,
}

/// What is being recorded in the room.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct RecordingState {
    /// Whether anything is.
    pub active: bool,
    /// Who asked for it, if a participant did.
    pub by: Option<ParticipantId>,
    /// What is recorded.
    pub tracks: Vec<TrackId>,
}

/// State of a transport, coarsened from ICE and DTLS (as `RTCPeerConnectionState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum TransportState {
    /// Negotiated, nothing received yet.
    New,
    /// ICE checks or the DTLS handshake are under way.
    Connecting,
    /// Media can flow.
    Connected,
    /// No validated path at the moment; an ICE restart may mend it.
    Disconnected,
    /// Ended by a fault; a new one must be negotiated.
    Failed,
    /// Ended on purpose.
    Closed,
}

/// Stable reason why a command was refused. New codes may be added; treat unknown ones as `Internal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum FailureCode {
    /// The grant does not allow it.
    Forbidden,
    /// No such participant, track, transport or room.
    NotFound,
    /// SDP, candidate or argument is malformed.
    Invalid,
    /// A configured bound was met.
    LimitExceeded,
    /// Not possible in the present state (answer without offer, join twice).
    WrongState,
    /// The router is draining or overloaded.
    Unavailable,
    /// A fault on our side.
    Internal,
}

/// The section of a subscribing offer (`a=mid`) that carries a track.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct MidTrack {
    /// Media identification tag (RFC 9143).
    pub mid: String,
    /// The track it carries; `None` when the section is idle.
    pub track: Option<TrackId>,
}

/// Which layer a subscriber now gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct LayerState {
    /// The subscribed track.
    pub track: TrackId,
    /// Spatial index now forwarded; `None` while paused.
    pub spatial: Option<u8>,
    /// Temporal index now forwarded.
    pub temporal: Option<u8>,
}

/// What reaches the protocol: the client's bytes, and what happened in the router.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Input {
    /// First input of every instance.
    Opened(Opened),
    /// The client sent a frame.
    Message(Frame),
    /// The client sent a request; it waits for [`Action::Respond`] with the same id, at most 10 s.
    Request(HttpRequest),
    /// Last input: the connection is gone (reason for logs). Commands returned here are ignored.
    Closed(String),
    /// Asked for by [`Action::TickEveryMs`].
    Tick,
    /// Answer to [`Action::Authenticate`].
    Granted(Grant),
    /// Answer to [`Action::Authenticate`].
    Denied(Denial),
    /// Answer to [`Action::Join`]: this client is now a participant of the room.
    Joined {
        /// Itself.
        me: Participant,
        /// Everybody else in the room.
        participants: Vec<Participant>,
        /// Every track published by others.
        tracks: Vec<Track>,
        /// Bounds the host enforces.
        limits: Limits,
        /// Servers for the client's ICE agent.
        ice_servers: Vec<IceServer>,
    },
    /// Somebody else joined.
    ParticipantJoined(Participant),
    /// Somebody else left; its tracks are unpublished first.
    ParticipantLeft(ParticipantId),
    /// Somebody else published a track.
    TrackPublished(Track),
    /// A track of somebody else ended.
    TrackUnpublished(TrackId),
    /// A track was muted or unmuted by its publisher (also sent for one's own).
    TrackMuted(TrackId, bool),
    /// Answer to [`Action::AcceptOffer`] and [`Action::AcceptReceivingOffer`].
    Answer {
        /// Echo of the command's reference.
        reference: u64,
        /// SDP answer.
        sdp: String,
        /// The tracks this offer published, or that are received by it, by `mid`.
        tracks: Vec<MidTrack>,
    },
    /// The router wants to (re)negotiate the subscribing transport; answer with [`Action::AcceptAnswer`].
    /// At most one offer is outstanding at a time.
    Offer {
        /// Names this offer; grows by one each time.
        offer_id: u64,
        /// SDP offer.
        sdp: String,
        /// What each media section carries once the offer is answered.
        tracks: Vec<MidTrack>,
    },
    /// A transport changed state.
    TransportState(Direction, TransportState),
    /// Loudest speakers first, with level 0 (silence) to 127 (loud). Empty when silent.
    Speakers(Vec<(ParticipantId, u8)>),
    /// The layer forwarded to this client changed.
    Layer(LayerState),
    /// A data message sent through signaling by another participant.
    Data {
        /// Sender.
        from: ParticipantId,
        /// Sender's label.
        label: String,
        /// Payload.
        #[cfg_attr(feature = "json", serde(with = "crate::json"))]
        payload: Vec<u8>,
    },
    /// Data messages to or from this client were dropped because a bound was met.
    DataDropped {
        /// True: what this client sent was dropped (it exceeds its rate or size).
        /// False: what others sent to it was dropped (it reads too slowly).
        outgoing: bool,
        /// Messages dropped since the last report.
        count: u64,
    },
    /// A message of another client's instance, by [`Action::SendTo`].
    Relayed(ParticipantId, Frame),
    /// The room's recording changed.
    Recording(RecordingState),
    /// The router is going away.
    Draining {
        /// It closes the connection after this many milliseconds.
        within_ms: u64,
        /// Where to go, if the operator says so; otherwise the same address again.
        url: Option<String>,
    },
    /// The host removed this client (kicked, grant expired, room closed, transport fault).
    Removed(String),
    /// A command was carried out. The host answers every command except [`Action::Send`],
    /// [`Action::Respond`], [`Action::Close`], [`Action::TickEveryMs`], [`Action::Leave`] and
    /// [`Action::Extension`] exactly once: with
    /// [`Input::Granted`] or [`Input::Denied`], [`Input::Joined`], [`Input::Answer`], this, or
    /// [`Input::Failed`].
    Done {
        /// Echo of the command's reference.
        reference: u64,
    },
    /// A command was refused; nothing changed.
    Failed {
        /// Echo of the command's reference.
        reference: u64,
        /// Stable code.
        code: FailureCode,
        /// For people.
        message: String,
    },
    /// Something this version has no case for.
    Extension(Extension),
}

/// What a subscriber would like to get of a track; the host and the layer policy decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct LayerWish {
    /// The subscribed track.
    pub track: TrackId,
    /// Size it is shown at, pixels; 0 = any.
    pub width: u16,
    /// Size it is shown at, pixels; 0 = any.
    pub height: u16,
    /// Frames per second; 0 = any.
    pub fps: u16,
    /// 0 = least important.
    pub priority: u8,
    /// Do not send at all.
    pub paused: bool,
}

/// A track a publishing offer declares: which media section carries what.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct PublishedSource {
    /// `a=mid` of the offer.
    pub mid: String,
    /// What it shows.
    pub source: crate::types::Source,
}

/// What the protocol asks of the router.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Command {
    /// Chosen by the plugin; echoed in [`Input::Failed`] and in answers.
    pub reference: u64,
    /// What to do.
    pub action: Action,
}

/// Which of the inputs that come often are delivered, by [`Action::Notify`]: each costs a call of every client's
/// instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Notices {
    /// [`Input::Speakers`].
    pub speakers: bool,
    /// [`Input::Layer`]; when asked for anew, one for each track that is received now comes first.
    pub layers: bool,
}

impl Default for Notices {
    /// All.
    fn default() -> Self {
        Notices {
            speakers: true,
            layers: true,
        }
    }
}

/// The action of a [`Command`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Action {
    /// Send a frame to the client (WebSocket only).
    Send(Frame),
    /// Answer a request.
    Respond(HttpResponse),
    /// Close the connection with a WebSocket close code and reason (RFC 6455 §7.4; 4000–4999 are ours).
    Close(u16, String),
    /// Deliver [`Input::Tick`] at this period; 0 stops it. Bounded below by 100.
    TickEveryMs(u32),
    /// Ask the authentication policy: scheme (`token`, `none`), credentials, wanted room, wanted display name.
    Authenticate {
        /// `token` or `none`.
        scheme: String,
        /// What the client presented.
        #[cfg_attr(feature = "json", serde(with = "crate::json"))]
        credentials: Vec<u8>,
        /// Room it wants; `None`: the credentials say it.
        room: Option<String>,
        /// Name it wants to be shown by.
        name: Option<String>,
    },
    /// Join the room of the grant.
    Join,
    /// Leave it; the connection stays. No input about the room is delivered after this.
    Leave,
    /// Publish: an SDP offer of the client, with the sources of its sections.
    AcceptOffer {
        /// SDP offer. A changed ICE ufrag restarts ICE (RFC 8839 §4.4.1.1.1).
        sdp: String,
        /// Sources by `mid`; sections not named are `Other`.
        sources: Vec<PublishedSource>,
    },
    /// The client's answer to [`Input::Offer`].
    AcceptAnswer {
        /// Echo of the offer's id.
        offer_id: u64,
        /// SDP answer.
        sdp: String,
    },
    /// Receive by an offer of the client's in place of the router's: WHEP. Its sections are filled by
    /// [`Action::Subscribe`], each with one track of its kind and codecs; without a free one that is
    /// refused. The router makes no offers as long as this transport lives.
    AcceptReceivingOffer {
        /// SDP offer. A changed ICE ufrag restarts ICE (RFC 8839 §4.4.1.1.1).
        sdp: String,
    },
    /// A trickled candidate (RFC 8838), the `candidate:` line.
    AddCandidate(Direction, String),
    /// Restart ICE on the subscribing transport: a new [`Input::Offer`] follows. Where the client offers,
    /// it restarts.
    RestartIce,
    /// Tear one transport down.
    CloseTransport(Direction),
    /// Receive a track.
    Subscribe(TrackId),
    /// Stop receiving it.
    Unsubscribe(TrackId),
    /// What the client would like of it.
    Wish(LayerWish),
    /// Mute or unmute one's own track; the host stops forwarding it.
    Mute(TrackId, bool),
    /// Stop publishing one's own track.
    Unpublish(TrackId),
    /// A data message through signaling; empty `to` = everybody in the room.
    SendData {
        /// Receivers.
        to: Vec<ParticipantId>,
        /// Label.
        label: String,
        /// Payload.
        #[cfg_attr(feature = "json", serde(with = "crate::json"))]
        payload: Vec<u8>,
    },
    /// To the instance of another client of the same plugin in the same room, as [`Input::Relayed`]; at
    /// most 128 KiB.
    SendTo(ParticipantId, Frame),
    /// Deliver these of the inputs that come often and not the others; all of them until this says otherwise.
    Notify(Notices),
    /// Start (true) or stop the room's recording; needs the grant's `record_control`, and the recording
    /// policy decides.
    RequestRecording(bool),
    /// Something this version has no case for.
    Extension(Extension),
}

/// A signaling protocol: one value per client connection.
pub trait Signaling {
    /// Handles one input and returns what the router shall do, in order.
    ///
    /// Never panics on anything a client can send.
    fn handle(&mut self, input: Input) -> Vec<Command>;
}

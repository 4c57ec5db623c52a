//! What is on the wire, as types: `docs/protocol-rooms.md` in Rust.

use std::collections::BTreeMap;
use std::fmt;

use rillway_plugin_sdk::signaling::{FailureCode, TransportState};
use rillway_plugin_sdk::types::{self, MediaKind, ParticipantId, TrackId};
use serde::de::{Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::direct::{Kind, Path, Reason};

/// WebSocket subprotocol a client must ask for.
pub const SUBPROTOCOL: &str = "rillway.rooms.v1";
/// Version in `joined`.
pub const VERSION: u32 = 1;

/// WebSocket close codes (RFC 6455 §7.4; 4000–4999 are the application's).
pub mod close {
    /// The client did not ask for this protocol ("policy violation").
    pub const NO_SUBPROTOCOL: u16 = 1008;
    /// Unauthenticated or forbidden.
    pub const FORBIDDEN: u16 = 4001;
    /// Removed from the room.
    pub const REMOVED: u16 = 4003;
    /// Full, draining or out of quota: another time or another node.
    pub const UNAVAILABLE: u16 = 4013;
}

/// Stable code of an `error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// `type` is not of this protocol.
    UnknownType,
    /// Not JSON, or a member is missing, misplaced or out of its bounds.
    BadMessage,
    /// Needs a room.
    NotJoined,
    /// Has a room.
    AlreadyJoined,
    /// The token proves nobody.
    Unauthenticated,
    /// The grant does not allow it.
    Forbidden,
    /// Quota used up.
    OverQuota,
    /// No such track, participant or transport.
    NotFound,
    /// SDP, candidate or argument makes no sense.
    Invalid,
    /// A bound was met.
    LimitExceeded,
    /// Not possible now.
    WrongState,
    /// Draining or overloaded.
    Unavailable,
    /// Fault of the router.
    Internal,
}

impl ErrorCode {
    /// All codes, in the order of the document.
    pub const ALL: [ErrorCode; 13] = [
        ErrorCode::UnknownType,
        ErrorCode::BadMessage,
        ErrorCode::NotJoined,
        ErrorCode::AlreadyJoined,
        ErrorCode::Unauthenticated,
        ErrorCode::Forbidden,
        ErrorCode::OverQuota,
        ErrorCode::NotFound,
        ErrorCode::Invalid,
        ErrorCode::LimitExceeded,
        ErrorCode::WrongState,
        ErrorCode::Unavailable,
        ErrorCode::Internal,
    ];
}

impl From<FailureCode> for ErrorCode {
    fn from(code: FailureCode) -> Self {
        match code {
            FailureCode::Forbidden => ErrorCode::Forbidden,
            FailureCode::NotFound => ErrorCode::NotFound,
            FailureCode::Invalid => ErrorCode::Invalid,
            FailureCode::LimitExceeded => ErrorCode::LimitExceeded,
            FailureCode::WrongState => ErrorCode::WrongState,
            FailureCode::Unavailable => ErrorCode::Unavailable,
            // `Internal`, and codes newer than this plugin.
            _ => ErrorCode::Internal,
        }
    }
}

/// An id as it stands in JSON: lower-case hexadecimal without leading zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WireId(pub u64);

impl From<TrackId> for WireId {
    fn from(id: TrackId) -> Self {
        WireId(id.0)
    }
}

impl From<ParticipantId> for WireId {
    fn from(id: ParticipantId) -> Self {
        WireId(id.0)
    }
}

impl fmt::Display for WireId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl Serialize for WireId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WireId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Id;
        impl Visitor<'_> for Id {
            type Value = WireId;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id string as the server gave it")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<WireId, E> {
                let id = u64::from_str_radix(text, 16).map(WireId);
                id.ok()
                    // One string for each id: no sign, no upper case, no leading zeros.
                    .filter(|id| id.to_string() == text)
                    .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Id)
    }
}

/// `source` of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A camera.
    Camera,
    /// A microphone.
    Microphone,
    /// A shared screen.
    Screen,
    /// The sound of a shared screen.
    ScreenAudio,
    /// Anything else.
    Other,
}

impl From<Source> for types::Source {
    fn from(source: Source) -> Self {
        match source {
            Source::Camera => types::Source::Camera,
            Source::Microphone => types::Source::Microphone,
            Source::Screen => types::Source::Screen,
            Source::ScreenAudio => types::Source::ScreenAudio,
            Source::Other => types::Source::Other,
        }
    }
}

impl From<types::Source> for Source {
    fn from(source: types::Source) -> Self {
        match source {
            types::Source::Camera => Source::Camera,
            types::Source::Microphone => Source::Microphone,
            types::Source::Screen => Source::Screen,
            types::Source::ScreenAudio => Source::ScreenAudio,
            types::Source::Other => Source::Other,
        }
    }
}

/// `direction` of a transport, seen from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the client.
    Publish,
    /// To the client.
    Subscribe,
}

impl From<Direction> for types::Direction {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Publish => types::Direction::Publish,
            Direction::Subscribe => types::Direction::Subscribe,
        }
    }
}

impl From<types::Direction> for Direction {
    fn from(direction: types::Direction) -> Self {
        match direction {
            types::Direction::Publish => Direction::Publish,
            types::Direction::Subscribe => Direction::Subscribe,
        }
    }
}

// ---- client → server ----

/// `join`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Join {
    /// Wanted room.
    pub room: String,
    /// Wanted display name.
    pub name: Option<String>,
    /// Credentials; without it the scheme `none` is asked for.
    pub token: Option<String>,
    /// Subscribe to everything; `true` when left out.
    pub auto_subscribe: Option<bool>,
    /// Can, and is willing to, send directly to the only other participant; `false` when left out.
    pub direct: Option<bool>,
}

/// Entry of `tracks` in `publish`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PublishedTrack {
    /// Media section (RFC 9143).
    pub mid: String,
    /// What it shows.
    pub source: Source,
}

/// `publish`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Publish {
    /// Offer.
    pub sdp: String,
    /// Sources by section.
    pub tracks: Vec<PublishedTrack>,
}

/// `unpublish`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Unpublish {
    /// Own track.
    pub track: WireId,
}

/// `answer`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Echo of the offer.
    pub offer_id: u64,
    /// Answer.
    pub sdp: String,
}

/// `candidate`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Candidate {
    /// Which transport.
    pub direction: Direction,
    /// `candidate:` line; empty = no more.
    pub candidate: String,
}

/// `restart` and `close`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct OneTransport {
    /// Which transport.
    pub direction: Direction,
}

/// `subscribe` and `unsubscribe`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Tracks {
    /// Which tracks.
    pub tracks: Vec<WireId>,
}

/// `wish`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Wish {
    /// Which track.
    pub track: WireId,
    /// Pixels; 0 or absent = any.
    pub width: Option<u16>,
    /// Pixels; 0 or absent = any.
    pub height: Option<u16>,
    /// Frames per second; 0 or absent = any.
    pub fps: Option<u16>,
    /// 0 (least, default) to 255.
    pub priority: Option<u8>,
    /// Send nothing.
    pub paused: Option<bool>,
}

/// `notify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Notify {
    /// Send `speakers`; absent = yes.
    pub speakers: Option<bool>,
    /// Send `layer`; absent = no.
    pub layers: Option<bool>,
}

/// `mute`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Mute {
    /// Own track.
    pub track: WireId,
    /// Muted from now on.
    pub muted: bool,
}

/// `record`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Record {
    /// Start, or stop.
    pub start: bool,
}

/// `data` of a client.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Data {
    /// Label.
    pub label: String,
    /// Payload that is text.
    pub text: Option<String>,
    /// Payload of any bytes (RFC 4648 §4).
    pub base64: Option<String>,
    /// Receivers; absent or empty = everybody.
    pub to: Option<Vec<WireId>>,
}

/// `direct-description`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DirectDescription {
    /// Which call.
    pub call: u64,
    /// Offer or answer.
    pub kind: Kind,
    /// Of the direct connection.
    pub sdp: String,
}

/// `direct-candidate`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DirectCandidate {
    /// Which call.
    pub call: u64,
    /// `candidate:` line; empty = no more.
    pub candidate: String,
    /// Media section.
    pub mid: Option<String>,
}

/// `direct-path`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct DirectPath {
    /// Which call.
    pub call: u64,
    /// How the client gets what the other one sends.
    pub path: Path,
}

// ---- server → client ----

/// Everything the server says.
#[derive(Debug, Serialize)]
#[serde(
    tag = "type",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
#[allow(missing_docs)] // The document describes each member.
pub enum ServerMessage<'a> {
    Joined {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        version: u32,
        room: &'a str,
        participant: Participant<'a>,
        participants: Vec<Participant<'a>>,
        tracks: Vec<Track<'a>>,
        grant: Grant,
        limits: Limits,
        ice_servers: Vec<IceServer<'a>>,
    },
    Left {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
    },
    Ok {
        id: u64,
    },
    Published {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        sdp: &'a str,
        tracks: Vec<MidTrack<'a>>,
    },
    Offer {
        offer_id: u64,
        sdp: &'a str,
        tracks: Vec<MidTrack<'a>>,
    },
    ParticipantJoined {
        participant: Participant<'a>,
    },
    ParticipantLeft {
        participant: WireId,
    },
    TrackPublished {
        track: Track<'a>,
    },
    TrackUnpublished {
        track: WireId,
    },
    Muted {
        track: WireId,
        muted: bool,
    },
    Transport {
        direction: Direction,
        state: &'static str,
    },
    Speakers {
        speakers: Vec<Speaker>,
    },
    Layer {
        track: WireId,
        spatial: Option<u8>,
        temporal: Option<u8>,
    },
    Data {
        from: WireId,
        label: &'a str,
        #[serde(flatten)]
        payload: Payload<'a>,
    },
    DataDropped {
        outgoing: bool,
        count: u64,
    },
    Recording {
        active: bool,
        by: Option<WireId>,
        tracks: Vec<WireId>,
    },
    Direct {
        call: u64,
        participant: WireId,
        offer: bool,
    },
    DirectDescription {
        call: u64,
        kind: Kind,
        sdp: &'a str,
    },
    DirectCandidate {
        call: u64,
        candidate: &'a str,
        mid: Option<&'a str>,
    },
    DirectPath {
        call: u64,
        path: Path,
    },
    DirectEnd {
        call: u64,
        reason: Reason,
    },
    Draining {
        deadline_ms: u64,
    },
    Removed {
        reason: &'a str,
    },
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
    },
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        code: ErrorCode,
        message: &'a str,
        fatal: bool,
    },
}

impl ServerMessage<'_> {
    /// As JSON text.
    pub fn to_json(&self) -> String {
        // These types hold no map with non-string keys and no failing serializer, so this cannot
        // fail; should it ever, the client is told instead of the router going down.
        serde_json::to_string(self).unwrap_or_else(|_| {
            r#"{"type":"error","code":"internal","message":"a message could not be written","fatal":false}"#
                .to_owned()
        })
    }
}

/// Payload of `data`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Payload<'a> {
    /// The bytes are UTF-8.
    Text(&'a str),
    /// They are not.
    Base64(String),
}

/// Entry of `speakers`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Speaker {
    /// Who.
    pub participant: WireId,
    /// 0 (silent) to 1 (loud), in hundredths.
    pub level: f64,
}

impl Speaker {
    /// From the router's scale of 0 to 127.
    pub fn new(participant: ParticipantId, level: u8) -> Self {
        let hundredths = (f64::from(level.min(127)) * 100.0 / 127.0).round();
        Speaker {
            participant: participant.into(),
            level: hundredths / 100.0,
        }
    }
}

/// Entry of `tracks` in `published` and `offer`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct MidTrack<'a> {
    /// Media section.
    pub mid: &'a str,
    /// What it carries; `null` when idle.
    pub track: Option<WireId>,
}

/// Participant object.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Participant<'a> {
    /// Its id.
    pub id: WireId,
    /// Identity from its grant.
    pub identity: &'a str,
    /// Display name from its grant.
    pub name: Option<&'a str>,
    /// Attributes from its grant; of equal keys the last counts.
    pub attributes: BTreeMap<&'a str, &'a str>,
    /// Unix milliseconds.
    pub joined_at_ms: u64,
}

impl<'a> From<&'a types::Participant> for Participant<'a> {
    fn from(p: &'a types::Participant) -> Self {
        let pairs = p.attributes.iter();
        Participant {
            id: p.id.into(),
            identity: &p.identity,
            name: p.name.as_deref(),
            attributes: pairs.map(|(k, v)| (k.as_str(), v.as_str())).collect(),
            joined_at_ms: p.joined_at_ms,
        }
    }
}

/// Track object.
#[derive(Debug, Serialize)]
pub struct Track<'a> {
    /// Its id.
    pub id: WireId,
    /// Publisher.
    pub participant: WireId,
    /// `audio` or `video`.
    pub kind: &'static str,
    /// Declared source.
    pub source: Source,
    /// Codec name; empty until negotiated.
    pub codec: &'a str,
    /// Muted by its publisher.
    pub muted: bool,
    /// Layers known so far.
    pub layers: Vec<Layer<'a>>,
}

impl<'a> From<&'a types::Track> for Track<'a> {
    fn from(t: &'a types::Track) -> Self {
        Track {
            id: t.id.into(),
            participant: t.owner.into(),
            kind: match t.kind {
                MediaKind::Audio => "audio",
                MediaKind::Video => "video",
            },
            source: t.source.into(),
            codec: &t.codec,
            muted: t.muted,
            layers: t.layers.iter().map(Layer::from).collect(),
        }
    }
}

/// Entry of `layers`.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer<'a> {
    /// 0 = smallest.
    pub spatial: u8,
    /// 0 = base.
    pub temporal: u8,
    /// RTP stream id (RFC 8851).
    pub rid: Option<&'a str>,
    /// Bits per second.
    pub bitrate_bps: u32,
    /// Packets arrive.
    pub active: bool,
}

impl<'a> From<&'a types::Layer> for Layer<'a> {
    fn from(l: &'a types::Layer) -> Self {
        Layer {
            spatial: l.spatial,
            temporal: l.temporal,
            rid: l.rid.as_deref(),
            bitrate_bps: l.bitrate_bps,
            active: l.active,
        }
    }
}

/// `grant` of `joined`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// Sources it may publish.
    pub publish: Vec<Source>,
    /// May receive.
    pub subscribe: bool,
    /// May send data.
    pub publish_data: bool,
    /// May control recordings.
    pub record_control: bool,
    /// Bits per second.
    pub max_publish_bps: Option<u64>,
    /// Unix milliseconds.
    pub expires_at_ms: Option<u64>,
}

impl From<&types::Grant> for Grant {
    fn from(g: &types::Grant) -> Self {
        Grant {
            publish: g.publish.iter().map(|s| Source::from(*s)).collect(),
            subscribe: g.subscribe,
            publish_data: g.publish_data,
            record_control: g.record_control,
            max_publish_bps: g.max_publish_bps,
            expires_at_ms: g.expires_at_ms,
        }
    }
}

/// `limits` of `joined`.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Largest data message, bytes.
    pub data_message_bytes: u32,
    /// Data a participant may send.
    pub data_bytes_per_second: u32,
    /// Largest SDP, bytes.
    pub sdp_bytes: u32,
    /// Tracks it may publish.
    pub tracks_per_participant: u16,
    /// Tracks it may receive.
    pub subscriptions_per_participant: u16,
}

impl From<&types::Limits> for Limits {
    fn from(l: &types::Limits) -> Self {
        Limits {
            data_message_bytes: l.data_message_bytes,
            data_bytes_per_second: l.data_bytes_per_second,
            sdp_bytes: l.sdp_bytes,
            tracks_per_participant: l.tracks_per_participant,
            subscriptions_per_participant: l.subscriptions_per_participant,
        }
    }
}

/// `RTCIceServer`.
#[derive(Debug, Clone, Serialize)]
pub struct IceServer<'a> {
    /// URLs (RFC 7064, 7065).
    pub urls: &'a [String],
    /// TURN user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<&'a str>,
    /// TURN credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<&'a str>,
}

impl<'a> From<&'a types::IceServer> for IceServer<'a> {
    fn from(s: &'a types::IceServer) -> Self {
        IceServer {
            urls: &s.urls,
            username: s.username.as_deref(),
            credential: s.credential.as_deref(),
        }
    }
}

/// `state` of `transport`, as `RTCPeerConnectionState`.
pub(crate) fn state_name(state: TransportState) -> &'static str {
    match state {
        TransportState::New => "new",
        TransportState::Connecting => "connecting",
        TransportState::Connected => "connected",
        TransportState::Disconnected => "disconnected",
        TransportState::Failed => "failed",
        TransportState::Closed => "closed",
    }
}

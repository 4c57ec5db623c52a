//! Values shared by all policy interfaces. WIT: `rillway:policy/types`.

/// Names a participant for as long as the router runs; never reused. Opaque;
/// at most 2^53 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct ParticipantId(pub u64);

/// Names a published track for as long as the router runs; never reused. Opaque;
/// at most 2^53 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct TrackId(pub u64);

/// Named facts; the way in which records grow. Unknown names are to be ignored.
pub type Attributes = Vec<(String, String)>;

/// Audio or video (RFC 8866 media type).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum MediaKind {
    /// An audio track.
    Audio,
    /// A video track.
    Video,
}

/// Where a track's content comes from, as its publisher declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Source {
    /// A camera.
    Camera,
    /// A microphone.
    Microphone,
    /// A shared screen or window.
    Screen,
    /// The sound that belongs to a shared screen.
    ScreenAudio,
    /// Anything else.
    Other,
}

/// A participant has at most two transports, one for each direction (as WHIP and WHEP imply).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Direction {
    /// Media and data from the client; the client offers.
    Publish,
    /// Media to the client; the router offers.
    Subscribe,
}

/// What an authenticated client may do. The host enforces it; no grant means no.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Grant {
    /// The only room this grant admits to.
    pub room: String,
    /// Who the client is; unique in the room if `exclusive` behaviour is wanted by the operator.
    pub identity: String,
    /// Display name, at most 128 bytes of UTF-8.
    pub name: Option<String>,
    /// Sources it may publish.
    pub publish: Vec<Source>,
    /// Whether it may receive tracks.
    pub subscribe: bool,
    /// Whether it may send data messages.
    pub publish_data: bool,
    /// Whether it may start and stop recordings.
    pub record_control: bool,
    /// Bound on its published bit rate, bits per second.
    pub max_publish_bps: Option<u64>,
    /// Unix milliseconds; the host removes the participant then.
    pub expires_at_ms: Option<u64>,
    /// Free attributes, shown to the room.
    pub attributes: Attributes,
}

/// One layer of a video track, as measured.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Layer {
    /// Spatial index, 0 = smallest.
    pub spatial: u8,
    /// Temporal index, 0 = base.
    pub temporal: u8,
    /// RTP stream id (RFC 8851) where simulcast uses one.
    pub rid: Option<String>,
    /// Pixels; 0 = not known.
    pub width: u16,
    /// Pixels; 0 = not known.
    pub height: u16,
    /// Frames per second over the last second; 0 = not known.
    pub fps: u16,
    /// Measured bit rate, bits per second.
    pub bitrate_bps: u32,
    /// Whether packets arrived in the last second.
    pub active: bool,
}

/// A published track.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Track {
    /// Its id.
    pub id: TrackId,
    /// Who publishes it.
    pub owner: ParticipantId,
    /// Audio or video.
    pub kind: MediaKind,
    /// Declared source.
    pub source: Source,
    /// Codec name as in SDP (`VP8`, `opus`, …); empty until negotiated.
    pub codec: String,
    /// The payload is end-to-end encrypted: only headers can be read.
    pub encrypted: bool,
    /// Muted by its publisher.
    pub muted: bool,
    /// Layers known so far.
    pub layers: Vec<Layer>,
    /// Further facts.
    pub attributes: Attributes,
}

/// A participant of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Participant {
    /// Its id.
    pub id: ParticipantId,
    /// Identity from its grant.
    pub identity: String,
    /// Display name from its grant.
    pub name: Option<String>,
    /// Attributes from its grant.
    pub attributes: Attributes,
    /// Unix milliseconds.
    pub joined_at_ms: u64,
}

/// Bounds the host enforces, told to clients so that well-behaved ones never meet them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Limits {
    /// Largest data message, bytes of payload.
    pub data_message_bytes: u32,
    /// Data a participant may send, bytes per second (token bucket; the burst is one second's worth).
    pub data_bytes_per_second: u32,
    /// Largest SDP, bytes.
    pub sdp_bytes: u32,
    /// Tracks one participant may publish.
    pub tracks_per_participant: u16,
    /// Tracks one participant may subscribe to at once.
    pub subscriptions_per_participant: u16,
}

/// A STUN or TURN server a client should use (RFC 7064, 7065).
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct IceServer {
    /// `stun:`, `turn:` or `turns:` URLs.
    pub urls: Vec<String>,
    /// TURN user name.
    pub username: Option<String>,
    /// TURN credential.
    pub credential: Option<String>,
}

/// Why authentication said no.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Denial {
    /// The credentials prove nobody.
    Unauthenticated(String),
    /// They prove somebody who may not do this.
    Forbidden(String),
    /// A quota is used up; trying later may help.
    OverQuota(String),
    /// The decision could not be made now.
    Unavailable(String),
}

/// A fact or wish that the ABI has no case for. A receiver that does not know the name ignores it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Extension {
    /// Lower-case words with dashes, at most 64 bytes.
    pub name: String,
    /// JSON, at most 16 KiB.
    pub json: String,
}

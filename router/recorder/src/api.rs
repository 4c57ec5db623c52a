//! What goes into the recorder and what comes out, beside packets.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// A published track, as the router numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId(pub u64);

/// A participant, as the router numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParticipantId(pub u64);

/// How a payload is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// RFC 7741.
    Vp8,
    /// RFC 9628.
    Vp9,
    /// AV1 RTP payload specification 1.0.
    Av1,
    /// RFC 6184.
    H264,
    /// RFC 7587.
    Opus,
    /// Anything else: only an RTP dump can hold it.
    Other,
}

/// A packet of a recorded track: one stream per track, whatever layers it came from.
#[derive(Debug, Clone)]
pub struct Packet {
    /// Extended; rises by one per packet of the stream, across layer switches. A hole is a loss, unless the
    /// packet comes later (reordered or retransmitted).
    pub sequence: u64,
    /// In units of `clock_rate`, continuous across layer switches.
    pub timestamp: u32,
    /// Of `timestamp`, Hz.
    pub clock_rate: u32,
    /// When it was captured, by the router's clock, from the publisher's sender reports: what audio and
    /// video of one participant are aligned by (RFC 3550 §6.4.1). May move by some milliseconds as reports
    /// come in; the time of arrival itself before the first one.
    pub captured: Instant,
    /// When it arrived.
    pub arrived: Instant,
    /// RTP marker bit.
    pub marker: bool,
    /// RTP payload type, as published.
    pub payload_type: u8,
    /// Codec.
    pub codec: Codec,
    /// It begins a keyframe.
    pub keyframe: bool,
    /// It is the first of another source (a layer switch, a new SSRC): what came before it is complete as
    /// far as it will ever be. Always with a keyframe for video.
    pub switched: bool,
    /// Payload; empty: padding that only uses up a sequence number.
    pub payload: Arc<[u8]>,
}

/// Into what a track is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Container {
    /// Fragmented MP4.
    Mp4,
    /// WebM.
    Webm,
    /// RTP packets as they came.
    RtpDump,
}

impl Container {
    /// How names of its files end, without the dot.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Webm => "webm",
            Self::RtpDump => "rtpd",
        }
    }

    /// The container of a file with this name.
    #[must_use]
    pub fn of_extension(name: &str) -> Option<Self> {
        let (_, extension) = name.rsplit_once('.')?;
        let all = [Self::Mp4, Self::Webm, Self::RtpDump];
        all.into_iter().find(|c| c.extension() == extension)
    }
}

/// Audio or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// An audio track.
    Audio,
    /// A video track.
    Video,
}

/// A track whose recording starts.
#[derive(Debug, Clone)]
pub struct Start {
    /// Name of its room: everything of one room is described by one sidecar.
    pub room: Arc<str>,
    /// Track.
    pub track: TrackId,
    /// Its publisher.
    pub owner: ParticipantId,
    /// The publisher's identity, for the sidecar.
    pub identity: Arc<str>,
    /// Audio or video.
    pub kind: MediaKind,
    /// `camera`, `microphone`, …, for the sidecar.
    pub source: &'static str,
    /// Into what.
    pub container: Container,
    /// Wanted name. Tracks of one publisher that start under one name and in one container share a file,
    /// synchronized by their capture times.
    pub name: Box<str>,
    /// A new file begins at the first keyframe after this time.
    pub segment: Option<Duration>,
    /// Given back with the file.
    pub attributes: Vec<(String, String)>,
}

/// What may change while a recorder runs; as with the settings that it was started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Below so much free space nothing starts, and what runs is finished.
    pub free_bytes_least: u64,
    /// Files being written at once. Those beyond it that are being written go on.
    pub files_max: usize,
    /// What is written is made durable once in this time.
    pub sync_interval: Duration,
}

/// What the control side orders.
#[derive(Debug, Clone)]
pub enum Order {
    /// Record a track.
    Start(Box<Start>),
    /// The track is recorded no more: by order, or because it ended. Its file is closed when it was the
    /// last one in it.
    Stop(TrackId),
    /// Other bounds from now on.
    Bounds(Bounds),
    /// The room is gone; its sidecar is closed when its files are.
    RoomClosed(Arc<str>),
}

/// A file that is complete, for one of its tracks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Track.
    pub track: TrackId,
    /// Path beneath the root.
    pub name: String,
    /// Size.
    pub bytes: u64,
    /// Of the track in it.
    pub duration: Duration,
    /// SHA-256 of the file, lower-case hexadecimal.
    pub sha256: String,
    /// As with the start.
    pub attributes: Vec<(String, String)>,
}

/// What kind of reason ended a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureCause {
    /// There is no room on the disk, or less than is to be left.
    DiskFull,
    /// The disk cannot be written to, for another reason.
    DiskFault,
    /// As many files are written as may be.
    Overload,
    /// The container cannot hold what the track sends, or that cannot be read.
    Unsupported,
    /// The recorder is about to end.
    Unavailable,
}

/// What the recorder tells the control side.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The first frame of a track is in a file.
    Started(TrackId),
    /// A keyframe is wanted: a recording begins, a segment is full, or frames were lost.
    KeyframeWanted(TrackId),
    /// A file is complete.
    Finished(Finished),
    /// Recording a track ended against the order: why, and that for people.
    Failed(TrackId, FailureCause, String),
}

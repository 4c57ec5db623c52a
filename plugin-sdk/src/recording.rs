//! The recording interface: what is recorded. WIT: `rillway:policy/recording`.
//!
//! A [`Recorder`] keeps the books for a policy that has only to say which tracks it wants, and [`Files`] is
//! the part of its configuration that says how they are written. The shipped `record-all` and
//! `record-on-request` are made of these.

mod files;
mod name;
mod recorder;

pub use files::Files;
pub use name::{NamePattern, Named};
pub use recorder::Recorder;

use crate::types::{Attributes, Participant, ParticipantId, Track, TrackId};

/// Somebody who may asked for the recording to start or stop.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Request {
    /// Start, or stop.
    pub start: bool,
    /// Which participant asked; `None`: an operator did.
    pub by: Option<ParticipantId>,
    /// Further facts.
    pub attributes: Attributes,
}

/// A complete file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Finished {
    /// What was recorded.
    pub track: TrackId,
    /// Path beneath the recording root.
    pub name: String,
    /// Size.
    pub bytes: u64,
    /// Length, milliseconds.
    pub duration_ms: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Further facts.
    pub attributes: Attributes,
}

/// What is being recorded, ordered by an instance before.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Recorded {
    /// Which.
    pub track: TrackId,
    /// As wanted by [`Start`].
    pub name: String,
    /// As with [`Start`].
    pub attributes: Attributes,
}

/// What kind of reason ended a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum FailureCause {
    /// There is no room on the disk, or less than the operator wants to be left.
    DiskFull,
    /// The disk cannot be written to, for another reason.
    DiskFault,
    /// More is recorded than the disk or the recorder keeps up with.
    Overload,
    /// The payload is end-to-end encrypted, and the container is none for that.
    Encrypted,
    /// The container has no mapping for the codec.
    Unsupported,
    /// The router has no recorder, or is about to end.
    Unavailable,
    /// Anything else.
    Other,
}

/// Recording a track ended for a reason of the router's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Failure {
    /// Which.
    pub track: TrackId,
    /// What kind of reason.
    pub cause: FailureCause,
    /// For people.
    pub message: String,
}

/// What happened in the room.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Event {
    /// First event of every instance: the room's name.
    RoomOpened(String),
    /// Somebody joined.
    ParticipantJoined(Participant),
    /// Somebody left.
    ParticipantLeft(ParticipantId),
    /// A track was published.
    TrackPublished(Track),
    /// A track ended.
    TrackUnpublished(TrackId),
    /// A track was muted (true) or unmuted.
    TrackMuted(TrackId, bool),
    /// Who speaks, loudest first, when that changes.
    Speakers(Vec<ParticipantId>),
    /// The recording is asked for, or its end.
    Requested(Request),
    /// The first frame of a track is in a file.
    Started(TrackId),
    /// A file is complete.
    Finished(Finished),
    /// Recording a track ended for a reason of the router's.
    Failed(Failure),
    /// What is being recorded, ordered by an instance before this one: comes once, after the participants and
    /// tracks that the room had before.
    Recording(Vec<Recorded>),
    /// As asked for by [`Order::TickEveryMs`].
    Tick,
    /// Last event of every instance.
    RoomClosed,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Container {
    /// Fragmented MP4: video and Opus of one participant in one file.
    Mp4,
    /// WebM, where the codec has no mapping to MP4.
    Webm,
    /// RTP packets as they came.
    RtpDump,
}

/// Record a track.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Start {
    /// Which.
    pub track: TrackId,
    /// Into what.
    pub container: Container,
    /// Wanted name, of which the router makes a safe one beneath its root; at most 128 bytes. Tracks of one
    /// participant that are started under one name and in one container share a file.
    pub name: String,
    /// Begin a new file after this many seconds, at a keyframe; 0 = never.
    pub max_segment_s: u32,
    /// Further wishes.
    pub attributes: Attributes,
}

/// What the router shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Order {
    /// Record a track.
    Start(Start),
    /// Stop recording it.
    Stop(TrackId),
    /// Deliver [`Event::Tick`] at this period, 1,000 or more; 0 stops it.
    TickEveryMs(u32),
}

/// Decides what is recorded; one value per room.
pub trait Recording {
    /// Decides.
    fn decide(&mut self, event: Event) -> Vec<Order>;
}

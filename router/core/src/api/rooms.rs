//! Rooms as the control side sees them: what it hears of them, and what it may order.
//!
//! Nothing is told of a room before it is watched, except that it opened and closed, and that only after
//! [`crate::Shard::announce_rooms`].

use std::sync::Arc;
use std::time::Duration;

use super::{ParticipantInfo, TrackInfo, Wish};
use crate::id::{ParticipantId, RoomId, TrackId};

/// Something about a room, not addressed to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomEvent {
    /// Which.
    pub room: RoomId,
    /// What.
    pub kind: RoomEventKind,
}

/// The kind of a [`RoomEvent`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomEventKind {
    /// The room exists.
    Opened {
        /// Its name.
        name: String,
    },
    /// Somebody joined, or was there when the watch began.
    Joined(ParticipantInfo),
    /// Somebody left; their tracks ended before.
    Left(ParticipantId),
    /// A track was published, or was there when the watch began.
    Published(TrackInfo),
    /// A track ended.
    Unpublished(TrackId),
    /// A track was muted (true) or unmuted.
    Muted(TrackId, bool),
    /// Who speaks, loudest first.
    Speakers(Vec<ParticipantId>),
    /// A track is recorded no more: by order, or because it ended. What was recorded of it has left the
    /// shard with this turn or before.
    RecordingEnded(TrackId),
    /// An order to record a track was refused, for a reason given for people.
    RecordingRefused(TrackId, String),
    /// What the room's layer policy decides from.
    View(Box<RoomView>),
    /// The room exists no more.
    Closed,
}

/// The video of a room: who could get what, and who gets what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoomView {
    /// Grows by one with each view of the room; [`Choices`] name the view they answer.
    pub sequence: u64,
    /// Milliseconds since the shard began.
    pub now_ms: u64,
    /// Video tracks, with their layers as measured.
    pub tracks: Vec<TrackInfo>,
    /// Who receives video.
    pub subscribers: Vec<SubscriberView>,
    /// Who speaks, loudest first.
    pub speakers: Vec<ParticipantId>,
}

/// A receiver of video.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriberView {
    /// Who.
    pub id: ParticipantId,
    /// What its network can carry, all media together, bits per second; `None`: not measured.
    pub estimate_bps: Option<u32>,
    /// What its audio takes of that, bits per second.
    pub audio_bps: u32,
    /// Round trip, milliseconds; 0 = not measured.
    pub rtt_ms: u16,
    /// Packets lost of a thousand, lately.
    pub loss_permille: u16,
    /// Its subscriptions to video.
    pub subscriptions: Vec<SubscriptionView>,
}

/// A subscription to video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionView {
    /// The track, and what the client would like of it.
    pub wish: Wish,
    /// Spatial index forwarded now; `None`: nothing is.
    pub spatial: Option<u8>,
    /// Temporal index forwarded now.
    pub temporal: Option<u8>,
}

/// What the control side wants of a room. One that exists no more ignores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomOrder {
    /// Which.
    pub room: RoomId,
    /// What.
    pub kind: RoomOrderKind,
}

/// The kind of a [`RoomOrder`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomOrderKind {
    /// Tell what happens in the room: first who and what is there, then every change.
    WatchEvents,
    /// A layer policy outside the core decides: send it views, at most one in this time (bounded by
    /// [`crate::limits::VIEW_INTERVAL_LEAST`]). The built-in policy decides until it does.
    WatchLayers {
        /// Least time between two views.
        every: Duration,
    },
    /// The built-in layer policy decides from now on, and no views are sent.
    LeaveLayers,
    /// Send the layer policy a view even if nothing changed: another instance decides.
    ShowAgain,
    /// What the layer policy chose.
    Choose(Choices),
    /// The layer policy failed: what it chose is forgotten and the built-in one decides, until choices
    /// come again.
    PolicyFailed,
    /// Record a track, in the best layer that is being sent: its packets come out of
    /// [`crate::Shard::drain_recorded`] until [`RoomEventKind::RecordingEnded`]. Answered by
    /// [`RoomEventKind::RecordingRefused`] if the track is not published in the room, or is recorded.
    Record(TrackId),
    /// Record a track no more. Answered by [`RoomEventKind::RecordingEnded`] if it was recorded.
    StopRecording(TrackId),
    /// The recorder needs a keyframe of a track. Ignored if it is not recorded.
    AskKeyframe(TrackId),
}

/// A layer policy's answer to one view, also if it chose nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    /// [`RoomView::sequence`] of what it decided from.
    pub view: u64,
    /// Name and version of the policy, for whoever asks why.
    pub policy: Arc<str>,
    /// Subscriptions not named keep what was chosen for them.
    pub choices: Vec<Choice>,
}

/// A decision about one subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Whose.
    pub subscriber: ParticipantId,
    /// To which track.
    pub track: TrackId,
    /// Highest spatial index to forward; the next lower one that is active and fits is taken.
    pub spatial: u8,
    /// Highest temporal index to forward.
    pub temporal: u8,
    /// Forward nothing.
    pub paused: bool,
    /// Why; cut to [`crate::limits::REASON_BYTES`].
    pub reason: String,
}

/// Who decided about a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decider {
    /// The policy of the core.
    BuiltIn,
    /// A policy by name and version.
    Policy(Arc<str>),
}

/// Why a subscriber gets what it gets of a track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The track.
    pub track: TrackId,
    /// Who decided what was wanted.
    pub by: Decider,
    /// Their reason.
    pub reason: String,
    /// Spatial index wanted; `None`: nothing.
    pub wanted: Option<u8>,
    /// Spatial index allowed by the estimate of the subscriber's network; `None`: no bound.
    pub fits: Option<Fit>,
    /// Spatial index forwarded now; `None`: nothing is.
    pub forwarded: Option<u8>,
}

/// What the estimate of a subscriber's network leaves room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// This spatial index at most.
    Layer(u8),
    /// Not even the smallest layer.
    Nothing,
}

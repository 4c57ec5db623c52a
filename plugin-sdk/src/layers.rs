//! The layer-selection interface: which layer of each video track each subscriber gets.
//! WIT: `rillway:policy/layer-selection`.
//!
//! A choice is a ceiling, so a policy need not reckon with networks. One that wants to, to say itself who
//! gets what of a network that does not carry everything, finds here what that takes: a [`Ladder`] says what
//! can be had of a track and what it costs, and a [`Viewer`] shares out an estimate so that pictures keep
//! still while it wavers. A policy for large rooms asks to be shown just what changed ([`Scope::Changes`]) and
//! keeps a [`Room`]. The shipped `layers-adaptive` and `layers-speaker` are made of these.

mod ladder;
mod room;
mod share;
#[cfg(test)]
mod tests;

pub use ladder::{Ladder, Rung, Steps};
pub use room::{News, Room};
pub use share::{Ask, Caution, Viewer};

use crate::types::{Attributes, ParticipantId, Track, TrackId};

/// A subscription to a video track, with what the client would like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Subscription {
    /// The track.
    pub track: TrackId,
    /// Size it is shown at, pixels; 0 = any.
    pub width: u16,
    /// Size it is shown at, pixels; 0 = any.
    pub height: u16,
    /// Frames per second; 0 = any.
    pub fps: u16,
    /// 0 = least important.
    pub priority: u8,
    /// The client wants none of it now.
    pub paused: bool,
    /// Spatial index it gets now; `None` while nothing is forwarded.
    pub spatial: Option<u8>,
    /// Temporal index it gets now.
    pub temporal: Option<u8>,
}

/// Somebody who receives video.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Subscriber {
    /// Who.
    pub id: ParticipantId,
    /// What its network can carry, all media together, bits per second; `None` until measured.
    pub estimate_bps: Option<u32>,
    /// What its audio takes of that, bits per second.
    pub audio_bps: u32,
    /// Round trip, milliseconds; 0 = not measured.
    pub rtt_ms: u16,
    /// Packets lost of a thousand, over the last seconds.
    pub loss_permille: u16,
    /// Its subscriptions to video.
    pub subscriptions: Vec<Subscription>,
    /// Further facts.
    pub attributes: Attributes,
}

/// How much of a room a [`View`] shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
pub enum Scope {
    /// All of it.
    #[default]
    Whole,
    /// What is new or changed since the view before, and who and what is gone. Measured numbers that moved
    /// by less than a sixteenth or so have not changed: they are told when it adds up to more.
    Changes,
}

/// A room as the policy sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct View {
    /// Milliseconds since an arbitrary moment; never goes back.
    pub now_ms: u64,
    /// What `tracks` and `subscribers` hold: the whole room unless the policy asked for changes
    /// ([`LayerSelection::next`]), and sometimes then.
    pub scope: Scope,
    /// Video tracks with their layers as measured, in the order in which they were published; new ones come
    /// after those known.
    pub tracks: Vec<Track>,
    /// In [`Scope::Changes`]: tracks of the view before that there are no more.
    pub tracks_gone: Vec<TrackId>,
    /// Who subscribes to video, each with all its subscriptions.
    pub subscribers: Vec<Subscriber>,
    /// In [`Scope::Changes`]: subscribers of the view before that there are no more.
    pub subscribers_gone: Vec<ParticipantId>,
    /// Subscriptions of the whole room, whatever the view shows. There may be as many choices.
    pub subscriptions: u32,
    /// Who speaks, loudest first; always all.
    pub speakers: Vec<ParticipantId>,
    /// Further facts; always all.
    pub attributes: Attributes,
}

/// A decision about one subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Choice {
    /// Whose subscription.
    pub subscriber: ParticipantId,
    /// To which track.
    pub track: TrackId,
    /// The highest spatial index to forward; the router takes the next lower one that it may and can.
    pub spatial: u8,
    /// The highest temporal index to forward.
    pub temporal: u8,
    /// Forward nothing of it.
    pub paused: bool,
    /// Why, for people; at most 128 bytes.
    pub reason: String,
}

/// What a policy answers to a view.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Decision {
    /// Subscriptions that are not named keep what they have.
    pub choices: Vec<Choice>,
    /// What the next view is to show.
    pub next: Scope,
}

/// Chooses layers; one value per room.
pub trait LayerSelection {
    /// Subscriptions that are not named keep what they have.
    fn choose(&mut self, view: View) -> Vec<Choice>;

    /// What the next view is to show; asked after each call. A policy that answers [`Scope::Changes`] keeps
    /// the room itself, in a [`Room`]; its calls cost what changed, not what the room is large.
    fn next(&self) -> Scope {
        Scope::Whole
    }
}

//! What operators see of a shard and may do to it: pages of its tables, and a few orders.
//!
//! A page is built within one turn, so its work is bounded: [`ITEMS_PER_PAGE`] and
//! [`SCANNED_PER_PAGE`]. Between two pages the tables may change; whoever was there all the time is
//! seen exactly once.

use std::net::SocketAddr;

use crate::api::{ParticipantInfo, TrackInfo, TransportState, Wish};
use crate::id::{ParticipantId, TrackId};

/// Items one page has at most. At about a microsecond each, below what a few packets cost.
pub const ITEMS_PER_PAGE: usize = 256;

/// Table entries looked at for one page at most; an entry costs a few nanoseconds.
pub const SCANNED_PER_PAGE: usize = 4_096;

/// Participants one [`Order::CloseRoom`] removes at most: each says goodbye to its client, which costs
/// tens of microseconds.
pub const REMOVED_PER_ORDER: usize = 32;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Every room.
    Rooms,
    /// Participants of a room, or all.
    Participants {
        /// Name of the room.
        room: Option<String>,
    },
    /// Tracks of a room, or all.
    Tracks {
        /// Name of the room.
        room: Option<String>,
    },
    /// Subscriptions of a room, of a participant, or all.
    Subscriptions {
        /// Name of the room.
        room: Option<String>,
        /// The receiver.
        participant: Option<ParticipantId>,
    },
}

/// A part of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What was found.
    pub items: Items,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<u32>,
}

/// Items of a [`Page`], of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Items {
    /// For [`Query::Rooms`].
    Rooms(Vec<RoomView>),
    /// For [`Query::Participants`].
    Participants(Vec<ParticipantView>),
    /// For [`Query::Tracks`].
    Tracks(Vec<TrackView>),
    /// For [`Query::Subscriptions`].
    Subscriptions(Vec<SubscriptionView>),
}

/// A room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomView {
    /// Name.
    pub name: String,
    /// Participants in it.
    pub participants: u32,
    /// Tracks they publish.
    pub tracks: u32,
    /// Subscriptions they have.
    pub subscriptions: u32,
    /// Media that arrives for it, bits per second over the last second.
    pub received_bps: u64,
}

/// A participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParticipantView {
    /// What others in the room see of it.
    pub info: ParticipantInfo,
    /// Name of its room.
    pub room: String,
    /// Unix milliseconds at which its grant ends.
    pub expires_at_ms: Option<u64>,
    /// Transport from it.
    pub publish: Option<TransportView>,
    /// Transport to it.
    pub subscribe: Option<TransportView>,
    /// Tracks it publishes.
    pub tracks: u32,
    /// Subscriptions it has.
    pub subscriptions: u32,
}

/// A transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportView {
    /// State.
    pub state: TransportState,
    /// Addresses in use, the router's as bound and the client's; `None` before ICE has found a path.
    pub path: Option<(SocketAddr, SocketAddr)>,
    /// That path is a TCP connection.
    pub tcp: bool,
    /// What the way to the client carries; `None` for the transport from it.
    pub network: Option<NetworkView>,
}

/// The network toward a client, by what it reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkView {
    /// Bits per second that it can carry; `None`: not measured.
    pub estimate_bps: Option<u32>,
    /// What made the estimate.
    pub bounds: EstimateBounds,
    /// How much longer packets take than the fastest of the last seconds, milliseconds: the queue on the way.
    pub queue_ms: u16,
    /// Round trip, milliseconds; 0: not measured.
    pub rtt_ms: u16,
    /// Packets lost of a thousand, over the last second.
    pub loss_permille: u16,
}

/// The bounds of an estimate, bits per second: the lowest of the first, second and fourth is in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EstimateBounds {
    /// By the delays of packets; `None`: the client sends no transport-wide feedback.
    pub delay_bps: Option<u32>,
    /// By their loss; `None`: it bounds nothing.
    pub loss_bps: Option<u32>,
    /// What the last burst that asked the network has shown; `None`: none was answered.
    pub probe_bps: Option<u32>,
    /// What the client says itself (REMB); `None`: nothing, or too long ago.
    pub remb_bps: Option<u32>,
}

/// A track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackView {
    /// What others in the room see of it.
    pub info: TrackInfo,
    /// Name of its room.
    pub room: String,
    /// Identity of its publisher.
    pub identity: String,
    /// Pixels of each layer of `info.layers`, by the same index; `None` until known.
    pub sizes: Vec<Option<(u16, u16)>>,
    /// Subscriptions to it.
    pub subscriptions: u32,
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionView {
    /// Name of its room.
    pub room: String,
    /// The receiver.
    pub subscriber: ParticipantId,
    /// Identity of the receiver.
    pub identity: String,
    /// The track.
    pub track: TrackId,
    /// The publisher.
    pub publisher: ParticipantId,
    /// Identity of the publisher.
    pub publisher_identity: String,
    /// Whether it is video.
    pub video: bool,
    /// What the receiver would like.
    pub wish: Wish,
    /// Whether a media section is in force for it.
    pub negotiated: bool,
    /// Spatial index of the layer forwarded now.
    pub spatial: Option<u8>,
    /// Spatial index of the layer to be forwarded from its next keyframe on.
    pub target: Option<u8>,
    /// Nothing is forwarded, by decision of the layer policy or because it does not fit the network.
    pub held: bool,
}

/// What operators may do to a shard. No grant is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Takes a participant out of its room.
    Kick {
        /// Who.
        participant: ParticipantId,
        /// What it is told.
        reason: String,
    },
    /// Takes up to [`REMOVED_PER_ORDER`] participants out of a room; repeat it until none is left.
    CloseRoom {
        /// Name.
        room: String,
        /// What they are told.
        reason: String,
    },
    /// Mutes or unmutes a track for everybody. Its publisher may change it again.
    Mute {
        /// Which.
        track: TrackId,
        /// Or unmute.
        muted: bool,
    },
}

/// What came of an [`Order`] that was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Participants removed.
    pub removed: u32,
    /// Participants still to be removed.
    pub left: u32,
}

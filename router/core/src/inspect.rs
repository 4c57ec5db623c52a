//! What operators see of a shard and may do to it: pages of its tables, and a few orders.
//!
//! A page is built within one turn, so its work is bounded: [`ITEMS_PER_PAGE`] and
//! [`SCANNED_PER_PAGE`]. Between two pages the tables may change; whoever was there all the time is
//! seen exactly once.

use std::net::SocketAddr;
use std::time::Duration;

use crate::api::{Decider, Fit, ParticipantInfo, TrackInfo, TransportState, Wish};
use crate::id::{ParticipantId, TrackId};

/// Items one page has at most. At about a microsecond each, below what a few packets cost.
pub const ITEMS_PER_PAGE: usize = 256;

/// Table entries looked at for one page at most; an entry costs a few nanoseconds.
pub const SCANNED_PER_PAGE: usize = 4_096;

/// Items of [`Query::Reasons`] one page has at most: each is a subscription, a track, and some decisions with
/// their texts.
pub const REASONS_PER_PAGE: usize = 16;

/// Participants one [`Order::CloseRoom`] removes at most: each says goodbye to its client, which costs
/// tens of microseconds.
pub const REMOVED_PER_ORDER: usize = 32;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// The room of a name, or every room.
    Rooms {
        /// Name.
        name: Option<String>,
    },
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
    /// Why a participant gets what it gets: of a track, or of all that it subscribes to.
    Reasons {
        /// The receiver.
        participant: ParticipantId,
        /// Only of this track.
        track: Option<TrackId>,
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
    /// For [`Query::Reasons`].
    Reasons(Vec<ReasonView>),
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
    /// What went over the transports of everybody who is in it, or was, since it opened.
    pub traffic: Traffic,
}

impl RoomView {
    /// Adds what is in another part of the same room.
    pub fn add(&mut self, part: &RoomView) {
        self.participants += part.participants;
        self.tracks += part.tracks;
        self.subscriptions += part.subscriptions;
        self.received_bps += part.received_bps;
        self.traffic.add(&part.traffic);
    }
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
    /// What went over it so far.
    pub traffic: Traffic,
}

/// What went over a transport since it was made. Each transport goes one way: what the other way would
/// count stays 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// RTP packets from the client.
    pub packets_received: u64,
    /// Their headers and payloads.
    pub bytes_received: u64,
    /// RTP packets to the client, retransmissions and padding included.
    pub packets_sent: u64,
    /// As they left, with everything but UDP and below.
    pub bytes_sent: u64,
    /// Retransmissions among them.
    pub retransmitted: u64,
    /// Packets to the client that were lost, by its receiver reports.
    pub packets_lost: u64,
    /// Generic NACKs of the client (RFC 4585 §6.2.1), each for up to 17 packets.
    pub nacks: u64,
    /// Requests for a keyframe: of the client, or to it where it is the one that sends.
    pub plis: u64,
}

impl Traffic {
    /// Adds what went over another transport.
    pub fn add(&mut self, other: &Traffic) {
        self.packets_received += other.packets_received;
        self.bytes_received += other.bytes_received;
        self.packets_sent += other.packets_sent;
        self.bytes_sent += other.bytes_sent;
        self.retransmitted += other.retransmitted;
        self.packets_lost += other.packets_lost;
        self.nacks += other.nacks;
        self.plis += other.plis;
    }
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
    /// Muted by its publisher.
    pub muted_by_owner: bool,
    /// Muted by an operator.
    pub muted_by_operator: bool,
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
    /// Packets forwarded so far, without retransmissions.
    pub packets: u64,
    /// Payload of those, bytes.
    pub bytes: u64,
    /// Bits per second of what is forwarded now, as it arrives.
    pub bitrate_bps: u32,
}

/// Why a receiver gets what it gets of a track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasonView {
    /// What it gets.
    pub subscription: SubscriptionView,
    /// What it could get.
    pub track: TrackView,
    /// What its network carries; `None`: it has no transport yet.
    pub network: Option<NetworkView>,
    /// What the sound that it receives takes of that, bits per second: sound comes first.
    pub audio_bps: u32,
    /// The last decisions, oldest first; the last is in force. None for sound, which is always forwarded.
    pub decisions: Vec<DecisionView>,
}

/// A decision about a subscription, and what was made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionView {
    /// How long ago it came into force.
    pub age: Duration,
    /// Who decided.
    pub by: Decider,
    /// Their reason.
    pub reason: String,
    /// What a policy outside the core chose: a spatial index at most, or nothing at all (`Some(None)`).
    pub chosen: Option<Option<u8>>,
    /// What the core made of it: the next layer that is being sent; `None`: nothing.
    pub wanted: Option<u8>,
    /// What the estimate of the network leaves room for; `None`: no bound.
    pub fits: Option<Fit>,
    /// The layer that is due by both; `None`: nothing.
    pub due: Option<u8>,
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
    /// Mutes a track for everybody, or takes that back. Its publisher cannot undo it; a mute of its own
    /// stays when this one is taken back.
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

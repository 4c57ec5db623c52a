//! What the parts of a room on several workers tell each other.
//!
//! A room that outgrew a worker has a part on each of several. Each part knows its own participants and
//! keeps a picture of the others'; a packet crosses once for each part that subscribes to its track, and
//! is forwarded there as if it had come in there. To the router a crossing is opaque: it takes them out of
//! one shard ([`crate::Shard::drain_crossings`]) and gives them to another
//! ([`crate::Shard::handle_crossing`]), in order, and may lose packets, but nothing else.

use std::sync::Arc;

use str0m::format::{Codec, PayloadParams};
use str0m::media::Rid;

use crate::api::{MediaKind, ParticipantInfo, Source};
use crate::egress::history::Packet;
use crate::id::{ParticipantId, TrackId};
use crate::transport::channels::Label;

/// From one worker's shard to another's.
#[derive(Debug)]
pub struct Crossing(pub(crate) Kind);

/// What a crossing is worth when there is no room for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// A packet of video: the first to be lost. Its receivers ask for it again, or for a keyframe.
    Video,
    /// A packet of audio.
    Audio,
    /// Must arrive, and in order.
    Word,
}

impl Crossing {
    /// What it is worth.
    #[must_use]
    pub fn worth(&self) -> Worth {
        match &self.0 {
            Kind::Packet(packet) if packet.video => Worth::Video,
            Kind::Packet(_) => Worth::Audio,
            _ => Worth::Word,
        }
    }
}

/// The name of a room, shared by all that is said about it.
pub(crate) type RoomName = Arc<str>;

/// What crosses. Nearly all are packets: a box would be an allocation for each.
#[derive(Debug)]
pub(crate) enum Kind {
    Packet(Packed),
    /// Everybody and everything of the sender's part.
    Roster {
        room: RoomName,
        participants: Vec<ParticipantInfo>,
        tracks: Vec<Published>,
        /// The sender knows nothing of the receiver's part, and wants to.
        answer: bool,
    },
    Joined(RoomName, ParticipantInfo),
    Left(RoomName, ParticipantId),
    Published(RoomName, Published),
    Unpublished(TrackId),
    Muted(TrackId, bool),
    /// The sender's part has subscriptions to this track of the receiver's, or none any more.
    Interest(TrackId, bool),
    /// It needs a keyframe of a layer.
    Keyframe(TrackId, u8),
    /// Who speaks in the sender's part.
    Levels(RoomName, Vec<(ParticipantId, u8)>),
    /// A message on a data channel, as receivers get it.
    Data(RoomName, Label, Arc<[u8]>),
    /// Data through signaling.
    Signaled {
        room: RoomName,
        from: ParticipantId,
        to: Arc<[ParticipantId]>,
        label: Arc<str>,
        payload: Arc<[u8]>,
    },
}

/// A packet of a publisher on another worker.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) track: TrackId,
    pub(crate) layer: u8,
    pub(crate) video: bool,
    pub(crate) ssrc: u32,
    pub(crate) header_bytes: u16,
    /// The publisher's payload type and what it stands for.
    pub(crate) params: PayloadParams,
    pub(crate) packet: Packet,
}

/// A track as other parts need to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) id: TrackId,
    pub(crate) owner: ParticipantId,
    pub(crate) kind: MediaKind,
    pub(crate) source: Source,
    pub(crate) codec: Codec,
    /// As declared; none: one stream.
    pub(crate) rids: Vec<Rid>,
    pub(crate) muted: bool,
}

/// Crossings for tests of what carries them.
#[doc(hidden)]
pub mod samples {
    use std::time::Instant;

    use str0m::format::CodecConfig;

    use super::{Arc, Crossing, Kind, Packed, TrackId};
    use crate::egress::extensions::Passed;
    use crate::egress::history::Packet;

    fn packet(video: bool) -> Crossing {
        #[expect(clippy::disallowed_methods, reason = "a test has no other clock")]
        let captured = Instant::now();
        let config = CodecConfig::new_with_defaults();
        let params = config.params().first().copied().expect("codecs");
        Crossing(Kind::Packet(Packed {
            track: TrackId(1),
            layer: 0,
            video,
            ssrc: 1,
            header_bytes: 12,
            params,
            packet: Packet {
                payload: Arc::from([0_u8; 10]),
                extensions: Passed::default(),
                dependency: None,
                descriptor: None,
                marker: false,
                sequence: 1,
                timestamp: 1,
                captured,
                clock_rate: 48_000,
            },
        }))
    }

    /// A packet of audio.
    #[must_use]
    pub fn audio() -> Crossing {
        packet(false)
    }

    /// A packet of video.
    #[must_use]
    pub fn video() -> Crossing {
        packet(true)
    }

    /// Something that must arrive.
    #[must_use]
    pub fn word() -> Crossing {
        Crossing(Kind::Unpublished(TrackId(1)))
    }
}

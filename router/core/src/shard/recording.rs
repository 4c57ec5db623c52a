//! Tracks that are recorded. To the shard a recorder is a subscriber without a network: it gets the best
//! layer that is being sent, changes it at keyframes only, and what it gets is one continuous stream. What
//! becomes of that is not the core's business: packets wait in a list until the end of the turn.

use std::time::Instant;
use std::vec::Drain;

use str0m::format::Codec;
use str0m::rtp::RtpPacket;

use super::Shard;
use super::incoming::Incoming;
use super::slab::{RoomKey, TrackKey, from_public};
use crate::api::{MediaKind, RecordedCodec, RecordedPacket, RoomEventKind, Wish};
use crate::id::TrackId;
use crate::layers::frame::Level;
use crate::policy::built_in;
use crate::subscription::{Subscription, Verdict};
use crate::track::Track;

/// Places for packets kept between turns.
pub(super) const RECORDED_KEPT: usize = 512;

impl Shard {
    /// What the turn has for the recorder, in the order of arrival. To be called after each
    /// [`Shard::flush`]; what is not taken is kept, without a bound.
    pub fn drain_recorded(&mut self) -> Drain<'_, RecordedPacket> {
        if self.recorded.is_empty() {
            self.recorded.shrink_to(RECORDED_KEPT);
        }
        self.recorded.drain(..)
    }

    /// A track of this room.
    fn track_in(&self, room: RoomKey, id: TrackId) -> Option<TrackKey> {
        let key = from_public::<TrackKey>(self.config.worker, id.0)?;
        let track = self.tracks.get(key)?;
        (track.room == room).then_some(key)
    }

    pub(super) fn begin_recording(&mut self, now: Instant, room: RoomKey, id: TrackId) {
        let key = self.track_in(room, id);
        let track = key.and_then(|key| Some((key, self.tracks.get_mut(key)?)));
        let Some((key, track)) = track else {
            let reason = format!("track {} is not published in this room", id.0);
            return self.tell(room, RoomEventKind::RecordingRefused(id, reason));
        };
        if track.recording.is_some() {
            let reason = format!("track {} is being recorded already", id.0);
            return self.tell(room, RoomEventKind::RecordingRefused(id, reason));
        }
        track.recording = Some(Box::new(recording(track, key)));
        self.stats.recordings += 1;
        self.choose_layers(now, key);
    }

    pub(super) fn stop_recording(&mut self, room: RoomKey, id: TrackId) {
        if let Some(key) = self.track_in(room, id) {
            self.end_recording(key);
        }
    }

    /// A track is recorded no more. Nothing if it is not.
    pub(super) fn end_recording(&mut self, key: TrackKey) {
        let Some(track) = self.tracks.get_mut(key) else {
            return;
        };
        if track.recording.take().is_some() {
            let (room, id) = (track.room, track.id);
            self.stats.recordings = self.stats.recordings.saturating_sub(1);
            self.tell(room, RoomEventKind::RecordingEnded(id));
        }
    }

    /// Ends what is recorded in a room that the control side knows no more.
    pub(super) fn forget_recordings(&mut self, room: RoomKey) {
        for key in self.room_tracks(room) {
            if let Some(track) = self.tracks.get_mut(key)
                && track.recording.take().is_some()
            {
                self.stats.recordings = self.stats.recordings.saturating_sub(1);
            }
        }
    }

    pub(super) fn recorder_needs_keyframe(&mut self, now: Instant, room: RoomKey, id: TrackId) {
        let Some(key) = self.track_in(room, id) else {
            return;
        };
        let recording = self.tracks.get(key).and_then(|t| t.recording.as_ref());
        let layer = recording
            .filter(|recording| recording.video)
            .and_then(|recording| recording.target.or(recording.current));
        if let Some(layer) = layer {
            self.ask_keyframe(now, key, layer);
        }
    }

    /// Has the recorder, and an operator's capture, get the best layer that is being sent, from its next
    /// keyframe on.
    pub(super) fn settle_recording(&mut self, now: Instant, key: TrackKey) {
        self.settle_tap(now, key, |track| &mut track.recording);
        self.settle_tap(now, key, |track| &mut track.capture);
    }

    fn settle_tap(&mut self, now: Instant, key: TrackKey, tap: Tap) {
        let Some(track) = self.tracks.get_mut(key) else {
            return;
        };
        let Some(mut recording) = tap(track).take() else {
            return;
        };
        // Nothing is active: whatever it is stays; before any packet, whatever comes first will do.
        let best = built_in(&track.views(now), &recording.wish);
        let first = recording.target.is_none().then(Level::default);
        if let Some(level) = best.or(first) {
            // With everything that is inside.
            (recording.target, _) = track.place_of(level);
        }
        let epochs = |layer: u8| Some(track.layers.get(usize::from(layer))?.epoch);
        // While it is muted nothing would come of it.
        let needed = recording.unsettled(epochs).filter(|_| !track.is_muted());
        *tap(track) = Some(recording);
        if let Some(layer) = needed {
            self.ask_keyframe(now, key, layer);
        }
    }

    /// Keeps a packet for the recorder or a capture, if its track is recorded or captured and it is due there.
    pub(super) fn record(&mut self, incoming: &Incoming, packet: &RtpPacket) {
        let Some(track) = self.tracks.get_mut(incoming.track) else {
            return;
        };
        let id = track.id;
        if let Some(recording) = track.recording.as_mut()
            && let Some(kept) = taken(id, recording, incoming, packet)
        {
            self.stats.rtp_recorded += 1;
            self.stats.rtp_recorded_bytes += packet.payload.len() as u64;
            self.recorded.push(kept);
        }
        if let Some(capture) = track.capture.as_mut()
            && let Some(kept) = taken(id, capture, incoming, packet)
        {
            self.captured.push(kept);
        }
    }
}

/// Where a track has what it is recorded or captured by.
type Tap = fn(&mut Track) -> &mut Option<Box<Subscription>>;

/// The packet in its place in the stream, if it is due there. Its payload is shared, not copied.
fn taken(
    track: TrackId,
    recording: &mut Subscription,
    incoming: &Incoming,
    packet: &RtpPacket,
) -> Option<RecordedPacket> {
    let verdict = recording.judge(incoming.layer, incoming.epoch, incoming.keyframe);
    let switched = verdict == Verdict::Switch;
    if verdict == Verdict::Skip || (switched && incoming.is_padding()) {
        return None;
    }
    if switched {
        recording.switch(&incoming.due());
    }
    let (place, _) = recording.place(&incoming.due())?;
    Some(RecordedPacket {
        track,
        sequence: place.sequence,
        timestamp: place.timestamp,
        clock_rate: incoming.arrival.clock_rate,
        captured: incoming.arrival.captured,
        arrived: packet.timestamp,
        marker: packet.header.marker,
        payload_type: *incoming.format.payload_type,
        codec: codec(incoming.format.codec),
        keyframe: incoming.begins_keyframe,
        switched,
        payload: packet.payload.clone(),
    })
}

/// A subscription that nobody subscribed to: it stands in no table but its track.
pub(super) fn recording(track: &Track, key: TrackKey) -> Subscription {
    let best = Wish {
        track: track.id,
        width: 0,
        height: 0,
        fps: 0,
        priority: 0,
        paused: false,
    };
    let video = track.kind == MediaKind::Video;
    Subscription::new(track.owner, key, video, best, 0)
}

fn codec(codec: Codec) -> RecordedCodec {
    match codec {
        Codec::Vp8 => RecordedCodec::Vp8,
        Codec::Vp9 => RecordedCodec::Vp9,
        Codec::Av1 => RecordedCodec::Av1,
        Codec::H264 => RecordedCodec::H264,
        Codec::Opus => RecordedCodec::Opus,
        _ => RecordedCodec::Other,
    }
}

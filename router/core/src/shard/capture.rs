//! Tracks that an operator captures. It is what a recorder gets (`recording.rs`), for whoever looks for a fault;
//! both may have a track at once. No event tells of it: who asks knows.

use std::time::Instant;
use std::vec::Drain;

use super::Shard;
use super::recording::{RECORDED_KEPT, recording};
use super::slab::{TrackKey, from_public};
use crate::api::{MediaKind, RecordedPacket, RequestError};
use crate::id::TrackId;

impl Shard {
    /// What the turn has for captures, in the order of arrival. To be called after each [`Shard::flush`]; what
    /// is not taken is kept, without a bound.
    pub fn drain_captured(&mut self) -> Drain<'_, RecordedPacket> {
        if self.captured.is_empty() {
            self.captured.shrink_to(RECORDED_KEPT);
        }
        self.captured.drain(..)
    }

    /// Begins to capture a track: its packets come from [`Shard::drain_captured`], those of video from a keyframe
    /// on, until [`Shard::end_capture`] or its end. Whether it is video.
    ///
    /// # Errors
    /// [`RequestError::NotFound`]; [`RequestError::WrongState`] if it is captured already.
    pub fn begin_capture(&mut self, now: Instant, id: TrackId) -> Result<bool, RequestError> {
        let key = self.track_key(id);
        let track = key.and_then(|key| Some((key, self.tracks.get_mut(key)?)));
        let (key, track) = track.ok_or_else(|| RequestError::NotFound("track".into()))?;
        if track.capture.is_some() {
            let text = "the track is being captured already".into();
            return Err(RequestError::WrongState(text));
        }
        let video = track.kind == MediaKind::Video;
        track.capture = Some(Box::new(recording(track, key)));
        self.choose_layers(now, key);
        Ok(video)
    }

    /// A track is captured no more. Nothing if it is not.
    pub fn end_capture(&mut self, id: TrackId) {
        let key = self.track_key(id);
        if let Some(track) = key.and_then(|key| self.tracks.get_mut(key)) {
            track.capture = None;
        }
    }

    /// Whether it is there and captured.
    #[must_use]
    pub fn is_captured(&self, id: TrackId) -> bool {
        let track = self.track_key(id).and_then(|key| self.tracks.get(key));
        track.is_some_and(|track| track.capture.is_some())
    }

    /// A capture still waits for its first keyframe: the request for it may be lost.
    pub fn ask_for_capture(&mut self, now: Instant, id: TrackId) {
        if self.is_captured(id)
            && let Some(key) = self.track_key(id)
        {
            self.settle_recording(now, key);
        }
    }

    fn track_key(&self, id: TrackId) -> Option<TrackKey> {
        from_public::<TrackKey>(self.config.worker, id.0)
    }
}

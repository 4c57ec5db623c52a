//! Records a room from when somebody who may asks for it: a participant whose grant has `record_control`, or
//! an operator.
//!
//! A request is for the whole room, with what is published later, or, by attributes `track` with a track's
//! number (as many as wanted), for these tracks. A request to stop ends everything, or with `track` just
//! these; it stops what this router records in the room even if an instance of this policy before this one
//! began it. Otherwise recording ends with the room, and, with `until_requesters_leave`, when all who asked
//! for it have left; an operator does not leave.
//!
//! A track whose recording fails is begun again after a pause that grows from 15 s to 16 min, when something
//! happens in the room.
//!
//! ```toml
//! [plugins.record-on-request.config]
//! until_requesters_leave = false
//!
//! [plugins.record-on-request.config.files]
//! kinds = ["audio", "video"]   # what is recorded
//! container = "auto"           # or "mp4", "webm", "rtp-dump"; auto: mp4 wherever the codec allows
//! segment_s = 0                # begin a new file after so many seconds, 10 to 604800; 0: never
//! # Camera and microphone of a participant in one file, screen and its sound in another. With {source} or {track}
//! # in place of {media} each track has a file of its own. Also {kind}. {time} is needed.
//! name = "{room}-{time}-{participant}-{media}"
//! dump_encrypted = false       # end-to-end-encrypted tracks: true: as RTP dumps; false: not at all
//! ```
#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;
mod wishes;

use rillway_plugin_sdk as sdk;
use sdk::recording::{Event, Files, Order, Recorded, Recorder, Request};
use sdk::types::TrackId;
use serde::Deserialize;

use wishes::Wishes;

/// The attribute of a request that names a track.
const TRACK: &str = "track";

/// `plugins.NAME.config`; see the crate's documentation.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    until_requesters_leave: bool,
    files: Files,
}

/// The policy of one room.
#[derive(Debug)]
pub struct RecordOnRequest {
    until_requesters_leave: bool,
    wishes: Wishes,
    recorder: Recorder,
}

impl sdk::Plugin for RecordOnRequest {
    type Config = Config;

    fn start(config: Config) -> Result<Self, String> {
        Ok(RecordOnRequest {
            until_requesters_leave: config.until_requesters_leave,
            wishes: Wishes::default(),
            recorder: Recorder::new(config.files),
        })
    }
}

impl sdk::Recording for RecordOnRequest {
    fn decide(&mut self, event: Event) -> Vec<Order> {
        self.recorder.note(&event);
        match &event {
            Event::Requested(request) => self.requested(request),
            Event::Recording(recorded) => self.adopt(recorded),
            Event::TrackUnpublished(track) => self.wishes.forget(*track),
            Event::ParticipantLeft(who) if self.until_requesters_leave => self.wishes.leave(*who),
            _ => {}
        }
        let wishes = &self.wishes;
        self.recorder.orders(|track| wishes.wants(track.id))
    }
}

impl RecordOnRequest {
    /// What an instance before this one began is wanted still, by nobody who could leave; if that is everything
    /// there is, so is what comes.
    fn adopt(&mut self, recorded: &[Recorded]) {
        if !recorded.is_empty() && self.recorder.has_all() {
            self.wishes.everything(None);
        }
        for one in recorded {
            self.wishes.track(one.track, None);
        }
    }

    fn requested(&mut self, request: &Request) {
        let named = request.attributes.iter().filter(|(name, _)| name == TRACK);
        let mut named = named.map(|(_, number)| number.as_str()).peekable();
        match (request.start, named.peek()) {
            (true, None) => self.wishes.everything(request.by),
            (false, None) => {
                self.wishes = Wishes::default();
                self.recorder.assume_recorded();
            }
            (start, Some(_)) => {
                for number in named {
                    let track = number.parse().map(TrackId).ok();
                    match track.filter(|track| self.recorder.has_track(*track)) {
                        Some(track) if start => self.wishes.track(track, request.by),
                        Some(track) => self.wishes.except(track),
                        None => sdk::log::warn(&format!(
                            "a request names the track {number:?}, which is not there"
                        )),
                    }
                }
            }
        }
    }
}

sdk::export!(RecordOnRequest: recording);

//! Records every track of the rooms that its configuration names, from when it is published to its end.
//!
//! Nobody has to ask, and requests change nothing. A track whose recording fails (the disk is full) is begun
//! again after a pause that grows from 15 s to 16 min, when something happens in the room. End-to-end-encrypted
//! tracks are left out unless `dump_encrypted` asks for their RTP packets, of which only who has the keys can
//! make media.
//!
//! ```toml
//! [plugins.record-all.config]
//! rooms = ["*"]                # `*` is any run of characters: ["class-*", "lobby"]
//!
//! [plugins.record-all.config.files]
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

use rillway_plugin_sdk as sdk;
use sdk::recording::{Event, Files, Order, Recorder};
use sdk::wildcard;
use serde::Deserialize;

/// `plugins.NAME.config`; see the crate's documentation.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    rooms: Vec<String>,
    files: Files,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            rooms: vec!["*".to_owned()],
            files: Files::default(),
        }
    }
}

/// The policy of one room.
#[derive(Debug)]
pub struct RecordAll {
    rooms: Vec<String>,
    /// Whether the configuration names this room.
    wanted: bool,
    recorder: Recorder,
}

impl sdk::Plugin for RecordAll {
    type Config = Config;

    fn start(config: Config) -> Result<Self, String> {
        if config.rooms.is_empty() {
            let problem =
                "config: `rooms` is empty, so nothing would be recorded: [\"*\"] is every room";
            return Err(problem.to_owned());
        }
        Ok(RecordAll {
            rooms: config.rooms,
            wanted: false,
            recorder: Recorder::new(config.files),
        })
    }
}

impl sdk::Recording for RecordAll {
    fn decide(&mut self, event: Event) -> Vec<Order> {
        if let Event::RoomOpened(room) = &event {
            let mut rooms = self.rooms.iter();
            self.wanted = rooms.any(|pattern| wildcard::matches(pattern, room));
        }
        if !self.wanted {
            return Vec::new();
        }
        self.recorder.note(&event);
        self.recorder.orders(|_| true)
    }
}

sdk::export!(RecordAll: recording);

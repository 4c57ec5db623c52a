//! What is recorded: everybody's voice, from the moment somebody who may asks for it.
//!
//! `rillway.toml` beside this folder's manifest loads it.

use std::collections::BTreeSet;

use rillway_plugin_sdk as sdk;
use sdk::recording::{Container, Event, Order, Start};
use sdk::types::{MediaKind, TrackId};

/// The policy: one value for each room.
#[derive(Debug, Default)]
pub struct Policy {
    room: String,
    voices: BTreeSet<TrackId>,
    recording: bool,
}

impl sdk::Plugin for Policy {
    type Config = ();

    fn start((): ()) -> Result<Self, String> {
        Ok(Policy::default())
    }
}

impl Policy {
    fn start_order(&self, track: TrackId) -> Order {
        Order::Start(Start {
            track,
            container: Container::Mp4,
            name: format!("{}-{}", self.room, track.0),
            max_segment_s: 0,
            attributes: Vec::new(),
        })
    }
}

impl sdk::Recording for Policy {
    fn decide(&mut self, event: Event) -> Vec<Order> {
        match event {
            // A file's name has at most 128 bytes.
            Event::RoomOpened(room) => self.room = room.chars().take(24).collect(),
            Event::TrackPublished(track) if track.kind == MediaKind::Audio => {
                self.voices.insert(track.id);
                if self.recording {
                    return vec![self.start_order(track.id)];
                }
            }
            Event::TrackUnpublished(track) => {
                self.voices.remove(&track);
            }
            Event::Requested(request) if request.start != self.recording => {
                self.recording = request.start;
                let order = |track: &TrackId| match request.start {
                    true => self.start_order(*track),
                    false => Order::Stop(*track),
                };
                return self.voices.iter().map(order).collect();
            }
            _ => {}
        }
        Vec::new()
    }
}

sdk::export!(Policy: recording);

#[cfg(test)]
mod tests {
    use super::*;
    use sdk::Recording as _;
    use sdk::recording::Request;

    #[test]
    fn nothing_is_recorded_before_it_is_asked_for() {
        let mut policy: Policy = sdk::testing::start().expect("it starts");
        policy.voices.insert(TrackId(7));
        assert_eq!(policy.decide(Event::RoomOpened("r".to_owned())), []);
        let orders = policy.decide(Event::Requested(Request {
            start: true,
            by: None,
            attributes: Vec::new(),
        }));
        assert!(matches!(&orders[..], [Order::Start(start)] if start.name == "r-7"));
    }
}

//! Records presentations: every shared screen with its sound, and the microphones of whoever shares one, for
//! as long as it is shared. Nobody else is recorded.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use rillway_plugin_sdk as sdk;
use sdk::recording::{Container, Event, Order, Start};
use sdk::types::{ParticipantId, Source, Track, TrackId};

/// `plugins.NAME.config`.
#[derive(Debug, serde::Deserialize)]
pub struct Config {
    /// Begin a new file after this many minutes; 0: never.
    #[serde(default)]
    minutes_per_file: u16,
}

/// The policy: one value for each room.
#[derive(Debug)]
pub struct Policy {
    config: Config,
    room: String,
    tracks: BTreeMap<TrackId, (ParticipantId, Source)>,
    recorded: BTreeSet<TrackId>,
}

impl sdk::Plugin for Policy {
    type Config = Config;

    fn start(config: Config) -> Result<Self, String> {
        Ok(Policy {
            config,
            room: String::new(),
            tracks: BTreeMap::new(),
            recorded: BTreeSet::new(),
        })
    }
}

impl Policy {
    fn wanted(&self) -> BTreeSet<TrackId> {
        let presents = |who| {
            self.tracks
                .values()
                .any(|track| *track == (who, Source::Screen))
        };
        let wanted = self
            .tracks
            .iter()
            .filter(|(_, (owner, source))| match source {
                Source::Screen | Source::ScreenAudio => true,
                Source::Microphone => presents(*owner),
                Source::Camera | Source::Other => false,
            });
        wanted.map(|(id, _)| *id).collect()
    }

    fn start_order(&self, track: TrackId) -> Order {
        Order::Start(Start {
            track,
            container: Container::Mp4,
            name: format!("{}-{}", self.room, track.0),
            max_segment_s: u32::from(self.config.minutes_per_file) * 60,
            attributes: Vec::new(),
        })
    }

    /// Nothing more is to be done about a track.
    fn forget(&mut self, id: TrackId) {
        self.tracks.remove(&id);
        self.recorded.remove(&id);
    }

    /// What has to change so that what is recorded is what is wanted.
    fn orders(&mut self) -> Vec<Order> {
        let wanted = self.wanted();
        let stop = self.recorded.difference(&wanted).copied().map(Order::Stop);
        let start = wanted
            .difference(&self.recorded)
            .map(|id| self.start_order(*id));
        let orders = stop.chain(start).collect();
        self.recorded = wanted;
        orders
    }
}

impl sdk::Recording for Policy {
    fn decide(&mut self, event: Event) -> Vec<Order> {
        match event {
            // A file's name has at most 128 bytes.
            Event::RoomOpened(room) => self.room = room.chars().take(24).collect(),
            Event::TrackPublished(Track {
                id, owner, source, ..
            }) => {
                self.tracks.insert(id, (owner, source));
            }
            // The router ends the recording of a track that ends; so it does where that failed.
            Event::TrackUnpublished(id) => self.forget(id),
            Event::Failed(failure) => self.forget(failure.track),
            _ => {}
        }
        self.orders()
    }
}

sdk::export!(Policy: recording);

#[cfg(test)]
mod tests {
    use super::*;
    use sdk::Recording as _;
    use sdk::types::MediaKind;

    fn published(id: u64, owner: u64, source: Source) -> Event {
        Event::TrackPublished(Track {
            id: TrackId(id),
            owner: ParticipantId(owner),
            kind: MediaKind::Video,
            source,
            codec: String::new(),
            encrypted: false,
            muted: false,
            layers: Vec::new(),
            attributes: Vec::new(),
        })
    }

    fn started(orders: &[Order]) -> Vec<u64> {
        let started = orders.iter().filter_map(|order| match order {
            Order::Start(start) => Some(start.track.0),
            Order::Stop(_) | Order::TickEveryMs(_) => None,
        });
        started.collect()
    }

    #[test]
    fn a_presentation_is_recorded_with_the_voice_of_who_gives_it() {
        let mut policy: Policy = sdk::testing::start().expect("it starts");
        policy.decide(Event::RoomOpened("class".to_owned()));
        for (id, owner, source) in [
            (1, 1, Source::Microphone),
            (2, 1, Source::Camera),
            (3, 2, Source::Microphone),
        ] {
            assert_eq!(policy.decide(published(id, owner, source)), []);
        }
        let orders = policy.decide(published(4, 1, Source::Screen));
        assert_eq!(started(&orders), [1, 4]);
        let orders = policy.decide(Event::TrackUnpublished(TrackId(4)));
        assert_eq!(orders, [Order::Stop(TrackId(1))]);
    }
}

//! Which layer each subscriber gets: up to a size, everybody is seen at their best; in larger rooms only those who
//! speak.
//!
//! `rillway.toml` beside this folder's manifest loads it.

use rillway_plugin_sdk as sdk;
use sdk::layers::{Choice, View};

/// `plugins.NAME.config`.
#[derive(Debug, serde::Deserialize)]
pub struct Config {
    /// Tracks up to which everybody is seen at their best.
    #[serde(default = "four")]
    small_room: usize,
}

fn four() -> usize {
    4
}

/// The policy: one value for each room.
#[derive(Debug)]
pub struct Policy {
    config: Config,
}

impl sdk::Plugin for Policy {
    type Config = Config;

    fn start(config: Config) -> Result<Self, String> {
        Ok(Policy { config })
    }
}

impl sdk::LayerSelection for Policy {
    fn choose(&mut self, view: View) -> Vec<Choice> {
        let small = view.tracks.len() <= self.config.small_room;
        let owner = |id| view.tracks.iter().find(|t| t.id == id).map(|t| t.owner);
        let mut choices = Vec::new();
        for subscriber in &view.subscribers {
            for wish in &subscriber.subscriptions {
                let speaks = owner(wish.track).is_some_and(|o| view.speakers.contains(&o));
                let best = small || speaks;
                choices.push(Choice {
                    subscriber: subscriber.id,
                    track: wish.track,
                    // The router takes the next lower layer that there is and that the network carries.
                    spatial: if best { u8::MAX } else { 0 },
                    temporal: u8::MAX,
                    paused: wish.paused,
                    reason: if best { "best" } else { "listens" }.to_owned(),
                });
            }
        }
        choices
    }
}

sdk::export!(Policy: layer_selection);

#[cfg(test)]
mod tests {
    use super::*;
    use sdk::LayerSelection as _;
    use sdk::layers::{Subscriber, Subscription};
    use sdk::types::{MediaKind, ParticipantId, Source, Track, TrackId};

    fn view(tracks: u64) -> View {
        let track = |n| Track {
            id: TrackId(n),
            owner: ParticipantId(n),
            kind: MediaKind::Video,
            source: Source::Camera,
            codec: "VP8".to_owned(),
            encrypted: false,
            muted: false,
            layers: Vec::new(),
            attributes: Vec::new(),
        };
        let wish = |n| Subscription {
            track: TrackId(n),
            width: 0,
            height: 0,
            fps: 0,
            priority: 0,
            paused: false,
            spatial: None,
            temporal: None,
        };
        View {
            tracks: (1..=tracks).map(track).collect(),
            subscribers: vec![Subscriber {
                id: ParticipantId(100),
                estimate_bps: None,
                audio_bps: 0,
                rtt_ms: 0,
                loss_permille: 0,
                subscriptions: (1..=tracks).map(wish).collect(),
                attributes: Vec::new(),
            }],
            speakers: vec![ParticipantId(2)],
            ..View::default()
        }
    }

    #[test]
    fn in_large_rooms_speakers_are_seen_best() {
        let mut policy: Policy = sdk::testing::start().expect("it starts");
        let spatial = |choices: Vec<Choice>| choices.iter().map(|c| c.spatial).collect::<Vec<_>>();
        assert_eq!(spatial(policy.choose(view(2))), [255, 255]);
        assert_eq!(spatial(policy.choose(view(5))), [0, 255, 0, 0, 0]);
    }
}

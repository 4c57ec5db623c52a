//! Gives every viewer the pictures that fit its tiles and its network.
//!
//! For each viewer: audio first; then each track, in the order of the client's priorities, shared screens,
//! speakers and tile sizes, gets its smallest picture; then the pictures grow by turns, none beyond what
//! its tile shows, until nothing more fits into the estimate. So nobody has a sharp picture of one face
//! and none of another, and what is dropped last is what matters most.
//!
//! Estimates waver, and a picture that comes and goes is worse than a small one. So a step up needs
//! `headroom_percent` of the estimate left free; and after a step down that a falling estimate forced,
//! the viewer's pictures may be shared out anew but all together take no more until `patience_ms` have
//! passed, twice as long each time that it happens again soon.
//!
//! ```toml
//! [plugins.layers-adaptive.config]
//! headroom_percent = 10    # of the estimate, free after a step up; 0 to 50
//! patience_ms = 3000       # after a step down, before the next step up
//! speakers = 3             # how many of the loudest come before others; 0: none
//! ```
#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use rillway_plugin_sdk as sdk;
use sdk::layers::{
    Ask, Caution, Choice, Ladder, Room, Scope, Subscriber, Subscription, View, Viewer,
};
use sdk::types::{ParticipantId, Source, TrackId};
use serde::Deserialize;

/// `plugins.NAME.config`; see the crate's documentation.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Config {
    headroom_percent: u8,
    patience_ms: u32,
    speakers: u8,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            headroom_percent: 10,
            patience_ms: 3_000,
            speakers: 3,
        }
    }
}

/// The policy of one room.
#[derive(Debug)]
pub struct Adaptive {
    config: Config,
    room: Room,
    scene: Scene,
    viewers: BTreeMap<ParticipantId, Viewer>,
}

impl sdk::Plugin for Adaptive {
    type Config = Config;

    fn start(config: Config) -> Result<Self, String> {
        if config.headroom_percent > 50 {
            return Err("headroom_percent: 0 to 50".to_owned());
        }
        Ok(Adaptive {
            config,
            room: Room::default(),
            scene: Scene::default(),
            viewers: BTreeMap::new(),
        })
    }
}

impl sdk::LayerSelection for Adaptive {
    fn choose(&mut self, view: View) -> Vec<Choice> {
        let news = self.room.update(view);
        if news.speakers || !news.tracks.is_empty() {
            self.scene = Scene::new(&self.room, self.config.speakers);
        }
        let caution = Caution {
            headroom_percent: self.config.headroom_percent,
            patience_ms: self.config.patience_ms,
        };
        for gone in &news.gone {
            self.viewers.remove(gone);
        }
        let (now_ms, mut choices) = (self.room.now_ms(), Vec::new());
        for subscriber in self.room.subscribers() {
            let viewer = self.viewers.entry(subscriber.id).or_default();
            if news.speakers || news.concerns(subscriber) || viewer.is_due(now_ms) {
                let asks = self.scene.asks(subscriber);
                viewer.choose(&caution, now_ms, subscriber, &asks, &mut choices);
            }
        }
        choices
    }

    fn next(&self) -> Scope {
        Scope::Changes
    }
}

/// What is the same for all viewers.
#[derive(Debug, Default)]
struct Scene {
    /// By id.
    tracks: Vec<Shown>,
}

#[derive(Debug)]
struct Shown {
    id: TrackId,
    ladder: Ladder,
    screen: bool,
    speaks: bool,
}

impl Scene {
    fn new(room: &Room, speakers: u8) -> Self {
        let loudest = || room.speakers().iter().take(speakers.into());
        let shown = room.tracks().iter().map(|track| Shown {
            id: track.id,
            ladder: Ladder::of(track),
            screen: track.source == Source::Screen,
            speaks: loudest().any(|speaker| *speaker == track.owner),
        });
        let mut tracks: Vec<Shown> = shown.collect();
        tracks.sort_unstable_by_key(|track| track.id);
        Scene { tracks }
    }

    fn track(&self, id: TrackId) -> Option<&Shown> {
        let at = self.tracks.binary_search_by_key(&id, |track| track.id);
        self.tracks.get(at.ok()?)
    }

    /// What the viewer's subscriptions ask for. What it wants none of, and what nothing comes of now, asks
    /// for nothing and stays as it is.
    fn asks(&self, subscriber: &Subscriber) -> Vec<Ask<'_, Wished>> {
        let ask = |subscription: &Subscription| {
            let track = self.track(subscription.track)?;
            if subscription.paused || track.ladder.is_empty() {
                return None;
            }
            Some(Ask {
                track: track.id,
                ladder: &track.ladder,
                steps: track.ladder.steps(subscription),
                tier: 0,
                rank: rank(subscription, track),
                shown: subscription.spatial,
                why: Wished(subscription.width, subscription.height),
            })
        };
        subscriber.subscriptions.iter().filter_map(ask).collect()
    }
}

/// The size a picture is wished at.
struct Wished(u16, u16);

impl fmt::Display for Wished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wished(0, 0) => f.write_str("no size is wished"),
            Wished(width, height) => write!(f, "shown at {width}x{height}"),
        }
    }
}

/// Whose turn comes first: the client's priority, shared screens, speakers, large tiles.
fn rank(subscription: &Subscription, track: &Shown) -> u64 {
    let area = u64::from(subscription.width) * u64::from(subscription.height);
    u64::from(subscription.priority) << 34
        | u64::from(track.screen) << 33
        | u64::from(track.speaks) << 32
        | area
}

sdk::export!(Adaptive: layer_selection);

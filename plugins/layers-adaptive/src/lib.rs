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

mod ladder;
mod share;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rillway_plugin_sdk as sdk;
use sdk::layers::{Choice, Subscriber, View};
use sdk::types::{ParticipantId, Source, TrackId};
use serde::Deserialize;

use ladder::Ladder;
use share::{Asks, Budget, share};

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

/// A choice is made again when it has not come about after this long: the room may have lost it.
const REPEAT_MS: u64 = 2_000;
/// A step down this soon after the last doubles the patience.
const AGAIN_MS: u64 = 30_000;
/// Most that patience doubles: 3 s become 24.
const DOUBLINGS: u32 = 3;

/// The policy of one room.
#[derive(Debug)]
pub struct Adaptive {
    config: Config,
    viewers: BTreeMap<ParticipantId, Viewer>,
}

/// What is remembered of a viewer.
#[derive(Debug, Default)]
struct Viewer {
    /// In the order of its subscriptions.
    held: Vec<Held>,
    /// No more than now before this moment.
    patient_until_ms: u64,
    fell_at_ms: Option<u64>,
    falls: u32,
}

/// What was chosen for one subscription.
#[derive(Debug, Clone, Copy)]
struct Held {
    track: TrackId,
    /// `None`: nothing.
    layer: Option<(u8, u8)>,
    said_at_ms: u64,
}

impl sdk::Plugin for Adaptive {
    type Config = Config;

    fn start(config: Config) -> Result<Self, String> {
        if config.headroom_percent > 50 {
            return Err("headroom_percent: 0 to 50".to_owned());
        }
        Ok(Adaptive {
            config,
            viewers: BTreeMap::new(),
        })
    }
}

impl sdk::LayerSelection for Adaptive {
    fn choose(&mut self, view: View) -> Vec<Choice> {
        let scene = Scene::new(&view, self.config.speakers);
        let mut choices = Vec::new();
        let mut before = std::mem::take(&mut self.viewers);
        for subscriber in &view.subscribers {
            let mut viewer = before.remove(&subscriber.id).unwrap_or_default();
            viewer.choose(&self.config, &scene, subscriber, &mut choices);
            self.viewers.insert(subscriber.id, viewer);
        }
        choices
    }
}

/// What is the same for all viewers.
struct Scene {
    now_ms: u64,
    /// By id.
    tracks: Vec<Shown>,
}

struct Shown {
    id: TrackId,
    ladder: Ladder,
    screen: bool,
    speaks: bool,
}

impl Scene {
    fn new(view: &View, speakers: u8) -> Self {
        let loudest = || view.speakers.iter().take(speakers.into());
        let shown = view.tracks.iter().map(|track| Shown {
            id: track.id,
            ladder: Ladder::of(track),
            screen: track.source == Source::Screen,
            speaks: loudest().any(|speaker| *speaker == track.owner),
        });
        let mut tracks: Vec<Shown> = shown.collect();
        tracks.sort_unstable_by_key(|track| track.id);
        Scene {
            now_ms: view.now_ms,
            tracks,
        }
    }

    fn track(&self, id: TrackId) -> Option<&Shown> {
        let at = self.tracks.binary_search_by_key(&id, |track| track.id);
        self.tracks.get(at.ok()?)
    }
}

impl Viewer {
    fn choose(
        &mut self,
        config: &Config,
        scene: &Scene,
        subscriber: &Subscriber,
        choices: &mut Vec<Choice>,
    ) {
        let mut asks = self.asks(scene, subscriber);
        let budget = self.budget(config, scene.now_ms, subscriber, &asks);
        share(budget.as_ref(), &mut asks);
        let mut held = Vec::with_capacity(asks.len());
        for ask in &asks {
            let granted = ask.granted.map(|rung| (rung.spatial, rung.temporal));
            let before = self.held(ask.index, ask.track);
            let changed = before.is_none_or(|before| before.layer != granted);
            let lost = || {
                let shown = ask.shown.map(|(spatial, _)| spatial);
                let said = before.map_or(0, |before| before.said_at_ms);
                shown != granted.map(|(spatial, _)| spatial)
                    && scene.now_ms.saturating_sub(said) >= REPEAT_MS
            };
            let say = changed || lost();
            if say {
                choices.push(ask.choice(subscriber, budget.as_ref()));
            }
            held.push(Held {
                track: ask.track,
                layer: granted,
                said_at_ms: if say {
                    scene.now_ms
                } else {
                    before.map_or(scene.now_ms, |before| before.said_at_ms)
                },
            });
        }
        self.held = held;
    }

    /// What is remembered of a subscription; it is mostly where it was the last time.
    fn held(&self, index: usize, track: TrackId) -> Option<&Held> {
        let same = self.held.get(index).filter(|held| held.track == track);
        same.or_else(|| self.held.iter().find(|held| held.track == track))
    }

    /// What the viewer's subscriptions ask for, most important first. What it wants none of, and what
    /// nothing comes of now, asks for nothing and stays as it is.
    fn asks(&self, scene: &Scene, subscriber: &Subscriber) -> Vec<Asks> {
        let mut asks = Vec::with_capacity(subscriber.subscriptions.len());
        for subscription in &subscriber.subscriptions {
            let Some(track) = scene.track(subscription.track) else {
                continue;
            };
            if subscription.paused || track.ladder.is_empty() {
                continue;
            }
            let index = asks.len();
            let before = self.held(index, track.id);
            asks.push(Asks {
                index,
                track: track.id,
                steps: track.ladder.steps(subscription),
                wished: (subscription.width, subscription.height),
                rank: share::rank(subscription, track.screen, track.speaks),
                held: before.map(|before| before.layer),
                shown: subscription.spatial.zip(subscription.temporal),
                granted: None,
            });
        }
        asks
    }

    /// What the viewer's pictures may take; `None`: nothing is known of its network.
    fn budget(
        &mut self,
        config: &Config,
        now_ms: u64,
        subscriber: &Subscriber,
        asks: &[Asks],
    ) -> Option<Budget> {
        let estimate = u64::from(subscriber.estimate_bps?);
        let mut most = estimate.saturating_sub(subscriber.audio_bps.into());
        let held_bps: u64 = asks.iter().map(Asks::held_bps).sum();
        if held_bps > most {
            self.fell(config, now_ms);
        }
        let headroom = estimate * u64::from(config.headroom_percent) / 100;
        let raise = most.saturating_sub(headroom);
        if now_ms < self.patient_until_ms {
            most = most.min(held_bps);
        }
        Some(Budget {
            most,
            raise: raise.min(most),
        })
    }

    /// The estimate fell below what the viewer got.
    fn fell(&mut self, config: &Config, now_ms: u64) {
        let again = |at: u64| now_ms.saturating_sub(at) < AGAIN_MS;
        self.falls = match self.fell_at_ms {
            Some(at) if again(at) => (self.falls + 1).min(DOUBLINGS),
            _ => 0,
        };
        self.fell_at_ms = Some(now_ms);
        let patience = u64::from(config.patience_ms) << self.falls;
        self.patient_until_ms = now_ms + patience;
    }
}

sdk::export!(Adaptive: layer_selection);

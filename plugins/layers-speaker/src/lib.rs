//! For large rooms: whoever speaks is seen large, the others small or not at all.
//!
//! For each viewer, audio first. Then large pictures, sharing what the network carries by turns: what the
//! client pins by its priority, shared screens, and the stage: those who speak, or spoke last. Then, of what
//! is left, the smallest picture of the `thumbnails` others that matter most: by the client's priority, then
//! by who spoke last. The rest is not sent, nor is one's own picture. None is larger than its tile, and what
//! the client pauses stays paused.
//!
//! Whoever was among the loudest keeps its place on the stage for `hold_ms`, so that a cough or a quick
//! answer moves nothing. Who is on the stage sees whoever was there before instead of itself. Until enough
//! have spoken, those who published first are on it.
//!
//! What fits is decided with the SDK's `Viewer`: a larger picture needs `headroom_percent` of the estimate
//! left free, and waits for `patience_ms` after a fall of the estimate.
//!
//! ```toml
//! [plugins.layers-speaker.config]
//! speakers = 1             # places on the stage, 1 to 16
//! hold_ms = 2000           # how long a place is kept after its holder was last among the loudest
//! thumbnails = 12          # small pictures for each viewer; 0: none
//! pinned_priority = 128    # a wish with this priority or a higher one pins the picture, 1 to 255
//! headroom_percent = 10    # of the estimate, free after a step up; 0 to 50
//! patience_ms = 3000       # after a step down, before the next step up
//! ```
#![forbid(unsafe_code)]

mod stage;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rillway_plugin_sdk as sdk;
use sdk::layers::{
    self, Ask, Caution, Choice, Ladder, Scope, Steps, Subscriber, Subscription, View, Viewer,
};
use sdk::types::{ParticipantId, Source, Track, TrackId};
use serde::Deserialize;

use stage::{Cast, Stage};

/// `plugins.NAME.config`; see the crate's documentation.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    speakers: u8,
    hold_ms: u32,
    thumbnails: u16,
    pinned_priority: u8,
    headroom_percent: u8,
    patience_ms: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            speakers: 1,
            hold_ms: 2_000,
            thumbnails: 12,
            pinned_priority: 128,
            headroom_percent: 10,
            patience_ms: 3_000,
        }
    }
}

impl Config {
    fn check(&self) -> Result<(), String> {
        let bounds = [
            ("speakers", self.speakers, 1..=16),
            ("pinned_priority", self.pinned_priority, 1..=255),
            ("headroom_percent", self.headroom_percent, 0..=50),
        ];
        for (key, value, bound) in bounds {
            if !bound.contains(&value) {
                let (least, most) = bound.into_inner();
                return Err(format!("config: `{key}` is {value}: {least} to {most}"));
            }
        }
        Ok(())
    }
}

/// The policy of one room.
#[derive(Debug)]
pub struct Speaker {
    config: Config,
    room: layers::Room,
    shown: Pictures,
    stage: Stage,
    viewers: BTreeMap<ParticipantId, Viewer>,
}

impl sdk::Plugin for Speaker {
    type Config = Config;

    fn start(config: Config) -> Result<Self, String> {
        config.check()?;
        Ok(Speaker {
            config,
            room: layers::Room::default(),
            shown: Pictures::default(),
            stage: Stage::default(),
            viewers: BTreeMap::new(),
        })
    }
}

impl sdk::LayerSelection for Speaker {
    fn choose(&mut self, view: View) -> Vec<Choice> {
        let config = &self.config;
        let news = self.room.update(view);
        if !news.tracks.is_empty() {
            self.shown = Pictures::new(self.room.tracks());
        }
        let cast = Cast {
            speakers: self.room.speakers(),
            visible: &self.shown.visible,
        };
        let now_ms = self.room.now_ms();
        let size = config.speakers.into();
        let changed = self.stage.update(size, config.hold_ms, now_ms, &cast);
        let caution = Caution {
            headroom_percent: config.headroom_percent,
            patience_ms: config.patience_ms,
        };
        for gone in &news.gone {
            self.viewers.remove(gone);
        }
        let mut choices = Vec::new();
        for subscriber in self.room.subscribers() {
            let viewer = self.viewers.entry(subscriber.id).or_default();
            if changed || news.concerns(subscriber) || viewer.is_due(now_ms) {
                let asks = self.shown.asks(config, &self.stage, subscriber);
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
struct Pictures {
    /// By id.
    tracks: Vec<Shown>,
    /// Who has a picture beside a shared screen, in the order of publishing.
    visible: Vec<ParticipantId>,
}

#[derive(Debug)]
struct Shown {
    id: TrackId,
    owner: ParticipantId,
    screen: bool,
    ladder: Ladder,
}

/// Why a viewer gets what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Own,
    Pinned,
    Screen,
    OnStage,
    Thumbnail,
    Unseen { thumbnails: u16 },
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Own => "one's own picture",
            Role::Pinned => "pinned by its priority",
            Role::Screen => "a shared screen",
            Role::OnStage => "speaks, or did last",
            Role::Thumbnail => "listens",
            Role::Unseen { thumbnails } => {
                return write!(f, "listens, beyond {thumbnails} small pictures");
            }
        })
    }
}

impl Role {
    /// Large pictures come before small ones.
    fn tier(self) -> u8 {
        u8::from(matches!(self, Role::Pinned | Role::Screen | Role::OnStage))
    }

    /// Which of the large pictures comes first.
    fn rank(self, priority: u8) -> u64 {
        match self {
            Role::Pinned => 2 + u64::from(priority),
            Role::Screen => 1,
            Role::OnStage | Role::Own | Role::Thumbnail | Role::Unseen { .. } => 0,
        }
    }
}

impl Pictures {
    fn new(tracks: &[Track]) -> Self {
        let shown = tracks.iter().map(|track| Shown {
            id: track.id,
            owner: track.owner,
            screen: track.source == Source::Screen,
            ladder: Ladder::of(track),
        });
        let mut tracks: Vec<Shown> = shown.collect();
        let pictures = tracks.iter().filter(|t| !t.screen && !t.ladder.is_empty());
        let mut known = BTreeSet::new();
        let owners = pictures.map(|track| track.owner);
        let visible = owners.filter(|owner| known.insert(*owner)).collect();
        tracks.sort_unstable_by_key(|track| track.id);
        Pictures { tracks, visible }
    }

    fn track(&self, id: TrackId) -> Option<&Shown> {
        let at = self.tracks.binary_search_by_key(&id, |track| track.id);
        self.tracks.get(at.ok()?)
    }

    /// What the viewer's subscriptions ask for, in their order. What it wants none of, and what nothing comes
    /// of now, asks for nothing and stays as it is.
    fn asks(&self, config: &Config, stage: &Stage, subscriber: &Subscriber) -> Vec<Ask<'_, Role>> {
        let large = stage.seen_by(subscriber.id, config.speakers.into(), &self.visible);
        let mut asks = Vec::with_capacity(subscriber.subscriptions.len());
        // Small pictures: what matters most first, and of equal ones the first.
        let mut small = Vec::new();
        for subscription in &subscriber.subscriptions {
            let Some(track) = self.track(subscription.track) else {
                continue;
            };
            if subscription.paused || track.ladder.is_empty() {
                continue;
            }
            let role = match track.owner {
                owner if owner == subscriber.id => Role::Own,
                _ if subscription.priority >= config.pinned_priority => Role::Pinned,
                _ if track.screen => Role::Screen,
                owner if large.contains(&owner) => Role::OnStage,
                owner => {
                    let matters = (subscription.priority, stage.heard_ms(owner));
                    small.push((Reverse(matters), asks.len()));
                    Role::Thumbnail
                }
            };
            asks.push(ask(subscription, track, role));
        }
        small.sort_unstable();
        for (place, (_, at)) in small.into_iter().enumerate() {
            let Some(ask) = asks.get_mut(at) else {
                continue;
            };
            ask.rank = u64::MAX - place as u64;
            if place >= config.thumbnails.into() {
                ask.why = Role::Unseen {
                    thumbnails: config.thumbnails,
                };
                ask.steps = Steps::default();
            }
        }
        asks
    }
}

fn ask<'a>(subscription: &Subscription, track: &'a Shown, role: Role) -> Ask<'a, Role> {
    let steps = track.ladder.steps(subscription);
    Ask {
        track: track.id,
        ladder: &track.ladder,
        steps: match role {
            Role::Own | Role::Unseen { .. } => Steps::default(),
            Role::Pinned | Role::Screen | Role::OnStage => steps,
            Role::Thumbnail => steps.smallest(),
        },
        tier: role.tier(),
        rank: role.rank(subscription.priority),
        shown: subscription.spatial,
        why: role,
    }
}

sdk::export!(Speaker: layer_selection);

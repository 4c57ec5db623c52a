//! What changed in a room since its layer policy was shown it.

use std::collections::HashMap;

use rillway_core::api::{LayerInfo, RoomView, SubscriberView, TrackInfo};
use rillway_core::id::{ParticipantId, TrackId};
use rillway_plugin_sdk::{layers, types};

use super::translate;

/// What one instance knows of its room.
#[derive(Debug, Default)]
pub(super) struct Told {
    tracks: HashMap<TrackId, Known<TrackInfo>>,
    subscribers: HashMap<ParticipantId, Known<SubscriberView>>,
    /// Counts views, to find who was not in the last.
    turn: u64,
}

#[derive(Debug)]
struct Known<T> {
    value: T,
    turn: u64,
}

impl Told {
    /// An instance that was shown this.
    pub(super) fn of(view: RoomView) -> Self {
        let known = |value| Known { value, turn: 0 };
        let tracks = view.tracks.into_iter().map(|t| (t.id, known(t)));
        let tracks = tracks.collect();
        let known = |value| Known { value, turn: 0 };
        let subscribers = view.subscribers.into_iter().map(|s| (s.id, known(s)));
        Told {
            tracks,
            subscribers: subscribers.collect(),
            turn: 0,
        }
    }

    /// What it does not know yet of this; known from now on.
    pub(super) fn changes(&mut self, view: RoomView) -> layers::View {
        self.turn += 1;
        let turn = self.turn;
        let mut changes = layers::View {
            now_ms: view.now_ms,
            scope: layers::Scope::Changes,
            subscriptions: translate::subscriptions(&view),
            speakers: translate::participants(&view.speakers),
            ..layers::View::default()
        };
        for track in view.tracks {
            if news(&mut self.tracks, turn, track.id, &track, track_moved) {
                changes.tracks.push(translate::track(track));
            }
        }
        for subscriber in &view.subscribers {
            let id = subscriber.id;
            if news(
                &mut self.subscribers,
                turn,
                id,
                subscriber,
                subscriber_moved,
            ) {
                changes.subscribers.push(translate::subscriber(subscriber));
            }
        }
        let gone = self.tracks.extract_if(|_, known| known.turn != turn);
        changes.tracks_gone = gone.map(|(id, _)| types::TrackId(id.0)).collect();
        let gone = self.subscribers.extract_if(|_, known| known.turn != turn);
        changes.subscribers_gone = gone.map(|(id, _)| types::ParticipantId(id.0)).collect();
        // Maps have no order, and a policy shall be able to do the same again.
        changes.tracks_gone.sort_unstable();
        changes.subscribers_gone.sort_unstable();
        changes
    }
}

/// Whether a value is new or has moved; if so, it is what is known.
fn news<I: std::hash::Hash + Eq, T: Clone>(
    known: &mut HashMap<I, Known<T>>,
    turn: u64,
    id: I,
    now: &T,
    moved: fn(&T, &T) -> bool,
) -> bool {
    match known.get_mut(&id) {
        Some(known) => {
            known.turn = turn;
            let moved = moved(&known.value, now);
            if moved {
                known.value.clone_from(now);
            }
            moved
        }
        None => {
            let value = now.clone();
            known.insert(id, Known { value, turn });
            true
        }
    }
}

/// Whether a measured number moved by more than a sixteenth, and by more than it wavers by itself.
fn moved(before: u32, now: u32, wavers: u32) -> bool {
    before.abs_diff(now) > wavers.max(before / 16) || (before == 0) != (now == 0)
}

/// Bit rates waver by this, bits per second.
const BPS: u32 = 8_000;
/// Frame rates: a frame more or less falls into a second.
const FPS: u32 = 2;
/// Round trips, milliseconds.
const RTT_MS: u32 = 10;
/// Loss, of a thousand.
const LOSS: u32 = 10;

fn track_moved(before: &TrackInfo, now: &TrackInfo) -> bool {
    let TrackInfo {
        id: _,
        owner,
        kind,
        source,
        codec,
        muted,
        layers,
    } = now;
    *owner != before.owner
        || *kind != before.kind
        || *source != before.source
        || *codec != before.codec
        || *muted != before.muted
        || layers.len() != before.layers.len()
        || before
            .layers
            .iter()
            .zip(layers)
            .any(|(before, now)| layer_moved(before, now))
}

fn layer_moved(before: &LayerInfo, now: &LayerInfo) -> bool {
    let LayerInfo {
        spatial,
        temporal,
        rid,
        width,
        height,
        fps,
        bitrate_bps,
        active,
    } = now;
    (*spatial, *temporal, *width, *height, *active)
        != (
            before.spatial,
            before.temporal,
            before.width,
            before.height,
            before.active,
        )
        || *rid != before.rid
        || moved(before.fps.into(), (*fps).into(), FPS)
        || moved(before.bitrate_bps, *bitrate_bps, BPS)
}

fn subscriber_moved(before: &SubscriberView, now: &SubscriberView) -> bool {
    let SubscriberView {
        id: _,
        estimate_bps,
        audio_bps,
        rtt_ms,
        loss_permille,
        subscriptions,
    } = now;
    let estimate = match (before.estimate_bps, *estimate_bps) {
        (Some(before), Some(now)) => moved(before, now, 0),
        (before, now) => before != now,
    };
    estimate
        || *subscriptions != before.subscriptions
        || moved(before.audio_bps, *audio_bps, BPS)
        || moved(before.rtt_ms.into(), (*rtt_ms).into(), RTT_MS)
        || moved(before.loss_permille.into(), (*loss_permille).into(), LOSS)
}

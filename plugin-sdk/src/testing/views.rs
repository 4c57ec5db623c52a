//! Views of what changed.

use crate::layers::{Scope, View};

/// What changed from one whole view of a room to the next, as the router tells a layer policy that asked for
/// [`Scope::Changes`]; but for small movements of measured numbers, which the router does not tell.
#[must_use]
pub fn changes(before: &View, after: &View) -> View {
    let tracks = after.tracks.iter().filter(|t| !before.tracks.contains(t));
    let subscribers = after.subscribers.iter();
    let subscribers = subscribers.filter(|s| !before.subscribers.contains(s));
    let gone = before.tracks.iter().map(|track| track.id);
    let gone = gone.filter(|id| after.tracks.iter().all(|track| track.id != *id));
    let left = before.subscribers.iter().map(|subscriber| subscriber.id);
    let left = left.filter(|id| after.subscribers.iter().all(|s| s.id != *id));
    View {
        now_ms: after.now_ms,
        scope: Scope::Changes,
        tracks: tracks.cloned().collect(),
        tracks_gone: gone.collect(),
        subscribers: subscribers.cloned().collect(),
        subscribers_gone: left.collect(),
        subscriptions: after.subscriptions,
        speakers: after.speakers.clone(),
        attributes: after.attributes.clone(),
    }
}

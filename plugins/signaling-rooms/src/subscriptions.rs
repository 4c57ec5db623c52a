//! The `autoSubscribe` policy: which tracks a client is subscribed to without asking.
//!
//! A client with `autoSubscribe` gets every track while it has free subscriptions; what exceeds them
//! waits, sound before pictures, oldest first, and is subscribed as others end.

use std::collections::{BTreeSet, VecDeque};

use rillway_plugin_sdk::types::{MediaKind, TrackId};

use crate::limits::WAITING_MAX;

/// Subscriptions of one membership.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    /// Whether the client asked for, and its grant allows, subscriptions made for it.
    auto: bool,
    /// How many the host allows at once.
    limit: usize,
    /// Asked of the host and not known to have ended. Not above `limit` by our own doing; requests
    /// of the client are passed on, and the host refuses what exceeds its bound.
    held: BTreeSet<TrackId>,
    /// Audio tracks that wait for a free place.
    waiting_audio: VecDeque<TrackId>,
    /// Video tracks that wait for a free place.
    waiting_video: VecDeque<TrackId>,
}

impl Subscriptions {
    pub(crate) fn new(auto: bool, limit: u16) -> Self {
        Subscriptions {
            auto,
            limit: usize::from(limit),
            held: BTreeSet::new(),
            waiting_audio: VecDeque::new(),
            waiting_video: VecDeque::new(),
        }
    }

    /// A track appeared. It waits until [`Subscriptions::next`] hands it out.
    pub(crate) fn published(&mut self, track: TrackId, kind: MediaKind) {
        let waiting = self.waiting_audio.len() + self.waiting_video.len();
        if !self.auto || waiting >= WAITING_MAX || self.held.contains(&track) {
            return;
        }
        let queue = match kind {
            MediaKind::Audio => &mut self.waiting_audio,
            MediaKind::Video => &mut self.waiting_video,
        };
        if !queue.contains(&track) {
            queue.push_back(track);
        }
    }

    /// A track ended.
    pub(crate) fn unpublished(&mut self, track: TrackId) {
        self.held.remove(&track);
        self.forget(track);
    }

    /// The client asks for it itself. True if it was not held before.
    pub(crate) fn asked(&mut self, track: TrackId) -> bool {
        self.forget(track);
        self.held.insert(track)
    }

    /// The client does not want it (any more).
    pub(crate) fn declined(&mut self, track: TrackId) {
        self.unpublished(track);
    }

    /// The host refused a subscription that was new.
    pub(crate) fn refused(&mut self, track: TrackId) {
        self.held.remove(&track);
    }

    /// The host refused, for want of a free place, a subscription made by [`Subscriptions::next`]:
    /// it waits again. Nothing is retried before something ends, so that this cannot go in circles.
    pub(crate) fn postponed(&mut self, track: TrackId) {
        if self.held.remove(&track) && self.auto && self.waiting_video.len() < WAITING_MAX {
            self.waiting_video.push_front(track);
        }
    }

    /// The next track to subscribe to, if a place is free.
    pub(crate) fn next(&mut self) -> Option<TrackId> {
        if self.held.len() >= self.limit {
            return None;
        }
        let audio = self.waiting_audio.pop_front();
        let track = audio.or_else(|| self.waiting_video.pop_front())?;
        self.held.insert(track);
        Some(track)
    }

    fn forget(&mut self, track: TrackId) {
        self.waiting_audio.retain(|t| *t != track);
        self.waiting_video.retain(|t| *t != track);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: TrackId = TrackId(1);
    const B: TrackId = TrackId(2);
    const C: TrackId = TrackId(3);

    fn drain(s: &mut Subscriptions) -> Vec<TrackId> {
        std::iter::from_fn(|| s.next()).collect()
    }

    #[test]
    fn sound_comes_before_pictures_and_the_rest_waits() {
        let mut s = Subscriptions::new(true, 2);
        s.published(A, MediaKind::Video);
        s.published(B, MediaKind::Video);
        s.published(C, MediaKind::Audio);
        assert_eq!(drain(&mut s), [C, A]);
        s.unpublished(C);
        assert_eq!(drain(&mut s), [B]);
    }

    #[test]
    fn what_the_client_declined_is_not_subscribed_again() {
        let mut s = Subscriptions::new(true, 1);
        s.published(A, MediaKind::Video);
        s.published(B, MediaKind::Video);
        assert_eq!(drain(&mut s), [A]);
        s.declined(B);
        s.declined(A);
        assert_eq!(drain(&mut s), []);
    }

    #[test]
    fn a_refusal_at_the_hosts_bound_is_retried_only_when_something_ends() {
        let mut s = Subscriptions::new(true, 10);
        s.published(A, MediaKind::Video);
        s.published(B, MediaKind::Video);
        assert_eq!(drain(&mut s), [A, B]);
        s.postponed(B);
        s.unpublished(A);
        assert_eq!(drain(&mut s), [B]);
    }

    #[test]
    fn waiting_is_bounded() {
        let mut s = Subscriptions::new(true, 0);
        for id in 0..10_000 {
            s.published(TrackId(id), MediaKind::Audio);
        }
        assert_eq!(s.waiting_audio.len(), WAITING_MAX);
    }

    #[test]
    fn without_auto_nothing_is_subscribed() {
        let mut s = Subscriptions::new(false, 10);
        s.published(A, MediaKind::Audio);
        assert_eq!(drain(&mut s), []);
        assert!(s.asked(A));
        assert!(!s.asked(A));
    }
}

//! Which layer each subscriber gets: wanted by a policy, fitted into the estimate, switched to at a
//! keyframe, or, inside one stream, where its codec allows it.

use std::time::Instant;

use super::Shard;
use super::slab::{ParticipantKey, RoomKey, SubscriptionKey, TrackKey, from_public};
use crate::api::{Decider, Decision, EventKind, MediaKind, Source, Wish};
use crate::id::ParticipantId;
use crate::layers::frame::Level;
use crate::policy::allocate::{Demand, Grant, allocate};
use crate::policy::{Views, built_in};
use crate::subscription::{Subscription, decided};
use crate::track::Track;

/// What the policy in force wants for a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    /// This layer, which is active.
    Layer(Level),
    /// Nothing is active: whatever it is stays.
    Keep,
    /// Nothing is to be forwarded.
    Nothing,
}

/// What all subscriptions of a track need to know for a choice.
#[derive(Clone, Copy)]
struct Scene {
    views: Views,
    /// A policy outside the core is in force.
    external: bool,
}

/// What is wanted for one subscription.
fn want(subscription: &Subscription, scene: &Scene) -> Want {
    let choice = subscription.chosen.as_ref().filter(|_| scene.external);
    let index = match choice {
        Some(choice) if choice.paused => return Want::Nothing,
        Some(choice) => {
            let chosen = Level::new(choice.spatial, choice.temporal);
            scene.views.active_at_most(chosen)
        }
        None => built_in(&scene.views, &subscription.wish),
    };
    index.map_or(Want::Keep, Want::Layer)
}

/// Keeps a decision for whoever asks why.
fn note(now: Instant, subscription: &mut Subscription, scene: &Scene, within: Want) {
    let choice = subscription.chosen.as_ref().filter(|_| scene.external);
    let due = match within {
        Want::Layer(level) => Some(level.spatial),
        Want::Nothing => None,
        // Nothing was decided.
        Want::Keep => return,
    };
    let decision = decided::InForce {
        choice,
        wish: subscription.wish,
        wanted: subscription.wanted.map(|level| level.spatial),
        fit: subscription.fit.map(Grant::fit),
        due,
    };
    subscription.decided.note(now, &decision);
}

/// What is wanted, within what fits.
fn within(want: Want, fit: Option<Grant>, views: &Views) -> Want {
    match (want, fit) {
        (Want::Layer(_), Some(Grant::Nothing)) => Want::Nothing,
        (Want::Layer(wanted), Some(Grant::Most(most))) => views
            .active_at_most(wanted.least(most))
            .map_or(Want::Keep, Want::Layer),
        (want, _) => want,
    }
}

impl Shard {
    fn scene(&self, now: Instant, track: &Track) -> Scene {
        let room = self.rooms.get(track.room);
        Scene {
            views: track.views(now),
            external: room.is_some_and(|room| room.policy_in_force()),
        }
    }

    /// Chooses the layer of every subscription of a track, within what was found to fit.
    pub(super) fn choose_layers(&mut self, now: Instant, key: TrackKey) {
        let Some(track) = self.tracks.get(key) else {
            return;
        };
        if track.kind != MediaKind::Video {
            return;
        }
        self.settle_recording(now, key);
        let Some(track) = self.tracks.get(key).filter(|t| !t.subscriptions.is_empty()) else {
            return;
        };
        let scene = self.scene(now, track);
        for index in 0..track.subscriptions.len() {
            let subscriptions = self.tracks.get(key).map(|track| &track.subscriptions);
            let subscription = subscriptions.and_then(|all| all.get(index).copied());
            if let Some(subscription) = subscription {
                self.settle(now, subscription, &scene);
            }
        }
    }

    /// Chooses the layer of one subscription; the subscriber's others may have to make room for it.
    pub(super) fn choose_layer(&mut self, now: Instant, key: SubscriptionKey) {
        let Some(subscription) = self.subscriptions.get(key).filter(|s| s.video) else {
            return;
        };
        let (subscriber, track) = (subscription.subscriber, subscription.track);
        self.fit_subscriber(now, subscriber);
        if let Some(track) = self.tracks.get(track) {
            let scene = self.scene(now, track);
            self.settle(now, key, &scene);
        }
    }

    /// Chooses the layers of all subscriptions of a participant.
    pub(super) fn choose_for(&mut self, now: Instant, key: ParticipantKey) {
        self.fit_subscriber(now, key);
        let mut index = 0;
        while let Some(subscription) = self.video_subscription(key, &mut index) {
            let track = self.subscriptions.get(subscription).map(|s| s.track);
            if let Some(track) = track.and_then(|track| self.tracks.get(track)) {
                let scene = self.scene(now, track);
                self.settle(now, subscription, &scene);
            }
        }
    }

    /// Chooses the layers of everybody in a room.
    pub(super) fn choose_everywhere(&mut self, now: Instant, key: RoomKey) {
        let Some(room) = self.rooms.get(key) else {
            return;
        };
        for participant in room.participants.clone() {
            self.choose_for(now, participant);
        }
    }

    /// A participant's next subscription to video, from an index on.
    fn video_subscription(
        &self,
        key: ParticipantKey,
        index: &mut usize,
    ) -> Option<SubscriptionKey> {
        let participant = self.participants.get(key)?;
        loop {
            let (_, subscription) = *participant.subscriptions.get(*index)?;
            *index += 1;
            if self.subscriptions.get(subscription)?.video {
                return Some(subscription);
            }
        }
    }

    /// Finds what fits into the estimate of a subscriber's network, audio first. Without an estimate
    /// everything does.
    pub(super) fn fit_subscriber(&mut self, now: Instant, key: ParticipantKey) {
        let Some(estimate) = self.estimate_of(key) else {
            return;
        };
        let mut demands = std::mem::take(&mut self.demands);
        demands.clear();
        let audio_bps = self.collect_demands(now, key, &mut demands);
        self.tell_wanted(key, audio_bps, &demands);
        let budget = u64::from(estimate).saturating_sub(audio_bps.into());
        allocate(budget, &mut demands);
        for demand in &demands {
            let Some(subscription) = self.subscriptions.get_mut(demand.subscription) else {
                continue;
            };
            let before = subscription.fit.replace(demand.granted);
            let track = self.tracks.get(subscription.track);
            if before != Some(demand.granted)
                && let Some(track) = track
            {
                let scene = self.scene(now, track);
                self.settle(now, demand.subscription, &scene);
            }
        }
        self.demands = demands;
    }

    /// Tells congestion control what would be sent if the network carried it: what the client wishes, since
    /// what a policy outside wants may already be what little fits.
    fn tell_wanted(&mut self, key: ParticipantKey, audio_bps: u32, demands: &[Demand]) {
        let wished = demands.iter().map(|demand| {
            let subscription = self.subscriptions.get(demand.subscription);
            let wished = subscription.and_then(|s| built_in(&demand.views, &s.wish));
            demand.views.bps(wished.unwrap_or(demand.wanted))
        });
        let wanted_bps = wished.sum::<u64>() + u64::from(audio_bps);
        let transport = self.participants.get(key).and_then(|p| p.subscribe);
        let transport = transport.and_then(|key| self.transports.get_mut(key));
        if let Some(sender) = transport.and_then(|transport| transport.sender.as_mut()) {
            sender.want(wanted_bps);
        }
    }

    /// What a subscriber's network can carry, where known.
    pub(super) fn estimate_of(&self, key: ParticipantKey) -> Option<u32> {
        let transport = self.participants.get(key)?.subscribe?;
        self.transports.get(transport)?.network.estimate_bps
    }

    /// What a subscriber's video asks for. Returns what its audio takes, bits per second.
    fn collect_demands(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        demands: &mut Vec<Demand>,
    ) -> u32 {
        let Some(participant) = self.participants.get(key) else {
            return 0;
        };
        let Some(room) = self.rooms.get(participant.room) else {
            return 0;
        };
        let external = room.policy_in_force();
        let mut audio_bps = 0_u32;
        for (track_key, subscription_key) in &participant.subscriptions {
            let (Some(track), Some(subscription)) = (
                self.tracks.get(*track_key),
                self.subscriptions.get_mut(*subscription_key),
            ) else {
                continue;
            };
            if subscription.outlet.is_none() || subscription.wish.paused || track.is_muted() {
                continue;
            }
            if !subscription.video {
                audio_bps = audio_bps.saturating_add(track.measured_bps());
                continue;
            }
            let scene = Scene {
                views: track.views(now),
                external,
            };
            let Want::Layer(wanted) = want(subscription, &scene) else {
                // What asks for nothing has no past to be kept when it asks again.
                subscription.fit = None;
                continue;
            };
            demands.push(Demand {
                subscription: *subscription_key,
                views: scene.views,
                wanted,
                before: subscription.fit,
                rank: rank(subscription, track, room.speaks(track.owner_id)),
                cautious: !external,
                granted: Grant::Nothing,
            });
        }
        audio_bps
    }

    /// Brings a subscription to what is wanted for it and fits, and asks for the keyframe that it needs.
    fn settle(&mut self, now: Instant, key: SubscriptionKey, scene: &Scene) {
        let Some(subscription) = self.subscriptions.get_mut(key).filter(|s| s.video) else {
            return;
        };
        let Some(track) = self.tracks.get(subscription.track) else {
            return;
        };
        let wanted = want(subscription, scene);
        let chosen = within(wanted, subscription.fit, &scene.views);
        subscription.wanted = match wanted {
            Want::Layer(level) => Some(level),
            Want::Keep => subscription.wanted,
            Want::Nothing => None,
        };
        if let Want::Layer(level) = chosen {
            (subscription.target, subscription.inside) = track.place_of(level);
        } else if subscription.target.is_none() {
            // Before any packet: whatever comes first will do.
            subscription.target = track.layer_at(0);
        }
        let held = match chosen {
            Want::Nothing => true,
            Want::Layer(_) => false,
            // What was held back for want of room stays so until something is measured.
            Want::Keep => subscription.is_held(),
        };
        note(now, subscription, scene, chosen);
        let news = subscription.hold(held);
        let outlet = subscription.outlet.filter(|_| news && held);
        if let Some(outlet) = outlet
            && let Some(transport) = self.transports.get_mut(outlet.transport)
            && let Some(sender) = &mut transport.sender
        {
            // What still waits for room would come for nothing.
            self.stats.pacer_dropped += sender.supersede(outlet.stream);
        }
        let needed = subscription.needs_keyframe(|layer| track.source_of(layer));
        let paused = subscription.wish.paused;
        let track_key = subscription.track;
        // What is forwarded has another index when layers inside its stream are found.
        if paused || (news && held) || subscription.current.is_some() {
            self.tell_layer(key);
        }
        if let Some(layer) = needed {
            self.ask_keyframe(now, track_key, layer);
        }
    }

    /// Tells a subscriber which layer it gets, if that is news.
    pub(super) fn tell_layer(&mut self, key: SubscriptionKey) {
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return;
        };
        let Some(track) = self.tracks.get(subscription.track) else {
            return;
        };
        let level = track.forwarded(subscription);
        if subscription.told == level {
            return;
        }
        subscription.told = level;
        let (track, room, subscriber) = (track.id, track.room, subscription.subscriber);
        self.touch(room);
        if let Some(client) = self.participants.get(subscriber).map(|p| p.client) {
            self.emit(
                client,
                EventKind::Layer {
                    track,
                    spatial: level.map(|level| level.spatial),
                    temporal: level.map(|level| level.temporal),
                },
            );
        }
    }

    /// Why a participant gets what it gets of each video track it subscribes to; empty for one that is
    /// not here.
    pub fn decisions(&self, subscriber: ParticipantId) -> Vec<Decision> {
        let key = from_public::<ParticipantKey>(self.config.worker, subscriber.0);
        let participant = key.and_then(|key| self.participants.get(key));
        let subscriptions = participant.map(|participant| participant.subscriptions.iter());
        let keys = subscriptions.into_iter().flatten();
        keys.filter_map(|(track, key)| {
            let subscription = self.subscriptions.get(*key).filter(|s| s.video)?;
            Some(self.decision(subscription, self.tracks.get(*track)?))
        })
        .collect()
    }

    fn decision(&self, subscription: &Subscription, track: &Track) -> Decision {
        let room = self.rooms.get(track.room);
        let external = room.is_some_and(|room| room.policy_in_force());
        let (by, reason) = match subscription.chosen.as_ref().filter(|_| external) {
            Some(chosen) => {
                let by = Decider::Policy(chosen.policy.clone());
                (by, chosen.reason.to_string())
            }
            None => (Decider::BuiltIn, built_in_reason(&subscription.wish)),
        };
        let wanted = subscription.wanted.filter(|_| !subscription.wish.paused);
        Decision {
            track: track.id,
            by,
            reason,
            wanted: wanted.map(|level| level.spatial),
            fits: subscription.fit.map(Grant::fit),
            forwarded: track.forwarded(subscription).map(|level| level.spatial),
        }
    }
}

/// The built-in policy in words.
pub(super) fn built_in_reason(wish: &Wish) -> String {
    if wish.paused {
        "the client wants none".to_owned()
    } else if wish.width == 0 && wish.height == 0 {
        "the largest active layer: no size is wished".to_owned()
    } else {
        format!(
            "the smallest active layer of {}x{} at least",
            wish.width, wish.height
        )
    }
}

/// Who is served first where not everything fits: by the client's priority, then shared screens, then
/// whoever speaks.
fn rank(subscription: &Subscription, track: &Track, speaks: bool) -> u16 {
    let priority = u16::from(subscription.wish.priority);
    let screen = u16::from(track.source == Source::Screen);
    priority << 2 | screen << 1 | u16::from(speaks)
}

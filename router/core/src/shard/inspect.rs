//! Pages for operators, and their orders.

use std::time::Instant;

use super::layers::built_in_reason;
use super::slab::{Key, RoomKey, Slab, SubscriptionKey, TrackKey, TransportKey};
use super::{ParticipantKey, Shard, from_public};
use crate::api::{Decider, RequestError};
use crate::egress::congestion::Bounds;
use crate::id::{ParticipantId, TrackId};
use crate::inspect::{
    DecisionView, EstimateBounds, ITEMS_PER_PAGE, Items, NetworkView, Order, Outcome, Page,
    ParticipantView, Query, REASONS_PER_PAGE, REMOVED_PER_ORDER, ReasonView, RoomView,
    SCANNED_PER_PAGE, SubscriptionView, TrackView, TransportView,
};
use crate::participant::Participant;
use crate::subscription::{Subscription, decided};
use crate::track::Track;

/// Work left for one page.
struct Budget {
    items: usize,
    scanned: usize,
}

impl Budget {
    fn new() -> Self {
        Budget {
            items: ITEMS_PER_PAGE,
            scanned: SCANNED_PER_PAGE,
        }
    }

    fn is_spent(&self) -> bool {
        self.items == 0 || self.scanned == 0
    }

    fn scan(&mut self, entries: usize) {
        self.scanned = self.scanned.saturating_sub(entries);
    }
}

/// Goes through a table from a slot on, until the end or as far as the budget goes. At least one value
/// is looked at, so that pages come to an end.
fn page<K: Key, T, V>(
    table: &Slab<K, T>,
    from: u32,
    view: impl Fn(K, &T, &mut Budget) -> Option<V>,
) -> (Vec<V>, Option<u32>) {
    let mut budget = Budget::new();
    let mut found = Vec::new();
    for (slot, value) in table.slots_from(from) {
        if budget.is_spent() {
            return (found, Some(slot));
        }
        budget.scan(1);
        if let Some((key, value)) = value
            && let Some(view) = view(key, value, &mut budget)
        {
            budget.items -= 1;
            found.push(view);
        }
    }
    (found, None)
}

impl Shard {
    /// A page of what is asked for, from the slot that the page before named, at first 0. A room that
    /// does not exist has no items.
    #[must_use]
    pub fn inspect(&self, now: Instant, query: &Query, from: u32) -> Page {
        let room_of =
            |name: &Option<String>| name.as_ref().map(|name| self.room_names.get(name).copied());
        let (items, next) = match query {
            Query::Rooms { name: None } => {
                let (rooms, next) = page(&self.rooms, from, |key, _, b| self.room_view(key, b));
                (Items::Rooms(rooms), next)
            }
            Query::Rooms { name: Some(name) } => {
                let key = self.room_names.get(name.as_str());
                let room = key.and_then(|key| self.room_view(*key, &mut Budget::new()));
                (Items::Rooms(room.into_iter().collect()), None)
            }
            Query::Reasons { participant, track } => {
                let (reasons, next) = self.reasons(now, *participant, *track, from);
                (Items::Reasons(reasons), next)
            }
            Query::Participants { room } => {
                let wanted = room_of(room);
                let (found, next) = page(&self.participants, from, |_, participant, _| {
                    is_wanted(wanted, participant.room)
                        .then(|| self.participant_view(now, participant))
                });
                (Items::Participants(found), next)
            }
            Query::Tracks { room } => {
                let wanted = room_of(room);
                let (found, next) = page(&self.tracks, from, |_, track, _| {
                    let ours = track.mirror.is_none() && is_wanted(wanted, track.room);
                    ours.then(|| self.track_view(now, track))
                });
                (Items::Tracks(found), next)
            }
            Query::Subscriptions { room, participant } => {
                let wanted = room_of(room);
                if let Some(participant) = participant {
                    let (found, next) = self.subscriptions_of(*participant, wanted, from);
                    return Page {
                        items: Items::Subscriptions(found),
                        next,
                    };
                }
                let (found, next) = page(&self.subscriptions, from, |_, subscription, _| {
                    let track = self.tracks.get(subscription.track)?;
                    is_wanted(wanted, track.room)
                        .then(|| self.subscription_view(subscription, track))?
                });
                (Items::Subscriptions(found), next)
            }
        };
        Page { items, next }
    }

    fn participant_key(&self, id: ParticipantId) -> Option<ParticipantKey> {
        let key = from_public::<ParticipantKey>(self.config.worker, id.0)?;
        self.participants.get(key).map(|_| key)
    }

    fn room_name(&self, key: RoomKey) -> String {
        self.rooms
            .get(key)
            .map_or_else(String::new, |room| room.name.to_string())
    }

    fn room_view(&self, key: RoomKey, budget: &mut Budget) -> Option<RoomView> {
        let room = self.rooms.get(key)?;
        budget.scan(room.participants.len());
        let participants = room.participants.iter();
        let participants = participants.filter_map(|key| self.participants.get(*key));
        let mut view = RoomView {
            name: room.name.to_string(),
            participants: count(room.participants.len()),
            tracks: 0,
            subscriptions: 0,
            received_bps: 0,
            traffic: room.ended,
        };
        for participant in participants {
            for key in [participant.publish, participant.subscribe] {
                if let Some(transport) = key.and_then(|key| self.transports.get(key)) {
                    view.traffic.add(&transport.traffic);
                }
            }
            view.subscriptions += count(participant.subscriptions.len());
            for track in self.tracks_of(participant) {
                view.tracks += 1;
                let layers = track.layers.iter();
                view.received_bps += layers.map(|l| u64::from(l.measured_bps())).sum::<u64>();
            }
        }
        Some(view)
    }

    fn tracks_of(&self, participant: &Participant) -> impl Iterator<Item = &Track> {
        let transport = participant.publish.and_then(|key| self.transports.get(key));
        let tracks = transport
            .into_iter()
            .flat_map(|transport| transport.streams.tracks().iter());
        tracks.filter_map(|(_, key): &(_, TrackKey)| self.tracks.get(*key))
    }

    fn participant_view(&self, now: Instant, participant: &Participant) -> ParticipantView {
        ParticipantView {
            info: participant.info.clone(),
            room: self.room_name(participant.room),
            expires_at_ms: participant.grant.expires_at_ms,
            publish: participant
                .publish
                .and_then(|key| self.transport_view(now, key)),
            subscribe: participant
                .subscribe
                .and_then(|key| self.transport_view(now, key)),
            tracks: count(self.tracks_of(participant).count()),
            subscriptions: count(participant.subscriptions.len()),
        }
    }

    fn transport_view(&self, now: Instant, key: TransportKey) -> Option<TransportView> {
        let transport = self.transports.get(key)?;
        let in_use = transport.path_in_use();
        let path = in_use.and_then(|(socket, remote)| {
            let local = self.config.local_addresses.get(usize::from(socket.0));
            Some((*local?, remote))
        });
        let protocol = in_use.map(|(socket, _)| self.factory.protocol(socket));
        Some(TransportView {
            state: transport.state,
            path,
            tcp: protocol == Some(str0m::net::Protocol::Tcp),
            network: self.network_view(now, key),
            traffic: transport.traffic,
        })
    }

    pub(super) fn network_view(&self, now: Instant, key: TransportKey) -> Option<NetworkView> {
        let transport = self.transports.get(key)?;
        let known = transport.sender.as_ref()?.bounds(now);
        let network = &transport.network;
        Some(NetworkView {
            estimate_bps: network.estimate_bps,
            bounds: bounds(known),
            queue_ms: known.queue_ms,
            rtt_ms: network.rtt_ms,
            loss_permille: network.loss_permille,
        })
    }

    fn track_view(&self, now: Instant, track: &Track) -> TrackView {
        let mut info = track.info(now);
        // Operators see each size of picture once, with all its frames.
        info.layers.dedup_by(|above, below| {
            let same = above.spatial == below.spatial;
            if same {
                below.fps = below.fps.max(above.fps);
                below.bitrate_bps = below.bitrate_bps.saturating_add(above.bitrate_bps);
                below.active |= above.active;
            }
            same
        });
        let sizes = info.layers.iter();
        let sizes = sizes.map(|l| (l.width > 0).then_some((l.width, l.height)));
        let sizes = sizes.collect();
        TrackView {
            info,
            room: self.room_name(track.room),
            identity: self.publisher_identity(track),
            sizes,
            subscriptions: count(track.subscriptions.len()),
            muted_by_owner: track.muted_by_owner,
            muted_by_operator: track.muted_by_operator,
        }
    }

    /// Who publishes a track, here or in another part of the room.
    fn publisher_identity(&self, track: &Track) -> String {
        let here = self.participants.get(track.owner).map(|p| &p.info);
        let room = self.rooms.get(track.room);
        let elsewhere = || room?.elsewhere().find(|info| info.id == track.owner_id);
        here.or_else(elsewhere)
            .map_or_else(String::new, |info| info.identity.clone())
    }

    fn subscription_view(
        &self,
        subscription: &Subscription,
        track: &Track,
    ) -> Option<SubscriptionView> {
        let subscriber = self.participants.get(subscription.subscriber)?;
        Some(SubscriptionView {
            room: self.room_name(track.room),
            subscriber: subscriber.id,
            identity: subscriber.info.identity.clone(),
            track: track.id,
            publisher: track.owner_id,
            publisher_identity: self.publisher_identity(track),
            video: subscription.video,
            wish: subscription.wish,
            negotiated: subscription.outlet.is_some(),
            spatial: track.forwarded(subscription).map(|level| level.spatial),
            target: track.aimed_at(subscription).map(|level| level.spatial),
            held: subscription.is_held(),
            packets: subscription.packets,
            bytes: subscription.bytes,
            bitrate_bps: forwarded_bps(subscription, track),
        })
    }

    /// Subscriptions of a participant with their tracks, from a slot on, by slot: `most` of them, and where the
    /// next page begins.
    fn received<'a>(
        &'a self,
        participant: &'a Participant,
        from: u32,
        most: usize,
    ) -> (Vec<(&'a Subscription, &'a Track)>, Option<u32>) {
        let slot = |(_, key): &(TrackKey, SubscriptionKey)| key.slot();
        let all = participant.subscriptions.iter();
        let mut keys: Vec<_> = all.filter(|both| slot(both) >= from).copied().collect();
        keys.sort_unstable_by_key(slot);
        let next = keys.get(most).map(slot);
        keys.truncate(most);
        let both = keys.into_iter().filter_map(|(track, key)| {
            Some((self.subscriptions.get(key)?, self.tracks.get(track)?))
        });
        (both.collect(), next)
    }

    /// What a participant receives.
    fn subscriptions_of(
        &self,
        id: ParticipantId,
        room: Option<Option<RoomKey>>,
        from: u32,
    ) -> (Vec<SubscriptionView>, Option<u32>) {
        let participant = self
            .participant_key(id)
            .and_then(|key| self.participants.get(key))
            .filter(|participant| is_wanted(room, participant.room));
        let Some(participant) = participant else {
            return (Vec::new(), None);
        };
        let (received, next) = self.received(participant, from, ITEMS_PER_PAGE);
        let views = received.into_iter();
        let views = views.filter_map(|(one, track)| self.subscription_view(one, track));
        (views.collect(), next)
    }

    /// Why a participant gets what it gets.
    fn reasons(
        &self,
        now: Instant,
        id: ParticipantId,
        only: Option<TrackId>,
        from: u32,
    ) -> (Vec<ReasonView>, Option<u32>) {
        let participant = self.participant_key(id);
        let Some(participant) = participant.and_then(|key| self.participants.get(key)) else {
            return (Vec::new(), None);
        };
        let network = participant
            .subscribe
            .and_then(|key| self.network_view(now, key));
        let audio_bps = self.sound_bps(participant);
        let reason = |subscription: &Subscription, track: &Track| {
            let decided = subscription.decided.iter();
            Some(ReasonView {
                subscription: self.subscription_view(subscription, track)?,
                track: self.track_view(now, track),
                network,
                audio_bps,
                decisions: decided
                    .map(|decision| decision_view(now, decision))
                    .collect(),
            })
        };
        let (received, next) = match only {
            None => self.received(participant, from, REASONS_PER_PAGE),
            Some(only) => {
                let (mut all, _) = self.received(participant, 0, usize::MAX);
                all.retain(|(_, track)| track.id == only);
                (all, None)
            }
        };
        let views = received.into_iter();
        let views = views.filter_map(|(subscription, track)| reason(subscription, track));
        (views.collect(), next)
    }

    /// What the sound takes that a participant receives, bits per second.
    fn sound_bps(&self, participant: &Participant) -> u32 {
        let both = |(track, key): &(TrackKey, SubscriptionKey)| {
            Some((self.subscriptions.get(*key)?, self.tracks.get(*track)?))
        };
        let all = participant.subscriptions.iter().filter_map(both);
        let sounds = all.filter(|(s, _)| !s.video && s.outlet.is_some() && !s.wish.paused);
        sounds.fold(0_u32, |sum, (_, track)| {
            sum.saturating_add(track.measured_bps())
        })
    }

    /// Carries an operator's order out. Clients are told by events.
    ///
    /// # Errors
    /// [`RequestError::NotFound`]; nothing changed then.
    pub fn administer(&mut self, now: Instant, order: &Order) -> Result<Outcome, RequestError> {
        match order {
            Order::Kick {
                participant,
                reason,
            } => {
                let key = self
                    .participant_key(*participant)
                    .ok_or_else(|| RequestError::NotFound("participant".into()))?;
                self.remove_participant(now, key, Some(reason.clone()));
                Ok(Outcome {
                    removed: 1,
                    left: 0,
                })
            }
            Order::CloseRoom { room, reason } => self.close_room(now, room, reason),
            Order::Mute { track, muted } => {
                let key = from_public::<TrackKey>(self.config.worker, track.0);
                let found = key.and_then(|key| Some((key, self.tracks.get_mut(key)?)));
                let (key, track) = found.ok_or_else(|| RequestError::NotFound("track".into()))?;
                let before = track.is_muted();
                track.muted_by_operator = *muted;
                self.settle_mute(now, key, before);
                Ok(Outcome::default())
            }
        }
    }

    fn close_room(
        &mut self,
        now: Instant,
        name: &str,
        reason: &str,
    ) -> Result<Outcome, RequestError> {
        let room = self.room_names.get(name).copied();
        let room = room.and_then(|key| self.rooms.get(key));
        let room = room.ok_or_else(|| RequestError::NotFound("room".into()))?;
        let all = room.participants.len();
        let first: Vec<ParticipantKey> = room
            .participants
            .iter()
            .take(REMOVED_PER_ORDER)
            .copied()
            .collect();
        for key in &first {
            self.remove_participant(now, *key, Some(reason.to_owned()));
        }
        Ok(Outcome {
            removed: count(first.len()),
            left: count(all - first.len()),
        })
    }
}

/// `wanted`: `None` is any room, `Some(None)` one that does not exist.
fn is_wanted(wanted: Option<Option<RoomKey>>, room: RoomKey) -> bool {
    wanted.is_none_or(|wanted| wanted == Some(room))
}

/// Bits per second of what a subscription forwards now, as it arrives.
fn forwarded_bps(subscription: &Subscription, track: &Track) -> u32 {
    if subscription.outlet.is_none() || subscription.is_paused() || track.is_muted() {
        return 0;
    }
    let layer = subscription.current;
    let layer = layer.and_then(|layer| track.layers.get(usize::from(layer)));
    layer.map_or(0, crate::layers::Layer::measured_bps)
}

fn decision_view(now: Instant, decision: &decided::Decision) -> DecisionView {
    let (by, reason) = match &decision.by {
        Some((policy, reason)) => (Decider::Policy(policy.clone()), reason.to_string()),
        None => (Decider::BuiltIn, built_in_reason(&decision.wish)),
    };
    DecisionView {
        age: now.saturating_duration_since(decision.at),
        by,
        reason,
        chosen: decision.chosen,
        wanted: decision.wanted,
        fits: decision.fit,
        due: decision.due,
    }
}

fn bounds(known: Bounds) -> EstimateBounds {
    EstimateBounds {
        delay_bps: known.delay_bps,
        loss_bps: known.loss_bps,
        probe_bps: known.probe_bps,
        remb_bps: known.remb_bps,
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

//! Rooms as the control side watches them: events, views for its layer policies, and its orders.

use std::time::Instant;

use super::Shard;
use super::slab::{ParticipantKey, RoomKey, SubscriptionKey, from_public, to_public};
use super::timers::Timer;
use crate::api::{
    Choice, Choices, EventKind, MediaKind, RoomEvent, RoomEventKind, RoomOrder, RoomOrderKind,
    RoomView, SubscriberView, SubscriptionView,
};
use crate::id::{ParticipantId, RoomId};
use crate::limits::REASON_BYTES;
use crate::participant::Participant;
use crate::policy::external::External;
use crate::room::Room;
use crate::subscription::Chosen;

impl Shard {
    /// Reports from now on when rooms open and close, by [`Shard::poll_room_event`]; those open now are
    /// reported at once.
    pub fn announce_rooms(&mut self) {
        self.announce = true;
        let named: Vec<_> = self.room_names.values().copied().collect();
        for key in named {
            self.announce_opened(key);
        }
    }

    /// Reports a room as new that the control side was told is closed: nothing is watched or recorded
    /// in it.
    pub fn announce_again(&mut self, now: Instant, room: RoomId) {
        let Some(key) = from_public::<RoomKey>(self.config.worker, room.0) else {
            return;
        };
        self.leave_layers(now, key);
        self.forget_recordings(key);
        if let Some(room) = self.rooms.get_mut(key) {
            room.watched = false;
            self.announce_opened(key);
        }
    }

    /// The next event about a room. Only if somebody asked for any.
    pub fn poll_room_event(&mut self) -> Option<RoomEvent> {
        self.room_events.pop_front()
    }

    /// Carries out what the control side wants of a room.
    pub fn handle_order(&mut self, now: Instant, order: RoomOrder) {
        let Some(key) = from_public::<RoomKey>(self.config.worker, order.room.0) else {
            return;
        };
        if self.rooms.get(key).is_none() {
            return;
        }
        match order.kind {
            RoomOrderKind::WatchEvents => self.watch_events(now, key),
            RoomOrderKind::WatchLayers { every } => {
                self.leave_layers(now, key);
                if let Some(room) = self.rooms.get_mut(key) {
                    room.external = Some(External::new(every, room.view_sequence()));
                }
                self.touch(key);
            }
            RoomOrderKind::LeaveLayers => self.leave_layers(now, key),
            RoomOrderKind::ShowAgain => self.touch(key),
            RoomOrderKind::Choose(choices) => self.choose(now, key, choices),
            RoomOrderKind::PolicyFailed => self.policy_failed(now, key),
            RoomOrderKind::Record(track) => self.begin_recording(now, key, track),
            RoomOrderKind::StopRecording(track) => self.stop_recording(key, track),
            RoomOrderKind::AskKeyframe(track) => self.recorder_needs_keyframe(now, key, track),
        }
    }

    /// The room's public id.
    fn room_id(&self, key: RoomKey) -> RoomId {
        RoomId(to_public(self.config.worker, key))
    }

    pub(super) fn tell(&mut self, key: RoomKey, kind: RoomEventKind) {
        let room = self.room_id(key);
        self.room_events.push_back(RoomEvent { room, kind });
    }

    /// The room has its first participant.
    pub(super) fn announce_opened(&mut self, key: RoomKey) {
        if let Some(room) = self.rooms.get(key)
            && self.announce
        {
            let name = room.name.to_string();
            self.tell(key, RoomEventKind::Opened { name });
        }
    }

    /// The room is empty and gone.
    pub(super) fn announce_closed(&mut self, key: RoomKey) {
        if self.announce {
            self.tell(key, RoomEventKind::Closed);
        }
    }

    /// Something happened in a room that everybody in it is told.
    pub(super) fn note(&mut self, key: RoomKey, kind: &dyn Fn() -> EventKind) {
        let watched = self.rooms.get(key).is_some_and(|room| room.watched);
        if watched && let Some(kind) = as_room_event(kind()) {
            self.tell(key, kind);
        }
        self.touch(key);
    }

    /// A view of the room would differ from the last one.
    pub(super) fn touch(&mut self, key: RoomKey) {
        if let Some(room) = self.rooms.get_mut(key)
            && let Some(external) = &mut room.external
        {
            external.touch();
            if !room.touched {
                room.touched = true;
                self.touched.push(key);
            }
        }
    }

    /// At the end of a turn: views that became due get their timers.
    pub(super) fn arm_views(&mut self, now: Instant) {
        while let Some(key) = self.touched.pop() {
            if let Some(room) = self.rooms.get_mut(key) {
                room.touched = false;
                self.arm_view(now, key);
            }
        }
    }

    fn arm_view(&mut self, now: Instant, key: RoomKey) {
        let external = self.rooms.get_mut(key).and_then(|r| r.external.as_mut());
        if let Some(external) = external
            && let Some(at) = external.next(now)
        {
            self.timers.arm(&mut external.timer, Timer::View(key), at);
        }
    }

    /// A room with a policy outside the core: views, and that policy's silence.
    pub(super) fn on_view_timer(&mut self, now: Instant, key: RoomKey) {
        let external = self.rooms.get_mut(key).and_then(|r| r.external.as_mut());
        let Some(external) = external else {
            return;
        };
        external.timer = None;
        let lapsed = external.lapses(now);
        let sequence = external.take_view(now);
        if lapsed {
            self.stats.layer_fallbacks += 1;
            self.choose_everywhere(now, key);
        }
        if let Some(sequence) = sequence
            && let Some(view) = self.view(now, key, sequence)
        {
            self.stats.layer_views += 1;
            self.tell(key, RoomEventKind::View(Box::new(view)));
        }
        self.arm_view(now, key);
    }

    /// Disarms what a room leaves behind.
    pub(super) fn forget_view_timer(&mut self, key: RoomKey) {
        let Some(room) = self.rooms.get_mut(key) else {
            return;
        };
        if let Some(external) = &mut room.external {
            self.timers.disarm(&mut external.timer, Timer::View(key));
        }
        if room.touched {
            self.touched.retain(|known| *known != key);
        }
    }

    fn watch_events(&mut self, now: Instant, key: RoomKey) {
        let Some(room) = self.rooms.get_mut(key) else {
            return;
        };
        if std::mem::replace(&mut room.watched, true) {
            return;
        }
        let speakers = room.speakers().to_vec();
        for info in self.local_infos(key) {
            self.tell(key, RoomEventKind::Joined(info));
        }
        for track in self.local_tracks(key) {
            if let Some(info) = self.tracks.get(track).map(|track| track.info(now)) {
                self.tell(key, RoomEventKind::Published(info));
            }
        }
        if !speakers.is_empty() {
            self.tell(key, RoomEventKind::Speakers(speakers));
        }
    }

    fn leave_layers(&mut self, now: Instant, key: RoomKey) {
        self.forget_view_timer(key);
        if self.rooms.get_mut(key).is_some_and(Room::leave_policy) {
            self.forget_choices(now, key);
        }
    }

    fn policy_failed(&mut self, now: Instant, key: RoomKey) {
        let external = self.rooms.get_mut(key).and_then(|r| r.external.as_mut());
        let Some(external) = external else {
            return;
        };
        if external.fail() {
            self.stats.layer_fallbacks += 1;
        }
        self.forget_choices(now, key);
        self.touch(key);
    }

    /// The built-in policy decides for everybody in the room.
    fn forget_choices(&mut self, now: Instant, key: RoomKey) {
        let participants = self.rooms.get(key).map(|room| room.participants.clone());
        for participant in participants.unwrap_or_default() {
            let Some(participant) = self.participants.get(participant) else {
                continue;
            };
            for (_, subscription) in &participant.subscriptions {
                if let Some(subscription) = self.subscriptions.get_mut(*subscription) {
                    subscription.chosen = None;
                }
            }
        }
        self.choose_everywhere(now, key);
    }

    fn choose(&mut self, now: Instant, key: RoomKey, choices: Choices) {
        let count = choices.choices.len() as u64;
        let external = self.rooms.get_mut(key).and_then(|r| r.external.as_mut());
        let Some(enters) = external.and_then(|external| external.answer(choices.view)) else {
            self.stats.layer_choices_stale += count;
            return;
        };
        let Choices {
            view,
            policy,
            choices,
        } = choices;
        let mut concerned: Vec<ParticipantKey> = Vec::new();
        for choice in choices {
            let Some((subscriber, subscription)) = self.subject(key, &choice) else {
                self.stats.layer_choices_refused += 1;
                continue;
            };
            let Some(subscription) = self.subscriptions.get_mut(subscription) else {
                continue;
            };
            if subscription.born >= view {
                self.stats.layer_choices_stale += 1;
                continue;
            }
            self.stats.layer_choices += 1;
            subscription.chosen = Some(Chosen {
                spatial: choice.spatial,
                temporal: choice.temporal,
                paused: choice.paused,
                policy: policy.clone(),
                reason: cut(choice.reason, REASON_BYTES).into(),
            });
            if concerned.last() != Some(&subscriber) {
                concerned.push(subscriber);
            }
        }
        if enters {
            self.choose_everywhere(now, key);
        } else {
            concerned.sort_unstable();
            concerned.dedup();
            for subscriber in concerned {
                self.choose_for(now, subscriber);
            }
        }
        self.arm_view(now, key);
    }

    /// The subscription a choice is about: to a video track, of a participant of this room.
    fn subject(&self, room: RoomKey, choice: &Choice) -> Option<(ParticipantKey, SubscriptionKey)> {
        let worker = self.config.worker;
        let subscriber = from_public::<ParticipantKey>(worker, choice.subscriber.0)?;
        let participant = self.participants.get(subscriber)?;
        if participant.room != room {
            return None;
        }
        let track = self.known_track(choice.track)?;
        let subscription = participant.subscription(track)?;
        let video = self.subscriptions.get(subscription)?.video;
        video.then_some((subscriber, subscription))
    }

    /// Everything a layer policy decides from.
    fn view(&self, now: Instant, key: RoomKey, sequence: u64) -> Option<RoomView> {
        let room = self.rooms.get(key)?;
        let tracks = self.room_tracks(key);
        let videos = tracks
            .iter()
            .filter_map(|key| self.tracks.get(*key))
            .filter(|track| track.kind == MediaKind::Video)
            .map(|track| track.info(now));
        let subscribers = room
            .participants
            .iter()
            .filter_map(|key| self.subscriber_view(self.participants.get(*key)?));
        let age = now.saturating_duration_since(self.began);
        Some(RoomView {
            sequence,
            now_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            tracks: videos.collect(),
            subscribers: subscribers.collect(),
            speakers: room.speakers().to_vec(),
        })
    }

    /// `None`: it subscribes to no video.
    fn subscriber_view(&self, participant: &Participant) -> Option<SubscriberView> {
        let mut audio_bps = 0_u32;
        let mut subscriptions = Vec::with_capacity(participant.subscriptions.len());
        for (track, key) in &participant.subscriptions {
            let (Some(track), Some(subscription)) =
                (self.tracks.get(*track), self.subscriptions.get(*key))
            else {
                continue;
            };
            if subscription.video {
                let level = track.forwarded(subscription);
                subscriptions.push(SubscriptionView {
                    wish: subscription.wish,
                    spatial: level.map(|level| level.spatial),
                    temporal: level.map(|level| level.temporal),
                });
            } else if subscription.outlet.is_some() && !subscription.wish.paused {
                audio_bps = audio_bps.saturating_add(track.measured_bps());
            }
        }
        if subscriptions.is_empty() {
            return None;
        }
        let transport = participant.subscribe.and_then(|t| self.transports.get(t));
        let network = transport.map(|transport| &transport.network);
        Some(SubscriberView {
            id: participant.id,
            estimate_bps: network.and_then(|network| network.estimate_bps),
            audio_bps,
            rtt_ms: network.map_or(0, |network| network.rtt_ms),
            loss_permille: network.map_or(0, |network| network.loss_permille),
            subscriptions,
        })
    }

    /// Sets the estimate of a participant's network toward it, in place of its congestion control from now
    /// on.
    #[doc(hidden)]
    pub fn inject_estimate(&mut self, now: Instant, subscriber: ParticipantId, bps: u64) {
        let key = from_public::<ParticipantKey>(self.config.worker, subscriber.0);
        let transport = key
            .and_then(|key| self.participants.get(key))
            .and_then(|participant| participant.subscribe);
        if let Some(key) = transport {
            if let Some(transport) = self.transports.get_mut(key) {
                transport.network.given = true;
            }
            self.on_estimate(now, key, bps);
        }
    }
}

/// What the control side hears of what everybody in a room hears.
fn as_room_event(kind: EventKind) -> Option<RoomEventKind> {
    Some(match kind {
        EventKind::ParticipantJoined(info) => RoomEventKind::Joined(info),
        EventKind::ParticipantLeft(id) => RoomEventKind::Left(id),
        EventKind::TrackPublished(info) => RoomEventKind::Published(info),
        EventKind::TrackUnpublished(id) => RoomEventKind::Unpublished(id),
        EventKind::TrackMuted(id, muted) => RoomEventKind::Muted(id, muted),
        EventKind::Speakers(speakers) => {
            RoomEventKind::Speakers(speakers.into_iter().map(|(id, _)| id).collect())
        }
        _ => return None,
    })
}

/// At most so many bytes of a text, whole characters.
fn cut(mut text: String, most: usize) -> String {
    let end = (0..=most.min(text.len())).rev();
    let end = end.into_iter().find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or_default());
    text
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("short".into(), 9), "short");
        assert_eq!(cut("ab\u{e9}d".into(), 3), "ab");
        assert_eq!(cut("ab\u{e9}d".into(), 4), "ab\u{e9}");
        assert_eq!(cut(String::new(), 0), "");
    }
}

//! What crosses between the parts of a room on several workers: packets, and what belongs to them.

use std::sync::Arc;
use std::time::Instant;
use std::vec::Drain;

use str0m::rtp::RtpPacket;

use super::Shard;
use super::incoming::{Incoming, Observed, When};
use super::slab::{RoomKey, SubscriptionKey, TrackKey, from_public};
use super::timers::Timer;
use crate::crossing::{Crossing, Kind, Packed};
use crate::egress::history::Packet;
use crate::id::{ParticipantId, TrackId, WorkerId};
use crate::limits::ROOM_TICK;
use crate::transport::streams::Destination;

/// Places for crossings kept between turns.
const OUTBOUND_KEPT: usize = 1_024;

impl Shard {
    /// What the turn has for other workers' shards, in order. To be called after each [`Shard::flush`].
    pub fn drain_crossings(&mut self) -> Drain<'_, (WorkerId, Crossing)> {
        if self.outbound.is_empty() {
            self.outbound.shrink_to(OUTBOUND_KEPT);
        }
        self.outbound.drain(..)
    }

    /// Something came from another worker's shard.
    pub fn handle_crossing(&mut self, now: Instant, from: WorkerId, crossing: Crossing) {
        match crossing.0 {
            Kind::Packet(packed) => self.on_crossed_packet(now, packed),
            Kind::Interest(track, wanted) => self.on_interest(from, track, wanted),
            Kind::Keyframe(track, layer) => self.on_crossed_keyframe(now, track, layer),
            Kind::Unpublished(track) => {
                if let Some(key) = self.mirrors.get(&track).copied() {
                    self.end_track(now, key);
                }
            }
            Kind::Muted(track, muted) => self.on_muted_elsewhere(now, track, muted),
            Kind::Roster {
                room,
                participants,
                tracks,
                answer,
            } => self.on_roster(now, from, &room, (participants, tracks), answer),
            Kind::Joined(room, info) => {
                if let Some(key) = self.open_room(&room) {
                    self.on_joined_elsewhere(key, from, &info);
                }
            }
            Kind::Left(room, id) => {
                if let Some(key) = self.open_room(&room) {
                    self.on_left_elsewhere(key, from, id);
                }
            }
            Kind::Published(room, published) => {
                if let Some(key) = self.open_room(&room) {
                    self.on_published_elsewhere(now, key, from, &published);
                }
            }
            Kind::Levels(room, levels) => {
                if let Some(key) = self.open_room(&room) {
                    self.on_levels(now, key, from, levels);
                }
            }
            Kind::Data(room, label, message) => {
                if let Some(key) = self.open_room(&room) {
                    self.deliver_to_all(now, key, None, label, &message);
                }
            }
            Kind::Signaled {
                room,
                from,
                to,
                label,
                payload,
            } => {
                if let Some(key) = self.open_room(&room) {
                    self.hand_signaled(key, from, &to, &label, &payload);
                }
            }
        }
    }

    fn open_room(&self, name: &str) -> Option<RoomKey> {
        self.room_names.get(name).copied()
    }

    /// Gives a packet to every part that subscribes to its track: one crossing each.
    pub(super) fn cross_packet(
        &mut self,
        incoming: &Incoming,
        packet: &RtpPacket,
        passed_on: &Packet,
    ) {
        let Some(params) = self.sent_params(incoming.track, incoming.format.payload_type) else {
            return;
        };
        let Some(track) = self.tracks.get(incoming.track) else {
            return;
        };
        for worker in &track.watchers {
            let packed = Packed {
                track: track.id,
                layer: incoming.layer,
                video: incoming.video,
                ssrc: *packet.header.ssrc,
                header_bytes: packet.header.header_len as u16,
                params,
                packet: passed_on.clone(),
            };
            self.stats.crossed_out += 1;
            self.outbound
                .push((*worker, Crossing(Kind::Packet(packed))));
        }
    }

    /// A packet of a publisher in another part: as if it had come in here.
    fn on_crossed_packet(&mut self, now: Instant, packed: Packed) {
        self.stats.crossed_in += 1;
        let Some(key) = self.mirrors.get(&packed.track).copied() else {
            return;
        };
        let destination = Destination {
            track: key,
            layer: packed.layer,
        };
        let Packed { packet, params, .. } = packed;
        if let Some(mirror) = self.tracks.get_mut(key).and_then(|t| t.mirror.as_mut()) {
            mirror.params = Some(params);
        }
        let Some(format) = self.format_of(key, params.pt()) else {
            return;
        };
        let observed = Observed {
            ssrc: packed.ssrc,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            header_bytes: packed.header_bytes.into(),
            payload: &packet.payload,
            marker: packet.marker,
            dependency: packet.dependency.as_deref(),
            audio_level: None,
            when: When::Captured(packet.captured),
        };
        let Some(incoming) = self.observe(now, destination, format, &observed) else {
            return;
        };
        self.pass_on(now, incoming, &packet);
    }

    /// Another part subscribes to a track of ours, or does no more.
    fn on_interest(&mut self, from: WorkerId, id: TrackId, wanted: bool) {
        let key = from_public::<TrackKey>(self.config.worker, id.0);
        let Some(track) = key.and_then(|key| self.tracks.get_mut(key)) else {
            return;
        };
        track.watchers.retain(|known| *known != from);
        if wanted {
            track.watchers.push(from);
        }
    }

    /// Tells a mirrored track's worker whether somebody here subscribes to it, if that is news.
    pub(super) fn settle_interest(&mut self, key: TrackKey) {
        let Some(track) = self.tracks.get_mut(key) else {
            return;
        };
        let wanted = !track.subscriptions.is_empty();
        let Some(mirror) = track.mirror.as_mut().filter(|m| m.wanted != wanted) else {
            return;
        };
        mirror.wanted = wanted;
        let interest = Crossing(Kind::Interest(track.id, wanted));
        self.outbound.push((mirror.worker, interest));
        if !wanted {
            // Nothing comes any more: what comes later has nothing to do with it.
            track.interrupt();
        }
    }

    /// Somebody in another part needs a keyframe.
    fn on_crossed_keyframe(&mut self, now: Instant, id: TrackId, layer: u8) {
        if let Some(key) = from_public::<TrackKey>(self.config.worker, id.0) {
            self.ask_keyframe(now, key, layer);
        }
    }

    /// Who speaks in another part.
    fn on_levels(
        &mut self,
        now: Instant,
        key: RoomKey,
        from: WorkerId,
        levels: Vec<(ParticipantId, u8)>,
    ) {
        let Some(room) = self.rooms.get_mut(key) else {
            return;
        };
        if let Some(part) = room.part(from) {
            part.levels = levels;
            self.timers
                .arm(&mut room.timer, Timer::Room(key), now + ROOM_TICK);
        }
    }

    /// Adds who speaks in other parts, after these have been told who speaks here.
    pub(super) fn share_levels(&mut self, key: RoomKey, speakers: &mut Vec<(ParticipantId, u8)>) {
        let Some(room) = self.rooms.get_mut(key).filter(|r| !r.parts.is_empty()) else {
            return;
        };
        let before = std::mem::replace(&mut room.levels_told, !speakers.is_empty());
        if before || !speakers.is_empty() {
            self.cross(key, &|room| Kind::Levels(room, speakers.clone()));
        }
        if let Some(room) = self.rooms.get(key) {
            speakers.extend(room.parts.iter().flat_map(|part| &part.levels));
        }
    }

    /// Hands data that came through signaling in another part, or here, to whom it is for.
    pub(super) fn hand_signaled(
        &mut self,
        room: RoomKey,
        from: ParticipantId,
        to: &[ParticipantId],
        label: &str,
        payload: &[u8],
    ) {
        let receivers = self.rooms.get(room).map(|room| room.participants.clone());
        for receiver in receivers.unwrap_or_default() {
            let Some(receiver) = self.participants.get(receiver) else {
                continue;
            };
            let meant = to.is_empty() || to.contains(&receiver.id);
            if !meant || receiver.id == from || receiver.unanswered.is_some() {
                continue;
            }
            let client = receiver.client;
            self.stats.data_forwarded += 1;
            let data = crate::api::EventKind::Data {
                from,
                label: label.to_owned(),
                payload: payload.to_vec(),
            };
            self.emit(client, data);
        }
    }

    /// Hands it to the other parts.
    pub(super) fn cross_signaled(
        &mut self,
        room: RoomKey,
        from: ParticipantId,
        to: &[ParticipantId],
        (label, payload): (&str, &[u8]),
    ) {
        let spans = self.rooms.get(room).is_some_and(|r| !r.parts.is_empty());
        if !spans {
            return;
        }
        let (to, label): (Arc<[_]>, Arc<str>) = (to.into(), label.into());
        let payload: Arc<[u8]> = payload.into();
        self.cross(room, &|room| Kind::Signaled {
            room,
            from,
            to: Arc::clone(&to),
            label: Arc::clone(&label),
            payload: Arc::clone(&payload),
        });
    }

    /// A track has one subscription less.
    pub(super) fn drop_from_track(&mut self, track: TrackKey, key: SubscriptionKey) {
        if let Some(track) = self.tracks.get_mut(track) {
            track.subscriptions.retain(|known| *known != key);
        }
        self.settle_interest(track);
    }
}

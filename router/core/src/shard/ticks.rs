//! What time brings.

use std::time::{Duration, Instant};

use super::Shard;
use super::slab::{ParticipantKey, RoomKey, TransportKey};
use super::timers::Timer;
use crate::api::{EventKind, MediaKind, TransportState};
use crate::id::ParticipantId;
use crate::layers::Layer;
use crate::limits::{CONNECT_TIMEOUT, DATA_REPORT_INTERVAL, DISCONNECT_TIMEOUT, ROOM_TICK};
use crate::room::Room;
use crate::stats::FailCause;

/// A transport is not asked again sooner than this, whatever its engine says.
const TICK_LEAST: Duration = Duration::from_millis(1);

impl Shard {
    pub(super) fn on_timeout(&mut self, now: Instant) {
        let mut due = std::mem::take(&mut self.due);
        self.timers.take_due(now, &mut due);
        for timer in due.drain(..) {
            match timer {
                Timer::Transport(key) => self.on_transport_timer(now, key),
                Timer::Reports(key) => self.on_reports_timer(now, key),
                Timer::Room(key) => self.on_room_timer(now, key),
                Timer::Participant(key) => self.on_participant_timer(now, key),
                Timer::View(key) => self.on_view_timer(now, key),
            }
        }
        self.due = due;
    }

    fn on_transport_timer(&mut self, now: Instant, key: TransportKey) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        transport.timer = None;
        let lost = transport
            .disconnected_since
            .is_some_and(|since| now.saturating_duration_since(since) >= DISCONNECT_TIMEOUT);
        let waiting = matches!(
            transport.state,
            TransportState::New | TransportState::Connecting
        ) && transport.lines.outstanding.is_none();
        let late =
            waiting && now.saturating_duration_since(transport.negotiated) >= CONNECT_TIMEOUT;
        if lost || late {
            let reason = if lost {
                "no consent"
            } else {
                "never connected"
            };
            tracing::debug!(reason, "transport failed");
            let cause = match (lost, transport.reachable) {
                (true, _) => FailCause::Consent,
                (false, true) => FailCause::Handshake,
                (false, false) => FailCause::Unreachable,
            };
            self.stats.failed(cause);
            return self.detach_transport(now, key, TransportState::Failed);
        }
        match transport.tick(now) {
            Ok(()) => self.drain(now, key),
            Err(fault) => return self.fail_transport(now, key, &fault),
        }
        self.pump(now, key);
        if let Some(transport) = self.transports.get_mut(key) {
            let soonest = now + TICK_LEAST;
            if transport.timer.is_some_and(|at| at < soonest) {
                self.timers
                    .disarm(&mut transport.timer, Timer::Transport(key));
                self.timers
                    .arm(&mut transport.timer, Timer::Transport(key), soonest);
            }
        }
    }

    /// Reports, and packets that waited, are written at the end of the turn.
    fn on_reports_timer(&mut self, now: Instant, key: TransportKey) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let mut slowed = false;
        if let Some(sender) = &mut transport.sender {
            sender.timer = None;
            slowed = sender.is_slowed(now);
        }
        if !transport.sending {
            transport.sending = true;
            self.sending.push(key);
        }
        if slowed {
            self.follow_estimate(now, key);
        }
    }

    fn on_room_timer(&mut self, now: Instant, key: RoomKey) {
        let Some(room) = self.rooms.get_mut(key) else {
            return;
        };
        room.timer = None;
        let (mut busy, mut reshaped) = (false, false);
        let mut speakers: Vec<(ParticipantId, u8)> = Vec::new();
        for track_key in self.room_tracks(key) {
            let Some(track) = self.tracks.get_mut(track_key) else {
                continue;
            };
            busy |= track.layers.iter().any(|layer| layer.is_active(now));
            for layer in &mut track.layers {
                busy |= layer.history.prune(now);
            }
            reshaped |= track.measure(now);
            match track.kind {
                // Its own worker tells who speaks there.
                MediaKind::Audio if track.mirror.is_some() => {}
                MediaKind::Audio => {
                    track.level.tick();
                    if let Some(level) = track.level.speaking() {
                        louder(&mut speakers, track.owner_id, level);
                    }
                }
                MediaKind::Video => {
                    track.sort_layers(now);
                    let wanted = |layer: &Layer| layer.is_keyframe_wanted();
                    let waiting: Vec<usize> = positions(&track.layers, wanted);
                    busy |= !waiting.is_empty();
                    for layer in waiting {
                        self.ask_keyframe(now, track_key, layer as u8);
                    }
                    self.choose_layers(now, track_key);
                }
            }
        }
        self.fit_room(now, key, reshaped);
        self.share_levels(key, &mut speakers);
        if self.rooms.get(key).is_some_and(Room::is_waiting) {
            self.answer_joins(now, key);
        }
        let Some(room) = self.rooms.get_mut(key) else {
            return;
        };
        let changed = room.update_speakers(&mut speakers);
        // Levels must come down before the room rests.
        if busy || room.has_speakers() || room.is_waiting() {
            self.timers
                .arm(&mut room.timer, Timer::Room(key), now + ROOM_TICK);
        }
        if changed {
            self.broadcast(key, None, &|| EventKind::Speakers(speakers.clone()));
        }
    }

    /// Fits everybody's layers into what their networks carry, by what was just measured.
    fn fit_room(&mut self, now: Instant, key: RoomKey, reshaped: bool) {
        let Some(room) = self.rooms.get(key) else {
            return;
        };
        let old = room.external.as_ref().is_some_and(|e| e.is_old(now));
        for index in 0..room.participants.len() {
            let room = self.rooms.get(key);
            let participant = room.and_then(|room| room.participants.get(index).copied());
            if let Some(participant) = participant {
                self.fit_subscriber(now, participant);
            }
        }
        if reshaped || old {
            self.touch(key);
        }
    }

    /// Reports what was dropped since the last report.
    fn on_participant_timer(&mut self, now: Instant, key: ParticipantKey) {
        let Some(participant) = self.participants.get_mut(key) else {
            return;
        };
        participant.timer = None;
        self.report_drops(now, key);
    }

    pub(super) fn report_drops(&mut self, now: Instant, key: ParticipantKey) {
        let Some(participant) = self.participants.get_mut(key) else {
            return;
        };
        let data = &mut participant.data;
        if data.dropped_outgoing == 0 && data.dropped_incoming == 0 {
            return;
        }
        if let Some(last) = data.reported
            && now.saturating_duration_since(last) < DATA_REPORT_INTERVAL
        {
            self.timers.arm(
                &mut participant.timer,
                Timer::Participant(key),
                last + DATA_REPORT_INTERVAL,
            );
            return;
        }
        data.reported = Some(now);
        let client = participant.client;
        let dropped = [
            (true, std::mem::take(&mut data.dropped_outgoing)),
            (false, std::mem::take(&mut data.dropped_incoming)),
        ];
        for (outgoing, count) in dropped.into_iter().filter(|(_, count)| *count > 0) {
            self.emit(client, EventKind::DataDropped { outgoing, count });
        }
    }
}

fn positions<T>(items: &[T], fits: impl Fn(&T) -> bool) -> Vec<usize> {
    let fitting = items.iter().enumerate().filter(|(_, item)| fits(item));
    fitting.map(|(index, _)| index).collect()
}

/// A participant is as loud as the loudest of its tracks.
fn louder(speakers: &mut Vec<(ParticipantId, u8)>, id: ParticipantId, level: u8) {
    match speakers.iter_mut().find(|(known, _)| *known == id) {
        Some((_, known)) => *known = (*known).max(level),
        None => speakers.push((id, level)),
    }
}

//! What is played: the room's first publisher, or whom or what the query names.
//!
//! A player has one section of audio and one of video at most. When its publisher ends, the sections wait
//! for the next one: a publisher that reconnects is seen again without the player's doing.

use rillway_plugin_sdk::types::{MediaKind, Participant, ParticipantId, Source, Track, TrackId};

use crate::limits::UNFIT_MAX;
use crate::request::{Wishes, is_named};

/// A track as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    id: TrackId,
    owner: ParticipantId,
    kind: MediaKind,
    source: Source,
}

/// A section of the player.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Slot {
    /// It is in the offer.
    offered: bool,
    track: Option<TrackId>,
}

/// The room as a player sees it.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// Those who are here, first come first.
    participants: Vec<(ParticipantId, String)>,
    tracks: Vec<Known>,
    wanted: Vec<TrackId>,
    wanted_participant: Option<String>,
    publisher: Option<ParticipantId>,
    audio: Slot,
    video: Slot,
    /// Tracks the offer does not take.
    unfit: Vec<TrackId>,
}

impl Room {
    /// A room in which something of these kinds is to be played.
    pub(crate) fn new(wishes: &Wishes, audio: bool, video: bool) -> Self {
        let slot = |offered| Slot {
            offered,
            track: None,
        };
        Room {
            wanted: wishes.tracks.clone(),
            wanted_participant: wishes.participant.clone(),
            audio: slot(audio),
            video: slot(video),
            ..Room::default()
        }
    }

    pub(crate) fn joined(&mut self, participant: &Participant) {
        self.participants
            .push((participant.id, participant.identity.clone()));
    }

    pub(crate) fn left(&mut self, id: ParticipantId) {
        self.participants.retain(|(known, _)| *known != id);
        self.tracks.retain(|track| track.owner != id);
    }

    pub(crate) fn published(&mut self, track: &Track) {
        self.tracks.push(Known {
            id: track.id,
            owner: track.owner,
            kind: track.kind,
            source: track.source,
        });
    }

    pub(crate) fn unpublished(&mut self, id: TrackId) {
        self.tracks.retain(|track| track.id != id);
        self.unfit.retain(|known| *known != id);
        for slot in [&mut self.audio, &mut self.video] {
            if slot.track == Some(id) {
                slot.track = None;
            }
        }
    }

    /// A track could not be had after all. `for_good`: the offer does not take it. Tells whether another
    /// may be tried at once.
    pub(crate) fn refused(&mut self, id: TrackId, for_good: bool) -> bool {
        for slot in [&mut self.audio, &mut self.video] {
            if slot.track == Some(id) {
                slot.track = None;
            }
        }
        let noted = for_good && self.unfit.len() < UNFIT_MAX;
        if noted {
            self.unfit.push(id);
        }
        noted
    }

    /// Tracks to be subscribed to now; they count as played from here on.
    pub(crate) fn fill(&mut self) -> Vec<TrackId> {
        self.choose_publisher();
        let mut out = Vec::new();
        for kind in [MediaKind::Audio, MediaKind::Video] {
            let slot = self.slot(kind);
            if !slot.offered || slot.track.is_some() {
                continue;
            }
            if let Some(track) = self.best(kind) {
                let slot = match kind {
                    MediaKind::Audio => &mut self.audio,
                    MediaKind::Video => &mut self.video,
                };
                slot.track = Some(track);
                out.push(track);
            }
        }
        out
    }

    fn slot(&self, kind: MediaKind) -> Slot {
        match kind {
            MediaKind::Audio => self.audio,
            MediaKind::Video => self.video,
        }
    }

    /// Stays with a publisher for as long as it publishes anything.
    fn choose_publisher(&mut self) {
        let publishes = |id: ParticipantId| self.tracks.iter().any(|track| track.owner == id);
        if self.publisher.is_some_and(publishes) {
            return;
        }
        let wanted = |id: ParticipantId, identity: &str| match &self.wanted_participant {
            Some(wanted) => is_named(wanted, id, identity),
            None => true,
        };
        let mut all = self.participants.iter();
        let first = all.find(|(id, identity)| wanted(*id, identity) && publishes(*id));
        self.publisher = first.map(|(id, _)| *id);
    }

    /// The best track of a kind: what is named, or of the publisher the face before the screen.
    fn best(&self, kind: MediaKind) -> Option<TrackId> {
        let rank = |source: Source| match source {
            Source::Camera | Source::Microphone => 0,
            Source::Other => 1,
            Source::Screen | Source::ScreenAudio => 2,
        };
        let wanted = |track: &&Known| {
            if self.wanted.is_empty() {
                Some(track.owner) == self.publisher
            } else {
                self.wanted.contains(&track.id)
            }
        };
        let fits = |track: &&Known| track.kind == kind && !self.unfit.contains(&track.id);
        let candidates = self.tracks.iter().filter(fits).filter(wanted);
        let best = candidates.min_by_key(|track| rank(track.source));
        best.map(|track| track.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::wishes;

    fn participant(id: u64, identity: &str) -> Participant {
        Participant {
            id: ParticipantId(id),
            identity: identity.to_owned(),
            name: None,
            attributes: Vec::new(),
            joined_at_ms: 0,
        }
    }

    fn track(id: u64, owner: u64, source: Source) -> Track {
        Track {
            id: TrackId(id),
            owner: ParticipantId(owner),
            kind: match source {
                Source::Microphone | Source::ScreenAudio => MediaKind::Audio,
                _ => MediaKind::Video,
            },
            source,
            codec: String::new(),
            encrypted: false,
            muted: false,
            layers: Vec::new(),
            attributes: Vec::new(),
        }
    }

    /// Ada shares her screen and shows her face; Grace too has a camera.
    fn room(query: &str) -> Room {
        let mut room = Room::new(&wishes(query).unwrap(), true, true);
        for (id, identity) in [(9, "silent"), (1, "ada"), (2, "grace")] {
            room.joined(&participant(id, identity));
        }
        for (id, owner, source) in [
            (20, 2, Source::Camera),
            (10, 1, Source::Screen),
            (11, 1, Source::Camera),
            (12, 1, Source::Microphone),
        ] {
            room.published(&track(id, owner, source));
        }
        room
    }

    fn ids(tracks: &[TrackId]) -> Vec<u64> {
        tracks.iter().map(|track| track.0).collect()
    }

    #[test]
    fn the_first_publisher_is_played() {
        let mut room = room("");
        assert_eq!(ids(&room.fill()), [12, 11]);
        assert_eq!(ids(&room.fill()), [0; 0], "once");
    }

    #[test]
    fn queries_choose_a_person_or_tracks() {
        assert_eq!(ids(&room("participant=grace").fill()), [20]);
        assert_eq!(ids(&room("participant=2").fill()), [20]);
        assert_eq!(ids(&room("participant=nobody").fill()), [0; 0]);
        assert_eq!(ids(&room("track=a").fill()), [10]);
        assert_eq!(ids(&room("track=c&track=14").fill()), [12, 20]);
        assert_eq!(ids(&room("track=ff").fill()), [0; 0]);
    }

    #[test]
    fn only_what_was_offered_is_filled() {
        let mut sound = Room::new(&wishes("").unwrap(), true, false);
        sound.joined(&participant(1, "ada"));
        sound.published(&track(11, 1, Source::Camera));
        assert_eq!(ids(&sound.fill()), [0; 0]);
        sound.published(&track(12, 1, Source::Microphone));
        assert_eq!(ids(&sound.fill()), [12]);
    }

    #[test]
    fn a_player_stays_with_its_publisher_and_goes_on_to_the_next() {
        let mut room = room("");
        room.fill();
        // Her camera goes off: what is left of her is played, not another's face.
        room.unpublished(TrackId(11));
        assert_eq!(ids(&room.fill()), [10]);
        room.unpublished(TrackId(10));
        assert_eq!(ids(&room.fill()), [0; 0]);
        room.published(&track(13, 1, Source::Camera));
        assert_eq!(ids(&room.fill()), [13]);
        for id in [12, 13] {
            room.unpublished(TrackId(id));
        }
        room.left(ParticipantId(1));
        assert_eq!(ids(&room.fill()), [20], "the next one's");
        // She comes back; whoever is played now stays.
        room.joined(&participant(3, "ada"));
        room.published(&track(30, 3, Source::Microphone));
        assert_eq!(ids(&room.fill()), [0; 0]);
        room.unpublished(TrackId(20));
        room.left(ParticipantId(2));
        assert_eq!(ids(&room.fill()), [30]);
    }

    #[test]
    fn what_does_not_fit_is_not_tried_again() {
        let mut room = room("");
        room.fill();
        room.refused(TrackId(11), true);
        assert_eq!(ids(&room.fill()), [10]);
        room.refused(TrackId(10), false);
        assert_eq!(ids(&room.fill()), [10], "the hindrance was a passing one");
    }
}

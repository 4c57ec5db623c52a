//! `rillway room`, `rillway participant` and `rillway why`: what is in a running router's rooms, and why.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::lists::{self, Which};
use super::operate::{Ask, OperateError};
use super::tables::{
    participant_table, reason_text, room_table, subscription_table, track_table, transport_table,
};
use crate::management::wire;
use crate::management::wire::request::Verb;
use crate::management::wire::response::Part;
use crate::management::wire::{
    CloseRoomRequest, KickRequest, MoveRequest, MuteRequest, ParticipantRequest, RoomRequest,
    RoomsRequest, Subscription, Track, WhyRequest,
};

pub(super) const ROOM_HELP: &str = "\
Examples:
  rillway room ls
  rillway room show standup
  rillway room show standup --json
  rillway room close standup --reason 'maintenance at noon'";

pub(super) const PARTICIPANT_HELP: &str = "\
Examples:
  rillway participant ls --room standup
  rillway participant show standup Ada          by display name, if only one has it
  rillway participant show standup 2000000001   by id, as `rillway room show` lists them
  rillway participant kick standup Ada --reason 'one is enough'
  rillway participant move standup Ada --worker 1";

pub(super) const TRACK_HELP: &str = "\
Examples:
  rillway track ls                              of all rooms
  rillway track ls --room standup --of Ada      those that Ada publishes
  rillway track mute standup 2000000001         by id, as `rillway room show` lists them
  rillway track mute standup microphone --of Ada
  rillway track unmute standup microphone --of Ada";

pub(super) const WHY_HELP: &str = "\
Examples:
  rillway why standup Ada                   everything that Ada receives
  rillway why standup Ada 2000000001        one track, by id
  rillway why standup Ada screen            the only shared screen that Ada receives";

/// `rillway room`.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Room {
    /// List the rooms that are open
    Ls(Ask),
    /// Show a room: participants, tracks with their layers as measured, subscriptions with what they get
    Show {
        /// Name of the room
        room: String,
        /// Which router, and how its answer is shown
        #[command(flatten)]
        ask: Ask,
    },
    /// Take everybody out of a room
    Close {
        /// Name of the room
        room: String,
        /// What they are told, at most 120 bytes
        #[arg(long, value_name = "TEXT", default_value_t)]
        reason: String,
        /// Which router, and how its answer is shown
        #[command(flatten)]
        ask: Ask,
    },
}

/// `rillway participant`.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Participant {
    /// List participants, of a room or of all
    Ls(lists::InRoom),
    /// Show a participant: its transports in the words of getStats, its tracks, its subscriptions
    Show {
        /// Name of the room
        room: String,
        /// Id; or identity or display name, if only one in the room has it
        participant: String,
        /// Which router, and how its answer is shown
        #[command(flatten)]
        ask: Ask,
    },
    /// Have a participant join again, on another media worker
    Move {
        /// Name of the room
        room: String,
        /// Id; or identity or display name, if only one in the room has it
        participant: String,
        /// The worker's number: `rillway worker ls`
        #[arg(long, value_name = "N")]
        worker: u32,
        /// Which router, and how its answer is shown
        #[command(flatten)]
        ask: Ask,
    },
    /// Take a participant out of its room
    Kick {
        /// Name of the room
        room: String,
        /// Id; or identity or display name, if only one in the room has it
        participant: String,
        /// What it is told, at most 120 bytes
        #[arg(long, value_name = "TEXT", default_value_t)]
        reason: String,
        /// Which router, and how its answer is shown
        #[command(flatten)]
        ask: Ask,
    },
}

/// `rillway track`.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum TrackVerb {
    /// List tracks with their layers as measured, of a room or of all
    Ls(Which),
    /// Forward nothing of a track; its publisher cannot undo that
    Mute(Muted),
    /// Forward it again, unless its publisher has muted it too
    Unmute(Muted),
}

/// Which track.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[group(skip)]
pub struct Muted {
    /// Name of the room
    room: String,
    /// Id; or a source such as `camera`, if only one has it
    track: String,
    /// Only tracks of this participant are meant
    #[arg(long, value_name = "PARTICIPANT", default_value_t)]
    of: String,
    #[command(flatten)]
    ask: Ask,
}

/// `rillway why`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Why {
    /// Name of the room
    room: String,
    /// The receiver: id; or identity or display name, if only one in the room has it
    subscriber: String,
    /// Id of a track that it receives; or a source such as `camera`, if it receives only one [default: all]
    track: Option<String>,
    #[command(flatten)]
    ask: Ask,
}

/// What is in a room.
#[derive(Debug, Default, Serialize)]
struct Found {
    room: Option<wire::Room>,
    participants: Vec<wire::Participant>,
    tracks: Vec<Track>,
    subscriptions: Vec<Subscription>,
}

/// What concerns a participant.
#[derive(Debug, Serialize)]
struct Person {
    participant: Option<wire::Participant>,
    tracks: Vec<Track>,
    subscriptions: Vec<Subscription>,
}

impl Found {
    fn collect(parts: Vec<Part>) -> Found {
        let mut found = Found::default();
        for part in parts {
            match part {
                Part::Rooms(rooms) => found.room = rooms.rooms.into_iter().next(),
                Part::Participants(more) => found.participants.extend(more.participants),
                Part::Tracks(more) => found.tracks.extend(more.tracks),
                Part::Subscriptions(more) => found.subscriptions.extend(more.subscriptions),
                _ => {}
            }
        }
        found
    }
}

impl Room {
    /// Asks, and shows.
    ///
    /// # Errors
    /// [`OperateError`].
    pub fn run(&self) -> Result<String, OperateError> {
        match self {
            Room::Ls(ask) => {
                let parts = ask.parts(Verb::Rooms(RoomsRequest {}))?;
                let rooms = parts.into_iter().filter_map(|part| match part {
                    Part::Rooms(rooms) => Some(rooms.rooms),
                    _ => None,
                });
                let mut rooms: Vec<_> = rooms.flatten().collect();
                rooms.sort_by(|a, b| a.name.cmp(&b.name));
                ask.show(&rooms, |rooms| room_table(rooms))
            }
            Room::Show { room, ask } => {
                let room = room.clone();
                let found = Found::collect(ask.parts(Verb::Room(RoomRequest { room }))?);
                ask.show(&found, |found| {
                    [
                        room_table(found.room.as_slice()),
                        participant_table(&found.participants),
                        track_table(&found.tracks),
                        subscription_table(&found.subscriptions),
                    ]
                    .join("\n\n")
                })
            }
            Room::Close { room, reason, ask } => {
                let request = CloseRoomRequest {
                    room: room.clone(),
                    reason: reason.clone(),
                };
                ask.call(Verb::CloseRoom(request), removed)
            }
        }
    }
}

impl Participant {
    /// Asks, and shows.
    ///
    /// # Errors
    /// [`OperateError`].
    pub fn run(&self) -> Result<String, OperateError> {
        let (room, participant, ask) = match self {
            Participant::Ls(room) => return lists::participants(room),
            Participant::Show {
                room,
                participant,
                ask,
            } => (room, participant, ask),
            Participant::Move {
                room,
                participant,
                worker,
                ask,
            } => {
                let request = MoveRequest {
                    room: room.clone(),
                    participant: participant.clone(),
                    worker: *worker,
                };
                return ask.call(Verb::Move(request), |part| match part {
                    Part::Participants(found) => participant_table(&found.participants),
                    _ => String::new(),
                });
            }
            Participant::Kick {
                room,
                participant,
                reason,
                ask,
            } => {
                let request = KickRequest {
                    room: room.clone(),
                    participant: participant.clone(),
                    reason: reason.clone(),
                };
                return ask.call(Verb::Kick(request), removed);
            }
        };
        let request = ParticipantRequest {
            room: room.clone(),
            participant: participant.clone(),
        };
        let found = Found::collect(ask.parts(Verb::Participant(request))?);
        let person = Person {
            participant: found.participants.into_iter().next(),
            tracks: found.tracks,
            subscriptions: found.subscriptions,
        };
        ask.show(&person, |person| {
            let mut tables = Vec::new();
            if let Some(participant) = &person.participant {
                tables.push(participant_table(std::slice::from_ref(participant)));
                tables.push(transport_table(participant));
            }
            tables.push(track_table(&person.tracks));
            tables.push(subscription_table(&person.subscriptions));
            tables.join("\n\n")
        })
    }
}

fn removed(part: &Part) -> String {
    match part {
        Part::Removed(removed) => match removed.participants {
            1 => "1 participant removed".to_owned(),
            count => format!("{count} participants removed"),
        },
        _ => String::new(),
    }
}

impl TrackVerb {
    /// Asks, and shows the track as it is then.
    ///
    /// # Errors
    /// [`OperateError`].
    pub fn run(&self) -> Result<String, OperateError> {
        let (which, muted) = match self {
            TrackVerb::Ls(which) => return lists::tracks(which),
            TrackVerb::Mute(which) => (which, true),
            TrackVerb::Unmute(which) => (which, false),
        };
        let request = MuteRequest {
            room: which.room.clone(),
            track: which.track.clone(),
            muted,
            participant: which.of.clone(),
        };
        which.ask.call(Verb::Mute(request), |part| match part {
            Part::Tracks(tracks) => track_table(&tracks.tracks),
            _ => String::new(),
        })
    }
}

impl Why {
    /// Asks, and shows.
    ///
    /// # Errors
    /// [`OperateError`].
    pub fn run(&self) -> Result<String, OperateError> {
        let request = WhyRequest {
            room: self.room.clone(),
            participant: self.subscriber.clone(),
            track: self.track.clone().unwrap_or_default(),
        };
        let parts = self.ask.parts(Verb::Why(request))?;
        let reasons = parts.into_iter().filter_map(|part| match part {
            Part::Reasons(reasons) => Some(reasons.reasons),
            _ => None,
        });
        let reasons: Vec<wire::Reason> = reasons.flatten().collect();
        self.ask.show(&reasons, |reasons| {
            if reasons.is_empty() {
                return "nothing is subscribed to".to_owned();
            }
            let texts: Vec<String> = reasons.iter().map(reason_text).collect();
            texts.join("\n\n")
        })
    }
}

//! `rillway room`, `rillway participant` and `rillway why`: what is in a running router's rooms, and why.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::operate::{Ask, OperateError, table};
use crate::management::wire;
use crate::management::wire::request::Verb;
use crate::management::wire::response::Part;
use crate::management::wire::{
    CloseRoomRequest, KickRequest, Layer, MuteRequest, Network, ParticipantRequest, RoomRequest,
    RoomsRequest, Subscription, Track, Transport, WhyRequest,
};

pub(super) const ROOM_HELP: &str = "\
Examples:
  rillway room ls
  rillway room show standup
  rillway room show standup --json
  rillway room close standup --reason 'maintenance at noon'";

pub(super) const PARTICIPANT_HELP: &str = "\
Examples:
  rillway participant show standup Ada          by display name, if only one has it
  rillway participant show standup 2000000001   by id, as `rillway room show` lists them
  rillway participant kick standup Ada --reason 'one is enough'";

pub(super) const TRACK_HELP: &str = "\
Examples:
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
            Participant::Show {
                room,
                participant,
                ask,
            } => (room, participant, ask),
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

fn room_table(rooms: &[wire::Room]) -> String {
    let header = [
        "ROOM",
        "WORKER",
        "PARTICIPANTS",
        "TRACKS",
        "SUBSCRIPTIONS",
        "RECEIVED",
    ];
    let rows = rooms.iter().map(|room| {
        [
            plain(&room.name),
            room.worker.to_string(),
            room.participants.to_string(),
            room.tracks.to_string(),
            room.subscriptions.to_string(),
            rate(room.received_bps),
        ]
    });
    table(header, rows)
}

fn participant_table(participants: &[wire::Participant]) -> String {
    let header = [
        "PARTICIPANT",
        "IDENTITY",
        "NAME",
        "PUBLISH",
        "SUBSCRIBE",
        "TRACKS",
        "SUBSCRIPTIONS",
    ];
    let state = |transport: &Option<Transport>| match transport {
        Some(transport) => transport.state.clone(),
        None => "-".to_owned(),
    };
    let rows = participants.iter().map(|participant| {
        [
            participant.id.clone(),
            plain(&participant.identity),
            plain(&participant.name),
            state(&participant.publish),
            state(&participant.subscribe),
            participant.tracks.to_string(),
            participant.subscriptions.to_string(),
        ]
    });
    table(header, rows)
}

/// A line for each figure, a column for each direction.
fn transport_table(participant: &wire::Participant) -> String {
    let ways = [&participant.publish, &participant.subscribe];
    let line = |name: &str, of: &dyn Fn(&Transport) -> String| {
        let [publish, subscribe] = ways.map(|way| way.as_ref().map_or_else(|| "-".to_owned(), of));
        [name.to_owned(), publish, subscribe]
    };
    let network = |of: fn(&Network) -> String| {
        move |transport: &Transport| {
            let network = transport.network.as_ref();
            network.map_or_else(|| "-".to_owned(), of)
        }
    };
    let pair = |transport: &Transport| match &transport.candidate_pair {
        Some(pair) => format!("{} {} → {}", pair.protocol, pair.local, pair.remote),
        None => "-".to_owned(),
    };
    let rows = [
        line("state", &|t| t.state.clone()),
        line("candidate pair", &pair),
        line("round trip", &network(|n| millis(n.round_trip_time_ms))),
        line(
            "lost of a thousand",
            &network(|n| n.loss_permille.to_string()),
        ),
        line("queue on the way", &network(|n| millis(Some(n.queue_ms)))),
        line(
            "estimate",
            &network(|n| maybe_rate(n.available_outgoing_bps)),
        ),
        line("  bound by delay", &network(|n| maybe_rate(n.delay_bps))),
        line("  bound by loss", &network(|n| maybe_rate(n.loss_bps))),
        line("  bound by REMB", &network(|n| maybe_rate(n.remb_bps))),
        line("  shown by a probe", &network(|n| maybe_rate(n.probe_bps))),
        line("packets received", &|t| t.packets_received.to_string()),
        line("bytes received", &|t| t.bytes_received.to_string()),
        line("packets sent", &|t| t.packets_sent.to_string()),
        line("bytes sent", &|t| t.bytes_sent.to_string()),
        line("retransmitted", &|t| {
            t.retransmitted_packets_sent.to_string()
        }),
        line("packets lost", &|t| t.packets_lost.to_string()),
        line("NACKs", &|t| t.nack_count.to_string()),
        line("PLIs", &|t| t.pli_count.to_string()),
    ];
    table(["TRANSPORT", "PUBLISH", "SUBSCRIBE"], rows)
}

fn track_table(tracks: &[Track]) -> String {
    let header = [
        "TRACK",
        "PUBLISHER",
        "SOURCE",
        "CODEC",
        "MUTED",
        "SUBSCRIPTIONS",
        "LAYERS",
    ];
    let rows = tracks.iter().map(|track| {
        [
            track.id.clone(),
            plain(&track.identity),
            track.source.clone(),
            track.codec.clone(),
            muted(track).to_owned(),
            track.subscriptions.to_string(),
            layers(&track.layers),
        ]
    });
    table(header, rows)
}

fn muted(track: &Track) -> &'static str {
    match (track.muted_by_publisher, track.muted_by_operator) {
        (false, false) => "-",
        (true, false) => "publisher",
        (false, true) => "operator",
        (true, true) => "both",
    }
}

/// Layers in a line, smallest first; those that are silent in brackets.
fn layers(layers: &[Layer]) -> String {
    let each = layers.iter().map(|layer| {
        let mut text = layer.spatial.to_string();
        if !layer.rid.is_empty() {
            text += &format!(" {}", plain(&layer.rid));
        }
        if layer.width > 0 {
            text += &format!(" {}x{}", layer.width, layer.height);
        }
        if layer.fps > 0 && layer.width > 0 {
            text += &format!(" {} fps", layer.fps);
        }
        text += &format!(" {}", rate(layer.bitrate_bps.into()));
        if layer.active {
            text
        } else {
            format!("({text})")
        }
    });
    let each: Vec<String> = each.collect();
    each.join(", ")
}

fn subscription_table(subscriptions: &[Subscription]) -> String {
    let header = [
        "SUBSCRIBER",
        "TRACK",
        "OF",
        "KIND",
        "STATE",
        "LAYER",
        "NEXT",
        "RATE",
        "PACKETS",
    ];
    let rows = subscriptions.iter().map(|subscription| {
        let video = subscription.kind == "video";
        let next = subscription
            .target
            .filter(|_| video && subscription.target != subscription.spatial);
        [
            format!(
                "{} {}",
                subscription.participant,
                plain(&subscription.identity)
            ),
            subscription.track.clone(),
            plain(&subscription.publisher_identity),
            subscription.kind.clone(),
            subscription.state.clone(),
            layer(subscription.spatial),
            layer(next),
            rate(subscription.bitrate_bps.into()),
            subscription.packets.to_string(),
        ]
    });
    table(header, rows)
}

fn layer(spatial: Option<u32>) -> String {
    spatial.map_or_else(|| "-".to_owned(), |spatial| spatial.to_string())
}

fn reason_text(reason: &wire::Reason) -> String {
    let subscription = reason.subscription.clone().unwrap_or_default();
    let track = reason.track.clone().unwrap_or_default();
    let network = reason.network.unwrap_or_default();
    let wish = subscription.wish.unwrap_or_default();
    let wished = match (wish.paused, wish.width, wish.height) {
        (true, _, _) => "nothing for now".to_owned(),
        (false, 0, 0) => format!("the best; priority {}", wish.priority),
        (false, width, height) => format!("{width}x{height}; priority {}", wish.priority),
    };
    let estimate = match network.available_outgoing_bps {
        Some(bps) => format!(
            "{}; by delay {}, by loss {}, by REMB {}; sound takes {}",
            rate(bps.into()),
            maybe_rate(network.delay_bps),
            maybe_rate(network.loss_bps),
            maybe_rate(network.remb_bps),
            rate(reason.audio_bps.into())
        ),
        None => "not measured: everything is sent".to_owned(),
    };
    let now = match subscription.spatial {
        Some(spatial) if track.kind == "video" => {
            format!("{}, layer {spatial}", subscription.state)
        }
        _ => subscription.state.clone(),
    };
    let head = [
        [
            "track",
            &format!(
                "{} ({} of {})",
                track.id,
                track.source,
                plain(&track.identity)
            ),
        ],
        ["state", &now],
        ["muted by", muted(&track)],
        ["wish", &wished],
        ["estimate", &estimate],
        ["layers", &layers(&track.layers)],
    ]
    .map(|[key, value]| [key.to_owned(), value.to_owned()]);
    let text = table(["SUBSCRIBER", &plain(&subscription.identity)], head);
    if reason.decisions.is_empty() {
        let sound = track.kind == "audio";
        let none = if sound {
            "sound needs no decision: all of it is forwarded"
        } else {
            "nothing was decided yet: no layer was sent so far"
        };
        return format!("{text}\n\n{none}");
    }
    let rows = reason.decisions.iter().rev().map(|decision| {
        [
            format!("{:.1} s ago", decision.age_ms as f64 / 1_000.0),
            plain(&decision.policy),
            plain(&decision.reason),
            plain(&decision.outcome),
        ]
    });
    let decisions = table(["DECIDED", "BY", "REASON", "OUTCOME"], rows);
    format!("{text}\n\n{decisions}")
}

/// What comes from clients and plugins, without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

fn rate(bps: u64) -> String {
    match bps {
        0..1_000 => format!("{bps} bit/s"),
        1_000..1_000_000 => format!("{} kbit/s", bps / 1_000),
        _ => format!("{:.1} Mbit/s", bps as f64 / 1e6),
    }
}

fn maybe_rate(bps: Option<u32>) -> String {
    bps.map_or_else(|| "-".to_owned(), |bps| rate(bps.into()))
}

fn millis(time: Option<u32>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{time} ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_say_cannot_reach_the_terminal() {
        let room = wire::Room {
            name: "a\u{1b}[2Jb\n".to_owned(),
            ..wire::Room::default()
        };
        let text = room_table(&[room]);
        assert!(
            text.contains("a[2Jb") && text.lines().count() == 2,
            "{text}"
        );
    }

    #[test]
    fn rates_have_units() {
        let texts = [999, 1_000, 1_250_000].map(rate);
        assert_eq!(texts, ["999 bit/s", "1 kbit/s", "1.2 Mbit/s"]);
        assert_eq!(maybe_rate(None), "-");
    }
}

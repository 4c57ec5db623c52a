//! `rillway subscription ls`, `rillway transport ls` and the other lists of a running router.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::operate::{Ask, OperateError, table};
use super::tables::{
    maybe_rate, millis, participant_table, plain, subscription_table, track_table,
};
use crate::management::wire::request::Verb;
use crate::management::wire::response::Part;
use crate::management::wire::{
    self, MetricsRequest, ParticipantsRequest, Recording, RecordingsRequest, SubscriptionsRequest,
    TracksRequest, TransportOf, TransportsRequest,
};

pub(super) const SUBSCRIPTION_HELP: &str = "\
Examples:
  rillway subscription ls                          of all rooms
  rillway subscription ls --room standup
  rillway subscription ls --room standup --of Ada  what Ada receives

`rillway why` says of each why it is as it is.";

pub(super) const TRANSPORT_HELP: &str = "\
Examples:
  rillway transport ls                          of all rooms
  rillway transport ls --room standup --of Ada
  rillway transport ls --json                   every figure, in the words of getStats";

pub(super) const METRICS_HELP: &str = "\
Examples:
  rillway metrics                  everything that Prometheus would get
  rillway metrics joins            metrics whose name has `joins` in it";

/// Of which room.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[group(skip)]
pub struct InRoom {
    /// Only of this room
    #[arg(long, value_name = "ROOM", default_value_t)]
    pub(super) room: String,
    /// Which router, and how its answer is shown
    #[command(flatten)]
    pub(super) ask: Ask,
}

/// Of which room, and of whom.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[group(skip)]
pub struct Which {
    /// Only of this participant: id; or identity or display name, if only one in the room has it
    #[arg(long, value_name = "PARTICIPANT", requires = "room", default_value_t)]
    of: String,
    /// Only of this room
    #[arg(long, value_name = "ROOM")]
    room: Option<String>,
    /// Which router, and how its answer is shown
    #[command(flatten)]
    ask: Ask,
}

impl Which {
    fn named(&self) -> (String, String) {
        (self.room.clone().unwrap_or_default(), self.of.clone())
    }
}

/// `rillway subscription`.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum SubscriptionVerb {
    /// List subscriptions with what they get, of a room or of all
    Ls(Which),
}

/// `rillway transport`.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum TransportVerb {
    /// List transports, of a room or of all
    Ls(Which),
}

/// `rillway metrics`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Metrics {
    /// Only metrics whose name has this in it [default: all]
    #[arg(default_value_t, hide_default_value = true)]
    name: String,
    #[command(flatten)]
    ask: Ask,
}

/// Asks for a list, which comes in parts: `take` gets what is in one.
fn list<T: Serialize>(
    ask: &Ask,
    verb: Verb,
    take: impl Fn(Part) -> Vec<T>,
    tables: impl FnOnce(&[T]) -> String,
) -> Result<String, OperateError> {
    let all: Vec<T> = ask.parts(verb)?.into_iter().flat_map(take).collect();
    ask.show(&all, |all| tables(all))
}

/// `rillway participant ls`.
pub(super) fn participants(of: &InRoom) -> Result<String, OperateError> {
    let room = of.room.clone();
    let verb = Verb::Participants(ParticipantsRequest { room });
    let take = |part| match part {
        Part::Participants(found) => found.participants,
        _ => Vec::new(),
    };
    list(&of.ask, verb, take, participant_table)
}

/// `rillway track ls`.
pub(super) fn tracks(which: &Which) -> Result<String, OperateError> {
    let (room, participant) = which.named();
    let verb = Verb::Tracks(TracksRequest { room, participant });
    let take = |part| match part {
        Part::Tracks(found) => found.tracks,
        _ => Vec::new(),
    };
    list(&which.ask, verb, take, track_table)
}

impl SubscriptionVerb {
    /// Asks, and shows.
    ///
    /// # Errors
    /// [`OperateError`].
    pub fn run(&self) -> Result<String, OperateError> {
        let SubscriptionVerb::Ls(which) = self;
        let (room, participant) = which.named();
        let verb = Verb::Subscriptions(SubscriptionsRequest { room, participant });
        let take = |part| match part {
            Part::Subscriptions(found) => found.subscriptions,
            _ => Vec::new(),
        };
        list(&which.ask, verb, take, subscription_table)
    }
}

impl TransportVerb {
    /// Asks, and shows.
    ///
    /// # Errors
    /// [`OperateError`].
    pub fn run(&self) -> Result<String, OperateError> {
        let TransportVerb::Ls(which) = self;
        let (room, participant) = which.named();
        let verb = Verb::Transports(TransportsRequest { room, participant });
        let take = |part| match part {
            Part::Transports(found) => found.transports,
            _ => Vec::new(),
        };
        list(&which.ask, verb, take, transport_list)
    }
}

/// What is recorded in a running router now.
pub(super) fn recordings(of: &InRoom) -> Result<String, OperateError> {
    let room = of.room.clone();
    let verb = Verb::Recordings(RecordingsRequest { room });
    let take = |part| match part {
        Part::Recordings(found) => found.recordings,
        _ => Vec::new(),
    };
    list(&of.ask, verb, take, recording_list)
}

impl Metrics {
    /// Asks, and shows.
    ///
    /// # Errors
    /// [`OperateError`].
    pub fn run(&self) -> Result<String, OperateError> {
        let name = self.name.clone();
        let parts = self.ask.parts(Verb::Metrics(MetricsRequest { name }))?;
        let texts = parts.into_iter().filter_map(|part| match part {
            Part::Metrics(metrics) => Some(metrics.text),
            _ => None,
        });
        let metrics = wire::Metrics {
            text: texts.collect(),
        };
        self.ask.show(&metrics, |metrics| metrics.text.clone())
    }
}

fn transport_list(transports: &[TransportOf]) -> String {
    let header = [
        "PARTICIPANT",
        "WAY",
        "STATE",
        "BY",
        "REMOTE",
        "PACKETS",
        "BYTES",
        "LOST",
        "NACKS",
        "PLIS",
        "ROUND TRIP",
        "ESTIMATE",
    ];
    let rows = transports.iter().map(|of| {
        let transport = of.transport.clone().unwrap_or_default();
        let network = transport.network.unwrap_or_default();
        let (by, remote) = match &transport.candidate_pair {
            Some(pair) => (pair.protocol.clone(), pair.remote.clone()),
            None => ("-".to_owned(), "-".to_owned()),
        };
        // Each goes one way: of the other, nothing is counted.
        let packets = transport.packets_received + transport.packets_sent;
        let bytes = transport.bytes_received + transport.bytes_sent;
        [
            format!("{} {}", of.participant, plain(&of.identity)),
            of.direction.clone(),
            transport.state,
            by,
            remote,
            packets.to_string(),
            bytes.to_string(),
            transport.packets_lost.to_string(),
            transport.nack_count.to_string(),
            transport.pli_count.to_string(),
            millis(network.round_trip_time_ms),
            maybe_rate(network.available_outgoing_bps),
        ]
    });
    table(header, rows)
}

fn recording_list(recordings: &[Recording]) -> String {
    if recordings.is_empty() {
        return "nothing is recorded now".to_owned();
    }
    let header = ["ROOM", "TRACK", "OF", "SOURCE", "FILE", "SINCE", "STATE"];
    let rows = recordings.iter().map(|one| {
        let state = if one.writing { "writing" } else { "waiting" };
        [
            plain(&one.room),
            one.track.clone(),
            plain(&one.identity),
            one.source.clone(),
            format!("{}.{}", plain(&one.name), one.container),
            clock(one.since_ms),
            state.to_owned(),
        ]
    });
    table(header, rows)
}

/// Time of day of a Unix time in milliseconds, UTC.
pub(super) fn clock(at_ms: u64) -> String {
    let (seconds, ms) = (at_ms / 1_000 % 86_400, at_ms % 1_000);
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{ms:03}Z", seconds % 60)
}

//! A sample → the rows of each table.

use super::model::Place;
use super::table::{Cell, Column, Mood, Row, Table, numbers, words};
use super::text::{bits, bytes, micros, per_second, percent};
use crate::cli::tables::workers;
use crate::management::wire::{
    self, ParticipantSample, PluginSample, RoomDetail, RoomSample, Sample, WorkerSample,
};

/// Busy for more of its time, a worker has no reserve.
const BUSY_WARN: f64 = 0.7;
const BUSY_ALARM: f64 = 0.9;
/// Of a thousand packets lost, picture and sound suffer visibly.
const LOSS_WARN: f64 = 20.0;
const LOSS_ALARM: f64 = 100.0;

const ROOMS: [Column; 8] = [
    words("ROOM", 0),
    numbers("WORKER", 6),
    numbers("PEOPLE", 6),
    numbers("TRACKS", 6),
    numbers("SUBS", 6),
    numbers("IN", 6),
    numbers("OUT", 6),
    numbers("LOSS", 6),
];
/// Rooms are sorted by what leaves for them at first.
pub(super) const ROOMS_SORT: usize = 6;

const WORKERS: [Column; 12] = [
    numbers("W", 3),
    words("DRIVER", 6),
    numbers("BUSY", 5),
    numbers("TURN", 6),
    numbers("BATCH", 5),
    numbers("QUEUE", 5),
    numbers("PKT/S", 5),
    numbers("IN", 5),
    numbers("OUT", 5),
    numbers("P50", 6),
    numbers("P99", 6),
    numbers("DROP/S", 6),
];

const PLUGINS: [Column; 9] = [
    words("PLUGIN", 0),
    words("KIND", 15),
    words("BREAKER", 9),
    numbers("CALL/S", 6),
    numbers("FAULT", 5),
    numbers("MEAN", 6),
    numbers("P99", 6),
    numbers("BUDGET", 6),
    numbers("MEM", 5),
];
/// Plugins are sorted by what a call takes at first.
pub(super) const PLUGINS_SORT: usize = 5;

const ROOM: [Column; 9] = [
    words("PARTICIPANT", 0),
    words("ID", 12),
    words("STATE", 12),
    numbers("RTT", 6),
    numbers("CARRIES", 7),
    numbers("IN", 5),
    numbers("OUT", 5),
    numbers("LOSS", 6),
    numbers("SUBS", 4),
];

const PERSON: [Column; 7] = [
    words("TRACK", 12),
    words("OF", 0),
    words("STATE", 11),
    numbers("LAYER", 5),
    numbers("NEXT", 4),
    words("WISH", 10),
    numbers("RATE", 6),
];
/// Subscriptions are sorted by their rate at first.
pub(super) const PERSON_SORT: usize = 6;

/// The table of a place; `None`: it has none.
pub(super) fn table(place: &Place, sample: Option<&Sample>) -> Option<Table> {
    let known = sample.is_some_and(|sample| sample.over_ms > 0);
    let detail = sample.and_then(|sample| sample.room.as_ref());
    let (columns, rows): (&'static [Column], Vec<Row>) = match place {
        Place::Rooms => {
            let rooms = sample.into_iter().flat_map(|sample| &sample.rooms);
            (&ROOMS, rooms.map(|room| room_row(room, known)).collect())
        }
        Place::Workers => {
            let workers = sample.into_iter().flat_map(|sample| &sample.workers);
            (&WORKERS, workers.map(worker_row).collect())
        }
        Place::Plugins => {
            let plugins = sample.into_iter().flat_map(|sample| &sample.plugins);
            (
                &PLUGINS,
                plugins.map(|one| plugin_row(one, known)).collect(),
            )
        }
        Place::Room(room) => {
            let detail = detail.filter(|detail| detail.name == *room);
            let people = detail.into_iter().flat_map(|detail| &detail.participants);
            (
                &ROOM,
                people.filter_map(|one| person_row(one, known)).collect(),
            )
        }
        Place::Person { room, id } => {
            let detail = detail.filter(|detail| detail.name == *room);
            let rows = detail.map(|detail| subscription_rows(detail, id, known));
            (&PERSON, rows.unwrap_or_default())
        }
        Place::Why { .. } => return None,
    };
    Some(Table { columns, rows })
}

/// A rate, if it is known: in the first sample none is.
fn rate(known: bool, value: f64, text: impl FnOnce() -> String) -> Cell {
    if known {
        Cell::number(value, text()).mood(Mood::Dim, value <= 0.0)
    } else {
        Cell::word("-").mood(Mood::Dim, true)
    }
}

fn bps(known: bool, bps: u64) -> Cell {
    rate(known, bps as f64, || bits(bps))
}

fn loss(known: bool, permille: f64) -> Cell {
    rate(known, permille, || percent(permille / 1_000.0))
        .mood(Mood::Warn, permille >= LOSS_WARN)
        .mood(Mood::Alarm, permille >= LOSS_ALARM)
}

fn room_row(room: &RoomSample, known: bool) -> Row {
    let cells = vec![
        Cell::word(&room.name),
        Cell::number(
            f64::from(room.worker),
            workers(room.worker, &room.other_workers),
        ),
        Cell::count(room.participants),
        Cell::count(room.tracks),
        Cell::count(room.subscriptions),
        bps(known, room.received_bps),
        bps(known, room.sent_bps),
        loss(known, room.loss_permille),
    ];
    Row {
        key: room.name.clone(),
        cells,
    }
}

/// A row of the workers' table; the head of other places shows it too.
pub(super) fn worker_row(worker: &WorkerSample) -> Row {
    let known = worker.over_ms > 0;
    let latency = worker.forwarding.clone().unwrap_or_default();
    let quantile = |us: u64| rate(known && latency.count > 0, us as f64, || micros(us as f64));
    let packets = worker.packets_received_per_second + worker.packets_forwarded_per_second;
    // The sum of nothing would be -0.
    let drops = worker
        .drops
        .iter()
        .fold(0.0, |sum, drop| sum + drop.per_second);
    let cells = vec![
        // From the first on.
        Cell::number(-f64::from(worker.id), worker.id.to_string()),
        Cell::word(&worker.driver),
        rate(known, worker.busy, || percent(worker.busy))
            .mood(Mood::Warn, worker.busy >= BUSY_WARN)
            .mood(Mood::Alarm, worker.busy >= BUSY_ALARM),
        rate(known, worker.turn_mean_us, || micros(worker.turn_mean_us)),
        rate(known, worker.batch_mean, || per_second(worker.batch_mean)),
        Cell::count(worker.queue_depth).mood(Mood::Dim, worker.queue_depth == 0),
        rate(known, packets, || per_second(packets)),
        bps(known, worker.received_bps),
        bps(known, worker.sent_bps),
        quantile(latency.p50_us),
        quantile(latency.p99_us),
        rate(known, drops, || per_second(drops)).mood(Mood::Warn, drops > 0.0),
    ];
    Row {
        key: worker.id.to_string(),
        cells,
    }
}

/// Columns of the workers' table.
pub(super) fn worker_columns() -> &'static [Column] {
    &WORKERS
}

/// `3.0M` for 3.0 MiB.
fn short_bytes(count: u64) -> String {
    bytes(count).replace([' ', 'i', 'B'], "")
}

fn plugin_row(plugin: &PluginSample, known: bool) -> Row {
    let called = known && plugin.call_mean_us > 0.0;
    let budget = plugin.budget_us as f64;
    let near = plugin.call_p99_us.saturating_mul(2) > plugin.budget_us;
    let cells = vec![
        Cell::word(&plugin.name),
        Cell::word(&plugin.kind),
        Cell::word(&plugin.breaker).mood(Mood::Alarm, plugin.breaker != "closed"),
        rate(known, plugin.calls_per_second, || {
            per_second(plugin.calls_per_second)
        }),
        Cell::count(plugin.faults)
            .mood(Mood::Dim, plugin.faults == 0)
            .mood(Mood::Alarm, plugin.faults_per_second > 0.0),
        rate(called, plugin.call_mean_us, || micros(plugin.call_mean_us)),
        rate(called, plugin.call_p99_us as f64, || {
            micros(plugin.call_p99_us as f64)
        })
        .mood(Mood::Warn, called && near),
        Cell::number(budget, micros(budget)),
        Cell::number(plugin.memory_bytes as f64, short_bytes(plugin.memory_bytes)),
    ];
    Row {
        key: format!("{} {}", plugin.name, plugin.kind),
        cells,
    }
}

/// Whoever shows a name is called by it.
pub(super) fn called(participant: &wire::Participant) -> &str {
    match participant.name.as_str() {
        "" => &participant.identity,
        name => name,
    }
}

fn person_row(sample: &ParticipantSample, known: bool) -> Option<Row> {
    let participant = sample.participant.as_ref()?;
    let transport = participant
        .subscribe
        .as_ref()
        .or(participant.publish.as_ref());
    let state = transport.map_or("-", |transport| transport.state.as_str());
    let network = participant.subscribe.as_ref().and_then(|t| t.network);
    let measured = |value: Option<u32>, text: fn(u32) -> String| match value {
        Some(value) => Cell::number(f64::from(value), text(value)),
        None => Cell::word("-").mood(Mood::Dim, true),
    };
    let network = network.unwrap_or_default();
    let broken = matches!(state, "disconnected" | "failed");
    let cells = vec![
        Cell::word(called(participant)),
        Cell::word(&participant.id),
        Cell::word(state).mood(Mood::Alarm, broken),
        measured(network.round_trip_time_ms, |ms| format!("{ms} ms")),
        measured(network.available_outgoing_bps, |bps| bits(bps.into())),
        bps(known, sample.received_bps),
        bps(known, sample.sent_bps),
        loss(known, sample.loss_permille),
        Cell::count(participant.subscriptions),
    ];
    Some(Row {
        key: participant.id.clone(),
        cells,
    })
}

fn subscription_rows(detail: &RoomDetail, participant: &str, known: bool) -> Vec<Row> {
    let own = detail.subscriptions.iter().filter_map(|sample| {
        let one = sample.subscription.as_ref()?;
        (one.participant == participant).then_some((sample, one))
    });
    let rows = own.map(|(sample, one)| {
        let track = detail.tracks.iter().find(|track| track.id == one.track);
        let source = track.map_or(one.kind.as_str(), |track| track.source.as_str());
        let video = one.kind == "video";
        let layer = |layer: Option<u32>| match layer.filter(|_| video) {
            Some(layer) => Cell::count(layer),
            None => Cell::word("-").mood(Mood::Dim, true),
        };
        let wish = one.wish.unwrap_or_default();
        let wish = match (video, wish.paused, wish.width, wish.height) {
            (false, ..) => "-".to_owned(),
            (_, true, ..) => "nothing".to_owned(),
            (_, _, 0, 0) => "the best".to_owned(),
            (_, _, width, height) => format!("{width}x{height}"),
        };
        let cells = vec![
            Cell::word(source),
            Cell::word(&one.publisher_identity),
            Cell::word(&one.state).mood(Mood::Warn, one.state == "held"),
            layer(one.spatial),
            layer(one.target.filter(|_| one.target != one.spatial)),
            Cell::word(&wish),
            bps(known, sample.forwarded_bps),
        ];
        Row {
            key: one.track.clone(),
            cells,
        }
    });
    rows.collect()
}

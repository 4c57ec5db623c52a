//! One measurement: what every part shows of itself, and pages of its rooms.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use rillway_core::inspect::{Items, ParticipantView, Query, RoomView, SubscriptionView, TrackView};
use rillway_policy::{KindStats, Limits, Plugin};

use crate::management::events::now_ms;
use crate::management::source::{NoAnswer, Sources, WorkerSource};
use crate::worker::latency::Seen;

/// Rooms of one snapshot at most: sixteen pages, and half a MiB.
const ROOMS_MAX: usize = 4_096;
/// Of one room: participants, and as many tracks.
const PARTICIPANTS_MAX: usize = 1_024;
/// Of one room: subscriptions.
const SUBSCRIPTIONS_MAX: usize = 4_096;

/// The router at one moment: counters since the start, to be compared with a later one.
pub(super) struct Snapshot {
    pub(super) at: Instant,
    pub(super) at_ms: u64,
    pub(super) uptime_ms: u64,
    pub(super) phase: &'static str,
    pub(super) workers: Vec<WorkerTaken>,
    /// With the workers that have parts of them.
    pub(super) rooms: Vec<(Vec<u8>, RoomView)>,
    pub(super) silent: Vec<u8>,
    /// By name of the room: what is in it, or that it is not open.
    pub(super) details: BTreeMap<String, Option<Arc<Detail>>>,
    pub(super) plugins: Vec<PluginTaken>,
    pub(super) memory_bytes: u64,
}

pub(super) struct WorkerTaken {
    pub(super) id: u8,
    pub(super) driver: &'static str,
    pub(super) seen: Arc<Seen>,
}

pub(super) struct Detail {
    pub(super) participants: Vec<ParticipantView>,
    pub(super) tracks: Vec<TrackView>,
    pub(super) subscriptions: Vec<SubscriptionView>,
    pub(super) cut: bool,
}

/// One kind of a plugin.
pub(super) struct PluginTaken {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) stats: KindStats,
    pub(super) budget_us: u64,
}

/// Measures. `wanted`: rooms to look into.
pub(super) async fn snapshot(sources: &Sources, wanted: Vec<String>) -> Snapshot {
    let uptime = sources.started.elapsed().as_millis();
    let mut snapshot = Snapshot {
        at: Instant::now(),
        at_ms: now_ms(),
        uptime_ms: u64::try_from(uptime).unwrap_or(u64::MAX),
        phase: sources.phase(),
        workers: sources.workers.iter().map(worker).collect(),
        rooms: Vec::new(),
        silent: Vec::new(),
        details: BTreeMap::new(),
        plugins: sources.plugins.values().flat_map(plugin).collect(),
        memory_bytes: memory_bytes().unwrap_or(0),
    };
    let most = ROOMS_MAX / sources.workers.len().max(1);
    let listed = join_all(sources.workers.iter().map(|worker| list(worker, most))).await;
    let mut rooms = BTreeMap::new();
    for (worker, listed) in sources.workers.iter().zip(listed) {
        match listed {
            Ok(views) => {
                for view in views {
                    let known = rooms.entry(view.name.clone());
                    match known {
                        Entry::Occupied(known) => {
                            let (workers, room): &mut (Vec<u8>, RoomView) = known.into_mut();
                            workers.push(worker.id.0);
                            room.add(&view);
                        }
                        Entry::Vacant(none) => {
                            none.insert((vec![worker.id.0], view));
                        }
                    }
                }
            }
            Err(NoAnswer) => snapshot.silent.push(worker.id.0),
        }
    }
    snapshot.rooms = rooms.into_values().collect();
    for name in wanted {
        let workers = places(sources, &snapshot, &name).await;
        let detail = detail(&workers, &name).await;
        snapshot.details.insert(name, detail.map(Arc::new));
    }
    snapshot
}

/// Rooms of a worker, up to a bound.
async fn list(worker: &WorkerSource, most: usize) -> Result<Vec<RoomView>, NoAnswer> {
    let taken = all(
        worker,
        Query::Rooms { name: None },
        most,
        |items| match items {
            Items::Rooms(rooms) => rooms,
            _ => Vec::new(),
        },
    );
    Ok(taken.await?.0)
}

/// The workers of a room: as listed, or asked for where the list may be cut.
async fn places<'a>(
    sources: &'a Sources,
    snapshot: &Snapshot,
    name: &str,
) -> Vec<&'a WorkerSource> {
    let listed = snapshot.rooms.iter().find(|(_, view)| view.name == name);
    if let Some((ids, _)) = listed {
        let all = sources.workers.iter();
        return all.filter(|worker| ids.contains(&worker.id.0)).collect();
    }
    let query = Arc::new(Query::Rooms {
        name: Some(name.to_owned()),
    });
    let mut found = Vec::new();
    for worker in &sources.workers {
        if let Ok(page) = worker.page(&query, 0).await
            && matches!(&page.items, Items::Rooms(rooms) if !rooms.is_empty())
        {
            found.push(worker);
        }
    }
    found
}

/// What is in a room; `None`: it is not open, or nobody answers.
async fn detail(workers: &[&WorkerSource], name: &str) -> Option<Detail> {
    let mut all: Option<Detail> = None;
    for worker in workers {
        let Ok(part) = part(worker, name).await else {
            continue;
        };
        let Some(all) = &mut all else {
            all = Some(part);
            continue;
        };
        all.participants.extend(part.participants);
        all.tracks.extend(part.tracks);
        all.subscriptions.extend(part.subscriptions);
        all.cut |= part.cut;
    }
    all
}

async fn part(worker: &WorkerSource, name: &str) -> Result<Detail, NoAnswer> {
    let room = || Some(name.to_owned());
    let query = Query::Participants { room: room() };
    let participants = all(worker, query, PARTICIPANTS_MAX, |items| match items {
        Items::Participants(found) => found,
        _ => Vec::new(),
    });
    let (participants, some_cut) = participants.await?;
    let query = Query::Tracks { room: room() };
    let tracks = all(worker, query, PARTICIPANTS_MAX, |items| match items {
        Items::Tracks(found) => found,
        _ => Vec::new(),
    });
    let (tracks, more_cut) = tracks.await?;
    let query = Query::Subscriptions {
        room: room(),
        participant: None,
    };
    let subscriptions = all(worker, query, SUBSCRIPTIONS_MAX, |items| match items {
        Items::Subscriptions(found) => found,
        _ => Vec::new(),
    });
    let (subscriptions, cut) = subscriptions.await?;
    Ok(Detail {
        participants,
        tracks,
        subscriptions,
        cut: some_cut || more_cut || cut,
    })
}

/// Items of a table up to a bound, and whether there are more.
async fn all<T>(
    worker: &WorkerSource,
    query: Query,
    most: usize,
    take: impl Fn(Items) -> Vec<T>,
) -> Result<(Vec<T>, bool), NoAnswer> {
    let mut found = Vec::new();
    let mut pages = worker.pages(query);
    while let Some(items) = pages.next().await? {
        found.extend(take(items));
        if found.len() > most {
            found.truncate(most);
            return Ok((found, true));
        }
    }
    Ok((found, false))
}

fn worker(source: &WorkerSource) -> WorkerTaken {
    WorkerTaken {
        id: source.id.0,
        driver: source.driver,
        seen: Arc::new(source.window.look()),
    }
}

fn plugin(plugin: &Plugin) -> Vec<PluginTaken> {
    let (spec, version) = (plugin.spec(), plugin.version().to_string());
    let kinds = plugin.stats().kinds.into_iter().map(|stats| {
        let budget = Limits::resolve(stats.kind, &spec.budgets).call;
        PluginTaken {
            name: plugin.name().to_owned(),
            version: version.clone(),
            stats,
            budget_us: u64::try_from(budget.as_micros()).unwrap_or(u64::MAX),
        }
    });
    kinds.collect()
}

/// Resident memory of this process.
fn memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1_024)
}

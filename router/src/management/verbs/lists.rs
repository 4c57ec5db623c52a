//! Lists: participants, tracks, subscriptions and transports of a room or of all, recordings, metrics.

use std::time::UNIX_EPOCH;

use rillway_core::id::ParticipantId;
use rillway_core::inspect::{Items, Query};
use tokio::sync::oneshot;

use super::convert::{self, whole_ms};
use super::rooms::{part, send_pages, silent};
use super::{change, find};
use crate::management::call::{Call, Failure};
use crate::management::source::WorkerSource;
use crate::management::wire::response::Part;
use crate::management::wire::{
    self, MetricsRequest, ParticipantsRequest, RecordingsRequest, SubscriptionsRequest,
    TracksRequest, TransportsRequest,
};
use crate::rules::Underway;
use crate::run::errands::Errand;

/// Recordings of one part of an answer.
const RECORDINGS_PER_PART: usize = 256;

/// What a list is of.
struct Scope<'a> {
    /// Those that have any of it.
    workers: Vec<&'a WorkerSource>,
    room: Option<String>,
    participant: Option<ParticipantId>,
}

/// Looks up what is named: a participant stands in a room.
async fn scope<'a>(call: &'a Call, room: String, participant: &str) -> Result<Scope<'a>, Failure> {
    let sources = &call.sources;
    if room.is_empty() {
        if !participant.is_empty() {
            let text = "`participant` is one of a room: `room` must name it".to_owned();
            return Err(Failure::invalid(text));
        }
        return Ok(Scope {
            workers: sources.workers.iter().collect(),
            room: None,
            participant: None,
        });
    }
    let place = find::room(sources, &room).await?;
    let participant = match participant {
        "" => None,
        named => Some(find::participant(&place, named).await?.info.id),
    };
    Ok(Scope {
        workers: place.workers,
        room: Some(room),
        participant,
    })
}

/// Sends what is found of each worker, as `each` makes it of a page. Those that do not answer are named.
async fn pages(
    call: &mut Call,
    (room, participant): (String, &str),
    query: impl Fn(Option<String>, Option<ParticipantId>) -> Query,
    each: impl Fn(u8, Items, Option<ParticipantId>) -> Option<Part>,
) -> Result<(), Failure> {
    // Its own handle, so that the answer can be sent meanwhile.
    let sources = call.sources.clone();
    let (ids, room, participant) = {
        let scope = scope(call, room, participant).await?;
        let ids: Vec<_> = scope.workers.iter().map(|worker| worker.id).collect();
        (ids, scope.room, scope.participant)
    };
    let mut mute = Vec::new();
    for worker in sources.workers.iter().filter(|w| ids.contains(&w.id)) {
        let query = query(room.clone(), participant);
        let made = |worker, items| each(worker, items, participant);
        if !send_pages(call, worker, query, made).await? {
            mute.push(worker.id);
        }
    }
    silent(&mute)
}

/// Every participant.
pub(super) async fn participants(
    call: &mut Call,
    request: ParticipantsRequest,
) -> Result<(), Failure> {
    let query = |room, _| Query::Participants { room };
    let each = |worker, items, _| Some(part(worker, items));
    pages(call, (request.room, ""), query, each).await
}

/// Every track.
pub(super) async fn tracks(call: &mut Call, request: TracksRequest) -> Result<(), Failure> {
    let query = |room, _| Query::Tracks { room };
    let each = |worker, items, owner: Option<ParticipantId>| {
        let Items::Tracks(mut found) = items else {
            return None;
        };
        found.retain(|track| owner.is_none_or(|owner| track.info.owner == owner));
        (!found.is_empty()).then(|| part(worker, Items::Tracks(found)))
    };
    pages(call, (request.room, &request.participant), query, each).await
}

/// Every subscription.
pub(super) async fn subscriptions(
    call: &mut Call,
    request: SubscriptionsRequest,
) -> Result<(), Failure> {
    let query = |room, participant| Query::Subscriptions { room, participant };
    let each = |worker, items, _| Some(part(worker, items));
    pages(call, (request.room, &request.participant), query, each).await
}

/// Every transport.
pub(super) async fn transports(call: &mut Call, request: TransportsRequest) -> Result<(), Failure> {
    let query = |room, _| Query::Participants { room };
    let each = |_, items, only: Option<ParticipantId>| {
        let Items::Participants(mut found) = items else {
            return None;
        };
        found.retain(|one| only.is_none_or(|only| one.info.id == only));
        let transports: Vec<_> = found.into_iter().flat_map(convert::transports).collect();
        (!transports.is_empty()).then_some(Part::Transports(wire::Transports { transports }))
    };
    pages(call, (request.room, &request.participant), query, each).await
}

/// What is recorded now.
pub(super) async fn recordings(
    call: &mut Call,
    request: &RecordingsRequest,
) -> Result<(), Failure> {
    let room = (!request.room.is_empty()).then(|| request.room.clone());
    if room.is_some() {
        find::room(&call.sources, &request.room).await?;
    }
    let (answer, answered) = oneshot::channel();
    let errand = Errand::Recordings { room, answer };
    let found = change::run_errand(call, errand, answered).await?;
    for some in found.chunks(RECORDINGS_PER_PART) {
        let recordings = some.iter().map(recording).collect();
        call.send(Part::Recordings(wire::Recordings { recordings }))
            .await?;
    }
    Ok(())
}

fn recording(of: &Underway) -> wire::Recording {
    wire::Recording {
        room: of.room.clone(),
        track: convert::id(of.track.0),
        participant: convert::id(of.owner.0),
        identity: of.identity.clone(),
        source: of.source.to_owned(),
        name: of.name.clone(),
        container: of.container.to_owned(),
        since_ms: whole_ms(of.since.duration_since(UNIX_EPOCH).unwrap_or_default()),
        writing: of.writing,
        by: of.by.map(|by| convert::id(by.0)).unwrap_or_default(),
    }
}

/// Metrics, as a scrape has them.
pub(super) async fn metrics(call: &mut Call, request: &MetricsRequest) -> Result<(), Failure> {
    let registry = call.sources.registry.clone();
    let name = request.name.clone();
    let text = tokio::task::spawn_blocking(move || named(&registry.render(), &name));
    let broken = |_| {
        let text = "the metrics were not written to their end".to_owned();
        Failure::new(
            wire::error::Code::Unavailable,
            text,
            "the router's log says why",
        )
    };
    let text = text.await.map_err(broken)?;
    call.send(Part::Metrics(wire::Metrics { text })).await
}

/// Families of metrics whose name has this in it, with their help.
fn named(text: &str, name: &str) -> String {
    let mut wanted = false;
    let mut kept = String::new();
    for line in text.lines() {
        // A family begins with its comments, each of which names it.
        let family = line
            .strip_prefix("# HELP ")
            .or_else(|| line.strip_prefix("# TYPE "));
        if let Some(family) = family {
            wanted = family.split(' ').next().is_some_and(|f| f.contains(name));
        }
        if wanted {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_chosen_whole() {
        let text = "# HELP a_joins_total Joins of a_leaves.\n# TYPE a_joins_total counter\n\
                    a_joins_total{a=\"x\"} 1\n# TYPE a_leaves gauge\na_leaves 2\n\
                    # TYPE b_s histogram\nb_s_bucket{le=\"1\"} 0\nb_s_sum 0\n";
        assert_eq!(named(text, ""), text);
        assert_eq!(named(text, "leaves"), "# TYPE a_leaves gauge\na_leaves 2\n");
        assert_eq!(named(text, "b_s").lines().count(), 3);
        assert!(named(text, "joins").starts_with("# HELP a_joins_total"));
        assert_eq!(named(text, "none"), "");
    }
}

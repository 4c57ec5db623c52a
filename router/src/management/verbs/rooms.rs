//! Verbs that look into rooms.

use std::collections::{BTreeMap, BTreeSet};

use rillway_core::id::{ParticipantId, TrackId, WorkerId};
use rillway_core::inspect::{ITEMS_PER_PAGE, Items, Query, RoomView};

use super::{convert, find};
use crate::management::call::{Call, Failure};
use crate::management::source::{NoAnswer, Sources, WorkerSource};
use crate::management::wire::error::Code;
use crate::management::wire::response::Part;
use crate::management::wire::{self, ParticipantRequest, RoomRequest, WhyRequest};

/// Lists every room, in as many parts as there are pages.
pub(super) async fn list(call: &mut Call) -> Result<(), Failure> {
    let sources = call.sources.clone();
    let (mut mute, mut rooms) = (Vec::new(), BTreeMap::new());
    for worker in &sources.workers {
        if merge(&mut rooms, worker).await.is_err() {
            mute.push(worker.id);
        }
    }
    let mut rooms = rooms.into_values().peekable();
    while rooms.peek().is_some() {
        let some = rooms.by_ref().take(ITEMS_PER_PAGE);
        let rooms = some.map(|(workers, view)| convert::room(&workers, view));
        let rooms = rooms.collect();
        call.send(Part::Rooms(wire::Rooms { rooms })).await?;
    }
    silent(&mute)
}

/// Rooms by name, with the workers that have parts of them.
type ByName = BTreeMap<String, (Vec<u8>, RoomView)>;

/// Adds a worker's rooms.
async fn merge(rooms: &mut ByName, worker: &WorkerSource) -> Result<(), NoAnswer> {
    let mut pages = worker.pages(Query::Rooms { name: None });
    while let Some(items) = pages.next().await? {
        let Items::Rooms(found) = items else {
            continue;
        };
        for part in found {
            if let Some((workers, room)) = rooms.get_mut(&part.name) {
                workers.push(worker.id.0);
                room.add(&part);
            } else {
                rooms.insert(part.name.clone(), (vec![worker.id.0], part));
            }
        }
    }
    Ok(())
}

/// Says that a list is not complete, if workers did not answer.
pub(super) fn silent(workers: &[WorkerId]) -> Result<(), Failure> {
    if workers.is_empty() {
        return Ok(());
    }
    let numbers: Vec<_> = workers.iter().map(|worker| worker.0.to_string()).collect();
    let (who, does) = match workers.len() {
        1 => ("worker", "does"),
        _ => ("workers", "do"),
    };
    Err(Failure::new(
        Code::Unavailable,
        format!(
            "{who} {} {does} not answer: the list is not complete",
            numbers.join(", ")
        ),
        "try again; the log says why a worker ended",
    ))
}

/// Sends a room and everything in it.
pub(super) async fn show(call: &mut Call, request: &RoomRequest) -> Result<(), Failure> {
    let sources = call.sources.clone();
    let place = find::room(&sources, &request.room).await?;
    let room = || Some(place.room.name.clone());
    let ids: Vec<u8> = place.workers.iter().map(|worker| worker.id.0).collect();
    let rooms = vec![convert::room(&ids, place.room.clone())];
    call.send(Part::Rooms(wire::Rooms { rooms })).await?;
    for query in [
        Query::Participants { room: room() },
        Query::Tracks { room: room() },
        Query::Subscriptions {
            room: room(),
            participant: None,
        },
    ] {
        for worker in &place.workers {
            send_all(call, worker, query.clone()).await?;
        }
    }
    Ok(())
}

/// Sends a participant, what it publishes and what it receives.
pub(super) async fn participant(
    call: &mut Call,
    request: &ParticipantRequest,
) -> Result<(), Failure> {
    let sources = call.sources.clone();
    let place = find::room(&sources, &request.room).await?;
    let found = find::participant(&place, &request.participant).await?;
    let id = found.info.id;
    let worker = place.worker(id.worker())?;
    let participants = vec![convert::participant(worker.id.0, found)];
    call.send(Part::Participants(wire::Participants { participants }))
        .await?;
    let tracks = find::tracks(&place).await?;
    let own = tracks.into_iter().filter(|track| track.info.owner == id);
    let tracks = own.map(convert::track).collect();
    call.send(Part::Tracks(wire::Tracks { tracks })).await?;
    let subscriptions = Query::Subscriptions {
        room: Some(place.room.name.clone()),
        participant: Some(id),
    };
    send_all(call, worker, subscriptions).await
}

/// Sends every page, or says that the worker does not answer.
async fn send_all(call: &mut Call, worker: &WorkerSource, query: Query) -> Result<(), Failure> {
    let made = |worker, items| Some(part(worker, items));
    match send_pages(call, worker, query, made).await? {
        true => Ok(()),
        false => Err(NoAnswer.into()),
    }
}

/// Sends what `made` makes of each page. False: the worker does not answer (any more).
pub(super) async fn send_pages(
    call: &mut Call,
    worker: &WorkerSource,
    query: Query,
    made: impl Fn(u8, Items) -> Option<Part>,
) -> Result<bool, Failure> {
    let mut pages = worker.pages(query);
    loop {
        match pages.next().await {
            Ok(Some(items)) => {
                if let Some(part) = made(worker.id.0, items) {
                    call.send(part).await?;
                }
            }
            Ok(None) => return Ok(true),
            Err(NoAnswer) => return Ok(false),
        }
    }
}

pub(super) fn part(worker: u8, items: Items) -> Part {
    match items {
        Items::Rooms(found) => Part::Rooms(wire::Rooms {
            rooms: found
                .into_iter()
                .map(|view| convert::room(&[worker], view))
                .collect(),
        }),
        Items::Participants(found) => Part::Participants(wire::Participants {
            participants: found
                .into_iter()
                .map(|view| convert::participant(worker, view))
                .collect(),
        }),
        Items::Tracks(found) => Part::Tracks(wire::Tracks {
            tracks: found.into_iter().map(convert::track).collect(),
        }),
        Items::Subscriptions(found) => Part::Subscriptions(wire::Subscriptions {
            subscriptions: found.into_iter().map(convert::subscription).collect(),
        }),
        Items::Reasons(found) => Part::Reasons(wire::Reasons {
            reasons: found.into_iter().map(convert::reason).collect(),
        }),
    }
}

/// Says why a participant gets what it gets.
pub(super) async fn why(call: &mut Call, request: &WhyRequest) -> Result<(), Failure> {
    let sources = call.sources.clone();
    let (place, query) = wanted(&sources, request).await?;
    let worker = match &query {
        Query::Reasons { participant, .. } => place.worker(participant.worker())?,
        // It asks for nothing else.
        _ => return Ok(()),
    };
    send_all(call, worker, query).await
}

/// The same for others than clients of the channel.
///
/// # Errors
/// What such a client would be told.
pub(crate) async fn reasons(
    sources: &Sources,
    request: &WhyRequest,
) -> Result<Vec<wire::Reason>, wire::Error> {
    let told = |failure| match failure {
        Failure::Error(error) => error,
        Failure::Gone => wire::Error::default(),
    };
    let (place, query) = wanted(sources, request).await.map_err(told)?;
    let reasons = find::all(&place, query, |items| match items {
        Items::Reasons(found) => found,
        _ => Vec::new(),
    });
    let reasons = reasons.await.map_err(told)?;
    Ok(reasons.into_iter().map(convert::reason).collect())
}

/// The question for reasons, and where to ask it.
async fn wanted<'a>(
    sources: &'a Sources,
    request: &WhyRequest,
) -> Result<(find::Place<'a>, Query), Failure> {
    let place = find::room(sources, &request.room).await?;
    let found = find::participant(&place, &request.participant).await?;
    let participant = found.info.id;
    let track = match request.track.as_str() {
        "" => None,
        named => Some(received(&place, participant, named).await?),
    };
    Ok((place, Query::Reasons { participant, track }))
}

/// A track that somebody receives.
async fn received(
    place: &find::Place<'_>,
    participant: ParticipantId,
    named: &str,
) -> Result<TrackId, Failure> {
    let query = Query::Subscriptions {
        room: Some(place.room.name.clone()),
        participant: Some(participant),
    };
    let subscriptions = find::all(place, query, |items| match items {
        Items::Subscriptions(found) => found,
        _ => Vec::new(),
    });
    let received: BTreeSet<_> = subscriptions.await?.iter().map(|one| one.track).collect();
    let mut tracks = find::tracks(place).await?;
    tracks.retain(|track| received.contains(&track.info.id));
    let one = find::track(tracks, |view| &view.info, named, &place.room.name)?;
    Ok(one.info.id)
}

//! Verbs that look into rooms.

use rillway_core::inspect::{Items, Query};

use super::{convert, find};
use crate::management::call::{Call, Failure};
use crate::management::source::WorkerSource;
use crate::management::wire::error::Code;
use crate::management::wire::response::Part;
use crate::management::wire::{self, ParticipantRequest, RoomRequest, WhyRequest};

/// Lists every room, in as many parts as there are pages.
pub(super) async fn list(call: &mut Call) -> Result<(), Failure> {
    let sources = call.sources.clone();
    let mut silent = Vec::new();
    for worker in &sources.workers {
        match send_pages(call, worker, Query::Rooms { name: None }).await {
            Ok(()) => {}
            Err(Failure::Error(error)) if error.code() == Code::Unavailable => {
                silent.push(worker.id.0.to_string());
            }
            Err(gone) => return Err(gone),
        }
    }
    if silent.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Code::Unavailable,
        format!(
            "worker {} does not answer: the list is not complete",
            silent.join(", ")
        ),
        "try again; the log says why a worker ended",
    ))
}

/// Sends a room and everything in it.
pub(super) async fn show(call: &mut Call, request: &RoomRequest) -> Result<(), Failure> {
    let sources = call.sources.clone();
    let place = find::room(&sources, &request.room).await?;
    let worker = place.worker;
    let room = || Some(place.room.name.clone());
    let rooms = vec![convert::room(worker.id.0, place.room.clone())];
    call.send(Part::Rooms(wire::Rooms { rooms })).await?;
    send_pages(call, worker, Query::Participants { room: room() }).await?;
    send_pages(call, worker, Query::Tracks { room: room() }).await?;
    let subscriptions = Query::Subscriptions {
        room: room(),
        participant: None,
    };
    send_pages(call, worker, subscriptions).await
}

/// Sends a participant, what it publishes and what it receives.
pub(super) async fn participant(
    call: &mut Call,
    request: &ParticipantRequest,
) -> Result<(), Failure> {
    let sources = call.sources.clone();
    let place = find::room(&sources, &request.room).await?;
    let found = find::participant(&place, &request.participant).await?;
    let (worker, id) = (place.worker, found.info.id);
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
    send_pages(call, worker, subscriptions).await
}

async fn send_pages(call: &mut Call, worker: &WorkerSource, query: Query) -> Result<(), Failure> {
    let mut pages = worker.pages(query);
    while let Some(items) = pages.next().await? {
        call.send(part(worker.id.0, items)).await?;
    }
    Ok(())
}

fn part(worker: u8, items: Items) -> Part {
    match items {
        Items::Rooms(found) => Part::Rooms(wire::Rooms {
            rooms: found
                .into_iter()
                .map(|view| convert::room(worker, view))
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
    let place = find::room(&sources, &request.room).await?;
    let found = find::participant(&place, &request.participant).await?;
    let query = Query::Reasons {
        participant: found.info.id,
        track: None,
    };
    let reasons = find::all(&place, query, |items| match items {
        Items::Reasons(found) => found,
        _ => Vec::new(),
    });
    let mut reasons = reasons.await?;
    if !request.track.is_empty() {
        let one = find::track(
            reasons,
            |reason| &reason.track.info,
            &request.track,
            &request.room,
        )?;
        reasons = vec![one];
    }
    call.send(part(place.worker.id.0, Items::Reasons(reasons)))
        .await
}

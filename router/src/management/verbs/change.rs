//! Verbs that do something to people in calls.

use rillway_core::api::RequestError;
use rillway_core::id::TrackId;
use rillway_core::inspect::{Order, Outcome};
use tokio::sync::oneshot;

use super::convert;
use super::find::{self, shown};
use crate::management::call::{Call, Failure};
use crate::management::source::WorkerSource;
use crate::management::wire::error::Code;
use crate::management::wire::response::Part;
use crate::management::wire::{self, CloseRoomRequest, KickRequest, MuteRequest, RecordRequest};
use crate::run::errands::{Errand, Record};

/// Longest reason, bytes: it is shown to people, and is the reason of a WebSocket close (RFC 6455 §5.5.1
/// leaves it 123).
const REASON_BYTES_MAX: usize = 120;
/// Steps in which a room is closed at most: people may join meanwhile.
const CLOSE_STEPS_MAX: usize = 1_000;

fn reason(text: String, default: &str) -> Result<String, Failure> {
    if text.is_empty() {
        return Ok(default.to_owned());
    }
    if text.len() > REASON_BYTES_MAX || text.contains(char::is_control) {
        return Err(Failure::invalid(format!(
            "`reason` must be one line of at most {REASON_BYTES_MAX} bytes"
        )));
    }
    Ok(text)
}

async fn order(worker: &WorkerSource, order: Order) -> Result<Outcome, Failure> {
    worker.order(order).await?.map_err(|error| match error {
        RequestError::NotFound(what) => Failure::new(
            Code::NotFound,
            format!("the {what} has gone meanwhile"),
            "`rillway room show ROOM` shows who and what is there",
        ),
        other => Failure::new(Code::WrongState, other.to_string(), ""),
    })
}

/// Takes a participant out of its room.
pub(super) async fn kick(call: &mut Call, request: KickRequest) -> Result<(), Failure> {
    let reason = reason(request.reason, "removed by an operator")?;
    let sources = call.sources.clone();
    let place = find::room(&sources, &request.room).await?;
    let found = find::participant(&place, &request.participant).await?;
    let participant = found.info.id;
    let worker = place.worker(participant.worker())?;
    let kick = Order::Kick {
        participant,
        reason,
    };
    let participants = order(worker, kick).await?.removed;
    call.send(Part::Removed(wire::Removed { participants }))
        .await
}

/// Mutes a track for everybody, or takes that back; shows it.
pub(super) async fn mute(call: &mut Call, request: &MuteRequest) -> Result<(), Failure> {
    let sources = call.sources.clone();
    let place = find::room(&sources, &request.room).await?;
    let found = find::published(&place, &request.track, &request.participant).await?;
    let (track, muted) = (found.info.id, request.muted);
    let worker = place.worker(track.worker())?;
    order(worker, Order::Mute { track, muted }).await?;
    let mut tracks = find::tracks(&place).await?;
    tracks.retain(|view| view.info.id == track);
    let tracks = tracks.into_iter().map(convert::track).collect();
    call.send(Part::Tracks(wire::Tracks { tracks })).await
}

/// Takes everybody out of a room.
pub(super) async fn close_room(call: &mut Call, request: CloseRoomRequest) -> Result<(), Failure> {
    let reason = reason(request.reason, "the room was closed by an operator")?;
    let sources = call.sources.clone();
    let place = find::room(&sources, &request.room).await?;
    let mut participants = 0;
    for worker in &place.workers {
        participants += close_part(worker, &request.room, &reason).await?;
    }
    call.send(Part::Removed(wire::Removed { participants }))
        .await
}

/// Takes everybody out of a worker's part of a room. Returns how many.
async fn close_part(worker: &WorkerSource, room: &str, reason: &str) -> Result<u32, Failure> {
    let mut participants = 0;
    for _ in 0..CLOSE_STEPS_MAX {
        let close = Order::CloseRoom {
            room: room.to_owned(),
            reason: reason.to_owned(),
        };
        let outcome = match order(worker, close).await {
            // Everybody else has left meanwhile.
            Err(Failure::Error(error)) if error.code() == Code::NotFound => break,
            other => other?,
        };
        participants += outcome.removed;
        if outcome.left == 0 {
            break;
        }
    }
    Ok(participants)
}

/// Has the control thread run an errand, and waits for its answer.
pub(super) async fn run_errand<T>(
    call: &Call,
    errand: Errand,
    answered: oneshot::Receiver<T>,
) -> Result<T, Failure> {
    let busy = |_| {
        let text = "the control thread is too busy".to_owned();
        Failure::new(Code::Unavailable, text, "try again")
    };
    let errands = &call.sources.asked.errands;
    errands.try_send(errand).map_err(busy)?;
    let gone = |_| Failure::new(Code::Unavailable, "the router is ending".to_owned(), "");
    answered.await.map_err(gone)
}

/// Asks the recording policy of a room to start or stop; shows what is recorded then.
pub(super) async fn record(call: &mut Call, request: RecordRequest) -> Result<(), Failure> {
    let sources = call.sources.clone();
    let place = find::room(&sources, &request.room).await?;
    let all = find::tracks(&place).await?;
    let mut wanted = Vec::new();
    for name in &request.tracks {
        let named = find::track(all.clone(), |view| &view.info, name, &request.room)?;
        wanted.push(named.info.id);
    }
    let meant: Vec<TrackId> = match wanted.is_empty() {
        true => all.iter().map(|view| view.info.id).collect(),
        false => wanted.clone(),
    };
    let (answer, answered) = oneshot::channel();
    let errand = Errand::Record(Record {
        room: request.room.clone(),
        operator: call.holder.name.clone(),
        tracks: wanted,
        start: request.start,
        answer,
    });
    let recorded = run_errand(call, errand, answered).await?.map_err(|why| {
        let help =
            "`recording` in the configuration says which policy decides, and where it records";
        Failure::new(Code::WrongState, why, help)
    })?;
    judge(&request, &meant, &recorded)?;
    let tracks = recorded.iter().map(|track| convert::id(track.0)).collect();
    call.send(Part::Recorded(wire::Recorded { tracks })).await
}

/// Whether the policy did what it was asked for: it may decide otherwise.
fn judge(request: &RecordRequest, meant: &[TrackId], recorded: &[TrackId]) -> Result<(), Failure> {
    let refused = |what: &str| {
        Err(Failure::new(
            Code::WrongState,
            format!(
                "the recording policy was asked, and {what} in room `{}`",
                shown(&request.room)
            ),
            "that is its decision: it may record without being asked, or only what it is configured to",
        ))
    };
    let any = meant.iter().any(|track| recorded.contains(track));
    match request.start {
        // What is published later will be recorded.
        true if meant.is_empty() || any => Ok(()),
        true => refused("records nothing of that"),
        false if any => refused("goes on recording"),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_one_short_line() {
        assert_eq!(reason(String::new(), "so").ok().as_deref(), Some("so"));
        assert_eq!(
            reason("no noise".into(), "so").ok().as_deref(),
            Some("no noise")
        );
        for bad in ["two\nlines".to_owned(), "x".repeat(REASON_BYTES_MAX + 1)] {
            assert!(matches!(reason(bad, ""), Err(Failure::Error(e)) if e.code() == Code::Invalid));
        }
    }

    #[test]
    fn a_policy_that_does_something_else_is_said_to() {
        let request = |start| RecordRequest {
            room: "r".to_owned(),
            start,
            tracks: Vec::new(),
        };
        let (one, two) = ([TrackId(1)], [TrackId(2)]);
        assert!(judge(&request(true), &one, &one).is_ok());
        assert!(
            judge(&request(true), &[], &[]).is_ok(),
            "nothing is published yet"
        );
        assert!(judge(&request(false), &one, &two).is_ok());
        for (start, meant, recorded) in [(true, &one, &two), (false, &one, &one)] {
            let judged = judge(&request(start), meant, recorded);
            assert!(matches!(judged, Err(Failure::Error(e)) if e.code() == Code::WrongState));
        }
    }
}

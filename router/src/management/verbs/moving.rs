//! A participant that is to be on another worker.

use std::time::{Duration, Instant};

use rillway_core::api::ParticipantInfo;
use rillway_core::id::WorkerId;
use rillway_core::inspect::{Items, ParticipantView, Query};
use tokio::sync::oneshot;

use super::change::run_errand;
use super::convert;
use super::find::{self, shown};
use crate::management::call::{Call, Failure};
use crate::management::source::WorkerSource;
use crate::management::wire::error::Code;
use crate::management::wire::response::Part;
use crate::management::wire::{self, MoveRequest};
use crate::run::errands::{Errand, Move};

/// Time a client has to come again.
const COMES_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Moves a participant; shows it where it is then.
pub(super) async fn to_worker(call: &mut Call, request: MoveRequest) -> Result<(), Failure> {
    let sources = call.sources.clone();
    let ids: Vec<String> = sources.workers.iter().map(|w| w.id.0.to_string()).collect();
    let target = sources
        .workers
        .iter()
        .find(|worker| u32::from(worker.id.0) == request.worker)
        .ok_or_else(|| {
            let text = format!("there is no worker {}", request.worker);
            let help = format!("there are: {}", ids.join(", "));
            Failure::new(Code::Invalid, text, &help)
        })?;
    let place = find::room(&sources, &request.room).await?;
    let found = find::participant(&place, &request.participant).await?;
    let id = found.info.id;
    if id.worker() == target.id {
        let text = format!("it is on worker {} already", target.id.0);
        return Err(Failure::new(Code::WrongState, text, ""));
    }
    let (answer, answered) = oneshot::channel();
    let errand = Errand::Move(Move {
        room: request.room.clone(),
        participant: id,
        identity: found.info.identity.clone(),
        name: found.info.name.clone(),
        worker: target.id,
        within: COMES_WITHIN,
        answer,
    });
    if !run_errand(call, errand, answered).await? {
        let text = "the participant has gone meanwhile, or the worker has ended".to_owned();
        let help = "`rillway room show ROOM` shows who is there, `rillway worker ls` the workers";
        return Err(Failure::new(Code::NotFound, text, help));
    }
    let until = Instant::now() + COMES_WITHIN;
    while Instant::now() < until {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Some(view) = arrived(target, &request.room, &found.info).await? {
            let participants = vec![convert::participant(target.id.0, view)];
            return call
                .send(Part::Participants(wire::Participants { participants }))
                .await;
        }
    }
    Err(late(&request, target.id))
}

fn late(request: &MoveRequest, worker: WorkerId) -> Failure {
    let text = format!(
        "`{}` was asked to join again, and has not come to worker {} within {} s",
        shown(&request.participant),
        worker.0,
        COMES_WITHIN.as_secs()
    );
    let help =
        "its client may not know how: clients of the rooms protocol do, those of WHIP do not";
    Failure::new(Code::WrongState, text, help)
}

/// Somebody of this identity or name who has come since.
async fn arrived(
    worker: &WorkerSource,
    room: &str,
    before: &ParticipantInfo,
) -> Result<Option<ParticipantView>, Failure> {
    let room = Some(room.to_owned());
    let mut pages = worker.pages(Query::Participants { room });
    while let Some(items) = pages.next().await? {
        let Items::Participants(found) = items else {
            continue;
        };
        let mut all = found.into_iter();
        let it = |view: &ParticipantView| {
            let info = &view.info;
            let named = info.name.is_some() && info.name == before.name;
            (info.identity == before.identity || named) && info.joined_at_ms > before.joined_at_ms
        };
        if let Some(view) = all.find(it) {
            return Ok(Some(view));
        }
    }
    Ok(None)
}

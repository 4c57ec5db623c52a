//! What operators ask of the control thread: the recording of rooms, what is recorded, and to move somebody.

use std::rc::Rc;
use std::time::{Duration, Instant};

use rillway_core::id::{ParticipantId, TrackId, WorkerId};
use tokio::sync::{mpsc, oneshot};

use crate::directory::Comer;
use crate::rules::{Rules, Underway};
use crate::session::Control;

/// Errands that wait for the control thread at most.
pub(crate) const ERRANDS_MAX: usize = 64;

/// Time within which a client that is to move should have joined again.
const MOVE_WITHIN: Duration = Duration::from_secs(3);

/// Time a recording policy has to decide about a request.
const POLICY_TIME: Duration = Duration::from_secs(10);

/// What an operator wants of the control thread.
pub(crate) enum Errand {
    /// The recording of a room.
    Record(Record),
    /// To see what is recorded.
    Recordings {
        /// Only in this room.
        room: Option<String>,
        /// Where it goes.
        answer: oneshot::Sender<Vec<Underway>>,
    },
    /// A participant is to be on another worker.
    Move(Move),
}

/// An operator wants a participant on another worker.
pub(crate) struct Move {
    /// Name of its room.
    pub(crate) room: String,
    /// Who.
    pub(crate) participant: ParticipantId,
    /// As whom it will come again: identity, and name.
    pub(crate) identity: String,
    /// Display name.
    pub(crate) name: Option<String>,
    /// Where to.
    pub(crate) worker: WorkerId,
    /// For how long its place is kept.
    pub(crate) within: Duration,
    /// Whether it was asked to.
    pub(crate) answer: oneshot::Sender<bool>,
}

/// An operator wants the recording of a room to start or stop.
pub(crate) struct Record {
    /// Name of the room.
    pub(crate) room: String,
    /// Name in the operator's certificate.
    pub(crate) operator: String,
    /// Only these tracks; none: the room.
    pub(crate) tracks: Vec<TrackId>,
    /// Start, or stop.
    pub(crate) start: bool,
    /// What is recorded in the room then, or what is in the way, for people.
    pub(crate) answer: oneshot::Sender<Result<Vec<TrackId>, String>>,
}

/// Runs errands for as long as any may come. Within a `LocalSet`.
pub(super) async fn run(control: Rc<Control>, mut errands: mpsc::Receiver<Errand>) {
    let rules = &control.rules;
    while let Some(errand) = errands.recv().await {
        match errand {
            // A slow policy keeps its own room waiting alone.
            Errand::Record(record) => {
                tokio::task::spawn_local(carry_out(rules.clone(), record));
            }
            // An operator that waits no longer is no fault, here and below.
            Errand::Recordings { room, answer } => {
                let _ = answer.send(rules.underway(room.as_deref()));
            }
            Errand::Move(order) => {
                let until = Instant::now() + order.within;
                let comer = Comer {
                    identity: &order.identity,
                    name: order.name.as_deref(),
                };
                let asked = control
                    .directory
                    .keep(&order.room, comer, order.worker, until)
                    && control.clients.ask_to_move(order.participant, MOVE_WITHIN);
                let _ = order.answer.send(asked);
            }
        }
    }
}

async fn carry_out(rules: Rc<Rules>, errand: Record) {
    let Record {
        room,
        operator,
        tracks,
        start,
        answer,
    } = errand;
    let asked = rules.request_recording_by_operator(&room, operator, &tracks, start);
    let outcome = match asked {
        Ok(outcome) => tokio::time::timeout(POLICY_TIME, outcome).await,
        Err(why) => {
            let _ = answer.send(Err(why.to_owned()));
            return;
        }
    };
    let decided = match outcome {
        Ok(Ok(decided)) => decided,
        Ok(Err(_)) => Err("the recording policy failed, or the room closed".to_owned()),
        Err(_) => Err("the recording policy does not answer".to_owned()),
    };
    let recorded = || {
        let state = rules.recorded(&room);
        let tracks = state.map(|state| state.tracks).unwrap_or_default();
        tracks.into_iter().map(|track| TrackId(track.0)).collect()
    };
    let _ = answer.send(decided.map(|()| recorded()));
}

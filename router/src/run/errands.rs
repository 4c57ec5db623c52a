//! What operators ask of the control thread: the recording of rooms, and what is recorded.

use std::rc::Rc;
use std::time::Duration;

use rillway_core::id::TrackId;
use tokio::sync::{mpsc, oneshot};

use crate::rules::{Rules, Underway};

/// Errands that wait for the control thread at most.
pub(crate) const ERRANDS_MAX: usize = 64;

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
pub(super) async fn run(rules: Rc<Rules>, mut errands: mpsc::Receiver<Errand>) {
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

//! What operators ask of the control thread: the recording of rooms.

use std::rc::Rc;
use std::time::Duration;

use rillway_core::id::TrackId;
use tokio::sync::{mpsc, oneshot};

use crate::rules::Rules;

/// Errands that wait for the control thread at most.
pub(crate) const ERRANDS_MAX: usize = 64;

/// Time a recording policy has to decide about a request.
const POLICY_TIME: Duration = Duration::from_secs(10);

/// An operator wants the recording of a room to start or stop.
pub(crate) struct Errand {
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
        // A slow policy keeps its own room waiting alone.
        tokio::task::spawn_local(carry_out(rules.clone(), errand));
    }
}

async fn carry_out(rules: Rc<Rules>, errand: Errand) {
    let Errand {
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
            // An operator that waits no longer is no fault, here and below.
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

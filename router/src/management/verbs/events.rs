//! What happens, as it happens.

use tokio::sync::broadcast::error::RecvError;

use crate::management::call::{Call, Failure};
use crate::management::wire::response::Part;
use crate::management::wire::{self, EventsRequest};

/// Sends events until the client has seen enough. While it does not read, `send` waits, the ring goes on, and
/// what it has overwritten by then is counted.
pub(super) async fn watch(call: &mut Call, request: &EventsRequest) -> Result<(), Failure> {
    let mut events = call.sources.events.watch();
    // Nothing lost yet: tells the client that it watches from here on.
    call.send(Part::Lost(wire::Lost { count: 0 })).await?;
    loop {
        match events.recv().await {
            Ok(event) if request.room.is_empty() || event.room == request.room => {
                call.send(Part::Event(event)).await?;
            }
            Ok(_) => {}
            Err(RecvError::Lagged(count)) => {
                call.sources.recorder.lost(count);
                call.send(Part::Lost(wire::Lost { count })).await?;
            }
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

//! How the router is doing, again and again.

use crate::management::call::{Call, Failure};
use crate::management::watch::{Shown, WatchError, Watcher};
use crate::management::wire::error::Code;
use crate::management::wire::response::Part;
use crate::management::wire::{self, WatchRequest};

/// Sends samples until the client has seen enough. While it does not read, `send` waits and measurements go on.
pub(super) async fn watch(call: &mut Call, request: &WatchRequest) -> Result<(), Failure> {
    let watcher = Watcher::new(&call.sources, request.interval_ms, &request.room);
    let mut watcher = watcher.map_err(refused)?;
    while let Some(shown) = watcher.next().await {
        let part = match shown {
            Shown::Lost(count) => {
                call.sources.recorder.lost(count);
                Part::Lost(wire::Lost { count })
            }
            Shown::Sample(sample) => Part::Sample(*sample),
        };
        call.send(part).await?;
    }
    Ok(())
}

fn refused(error: WatchError) -> Failure {
    match error {
        WatchError::Full => Failure::new(
            Code::Limit,
            error.to_string(),
            "watch one of those, or the router as a whole",
        ),
        WatchError::Interval => Failure::invalid(error.to_string()),
    }
}

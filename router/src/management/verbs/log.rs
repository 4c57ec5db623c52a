//! Verbs about the log: other levels for a time.

use std::time::{Duration, Instant};

use super::convert::whole_ms;
use super::find::shown;
use crate::management::call::{Call, Failure};
use crate::management::wire::error::Code;
use crate::management::wire::response::Part;
use crate::management::wire::{self, LogResetRequest, LogSetRequest};
use crate::telemetry::log::{self, Levels};

/// Shortest and longest time, milliseconds: a second, a day.
const TIME_MS: std::ops::RangeInclusive<u32> = 1_000..=86_400_000;

fn levels() -> Result<&'static Levels, Failure> {
    log::levels().ok_or_else(|| {
        let text = "the log of this process is not the router's".to_owned();
        Failure::new(Code::WrongState, text, "the program around it has its own")
    })
}

/// The levels in force.
pub(super) async fn list(call: &mut Call) -> Result<(), Failure> {
    let (filter, others) = match log::levels() {
        Some(levels) => levels.look(),
        None => (String::new(), Vec::new()),
    };
    let now = Instant::now();
    let levels = others.into_iter().map(|other| wire::LogLevel {
        ms_left: whole_ms(other.until.saturating_duration_since(now)),
        level: other.level.to_string(),
        target: other.target,
        by: other.by,
    });
    let levels = levels.collect();
    call.send(Part::LogLevels(wire::LogLevels { filter, levels }))
        .await
}

/// Another level for a target, for a time.
pub(super) async fn set(call: &mut Call, request: &LogSetRequest) -> Result<(), Failure> {
    if !TIME_MS.contains(&request.ms) {
        let text = format!("`ms` must be {} to {}", TIME_MS.start(), TIME_MS.end());
        return Err(Failure::invalid(text));
    }
    let time = Duration::from_millis(request.ms.into());
    let what = (request.target.as_str(), request.level.as_str());
    let set = levels()?.set(what, time, &call.holder.name);
    set.map_err(|error| match error {
        log::LevelError::Full => Failure::new(
            Code::Limit,
            error.to_string(),
            "`rillway log reset` takes some back",
        ),
        _ => Failure::invalid(error.to_string()),
    })?;
    list(call).await
}

/// Takes that back.
pub(super) async fn reset(call: &mut Call, request: &LogResetRequest) -> Result<(), Failure> {
    let target = (!request.target.is_empty()).then_some(request.target.as_str());
    let count = levels()?.reset(target);
    if let (Some(target), 0) = (target, count) {
        let text = format!("`{}` has no other level", shown(target));
        return Err(Failure::new(
            Code::NotFound,
            text,
            "`rillway log ls` names those that have",
        ));
    }
    list(call).await
}

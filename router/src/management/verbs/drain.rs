//! The end of the router, by an operator.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TrySendError;

use super::convert::whole_ms;
use crate::management::call::{Call, Failure};
use crate::management::wire::error::Code;
use crate::management::wire::response::Part;
use crate::management::wire::{self, DrainRequest};
use crate::run::Order;
use crate::session::Phase;

/// Latest deadline of a drain, milliseconds: a day.
const DEADLINE_MS_MAX: u32 = 86_400_000;
/// Time between two reports.
const REPORT_PERIOD: Duration = Duration::from_secs(1);

/// Has the router drain, and reports until it ends.
pub(super) async fn drain(call: &mut Call, request: DrainRequest) -> Result<(), Failure> {
    if request.deadline_ms.is_some_and(|ms| ms > DEADLINE_MS_MAX) {
        let text = format!("`deadline_ms` must be at most {DEADLINE_MS_MAX}");
        return Err(Failure::invalid(text));
    }
    let sources = call.sources.clone();
    let mut phase = sources.phase.clone();
    let deadline = request
        .deadline_ms
        .map(|ms| Duration::from_millis(ms.into()));
    let now = *phase.borrow();
    let order = match (now, deadline) {
        (Phase::Serving, deadline) => Order::Drain(deadline),
        (_, Some(Duration::ZERO)) => Order::Stop,
        _ => {
            return Err(Failure::new(
                Code::WrongState,
                format!("the router is {} already", sources.phase()),
                "a deadline of 0 ends it now",
            ));
        }
    };
    // Before the order: a router with nobody in it ends at once, and tells no more.
    let configured = || sources.asked.config.look().config.shutdown.notice;
    let ends = match order {
        Order::Drain(deadline) => deadline.unwrap_or_else(configured),
        Order::Stop => Duration::ZERO,
    };
    let ends = Instant::now() + ends;
    report(call, ends).await?;
    match sources.asked.orders.try_send(order) {
        // A full queue holds such an order already.
        Ok(()) | Err(TrySendError::Full(_)) => {}
        Err(TrySendError::Closed(_)) => {
            let text = "the router is ending already".to_owned();
            return Err(Failure::new(Code::WrongState, text, ""));
        }
    }
    loop {
        let changed = tokio::time::timeout(REPORT_PERIOD, phase.changed()).await;
        if matches!(changed, Ok(Err(_))) {
            return Ok(());
        }
        let until = match *phase.borrow_and_update() {
            Phase::Draining(until) => until,
            // Not begun yet: as it will be.
            Phase::Serving => ends,
            Phase::Closing => return Ok(()),
        };
        report(call, until).await?;
    }
}

/// Says who is left, and for how long.
async fn report(call: &mut Call, until: Instant) -> Result<(), Failure> {
    let left = whole_ms(until.saturating_duration_since(Instant::now()));
    let draining = wire::Draining {
        participants: call.sources.participants(),
        ms_left: u32::try_from(left).unwrap_or(u32::MAX),
    };
    call.send(Part::Draining(draining)).await
}

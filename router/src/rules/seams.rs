//! Where instances of layer and recording policies come from.
//!
//! As with signaling (`session/factory.rs`), the boundary is message-shaped: a value goes in, values come
//! out, and the call may take time or fail. Who is behind it (a component on a policy thread, a value in a
//! test) is not the rules' business.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use rillway_plugin_sdk::layers::{Decision, View};
use rillway_plugin_sdk::recording::{Event, Order};
use rillway_plugin_sdk::signaling::RecordingState;

/// Why a policy gave no answer. The instance is dropped, whatever it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RuleFault {
    /// It trapped, took too long, or exceeded a bound.
    #[error("{0}")]
    Failed(String),
    /// Too many faults, or too much to do: nobody is let in before this time has passed.
    #[error("{reason}")]
    Suspended {
        /// Why, for people.
        reason: String,
        /// The least to wait.
        retry_after: Duration,
    },
    /// No fault of its own: another version takes its place at once.
    #[error("another version takes its place")]
    Retired,
}

/// The layer selection of one room.
pub(crate) trait LayerInstance {
    /// Name and version of the policy, for whoever asks why.
    fn policy(&self) -> Arc<str>;

    /// Shows it the room. Never called again after a fault.
    ///
    /// # Errors
    /// [`RuleFault`].
    fn choose(&mut self, view: View) -> LocalBoxFuture<'_, Result<Decision, RuleFault>>;

    /// Ends when another version shall take its place.
    fn retired(&self) -> LocalBoxFuture<'static, ()>;
}

/// An instance on its way.
pub(crate) type Opening<I> = LocalBoxFuture<'static, Result<Box<I>, RuleFault>>;

/// Makes an instance for each room.
pub(crate) trait LayerFactory {
    /// Name of the policy, for logs.
    fn policy(&self) -> Rc<str>;

    /// A new instance for a room; may take time.
    fn open(&self, room: &str) -> Opening<dyn LayerInstance>;
}

/// The recording policy of one room.
pub(crate) trait RecordingInstance {
    /// Tells it what happened. Never called again after a fault.
    ///
    /// # Errors
    /// [`RuleFault`].
    fn decide(&mut self, event: Event) -> LocalBoxFuture<'_, Result<Vec<Order>, RuleFault>>;

    /// Ends when another version shall take its place.
    fn retired(&self) -> LocalBoxFuture<'static, ()>;
}

/// Makes an instance for each room.
pub(crate) trait RecordingFactory {
    /// Name of the policy, for logs.
    fn policy(&self) -> Rc<str>;

    /// A new instance for a room; may take time.
    fn open(&self, room: &str) -> Opening<dyn RecordingInstance>;
}

/// Where orders to the recorder go.
pub(crate) trait RecorderOrders {
    /// Gives an order. Never waits. False: it was not taken, because the recorder is busy.
    fn give(&self, order: rillway_recorder::api::Order) -> bool;
}

/// Who hears what is recorded.
pub(crate) trait Audience {
    /// Tells everybody in a room.
    fn recording(&self, room: &str, state: &RecordingState);
}

/// First wait after a fault that names none.
pub(super) const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest: a policy that was mended is back within it.
const RETRY_LONGEST: Duration = Duration::from_secs(30);

/// How long a room waits for its next instance.
#[derive(Debug)]
pub(super) struct Pace {
    first: Duration,
    faults: u32,
}

impl Pace {
    /// With this first wait.
    pub(super) fn new(first: Duration) -> Self {
        Pace { first, faults: 0 }
    }

    /// A call went well.
    pub(super) fn succeeded(&mut self) {
        self.faults = 0;
    }

    /// How long to wait after a fault: as it says, or doubling with each one in a row.
    pub(super) fn failed(&mut self, fault: &RuleFault) -> Duration {
        match fault {
            RuleFault::Retired => Duration::ZERO,
            RuleFault::Suspended { retry_after, .. } => (*retry_after).max(self.first),
            RuleFault::Failed(_) => {
                let wait = self.first * 2_u32.pow(self.faults.min(10));
                self.faults += 1;
                wait.min(RETRY_LONGEST)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_start_anew_after_success() {
        let mut pace = Pace::new(RETRY_FIRST);
        let fault = RuleFault::Failed("trap".to_owned());
        let mut waits = || pace.failed(&fault).as_secs();
        let seen: Vec<u64> = std::iter::repeat_with(&mut waits).take(7).collect();
        assert_eq!(seen, [1, 2, 4, 8, 16, 30, 30]);
        for _ in 0..100 {
            assert_eq!(pace.failed(&fault), RETRY_LONGEST);
        }
        pace.succeeded();
        assert_eq!(pace.failed(&fault), RETRY_FIRST);
        assert_eq!(pace.failed(&RuleFault::Retired), Duration::ZERO);
        let suspended = |ms| RuleFault::Suspended {
            reason: "its breaker is open".to_owned(),
            retry_after: Duration::from_millis(ms),
        };
        assert_eq!(pace.failed(&suspended(1)), RETRY_FIRST);
        assert_eq!(pace.failed(&suspended(60_000)).as_secs(), 60);
    }
}

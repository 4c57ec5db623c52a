//! What happens in the router, for those who watch.
//!
//! A ring of bounded length: whoever publishes never waits, and a watcher that is too slow loses the oldest
//! events and is told how many.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::broadcast;

use super::wire::Event;

/// Events kept for slow watchers: a room of a thousand that opens at once makes a few thousand, and a watcher
/// of ordinary speed is never that far behind. About a mebibyte.
const EVENTS_MAX: usize = 4_096;

/// Where events go. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    ring: broadcast::Sender<Event>,
}

impl Default for Events {
    fn default() -> Self {
        Events {
            ring: broadcast::Sender::new(EVENTS_MAX),
        }
    }
}

impl Events {
    /// Publishes what `make` returns, with the time. While nobody watches, it is not even made.
    pub(crate) fn publish(&self, make: impl FnOnce() -> Event) {
        if self.ring.receiver_count() > 0 {
            let mut event = make();
            event.at_ms = now_ms();
            // An error means that the last watcher has just gone.
            let _ = self.ring.send(event);
        }
    }

    /// Events from now on.
    pub(crate) fn watch(&self) -> broadcast::Receiver<Event> {
        self.ring.subscribe()
    }
}

/// Unix time, milliseconds.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_watcher_loses_the_oldest_and_nobody_waits() {
        let events = Events::default();
        events.publish(|| panic!("nobody watches"));
        let mut slow = events.watch();
        for index in 0..EVENTS_MAX + 10 {
            events.publish(|| Event {
                detail: index.to_string(),
                ..Event::default()
            });
        }
        let lost = slow.recv().await;
        assert_eq!(lost, Err(broadcast::error::RecvError::Lagged(10)));
        let next = slow.recv().await.expect("the next");
        assert_eq!(next.detail, "10");
        assert!(next.at_ms > 1_600_000_000_000);
    }
}

//! How the router is doing, for those who watch: one measurement a second for all of them, and none while
//! nobody watches.
//!
//! Snapshots go into a ring of bounded length: whoever is too slow loses the oldest and is told how many, and
//! nobody waits. Rates are made for each watcher, over the time since what it was shown before, so that they are
//! true after a loss too.

mod rates;
mod take;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

use super::source::Sources;
use super::wire;
use rates::Rates;
use take::Snapshot;

/// Time between measurements. Workers tell their numbers as often.
const PERIOD: Duration = Duration::from_secs(1);

/// Longest time between samples of one watcher.
const EVERY_MAX: Duration = Duration::from_secs(60);

/// Snapshots kept for slow watchers. One of thousands of rooms has a few MiB.
const SNAPSHOTS_MAX: usize = 4;

/// Rooms that are looked into at once, for all watchers together: each costs its worker some pages a second.
const ROOMS_MAX: usize = 16;

/// Where snapshots go, and who makes them.
pub(crate) struct Watch {
    ring: broadcast::Sender<Arc<Snapshot>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Makes snapshots while anybody watches.
    task: Option<JoinHandle<()>>,
    /// Watchers by the room they look into.
    rooms: BTreeMap<String, usize>,
}

impl Default for Watch {
    fn default() -> Self {
        Watch {
            ring: broadcast::Sender::new(SNAPSHOTS_MAX),
            state: Mutex::default(),
        }
    }
}

impl Watch {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is left half-done in it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rooms to look into; `None`: nobody watches any more, and the task is to end.
    fn wanted(&self) -> Option<Vec<String>> {
        let mut state = self.state();
        if self.ring.receiver_count() == 0 {
            state.task = None;
            return None;
        }
        Some(state.rooms.keys().cloned().collect())
    }

    #[cfg(test)]
    fn is_measuring(&self) -> bool {
        self.state().task.is_some()
    }
}

/// Why somebody cannot watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum WatchError {
    /// The interval.
    #[error("`interval_ms` must be 1000 to {}, or 0 for a second", EVERY_MAX.as_millis())]
    Interval,
    /// Too many rooms.
    #[error("{ROOMS_MAX} rooms are looked into already")]
    Full,
}

/// Somebody who watches.
pub(crate) struct Watcher {
    receiver: broadcast::Receiver<Arc<Snapshot>>,
    /// Counts the watcher of a room.
    room: Option<Interest>,
    every: Duration,
    sent: Option<Instant>,
    rates: Rates,
}

/// What a watcher is shown next.
#[derive(Debug)]
pub(crate) enum Shown {
    /// So many samples were made and are gone.
    Lost(u64),
    /// A sample.
    Sample(Box<wire::Sample>),
}

struct Interest {
    sources: Arc<Sources>,
    room: String,
}

impl Drop for Interest {
    fn drop(&mut self) {
        let mut state = self.sources.watch.state();
        if let Some(count) = state.rooms.get_mut(&self.room) {
            *count -= 1;
            if *count == 0 {
                state.rooms.remove(&self.room);
            }
        }
    }
}

impl Watcher {
    /// Watches from now on. `interval_ms`, `room`: as in `WatchRequest`.
    ///
    /// # Errors
    /// [`WatchError`].
    pub(crate) fn new(
        sources: &Arc<Sources>,
        interval_ms: u32,
        room: &str,
    ) -> Result<Watcher, WatchError> {
        let every = match interval_ms {
            0 => PERIOD,
            ms => Duration::from_millis(u64::from(ms)),
        };
        if every < PERIOD || every > EVERY_MAX {
            return Err(WatchError::Interval);
        }
        let watch = &sources.watch;
        let mut state = watch.state();
        let known = state.rooms.len();
        let room = match (room, state.rooms.get_mut(room)) {
            ("", _) => None,
            (_, Some(count)) => {
                *count += 1;
                Some(room)
            }
            (_, None) if known >= ROOMS_MAX => return Err(WatchError::Full),
            (_, None) => {
                state.rooms.insert(room.to_owned(), 1);
                Some(room)
            }
        };
        let room = room.map(|room| Interest {
            sources: sources.clone(),
            room: room.to_owned(),
        });
        let receiver = watch.ring.subscribe();
        // Finished without being told: the runtime of whoever watched first has ended.
        if state.task.as_ref().is_none_or(JoinHandle::is_finished) {
            state.task = Some(tokio::spawn(measure(sources.clone())));
        }
        Ok(Watcher {
            receiver,
            room,
            every,
            sent: None,
            rates: Rates::default(),
        })
    }

    /// What comes next; `None`: nothing more. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Option<Shown> {
        loop {
            match self.receiver.recv().await {
                Ok(snapshot) if self.is_due(&snapshot) => {
                    self.sent = Some(snapshot.at);
                    let room = self.room.as_ref().map(|interest| interest.room.as_str());
                    let sample = self.rates.sample(&snapshot, room);
                    return Some(Shown::Sample(Box::new(sample)));
                }
                Ok(_) => {}
                Err(RecvError::Lagged(count)) => return Some(Shown::Lost(count)),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Whether enough time has passed, half a measurement more or less, and the room was looked into.
    fn is_due(&self, snapshot: &Snapshot) -> bool {
        let looked = match &self.room {
            Some(interest) => snapshot.details.contains_key(&interest.room),
            None => true,
        };
        let since = |sent| snapshot.at.saturating_duration_since(sent);
        looked
            && self
                .sent
                .is_none_or(|sent| since(sent) + PERIOD / 2 >= self.every)
    }
}

async fn measure(sources: Arc<Sources>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(rooms) = sources.watch.wanted() else {
            return;
        };
        let snapshot = take::snapshot(&sources, rooms).await;
        // An error means that the last watcher has just gone.
        let _ = sources.watch.ring.send(Arc::new(snapshot));
    }
}

#[cfg(test)]
mod tests;

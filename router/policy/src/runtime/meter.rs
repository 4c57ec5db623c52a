//! The time a call has used.
//!
//! A call that runs on is interrupted at every tick: its time is added up, and it yields, so that one busy
//! plugin costs the others of its thread a tick and no more. Calls of one plugin that need more than a tick
//! go on one at a time for each thread: a plugin that loops for fifty clients takes one share, not fifty.
//!
//! What counts is the time the call ran, and the time it waited for HTTP; not the time others ran. A slice
//! counts as two ticks at most, since what is longer went to other processes; the first one of a call that began
//! when no other ran is as long as `FIRST_TICK`, and so gives it some milliseconds for nothing. So that a call is answered
//! whatever the machine is busy with, it also has to end [`GRACE`] after its budget by the wall clock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::UpdateDeadline;

use super::engine::TICK;

/// How much later than its budget a call ends at the latest, by the wall clock.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// A call was interrupted because its time is over.
#[derive(Debug, thiserror::Error)]
#[error("the time of the call is over")]
pub(crate) struct Interrupted;

/// The turn of a plugin on a thread, for calls that need more than a tick.
#[derive(Debug, Clone)]
pub(crate) struct Turn(Arc<Semaphore>);

impl Default for Turn {
    fn default() -> Self {
        Turn(Arc::new(Semaphore::new(1)))
    }
}

#[derive(Debug)]
pub(crate) struct Meter {
    base: Instant,
    /// When the running slice began, nanoseconds since `base`. Shared with the future that yields.
    resumed_ns: Arc<AtomicU64>,
    used: Duration,
    budget: Duration,
    ends: Instant,
    turn: Turn,
    held: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
    /// It has waited since the last tick, which says nothing about how long it runs.
    rested: bool,
}

impl Meter {
    pub(crate) fn new(turn: Turn) -> Meter {
        let base = Instant::now();
        Meter {
            base,
            resumed_ns: Arc::default(),
            used: Duration::ZERO,
            budget: Duration::ZERO,
            ends: base,
            turn,
            held: Arc::default(),
            rested: false,
        }
    }

    /// A call begins.
    pub(crate) fn begin(&mut self, budget: Duration) {
        let now = Instant::now();
        self.used = Duration::ZERO;
        self.budget = budget;
        self.ends = now + budget + GRACE;
        self.rested = false;
        self.resume(now);
    }

    /// It ended, one way or another.
    pub(crate) fn end(&mut self) {
        release(&self.held);
    }

    fn resume(&self, now: Instant) {
        resume(&self.resumed_ns, self.base, now);
    }

    /// Adds the running slice to what is used.
    fn add_slice(&mut self, now: Instant) {
        let began = self.base + Duration::from_nanos(self.resumed_ns.load(Relaxed));
        let slice = now.saturating_duration_since(began);
        self.used += slice.min(2 * TICK);
        self.resume(now);
    }

    /// The call is going to wait for something outside, and gives its turn back: how long it may wait.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub(crate) fn pause(&mut self) -> Result<Duration, Interrupted> {
        let now = Instant::now();
        self.add_slice(now);
        release(&self.held);
        self.left(now)
    }

    /// It has waited that long.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub(crate) fn waited(&mut self, took: Duration) -> Result<(), Interrupted> {
        let now = Instant::now();
        self.used += took;
        self.rested = true;
        self.resume(now);
        self.left(now).map(drop)
    }

    fn left(&self, now: Instant) -> Result<Duration, Interrupted> {
        let left = self.budget.saturating_sub(self.used);
        let left = left.min(self.ends.saturating_duration_since(now));
        match left.is_zero() {
            true => Err(Interrupted),
            false => Ok(left),
        }
    }

    /// What an epoch means for the call.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub(crate) fn tick(&mut self) -> Result<UpdateDeadline, Interrupted> {
        let now = Instant::now();
        self.add_slice(now);
        self.left(now)?;
        if std::mem::take(&mut self.rested) {
            return Ok(UpdateDeadline::Continue(1));
        }
        let (turn, held) = (Arc::clone(&self.turn.0), Arc::clone(&self.held));
        let (resumed_ns, base) = (Arc::clone(&self.resumed_ns), self.base);
        let wait = async move {
            if !is_held(&held) {
                // Never closed, so an error cannot be; without the turn the call goes on all the same.
                if let Ok(permit) = turn.acquire_owned().await {
                    *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
                }
            }
            tokio::task::yield_now().await;
            resume(&resumed_ns, base, Instant::now());
        };
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(wait)))
    }
}

fn resume(resumed_ns: &AtomicU64, base: Instant, now: Instant) {
    let ns = now.saturating_duration_since(base).as_nanos();
    resumed_ns.store(u64::try_from(ns).unwrap_or(u64::MAX), Relaxed);
}

fn is_held(held: &Mutex<Option<OwnedSemaphorePermit>>) -> bool {
    held.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_some()
}

fn release(held: &Mutex<Option<OwnedSemaphorePermit>>) {
    *held.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_counts_and_gives_the_turn_back() {
        let turn = Turn::default();
        let mut meter = Meter::new(turn.clone());
        meter.begin(Duration::from_secs(60));
        let permit = Arc::clone(&turn.0).try_acquire_owned().unwrap();
        *meter.held.lock().unwrap() = Some(permit);
        let left = meter.pause().unwrap();
        assert!(left <= Duration::from_secs(60) && left > Duration::from_secs(59));
        assert_eq!(turn.0.available_permits(), 1);
        meter.waited(Duration::from_secs(20)).unwrap();
        assert!(meter.pause().unwrap() <= Duration::from_secs(40));
        assert!(meter.waited(Duration::from_secs(41)).is_err() && meter.pause().is_err());
    }

    #[test]
    fn the_first_tick_after_a_wait_is_not_the_calls() {
        let mut meter = Meter::new(Turn::default());
        meter.begin(Duration::from_secs(60));
        let yields =
            |meter: &mut Meter| matches!(meter.tick(), Ok(UpdateDeadline::YieldCustom(..)));
        assert!(yields(&mut meter));
        meter.waited(Duration::ZERO).unwrap();
        assert!(!yields(&mut meter));
        assert!(yields(&mut meter));
    }
}

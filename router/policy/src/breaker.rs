//! A breaker for each kind of each version of a plugin: after a few faults in a short time nothing is
//! made anew for a while, then one trial decides.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::budgets::Limits;

/// Longest time a breaker stays open.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// What a breaker does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Everything passes.
    Closed,
    /// Nothing passes.
    Open,
    /// One trial passes; what becomes of it decides.
    HalfOpen,
}

impl BreakerState {
    /// Label in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half-open",
        }
    }
}

/// Leave to make an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Like any other.
    Normal,
    /// The one that decides. What comes of it must be told to the breaker.
    Trial,
}

#[derive(Debug)]
enum State {
    Closed,
    Open { until: Instant },
    Trying,
}

#[derive(Debug)]
pub(crate) struct Breaker {
    faults_max: usize,
    window: Duration,
    backoff_first: Duration,
    backoff: Duration,
    faults: VecDeque<Instant>,
    state: State,
}

impl Breaker {
    pub(crate) fn new(limits: &Limits) -> Breaker {
        Breaker {
            faults_max: usize::try_from(limits.breaker_faults.max(1)).unwrap_or(usize::MAX),
            window: limits.breaker_window,
            backoff_first: limits.breaker_backoff,
            backoff: limits.breaker_backoff,
            faults: VecDeque::new(),
            state: State::Closed,
        }
    }

    /// Whether an instance may be made now.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn admit(&mut self, now: Instant) -> Result<Admission, Duration> {
        match self.state {
            State::Closed => Ok(Admission::Normal),
            State::Open { until } if now >= until => {
                self.state = State::Trying;
                Ok(Admission::Trial)
            }
            State::Open { until } => Err(until - now),
            State::Trying => Err(self.backoff),
        }
    }

    /// A fault of the plugin. Returns whether it opened the breaker.
    pub(crate) fn fault(&mut self, admission: Admission, now: Instant) -> bool {
        match (&self.state, admission) {
            (State::Trying, Admission::Trial) => self.open(now, self.backoff * 2),
            // Instances from before still fail; that says nothing about the trial.
            (State::Open { .. } | State::Trying, _) => return false,
            (State::Closed, _) => {
                while self
                    .faults
                    .front()
                    .is_some_and(|at| now.saturating_duration_since(*at) > self.window)
                {
                    self.faults.pop_front();
                }
                if self.faults.is_empty() {
                    self.backoff = self.backoff_first;
                }
                self.faults.push_back(now);
                if self.faults.len() < self.faults_max {
                    return false;
                }
                self.open(now, self.backoff);
            }
        }
        true
    }

    fn open(&mut self, now: Instant, backoff: Duration) {
        self.faults.clear();
        self.backoff = backoff.clamp(Duration::from_millis(1), BACKOFF_MAX);
        self.state = State::Open {
            until: now + self.backoff,
        };
    }

    /// The trial answered as it should. The backoff stays, so that a plugin that works once in three
    /// times is not tried ever more often; a quiet window resets it.
    pub(crate) fn trial_succeeded(&mut self, now: Instant) {
        if matches!(self.state, State::Trying) {
            self.state = State::Closed;
            self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
            // So that the window counts from here.
            self.faults.clear();
            self.faults.push_back(now);
        }
    }

    /// The trial ended before it showed anything.
    pub(crate) fn trial_abandoned(&mut self, now: Instant) {
        if matches!(self.state, State::Trying) {
            self.state = State::Open { until: now };
        }
    }

    pub(crate) fn state(&self, now: Instant) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { until } if now < until => BreakerState::Open,
            State::Open { .. } | State::Trying => BreakerState::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> (Breaker, Instant) {
        (Breaker::new(&Limits::of(Kind::Signaling)), Instant::now())
    }

    fn trip(breaker: &mut Breaker, now: Instant) {
        for _ in 0..3 {
            breaker.fault(Admission::Normal, now);
        }
    }

    #[test]
    fn three_faults_in_a_window_open_it() {
        let (mut breaker, t) = breaker();
        assert!(!breaker.fault(Admission::Normal, t));
        assert!(!breaker.fault(Admission::Normal, t + 10 * SECOND));
        // The first is forgotten by now.
        assert!(!breaker.fault(Admission::Normal, t + 65 * SECOND));
        assert_eq!(breaker.admit(t + 65 * SECOND), Ok(Admission::Normal));
        assert!(breaker.fault(Admission::Normal, t + 66 * SECOND));
        assert_eq!(breaker.state(t + 66 * SECOND), BreakerState::Open);
        assert_eq!(breaker.admit(t + 66 * SECOND), Err(SECOND));
    }

    #[test]
    fn one_trial_decides() {
        let (mut breaker, t) = breaker();
        trip(&mut breaker, t);
        let later = t + SECOND;
        assert_eq!(breaker.state(later), BreakerState::HalfOpen);
        assert_eq!(breaker.admit(later), Ok(Admission::Trial));
        assert!(breaker.admit(later).is_err(), "one trial only");
        // An instance from before is not the trial.
        assert!(!breaker.fault(Admission::Normal, later));
        breaker.trial_succeeded(later);
        assert_eq!(breaker.state(later), BreakerState::Closed);
        assert_eq!(breaker.admit(later), Ok(Admission::Normal));
    }

    #[test]
    fn failed_trials_wait_longer_each_time() {
        let (mut breaker, mut t) = breaker();
        trip(&mut breaker, t);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert!(breaker.admit(t + seconds * SECOND - SECOND / 10).is_err());
            t += seconds * SECOND;
            assert_eq!(breaker.admit(t), Ok(Admission::Trial));
            assert!(breaker.fault(Admission::Trial, t));
        }
    }

    #[test]
    fn a_trial_that_showed_nothing_is_followed_by_another() {
        let (mut breaker, t) = breaker();
        trip(&mut breaker, t);
        assert_eq!(breaker.admit(t + SECOND), Ok(Admission::Trial));
        breaker.trial_abandoned(t + SECOND);
        assert_eq!(breaker.admit(t + SECOND), Ok(Admission::Trial));
    }

    #[test]
    fn a_quiet_window_forgets_the_backoff() {
        let (mut breaker, mut t) = breaker();
        trip(&mut breaker, t);
        t += SECOND;
        assert_eq!(breaker.admit(t), Ok(Admission::Trial));
        breaker.trial_succeeded(t);
        trip(&mut breaker, t);
        assert!(breaker.admit(t + SECOND).is_err(), "twice as long by now");
        t += 2 * SECOND;
        assert_eq!(breaker.admit(t), Ok(Admission::Trial));
        breaker.trial_succeeded(t);
        t += 120 * SECOND;
        trip(&mut breaker, t);
        assert_eq!(breaker.admit(t + SECOND), Ok(Admission::Trial));
    }
}

//! Tells operators when the machine's clock is set. Media goes by a clock that nobody sets; the ends of tokens and
//! certificates, the times in logs and recordings go by this one.

use std::time::{Duration, Instant, SystemTime};

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// A smaller step is one of a daemon that keeps the time, or a machine that was busy between two looks at clocks.
const STEP_MIN: Duration = Duration::from_secs(2);

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
struct Look {
    steady: Instant,
    wall: SystemTime,
}

/// How far a clock was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Forward(Duration),
    Back(Duration),
}

impl Look {
    fn now() -> Look {
        Look {
            steady: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// How far the wall clock was set since an earlier look, if it was.
    fn step_since(self, before: Look) -> Option<Step> {
        let due = before.wall + self.steady.saturating_duration_since(before.steady);
        let step = match self.wall.duration_since(due) {
            Ok(forward) => Step::Forward(forward),
            Err(back) => Step::Back(back.duration()),
        };
        let (Step::Forward(by) | Step::Back(by)) = step;
        (by >= STEP_MIN).then_some(step)
    }
}

/// Looks until it is dropped.
pub(super) async fn watch() {
    let mut before = Look::now();
    loop {
        tokio::time::sleep(PERIOD).await;
        let now = Look::now();
        match now.step_since(before) {
            Some(Step::Forward(by)) => tracing::warn!(
                seconds = by.as_secs(),
                "the clock of this machine was set forward; calls go on"
            ),
            Some(Step::Back(by)) => tracing::warn!(
                seconds = by.as_secs(),
                "the clock of this machine was set back; calls go on"
            ),
            None => {}
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_what_the_steady_clock_does_not_know_of() {
        let before = Look::now();
        let later = |steady: u64, wall: i64| {
            let by = Duration::from_secs(wall.unsigned_abs());
            Look {
                steady: before.steady + Duration::from_secs(steady),
                wall: if wall < 0 {
                    before.wall - by
                } else {
                    before.wall + by
                },
            }
            .step_since(before)
        };
        assert_eq!(
            (later(1, 1), later(60, 61), later(60, 59)),
            (None, None, None)
        );
        let hour = Duration::from_secs(3_600);
        assert_eq!(later(1, 3_601), Some(Step::Forward(hour)));
        assert_eq!(later(1, -3_599), Some(Step::Back(hour)));
    }
}

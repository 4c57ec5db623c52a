//! Other levels for a time: what an operator wants to see of one part of the program while he looks into it.
//!
//! The filter is replaced as a whole, as it is by a reload. Call sites remember whether they are wanted, so a line
//! that is not costs what it cost before: one load.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::level_filters::LevelFilter;

/// Targets that may have a level of their own at once.
const TARGETS_MAX: usize = 32;
/// Longest name of a target, bytes.
const TARGET_BYTES_MAX: usize = 128;

/// Puts filter directives into force.
type Replace = Box<dyn Fn(&str) + Send + Sync>;

/// The levels of a process's log.
pub(crate) struct Levels {
    replace: Replace,
    state: Mutex<State>,
    /// An end may have come nearer.
    changed: Notify,
}

struct State {
    /// `log.filter`.
    filter: String,
    others: Vec<Other>,
}

/// A target that has another level for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Other {
    /// Which.
    pub(crate) target: String,
    /// Which level.
    pub(crate) level: LevelFilter,
    /// Until when.
    pub(crate) until: Instant,
    /// Who set it.
    pub(crate) by: String,
}

/// Why a target keeps its level.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum LevelError {
    /// It is no path of a module.
    #[error(
        "`target` must be a path as in log lines, such as `rillway_core` or `rillway::gateway`"
    )]
    Target,
    /// It is none.
    #[error("`level` must be off, error, warn, info, debug or trace")]
    Level,
    /// As many as may have another one do.
    #[error("{TARGETS_MAX} targets have another level already")]
    Full,
}

/// A path of Rust modules, and nothing that a filter would read as more.
fn is_target(text: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    text.len() <= TARGET_BYTES_MAX && text.split("::").all(plain)
}

impl Levels {
    /// As configured; `replace` puts other directives into force.
    pub(super) fn new(filter: &str, replace: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Levels {
            replace: Box::new(replace),
            state: Mutex::new(State {
                filter: filter.to_owned(),
                others: Vec::new(),
            }),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing can be left half-done in it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_in_force(&self, state: &State) {
        let others = state.others.iter();
        let others = others.map(|other| format!(",{}={}", other.target, other.level));
        // Of two directives for one target the last one counts.
        (self.replace)(&others.fold(state.filter.clone(), |text, other| text + &other));
    }

    /// Another `log.filter`. Levels that were set for a time stay.
    pub(super) fn configure(&self, filter: &str) {
        let mut state = self.state();
        filter.clone_into(&mut state.filter);
        self.put_in_force(&state);
    }

    /// Gives a target and what is beneath it another level for so long.
    ///
    /// # Errors
    /// [`LevelError`]; nothing changed then.
    pub(crate) fn set(
        &self,
        (target, level): (&str, &str),
        time: Duration,
        by: &str,
    ) -> Result<(), LevelError> {
        if !is_target(target) {
            return Err(LevelError::Target);
        }
        // Numbers would parse too.
        let named = level.bytes().all(|b| b.is_ascii_alphabetic()) && !level.is_empty();
        let level = named.then(|| level.parse::<LevelFilter>().ok()).flatten();
        let level = level.ok_or(LevelError::Level)?;
        let mut state = self.state();
        let count = state.others.iter().filter(|o| o.target != target).count();
        if count >= TARGETS_MAX {
            return Err(LevelError::Full);
        }
        state.others.retain(|other| other.target != target);
        state.others.push(Other {
            target: target.to_owned(),
            level,
            until: Instant::now() + time,
            by: by.to_owned(),
        });
        state.others.sort_by(|a, b| a.target.cmp(&b.target));
        self.put_in_force(&state);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Takes back what was set for a target, or for all. Says how many had another level.
    pub(crate) fn reset(&self, target: Option<&str>) -> usize {
        self.forget(|other| target.is_none_or(|target| other.target == target))
            .len()
    }

    fn forget(&self, which: impl Fn(&Other) -> bool) -> Vec<Other> {
        let mut state = self.state();
        let (gone, left) = state.others.drain(..).partition(|other| which(other));
        state.others = left;
        let gone: Vec<Other> = gone;
        if !gone.is_empty() {
            self.put_in_force(&state);
        }
        gone
    }

    /// `log.filter`, and what differs from it now.
    pub(crate) fn look(&self) -> (String, Vec<Other>) {
        let state = self.state();
        (state.filter.clone(), state.others.clone())
    }

    /// Takes back what is over, as long as it is polled. Several may do so.
    pub(crate) async fn keep(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on nothing is missed.
            changed.as_mut().enable();
            let next = self.state().others.iter().map(|other| other.until).min();
            match next {
                Some(next) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(next.into()) => self.expire(Instant::now()),
                    }
                }
                None => changed.await,
            }
        }
    }

    fn expire(&self, now: Instant) {
        for over in self.forget(|other| other.until <= now) {
            tracing::info!(
                target = over.target,
                level = %over.level,
                by = over.by,
                "log level as configured again"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Levels, and what they put into force.
    fn levels() -> (Levels, Arc<Mutex<Vec<String>>>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let written = seen.clone();
        let levels = Levels::new("info", move |text| {
            written.lock().expect("no panic").push(text.to_owned());
        });
        (levels, seen)
    }

    fn last(seen: &Mutex<Vec<String>>) -> String {
        seen.lock().expect("no panic").pop().unwrap_or_default()
    }

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn targets_are_paths_and_levels_are_words() {
        let (levels, seen) = levels();
        let long = "x".repeat(TARGET_BYTES_MAX + 1);
        for bad in ["", "a b", "a=trace", "a,b", "[span]", "a::", "::a", &long] {
            let refused = levels.set((bad, "info"), LONG, "ada");
            assert_eq!(refused, Err(LevelError::Target), "{bad}");
        }
        for bad in ["", "loud", "5", "info,a=trace"] {
            let refused = levels.set(("a", bad), LONG, "ada");
            assert_eq!(refused, Err(LevelError::Level), "{bad}");
        }
        assert!(seen.lock().expect("no panic").is_empty());
        for n in 0..TARGETS_MAX {
            let target = format!("t{n}");
            assert_eq!(levels.set((&target, "debug"), LONG, "ada"), Ok(()));
        }
        let full = levels.set(("another", "debug"), LONG, "ada");
        assert_eq!(full, Err(LevelError::Full));
        assert_eq!(levels.set(("t3", "warn"), LONG, "ada"), Ok(()));
        assert_eq!(levels.look().1.len(), TARGETS_MAX);
    }

    #[test]
    fn a_reload_leaves_what_was_set_for_a_time() {
        let (levels, seen) = levels();
        levels.set(("b", "trace"), LONG, "ada").expect("valid");
        levels.set(("a::b", "off"), LONG, "ada").expect("valid");
        assert_eq!(last(&seen), "info,a::b=off,b=trace");
        levels.configure("warn");
        assert_eq!(last(&seen), "warn,a::b=off,b=trace");
        assert_eq!(levels.reset(Some("none")), 0);
        assert_eq!(levels.reset(Some("b")), 1);
        assert_eq!(last(&seen), "warn,a::b=off");
        assert_eq!(levels.reset(None), 1);
        assert_eq!(last(&seen), "warn");
        assert_eq!(levels.look(), ("warn".to_owned(), Vec::new()));
    }

    #[tokio::test]
    async fn what_is_over_is_taken_back_and_nothing_else() {
        let (levels, seen) = levels();
        let levels = Arc::new(levels);
        let keeper = levels.clone();
        let keeper = tokio::spawn(async move { keeper.keep().await });
        tokio::task::yield_now().await;
        let time = Duration::from_millis(20);
        levels.set(("long", "debug"), LONG, "ada").expect("valid");
        levels.set(("short", "trace"), time, "ada").expect("valid");
        assert_eq!(last(&seen), "info,long=debug,short=trace");
        let gone = async {
            while levels.look().1.len() > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let gone = tokio::time::timeout(Duration::from_secs(10), gone).await;
        gone.expect("it ends by itself");
        assert_eq!(last(&seen), "info,long=debug");
        keeper.abort();
    }
}

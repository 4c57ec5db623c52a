//! At most one line per cause and second, so that neither a hostile client nor a full disk can turn the
//! log into the fault.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

/// One line per this time.
const PERIOD: Duration = Duration::from_secs(1);

/// Causes remembered at once: call sites × `cause` × `worker`. Call sites are a few hundred and causes
/// are names from the code, so this is never reached; were it, the causes of earlier seconds go.
const CAUSES_MAX: usize = 4_096;

/// Fields that tell causes at one call site apart. Their values come from the code, never from a peer.
const CAUSE_FIELDS: [&str; 2] = ["cause", "worker"];

thread_local! {
    /// Lines left out before the one that this thread is about to write.
    static LEFT_OUT: Cell<u64> = const { Cell::new(0) };
}

/// Lines like the one being formatted that were left out since the last one. Resets it.
pub(super) fn take_left_out() -> u64 {
    LEFT_OUT.take()
}

/// Lets one event per cause and second pass, and counts the others.
///
/// A cause is a call site with the values of its fields `cause` and `worker`. Levels `debug` and `trace`
/// always pass: whoever asks for them wants all.
pub(super) struct RateLimit {
    now: fn() -> Duration,
    hasher: RandomState,
    causes: Mutex<HashMap<u64, Cause>>,
}

#[derive(Debug, Clone, Copy)]
struct Cause {
    written: Duration,
    left_out: u64,
}

impl RateLimit {
    /// With the machine's clock.
    pub(super) fn system() -> Self {
        fn now() -> Duration {
            static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
            START.get_or_init(Instant::now).elapsed()
        }
        RateLimit::new(now)
    }

    /// With a clock.
    pub(super) fn new(now: fn() -> Duration) -> Self {
        RateLimit {
            now,
            hasher: RandomState::new(),
            causes: Mutex::default(),
        }
    }

    /// Whether a line of this cause may be written; if so, how many were left out before it.
    pub(super) fn pass(&self, cause: u64) -> Option<u64> {
        let now = (self.now)();
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = causes.get_mut(&cause) {
            if now.saturating_sub(known.written) < PERIOD {
                known.left_out += 1;
                return None;
            }
            known.written = now;
            return Some(std::mem::take(&mut known.left_out));
        }
        if causes.len() >= CAUSES_MAX {
            causes.retain(|_, known| now.saturating_sub(known.written) < PERIOD);
        }
        if causes.len() >= CAUSES_MAX {
            return None;
        }
        causes.insert(
            cause,
            Cause {
                written: now,
                left_out: 0,
            },
        );
        Some(0)
    }

    fn cause(&self, event: &Event<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        event.metadata().callsite().hash(&mut hasher);
        event.record(&mut CauseFields(&mut hasher));
        hasher.finish()
    }
}

impl<S> Filter<S> for RateLimit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        if *event.metadata().level() > Level::INFO {
            return true;
        }
        let passed = self.pass(self.cause(event));
        LEFT_OUT.set(passed.unwrap_or(0));
        passed.is_some()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // Without a hint, the directives' own one would be lost in the conjunction.
        Some(LevelFilter::TRACE)
    }
}

/// Feeds the fields that tell causes apart into a hash.
struct CauseFields<'a, H>(&'a mut H);

impl<H: Hasher> CauseFields<'_, H> {
    fn feed(&mut self, field: &Field, value: impl Hash) {
        if CAUSE_FIELDS.contains(&field.name()) {
            field.name().hash(self.0);
            value.hash(self.0);
        }
    }
}

impl<H: Hasher> Visit for CauseFields<'_, H> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if CAUSE_FIELDS.contains(&field.name()) {
            self.feed(field, format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.feed(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.feed(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.feed(field, value);
    }
}

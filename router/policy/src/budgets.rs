//! What a plugin may use, with a default for each kind.

use std::time::Duration;

use crate::kind::Kind;

/// Subscriptions of a view for which layer selection gets another millisecond (part of the ABI).
const SUBSCRIPTIONS_PER_MS: u64 = 500;

/// Bounds that an operator sets for one plugin; `None` means the default of the kind ([`Limits::of`]).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budgets {
    /// Time of one call, with the time that an HTTP answer takes.
    pub call: Option<Duration>,
    /// Time to make an instance: instantiation and `lifecycle.start`.
    pub start: Option<Duration>,
    /// Linear memory of one instance, bytes.
    pub memory_bytes: Option<usize>,
    /// Linear memory beyond the first 2 MiB of each instance, all instances of a kind together, bytes.
    pub memory_total_bytes: Option<usize>,
    /// Elements of all tables of one instance.
    pub table_elements: Option<usize>,
    /// Instances of one kind at once.
    pub instances: Option<usize>,
    /// Calls of one kind per second, all instances together; the burst is one second's worth.
    pub calls_per_second: Option<u32>,
    /// Bytes handed in and out per second, with those of HTTP, all instances of a kind together.
    pub bytes_per_second: Option<u32>,
    /// Bytes that one call may hand out, one import may hand over, and one call may send and receive over
    /// HTTP.
    pub returned_bytes: Option<usize>,
    /// HTTP requests under way at once, all instances together; more wait, within their time.
    pub http_requests: Option<usize>,
    /// Log lines per second, all instances together; the burst is one second's worth.
    pub log_lines_per_second: Option<u32>,
    /// What the shared store holds, bytes of keys and values, with 64 for each entry.
    pub kv_bytes: Option<usize>,
    /// Authentication: an instance is replaced after this many calls.
    pub recycle_calls: Option<u64>,
    /// Authentication: an instance is replaced when its memory passes this, bytes.
    pub recycle_memory_bytes: Option<usize>,
    /// Faults within [`Budgets::breaker_window`] that open the breaker of a kind.
    pub breaker_faults: Option<u32>,
    /// See [`Budgets::breaker_faults`].
    pub breaker_window: Option<Duration>,
    /// How long the breaker stays open the first time; doubles, up to a minute, while trials fail.
    pub breaker_backoff: Option<Duration>,
}

/// The bounds in force for one kind of one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// See [`Budgets::call`].
    pub call: Duration,
    /// See [`Budgets::start`].
    pub start: Duration,
    /// See [`Budgets::memory_bytes`].
    pub memory_bytes: usize,
    /// See [`Budgets::memory_total_bytes`].
    pub memory_total_bytes: usize,
    /// See [`Budgets::table_elements`].
    pub table_elements: usize,
    /// See [`Budgets::instances`].
    pub instances: usize,
    /// See [`Budgets::calls_per_second`].
    pub calls_per_second: u32,
    /// See [`Budgets::bytes_per_second`].
    pub bytes_per_second: u32,
    /// See [`Budgets::returned_bytes`].
    pub returned_bytes: usize,
    /// See [`Budgets::recycle_calls`].
    pub recycle_calls: u64,
    /// See [`Budgets::recycle_memory_bytes`].
    pub recycle_memory_bytes: usize,
    /// See [`Budgets::breaker_faults`].
    pub breaker_faults: u32,
    /// See [`Budgets::breaker_window`].
    pub breaker_window: Duration,
    /// See [`Budgets::breaker_backoff`].
    pub breaker_backoff: Duration,
}

impl Limits {
    /// The defaults of a kind.
    #[must_use]
    pub fn of(kind: Kind) -> Limits {
        const MIB: usize = 1 << 20;
        let base = Limits {
            call: Duration::from_millis(50),
            // Far above what a component needs (10 µs to 1 ms): the machine may be busy.
            start: Duration::from_millis(250),
            // Rust and C need 1 to 2 MiB; interpreters of other languages more, which TOML then says.
            memory_bytes: 32 * MIB,
            memory_total_bytes: 256 * MIB,
            table_elements: 10_000,
            instances: 1_024,
            calls_per_second: 5_000,
            bytes_per_second: 16 << 20,
            returned_bytes: 8 * MIB,
            recycle_calls: 100_000,
            recycle_memory_bytes: 16 * MIB,
            breaker_faults: 3,
            breaker_window: Duration::from_secs(60),
            breaker_backoff: Duration::from_secs(1),
        };
        match kind {
            Kind::Authentication => Limits {
                // Each waits for one HTTP answer at a time.
                instances: 16,
                calls_per_second: 1_000,
                ..base
            },
            // A client each; frames of a megabyte go through.
            Kind::Signaling => Limits {
                call: Duration::from_millis(20),
                instances: 4_000,
                calls_per_second: 50_000,
                bytes_per_second: 64 << 20,
                ..base
            },
            // A room each, of which there may be as many as clients; a call costs some 30 µs.
            Kind::LayerSelection => Limits {
                call: Duration::from_millis(5),
                memory_bytes: 16 * MIB,
                instances: 4_000,
                calls_per_second: 20_000,
                bytes_per_second: 64 << 20,
                ..base
            },
            Kind::Recording => Limits {
                instances: 4_000,
                ..base
            },
        }
    }

    /// The defaults of a kind with what the operator set.
    #[must_use]
    pub fn resolve(kind: Kind, set: &Budgets) -> Limits {
        let base = Limits::of(kind);
        let memory_bytes = set.memory_bytes.unwrap_or(base.memory_bytes);
        Limits {
            call: set.call.unwrap_or(base.call),
            start: set.start.unwrap_or(base.start),
            memory_bytes,
            memory_total_bytes: set.memory_total_bytes.unwrap_or(base.memory_total_bytes),
            table_elements: set.table_elements.unwrap_or(base.table_elements),
            instances: set.instances.unwrap_or(base.instances),
            calls_per_second: set.calls_per_second.unwrap_or(base.calls_per_second),
            bytes_per_second: set.bytes_per_second.unwrap_or(base.bytes_per_second),
            returned_bytes: set.returned_bytes.unwrap_or(base.returned_bytes),
            recycle_calls: set.recycle_calls.unwrap_or(base.recycle_calls),
            recycle_memory_bytes: set.recycle_memory_bytes.unwrap_or(memory_bytes / 2),
            breaker_faults: set.breaker_faults.unwrap_or(base.breaker_faults),
            breaker_window: set.breaker_window.unwrap_or(base.breaker_window),
            breaker_backoff: set.breaker_backoff.unwrap_or(base.breaker_backoff),
        }
    }

    /// Time for a view of this many subscriptions: it grows with what there is to decide.
    pub(crate) fn call_for_view(&self, subscriptions: usize) -> Duration {
        let subscriptions = u64::try_from(subscriptions).unwrap_or(u64::MAX);
        self.call + Duration::from_millis(subscriptions / SUBSCRIPTIONS_PER_MS)
    }
}

/// Bounds of a plugin that its kinds share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SharedLimits {
    pub(crate) log_lines_per_second: u32,
    pub(crate) kv_bytes: usize,
    pub(crate) http_requests: usize,
}

impl SharedLimits {
    pub(crate) fn resolve(set: &Budgets) -> SharedLimits {
        SharedLimits {
            log_lines_per_second: set.log_lines_per_second.unwrap_or(20),
            kv_bytes: set.kv_bytes.unwrap_or(1 << 20),
            // Twice the instances that authentication has; each may hold an answer of 1 MiB.
            http_requests: set.http_requests.unwrap_or(32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_wit() {
        let call = |kind| Limits::of(kind).call.as_millis();
        assert_eq!(call(Kind::Authentication), 50);
        assert_eq!(call(Kind::Signaling), 20);
        assert_eq!(call(Kind::LayerSelection), 5);
        assert_eq!(call(Kind::Recording), 50);
        let layers = Limits::of(Kind::LayerSelection);
        assert_eq!(layers.call_for_view(499).as_millis(), 5);
        assert_eq!(layers.call_for_view(5_000).as_millis(), 15);
    }

    #[test]
    fn what_is_set_replaces_the_default() {
        let set = Budgets {
            call: Some(Duration::from_secs(2)),
            memory_bytes: Some(64 << 20),
            ..Budgets::default()
        };
        let limits = Limits::resolve(Kind::Authentication, &set);
        assert_eq!(limits.call, Duration::from_secs(2));
        assert_eq!(limits.recycle_memory_bytes, 32 << 20);
        let rest = Limits {
            call: Limits::of(Kind::Authentication).call,
            memory_bytes: 32 << 20,
            recycle_memory_bytes: 16 << 20,
            ..limits
        };
        assert_eq!(rest, Limits::of(Kind::Authentication));
    }
}

//! What the plugin host counts, once a second.

use metrics::{Counter, Gauge};
use rillway_policy::{
    BUCKETS_US, HttpStats, Kind, KindStats, PluginStats, VersionId, VersionStats,
};

use super::distribution::Distribution;
use super::registry::Registry;
use super::table::{self, BREAKER_STATES, PLUGIN_FAULTS, PLUGIN_REFUSALS};

/// Handles of one plugin's series. Those of its own metrics are made as they come.
pub struct PluginRecorder {
    registry: Registry,
    name: String,
    kinds: Vec<OfKind>,
    generation: Gauge,
    canary_percent: Gauge,
    returns: Counter,
    log_lines: Counter,
    log_lines_dropped: Counter,
    kv_bytes: Gauge,
    http: OfHttp,
    custom_dropped: Counter,
}

struct OfHttp {
    answered: Counter,
    failed: Counter,
    refused: Counter,
    seconds: Distribution,
    waiting: Gauge,
    received_bytes: Counter,
    sent_bytes: Counter,
}

struct OfKind {
    kind: Kind,
    calls: Counter,
    seconds: Distribution,
    faults: [Counter; PLUGIN_FAULTS.len()],
    refused: [Counter; PLUGIN_REFUSALS.len()],
    instances: Gauge,
    instances_made: Counter,
    memory_bytes: Gauge,
    instance_memory_bytes_max: Gauge,
    received_bytes: Counter,
    sent_bytes: Counter,
    breaker: [Gauge; BREAKER_STATES.len()],
}

impl PluginRecorder {
    pub(super) fn new(registry: &Registry, name: &str, kinds: &[Kind]) -> Self {
        let counter = |metric, rest: &[&str]| registry.counter(metric, &[&[name], rest].concat());
        let gauge = |metric| registry.gauge(metric, &[name]);
        PluginRecorder {
            registry: registry.clone(),
            name: name.to_owned(),
            kinds: kinds
                .iter()
                .map(|kind| OfKind::new(registry, name, *kind))
                .collect(),
            generation: gauge(&table::PLUGIN_GENERATION),
            canary_percent: gauge(&table::PLUGIN_CANARY_PERCENT),
            returns: counter(&table::PLUGIN_RETURNS, &[]),
            log_lines: counter(&table::PLUGIN_LOG_LINES, &["written"]),
            log_lines_dropped: counter(&table::PLUGIN_LOG_LINES, &["dropped"]),
            kv_bytes: gauge(&table::PLUGIN_KV),
            http: OfHttp::new(registry, name),
            custom_dropped: counter(&table::PLUGIN_CUSTOM_DROPPED, &[]),
        }
    }

    /// Takes over what the plugin, which serves this version, has counted.
    pub fn record(&self, stats: &PluginStats, version: VersionId) {
        for of_kind in &self.kinds {
            let stats = stats.kinds.iter().find(|stats| stats.kind == of_kind.kind);
            stats.into_iter().for_each(|stats| of_kind.record(stats));
        }
        self.generation.set(approximately(version.generation));
        let is_canary = |v: &&VersionStats| v.percent > 0 && v.id != version;
        let canary = stats.versions.iter().find(is_canary);
        self.canary_percent
            .set(canary.map_or(0.0, |canary| f64::from(canary.percent)));
        self.returns.absolute(stats.returns);
        self.log_lines.absolute(stats.log_lines);
        self.log_lines_dropped.absolute(stats.log_lines_dropped);
        self.kv_bytes.set(approximately(stats.kv_bytes as u64));
        self.http.record(&stats.http);
        self.custom_dropped.absolute(stats.custom_dropped);
        for (metric, custom) in &stats.custom {
            let labels = [self.name.as_str(), metric];
            let total = self.registry.counter(&table::PLUGIN_CUSTOM, &labels);
            total.absolute(custom.total);
            if custom.observations > 0 {
                self.registry
                    .distribution(&table::PLUGIN_CUSTOM_OBSERVED, &labels, Vec::new())
                    .set([custom.observations], custom.sum);
            }
        }
    }
}

impl OfHttp {
    fn new(registry: &Registry, plugin: &str) -> Self {
        let counter = |metric, label| registry.counter(metric, &[plugin, label]);
        OfHttp {
            answered: counter(&table::PLUGIN_HTTP, "answered"),
            failed: counter(&table::PLUGIN_HTTP, "failed"),
            refused: counter(&table::PLUGIN_HTTP, "refused"),
            seconds: registry.distribution(&table::PLUGIN_HTTP_TIME, &[plugin], bounds()),
            waiting: registry.gauge(&table::PLUGIN_HTTP_WAITING, &[plugin]),
            received_bytes: counter(&table::PLUGIN_HTTP_BYTES, "received"),
            sent_bytes: counter(&table::PLUGIN_HTTP_BYTES, "sent"),
        }
    }

    fn record(&self, stats: &HttpStats) {
        self.answered.absolute(stats.answered);
        self.failed.absolute(stats.failures);
        self.refused.absolute(stats.refused);
        let counts = stats.durations.counts.iter().copied();
        let seconds = approximately(stats.durations.sum_us) / 1e6;
        self.seconds.set(counts, seconds);
        self.waiting.set(approximately(stats.waiting));
        self.received_bytes.absolute(stats.bytes_received);
        self.sent_bytes.absolute(stats.bytes_sent);
    }
}

impl OfKind {
    fn new(registry: &Registry, plugin: &str, kind: Kind) -> Self {
        let labels = [plugin, kind.name()];
        let counter = |metric, rest: &[&str]| registry.counter(metric, &[&labels, rest].concat());
        let gauge = |metric, rest: &[&str]| registry.gauge(metric, &[&labels, rest].concat());
        OfKind {
            kind,
            calls: counter(&table::PLUGIN_CALLS, &[]),
            seconds: registry.distribution(&table::PLUGIN_CALL_TIME, &labels, bounds()),
            faults: PLUGIN_FAULTS.map(|fault| counter(&table::PLUGIN_FAULT, &[fault])),
            refused: PLUGIN_REFUSALS.map(|reason| counter(&table::PLUGIN_REFUSED, &[reason])),
            instances: gauge(&table::PLUGIN_INSTANCES, &[]),
            instances_made: counter(&table::PLUGIN_INSTANCES_TOTAL, &[]),
            memory_bytes: gauge(&table::PLUGIN_MEMORY, &[]),
            instance_memory_bytes_max: gauge(&table::PLUGIN_INSTANCE_MEMORY_MAX, &[]),
            received_bytes: counter(&table::PLUGIN_BYTES, &["received"]),
            sent_bytes: counter(&table::PLUGIN_BYTES, &["sent"]),
            breaker: BREAKER_STATES.map(|state| gauge(&table::PLUGIN_BREAKER, &[state])),
        }
    }

    fn record(&self, stats: &KindStats) {
        self.calls.absolute(stats.calls);
        let counts = stats.durations.counts.iter().copied();
        let seconds = approximately(stats.durations.sum_us) / 1e6;
        self.seconds.set(counts, seconds);
        for (name, counter) in PLUGIN_FAULTS.iter().zip(&self.faults) {
            counter.absolute(stats.faults(name));
        }
        for (name, counter) in PLUGIN_REFUSALS.iter().zip(&self.refused) {
            counter.absolute(stats.refused(name));
        }
        self.instances.set(approximately(stats.instances as u64));
        self.instances_made.absolute(stats.instances_made);
        self.memory_bytes.set(approximately(stats.memory_bytes));
        self.instance_memory_bytes_max
            .set(approximately(stats.memory_bytes_max));
        self.received_bytes.absolute(stats.bytes_in);
        self.sent_bytes.absolute(stats.bytes_out);
        for (name, gauge) in BREAKER_STATES.iter().zip(&self.breaker) {
            gauge.set(f64::from(u8::from(*name == stats.breaker.name())));
        }
    }
}

/// Bounds of the host's histogram, seconds.
fn bounds() -> Vec<f64> {
    let seconds = |us: &u64| approximately(*us) / 1e6;
    BUCKETS_US.iter().map(seconds).collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus has no other numbers; above 2^53 nobody cares"
)]
fn approximately(value: u64) -> f64 {
    value as f64
}

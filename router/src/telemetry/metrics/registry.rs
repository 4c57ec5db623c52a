//! All series of one router. Not global: several routers in one process do not mix.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use metrics::{Counter, Gauge, Key, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::config::ConfigRecorder;
use super::distribution::{Distribution, Family};
use super::gateway::GatewayRecorder;
use super::management::ManagementRecorder;
use super::plugin::PluginRecorder;
use super::recorder::RecorderRecorder;
use super::rules::RulesRecorder;
use super::table::{self, Kind, Metric};
use super::traces::TracesRecorder;
use super::turn::TurnRecorder;
use super::worker::{Bounds, WorkerRecorder};

/// All series of one router. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    distributions: Mutex<Vec<Family>>,
}

impl Default for Registry {
    fn default() -> Self {
        Registry::new()
    }
}

impl Registry {
    /// With build and start time, and nothing else yet.
    #[must_use]
    pub fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        for metric in table::ALL {
            let name = metric.name.into();
            match metric.kind {
                Kind::Counter => recorder.describe_counter(name, None, metric.help.into()),
                Kind::Gauge => recorder.describe_gauge(name, None, metric.help.into()),
                Kind::Histogram | Kind::Summary => {}
            }
        }
        let handle = recorder.handle();
        let inner = Inner {
            recorder,
            handle,
            distributions: Mutex::default(),
        };
        let registry = Registry {
            inner: Arc::new(inner),
        };
        registry
            .gauge(&table::BUILD_INFO, &[env!("CARGO_PKG_VERSION")])
            .set(1.0);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        registry
            .gauge(&table::START_TIME, &[])
            .set(now.as_secs_f64());
        registry
    }

    /// Recorder of the gateway, all its series at 0. Call it once.
    #[must_use]
    pub fn gateway(&self) -> GatewayRecorder {
        GatewayRecorder::new(self)
    }

    /// Recorder of the rules of rooms, all its series at 0. Call it once.
    #[must_use]
    pub fn rules(&self) -> RulesRecorder {
        RulesRecorder::new(self)
    }

    /// Recorder of the management channel, all its series at 0. Call it once.
    #[must_use]
    pub fn management(&self) -> ManagementRecorder {
        ManagementRecorder::new(self)
    }

    /// Recorder of reloads, all its series at 0. Call it once.
    #[must_use]
    pub fn config(&self) -> ConfigRecorder {
        ConfigRecorder::new(self)
    }

    /// Recorder of traces, all its series at 0. Call it once.
    #[must_use]
    pub fn traces(&self) -> TracesRecorder {
        TracesRecorder::new(self)
    }

    /// What takes the numbers of the recorder of tracks, all its series at 0. Call it once.
    #[must_use]
    pub fn recorder(&self) -> RecorderRecorder {
        RecorderRecorder::new(self)
    }

    /// What takes the numbers of the TURN relay, all its series at 0. Call it once.
    #[must_use]
    pub fn turn(&self) -> TurnRecorder {
        TurnRecorder::new(self)
    }

    /// Recorder of a worker, all its series at 0. A worker that takes the place of a dead one goes on
    /// with its series.
    #[must_use]
    pub fn worker(&self, worker: u16, bounds: &Bounds<'_>) -> WorkerRecorder {
        WorkerRecorder::new(self, worker, bounds)
    }

    /// Recorder of a plugin, all its series at 0 but those of its own metrics.
    #[must_use]
    pub fn plugin(&self, name: &str, kinds: &[rillway_policy::Kind]) -> PluginRecorder {
        PluginRecorder::new(self, name, kinds)
    }

    /// Everything, in the text exposition format 0.0.4, by name.
    #[must_use]
    pub fn render(&self) -> String {
        let plain = self.inner.handle.render();
        let mut families = plain
            .split("\n\n")
            .map(|f| f.trim_end().to_owned())
            .collect::<Vec<_>>();
        for family in self
            .inner
            .distributions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            let mut text = String::new();
            family.write(&mut text);
            families.push(text.trim_end().to_owned());
        }
        families.retain(|family| !family.is_empty());
        families.sort_unstable();
        families.join("\n") + "\n"
    }

    /// A series of a counter, with the values of its labels in the table's order.
    pub(super) fn counter(&self, metric: &Metric, values: &[&str]) -> Counter {
        debug_assert_eq!(metric.kind, Kind::Counter, "{}", metric.name);
        self.inner
            .recorder
            .register_counter(&key(metric, values), &METADATA)
    }

    /// A series of a gauge, at 0.
    pub(super) fn gauge(&self, metric: &Metric, values: &[&str]) -> Gauge {
        debug_assert_eq!(metric.kind, Kind::Gauge, "{}", metric.name);
        self.inner
            .recorder
            .register_gauge(&key(metric, values), &METADATA)
    }

    /// A series of a histogram or, without bounds, of a summary; an existing one is given again.
    pub(super) fn distribution(
        &self,
        metric: &Metric,
        values: &[&str],
        bounds: Vec<f64>,
    ) -> Distribution {
        debug_assert_eq!(
            metric.kind == Kind::Summary,
            bounds.is_empty(),
            "{}",
            metric.name
        );
        debug_assert!(
            matches!(metric.kind, Kind::Histogram | Kind::Summary),
            "{}",
            metric.name
        );
        // Values of these are numbers and names in small letters: nothing to escape.
        let labels = pairs(metric, values).map(|(name, value)| format!("{name}=\"{value}\""));
        let labels = labels.collect::<Vec<_>>().join(",");
        let mut families = self
            .inner
            .distributions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let index = families
            .iter()
            .position(|f| f.metric.name == metric.name)
            .unwrap_or_else(|| {
                families.push(Family {
                    metric: *metric,
                    series: Vec::new(),
                });
                families.len() - 1
            });
        let series = &mut families[index].series;
        if let Some((_, known)) = series.iter().find(|(known, _)| *known == labels) {
            return known.clone();
        }
        let new = Distribution::new(bounds);
        series.push((labels, new.clone()));
        new
    }
}

/// Levels and targets are not used by the recorder.
const METADATA: Metadata<'static> = Metadata::new("rillway", Level::INFO, None);

fn pairs<'a>(metric: &Metric, values: &'a [&str]) -> impl Iterator<Item = (&'static str, &'a str)> {
    debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
    metric
        .labels
        .iter()
        .map(|label| label.name)
        .zip(values.iter().copied())
}

fn key(metric: &Metric, values: &[&str]) -> Key {
    let labels =
        pairs(metric, values).map(|(name, value)| metrics::Label::new(name, value.to_owned()));
    Key::from_parts(metric.name, labels.collect::<Vec<_>>())
}

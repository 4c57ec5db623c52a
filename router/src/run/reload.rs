//! Reloads: the file is read and checked as at the start; then every key that differs takes effect, or none does.

use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rillway_policy::{Plugin, Prepared, Rollout};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::supervisor::Supervisor;
use super::{Signals, settings};
use crate::config::{Change, Config, ConfigError, RereadError};
use crate::gateway::Gateway;
use crate::management::server as management;
use crate::policies;
use crate::session::Control;
use crate::telemetry::log;
use crate::telemetry::metrics::ConfigRecorder;
use crate::worker::ToWorker;

/// Reloads that wait at most: the last one has what the others would.
pub(super) const RELOADS_MAX: usize = 4;

/// A reload that an operator wants.
pub(crate) struct Reload {
    /// What came of it.
    pub(crate) answer: oneshot::Sender<Result<Vec<Change>, ReloadError>>,
}

/// Why everything is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ReloadError {
    /// There is nothing to read, or it cannot be used.
    #[error("{0}")]
    Unread(#[from] RereadError),
    /// It can be used, but not without a restart, or not by this machine.
    #[error("{0}")]
    Refused(ConfigError),
    /// The task that reads ended.
    #[error("the file was not read to its end")]
    Broken,
}

impl ReloadError {
    /// As in `rillway_config_reloads_total`.
    fn result(&self) -> &'static str {
        match self {
            ReloadError::Refused(_) => "refused",
            _ => "invalid",
        }
    }
}

/// What is in force.
#[derive(Debug, Clone)]
pub(crate) struct InForce {
    /// The configuration.
    pub(crate) config: Arc<Config>,
    /// Counts configurations, from 1.
    pub(crate) generation: u64,
    /// When it came into force.
    pub(crate) since: SystemTime,
}

/// The configuration that is in force, for all who look at it. Clones are the same.
#[derive(Clone)]
pub(crate) struct Current(Arc<RwLock<InForce>>);

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Current({})", self.look().generation)
    }
}

impl Current {
    /// Begins with this one.
    pub(super) fn new(config: Config) -> (Arc<Config>, Self) {
        let config = Arc::new(config);
        let in_force = InForce {
            config: config.clone(),
            generation: 1,
            since: SystemTime::now(),
        };
        (config, Current(Arc::new(RwLock::new(in_force))))
    }

    /// Now.
    pub(crate) fn look(&self) -> InForce {
        // Nothing can be left half-done in it, here and below.
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn replace(&self, config: Config) -> InForce {
        let mut now = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *now = InForce {
            config: Arc::new(config),
            generation: now.generation + 1,
            since: SystemTime::now(),
        };
        now.clone()
    }
}

/// The parts of a router that a reload changes.
pub(super) struct Reloads {
    pub(super) current: Current,
    pub(super) gateway: Arc<Gateway>,
    pub(super) control: Rc<Control>,
    pub(super) plugins: Vec<Plugin>,
    pub(super) management: Option<management::Control>,
    pub(super) metrics: ConfigRecorder,
    pub(super) supervisor: Supervisor,
}

/// SIGHUP, if it is ours. To `rillway dev` it says that its terminal is gone, as to any program in one.
pub(super) fn hangups(config: &Config, signals: Signals) -> std::io::Result<Option<Signal>> {
    let wanted = signals == Signals::Handle && config.is_served();
    wanted.then(|| signal(SignalKind::hangup())).transpose()
}

impl Reloads {
    /// Reloads one after another, for operators and at each SIGHUP. Within a `LocalSet`.
    pub(super) async fn run(self, mut asked: mpsc::Receiver<Reload>, mut hangups: Option<Signal>) {
        self.metrics.in_force(&self.current.look());
        loop {
            let reload = tokio::select! {
                Some(reload) = asked.recv() => Some(reload),
                () = hung_up(&mut hangups) => None,
            };
            self.supervisor.reloading();
            let result = self.reload().await;
            self.supervisor.reloaded();
            self.tell(
                &result,
                if reload.is_some() {
                    "operator"
                } else {
                    "SIGHUP"
                },
            );
            if let Some(Reload { answer }) = reload {
                // An operator that waits no longer is no fault.
                let _ = answer.send(result);
            }
        }
    }

    fn tell(&self, result: &Result<Vec<Change>, ReloadError>, by: &str) {
        let now = self.current.look();
        let file = now.config.file().unwrap_or_default();
        let (file, generation) = (file.display(), now.generation);
        match result {
            Ok(changes) if changes.is_empty() => {
                self.metrics.reloaded("unchanged");
                tracing::info!(%file, generation, by, "configuration reloaded: nothing differs");
            }
            Ok(changes) => {
                self.metrics.reloaded("applied");
                self.metrics.in_force(&now);
                let keys: Vec<_> = changes.iter().map(|change| change.key.as_str()).collect();
                let changed = keys.join(" ");
                tracing::info!(%file, generation, by, changed, "configuration reloaded");
            }
            Err(error) => {
                self.metrics.reloaded(error.result());
                tracing::error!(
                    %file, generation, by, %error,
                    "the configuration cannot be reloaded; everything stays as it was"
                );
            }
        }
    }

    async fn reload(&self) -> Result<Vec<Change>, ReloadError> {
        let old = self.current.look().config;
        let running = old.clone();
        // Files are read, and certificates tried.
        let read = tokio::task::spawn_blocking(move || {
            let new = running.reread()?;
            let changes = running.changes(&new);
            Ok::<_, RereadError>((new, changes))
        });
        let (new, changes) = read.await.map_err(|_| ReloadError::Broken)??;
        if let Some(error) = new.needs_restart(&changes) {
            return Err(ReloadError::Refused(error));
        }
        if changes.is_empty() {
            return Ok(changes);
        }
        let plugins = self.prepare(&old, &new).await?;
        self.apply(&old, new, plugins, &changes).await;
        Ok(changes)
    }

    /// Loads the other versions of plugins, which is what can still fail.
    async fn prepare(&self, old: &Config, new: &Config) -> Result<Vec<Prepared>, ReloadError> {
        let mut prepared = Vec::new();
        for (name, wanted) in &new.plugins {
            let plugin = self.plugins.iter().find(|plugin| plugin.name() == name);
            let (Some(plugin), true) = (plugin, old.plugins.get(name) != Some(wanted)) else {
                continue;
            };
            let refused =
                |problem: String| ReloadError::Refused(new.plugin_refused(name, &problem));
            let spec = policies::spec(name, wanted);
            let spec = spec.map_err(|problem| refused(format!("plugin {name}: {problem}")))?;
            let version = plugin.prepare(Some(spec)).await;
            prepared.push(version.map_err(|error| refused(error.to_string()))?);
        }
        Ok(prepared)
    }

    /// Nothing of this fails.
    async fn apply(&self, old: &Config, new: Config, plugins: Vec<Prepared>, changes: &[Change]) {
        let table = |change: &Change| change.key.split(['.', '[']).next().unwrap_or("").to_owned();
        let tables: BTreeSet<String> = changes.iter().map(table).collect();
        let touched = |table: &str| tables.contains(table);
        for version in plugins {
            version.roll_out(&Rollout::default());
        }
        if touched("log") {
            log::set_filter(&new.log.filter);
        }
        if touched("gateway") {
            self.gateway.set(settings::gateway(&new, Vec::new()));
        }
        if touched("limits") || touched("ice") {
            *self.control.facts.borrow_mut() = Rc::new(settings::join_facts(&new));
        }
        if touched("limits") && old.limits != new.limits {
            for queue in &self.control.workers {
                // A closed queue is a worker that has ended.
                let _ = queue.send(ToWorker::Limits(new.limits)).await;
            }
        }
        if let (true, Some(listener), Some(settings)) =
            (touched("management"), &self.management, &new.management)
            && let Err(error) = listener.set(settings)
        {
            // The configuration tried them a moment ago.
            tracing::error!(%error, "the management channel keeps its certificates");
        }
        self.current.replace(new);
    }
}

async fn hung_up(hangups: &mut Option<Signal>) {
    match hangups {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

//! Reloads: the file is read and checked as at the start; then every key that differs takes effect, or none does.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rillway_policy::{Plugin, Prepared, Rollout};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::replace::replace;
use super::supervisor::Supervisor;
use super::watch::Watcher;
use super::{Signals, settings};
use crate::config::{Change, Config, ConfigError, RereadError};
use crate::gateway::Gateway;
use crate::management::server as management;
use crate::policies;
use crate::recorder;
use crate::session::Control;
use crate::telemetry::log;
use crate::telemetry::metrics::ConfigRecorder;
use crate::worker::ToWorker;

/// Reloads that wait at most: the last one has what the others would.
pub(super) const RELOADS_MAX: usize = 4;

/// A reload that an operator wants.
pub(crate) struct Reload {
    /// First put this in place of the file's text, if it can be used.
    pub(crate) text: Option<NewText>,
    /// What came of it.
    pub(crate) answer: oneshot::Sender<Result<Vec<Change>, ReloadError>>,
}

/// A text for the configuration's file.
pub(crate) struct NewText {
    /// What reports call it.
    pub(crate) name: String,
    /// It.
    pub(crate) text: String,
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
    /// It cannot be put into the file.
    #[error("cannot write `{file}`: {why}", file = .file.display())]
    Unwritten {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
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
    pub(crate) fn new(config: Config) -> (Arc<Config>, Self) {
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
        let mut watcher = self.current.look().config.file().map(Watcher::new);
        loop {
            let (by, asked) = tokio::select! {
                Some(reload) = asked.recv() => ("operator", Some(reload)),
                () = hung_up(&mut hangups) => ("SIGHUP", None),
                () = changed(&mut watcher) => ("file", None),
            };
            if by == "file" && !self.current.look().config.reload.watch {
                continue;
            }
            let (text, answer) = match asked {
                Some(Reload { text, answer }) => (text, Some(answer)),
                None => (None, None),
            };
            self.supervisor.reloading();
            let result = match text {
                Some(text) => self.put(text).await,
                None => self.reload().await,
            };
            // What was read or written here is no news.
            if by != "file"
                && let Some(watcher) = &mut watcher
            {
                watcher.read();
            }
            self.supervisor.reloaded();
            self.tell(&result, by);
            if let Some(answer) = answer {
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
        let (new, changes) = self.read(|running| running.reread()).await?;
        self.put_in_force(new, changes, None).await
    }

    /// The same with a text that is put into the file before, if it can be used.
    async fn put(&self, new: NewText) -> Result<Vec<Change>, ReloadError> {
        let file = self.current.look().config.file();
        let file = file.ok_or(RereadError::NoFile)?;
        let NewText { name, text } = new;
        let text: Arc<str> = text.into();
        // Once under its own name, by which a report is to be read; then as what it is to be.
        let own = text.clone();
        let named = self.read(move |running| running.reread_as(&name, &own));
        let (named, changes) = named.await?;
        if let Some(error) = named.needs_restart(&changes) {
            return Err(ReloadError::Refused(error));
        }
        let (places, own) = (file.display().to_string(), text.clone());
        let read = self.read(move |running| running.reread_as(&places, &own));
        let (new, changes) = read.await?;
        self.put_in_force(new, changes, Some((file, text))).await
    }

    /// What is read, and what would change. Files are read for that, and certificates tried.
    async fn read(
        &self,
        read: impl FnOnce(&Config) -> Result<Config, RereadError> + Send + 'static,
    ) -> Result<(Config, Vec<Change>), ReloadError> {
        let running = self.current.look().config;
        let read = tokio::task::spawn_blocking(move || {
            let new = read(&running)?;
            let changes = running.changes(&new);
            Ok::<_, RereadError>((new, changes))
        });
        Ok(read.await.map_err(|_| ReloadError::Broken)??)
    }

    /// All of it, or nothing; in the file too, if a text is to be there.
    async fn put_in_force(
        &self,
        new: Config,
        changes: Vec<Change>,
        text: Option<(PathBuf, Arc<str>)>,
    ) -> Result<Vec<Change>, ReloadError> {
        if let Some(error) = new.needs_restart(&changes) {
            return Err(ReloadError::Refused(error));
        }
        let old = self.current.look().config;
        let plugins = self.prepare(&old, &new).await?;
        if let Some((file, text)) = text {
            let to = file.clone();
            let written = tokio::task::spawn_blocking(move || replace(&to, &text));
            let written = written.await.map_err(|_| ReloadError::Broken)?;
            written.map_err(|why| ReloadError::Unwritten { file, why })?;
        }
        if !changes.is_empty() {
            self.apply(&old, new, plugins, &changes).await;
        }
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
        if let (true, Some(settings)) = (touched("traces"), &new.traces) {
            self.gateway.traces().set(settings);
        }
        if touched("gateway") {
            self.gateway.set(settings::gateway(&new, Vec::new()));
        }
        if touched("limits") || touched("ice") {
            let mut facts = self.control.facts.borrow_mut();
            *facts = Rc::new(settings::join_facts(&new, facts.turn.clone()));
        }
        if touched("media") {
            let part_max = new.media.participants_per_part;
            self.control.directory.set_part_max(part_max);
        }
        if touched("layers") || touched("recording") {
            let every = new.layers.as_ref().map(|layers| layers.every);
            let bounds = new.recorder.as_ref().map(recorder::bounds);
            self.control.rules.set(every, bounds);
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

async fn changed(watcher: &mut Option<Watcher>) {
    match watcher {
        Some(watcher) => watcher.changed().await,
        None => std::future::pending().await,
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

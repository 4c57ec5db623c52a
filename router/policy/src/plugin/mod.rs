//! A loaded plugin: its versions, and what is asked of it.

mod measure;
mod policies;
mod versions;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use crate::budgets::SharedLimits;
use crate::capabilities::http::HttpStats;
use crate::capabilities::metrics::Custom;
use crate::error::LoadError;
use crate::host::{HostCore, lock};
use crate::kind::{Capability, Kind};
use crate::load;
use crate::spec::{PluginSpec, Rollout, VersionId};
use crate::stats::KindStats;
use crate::version::{PluginCore, VersionCore};

pub use measure::{Calls, Measured, Rounds};
pub use policies::{
    AuthenticationPolicy, LayerInstance, LayerSelectionPolicy, RecordingInstance, RecordingPolicy,
    SignalingInstance, SignalingPolicy,
};
pub use versions::VersionStats;

use versions::{Version, Versions};

/// Everything a plugin counts.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginStats {
    /// Name of the plugin.
    pub name: String,
    /// By kind, those it exports.
    pub kinds: Vec<KindStats>,
    /// The versions in use and the one before, each with its own counters.
    pub versions: Vec<VersionStats>,
    /// Times a watched version failed and the one before came back.
    pub returns: u64,
    /// Log lines written.
    pub log_lines: u64,
    /// Log lines dropped because there were too many.
    pub log_lines_dropped: u64,
    /// Bytes in its store.
    pub kv_bytes: usize,
    /// HTTP requests.
    pub http: HttpStats,
    /// Its own metrics, by name.
    pub custom: Vec<(String, Custom)>,
    /// Values for metrics that were dropped: too many names, or none.
    pub custom_dropped: u64,
}

struct Inner {
    core: Arc<PluginCore>,
    versions: Mutex<Versions>,
    spec: Mutex<PluginSpec>,
    /// One reload at a time.
    reloading: Arc<tokio::sync::Mutex<()>>,
    /// Attempts that wait for an instance of authentication.
    waiting: Waiting,
    /// Told when the versions have changed.
    turns: tokio::sync::Notify,
}

#[derive(Default)]
struct Waiting(AtomicUsize);

impl Waiting {
    fn enter(&self) -> Waiter<'_> {
        self.0.fetch_add(1, Relaxed);
        Waiter(&self.0)
    }
}

/// Counts as long as it lives.
struct Waiter<'a>(&'a AtomicUsize);

impl Waiter<'_> {
    fn count(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A loaded plugin. A cheap handle that follows reloads.
#[derive(Clone)]
pub struct Plugin(Arc<Inner>);

/// Another version of a plugin, ready to be used ([`Plugin::prepare`]).
pub struct Prepared {
    plugin: Plugin,
    spec: PluginSpec,
    version: Arc<VersionCore>,
    /// One reload at a time.
    _one: tokio::sync::OwnedMutexGuard<()>,
}

impl Prepared {
    /// Moves new instances to it.
    pub fn roll_out(self, rollout: &Rollout) -> VersionId {
        let (inner, version) = (&self.plugin.0, self.version);
        inner.set_limits(&self.spec, &version);
        let id = version.id;
        version.watch(rollout);
        let percent = rollout.percent.clamp(1, 100);
        lock(&inner.versions).roll_out(Version::new(version), percent);
        *lock(&inner.spec) = self.spec;
        inner.turns.notify_waiters();
        tracing::info!(plugin = self.plugin.name(), version = %id, percent, "plugin reloaded");
        id
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prepared({}, {})", self.plugin.name(), self.version.id)
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plugin({}, {})", self.name(), self.version())
    }
}

impl Plugin {
    pub(crate) async fn load(host: &Arc<HostCore>, spec: PluginSpec) -> Result<Plugin, LoadError> {
        let compiled = load::compiled(host, &spec).await?;
        let shared = SharedLimits::resolve(&spec.budgets);
        let core = PluginCore::new(host, &spec.name, &shared, &load::limits(&spec));
        let core = Arc::new(core);
        let version = Arc::new(compiled.version(&spec, 1));
        load::rehearse(&core, &version).await?;
        tracing::info!(
            plugin = spec.name, version = %version.id, abi = version.survey.version.name(),
            kinds = ?version.survey.kinds.iter().map(|k| k.name()).collect::<Vec<_>>(),
            "plugin loaded"
        );
        Ok(Plugin(Arc::new(Inner {
            core,
            versions: Mutex::new(Versions::new(Version::new(version))),
            spec: Mutex::new(spec),
            reloading: Arc::default(),
            waiting: Waiting::default(),
            turns: tokio::sync::Notify::new(),
        })))
    }

    /// Loads another version beside the running one and moves new instances to it as `rollout` says. Without
    /// a `spec` it is the present one, whose file is read anew. What the plugin keeps in `kv` stays.
    ///
    /// # Errors
    /// [`LoadError`]. The running version stays.
    pub async fn reload(
        &self,
        spec: Option<PluginSpec>,
        rollout: Rollout,
    ) -> Result<VersionId, LoadError> {
        if !(1..=100).contains(&rollout.percent) {
            return Err(LoadError::Invalid {
                plugin: self.name().to_owned(),
                problem: "a share has 1 to 100 percent".to_owned(),
            });
        }
        Ok(self.prepare(spec).await?.roll_out(&rollout))
    }

    /// The first half of [`Plugin::reload`], which is all of it that can fail: the other version is loaded, and
    /// nothing gets it yet. Another reload waits until this one is rolled out or dropped.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn prepare(&self, spec: Option<PluginSpec>) -> Result<Prepared, LoadError> {
        let one = self.0.reloading.clone().lock_owned().await;
        let spec = spec.unwrap_or_else(|| lock(&self.0.spec).clone());
        let plugin = self.name().to_owned();
        if spec.name != plugin {
            return Err(LoadError::Invalid {
                plugin,
                problem: format!("a reload cannot rename it to {}", spec.name),
            });
        }
        let compiled = load::compiled(&self.0.core.host, &spec).await?;
        for kind in self.kinds() {
            if !compiled.kinds().contains(&kind) {
                return Err(LoadError::KindLost { plugin, kind });
            }
        }
        let generation = lock(&self.0.versions).next_generation();
        let version = Arc::new(compiled.version(&spec, generation));
        load::rehearse(&self.0.core, &version).await?;
        Ok(Prepared {
            plugin: self.clone(),
            spec,
            version,
            _one: one,
        })
    }

    /// Gives the version that has a share of new instances all of them. Without one, ends the watch of the
    /// present version.
    pub fn promote(&self) -> VersionId {
        let mut versions = lock(&self.0.versions);
        versions.promote();
        let id = versions.stable().core.id;
        drop(versions);
        self.0.turns.notify_waiters();
        tracing::info!(plugin = self.name(), version = %id, "plugin version promoted");
        id
    }

    /// Back to the version before: the one that shares with the newest, or that it replaced. `None`: there
    /// is none.
    pub fn rollback(&self) -> Option<VersionId> {
        let mut versions = lock(&self.0.versions);
        let rolled = versions.roll_back();
        let id = versions.stable().core.id;
        drop(versions);
        rolled.then(|| {
            self.0.turns.notify_waiters();
            tracing::info!(plugin = self.name(), version = %id, "plugin version rolled back");
            id
        })
    }

    /// Waits until no new instance gets this version any more: a reload, a promotion or a way back has passed it
    /// by. Instances of it can still be called; whoever keeps one for long replaces it then.
    pub async fn replaced(&self, version: VersionId) {
        loop {
            // Before the look, so that a turn in between is not missed.
            let mut turn = std::pin::pin!(self.0.turns.notified());
            turn.as_mut().enable();
            if !self.0.deals(version) {
                return;
            }
            turn.await;
        }
    }

    /// Name of the plugin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.core.commons.name
    }

    /// What it decides.
    #[must_use]
    pub fn kinds(&self) -> Vec<Kind> {
        self.0.stable().survey.kinds.clone()
    }

    /// What it imports.
    #[must_use]
    pub fn imports(&self) -> Vec<Capability> {
        self.0.stable().survey.imports.clone()
    }

    /// The version that new instances get, but for a canary's share.
    #[must_use]
    pub fn version(&self) -> VersionId {
        self.0.stable().id
    }

    /// Version of the ABI it was built for.
    #[must_use]
    pub fn abi(&self) -> &'static str {
        self.0.stable().survey.version.name()
    }

    /// What it was loaded with, the last time that succeeded.
    #[must_use]
    pub fn spec(&self) -> PluginSpec {
        lock(&self.0.spec).clone()
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> PluginStats {
        let stable = self.0.stable();
        let core = &self.0.core;
        let kinds = stable.survey.kinds.iter().map(|kind| {
            let breaker = stable.breaker_state(*kind);
            core.kind(*kind).counters.snapshot(*kind, breaker)
        });
        let kinds = kinds.collect();
        let (log_lines, log_lines_dropped) = core.commons.log.counts();
        let (custom, custom_dropped) = core.commons.metrics.snapshot();
        let versions = lock(&self.0.versions);
        PluginStats {
            name: self.name().to_owned(),
            kinds,
            versions: versions.stats(),
            returns: versions.returns(),
            log_lines,
            log_lines_dropped,
            kv_bytes: core.commons.kv.bytes(),
            http: core.commons.traffic.stats(),
            custom,
            custom_dropped,
        }
    }

    /// The counters of one kind, if it exports that.
    #[must_use]
    pub fn kind_stats(&self, kind: Kind) -> Option<KindStats> {
        let stable = self.0.stable();
        stable.survey.kinds.contains(&kind).then(|| {
            let breaker = stable.breaker_state(kind);
            self.0.core.kind(kind).counters.snapshot(kind, breaker)
        })
    }

    fn exports(&self, kind: Kind) -> bool {
        self.0.stable().survey.kinds.contains(&kind)
    }

    /// Its signaling, if it exports that.
    #[must_use]
    pub fn signaling(&self) -> Option<SignalingPolicy> {
        self.exports(Kind::Signaling)
            .then(|| SignalingPolicy(self.clone()))
    }

    /// Its authentication, if it exports that.
    #[must_use]
    pub fn authentication(&self) -> Option<AuthenticationPolicy> {
        self.exports(Kind::Authentication)
            .then(|| AuthenticationPolicy(self.clone()))
    }

    /// Its layer selection, if it exports that.
    #[must_use]
    pub fn layer_selection(&self) -> Option<LayerSelectionPolicy> {
        self.exports(Kind::LayerSelection)
            .then(|| LayerSelectionPolicy(self.clone()))
    }

    /// Its recording, if it exports that.
    #[must_use]
    pub fn recording(&self) -> Option<RecordingPolicy> {
        self.exports(Kind::Recording)
            .then(|| RecordingPolicy(self.clone()))
    }
}

impl Inner {
    /// The version for a new instance.
    fn pick(&self) -> Arc<Version> {
        let mut versions = lock(&self.versions);
        self.settle(&mut versions);
        versions.pick()
    }

    fn stable(&self) -> Arc<VersionCore> {
        let mut versions = lock(&self.versions);
        self.settle(&mut versions);
        Arc::clone(&versions.stable().core)
    }

    /// Whether new instances may get this version.
    fn deals(&self, version: VersionId) -> bool {
        let mut versions = lock(&self.versions);
        self.settle(&mut versions);
        versions.deals(version)
    }

    /// Goes back to the version before where the new one has failed.
    fn settle(&self, versions: &mut Versions) {
        if let Some(failed) = versions.settle() {
            self.turns.notify_waiters();
            let plugin = &self.core.commons.name;
            let back = versions.stable().core.id;
            tracing::error!(
                plugin, version = %failed, %back,
                "the new version fails too often: new instances get the one before"
            );
        }
    }

    fn set_limits(&self, spec: &PluginSpec, version: &VersionCore) {
        self.core
            .commons
            .set_limits(&SharedLimits::resolve(&spec.budgets));
        for kind in Kind::ALL {
            self.core.kind(kind).set_limits(version.limits(kind));
        }
    }
}

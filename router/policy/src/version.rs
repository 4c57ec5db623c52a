//! One loaded version of a plugin, as its instances see it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::abi::{Linked, Survey};
use crate::breaker::{Admission, Breaker, BreakerState};
use crate::budgets::{Limits, SharedLimits};
use crate::capabilities::clock::Senses;
use crate::context::{Commons, Context, Grants};
use crate::error::{Fault, Refusal};
use crate::host::{HostCore, lock};
use crate::kind::Kind;
use crate::rate::Bucket;
use crate::spec::{Rollout, VersionId};
use crate::stats::Counters;

/// Faults a version must have had before its rate says anything.
const FAULTS_MIN: u64 = 3;
/// How long a call may wait because the plugin has been called too often.
const PATIENCE: Duration = Duration::from_millis(250);
/// Lines about faults of one plugin, per second.
const FAULT_LINES_PER_SECOND: u32 = 2;

/// What all versions of a plugin share with their instances.
pub(crate) struct PluginCore {
    pub(crate) host: Arc<HostCore>,
    pub(crate) commons: Arc<Commons>,
    pub(crate) kinds: [PluginKind; Kind::ALL.len()],
    fault_lines: Mutex<FaultLines>,
}

struct FaultLines {
    rate: Bucket,
    dropped: u64,
}

/// One kind of a plugin.
pub(crate) struct PluginKind {
    pub(crate) counters: Counters,
    rates: Mutex<Rates>,
}

struct Rates {
    calls: Bucket,
    bytes: Bucket,
}

impl Rates {
    fn new(limits: &Limits) -> Rates {
        let now = Instant::now();
        Rates {
            calls: Bucket::new(limits.calls_per_second, now),
            bytes: Bucket::new(limits.bytes_per_second, now),
        }
    }
}

impl PluginCore {
    pub(crate) fn new(
        host: &Arc<HostCore>,
        name: &str,
        shared: &SharedLimits,
        limits: &[Arc<Limits>; Kind::ALL.len()],
    ) -> PluginCore {
        PluginCore {
            host: Arc::clone(host),
            commons: Arc::new(Commons::new(name, shared, host.config.threads)),
            kinds: std::array::from_fn(|kind| PluginKind {
                counters: Counters::default(),
                rates: Mutex::new(Rates::new(&limits[kind])),
            }),
            fault_lines: Mutex::new(FaultLines {
                rate: Bucket::new(FAULT_LINES_PER_SECOND, Instant::now()),
                dropped: 0,
            }),
        }
    }

    pub(crate) fn kind(&self, kind: Kind) -> &PluginKind {
        &self.kinds[kind.index()]
    }

    /// Counts a fault where it belongs, and says so in the log.
    fn fault(&self, version: &VersionCore, kind: Kind, fault: &Fault) {
        self.kind(kind).counters.fault(fault);
        version.kind(kind).counters.fault(fault);
        let mut lines = lock(&self.fault_lines);
        if !lines.rate.take(1.0, Instant::now()) {
            lines.dropped += 1;
            return;
        }
        let more = std::mem::take(&mut lines.dropped);
        drop(lines);
        let (plugin, kind) = (&self.commons.name, kind.name());
        tracing::warn!(plugin, kind, version = %version.id, more, %fault, "plugin fault");
    }
}

impl PluginKind {
    pub(crate) fn set_limits(&self, limits: &Limits) {
        *lock(&self.rates) = Rates::new(limits);
    }

    /// Leave for a call with an input of this size: how long to wait for it.
    ///
    /// # Errors
    /// It is too long.
    pub(crate) fn rate(&self, bytes: usize) -> Result<Duration, Fault> {
        let now = Instant::now();
        let mut rates = lock(&self.rates);
        let refused = Fault::Refused(Refusal::Rate);
        let calls = rates.calls.reserve(1.0, PATIENCE, now);
        let calls = calls.ok_or_else(|| refused.clone())?;
        let bytes = rates.bytes.reserve(units(bytes), PATIENCE, now);
        Ok(calls.max(bytes.ok_or(refused)?))
    }

    /// Notes what a call returned.
    pub(crate) fn returned(&self, bytes: usize) {
        lock(&self.rates).bytes.charge(units(bytes), Instant::now());
        self.counters.returned(bytes);
    }

    /// Notes what a call sent and received over HTTP: the calls that follow pay for it.
    pub(crate) fn exchanged(&self, bytes: usize) {
        lock(&self.rates).bytes.charge(units(bytes), Instant::now());
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "bytes of one call: far below 2^53"
)]
fn units(bytes: usize) -> f64 {
    bytes as f64
}

/// A version, as its instances see it.
pub(crate) struct VersionCore {
    pub(crate) id: VersionId,
    pub(crate) linked: Linked,
    pub(crate) survey: Survey,
    pub(crate) limits: [Arc<Limits>; Kind::ALL.len()],
    pub(crate) grants: Arc<Grants>,
    kinds: [VersionKind; Kind::ALL.len()],
    /// Set while it is watched.
    watch: Mutex<Option<Watch>>,
    condemned: AtomicBool,
}

struct Watch {
    until: Instant,
    faults_permille: u64,
}

/// One kind of a version.
pub(crate) struct VersionKind {
    pub(crate) counters: Counters,
    breaker: Mutex<Breaker>,
}

impl VersionCore {
    pub(crate) fn new(
        id: VersionId,
        linked: Linked,
        survey: Survey,
        limits: [Arc<Limits>; Kind::ALL.len()],
        grants: Grants,
    ) -> VersionCore {
        VersionCore {
            id,
            linked,
            survey,
            grants: Arc::new(grants),
            kinds: std::array::from_fn(|kind| VersionKind {
                counters: Counters::default(),
                breaker: Mutex::new(Breaker::new(&limits[kind])),
            }),
            limits,
            watch: Mutex::new(None),
            condemned: AtomicBool::new(false),
        }
    }

    pub(crate) fn kind(&self, kind: Kind) -> &VersionKind {
        &self.kinds[kind.index()]
    }

    pub(crate) fn limits(&self, kind: Kind) -> &Arc<Limits> {
        &self.limits[kind.index()]
    }

    pub(crate) fn breaker_state(&self, kind: Kind) -> BreakerState {
        lock(&self.kind(kind).breaker).state(Instant::now())
    }

    /// Instances of all kinds.
    pub(crate) fn instances(&self) -> usize {
        let instances = |kind: &VersionKind| kind.counters.instances.load(Relaxed);
        self.kinds.iter().map(instances).sum()
    }

    /// Begins to watch it.
    pub(crate) fn watch(&self, rollout: &Rollout) {
        *lock(&self.watch) = Some(Watch {
            until: Instant::now() + rollout.watch,
            faults_permille: u64::from(rollout.faults_permille),
        });
    }

    /// It is trusted from now on.
    pub(crate) fn trust(&self) {
        *lock(&self.watch) = None;
        self.condemned.store(false, Relaxed);
    }

    /// Whether it has failed while it was watched.
    pub(crate) fn is_condemned(&self) -> bool {
        self.condemned.load(Relaxed)
    }

    fn judge(&self, breaker_opened: bool) {
        let watch = lock(&self.watch);
        let Some(watch) = watch.as_ref().filter(|w| Instant::now() < w.until) else {
            return;
        };
        let (mut calls, mut faults) = (0, 0);
        for kind in &self.kinds {
            calls += kind.counters.calls_now();
            faults += kind.counters.faults_now();
        }
        let too_many =
            faults >= FAULTS_MIN && faults * 1_000 > watch.faults_permille * calls.max(1);
        if breaker_opened || too_many {
            self.condemned.store(true, Relaxed);
        }
    }

    pub(crate) fn context(&self, commons: &Arc<Commons>, kind: Kind, thread: usize) -> Context {
        let limits = self.limits(kind);
        Context::new(commons, &self.grants, kind, limits, thread, Senses::World)
    }
}

/// Leave to have an instance, from its making to its end.
pub(crate) struct Ticket {
    pub(crate) plugin: Arc<PluginCore>,
    pub(crate) version: Arc<VersionCore>,
    pub(crate) kind: Kind,
    admission: Admission,
    /// The one that is made when a version is loaded: no breaker, no bound, no fault that counts.
    rehearsal: bool,
}

impl Ticket {
    /// # Errors
    /// The breaker is open, or there are enough instances.
    pub(crate) fn take(
        plugin: &Arc<PluginCore>,
        version: &Arc<VersionCore>,
        kind: Kind,
    ) -> Result<Ticket, Fault> {
        let admission = lock(&version.kind(kind).breaker).admit(Instant::now());
        let refused = |refusal| {
            let fault = Fault::Refused(refusal);
            plugin.kind(kind).counters.fault(&fault);
            version.kind(kind).counters.fault(&fault);
            fault
        };
        let admission = admission.map_err(|retry_in| refused(Refusal::BreakerOpen { retry_in }))?;
        let ticket = Ticket::new(plugin, version, kind, admission, false);
        let host_max = usize::try_from(plugin.host.config.instances).unwrap_or(usize::MAX);
        // Counted already, so that two at once cannot both find the last place.
        let full = plugin.kind(kind).counters.instances.load(Relaxed)
            > version.limits(kind).instances
            || plugin.host.instances.load(Relaxed) > host_max;
        match full {
            true => Err(refused(Refusal::Instances)),
            false => Ok(ticket),
        }
    }

    pub(crate) fn rehearsal(
        plugin: &Arc<PluginCore>,
        version: &Arc<VersionCore>,
        kind: Kind,
    ) -> Ticket {
        Ticket::new(plugin, version, kind, Admission::Normal, true)
    }

    fn new(
        plugin: &Arc<PluginCore>,
        version: &Arc<VersionCore>,
        kind: Kind,
        admission: Admission,
        rehearsal: bool,
    ) -> Ticket {
        let ticket = Ticket {
            plugin: Arc::clone(plugin),
            version: Arc::clone(version),
            kind,
            admission,
            rehearsal,
        };
        for counter in ticket.counters() {
            counter.fetch_add(1, Relaxed);
        }
        ticket
    }

    fn counters(&self) -> [&AtomicUsize; 3] {
        [
            &self.plugin.kind(self.kind).counters.instances,
            &self.version.kind(self.kind).counters.instances,
            &self.plugin.host.instances,
        ]
    }

    /// The instance has been made.
    pub(crate) fn made(&self) {
        if self.rehearsal {
            return;
        }
        self.plugin.kind(self.kind).counters.made();
        self.version.kind(self.kind).counters.made();
    }

    /// A call went well.
    pub(crate) fn well(&mut self) {
        if self.admission == Admission::Trial {
            self.admission = Admission::Normal;
            lock(&self.version.kind(self.kind).breaker).trial_succeeded(Instant::now());
        }
    }

    /// Something went wrong.
    pub(crate) fn fault(&mut self, fault: &Fault) {
        if self.rehearsal {
            return;
        }
        self.plugin.fault(&self.version, self.kind, fault);
        if !fault.is_plugins() {
            return;
        }
        let admission = std::mem::replace(&mut self.admission, Admission::Normal);
        let breaker = &self.version.kind(self.kind).breaker;
        let opened = lock(breaker).fault(admission, Instant::now());
        if opened {
            let (plugin, kind) = (&self.plugin.commons.name, self.kind.name());
            tracing::error!(plugin, kind, version = %self.version.id, "breaker opened: too many faults");
        }
        self.version.judge(opened);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.admission == Admission::Trial {
            lock(&self.version.kind(self.kind).breaker).trial_abandoned(Instant::now());
        }
        for counter in self.counters() {
            counter.fetch_sub(1, Relaxed);
        }
    }
}

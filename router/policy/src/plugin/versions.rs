//! Which version a new instance gets.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use crate::host::lock;
use crate::kind::Kind;
use crate::runtime::actor::Mailbox;
use crate::runtime::instance::Authentication;
use crate::spec::VersionId;
use crate::stats::KindStats;
use crate::version::VersionCore;

/// A version with the instances of authentication that wait for work.
pub(super) struct Version {
    pub(super) core: Arc<VersionCore>,
    idle: Mutex<Vec<Mailbox<Authentication>>>,
    resting: AtomicBool,
    /// One for each instance of authentication there may be.
    pub(super) places: tokio::sync::Semaphore,
}

impl Version {
    pub(super) fn new(core: Arc<VersionCore>) -> Arc<Version> {
        let places = core.limits(Kind::Authentication).instances;
        Arc::new(Version {
            core,
            idle: Mutex::default(),
            resting: AtomicBool::new(false),
            places: tokio::sync::Semaphore::new(places.min(tokio::sync::Semaphore::MAX_PERMITS)),
        })
    }

    pub(super) fn take_idle(&self) -> Option<Mailbox<Authentication>> {
        let mut idle = lock(&self.idle);
        loop {
            let mailbox = idle.pop()?;
            if !mailbox.is_over() {
                return Some(mailbox);
            }
        }
    }

    /// Ends the instances that wait for work: it gets none for now.
    fn rest(&self) {
        let mut idle = lock(&self.idle);
        self.resting.store(true, Relaxed);
        idle.clear();
    }

    /// It gets work again.
    fn wake(&self) {
        self.resting.store(false, Relaxed);
    }

    pub(super) fn give_back(&self, mailbox: Mailbox<Authentication>) {
        let mut idle = lock(&self.idle);
        if !mailbox.is_over() && !self.resting.load(Relaxed) {
            idle.push(mailbox);
        }
    }
}

/// The counters of one version.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionStats {
    /// Which.
    pub id: VersionId,
    /// Share of new instances it gets, percent; 0 for the one before.
    pub percent: u8,
    /// Its instances, of all kinds.
    pub instances: usize,
    /// By kind.
    pub kinds: Vec<KindStats>,
}

struct Canary {
    version: Arc<Version>,
    percent: u8,
    /// What has been dealt, in percent: an instance is due at 100.
    dealt: u16,
}

pub(super) struct Versions {
    stable: Arc<Version>,
    canary: Option<Canary>,
    /// What `stable` replaced, for a way back.
    previous: Option<Arc<Version>>,
    generation: u64,
    returns: u64,
}

impl Versions {
    pub(super) fn new(stable: Arc<Version>) -> Versions {
        Versions {
            generation: stable.core.id.generation,
            stable,
            canary: None,
            previous: None,
            returns: 0,
        }
    }

    pub(super) fn stable(&self) -> &Arc<Version> {
        &self.stable
    }

    pub(super) fn returns(&self) -> u64 {
        self.returns
    }

    pub(super) fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    /// Lets a version in. One that still shares is given up.
    pub(super) fn roll_out(&mut self, version: Arc<Version>, percent: u8) {
        if percent >= 100 {
            self.canary = None;
            self.replace(version);
        } else {
            self.canary = Some(Canary {
                version,
                percent,
                dealt: 0,
            });
        }
    }

    fn replace(&mut self, version: Arc<Version>) {
        let previous = std::mem::replace(&mut self.stable, version);
        previous.rest();
        self.previous = Some(previous);
    }

    pub(super) fn promote(&mut self) {
        match self.canary.take() {
            Some(canary) => self.replace(canary.version),
            None => self.stable.core.trust(),
        }
    }

    /// Whether new instances may get this version.
    pub(super) fn deals(&self, id: VersionId) -> bool {
        let canary = self.canary.as_ref().map(|canary| &canary.version);
        let mut dealt = std::iter::once(&self.stable).chain(canary);
        dealt.any(|version| version.core.id == id)
    }

    pub(super) fn roll_back(&mut self) -> bool {
        if self.canary.take().is_some() {
            return true;
        }
        let Some(previous) = self.previous.take() else {
            return false;
        };
        // It is the known good one; nothing is left to return to.
        previous.core.trust();
        previous.wake();
        self.stable = previous;
        true
    }

    /// Goes back where the new version has failed; which one that was.
    pub(super) fn settle(&mut self) -> Option<VersionId> {
        let failed = match &self.canary {
            Some(canary) if canary.version.core.is_condemned() => canary.version.core.id,
            _ if self.stable.core.is_condemned() && self.previous.is_some() => self.stable.core.id,
            _ => return None,
        };
        // A canary first: its share is all that has to go.
        if self.roll_back() {
            self.returns += 1;
        }
        Some(failed)
    }

    pub(super) fn pick(&mut self) -> Arc<Version> {
        if let Some(canary) = &mut self.canary {
            canary.dealt += u16::from(canary.percent);
            if canary.dealt >= 100 {
                canary.dealt -= 100;
                return Arc::clone(&canary.version);
            }
        }
        Arc::clone(&self.stable)
    }

    pub(super) fn stats(&self) -> Vec<VersionStats> {
        let share = self.canary.as_ref().map_or(0, |canary| canary.percent);
        let stable = [(&self.stable, 100 - share)];
        let canary = self.canary.iter().map(|c| (&c.version, c.percent));
        let previous = self.previous.iter().map(|version| (version, 0));
        let all = stable.into_iter().chain(canary).chain(previous);
        all.map(|(version, percent)| stats(&version.core, percent))
            .collect()
    }
}

fn stats(version: &VersionCore, percent: u8) -> VersionStats {
    let kinds = version.survey.kinds.iter().map(|kind| {
        let breaker = version.breaker_state(*kind);
        version.kind(*kind).counters.snapshot(*kind, breaker)
    });
    VersionStats {
        id: version.id,
        percent,
        instances: version.instances(),
        kinds: kinds.collect(),
    }
}

//! Whether recording is possible, and who is told when it is not.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::api::FailureCause;
use crate::disk::Space;

/// Between two looks at the free space, while anything is recorded or recording is stopped.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What operators are told of once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// The disk, or a quota, is full or nearly so.
    Space,
    /// The file system cannot be written.
    ReadOnly,
    /// No file descriptors.
    Descriptors,
    /// Anything else the disk reports.
    Disk,
}

impl Cause {
    pub(super) fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::NOSPC | Errno::DQUOT) => Self::Space,
            Some(Errno::ROFS) => Self::ReadOnly,
            Some(Errno::MFILE | Errno::NFILE) => Self::Descriptors,
            _ => Self::Disk,
        }
    }

    /// It concerns all files, not one.
    pub(super) fn stops_all(self) -> bool {
        matches!(self, Self::Space | Self::ReadOnly)
    }

    /// What it is to those whose tracks it ends.
    pub(super) fn failure(self) -> FailureCause {
        match self {
            Self::Space => FailureCause::DiskFull,
            Self::Descriptors => FailureCause::Overload,
            Self::ReadOnly | Self::Disk => FailureCause::DiskFault,
        }
    }

    /// How to mend it.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Space => "free some space, or record elsewhere",
            Self::ReadOnly => "make it writable, or record elsewhere",
            Self::Descriptors => {
                "raise the limit of open files (LimitNOFILE), or record fewer tracks at once"
            }
            Self::Disk => "look at the disk and at the kernel's log",
        }
    }
}

/// State of the disk.
#[derive(Debug)]
pub(super) struct Health {
    free_bytes_least: u64,
    /// Why nothing is recorded.
    stopped: Option<(Cause, String)>,
    told: BTreeSet<Cause>,
    look_due: Option<Instant>,
    looking: bool,
}

impl Health {
    pub(super) fn new(free_bytes_least: u64) -> Self {
        Self {
            free_bytes_least,
            stopped: None,
            told: BTreeSet::new(),
            look_due: None,
            looking: false,
        }
    }

    /// So much has to be free from now on: looked at soon.
    pub(super) fn need(&mut self, free_bytes_least: u64) {
        self.free_bytes_least = free_bytes_least;
        self.look_due = None;
    }

    /// Why nothing is recorded now.
    pub(super) fn stopped(&self) -> Option<(Cause, &str)> {
        let stopped = self.stopped.as_ref();
        stopped.map(|(cause, why)| (*cause, why.as_str()))
    }

    /// Nothing is recorded from now on. False: that was so already.
    pub(super) fn stop(&mut self, cause: Cause, why: &str) -> bool {
        let news = self.stopped.is_none();
        if news {
            self.stopped = Some((cause, why.to_owned()));
        }
        news
    }

    /// Whether operators are to be told of it: once, until it has passed.
    pub(super) fn tell(&mut self, cause: Cause) -> bool {
        self.told.insert(cause)
    }

    /// What single files failed of has passed, as one is there again.
    pub(super) fn works(&mut self) {
        self.told.remove(&Cause::Descriptors);
        self.told.remove(&Cause::Disk);
    }

    /// Whether to look at the free space now.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        if self.looking || self.look_due.is_some_and(|due| now < due) {
            return false;
        }
        self.looking = true;
        self.look_due = Some(now + LOOK_EVERY);
        true
    }

    /// What it looks like. `Err`: recording has to stop, and why. `Ok(true)`: it was stopped, and may go on.
    pub(super) fn seen(&mut self, space: Space) -> Result<bool, (Cause, String)> {
        self.looking = false;
        let (free, least) = (space.free_bytes, self.free_bytes_least);
        if space.read_only {
            return Err((Cause::ReadOnly, "its file system is read-only".to_owned()));
        }
        if free < least {
            let why = format!("{free} bytes are free there, and {least} have to be");
            return Err((Cause::Space, why));
        }
        // An eighth more than that, lest it starts and stops with each file that somebody removes.
        let enough = free >= least.saturating_add(least / 8) && free > 0;
        let passed = match self.stopped {
            None => false,
            Some((Cause::Space, _)) => enough,
            Some(_) => true,
        };
        if passed {
            self.stopped = None;
            self.told.clear();
        }
        Ok(passed)
    }

    /// The look failed.
    pub(super) fn blind(&mut self) {
        self.looking = false;
    }
}

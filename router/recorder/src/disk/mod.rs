//! Files beneath one root.
//!
//! The engine orders jobs, at most one at a time for a file, and is told when they are done. [`Disk`] is what
//! carries them out: `real` on a ring or by blocking calls, and a fake in tests. [`Root`] is the folder.

pub(crate) mod name;
mod real;
mod recover;
mod root;

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

pub use name::{Place, safe};
pub(crate) use real::RealDisk;
pub(crate) use recover::{Leftovers, Recovered};
pub(crate) use root::{Completed, Space};
pub use root::{Root, digest};

/// Of the file in the root that says that a router uses it.
pub const LOCK_NAME: &str = ".rillway-recorder.lock";
/// How the hidden name of a file ends that is to replace another one.
pub(crate) const TEMPORARY: &str = ".tmp";

/// A file being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileId(pub(crate) u64);

/// The sidecar of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RoomId(pub(crate) u64);

/// What a disk is to do. For one file or sidecar, at most one at a time.
#[derive(Debug)]
pub(crate) enum Job {
    /// A new file, exclusively, under a free name like the one wanted.
    Create {
        file: FileId,
        folder: String,
        stem: String,
        extension: &'static str,
    },
    Write {
        file: FileId,
        offset: u64,
        bytes: Vec<u8>,
    },
    /// What was written becomes durable.
    Sync { file: FileId },
    /// Cut to so many bytes if given, durable, hashed, under its final name; closed, even if that fails.
    Finish { file: FileId, keep: Option<u64> },
    /// Replaces a room's sidecar; the first one takes a free name like the one wanted.
    Sidecar {
        room: RoomId,
        folder: String,
        stem: String,
        place: Option<Place>,
        json: Vec<u8>,
    },
    /// How much is free.
    Space,
    /// Finishes what a crash left.
    Recover(Leftovers),
}

/// What a disk has done.
#[derive(Debug)]
pub(crate) enum Done {
    Created(FileId, io::Result<Place>),
    Wrote(FileId, io::Result<()>),
    Synced(FileId, Duration, io::Result<()>),
    Finished(FileId, io::Result<Completed>),
    Sidecar(RoomId, io::Result<Place>),
    Space(io::Result<Space>),
    Recovered(Vec<Recovered>),
}

/// Carries out jobs. Never blocks its caller.
pub(crate) trait Disk {
    /// Takes a job.
    fn submit(&mut self, job: Job);

    /// What was done since the last call.
    fn done(&mut self, into: &mut Vec<Done>);
}

//! What a recorder is started with.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Fewest packets of a worker's queue: what 250 tracks send in about 40 ms.
pub const QUEUE_PACKETS_LEAST: usize = 512;

/// Of a recorder.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The folder beneath which everything is written. Made, with mode 0700, if only its last part is missing.
    pub root: PathBuf,
    /// Below so much free space nothing starts, and what runs is finished. Default 1 GiB.
    pub free_bytes_least: u64,
    /// Files being written at once; each takes a file descriptor. At most half of those that the process may
    /// have, as calls need them too. Default 2,048.
    pub files_max: usize,
    /// Packets in the queue between each media worker and the recorder; at least [`QUEUE_PACKETS_LEAST`].
    /// Default 16,384: a third of a second of 1,000 tracks of 500 kb/s.
    pub queue_packets: usize,
    /// Most that waits for the disk, for all files together, before frames are dropped. Default 256 MiB.
    pub waiting_bytes_max: usize,
    /// The same for one file. Default 16 MiB.
    pub waiting_bytes_of_a_file_max: usize,
    /// What is written is made durable (fdatasync) once in this time; what a crash of the machine costs.
    /// Default 1 s.
    pub sync_interval: Duration,
    /// How files are written.
    pub writer: Writer,
}

impl Settings {
    /// Defaults beneath `root`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            free_bytes_least: 1 << 30,
            files_max: 2048,
            queue_packets: 16_384,
            waiting_bytes_max: 256 << 20,
            waiting_bytes_of_a_file_max: 16 << 20,
            sync_interval: Duration::from_secs(1),
            writer: Writer::Auto,
        }
    }
}

/// How files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Writer {
    /// On a ring; by blocking calls where rings are not permitted.
    #[default]
    Auto,
    /// By blocking calls on a few threads.
    Blocking,
}

/// Why a recorder does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The root cannot be used.
    #[error("the recording folder {}: {what}: {error}", root.display())]
    Root {
        /// As configured.
        root: PathBuf,
        /// What failed, and how to mend it.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
    /// Another router records there.
    #[error(
        "the recording folder {} is in use by another router (its lock `{}` is held); give each its own",
        root.display(),
        crate::disk::LOCK_NAME
    )]
    InUse {
        /// As configured.
        root: PathBuf,
    },
    /// No thread.
    #[error("the recorder's thread: {0}")]
    Thread(io::Error),
}

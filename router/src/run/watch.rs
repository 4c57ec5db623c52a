//! A configuration's file, looked at twice a second: a change of it is told when it was left alone for a while.
//!
//! Polled, not subscribed to: editors rename files over each other, configuration management swaps links, and
//! network file systems tell of nothing; a look costs some microseconds.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two looks. What is found twice is looked at as whole.
const PERIOD: Duration = Duration::from_millis(500);

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of the file that a path leads to; `None`: there is none now.
    fn of(path: &Path) -> Option<Stamp> {
        std::fs::metadata(path)
            .ok()
            .map(|found| Stamp::from(&found))
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Looks at one file.
#[derive(Debug)]
pub(super) struct Watcher {
    path: PathBuf,
    seen: Seen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// As it was read last.
    read: Option<Stamp>,
    /// As it was at the last look.
    last: Option<Stamp>,
}

impl Seen {
    /// Whether the file has changed since it was read, and not since the last look.
    fn look(&mut self, now: Option<Stamp>) -> bool {
        let settled = now == self.last;
        self.last = now;
        // A file that is gone for a moment is being replaced.
        let news = settled && now.is_some() && now != self.read;
        if news {
            self.read = now;
        }
        news
    }
}

impl Watcher {
    /// Of a file that has just been read.
    pub(super) fn new(path: PathBuf) -> Self {
        let now = Stamp::of(&path);
        Watcher {
            path,
            seen: Seen {
                read: now,
                last: now,
            },
        }
    }

    /// The file has been read as it is now.
    pub(super) fn read(&mut self) {
        let now = Stamp::of(&self.path);
        self.seen = Seen {
            read: now,
            last: now,
        };
    }

    /// Until the file has changed. Nothing is missed if it is dropped.
    pub(super) async fn changed(&mut self) {
        loop {
            tokio::time::sleep(PERIOD).await;
            let path = self.path.clone();
            // Its disk may be a network away.
            let look = tokio::task::spawn_blocking(move || Stamp::of(&path));
            if let Ok(now) = look.await
                && self.seen.look(now)
            {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(bytes: u64) -> Option<Stamp> {
        Some(Stamp {
            device: 1,
            inode: 1,
            bytes,
            modified: (0, 0),
            changed: (0, 0),
        })
    }

    #[test]
    fn a_file_is_told_of_once_when_it_has_settled() {
        let mut seen = Seen {
            read: stamp(1),
            last: stamp(1),
        };
        // Untouched; being written; gone while an editor renames; there again.
        let looks = [1, 1, 2, 3, 3, 3, 0, 0, 4, 4, 1, 1];
        let told = looks.map(|bytes| seen.look(if bytes == 0 { None } else { stamp(bytes) }));
        let at: Vec<_> = (0..looks.len()).filter(|at| told[*at]).collect();
        assert_eq!(at, [4, 9, 11]);
    }
}

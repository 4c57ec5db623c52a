//! A file being written: what waits for it, and which job is next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::api::{Container, Start, TrackId};
use crate::disk::{FileId, Job, Place, RoomId};
use crate::film::{Origin, TrackSummary, Write};

/// Contents are written when there is so much of them, …
const WRITE_BYTES: usize = 16 << 10;
/// … or so long after the first of them, at the latest.
const WRITE_DELAY: Duration = Duration::from_millis(200);
/// Most in one write.
const WRITE_BYTES_MAX: usize = 4 << 20;

/// Contents that wait.
#[derive(Debug)]
struct Chunk {
    offset: u64,
    bytes: Vec<u8>,
    /// It replaces what is there, so that has to be durable.
    over: bool,
}

/// Where a file is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Job not given yet.
    New,
    Creating,
    Open,
    Finishing,
}

/// A file.
#[derive(Debug)]
pub(super) struct File {
    pub(super) room: RoomId,
    pub(super) container: Container,
    /// Tracks of its film, as long as it was open.
    pub(super) tracks: Vec<(TrackId, Arc<Start>)>,
    pub(super) place: Option<Place>,
    /// When its first frame was captured.
    pub(super) began: SystemTime,
    /// What the film told at its end.
    pub(super) summaries: Option<Vec<TrackSummary>>,
    /// The control side knows that its tracks are recorded no more.
    pub(super) told: bool,
    /// Why it ends early; nothing more is written.
    pub(super) failed: Option<String>,
    folder: String,
    stem: String,
    state: State,
    chunks: VecDeque<Chunk>,
    waiting: usize,
    oldest: Option<Instant>,
    /// End of what the film gave, and of what is written.
    length: u64,
    written: u64,
    busy: bool,
    /// Something is not durable, …
    dirty: bool,
    /// … appended contents among it, which have to be before anything is replaced.
    appended: bool,
    /// Since the last sync, contents were written because the next one is due.
    flushed: bool,
    /// What is written just now replaces something: only with it, contents before it are of use.
    replacing: bool,
    sync_due: Instant,
}

impl File {
    pub(super) fn new(
        room: RoomId,
        container: Container,
        tracks: Vec<(TrackId, Arc<Start>)>,
        (folder, stem): (String, String),
        now: Origin,
    ) -> Self {
        Self {
            room,
            container,
            tracks,
            place: None,
            began: now.wall,
            summaries: None,
            told: false,
            failed: None,
            folder,
            stem,
            state: State::New,
            chunks: VecDeque::new(),
            waiting: 0,
            oldest: None,
            length: 0,
            written: 0,
            busy: false,
            dirty: false,
            appended: false,
            flushed: false,
            replacing: false,
            sync_due: now.at,
        }
    }

    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Contents from the film; returns how many bytes wait more now.
    pub(super) fn push(&mut self, write: Write, now: Instant) -> usize {
        if self.failed.is_some() {
            return 0;
        }
        self.oldest.get_or_insert(now);
        let added = match write {
            Write::Append(bytes) => {
                let (offset, added) = (self.length, bytes.len());
                self.length += added as u64;
                match self.chunks.back_mut() {
                    Some(last) if !last.over && last.bytes.len() + added <= WRITE_BYTES_MAX => {
                        last.bytes.extend_from_slice(&bytes);
                    }
                    _ => self.chunks.push_back(Chunk {
                        offset,
                        bytes,
                        over: false,
                    }),
                }
                added
            }
            Write::Overwrite { offset, bytes } => {
                let added = bytes.len();
                self.chunks.push_back(Chunk {
                    offset,
                    bytes,
                    over: true,
                });
                added
            }
        };
        self.waiting += added;
        added
    }

    /// It ends here, because writing failed. Returns how many bytes do not wait any more.
    pub(super) fn fail(&mut self, reason: &str) -> usize {
        if self.failed.is_none() {
            self.failed = Some(reason.to_owned());
        }
        // What is being written just now still counts.
        self.length = self.written_to();
        self.chunks.clear();
        std::mem::take(&mut self.waiting)
    }

    /// The next job, if it is time for one. The second: bytes that do not wait any more.
    pub(super) fn next(&mut self, id: FileId, now: Instant) -> Option<(Job, usize)> {
        if self.busy || self.state == State::Finishing {
            return None;
        }
        let (job, taken) = match self.state {
            State::New => {
                self.state = State::Creating;
                let job = Job::Create {
                    file: id,
                    folder: self.folder.clone(),
                    stem: self.stem.clone(),
                    extension: self.container.extension(),
                };
                (job, 0)
            }
            _ => self.next_of_contents(id, now)?,
        };
        self.busy = true;
        Some((job, taken))
    }

    fn next_of_contents(&mut self, id: FileId, now: Instant) -> Option<(Job, usize)> {
        let ending = self.summaries.is_some();
        if self.dirty && self.flushed && self.failed.is_none() && !ending {
            return Some((self.sync(id), 0));
        }
        if self.failed.is_some() {
            self.state = State::Finishing;
            let keep = Some(self.written);
            return Some((Job::Finish { file: id, keep }, 0));
        }
        if let Some(first) = self.chunks.front() {
            if first.over && self.appended {
                return Some((self.sync(id), 0));
            }
            let waited = self.oldest.is_some_and(|since| now >= since + WRITE_DELAY);
            // A sync that is due takes with it what is there by now, but not what comes meanwhile.
            let with_sync = now >= self.sync_due && !self.flushed;
            // What is replaced next makes what is appended playable: more would not come before that.
            let whole = self.chunks.get(1).is_some_and(|next| next.over);
            let enough = whole || self.waiting >= WRITE_BYTES;
            if ending || waited || first.over || with_sync || enough {
                self.flushed |= with_sync;
                return self.write(id, now);
            }
        } else if ending {
            self.state = State::Finishing;
            return Some((
                Job::Finish {
                    file: id,
                    keep: None,
                },
                0,
            ));
        }
        (self.dirty && now >= self.sync_due).then(|| (self.sync(id), 0))
    }

    fn write(&mut self, id: FileId, now: Instant) -> Option<(Job, usize)> {
        let Chunk {
            offset,
            bytes,
            over,
        } = self.chunks.pop_front()?;
        self.replacing = over;
        let taken = bytes.len();
        self.waiting = self.waiting.saturating_sub(taken);
        self.oldest = (!self.chunks.is_empty()).then_some(now);
        let job = Job::Write {
            file: id,
            offset,
            bytes,
        };
        Some((job, taken))
    }

    fn sync(&mut self, id: FileId) -> Job {
        self.dirty = false;
        self.appended = false;
        self.flushed = false;
        Job::Sync { file: id }
    }

    /// It is there.
    pub(super) fn created(&mut self, place: Place) {
        self.busy = false;
        self.state = State::Open;
        self.place = Some(place);
    }

    /// A write was carried out. Returns how many bytes the file grew by.
    pub(super) fn wrote(&mut self) -> u64 {
        self.busy = false;
        self.dirty = true;
        match std::mem::take(&mut self.replacing) {
            true => self.flushed |= self.chunks.is_empty(),
            false => self.appended = true,
        }
        let end = self.written_to();
        let grown = end.saturating_sub(self.written);
        self.written = end;
        grown
    }

    /// Where contents end that were taken to be written: they are in order.
    fn written_to(&self) -> u64 {
        match self.chunks.iter().find(|chunk| !chunk.over) {
            Some(next) => next.offset,
            None => self.length,
        }
    }

    /// A sync was carried out, and the next one is due then.
    pub(super) fn synced(&mut self, due: Instant) {
        self.busy = false;
        self.sync_due = due;
    }

    /// A job failed.
    pub(super) fn broke(&mut self) {
        self.busy = false;
    }

    /// Nothing of it is on the disk.
    pub(super) fn is_unborn(&self) -> bool {
        self.place.is_none()
    }
}

//! The disk: contents on a ring where that is permitted, the rest by blocking calls beside the loop.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::sync::Semaphore;

use super::{Completed, Disk, Done, FileId, Job, Place, Root};
use crate::film::Films;

/// Calls that block for a short time, at once.
const SHORT_CALLS: usize = 8;
/// Files that are read to be hashed, at once: more would only compete for the same disk.
const LONG_CALLS: usize = 2;

/// How often a file is tried to be completed while there are no file descriptors.
const DESCRIPTOR_TRIES: u32 = 50;
/// Between two tries.
const DESCRIPTOR_WAIT: Duration = Duration::from_millis(200);

/// A file and how its contents are written.
enum Open {
    Ring(Rc<tokio_uring::fs::File>),
    Blocking(Arc<File>),
}

struct Handle {
    open: Open,
    place: Place,
}

/// What comes back from jobs.
enum Reply {
    Done(Done),
    Opened(FileId, Place, File),
}

/// Runs within a tokio runtime: with a ring, tokio-uring's.
pub(crate) struct RealDisk {
    root: Arc<Root>,
    films: Arc<dyn Films>,
    files: HashMap<FileId, Handle>,
    on_ring: bool,
    // Holds as many replies as there are jobs, of which each file has at most one.
    replies: Sender<Reply>,
    arrived: Receiver<Reply>,
    short: Arc<Semaphore>,
    long: Arc<Semaphore>,
}

impl RealDisk {
    pub(crate) fn new(root: Arc<Root>, films: Arc<dyn Films>, on_ring: bool) -> Self {
        let (replies, arrived) = channel();
        Self {
            root,
            films,
            files: HashMap::new(),
            on_ring,
            replies,
            arrived,
            short: Arc::new(Semaphore::new(SHORT_CALLS)),
            long: Arc::new(Semaphore::new(LONG_CALLS)),
        }
    }

    /// Calls `call` on a thread for blocking calls, when it is its turn.
    fn beside(&self, turns: &Arc<Semaphore>, call: impl FnOnce() -> Reply + Send + 'static) {
        let turns = Arc::clone(turns);
        let replies = self.replies.clone();
        tokio::spawn(async move {
            let Ok(_turn) = turns.acquire().await else {
                return;
            };
            if let Ok(reply) = tokio::task::spawn_blocking(call).await {
                let _ = replies.send(reply);
            }
        });
    }

    fn write(&self, file: FileId, offset: u64, bytes: Vec<u8>) {
        match self.files.get(&file).map(|handle| &handle.open) {
            Some(Open::Ring(open)) => {
                let (open, replies) = (Rc::clone(open), self.replies.clone());
                tokio_uring::spawn(async move {
                    let (result, _) = open.write_all_at(bytes, offset).await;
                    drop(open);
                    let _ = replies.send(Reply::Done(Done::Wrote(file, result)));
                });
            }
            Some(Open::Blocking(open)) => {
                let open = Arc::clone(open);
                self.beside(&self.short, move || {
                    Reply::Done(Done::Wrote(file, open.write_all_at(&bytes, offset)))
                });
            }
            None => self.reply(Done::Wrote(file, Err(gone()))),
        }
    }

    fn sync(&self, file: FileId) {
        let began = Instant::now();
        match self.files.get(&file).map(|handle| &handle.open) {
            Some(Open::Ring(open)) => {
                let (open, replies) = (Rc::clone(open), self.replies.clone());
                tokio_uring::spawn(async move {
                    let result = open.sync_data().await;
                    drop(open);
                    let done = Done::Synced(file, began.elapsed(), result);
                    let _ = replies.send(Reply::Done(done));
                });
            }
            Some(Open::Blocking(open)) => {
                let open = Arc::clone(open);
                self.beside(&self.short, move || {
                    let result = open.sync_data();
                    Reply::Done(Done::Synced(file, began.elapsed(), result))
                });
            }
            None => self.reply(Done::Synced(file, began.elapsed(), Err(gone()))),
        }
    }

    fn finish(&mut self, file: FileId, keep: Option<u64>) {
        let Some(handle) = self.files.remove(&file) else {
            return self.reply(Done::Finished(file, Err(gone())));
        };
        let root = Arc::clone(&self.root);
        let place = handle.place;
        let finish = move || root.finish(&place, keep);
        let (turns, replies) = (Arc::clone(&self.long), self.replies.clone());
        match handle.open {
            Open::Blocking(open) => {
                drop(open);
                tokio::spawn(finished(file, turns, replies, finish));
            }
            Open::Ring(open) => {
                tokio_uring::spawn(async move {
                    // The one reference: a file has one job at a time.
                    if let Ok(open) = Rc::try_unwrap(open) {
                        let _ = open.close().await;
                    }
                    finished(file, turns, replies, finish).await;
                });
            }
        }
    }

    fn reply(&self, done: Done) {
        let _ = self.replies.send(Reply::Done(done));
    }
}

async fn finished(
    file: FileId,
    turns: Arc<Semaphore>,
    replies: Sender<Reply>,
    finish: impl Fn() -> io::Result<Completed> + Clone + Send + 'static,
) {
    let Ok(_turn) = turns.acquire().await else {
        return;
    };
    let mut tries = DESCRIPTOR_TRIES;
    let result = loop {
        let result = tokio::task::spawn_blocking(finish.clone()).await;
        let result = result.unwrap_or_else(|e| Err(io::Error::other(e)));
        let none_left =
            |e: &io::Error| matches!(Errno::from_io_error(e), Some(Errno::MFILE | Errno::NFILE));
        // It takes two for a moment; they are not for long what keeps a whole file from being one.
        if tries == 0 || !result.as_ref().is_err_and(none_left) {
            break result;
        }
        tries -= 1;
        tokio::time::sleep(DESCRIPTOR_WAIT).await;
    };
    let _ = replies.send(Reply::Done(Done::Finished(file, result)));
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the file is not open")
}

impl Disk for RealDisk {
    fn submit(&mut self, job: Job) {
        let root = Arc::clone(&self.root);
        match job {
            Job::Create {
                file,
                folder,
                stem,
                extension,
            } => self.beside(&self.short, move || {
                match root.create(&folder, &stem, extension) {
                    Ok((place, open)) => Reply::Opened(file, place, open),
                    Err(e) => Reply::Done(Done::Created(file, Err(e))),
                }
            }),
            Job::Write {
                file,
                offset,
                bytes,
            } => self.write(file, offset, bytes),
            Job::Sync { file } => self.sync(file),
            Job::Finish { file, keep } => self.finish(file, keep),
            Job::Sidecar {
                room,
                folder,
                stem,
                place,
                json,
            } => self.beside(&self.short, move || {
                let place = match place {
                    Some(place) => Ok(place),
                    None => root.unused(&folder, &stem, "json"),
                };
                let result = place.and_then(|place| {
                    root.replace(&place, &json)?;
                    Ok(place)
                });
                Reply::Done(Done::Sidecar(room, result))
            }),
            Job::Space => {
                self.beside(&self.short, move || Reply::Done(Done::Space(root.space())));
            }
            Job::Recover(leftovers) => {
                let films = Arc::clone(&self.films);
                // It takes one turn for all, and leaves the other for files that end meanwhile.
                self.beside(&self.long, move || {
                    Reply::Done(Done::Recovered(leftovers.finish(&root, films.as_ref())))
                });
            }
        }
    }

    fn done(&mut self, into: &mut Vec<Done>) {
        while let Ok(reply) = self.arrived.try_recv() {
            let done = match reply {
                Reply::Done(done) => done,
                Reply::Opened(file, place, open) => {
                    let open = match self.on_ring {
                        true => Open::Ring(Rc::new(tokio_uring::fs::File::from_std(open))),
                        false => Open::Blocking(Arc::new(open)),
                    };
                    let created = Done::Created(file, Ok(place.clone()));
                    self.files.insert(file, Handle { open, place });
                    created
                }
            };
            into.push(done);
        }
    }
}

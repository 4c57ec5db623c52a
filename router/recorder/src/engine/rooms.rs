//! The sidecars of rooms that are recorded.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::api::Start;
use crate::disk::{Completed, FileId, Job, Place, RoomId, safe};
use crate::film::{Origin, TrackSummary};
use crate::sidecar::{self, Contents, Sidecar, State};

/// Files in one sidecar, which is written anew for each: further ones go into another.
const FILES_MAX: usize = 1_000;
/// Least time between two writes of one.
const SPACING: Duration = Duration::from_millis(250);
/// After a failed write.
const AGAIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Room {
    name: Arc<str>,
    sidecar: Sidecar,
    folder: String,
    stem: String,
    place: Option<Place>,
    /// Where its open files are in the sidecar.
    open: BTreeMap<FileId, usize>,
    /// Files that began, whether they are in the sidecar yet or not.
    begun: usize,
    closed: bool,
    dirty: bool,
    busy: bool,
    due: Instant,
}

/// All rooms that have a sidecar to come.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    rooms: BTreeMap<RoomId, Room>,
    names: HashMap<Arc<str>, RoomId>,
    next: u64,
    /// The recorder ends: what cannot be written now never will.
    ending: bool,
}

impl Rooms {
    fn open(&mut self, name: &Arc<str>, sidecar: Sidecar, now: Origin) -> RoomId {
        let id = RoomId(self.next);
        self.next += 1;
        let room = Room {
            name: Arc::clone(name),
            sidecar,
            folder: safe(name),
            stem: format!("recording-{}", sidecar::stamp(now.wall)),
            place: None,
            open: BTreeMap::new(),
            begun: 0,
            closed: false,
            dirty: true,
            busy: false,
            due: now.at,
        };
        self.rooms.insert(id, room);
        self.names.insert(Arc::clone(name), id);
        id
    }

    /// A track of a room is recorded.
    pub(super) fn start(&mut self, start: &Start, now: Origin) {
        let id = match self.names.get(&start.room) {
            Some(id) => *id,
            None => {
                let sidecar = Sidecar::new(&start.room, now.wall);
                self.open(&start.room, sidecar, now)
            }
        };
        if let Some(room) = self.rooms.get_mut(&id) {
            room.sidecar.start(start);
            room.dirty = true;
        }
    }

    /// A file of a room begins: which sidecar tells of it, and in which folder it is.
    pub(super) fn begin(&mut self, name: &Arc<str>, now: Origin) -> (RoomId, String) {
        let mut id = self.names.get(name).copied();
        if let Some(full) = id.and_then(|id| self.rooms.get_mut(&id))
            && full.begun >= FILES_MAX
        {
            full.closed = true;
            full.dirty = true;
            let mut next = Sidecar::new(name, now.wall);
            next.participants.clone_from(&full.sidecar.participants);
            next.tracks.clone_from(&full.sidecar.tracks);
            id = Some(self.open(name, next, now));
        }
        let id = id.unwrap_or_else(|| self.open(name, Sidecar::new(name, now.wall), now));
        if let Some(room) = self.rooms.get_mut(&id) {
            room.begun += 1;
        }
        (id, safe(name))
    }

    /// A file is there.
    pub(super) fn created(&mut self, room: RoomId, id: FileId, file: sidecar::File) {
        if let Some(room) = self.rooms.get_mut(&room) {
            room.open.insert(id, room.sidecar.files.len());
            room.sidecar.files.push(file);
            room.dirty = true;
        }
    }

    /// When the first frame of a file was captured is known by now.
    pub(super) fn began(&mut self, room: RoomId, id: FileId, at: SystemTime) {
        self.change(room, id, |file| file.started = sidecar::rfc3339(at));
    }

    fn change(&mut self, room: RoomId, id: FileId, change: impl FnOnce(&mut sidecar::File)) {
        if let Some(room) = self.rooms.get_mut(&room)
            && let Some(index) = room.open.get(&id)
            && let Some(file) = room.sidecar.files.get_mut(*index)
        {
            change(file);
            room.dirty = true;
        }
    }

    /// A file is complete, up to where it failed if there is a reason.
    pub(super) fn finished(
        &mut self,
        room: RoomId,
        id: FileId,
        completed: &Completed,
        summaries: &[TrackSummary],
        reason: Option<&str>,
    ) {
        self.change(room, id, |file| {
            file.name = completed.place.to_string();
            file.state = match (completed.bytes, reason) {
                (0, _) => State::Empty,
                (_, Some(_)) => State::Cut,
                (_, None) => State::Finished,
            };
            file.bytes = Some(completed.bytes);
            file.sha256 = (completed.bytes > 0).then(|| completed.sha256.clone());
            file.reason = reason.map(str::to_owned);
            file.tracks = summaries.iter().map(Contents::from).collect();
        });
        self.forget(room, id);
    }

    /// A file cannot be completed.
    pub(super) fn failed(&mut self, room: RoomId, id: FileId, reason: &str) {
        self.change(room, id, |file| {
            file.state = State::Failed;
            file.reason = Some(reason.to_owned());
        });
        self.forget(room, id);
    }

    fn forget(&mut self, room: RoomId, id: FileId) {
        if let Some(room) = self.rooms.get_mut(&room) {
            room.open.remove(&id);
        }
    }

    /// Recording a track failed.
    pub(super) fn track_failed(&mut self, start: &Start, reason: &str) {
        let id = self.names.get(&start.room);
        if let Some(room) = id.and_then(|id| self.rooms.get_mut(id)) {
            room.sidecar.fail(start.track.0, reason);
            room.dirty = true;
        }
    }

    /// A room is gone.
    pub(super) fn close(&mut self, name: &str) {
        if let Some(id) = self.names.remove(name)
            && let Some(room) = self.rooms.get_mut(&id)
        {
            room.closed = true;
            room.dirty = true;
        }
    }

    /// All are, and nothing is tried again.
    pub(super) fn close_all(&mut self) {
        self.ending = true;
        let names: Vec<_> = self.names.keys().cloned().collect();
        names.iter().for_each(|name| self.close(name));
    }

    /// What is to be written. `is_expected`: a file of this sidecar is not complete.
    pub(super) fn jobs(
        &mut self,
        now: Origin,
        is_expected: impl Fn(RoomId) -> bool,
        into: &mut Vec<Job>,
    ) {
        let mut over = Vec::new();
        for (id, room) in &mut self.rooms {
            let over_now = room.closed && room.open.is_empty() && !is_expected(*id);
            if over_now && room.sidecar.ended.is_none() {
                room.sidecar.ended = Some(sidecar::rfc3339(now.wall));
                room.dirty = true;
                room.due = room.due.min(now.at + SPACING);
            }
            if room.busy {
                continue;
            }
            if over_now && !room.dirty {
                over.push(*id);
            } else if room.dirty && (now.at >= room.due || (over_now && self.ending)) {
                room.dirty = false;
                room.busy = true;
                room.due = now.at + SPACING;
                into.push(Job::Sidecar {
                    room: *id,
                    folder: room.folder.clone(),
                    stem: room.stem.clone(),
                    place: room.place.clone(),
                    json: room.sidecar.to_json(),
                });
            }
        }
        for id in over {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: RoomId) {
        if let Some(room) = self.rooms.remove(&id)
            && self.names.get(&room.name) == Some(&id)
        {
            self.names.remove(&room.name);
        }
    }

    /// One was written, or not.
    pub(super) fn written(&mut self, id: RoomId, result: std::io::Result<Place>, now: Instant) {
        let Some(room) = self.rooms.get_mut(&id) else {
            return;
        };
        room.busy = false;
        match result {
            Ok(place) => room.place = Some(place),
            Err(error) => {
                tracing::debug!(room = %room.name, %error, "a sidecar cannot be written");
                room.dirty = !self.ending;
                room.due = now + AGAIN;
            }
        }
    }

    /// Nothing is to be written.
    pub(super) fn is_settled(&self) -> bool {
        self.rooms
            .values()
            .all(|room| !room.dirty && !room.busy && !room.closed)
    }
}

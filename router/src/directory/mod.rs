//! Where rooms live.
//!
//! A room belongs to one worker, or, when it has grown, has a part on each of several. [`Directory::place`] finds the
//! worker whose part has room, or chooses the least loaded one, and returns a [`Lease`]; a part stays where it is
//! while one lease on it is alive. The memory directory below serves one process; a distributed one comes behind the
//! same trait.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use futures_util::future::LocalBoxFuture;
use rillway_core::id::WorkerId;
use tokio::sync::mpsc;

use crate::worker::ToWorker;

/// Why a room has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PlaceError {
    /// Every media worker has ended.
    #[error("no media worker is running")]
    NoWorker,
}

/// Who comes into a room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Comer<'a> {
    /// By the grant.
    pub(crate) identity: &'a str,
    /// Display name. Guests have another identity each time, and are known again by it alone.
    pub(crate) name: Option<&'a str>,
}

/// Knows the worker of every room.
pub(crate) trait Directory {
    /// Finds or chooses the worker of `room` for somebody, and holds it there while the lease lives.
    ///
    /// # Errors
    /// [`PlaceError`].
    fn place<'a>(
        &'a self,
        room: &'a str,
        comer: Comer<'a>,
    ) -> LocalBoxFuture<'a, Result<Lease, PlaceError>>;

    /// Keeps a place on a worker for the next of this identity or name who comes into a room, until then. False:
    /// there is no such worker, or too many places are kept.
    fn keep(&self, room: &str, comer: Comer<'_>, worker: WorkerId, until: Instant) -> bool;

    /// A worker has ended: its rooms are gone, and it gets no new ones.
    fn worker_ended(&self, worker: WorkerId);

    /// How many participants of a room one worker has before others go to another, from now on; 0: any number.
    fn set_part_max(&self, part_max: u32);
}

/// A client's hold on the place of its room; dropping it gives the hold up.
pub(crate) struct Lease {
    worker: WorkerId,
    release: Option<Box<dyn FnOnce()>>,
}

impl Lease {
    /// The worker of the room.
    pub(crate) fn worker(&self) -> WorkerId {
        self.worker
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            release();
        }
    }
}

/// The directory of a single process.
///
/// A room that outgrew a worker has a part on each of several. The workers are told which ([`ToWorker::Parts`]),
/// before whoever made that necessary joins.
#[derive(Clone)]
pub(crate) struct MemoryDirectory {
    state: Rc<RefCell<State>>,
}

struct State {
    rooms: HashMap<Rc<str>, Place>,
    workers: Vec<WorkerLoad>,
    /// Participants of a room on one worker from which on others go to another; 0: never.
    part_max: u32,
    /// Grows with every part, so that a lease of one that was lost with its worker does not release the
    /// one the room got there afterwards.
    next_epoch: u64,
    /// Told late: a queue was full.
    late: VecDeque<(usize, ToWorker)>,
    /// Places kept for those who are to move.
    kept: Vec<Kept>,
}

/// A place that is kept for somebody.
struct Kept {
    room: Box<str>,
    identity: Box<str>,
    name: Option<Box<str>>,
    worker: WorkerId,
    until: Instant,
}

/// Places that are kept at once at most.
const KEPT_MAX: usize = 1_024;

/// Where a room is.
struct Place {
    /// At least one, the oldest first.
    parts: Vec<Part>,
}

struct Part {
    worker: usize,
    leases: u32,
    epoch: u64,
}

struct WorkerLoad {
    id: WorkerId,
    /// `None`: nobody is told anything; for tests.
    queue: Option<mpsc::Sender<ToWorker>>,
    alive: bool,
    leases: u32,
    rooms: u32,
}

impl MemoryDirectory {
    /// An empty directory over workers behind these queues.
    pub(crate) fn new(
        workers: impl IntoIterator<Item = (WorkerId, Option<mpsc::Sender<ToWorker>>)>,
        part_max: u32,
    ) -> Self {
        let workers = workers
            .into_iter()
            .map(|(id, queue)| WorkerLoad {
                id,
                queue,
                alive: true,
                leases: 0,
                rooms: 0,
            })
            .collect();
        MemoryDirectory {
            state: Rc::new(RefCell::new(State {
                rooms: HashMap::new(),
                workers,
                part_max,
                next_epoch: 0,
                late: VecDeque::new(),
                kept: Vec::new(),
            })),
        }
    }

    #[cfg(test)]
    pub(crate) fn rooms(&self) -> usize {
        self.state.borrow().rooms.len()
    }

    fn place_now(&self, room: &str, comer: Comer<'_>) -> Result<Lease, PlaceError> {
        let mut state = self.state.borrow_mut();
        let (worker, epoch) = match state.take_kept(room, comer) {
            Some(worker) => state.hold_at(room, worker),
            None => state.hold(room)?,
        };
        let id = state.workers.get(worker).map(|w| w.id);
        drop(state);
        self.tell_late();
        let (directory, room) = (self.clone(), Rc::<str>::from(room));
        Ok(Lease {
            worker: id.ok_or(PlaceError::NoWorker)?,
            release: Some(Box::new(move || {
                directory.state.borrow_mut().release(&room, epoch);
                directory.tell_late();
            })),
        })
    }

    /// Tells what found a queue full, as soon as there is room in it.
    fn tell_late(&self) {
        if self.state.borrow().late.is_empty() {
            return;
        }
        let state = self.state.clone();
        tokio::task::spawn_local(async move {
            loop {
                let next = state.borrow_mut().late.pop_front();
                let Some((worker, news)) = next else {
                    return;
                };
                let queue = state.borrow().queue(worker);
                if let Some(queue) = queue {
                    // A worker that has ended needs no news.
                    let _ = queue.send(news).await;
                }
            }
        });
    }
}

impl State {
    /// Adds a lease to the room, on the worker that is due. Returns that worker's index and the part's epoch.
    fn hold(&mut self, room: &str) -> Result<(usize, u64), PlaceError> {
        let part_max = self.part_max;
        let has_room = |part: &&mut Part| part_max == 0 || part.leases < part_max;
        let place = self.rooms.get_mut(room);
        let parts = place.map(|place| &mut place.parts);
        if let Some(parts) = parts {
            if let Some(part) = parts.iter_mut().find(has_room) {
                part.leases += 1;
                let held = (part.worker, part.epoch);
                self.count(held.0, 1, 0);
                return Ok(held);
            }
            // Every part is full: another one, or, if every worker has one, the smallest.
            let taken: Vec<usize> = parts.iter().map(|part| part.worker).collect();
            let Some(worker) = self.least_loaded(&taken) else {
                return self.hold_smallest(room);
            };
            return Ok(self.add_part(room, worker));
        }
        let worker = self.least_loaded(&[]).ok_or(PlaceError::NoWorker)?;
        Ok(self.add_part(room, worker))
    }

    /// Adds a lease to the room on this worker.
    fn hold_at(&mut self, room: &str, worker: usize) -> (usize, u64) {
        let place = self.rooms.get_mut(room);
        let mut parts = place.into_iter().flat_map(|place| &mut place.parts);
        let Some(part) = parts.find(|part| part.worker == worker) else {
            return self.add_part(room, worker);
        };
        part.leases += 1;
        let held = (worker, part.epoch);
        self.count(worker, 1, 0);
        held
    }

    fn keep(&mut self, kept: Kept) -> bool {
        let now = Instant::now();
        self.kept.retain(|known| known.until > now);
        let mut alive = self.workers.iter().filter(|load| load.alive);
        let there = alive.any(|load| load.id == kept.worker);
        if !there || self.kept.len() >= KEPT_MAX {
            return false;
        }
        self.kept.push(kept);
        true
    }

    /// The worker on which a place is kept for somebody; it is kept no longer.
    fn take_kept(&mut self, room: &str, comer: Comer<'_>) -> Option<usize> {
        if self.kept.is_empty() {
            return None;
        }
        let now = Instant::now();
        self.kept.retain(|known| known.until > now);
        let is_it = |kept: &Kept| {
            let named = comer.name.is_some() && comer.name == kept.name.as_deref();
            *kept.room == *room && (*kept.identity == *comer.identity || named)
        };
        let kept = self.kept.iter().position(is_it)?;
        let worker = self.kept.swap_remove(kept).worker;
        self.workers
            .iter()
            .position(|load| load.alive && load.id == worker)
    }

    fn hold_smallest(&mut self, room: &str) -> Result<(usize, u64), PlaceError> {
        let place = self.rooms.get_mut(room);
        let parts = place.into_iter().flat_map(|place| &mut place.parts);
        let part = parts.min_by_key(|part| part.leases);
        let part = part.ok_or(PlaceError::NoWorker)?;
        part.leases += 1;
        let held = (part.worker, part.epoch);
        self.count(held.0, 1, 0);
        Ok(held)
    }

    fn least_loaded(&self, but: &[usize]) -> Option<usize> {
        let all = self.workers.iter().enumerate();
        let (worker, _) = all
            .filter(|(index, load)| load.alive && !but.contains(index))
            .min_by_key(|(_, load)| (load.leases, load.rooms))?;
        Some(worker)
    }

    /// Gives a room a part with its first lease.
    fn add_part(&mut self, room: &str, worker: usize) -> (usize, u64) {
        let epoch = self.next_epoch;
        self.next_epoch += 1;
        self.count(worker, 1, 1);
        let place = self
            .rooms
            .entry(room.into())
            .or_insert(Place { parts: Vec::new() });
        place.parts.push(Part {
            worker,
            leases: 1,
            epoch,
        });
        if place.parts.len() > 1 {
            self.tell_parts(room);
        }
        (worker, epoch)
    }

    fn count(&mut self, worker: usize, leases: i32, rooms: i32) {
        if let Some(load) = self.workers.get_mut(worker) {
            load.leases = load.leases.saturating_add_signed(leases);
            load.rooms = load.rooms.saturating_add_signed(rooms);
        }
    }

    fn release(&mut self, room: &str, epoch: u64) {
        let Some(place) = self.rooms.get_mut(room) else {
            return;
        };
        let Some(index) = place.parts.iter().position(|part| part.epoch == epoch) else {
            return;
        };
        let Some(part) = place.parts.get_mut(index) else {
            return;
        };
        part.leases = part.leases.saturating_sub(1);
        let (worker, empty) = (part.worker, part.leases == 0);
        self.count(worker, -1, -i32::from(empty));
        if empty {
            self.drop_part(room, index);
        }
    }

    /// A part of a room is no more; its worker and the others are told, if there are others.
    fn drop_part(&mut self, room: &str, index: usize) {
        let Some(place) = self.rooms.get_mut(room) else {
            return;
        };
        let part = place.parts.remove(index);
        if place.parts.is_empty() {
            self.rooms.remove(room);
            return;
        }
        self.tell(part.worker, room, Vec::new());
        self.tell_parts(room);
    }

    /// Tells every worker with a part of a room which others have one.
    fn tell_parts(&mut self, room: &str) {
        let Some(place) = self.rooms.get(room) else {
            return;
        };
        let workers: Vec<usize> = place.parts.iter().map(|part| part.worker).collect();
        let id = |worker: &usize| self.workers.get(*worker).map(|load| load.id);
        let ids: Vec<WorkerId> = workers.iter().filter_map(id).collect();
        for worker in workers {
            let own = self.workers.get(worker).map(|load| load.id);
            let others = ids.iter().copied().filter(|id| Some(*id) != own);
            self.tell(worker, room, others.collect());
        }
    }

    fn tell(&mut self, worker: usize, room: &str, others: Vec<WorkerId>) {
        let news = ToWorker::Parts(room.into(), others);
        let Some(queue) = self.queue(worker) else {
            return;
        };
        // Nothing overtakes what is late.
        if !self.late.is_empty() {
            self.late.push_back((worker, news));
        } else if let Err(mpsc::error::TrySendError::Full(news)) = queue.try_send(news) {
            self.late.push_back((worker, news));
        }
    }

    fn queue(&self, worker: usize) -> Option<mpsc::Sender<ToWorker>> {
        self.workers.get(worker)?.queue.clone()
    }

    fn worker_ended(&mut self, worker: WorkerId) {
        let Some(index) = self.workers.iter().position(|w| w.id == worker) else {
            return;
        };
        let has = |place: &Place| place.parts.iter().position(|part| part.worker == index);
        let lost: Vec<(Rc<str>, usize)> = self
            .rooms
            .iter()
            .filter_map(|(room, place)| Some((room.clone(), has(place)?)))
            .collect();
        for (room, part) in lost {
            self.drop_part(&room, part);
        }
        if let Some(load) = self.workers.get_mut(index) {
            load.alive = false;
            load.leases = 0;
            load.rooms = 0;
        }
    }
}

impl Directory for MemoryDirectory {
    fn place<'a>(
        &'a self,
        room: &'a str,
        comer: Comer<'a>,
    ) -> LocalBoxFuture<'a, Result<Lease, PlaceError>> {
        Box::pin(async move { self.place_now(room, comer) })
    }

    fn keep(&self, room: &str, comer: Comer<'_>, worker: WorkerId, until: Instant) -> bool {
        self.state.borrow_mut().keep(Kept {
            room: room.into(),
            identity: comer.identity.into(),
            name: comer.name.map(Into::into),
            worker,
            until,
        })
    }

    fn worker_ended(&self, worker: WorkerId) {
        self.state.borrow_mut().worker_ended(worker);
        self.tell_late();
    }

    fn set_part_max(&self, part_max: u32) {
        self.state.borrow_mut().part_max = part_max;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(workers: u8) -> MemoryDirectory {
        MemoryDirectory::new((0..workers).map(|id| (WorkerId(id), None)), 0)
    }

    /// With queues of this length, and at most so many of a room on one worker.
    fn spanning(
        workers: u8,
        queue: usize,
        part_max: u32,
    ) -> (MemoryDirectory, Vec<mpsc::Receiver<ToWorker>>) {
        let (mut senders, mut receivers) = (Vec::new(), Vec::new());
        for id in 0..workers {
            let (sender, receiver) = mpsc::channel(queue);
            senders.push((WorkerId(id), Some(sender)));
            receivers.push(receiver);
        }
        (MemoryDirectory::new(senders, part_max), receivers)
    }

    /// What a worker was told, since the last time.
    fn told(queue: &mut mpsc::Receiver<ToWorker>) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Ok(news) = queue.try_recv() {
            match news {
                ToWorker::Parts(room, others) => {
                    assert_eq!(&*room, "big");
                    all.push(others.iter().map(|id| id.0).collect());
                }
                other => panic!("{other:?}"),
            }
        }
        all
    }

    #[test]
    fn a_room_that_outgrows_a_worker_goes_on_on_another() {
        let (directory, mut queues) = spanning(3, 64, 2);
        let place = || directory.place_now("big", who("somebody")).unwrap();
        let first = [place(), place()];
        assert!(queues.iter_mut().all(|queue| told(queue).is_empty()));
        let second = [place(), place()];
        let workers = [&first[0], &first[1], &second[0], &second[1]].map(worker);
        assert_eq!(workers, [0, 0, 1, 1]);
        assert_eq!(told(&mut queues[0]), [[1]]);
        assert_eq!(told(&mut queues[1]), [[0]]);
        // Others count where they are.
        let other = directory.place_now("small", who("somebody")).unwrap();
        assert_eq!(worker(&other), 2);
        let third = [place(), place()];
        assert_eq!(third.each_ref().map(worker), [2, 2]);
        assert_eq!(told(&mut queues[0]), [[1, 2]]);
        assert_eq!(told(&mut queues[2]), [[0, 1]]);
        // Everybody has one, and all are full: the smallest grows. A place that became free is taken first.
        let most = place();
        assert_eq!(worker(&most), 0);
        let [kept, left] = second;
        drop(left);
        let more = place();
        assert_eq!(worker(&more), 1);
        told(&mut queues[1]);
        drop((kept, more));
        assert_eq!(told(&mut queues[1]), [Vec::<u8>::new()], "it has no part");
        assert_eq!(told(&mut queues[0]), [[2]]);
        drop((first, most, third, other));
        assert_eq!(directory.rooms(), 0);
        let state = directory.state.borrow();
        assert!(state.workers.iter().all(|w| w.leases == 0 && w.rooms == 0));
    }

    #[test]
    fn a_place_is_kept_for_whoever_is_to_move_and_for_nobody_else() {
        let (directory, mut queues) = spanning(3, 64, 0);
        let first = directory.place_now("big", who("ada")).unwrap();
        let soon = Instant::now() + std::time::Duration::from_secs(60);
        assert!(
            !directory.keep("big", who("ada"), WorkerId(9), soon),
            "there is none"
        );
        assert!(directory.keep("big", who("ada"), WorkerId(2), soon));
        let other = directory.place_now("big", who("bob")).unwrap();
        let moved = directory.place_now("big", who("ada")).unwrap();
        assert_eq!([&first, &other, &moved].map(worker), [0, 0, 2]);
        assert_eq!(told(&mut queues[0]), [[2]]);
        assert_eq!(told(&mut queues[2]), [[0]]);
        let again = directory.place_now("big", who("ada")).unwrap();
        assert_eq!(worker(&again), 0, "once");
        // A guest is known again by name.
        let guest = |identity| Comer {
            identity,
            name: Some("Eve"),
        };
        assert!(directory.keep("big", guest("guest-1"), WorkerId(2), soon));
        let came = directory.place_now("big", guest("guest-2")).unwrap();
        assert_eq!(worker(&came), 2);
        // Too late, and on a worker that has died.
        assert!(directory.keep("big", who("ada"), WorkerId(2), Instant::now()));
        assert!(directory.keep("big", who("bob"), WorkerId(1), soon));
        directory.worker_ended(WorkerId(1));
        for comer in ["ada", "bob"] {
            assert_eq!(
                worker(&directory.place_now("big", who(comer)).unwrap()),
                0,
                "{comer}"
            );
        }
    }

    #[test]
    fn the_parts_on_a_dead_worker_are_no_more() {
        let (directory, mut queues) = spanning(2, 64, 1);
        let place = || directory.place_now("big", who("somebody")).unwrap();
        let (first, second) = (place(), place());
        told(&mut queues[1]);
        directory.worker_ended(WorkerId(0));
        assert_eq!(told(&mut queues[1]), [Vec::<u8>::new()]);
        drop(first);
        let third = place();
        assert_eq!([&second, &third].map(worker), [1, 1]);
        drop((second, third));
        assert_eq!(directory.rooms(), 0);
    }

    #[tokio::test]
    async fn what_finds_a_queue_full_is_told_later_in_order() {
        let local = tokio::task::LocalSet::new();
        let (directory, mut queues) = spanning(2, 1, 1);
        let run = async {
            let place = || directory.place_now("big", who("somebody")).unwrap();
            let (first, second) = (place(), place());
            drop(second);
            let again = place();
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            let mut all = Vec::new();
            for _ in 0..20 {
                all.extend(told(&mut queues[0]));
                tokio::task::yield_now().await;
            }
            assert_eq!(all, [vec![1], vec![], vec![1]]);
            drop((first, again));
        };
        local.run_until(run).await;
    }

    fn who(identity: &str) -> Comer<'_> {
        let name = None;
        Comer { identity, name }
    }

    fn worker(lease: &Lease) -> u8 {
        lease.worker().0
    }

    #[test]
    fn a_room_stays_where_it_is_while_anybody_is_in_it() {
        let directory = directory(3);
        let first = directory.place_now("a", who("somebody")).unwrap();
        for _ in 0..10 {
            let again = directory.place_now("a", who("somebody")).unwrap();
            assert_eq!(worker(&again), worker(&first));
        }
        assert_eq!(directory.rooms(), 1);
    }

    #[test]
    fn new_rooms_go_to_the_least_loaded_worker() {
        let directory = directory(2);
        let big: Vec<_> = (0..5)
            .map(|_| directory.place_now("big", who("somebody")).unwrap())
            .collect();
        let small: Vec<_> = (0..5)
            .map(|i| {
                directory
                    .place_now(&format!("small-{i}"), who("somebody"))
                    .unwrap()
            })
            .collect();
        assert!(small.iter().all(|l| worker(l) != worker(&big[0])));
    }

    #[test]
    fn an_empty_room_is_forgotten() {
        let directory = directory(2);
        let leases: Vec<_> = (0..3)
            .map(|_| directory.place_now("a", who("somebody")).unwrap())
            .collect();
        drop(leases);
        assert_eq!(directory.rooms(), 0);
        let state = directory.state.borrow();
        assert!(state.workers.iter().all(|w| w.leases == 0 && w.rooms == 0));
    }

    #[test]
    fn a_dead_worker_loses_its_rooms_and_gets_none() {
        let directory = directory(2);
        let before = directory.place_now("a", who("somebody")).unwrap();
        directory.worker_ended(before.worker());
        let after = directory.place_now("a", who("somebody")).unwrap();
        assert_ne!(worker(&before), worker(&after));
        drop(before);
        assert_eq!(
            directory.rooms(),
            1,
            "a stale lease must not free the new place"
        );
        directory.worker_ended(after.worker());
        assert_eq!(
            directory.place_now("b", who("somebody")).err(),
            Some(PlaceError::NoWorker)
        );
    }
}

//! Where rooms live.
//!
//! A room belongs to one worker. [`Directory::place`] finds that worker, or chooses the least loaded
//! one for a room nobody is in, and returns a [`Lease`]; the room keeps its worker while one lease on
//! it is alive. The memory directory below serves one process; a distributed one comes behind the
//! same trait.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use rillway_core::id::WorkerId;

/// Why a room has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PlaceError {
    /// Every media worker has ended.
    #[error("no media worker is running")]
    NoWorker,
}

/// Knows the worker of every room.
pub(crate) trait Directory {
    /// Finds or chooses the worker of `room`, and holds it there while the lease lives.
    ///
    /// # Errors
    /// [`PlaceError`].
    fn place<'a>(&'a self, room: &'a str) -> LocalBoxFuture<'a, Result<Lease, PlaceError>>;

    /// A worker has ended: its rooms are gone, and it gets no new ones.
    fn worker_ended(&self, worker: WorkerId);
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
#[derive(Clone)]
pub(crate) struct MemoryDirectory {
    state: Rc<RefCell<State>>,
}

struct State {
    rooms: HashMap<String, Place>,
    workers: Vec<WorkerLoad>,
    /// Grows with every place, so that a lease of a place that was lost with its worker does not
    /// release the place the room got afterwards.
    next_epoch: u64,
}

struct Place {
    worker: usize,
    leases: u32,
    epoch: u64,
}

#[derive(Clone, Copy)]
struct WorkerLoad {
    id: WorkerId,
    alive: bool,
    leases: u32,
    rooms: u32,
}

impl MemoryDirectory {
    /// An empty directory over these workers.
    pub(crate) fn new(workers: impl IntoIterator<Item = WorkerId>) -> Self {
        let workers = workers
            .into_iter()
            .map(|id| WorkerLoad {
                id,
                alive: true,
                leases: 0,
                rooms: 0,
            })
            .collect();
        MemoryDirectory {
            state: Rc::new(RefCell::new(State {
                rooms: HashMap::new(),
                workers,
                next_epoch: 0,
            })),
        }
    }

    #[cfg(test)]
    pub(crate) fn rooms(&self) -> usize {
        self.state.borrow().rooms.len()
    }

    fn place_now(&self, room: &str) -> Result<Lease, PlaceError> {
        let mut state = self.state.borrow_mut();
        let (worker, epoch) = state.hold(room)?;
        let id = state.workers.get(worker).map(|w| w.id);
        drop(state);
        let (directory, room) = (self.state.clone(), room.to_owned());
        Ok(Lease {
            worker: id.ok_or(PlaceError::NoWorker)?,
            release: Some(Box::new(move || {
                directory.borrow_mut().release(&room, epoch);
            })),
        })
    }
}

impl State {
    /// Adds a lease to the room, placing it first if need be. Returns worker index and epoch.
    fn hold(&mut self, room: &str) -> Result<(usize, u64), PlaceError> {
        if let Some(place) = self.rooms.get_mut(room) {
            place.leases += 1;
            if let Some(load) = self.workers.get_mut(place.worker) {
                load.leases += 1;
            }
            return Ok((place.worker, place.epoch));
        }
        let (worker, load) = self
            .workers
            .iter_mut()
            .enumerate()
            .filter(|(_, load)| load.alive)
            .min_by_key(|(_, load)| (load.leases, load.rooms))
            .ok_or(PlaceError::NoWorker)?;
        load.leases += 1;
        load.rooms += 1;
        let epoch = self.next_epoch;
        self.next_epoch += 1;
        let place = Place {
            worker,
            leases: 1,
            epoch,
        };
        self.rooms.insert(room.to_owned(), place);
        Ok((worker, epoch))
    }

    fn release(&mut self, room: &str, epoch: u64) {
        let Some(place) = self.rooms.get_mut(room).filter(|p| p.epoch == epoch) else {
            return;
        };
        place.leases = place.leases.saturating_sub(1);
        let (empty, worker) = (place.leases == 0, place.worker);
        if let Some(load) = self.workers.get_mut(worker) {
            load.leases = load.leases.saturating_sub(1);
            load.rooms = load.rooms.saturating_sub(u32::from(empty));
        }
        if empty {
            self.rooms.remove(room);
        }
    }
}

impl Directory for MemoryDirectory {
    fn place<'a>(&'a self, room: &'a str) -> LocalBoxFuture<'a, Result<Lease, PlaceError>> {
        Box::pin(async move { self.place_now(room) })
    }

    fn worker_ended(&self, worker: WorkerId) {
        let mut state = self.state.borrow_mut();
        let Some(index) = state.workers.iter().position(|w| w.id == worker) else {
            return;
        };
        state.rooms.retain(|_, place| place.worker != index);
        if let Some(load) = state.workers.get_mut(index) {
            load.alive = false;
            load.leases = 0;
            load.rooms = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(workers: u8) -> MemoryDirectory {
        MemoryDirectory::new((0..workers).map(WorkerId))
    }

    fn worker(lease: &Lease) -> u8 {
        lease.worker().0
    }

    #[test]
    fn a_room_stays_where_it_is_while_anybody_is_in_it() {
        let directory = directory(3);
        let first = directory.place_now("a").unwrap();
        for _ in 0..10 {
            let again = directory.place_now("a").unwrap();
            assert_eq!(worker(&again), worker(&first));
        }
        assert_eq!(directory.rooms(), 1);
    }

    #[test]
    fn new_rooms_go_to_the_least_loaded_worker() {
        let directory = directory(2);
        let big: Vec<_> = (0..5)
            .map(|_| directory.place_now("big").unwrap())
            .collect();
        let small: Vec<_> = (0..5)
            .map(|i| directory.place_now(&format!("small-{i}")).unwrap())
            .collect();
        assert!(small.iter().all(|l| worker(l) != worker(&big[0])));
    }

    #[test]
    fn an_empty_room_is_forgotten() {
        let directory = directory(2);
        let leases: Vec<_> = (0..3).map(|_| directory.place_now("a").unwrap()).collect();
        drop(leases);
        assert_eq!(directory.rooms(), 0);
        let state = directory.state.borrow();
        assert!(state.workers.iter().all(|w| w.leases == 0 && w.rooms == 0));
    }

    #[test]
    fn a_dead_worker_loses_its_rooms_and_gets_none() {
        let directory = directory(2);
        let before = directory.place_now("a").unwrap();
        directory.worker_ended(before.worker());
        let after = directory.place_now("a").unwrap();
        assert_ne!(worker(&before), worker(&after));
        drop(before);
        assert_eq!(
            directory.rooms(),
            1,
            "a stale lease must not free the new place"
        );
        directory.worker_ended(after.worker());
        assert_eq!(directory.place_now("b").err(), Some(PlaceError::NoWorker));
    }
}

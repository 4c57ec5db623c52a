//! Datagrams that the kernel gave to another worker than theirs, where all are behind one UDP port.
//!
//! From each worker to each other one there are three rings with one writer and one reader, without locks: bytes of
//! datagrams, what is known of each, and addresses that are claimed. What a turn hands over goes in as it is found, and
//! who sleeps is woken once, at the end of the turn. Nobody waits for room: what finds none is dropped and counted, as
//! by a full socket. Datagrams that only say whose they are find none sooner than those of proven clients, so that
//! strangers do not crowd out media.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use rillway_core::id::{SocketId, WorkerId};
use rillway_core::shard::{Claim, Elsewhere};
use rtrb::{Consumer, Producer, RingBuffer};

/// Bytes of datagrams that wait for one worker at most, if it has few neighbours: a quarter of a second of 100 Mb/s.
const BYTES: usize = 4 << 20;
/// The same from one worker, however many there are.
const RING_BYTES_MIN: usize = 32 << 10;
const RING_BYTES_MAX: usize = 1 << 20;
/// Bytes of a ring for one place in the ring of what is known: datagrams are 100 (sound, feedback) to 1,200 bytes long.
const BYTES_PER_PLACE: usize = 256;
/// Claims that wait for one worker at most: it hears of each again with the client's next check.
const CLAIMS: usize = 4_096;
const CLAIMS_MIN: usize = 16;
const CLAIMS_MAX: usize = 1_024;
/// Datagrams that one turn takes at most, from all others: half of what it takes from the kernel.
pub(super) const TAKEN_PER_TURN: usize = 128;

/// What was handed over, since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HandoverStats {
    /// Datagrams given to other workers.
    pub(crate) given: u64,
    /// Datagrams that other workers gave.
    pub(crate) taken: u64,
    /// Datagrams of others that found no room.
    pub(crate) dropped: u64,
}

/// A datagram but for its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Letter {
    /// Where it came in: workers behind one port number their sockets alike.
    pub(crate) socket: SocketId,
    /// Where it came from.
    pub(crate) source: SocketAddr,
    /// When the kernel got it, since 1970, where it says so.
    pub(crate) arrived: Option<Duration>,
}

/// A worker's ends of all its ways.
pub(crate) struct Handover {
    out: Vec<Out>,
    into: Vec<In>,
    /// Who would be taken from first this time.
    first: usize,
    bell: Arc<Bell>,
    /// Where a datagram is put together whose bytes lie on both ends of a ring.
    scratch: Vec<u8>,
    stats: HandoverStats,
}

/// How others call a worker.
#[derive(Default)]
struct Bell {
    waker: AtomicWaker,
    /// An address has been claimed.
    claimed: AtomicBool,
}

struct Out {
    to: WorkerId,
    letters: Producer<(Letter, usize)>,
    bytes: Producer<u8>,
    /// Free bytes below which what is not proven finds no room.
    reserve: usize,
    claims: Producer<Claim>,
    bell: Arc<Bell>,
    /// Something was put in since its reader was last woken.
    fresh: bool,
}

struct In {
    from: WorkerId,
    letters: Consumer<(Letter, usize)>,
    bytes: Consumer<u8>,
    claims: Consumer<Claim>,
}

/// Ways between all of these workers, for each its ends.
pub(crate) fn mesh(workers: &[WorkerId]) -> Vec<Handover> {
    let others = workers.len().saturating_sub(1).max(1);
    let bytes = (BYTES / others).clamp(RING_BYTES_MIN, RING_BYTES_MAX);
    let claims = (CLAIMS / others).clamp(CLAIMS_MIN, CLAIMS_MAX);
    let mut all: Vec<Handover> = workers.iter().map(|_| Handover::none()).collect();
    for (from, of) in workers.iter().enumerate() {
        for (to, by) in workers.iter().enumerate() {
            if from == to {
                continue;
            }
            let (letters, read_letters) = RingBuffer::new(bytes / BYTES_PER_PLACE);
            let (ring, read_bytes) = RingBuffer::new(bytes);
            let (claimed, read_claims) = RingBuffer::new(claims);
            let bell = all.get_mut(to).map(|handover| {
                handover.into.push(In {
                    from: *of,
                    letters: read_letters,
                    bytes: read_bytes,
                    claims: read_claims,
                });
                handover.bell.clone()
            });
            if let (Some(handover), Some(bell)) = (all.get_mut(from), bell) {
                handover.out.push(Out {
                    to: *by,
                    letters,
                    bytes: ring,
                    reserve: bytes / 2,
                    claims: claimed,
                    bell,
                    fresh: false,
                });
            }
        }
    }
    all
}

impl Handover {
    /// Of a worker that has its port for itself.
    pub(crate) fn none() -> Self {
        Handover {
            out: Vec::new(),
            into: Vec::new(),
            first: 0,
            bell: Arc::default(),
            scratch: Vec::new(),
            stats: HandoverStats::default(),
        }
    }

    /// The other workers behind the port; none: it is not shared.
    pub(crate) fn others(&self) -> Vec<WorkerId> {
        self.out.iter().map(|out| out.to).collect()
    }

    /// Gives a datagram to its worker, or to all if any may know it, where there is room.
    pub(crate) fn give(&mut self, whose: Elsewhere, letter: Letter, contents: &[u8]) {
        let due = |out: &&mut Out| whose.worker.is_none_or(|worker| out.to == worker);
        for out in self.out.iter_mut().filter(due) {
            match out.put(whose.proven, letter, contents) {
                true => self.stats.given += 1,
                false => self.stats.dropped += 1,
            }
        }
    }

    /// Tells others which addresses are ours. To be called before answers leave: what comes in return finds its way.
    pub(crate) fn claim(&mut self, claims: impl Iterator<Item = (WorkerId, Claim)>) {
        for (to, claim) in claims {
            if let Some(out) = self.out.iter_mut().find(|out| out.to == to)
                && out.claims.push(claim).is_ok()
            {
                out.bell.claimed.store(true, Ordering::Release);
            }
        }
    }

    /// Takes what others claim, if there is anything: cheap enough to ask before every message.
    pub(crate) fn take_claims(&mut self, mut each: impl FnMut(WorkerId, Claim)) {
        let claimed = &self.bell.claimed;
        if !claimed.load(Ordering::Relaxed) || !claimed.swap(false, Ordering::Acquire) {
            return;
        }
        for into in &mut self.into {
            while let Ok(claim) = into.claims.pop() {
                each(into.from, claim);
            }
        }
    }

    /// Wakes those that were given something.
    pub(crate) fn wake(&mut self) {
        for out in &mut self.out {
            if std::mem::take(&mut out.fresh) {
                out.bell.waker.wake();
            }
        }
    }

    /// Takes what has come, up to a bound; returns how many datagrams, and whether there is more.
    pub(crate) fn take(&mut self, mut each: impl FnMut(WorkerId, Letter, &[u8])) -> (usize, bool) {
        let count = self.into.len();
        let mut taken = 0;
        for step in 0..count {
            // In turn, so that a busy one cannot starve the others.
            let Some(into) = self.into.get_mut((self.first + step) % count) else {
                break;
            };
            while taken < TAKEN_PER_TURN && into.take(&mut self.scratch, &mut each) {
                taken += 1;
            }
        }
        self.first = (self.first + 1) % count.max(1);
        self.stats.taken += taken as u64;
        (taken, taken == TAKEN_PER_TURN && self.has_come())
    }

    /// Whether something has come; if not, the task is woken when something does.
    pub(crate) fn poll_ready(&self, context: &Context<'_>) -> bool {
        if self.into.is_empty() {
            return false;
        }
        self.bell.waker.register(context.waker());
        self.has_come()
    }

    fn has_come(&self) -> bool {
        self.into.iter().any(|into| !into.letters.is_empty())
    }

    /// Counters since start.
    pub(crate) fn stats(&self) -> HandoverStats {
        self.stats
    }
}

impl Out {
    fn put(&mut self, proven: bool, letter: Letter, contents: &[u8]) -> bool {
        let reserve = if proven { 0 } else { self.reserve };
        let room = self.bytes.slots() >= contents.len() + reserve;
        if !room || self.letters.is_full() || self.letters.is_abandoned() {
            return false;
        }
        let Ok(mut chunk) = self.bytes.write_chunk(contents.len()) else {
            return false;
        };
        let (first, second) = chunk.as_mut_slices();
        let (head, tail) = contents.split_at(first.len());
        first.copy_from_slice(head);
        second.copy_from_slice(tail);
        // The bytes before the letter: who sees it finds them.
        chunk.commit_all();
        self.fresh = true;
        self.letters.push((letter, contents.len())).is_ok()
    }
}

impl In {
    /// One datagram; false: there is none.
    fn take(
        &mut self,
        scratch: &mut Vec<u8>,
        each: &mut impl FnMut(WorkerId, Letter, &[u8]),
    ) -> bool {
        let Ok((letter, length)) = self.letters.pop() else {
            return false;
        };
        let Ok(chunk) = self.bytes.read_chunk(length) else {
            return false;
        };
        match chunk.as_slices() {
            (all, []) => each(self.from, letter, all),
            (first, second) => {
                scratch.clear();
                scratch.extend_from_slice(first);
                scratch.extend_from_slice(second);
                each(self.from, letter, scratch);
            }
        }
        chunk.commit_all();
        true
    }
}

#[cfg(test)]
mod tests;

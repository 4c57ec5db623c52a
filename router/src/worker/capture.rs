//! Captures of tracks: the way of their packets to the management channel.
//!
//! As the way to the recorder: a wait-free queue, bounded, that loses packets when it is full, and counts them. It
//! wakes nobody. Without a capture none of it is touched.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use rillway_core::Shard;
use rillway_core::api::RequestError;
use rillway_core::id::TrackId;
use rillway_recorder::api::Packet;
use rtrb::{Consumer, Producer, RingBuffer};
use tokio::sync::oneshot;

use crate::recorder;

/// A packet on its way.
#[derive(Debug)]
pub(crate) struct Captured {
    /// It.
    pub(crate) packet: Packet,
    /// Packets that were dropped just before it.
    pub(crate) lost: u64,
}

/// The worker's end.
#[derive(Debug)]
pub(crate) struct Sink {
    ring: Producer<Captured>,
    /// Dropped so far.
    lost: Arc<AtomicU64>,
    /// Dropped since the last packet that was not.
    lost_before: u64,
}

/// The other end. Dropping it ends the capture.
#[derive(Debug)]
pub(crate) struct Tail {
    ring: Consumer<Captured>,
    lost: Arc<AtomicU64>,
}

/// A queue of `packets`.
pub(crate) fn queue(packets: usize) -> (Sink, Tail) {
    let (producer, consumer) = RingBuffer::new(packets);
    let lost = Arc::new(AtomicU64::new(0));
    let sink = Sink {
        ring: producer,
        lost: lost.clone(),
        lost_before: 0,
    };
    let tail = Tail {
        ring: consumer,
        lost,
    };
    (sink, tail)
}

impl Sink {
    /// Never waits, allocates, or calls the system.
    fn push(&mut self, packet: Packet) {
        let lost = self.lost_before;
        match self.ring.push(Captured { packet, lost }) {
            Ok(()) => self.lost_before = 0,
            Err(_) => {
                self.lost_before += 1;
                self.lost.fetch_add(1, Relaxed);
            }
        }
    }
}

impl Tail {
    /// The next packet, if one waits.
    pub(crate) fn pop(&mut self) -> Option<Captured> {
        self.ring.pop().ok()
    }

    /// Packets that were dropped because this end was too slow.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// The track is captured no more, and all that was captured of it has been taken.
    pub(crate) fn is_over(&self) -> bool {
        // In this order: what was pushed before the end is seen.
        self.ring.is_abandoned() && self.ring.is_empty()
    }
}

/// An operator wants a track's packets.
#[derive(Debug)]
pub(crate) struct Capture {
    /// Which.
    pub(crate) track: TrackId,
    /// Where they go.
    pub(crate) sink: Sink,
    /// Whether it is video, or why not.
    pub(crate) answer: oneshot::Sender<Result<bool, RequestError>>,
}

/// The captures of a worker.
#[derive(Debug, Default)]
pub(super) struct Captures {
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    track: TrackId,
    sink: Sink,
    /// Its first keyframe is still to come.
    waits: bool,
}

impl Captures {
    /// Begins one.
    pub(super) fn begin(&mut self, shard: &mut Shard, now: Instant, capture: Capture) {
        let Capture {
            track,
            sink,
            answer,
        } = capture;
        let begun = shard.begin_capture(now, track);
        if let Ok(video) = begun {
            let waits = video;
            self.running.push(Running { track, sink, waits });
        }
        // If the asker has gone, its end of the queue has, too.
        let _ = answer.send(begun);
    }

    /// Hands on what a turn has captured, and ends what nobody takes.
    pub(super) fn turn(&mut self, shard: &mut Shard) {
        if self.running.is_empty() {
            return;
        }
        for packet in shard.drain_captured() {
            let (track, packet) = (packet.track, recorder::packet(packet).1);
            let mut running = self.running.iter_mut();
            if let Some(capture) = running.find(|one| one.track == track) {
                capture.waits = false;
                capture.sink.push(packet);
            }
        }
        self.running.retain(|one| {
            let wanted = !one.sink.ring.is_abandoned();
            if !wanted {
                shard.end_capture(one.track);
            }
            wanted
        });
    }

    /// Once a second: ends those whose track has ended, asks again for keyframes that do not come.
    pub(super) fn tidy(&mut self, shard: &mut Shard, now: Instant) {
        self.running.retain(|one| {
            let there = shard.is_captured(one.track);
            if there && one.waits {
                shard.ask_for_capture(now, one.track);
            }
            there
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rillway_recorder::api::Codec;

    use super::*;

    fn packet(sequence: u64) -> Packet {
        let now = Instant::now();
        Packet {
            sequence,
            timestamp: 0,
            clock_rate: 48_000,
            captured: now,
            arrived: now + Duration::from_millis(sequence),
            marker: false,
            payload_type: 111,
            codec: Codec::Opus,
            keyframe: false,
            switched: false,
            payload: [1, 2, 3].into(),
        }
    }

    #[test]
    fn a_reader_that_is_too_slow_loses_packets_and_is_told_where_and_how_many() {
        let (mut sink, mut tail) = queue(4);
        for sequence in 0..10 {
            sink.push(packet(sequence));
        }
        assert_eq!(tail.lost(), 6);
        let taken: Vec<_> = std::iter::from_fn(|| tail.pop()).collect();
        let numbers: Vec<_> = taken.iter().map(|c| (c.packet.sequence, c.lost)).collect();
        assert_eq!(numbers, [(0, 0), (1, 0), (2, 0), (3, 0)]);
        sink.push(packet(10));
        let next = tail.pop().expect("there is room again");
        assert_eq!((next.packet.sequence, next.lost), (10, 6));
        sink.push(packet(11));
        assert!(!tail.is_over());
        drop(sink);
        assert!(!tail.is_over(), "one packet is left");
        assert_eq!(tail.pop().map(|c| c.lost), Some(0));
        assert!(tail.is_over());
    }
}

//! What one connection has still to be sent: whole frames (RFC 4571), within bounds.
//!
//! A stream cannot lose what it has begun to send, so what is too much must not be queued. Pictures are
//! refused first, and whole: whether a frame of video is taken is decided at its first packet, by what
//! waits then; the rest of it follows its fate. Sound, RTCP, STUN and DTLS have room beyond that.

use std::collections::VecDeque;
use std::io::IoSlice;

use super::assembler::LENGTH_BYTES;

/// A frame of video begins only while less than this waits, bytes: half a second of 2 Mb/s.
pub(super) const PICTURES_BYTES_MAX: usize = 128 * 1024;
/// A frame of video that has begun goes on up to here, bytes: a keyframe of 1080p.
pub(super) const FRAME_ROOM_BYTES_MAX: usize = 384 * 1024;
/// Nothing is taken beyond this, bytes.
pub(super) const QUEUE_BYTES_MAX: usize = 512 * 1024;
/// Memory an empty queue may keep.
const QUEUE_BYTES_KEPT: usize = 16 * 1024;
/// Streams of one connection whose last frame is remembered; beyond that, a frame may be cut.
const STREAMS_REMEMBERED: usize = 16;

/// The last frame of a stream of RTP.
#[derive(Debug, Clone, Copy, Default)]
struct Frame {
    ssrc: u32,
    timestamp: u32,
    taken: bool,
}

/// Frames waiting to be written.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    queue: VecDeque<u8>,
    frames: [Option<Frame>; STREAMS_REMEMBERED],
    /// Where the next stream is remembered.
    next: usize,
}

impl Backlog {
    /// Queues a packet; false: it was dropped. `dispensable`: a packet of video.
    pub(super) fn push(&mut self, packet: &[u8], dispensable: bool) -> bool {
        let after = self.queue.len() + LENGTH_BYTES + packet.len();
        let Ok(length) = u16::try_from(packet.len()) else {
            return false;
        };
        let taken = match dispensable {
            true => self.takes_picture(packet, after),
            false => after <= QUEUE_BYTES_MAX,
        };
        if taken {
            self.queue.extend(length.to_be_bytes());
            self.queue.extend(packet);
        }
        taken
    }

    fn takes_picture(&mut self, packet: &[u8], after: usize) -> bool {
        let begins = after <= PICTURES_BYTES_MAX;
        let goes_on = after <= FRAME_ROOM_BYTES_MAX;
        // RTP's timestamp and SSRC are in the clear (RFC 3711 §3.1).
        let Some(&[_, _, _, _, t0, t1, t2, t3, s0, s1, s2, s3]) = packet.first_chunk() else {
            return begins;
        };
        let ssrc = u32::from_be_bytes([s0, s1, s2, s3]);
        let timestamp = u32::from_be_bytes([t0, t1, t2, t3]);
        let known = self.frames.iter_mut().flatten().find(|f| f.ssrc == ssrc);
        match known {
            Some(frame) if frame.timestamp == timestamp => {
                frame.taken &= goes_on;
                frame.taken
            }
            Some(frame) => {
                frame.timestamp = timestamp;
                frame.taken = begins;
                begins
            }
            None => {
                if let Some(place) = self.frames.get_mut(self.next) {
                    *place = Some(Frame {
                        ssrc,
                        timestamp,
                        taken: begins,
                    });
                }
                self.next = (self.next + 1) % STREAMS_REMEMBERED;
                begins
            }
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// What waits, for one vectored write.
    pub(super) fn slices(&self) -> [IoSlice<'_>; 2] {
        let (first, second) = self.queue.as_slices();
        [IoSlice::new(first), IoSlice::new(second)]
    }

    /// So much has been written.
    pub(super) fn written(&mut self, bytes: usize) {
        self.queue.drain(..bytes.min(self.queue.len()));
    }

    /// Gives memory back that a burst took.
    pub(super) fn trim(&mut self) {
        if self.queue.is_empty() && self.queue.capacity() > QUEUE_BYTES_KEPT {
            self.queue.shrink_to(QUEUE_BYTES_KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(ssrc: u32, timestamp: u32, bytes: usize) -> Vec<u8> {
        let mut packet = vec![0x80, 96, 0, 0];
        packet.extend(timestamp.to_be_bytes());
        packet.extend(ssrc.to_be_bytes());
        packet.resize(bytes, 7);
        packet
    }

    /// Timestamps of the packets waiting.
    fn queued(backlog: &Backlog) -> Vec<u32> {
        let bytes: Vec<u8> = backlog.queue.iter().copied().collect();
        let mut rest = &bytes[..];
        let mut found = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let (packet, after) = after.split_at(usize::from(u16::from_be_bytes(*length)));
            found.push(u32::from_be_bytes(packet[4..8].try_into().unwrap()));
            rest = after;
        }
        found
    }

    #[test]
    fn frames_of_video_are_taken_or_dropped_whole() {
        let mut backlog = Backlog::default();
        let mut taken = Vec::new();
        for timestamp in 0..40 {
            let all: Vec<bool> = (0..12)
                .map(|_| backlog.push(&packet(1, timestamp, 1_200), true))
                .collect();
            assert!(all.iter().all(|one| *one == all[0]), "frame {timestamp}");
            taken.push(all[0]);
        }
        assert_eq!(taken.iter().filter(|t| **t).count(), 10, "within 128 KiB");
        assert!(taken[..10].iter().all(|t| *t));
        // There is room again: the next frame is taken, the one dropped does not come back.
        backlog.written(100_000);
        assert!(!backlog.push(&packet(1, 39, 1_200), true));
        assert!(backlog.push(&packet(1, 40, 1_200), true));
        // A stream of its own is judged by itself.
        assert!(backlog.push(&packet(2, 39, 1_200), true));
    }

    #[test]
    fn sound_and_control_have_room_where_pictures_have_none() {
        let mut backlog = Backlog::default();
        let mut frame = 0;
        while backlog.push(&packet(1, frame, 1_200), true) {
            frame += 1;
        }
        assert!(backlog.queue.len() <= PICTURES_BYTES_MAX);
        let mut sound = 0;
        while backlog.push(&packet(9, sound, 160), false) {
            sound += 1;
        }
        assert!(sound > 2_000, "{sound}");
        assert!(backlog.queue.len() <= QUEUE_BYTES_MAX);
    }

    #[test]
    fn a_frame_without_end_is_cut_at_a_bound() {
        let mut backlog = Backlog::default();
        let mut pushed = 0;
        while backlog.push(&packet(1, 5, 1_200), true) {
            pushed += 1;
        }
        assert!(pushed > 300);
        assert!(backlog.queue.len() <= FRAME_ROOM_BYTES_MAX);
        backlog.written(FRAME_ROOM_BYTES_MAX);
        assert!(!backlog.push(&packet(1, 5, 1_200), true), "it stays cut");
        assert!(backlog.push(&packet(1, 6, 1_200), true));
    }

    #[test]
    fn partial_writes_keep_the_order_and_memory_is_given_back() {
        let mut backlog = Backlog::default();
        for timestamp in 0..100 {
            assert!(backlog.push(&packet(1, timestamp, 500), false));
        }
        let mut out: Vec<u8> = Vec::new();
        while !backlog.is_empty() {
            let [first, second] = backlog.slices();
            let mut whole = first.to_vec();
            whole.extend(second.iter());
            let part = whole.len().min(777);
            out.extend(&whole[..part]);
            backlog.written(part);
        }
        let mut again = Backlog::default();
        again.queue.extend(out);
        assert_eq!(queued(&again), (0..100).collect::<Vec<_>>());
        backlog.trim();
        assert!(backlog.queue.capacity() <= 2 * QUEUE_BYTES_KEPT);
    }
}

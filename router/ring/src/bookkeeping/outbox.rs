//! What waits for the next flush: payloads one behind the other in an arena, and one letter per
//! message. No allocation after [`Outbox::new`], and neither arena nor letters ever move.

use super::address::RawAddress;
use super::control::SegmentControl;
use crate::driver::{SendError, SendRun, SocketId};

/// Most datagrams in one kernel message: `UDP_MAX_SEGMENTS` was 64 before Linux 6.9.
pub(crate) const SEGMENTS_MAX: usize = 64;
/// Most payload bytes in one kernel message, and in one datagram: 65,535 less IPv4 and UDP headers.
pub const MESSAGE_BYTES_MAX: usize = 65_507;

/// One kernel message: one datagram, or several by segmentation.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    /// Socket to send from.
    pub(crate) socket: SocketId,
    /// Receiver.
    pub(crate) destination: RawAddress,
    /// Segment size, where there are several datagrams.
    pub(crate) segment_bytes: Option<usize>,
    /// The same as a control message.
    pub(crate) control: Option<SegmentControl>,
    /// Where the payload starts in the arena.
    pub(crate) offset: usize,
    /// Payload bytes.
    pub(crate) bytes: usize,
    /// Datagrams in it.
    pub(crate) datagrams: usize,
}

/// Send slots of a driver.
#[derive(Debug)]
pub(crate) struct Outbox {
    arena: Box<[u8]>,
    used: usize,
    letters: Vec<Letter>,
    slots: usize,
}

impl Outbox {
    /// `slots` messages of together at most `arena_bytes`.
    pub(crate) fn new(slots: usize, arena_bytes: usize) -> Self {
        Self {
            arena: vec![0; arena_bytes].into(),
            used: 0,
            letters: Vec::with_capacity(slots),
            slots,
        }
    }

    /// Copies a run in; cut into several messages where it is longer than the kernel takes, or into
    /// single datagrams where `segmentation` is not to be had. Returns the number of datagrams.
    pub(crate) fn push(
        &mut self,
        run: SendRun<'_>,
        segmentation: bool,
    ) -> Result<usize, SendError> {
        let total = run.payload.len();
        if total == 0 || run.segment_bytes == 0 || run.segment_bytes.min(total) > MESSAGE_BYTES_MAX
        {
            return Err(SendError::Invalid);
        }
        let segment = run.segment_bytes.min(total);
        let per_message = match segmentation {
            true => segment * (MESSAGE_BYTES_MAX / segment).min(SEGMENTS_MAX),
            false => segment,
        };
        let messages = total.div_ceil(per_message);
        if messages > self.slots || total > self.arena.len() {
            return Err(SendError::Invalid);
        }
        let start = self.used;
        if self.letters.len() + messages > self.slots || start + total > self.arena.len() {
            return Err(SendError::Full);
        }
        self.arena[start..start + total].copy_from_slice(run.payload);
        self.used += total;
        let destination = RawAddress::from(run.destination);
        for (index, part) in run.payload.chunks(per_message).enumerate() {
            let datagrams = part.len().div_ceil(segment);
            self.letters.push(Letter {
                socket: run.socket,
                destination,
                segment_bytes: (datagrams > 1).then_some(segment),
                // At most 65,507, so it fits; checked above.
                control: (datagrams > 1).then(|| SegmentControl::new(segment as u16)),
                offset: start + index * per_message,
                bytes: part.len(),
                datagrams,
            });
        }
        Ok(total.div_ceil(segment))
    }

    /// Messages waiting, oldest first.
    pub(crate) fn letters(&self) -> &[Letter] {
        &self.letters
    }

    /// Start of the payload arena.
    pub(crate) fn arena(&self) -> &[u8] {
        &self.arena
    }

    /// Forgets everything: the kernel has copied it.
    pub(crate) fn clear(&mut self) {
        self.letters.clear();
        self.used = 0;
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }
}

//! The way out of a forwarded packet.
//!
//! RTP and RTCP toward subscribers are ours; the engine has their SDP, ICE, DTLS and data channels. What a
//! turn forwards is queued with the receiver's [`sender::Sender`] as a [`Departure`]: a few words that say
//! which packet leaves as what. At the turn's end each receiver's queue is written at once, packet behind
//! packet: the header with the receiver's numbers ([`stream`], [`extensions`]), the payload with its
//! picture ids, sealed in place ([`srtp`]), in slots that the next receiver uses again ([`train`]). So the
//! payload is copied once for each receiver, its key is fetched once for each turn, and the driver gets
//! whole runs.
//!
//! Nothing here allocates, locks or hashes for each packet. Receivers' reports and requests come in through
//! [`rtcp`]; what they miss is sent again from the layer's one [`history`]. From when packets arrive
//! [`congestion`] tells what the path carries, and where that is little the [`pacer`] spreads bursts.

pub(crate) mod clock;
pub(crate) mod congestion;
mod departing;
pub(crate) mod extensions;
pub(crate) mod history;
mod pacer;
pub(crate) mod rtcp;
pub(crate) mod sender;
pub(crate) mod sent;
pub(crate) mod srtp;
pub(crate) mod stream;
pub(crate) mod train;
pub(crate) mod window;

use std::sync::Arc;
use std::time::{Duration, Instant};

use clock::Clock;
use extensions::Passed;
use history::Packet;
use sender::{Desk, Sender, Written};
use sent::{Origin, Variation};
use train::{Route, Train};

use crate::shard::Transmit;

/// A packet on its way to one subscriber.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Departure {
    /// Which of the turn's packets.
    pub(crate) packet: u32,
    /// Which of the transport's streams.
    pub(crate) stream: u16,
    /// A retransmission.
    pub(crate) again: bool,
    /// It may wait until the path has room. Sound never does.
    pub(crate) waits: bool,
    /// Extended sequence number in the stream.
    pub(crate) sequence: u64,
    pub(crate) origin: Origin,
    pub(crate) variation: Variation,
}

impl Departure {
    fn timestamp(&self, packet: &Packet) -> u32 {
        packet.timestamp.wrapping_add(self.origin.shift.timestamp)
    }
}

/// What all subscribing transports of a shard write with.
pub(crate) struct Egress {
    pub(crate) clock: Clock,
    packets: Vec<Packet>,
    nothing: Arc<[u8]>,
    train: Train,
}

impl Egress {
    /// `unix`: the wall clock at `now`, since 1970.
    pub(crate) fn new(now: Instant, unix: Duration) -> Self {
        Egress {
            clock: Clock::new(now, unix),
            packets: Vec::new(),
            nothing: Arc::new([]),
            train: Train::new(),
        }
    }

    /// Keeps a packet until the end of the turn; its number.
    pub(crate) fn admit(&mut self, packet: Packet) -> u32 {
        self.packets.push(packet);
        (self.packets.len() - 1) as u32
    }

    /// The same for the number of a packet alone ([`Variation::hollow`]): padding without content.
    pub(crate) fn admit_hollow(&mut self, packet: &Packet) -> u32 {
        let hollow = Packet {
            payload: Arc::clone(&self.nothing),
            extensions: Passed::default(),
            dependency: None,
            descriptor: None,
            marker: false,
            ..packet.clone()
        };
        self.admit(hollow)
    }

    /// Admits the number of a packet of this turn alone.
    pub(crate) fn admit_hollow_of(&mut self, packet: u32) -> Option<u32> {
        let packet = self.packets.get(packet as usize)?.clone();
        Some(self.admit_hollow(&packet))
    }

    /// Writes what the turn queued for one receiver.
    pub(crate) fn flush(
        &mut self,
        now: Instant,
        sender: &mut Sender,
        route: Option<Route>,
        out: &mut dyn Transmit,
    ) -> Written {
        let mut desk = Desk {
            clock: &self.clock,
            packets: &self.packets,
            train: &mut self.train,
            out,
        };
        sender.flush(now, route, &mut desk)
    }

    /// Writing failed in the middle: nothing of that receiver's is left for the next.
    pub(crate) fn abandon(&mut self) {
        self.train.abandon();
    }

    /// The turn has ended.
    pub(crate) fn clear(&mut self) {
        self.packets.clear();
        self.packets.shrink_to(PACKETS_KEPT);
    }
}

/// Places for packets kept between turns.
const PACKETS_KEPT: usize = 512;

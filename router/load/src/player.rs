//! What a player does with media: opens it, counts it, measures how long it took, and reports on it.
//!
//! The engine (str0m) has the connection and no keys: a packet costs here what its decryption costs, and little more.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::dtls::Exported;
use crate::marker::{Marker, Medium, Seen, StreamId};
use crate::rtcp::{self, Arrivals, Block};
use crate::rtp::{self, Header, Negotiated};
use crate::srtp::Srtp;
use crate::tally::Tally;

/// Time between two transport-wide feedbacks.
const FEEDBACK_EVERY: Duration = Duration::from_millis(100);
/// Feedbacks from one receiver report to the next.
const REPORT_EVERY: u32 = 10;
/// Streams of one player at most, whoever sends them.
const STREAMS_MAX: usize = 4_096;
/// A payload and its tag.
const SCRATCH_BYTES: usize = 2_048;

type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// Numbers of a stream by its RTP headers.
#[derive(Debug, Clone, Default)]
struct Numbers {
    first: u64,
    highest: u64,
    unique: u64,
    seen: Seen,
}

impl Numbers {
    fn add(&mut self, sequence: u64) {
        if self.unique == 0 {
            self.first = sequence;
            self.highest = sequence;
        }
        if sequence >= self.first && self.seen.insert(sequence) {
            self.highest = self.highest.max(sequence);
            self.unique += 1;
        }
    }

    fn missing(&self) -> u64 {
        match self.unique {
            0 => 0,
            unique => (self.highest - self.first + 1).saturating_sub(unique),
        }
    }
}

/// One SSRC.
struct Incoming {
    /// Extended sequence number, the highest that was genuine.
    highest: u64,
    genuine: bool,
    retransmission: bool,
    video: bool,
    /// All of them, for reports.
    all: Numbers,
    /// Those that came while it was measured.
    measured: Numbers,
    /// As of the last report.
    reported: (u64, u64),
    last_report: Option<(u32, Instant)>,
    /// Where the stream of its last marker is.
    place: Option<(StreamId, usize)>,
}

/// One stream by its markers.
struct Heard {
    stream: StreamId,
    seen: Seen,
    /// In the window, each counted once.
    delivered: u64,
    /// The frame that is being received until the first is whole: number of its first packet, and packets so far.
    frame: (u32, u16),
}

/// What came of a stream while it was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) stream: StreamId,
    pub(crate) packets: u64,
}

/// The receiving side of a connection.
pub(crate) struct Player {
    pub(crate) negotiated: Negotiated,
    srtp: Option<Srtp>,
    incoming: Map<u32, Incoming>,
    heard: Vec<Heard>,
    places: Map<StreamId, usize>,
    arrivals: Arrivals,
    scratch: Vec<u8>,
    feedbacks: u32,
    pub(crate) next_feedback: Instant,
    /// When the first picture was whole; without pictures, when the first packet came.
    pub(crate) first_frame: Option<Instant>,
    wants_video: bool,
}

impl Player {
    pub(crate) fn new(now: Instant, wants_video: bool) -> Self {
        Player {
            negotiated: Negotiated::default(),
            srtp: None,
            incoming: Map::default(),
            heard: Vec::new(),
            places: Map::default(),
            arrivals: Arrivals::default(),
            scratch: vec![0; SCRATCH_BYTES],
            feedbacks: 0,
            next_feedback: now + FEEDBACK_EVERY,
            first_frame: None,
            wants_video,
        }
    }

    /// Takes what the handshake left.
    pub(crate) fn secure(&mut self, exported: &Exported) -> bool {
        self.srtp = Srtp::new(exported);
        self.srtp.is_some()
    }

    /// What media is encrypted by.
    pub(crate) fn profile(&self) -> Option<String> {
        let srtp = self.srtp.as_ref()?;
        Some(srtp.profile().to_string())
    }

    /// Takes a datagram that is RTP or RTCP (RFC 7983).
    pub(crate) fn take(&mut self, now: Instant, at_ns: u64, packet: &[u8], tally: &mut Tally) {
        // RFC 5761 §4.
        if packet.get(1).is_some_and(|kind| (192..224).contains(kind)) {
            self.take_rtcp(now, packet);
        } else if self.take_rtp(now, at_ns, packet, tally).is_none() {
            tally.strange += 1;
        }
    }

    fn take_rtp(
        &mut self,
        now: Instant,
        at_ns: u64,
        packet: &[u8],
        tally: &mut Tally,
    ) -> Option<()> {
        let srtp = self.srtp.as_mut()?;
        let header = Header::read(packet, self.negotiated.transport)?;
        if self.incoming.len() >= STREAMS_MAX {
            return None;
        }
        let retransmissions = &self.negotiated.retransmissions;
        let incoming = self
            .incoming
            .entry(header.ssrc)
            .or_insert_with(|| Incoming::new(retransmissions.contains(&header.payload_type)));
        // The first may have any number, and no rollover (RFC 3711 §3.3.1).
        let index = match incoming.genuine {
            true => rtp::extend(incoming.highest, header.sequence),
            false => header.sequence.into(),
        };
        let opened = srtp.open_rtp(packet, header.bytes, header.ssrc, index, &mut self.scratch)?;
        incoming.highest = match incoming.genuine {
            true => incoming.highest.max(index),
            false => index,
        };
        incoming.genuine = true;
        incoming.all.add(index);
        let measured = tally.window.holds(at_ns);
        if measured {
            incoming.measured.add(index);
        }
        if let Some(sequence) = header.transport_sequence {
            self.arrivals.add(sequence, at_ns / 1_000);
        }
        tally.packets += 1;
        tally.bytes += packet.len() as u64;
        let payload = self.scratch.get(..opened)?;
        let payload = rtp::without_padding(payload, header.padded);
        if let Some(marker) = Marker::read(payload) {
            self.take_marker(now, at_ns, header.ssrc, &marker, tally);
        } else {
            // Padding and probes carry none.
            tally.unmarked += 1;
        }
        Some(())
    }

    fn take_marker(
        &mut self,
        now: Instant,
        at_ns: u64,
        ssrc: u32,
        marker: &Marker,
        tally: &mut Tally,
    ) {
        if marker.run != tally.run {
            tally.foreign += 1;
            return;
        }
        let Some(incoming) = self.incoming.get_mut(&ssrc) else {
            return;
        };
        let place = match incoming.place {
            Some((stream, place)) if stream == marker.stream => place,
            _ => {
                let heard = &mut self.heard;
                let place = *self.places.entry(marker.stream).or_insert_with(|| {
                    heard.push(Heard::new(marker.stream));
                    heard.len() - 1
                });
                incoming.place = Some((marker.stream, place));
                incoming.video = marker.stream.medium() == Medium::Video;
                place
            }
        };
        let Some(heard) = self.heard.get_mut(place) else {
            return;
        };
        if !heard.seen.insert(marker.sequence.into()) {
            tally.repeated += 1;
            return;
        }
        if tally.window.holds(marker.sent_ns) {
            heard.delivered += 1;
            let took = at_ns.saturating_sub(marker.sent_ns) / 1_000;
            tally.latency(marker.stream.medium(), took);
        }
        if self.first_frame.is_none() && (!self.wants_video || heard.completes(marker)) {
            self.first_frame = Some(now);
        }
    }

    fn take_rtcp(&mut self, now: Instant, packet: &[u8]) {
        let Some(srtp) = self.srtp.as_mut() else {
            return;
        };
        let Some(opened) = srtp.open_rtcp(packet, &mut self.scratch) else {
            return;
        };
        let compound = self.scratch.get(..opened).unwrap_or(&[]);
        for (ssrc, time) in rtcp::sender_reports(compound) {
            if let Some(incoming) = self.incoming.get_mut(&ssrc) {
                incoming.last_report = Some((time, now));
            }
        }
    }

    /// Feedback that is due, sealed.
    pub(crate) fn feedback(&mut self, now: Instant) -> Vec<Vec<u8>> {
        if now < self.next_feedback {
            return Vec::new();
        }
        self.next_feedback = now + FEEDBACK_EVERY;
        self.feedbacks += 1;
        if self.srtp.is_none() || self.incoming.is_empty() {
            return Vec::new();
        }
        let whole = self.feedbacks.is_multiple_of(REPORT_EVERY);
        let mut compounds = Vec::new();
        let mut compound = Vec::new();
        // RFC 3550 §6.1: a report is first, be it empty.
        rtcp::write_report(
            &mut compound,
            &if whole { self.blocks(now) } else { Vec::new() },
        );
        if whole && self.first_frame.is_none() {
            // A server that does not ask the publisher by itself is asked to.
            let videos = self.incoming.iter().filter(|(_, i)| i.video && i.genuine);
            videos.for_each(|(ssrc, _)| rtcp::write_pli(&mut compound, *ssrc));
        }
        let media = self.incoming.keys().next().copied().unwrap_or(0);
        while self.arrivals.write(&mut compound, media) {
            compounds.push(std::mem::take(&mut compound));
            rtcp::write_report(&mut compound, &[]);
        }
        if whole && compounds.is_empty() {
            compounds.push(compound);
        }
        let srtp = self.srtp.as_mut();
        let sealed = srtp.map(|srtp| compounds.iter().filter_map(|c| srtp.seal_rtcp(c)).collect());
        sealed.unwrap_or_default()
    }

    fn blocks(&mut self, now: Instant) -> Vec<Block> {
        let streams = self
            .incoming
            .iter_mut()
            .filter(|(_, i)| i.genuine && !i.retransmission);
        streams
            .map(|(ssrc, incoming)| incoming.block(*ssrc, now))
            .collect()
    }

    /// What came of each stream in the window, and how many numbers of RTP were missing in it.
    pub(crate) fn result(&self) -> (Vec<Delivered>, u64) {
        let delivered = self.heard.iter().map(|heard| Delivered {
            stream: heard.stream,
            packets: heard.delivered,
        });
        let media = self.incoming.values().filter(|i| !i.retransmission);
        (
            delivered.collect(),
            media.map(|i| i.measured.missing()).sum(),
        )
    }
}

impl Incoming {
    fn new(retransmission: bool) -> Self {
        Incoming {
            highest: 0,
            genuine: false,
            retransmission,
            video: false,
            all: Numbers::default(),
            measured: Numbers::default(),
            reported: (0, 0),
            last_report: None,
            place: None,
        }
    }

    fn block(&mut self, ssrc: u32, now: Instant) -> Block {
        let expected = self.all.highest + 1 - self.all.first;
        let (expected_before, unique_before) = self.reported;
        self.reported = (expected, self.all.unique);
        let expected_since = expected.saturating_sub(expected_before);
        let lost_since = expected_since.saturating_sub(self.all.unique - unique_before);
        let fraction = (lost_since * 256).checked_div(expected_since).unwrap_or(0);
        let (last_report, since) = self.last_report.map_or((0, 0), |(time, at)| {
            let since = now.saturating_duration_since(at).as_micros() * 65_536 / 1_000_000;
            (time, since as u32)
        });
        Block {
            ssrc,
            fraction_lost: fraction.min(255) as u8,
            lost: self.all.missing() as u32,
            highest: self.all.highest as u32,
            last_report,
            since_report: since,
        }
    }
}

impl Heard {
    fn new(stream: StreamId) -> Self {
        Heard {
            stream,
            seen: Seen::default(),
            delivered: 0,
            frame: (0, 0),
        }
    }

    /// Whether a frame of video is whole with this packet.
    fn completes(&mut self, marker: &Marker) -> bool {
        if self.stream.medium() != Medium::Video {
            return false;
        }
        let start = marker.sequence.wrapping_sub(marker.index.into());
        if self.frame.0 != start || self.frame.1 == 0 {
            self.frame = (start, 0);
        }
        self.frame.1 += 1;
        self.frame.1 == marker.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_missing_are_between_those_that_came() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.missing(), 0);
        for sequence in [100, 101, 104, 103, 103, 99, 110] {
            numbers.add(sequence);
        }
        // 102, and 105 to 109; 99 was before the beginning.
        assert_eq!((numbers.unique, numbers.missing()), (5, 6));
    }

    #[test]
    fn a_frame_is_whole_with_its_last_packet_in_any_order() {
        let stream = StreamId::new(0, Medium::Video);
        let mut heard = Heard::new(stream);
        let marker = |sequence, index, count| Marker {
            run: 0,
            stream,
            sequence,
            sent_ns: 0,
            index,
            count,
        };
        // The first half of a frame was before it joined; then a frame in another order.
        let whole = [(12, 2, 3), (13, 0, 3), (15, 2, 3), (14, 1, 3)];
        let whole =
            whole.map(|(sequence, index, count)| heard.completes(&marker(sequence, index, count)));
        assert_eq!(whole, [false, false, false, true]);
        let audio = StreamId::new(0, Medium::Audio);
        assert!(!Heard::new(audio).completes(&marker(0, 0, 1)));
    }

    #[test]
    fn reports_tell_what_was_lost_since_the_last() {
        let now = Instant::now();
        let mut incoming = Incoming::new(false);
        (0..10)
            .filter(|n| *n != 4)
            .for_each(|n| incoming.all.add(n));
        incoming.last_report = Some((77, now));
        let block = incoming.block(5, now + Duration::from_secs(2));
        assert_eq!((block.lost, block.fraction_lost), (1, 25));
        assert_eq!((block.last_report, block.since_report), (77, 131_072));
        (10..20).for_each(|n| incoming.all.add(n));
        let block = incoming.block(5, now);
        assert_eq!((block.lost, block.fraction_lost, block.highest), (1, 0, 19));
    }
}

//! One outgoing stream: an SSRC of a subscribing transport, and the one its retransmissions have.

use std::time::{Duration, Instant};

use str0m::media::Mid;

use super::Departure;
use super::clock::Clock;
use super::extensions::{self, Ids, Own, Said};
use super::history::Packet;
use super::rtcp::{Reception, SenderInfo};
use super::sent::{SentLog, Wanted};
use super::srtp::RtpSealer;
use super::window::Window;
use crate::limits::{RTX_BURST_BYTES, RTX_SHARE};
use crate::mutants::{self, Mutant};

/// A sender that has been silent for so long reports nothing (RFC 3550 §6.3.8).
const REPORTED_AFTER: Duration = Duration::from_secs(5);

/// What a section was negotiated with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Negotiated {
    pub(crate) mid: Mid,
    pub(crate) ssrc: u32,
    /// SSRC of retransmissions (RFC 4588 §5.2).
    pub(crate) repair_ssrc: Option<u32>,
    /// Payload types that may be retransmitted, and the one each has then (RFC 4588 §8.6). Without one
    /// nothing is sent again: a packet would have to be the same to the last bit, or one nonce would seal
    /// two.
    pub(crate) repairs: Vec<(u8, u8)>,
    pub(crate) ids: Ids,
    pub(crate) cname: String,
}

/// The newest packet: what reports relate their time to.
#[derive(Debug, Clone, Copy)]
struct Newest {
    timestamp: u32,
    captured: Instant,
    clock_rate: u32,
    sent: Instant,
}

/// The stream of retransmissions.
#[derive(Debug)]
struct Repair {
    ssrc: u32,
    /// Extended sequence number of the next.
    next: u64,
    /// The receiver knows the SSRC.
    bound: bool,
    /// Highest sequence number last reported.
    reported: Option<u32>,
    /// Bytes that may be sent again now.
    credit: u32,
    log: Option<SentLog>,
}

/// The stream.
#[derive(Debug)]
pub(crate) struct Stream {
    negotiated: Negotiated,
    /// The receiver knows the SSRC.
    bound: bool,
    /// Highest sequence number last reported.
    reported: Option<u32>,
    /// Indices sealed.
    sealed: Window<16>,
    packets: u32,
    octets: u32,
    given_up: GivenUp,
    newest: Option<Newest>,
    repair: Option<Repair>,
}

/// What a packet takes from its transport.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) now: Instant,
    /// Of abs-send-time.
    pub(crate) send_time: u32,
    pub(crate) transport_sequence: u16,
}

/// Packets that were numbered and never sent: what comes after them takes their numbers.
#[derive(Debug, Default)]
struct GivenUp {
    /// Lowest and highest number given to a packet so far, whether it was sent or not.
    numbers: Option<(u64, u64)>,
    /// What has a lower number belongs before what was given up, and comes too late.
    floor: u64,
    /// What is taken off the others.
    cut: u64,
}

impl GivenUp {
    fn see(&mut self, (lowest, highest): (u64, u64)) {
        let (low, high) = self.numbers.unwrap_or((lowest, highest));
        self.numbers = Some((low.min(lowest), high.max(highest)));
    }

    /// Whatever has a number so far and was not sent never will be. `sent`: the newest that was, as it left.
    fn all(&mut self, sent: Option<u64>) {
        if let Some((lowest, highest)) = self.numbers {
            self.floor = highest + 1;
            let next = sent.map_or(lowest, |sent| sent + 1);
            self.cut =
                self.floor.saturating_sub(next) + u64::from(mutants::is(Mutant::GivenUpTwice));
        }
    }

    /// The number a packet leaves with.
    fn place(&self, number: u64) -> Option<u64> {
        (number >= self.floor).then(|| number.checked_sub(self.cut))?
    }
}

/// How a packet is labelled.
struct Label {
    ssrc: u32,
    payload_type: u8,
    sequence: u64,
    /// Its first number, before the payload (RFC 4588 §4).
    original: Option<u16>,
    timestamp: u32,
    marker: bool,
    /// The SSRC is that of retransmissions.
    repair: bool,
    padding: bool,
}

/// Padding of a packet that is nothing else: its last byte counts it (RFC 3550 §5.1).
const PADDING_BYTES: u8 = 255;

/// Packets between two reports, at most: more than a stream of 100 Mbit/s has in 5 s.
const EXPECTED_MOST: u32 = 50_000;

/// RTP header without extensions, bytes.
const HEADER_BYTES: usize = 12;

impl Stream {
    /// A stream nothing was sent on. `first`: sequence number of the first retransmission.
    pub(crate) fn new(negotiated: Negotiated, first: u16) -> Self {
        let repair = negotiated.repair_ssrc.map(|ssrc| Repair {
            ssrc,
            next: first.into(),
            bound: false,
            reported: None,
            credit: RTX_BURST_BYTES,
            log: None,
        });
        Stream {
            negotiated,
            bound: false,
            reported: None,
            sealed: Window::default(),
            packets: 0,
            octets: 0,
            given_up: GivenUp::default(),
            newest: None,
            repair,
        }
    }

    /// The section was negotiated again. Its SSRCs stay.
    pub(crate) fn negotiate(&mut self, negotiated: Negotiated) {
        self.negotiated = negotiated;
    }

    /// Its SSRC.
    pub(crate) fn ssrc(&self) -> u32 {
        self.negotiated.ssrc
    }

    /// Whether the SSRC is this stream's or that of its retransmissions.
    pub(crate) fn has(&self, ssrc: u32) -> bool {
        self.negotiated.ssrc == ssrc || self.negotiated.repair_ssrc == Some(ssrc)
    }

    /// The section it belongs to.
    pub(crate) fn mid(&self) -> Mid {
        self.negotiated.mid
    }

    /// Name of the source in reports.
    pub(crate) fn cname(&self) -> &str {
        &self.negotiated.cname
    }

    /// Whether its packets are numbered for transport-wide feedback.
    pub(crate) fn numbers_packets(&self) -> bool {
        self.negotiated.ids.numbers_packets()
    }

    /// Whether anything was ever sent.
    pub(crate) fn is_fresh(&self) -> bool {
        self.newest.is_none()
    }

    /// The receiver reports on an SSRC, so it has bound it to the section (RFC 9143 §15). Returns how many
    /// packets were due since the report before, and how many of those were lost.
    pub(crate) fn on_reception(&mut self, reception: &Reception) -> Option<(u32, u32)> {
        let before = if self.negotiated.ssrc == reception.ssrc {
            self.bound = true;
            &mut self.reported
        } else {
            let repair = self.repair.as_mut()?;
            repair.bound = true;
            &mut repair.reported
        };
        let before = before.replace(reception.highest)?;
        let expected = reception.highest.wrapping_sub(before);
        // Repeated or overtaken reports, and those of another numbering, compare with nothing.
        let plausible = (1..=EXPECTED_MOST).contains(&expected);
        let lost = (u64::from(expected) * u64::from(reception.fraction_lost)).div_ceil(256);
        plausible.then_some((expected, lost as u32))
    }

    /// Writes and seals a packet in a slot; its length. `None`: it was sent before, it is too old to know
    /// that, or it does not fit.
    pub(crate) fn write(
        &mut self,
        departure: &Departure,
        packet: &Packet,
        stamp: &Stamp,
        sealer: &RtpSealer,
        slot: &mut [u8],
    ) -> Option<usize> {
        let label = if departure.again {
            self.label_again(departure, packet)?
        } else {
            self.label(departure, packet, stamp)?
        };
        let said = Said {
            passed: packet.extensions,
            dependency: packet.dependency.as_deref(),
            frame: departure.origin.shift.frame,
        };
        let header = self.header(&label, &said, stamp, slot)?;
        let mut at = header;
        if let Some(original) = label.original {
            slot.get_mut(at..at + 2)?
                .copy_from_slice(&original.to_be_bytes());
            at += 2;
        }
        let end = at + packet.payload.len();
        let payload = slot.get_mut(at..end)?;
        payload.copy_from_slice(&packet.payload);
        if let Some(descriptor) = &packet.descriptor {
            let shift = departure.origin.shift;
            let shift = shift.without(departure.variation.pictures);
            shift.apply(descriptor, payload);
        }
        sealer.seal(slot, header, end, label.ssrc, label.sequence)
    }

    /// Packets up to these numbers (lowest and highest) are never sent if they were not yet: the receiver shall not
    /// miss them. What comes after them begins with a keyframe.
    pub(crate) fn give_up(&mut self, numbers: Option<(u64, u64)>) {
        if let Some(numbers) = numbers {
            self.given_up.see(numbers);
        }
        self.given_up.all(self.sealed.newest());
    }

    /// Nothing of what was sent is sent again.
    pub(crate) fn forget_sent(&mut self) {
        if let Some(repair) = &mut self.repair {
            repair.log = None;
        }
    }

    /// When something was last sent; `None`: padding cannot be sent here, for want of an SSRC that may carry
    /// nothing else, or of numbers that tell of its arrival.
    pub(crate) fn padding_place(&self) -> Option<Option<Instant>> {
        let can = self.numbers_packets() && self.repair.is_some();
        let can = can && !self.negotiated.repairs.is_empty();
        can.then(|| self.newest.map(|newest| newest.sent))
    }

    /// Writes and seals a packet of padding, as if it were a retransmission without content; its length.
    pub(crate) fn write_padding(
        &mut self,
        stamp: &Stamp,
        sealer: &RtpSealer,
        slot: &mut [u8],
    ) -> Option<usize> {
        let (_, payload_type) = *self.negotiated.repairs.first()?;
        let repair = self.repair.as_mut()?;
        let sequence = repair.next;
        repair.next += 1;
        let label = Label {
            ssrc: repair.ssrc,
            payload_type,
            sequence,
            original: None,
            timestamp: self.newest.map_or(0, |newest| newest.timestamp),
            marker: false,
            repair: true,
            padding: true,
        };
        let header = self.header(&label, &Said::default(), stamp, slot)?;
        let end = header + usize::from(PADDING_BYTES);
        let padding = slot.get_mut(header..end)?;
        padding.fill(0);
        *padding.last_mut()? = PADDING_BYTES;
        sealer.seal(slot, header, end, label.ssrc, label.sequence)
    }

    /// The label of a packet sent for the first time.
    fn label(&mut self, departure: &Departure, packet: &Packet, stamp: &Stamp) -> Option<Label> {
        self.given_up.see((departure.sequence, departure.sequence));
        let sequence = self.given_up.place(departure.sequence)?;
        if !self.sealed.admit(sequence) {
            return None;
        }
        let bytes = packet.payload.len() as u32;
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(bytes);
        let newest = Newest {
            timestamp: departure.timestamp(packet),
            captured: packet.captured,
            clock_rate: packet.clock_rate,
            sent: stamp.now,
        };
        self.newest = Some(newest);
        let payload_type = departure.origin.payload_type;
        let repairable = self.repair_type(payload_type).is_some();
        if let Some(repair) = &mut self.repair
            && repairable
        {
            let share = bytes / RTX_SHARE;
            repair.credit = repair.credit.saturating_add(share).min(RTX_BURST_BYTES);
            let log = repair.log.get_or_insert_with(|| SentLog::new(stamp.now));
            let origin = &departure.origin;
            log.note(packet.sequence, sequence, origin, departure.variation);
        }
        Some(Label {
            ssrc: self.negotiated.ssrc,
            payload_type,
            sequence,
            original: None,
            timestamp: newest.timestamp,
            marker: packet.marker || departure.variation.last,
            repair: false,
            padding: false,
        })
    }

    /// The label of a retransmission: it has numbers of its own.
    fn label_again(&mut self, departure: &Departure, packet: &Packet) -> Option<Label> {
        let payload_type = self.repair_type(departure.origin.payload_type)?;
        let repair = self.repair.as_mut()?;
        let bytes = packet.payload.len() as u32;
        repair.credit = repair.credit.checked_sub(bytes)?;
        let sequence = repair.next;
        repair.next += u64::from(!mutants::is(Mutant::RepairNumbers));
        Some(Label {
            ssrc: repair.ssrc,
            payload_type,
            sequence,
            original: Some(departure.sequence as u16),
            timestamp: departure.timestamp(packet),
            marker: packet.marker || departure.variation.last,
            repair: true,
            padding: false,
        })
    }

    fn repair_type(&self, payload_type: u8) -> Option<u8> {
        let mut repairs = self.negotiated.repairs.iter();
        let found = repairs.find(|(main, _)| *main == payload_type);
        found.map(|(_, repair)| *repair)
    }

    /// Writes a header (RFC 3550 §5.1); its length.
    fn header(
        &self,
        label: &Label,
        said: &Said<'_>,
        stamp: &Stamp,
        slot: &mut [u8],
    ) -> Option<usize> {
        let bound = match &self.repair {
            Some(repair) if label.repair => repair.bound,
            _ => self.bound,
        };
        let own = Own {
            mid: (!bound).then(|| self.negotiated.mid.as_bytes()),
            send_time: stamp.send_time,
            transport_sequence: stamp.transport_sequence,
        };
        let (head, rest) = slot.split_first_chunk_mut::<HEADER_BYTES>()?;
        let extensions = extensions::write(rest, self.negotiated.ids, said, &own)?;
        let extended = u8::from(extensions > 0) << 4;
        let flags = 0x80 | u8::from(label.padding) << 5 | extended;
        let marker = u8::from(label.marker) << 7;
        let [high, low] = (label.sequence as u16).to_be_bytes();
        let [t0, t1, t2, t3] = label.timestamp.to_be_bytes();
        let [s0, s1, s2, s3] = label.ssrc.to_be_bytes();
        let second = marker | label.payload_type;
        *head = [flags, second, high, low, t0, t1, t2, t3, s0, s1, s2, s3];
        Some(HEADER_BYTES + extensions)
    }

    /// The packet with this number, if it may be sent again now: not twice within `pause`.
    pub(crate) fn take_again(
        &mut self,
        now: Instant,
        number: u16,
        pause: Duration,
    ) -> Option<Wanted> {
        self.repair.as_mut()?.log.as_mut()?.take(now, number, pause)
    }

    /// What it has to report; `None`: it sends nothing.
    pub(crate) fn report(&self, now: Instant, clock: &Clock) -> Option<SenderInfo> {
        let newest = self.newest?;
        if now.saturating_duration_since(newest.sent) > REPORTED_AFTER {
            return None;
        }
        // The same moment in both times (RFC 3550 §6.4.1). Streams of one publisher relate to one clock,
        // so a receiver can play them in step.
        let elapsed = now.saturating_duration_since(newest.captured);
        let ticks = elapsed.as_micros() * u128::from(newest.clock_rate) / 1_000_000;
        Some(SenderInfo {
            ssrc: self.negotiated.ssrc,
            ntp: clock.ntp(now),
            timestamp: newest.timestamp.wrapping_add(ticks as u32),
            packets: self.packets,
            octets: self.octets,
        })
    }

    /// SSRCs that packets were sent with.
    pub(crate) fn used(&self) -> impl Iterator<Item = u32> {
        let main = self.newest.map(|_| self.negotiated.ssrc);
        main.into_iter()
    }
}

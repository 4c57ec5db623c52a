//! What of a turn's packets leaves now, what waits, and what is added to ask the path for more.

use std::time::Instant;

use super::Departure;
use super::congestion::{Congestion, IP_BYTES};
use super::history::Packet;
use super::pacer::widened;
use super::sender::{Crypto, Desk, Sender, Written};
use super::stream::{Stamp, Stream};
use super::train::Route;

/// Packets of padding in a turn at most: 5 ms at 100 Mb/s.
const PADDING_MOST: u32 = 256;

/// Writes packets of one turn, one behind the other.
struct Writer<'a> {
    now: Instant,
    send_time: u32,
    route: Route,
    crypto: &'a Crypto,
    streams: &'a mut [Stream],
    congestion: &'a mut Option<Box<Congestion>>,
    transport_sequence: &'a mut u16,
    report_at: &'a mut Option<Instant>,
    written: &'a mut Written,
    bytes: usize,
}

impl Writer<'_> {
    /// Writes a packet; what the path has to carry of it, bytes, 0: it was not written.
    fn write(&mut self, departure: &Departure, packet: &Packet, desk: &mut Desk<'_>) -> usize {
        let Some(stream) = self.streams.get_mut(usize::from(departure.stream)) else {
            return 0;
        };
        // The first packet, or the first after a pause: receivers cannot play in step before.
        if stream.is_fresh() || self.report_at.is_none() {
            *self.report_at = Some(self.now);
        }
        let stamp = Stamp {
            now: self.now,
            send_time: self.send_time,
            transport_sequence: *self.transport_sequence,
        };
        let slot = desk.train.slot(self.route, desk.out);
        let sealer = &self.crypto.rtp;
        let Some(bytes) = stream.write(departure, packet, &stamp, sealer, slot) else {
            self.written.refused += 1;
            return 0;
        };
        let numbered = stream.numbers_packets();
        self.written.packets += 1;
        self.written.again += u64::from(departure.again);
        self.depart(bytes, numbered, departure.waits, desk);
        bytes + IP_BYTES
    }

    /// A packet is complete in the slot.
    fn depart(&mut self, bytes: usize, numbered: bool, dispensable: bool, desk: &mut Desk<'_>) {
        if numbered {
            let now = self.now;
            let congestion = self
                .congestion
                .get_or_insert_with(|| Box::new(Congestion::new(now)));
            congestion.on_sent(*self.transport_sequence, bytes);
            *self.transport_sequence = self.transport_sequence.wrapping_add(1);
        }
        self.bytes += bytes;
        self.written.bytes += bytes as u64;
        desk.train.couple(bytes, dispensable, self.route, desk.out);
    }

    /// Adds padding until so many bytes have left in the turn. Without a stream to send it on there is none.
    fn pad(&mut self, bytes: usize, desk: &mut Desk<'_>) {
        let places = self.streams.iter().enumerate();
        let places = places.filter_map(|(index, stream)| Some((index, stream.padding_place()?)));
        let Some((place, _)) = places.max_by_key(|(_, sent)| *sent) else {
            return;
        };
        for _ in 0..PADDING_MOST {
            let Some(stream) = self.streams.get_mut(place) else {
                return;
            };
            if self.bytes >= bytes {
                return;
            }
            let stamp = Stamp {
                now: self.now,
                send_time: self.send_time,
                transport_sequence: *self.transport_sequence,
            };
            let slot = desk.train.slot(self.route, desk.out);
            let Some(padded) = stream.write_padding(&stamp, &self.crypto.rtp, slot) else {
                return;
            };
            self.written.padding += 1;
            self.depart(padded, true, true, desk);
        }
    }
}

impl Sender {
    /// Writes what waited and has room now, what the turn queued, and what asks the path for more.
    pub(super) fn write_queue(
        &mut self,
        now: Instant,
        route: Route,
        desk: &mut Desk<'_>,
        written: &mut Written,
    ) {
        let asked = self.begin_turn(now, written);
        let Some(crypto) = &self.crypto else {
            return;
        };
        let pacer = &mut self.pacer;
        let mut writer = Writer {
            now,
            send_time: desk.clock.send_time(now),
            route,
            crypto,
            streams: &mut self.streams,
            congestion: &mut self.congestion,
            transport_sequence: &mut self.transport_sequence,
            report_at: &mut self.report_at,
            written,
            bytes: 0,
        };
        while let Some(held) = pacer.release() {
            pacer.spend(writer.write(&held.departure, &held.packet, desk));
        }
        for departure in &self.queue {
            let Some(packet) = desk.packets.get(departure.packet as usize) else {
                continue;
            };
            let broken = !self.broken.is_empty() && !departure.again;
            if broken && self.broken.contains(&departure.stream) {
                writer.written.dropped += 1;
                if let Some(stream) = writer.streams.get_mut(usize::from(departure.stream)) {
                    stream.give_up(Some(widened(None, departure.sequence)));
                }
            } else if pacer.is_open() || !departure.waits {
                pacer.spend(writer.write(departure, packet, desk));
            } else if !pacer.hold(now, *departure, packet) && !departure.again {
                // What comes after it is of no use either.
                let (packets, numbers) = pacer.forget(departure.stream);
                self.broken.push(departure.stream);
                writer.written.dropped += packets + 1;
                if let Some(stream) = writer.streams.get_mut(usize::from(departure.stream)) {
                    stream.give_up(Some(widened(numbers, departure.sequence)));
                }
            }
        }
        if let Some(bytes) = asked {
            writer.pad(bytes, desk);
        }
        if let Some(congestion) = &mut self.congestion {
            congestion.end_turn();
        }
    }

    /// Gives up what has waited too long. Returns for how many bytes there is to be sent, at least, to ask
    /// the path for more.
    fn begin_turn(&mut self, now: Instant, written: &mut Written) -> Option<usize> {
        let congestion = self.congestion.as_mut()?;
        let asked = congestion.begin_turn(now, self.transport_sequence);
        self.pacer.begin_turn(now, congestion.pace());
        if let Some(asked) = &asked {
            written.probes += u64::from(asked.begins);
            self.pacer.allow(asked.bytes);
        }
        while let Some(stream) = self.pacer.overdue(now) {
            written.dropped += self.give_up(stream);
            self.broken.push(stream);
        }
        asked.map(|asked| asked.bytes)
    }
}

//! Everything a subscribing transport sends that is RTP or RTCP, and what it hears about it.

use std::time::{Duration, Instant};

use super::Departure;
use super::clock::{self, Clock};
use super::congestion::{Bounds, Congestion};
use super::history::Packet;
use super::pacer::{Pacer, widened};
use super::rtcp::{Compound, Echo, Reception};
use super::sent::Wanted;
use super::srtp::{Keys, RTCP_OVERHEAD_BYTES, RtcpOpener, RtcpSealer, RtpSealer};
use super::stream::{Negotiated, Stream};
use super::train::{Route, Train};
use crate::limits::DATAGRAMS_PER_TURN;
use crate::shard::Transmit;

/// Between two rounds of reports, on average (RFC 3550 §6.2 allows less than its 5 s where RTCP stays
/// below 5 % of the bandwidth): receivers need one to play streams in step.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// RTCP datagrams are not longer than this.
const REPORT_BYTES: usize = 1_200;

/// Round trip taken for granted before one was measured.
const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(100);

/// Shortest pause between two transmissions of a packet: a receiver asks again sooner only when the
/// first one may still be on its way.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// A timer is not set to less than this from now.
const SOON: Duration = Duration::from_millis(1);

/// Between two looks for a way to a client that cannot be reached.
const STRANDED: Duration = Duration::from_secs(1);

/// Reference times to be echoed with the next report; a receiver has one or two senders.
const ECHOES: usize = 8;

pub(super) struct Crypto {
    pub(super) rtp: RtpSealer,
    rtcp: RtcpSealer,
    opener: RtcpOpener,
}

/// A reference time that came in.
struct Reference {
    sender: u32,
    short_ntp: u32,
    at: Instant,
}

/// The sending half of a transport.
pub(crate) struct Sender {
    /// Present once DTLS is complete.
    pub(super) crypto: Option<Box<Crypto>>,
    pub(super) streams: Vec<Stream>,
    /// To be written at the end of the turn.
    pub(super) queue: Vec<Departure>,
    pub(super) transport_sequence: u16,
    /// What the path carries; made when somebody can tell.
    pub(super) congestion: Option<Box<Congestion>>,
    pub(super) pacer: Pacer,
    /// Streams of which packets were given up: they go on at a keyframe.
    pub(super) broken: Vec<u16>,
    /// There was no way to the client lately.
    stranded: bool,
    round_trip: Option<Duration>,
    references: Vec<Reference>,
    /// When to report next; `None`: nothing is sent.
    pub(super) report_at: Option<Instant>,
    /// The entry in the shard's timers.
    pub(crate) timer: Option<Instant>,
    /// State of the generator that spreads reports (RFC 3550 §6.3.1).
    spread: u64,
}

/// What all senders of a shard write with.
pub(crate) struct Desk<'a> {
    pub(crate) clock: &'a Clock,
    /// Packets of the turn.
    pub(crate) packets: &'a [Packet],
    pub(crate) train: &'a mut Train,
    pub(crate) out: &'a mut dyn Transmit,
}

/// What a turn sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Packets, retransmissions included.
    pub(crate) packets: u64,
    /// Of those, retransmissions.
    pub(crate) again: u64,
    /// Packets that were not sent: twice the same, older than can be told, too large.
    pub(crate) refused: u64,
    /// Packets given up: they waited too long for room on the path.
    pub(crate) dropped: u64,
    /// Packets of padding, not counted above.
    pub(crate) padding: u64,
    /// Bursts begun, to ask the path for more.
    pub(crate) probes: u64,
    /// Bytes of all packets, padding too, as they left.
    pub(crate) bytes: u64,
}

impl Sender {
    /// A sender without keys and streams. `seed` spreads its reports.
    pub(crate) fn new(seed: u64) -> Self {
        Sender {
            crypto: None,
            streams: Vec::new(),
            queue: Vec::new(),
            transport_sequence: seed as u16,
            congestion: None,
            pacer: Pacer::default(),
            broken: Vec::new(),
            stranded: false,
            round_trip: None,
            references: Vec::new(),
            report_at: None,
            timer: None,
            spread: seed | 1,
        }
    }

    /// Whether it has keys.
    pub(crate) fn is_secured(&self) -> bool {
        self.crypto.is_some()
    }

    /// Takes the keys of the handshake. A second set is refused: its indices would begin anew, and
    /// nobody negotiates one.
    pub(crate) fn secure(&mut self, keys: &Keys) {
        if self.crypto.is_none() {
            self.crypto = Self::crypto(keys).map(Box::new);
        }
    }

    fn crypto(keys: &Keys) -> Option<Crypto> {
        Some(Crypto {
            rtp: keys.rtp_sealer()?,
            rtcp: keys.rtcp_sealer()?,
            opener: keys.rtcp_opener()?,
        })
    }

    /// The stream of a section as negotiated now, and where it is kept. Streams stay as long as the
    /// transport and its keys: an SSRC that comes back goes on counting. `None`: the SSRC is another's.
    pub(crate) fn open(&mut self, negotiated: Negotiated) -> Option<u16> {
        let known = self
            .streams
            .iter()
            .position(|stream| stream.ssrc() == negotiated.ssrc);
        let others = |ssrc: u32| {
            let mut streams = self.streams.iter().enumerate();
            streams.any(|(index, stream)| Some(index) != known && stream.has(ssrc))
        };
        if others(negotiated.ssrc)
            || negotiated.repair_ssrc.is_some_and(others)
            || negotiated.repair_ssrc == Some(negotiated.ssrc)
        {
            return None;
        }
        let index = match known.and_then(|known| Some((known, self.streams.get_mut(known)?))) {
            Some((index, stream)) => {
                stream.negotiate(negotiated);
                index
            }
            None => {
                let first = (self.random() & 0x7fff) as u16;
                self.streams.push(Stream::new(negotiated, first));
                self.streams.len() - 1
            }
        };
        u16::try_from(index).ok()
    }

    /// The section an SSRC belongs to.
    pub(crate) fn mid_of(&self, ssrc: u32) -> Option<str0m::media::Mid> {
        let stream = self.streams.iter().find(|stream| stream.has(ssrc));
        stream.map(Stream::mid)
    }

    /// Queues a packet for the end of the turn. False: too many wait already.
    pub(crate) fn queue(&mut self, departure: Departure) -> bool {
        let room = self.queue.len() < DATAGRAMS_PER_TURN;
        if room {
            self.queue.push(departure);
        }
        room
    }

    /// A keyframe of another source follows on a stream, or nothing for a while: what still waits of it is of no use.
    /// Returns how many packets that was.
    pub(crate) fn supersede(&mut self, stream: u16) -> u64 {
        if self.pacer.is_empty() {
            return 0;
        }
        // What this turn queued comes behind what waits.
        self.forget_queued(stream, |departure| !departure.again) + self.give_up(stream)
    }

    /// Nobody wants any more what a stream carried: what waits is forgotten, and nothing is sent again. Returns how many
    /// packets waited.
    pub(crate) fn end(&mut self, stream: u16) -> u64 {
        let waited = self.forget_queued(stream, |_| true) + self.give_up(stream);
        if let Some(stream) = self.streams.get_mut(usize::from(stream)) {
            stream.forget_sent();
        }
        waited
    }

    /// Forgets what the turn queued on a stream; how many packets.
    fn forget_queued(&mut self, stream: u16, which: impl Fn(&Departure) -> bool) -> u64 {
        let before = self.queue.len();
        let mut numbers = None;
        self.queue.retain(|departure| {
            let kept = departure.stream != stream || !which(departure);
            if !kept && !departure.again {
                numbers = Some(widened(numbers, departure.sequence));
            }
            kept
        });
        if let Some(numbers) = numbers
            && let Some(stream) = self.streams.get_mut(usize::from(stream))
        {
            stream.give_up(Some(numbers));
        }
        (before - self.queue.len()) as u64
    }

    /// Forgets what waits of a stream; how many packets.
    pub(super) fn give_up(&mut self, stream: u16) -> u64 {
        let (packets, numbers) = self.pacer.forget(stream);
        if let Some(stream) = self.streams.get_mut(usize::from(stream)) {
            stream.give_up(numbers);
        }
        packets
    }

    /// Takes the next stream of which packets were given up: it must go on with a keyframe.
    pub(crate) fn take_broken(&mut self) -> Option<u16> {
        self.broken.pop()
    }

    /// When its timer is to be set to: reports, packets that wait, or a question to the path are due then.
    pub(crate) fn wake_at(&self, now: Instant) -> Option<Instant> {
        let asking = self.congestion.as_ref().and_then(|c| c.wake_at());
        // Without a way there is nothing to do but to look for one.
        let asking = asking.map(|at| {
            at.max(if self.stranded {
                now + STRANDED
            } else {
                now + SOON
            })
        });
        let all = [self.report_at, self.pacer.wake_at(now), asking];
        all.into_iter().flatten().min()
    }

    /// When packets arrived, as the client tells (the control information of transport-wide feedback).
    /// False: it is malformed.
    pub(crate) fn on_arrivals(&mut self, now: Instant, control: &[u8]) -> bool {
        let round_trip = self.round_trip;
        // Nothing was numbered: whatever it tells, it is not of ours.
        let congestion = self.congestion.as_mut();
        congestion.is_none_or(|c| c.on_arrivals(now, control, round_trip))
    }

    /// What the client says it can get, bits per second.
    pub(crate) fn on_capacity(&mut self, now: Instant, bps: u64) {
        self.congestion(now).on_capacity(now, bps);
    }

    fn congestion(&mut self, now: Instant) -> &mut Congestion {
        let made = || Box::new(Congestion::new(now));
        self.congestion.get_or_insert_with(made)
    }

    /// Whether feedback has been missing for so long that the estimate was lowered.
    pub(crate) fn is_slowed(&mut self, now: Instant) -> bool {
        let round_trip = self.round_trip;
        let congestion = self.congestion.as_mut();
        congestion.is_some_and(|c| c.is_slowed(now, round_trip))
    }

    /// What all the client would like to receive takes, bits per second.
    pub(crate) fn want(&mut self, bps: u64) {
        if let Some(congestion) = &mut self.congestion {
            congestion.want(bps);
        }
    }

    /// What the path carries, bits per second; `None`: not known.
    pub(crate) fn estimate_bps(&self, now: Instant) -> Option<u64> {
        self.congestion.as_ref()?.estimate_bps(now)
    }

    /// What made the estimate.
    pub(crate) fn bounds(&self, now: Instant) -> Bounds {
        let congestion = self.congestion.as_ref();
        congestion.map_or_else(Bounds::default, |c| c.bounds(now))
    }

    /// Opens an RTCP datagram of the client in place; `None`: it is none.
    pub(crate) fn open_feedback<'a>(&mut self, datagram: &'a mut [u8]) -> Option<&'a [u8]> {
        self.crypto.as_mut()?.opener.open(datagram)
    }

    /// The client reports how a stream arrives. Returns how many packets of it were due since the report
    /// before, and how many of those were lost; `None`: no stream of ours, or nothing to compare with.
    pub(crate) fn on_reception(
        &mut self,
        now: Instant,
        clock: &Clock,
        reception: &Reception,
    ) -> Option<(u32, u32)> {
        let mut streams = self.streams.iter_mut();
        let stream = streams.find(|s| s.has(reception.ssrc))?;
        let received = stream.on_reception(reception);
        self.measure_round_trip(now, clock, reception);
        received
    }

    fn measure_round_trip(&mut self, now: Instant, clock: &Clock, reception: &Reception) {
        if reception.last_report == 0 {
            return;
        }
        // RFC 3550 §6.4.1. Times of reports we never sent make spans that nobody waits for.
        let since = clock.short_ntp(now).wrapping_sub(reception.last_report);
        let span = clock::from_short(since.saturating_sub(reception.delay));
        if span < Duration::from_secs(10) {
            let smoothed = self.round_trip.map_or(span, |known| (known * 7 + span) / 8);
            self.round_trip = Some(smoothed);
        }
    }

    /// Round trip, smoothed; `None`: not measured.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// The client sent the time of its clock.
    pub(crate) fn on_reference(&mut self, now: Instant, sender: u32, ntp: u64) {
        self.references.retain(|known| known.sender != sender);
        if self.references.len() < ECHOES {
            self.references.push(Reference {
                sender,
                short_ntp: (ntp >> 16) as u32,
                at: now,
            });
        }
    }

    /// A packet the client misses, if it may be sent again now: at most once in a round trip.
    pub(crate) fn take_again(
        &mut self,
        now: Instant,
        ssrc: u32,
        number: u16,
    ) -> Option<(u16, Wanted)> {
        let pause = self.round_trip.unwrap_or(UNKNOWN_ROUND_TRIP);
        let mut streams = self.streams.iter_mut().enumerate();
        let (index, stream) = streams.find(|(_, stream)| stream.ssrc() == ssrc)?;
        let wanted = stream.take_again(now, number, pause.max(SHORTEST_PAUSE))?;
        Some((u16::try_from(index).ok()?, wanted))
    }

    /// Writes what the turn queued, and reports if they are due.
    pub(crate) fn flush(
        &mut self,
        now: Instant,
        route: Option<Route>,
        desk: &mut Desk<'_>,
    ) -> Written {
        let mut written = Written::default();
        self.stranded = route.is_none();
        if let Some(route) = route
            && self.crypto.is_some()
        {
            self.write_queue(now, route, desk, &mut written);
            self.write_reports(now, route, desk);
            desk.train.send(route, desk.out);
        } else {
            // Goes on with the next packet.
            self.report_at = None;
            written.dropped += self.pacer.clear();
        }
        self.queue.clear();
        self.queue.shrink_to(QUEUE_KEPT);
        written
    }

    /// A sender report of every active stream, in as few datagrams as they fit into.
    fn write_reports(&mut self, now: Instant, route: Route, desk: &mut Desk<'_>) {
        if self.report_at.is_none_or(|at| at > now) {
            return;
        }
        let mut active = 0;
        let mut echoes = self.echoes(now);
        let Some(crypto) = &mut self.crypto else {
            return;
        };
        let mut reports = self.streams.iter().filter_map(|stream| {
            let info = stream.report(now, desk.clock)?;
            Some((info, stream.cname().as_bytes()))
        });
        let mut next = reports.next();
        while let Some((first, _)) = next {
            let slot = desk.train.slot(route, desk.out);
            let room = REPORT_BYTES.min(slot.len().saturating_sub(RTCP_OVERHEAD_BYTES));
            let mut compound = Compound::new(slot.get_mut(..room).unwrap_or_default());
            while let Some((info, cname)) = &next {
                if !compound.report(info, cname) {
                    break;
                }
                active += 1;
                next = reports.next();
            }
            if compound.bytes() == 0 {
                // A name that fits no datagram: never ours.
                next = reports.next();
                continue;
            }
            if compound.echoes(first.ssrc, &echoes).is_some() {
                echoes.clear();
                self.references.clear();
            }
            let bytes = compound.bytes();
            if let Some(sealed) = crypto.rtcp.seal(slot, bytes) {
                desk.train.couple(sealed, false, route, desk.out);
            }
        }
        drop(reports);
        self.report_at = (active > 0).then(|| now + self.interval());
    }

    fn echoes(&self, now: Instant) -> Vec<Echo> {
        let references = self.references.iter();
        references
            .map(|known| Echo {
                sender: known.sender,
                reference: known.short_ntp,
                delay: clock::to_short(now.saturating_duration_since(known.at)),
            })
            .collect()
    }

    /// Half to one and a half of the average (RFC 3550 §6.3.1), so that reports of many do not meet.
    fn interval(&mut self) -> Duration {
        REPORT_INTERVAL / 2 + REPORT_INTERVAL * (self.random() as u32 % 1_024) / 1_024
    }

    fn random(&mut self) -> u64 {
        self.spread ^= self.spread << 13;
        self.spread ^= self.spread >> 7;
        self.spread ^= self.spread << 17;
        self.spread >> 16
    }

    /// Says goodbye for every stream (RFC 3550 §6.6); sealed datagrams.
    pub(crate) fn goodbye(&mut self) -> Vec<Vec<u8>> {
        let used: Vec<u32> = self.streams.iter().flat_map(Stream::used).collect();
        let Some(crypto) = &mut self.crypto else {
            return Vec::new();
        };
        let mut datagrams = Vec::new();
        for ssrcs in used.chunks(31) {
            let mut slot = vec![0; 8 + 4 + 4 * 31 + RTCP_OVERHEAD_BYTES];
            let mut compound = Compound::new(&mut slot);
            let first = ssrcs.first().copied().unwrap_or_default();
            let added = compound
                .empty_report(first)
                .and_then(|()| compound.goodbye(ssrcs));
            let bytes = compound.bytes();
            if added.is_some()
                && let Some(sealed) = crypto.rtcp.seal(&mut slot, bytes)
            {
                slot.truncate(sealed);
                datagrams.push(slot);
            }
        }
        datagrams
    }
}

/// Places for packets that the queue keeps between turns.
const QUEUE_KEPT: usize = 64;

#[cfg(test)]
#[path = "sender_tests.rs"]
mod tests;

//! What subscribers report and ask for: RTCP on subscribing transports.

use std::time::Instant;

use super::Shard;
use super::slab::{ParticipantKey, TransportKey, from_public};
use crate::api::Direction;
use crate::egress::Departure;
use crate::egress::rtcp::{self, Feedback};
use crate::id::ParticipantId;
use crate::limits::MISSING_PER_DATAGRAM;
use crate::mutants::{self, Mutant};
use crate::stats::DropCause;
use crate::subscription::Outlet;

impl Shard {
    /// A datagram of the client of a subscribing transport that looks like RTP or RTCP. RTP is refused:
    /// every section there is ours to send in.
    pub(super) fn on_feedback(
        &mut self,
        now: Instant,
        key: TransportKey,
        contents: &[u8],
    ) -> Result<(), DropCause> {
        let rtcp = contents
            .get(1)
            .is_some_and(|second| (64..96).contains(&(second & 0x7f)));
        if !rtcp {
            return Err(DropCause::Refused);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend_from_slice(contents);
        let transport = self.transports.get_mut(key);
        let sender = transport.and_then(|transport| transport.sender.as_mut());
        let opened = sender.and_then(|sender| sender.open_feedback(&mut scratch));
        let outcome = opened.is_some().then_some(()).ok_or(DropCause::Refused);
        if let Some(packet) = opened {
            let mut missing = 0;
            rtcp::read(packet, &mut |feedback| {
                self.on_report(now, key, feedback, &mut missing);
            });
        }
        self.scratch = scratch;
        outcome
    }

    /// Has a subscriber report this, as if it had come encrypted.
    #[doc(hidden)]
    pub fn inject_feedback(&mut self, now: Instant, subscriber: ParticipantId, packet: &[u8]) {
        let participant = from_public::<ParticipantKey>(self.config.worker, subscriber.0);
        let participant = participant.and_then(|key| self.participants.get(key));
        let transport = participant.and_then(|p| p.transport(Direction::Subscribe));
        if let Some(key) = transport {
            let mut missing = 0;
            rtcp::read(packet, &mut |feedback| {
                self.on_report(now, key, feedback, &mut missing);
            });
        }
    }

    fn on_report(
        &mut self,
        now: Instant,
        key: TransportKey,
        feedback: Feedback<'_>,
        missing: &mut usize,
    ) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let Some(sender) = &mut transport.sender else {
            return;
        };
        match feedback {
            Feedback::Reception(reception) => {
                if let Some((expected, lost)) =
                    sender.on_reception(now, &self.egress.clock, &reception)
                {
                    transport.network.on_reception(now, expected, lost);
                    transport.traffic.packets_lost += u64::from(lost);
                    self.stats.reported += u64::from(expected);
                    self.stats.reported_lost += u64::from(lost);
                }
                if let Some(round_trip) = sender.round_trip() {
                    transport.network.on_round_trip(round_trip);
                }
            }
            Feedback::Missing {
                ssrc,
                first,
                following,
            } => {
                transport.traffic.nacks += 1;
                self.stats.nacks_received += 1;
                self.stats.nacked += u64::from(1 + following.count_ones());
                let others = (0..16).filter(|bit| following & (1 << bit) != 0);
                let others = others.map(|bit| first.wrapping_add(bit + 1));
                for number in std::iter::once(first).chain(others) {
                    *missing += 1;
                    if mutants::is(Mutant::NoRepair) {
                        continue;
                    }
                    if *missing <= MISSING_PER_DATAGRAM {
                        self.send_again(now, key, ssrc, number);
                    }
                }
            }
            Feedback::Keyframe { ssrc } => {
                transport.traffic.plis += 1;
                if let Some(mid) = sender.mid_of(ssrc) {
                    self.on_keyframe_request(now, key, mid);
                }
            }
            Feedback::Reference { sender: from, ntp } => sender.on_reference(now, from, ntp),
            Feedback::Capacity { bps } => {
                sender.on_capacity(now, bps);
                self.follow_estimate(now, key);
            }
            Feedback::Arrivals(control) => {
                if sender.on_arrivals(now, control) {
                    self.stats.feedback_received += 1;
                } else {
                    self.stats.feedback_malformed += 1;
                }
                self.follow_estimate(now, key);
            }
        }
    }

    /// Has the layers of a subscriber follow what its path is now thought to carry.
    pub(super) fn follow_estimate(&mut self, now: Instant, key: TransportKey) {
        let transport = self.transports.get(key).filter(|t| !t.network.given);
        let sender = transport.and_then(|transport| transport.sender.as_ref());
        if let Some(bps) = sender.and_then(|sender| sender.estimate_bps(now)) {
            self.stats.estimates += 1;
            self.stats.estimate_bps_sum += bps;
            self.on_estimate(now, key, bps);
        }
    }

    /// Packets of these streams were given up: their subscriptions go on with a keyframe, which is asked for
    /// when the room is looked at next.
    pub(super) fn mend_streams(&mut self, key: TransportKey) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let subscriber = transport.participant;
        let Some(sender) = &mut transport.sender else {
            return;
        };
        while let Some(stream) = sender.take_broken() {
            let subscriptions = self.participants.get(subscriber);
            let subscriptions = subscriptions.map(|p| p.subscriptions.as_slice());
            for (_, subscription) in subscriptions.unwrap_or_default() {
                let Some(subscription) = self.subscriptions.get_mut(*subscription) else {
                    continue;
                };
                let broken = |outlet: Outlet| outlet.transport == key && outlet.stream == stream;
                if subscription.outlet.is_some_and(broken) {
                    subscription.suspend();
                }
            }
        }
    }

    /// Queues a packet the client misses. If it is no longer kept, a keyframe has to come instead: the client itself
    /// would ask for one only after seconds without a picture (Chromium: three).
    fn send_again(&mut self, now: Instant, key: TransportKey, ssrc: u32, number: u16) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let Some(sender) = &mut transport.sender else {
            return;
        };
        let Some((stream, wanted)) = sender.take_again(now, ssrc, number) else {
            return;
        };
        let section = sender.mid_of(ssrc);
        let origin = wanted.origin;
        let layer = self
            .tracks
            .get(origin.track)
            .and_then(|track| track.layers.get(usize::from(origin.layer)))
            .filter(|layer| layer.epoch == origin.epoch);
        let Some(packet) = layer.and_then(|layer| layer.history.get(wanted.source)) else {
            if let Some(mid) = section.filter(|_| !wanted.variation.hollow) {
                self.ask_keyframe_in(now, key, mid);
            }
            return;
        };
        let admitted = match wanted.variation.hollow {
            true => self.egress.admit_hollow(packet),
            false => self.egress.admit(packet.clone()),
        };
        let departure = Departure {
            packet: admitted,
            stream,
            again: true,
            waits: true,
            sequence: wanted.sequence,
            origin,
            variation: wanted.variation,
        };
        if sender.queue(departure) && !transport.sending {
            transport.sending = true;
            self.sending.push(key);
        }
    }
}

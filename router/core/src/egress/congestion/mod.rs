//! How much a subscriber's path carries: an estimate from its transport-wide feedback
//! (draft-ietf-rmcat-gcc-02, draft-holmer-rmcat-transport-wide-cc-extensions-01).
//!
//! Delays tell of queues before anything is lost ([`delay`], [`rate`]); losses tell of paths without queues
//! ([`loss`]); a receiver may say itself what it can get (REMB); the lowest counts. None of these can tell of
//! more than is sent, and layers come in steps, so where more would be of use a short burst asks the path
//! ([`probe`]).
//!
//! At first nothing is said, so everything is sent: most paths carry it, and those that do not show it within
//! a few hundred milliseconds. The estimate begins with what arrived then.

mod delay;
pub(crate) mod feedback;
mod log;
mod loss;
mod meter;
mod probe;
mod rate;

use std::time::{Duration, Instant};

use delay::{DelayDetector, Usage};
use log::Log;
use loss::LossControl;
use meter::Meter;
use probe::{Passed, Prober};
use rate::{Knowledge, RateControl};

/// Taken for granted before anything is known.
const BEGIN_BPS: f64 = 300_000.0;

/// Flows below this show nothing of a path, good or bad: there is no layer to choose.
const TELLING_BPS: f64 = 100_000.0;

/// A new path is watched for so long before anything is said of it, unless it is found full.
const WATCHED: Duration = Duration::from_secs(1);

/// What is taken for granted beyond what arrives on a path that was not found full: layers are measured over
/// another time, with their keyframes.
const BEYOND_ARRIVING: f64 = 1.5;

/// What is of use beyond what is wanted: keyframes pass at once, and a new subscription finds room.
const HEADROOM: f64 = 2.5;

/// So much is of use whatever is sent now: a shared screen that stood still moves.
const GOAL_LEAST_BPS: f64 = 4e6;

/// Flows that take less of the estimate than this do not say by their arrival what a path carries.
const APPLICATION_LIMITED: f64 = 0.65;

/// A queue that a question of ours may have made, milliseconds.
const ASKED_MS: f64 = 90.0;

/// Delays that differ by more than this from picture to picture, milliseconds.
const JITTERY_MS: f64 = 4.0;

/// What a receiver reports of its capacity bounds the estimate for so long (it repeats it every second
/// or so); without transport-wide feedback it is all there is, and stays.
const CAPACITY_AGE: Duration = Duration::from_secs(5);

/// Round trip taken for granted before one was measured.
const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(100);

/// Without feedback for so long while packets leave, the path is taken for stalled.
const SILENCE: Duration = Duration::from_secs(2);

/// What is kept of the estimate then, each time.
const SILENCE_FACTOR: f64 = 0.6;

/// What queues there were are gone after so long without any news of them.
const DRAINED: Duration = Duration::from_secs(1);

/// Between two looks whether the path may be asked, where it is in want.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How packets leave toward a path that was found full lately: no faster than it carries them, or each
/// keyframe would look like congestion, and sound would wait behind it.
const PACE_FULL: Paced = Paced {
    factor: 1.0,
    burst: Duration::from_millis(10),
};

/// And one that only is not known to carry more: a picture of an ordinary stream at once, so that it stays
/// one run for the kernel (UDP GSO).
const PACE: Paced = Paced {
    factor: 2.5,
    burst: Duration::from_millis(40),
};

/// What is sent makes no queue by itself if it is less than this, bits per second, and than this share of what the path
/// was seen to carry: sound alone, while pictures are held.
const QUIET_BPS: f64 = 100_000.0;
const QUIET_SHARE: f64 = 0.3;

struct Paced {
    /// Multiple of the estimate.
    factor: f64,
    /// What may leave at once, as time of the estimate.
    burst: Duration,
}

/// How packets that may wait are to leave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pace {
    pub(crate) bytes_per_second: f64,
    /// Bytes that may leave at once.
    pub(crate) burst_bytes: f64,
}

/// What each turn needs, next to each other: with many subscribers little of it is in any cache.
#[derive(Debug, Default)]
struct Hot {
    /// The present turn, microseconds since the beginning.
    turn_micros: i64,
    log: Log,
    /// Nothing else is looked at before this.
    quiet_until: Option<Instant>,
    wake_at: Option<Instant>,
    pace: Option<Pace>,
    /// What leaves belongs to a burst.
    asking: bool,
}

/// The estimator of one transport.
#[derive(Debug)]
pub(crate) struct Congestion {
    began: Instant,
    hot: Hot,
    delay: DelayDetector,
    rate: RateControl,
    loss: LossControl,
    arriving: Meter,
    leaving: Meter,
    prober: Prober,
    /// What the receiver said, bits per second.
    capacity: Option<(u64, Instant)>,
    /// The first feedback, and the last.
    heard: Option<(Instant, Instant)>,
    /// The estimate is good enough to be told.
    told: bool,
    /// The rate was lowered for want of feedback.
    slowed: Option<Instant>,
    wanted_bps: f64,
}

/// What is to be sent in a turn to ask the path for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    /// At least so many bytes.
    pub(crate) bytes: usize,
    /// It is the first part of a burst.
    pub(crate) begins: bool,
}

/// The bounds that make an estimate, bits per second; `None`: not known, or no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) delay_bps: Option<u32>,
    pub(crate) loss_bps: Option<u32>,
    pub(crate) probe_bps: Option<u32>,
    pub(crate) remb_bps: Option<u32>,
    /// How much longer packets take than the fastest of late, milliseconds.
    pub(crate) queue_ms: u16,
}

impl Congestion {
    /// Nothing is known.
    pub(crate) fn new(now: Instant) -> Self {
        Congestion {
            began: now,
            hot: Hot::default(),
            delay: DelayDetector::default(),
            rate: RateControl::new(BEGIN_BPS),
            loss: LossControl::new(now),
            arriving: Meter::default(),
            leaving: Meter::default(),
            prober: Prober::default(),
            capacity: None,
            heard: None,
            told: false,
            slowed: None,
            wanted_bps: 0.0,
        }
    }

    fn micros(&self, now: Instant) -> i64 {
        let elapsed = now.saturating_duration_since(self.began);
        i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
    }

    /// A turn begins in which packets may leave; `number` is the next one's.
    pub(crate) fn begin_turn(&mut self, now: Instant, number: u16) -> Option<Asked> {
        self.hot.turn_micros = self.micros(now);
        if self.hot.quiet_until.is_some_and(|until| now < until) {
            return None;
        }
        self.look(now, number)
    }

    /// Looks at everything.
    fn look(&mut self, now: Instant, number: u16) -> Option<Asked> {
        self.hot.pace = self.pace_now(now);
        self.hot.quiet_until = Some(now + LOOK_INTERVAL / 2);
        if !self.told {
            return None;
        }
        let known = self.bounded_bps(now);
        let goal = (self.wanted_bps * HEADROOM).max(GOAL_LEAST_BPS);
        let fresh = self
            .heard
            .is_some_and(|(_, last)| now.saturating_duration_since(last) < DRAINED);
        let busy = self.delay.usage() != Usage::Normal || self.delay.has_queue();
        let calm = !(fresh && busy);
        let jitter_ms = calm.then_some(self.delay.jitter_ms());
        let asked = self.prober.poll(now, (known, goal), jitter_ms, number);
        self.hot.asking = self.prober.is_open();
        self.hot.wake_at = self.next_look(now);
        if self.hot.asking {
            self.hot.quiet_until = None;
        }
        asked
    }

    /// When packets are to be sent next to ask the path, if others may not be: a burst goes out, or what is
    /// wanted finds no room and perhaps nothing else is sent that would find any.
    fn next_look(&self, now: Instant) -> Option<Instant> {
        let in_want = self.wanted_bps > self.bounded_bps(now);
        let next = || {
            let at = self.prober.next_at().filter(|_| in_want)?;
            Some(at.max(now + LOOK_INTERVAL))
        };
        self.prober.wake_at().or_else(next)
    }

    /// A numbered packet left, of so many bytes as a datagram's content.
    pub(crate) fn on_sent(&mut self, number: u16, bytes: usize) {
        let bytes = bytes + IP_BYTES;
        self.hot.log.note(self.hot.turn_micros, number, bytes);
        if self.hot.asking {
            self.prober.on_sent(number, bytes);
        }
    }

    /// The turn has ended.
    pub(crate) fn end_turn(&mut self) {
        if self.hot.asking {
            self.prober.end_turn();
            self.hot.asking = self.prober.is_open();
        }
    }

    /// When to begin a turn even if there is nothing to send.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.hot.wake_at
    }

    /// How packets that may wait are to leave; `None`: at once.
    pub(crate) fn pace(&self) -> Option<Pace> {
        self.hot.pace
    }

    /// All that is wanted takes so much, bits per second.
    pub(crate) fn want(&mut self, bps: u64) {
        self.wanted_bps = bps as f64;
        self.hot.quiet_until = None;
    }

    /// Transport-wide feedback came in, this control information of it. False: it is malformed; what
    /// could be read of it counts.
    pub(crate) fn on_arrivals(
        &mut self,
        now: Instant,
        control: &[u8],
        round_trip: Option<Duration>,
    ) -> bool {
        let micros = self.micros(now);
        self.hot.quiet_until = None;
        let Congestion {
            hot: Hot { log, .. },
            delay,
            loss,
            arriving,
            leaving,
            prober,
            ..
        } = self;
        let mut over = false;
        let mut any = false;
        let whole = feedback::read(control, log::REPORTED_MOST, &mut |number, arrived| {
            let Some(at) = arrived else {
                if let Some(packet) = log.missing(micros, number) {
                    loss.count(0, 1, 0);
                    leaving.add(packet.sent_micros, packet.bytes.into());
                    prober.on_told(number, None);
                }
                return;
            };
            let Some(packet) = log.arrived(micros, number) else {
                return;
            };
            any = true;
            loss.count(1, 0, packet.was_missing.into());
            arriving.add(at, packet.bytes.into());
            if !packet.was_missing {
                leaving.add(packet.sent_micros, packet.bytes.into());
            }
            let passed = Passed {
                sent_micros: packet.sent_micros,
                arrived_micros: at,
                bytes: packet.bytes,
            };
            prober.on_told(number, Some(passed));
            let news = delay.on_packet(packet.sent_micros, at);
            over |= news && delay.usage() == Usage::Over;
        });
        if any {
            let first = self.heard.map_or(now, |(first, _)| first);
            self.heard = Some((first, now));
            self.slowed = None;
            self.decide(now, over, round_trip.unwrap_or(UNKNOWN_ROUND_TRIP));
        }
        whole.is_some()
    }

    fn decide(&mut self, now: Instant, over: bool, round_trip: Duration) {
        let more = self.loss.compensation();
        let known = Knowledge {
            usage: if over {
                Usage::Over
            } else {
                self.delay.usage()
            },
            arriving_bps: self.arriving.long_bps().map(|bps| bps * more),
            just_now_bps: self.arriving.short_bps().map(|bps| bps * more),
            leaving_bps: self.leaving.long_bps(),
            round_trip,
        };
        if let Some(mut answer) = self.prober.take_answer(now, self.delay.jitter_ms()) {
            if answer.full {
                answer.bps *= more;
            }
            let answer = self.steady(&answer);
            self.take_answer(&answer, &known);
        }
        if self.told {
            self.adapt(now, &known);
        } else {
            self.watch(now, &known);
        }
        self.loss.update(now, self.rate.bps(), &known);
        self.told |= self.loss.bps().is_some() && known.is_telling(TELLING_BPS);
    }

    fn take_answer(&mut self, answer: &probe::Answer, known: &Knowledge) {
        if answer.doubtful {
            return self.rate.raise(answer.bps);
        }
        self.loss.raise(answer.bps);
        if answer.bps > self.rate.bps() {
            self.rate.set(answer.bps, answer.full);
        } else if answer.full {
            // What passes through is carried, whatever one short burst says.
            let carried = known.arriving_bps.unwrap_or_default() * 1.02;
            let bps = answer.bps.max(carried).min(self.rate.bps());
            self.rate.set(bps, true);
        }
    }

    /// Where delays differ much, one short burst is a poor measure: unless it says something else altogether,
    /// it counts as much as all before it.
    fn steady(&self, answer: &probe::Answer) -> probe::Answer {
        let before = self.rate.bps();
        let near = (before * 0.7..before * 1.4).contains(&answer.bps);
        let mut steadied = *answer;
        if answer.full && near && self.prober.was_trusted() && self.delay.jitter_ms() > JITTERY_MS {
            steadied.bps = (answer.bps + before) / 2.0;
        }
        steadied
    }

    /// The estimate follows.
    fn adapt(&mut self, now: Instant, known: &Knowledge) {
        let before = self.rate.bps();
        // What has just become less makes what arrives less, and says nothing of the path.
        let leaving = known
            .leaving_bps
            .map(|bps| bps.min(self.leaving.short_bps().unwrap_or(bps)));
        let below = |share: f64| leaving.is_none_or(|bps| bps < before * share);
        let mut known = *known;
        // Delays wavered, or the queue is our own question's.
        let asked = self.prober.is_asking(now) && self.delay.queue_ms() < ASKED_MS;
        if known.usage == Usage::Over && (asked || !self.delay.has_queue()) {
            known.usage = Usage::Under;
        }
        let quiet = leaving.is_some_and(|bps| bps < QUIET_BPS);
        if known.usage == Usage::Over && quiet && below(QUIET_SHARE) {
            // Not ours to end. Before more is sent the path is asked, which waits until it is calm.
            known.usage = Usage::Under;
        }
        let limited = below(APPLICATION_LIMITED);
        if self.rate.update(now, &known, limited) {
            self.delay.on_decrease();
            self.prober.on_decrease(now, before, limited);
        }
    }

    /// Before anything is said: what arrives is what is known, until the path is found full.
    fn watch(&mut self, now: Instant, known: &Knowledge) {
        if known.usage == Usage::Over && known.is_telling(TELLING_BPS) {
            // Where it was full before, nobody knows.
            let arriving = known.just_now_bps.unwrap_or(BEGIN_BPS);
            self.rate
                .set((arriving * BEYOND_ARRIVING).max(self.rate.bps()), false);
            self.told = true;
            return self.adapt(now, known);
        }
        let arriving = known.arriving_bps.unwrap_or_default() * BEYOND_ARRIVING;
        if arriving > self.rate.bps() {
            self.rate.set(arriving, false);
        }
        let watched = self
            .heard
            .is_some_and(|(first, _)| now.saturating_duration_since(first) >= WATCHED);
        self.told = watched && arriving > BEGIN_BPS;
    }

    /// The receiver says what it can get (draft-alvestrand-rmcat-remb-03), bits per second.
    pub(crate) fn on_capacity(&mut self, now: Instant, bps: u64) {
        self.capacity = Some((bps, now));
        self.hot.quiet_until = None;
    }

    /// Packets are being sent: true if nothing was heard of any for too long, and the estimate is lower
    /// for it.
    pub(crate) fn is_slowed(&mut self, now: Instant, round_trip: Option<Duration>) -> bool {
        let Some((_, last)) = self.heard.filter(|_| self.told) else {
            return false;
        };
        let since = self.slowed.map_or(last, |slowed| slowed.max(last));
        let patience = SILENCE.max(round_trip.unwrap_or_default() * 3);
        let left = self.began + Duration::from_micros(self.hot.turn_micros.unsigned_abs());
        // Something left long enough ago to have been heard of.
        if now.saturating_duration_since(since) < patience || left <= last {
            return false;
        }
        self.slowed = Some(now);
        self.hot.quiet_until = None;
        let before = self.rate.bps();
        self.rate.set(before * SILENCE_FACTOR, false);
        self.prober.on_decrease(now, before, true);
        true
    }

    /// What the receiver said, if that still counts.
    fn said_bps(&self, now: Instant) -> Option<u64> {
        let (bps, at) = self.capacity?;
        let counts = self.heard.is_none() || now.saturating_duration_since(at) < CAPACITY_AGE;
        counts.then_some(bps)
    }

    fn bounded_bps(&self, now: Instant) -> f64 {
        let loss = self.loss.bps().unwrap_or(f64::INFINITY);
        let said = self.said_bps(now).map_or(f64::INFINITY, |bps| bps as f64);
        self.rate.bps().min(loss).min(said)
    }

    /// What the path carries, bits per second; `None`: nothing is known yet, or too little is sent to tell.
    pub(crate) fn estimate_bps(&self, now: Instant) -> Option<u64> {
        if self.told {
            return Some(self.bounded_bps(now) as u64);
        }
        self.said_bps(now)
    }

    fn pace_now(&self, now: Instant) -> Option<Pace> {
        if !self.told {
            return None;
        }
        let estimate = self.bounded_bps(now) / 8.0;
        let full = self.prober.is_limited() || self.rate.is_near_limit();
        let paced = if full { PACE_FULL } else { PACE };
        Some(Pace {
            bytes_per_second: estimate * paced.factor,
            burst_bytes: estimate * paced.burst.as_secs_f64(),
        })
    }

    /// What made the estimate.
    pub(crate) fn bounds(&self, now: Instant) -> Bounds {
        let whole = |bps: f64| bps as u32;
        Bounds {
            delay_bps: self.heard.map(|_| whole(self.rate.bps())),
            loss_bps: self.loss.bps().map(whole),
            probe_bps: self.prober.answered_bps().map(whole),
            remb_bps: self.said_bps(now).map(|bps| whole(bps as f64)),
            queue_ms: self.delay.queue_ms() as u16,
        }
    }
}

/// What IPv4 and UDP add to a datagram.
pub(super) const IP_BYTES: usize = 28;

#[cfg(test)]
#[path = "congestion_tests.rs"]
mod tests;

//! Asking a path whether it carries more: a short burst at a higher rate, and the rate it arrives with. A
//! stream that is sent at less than the path carries tells nothing of the rest, and layers come in steps.

use std::time::{Duration, Instant};

use super::{Asked, JITTERY_MS};

/// A burst goes out in parts this far apart.
const PART_INTERVAL: Duration = Duration::from_millis(5);

/// Parts at least: shorter ones tell more of the jitter than of the path.
const PARTS_LEAST: u32 = 5;

/// Parts at most.
const PARTS_MOST: u32 = 40;

/// A burst takes so many times as long as delays differ, but fills no longer queue than this, seconds, where
/// the path carries just what is known.
const JITTERS: f64 = 20.0;
const QUEUE_SECONDS: f64 = 0.075;

/// Bits of a burst at least: a few packets.
const BURST_BITS: f64 = 40_000.0;

/// One asks for this multiple of what is known; where the path was found full lately, the smaller one: it
/// fills a queue.
const STEP: f64 = 2.0;
const STEP_LIMITED: f64 = 1.5;

/// A fall to less than this share, within so long, may have come of a stall: one asks once for most of what was
/// known before, and need not come back step by step. The burst takes as long as jitter asks, but no longer than
/// this, seconds: where the path did become narrower, what may be sent meanwhile waits behind it.
const FALL: f64 = 0.66;
const FALL_TIME: Duration = Duration::from_secs(10);
const RECOVERED: f64 = 0.85;
const RECOVERY_SECONDS: f64 = 0.06;

/// Packets that must arrive for the answer to mean anything, and their share of those sent.
const ARRIVED_LEAST: u32 = 4;
const ARRIVED_SHARE: f64 = 0.8;

/// When the answer is given up, beside a round trip.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two questions where the last brought nothing, and where such follow each other.
const PAUSE: Duration = Duration::from_secs(4);
const PAUSE_MOST: Duration = Duration::from_secs(8);

/// From a lower rate to the next question: the queue drains meanwhile. Where what arrived was no measure of
/// the path it is asked again sooner.
const AFTER_DECREASE: Duration = Duration::from_secs(2);
const AFTER_DOUBT: Duration = Duration::from_millis(500);

/// A queue that a full path made of a burst is longer than so many times what delays differ by, or it may have come of
/// that alone: of a receiver that reads late. One asks again soon then, so often in a row, and the highest answer counts.
const DOUBTFUL: f64 = 6.0;
const DOUBTS_MOST: u32 = 4;

/// Between two questions where the last one was answered well.
const NEXT_STEP: Duration = Duration::from_millis(100);

/// The queue that a burst made is gone after this, and what it took is no longer in what was sent lately.
const DRAINED: Duration = Duration::from_millis(600);

/// A path that is full carries this share of what arrives through it without a queue.
const TARGET_SHARE: f64 = 0.97;

/// A burst under way, or waiting for its answer.
#[derive(Debug, Clone, Copy)]
struct Burst {
    bps: f64,
    parts: u32,
    parts_sent: u32,
    /// When its next part, or, with all sent, when it is given up.
    at: Instant,
    /// The transport's numbers of its packets.
    first: u16,
    sent: u16,
    sent_bytes: u64,
    /// When it began, when its last part so far left, and how many bytes had left before that.
    began: Instant,
    latest: Instant,
    before_latest_bytes: u64,
    /// What leaves belongs to it.
    open: bool,
    /// How its packets left, and how the same ones arrived.
    left: Line,
    arrived: Line,
    /// Feedback tells of what was sent after it.
    passed: bool,
}

/// When packets of a burst passed: sums for the line through (bytes so far, time), which single late packets
/// turn less than they stretch the time between the first and the last.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    packets: u32,
    bytes: f64,
    first_micros: i64,
    /// Of bytes so far, of seconds since the first, of the squares of bytes, and of both multiplied.
    sums: (f64, f64, f64, f64),
}

impl Line {
    fn add(&mut self, at_micros: i64, bytes: u16) {
        if self.packets == 0 {
            self.first_micros = at_micros;
        }
        self.packets += 1;
        self.bytes += f64::from(bytes);
        let seconds = at_micros.saturating_sub(self.first_micros) as f64 / 1e6;
        let (x, y, xx, xy) = self.sums;
        let b = self.bytes;
        self.sums = (x + b, y + seconds, xx + b * b, xy + b * seconds);
    }

    /// Bits per second; infinite if all came at once.
    fn bps(&self) -> f64 {
        let count = f64::from(self.packets);
        let (x, y, xx, xy) = self.sums;
        let seconds_per_byte = (count * xy - x * y) / (count * xx - x * x).max(1.0);
        8.0 / seconds_per_byte.max(1e-12)
    }
}

/// A packet that arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passed {
    pub(super) sent_micros: i64,
    /// By the receiver's clock.
    pub(super) arrived_micros: i64,
    pub(super) bytes: u16,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Answer {
    pub(super) bps: f64,
    /// It arrived slower than it was sent: that is all the path carries.
    pub(super) full: bool,
    /// That may have come of the receiver alone: the path carries so much, and nobody knows whether more.
    pub(super) doubtful: bool,
}

/// The asking side of one transport.
#[derive(Debug, Default)]
pub(super) struct Prober {
    burst: Option<Burst>,
    /// Not before.
    next: Option<Instant>,
    pause: Option<Duration>,
    limited: bool,
    /// What is known comes of such an answer; and so it did before the last one.
    trusted: bool,
    was_trusted: bool,
    answer: Option<Answer>,
    answered: Option<Instant>,
    fall: Option<Fall>,
    /// Answers that said nothing in a row, and the highest of them, bits per second.
    doubts: (u32, f64),
}

/// The rate was lowered, perhaps several times.
#[derive(Debug, Clone, Copy)]
struct Fall {
    from_bps: f64,
    began: Instant,
    /// Whether the path still carries it has been asked.
    asked: bool,
}

impl Prober {
    /// Whether a part of a burst is due, and for how many bytes. `known_bps` is the estimate, `goal_bps` what
    /// would be of use, `jitter_ms` how much delays differ; `None`: a queue is there already, and the path is
    /// left alone. `number` is the next packet's.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        (known_bps, goal_bps): (f64, f64),
        jitter_ms: Option<f64>,
        number: u16,
    ) -> Option<Asked> {
        if self.burst.is_none() {
            let jitter_ms = jitter_ms?;
            let due = self.next.is_none_or(|next| next <= now);
            if !due || goal_bps <= known_bps * 1.05 {
                return None;
            }
            let (bps, longest) = match self.recovery(now, known_bps) {
                Some(bps) => (bps.min(goal_bps), RECOVERY_SECONDS),
                None => {
                    let step = if self.limited { STEP_LIMITED } else { STEP };
                    let bps = (known_bps * step).min(goal_bps.max(known_bps * 1.2));
                    (bps, QUEUE_SECONDS / (bps / known_bps - 1.0).max(0.1))
                }
            };
            let seconds = (jitter_ms * JITTERS / 1_000.0).min(longest);
            self.begin(now, bps, seconds, number);
        }
        let burst = self.burst.as_mut()?;
        if burst.at > now {
            return None;
        }
        if burst.parts_sent == burst.parts {
            self.give_up(now);
            return None;
        }
        burst.parts_sent += 1;
        burst.latest = now;
        burst.before_latest_bytes = burst.sent_bytes;
        let last = burst.parts_sent == burst.parts;
        burst.at = now + if last { PATIENCE } else { PART_INTERVAL };
        let due = burst.bps / 8.0 * PART_INTERVAL.as_secs_f64() * f64::from(burst.parts_sent);
        Some(Asked {
            bytes: (due as usize).saturating_sub(burst.sent_bytes as usize),
            begins: burst.parts_sent == 1,
        })
    }

    /// Most of what was known before a fall, to be asked for once.
    fn recovery(&mut self, now: Instant, known_bps: f64) -> Option<f64> {
        let fall = self.fall.as_mut().filter(|fall| !fall.asked)?;
        let lately = now.saturating_duration_since(fall.began) < FALL_TIME;
        if !lately || known_bps >= fall.from_bps * FALL {
            return None;
        }
        fall.asked = true;
        Some(fall.from_bps * RECOVERED)
    }

    fn begin(&mut self, now: Instant, bps: f64, seconds: f64, number: u16) {
        let seconds = (BURST_BITS / bps).max(seconds);
        let parts = (seconds / PART_INTERVAL.as_secs_f64()).ceil() as u32;
        self.burst = Some(Burst {
            bps,
            parts: parts.clamp(PARTS_LEAST, PARTS_MOST),
            parts_sent: 0,
            at: now,
            first: number,
            sent: 0,
            sent_bytes: 0,
            began: now,
            latest: now,
            before_latest_bytes: 0,
            open: true,
            left: Line::default(),
            arrived: Line::default(),
            passed: false,
        });
    }

    /// A packet left, padding or not.
    pub(super) fn on_sent(&mut self, number: u16, bytes: usize) {
        if let Some(burst) = self.burst.as_mut().filter(|burst| burst.open) {
            burst.sent = number.wrapping_sub(burst.first).wrapping_add(1);
            burst.sent_bytes += bytes as u64;
        }
    }

    /// The turn has ended: what follows the last part does not belong to the burst.
    pub(super) fn end_turn(&mut self) {
        if let Some(burst) = &mut self.burst {
            burst.open &= burst.parts_sent < burst.parts;
        }
    }

    /// Whether what leaves belongs to a burst.
    pub(super) fn is_open(&self) -> bool {
        self.burst.is_some_and(|burst| burst.open)
    }

    /// When [`Prober::poll`] is to be asked next, while a burst goes out.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.burst
            .filter(|burst| burst.parts_sent < burst.parts)
            .map(|burst| burst.at)
    }

    /// When a burst may begin, or is given up; `None`: none was sent yet.
    pub(super) fn next_at(&self) -> Option<Instant> {
        match &self.burst {
            Some(burst) => Some(burst.at),
            None => self.next,
        }
    }

    /// Feedback tells of a packet; `None`: that it did not arrive.
    pub(super) fn on_told(&mut self, number: u16, passed: Option<Passed>) {
        let Some(burst) = &mut self.burst else {
            return;
        };
        let place = number.wrapping_sub(burst.first);
        if place >= burst.sent {
            burst.passed |= !burst.open && place < 0x8000;
            return;
        }
        burst.passed |= !burst.open && place + 1 == burst.sent;
        let Some(passed) = passed else {
            return;
        };
        burst.left.add(passed.sent_micros, passed.bytes);
        burst.arrived.add(passed.arrived_micros, passed.bytes);
    }

    /// What the path has shown to carry, if a burst is answered. `jitter_ms`: how much delays differ.
    pub(super) fn take_answer(&mut self, now: Instant, jitter_ms: f64) -> Option<Answer> {
        let burst = self.burst.filter(|burst| burst.passed)?;
        self.burst = None;
        let Some(mut answer) = burst.answer() else {
            self.give_up(now);
            return None;
        };
        let (doubts, most) = std::mem::take(&mut self.doubts);
        // Where something was lost, or the path was found full before, one burst is enough to say that it is.
        let doubtful = answer.full
            && !self.trusted
            && jitter_ms > JITTERY_MS
            && burst.arrived.packets == u32::from(burst.sent)
            && burst.queue_ms() < jitter_ms * DOUBTFUL;
        if doubtful {
            answer.bps = answer.bps.max(most);
            answer.doubtful = doubts + 1 < DOUBTS_MOST;
            answer.full = !answer.doubtful;
        }
        self.answer = Some(answer);
        self.answered = Some(now);
        if answer.doubtful {
            self.doubts = (doubts + 1, answer.bps);
            self.next = Some(now + AFTER_DOUBT);
            return Some(answer);
        }
        self.was_trusted = std::mem::replace(&mut self.trusted, answer.full);
        self.limited = answer.full;
        if answer.full {
            self.wait_longer(now);
        } else {
            self.pause = None;
            self.next = Some(now + NEXT_STEP);
        }
        Some(answer)
    }

    /// The rate was lowered from so much, bits per second: what was asked is answered. `soon`: what arrived was no
    /// measure of the path, so it is asked again as soon as a queue may have drained.
    pub(super) fn on_decrease(&mut self, now: Instant, from_bps: f64, soon: bool) {
        let falling = self
            .fall
            .filter(|fall| now.saturating_duration_since(fall.began) < FALL_TIME);
        if falling.is_none_or(|fall| fall.from_bps < from_bps) {
            self.fall = Some(Fall {
                from_bps,
                began: now,
                asked: false,
            });
        }
        self.burst = None;
        self.doubts = (0, 0.0);
        self.limited = true;
        self.trusted = false;
        let pause = if soon { AFTER_DOUBT } else { AFTER_DECREASE };
        self.next = Some(now + pause);
    }

    /// Whether a burst is on its way, or the queue that it made still drains.
    pub(super) fn is_asking(&self, now: Instant) -> bool {
        let lately = |at| now.saturating_duration_since(at) < DRAINED;
        self.burst.is_some() || self.answered.is_some_and(lately)
    }

    /// Whether the path was found full lately.
    pub(super) fn is_limited(&self) -> bool {
        self.limited
    }

    /// Whether what was known before the last answer came of one, too, by which the path was full.
    pub(super) fn was_trusted(&self) -> bool {
        self.was_trusted
    }

    /// The last answer, bits per second.
    pub(super) fn answered_bps(&self) -> Option<f64> {
        self.answer.map(|answer| answer.bps)
    }

    fn give_up(&mut self, now: Instant) {
        self.burst = None;
        self.wait_longer(now);
    }

    fn wait_longer(&mut self, now: Instant) {
        let pause = self
            .pause
            .map_or(PAUSE, |pause| (pause * 2).min(PAUSE_MOST));
        self.pause = Some(pause);
        self.next = Some(now + pause);
    }
}

impl Burst {
    /// How much later its last packet arrived than it left, beside its first, milliseconds.
    fn queue_ms(&self) -> f64 {
        let bits = self.left.bytes * 8.0;
        (bits / self.arrived.bps() - bits / self.left.bps()) * 1e3
    }

    /// The lower of the rates it left and arrived with; `None`: too little of it arrived.
    fn answer(&self) -> Option<Answer> {
        let share = f64::from(self.arrived.packets) / f64::from(self.sent.max(1));
        if self.arrived.packets < ARRIVED_LEAST || share < ARRIVED_SHARE {
            return None;
        }
        // Timers may be late.
        let span = self.latest.saturating_duration_since(self.began);
        let sent = self.before_latest_bytes as f64 * 8.0 / span.as_secs_f64().max(0.001);
        if sent < self.bps * ARRIVED_SHARE {
            // There was not enough to ask with, or not soon enough.
            return None;
        }
        let (left, came) = (self.left.bps(), self.arrived.bps());
        let full = came < left * 0.9;
        Some(Answer {
            bps: if full {
                came * TARGET_SHARE
            } else {
                left.min(came).min(sent * 1.2)
            },
            full,
            doubtful: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::testing::start;

    /// Asks over a path that carries so much; the answer.
    fn ask(known_bps: f64, goal_bps: f64, path_bps: f64, media: bool) -> Option<Answer> {
        let mut now = start();
        let began = now;
        let mut prober = Prober::default();
        let (mut number, mut free, mut arrivals) = (65_530_u16, 0_i64, Vec::new());
        let mut send = |prober: &mut Prober, now: Instant, bytes: usize| {
            prober.on_sent(number, bytes);
            let sent = (now - began).as_micros() as i64;
            free = free.max(sent) + (bytes as f64 * 8e6 / path_bps) as i64;
            arrivals.push((number, sent, free, bytes as u16));
            number = number.wrapping_add(1);
            number
        };
        let mut next = 65_530;
        for step in 0..60 {
            if let Some(asked) = prober.poll(now, (known_bps, goal_bps), Some(0.0), next) {
                for _ in 0..asked.bytes.div_ceil(300) {
                    next = send(&mut prober, now, 300);
                }
            }
            if media && step % 6 == 0 {
                next = send(&mut prober, now, 1_200);
            }
            prober.end_turn();
            now += Duration::from_millis(5);
            if prober.burst.is_some() && prober.wake_at().is_none() {
                break;
            }
        }
        send(&mut prober, now, 1_200);
        for (number, sent_micros, arrived_micros, bytes) in arrivals {
            let passed = Passed {
                sent_micros,
                arrived_micros,
                bytes,
            };
            prober.on_told(number, Some(passed));
        }
        prober.take_answer(now, 0.0)
    }

    #[test]
    fn a_path_with_room_is_found_to_carry_what_was_asked() {
        for media in [false, true] {
            let answer = ask(1e6, 5e6, 20e6, media).unwrap();
            assert!(!answer.full);
            assert!((1.9e6..2.6e6).contains(&answer.bps), "{answer:?}");
        }
        let answer = ask(1e6, 1.3e6, 20e6, false).unwrap();
        assert!(
            (1.2e6..1.5e6).contains(&answer.bps),
            "no more than is of use"
        );
        assert_eq!(ask(1e6, 1e6, 20e6, false), None, "nothing to ask for");
    }

    #[test]
    fn a_path_without_is_found_full() {
        for (known, path) in [(1e6, 1.2e6), (200_000.0, 250_000.0), (4e6, 4e6)] {
            for media in [false, true] {
                let answer = ask(known, 9e9, path, media).unwrap();
                assert!(answer.full, "{path}");
                let off = (answer.bps / (path * TARGET_SHARE) - 1.0).abs();
                assert!(off < 0.05, "{path}: {answer:?}");
            }
        }
    }

    #[test]
    fn a_burst_that_leaves_late_asks_nothing() {
        let mut now = start();
        let mut prober = Prober::default();
        for number in 0..40_u16 {
            // Every 33 ms, as if nobody had woken it up for more.
            if prober.poll(now, (1e6, 9e6), Some(0.0), number).is_some() {
                prober.on_sent(number, 1_250);
            }
            prober.end_turn();
            let at = i64::from(number) * 33_000;
            let passed = Passed {
                sent_micros: at,
                arrived_micros: at,
                bytes: 1_250,
            };
            prober.on_told(number, Some(passed));
            assert_eq!(prober.take_answer(now, 0.0), None);
            now += Duration::from_millis(33);
        }
        assert!(!prober.is_limited());
    }

    #[test]
    fn what_is_not_answered_is_given_up_and_asked_again_later() {
        let began = start();
        let mut prober = Prober::default();
        let mut asked = Vec::new();
        for ms in (0..60_000).step_by(5) {
            let now = began + Duration::from_millis(ms);
            let idle = prober.burst.is_none();
            if prober.poll(now, (1e6, 9e6), Some(0.0), 7).is_some() && idle {
                asked.push(ms);
            }
        }
        let pauses: Vec<u64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!((5..12).contains(&pauses.len()), "{pauses:?}");
        assert!(
            pauses.iter().all(|pause| (4_000..10_000).contains(pause)),
            "{pauses:?}"
        );
    }
}

//! Whether a queue builds up on the path: packets that left together arrive ever later
//! (draft-ietf-rmcat-gcc-02 §5.2 to §5.4, with a line through the delays in place of the Kalman filter, as
//! browsers do it), or stay far later than they could.

/// Packets sent within this time are one group: what leaves in a turn queues up behind itself.
const GROUP_MICROS: i64 = 5_000;

/// What arrives behind a group without a pause belongs to it, for so long.
const BURST_MICROS: i64 = 100_000;

/// Groups whose delays the line is drawn through, and how many it takes at least.
const WINDOW: usize = 20;
const WINDOW_LEAST: usize = 10;

/// How fast a delay follows its measurements.
const SMOOTHING: f64 = 0.9;

/// Makes a slope comparable to the threshold: gain, and most groups it is multiplied with.
const TREND_GAIN: f64 = 4.0;
const GROUPS_MOST: u32 = 60;

/// The threshold adapts between these, milliseconds, so that neither a competing flow that fills queues
/// starves this one, nor a single deep queue makes it deaf (§5.4).
const THRESHOLD: (f64, f64) = (6.0, 600.0);
const THRESHOLD_BEGIN: f64 = 12.5;
const THRESHOLD_UP: f64 = 0.0087;
const THRESHOLD_DOWN: f64 = 0.039;

/// A trend so far above the threshold is a spike, which says nothing about the path in general.
const SPIKE: f64 = 15.0;

/// A trend must last so long to be one, milliseconds.
const OVERUSE_MS: f64 = 10.0;

/// A pause in arrivals after which everything is measured anew, microseconds.
const GAP_MICROS: i64 = 3_000_000;

/// A queue that stays longer than this is too long whether it grows or not, milliseconds.
const STANDING_MS: f64 = 120.0;

/// Below this a queue is hardly one, milliseconds.
const QUEUE_MS: f64 = 25.0;

/// The least delay is looked for over twice this, microseconds.
const LEAST_MICROS: i64 = 10_000_000;

/// Decreases after which a delay that does not fall is not ours: the path has become longer.
const STANDING_TRIALS: u32 = 4;

/// What the path does (§5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Usage {
    #[default]
    Normal,
    /// A queue grows, or is too long.
    Over,
    /// A queue drains.
    Under,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    first_sent: i64,
    last_sent: i64,
    first_arrived: i64,
    arrived: i64,
}

/// The detector of one path.
#[derive(Debug, Default)]
pub(super) struct DelayDetector {
    group: Option<Group>,
    previous: Option<Group>,
    line: Line,
    groups: u32,
    delay_ms: f64,
    smoothed_ms: f64,
    began: Option<i64>,
    threshold: Option<f64>,
    over_ms: f64,
    over_times: u32,
    last_trend: f64,
    last_update: Option<i64>,
    usage: Usage,
    queue: Queue,
}

impl DelayDetector {
    /// What the path does, as far as is known.
    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// How much longer packets take than the fastest of late, milliseconds.
    pub(super) fn queue_ms(&self) -> f64 {
        self.queue.ms()
    }

    /// How much that differs from group to group, milliseconds.
    pub(super) fn jitter_ms(&self) -> f64 {
        self.queue.jitter_ms
    }

    /// Whether there is a queue, beyond what jitter looks like.
    pub(super) fn has_queue(&self) -> bool {
        self.queue_ms() > QUEUE_MS + 2.0 * self.jitter_ms()
    }

    /// The rate was lowered.
    pub(super) fn on_decrease(&mut self) {
        self.queue.on_decrease();
    }

    /// A packet was sent and arrived at these times, microseconds of either end's clock. True: that
    /// completed a group, so there is news.
    pub(super) fn on_packet(&mut self, sent: i64, arrived: i64) -> bool {
        let fresh = Group {
            first_sent: sent,
            last_sent: sent,
            first_arrived: arrived,
            arrived,
        };
        let Some(group) = &mut self.group else {
            self.group = Some(fresh);
            return false;
        };
        if sent < group.first_sent {
            // Reordered: it belongs to a group that is complete.
            return false;
        }
        let span = arrived.saturating_sub(group.arrived);
        if span.saturating_abs() > GAP_MICROS {
            *self = DelayDetector {
                group: Some(fresh),
                threshold: self.threshold,
                ..DelayDetector::default()
            };
            return false;
        }
        // Packets that queued up behind each other arrive together whenever they were sent.
        let queued = span <= GROUP_MICROS
            && span < sent - group.last_sent
            && arrived - group.first_arrived < BURST_MICROS;
        if sent - group.first_sent <= GROUP_MICROS || queued {
            group.last_sent = group.last_sent.max(sent);
            group.arrived = group.arrived.max(arrived);
            return false;
        }
        let complete = *group;
        self.group = Some(fresh);
        let Some(previous) = self.previous.replace(complete) else {
            return false;
        };
        let sent = (complete.last_sent - previous.last_sent) as f64 / 1_000.0;
        let arrived = (complete.arrived - previous.arrived) as f64 / 1_000.0;
        self.queue
            .on_group(complete.first_sent, complete.first_arrived);
        self.on_group(complete.arrived, sent, arrived);
        true
    }

    fn on_group(&mut self, arrived_micros: i64, sent_ms: f64, arrived_ms: f64) {
        let began = *self.began.get_or_insert(arrived_micros);
        let at_ms = (arrived_micros - began) as f64 / 1_000.0;
        self.groups = (self.groups + 1).min(1_000);
        self.delay_ms += arrived_ms - sent_ms;
        self.smoothed_ms = SMOOTHING * self.smoothed_ms + (1.0 - SMOOTHING) * self.delay_ms;
        self.line.add(at_ms, self.smoothed_ms);
        let slope = self.line.slope().unwrap_or(self.last_trend);
        self.judge(slope, sent_ms, arrived_micros);
    }

    fn judge(&mut self, slope: f64, sent_ms: f64, now_micros: i64) {
        let threshold = self.threshold.unwrap_or(THRESHOLD_BEGIN);
        let trend = f64::from(self.groups.min(GROUPS_MOST)) * slope * TREND_GAIN;
        if self.groups < 2 {
            self.usage = Usage::Normal;
        } else if trend > threshold {
            // The first one is taken for half as long.
            self.over_ms += if self.over_times == 0 {
                sent_ms / 2.0
            } else {
                sent_ms
            };
            self.over_times += 1;
            if self.over_ms > OVERUSE_MS && self.over_times > 1 && slope >= self.last_trend {
                self.over_ms = 0.0;
                self.over_times = 0;
                self.usage = Usage::Over;
            }
        } else {
            self.over_ms = 0.0;
            self.over_times = 0;
            self.usage = if trend < -threshold {
                Usage::Under
            } else if self.queue.is_standing() {
                Usage::Over
            } else {
                Usage::Normal
            };
        }
        self.last_trend = slope;
        self.adapt(trend, threshold, now_micros);
    }

    fn adapt(&mut self, trend: f64, threshold: f64, now_micros: i64) {
        let last = self.last_update.replace(now_micros).unwrap_or(now_micros);
        let distance = trend.abs() - threshold;
        if distance > SPIKE {
            self.threshold = Some(threshold);
            return;
        }
        let rate = if distance < 0.0 {
            THRESHOLD_DOWN
        } else {
            THRESHOLD_UP
        };
        let elapsed_ms = ((now_micros - last) as f64 / 1_000.0).clamp(0.0, 100.0);
        let adapted = threshold + rate * distance * elapsed_ms;
        self.threshold = Some(adapted.clamp(THRESHOLD.0, THRESHOLD.1));
    }
}

/// The last points of a line.
#[derive(Debug, Default)]
struct Line {
    /// (arrival, smoothed delay), milliseconds; in no order.
    points: [(f64, f64); WINDOW],
    count: usize,
}

impl Line {
    fn add(&mut self, x: f64, y: f64) {
        if let Some(point) = self.points.get_mut(self.count % WINDOW) {
            *point = (x, y);
        }
        self.count += 1;
        if self.count >= 2 * WINDOW {
            self.count -= WINDOW;
        }
    }

    /// Slope of the line with the least squares; `None`: there are too few points.
    fn slope(&self) -> Option<f64> {
        let known = self.points.get(..self.count.min(WINDOW))?;
        if known.len() < WINDOW_LEAST {
            return None;
        }
        let count = known.len() as f64;
        let points = known.iter();
        let sum = points.fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
        let (x, y) = (sum.0 / count, sum.1 / count);
        let (over, under) = known.iter().fold((0.0, 0.0), |(over, under), point| {
            let (dx, dy) = (point.0 - x, point.1 - y);
            (over + dx * dy, under + dx * dx)
        });
        (under > 0.0).then(|| over / under)
    }
}

/// The queue itself, as far as the least delay is that of an empty one.
#[derive(Debug, Default)]
struct Queue {
    /// Since when, and the least difference of the two clocks in that time and in that before,
    /// microseconds.
    least: Option<(i64, i64, i64)>,
    smoothed_ms: f64,
    jitter_ms: f64,
    /// Length at the first of the last decreases, and how many there were.
    trial: Option<(f64, u32)>,
}

impl Queue {
    /// The first packet of a group does not wait for the others.
    fn on_group(&mut self, sent: i64, arrived: i64) {
        let delay = arrived.saturating_sub(sent);
        let (since, present, before) = self.least.unwrap_or((arrived, delay, delay));
        let least = if arrived.saturating_sub(since) > LEAST_MICROS {
            (arrived, delay, present)
        } else {
            (since, present.min(delay), before)
        };
        self.least = Some(least);
        let base = least.1.min(least.2);
        let ms = delay.saturating_sub(base) as f64 / 1_000.0;
        self.jitter_ms += ((ms - self.smoothed_ms).abs() - self.jitter_ms) * 0.05;
        self.smoothed_ms += (ms - self.smoothed_ms) * 0.2;
        if self.smoothed_ms < STANDING_MS {
            self.trial = None;
        }
    }

    fn ms(&self) -> f64 {
        self.smoothed_ms
    }

    fn is_standing(&self) -> bool {
        self.smoothed_ms > STANDING_MS
    }

    fn on_decrease(&mut self) {
        if !self.is_standing() {
            return;
        }
        let (first, count) = self.trial.unwrap_or((self.smoothed_ms, 0));
        if self.smoothed_ms < first * 0.8 {
            self.trial = None;
        } else if count >= STANDING_TRIALS {
            self.least = None;
            self.smoothed_ms = 0.0;
            self.trial = None;
        } else {
            self.trial = Some((first, count + 1));
        }
    }
}

#[cfg(test)]
#[path = "delay_tests.rs"]
mod tests;

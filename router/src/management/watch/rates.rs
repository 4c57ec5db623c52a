//! Two snapshots → rates over the time between them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rillway_core::inspect::Traffic;
use rillway_core::stats::DropCause;

use super::take::{Detail, PluginTaken, Snapshot, WorkerTaken};
use crate::management::verbs::{convert, latency};
use crate::management::wire;
use crate::worker::WorkerStats;
use crate::worker::latency::Seen;

/// Makes the samples of one watcher.
#[derive(Default)]
pub(super) struct Rates {
    before: Option<Arc<Snapshot>>,
    workers: BTreeMap<u8, (Arc<Seen>, wire::WorkerSample)>,
}

/// A time over which counters have grown.
#[derive(Debug, Clone, Copy)]
struct Span(Duration);

impl Span {
    fn ms(self) -> u64 {
        convert::whole_ms(self.0)
    }

    fn per_second(self, count: u64) -> f64 {
        match self.0.as_secs_f64() {
            seconds if seconds > 0.0 => count as f64 / seconds,
            _ => 0.0,
        }
    }

    fn bps(self, bytes: u64) -> u64 {
        // Far below 2^53.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let bps = (self.per_second(bytes) * 8.0).round() as u64;
        bps
    }
}

/// How much a counter has grown. One that is lower than before has begun anew: a room that was opened again.
fn grown(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

fn mean(sum: u64, count: u64) -> f64 {
    match count {
        0 => 0.0,
        _ => sum as f64 / count as f64,
    }
}

fn permille(lost: u64, sent: u64) -> f64 {
    // Reports come later than packets leave, and may count those of the time before.
    (mean(lost, sent) * 1_000.0).min(1_000.0)
}

impl Rates {
    /// The next sample. `room`: what is in it is wanted.
    pub(super) fn sample(&mut self, now: &Arc<Snapshot>, room: Option<&str>) -> wire::Sample {
        let before = self.before.replace(now.clone());
        let before = before.as_deref();
        let span = Span(before.map_or(Duration::ZERO, |before| {
            now.at.saturating_duration_since(before.at)
        }));
        let workers: Vec<_> = now.workers.iter().map(|w| self.worker(w)).collect();
        wire::Sample {
            at_ms: now.at_ms,
            uptime_ms: now.uptime_ms,
            over_ms: span.ms(),
            phase: now.phase.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            rooms: rooms(before, now, span),
            rooms_open: workers.iter().map(|worker| worker.rooms).sum(),
            plugins: plugins(before, now, span),
            recording: Some(recording(before, now, span)),
            memory_bytes: now.memory_bytes,
            silent_workers: now.silent.iter().map(|id| u32::from(*id)).collect(),
            room: room.and_then(|name| {
                let of = |snapshot: &Snapshot| snapshot.details.get(name).cloned().flatten();
                let before = before.and_then(of);
                Some(detail(name, before.as_deref(), &*of(now)?, span))
            }),
            workers,
        }
    }

    fn worker(&mut self, now: &WorkerTaken) -> wire::WorkerSample {
        let before = self.workers.get(&now.id);
        if let Some((seen, shown)) = before
            && seen.at == now.seen.at
        {
            // It has told nothing new since.
            return shown.clone();
        }
        let shown = worker(before.map(|(seen, _)| &**seen), now);
        self.workers
            .insert(now.id, (now.seen.clone(), shown.clone()));
        shown
    }
}

fn worker(before: Option<&Seen>, now: &WorkerTaken) -> wire::WorkerSample {
    let mut sample = wire::WorkerSample {
        id: u32::from(now.id),
        driver: now.driver.to_owned(),
        forwarding: Some(wire::Latency::default()),
        ..wire::WorkerSample::default()
    };
    let Some(stats) = &now.seen.stats else {
        return sample;
    };
    sample.rooms = stats.shard.rooms;
    sample.participants = stats.shard.participants;
    sample.tracks = stats.shard.tracks;
    sample.subscriptions = stats.shard.subscriptions;
    sample.busy = stats.busy_ratio;
    sample.queue_depth = stats.requests_waiting as u64;
    let known = before.and_then(|before| Some((before, before.stats.as_ref()?, before.at?)));
    let Some(((seen, before, then), at)) = known.zip(now.seen.at) else {
        sample.drops = drops(None, stats, Span(Duration::ZERO));
        return sample;
    };
    let span = Span(at.saturating_duration_since(then));
    sample.over_ms = span.ms();
    turns(&mut sample, before, stats, span);
    sample.drops = drops(Some(before), stats, span);
    let mut micros = now.seen.latency.clone();
    // Both have the same bounds, and counts only grow.
    if micros.subtract(&seen.latency).is_ok() {
        sample.forwarding = Some(latency(&micros));
    }
    sample
}

fn turns(sample: &mut wire::WorkerSample, before: &WorkerStats, now: &WorkerStats, span: Span) {
    let busy = now.turn.busy.saturating_sub(before.turn.busy);
    let turns = grown(before.turn.turns, now.turn.turns);
    if !span.0.is_zero() {
        sample.busy = (busy.as_secs_f64() / span.0.as_secs_f64()).clamp(0.0, 1.0);
    }
    sample.turns_per_second = span.per_second(turns);
    let micros = u64::try_from(busy.as_micros()).unwrap_or(u64::MAX);
    sample.turn_mean_us = mean(micros, turns);
    let pairs = before
        .turn
        .turn_micros
        .iter()
        .zip(now.turn.turn_micros.iter());
    sample.turn_p99_us = p99(pairs.map(|((_, then), (bound, now))| (bound, grown(then, now))));
    let batches = |stats: &WorkerStats| stats.turn.batch.iter().map(|(_, count)| count).sum();
    sample.batch_mean = mean(
        grown(before.turn.batch.sum(), now.turn.batch.sum()),
        grown(batches(before), batches(now)),
    );
    let (was, is) = (&before.shard, &now.shard);
    sample.packets_received_per_second = span.per_second(grown(was.rtp_received, is.rtp_received));
    sample.packets_forwarded_per_second =
        span.per_second(grown(was.rtp_forwarded, is.rtp_forwarded));
    let (was, is) = (&before.driver, &now.driver);
    sample.received_bps = span.bps(grown(was.received_bytes, is.received_bytes));
    sample.sent_bps = span.bps(grown(was.sent_bytes, is.sent_bytes));
}

/// The bound of the bucket that 99 of 100 are within; beyond the last one, ten times that. 0: there is nothing.
fn p99(buckets: impl Iterator<Item = (Option<u64>, u64)>) -> u64 {
    let buckets: Vec<_> = buckets.collect();
    let total: u64 = buckets.iter().map(|(_, count)| count).sum();
    let rank = total - total / 100;
    let (mut seen, mut last) = (0, 0);
    for (bound, count) in buckets {
        seen += count;
        last = bound.unwrap_or(last * 10);
        if seen >= rank && total > 0 {
            return last;
        }
    }
    0
}

/// What was lost within the router, by cause; causes of which there was nothing are left out.
fn drops(before: Option<&WorkerStats>, now: &WorkerStats, span: Span) -> Vec<wire::DropSample> {
    let counts = |stats: &WorkerStats| {
        let by_cause = DropCause::ALL.into_iter().zip(stats.shard.dropped);
        let mut counts: Vec<_> = by_cause.map(|((_, label), count)| (label, count)).collect();
        counts.extend([
            ("truncated", stats.driver.received_truncated),
            ("pacer", stats.shard.pacer_dropped),
            ("send_full", stats.transmit.dropped_full),
            ("unsendable", stats.transmit.dropped_invalid),
            ("send_error", stats.driver.send_errors),
            ("data", stats.shard.data_dropped),
            ("events", stats.backlog.dropped + stats.rooms.dropped),
        ]);
        counts
    };
    let before = before.map(counts).unwrap_or_default();
    let before = before.into_iter().map(|(_, count)| Some(count));
    let pairs = counts(now)
        .into_iter()
        .zip(before.chain(std::iter::repeat(None)));
    let occurred = pairs.filter(|((_, now), _)| *now > 0);
    let samples = occurred.map(|((cause, now), before)| wire::DropSample {
        cause: cause.to_owned(),
        total: now,
        per_second: span.per_second(before.map_or(0, |before| grown(before, now))),
    });
    samples.collect()
}

fn rooms(before: Option<&Snapshot>, now: &Snapshot, span: Span) -> Vec<wire::RoomSample> {
    let known = before.into_iter().flat_map(|before| &before.rooms);
    let known: HashMap<_, _> = known
        .map(|(_, view)| (view.name.as_str(), view.traffic))
        .collect();
    let rooms = now.rooms.iter().map(|(workers, view)| {
        let mut workers = workers.iter().map(|worker| u32::from(*worker));
        let mut sample = wire::RoomSample {
            name: view.name.clone(),
            worker: workers.next().unwrap_or_default(),
            other_workers: workers.collect(),
            participants: view.participants,
            tracks: view.tracks,
            subscriptions: view.subscriptions,
            ..wire::RoomSample::default()
        };
        if before.is_some() {
            // A room that was not there before has grown from nothing.
            let was = known.get(view.name.as_str());
            let grown = traffic(was.copied().unwrap_or_default(), view.traffic);
            sample.received_bps = span.bps(grown.bytes_received);
            sample.sent_bps = span.bps(grown.bytes_sent);
            sample.packets_received_per_second = span.per_second(grown.packets_received);
            sample.packets_sent_per_second = span.per_second(grown.packets_sent);
            sample.loss_permille = permille(grown.packets_lost, grown.packets_sent);
        }
        sample
    });
    rooms.collect()
}

/// How much traffic has grown.
fn traffic(before: Traffic, now: Traffic) -> Traffic {
    Traffic {
        packets_received: grown(before.packets_received, now.packets_received),
        bytes_received: grown(before.bytes_received, now.bytes_received),
        packets_sent: grown(before.packets_sent, now.packets_sent),
        bytes_sent: grown(before.bytes_sent, now.bytes_sent),
        packets_lost: grown(before.packets_lost, now.packets_lost),
        ..Traffic::default()
    }
}

fn plugins(before: Option<&Snapshot>, now: &Snapshot, span: Span) -> Vec<wire::PluginSample> {
    let plugins = now.plugins.iter().map(|plugin| {
        let same = |other: &&PluginTaken| {
            other.name == plugin.name && other.stats.kind == plugin.stats.kind
        };
        let before = before.and_then(|before| before.plugins.iter().find(same));
        let stats = &plugin.stats;
        let mut sample = wire::PluginSample {
            name: plugin.name.clone(),
            kind: stats.kind.to_string(),
            version: plugin.version.clone(),
            breaker: stats.breaker.name().to_owned(),
            calls: stats.calls,
            faults: stats.faults_total(),
            budget_us: plugin.budget_us,
            instances: stats.instances as u64,
            memory_bytes: stats.memory_bytes,
            ..wire::PluginSample::default()
        };
        if let Some(before) = before.map(|before| &before.stats) {
            sample.calls_per_second = span.per_second(grown(before.calls, stats.calls));
            let faults = grown(before.faults_total(), stats.faults_total());
            sample.faults_per_second = span.per_second(faults);
            let mut durations = stats.durations.clone();
            for (now, was) in durations.counts.iter_mut().zip(&before.durations.counts) {
                *now = grown(*was, *now);
            }
            durations.sum_us = grown(before.durations.sum_us, durations.sum_us);
            sample.call_mean_us = mean(durations.sum_us, durations.count());
            sample.call_p99_us = durations.quantile_us(0.99).unwrap_or(0);
        }
        sample
    });
    plugins.collect()
}

fn recording(before: Option<&Snapshot>, now: &Snapshot, span: Span) -> wire::RecordingSample {
    let sum = |snapshot: &Snapshot| {
        let stats = snapshot
            .workers
            .iter()
            .filter_map(|w| w.seen.stats.as_ref());
        stats.fold((0, 0, 0), |(tracks, packets, bytes), stats| {
            let shard = &stats.shard;
            (
                tracks + shard.recordings,
                packets + shard.rtp_recorded,
                bytes + shard.rtp_recorded_bytes,
            )
        })
    };
    let (tracks, packets, bytes) = sum(now);
    let (_, packets_before, bytes_before) = before.map_or((0, packets, bytes), sum);
    wire::RecordingSample {
        tracks,
        packets_per_second: span.per_second(grown(packets_before, packets)),
        bps: span.bps(grown(bytes_before, bytes)),
    }
}

fn detail(name: &str, before: Option<&Detail>, now: &Detail, span: Span) -> wire::RoomDetail {
    let known = before.into_iter().flat_map(|before| &before.participants);
    let known: HashMap<_, _> = known.map(|view| (view.info.id, both(view))).collect();
    let participants = now.participants.iter().map(|view| {
        let grown = known
            .get(&view.info.id)
            .map(|was| traffic(*was, both(view)));
        let grown = grown.unwrap_or_default();
        wire::ParticipantSample {
            participant: Some(convert::participant(view.info.id.worker().0, view.clone())),
            received_bps: span.bps(grown.bytes_received),
            sent_bps: span.bps(grown.bytes_sent),
            loss_permille: permille(grown.packets_lost, grown.packets_sent),
        }
    });
    let known = before.into_iter().flat_map(|before| &before.subscriptions);
    let known: HashMap<_, _> = known
        .map(|view| ((view.subscriber, view.track), view.bytes))
        .collect();
    let subscriptions = now.subscriptions.iter().map(|view| {
        let was = known.get(&(view.subscriber, view.track));
        wire::SubscriptionSample {
            forwarded_bps: was.map_or(0, |was| span.bps(grown(*was, view.bytes))),
            subscription: Some(convert::subscription(view.clone())),
        }
    });
    wire::RoomDetail {
        name: name.to_owned(),
        participants: participants.collect(),
        subscriptions: subscriptions.collect(),
        tracks: now.tracks.iter().cloned().map(convert::track).collect(),
        cut: now.cut,
    }
}

/// What went over both transports of a participant.
fn both(view: &rillway_core::inspect::ParticipantView) -> Traffic {
    let mut sum = Traffic::default();
    for transport in [&view.publish, &view.subscribe].into_iter().flatten() {
        sum.add(&transport.traffic);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let of = |counts: [u64; 3]| p99([Some(10), Some(20), None].into_iter().zip(counts));
        assert_eq!(of([0, 0, 0]), 0);
        assert_eq!(of([1, 0, 0]), 10);
        assert_eq!(of([99, 1, 0]), 10);
        assert_eq!(of([98, 2, 0]), 20);
        assert_eq!(of([0, 0, 5]), 200, "beyond the last bound");
    }

    #[test]
    fn rates_are_over_the_time_that_has_passed() {
        let span = Span(Duration::from_millis(2_500));
        assert_eq!(span.bps(1_000), 3_200);
        assert_eq!(grown(5, 7), 2);
        assert_eq!(
            grown(7, 5),
            5,
            "a room that was opened again counts from nothing"
        );
        assert_eq!(Span(Duration::ZERO).bps(1_000), 0, "no time, no rate");
        let about = |value: f64, wanted: f64| (value - wanted).abs() < 1e-9;
        assert!(about(permille(5, 1_000), 5.0) && about(permille(9, 0), 0.0));
        assert!(about(permille(30, 10), 1_000.0));
    }
}

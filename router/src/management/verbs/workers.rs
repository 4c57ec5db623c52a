//! Verbs about media workers.

use hdrhistogram::Histogram;

use crate::management::call::{Call, Failure};
use crate::management::source::WorkerSource;
use crate::management::wire::response::Part;
use crate::management::wire::{Latency, LatencyBucket, Worker, Workers};

pub(super) async fn list(call: &mut Call) -> Result<(), Failure> {
    let workers = call.sources.workers.iter().map(view).collect();
    call.send(Part::Workers(Workers { workers })).await
}

fn view(source: &WorkerSource) -> Worker {
    let seen = source.window.look();
    let shard = seen.stats.map(|stats| stats.shard).unwrap_or_default();
    Worker {
        id: u32::from(source.id.0),
        driver: source.driver.to_owned(),
        addresses: source.addresses.iter().map(ToString::to_string).collect(),
        busy: seen.stats.map_or(0.0, |stats| stats.busy_ratio),
        rooms: shard.rooms,
        participants: shard.participants,
        tracks: shard.tracks,
        subscriptions: shard.subscriptions,
        packets_received: shard.rtp_received,
        packets_forwarded: shard.rtp_forwarded,
        forwarding: Some(latency(&seen.latency)),
    }
}

/// A distribution, microseconds.
pub(in crate::management) fn latency(micros: &Histogram<u64>) -> Latency {
    let buckets = micros.iter_recorded().map(|step| LatencyBucket {
        up_to_us: step.value_iterated_to(),
        count: step.count_at_value(),
    });
    Latency {
        count: micros.len(),
        p50_us: micros.value_at_quantile(0.5),
        p90_us: micros.value_at_quantile(0.9),
        p99_us: micros.value_at_quantile(0.99),
        p999_us: micros.value_at_quantile(0.999),
        max_us: micros.max(),
        buckets: buckets.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::latency::fine;

    #[test]
    fn quantiles_and_buckets_are_of_the_same_counts() {
        let mut micros = fine();
        for value in 1..=1_000 {
            micros.record(value).expect("within bounds");
        }
        let shown = latency(&micros);
        assert_eq!(shown.count, 1_000);
        let close = |found: u64, wanted: u64| found >= wanted && found - wanted <= wanted / 50;
        assert!(
            close(shown.p50_us, 500) && close(shown.p99_us, 990),
            "{shown:?}"
        );
        let counted: u64 = shown.buckets.iter().map(|bucket| bucket.count).sum();
        assert_eq!(counted, 1_000);
        let rises = shown.buckets.is_sorted_by(|a, b| a.up_to_us < b.up_to_us);
        assert!(rises, "{shown:?}");
        assert_eq!(latency(&fine()), Latency::default());
    }
}

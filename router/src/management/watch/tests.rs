use rillway_core::inspect::{RoomView, Traffic};
use tokio::sync::mpsc;

use super::*;
use crate::config::Config;
use crate::management::events::Events;
use crate::management::source::Asked;
use crate::run::Current;
use crate::session::Phase;
use crate::telemetry::metrics::Registry;

/// A router without workers, whose measurements the test makes.
fn sources() -> Arc<Sources> {
    let registry = Registry::new();
    Arc::new(Sources {
        started: Instant::now(),
        gateway: ([127, 0, 0, 1], 0).into(),
        workers: Vec::new(),
        phase: tokio::sync::watch::channel(Phase::Serving).1,
        plugins: BTreeMap::new(),
        events: Events::default(),
        recorder: registry.management(),
        registry,
        watch: Watch::default(),
        asked: Asked {
            errands: mpsc::channel(1).0,
            orders: mpsc::channel(1).0,
            reloads: mpsc::channel(1).0,
            config: Current::new(Config::dev()).1,
        },
    })
}

/// After so many seconds, in each of which 1,000 bytes left for the only room.
fn snapshot(start: Instant, second: u64) -> Arc<Snapshot> {
    let view = RoomView {
        name: "r".to_owned(),
        participants: 2,
        tracks: 1,
        subscriptions: 1,
        received_bps: 0,
        traffic: Traffic {
            packets_sent: 100 * second,
            bytes_sent: 1_000 * second,
            packets_lost: second,
            ..Traffic::default()
        },
    };
    Arc::new(Snapshot {
        at: start + Duration::from_secs(second),
        at_ms: 1_000 * second,
        uptime_ms: 1_000 * second,
        phase: "serving",
        workers: Vec::new(),
        rooms: vec![(vec![0], view)],
        silent: Vec::new(),
        details: BTreeMap::new(),
        plugins: Vec::new(),
        memory_bytes: 1,
    })
}

async fn sample(watcher: &mut Watcher) -> wire::Sample {
    match watcher.next().await {
        Some(Shown::Sample(sample)) => *sample,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_slow_watcher_loses_old_samples_and_its_rates_stay_true() {
    let (sources, start) = (sources(), Instant::now());
    let mut slow = Watcher::new(&sources, 0, "").expect("there is room");
    let send = |second| sources.watch.ring.send(snapshot(start, second));
    assert!(send(0).is_ok(), "it watches");
    let first = sample(&mut slow).await;
    assert_eq!((first.over_ms, first.rooms[0].sent_bps), (0, 0));
    for second in 1..=6 {
        assert!(send(second).is_ok(), "it watches");
    }
    let lost = slow.next().await;
    assert!(matches!(lost, Some(Shown::Lost(2))), "{lost:?}");
    let next = sample(&mut slow).await;
    assert_eq!(next.at_ms, 3_000);
    assert_eq!(next.over_ms, 3_000, "the time since what it saw before");
    let room = &next.rooms[0];
    assert_eq!(room.sent_bps, 8_000);
    assert!((room.loss_permille - 10.0).abs() < 1e-9, "{room:?}");
    assert_eq!(sample(&mut slow).await.over_ms, 1_000);
}

#[tokio::test]
async fn a_watcher_gets_samples_as_often_as_it_wants() {
    let (sources, start) = (sources(), Instant::now());
    for wrong in [1, 999, 60_001] {
        let refused = Watcher::new(&sources, wrong, "").err();
        assert_eq!(refused, Some(WatchError::Interval), "{wrong}");
    }
    let mut seldom = Watcher::new(&sources, 2_000, "").expect("there is room");
    let mut seen = Vec::new();
    for second in 0..5 {
        let sent = sources.watch.ring.send(snapshot(start, second));
        assert!(sent.is_ok(), "it watches");
        if second % 2 == 0 {
            seen.push(sample(&mut seldom).await.at_ms);
        }
    }
    assert_eq!(seen, [0, 2_000, 4_000]);
}

#[tokio::test]
async fn nothing_is_measured_while_nobody_watches() {
    let sources = sources();
    assert!(!sources.watch.is_measuring());
    let mut one = Watcher::new(&sources, 0, "").expect("there is room");
    let mut two = Watcher::new(&sources, 0, "").expect("there is room");
    let (first, second) = (sample(&mut one).await, sample(&mut two).await);
    assert_eq!(first.at_ms, second.at_ms, "both see the same measurement");
    assert_eq!(first.phase, "serving");
    assert!(first.memory_bytes > 1_000_000, "{first:?}");
    drop((one, two));
    tokio::time::sleep(PERIOD + PERIOD / 5).await;
    assert!(!sources.watch.is_measuring());
    let mut again = Watcher::new(&sources, 0, "").expect("there is room");
    assert_eq!(sample(&mut again).await.over_ms, 0);
}

#[tokio::test]
async fn only_so_many_rooms_are_looked_into() {
    let sources = sources();
    let watch = |room: usize| Watcher::new(&sources, 0, &room.to_string());
    let all: Vec<_> = (0..ROOMS_MAX).map(watch).collect();
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(watch(ROOMS_MAX).err(), Some(WatchError::Full));
    let same = watch(0).expect("looked into already");
    drop(all);
    assert_eq!(sources.watch.state().rooms.len(), 1);
    drop(same);
    assert!(sources.watch.state().rooms.is_empty());
    let mut gone = watch(7).expect("there is room again");
    assert_eq!(sample(&mut gone).await.room, None, "it is not open");
}

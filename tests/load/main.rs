//! Load on one machine: run alone, on a quiet machine (`tests/run load`).
//!
//! The router is `$RILLWAY_BIN` if that is set (a release build), else it runs in this process. All clients
//! share one thread, so that the router has a core to itself.

mod beside;
mod drain;
mod floods;
mod hostile;
mod layers;
mod operators;
mod recording;
mod reloads;
mod router;
mod small;
mod swap;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rillway_core::api::MediaKind;
use rillway_tests::client::ClientConfig;
use rillway_tests::inbound::{Delays, Inbound};
use rillway_tests::live::{LiveClient, member};
use rillway_tests::media::TrackSpec;
use rillway_tests::peer::default_config;
use tokio::sync::watch;
use tokio::task::LocalSet;

use router::Router;

const SUBSCRIBERS: u64 = 200;

/// Of the measured part; joining comes before. Enough to see a loss; figures want more: `$RILLWAY_STRETCH_SECONDS`.
const SECONDS: u64 = 12;

/// In which all must have joined and hear the publisher.
const JOIN_TIME: Duration = Duration::from_secs(60);

/// Between the last join and the first stretch.
const SETTLE_TIME: Duration = Duration::from_secs(10);

/// Subscribers whose picture may be held for a time: all are read by one thread, which shares two cores with the router
/// and whatever happens beside it, and who reads late looks as if its path were full. How many do is a matter of the
/// machine's speed; more, and too few would be left to show that nothing is lost.
const HELD_MOST: usize = SUBSCRIBERS as usize / 4;

/// In which a run must have ended.
const LIMIT: Duration = Duration::from_secs(300);

/// What the test is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Joining,
    /// One stretch after the other, by number.
    Measuring(usize),
    Ended,
}

/// A time in which delays are measured apart from those before and after.
struct Stretch {
    /// What happens in it, for people.
    title: String,
    seconds: u64,
    meanwhile: Meanwhile,
}

/// What happens beside media.
#[derive(Clone)]
enum Meanwhile {
    Nothing,
    /// This plugin is attacked.
    Attack(String),
    /// Plugins get other versions.
    Swap(std::rc::Rc<swap::Operator>),
    /// This is done on a thread of its own.
    Beside(beside::Deed),
    /// Another room is recorded.
    Record(std::rc::Rc<recording::Studio>),
}

/// A subscriber at the end, with its delays by stretch.
struct Measured {
    live: LiveClient,
    delays: Vec<Delays>,
}

/// A camera of 1.3 Mb/s in 150 packets a second, and a microphone of 50.
fn tracks() -> Vec<TrackSpec> {
    vec![TrackSpec::audio(), TrackSpec::video(6)]
}

/// Counts NACKs, so that a packet lost and sent again does not pass for one never lost.
fn counted(config: &mut ClientConfig) {
    config.rtc_factory = || default_config().set_stats_interval(Some(Duration::from_secs(1)));
}

async fn publish(
    gateway: std::net::SocketAddr,
    epoch: Instant,
    mut phase: watch::Receiver<Phase>,
) -> LiveClient {
    let mut config = member(1, "stage", epoch);
    config.tracks = tracks();
    let client = LiveClient::connect(gateway, config).await;
    let mut client = client.expect("the gateway listens");
    let ended = |phase: &watch::Receiver<Phase>| *phase.borrow() == Phase::Ended;
    let end = client.run_until(LIMIT, |_| ended(&phase)).await;
    assert!(end.expect("sockets work"), "the test does not end");
    phase.mark_unchanged();
    client.set_running(false);
    client
        .run_for(Duration::from_secs(2))
        .await
        .expect("sockets work");
    client
}

async fn subscribe(
    gateway: std::net::SocketAddr,
    epoch: Instant,
    number: u64,
    phase: watch::Receiver<Phase>,
    ready: watch::Sender<u64>,
) -> Measured {
    tokio::time::sleep(Duration::from_millis(25 * number)).await;
    let mut config = member(number + 2, "stage", epoch);
    counted(&mut config);
    let client = LiveClient::connect(gateway, config).await;
    let mut client = client.expect("the gateway listens");
    let heard = client.run_until(JOIN_TIME, |c| c.hears(2)).await;
    assert!(
        heard.expect("sockets work"),
        "subscriber {number} hears nothing"
    );
    ready.send_modify(|n| *n += 1);
    let mut delays = Vec::new();
    loop {
        let now = *phase.borrow();
        let next = client.run_until(LIMIT, |_| *phase.borrow() != now).await;
        assert!(next.expect("sockets work"), "nothing follows {now:?}");
        let inbound = client.client.inbound.values_mut();
        let of_phase = inbound.map(|i| std::mem::take(&mut i.delays));
        let of_phase = of_phase.fold(Delays::default(), |mut sum, more| {
            sum.merge(&more);
            sum
        });
        match now {
            Phase::Measuring(_) => delays.push(of_phase),
            // While two hundred clients shake hands on one thread, their paths are full, and pictures wait.
            Phase::Joining => client.client.inbound.values_mut().for_each(Inbound::forget),
            Phase::Ended => unreachable!("nothing follows the end"),
        }
        if *phase.borrow() == Phase::Ended {
            break;
        }
    }
    client
        .run_for(Duration::from_secs(2))
        .await
        .expect("sockets work");
    Measured {
        live: client,
        delays,
    }
}

/// A run: 200 subscribers on one publisher, through one stretch after the other. Fails if a single packet is
/// lost. Returns the router's memory at the end of each stretch, bytes.
fn crowd(router: &Router, stretches: &[Stretch]) -> Vec<u64> {
    crowd_by_worker(router, stretches).0
}

/// The same; and how many subscribers each worker had.
fn crowd_by_worker(router: &Router, stretches: &[Stretch]) -> (Vec<u64>, BTreeMap<u8, u64>) {
    let gateway = router.gateway();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let local = LocalSet::new();
    let (publisher, subscribers, busy, (memory, inside)) = local.block_on(&runtime, async {
        let epoch = Instant::now();
        let (phase, of_phase) = watch::channel(Phase::Joining);
        let (ready, mut of_ready) = watch::channel(0);
        let publisher = tokio::task::spawn_local(publish(gateway, epoch, of_phase.clone()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let subscribers: Vec<_> = (0..SUBSCRIBERS)
            .map(|number| {
                let (phase, ready) = (of_phase.clone(), ready.clone());
                tokio::task::spawn_local(subscribe(gateway, epoch, number, phase, ready))
            })
            .collect();
        let joined = of_ready.wait_for(|n| *n == SUBSCRIBERS);
        let joined = tokio::time::timeout(JOIN_TIME, joined).await;
        assert!(
            joined.is_ok(),
            "{} of {SUBSCRIBERS} joined",
            *ready.borrow()
        );
        println!("all joined after {:?}", epoch.elapsed());
        for stretch in stretches {
            if let Meanwhile::Record(studio) = &stretch.meanwhile {
                studio.open(gateway);
            }
        }
        // The waves of the last handshakes are over, and estimates have recovered from them.
        tokio::time::sleep(SETTLE_TIME).await;
        let cpu = (router.cpu_seconds(), Instant::now());
        let (mut memory, mut inside) = (Vec::new(), Vec::new());
        for (number, stretch) in stretches.iter().enumerate() {
            phase.send_replace(Phase::Measuring(number));
            let threads = router.threads_cpu_seconds();
            let waits = tokio::task::spawn_local(router.waits_of_stretch(stretch.seconds));
            let (mut attack, mut swaps, mut doing) = (None, None, None);
            match &stretch.meanwhile {
                Meanwhile::Nothing => {}
                Meanwhile::Attack(plugin) => attack = Some(hostile::Attack::begin(gateway, plugin)),
                Meanwhile::Swap(operator) => swaps = Some(operator.begin(gateway)),
                Meanwhile::Record(studio) => studio.record(true),
                Meanwhile::Beside(deed) => doing = Some(beside::Doing::begin(deed)),
            }
            tokio::time::sleep(Duration::from_secs(stretch.seconds)).await;
            drop(attack);
            if let Meanwhile::Record(studio) = &stretch.meanwhile {
                studio.record(false);
            }
            if let Some(swaps) = swaps {
                swaps.end().await;
            }
            if let Some(doing) = doing {
                doing.end().await;
            }
            router::report_threads(&threads, &router.threads_cpu_seconds());
            memory.push(router.resident_bytes());
            inside.push(waits.await.expect("the router answers"));
        }
        let busy = (router.cpu_seconds() - cpu.0) / cpu.1.elapsed().as_secs_f64();
        phase.send_replace(Phase::Ended);
        let mut done = Vec::new();
        for subscriber in subscribers {
            done.push(subscriber.await.expect("a subscriber failed"));
        }
        let publisher = publisher.await.expect("the publisher failed");
        (publisher, done, busy, (memory, inside))
    });
    println!("router: {:.0} % of a core", busy * 100.0);
    let seconds = stretches.iter().map(|stretch| stretch.seconds).sum();
    nothing_is_lost(&publisher, &subscribers, seconds);
    let of_stretch = |index: usize| {
        let mut sum = Delays::default();
        subscribers.iter().for_each(|s| sum.merge(&s.delays[index]));
        sum
    };
    for (number, (stretch, memory)) in stretches.iter().zip(&memory).enumerate() {
        report(stretch, &of_stretch(number), *memory);
    }
    let waits = stretches.iter().zip(&inside);
    let waits = waits.map(|(stretch, waits)| {
        let calm = matches!(stretch.meanwhile, Meanwhile::Nothing);
        (&*stretch.title, calm, waits)
    });
    router::report_waits(&waits.collect::<Vec<_>>());
    let mut on_workers = BTreeMap::new();
    for subscriber in &subscribers {
        let me = subscriber.live.client.me.expect("joined");
        *on_workers.entry(me.worker().0).or_default() += 1;
    }
    (memory, on_workers)
}

/// Fails if a single packet was lost, or sent again.
fn nothing_is_lost(publisher: &LiveClient, subscribers: &[Measured], seconds: u64) {
    let (mut packets, mut bytes, mut missing, mut nacks, mut gaps) = (0, 0, 0, 0, 0);
    let (mut worst, mut held) = (Vec::new(), Vec::new());
    for (number, subscriber) in subscribers.iter().enumerate() {
        let client = &subscriber.live.client;
        assert_eq!(
            client.violations,
            Vec::<String>::new(),
            "subscriber {number}"
        );
        assert_eq!(client.unknown_packets, 0, "subscriber {number}");
        assert_eq!(client.inbound.len(), 2, "subscriber {number}");
        nacks += client.nacks;
        for published in &publisher.client.published {
            let inbound = &client.inbound[&published.track.expect("published")];
            let least = published.spec.packets_per_second() * seconds as f64;
            if published.spec.kind == MediaKind::Video && (inbound.packets as f64) < least {
                // The router says by its numbers that nothing is missing, and held the picture instead.
                assert_eq!(inbound.rtp_gaps(), 0, "subscriber {number}");
                held.push((number, inbound.packets));
                continue;
            }
            let lost = inbound.missing(0, published.layers[0].sequence).len();
            if lost > 0 && worst.len() < 10 {
                worst.push((number, published.spec.kind, lost));
            }
            missing += lost;
            gaps += inbound.rtp_gaps();
            packets += inbound.packets;
            bytes += inbound.bytes;
            assert!(
                inbound.packets as f64 >= least,
                "subscriber {number}: {}",
                inbound.packets
            );
        }
        assert_eq!(
            subscriber.live.ended, None,
            "subscriber {number} was dropped"
        );
        let kinds = client.inbound.values().map(|i| i.info.kind);
        assert_eq!(kinds.filter(|k| *k == MediaKind::Audio).count(), 1);
    }
    println!("{SUBSCRIBERS} subscribers, {packets} packets, {bytes} bytes in all");
    println!("lost {missing}, retransmission requests {nacks}, gaps {gaps}, worst {worst:?}");
    assert_eq!((missing, nacks, gaps), (0, 0, 0), "packets were lost");
    println!("pictures held for a time: {held:?}");
    assert!(held.len() <= HELD_MOST, "{held:?}");
}

/// Prints what was measured.
fn report(stretch: &Stretch, delays: &Delays, memory: u64) {
    println!(
        "{:<24} {:>6.0} packets/s, {:>4} MiB; from write to read, ms: p50 {:.1}, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, worst {:.1}",
        stretch.title,
        delays.count() as f64 / stretch.seconds as f64,
        memory >> 20,
        delays.percentile_ms(0.5),
        delays.percentile_ms(0.9),
        delays.percentile_ms(0.99),
        delays.percentile_ms(0.999),
        delays.percentile_ms(1.0),
    );
}

/// Length of a stretch, seconds: `$RILLWAY_STRETCH_SECONDS`, for figures that waver less, or `usual`.
fn stretch_seconds(usual: u64) -> u64 {
    let given = std::env::var("RILLWAY_STRETCH_SECONDS").ok();
    given.map_or(usual, |text| text.parse().expect("a number of seconds"))
}

/// Nothing happens but media.
fn calm(title: &str, seconds: u64) -> Stretch {
    Stretch {
        title: title.to_owned(),
        seconds,
        meanwhile: Meanwhile::Nothing,
    }
}

#[test]
#[ignore = "needs a quiet machine: tests/run load"]
fn two_hundred_subscribers_lose_nothing_by_the_mmsg_driver() {
    crowd(
        &Router::start("mmsg", ""),
        &[calm("mmsg", stretch_seconds(SECONDS))],
    );
}

/// First on one worker, then half of them on another than the publisher: each packet crosses once, and everybody gets
/// the same.
#[test]
#[ignore = "needs a quiet machine: tests/run load"]
fn two_hundred_subscribers_on_two_workers_lose_nothing() {
    crowd(
        &Router::start("ring", ""),
        &[calm("on one worker", stretch_seconds(SECONDS))],
    );
    let spans = format!(
        "media.workers = 2\nmedia.participants_per_part = {}\n",
        SUBSCRIBERS / 2 + 1
    );
    let router = Router::start("ring", &spans);
    let (_, on_workers) =
        crowd_by_worker(&router, &[calm("on two workers", stretch_seconds(SECONDS))]);
    let half = SUBSCRIBERS / 2;
    assert_eq!(on_workers, BTreeMap::from([(0, half), (1, half)]));
}

#[test]
#[ignore = "needs a quiet machine: tests/run load"]
fn two_hundred_subscribers_lose_nothing_by_the_ring_driver_beside_hostile_plugins() {
    hostile::run();
}

#[test]
#[ignore = "needs a quiet machine: tests/run load"]
fn two_hundred_subscribers_lose_nothing_while_every_plugin_is_swapped() {
    swap::run();
}

#[test]
#[ignore = "needs a quiet machine: tests/run load"]
fn two_hundred_subscribers_lose_nothing_while_another_room_is_recorded() {
    recording::run();
}

#[test]
#[ignore = "needs a quiet machine: tests/run load"]
fn two_hundred_subscribers_lose_nothing_beside_programs_that_misbehave() {
    operators::run();
}

#[test]
#[ignore = "needs a quiet machine: tests/run load"]
fn two_hundred_subscribers_lose_nothing_beside_floods_of_strangers() {
    floods::run();
}

#[test]
#[ignore = "needs a quiet machine: tests/run load"]
fn two_hundred_subscribers_lose_nothing_while_mutated_configurations_are_reloaded() {
    reloads::run();
}

#[test]
#[ignore = "needs a quiet machine: tests/run load"]
fn two_hundred_participants_are_told_of_a_drain_and_keep_their_media_until_its_end() {
    drain::run();
}

#[test]
#[ignore = "needs a quiet machine: tests/run load"]
fn policies_of_a_room_of_a_hundred_cost_little_beside_forwarding() {
    layers::run();
}

#[test]
#[ignore = "needs a quiet machine: tests/run load"]
fn rooms_of_few_show_what_a_packet_costs_the_media_worker() {
    small::run();
}

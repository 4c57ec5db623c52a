//! What a packet costs the media worker in rooms of few: the measure of what counting costs (docs/performance.md).

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rillway_tests::live::{LiveClient, member};
use rillway_tests::media::TrackSpec;
use tokio::task::LocalSet;

use crate::router::Router;
use crate::{JOIN_TIME, LIMIT, tracks};

/// Subscribers of one publisher, one room after the other.
const SUBSCRIBERS: [u64; 3] = [1, 2, 5];
const SETTLE_TIME: Duration = Duration::from_secs(2);
const SECONDS: u64 = 5;

/// Publishes, or receives what the first one publishes, until it is over.
async fn take_part(
    gateway: SocketAddr,
    (epoch, number): (Instant, u64),
    ready: Rc<Cell<u64>>,
    over: Rc<Cell<bool>>,
) {
    let mut config = member(number, "few", epoch);
    if number == 1 {
        config.tracks = tracks();
    }
    let client = LiveClient::connect(gateway, config).await;
    let mut client = client.expect("the gateway listens");
    if number > 1 {
        let heard = client.run_until(JOIN_TIME, |c| c.hears(2)).await;
        assert!(heard.expect("sockets work"), "{number} hears nothing");
    }
    ready.set(ready.get() + 1);
    let ended = client.run_until(LIMIT, |_| over.get()).await;
    assert!(ended.expect("sockets work"), "the test does not end");
    assert_eq!(client.ended, None, "{number} was dropped");
}

pub(crate) fn run() {
    let received: f64 = tracks().iter().map(TrackSpec::packets_per_second).sum();
    for subscribers in SUBSCRIBERS {
        let router = Router::start("ring", "");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let local = LocalSet::new();
        let took = local.block_on(&runtime.expect("a runtime"), room(&router, subscribers));
        let packet = took / (received * SECONDS as f64) * 1e6;
        println!(
            "{subscribers} subscribers: {took:.3} s of the media worker in {SECONDS} s, {packet:.2} µs for each of \
             {received:.0} packets received a second; 0.5 % of that: {:.1} ns",
            packet * 5.0
        );
        assert!(packet > 0.0);
    }
}

/// Processor time of the media worker, seconds.
async fn room(router: &Router, subscribers: u64) -> f64 {
    let (epoch, ready, over) = (Instant::now(), Rc::default(), Rc::default());
    let mut there = Vec::new();
    for number in 1..=subscribers + 1 {
        let who = (epoch, number);
        let takes_part = take_part(router.gateway(), who, Rc::clone(&ready), Rc::clone(&over));
        there.push(tokio::task::spawn_local(takes_part));
        tokio::time::sleep(Duration::from_millis(if number == 1 { 500 } else { 25 })).await;
    }
    while ready.get() <= subscribers {
        assert!(epoch.elapsed() < JOIN_TIME, "{} joined", ready.get());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(SETTLE_TIME).await;
    let media = || router.threads_cpu_seconds().get("rillway-media").copied();
    let before = media().expect("a worker");
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    let took = media().expect("a worker") - before;
    over.set(true);
    for client in there {
        client.await.expect("a client failed");
    }
    took
}

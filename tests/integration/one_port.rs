//! All workers behind one UDP port: what the kernel gives to the wrong one is handed over, or steered.

use std::net::UdpSocket;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use rillway::config::{Config, DriverChoice, UdpPorts};
use rillway::{Running, Signals};
use rillway_ring::Steering;
use rillway_tests::client::full_grant;
use rillway_tests::live::{LiveClient, member};
use rillway_tests::media::TrackSpec;

use crate::operating::run_for;
use crate::router::{PATIENCE, config, metric, metric_at_least, start};

const WORKERS: u16 = 3;
/// Two on each worker.
const CLIENTS: u64 = 6;

fn one_port(config: &mut Config) {
    config.media.workers = NonZeroU16::new(WORKERS).expect("not zero");
    config.media.participants_per_part = 2;
    config.media.udp_ports = UdpPorts::One;
}

async fn talker(running: &Running, number: u64, tcp: bool) -> LiveClient {
    let mut config = member(number, "hall", Instant::now());
    config.grant = full_grant("hall", &format!("person {number}"));
    config.tracks = vec![TrackSpec::audio(), TrackSpec::simulcast()];
    config.tcp = tcp;
    let client = LiveClient::connect(running.gateway_address(), config).await;
    client.expect("the gateway listens")
}

/// Everybody hears and sees the others for a while, and misses nothing.
async fn call(running: &Running, tcp: bool) -> Vec<LiveClient> {
    let mut clients = Vec::new();
    for number in 1..=CLIENTS {
        clients.push(talker(running, number, tcp).await);
        let joined = LiveClient::run_all(&mut clients, PATIENCE, |c| c.client.me.is_some()).await;
        assert!(joined.expect("sockets work"), "{number} joins");
    }
    let workers = clients
        .iter()
        .map(|c| c.client.me.expect("joined").worker());
    assert_eq!(
        workers.map(|worker| worker.0).collect::<Vec<_>>(),
        [0, 0, 1, 1, 2, 2]
    );
    let tracks = 2 * (CLIENTS as usize - 1);
    let heard = LiveClient::run_all(&mut clients, PATIENCE, |c| c.hears(tracks)).await;
    assert!(heard.expect("sockets work"), "they hear each other");
    run_for(&mut clients, Duration::from_secs(3)).await;
    for client in &clients {
        assert_eq!(client.client.violations, Vec::<String>::new());
        for inbound in client.client.inbound.values() {
            assert_eq!(inbound.rtp_gaps(), 0, "{:?}", inbound.info);
            assert!(inbound.packets > 20, "{} packets", inbound.packets);
        }
    }
    clients
}

/// Sum of a worker's metric over all.
async fn sum(running: &Running, name: &str, more: &str) -> f64 {
    let mut sum = 0.0;
    for worker in 0..WORKERS {
        let series = format!("{name}{{worker=\"{worker}\"{more}}}");
        sum += metric(running, &series).await.expect("there is such");
    }
    sum
}

const HANDED: &str = "rillway_handed_over_datagrams_total";

/// Datagrams handed over, and received in all; none was lost between workers, and none was nobody's.
async fn handed(running: &Running) -> (f64, f64) {
    // Workers report once a second.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let given = sum(running, HANDED, ",direction=\"sent\"").await;
    let taken = sum(running, HANDED, ",direction=\"received\"").await;
    let dropped = sum(running, "rillway_handover_dropped_datagrams_total", "").await;
    assert_eq!(dropped, 0.0);
    assert!(taken <= given && given - taken < 100.0, "{given} {taken}");
    for cause in ["unvalidated_source", "stun_unknown_ufrag"] {
        let more = format!(",cause=\"{cause}\"");
        let dropped = sum(running, "rillway_dropped_datagrams_total", &more).await;
        assert_eq!(dropped, 0.0, "{cause}");
    }
    let received = sum(running, "rillway_udp_received_datagrams_total", "").await;
    (taken, received)
}

fn assert_one_port(running: &Running) {
    let all = running.media_addresses();
    assert_eq!(all.len(), usize::from(WORKERS));
    assert!(all.iter().all(|addresses| addresses[0] == all[0][0]));
    let mut tcp: Vec<_> = all.iter().map(|addresses| addresses[1].port()).collect();
    tcp.sort_unstable();
    tcp.dedup();
    assert_eq!(tcp.len(), usize::from(WORKERS), "TCP: one for each");
}

async fn handed_over_by(driver: DriverChoice) {
    let running = start(|config| {
        one_port(config);
        config.media.driver = driver;
        config.media.udp_steering = false;
    });
    assert_one_port(&running);
    let clients = call(&running, false).await;
    let (handed, received) = handed(&running).await;
    println!("{handed} of {received} datagrams were handed over");
    assert!(handed > 500.0, "{handed} of {received}");
    drop(clients);
}

#[tokio::test]
async fn media_is_whole_where_workers_hand_it_over_by_the_ring_driver() {
    handed_over_by(DriverChoice::Ring).await;
}

#[tokio::test]
async fn media_is_whole_where_workers_hand_it_over_by_the_mmsg_driver() {
    handed_over_by(DriverChoice::Mmsg).await;
}

#[tokio::test]
async fn the_kernel_steers_where_it_is_permitted() {
    let loopback = "127.0.0.1:0".parse().expect("an address");
    if let Err(error) = Steering::new(&[loopback], WORKERS) {
        eprintln!("skipped: {error}");
        return;
    }
    for driver in [DriverChoice::Ring, DriverChoice::Mmsg] {
        let running = start(|config| {
            one_port(config);
            config.media.driver = driver;
        });
        assert_one_port(&running);
        let clients = call(&running, false).await;
        let (handed, received) = handed(&running).await;
        println!("{handed} of {received} datagrams were handed over");
        // The first check of each client, and what was on its way when it was answered.
        assert!(handed < 50.0 * CLIENTS as f64, "{handed} of {received}");
        assert!(received > 2_000.0, "{received}");
        drop(clients);
    }
}

#[tokio::test]
async fn tcp_has_a_port_of_each_worker_beside_it() {
    let running = start(one_port);
    let clients = call(&running, true).await;
    for worker in 0..WORKERS {
        let series = format!("rillway_tcp_connections{{worker=\"{worker}\"}}");
        metric_at_least(&running, &series, 4.0).await;
    }
    drop(clients);
}

#[tokio::test]
async fn strangers_and_the_next_router_find_one_port() {
    let running = start(one_port);
    let media = running.media_addresses()[0][0];
    // Whichever worker gets it answers.
    for _ in 0..20 {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
        let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        request.extend([7; 12]);
        socket.send_to(&request, media).expect("sent");
        let (length, from) = socket.recv_from(&mut [0; 100]).expect("an answer");
        assert_eq!((length, from), (32, media));
    }
    let mut second = config();
    one_port(&mut second);
    second.media.first_port = media.port();
    second.media.tcp = None;
    let refused = rillway::run(second, Signals::Ignore).expect_err("the port is taken");
    let text = refused.to_string();
    assert!(text.contains(&media.to_string()), "{text}");
}

#[tokio::test]
async fn one_worker_behind_one_port_is_as_any() {
    let running = start(|config| config.media.udp_ports = UdpPorts::One);
    let addresses = &running.media_addresses()[0];
    assert_eq!(addresses[0].port(), addresses[1].port());
    let mut clients = vec![
        talker(&running, 1, false).await,
        talker(&running, 2, false).await,
    ];
    let heard = LiveClient::run_all(&mut clients, PATIENCE, |c| c.hears(2)).await;
    assert!(heard.expect("sockets work"), "they hear each other");
}

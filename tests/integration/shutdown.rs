//! Starting on taken ports, and ending.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use rillway::Signals;
use serde_json::json;

use crate::router::{SUBPROTOCOL, config, connect, get, handshake, join, refusal, soon, start};

#[tokio::test]
async fn draining_tells_clients_refuses_new_ones_and_ends_in_time() {
    let notice = Duration::from_secs(3);
    let running = start(|config| config.shutdown.notice = notice);
    let address = running.gateway_address();
    let (mut ada, _) = join(&running, "r", "Ada").await;
    let mut outside = connect(&running).await;
    outside.ask(json!({"type": "ping"})).await;

    let started = Instant::now();
    running.shutdown();
    let told = ada.told("draining").await;
    let told_ms = told["deadlineMs"].as_u64().unwrap();
    assert!((1_000..=3_000).contains(&told_ms), "{told_ms}");
    assert!(started.elapsed() < Duration::from_secs(1));

    assert_eq!(get(address, "/readyz").await.status, 503);
    assert_eq!(get(address, "/healthz").await.status, 200);
    let protocol = [("sec-websocket-protocol", SUBPROTOCOL)];
    assert_eq!(refusal(handshake(address, &protocol).await), 503);
    let error = outside.ask(json!({"type": "join", "room": "r"})).await;
    assert_eq!(error["code"], "unavailable", "{error}");
    // Who is in a room stays until the deadline.
    assert_eq!(ada.ask(json!({"type": "ping"})).await["type"], "pong");

    assert_eq!(ada.closed().await, 1001);
    let closed_after = started.elapsed();
    assert!(
        closed_after >= Duration::from_millis(told_ms - 50),
        "{closed_after:?}"
    );
    let ended = tokio::task::spawn_blocking(|| running.wait())
        .await
        .unwrap();
    ended.expect("an end on request is no error");
    assert!(started.elapsed() < notice + Duration::from_secs(1));
    assert!(TcpListener::bind(address).is_ok(), "the port is free again");
}

#[tokio::test]
async fn without_clients_the_end_does_not_wait() {
    let running = start(|config| config.shutdown.notice = Duration::from_secs(60));
    let media = running.media_addresses()[0][0];
    let started = Instant::now();
    running.shutdown();
    let ended = tokio::task::spawn_blocking(|| running.wait())
        .await
        .unwrap();
    ended.unwrap();
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!(
        UdpSocket::bind(media).is_ok(),
        "the media port is free again"
    );
}

#[tokio::test]
async fn an_order_to_stop_cuts_the_notice_short() {
    let running = start(|config| config.shutdown.notice = Duration::from_secs(60));
    let (mut ada, _) = join(&running, "r", "Ada").await;
    running.shutdown();
    ada.told("draining").await;
    let started = Instant::now();
    running.stop();
    let ended = tokio::task::spawn_blocking(|| running.wait())
        .await
        .unwrap();
    ended.unwrap();
    assert!(started.elapsed() < Duration::from_secs(3));
    assert!([1001, 1006].contains(&ada.closed().await));
}

#[tokio::test]
async fn a_dropped_router_is_gone() {
    let running = start(|_| {});
    let (gateway, metrics) = (
        running.gateway_address(),
        running.metrics_address().unwrap(),
    );
    let (_ada, _) = join(&running, "r", "Ada").await;
    soon(
        "the end",
        tokio::task::spawn_blocking(move || drop(running)),
    )
    .await
    .unwrap();
    for address in [gateway, metrics] {
        assert!(
            TcpListener::bind(address).is_ok(),
            "{address} is free again"
        );
    }
}

#[test]
fn a_taken_port_is_an_error_that_names_key_and_address() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (tcp, udp) = (
        tcp.local_addr().map(|a| (tcp, a)).unwrap(),
        udp.local_addr().map(|a| (udp, a)).unwrap(),
    );
    type Change = fn(&mut rillway::config::Config, SocketAddr);
    let cases: [(&str, SocketAddr, Change); 3] = [
        ("gateway.listen", tcp.1, |c, a| c.gateway.listen = a),
        ("metrics.listen", tcp.1, |c, a| {
            c.metrics.as_mut().unwrap().listen = a;
        }),
        ("media.first_port", udp.1, |c, a| {
            c.media.first_port = a.port();
        }),
    ];
    for (key, address, change) in cases {
        let mut config = config();
        change(&mut config, address);
        let error = rillway::run(config, Signals::Ignore).expect_err(key);
        assert_eq!(error.exit_code(), 78, "{error}");
        let text = error.to_string();
        assert!(text.contains(key), "{text}");
        assert!(text.contains(&address.to_string()), "{text}");
    }
}

#[test]
fn an_address_of_nobody_is_an_error_that_names_its_key() {
    let mut config = config();
    config.media.bind = vec!["203.0.113.77".parse().unwrap()];
    let error = rillway::run(config, Signals::Ignore).expect_err("TEST-NET-3");
    assert_eq!(error.exit_code(), 78);
    assert!(error.to_string().contains("media.bind"), "{error}");
}

#[tokio::test]
async fn a_failed_start_leaves_nothing_bound() {
    // The second worker's port is taken, so the first has started when the start fails.
    let (first, taken) = loop {
        let first = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let next = SocketAddr::new(first.ip(), first.port().wrapping_add(1));
        if let Ok(taken) = UdpSocket::bind(next) {
            break (first, taken);
        }
    };
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut config = config();
    config.gateway.listen = free;
    config.media.first_port = first.port();
    config.media.workers = NonZeroU16::new(2).unwrap();
    let error = rillway::run(config, Signals::Ignore).expect_err("the media port is taken");
    let taken = taken.local_addr().unwrap().to_string();
    assert!(error.to_string().contains(&taken), "{error}");
    assert!(TcpListener::bind(free).is_ok());
    assert!(UdpSocket::bind(first).is_ok());
}

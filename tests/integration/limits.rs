//! What a client may do to the gateway, and what it costs others.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::router::{
    PATH, SUBPROTOCOL, connect, get, handshake, http, join, metric, refusal, soon, start,
};

const EXCESS: u16 = 4008;
const IDLE: u16 = 4009;

#[tokio::test]
async fn a_message_above_the_limit_closes_the_connection() {
    let running = start(|config| config.gateway.message_bytes_max = 2_000);
    let text = |bytes: usize| {
        let frame = json!({"type": "ping", "id": 1, "pad": ""}).to_string();
        let pad = "x".repeat(bytes - frame.len());
        Message::text(json!({"type": "ping", "id": 1, "pad": pad}).to_string())
    };
    let mut client = connect(&running).await;
    client.send(text(2_000)).await;
    client.told("pong").await;
    client.send(text(2_001)).await;
    assert_eq!(client.closed().await, EXCESS);
    let series = "rillway_gateway_rejects_total{cause=\"message_too_long\"}";
    assert_eq!(metric(&running, series).await, Some(1.0));
}

#[tokio::test]
async fn too_many_messages_close_the_connection() {
    let running = start(|config| config.gateway.messages_per_second_max = 20);
    let mut client = connect(&running).await;
    for _ in 0..20 {
        client.ask(json!({"type": "ping"})).await;
    }
    let mut other = connect(&running).await;
    for _ in 0..60 {
        if !client.try_send(Message::Ping(Vec::new().into())).await {
            break;
        }
    }
    assert_eq!(client.closed().await, EXCESS);
    assert_eq!(other.ask(json!({"type": "ping"})).await["type"], "pong");
}

#[tokio::test]
async fn a_silent_client_is_closed_and_one_that_answers_pings_is_not() {
    let running = start(|config| {
        config.gateway.ping_interval = Duration::from_millis(200);
        config.gateway.idle_timeout = Duration::from_millis(1_500);
    });
    let (mut witness, _) = join(&running, "r", "witness").await;
    let (silent, _) = join(&running, "r", "silent").await;
    witness.told("participant-joined").await;
    // The witness's library answers pings while it waits; the silent one is not even polled.
    let started = Instant::now();
    witness.told("participant-left").await;
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(1_000), "{took:?}");
    assert!(took < Duration::from_secs(6), "{took:?}");
    let mut silent = silent;
    assert_eq!(silent.closed().await, IDLE);
    assert_eq!(witness.ask(json!({"type": "ping"})).await["type"], "pong");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_and_nobody_else_notices() {
    let running = start(|config| {
        config.gateway.messages_per_second_max = 10_000;
        config.limits.data_bytes_per_second = 1 << 30;
    });
    let (mut sender, _) = join(&running, "r", "sender").await;
    let (stuck, _) = join(&running, "r", "stuck").await;
    let (mut reader, _) = join(&running, "r", "reader").await;
    let text = "x".repeat(12_000);
    let data = json!({"type": "data", "label": "l", "text": text}).to_string();
    let mut sent = 0;
    loop {
        sender.send(Message::text(data.clone())).await;
        sent += 1;
        let got = reader.told("data").await;
        assert_eq!(got["text"].as_str().map(str::len), Some(12_000));
        let series = "rillway_gateway_rejects_total{cause=\"slow_reader\"}";
        if sent % 100 == 0 && metric(&running, series).await == Some(1.0) {
            break;
        }
        assert!(sent < 5_000, "60 MB and nobody is cut off");
    }
    assert_eq!(
        sender.told("participant-left").await["type"],
        "participant-left"
    );
    drop(stuck);
}

#[tokio::test]
async fn connections_are_bounded_and_come_free_again() {
    let running = start(|config| config.gateway.connections_max = 2);
    let address = running.gateway_address();
    let (a, b) = (connect(&running).await, connect(&running).await);
    let protocol = [("sec-websocket-protocol", SUBPROTOCOL)];
    assert_eq!(refusal(handshake(address, &protocol).await), 503);
    let upgrade = format!(
        "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-protocol: {SUBPROTOCOL}\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    let request =
        format!("GET {PATH} HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\n{upgrade}\r\n");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1_000];
    let read = soon("the answer", stream.read(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).to_lowercase();
    assert!(
        answer.contains("503") && answer.contains("retry-after: "),
        "{answer}"
    );

    assert_eq!(
        get(address, "/healthz").await.status,
        200,
        "probes still work"
    );
    a.vanish();
    soon("a free place", async {
        while refusal(handshake(address, &protocol).await) != 101 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    drop(b);
}

#[tokio::test]
async fn half_a_request_is_answered_in_time() {
    let running = start(|config| config.gateway.header_timeout = Duration::from_millis(300));
    let address = running.gateway_address();
    for head in ["GET / HTTP/1.1\r\nhost: a\r\n", "G"] {
        let started = Instant::now();
        let answer = crate::router::raw(address, head).await;
        assert_eq!(answer.status, 408, "{head:?}");
        assert!(started.elapsed() < Duration::from_secs(2));
    }
    // Nothing at all is no request: closed without an answer.
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut bytes = Vec::new();
    soon("the end", stream.read_to_end(&mut bytes))
        .await
        .unwrap();
    assert!(bytes.is_empty());
    let series = "rillway_gateway_rejects_total{cause=\"header_timeout\"}";
    assert_eq!(metric(&running, series).await, Some(2.0));
}

#[tokio::test]
async fn a_thousand_stuck_clients_do_not_delay_a_join() {
    let running = start(|_| {});
    let address = running.gateway_address();
    let mut stuck = Vec::new();
    for _ in 0..450 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
        stuck.push(stream);
    }
    let mut took = Vec::new();
    for i in 0..20 {
        let started = Instant::now();
        let (client, _) = join(&running, &format!("r{i}"), "x").await;
        took.push(started.elapsed());
        client.vanish();
    }
    took.sort();
    assert!(took[18] < Duration::from_millis(500), "{took:?}");
    drop(stuck);
}

#[tokio::test]
async fn http_bodies_are_not_waited_for() {
    let running = start(|_| {});
    let answer = http(
        running.gateway_address(),
        "POST",
        PATH,
        "content-length: 1000000000\r\n",
    )
    .await;
    assert_eq!(answer.status, 426);
}

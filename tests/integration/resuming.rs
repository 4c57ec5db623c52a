//! Clients whose WebSocket broke, and that go on with another one.

use std::time::{Duration, Instant};

use rillway::Running;
use rillway::config::Config;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::router::{Client, SUBPROTOCOL, handshake, join, metric, metric_becomes, refusal, start};

const KEY: &str = "0123456789abcdef0123456789abcdef";
/// Longer than any test.
const LONG: Duration = Duration::from_secs(60);

fn patient(config: &mut Config) {
    config.gateway.resume = LONG;
}

/// A client that can go on, and counts what it has had.
struct Lasting {
    client: Client,
    received: u64,
}

impl Lasting {
    async fn connect(running: &Running, received: u64) -> (Self, Value) {
        let offer = format!("{SUBPROTOCOL}, rillway.session.{KEY}.{received}");
        let headers = [("sec-websocket-protocol", offer.as_str())];
        let client = handshake(running.gateway_address(), &headers).await;
        let mut client = client.expect("a client is welcome");
        let greeting = client.next().await;
        assert_eq!(greeting["type"], "session", "the first message: {greeting}");
        (Lasting { client, received }, greeting)
    }

    async fn join(running: &Running, name: &str) -> Self {
        let (mut lasting, greeting) = Lasting::connect(running, 0).await;
        let wanted = json!({"type": "session", "resumed": false, "received": 0});
        assert_eq!(greeting, wanted);
        let join = json!({"type": "join", "id": 1, "room": "r", "name": name});
        lasting.say(&join).await;
        assert_eq!(lasting.next().await["type"], "joined");
        lasting
    }

    async fn say(&mut self, message: &Value) {
        self.client.send(Message::text(message.to_string())).await;
    }

    async fn next(&mut self) -> Value {
        let message = self.client.next().await;
        self.received += 1;
        message
    }
}

fn data(number: u64) -> Value {
    json!({"type": "data", "label": "chat", "text": number.to_string()})
}

/// Everything that a client was told before the answer to its question.
async fn told_until_now(client: &mut Client) -> Vec<Value> {
    let ping = json!({"type": "ping", "id": 77});
    client.send(Message::text(ping.to_string())).await;
    let mut told = Vec::new();
    loop {
        let message = client.next().await;
        if message["id"] == 77 {
            return told;
        }
        told.push(message);
    }
}

#[tokio::test]
async fn a_client_goes_on_with_another_connection_and_nothing_is_lost() {
    let running = start(patient);
    let mut ada = Lasting::join(&running, "Ada").await;
    let (mut bob, _) = join(&running, "r", "Bob").await;
    assert_eq!(ada.next().await["type"], "participant-joined");

    // Nobody sees that hers breaks, and what she is sent meanwhile waits for her.
    let received = ada.received;
    ada.client.vanish();
    for number in 0..3 {
        bob.send(Message::text(data(number).to_string())).await;
    }
    assert_eq!(told_until_now(&mut bob).await, Vec::<Value>::new());
    let (mut ada, greeting) = Lasting::connect(&running, received).await;
    assert_eq!(greeting["resumed"], true);
    for number in 0..3 {
        assert_eq!(ada.next().await["text"], number.to_string());
    }

    // What she sends while hers breaks arrives once: she is told what has.
    let sent_before = greeting["received"].as_u64().expect("a count");
    for number in 0..5 {
        ada.say(&data(number)).await;
    }
    let received = ada.received;
    ada.client.vanish();
    let (mut ada, greeting) = Lasting::connect(&running, received).await;
    let arrived = greeting["received"].as_u64().expect("a count") - sent_before;
    assert!(arrived <= 5, "{greeting}");
    for number in arrived..5 {
        ada.say(&data(number)).await;
    }
    for number in 0..5 {
        let message = bob.next().await;
        assert_eq!(message["text"], number.to_string(), "{message}");
    }
    metric_becomes(
        &running,
        "rillway_gateway_resumptions_total{result=\"resumed\"}",
        2.0,
    )
    .await;
    assert_eq!(
        metric(&running, "rillway_gateway_connections").await,
        Some(2.0)
    );
}

#[tokio::test]
async fn another_connection_replaces_one_that_still_stands() {
    let running = start(patient);
    let mut ada = Lasting::join(&running, "Ada").await;
    let (mut bob, _) = join(&running, "r", "Bob").await;
    assert_eq!(ada.next().await["type"], "participant-joined");
    // As if the network had swallowed what came last.
    let (mut second, greeting) = Lasting::connect(&running, ada.received - 1).await;
    assert_eq!(greeting["resumed"], true);
    assert_eq!(second.next().await["type"], "participant-joined", "again");
    assert_eq!(ada.client.closed().await, 1006, "the first is over");
    bob.send(Message::text(data(1).to_string())).await;
    assert_eq!(second.next().await["text"], "1");
    assert_eq!(told_until_now(&mut bob).await, Vec::<Value>::new());
}

#[tokio::test]
async fn who_does_not_come_back_in_time_has_left() {
    let running = start(|config| config.gateway.resume = Duration::from_millis(300));
    let ada = Lasting::join(&running, "Ada").await;
    let (mut bob, _) = join(&running, "r", "Bob").await;
    let gone = Instant::now();
    ada.client.vanish();
    bob.told("participant-left").await;
    assert!(gone.elapsed() >= Duration::from_millis(300));
    let (_, greeting) = Lasting::connect(&running, 2).await;
    assert_eq!(
        greeting,
        json!({"type": "session", "resumed": false, "received": 0})
    );
    metric_becomes(
        &running,
        "rillway_gateway_resumptions_total{result=\"unknown\"}",
        1.0,
    )
    .await;
}

#[tokio::test]
async fn a_client_that_closes_has_left_at_once() {
    let running = start(patient);
    let mut ada = Lasting::join(&running, "Ada").await;
    let (mut bob, _) = join(&running, "r", "Bob").await;
    ada.client.close(1000).await;
    bob.told("participant-left").await;
}

#[tokio::test]
async fn one_given_up_for_another_ends_nothing() {
    let running = start(patient);
    let mut ada = Lasting::join(&running, "Ada").await;
    let (mut bob, _) = join(&running, "r", "Bob").await;
    // It arrives before the other connection does.
    ada.client.close(4002).await;
    ada.client.closed().await;
    let (_ada, greeting) = Lasting::connect(&running, ada.received).await;
    assert_eq!(greeting["resumed"], true);
    assert_eq!(told_until_now(&mut bob).await, Vec::<Value>::new());
}

#[tokio::test]
async fn who_has_had_what_was_never_sent_begins_anew() {
    let running = start(patient);
    let _ada = Lasting::join(&running, "Ada").await;
    let (mut bob, _) = join(&running, "r", "Bob").await;
    let offer = format!("{SUBPROTOCOL}, rillway.session.{KEY}.1000");
    let headers = [("sec-websocket-protocol", offer.as_str())];
    let liar = handshake(running.gateway_address(), &headers).await;
    assert_eq!(liar.expect("welcome").closed().await, 4010);
    bob.told("participant-left").await;
    metric_becomes(
        &running,
        "rillway_gateway_resumptions_total{result=\"gap\"}",
        1.0,
    )
    .await;

    let short = format!("{SUBPROTOCOL}, rillway.session.short.0");
    let headers = [("sec-websocket-protocol", short.as_str())];
    let refused = handshake(running.gateway_address(), &headers).await;
    assert_eq!(refusal(refused), 400);
}

#[tokio::test]
async fn where_nobody_may_go_on_a_client_leaves_at_once() {
    let running = start(|config| config.gateway.resume = Duration::ZERO);
    let ada = Lasting::join(&running, "Ada").await;
    let (mut bob, _) = join(&running, "r", "Bob").await;
    let received = ada.received;
    ada.client.vanish();
    bob.told("participant-left").await;
    let (_, greeting) = Lasting::connect(&running, received).await;
    assert_eq!(greeting["resumed"], false);
}

#[tokio::test]
async fn a_router_that_ends_does_not_wait_for_who_is_absent() {
    let running = start(|config| {
        patient(config);
        config.shutdown.notice = Duration::from_secs(1);
    });
    let ada = Lasting::join(&running, "Ada").await;
    ada.client.vanish();
    let began = Instant::now();
    running.shutdown();
    let ended = tokio::task::spawn_blocking(|| running.wait()).await;
    ended.expect("no panic").expect("an end on request");
    assert!(began.elapsed() < LONG / 2);
}

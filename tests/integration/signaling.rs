//! Clients through the gateway, the rooms plugin and the core.

use std::num::NonZeroU16;

use serde_json::json;

use crate::router::{
    PATH, SUBPROTOCOL, connect, get, handshake, http, join, metric, metric_becomes, refusal, start,
};

#[tokio::test]
async fn only_websockets_of_the_protocol_and_of_this_origin_get_in() {
    let running = start(|_| {});
    let address = running.gateway_address();
    let plain = get(address, PATH).await;
    assert_eq!(plain.status, 426);
    assert!(plain.body.contains(SUBPROTOCOL), "{}", plain.body);
    assert_eq!(
        http(address, "POST", PATH, "content-length: 0\r\n")
            .await
            .status,
        426
    );

    assert_eq!(refusal(handshake(address, &[]).await), 400);
    let protocol = |value| ("sec-websocket-protocol", value);
    assert_eq!(refusal(handshake(address, &[protocol("chat")]).await), 400);
    let several = format!("chat, {SUBPROTOCOL}");
    assert_eq!(
        refusal(handshake(address, &[protocol(&several)]).await),
        101
    );

    let own = format!("http://{address}");
    for (origin, status) in [
        (own.as_str(), 101),
        ("http://localhost:3000", 101),
        ("https://evil.example", 403),
        ("null", 403),
    ] {
        let headers = [protocol(SUBPROTOCOL), ("origin", origin)];
        assert_eq!(
            refusal(handshake(address, &headers).await),
            status,
            "{origin}"
        );
    }
    let rejects = metric(&running, "rillway_gateway_rejects_total{cause=\"origin\"}").await;
    assert_eq!(rejects, Some(2.0));
}

#[tokio::test]
async fn a_list_of_origins_replaces_the_own_one() {
    let running = start(|config| {
        config.gateway.allowed_origins = vec!["https://meet.example".to_owned()];
    });
    let address = running.gateway_address();
    let own = format!("http://{address}");
    for (origin, status) in [("https://meet.example", 101), (own.as_str(), 403)] {
        let headers = [("sec-websocket-protocol", SUBPROTOCOL), ("origin", origin)];
        assert_eq!(
            refusal(handshake(address, &headers).await),
            status,
            "{origin}"
        );
    }
}

#[tokio::test]
async fn two_clients_meet_and_part() {
    let running = start(|_| {});
    let (mut ada, joined) = join(&running, "standup", "Ada").await;
    assert_eq!(joined["participants"], json!([]));
    let (bob, joined) = join(&running, "standup", "Bob").await;
    assert_eq!(joined["participants"][0]["name"], "Ada");
    assert_eq!(joined["limits"]["sdpBytes"], 65_536);
    let news = ada.told("participant-joined").await;
    assert_eq!(news["participant"]["name"], "Bob");
    let id = news["participant"]["id"].clone();
    assert_eq!(joined["participant"]["id"], id);
    bob.vanish();
    assert_eq!(ada.told("participant-left").await["participant"], id);
    let left = ada.ask(json!({"type": "leave"})).await;
    assert_eq!(left["type"], "left");
    let again = ada.ask(json!({"type": "join", "room": "other"})).await;
    assert_eq!(again["type"], "joined");
    assert_eq!(again["participants"], json!([]));
}

#[tokio::test]
async fn a_close_is_answered_with_a_close() {
    let running = start(|_| {});
    let (mut ada, _) = join(&running, "r", "Ada").await;
    let (mut bob, _) = join(&running, "r", "Bob").await;
    bob.close(1000).await;
    assert_eq!(bob.closed().await, 1000);
    ada.told("participant-left").await;
}

#[tokio::test]
async fn what_cannot_be_done_is_an_error_and_the_connection_lives() {
    let running = start(|_| {});
    let mut client = connect(&running).await;
    let error = client
        .ask(json!({"type": "subscribe", "tracks": ["1"]}))
        .await;
    assert_eq!(error["code"], "not_joined", "{error}");
    let error = client.ask(json!({"type": "join", "room": ""})).await;
    assert_eq!(error["type"], "error", "{error}");
    client.ask(json!({"type": "join", "room": "r"})).await;
    let error = client
        .ask(json!({"type": "publish", "sdp": "v=0\r\nnonsense", "tracks": []}))
        .await;
    assert_eq!(error["code"], "invalid", "{error}");
    let error = client
        .ask(json!({"type": "subscribe", "tracks": ["1234"]}))
        .await;
    assert_eq!(error["code"], "not_found", "{error}");
    assert_eq!(client.ask(json!({"type": "ping"})).await["type"], "pong");
}

#[tokio::test]
async fn data_by_signaling_stays_in_its_room() {
    let running = start(|_| {});
    let (mut ada, _) = join(&running, "a", "Ada").await;
    let (mut bob, _) = join(&running, "a", "Bob").await;
    let (mut eve, _) = join(&running, "b", "Eve").await;
    let data = json!({"type": "data", "label": "chat", "text": "hello"});
    ada.send(tokio_tungstenite::tungstenite::Message::text(
        data.to_string(),
    ))
    .await;
    let got = bob.told("data").await;
    assert_eq!(
        (&got["text"], &got["label"]),
        (&json!("hello"), &json!("chat"))
    );
    // Eve's own answer comes after anything that could have leaked to her before it.
    assert_eq!(eve.ask(json!({"type": "ping"})).await["type"], "pong");
    assert_eq!(ada.ask(json!({"type": "ping"})).await["type"], "pong");
}

#[tokio::test]
async fn rooms_spread_over_the_workers_and_are_whole_on_one() {
    let running = start(|config| {
        config.media.workers = NonZeroU16::new(2).unwrap();
    });
    assert_eq!(running.media_addresses().len(), 2);
    assert_ne!(running.media_addresses()[0], running.media_addresses()[1]);
    let (_a1, _) = join(&running, "a", "1").await;
    let (_b1, _) = join(&running, "b", "2").await;
    let (_a2, joined) = join(&running, "a", "3").await;
    assert_eq!(joined["participants"].as_array().unwrap().len(), 1);
    let (_b2, joined) = join(&running, "b", "4").await;
    assert_eq!(joined["participants"].as_array().unwrap().len(), 1);
    for worker in ["0", "1"] {
        let series = |name: &str| format!("{name}{{worker=\"{worker}\"}}");
        metric_becomes(&running, &series("rillway_rooms"), 1.0).await;
        metric_becomes(&running, &series("rillway_participants"), 2.0).await;
    }
}

#[tokio::test]
async fn nothing_is_left_when_everybody_has_gone() {
    let running = start(|_| {});
    let mut clients = Vec::new();
    for i in 0..30 {
        clients.push(join(&running, &format!("room-{}", i % 7), "x").await.0);
    }
    metric_becomes(&running, "rillway_rooms{worker=\"0\"}", 7.0).await;
    metric_becomes(&running, "rillway_gateway_connections", 30.0).await;
    for client in clients {
        client.vanish();
    }
    for series in [
        "rillway_rooms{worker=\"0\"}",
        "rillway_participants{worker=\"0\"}",
        "rillway_gateway_connections",
    ] {
        metric_becomes(&running, series, 0.0).await;
    }
}

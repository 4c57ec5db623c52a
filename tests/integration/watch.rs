//! Samples of a running router, for those who watch it.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use rillway::management::wire::error::Code;
use rillway::management::wire::request::Verb;
use rillway::management::wire::response::Part;
use rillway::management::wire::{Request, Response, Sample, WatchRequest};
use rillway::management::{Answer, CallError, Client, Role, frame};

use crate::management::{HOUR, identity};
use crate::operating::{meeting, run_for, two_workers};
use crate::roles::tls;
use crate::router::soon;

fn verb(interval_ms: u32, room: &str) -> Verb {
    let room = room.to_owned();
    Verb::Watch(WatchRequest { interval_ms, room })
}

async fn watch(client: &Client, room: &str) -> Answer {
    client.call(verb(0, room)).await.expect("a stream")
}

async fn next(answer: &mut Answer) -> Sample {
    match soon("a sample", answer.next()).await {
        Ok(Some(Part::Sample(sample))) => sample,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn samples_have_the_numbers_of_a_call() {
    let managed = two_workers();
    let viewer = managed.client(Role::Viewer).await;
    let mut before = watch(&viewer, "standup").await;
    let empty = next(&mut before).await;
    assert_eq!((empty.over_ms, &empty.room), (0, &None), "it is not open");
    assert_eq!((&*empty.phase, empty.workers.len()), ("serving", 2));
    drop(before);

    let mut clients = meeting(&managed.running, "standup").await;
    let mut answer = watch(&viewer, "standup").await;
    let watching = async {
        assert_eq!(next(&mut answer).await.over_ms, 0);
        next(&mut answer).await
    };
    let (sample, ()) = tokio::join!(watching, run_for(&mut clients, Duration::from_secs(4)));
    assert!(sample.over_ms >= 500, "{sample:?}");
    assert!(sample.memory_bytes > 1 << 20 && sample.silent_workers.is_empty());

    let room = &sample.rooms[0];
    assert_eq!((&*room.name, sample.rooms_open), ("standup", 1));
    assert_eq!(
        (room.participants, room.tracks, room.subscriptions),
        (2, 4, 4)
    );
    assert!(
        room.received_bps > 100_000 && room.sent_bps > 100_000,
        "{room:?}"
    );
    assert!(room.packets_sent_per_second > 50.0, "{room:?}");
    assert_eq!(room.loss_permille, 0.0, "{room:?}");
    let worker = sample
        .workers
        .iter()
        .find(|worker| worker.id == room.worker);
    let worker = worker.expect("its worker");
    assert!(worker.over_ms > 0 && worker.busy > 0.0 && worker.turns_per_second > 10.0);
    assert!(worker.sent_bps > room.sent_bps / 2, "{worker:?}");
    let forwarding = worker.forwarding.as_ref().expect("measured");
    assert!(
        forwarding.count > 50 && forwarding.p99_us > 0,
        "{forwarding:?}"
    );
    assert!(sample.plugins.iter().any(|plugin| {
        plugin.kind == "layer-selection" && plugin.breaker == "closed" && plugin.budget_us > 0
    }));

    let detail = sample.room.as_ref().expect("it is open");
    assert_eq!((detail.participants.len(), detail.tracks.len()), (2, 4));
    for person in &detail.participants {
        assert!(
            person.received_bps > 50_000 && person.sent_bps > 50_000,
            "{person:?}"
        );
    }
    assert_eq!(detail.subscriptions.len(), 4);
    for one in &detail.subscriptions {
        assert!(one.forwarded_bps > 10_000, "{one:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_watched_is_said() {
    let managed = two_workers();
    let viewer = managed.client(Role::Viewer).await;
    let refused = async |interval_ms, room: &str| {
        let mut answer = viewer
            .call(verb(interval_ms, room))
            .await
            .expect("a stream");
        match soon("an answer", answer.next()).await {
            Err(CallError::Said(error)) => (error.code(), error.message),
            other => panic!("{other:?}"),
        }
    };
    let (code, message) = refused(10, "").await;
    assert_eq!(code, Code::Invalid);
    assert!(message.contains("1000 to 60000"), "{message}");
    let mut open = Vec::new();
    for room in 0..16 {
        let mut answer = watch(&viewer, &room.to_string()).await;
        next(&mut answer).await;
        open.push(answer);
    }
    let (code, message) = refused(0, "another").await;
    assert_eq!(code, Code::Limit, "{message}");
    let mut known = watch(&viewer, "7").await;
    next(&mut known).await;
}

/// A watcher whose window takes two samples: what it has not read is held by nobody.
#[tokio::test]
async fn a_watcher_that_does_not_read_loses_samples_and_delays_nobody() {
    let managed = two_workers();
    let ours = &managed.authority;
    let shown = identity(ours, ours, Some(Role::Viewer), HOUR);
    let quic = QuicClientConfig::try_from(tls(Some(&shown), ours)).expect("for QUIC");
    let mut transport = quinn::TransportConfig::default();
    transport.stream_receive_window(1_024_u32.into());
    let mut config = quinn::ClientConfig::new(Arc::new(quic));
    config.transport_config(Arc::new(transport));
    let endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a port");
    let address = managed.running.management_address().expect("on");
    let connecting = endpoint.connect_with(config, address, "127.0.0.1");
    let connection = soon("a handshake", connecting.expect("a name")).await;
    let connection = connection.expect("it is let in");

    let mut clients = meeting(&managed.running, "standup").await;
    let (mut sending, mut slow) = connection.open_bi().await.expect("a stream");
    let request = frame::bytes(&Request {
        verb: Some(verb(0, "standup")),
    });
    sending.write_all(&request).await.expect("taken");
    sending.finish().expect("open");
    let viewer = managed.client(Role::Viewer).await;
    let mut quick = watch(&viewer, "standup").await;
    let received = |clients: &[rillway_tests::live::LiveClient]| -> u64 {
        let inbound = clients.iter().flat_map(|one| one.client.inbound.values());
        inbound.map(|inbound| inbound.packets).sum()
    };
    let before = received(&clients);
    let reading = async {
        for _ in 0..9 {
            let sample = next(&mut quick).await;
            assert!(sample.over_ms < 3_000, "{}", sample.over_ms);
        }
    };
    tokio::join!(reading, run_for(&mut clients, Duration::from_secs(9)));
    assert!(received(&clients) > before + 1_000, "the call goes on");

    let mut lost = 0;
    while lost == 0 {
        let part = frame::read::<Response, _>(&mut slow, 1 << 24);
        let part = soon("what it has missed", part).await.expect("a message");
        if let Some(Part::Lost(some)) = part.expect("it goes on").part {
            lost = some.count;
        }
    }
    let after = frame::read::<Response, _>(&mut slow, 1 << 24);
    let after = soon("the next", after).await.expect("a message");
    let Some(Part::Sample(after)) = after.expect("it goes on").part else {
        panic!("a sample follows");
    };
    // The rates are over all of the time that was missed.
    assert!(
        after.over_ms >= 1_000 * lost,
        "{lost} lost, {} ms",
        after.over_ms
    );
    let room = &after.rooms[0];
    assert!(room.sent_bps > 100_000, "{room:?}");
}

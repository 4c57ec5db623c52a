//! A room with parts on both workers of a router, with real clients.

use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use rillway::management::wire::request::Verb;
use rillway::management::wire::response::Part;
use rillway::management::wire::{KickRequest, MoveRequest, RoomsRequest, WhyRequest};
use rillway::management::{CallError, Role};
use rillway::{Running, Signals};
use rillway_core::id::WorkerId;
use rillway_tests::client::full_grant;
use rillway_tests::live::{LiveClient, member};
use rillway_tests::media::TrackSpec;

use crate::management::{Managed, ask, authority, management};
use crate::operating::run_for;
use crate::router::{PATIENCE, config, metric};

/// Two workers, of which none has more than two of a room.
fn router() -> Managed {
    let authority = authority();
    let mut config = config();
    config.media.workers = NonZeroU16::new(2).expect("not zero");
    config.media.participants_per_part = 2;
    config.management = Some(management(&authority));
    let running = rillway::run(config, Signals::Ignore).expect("free ports on loopback");
    Managed { authority, running }
}

async fn talker(running: &Running, number: u64, name: &str) -> LiveClient {
    let mut config = member(number, "hall", Instant::now());
    config.grant = full_grant("hall", name);
    config.tracks = vec![TrackSpec::audio(), TrackSpec::simulcast()];
    let client = LiveClient::connect(running.gateway_address(), config).await;
    client.expect("the gateway listens")
}

fn worker(client: &LiveClient) -> WorkerId {
    client.client.me.expect("joined").worker()
}

#[tokio::test]
async fn a_room_on_two_workers_is_one_room_to_all() {
    let managed = router();
    let mut clients = Vec::new();
    for (number, name) in (1..).zip(["Ada", "Bob", "Cleo", "Dan"]) {
        clients.push(talker(&managed.running, number, name).await);
        // In this order, so that it is known who is where.
        let joined = LiveClient::run_all(&mut clients, PATIENCE, |c| c.client.me.is_some()).await;
        assert!(joined.expect("sockets work"), "{name} joins");
    }
    assert_eq!(
        clients.iter().map(worker).collect::<Vec<_>>(),
        [0, 0, 1, 1].map(WorkerId)
    );
    // Everybody hears and sees the three others.
    let heard = LiveClient::run_all(&mut clients, PATIENCE, |c| c.hears(6)).await;
    assert!(heard.expect("sockets work"), "they hear each other");
    run_for(&mut clients, Duration::from_secs(3)).await;
    for client in &clients {
        assert_eq!(client.client.violations, Vec::<String>::new());
        for inbound in client.client.inbound.values() {
            assert_eq!(inbound.rtp_gaps(), 0, "{:?}", inbound.info);
        }
    }

    // To operators it is one room, too.
    let operator = managed.client(Role::Operator).await;
    let parts = ask(&operator, Verb::Rooms(RoomsRequest {})).await;
    let Ok([Part::Rooms(rooms)]) = parts.as_deref() else {
        panic!("{parts:?}");
    };
    let [hall] = rooms.rooms.as_slice() else {
        panic!("{rooms:?}");
    };
    assert_eq!((hall.worker, &*hall.other_workers), (0, &[1][..]));
    let counts = (hall.participants, hall.tracks, hall.subscriptions);
    assert_eq!(counts, (4, 8, 24));
    let why = Verb::Why(WhyRequest {
        room: "hall".to_owned(),
        participant: "Dan".to_owned(),
        track: String::new(),
    });
    let reasons = ask(&operator, why).await.expect("an answer");
    let of = |part: &Part| match part {
        Part::Reasons(reasons) => reasons.reasons.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(reasons.iter().map(of).sum::<usize>(), 6, "of three others");
    let kick = Verb::Kick(KickRequest {
        room: "hall".to_owned(),
        participant: "Cleo".to_owned(),
        reason: String::new(),
    });
    ask(&operator, kick).await.expect("done");
    clients.remove(2);
    let alone = LiveClient::run_all(&mut clients, PATIENCE, |c| c.client.roster.len() == 2).await;
    assert!(alone.expect("sockets work"), "Cleo has left for everybody");
    run_for(&mut clients, Duration::from_secs(1)).await;
    let labels = "{worker=\"0\",direction=\"sent\"}";
    let crossed = format!("rillway_rtp_crossed_packets_total{labels}");
    let crossed = metric(&managed.running, &crossed).await;
    assert!(
        crossed.is_some_and(|packets| packets > 500.0),
        "{crossed:?}"
    );
    let labels = "{worker=\"0\",what=\"video\"}";
    let lost = format!("rillway_worker_crossings_dropped_total{labels}");
    assert_eq!(metric(&managed.running, &lost).await, Some(0.0));
}

fn move_to(participant: &str, worker: u32) -> Verb {
    Verb::Move(MoveRequest {
        room: "hall".to_owned(),
        participant: participant.to_owned(),
        worker,
    })
}

#[tokio::test]
async fn who_is_moved_joins_again_on_the_other_worker() {
    let managed = router();
    let mut clients = vec![
        talker(&managed.running, 1, "Ada").await,
        talker(&managed.running, 2, "Bob").await,
    ];
    let heard = LiveClient::run_all(&mut clients, PATIENCE, |c| c.hears(2)).await;
    assert!(heard.expect("sockets work"), "they hear each other");
    let operator = managed.client(Role::Operator).await;
    for (who, worker, word) in [
        ("Ada", 7, "there is no worker 7"),
        ("Ada", 0, "on worker 0 already"),
        ("Eve", 1, "no participant `Eve`"),
    ] {
        match ask(&operator, move_to(who, worker)).await {
            Err(CallError::Said(error)) => assert!(error.message.contains(word), "{error:?}"),
            other => panic!("{other:?}"),
        }
    }
    // Her client does as it is told.
    let comes_again = async {
        let told = LiveClient::run_all(&mut clients, PATIENCE, |c| {
            c.draining.is_some() || c.client.config.grant.identity != "Ada"
        });
        assert!(told.await.expect("sockets work"), "she is told");
        assert!(clients[1].draining.is_none(), "nobody else is");
        clients[0] = talker(&managed.running, 3, "Ada").await;
        let heard = LiveClient::run_all(&mut clients, PATIENCE, |c| c.hears(2)).await;
        assert!(heard.expect("sockets work"), "they hear each other again");
    };
    let (moved, ()) = tokio::join!(ask(&operator, move_to("Ada", 1)), comes_again);
    let Ok([Part::Participants(moved)]) = moved.as_deref() else {
        panic!("{moved:?}");
    };
    assert_eq!(moved.participants[0].worker, 1);
    assert_eq!(
        clients.iter().map(worker).collect::<Vec<_>>(),
        [1, 0].map(WorkerId)
    );
}

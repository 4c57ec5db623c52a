//! What operators see of rooms and do to them, over a running router of two workers with real clients.

use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use rillway::management::wire::error::Code;
use rillway::management::wire::request::Verb;
use rillway::management::wire::response::Part;
use rillway::management::wire::{
    Error, Participant, ParticipantRequest, Reason, Room, RoomRequest, RoomsRequest, Subscription,
    Track, WhyRequest,
};
use rillway::management::{CallError, Client, Role};
use rillway::{Running, Signals};
use rillway_core::api::{Action, Wish};
use rillway_tests::client::full_grant;
use rillway_tests::live::{LiveClient, member};
use rillway_tests::media::TrackSpec;

use crate::management::{Managed, ask, authority, management};
use crate::router::{PATIENCE, config, join};

/// A router of two workers with a management channel.
fn two_workers() -> Managed {
    let authority = authority();
    let mut config = config();
    config.media.workers = NonZeroU16::new(2).expect("not zero");
    config.management = Some(management(&authority));
    let running = rillway::run(config, Signals::Ignore).expect("free ports on loopback");
    Managed { authority, running }
}

/// Somebody of this name with a microphone and a camera of three sizes.
async fn talker(running: &Running, room: &str, number: u64, name: &str) -> LiveClient {
    let mut config = member(number, room, Instant::now());
    config.grant = full_grant(room, name);
    config.tracks = vec![TrackSpec::audio(), TrackSpec::simulcast()];
    let client = LiveClient::connect(running.gateway_address(), config).await;
    client.expect("the gateway listens")
}

async fn run_for(clients: &mut [LiveClient], time: Duration) {
    let ran = LiveClient::run_all(clients, time, |_| false).await;
    ran.expect("sockets work");
}

/// Two people in a room, who hear and see each other.
async fn meeting(running: &Running, room: &str) -> [LiveClient; 2] {
    let mut clients = [
        talker(running, room, 1, "Ada").await,
        talker(running, room, 2, "Bob").await,
    ];
    let heard = LiveClient::run_all(&mut clients, PATIENCE, |c| c.hears(2)).await;
    assert!(heard.expect("sockets work"), "they hear each other");
    // Rates are measured over a second.
    run_for(&mut clients, Duration::from_millis(2_500)).await;
    clients
}

fn refused(result: Result<Vec<Part>, CallError>) -> Error {
    match result {
        Err(CallError::Said(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// What is in a room.
#[derive(Debug, Default)]
struct Seen {
    rooms: Vec<Room>,
    participants: Vec<Participant>,
    tracks: Vec<Track>,
    subscriptions: Vec<Subscription>,
    reasons: Vec<Reason>,
}

async fn see(client: &Client, verb: Verb) -> Seen {
    let mut seen = Seen::default();
    for part in ask(client, verb).await.expect("an answer") {
        match part {
            Part::Rooms(more) => seen.rooms.extend(more.rooms),
            Part::Participants(more) => seen.participants.extend(more.participants),
            Part::Tracks(more) => seen.tracks.extend(more.tracks),
            Part::Subscriptions(more) => seen.subscriptions.extend(more.subscriptions),
            Part::Reasons(more) => seen.reasons.extend(more.reasons),
            other => panic!("{other:?}"),
        }
    }
    seen
}

fn room(room: &str) -> Verb {
    let room = room.to_owned();
    Verb::Room(RoomRequest { room })
}

fn participant(room: &str, participant: &str) -> Verb {
    Verb::Participant(ParticipantRequest {
        room: room.to_owned(),
        participant: participant.to_owned(),
    })
}

fn why(room: &str, participant: &str, track: &str) -> Verb {
    Verb::Why(WhyRequest {
        room: room.to_owned(),
        participant: participant.to_owned(),
        track: track.to_owned(),
    })
}

#[tokio::test]
async fn rooms_are_seen_as_they_are_on_whichever_worker() {
    let managed = two_workers();
    let viewer = managed.client(Role::Viewer).await;
    let nobody = see(&viewer, Verb::Rooms(RoomsRequest {})).await;
    assert_eq!(nobody.rooms, []);
    let error = refused(ask(&viewer, room("meeting")).await);
    assert_eq!(error.help, "no room is open now");

    let mut clients = meeting(&managed.running, "meeting").await;
    let (_eve, _) = join(&managed.running, "other", "Eve").await;
    let mut rooms = see(&viewer, Verb::Rooms(RoomsRequest {})).await.rooms;
    rooms.sort_by(|a, b| a.name.cmp(&b.name));
    let [meeting, other] = rooms.as_slice() else {
        panic!("{rooms:?}")
    };
    assert_eq!((&*meeting.name, &*other.name), ("meeting", "other"));
    assert_ne!(meeting.worker, other.worker, "each worker has one");
    assert_eq!(
        (meeting.participants, meeting.tracks, meeting.subscriptions),
        (2, 4, 4)
    );
    assert!(meeting.received_bps > 500_000, "{meeting:?}");

    let seen = see(&viewer, room("meeting")).await;
    assert_eq!(seen.rooms.len(), 1);
    assert_eq!(
        (
            seen.participants.len(),
            seen.tracks.len(),
            seen.subscriptions.len()
        ),
        (2, 4, 4)
    );
    let camera = seen
        .tracks
        .iter()
        .find(|t| t.source == "camera")
        .expect("one");
    assert_eq!((camera.codec.as_str(), camera.layers.len()), ("VP8", 3));
    assert!(
        camera
            .layers
            .is_sorted_by(|a, b| a.bitrate_bps < b.bitrate_bps),
        "{camera:?}"
    );
    assert!(
        camera.layers.iter().all(|l| l.active && l.width > 0),
        "{camera:?}"
    );
    for subscription in &seen.subscriptions {
        assert_eq!(subscription.state, "forwarding", "{subscription:?}");
        assert!(
            subscription.packets > 20 && subscription.bitrate_bps > 10_000,
            "{subscription:?}"
        );
        let video = subscription.kind == "video";
        assert_eq!(
            subscription.spatial,
            Some(if video { 2 } else { 0 }),
            "{subscription:?}"
        );
    }

    // A participant is found by name, and by the id that the list gives; the figures are its own.
    let by_name = see(&viewer, participant("meeting", "Bob")).await;
    let bob = &by_name.participants[0];
    assert_eq!((bob.name.as_str(), bob.worker), ("Bob", meeting.worker));
    let by_id = see(&viewer, participant("meeting", &bob.id)).await;
    assert_eq!(by_id.participants[0].identity, bob.identity);
    assert_eq!((by_name.tracks.len(), by_name.subscriptions.len()), (2, 2));
    assert!(
        by_name
            .subscriptions
            .iter()
            .all(|s| s.participant == bob.id)
    );
    let (from, to) = (
        bob.publish.clone().expect("sends"),
        bob.subscribe.clone().expect("receives"),
    );
    for transport in [&from, &to] {
        assert_eq!(transport.state, "connected");
        let pair = transport.candidate_pair.as_ref().expect("a path");
        let ports: Vec<_> = managed.running.media_addresses()[bob.worker as usize]
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(
            ports.contains(&pair.local) && pair.remote.starts_with("127.0.0.1:"),
            "{pair:?}"
        );
    }
    assert!(from.packets_received > 100 && from.bytes_received > from.packets_received * 100);
    assert_eq!((from.packets_sent, from.network), (0, None));
    assert!(
        to.packets_sent > 100 && to.bytes_sent > to.packets_sent * 50,
        "{to:?}"
    );
    assert_eq!((to.packets_received, to.packets_lost), (0, 0));
    let network = to.network.expect("measured");
    assert!(
        network.round_trip_time_ms.is_some_and(|ms| ms < 1_000),
        "{network:?}"
    );

    let error = refused(ask(&viewer, room("meting")).await);
    assert_eq!(
        (error.code(), error.help.as_str()),
        (Code::NotFound, "open are: meeting, other")
    );
    let error = refused(ask(&viewer, participant("meeting", "Zoe")).await);
    assert_eq!(error.code(), Code::NotFound);
    assert!(
        error.help.contains("(Ada)") && error.help.contains("(Bob)"),
        "{error:?}"
    );
    // Of two with one name neither is meant.
    let (_second, _) = join(&managed.running, "meeting", "Bob").await;
    let error = refused(ask(&viewer, participant("meeting", "Bob")).await);
    assert_eq!(error.code(), Code::Invalid, "{error:?}");
    assert!(error.help.contains(&bob.id), "{error:?}");
    run_for(&mut clients, Duration::from_millis(100)).await;
}

#[tokio::test]
async fn whoever_asks_why_hears_of_wish_layers_and_decisions() {
    let managed = two_workers();
    let viewer = managed.client(Role::Viewer).await;
    let mut clients = meeting(&managed.running, "meeting").await;
    let all = see(&viewer, why("meeting", "Bob", "")).await.reasons;
    assert_eq!(all.len(), 2);
    let sound = all
        .iter()
        .find(|r| r.track.as_ref().is_some_and(|t| t.kind == "audio"));
    let sound = sound.expect("the microphone");
    assert_eq!(sound.decisions, []);
    assert!(sound.audio_bps > 10_000, "{sound:?}");

    let camera = clients[0].client.published[1].track.expect("published");
    clients[1].client.request(Action::Wish(Wish {
        track: camera,
        width: 300,
        height: 150,
        fps: 0,
        priority: 7,
        paused: false,
    }));
    run_for(&mut clients, Duration::from_millis(1_500)).await;
    let reason = see(&viewer, why("meeting", "Bob", "camera"))
        .await
        .reasons
        .remove(0);
    let by_id = see(&viewer, why("meeting", "Bob", &format!("{:x}", camera.0))).await;
    assert_eq!(by_id.reasons.len(), 1);
    let subscription = reason.subscription.expect("there");
    let wish = subscription.wish.expect("there");
    assert_eq!((wish.width, wish.height, wish.priority), (300, 150, 7));
    let [.., before, last] = reason.decisions.as_slice() else {
        panic!("{:?}", reason.decisions)
    };
    assert_eq!(
        before.wanted,
        Some(2),
        "the best, until it said what it needs: {before:?}"
    );
    // The default policy, in its first version.
    assert!(last.policy.starts_with("layers-adaptive 1-"), "{last:?}");
    assert!(!last.reason.is_empty() && last.chosen.is_some(), "{last:?}");
    assert!(last.wanted < Some(2) && last.due == last.wanted, "{last:?}");
    assert_eq!(subscription.spatial, last.due, "{subscription:?}");
    assert!(!last.outcome.is_empty() && last.age_ms < before.age_ms);
    assert_eq!(reason.track.expect("there").layers.len(), 3);

    let error = refused(ask(&viewer, why("meeting", "Bob", "screen")).await);
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.help.contains("(camera)"), "{error:?}");
}

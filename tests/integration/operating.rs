//! What operators see of rooms and do to them, over a running router of two workers with real clients.

use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use rillway::management::wire::error::Code;
use rillway::management::wire::request::Verb;
use rillway::management::wire::response::Part;
use rillway::management::wire::{
    CloseRoomRequest, DrainRequest, Error, Event, EventsRequest, KickRequest, MuteRequest,
    Participant, ParticipantRequest, Reason, RecordRequest, Room, RoomRequest, RoomsRequest,
    Subscription, Track, WhyRequest,
};
use rillway::management::{Answer, CallError, Client, ConnectError, Role};
use rillway::{Running, Signals};
use rillway_core::api::{Action, EventKind, RequestError, Wish};
use rillway_policy::Kind;
use rillway_policy::testing::{Behaviour, component};
use rillway_tests::client::full_grant;
use rillway_tests::live::{LiveClient, member};
use rillway_tests::media::TrackSpec;
use tokio_tungstenite::tungstenite::Message;

use crate::management::{Managed, ask, authority, management};
use crate::router::{
    PATIENCE, SUBPROTOCOL, config, connect, handshake, join, metric, refusal, soon,
};
use crate::site::Site;

/// A router of two workers with a management channel.
pub(crate) fn two_workers() -> Managed {
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

pub(crate) async fn run_for(clients: &mut [LiveClient], time: Duration) {
    let ran = LiveClient::run_all(clients, time, |_| false).await;
    ran.expect("sockets work");
}

/// Two people in a room, who hear and see each other.
pub(crate) async fn meeting(running: &Running, room: &str) -> [LiveClient; 2] {
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
            ports.contains(&pair.local)
                && pair.remote.starts_with("127.0.0.1:")
                && pair.protocol == "udp",
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

    run_for(&mut clients, Duration::from_millis(100)).await;
}

/// Whose network carries no UDP is seen to come by TCP.
#[tokio::test]
async fn the_path_of_each_transport_is_told() {
    let managed = two_workers();
    let viewer = managed.client(Role::Viewer).await;
    let mut clients = Vec::new();
    for (number, name, tcp) in [(1, "Ada", true), (2, "Bob", false)] {
        let mut config = member(number, "meeting", Instant::now());
        config.grant = full_grant("meeting", name);
        config.tracks = vec![TrackSpec::audio()];
        config.tcp = tcp;
        let client = LiveClient::connect(managed.running.gateway_address(), config).await;
        clients.push(client.expect("the gateway listens"));
    }
    let heard = LiveClient::run_all(&mut clients, PATIENCE, |c| c.hears(1)).await;
    assert!(heard.expect("sockets work"), "they hear each other");
    for (name, protocol) in [("Ada", "tcp"), ("Bob", "udp")] {
        let seen = see(&viewer, participant("meeting", name)).await;
        let of = &seen.participants[0];
        for transport in [&of.publish, &of.subscribe] {
            let pair = transport.as_ref().and_then(|t| t.candidate_pair.as_ref());
            assert_eq!(pair.expect("a path").protocol, protocol, "{of:?}");
        }
    }
}

#[tokio::test]
async fn names_that_mean_nobody_or_several_are_answered_with_who_is_there() {
    let managed = two_workers();
    let viewer = managed.client(Role::Viewer).await;
    let (_ada, _) = join(&managed.running, "meeting", "Ada").await;
    let (_bob, joined) = join(&managed.running, "meeting", "Bob").await;
    let (_eve, _) = join(&managed.running, "other", "Eve").await;
    let bob = joined["participant"]["id"].as_str().expect("an id");
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
    assert!(error.help.contains(bob), "{error:?}");
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

/// The one error of an answer, which has this code.
async fn error(client: &Client, verb: Verb, code: Code) -> Error {
    let error = refused(ask(client, verb).await);
    assert_eq!(error.code(), code, "{error:?}");
    error
}

fn mute(room: &str, of: &str, track: &str, muted: bool) -> Verb {
    Verb::Mute(MuteRequest {
        room: room.to_owned(),
        participant: of.to_owned(),
        track: track.to_owned(),
        muted,
    })
}

fn kick(room: &str, participant: &str, reason: &str) -> Verb {
    Verb::Kick(KickRequest {
        room: room.to_owned(),
        participant: participant.to_owned(),
        reason: reason.to_owned(),
    })
}

fn close(room: &str) -> Verb {
    Verb::CloseRoom(CloseRoomRequest {
        room: room.to_owned(),
        reason: String::new(),
    })
}

/// How many were removed.
async fn removed(client: &Client, verb: Verb) -> u32 {
    match ask(client, verb).await.expect("an answer").as_slice() {
        [Part::Removed(removed)] => removed.participants,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn operators_mute_and_nobody_undoes_it() {
    let managed = two_workers();
    let operator = managed.client(Role::Operator).await;
    let mut clients = meeting(&managed.running, "meeting").await;
    let track = clients[0].client.published[0].track.expect("published");
    let heard = |clients: &[LiveClient]| clients[1].client.inbound[&track].packets;

    let several = error(
        &operator,
        mute("meeting", "", "microphone", true),
        Code::Invalid,
    )
    .await;
    assert!(several.message.contains("2 tracks"), "{several:?}");
    let muted = see(&operator, mute("meeting", "Ada", "microphone", true))
        .await
        .tracks;
    assert_eq!(muted[0].id, format!("{:x}", track.0));
    assert!(muted[0].muted && muted[0].muted_by_operator && !muted[0].muted_by_publisher);
    run_for(&mut clients, Duration::from_millis(300)).await;
    for client in &clients {
        let told = EventKind::TrackMuted(track, true);
        assert!(client.client.events.contains(&told), "everybody is told");
    }
    let before = heard(&clients);
    clients[0].client.request(Action::Mute(track, false));
    run_for(&mut clients, Duration::from_millis(700)).await;
    assert_eq!(heard(&clients), before, "nothing of it is forwarded");
    let refused = clients[0].client.failures.last().map(|(_, error)| error);
    assert!(
        matches!(refused, Some(RequestError::Forbidden(_))),
        "{refused:?}"
    );

    let id = format!("{:x}", track.0);
    let again = see(&operator, mute("meeting", "", &id, false)).await.tracks;
    assert!(!again[0].muted, "{again:?}");
    run_for(&mut clients, Duration::from_millis(700)).await;
    assert!(heard(&clients) > before + 10);
    error(
        &operator,
        mute("meeting", "Zoe", "microphone", true),
        Code::NotFound,
    )
    .await;
    error(
        &operator,
        mute("meeting", "Ada", "screen", true),
        Code::NotFound,
    )
    .await;
}

#[tokio::test]
async fn operators_remove_people_who_are_told_why() {
    let managed = two_workers();
    let operator = managed.client(Role::Operator).await;
    let mut clients = meeting(&managed.running, "meeting").await;
    assert_eq!(
        removed(&operator, kick("meeting", "Bob", "one is enough")).await,
        1
    );
    run_for(&mut clients, Duration::from_millis(500)).await;
    let ended = clients[1].ended.clone().expect("closed");
    assert_eq!(
        (ended.code, ended.reason.as_str()),
        (Some(4003), "one is enough")
    );
    assert!(clients[0].ended.is_none() && clients[0].client.roster.is_empty());
    let gone = error(&operator, kick("meeting", "Bob", ""), Code::NotFound).await;
    assert!(gone.help.contains("(Ada)"), "{gone:?}");
    error(
        &operator,
        kick("meeting", "Ada", "two\nlines"),
        Code::Invalid,
    )
    .await;

    // More than one step removes; the room on the other worker stays.
    let mut members = Vec::new();
    for number in 0..40 {
        members.push(join(&managed.running, "full", &number.to_string()).await.0);
    }
    assert_eq!(removed(&operator, close("full")).await, 40);
    for member in &mut members {
        let told = member.told("removed").await;
        assert_eq!(told["reason"], "the room was closed by an operator");
        assert_eq!(member.closed().await, 4003);
    }
    let gone = error(&operator, close("full"), Code::NotFound).await;
    assert_eq!(gone.help, "open are: meeting");
    // It may be opened again.
    join(&managed.running, "full", "Eve").await;
    assert_eq!(removed(&operator, close("meeting")).await, 1);
}

fn record(room: &str, start: bool, tracks: &[&str]) -> Verb {
    Verb::Record(RecordRequest {
        room: room.to_owned(),
        start,
        tracks: tracks.iter().map(|&track| track.to_owned()).collect(),
    })
}

async fn recorded(client: &Client, verb: Verb) -> usize {
    match ask(client, verb).await.expect("an answer").as_slice() {
        [Part::Recorded(recorded)] => recorded.tracks.len(),
        other => panic!("{other:?}"),
    }
}

/// A router of a site, with a management channel.
fn recording(site: &Site, policy: &str) -> Managed {
    let authority = authority();
    let mut config = site.config(&format!(
        "authentication.policy = \"auth-open\"\n\
         recording = {{ policy = \"{policy}\", directory = \"recordings\" }}\n"
    ));
    config.management = Some(management(&authority));
    let running = rillway::run(config, Signals::Ignore).expect("free ports");
    Managed { authority, running }
}

#[tokio::test]
async fn operators_have_rooms_recorded_where_the_policy_agrees() {
    let site = Site::new("record-by-operator");
    let managed = recording(&site, "record-on-request");
    let operator = managed.client(Role::Operator).await;
    let mut clients = [talker(&managed.running, "standup", 1, "Ada").await];
    let published = |c: &LiveClient| c.client.published.iter().all(|p| p.track.is_some());
    let ready = LiveClient::run_all(&mut clients, PATIENCE, |c| {
        c.client.published.len() == 2 && published(c)
    });
    assert!(ready.await.expect("sockets work"));
    run_for(&mut clients, Duration::from_millis(1_000)).await;
    let (mut bob, _) = join(&managed.running, "standup", "Bob").await;

    assert_eq!(
        recorded(&operator, record("standup", true, &["microphone"])).await,
        1
    );
    assert_eq!(recorded(&operator, record("standup", true, &[])).await, 2);
    run_for(&mut clients, Duration::from_millis(1_500)).await;
    let told = bob.told("recording").await;
    assert_eq!(told["active"], true, "{told}");
    error(
        &operator,
        record("standup", true, &["screen"]),
        Code::NotFound,
    )
    .await;
    error(&operator, record("elsewhere", true, &[]), Code::NotFound).await;
    assert_eq!(recorded(&operator, record("standup", false, &[])).await, 0);
    run_for(&mut clients, Duration::from_millis(500)).await;
    let finished = "rillway_recorder_files_total{result=\"finished\"}";
    let until = Instant::now() + PATIENCE;
    while metric(&managed.running, finished).await < Some(1.0) {
        assert!(Instant::now() < until, "a file is complete");
        run_for(&mut clients, Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn where_nothing_records_or_the_policy_decides_otherwise_operators_are_told() {
    let site = Site::new("record-nowhere");
    let authority = authority();
    let mut config = site.config(
        "authentication.policy = \"auth-open\"\nrecording.policy = \"record-on-request\"\n",
    );
    config.management = Some(management(&authority));
    let running = rillway::run(config, Signals::Ignore).expect("free ports");
    let managed = Managed { authority, running };
    let operator = managed.client(Role::Operator).await;
    let (_ada, _) = join(&managed.running, "r", "Ada").await;
    let nowhere = error(&operator, record("r", true, &[]), Code::WrongState).await;
    assert!(
        nowhere.message.contains("recording.directory"),
        "{nowhere:?}"
    );
    assert!(nowhere.help.contains("`recording`"), "{nowhere:?}");

    // One router at a time: each reserves address space for its plugins.
    drop(managed);
    let site = Site::new("record-never");
    let managed = recording(&site, "none");
    let operator = managed.client(Role::Operator).await;
    let (_ada, _) = join(&managed.running, "r", "Ada").await;
    for start in [true, false] {
        let none = error(&operator, record("r", start, &[]), Code::WrongState).await;
        assert!(none.message.contains("records nothing"), "{none:?}");
    }

    drop(managed);
    let site = Site::new("record-regardless");
    let managed = recording(&site, "record-all");
    let operator = managed.client(Role::Operator).await;
    let mut clients = [talker(&managed.running, "r", 1, "Ada").await];
    let ready = |c: &LiveClient| c.client.published.iter().any(|p| p.track.is_some());
    let ready = LiveClient::run_all(&mut clients, PATIENCE, ready).await;
    assert!(ready.expect("sockets work"));
    run_for(&mut clients, Duration::from_millis(1_000)).await;
    let other = error(&operator, record("r", false, &[]), Code::WrongState).await;
    assert!(other.message.contains("goes on recording"), "{other:?}");
}

fn drain(deadline_ms: Option<u32>) -> Verb {
    Verb::Drain(DrainRequest { deadline_ms })
}

#[tokio::test]
async fn an_admin_drains_and_hears_how_it_goes() {
    let managed = two_workers();
    let admin = managed.client(Role::Admin).await;
    let (mut ada, _) = join(&managed.running, "r", "Ada").await;
    error(&admin, drain(Some(86_400_001)), Code::Invalid).await;
    let mut answer = admin.call(drain(Some(2_500))).await.expect("a stream");
    let first = soon("a report", answer.next()).await.expect("a part");
    assert!(matches!(first, Some(Part::Draining(_))), "{first:?}");
    let told = ada.told("draining").await["deadlineMs"]
        .as_u64()
        .expect("a time");
    assert!((1_000..=2_500).contains(&told), "{told}");
    let again = error(&admin, drain(Some(1_000)), Code::WrongState).await;
    assert!(again.message.contains("draining already"), "{again:?}");
    let protocol = [("sec-websocket-protocol", SUBPROTOCOL)];
    let address = managed.running.gateway_address();
    assert_eq!(refusal(handshake(address, &protocol).await), 503);

    let mut reports = 0;
    let end = loop {
        match soon("a report", answer.next()).await {
            Ok(Some(Part::Draining(report))) => {
                assert!(report.ms_left <= 2_500, "{report:?}");
                reports += 1;
            }
            other => break other,
        }
    };
    assert!(reports >= 1, "each second and when it begins");
    let ended = matches!(
        end,
        Ok(None) | Err(CallError::Connection(ConnectError::Ended))
    );
    assert!(ended, "{end:?}");
    assert_eq!(ada.closed().await, 1001);
    let running = managed.running;
    let ended = tokio::task::spawn_blocking(|| running.wait()).await;
    ended
        .expect("no panic")
        .expect("an end on request is no error");
}

#[tokio::test]
async fn a_drain_is_cut_short_by_a_deadline_of_nothing() {
    let managed = two_workers();
    let admin = managed.client(Role::Admin).await;
    let (mut ada, _) = join(&managed.running, "r", "Ada").await;
    let mut long = admin.call(drain(Some(86_400_000))).await.expect("a stream");
    soon("a report", long.next()).await.expect("a part");
    ada.told("draining").await;
    // It ends while this is asked, so that it may or may not be answered.
    let _ = ask(&admin, drain(Some(0))).await;
    assert_eq!(ada.closed().await, 1001);
    let running = managed.running;
    let ended = tokio::task::spawn_blocking(|| running.wait()).await;
    ended
        .expect("no panic")
        .expect("an end on request is no error");
}

/// Reads events until one of this kind.
async fn until(answer: &mut Answer, kind: &str) -> Event {
    soon(kind, async {
        loop {
            match answer.next().await.expect("a watch goes on") {
                Some(Part::Event(event)) if event.kind == kind => return event,
                Some(Part::Event(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    })
    .await
}

/// Begins to watch a room, or all.
async fn watch(client: &Client, room: &str) -> Answer {
    let room = room.to_owned();
    let mut answer = client
        .call(Verb::Events(EventsRequest { room }))
        .await
        .expect("a stream");
    let begun = soon("the beginning", answer.next()).await.expect("a part");
    assert!(matches!(begun, Some(Part::Lost(lost)) if lost.count == 0));
    answer
}

#[tokio::test]
async fn whoever_watches_is_told_what_happens_in_order() {
    let site = Site::new("watched");
    let managed = recording(&site, "record-on-request");
    let viewer = managed.client(Role::Viewer).await;
    let operator = managed.client(Role::Operator).await;
    let mut all = watch(&viewer, "").await;
    let mut one = watch(&viewer, "standup").await;
    let (other, _) = join(&managed.running, "other", "Eve").await;
    let mut clients = [talker(&managed.running, "standup", 1, "Ada").await];
    let ready = |c: &LiveClient| c.client.published.iter().any(|p| p.track.is_some());
    let ready = LiveClient::run_all(&mut clients, PATIENCE, ready).await;
    assert!(ready.expect("sockets work"));
    run_for(&mut clients, Duration::from_millis(500)).await;

    assert_eq!(until(&mut all, "room_opened").await.room, "other");
    let opened = soon("the first", one.next()).await.expect("goes on");
    let Some(Part::Event(opened)) = opened else {
        panic!("{opened:?}")
    };
    assert_eq!((&*opened.kind, &*opened.room), ("room_opened", "standup"));
    assert!(opened.at_ms > 1_600_000_000_000);
    let joined = until(&mut one, "joined").await;
    let me = format!("{:x}", clients[0].client.me.expect("joined").0);
    assert_eq!(
        (joined.participant, joined.detail.as_str()),
        (me.clone(), "Ada")
    );
    for source in ["microphone", "camera"] {
        let published = until(&mut one, "published").await;
        assert_eq!(
            (published.detail.as_str(), &published.participant),
            (source, &me)
        );
        assert_eq!(published.identity, joined.identity);
    }
    recorded(&operator, record("standup", true, &[])).await;
    let changed = until(&mut one, "operator").await;
    assert_eq!(changed.identity, "ada", "the name of the certificate");
    assert!(
        changed.detail.contains("record start in standup: done"),
        "{changed:?}"
    );
    assert_eq!(
        until(&mut one, "recording").await.detail.split(' ').count(),
        2
    );
    see(&operator, mute("standup", "", "camera", true)).await;
    assert_eq!(until(&mut one, "muted").await.detail, "camera");
    recorded(&operator, record("standup", false, &[])).await;
    until(&mut one, "recording_stopped").await;
    clients[0].client.leave();
    run_for(&mut clients, Duration::from_millis(300)).await;
    until(&mut one, "unpublished").await;
    assert_eq!(until(&mut one, "left").await.participant, me);
    until(&mut one, "room_closed").await;
    // Whoever watches everything has heard the same.
    other.vanish();
    let mut closed = vec![until(&mut all, "room_closed").await.room];
    closed.push(until(&mut all, "room_closed").await.room);
    closed.sort_unstable();
    assert_eq!(closed, ["other", "standup"]);
}

#[tokio::test]
async fn a_plugin_that_fails_is_among_the_events() {
    let site = Site::new("watched-plugin");
    let trap = component(Kind::Signaling, &Behaviour::Trap);
    site.write("mine.wasm", &trap);
    let authority = authority();
    let mut config = site.config(
        "authentication.policy = \"auth-open\"\n\
         [[signaling.routes]]\npath = \"/signal/rooms\"\nplugin = \"mine\"\n\
         subprotocol = \"rillway.rooms.v1\"\n\
         [plugins.mine]\ncomponent = \"mine.wasm\"\n",
    );
    config.management = Some(management(&authority));
    let running = rillway::run(config, Signals::Ignore).expect("free ports");
    let managed = Managed { authority, running };
    let viewer = managed.client(Role::Viewer).await;
    let mut events = watch(&viewer, "").await;
    let mut client = connect(&managed.running).await;
    client.try_send(Message::text("{}")).await;
    let fault = until(&mut events, "plugin_fault").await;
    assert_eq!(fault.plugin, "mine");
    assert!(fault.detail.contains("failed; 1-"), "{fault:?}");
    // A watcher that has gone costs nothing, and its call ends.
    drop(events);
    let rooms = see(&viewer, Verb::Rooms(RoomsRequest {})).await;
    assert_eq!(rooms.rooms, []);
}

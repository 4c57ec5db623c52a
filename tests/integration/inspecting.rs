//! What operators see in lists and capture of tracks, over a running router with real clients.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::time::{Duration, Instant};

use rillway::management::wire::error::Code;
use rillway::management::wire::request::Verb;
use rillway::management::wire::response::Part;
use rillway::management::wire::{
    CaptureRequest, Captured, EventsRequest, KickRequest, MetricsRequest, ParticipantsRequest,
    RecordRequest, RecordingsRequest, SubscriptionsRequest, TracksRequest, TransportOf,
    TransportsRequest,
};
use rillway::management::{CallError, Client, Role};
use rillway_recorder::dump::{Reader, Record, check};
use rillway_tests::live::LiveClient;

use crate::management::{ask, code};
use crate::operating::{meeting, two_workers};
use crate::reload::during;
use crate::router::{PATIENCE, soon};

/// A short time in which something has to happen.
const MOMENT: Duration = Duration::from_millis(20);

fn capture(track: &str, of: &str) -> CaptureRequest {
    CaptureRequest {
        room: "meeting".to_owned(),
        track: track.to_owned(),
        participant: of.to_owned(),
        ..CaptureRequest::default()
    }
}

fn captured(parts: Vec<Part>) -> (Vec<u8>, Captured) {
    let mut dump = Vec::new();
    let mut last = None;
    for part in parts {
        let Part::Captured(part) = part else {
            panic!("{part:?}")
        };
        dump.extend_from_slice(&part.dump);
        last = Some(part);
    }
    (dump, last.expect("one at least"))
}

/// Asks while the call goes on.
async fn take(
    clients: &mut [LiveClient],
    admin: &Client,
    request: CaptureRequest,
) -> (Vec<u8>, Captured) {
    let parts = during(clients, ask(admin, Verb::Capture(request))).await;
    captured(parts.unwrap_or_else(|error| panic!("{error}")))
}

#[tokio::test]
async fn a_track_is_captured_within_its_bounds() {
    let managed = two_workers();
    let admin = managed.client(Role::Admin).await;
    let mut clients = meeting(&managed.running, "meeting").await;
    let sound = |change: fn(&mut CaptureRequest)| {
        let mut request = capture("microphone", "Ada");
        change(&mut request);
        request
    };

    // By packets: a whole dump with as many, none of which is missing.
    let (dump, last) = take(&mut clients, &admin, sound(|r| r.packets = 20)).await;
    assert_eq!((last.packets, last.lost, &*last.ended), (20, 0, "packets"));
    assert_eq!(last.bytes, dump.len() as u64);
    let report = check(Cursor::new(&dump)).expect("a dump");
    assert!(report.complete, "{report:?}");
    assert_eq!((report.packets, report.tracks.len()), (20, 1));
    assert_eq!(
        (report.tracks[0].missing, report.tracks[0].codec),
        (0, "opus")
    );

    // By bytes, and by time.
    let (dump, last) = take(&mut clients, &admin, sound(|r| r.bytes = 2_000)).await;
    assert_eq!(&*last.ended, "bytes");
    assert!((2_000..4_000).contains(&dump.len()), "{} bytes", dump.len());
    let (_, last) = take(&mut clients, &admin, sound(|r| r.ms = 300)).await;
    assert!(last.ended == "time" && last.packets > 0, "{last:?}");

    // A picture begins with a keyframe that was asked for, and is the best layer.
    let mut request = capture("camera", "Ada");
    request.packets = 30;
    let (dump, _) = take(&mut clients, &admin, request).await;
    let mut records = Reader::new(Cursor::new(&dump)).expect("a dump");
    let first = records.find_map(|record| match record {
        Ok(Record::Packet(packet)) => Some(packet),
        _ => None,
    });
    assert!(first.is_some_and(|packet| packet.keyframe && packet.switched));

    // Out of bounds, and of nobody.
    for bad in [
        sound(|r| r.ms = 600_001),
        sound(|r| r.packets = u64::MAX),
        sound(|r| r.bytes = u64::MAX),
    ] {
        let answer = ask(&admin, Verb::Capture(bad)).await;
        assert_eq!(code(answer), Some(Code::Invalid));
    }
    let nobody = ask(&admin, Verb::Capture(capture("screen", "Ada"))).await;
    assert_eq!(code(nobody), Some(Code::NotFound));
}

#[tokio::test]
async fn captures_end_with_their_reader_and_with_their_track() {
    let managed = two_workers();
    let (admin, viewer) = (
        managed.client(Role::Admin).await,
        managed.client(Role::Viewer).await,
    );
    let mut clients = meeting(&managed.running, "meeting").await;
    let mut events = viewer
        .call(Verb::Events(EventsRequest::default()))
        .await
        .expect("a stream");
    let long = || {
        let mut request = capture("microphone", "Ada");
        request.ms = 60_000;
        Verb::Capture(request)
    };
    let first = during(&mut clients, async {
        let mut first = admin.call(long()).await.expect("a stream");
        assert!(matches!(soon("a part", first.next()).await, Ok(Some(_))));
        // One at a time for each track.
        let second = ask(&admin, long()).await;
        assert_eq!(code(second), Some(Code::WrongState));
        first
    })
    .await;
    // Who reads no more ends it, and another may begin.
    drop(first);
    let again = async {
        loop {
            let mut again = admin.call(long()).await.expect("a stream");
            match soon("a part", again.next()).await {
                Ok(Some(_)) => return again,
                Err(CallError::Said(error)) if error.code() == Code::WrongState => {
                    tokio::time::sleep(MOMENT).await;
                }
                other => panic!("{other:?}"),
            }
        }
    };
    let mut again = during(&mut clients, async { soon("its end", again).await }).await;
    // The end of the track is the end of it.
    let operator = managed.client(Role::Operator).await;
    let kick = Verb::Kick(KickRequest {
        room: "meeting".to_owned(),
        participant: "Ada".to_owned(),
        reason: String::new(),
    });
    ask(&operator, kick).await.expect("she goes");
    let last = async {
        let mut last = None;
        while let Ok(Some(part)) = again.next().await {
            last = Some(part);
        }
        last
    };
    match soon("the end", last).await {
        Some(Part::Captured(last)) => assert_eq!(last.ended, "track"),
        other => panic!("{other:?}"),
    }
    // Who took it is known.
    let told = async {
        loop {
            match events.next().await {
                Ok(Some(Part::Event(event))) if event.kind == "operator" => return event,
                Ok(Some(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let told = soon("the event", told).await;
    assert_eq!((&*told.identity, &*told.room), ("ada", "meeting"));
    assert!(
        told.detail.starts_with("capture microphone in meeting"),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_reader_that_is_too_slow_loses_packets_and_nobody_else_does() {
    let managed = two_workers();
    let admin = managed.client(Role::Admin).await;
    let mut clients = meeting(&managed.running, "meeting").await;
    let mut request = capture("camera", "Ada");
    request.ms = 60_000;
    let mut slow = admin.call(Verb::Capture(request)).await.expect("a stream");
    // It takes as much as fits on the way, and then the queue: some seconds of a picture.
    let began = Instant::now();
    let ran = LiveClient::run_all(&mut clients, Duration::from_secs(4), |_| false).await;
    ran.expect("sockets work");
    for (sender, receiver) in [(0, 1), (1, 0)] {
        let receiver = &clients[receiver];
        assert_eq!(receiver.client.violations, Vec::<String>::new());
        for published in &clients[sender].client.published {
            let inbound = &receiver.client.inbound[&published.track.expect("published")];
            assert_eq!(inbound.rtp_gaps(), 0, "after {:?}", began.elapsed());
        }
    }
    // What comes then is a dump all the same.
    let Ok(Some(Part::Captured(first))) = soon("a part", slow.next()).await else {
        panic!("no part")
    };
    assert!(first.dump.starts_with(b"RLWYRTP\n"));
}

/// Display names by identity: those of guests are made for each.
async fn names(viewer: &Client) -> BTreeMap<String, String> {
    let all = Verb::Participants(ParticipantsRequest::default());
    let parts = ask(viewer, all).await.expect("an answer").into_iter();
    let found = parts.flat_map(|part| match part {
        Part::Participants(found) => found.participants,
        other => panic!("{other:?}"),
    });
    found.map(|one| (one.identity, one.name)).collect()
}

/// Whose each item of a list is, by display name.
fn owners(parts: &[Part], names: &BTreeMap<String, String>) -> Vec<String> {
    let name = |identity: &String| names[identity].clone();
    let mut owners: Vec<String> = Vec::new();
    for part in parts {
        match part {
            Part::Participants(found) => {
                owners.extend(found.participants.iter().map(|p| name(&p.identity)));
            }
            Part::Tracks(found) => owners.extend(found.tracks.iter().map(|t| name(&t.identity))),
            Part::Subscriptions(found) => {
                owners.extend(found.subscriptions.iter().map(|s| name(&s.identity)));
            }
            Part::Transports(found) => {
                let both = |t: &TransportOf| format!("{} {}", name(&t.identity), t.direction);
                owners.extend(found.transports.iter().map(both));
            }
            other => panic!("{other:?}"),
        }
    }
    owners.sort();
    owners
}

#[tokio::test]
async fn lists_are_of_all_rooms_of_one_or_of_somebody() {
    let managed = two_workers();
    let viewer = managed.client(Role::Viewer).await;
    let mut clients = meeting(&managed.running, "meeting").await;
    let mut others = meeting(&managed.running, "another").await;
    let names = names(&viewer).await;
    let seen = async |verb: Verb| owners(&ask(&viewer, verb).await.expect("an answer"), &names);
    let room = || "meeting".to_owned();
    let (both, ada) = (["Ada", "Bob"], || "Ada".to_owned());

    let participants = |room| Verb::Participants(ParticipantsRequest { room });
    assert_eq!(seen(participants(room())).await, both);
    assert_eq!(seen(participants(String::new())).await.len(), 4);

    let tracks = |room, participant| Verb::Tracks(TracksRequest { room, participant });
    assert_eq!(seen(tracks(room(), ada())).await, ["Ada", "Ada"]);
    assert_eq!(seen(tracks(room(), String::new())).await.len(), 4);
    assert_eq!(seen(tracks(String::new(), String::new())).await.len(), 8);

    let subscriptions =
        |room, participant| Verb::Subscriptions(SubscriptionsRequest { room, participant });
    assert_eq!(seen(subscriptions(room(), ada())).await, ["Ada", "Ada"]);
    assert_eq!(
        seen(subscriptions(String::new(), String::new()))
            .await
            .len(),
        8
    );

    let transports = |room, participant| Verb::Transports(TransportsRequest { room, participant });
    let hers = seen(transports(room(), ada())).await;
    assert_eq!(hers, ["Ada publish", "Ada subscribe"]);
    assert_eq!(
        seen(transports(String::new(), String::new())).await.len(),
        8
    );

    // A participant without a room is nobody, and there are no others.
    let answer = ask(&viewer, tracks(String::new(), ada())).await;
    assert_eq!(code(answer), Some(Code::Invalid));
    let answer = ask(&viewer, tracks("nowhere".to_owned(), String::new())).await;
    assert_eq!(code(answer), Some(Code::NotFound));
    let answer = ask(&viewer, transports(room(), "Eve".to_owned())).await;
    assert_eq!(code(answer), Some(Code::NotFound));

    // Metrics, all or some.
    let metrics = async |name: &str| {
        let name = name.to_owned();
        let answer = ask(&viewer, Verb::Metrics(MetricsRequest { name })).await;
        match answer.expect("an answer").remove(0) {
            Part::Metrics(metrics) => metrics.text,
            other => panic!("{other:?}"),
        }
    };
    let (all, some) = (metrics("").await, metrics("build_info").await);
    assert!(all.contains(&some) && all.len() > 10 * some.len());
    assert!(
        some.lines()
            .last()
            .is_some_and(|line| line.starts_with("rillway_build_info{"))
    );
    assert_eq!(metrics("no_such").await, "");
    for client in clients.iter_mut().chain(&mut others) {
        client.set_running(false);
    }
}

#[tokio::test]
async fn what_is_recorded_is_listed_while_it_is() {
    let managed = two_workers();
    let operator = managed.client(Role::Operator).await;
    let mut clients = meeting(&managed.running, "meeting").await;
    let recordings = async |room: &str| {
        let room = room.to_owned();
        let answer = ask(&operator, Verb::Recordings(RecordingsRequest { room })).await;
        let parts = answer.expect("an answer").into_iter();
        let found = parts.flat_map(|part| match part {
            Part::Recordings(found) => found.recordings,
            other => panic!("{other:?}"),
        });
        found.collect::<Vec<_>>()
    };
    assert_eq!(recordings("").await, []);
    let record = |start| {
        Verb::Record(RecordRequest {
            room: "meeting".to_owned(),
            start,
            tracks: Vec::new(),
        })
    };
    let started = during(&mut clients, ask(&operator, record(true))).await;
    started.expect("it records");
    let end = Instant::now() + PATIENCE;
    let found = loop {
        let found = during(&mut clients, recordings("meeting")).await;
        if found.iter().all(|one| one.writing) || Instant::now() > end {
            break found;
        }
        let ran = LiveClient::run_all(&mut clients, MOMENT, |_| false).await;
        ran.expect("sockets work");
    };
    assert_eq!(found.len(), 4);
    assert!(
        found.iter().all(|one| one.writing && one.since_ms > 0),
        "{found:#?}"
    );
    let names = names(&operator).await;
    let hers = found
        .iter()
        .find(|one| names[&one.identity] == "Ada" && one.source == "camera");
    assert!(
        hers.is_some_and(|one| !one.name.is_empty() && one.room == "meeting"),
        "{found:#?}"
    );
    assert_eq!(recordings("").await, found);
    let stopped = during(&mut clients, ask(&operator, record(false))).await;
    stopped.expect("it stops");
    assert_eq!(recordings("").await, []);
}

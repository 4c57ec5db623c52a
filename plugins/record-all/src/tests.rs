use proptest::prelude::*;
use sdk::Recording as _;
use sdk::recording::{Container, Failure, FailureCause, Request};
use sdk::testing::{self, Host};
use sdk::types::{MediaKind, Participant, ParticipantId, Source, Track, TrackId};

use super::*;

const SECOND_NS: u64 = 1_000_000_000;

/// The host's clock begins at noon of 1 January 2026.
fn start(config: &str) -> Result<RecordAll, String> {
    testing::install(Host {
        config: config.to_owned(),
        now_ms: 1_767_268_800_000,
        ..Host::default()
    });
    testing::start()
}

fn open(config: &str, room: &str) -> RecordAll {
    let mut policy = start(config).expect("a good configuration");
    assert_eq!(policy.decide(Event::RoomOpened(room.to_owned())), []);
    let ada = Participant {
        id: ParticipantId(1),
        identity: "ada".to_owned(),
        name: None,
        attributes: Vec::new(),
        joined_at_ms: 0,
    };
    assert_eq!(policy.decide(Event::ParticipantJoined(ada)), []);
    policy
}

fn track(id: u64, codec: &str) -> Track {
    let audio = codec.eq_ignore_ascii_case("opus");
    Track {
        id: TrackId(id),
        owner: ParticipantId(1),
        kind: if audio {
            MediaKind::Audio
        } else {
            MediaKind::Video
        },
        source: if audio {
            Source::Microphone
        } else {
            Source::Camera
        },
        codec: codec.to_owned(),
        encrypted: false,
        muted: false,
        layers: Vec::new(),
        attributes: Vec::new(),
    }
}

fn published(id: u64, codec: &str) -> Event {
    Event::TrackPublished(track(id, codec))
}

fn failed(id: u64) -> Event {
    Event::Failed(Failure {
        track: TrackId(id),
        cause: FailureCause::DiskFull,
        message: "the disk is full".to_owned(),
    })
}

fn later(seconds: u64) {
    testing::with(|host| host.monotonic_ns += seconds * SECOND_NS);
}

/// What was ordered, in words.
fn words(orders: &[Order]) -> Vec<String> {
    let word = |order: &Order| match order {
        Order::Start(start) => format!(
            "{:?} {} {}",
            start.container, start.max_segment_s, start.name
        ),
        Order::Stop(track) => format!("stop {}", track.0),
        Order::TickEveryMs(period) => format!("tick {period}"),
    };
    orders.iter().map(word).collect()
}

fn starts(orders: &[Order]) -> Vec<u64> {
    let starts = orders.iter().filter_map(|order| match order {
        Order::Start(start) => Some(start.track.0),
        Order::Stop(_) | Order::TickEveryMs(_) => None,
    });
    starts.collect()
}

#[test]
fn every_track_is_recorded_from_its_beginning() {
    let mut policy = open("{}", "class/7");
    let orders = policy.decide(published(10, "opus"));
    assert_eq!(
        words(&orders),
        ["Mp4 0 class_7-20260101T120000000Z-ada-camera"]
    );
    let orders = policy.decide(published(11, "VP8"));
    assert_eq!(
        words(&orders),
        ["Mp4 0 class_7-20260101T120000000Z-ada-camera"]
    );
    let request = Request {
        start: false,
        by: Some(ParticipantId(1)),
        attributes: Vec::new(),
    };
    for event in [
        Event::TrackMuted(TrackId(10), true),
        Event::Speakers(vec![ParticipantId(1)]),
        Event::Requested(request),
        Event::TrackUnpublished(TrackId(10)),
        Event::ParticipantLeft(ParticipantId(1)),
        Event::RoomClosed,
    ] {
        assert_eq!(policy.decide(event), []);
    }
}

#[test]
fn camera_and_microphone_of_one_participant_share_a_name_and_nobody_else_does() {
    let mut policy = open("{}", "r");
    let mut name = |id: u64, owner: u64, source: Source| {
        testing::with(|host| host.now_ms += 1_000);
        let mut track = track(id, "opus");
        (track.owner, track.source) = (ParticipantId(owner), source);
        let orders = policy.decide(Event::TrackPublished(track));
        let [Order::Start(start)] = &orders[..] else {
            panic!("one start: {orders:?}");
        };
        start.name.clone()
    };
    let camera = name(1, 1, Source::Camera);
    assert_eq!(camera, "r-20260101T120001000Z-ada-camera");
    assert_eq!(name(2, 1, Source::Microphone), camera);
    let screen = name(3, 1, Source::Screen);
    assert_eq!(screen, "r-20260101T120003000Z-ada-screen");
    assert_eq!(name(4, 1, Source::ScreenAudio), screen);
    assert_eq!(
        name(5, 1, Source::Other),
        "r-20260101T120005000Z-ada-other-5"
    );
    assert_eq!(
        name(6, 2, Source::Microphone),
        "r-20260101T120006000Z-_-camera"
    );
    for gone in [1, 2] {
        policy.decide(Event::TrackUnpublished(TrackId(gone)));
    }
    let mut again = track(7, "opus");
    again.source = Source::Camera;
    let orders = policy.decide(Event::TrackPublished(again));
    assert_eq!(
        words(&orders),
        ["Mp4 0 r-20260101T120006000Z-ada-camera"],
        "nothing is left to share a file with"
    );
}

#[test]
fn files_are_as_configured() {
    let config = r#"{"files": {"container": "mp4", "segment_s": 600, "kinds": ["video"],
        "name": "{time}.{kind}.{track}", "dump_encrypted": true}}"#;
    let mut policy = open(config, "r");
    assert_eq!(policy.decide(published(1, "opus")), []);
    let orders = policy.decide(published(2, "VP8"));
    assert_eq!(words(&orders), ["Mp4 600 20260101T120000000Z.video.2"]);
    let mut secret = track(3, "VP8");
    secret.encrypted = true;
    let orders = policy.decide(Event::TrackPublished(secret.clone()));
    assert_eq!(words(&orders), ["RtpDump 600 20260101T120000000Z.video.3"]);
    let mut policy = open("{}", "r");
    assert_eq!(policy.decide(Event::TrackPublished(secret)), []);
}

#[test]
fn a_codec_gets_a_container_that_it_has_a_mapping_to() {
    let mut policy = open("{}", "r");
    for (id, (codec, expected)) in [
        ("H264", Container::Mp4),
        ("h264", Container::Mp4),
        ("VP9", Container::Mp4),
        ("AV1", Container::Mp4),
        ("vp8", Container::Mp4),
        ("PCMU", Container::RtpDump),
        ("", Container::Mp4),
    ]
    .into_iter()
    .enumerate()
    {
        let orders = policy.decide(published(id as u64, codec));
        assert!(
            matches!(&orders[..], [Order::Start(start)] if start.container == expected),
            "{codec}: {orders:?}"
        );
    }
}

#[test]
fn rooms_are_named_by_patterns() {
    let config = r#"{"rooms": ["class-*", "lobby"]}"#;
    for (room, recorded) in [
        ("class-3", true),
        ("lobby", true),
        ("lobby2", false),
        ("", false),
    ] {
        let mut policy = open(config, room);
        assert_eq!(
            starts(&policy.decide(published(5, "opus"))).len(),
            usize::from(recorded),
            "{room}"
        );
    }
}

#[test]
fn what_fails_is_tried_again_after_a_growing_pause() {
    let mut policy = open("{}", "r");
    let tick = || Event::Tick;
    assert_eq!(starts(&policy.decide(published(1, "opus"))), [1]);
    for pause in [15, 30, 60, 120, 240, 480, 960, 960] {
        assert_eq!(policy.decide(failed(1)), [Order::TickEveryMs(5_000)]);
        later(pause - 1);
        assert_eq!(policy.decide(tick()), [], "{pause}");
        later(1);
        let orders = policy.decide(tick());
        assert_eq!(starts(&orders), [1], "{pause}");
        assert_eq!(orders[1..], [Order::TickEveryMs(0)], "nothing waits");
    }
    later(600);
    policy.decide(failed(1));
    later(15);
    assert_eq!(starts(&policy.decide(tick())), [1], "it went well for long");
    policy.decide(failed(1));
    let gone = policy.decide(Event::TrackUnpublished(TrackId(1)));
    assert_eq!(gone, [Order::TickEveryMs(0)]);
    later(3_600);
    assert_eq!(policy.decide(tick()), [], "it is gone");
    assert_eq!(policy.decide(failed(9)), [], "an unknown track");
}

#[test]
fn more_than_one_call_may_order_is_ordered_by_the_next() {
    let mut policy = open("{}", "r");
    for id in 0..1_500 {
        policy.decide(published(id, "opus"));
        policy.decide(failed(id));
    }
    later(60);
    assert_eq!(starts(&policy.decide(Event::Tick)).len(), 1_023);
    let orders = policy.decide(Event::Tick);
    assert_eq!(starts(&orders).len(), 477);
    assert_eq!(orders.last(), Some(&Order::TickEveryMs(0)));
}

#[test]
fn configuration_is_typed_and_bounded() {
    let problem = |json: &str| start(json).map(|_| ()).expect_err(json);
    assert!(problem(r#"{"rooms": []}"#).contains("`rooms` is empty"));
    assert!(problem(r#"{"room": "a"}"#).contains("unknown field `room`"));
    for (files, place, what) in [
        (
            r#"{"kinds": []}"#,
            "`files.kinds`",
            "nothing would be recorded",
        ),
        (
            r#"{"kinds": ["text"]}"#,
            "`files.kinds[0]`",
            "unknown variant `text`",
        ),
        (
            r#"{"container": "mov"}"#,
            "`files.container`",
            "unknown variant `mov`",
        ),
        (
            r#"{"segment_s": 9}"#,
            "`files.segment_s`",
            "9 is neither 0 (never) nor 10 to 604800",
        ),
        (r#"{"name": "{track}"}"#, "`files.name`", "has no {time}"),
        (
            r#"{"names": "x"}"#,
            "`files.names`",
            "unknown field `names`",
        ),
    ] {
        let problem = problem(&format!(r#"{{"files": {files}}}"#));
        assert!(
            problem.contains(place) && problem.contains(what),
            "{problem}"
        );
    }
}

proptest! {
    /// Whatever a room and its people are called, and whatever pattern is good: a name is safe and fits.
    #[test]
    fn names_are_safe(
        room in ".{0,128}",
        identity in ".{0,128}",
        parts in prop::collection::vec(
            prop::sample::select(vec!["{room}", "{participant}", "{source}", "{kind}", "-", "a.b", "_"]),
            0..8,
        ),
        id in 0..1_u64 << 53,
        now_ms in any::<u64>(),
    ) {
        let name = format!("{}{{track}}-{{media}}-{{time}}", parts.concat());
        let config = format!(r#"{{"files": {{"name": "{name}"}}}}"#);
        prop_assume!(start(&config).is_ok());
        let mut policy = open(&config, &room);
        let who = Participant {
            id: ParticipantId(1),
            identity,
            name: None,
            attributes: Vec::new(),
            joined_at_ms: 0,
        };
        policy.decide(Event::ParticipantJoined(who));
        testing::with(|host| host.now_ms = now_ms);
        let orders = policy.decide(published(id, "opus"));
        let [Order::Start(start)] = &orders[..] else {
            return Err(TestCaseError::fail("one start"));
        };
        let name = &start.name;
        prop_assert!((1..=128).contains(&name.len()), "{}", name);
        prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{}", name);
        prop_assert!(!name.starts_with(['-', '.']) && name.contains(&id.to_string()), "{}", name);
    }
}

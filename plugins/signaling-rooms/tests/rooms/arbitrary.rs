//! No input, in no order, makes the state machine panic, break its promises or grow without bound.

use crate::subject::Rooms;
use proptest::collection::vec;
use proptest::prelude::*;
use rillway_plugin_sdk::Signaling;
use rillway_plugin_sdk::signaling::{
    Action, FailureCode, Frame, Input, LayerState, MidTrack, Opened, RecordingState, TransportState,
};
use rillway_plugin_sdk::types::{
    Denial, Direction, Limits, MediaKind, ParticipantId, Track, TrackId,
};
use serde_json::{Map, Value};
use signaling_rooms::decode::{REQUEST_TYPES, decode};
use signaling_rooms::limits;

use crate::harness::{LIMITS, grant, joined, participant, track};

/// Any JSON, not too deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((".{0,6}", inner), 0..4).prop_map(|m| Value::from(Map::from_iter(m))),
        ]
    })
}

/// A value that is often what some member wants.
fn plausible() -> impl Strategy<Value = Value> {
    prop_oneof![
        any_json(),
        prop::sample::select(vec![
            "publish",
            "subscribe",
            "1",
            "1f",
            "ff",
            "",
            "camera",
            "0"
        ])
        .prop_map(Value::from),
        (0u64..5).prop_map(Value::from),
        Just(serde_json::json!(["1", "2"])),
        Just(serde_json::json!([{"mid": "0", "source": "camera"}])),
    ]
}

/// An object with the right names and sometimes the right values.
fn near_message() -> impl Strategy<Value = String> {
    const MEMBERS: [&str; 21] = [
        "id",
        "room",
        "name",
        "token",
        "autoSubscribe",
        "sdp",
        "tracks",
        "track",
        "offerId",
        "direction",
        "candidate",
        "width",
        "height",
        "fps",
        "priority",
        "paused",
        "muted",
        "label",
        "text",
        "base64",
        "to",
    ];
    let kind = prop::sample::select(REQUEST_TYPES.to_vec());
    let members = vec((prop::sample::select(MEMBERS.to_vec()), plausible()), 0..8);
    (kind, members).prop_map(|(kind, members)| {
        let mut object = Map::new();
        object.insert("type".to_owned(), kind.into());
        object.extend(
            members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value)),
        );
        Value::from(object).to_string()
    })
}

/// A well-formed message, so that sequences get deep into the state machine.
fn good_message() -> impl Strategy<Value = String> {
    let messages = [
        r#"{"type":"join","id":1,"room":"r"}"#,
        r#"{"type":"join","room":"r","autoSubscribe":false,"token":"t"}"#,
        r#"{"type":"leave","id":2}"#,
        r#"{"type":"publish","id":3,"sdp":"v=0","tracks":[{"mid":"0","source":"camera"}]}"#,
        r#"{"type":"unpublish","id":4,"track":"1"}"#,
        r#"{"type":"answer","id":5,"offerId":1,"sdp":"v=0"}"#,
        r#"{"type":"candidate","direction":"publish","candidate":"candidate:1"}"#,
        r#"{"type":"restart","id":6,"direction":"subscribe"}"#,
        r#"{"type":"close","id":7,"direction":"publish"}"#,
        r#"{"type":"subscribe","id":8,"tracks":["1","2","3"]}"#,
        r#"{"type":"unsubscribe","id":9,"tracks":["1","2"]}"#,
        r#"{"type":"subscribe","tracks":["4"]}"#,
        r#"{"type":"wish","track":"1","width":320}"#,
        r#"{"type":"mute","id":10,"track":"1","muted":true}"#,
        r#"{"type":"record","id":12,"start":false}"#,
        r#"{"type":"notify","layers":true}"#,
        r#"{"type":"data","label":"l","base64":"AA=="}"#,
        r#"{"type":"direct-description","id":13,"call":1,"kind":"offer","sdp":"v=0"}"#,
        r#"{"type":"direct-candidate","call":1,"candidate":""}"#,
        r#"{"type":"direct-path","call":1,"path":"failed"}"#,
        r#"{"type":"ping","id":11}"#,
    ];
    prop::sample::select(messages.to_vec()).prop_map(str::to_owned)
}

fn some_track() -> impl Strategy<Value = Track> {
    (0u64..6, any::<bool>()).prop_map(|(id, audio)| {
        let kind = if audio {
            MediaKind::Audio
        } else {
            MediaKind::Video
        };
        track(id, 2, kind)
    })
}

fn code() -> impl Strategy<Value = FailureCode> {
    prop::sample::select(vec![
        FailureCode::Forbidden,
        FailureCode::NotFound,
        FailureCode::Invalid,
        FailureCode::LimitExceeded,
        FailureCode::WrongState,
        FailureCode::Unavailable,
        FailureCode::Internal,
    ])
}

/// References as they occur, and any.
fn reference() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => 0u64..20,
        2 => (0u64..6).prop_map(|id| (1 << 63) | id),
        1 => any::<u64>(),
    ]
}

fn from_client() -> impl Strategy<Value = Input> {
    prop_oneof![
        6 => good_message().prop_map(|t| Input::Message(Frame::Text(t))),
        2 => near_message().prop_map(|t| Input::Message(Frame::Text(t))),
        1 => ".{0,40}".prop_map(|t| Input::Message(Frame::Text(t))),
        1 => vec(any::<u8>(), 0..20).prop_map(|b| Input::Message(Frame::Binary(b))),
    ]
}

fn from_host() -> impl Strategy<Value = Input> {
    let limits = (0u16..4).prop_map(|n| Limits {
        subscriptions_per_participant: n,
        ..LIMITS
    });
    prop_oneof![
        4 => Just(Input::Granted(grant("r"))),
        4 => (limits, vec(some_track(), 0..4)).prop_map(|(l, tracks)| joined(l, tracks)),
        4 => reference().prop_map(|reference| Input::Done { reference }),
        4 => (reference(), code(), ".{0,8}").prop_map(|(reference, code, message)| {
            Input::Failed { reference, code, message }
        }),
        3 => some_track().prop_map(Input::TrackPublished),
        3 => (0u64..6).prop_map(|id| Input::TrackUnpublished(TrackId(id))),
        1 => (0u64..6, any::<bool>()).prop_map(|(id, m)| Input::TrackMuted(TrackId(id), m)),
        1 => Just(Input::ParticipantJoined(participant(2, "Grace", 0))),
        1 => Just(Input::ParticipantLeft(ParticipantId(2))),
        2 => reference().prop_map(|reference| Input::Answer {
            reference,
            sdp: "v=0".to_owned(),
            tracks: vec![MidTrack { mid: "0".to_owned(), track: Some(TrackId(1)) }],
        }),
        1 => any::<u64>().prop_map(|offer_id| Input::Offer {
            offer_id,
            sdp: "v=0".to_owned(),
            tracks: vec![MidTrack { mid: "0".to_owned(), track: None }],
        }),
        1 => Just(Input::TransportState(Direction::Subscribe, TransportState::Failed)),
        1 => any::<u8>().prop_map(|level| Input::Speakers(vec![(ParticipantId(2), level)])),
        1 => Just(Input::Layer(LayerState { track: TrackId(1), spatial: None, temporal: None })),
        1 => vec(any::<u8>(), 0..9).prop_map(|payload| Input::Data {
            from: ParticipantId(u64::MAX),
            label: "\u{0}\"".to_owned(),
            payload,
        }),
        1 => Just(Input::Recording(RecordingState { active: true, by: Some(ParticipantId(2)), tracks: vec![TrackId(1)] })),
        1 => Just(Input::DataDropped { outgoing: true, count: u64::MAX }),
        1 => Just(Input::Draining { within_ms: u64::MAX, url: None }),
        1 => (0u64..4, ".{0,20}").prop_map(|(from, text)| Input::Relayed(ParticipantId(from), Frame::Text(text))),
        1 => Just(Input::Relayed(ParticipantId(2), Frame::Text(r#"{"note":"start","call":1}"#.to_owned()))),
        1 => Just(Input::Tick),
    ]
}

/// Inputs that end the connection; rare, so that sequences stay long.
fn ending() -> impl Strategy<Value = Input> {
    prop_oneof![
        Just(Input::Opened(Opened::default())),
        Just(Input::Closed("gone".to_owned())),
        ".{0,400}".prop_map(Input::Removed),
        ".{0,400}".prop_map(|why| Input::Denied(Denial::Unavailable(why))),
    ]
}

fn any_input() -> impl Strategy<Value = Input> {
    prop_oneof![
        30 => from_client(),
        60 => from_host(),
        1 => ending(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in ".*") {
        let _ = decode(&text);
    }

    #[test]
    fn any_json_is_read_or_refused(json in any_json()) {
        let _ = decode(&json.to_string());
    }

    #[test]
    fn near_messages_are_read_or_refused_with_their_id(text in near_message(), id in 0u64..(1 << 53)) {
        let mut object: Map<String, Value> = serde_json::from_str(&text).expect("an object");
        object.insert("id".to_owned(), id.into());
        let read = match decode(&Value::from(object).to_string()) {
            Ok(message) => message.id,
            Err(rejected) => rejected.id,
        };
        prop_assert_eq!(read, Some(id));
    }

    /// Bytes that are cut, flipped or inserted in a good message.
    #[test]
    fn damaged_messages_are_read_or_refused(
        text in good_message(), at in any::<prop::sample::Index>(), with in ".{0,3}", cut in 0usize..4,
    ) {
        let at = text.floor_char_boundary(at.index(text.len()));
        let end = text.ceil_char_boundary((at + cut).min(text.len()));
        let _ = decode(&format!("{}{with}{}", &text[..at], &text[end..]));
    }

    #[test]
    fn any_sequence_of_inputs_keeps_the_promises(inputs in vec(any_input(), 0..200)) {
        let mut rooms = Rooms::new();
        let mut closed = false;
        let mut given = 0;
        for input in inputs {
            let gone = matches!(input, Input::Closed(_));
            let commands = rooms.handle(input);
            prop_assert!(!closed || commands.is_empty(), "spoke after the end: {commands:?}");
            prop_assert!(commands.len() <= limits::TRACKS_MAX + 8, "{} commands", commands.len());
            for (i, command) in commands.iter().enumerate() {
                match &command.action {
                    Action::Send(Frame::Text(text)) => {
                        let message: Value = serde_json::from_str(text).expect("we send JSON");
                        prop_assert!(message["type"].is_string());
                        prop_assert_eq!(message["fatal"] == true, {
                            let next = commands.get(i + 1).map(|c| &c.action);
                            message["type"] == "error" && matches!(next, Some(Action::Close(..)))
                        });
                    }
                    Action::Close(code, reason) => {
                        prop_assert!([1008, 4001, 4003, 4013].contains(code), "{code}");
                        prop_assert!(reason.len() <= limits::CLOSE_REASON_BYTES_MAX);
                        prop_assert_eq!(i + 1, commands.len(), "closing comes last");
                        closed = true;
                    }
                    _ if command.reference == 0 || command.reference >> 62 != 0 => {}
                    _ => {
                        prop_assert!(command.reference > given, "references grow");
                        given = command.reference;
                    }
                }
            }
            closed |= gone;
        }
    }
}

//! What is refused before anybody is asked, and how it is explained.

use rillway_plugin_sdk::signaling::{Frame, Input};
use serde_json::{Value, json};

use crate::harness::Connection;

/// Text, code, `id` echoed, and what the explanation must say.
type Case = (String, &'static str, Option<u64>, &'static [&'static str]);

fn case(json: &Value, id: Option<u64>, says: &'static [&'static str]) -> Case {
    (json.to_string(), "bad_message", id, says)
}

fn raw(text: &str, id: Option<u64>, says: &'static [&'static str]) -> Case {
    (text.to_owned(), "bad_message", id, says)
}

#[track_caller]
fn check(cases: Vec<Case>) {
    for (text, code, id, says) in cases {
        let mut connection = Connection::in_room();
        let output = connection.text(&text);
        assert_eq!(output.commands(), Vec::<&_>::new(), "{text}");
        assert_eq!(output.message()["fatal"], false);
        let message = output.error(code, id);
        for part in says {
            assert!(message.contains(part), "{text}\n{message}\nlacks {part:?}");
        }
        let pong = connection.say(&json!({"type": "ping"})).message();
        assert_eq!(pong["type"], "pong", "the connection goes on");
    }
}

#[test]
fn envelopes() {
    check(vec![
        raw("", None, &["not JSON", "EOF", "one JSON object"]),
        raw("{", None, &["not JSON", "line 1"]),
        raw("{\"type\":\"ping\"} x", None, &["not JSON", "trailing"]),
        raw("5", None, &["not a JSON object"]),
        raw("null", None, &["not a JSON object"]),
        raw("\"ping\"", None, &["not a JSON object"]),
        raw("[\"ping\", 1]", None, &["not a JSON object"]),
        raw("[]", None, &["not a JSON object"]),
        raw("{}", None, &["`type` is missing", "join, leave"]),
        raw("{\"type\":null,\"id\":4}", Some(4), &["`type` is missing"]),
        raw(
            "{\"type\":5,\"id\":4}",
            Some(4),
            &["`type` is not a string"],
        ),
        raw(
            "{\"type\":\"ping\",\"id\":-1}",
            None,
            &["`id` is -1", "9007199254740991"],
        ),
        raw("{\"type\":\"ping\",\"id\":1.5}", None, &["`id` is 1.5"]),
        raw(
            "{\"type\":\"ping\",\"id\":\"1\"}",
            None,
            &["`id` is a string"],
        ),
        raw(
            "{\"type\":\"ping\",\"id\":9007199254740992}",
            None,
            &["`id` is 9007199254740992"],
        ),
        raw(
            "{\"type\":\"ping\",\"type\":\"join\"}",
            None,
            &["duplicate field `type`"],
        ),
        raw(&"[".repeat(10_000), None, &["not JSON", "recursion limit"]),
    ]);
}

#[test]
fn the_largest_id_is_echoed() {
    let mut connection = Connection::in_room();
    let pong = connection.text("{\"type\":\"ping\",\"id\":9007199254740991}");
    assert_eq!(
        pong.message(),
        json!({"type": "pong", "id": 9_007_199_254_740_991_u64})
    );
}

#[test]
fn unknown_types() {
    let mut connection = Connection::in_room();
    let message = connection.say(&json!({"type": "dance", "id": 4}));
    let message = message.error("unknown_type", Some(4));
    assert!(
        message.contains("\"dance\"") && message.contains("unsubscribe"),
        "{message}"
    );
    let long = json!({"type": "x".repeat(100_000), "id": 4});
    let message = connection.say(&long).error("unknown_type", Some(4));
    assert!(message.len() <= 512, "{} bytes", message.len());
}

#[test]
fn binary_frames() {
    let mut connection = Connection::in_room();
    let output = connection.host(Input::Message(Frame::Binary(vec![0; 9])));
    assert!(
        output
            .error("bad_message", None)
            .contains("binary frame of 9 bytes")
    );
}

#[test]
fn members_of_join() {
    let long = "é".repeat(65);
    check(vec![
        case(
            &json!({"type": "join", "id": 1}),
            Some(1),
            &["`join`", "missing field `room`"],
        ),
        case(
            &json!({"type": "join", "room": 5}),
            None,
            &["member `room`", "expected a string"],
        ),
        case(
            &json!({"type": "join", "room": ""}),
            None,
            &["member `room`", "empty"],
        ),
        case(
            &json!({"type": "join", "room": long}),
            None,
            &["`room`", "130 bytes", "at most 128"],
        ),
        case(
            &json!({"type": "join", "room": "r", "name": long}),
            None,
            &["`name`", "130 bytes"],
        ),
        case(
            &json!({"type": "join", "room": "r", "token": "t".repeat(8193)}),
            None,
            &["`token`", "8193", "8192"],
        ),
        case(
            &json!({"type": "join", "room": "r", "autoSubscribe": "yes"}),
            None,
            &["`autoSubscribe`", "expected a boolean"],
        ),
        raw(
            "{\"type\":\"join\",\"room\":\"a\",\"room\":\"b\"}",
            None,
            &["duplicate field `room`"],
        ),
    ]);
}

#[test]
fn members_of_publish() {
    let publish =
        |tracks: Value| json!({"type": "publish", "id": 2, "sdp": "v=0", "tracks": tracks});
    let many: Vec<Value> = (0..65)
        .map(|i| json!({"mid": i.to_string(), "source": "other"}))
        .collect();
    let camera = json!({"mid": "0", "source": "camera"});
    check(vec![
        case(
            &json!({"type": "publish", "id": 2, "sdp": "v=0"}),
            Some(2),
            &["missing field `tracks`"],
        ),
        case(
            &json!({"type": "publish", "id": 2, "tracks": []}),
            Some(2),
            &["missing field `sdp`"],
        ),
        case(
            &publish(json!({})),
            Some(2),
            &["member `tracks`", "expected a sequence"],
        ),
        case(
            &publish(json!([camera, {"mid": "1", "source": "cam"}])),
            Some(2),
            &["member `tracks[1].source`", "`cam`", "`screen_audio`"],
        ),
        case(
            &publish(json!([camera, {"source": "camera"}])),
            Some(2),
            &["member `tracks[1]`", "missing field `mid`"],
        ),
        case(
            &publish(json!([{"mid": "", "source": "camera"}])),
            Some(2),
            &["member `tracks[0].mid`", "empty"],
        ),
        case(
            &publish(json!([{"mid": "m".repeat(17), "source": "camera"}])),
            Some(2),
            &["member `tracks[0].mid`", "17 bytes", "at most 16"],
        ),
        case(
            &publish(json!([camera, camera])),
            Some(2),
            &["member `tracks[1].mid`", "named twice"],
        ),
        case(
            &publish(json!(many)),
            Some(2),
            &["member `tracks`", "65 entries", "at most 64"],
        ),
    ]);
}

#[test]
fn members_of_the_other_requests() {
    let many = vec!["1"; 65];
    check(vec![
        case(
            &json!({"type": "answer", "id": 1, "sdp": ""}),
            Some(1),
            &["missing field `offerId`"],
        ),
        case(
            &json!({"type": "answer", "id": 1, "sdp": "", "offerId": -1}),
            Some(1),
            &["`offerId`", "-1"],
        ),
        case(
            &json!({"type": "candidate", "direction": "up", "candidate": ""}),
            None,
            &["`direction`", "`publish`", "`subscribe`"],
        ),
        case(
            &json!({"type": "candidate", "direction": "publish", "candidate": "c".repeat(1025)}),
            None,
            &["`candidate`", "1025", "1024"],
        ),
        case(
            &json!({"type": "restart", "id": 1, "direction": "publish"}),
            Some(1),
            &[
                "`direction`",
                "expected `subscribe`",
                "`publish` with an offer",
            ],
        ),
        case(
            &json!({"type": "close", "id": 1}),
            Some(1),
            &["missing field `direction`"],
        ),
        case(
            &json!({"type": "subscribe", "id": 1, "tracks": []}),
            Some(1),
            &["`tracks`", "at least"],
        ),
        case(
            &json!({"type": "unsubscribe", "id": 1, "tracks": many}),
            Some(1),
            &["65 entries"],
        ),
        case(
            &json!({"type": "subscribe", "id": 1, "tracks": ["1", 2]}),
            Some(1),
            &["`tracks[1]`", "id string"],
        ),
        case(
            &json!({"type": "wish", "track": "1", "width": 65536}),
            None,
            &["`width`", "65536"],
        ),
        case(
            &json!({"type": "wish", "track": "1", "width": 320.5}),
            None,
            &["`width`", "320.5"],
        ),
        case(
            &json!({"type": "wish", "track": "1", "priority": -1}),
            None,
            &["`priority`", "-1"],
        ),
        case(
            &json!({"type": "mute", "id": 1, "track": "1"}),
            Some(1),
            &["missing field `muted`"],
        ),
        case(
            &json!({"type": "notify", "layers": 1}),
            None,
            &["`layers`", "a boolean"],
        ),
        case(
            &json!({"type": "record", "id": 1, "start": 1}),
            Some(1),
            &["`start`", "a boolean"],
        ),
        case(
            &json!({"type": "direct-description", "id": 1, "call": 1, "kind": "rollback", "sdp": ""}),
            Some(1),
            &["`kind`", "`offer`", "`answer`"],
        ),
        case(
            &json!({"type": "direct-candidate", "call": 1, "candidate": "c".repeat(1025)}),
            None,
            &["`candidate`", "1025", "1024"],
        ),
        case(
            &json!({"type": "direct-candidate", "call": 1, "candidate": "", "mid": "m".repeat(17)}),
            None,
            &["`mid`", "17", "16"],
        ),
        case(
            &json!({"type": "direct-path", "call": 1, "path": "around"}),
            None,
            &["`path`", "`direct`", "`router`", "`failed`"],
        ),
        case(
            &json!({"type": "unpublish", "id": 1}),
            Some(1),
            &["missing field `track`"],
        ),
    ]);
}

#[test]
fn members_of_data() {
    let many = vec!["1"; 257];
    check(vec![
        case(
            &json!({"type": "data", "text": ""}),
            None,
            &["missing field `label`"],
        ),
        case(
            &json!({"type": "data", "label": "l"}),
            None,
            &["`text`", "missing", "`base64`"],
        ),
        case(
            &json!({"type": "data", "label": "l", "text": "", "base64": ""}),
            None,
            &["`base64`", "one of the two"],
        ),
        case(
            &json!({"type": "data", "label": "l".repeat(65), "text": ""}),
            None,
            &["`label`", "65"],
        ),
        case(
            &json!({"type": "data", "label": "l", "base64": "_-"}),
            None,
            &["`base64`", "RFC 4648"],
        ),
        case(
            &json!({"type": "data", "label": "l", "text": "", "to": many}),
            None,
            &["`to`", "257"],
        ),
        case(
            &json!({"type": "data", "label": "l", "text": "", "to": ["x"]}),
            None,
            &["`to[0]`"],
        ),
    ]);
}

#[test]
fn only_ids_as_the_server_writes_them_are_ids() {
    let wrong = [
        "",
        "0x1",
        "01",
        "+1",
        "-1",
        "F",
        " 1",
        "1 ",
        "g",
        "10000000000000000",
        "１",
    ];
    for id in wrong {
        let mute = json!({"type": "mute", "id": 1, "track": id, "muted": true});
        let message = Connection::in_room()
            .say(&mute)
            .error("bad_message", Some(1));
        assert!(message.contains("member `track`"), "{id:?}: {message}");
    }
    for id in ["0", "f", "1f", "ffffffffffffffff"] {
        let mute = json!({"type": "mute", "id": 1, "track": id, "muted": true});
        assert_eq!(
            Connection::in_room().say(&mute).commands().len(),
            1,
            "{id:?}"
        );
    }
}

//! Connecting, joining, leaving, being removed.

use crate::subject::Rooms;
use rillway_plugin_sdk::Signaling;
use rillway_plugin_sdk::signaling::{Action, FailureCode, Input, Opened};
use rillway_plugin_sdk::types::{Denial, IceServer, MediaKind, ParticipantId, TrackId};
use serde_json::json;

use crate::harness::{Connection, LIMITS, Output, grant, joined, participant, track};

/// The client was told `code` for good and the connection closes with `close`.
#[track_caller]
fn assert_fatal(output: &Output, code: &str, id: Option<u64>, close: u16) {
    assert!(!output.error(code, id).is_empty());
    assert_eq!(output.message()["fatal"], true);
    let closing = matches!(output.actions()[..], [Action::Close(c, _)] if *c == close);
    assert!(closing, "{output:?}");
}

#[test]
fn a_connection_without_the_subprotocol_is_told_and_closed() {
    let mut rooms = Rooms::new();
    let output = Output(rooms.handle(Input::Opened(Opened::default())));
    assert_fatal(&output, "invalid", None, 1008);
    assert!(output.error("invalid", None).contains("rillway.rooms.v1"));
}

#[test]
fn a_join_asks_for_authentication_with_what_the_client_gave() {
    let join = json!({"type": "join", "id": 7, "room": "standup", "name": "Ada", "token": "t.o.k"});
    let output = Connection::open().say(&join);
    let expected = Action::Authenticate {
        scheme: "token".to_owned(),
        credentials: b"t.o.k".to_vec(),
        room: Some("standup".to_owned()),
        name: Some("Ada".to_owned()),
    };
    assert_eq!(output.actions(), [&expected]);

    let output = Connection::open().say(&json!({"type": "join", "room": "r", "token": null}));
    let expected = Action::Authenticate {
        scheme: "none".to_owned(),
        credentials: Vec::new(),
        room: Some("r".to_owned()),
        name: None,
    };
    assert_eq!(output.actions(), [&expected]);
}

#[test]
fn joined_tells_all_about_the_room() {
    let mut connection = Connection::open();
    connection.say(&json!({"type": "join", "id": 7, "room": "wanted"}));
    connection.host(Input::Granted(grant("granted")));
    let mut grace = participant(0xbeef, "Grace", 5);
    grace.name = None;
    grace.attributes = vec![
        ("team".to_owned(), "red".to_owned()),
        ("team".to_owned(), "blue".to_owned()),
    ];
    let output = connection.host(Input::Joined {
        me: participant(1, "Ada", 6),
        participants: vec![grace],
        tracks: vec![track(0xa, 0xbeef, MediaKind::Audio)],
        limits: LIMITS,
        ice_servers: vec![IceServer {
            urls: vec!["turn:turn.example.org".to_owned()],
            username: Some("u".to_owned()),
            credential: None,
        }],
    });
    let message = output.message();
    assert_eq!(message["id"], 7);
    assert_eq!(message["room"], "granted");
    let grace = json!({"id": "beef", "identity": "grace", "name": null,
        "attributes": {"team": "blue"}, "joinedAtMs": 5});
    assert_eq!(message["participants"], json!([grace]));
    let track = json!({"id": "a", "participant": "beef", "kind": "audio", "source": "microphone",
        "codec": "", "muted": false, "layers": []});
    assert_eq!(message["tracks"], json!([track]));
    let server = json!({"urls": ["turn:turn.example.org"], "username": "u"});
    assert_eq!(message["iceServers"], json!([server]));
}

#[test]
fn denials_close_the_connection_with_their_code() {
    let why = || "because".to_owned();
    let table = [
        (Denial::Unauthenticated(why()), "unauthenticated", 4001),
        (Denial::Forbidden(why()), "forbidden", 4001),
        (Denial::OverQuota(why()), "over_quota", 4013),
        (Denial::Unavailable(why()), "unavailable", 4013),
    ];
    for (denial, code, close) in table {
        let mut connection = Connection::open();
        connection.say(&json!({"type": "join", "id": 3, "room": "r"}));
        let output = connection.host(Input::Denied(denial));
        assert_fatal(&output, code, Some(3), close);
        let after = connection.say(&json!({"type": "ping", "id": 4}));
        assert_eq!(after.0, [], "a closed connection says nothing");
    }
}

#[test]
fn a_refused_join_is_final_or_may_be_mended() {
    let table = [
        (FailureCode::Forbidden, "forbidden", Some(4001)),
        (FailureCode::LimitExceeded, "limit_exceeded", Some(4013)),
        (FailureCode::Unavailable, "unavailable", Some(4013)),
        (FailureCode::NotFound, "not_found", None),
        (FailureCode::Invalid, "invalid", None),
        (FailureCode::WrongState, "wrong_state", None),
        (FailureCode::Internal, "internal", None),
    ];
    for (code, text, close) in table {
        for granted_first in [false, true] {
            let mut connection = Connection::open();
            let join = json!({"type": "join", "id": 3, "room": "r"});
            let mut command = connection.say(&join).command().clone();
            if granted_first {
                command = connection
                    .host(Input::Granted(grant("r")))
                    .command()
                    .clone();
            }
            let failed = |reference| Input::Failed {
                reference,
                code,
                message: "because".to_owned(),
            };
            let stale = connection.host(failed(command.reference + 1));
            assert_eq!(stale.0, [], "a failure of something else changes nothing");
            let output = connection.host(failed(command.reference));
            match close {
                Some(close) => assert_fatal(&output, text, Some(3), close),
                None => {
                    assert_eq!(output.error(text, Some(3)), "because");
                    let again = connection.say(&join);
                    assert!(matches!(again.actions()[..], [Action::Authenticate { .. }]));
                }
            }
        }
    }
}

#[test]
fn joining_twice_is_refused() {
    let join = json!({"type": "join", "id": 9, "room": "r"});
    let mut connection = Connection::open();
    connection.say(&join);
    connection.say(&join).error("wrong_state", Some(9));
    connection.host(Input::Granted(grant("r")));
    connection.say(&join).error("wrong_state", Some(9));
    connection.host(joined(LIMITS, Vec::new()));
    let output = connection.say(&join);
    output.error("already_joined", Some(9));
    assert_eq!(output.commands(), Vec::<&_>::new());
}

#[test]
fn outside_a_room_only_join_and_ping_are_served() {
    let requests = [
        json!({"type": "leave", "id": 1}),
        json!({"type": "publish", "id": 1, "sdp": "", "tracks": []}),
        json!({"type": "subscribe", "id": 1, "tracks": ["1"]}),
        json!({"type": "data", "id": 1, "label": "", "text": ""}),
    ];
    let mut connection = Connection::open();
    for request in &requests {
        connection.say(request).error("not_joined", Some(1));
    }
    let pong = connection.say(&json!({"type": "ping", "id": 2})).message();
    assert_eq!(pong, json!({"type": "pong", "id": 2}));
    let pong = connection.say(&json!({"type": "ping"})).message();
    assert_eq!(pong, json!({"type": "pong"}));
}

#[test]
fn after_leaving_nothing_about_the_room_follows_and_one_may_join_again() {
    let mut connection = Connection::in_room();
    let muting = connection.say(&json!({"type": "mute", "id": 2, "track": "1", "muted": true}));
    let output = connection.say(&json!({"type": "leave", "id": 3}));
    assert_eq!(output.actions(), [&Action::Leave]);
    assert_eq!(output.message(), json!({"type": "left", "id": 3}));

    let stale = [
        Input::Done {
            reference: muting.command().reference,
        },
        Input::ParticipantLeft(ParticipantId(2)),
        Input::TrackPublished(track(5, 2, MediaKind::Video)),
        Input::TrackUnpublished(TrackId(5)),
        Input::Granted(grant("r")),
        joined(LIMITS, Vec::new()),
    ];
    for input in stale {
        assert_eq!(connection.host(input.clone()).0, [], "{input:?}");
    }
    connection
        .say(&json!({"type": "leave", "id": 4}))
        .error("not_joined", Some(4));

    connection.say(&json!({"type": "join", "id": 5, "room": "other"}));
    connection.host(Input::Granted(grant("other")));
    let message = connection.host(joined(LIMITS, Vec::new())).message();
    assert_eq!(message["room"], "other");
    let late = connection.done(muting.command().reference);
    assert_eq!(late.0, [], "an answer from the room before is not told");
}

#[test]
fn removal_is_told_and_closes() {
    let reason = "é".repeat(200);
    let mut connection = Connection::in_room();
    let output = connection.host(Input::Removed(reason.clone()));
    assert_eq!(
        output.message(),
        json!({"type": "removed", "reason": reason})
    );
    let expected = Action::Close(4003, "é".repeat(61));
    assert_eq!(
        output.actions(),
        [&expected],
        "cut to 123 bytes at a character"
    );
    assert_eq!(connection.say(&json!({"type": "ping"})).0, []);
}

#[test]
fn draining_is_told() {
    let expected = json!({"type": "draining", "deadlineMs": 30_000});
    let mut connection = Connection::open();
    assert_eq!(connection.host(draining(30_000)).message(), expected);
    let mut connection = Connection::in_room();
    assert_eq!(connection.host(draining(30_000)).message(), expected);
}

#[test]
fn a_gone_connection_is_silent() {
    let mut connection = Connection::in_room();
    assert_eq!(connection.host(Input::Closed("reset".to_owned())).0, []);
    assert_eq!(connection.say(&json!({"type": "ping", "id": 1})).0, []);
    assert_eq!(connection.host(draining(1)).0, []);
}

fn draining(within_ms: u64) -> Input {
    Input::Draining {
        within_ms,
        url: None,
    }
}

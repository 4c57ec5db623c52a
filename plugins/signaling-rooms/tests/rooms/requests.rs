//! Every request in a room, what it asks of the host, and what becomes of the answer.

use rillway_plugin_sdk::signaling::{
    Action, FailureCode, Input, LayerState, LayerWish, MidTrack, Notices, PublishedSource, QUIET,
    RecordingState, TransportState,
};
use rillway_plugin_sdk::types::{Direction, Limits, MediaKind, ParticipantId, Source, TrackId};
use serde_json::{Value, json};

use crate::harness::{Connection, LIMITS, grant, participant, track};

/// How success shows.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Success {
    Ok,
    Nothing,
}

fn requests() -> Vec<(Value, Action, Success)> {
    let candidate = "candidate:1 1 udp 1 192.0.2.1 9 typ host";
    let wish = LayerWish {
        track: TrackId(0xa),
        width: 320,
        height: 0,
        fps: 15,
        priority: 255,
        paused: true,
    };
    let data = |payload: &[u8], to: Vec<ParticipantId>| Action::SendData {
        to,
        label: "chat".to_owned(),
        payload: payload.to_vec(),
    };
    vec![
        (
            json!({"type": "unpublish", "track": "a"}),
            Action::Unpublish(TrackId(0xa)),
            Success::Ok,
        ),
        (
            json!({"type": "answer", "offerId": 3, "sdp": "v=0"}),
            Action::AcceptAnswer {
                offer_id: 3,
                sdp: "v=0".to_owned(),
            },
            Success::Ok,
        ),
        (
            json!({"type": "candidate", "direction": "subscribe", "candidate": candidate}),
            Action::AddCandidate(Direction::Subscribe, candidate.to_owned()),
            Success::Nothing,
        ),
        (
            json!({"type": "restart", "direction": "subscribe"}),
            Action::RestartIce,
            Success::Ok,
        ),
        (
            json!({"type": "close", "direction": "publish"}),
            Action::CloseTransport(Direction::Publish),
            Success::Ok,
        ),
        (
            json!({"type": "subscribe", "tracks": ["a"]}),
            Action::Subscribe(TrackId(0xa)),
            Success::Ok,
        ),
        (
            json!({"type": "unsubscribe", "tracks": ["a"]}),
            Action::Unsubscribe(TrackId(0xa)),
            Success::Ok,
        ),
        (
            json!({"type": "wish", "track": "a", "width": 320, "fps": 15, "priority": 255,
                "paused": true}),
            Action::Wish(wish),
            Success::Nothing,
        ),
        (
            json!({"type": "mute", "track": "a", "muted": false}),
            Action::Mute(TrackId(0xa), false),
            Success::Ok,
        ),
        (
            json!({"type": "record", "start": true}),
            Action::RequestRecording(true),
            Success::Ok,
        ),
        (
            json!({"type": "data", "label": "chat", "text": "é"}),
            data("é".as_bytes(), Vec::new()),
            Success::Nothing,
        ),
        (
            json!({"type": "data", "label": "chat", "base64": "/w==", "to": ["2", "ff"]}),
            data(&[0xff], vec![ParticipantId(2), ParticipantId(0xff)]),
            Success::Nothing,
        ),
        (
            json!({"type": "data", "label": "chat", "base64": "/w", "future": {"member": 1}}),
            data(&[0xff], Vec::new()),
            Success::Nothing,
        ),
    ]
}

#[test]
fn what_comes_often_comes_as_asked_for() {
    let mut connection = Connection::in_room();
    for (request, speakers, layers) in [
        (json!({"type": "notify"}), true, false),
        (
            json!({"type": "notify", "id": 5, "layers": true}),
            true,
            true,
        ),
        (json!({"type": "notify", "speakers": false}), false, false),
    ] {
        let output = connection.say(&request);
        let expected = Action::Notify(Notices { speakers, layers });
        assert_eq!(output.actions(), [&expected], "{request}");
        assert_eq!(output.messages(), Vec::<Value>::new(), "no answer");
    }
}

fn with_id(mut request: Value, id: u64) -> Value {
    request["id"] = id.into();
    request
}

fn failure(reference: u64) -> Input {
    Input::Failed {
        reference,
        code: FailureCode::NotFound,
        message: "no such thing".to_owned(),
    }
}

#[test]
fn requests_become_commands_and_successes_are_told() {
    for (request, action, success) in requests() {
        let mut connection = Connection::in_room();
        let output = connection.say(&with_id(request.clone(), 77));
        assert_eq!(output.actions(), [&action], "{request}");
        assert_eq!(output.messages(), Vec::<Value>::new(), "{request}");
        let reference = output.command().reference;
        let expected = match success {
            Success::Ok => vec![json!({"type": "ok", "id": 77})],
            Success::Nothing => Vec::new(),
        };
        assert_eq!(connection.done(reference).messages(), expected, "{request}");
        assert_eq!(connection.done(reference).0, [], "told once: {request}");
        // The others are not waited for, and the host answers once.
        if reference & QUIET == 0 {
            assert_eq!(
                connection.host(failure(reference)).0,
                [],
                "told once: {request}"
            );
        }
    }
}

#[test]
fn failures_are_told_with_the_id() {
    for (request, ..) in requests() {
        let mut connection = Connection::in_room();
        let reference = connection.say(&with_id(request, 77)).command().reference;
        let message = connection
            .host(failure(reference))
            .error("not_found", Some(77));
        assert_eq!(message, "no such thing");
        assert_eq!(connection.done(reference).0, []);
    }
}

#[test]
fn without_id_success_is_silent_and_failure_has_none() {
    for (request, ..) in requests() {
        let mut connection = Connection::in_room();
        let reference = connection.say(&request).command().reference;
        assert_eq!(connection.done(reference).0, [], "{request}");
        let reference = connection.say(&request).command().reference;
        connection.host(failure(reference)).error("not_found", None);
    }
}

#[test]
fn every_failure_code_has_its_word() {
    let table = [
        (FailureCode::Forbidden, "forbidden"),
        (FailureCode::NotFound, "not_found"),
        (FailureCode::Invalid, "invalid"),
        (FailureCode::LimitExceeded, "limit_exceeded"),
        (FailureCode::WrongState, "wrong_state"),
        (FailureCode::Unavailable, "unavailable"),
        (FailureCode::Internal, "internal"),
    ];
    for (code, word) in table {
        let mut connection = Connection::in_room();
        let mute = json!({"type": "mute", "id": 5, "track": "a", "muted": true});
        let reference = connection.say(&mute).command().reference;
        let message = String::new();
        connection
            .host(Input::Failed {
                reference,
                code,
                message,
            })
            .error(word, Some(5));
    }
}

#[test]
fn publishing() {
    let publish = json!({"type": "publish", "id": 2, "sdp": "offer", "tracks": [
        {"mid": "0", "source": "microphone"}, {"mid": "1", "source": "screen_audio"}]});
    let source = |mid: &str, source| PublishedSource {
        mid: mid.to_owned(),
        source,
    };
    let expected = Action::AcceptOffer {
        sdp: "offer".to_owned(),
        sources: vec![
            source("0", Source::Microphone),
            source("1", Source::ScreenAudio),
        ],
    };
    let answer = |reference| Input::Answer {
        reference,
        sdp: "answer".to_owned(),
        tracks: vec![
            MidTrack {
                mid: "0".to_owned(),
                track: Some(TrackId(0xab)),
            },
            MidTrack {
                mid: "1".to_owned(),
                track: None,
            },
        ],
    };
    let tracks = json!([{"mid": "0", "track": "ab"}, {"mid": "1", "track": null}]);

    let mut connection = Connection::in_room();
    let output = connection.say(&publish);
    assert_eq!(output.actions(), [&expected]);
    let reference = output.command().reference;
    assert_eq!(
        connection.host(answer(reference + 1)).0,
        [],
        "not an answer to this"
    );
    let published = connection.host(answer(reference)).message();
    let expected = json!({"type": "published", "id": 2, "sdp": "answer", "tracks": tracks});
    assert_eq!(published, expected);
    assert_eq!(connection.host(answer(reference)).0, [], "told once");

    let mut anonymous = publish;
    anonymous.as_object_mut().expect("an object").remove("id");
    let reference = connection.say(&anonymous).command().reference;
    let published = connection.host(answer(reference)).message();
    assert_eq!(
        published,
        json!({"type": "published", "sdp": "answer", "tracks": tracks})
    );
}

/// Wishes, candidates and data: of success nobody is told, so that the router need not tell it.
#[test]
fn requests_without_an_answer_wait_for_none() {
    let mut connection = Connection::in_room();
    let wish = json!({"type": "wish", "track": "a", "width": 320});
    for id in (0..200).chain([(1 << 53) - 1]) {
        let reference = connection
            .say(&with_id(wish.clone(), id))
            .command()
            .reference;
        assert_ne!(reference & QUIET, 0, "{reference:x}");
        let refused = connection.host(failure(reference));
        refused.error("not_found", Some(id));
        assert_eq!(connection.host(Input::Done { reference }).0, []);
    }
    let reference = connection.say(&wish).command().reference;
    assert_ne!(reference & QUIET, 0);
    connection.host(failure(reference)).error("not_found", None);
    // What is confirmed has to be heard of.
    let mute = json!({"type": "mute", "track": "a", "muted": true, "id": 5});
    assert_eq!(connection.say(&mute).command().reference & QUIET, 0);
}

#[test]
fn the_end_of_candidates_asks_nothing_of_the_host() {
    let end = json!({"type": "candidate", "direction": "publish", "candidate": ""});
    assert_eq!(Connection::in_room().say(&end).0, []);
}

#[test]
fn what_exceeds_the_limits_of_the_room_is_refused_here() {
    let limits = Limits {
        sdp_bytes: 10,
        data_message_bytes: 3,
        ..LIMITS
    };
    let mut connection = Connection::in_room_with(&grant("r"), limits, Vec::new(), true);
    let mut refused = |request: Value, limit: &str| {
        let output = connection.say(&request);
        let message = output.error("limit_exceeded", Some(5));
        assert!(message.contains(limit), "{message}");
        assert_eq!(output.commands(), Vec::<&_>::new());
    };
    let sdp = "v".repeat(11);
    refused(
        json!({"type": "publish", "id": 5, "sdp": sdp, "tracks": []}),
        "`limits.sdpBytes` is 10",
    );
    refused(
        json!({"type": "answer", "id": 5, "sdp": sdp, "offerId": 1}),
        "11 bytes",
    );
    refused(
        json!({"type": "data", "id": 5, "label": "", "text": "four"}),
        "`limits.dataMessageBytes` is 3",
    );
    let fits = json!({"type": "data", "id": 5, "label": "", "base64": "AAAA"});
    assert_eq!(connection.say(&fits).commands().len(), 1);
}

#[test]
fn unanswered_requests_are_bounded() {
    let mut connection = Connection::in_room();
    let mute = |id| json!({"type": "mute", "id": id, "track": "1", "muted": true});
    let first = connection.say(&mute(0)).command().reference;
    for id in 1..64 {
        assert_eq!(connection.say(&mute(id)).commands().len(), 1);
    }
    let output = connection.say(&mute(64));
    assert!(
        output
            .error("limit_exceeded", Some(64))
            .contains("64 requests")
    );
    assert_eq!(output.commands(), Vec::<&_>::new());
    let list = json!({"type": "subscribe", "id": 65, "tracks": ["1"]});
    connection.say(&list).error("limit_exceeded", Some(65));
    connection.done(first);
    assert_eq!(connection.say(&mute(66)).commands().len(), 1);
}

#[test]
fn events_of_the_room_become_messages() {
    let grace = json!({"id": "2", "identity": "grace", "name": "Grace", "attributes": {},
        "joinedAtMs": 9});
    let video = json!({"id": "5", "participant": "2", "kind": "video", "source": "camera",
        "codec": "", "muted": false, "layers": []});
    let data = |payload: &[u8]| Input::Data {
        from: ParticipantId(2),
        label: "l".to_owned(),
        payload: payload.to_vec(),
    };
    let layer = |spatial, temporal| {
        Input::Layer(LayerState {
            track: TrackId(5),
            spatial,
            temporal,
        })
    };
    let speakers = vec![
        (ParticipantId(2), 127),
        (ParticipantId(3), 1),
        (ParticipantId(4), 255),
    ];
    let table = [
        (
            Input::ParticipantJoined(participant(2, "Grace", 9)),
            json!({"type": "participant-joined", "participant": grace}),
        ),
        (
            Input::ParticipantLeft(ParticipantId(2)),
            json!({"type": "participant-left", "participant": "2"}),
        ),
        (
            Input::Recording(RecordingState {
                active: true,
                by: Some(ParticipantId(2)),
                tracks: vec![TrackId(5), TrackId(31)],
            }),
            json!({"type": "recording", "active": true, "by": "2", "tracks": ["5", "1f"]}),
        ),
        (
            Input::Recording(RecordingState {
                active: false,
                by: None,
                tracks: Vec::new(),
            }),
            json!({"type": "recording", "active": false, "by": null, "tracks": []}),
        ),
        (
            Input::TrackPublished(track(5, 2, MediaKind::Video)),
            json!({"type": "track-published", "track": video}),
        ),
        (
            Input::TrackUnpublished(TrackId(5)),
            json!({"type": "track-unpublished", "track": "5"}),
        ),
        (
            Input::TrackMuted(TrackId(5), true),
            json!({"type": "muted", "track": "5", "muted": true}),
        ),
        (
            Input::Offer {
                offer_id: 2,
                sdp: "s".to_owned(),
                tracks: vec![MidTrack {
                    mid: "0".to_owned(),
                    track: None,
                }],
            },
            json!({"type": "offer", "offerId": 2, "sdp": "s", "tracks": [{"mid": "0", "track": null}]}),
        ),
        (
            Input::Speakers(speakers),
            json!({"type": "speakers", "speakers": [{"participant": "2", "level": 1.0},
                {"participant": "3", "level": 0.01}, {"participant": "4", "level": 1.0}]}),
        ),
        (
            Input::Speakers(Vec::new()),
            json!({"type": "speakers", "speakers": []}),
        ),
        (
            layer(Some(2), Some(1)),
            json!({"type": "layer", "track": "5", "spatial": 2, "temporal": 1}),
        ),
        (
            layer(None, None),
            json!({"type": "layer", "track": "5", "spatial": null, "temporal": null}),
        ),
        (
            data("é".as_bytes()),
            json!({"type": "data", "from": "2", "label": "l", "text": "é"}),
        ),
        (
            data(&[0xff]),
            json!({"type": "data", "from": "2", "label": "l", "base64": "/w=="}),
        ),
        (
            data(&[]),
            json!({"type": "data", "from": "2", "label": "l", "text": ""}),
        ),
        (
            Input::DataDropped {
                outgoing: false,
                count: 7,
            },
            json!({"type": "data-dropped", "outgoing": false, "count": 7}),
        ),
    ];
    for (input, expected) in table {
        let shown = format!("{input:?}");
        let message = Connection::in_room().host(input.clone()).message();
        assert_eq!(message, expected, "{shown}");
        let outside = Connection::open().host(input);
        assert_eq!(outside.0, [], "outside a room: {shown}");
    }
}

#[test]
fn transport_states_have_the_names_of_the_browser() {
    let table = [
        (TransportState::New, "new"),
        (TransportState::Connecting, "connecting"),
        (TransportState::Connected, "connected"),
        (TransportState::Disconnected, "disconnected"),
        (TransportState::Failed, "failed"),
        (TransportState::Closed, "closed"),
    ];
    for (state, name) in table {
        let input = Input::TransportState(Direction::Subscribe, state);
        let message = Connection::in_room().host(input).message();
        assert_eq!(
            message,
            json!({"type": "transport", "direction": "subscribe", "state": name})
        );
    }
}

//! Nothing that a client or a host can say makes it panic, and each request is answered at most once, and
//! by the end exactly once unless the host still owes an answer.

use crate::subject::Whip;
use proptest::prelude::*;
use rillway_plugin_sdk::Signaling as _;
use rillway_plugin_sdk::signaling::{
    Action, FailureCode, HttpRequest, Input, MidTrack, Opened, TransportState,
};
use rillway_plugin_sdk::types::{Denial, Direction, MediaKind, ParticipantId, TrackId};

use crate::harness::{LIMITS, RESOURCE, answer, grant, offer, participant, track};

fn text(choices: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![
        8 => proptest::sample::select(choices).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

fn request() -> impl Strategy<Value = Input> {
    let fragment = "a=ice-ufrag:dddd\r\na=ice-pwd:dddddddddddddddddddddddd\r\n";
    let body = prop_oneof![
        4 => Just(offer("sendonly")),
        4 => Just(offer("recvonly")),
        4 => Just(fragment.to_owned()),
        2 => Just("a=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\n".to_owned()),
        1 => any::<String>(),
    ];
    (
        text(&["POST", "PATCH", "DELETE", "GET", "HEAD", "OPTIONS", "PUT"]),
        text(&["/whip/r", "/whep/r", RESOURCE, "/whip", "/"]),
        text(&["", "track=a", "participant=ada", "source=screen", "name=x"]),
        text(&["application/sdp", "application/trickle-ice-sdpfrag", "x/y"]),
        text(&["", "Bearer a", "Bearer b", "Basic x"]),
        text(&["", "*", "\"rrr1\"", "\"x\""]),
        body,
    )
        .prop_map(|(method, path, query, kind, token, tag, body)| {
            let mut headers = vec![("content-type".to_owned(), kind)];
            for (name, value) in [("authorization", token), ("if-match", tag)] {
                if !value.is_empty() {
                    headers.push((name.to_owned(), value));
                }
            }
            Input::Request(HttpRequest {
                id: 0,
                method,
                path,
                query,
                headers,
                body: body.into_bytes(),
            })
        })
}

fn event() -> impl Strategy<Value = Input> {
    let reference = 0_u64..12;
    let code = proptest::sample::select(vec![
        FailureCode::Forbidden,
        FailureCode::Invalid,
        FailureCode::LimitExceeded,
        FailureCode::NotFound,
    ]);
    prop_oneof![
        4 => Just(Input::Granted(grant())),
        1 => Just(Input::Denied(Denial::Forbidden("no".to_owned()))),
        4 => Just(Input::Joined {
            me: participant(99, "me"),
            participants: vec![participant(1, "ada")],
            tracks: vec![track(10, 1, MediaKind::Audio), track(11, 1, MediaKind::Video)],
            limits: LIMITS,
            ice_servers: Vec::new(),
        }),
        6 => reference.clone().prop_map(|reference| Input::Answer {
            reference,
            sdp: answer("rrr1"),
            tracks: ["0", "1"]
                .map(|mid| MidTrack { mid: mid.to_owned(), track: Some(TrackId(1)) })
                .to_vec(),
        }),
        6 => reference.clone().prop_map(|reference| Input::Done { reference }),
        3 => (reference, code).prop_map(|(reference, code)| Input::Failed {
            reference,
            code,
            message: String::new(),
        }),
        1 => Just(Input::ParticipantLeft(ParticipantId(1))),
        2 => (0_u64..20).prop_map(|id| Input::TrackPublished(track(id, 1, MediaKind::Video))),
        2 => (0_u64..20).prop_map(|id| Input::TrackUnpublished(TrackId(id))),
        1 => Just(Input::TransportState(Direction::Publish, TransportState::Failed)),
        1 => Just(Input::Removed("kicked".to_owned())),
        1 => Just(Input::Tick),
    ]
}

fn run(inputs: Vec<Input>) {
    let mut plugin = Whip::new();
    plugin.handle(Input::Opened(Opened {
        resource: Some(RESOURCE.to_owned()),
        attributes: vec![("route".to_owned(), "/whip".to_owned())],
        ..Opened::default()
    }));
    let (mut next, mut open, mut closed) = (0, Vec::new(), false);
    for mut input in inputs {
        if let Input::Request(request) = &mut input {
            if closed {
                continue;
            }
            next += 1;
            request.id = next;
            open.push(next);
        }
        for command in plugin.handle(input) {
            assert!(!closed, "{command:?} after the end");
            match command.action {
                Action::Respond(response) => {
                    let place = open.iter().position(|id| *id == response.id);
                    open.remove(place.expect("one answer to each request"));
                    assert!((200..=599).contains(&response.status));
                    assert!(response.headers.len() <= 64);
                }
                Action::Close(..) => {
                    closed = true;
                    assert!(open.is_empty(), "{open:?} unanswered");
                }
                Action::Send(_) => panic!("there is no WebSocket"),
                _ => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nothing_panics_and_nothing_is_answered_twice(
        first in request(),
        rest in proptest::collection::vec(prop_oneof![1 => request(), 2 => event()], 0..40),
    ) {
        run(std::iter::once(first).chain(rest).collect());
    }
}

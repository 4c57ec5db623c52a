//! `docs/protocol-rooms.md` and the code say the same.

use rillway_plugin_sdk::signaling::{
    Action, FailureCode, Input, MidTrack, Notices, QUIET_DONE, TransportState,
};
use rillway_plugin_sdk::types::{Direction, Extension, Layer, MediaKind, ParticipantId, TrackId};
use serde_json::Value;
use signaling_rooms::decode::REQUEST_TYPES;
use signaling_rooms::wire::ErrorCode;

use crate::harness::{Connection, LIMITS, Output, grant, joined, participant, track};

const DOCUMENT: &str = include_str!("../../../../docs/protocol-rooms.md");

/// The part of the document under a heading.
fn section(heading: &str) -> &'static str {
    let start = DOCUMENT.find(heading).expect("the heading exists");
    let rest = &DOCUMENT[start + heading.len()..];
    rest.split("\n## ").next().unwrap_or(rest)
}

/// First cells of the section's tables that hold one word in backticks.
fn first_cells(section: &str) -> Vec<&str> {
    let cells = section.lines().filter_map(|line| {
        let cell = line.strip_prefix("| `")?.split('|').next()?;
        cell.trim_end().strip_suffix('`')
    });
    cells
        .filter(|name| *name != "type" && *name != "code")
        .collect()
}

#[test]
fn every_request_type_is_documented() {
    assert_eq!(first_cells(section("## Client → server")), REQUEST_TYPES);
}

#[test]
fn every_error_code_is_documented() {
    let codes = ErrorCode::ALL.map(|code| {
        let json = serde_json::to_value(code).expect("a code is a string");
        json.as_str().expect("a code is a string").to_owned()
    });
    assert_eq!(first_cells(section("## Errors")), codes);
}

/// What the host says after each line of the client, and by itself, in the example. `None` where the
/// client's line alone leads to the next lines of the server.
struct Host {
    /// Commands not yet answered.
    open: Vec<(u64, Action)>,
}

impl Host {
    fn note(&mut self, output: &Output) {
        let commands = output.commands().into_iter();
        self.open
            .extend(commands.map(|c| (c.reference, c.action.clone())));
    }

    fn take(&mut self, want: impl Fn(&Action) -> bool) -> u64 {
        let index = self.open.iter().position(|(_, action)| want(action));
        self.open.remove(index.expect("the command was given")).0
    }

    /// The input that makes the server say `expected`.
    fn cause(&mut self, expected: &Value) -> Input {
        let sdp = "v=0…".to_owned();
        let mid = |mid: &str, id| MidTrack {
            mid: mid.to_owned(),
            track: Some(TrackId(id)),
        };
        match expected["type"].as_str().expect("a type") {
            "joined" => joined(LIMITS, Vec::new()),
            "published" => Input::Answer {
                reference: self.take(|a| matches!(a, Action::AcceptOffer { .. })),
                sdp,
                tracks: vec![mid("0", 0x10), mid("1", 0x11)],
            },
            "transport" => Input::TransportState(Direction::Publish, TransportState::Connected),
            "participant-joined" => {
                Input::ParticipantJoined(participant(2, "Grace", 1_767_225_660_000))
            }
            "track-published" => {
                let mut track = track(0x1f, 2, MediaKind::Video);
                track.codec = "VP8".to_owned();
                track.layers.push(Layer {
                    spatial: 0,
                    temporal: 0,
                    rid: None,
                    width: 0,
                    height: 0,
                    fps: 0,
                    bitrate_bps: 0,
                    active: true,
                });
                Input::TrackPublished(track)
            }
            "offer" => {
                self.take(|a| *a == Action::Subscribe(TrackId(0x1f)));
                let tracks = vec![mid("0", 0x1f)];
                Input::Offer {
                    offer_id: 1,
                    sdp,
                    tracks,
                }
            }
            "ok" => {
                let reference = self.take(|a| {
                    matches!(
                        a,
                        Action::AcceptAnswer { .. } | Action::Mute(TrackId(0x11), true)
                    )
                });
                Input::Done { reference }
            }
            "speakers" => Input::Speakers(vec![(ParticipantId(2), 64)]),
            "data" => Input::Data {
                from: ParticipantId(2),
                label: "chat".to_owned(),
                payload: b"Hello, Ada".to_vec(),
            },
            "muted" => Input::TrackMuted(TrackId(0x11), true),
            "error" => Input::Failed {
                reference: self.take(|a| *a == Action::Subscribe(TrackId(0xff))),
                code: FailureCode::NotFound,
                message: "no such track".to_owned(),
            },
            "track-unpublished" => Input::TrackUnpublished(TrackId(0x1f)),
            "participant-left" => Input::ParticipantLeft(ParticipantId(2)),
            other => panic!("the example has a `{other}` that this test does not know"),
        }
    }
}

#[test]
fn the_example_is_what_happens() {
    let example = section("## An example");
    let mut connection = Connection::open();
    let mut host = Host { open: Vec::new() };
    let mut said: Vec<Value> = Vec::new();
    let mut lines = 0;
    for line in example.lines() {
        if let Some(text) = line.strip_prefix("→ ") {
            assert_eq!(
                said,
                Vec::<Value>::new(),
                "not in the example, before {line}"
            );
            let output = connection.text(text);
            host.note(&output);
            said.extend(output.messages());
            // Authentication is between the plugin and the host: the client does not see it.
            if matches!(output.actions()[..], [Action::Authenticate { .. }]) {
                let output = connection.host(Input::Granted(grant("standup")));
                let unasked = Action::Notify(Notices {
                    speakers: true,
                    layers: false,
                });
                let quiet = Action::Extension(Extension {
                    name: QUIET_DONE.to_owned(),
                    json: "{}".to_owned(),
                });
                assert_eq!(output.actions(), [&unasked, &quiet, &Action::Join]);
            }
        } else if let Some(text) = line.strip_prefix("← ") {
            let expected: Value = serde_json::from_str(text).expect(text);
            if said.is_empty() {
                let output = connection.host(host.cause(&expected));
                host.note(&output);
                said.extend(output.messages());
            }
            assert!(!said.is_empty(), "nothing was said, expected {expected}");
            assert_eq!(said.remove(0), expected);
        } else {
            continue;
        }
        lines += 1;
    }
    assert_eq!(said, Vec::<Value>::new(), "not in the example, at its end");
    assert!(lines > 20, "the example was found");
}

//! The rooms protocol (`docs/protocol-rooms.md`): messages of a client, and whatever the host says in between.

use rillway_plugin_sdk::Signaling as _;
use rillway_plugin_sdk::signaling::{
    Action, Command, Frame, Input, LayerState, MidTrack, Opened, RecordingState, TransportState,
};
use rillway_plugin_sdk::types::{Denial, Direction, Limits, ParticipantId, TrackId};
use serde_json::Value;
use signaling_rooms::decode::{DecodeError, decode};
use signaling_rooms::{Config, DirectRooms, Rooms, limits};

use super::people::{CODES, LIMITS, grant, participant, track};
use super::reader::{Reader, text};

/// Largest `id` of a message (RFC 8259 §6).
const ID_MAX: u64 = (1 << 53) - 1;

/// Input: one message.
pub fn run_message(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let read = decode(text);
    let Ok(Value::Object(object)) = serde_json::from_str::<Value>(text) else {
        return;
    };
    // With `id` or `type` in it twice nobody knows what was meant.
    let twice = |error| {
        matches!(
            error,
            DecodeError::Member {
                kind: "message",
                ..
            }
        )
    };
    if read.clone().is_err_and(|rejected| twice(rejected.error)) {
        return;
    }
    // Whatever else is wrong, a good `id` comes back.
    let id = object.get("id").and_then(Value::as_u64);
    let known = match read {
        Ok(message) => message.id,
        Err(rejected) => rejected.id,
    };
    assert_eq!(known, id.filter(|id| *id <= ID_MAX), "{text}");
}

/// Input: whether calls may be direct; then messages of the client and inputs of the host.
pub fn run(input: &[u8]) {
    let mut reader = Reader::new(input);
    let direct = match reader.byte().unwrap_or(0) % 2 {
        0 => DirectRooms::Never,
        _ => DirectRooms::Two,
    };
    let mut rooms = Rooms::with(Config {
        direct,
        direct_again: true,
    });
    let mut watch = Watch::default();
    watch.check(&rooms.handle(Input::Opened(Opened {
        subprotocol: "rillway.rooms.v1".to_owned(),
        ..Opened::default()
    })));
    while let Some(input) = input_of(&mut reader) {
        let gone = matches!(input, Input::Closed(_));
        watch.check(&rooms.handle(input));
        watch.closed |= gone;
    }
}

fn input_of(reader: &mut Reader<'_>) -> Option<Input> {
    let kind = reader.byte()?;
    let reference = |reader: &mut Reader<'_>| match reader.byte() {
        Some(n @ 0xf0..) => (1 << 63) | u64::from(n & 7),
        n => u64::from(n.unwrap_or(0)),
    };
    let id = |reader: &mut Reader<'_>| u64::from(reader.byte().unwrap_or(0) % 8);
    Some(match kind % 24 {
        0 | 1 => Input::Message(Frame::Text(text(reader.chunk()?))),
        2 => Input::Message(Frame::Text(text(reader.long_chunk()?))),
        3 => Input::Message(Frame::Binary(reader.chunk()?.to_vec())),
        4 => Input::Granted(grant(reader.byte()? % 2 == 1)),
        5 => joined(reader),
        6 | 7 => Input::Done {
            reference: reference(reader),
        },
        8 => Input::Failed {
            reference: reference(reader),
            code: *reader.pick(&CODES)?,
            message: text(reader.chunk()?),
        },
        9 => Input::TrackPublished(track(id(reader))),
        10 => Input::TrackUnpublished(TrackId(id(reader))),
        11 => Input::TrackMuted(TrackId(id(reader)), reader.byte()? % 2 == 1),
        12 => Input::ParticipantJoined(participant(id(reader))),
        13 => Input::ParticipantLeft(ParticipantId(id(reader))),
        14 => Input::Answer {
            reference: reference(reader),
            sdp: text(reader.chunk()?),
            tracks: mids(reader),
        },
        15 => Input::Offer {
            offer_id: id(reader),
            sdp: text(reader.chunk()?),
            tracks: mids(reader),
        },
        16 => Input::TransportState(Direction::Subscribe, TransportState::Failed),
        17 => Input::Relayed(
            ParticipantId(id(reader)),
            Frame::Text(text(reader.chunk()?)),
        ),
        18 => Input::Recording(RecordingState {
            active: reader.byte()? % 2 == 1,
            by: Some(ParticipantId(2)),
            tracks: vec![TrackId(id(reader))],
        }),
        19 => Input::Data {
            from: ParticipantId(id(reader)),
            label: text(reader.chunk()?),
            payload: reader.chunk()?.to_vec(),
        },
        20 => Input::Layer(LayerState {
            track: TrackId(id(reader)),
            spatial: reader.byte(),
            temporal: None,
        }),
        21 => Input::Removed(text(reader.chunk()?)),
        22 => Input::Denied(Denial::Unavailable(text(reader.chunk()?))),
        _ => match reader.byte()? % 4 {
            0 => Input::Closed("gone".to_owned()),
            1 => Input::Draining {
                within_ms: u64::MAX,
                url: None,
            },
            2 => Input::DataDropped {
                outgoing: true,
                count: u64::MAX,
            },
            _ => Input::Tick,
        },
    })
}

fn joined(reader: &mut Reader<'_>) -> Input {
    let (people, tracks) = (
        reader.byte().unwrap_or(0) % 4,
        reader.byte().unwrap_or(0) % 8,
    );
    Input::Joined {
        me: participant(1),
        participants: (0..people).map(|n| participant(2 + u64::from(n))).collect(),
        tracks: (0..tracks).map(|n| track(u64::from(n))).collect(),
        limits: Limits {
            subscriptions_per_participant: u16::from(people),
            ..LIMITS
        },
        ice_servers: Vec::new(),
    }
}

fn mids(reader: &mut Reader<'_>) -> Vec<MidTrack> {
    let mid = text(reader.take(2));
    let track = reader.byte().map(|id| TrackId(u64::from(id % 8)));
    vec![MidTrack { mid, track }]
}

/// What the protocol promises of every command.
#[derive(Default)]
struct Watch {
    closed: bool,
    given: u64,
}

impl Watch {
    fn check(&mut self, commands: &[Command]) {
        assert!(
            !self.closed || commands.is_empty(),
            "spoke after the end: {commands:?}"
        );
        assert!(
            commands.len() <= limits::TRACKS_MAX + 8,
            "{} commands",
            commands.len()
        );
        for (index, command) in commands.iter().enumerate() {
            match &command.action {
                Action::Send(Frame::Text(text)) => {
                    let message: Value = serde_json::from_str(text).expect("we send JSON");
                    assert!(message["type"].is_string());
                    let next = commands.get(index + 1).map(|c| &c.action);
                    let last =
                        message["type"] == "error" && matches!(next, Some(Action::Close(..)));
                    assert_eq!(message["fatal"] == true, last, "{text}");
                }
                Action::Send(Frame::Binary(_)) => panic!("the protocol has no binary frames"),
                Action::Close(code, reason) => {
                    assert!([1008, 4001, 4003, 4013].contains(code), "{code}");
                    assert!(reason.len() <= limits::CLOSE_REASON_BYTES_MAX);
                    assert_eq!(index + 1, commands.len(), "closing comes last");
                    self.closed = true;
                }
                _ if command.reference == 0 || command.reference >> 62 != 0 => {}
                _ => {
                    assert!(command.reference > self.given, "references grow");
                    self.given = command.reference;
                }
            }
        }
    }
}

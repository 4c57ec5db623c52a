//! A client and a host around one state machine.

use crate::subject::Rooms;
use rillway_plugin_sdk::Signaling;
use rillway_plugin_sdk::signaling::{Action, Command, Frame, Input, Opened};
use rillway_plugin_sdk::types::{
    Grant, Limits, MediaKind, Participant, ParticipantId, Source, Track, TrackId,
};
use serde_json::{Value, json};

pub(crate) const LIMITS: Limits = Limits {
    data_message_bytes: 65_536,
    data_bytes_per_second: 4_194_304,
    sdp_bytes: 65_536,
    tracks_per_participant: 16,
    subscriptions_per_participant: 64,
};

pub(crate) fn grant(room: &str) -> Grant {
    Grant {
        room: room.to_owned(),
        identity: "ada".to_owned(),
        name: Some("Ada".to_owned()),
        publish: vec![
            Source::Camera,
            Source::Microphone,
            Source::Screen,
            Source::ScreenAudio,
            Source::Other,
        ],
        subscribe: true,
        publish_data: true,
        record_control: false,
        max_publish_bps: None,
        expires_at_ms: None,
        attributes: Vec::new(),
    }
}

pub(crate) fn participant(id: u64, name: &str, joined_at_ms: u64) -> Participant {
    Participant {
        id: ParticipantId(id),
        identity: name.to_lowercase(),
        name: Some(name.to_owned()),
        attributes: Vec::new(),
        joined_at_ms,
    }
}

pub(crate) fn track(id: u64, owner: u64, kind: MediaKind) -> Track {
    Track {
        id: TrackId(id),
        owner: ParticipantId(owner),
        kind,
        source: match kind {
            MediaKind::Audio => Source::Microphone,
            MediaKind::Video => Source::Camera,
        },
        codec: String::new(),
        encrypted: false,
        muted: false,
        layers: Vec::new(),
        attributes: Vec::new(),
    }
}

/// One connection.
pub(crate) struct Connection {
    rooms: Rooms,
}

/// What one input led to.
#[derive(Debug)]
pub(crate) struct Output(pub(crate) Vec<Command>);

impl Connection {
    /// Connected, in no room.
    pub(crate) fn open() -> Self {
        let mut rooms = Rooms::new();
        let opened = Opened {
            path: "/signal/rooms".to_owned(),
            subprotocol: "rillway.rooms.v1".to_owned(),
            ..Opened::default()
        };
        assert_eq!(rooms.handle(Input::Opened(opened)), []);
        Connection { rooms }
    }

    /// In room `standup` as participant 1.
    pub(crate) fn in_room() -> Self {
        Self::in_room_with(&grant("standup"), LIMITS, Vec::new(), true)
    }

    pub(crate) fn in_room_with(
        grant: &Grant,
        limits: Limits,
        tracks: Vec<Track>,
        auto_subscribe: bool,
    ) -> Self {
        let mut connection = Self::open();
        let join = json!({"type": "join", "id": 1, "room": grant.room,
            "autoSubscribe": auto_subscribe});
        connection.say(&join);
        connection.host(Input::Granted(grant.clone()));
        let output = connection.host(joined(limits, tracks));
        assert_eq!(output.messages()[0]["type"], "joined");
        connection
    }

    /// The client sends a message.
    pub(crate) fn say(&mut self, message: &Value) -> Output {
        self.text(&message.to_string())
    }

    /// The client sends text.
    pub(crate) fn text(&mut self, text: &str) -> Output {
        self.host(Input::Message(Frame::Text(text.to_owned())))
    }

    /// The host says something.
    pub(crate) fn host(&mut self, input: Input) -> Output {
        Output(self.rooms.handle(input))
    }

    /// The host carries a command out.
    pub(crate) fn done(&mut self, reference: u64) -> Output {
        self.host(Input::Done { reference })
    }
}

pub(crate) fn joined(limits: Limits, tracks: Vec<Track>) -> Input {
    Input::Joined {
        me: participant(1, "Ada", 1_767_225_600_000),
        participants: Vec::new(),
        tracks,
        limits,
        ice_servers: Vec::new(),
    }
}

impl Output {
    /// What the client gets, as JSON.
    pub(crate) fn messages(&self) -> Vec<Value> {
        let frames = self.0.iter().filter_map(|c| match &c.action {
            Action::Send(Frame::Text(text)) => Some(text),
            Action::Send(Frame::Binary(_)) => panic!("the protocol has no binary frames"),
            _ => None,
        });
        frames
            .map(|text| serde_json::from_str(text).expect("we send JSON"))
            .collect()
    }

    /// The only message.
    pub(crate) fn message(&self) -> Value {
        let messages = self.messages();
        assert_eq!(messages.len(), 1, "one message expected: {self:?}");
        messages[0].clone()
    }

    /// What the host is asked for, beside sending.
    pub(crate) fn commands(&self) -> Vec<&Command> {
        let others = |c: &&Command| !matches!(c.action, Action::Send(_));
        self.0.iter().filter(others).collect()
    }

    /// Its actions.
    pub(crate) fn actions(&self) -> Vec<&Action> {
        self.commands().into_iter().map(|c| &c.action).collect()
    }

    /// The only command that is answered.
    pub(crate) fn command(&self) -> &Command {
        let mut commands = self.commands();
        commands.retain(|c| !matches!(c.action, Action::Notify(_) | Action::Extension(_)));
        assert_eq!(commands.len(), 1, "one command expected: {self:?}");
        commands[0]
    }

    /// The only message is an error of this code; returns its text.
    pub(crate) fn error(&self, code: &str, id: Option<u64>) -> String {
        let message = self.message();
        assert_eq!(message["type"], "error", "{message}");
        assert_eq!(message["code"], code, "{message}");
        assert_eq!(message.get("id").and_then(Value::as_u64), id, "{message}");
        message["message"].as_str().expect("a text").to_owned()
    }
}

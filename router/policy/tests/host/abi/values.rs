//! At least one value of every case of every type of the ABI, with something in every field.

use rillway_plugin_sdk::authentication::Attempt;
use rillway_plugin_sdk::layers::{Choice, Decision, Scope, Subscriber, Subscription, View};
use rillway_plugin_sdk::recording::{
    Container, Event, Failure, FailureCause, Finished, Order, Recorded, Request, Start,
};
use rillway_plugin_sdk::signaling::{
    Action, FailureCode, Frame, HttpRequest, HttpResponse, Input, LayerState, LayerWish, MidTrack,
    Notices, Opened, PublishedSource, RecordingState, TransportState,
};
use rillway_plugin_sdk::types::{
    Attributes, Denial, Direction, Extension, Grant, IceServer, Layer, Limits, MediaKind,
    Participant, ParticipantId, Source, Track, TrackId,
};

pub(super) const MEDIA_KINDS: [MediaKind; 2] = [MediaKind::Audio, MediaKind::Video];
pub(super) const SOURCES: [Source; 5] = [
    Source::Camera,
    Source::Microphone,
    Source::Screen,
    Source::ScreenAudio,
    Source::Other,
];
pub(super) const DIRECTIONS: [Direction; 2] = [Direction::Publish, Direction::Subscribe];
pub(super) const TRANSPORT_STATES: [TransportState; 6] = [
    TransportState::New,
    TransportState::Connecting,
    TransportState::Connected,
    TransportState::Disconnected,
    TransportState::Failed,
    TransportState::Closed,
];
pub(super) const FAILURE_CODES: [FailureCode; 7] = [
    FailureCode::Forbidden,
    FailureCode::NotFound,
    FailureCode::Invalid,
    FailureCode::LimitExceeded,
    FailureCode::WrongState,
    FailureCode::Unavailable,
    FailureCode::Internal,
];
pub(super) const FAILURE_CAUSES: [FailureCause; 7] = [
    FailureCause::DiskFull,
    FailureCause::DiskFault,
    FailureCause::Overload,
    FailureCause::Encrypted,
    FailureCause::Unsupported,
    FailureCause::Unavailable,
    FailureCause::Other,
];
pub(super) const SCOPES: [Scope; 2] = [Scope::Whole, Scope::Changes];
pub(super) const CONTAINERS: [Container; 3] = [Container::Mp4, Container::Webm, Container::RtpDump];

/// The largest id (2^53 - 1).
const ID_MAX: u64 = (1 << 53) - 1;
/// Every byte there is: no UTF-8.
const BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = at as u8;
        at += 1;
    }
    bytes
};
/// One to four bytes for each character, and what JSON escapes.
const TEXT: &str = "a\u{e9}\u{4f60}\u{1f600}\"\\\n\u{0}\u{7f}";

fn text(what: &str) -> String {
    format!("{what} {TEXT}")
}

fn some(what: &str) -> Option<String> {
    Some(text(what))
}

fn pairs(what: &str) -> Attributes {
    vec![
        (format!("{what}-1"), text("value")),
        (format!("{what}-2"), String::new()),
    ]
}

fn ids() -> Vec<ParticipantId> {
    vec![ParticipantId(0), ParticipantId(ID_MAX)]
}

pub(super) fn frames() -> Vec<Frame> {
    vec![
        Frame::Text(text("frame")),
        Frame::Text(String::new()),
        Frame::Binary(BYTES.to_vec()),
        Frame::Binary(Vec::new()),
    ]
}

pub(super) fn denials() -> Vec<Denial> {
    vec![
        Denial::Unauthenticated(text("unauthenticated")),
        Denial::Forbidden(text("forbidden")),
        Denial::OverQuota(text("over quota")),
        Denial::Unavailable(String::new()),
    ]
}

/// One with everything, one with nothing, and each flag by itself.
pub(super) fn grants() -> Vec<Grant> {
    let nothing = Grant {
        room: "r".to_owned(),
        identity: "i".to_owned(),
        name: None,
        publish: Vec::new(),
        subscribe: false,
        publish_data: false,
        record_control: false,
        max_publish_bps: None,
        expires_at_ms: None,
        attributes: Vec::new(),
    };
    let everything = Grant {
        room: text("room"),
        identity: text("identity"),
        name: some("name"),
        publish: SOURCES.to_vec(),
        subscribe: true,
        publish_data: true,
        record_control: true,
        max_publish_bps: Some(u64::MAX),
        expires_at_ms: Some(u64::MAX - 1),
        attributes: pairs("grant"),
    };
    let subscribe = Grant {
        subscribe: true,
        ..nothing.clone()
    };
    let publish_data = Grant {
        publish_data: true,
        max_publish_bps: Some(0),
        ..nothing.clone()
    };
    let record_control = Grant {
        record_control: true,
        expires_at_ms: Some(0),
        ..nothing.clone()
    };
    vec![nothing, everything, subscribe, publish_data, record_control]
}

fn layers() -> Vec<Layer> {
    let layer = Layer {
        spatial: 1,
        temporal: 2,
        rid: some("rid"),
        width: 3,
        height: 4,
        fps: 5,
        bitrate_bps: 6,
        active: true,
    };
    let largest = Layer {
        spatial: u8::MAX,
        temporal: u8::MAX - 1,
        rid: None,
        width: u16::MAX,
        height: u16::MAX - 1,
        fps: u16::MAX - 2,
        bitrate_bps: u32::MAX,
        active: false,
    };
    vec![layer, largest]
}

fn track(kind: MediaKind, source: Source) -> Track {
    Track {
        id: TrackId(ID_MAX),
        owner: ParticipantId(7),
        kind,
        source,
        codec: text("codec"),
        encrypted: kind == MediaKind::Audio,
        muted: kind == MediaKind::Video,
        layers: match kind {
            MediaKind::Audio => Vec::new(),
            MediaKind::Video => layers(),
        },
        attributes: pairs("track"),
    }
}

/// One for each source of each kind.
fn tracks() -> Vec<Track> {
    let pairs = MEDIA_KINDS.iter().flat_map(|k| SOURCES.map(|s| (*k, s)));
    pairs.map(|(kind, source)| track(kind, source)).collect()
}

fn participants() -> Vec<Participant> {
    let known = Participant {
        id: ParticipantId(ID_MAX),
        identity: text("identity"),
        name: some("name"),
        attributes: pairs("participant"),
        joined_at_ms: u64::MAX,
    };
    let unknown = Participant {
        id: ParticipantId(1),
        identity: String::new(),
        name: None,
        attributes: Vec::new(),
        joined_at_ms: 2,
    };
    vec![known, unknown]
}

fn sections() -> Vec<MidTrack> {
    let section = |mid: &str, track| MidTrack {
        mid: text(mid),
        track,
    };
    vec![section("0", Some(TrackId(ID_MAX))), section("1", None)]
}

fn extension() -> Extension {
    Extension {
        name: "an-extension".to_owned(),
        json: format!("{{\"text\":{TEXT:?}}}"),
    }
}

fn opened() -> Vec<Input> {
    let resource = |resource| {
        Input::Opened(Opened {
            path: text("path"),
            query: text("query"),
            subprotocol: text("subprotocol"),
            remote_address: text("remote address"),
            resource,
            attributes: pairs("opened"),
        })
    };
    vec![resource(some("resource")), resource(None)]
}

fn joined() -> Vec<Input> {
    let limits = Limits {
        data_message_bytes: 1,
        data_bytes_per_second: u32::MAX,
        sdp_bytes: 3,
        tracks_per_participant: 4,
        subscriptions_per_participant: u16::MAX,
    };
    let turn = IceServer {
        urls: vec![text("turn"), text("turns")],
        username: some("username"),
        credential: some("credential"),
    };
    let stun = IceServer {
        urls: Vec::new(),
        username: None,
        credential: None,
    };
    let join = |me: Participant| Input::Joined {
        me,
        participants: participants(),
        tracks: tracks(),
        limits,
        ice_servers: vec![turn.clone(), stun.clone()],
    };
    participants().into_iter().map(join).collect()
}

/// What happened to the client itself: its connection, its grant, its transports, its commands.
fn inputs_of_the_client() -> Vec<Input> {
    let mut inputs = opened();
    inputs.extend(frames().into_iter().map(Input::Message));
    inputs.push(Input::Request(HttpRequest {
        id: u64::MAX,
        method: "PATCH".to_owned(),
        path: text("path"),
        query: text("query"),
        headers: pairs("header"),
        body: BYTES.to_vec(),
    }));
    inputs.extend([Input::Closed(text("closed")), Input::Tick]);
    inputs.extend(grants().into_iter().map(Input::Granted));
    inputs.extend(denials().into_iter().map(Input::Denied));
    inputs.extend(joined());
    inputs.extend([
        Input::Answer {
            reference: u64::MAX,
            sdp: text("answer"),
            tracks: sections(),
        },
        Input::Offer {
            offer_id: u64::MAX - 1,
            sdp: text("offer"),
            tracks: sections(),
        },
        Input::DataDropped {
            outgoing: true,
            count: u64::MAX,
        },
        Input::DataDropped {
            outgoing: false,
            count: 1,
        },
        Input::Draining {
            within_ms: u64::MAX,
            url: some("url"),
        },
        Input::Draining {
            within_ms: 0,
            url: None,
        },
        Input::Removed(text("removed")),
        Input::Done {
            reference: u64::MAX,
        },
    ]);
    for direction in DIRECTIONS {
        let states = TRANSPORT_STATES.into_iter();
        inputs.extend(states.map(|state| Input::TransportState(direction, state)));
    }
    inputs.extend(FAILURE_CODES.map(|code| Input::Failed {
        reference: u64::MAX,
        code,
        message: text("failed"),
    }));
    inputs
}

/// What happened in its room.
fn inputs_of_the_room() -> Vec<Input> {
    let mut inputs: Vec<Input> = participants()
        .into_iter()
        .map(Input::ParticipantJoined)
        .collect();
    inputs.extend(tracks().into_iter().map(Input::TrackPublished));
    let relayed = |frame| Input::Relayed(ParticipantId(ID_MAX), frame);
    inputs.extend(frames().into_iter().map(relayed));
    let layer = |spatial, temporal| {
        Input::Layer(LayerState {
            track: TrackId(ID_MAX),
            spatial,
            temporal,
        })
    };
    let recording = |active, by| {
        Input::Recording(RecordingState {
            active,
            by,
            tracks: vec![TrackId(1), TrackId(ID_MAX)],
        })
    };
    inputs.extend([
        Input::ParticipantLeft(ParticipantId(ID_MAX)),
        Input::TrackUnpublished(TrackId(ID_MAX)),
        Input::TrackMuted(TrackId(ID_MAX), true),
        Input::TrackMuted(TrackId(0), false),
        Input::Speakers(vec![(ParticipantId(1), 127), (ParticipantId(ID_MAX), 0)]),
        Input::Speakers(Vec::new()),
        layer(Some(2), Some(u8::MAX)),
        layer(None, None),
        Input::Data {
            from: ParticipantId(ID_MAX),
            label: text("label"),
            payload: BYTES.to_vec(),
        },
        recording(true, Some(ParticipantId(ID_MAX))),
        recording(false, None),
        Input::Extension(extension()),
    ]);
    inputs
}

pub(super) fn inputs() -> Vec<Input> {
    [inputs_of_the_client(), inputs_of_the_room()].concat()
}

fn actions_with_text() -> Vec<Action> {
    let authenticate = |room, name| Action::Authenticate {
        scheme: text("scheme"),
        credentials: BYTES.to_vec(),
        room,
        name,
    };
    let respond = |status| {
        Action::Respond(HttpResponse {
            id: u64::MAX,
            status,
            headers: pairs("header"),
            body: BYTES.to_vec(),
        })
    };
    let sources = SOURCES.map(|source| PublishedSource {
        mid: text("mid"),
        source,
    });
    vec![
        respond(200),
        respond(599),
        Action::Close(u16::MAX, text("reason")),
        authenticate(some("room"), some("name")),
        authenticate(None, None),
        Action::AcceptOffer {
            sdp: text("offer"),
            sources: sources.to_vec(),
        },
        Action::AcceptAnswer {
            offer_id: u64::MAX,
            sdp: text("answer"),
        },
        Action::AcceptReceivingOffer { sdp: text("offer") },
        Action::SendData {
            to: ids(),
            label: text("label"),
            payload: BYTES.to_vec(),
        },
        Action::SendData {
            to: Vec::new(),
            label: String::new(),
            payload: Vec::new(),
        },
        Action::Extension(extension()),
    ]
}

pub(super) fn actions() -> Vec<Action> {
    let mut actions = actions_with_text();
    for frame in frames() {
        actions.push(Action::Send(frame.clone()));
        actions.push(Action::SendTo(ParticipantId(ID_MAX), frame));
    }
    for direction in DIRECTIONS {
        actions.push(Action::AddCandidate(direction, text("candidate")));
        actions.push(Action::CloseTransport(direction));
    }
    let wish = |paused| {
        Action::Wish(LayerWish {
            track: TrackId(ID_MAX),
            width: u16::MAX,
            height: u16::MAX - 1,
            fps: 3,
            priority: u8::MAX,
            paused,
        })
    };
    actions.extend([
        Action::TickEveryMs(u32::MAX),
        Action::Join,
        Action::Leave,
        Action::RestartIce,
        Action::Subscribe(TrackId(ID_MAX)),
        Action::Unsubscribe(TrackId(1)),
        wish(true),
        wish(false),
        Action::Mute(TrackId(ID_MAX), true),
        Action::Mute(TrackId(0), false),
        Action::Unpublish(TrackId(ID_MAX)),
        notify(true, false),
        notify(false, true),
        Action::RequestRecording(true),
        Action::RequestRecording(false),
    ]);
    actions
}

fn notify(speakers: bool, layers: bool) -> Action {
    Action::Notify(Notices { speakers, layers })
}

pub(super) fn attempts() -> Vec<Attempt> {
    let everything = Attempt {
        scheme: text("scheme"),
        credentials: BYTES.to_vec(),
        room: some("room"),
        name: some("name"),
        remote_address: text("remote address"),
        protocol: text("protocol"),
        guest_identity: text("guest identity"),
        attributes: pairs("attempt"),
    };
    let longest = Attempt {
        credentials: vec![b'x'; 16 << 10],
        ..Attempt::default()
    };
    vec![Attempt::default(), everything, longest]
}

pub(super) fn views() -> Vec<View> {
    let subscription = |paused, spatial, temporal| Subscription {
        track: TrackId(ID_MAX),
        width: u16::MAX,
        height: u16::MAX - 1,
        fps: 3,
        priority: u8::MAX,
        paused,
        spatial,
        temporal,
    };
    let measured = Subscriber {
        id: ParticipantId(ID_MAX),
        estimate_bps: Some(u32::MAX),
        audio_bps: u32::MAX - 1,
        rtt_ms: u16::MAX,
        loss_permille: 1_000,
        subscriptions: vec![
            subscription(true, Some(2), Some(u8::MAX)),
            subscription(false, None, None),
        ],
        attributes: pairs("subscriber"),
    };
    let new = Subscriber {
        id: ParticipantId(1),
        estimate_bps: None,
        audio_bps: 0,
        rtt_ms: 2,
        loss_permille: 3,
        subscriptions: Vec::new(),
        attributes: Vec::new(),
    };
    let everything = View {
        now_ms: u64::MAX,
        scope: Scope::Changes,
        tracks: tracks(),
        tracks_gone: vec![TrackId(ID_MAX), TrackId(2)],
        subscribers: vec![measured, new],
        subscribers_gone: ids(),
        subscriptions: u32::MAX,
        speakers: ids(),
        attributes: pairs("view"),
    };
    let whole = View {
        scope: Scope::Whole,
        ..everything.clone()
    };
    vec![View::default(), everything, whole]
}

/// As far as version 0.1.0 has words for it.
pub(super) fn view_0_1(view: View) -> View {
    View {
        scope: Scope::Whole,
        tracks_gone: Vec::new(),
        subscribers_gone: Vec::new(),
        subscriptions: 0,
        ..view
    }
}

pub(super) fn decisions() -> Vec<Decision> {
    let decisions = SCOPES.into_iter().flat_map(|next| {
        let decision = move |choices| Decision { choices, next };
        [Vec::new(), choices()].map(decision)
    });
    decisions.collect()
}

fn choices() -> Vec<Choice> {
    let choice = |paused, reason| Choice {
        subscriber: ParticipantId(ID_MAX),
        track: TrackId(ID_MAX - 1),
        spatial: u8::MAX,
        temporal: 3,
        paused,
        reason,
    };
    vec![choice(true, text("reason")), choice(false, String::new())]
}

pub(super) fn events() -> Vec<Event> {
    let requested = |start, by| {
        Event::Requested(Request {
            start,
            by,
            attributes: pairs("request"),
        })
    };
    let mut events = vec![
        Event::RoomOpened(text("room")),
        Event::ParticipantLeft(ParticipantId(ID_MAX)),
        Event::TrackUnpublished(TrackId(ID_MAX)),
        Event::TrackMuted(TrackId(ID_MAX), true),
        Event::TrackMuted(TrackId(0), false),
        Event::Speakers(ids()),
        requested(true, Some(ParticipantId(ID_MAX))),
        requested(false, None),
        Event::Finished(Finished {
            track: TrackId(ID_MAX),
            name: text("name"),
            bytes: u64::MAX,
            duration_ms: u64::MAX - 1,
            sha256: text("sha256"),
            attributes: pairs("finished"),
        }),
        Event::Started(TrackId(ID_MAX)),
        Event::Recording(vec![Recorded {
            track: TrackId(ID_MAX),
            name: text("name"),
            attributes: pairs("recorded"),
        }]),
        Event::Recording(Vec::new()),
        Event::Tick,
        Event::RoomClosed,
    ];
    events.extend(FAILURE_CAUSES.into_iter().map(|cause| {
        Event::Failed(Failure {
            track: TrackId(ID_MAX),
            cause,
            message: text("failed"),
        })
    }));
    events.extend(participants().into_iter().map(Event::ParticipantJoined));
    events.extend(tracks().into_iter().map(Event::TrackPublished));
    events
}

pub(super) fn orders() -> Vec<Order> {
    let start = |container| {
        Order::Start(Start {
            track: TrackId(ID_MAX),
            container,
            name: text("name"),
            max_segment_s: u32::MAX,
            attributes: pairs("start"),
        })
    };
    let mut orders: Vec<Order> = CONTAINERS.into_iter().map(start).collect();
    orders.push(Order::Stop(TrackId(ID_MAX)));
    orders.push(Order::TickEveryMs(u32::MAX));
    orders
}

//! The state machine. See the chart in the crate's documentation.

use rillway_plugin_sdk::Signaling;
use rillway_plugin_sdk::signaling::{
    Action, Command, FailureCode, Frame, Input, LayerWish, MidTrack, Notices, Opened,
    PublishedSource, QUIET, QUIET_DONE,
};
use rillway_plugin_sdk::types::{
    Denial, Extension, Grant, IceServer, Limits, Participant, ParticipantId, Track, TrackId,
};

use crate::decode::{self, Decoded, Request};
use crate::direct::{Config, Direct};
use crate::limits;
use crate::pending::{Part, Pending};
use crate::subscriptions::Subscriptions;
use crate::wire::{self, ErrorCode, ServerMessage, WireId, close};

mod calls;

/// Reference of commands whose success nobody is told and whose failure has no `id`.
const ANONYMOUS: u64 = 0;
/// Set in the reference of a subscription made by `autoSubscribe`; the rest is the track's id.
const AUTOMATIC: u64 = 1 << 63;
/// Set beside [`QUIET`] where the client's `id` is the rest of the reference.
const WITH_ID: u64 = 1 << 61;
/// Set beside [`QUIET`] where nobody is told of a failure either.
const UNTOLD: u64 = 1 << 60;

/// The rooms protocol for one client connection.
#[derive(Debug)]
pub struct Rooms {
    config: Config,
    state: State,
    /// Grows by one for each command that needs an answer; never meets [`AUTOMATIC`].
    next_reference: u64,
    /// Collected during one [`Signaling::handle`].
    out: Vec<Command>,
}

#[derive(Debug)]
enum State {
    /// Connected, in no room.
    Idle,
    /// The authentication policy has been asked.
    Authenticating(Joining),
    /// The host has been asked to join.
    Entering(Joining, Box<Grant>),
    /// Participant of a room.
    InRoom(Box<Membership>),
    /// The connection is closed or being closed; nothing is said any more.
    Closed,
}

/// A join under way.
#[derive(Debug, Clone, Copy)]
struct Joining {
    /// `id` of the client's `join`.
    id: Option<u64>,
    auto_subscribe: bool,
    direct: bool,
    /// Of the command now waiting for its answer.
    reference: u64,
}

/// Being in a room.
#[derive(Debug)]
struct Membership {
    limits: Limits,
    pending: Pending,
    subscriptions: Subscriptions,
    direct: Direct,
}

impl Default for Rooms {
    fn default() -> Self {
        Self::new()
    }
}

impl Rooms {
    /// The state machine of a new connection.
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    /// The same where something is configured.
    pub fn with(config: Config) -> Self {
        Rooms {
            config,
            state: State::Idle,
            next_reference: 1,
            out: Vec::new(),
        }
    }
}

impl Signaling for Rooms {
    fn handle(&mut self, input: Input) -> Vec<Command> {
        if !matches!(self.state, State::Closed) {
            match input {
                Input::Opened(opened) => self.opened(&opened),
                Input::Message(Frame::Text(text)) => self.message(&text),
                Input::Message(Frame::Binary(bytes)) => {
                    let error = decode::DecodeError::Binary(bytes.len());
                    self.error(None, error.code(), &error.to_string());
                }
                Input::Closed(_) => self.state = State::Closed,
                Input::Granted(grant) => self.granted(grant),
                Input::Denied(denial) => self.denied(&denial),
                Input::Joined {
                    me,
                    participants,
                    tracks,
                    limits,
                    ice_servers,
                } => {
                    self.joined(&me, &participants, &tracks, limits, &ice_servers);
                }
                Input::Done { reference } => self.settled(reference, None),
                Input::Failed {
                    reference,
                    code,
                    message,
                } => {
                    self.failed(reference, code, message);
                }
                Input::Draining { within_ms, .. } => self.send(&ServerMessage::Draining {
                    deadline_ms: within_ms,
                }),
                Input::Removed(reason) => self.removed(&reason),
                Input::Tick => {}
                event => self.room_event(event),
            }
        }
        std::mem::take(&mut self.out)
    }
}

// ---- the connection and the join ----

impl Rooms {
    fn opened(&mut self, opened: &Opened) {
        if opened.subprotocol != wire::SUBPROTOCOL {
            let message = format!(
                "this path speaks `{}`: open the WebSocket with that subprotocol",
                wire::SUBPROTOCOL
            );
            self.fatal(None, ErrorCode::Invalid, &message, close::NO_SUBPROTOCOL);
        }
    }

    fn message(&mut self, text: &str) {
        match decode::decode(text) {
            Ok(Decoded { id, request }) => self.request(id, request),
            Err(rejected) => {
                let error = &rejected.error;
                self.error(rejected.id, error.code(), &error.to_string());
            }
        }
    }

    fn request(&mut self, id: Option<u64>, request: Request) {
        match (&self.state, request) {
            (_, Request::Ping) => self.send(&ServerMessage::Pong { id }),
            (State::Idle, Request::Join(join)) => self.join(id, join),
            (State::InRoom(_), Request::Join(_)) => {
                let message = "already in a room: send `leave` first";
                self.error(id, ErrorCode::AlreadyJoined, message);
            }
            (State::InRoom(_), Request::Leave) => self.leave(id),
            (State::InRoom(_), request) => self.room_request(id, request),
            (State::Authenticating(_) | State::Entering(..), _) => {
                let message = "a join is under way: wait for `joined` or `error`";
                self.error(id, ErrorCode::WrongState, message);
            }
            (State::Idle, _) => {
                let message = "not in a room: send `join` first";
                self.error(id, ErrorCode::NotJoined, message);
            }
            (State::Closed, _) => {}
        }
    }

    fn join(&mut self, id: Option<u64>, join: wire::Join) {
        let (scheme, credentials) = match join.token {
            Some(token) => ("token", token.into_bytes()),
            None => ("none", Vec::new()),
        };
        let reference = self.command(Action::Authenticate {
            scheme: scheme.to_owned(),
            credentials,
            room: Some(join.room),
            name: join.name,
        });
        self.state = State::Authenticating(Joining {
            id,
            auto_subscribe: join.auto_subscribe.unwrap_or(true),
            direct: join.direct.unwrap_or(false),
            reference,
        });
    }

    fn granted(&mut self, grant: Grant) {
        if let State::Authenticating(joining) = self.state {
            let unasked = wire::Notify {
                speakers: None,
                layers: None,
            };
            self.anonymous(Action::Notify(notices(unasked)));
            self.anonymous(Action::Extension(Extension {
                name: QUIET_DONE.to_owned(),
                json: "{}".to_owned(),
            }));
            let reference = self.command(Action::Join);
            let joining = Joining {
                reference,
                ..joining
            };
            self.state = State::Entering(joining, Box::new(grant));
        }
    }

    fn denied(&mut self, denial: &Denial) {
        let State::Authenticating(Joining { id, .. }) = self.state else {
            return;
        };
        let (code, message, close_code) = match denial {
            Denial::Unauthenticated(m) => (ErrorCode::Unauthenticated, m, close::FORBIDDEN),
            Denial::Forbidden(m) => (ErrorCode::Forbidden, m, close::FORBIDDEN),
            Denial::OverQuota(m) => (ErrorCode::OverQuota, m, close::UNAVAILABLE),
            Denial::Unavailable(m) => (ErrorCode::Unavailable, m, close::UNAVAILABLE),
        };
        self.fatal(id, code, message, close_code);
    }

    fn joined(
        &mut self,
        me: &Participant,
        participants: &[Participant],
        tracks: &[Track],
        limits: Limits,
        ice_servers: &[IceServer],
    ) {
        let (joining, grant) = match std::mem::replace(&mut self.state, State::Idle) {
            State::Entering(joining, grant) => (joining, grant),
            other => {
                self.state = other;
                return;
            }
        };
        self.send(&ServerMessage::Joined {
            id: joining.id,
            version: wire::VERSION,
            room: &grant.room,
            participant: me.into(),
            participants: participants.iter().map(Into::into).collect(),
            tracks: tracks.iter().map(Into::into).collect(),
            grant: grant.as_ref().into(),
            limits: (&limits).into(),
            ice_servers: ice_servers.iter().map(Into::into).collect(),
        });
        let auto = joining.auto_subscribe && grant.subscribe;
        let bound = limits.subscriptions_per_participant;
        let mut subscriptions = Subscriptions::new(auto, bound);
        for track in tracks {
            subscriptions.published(track.id, track.kind);
        }
        self.state = State::InRoom(Box::new(Membership {
            limits,
            pending: Pending::default(),
            subscriptions,
            direct: Direct::new(self.config, me.id, &grant, joining.direct),
        }));
        self.subscribe_waiting();
        self.direct(|direct| direct.found(participants.iter().map(|p| p.id)));
    }

    /// The host refused `Authenticate` or `Join`.
    fn join_failed(&mut self, id: Option<u64>, code: FailureCode, message: &str) {
        let close_code = match code {
            FailureCode::Forbidden => close::FORBIDDEN,
            FailureCode::LimitExceeded | FailureCode::Unavailable => close::UNAVAILABLE,
            // The client may mend its request and try again.
            _ => {
                self.state = State::Idle;
                return self.error(id, code.into(), message);
            }
        };
        self.fatal(id, code.into(), message, close_code);
    }

    fn leave(&mut self, id: Option<u64>) {
        self.command(Action::Leave);
        self.state = State::Idle;
        self.send(&ServerMessage::Left { id });
    }

    fn removed(&mut self, reason: &str) {
        self.send(&ServerMessage::Removed { reason });
        self.close(close::REMOVED, reason);
    }
}

// ---- requests in a room ----

impl Rooms {
    fn room_request(&mut self, id: Option<u64>, request: Request) {
        match request {
            Request::Publish(publish) => self.publish(id, publish),
            Request::Unpublish(m) => {
                self.confirm(id, Action::Unpublish(track(m.track)));
                self.direct(|direct| direct.unpublished(track(m.track)));
            }
            Request::Answer(answer) => self.answer(id, answer),
            Request::Candidate(c) => {
                // The end of candidates tells an ICE-lite agent nothing (RFC 8838 §14).
                if !c.candidate.is_empty() {
                    self.silently(id, Action::AddCandidate(c.direction.into(), c.candidate));
                }
            }
            Request::Restart => self.confirm(id, Action::RestartIce),
            Request::Close(d) => self.confirm(id, Action::CloseTransport(d.into())),
            Request::Subscribe(list) => self.subscribe(id, &list.tracks),
            Request::Unsubscribe(list) => self.unsubscribe(id, &list.tracks),
            Request::Wish(wish) => self.silently(id, Action::Wish(layer_wish(wish))),
            Request::Notify(wanted) => self.anonymous(Action::Notify(notices(wanted))),
            Request::Mute(m) => {
                self.confirm(id, Action::Mute(track(m.track), m.muted));
                self.direct(|direct| direct.mutes(track(m.track), m.muted));
            }
            Request::Record(r) => {
                self.direct(|direct| direct.asked_to_record(r.start));
                self.confirm(id, Action::RequestRecording(r.start));
            }
            Request::Data(data) => self.data(id, data),
            Request::DirectDescription(m) => self.direct_description(id, m),
            Request::DirectCandidate(m) => self.direct_candidate(id, m),
            Request::DirectPath(m) => self.direct_path(id, m),
            // Dealt with before, whatever the state.
            Request::Join(_) | Request::Leave | Request::Ping => {}
        }
    }

    fn publish(&mut self, id: Option<u64>, publish: wire::Publish) {
        if self.sdp_too_large(id, &publish.sdp) {
            return;
        }
        let sources = publish.tracks.into_iter().map(|t| PublishedSource {
            mid: t.mid,
            source: t.source.into(),
        });
        let sources = sources.collect();
        // `published` is the confirmation.
        self.quietly(
            id,
            Action::AcceptOffer {
                sdp: publish.sdp,
                sources,
            },
        );
    }

    fn answer(&mut self, id: Option<u64>, answer: wire::Answer) {
        if !self.sdp_too_large(id, &answer.sdp) {
            let wire::Answer { offer_id, sdp } = answer;
            self.confirm(id, Action::AcceptAnswer { offer_id, sdp });
        }
    }

    fn sdp_too_large(&mut self, id: Option<u64>, sdp: &str) -> bool {
        let State::InRoom(room) = &self.state else {
            return false;
        };
        let max = usize::try_from(room.limits.sdp_bytes).unwrap_or(usize::MAX);
        if sdp.len() > max {
            let message = format!("`sdp` has {} bytes, `limits.sdpBytes` is {max}", sdp.len());
            self.error(id, ErrorCode::LimitExceeded, &message);
        }
        sdp.len() > max
    }

    fn subscribe(&mut self, id: Option<u64>, tracks: &[WireId]) {
        let Some(first) = self.reserve(id, tracks.len()) else {
            return;
        };
        let State::InRoom(room) = &mut self.state else {
            return;
        };
        let mut parts = Vec::with_capacity(tracks.len());
        for (reference, id) in (first..).zip(tracks) {
            let track = track(*id);
            let new = room.subscriptions.asked(track);
            parts.push(Part::new(Some(track), new));
            let action = Action::Subscribe(track);
            self.out.push(Command { reference, action });
        }
        room.pending.insert(first, id, true, parts);
    }

    fn unsubscribe(&mut self, id: Option<u64>, tracks: &[WireId]) {
        let Some(first) = self.reserve(id, tracks.len()) else {
            return;
        };
        let State::InRoom(room) = &mut self.state else {
            return;
        };
        let mut parts = Vec::with_capacity(tracks.len());
        for (reference, id) in (first..).zip(tracks) {
            let track = track(*id);
            room.subscriptions.declined(track);
            parts.push(Part::new(Some(track), false));
            let action = Action::Unsubscribe(track);
            self.out.push(Command { reference, action });
        }
        room.pending.insert(first, id, true, parts);
        self.subscribe_waiting();
    }

    fn data(&mut self, id: Option<u64>, data: decode::Data) {
        let State::InRoom(room) = &self.state else {
            return;
        };
        let max = usize::try_from(room.limits.data_message_bytes).unwrap_or(usize::MAX);
        let len = data.payload.len();
        if len > max {
            let message = format!("payload has {len} bytes, `limits.dataMessageBytes` is {max}");
            return self.error(id, ErrorCode::LimitExceeded, &message);
        }
        let to = data.to.iter().map(|id| ParticipantId(id.0)).collect();
        let decode::Data { label, payload, .. } = data;
        self.silently(id, Action::SendData { to, label, payload });
    }

    /// A command whose success is answered with `ok`.
    fn confirm(&mut self, id: Option<u64>, action: Action) {
        self.single(id, true, action);
    }

    /// A command whose success is told to nobody, so that the host need not tell it either.
    fn silently(&mut self, id: Option<u64>, action: Action) {
        let whose = id.map_or(0, |id| WITH_ID | id);
        let reference = QUIET | whose;
        self.out.push(Command { reference, action });
    }

    /// A command whose success has another answer.
    fn quietly(&mut self, id: Option<u64>, action: Action) {
        self.single(id, false, action);
    }

    fn single(&mut self, id: Option<u64>, confirm: bool, action: Action) {
        // Without `id` there is nothing to remember: a failure is told without it.
        let mut reference = ANONYMOUS;
        if id.is_some() {
            let Some(first) = self.reserve(id, 1) else {
                return;
            };
            reference = first;
            if let State::InRoom(room) = &mut self.state {
                let parts = vec![Part::new(None, false)];
                room.pending.insert(first, id, confirm, parts);
            }
        }
        self.out.push(Command { reference, action });
    }

    /// A row of `count` references, unless too many requests are unanswered.
    fn reserve(&mut self, id: Option<u64>, count: usize) -> Option<u64> {
        let fits = matches!(&self.state, State::InRoom(room) if room.pending.has_room());
        if !fits {
            let message = format!(
                "{} requests are unanswered: wait for answers before sending more",
                limits::PENDING_MAX
            );
            self.error(id, ErrorCode::LimitExceeded, &message);
            return None;
        }
        let first = self.next_reference;
        self.next_reference += u64::try_from(count).unwrap_or(1);
        Some(first)
    }

    /// Subscribes to waiting tracks while places are free.
    fn subscribe_waiting(&mut self) {
        if let State::InRoom(room) = &mut self.state {
            while let Some(track) = room.subscriptions.next() {
                self.out.push(Command {
                    reference: AUTOMATIC | track.0,
                    action: Action::Subscribe(track),
                });
            }
        }
    }
}

// ---- what the host says ----

impl Rooms {
    fn failed(&mut self, reference: u64, code: FailureCode, message: String) {
        match &self.state {
            State::Authenticating(joining) | State::Entering(joining, _) => {
                if joining.reference == reference {
                    self.join_failed(joining.id, code, &message);
                }
            }
            State::InRoom(_) if reference == ANONYMOUS => self.error(None, code.into(), &message),
            State::InRoom(_) if reference & AUTOMATIC != 0 => {
                self.automatic_failed(TrackId(reference & !AUTOMATIC), code, &message);
            }
            State::InRoom(_) if reference & (QUIET | UNTOLD) == (QUIET | UNTOLD) => {}
            State::InRoom(_) if reference & QUIET != 0 => {
                let id = reference & !(QUIET | WITH_ID);
                let id = (reference & WITH_ID != 0).then_some(id);
                self.error(id, code.into(), &message);
            }
            State::InRoom(_) => self.settled(reference, Some((code, message))),
            State::Idle | State::Closed => {}
        }
    }

    /// A subscription made by `autoSubscribe` was refused.
    fn automatic_failed(&mut self, track: TrackId, code: FailureCode, message: &str) {
        let State::InRoom(room) = &mut self.state else {
            return;
        };
        match code {
            FailureCode::LimitExceeded => room.subscriptions.postponed(track),
            // It ended in the meantime; `track-unpublished` says so.
            FailureCode::NotFound => {
                room.subscriptions.unpublished(track);
                self.subscribe_waiting();
            }
            _ => {
                room.subscriptions.refused(track);
                let message = format!("autoSubscribe, track {}: {message}", WireId::from(track));
                self.error(None, code.into(), &message);
                self.subscribe_waiting();
            }
        }
    }

    /// The host answered a command of ours.
    fn settled(&mut self, reference: u64, failure: Option<(FailureCode, String)>) {
        let State::InRoom(room) = &mut self.state else {
            return;
        };
        let code = failure.as_ref().map(|(code, _)| *code);
        let Some(settled) = room.pending.settle(reference, failure) else {
            return;
        };
        if let (Some(code), Some(track)) = (code, settled.part.track)
            && settled.part.new_subscription
        {
            room.subscriptions.refused(track);
            if code != FailureCode::LimitExceeded {
                self.subscribe_waiting();
            }
        }
        if let Some(outcome) = settled.outcome {
            match (outcome.failure, outcome.id) {
                (Some((code, message)), id) => self.error(id, code.into(), &message),
                (None, Some(id)) if outcome.confirm => self.send(&ServerMessage::Ok { id }),
                (None, _) => {}
            }
        }
    }

    fn published(&mut self, reference: u64, sdp: &str, tracks: &[MidTrack]) {
        let State::InRoom(room) = &mut self.state else {
            return;
        };
        let id = match reference {
            ANONYMOUS => None,
            _ => match room.pending.settle(reference, None).and_then(|s| s.outcome) {
                Some(outcome) => outcome.id,
                None => return,
            },
        };
        room.direct.published(tracks.iter().filter_map(|t| t.track));
        let tracks = mid_tracks(tracks);
        self.send(&ServerMessage::Published { id, sdp, tracks });
    }

    /// An event of the room; stale ones, after `leave`, are dropped.
    fn room_event(&mut self, event: Input) {
        let State::InRoom(room) = &mut self.state else {
            return;
        };
        match event {
            Input::ParticipantJoined(p) => {
                let participant = (&p).into();
                self.send(&ServerMessage::ParticipantJoined { participant });
                self.direct(|direct| direct.came(p.id));
            }
            Input::ParticipantLeft(p) => {
                let participant = p.into();
                self.send(&ServerMessage::ParticipantLeft { participant });
                self.direct(|direct| direct.left(p));
            }
            Input::TrackPublished(track) => {
                room.subscriptions.published(track.id, track.kind);
                let track = (&track).into();
                self.send(&ServerMessage::TrackPublished { track });
                self.subscribe_waiting();
            }
            Input::TrackUnpublished(track) => {
                room.subscriptions.unpublished(track);
                let track = track.into();
                self.send(&ServerMessage::TrackUnpublished { track });
                self.subscribe_waiting();
            }
            Input::TrackMuted(id, muted) => {
                let track = id.into();
                self.send(&ServerMessage::Muted { track, muted });
                self.direct(|direct| direct.muted(id, muted));
            }
            Input::Relayed(from, frame) => self.relayed(from, &frame),
            Input::Answer {
                reference,
                sdp,
                tracks,
            } => self.published(reference, &sdp, &tracks),
            other => self.transport_event(other),
        }
    }

    /// The rest of the events of a room.
    fn transport_event(&mut self, event: Input) {
        match event {
            Input::Offer {
                offer_id,
                sdp,
                tracks,
            } => {
                let (sdp, tracks) = (sdp.as_str(), mid_tracks(&tracks));
                self.send(&ServerMessage::Offer {
                    offer_id,
                    sdp,
                    tracks,
                });
            }
            Input::TransportState(direction, state) => {
                let (direction, state) = (direction.into(), wire::state_name(state));
                self.send(&ServerMessage::Transport { direction, state });
            }
            Input::Speakers(speakers) => {
                let speakers = speakers
                    .iter()
                    .map(|(p, level)| wire::Speaker::new(*p, *level));
                let speakers = speakers.collect();
                self.send(&ServerMessage::Speakers { speakers });
            }
            Input::Layer(layer) => self.send(&ServerMessage::Layer {
                track: layer.track.into(),
                spatial: layer.spatial,
                temporal: layer.temporal,
            }),
            Input::Data {
                from,
                label,
                payload,
            } => self.send(&ServerMessage::Data {
                from: from.into(),
                label: &label,
                payload: decode::payload(&payload),
            }),
            Input::DataDropped { outgoing, count } => {
                self.send(&ServerMessage::DataDropped { outgoing, count });
            }
            Input::Recording(state) => {
                self.send(&ServerMessage::Recording {
                    active: state.active,
                    by: state.by.map(Into::into),
                    tracks: state.tracks.iter().map(|t| WireId::from(*t)).collect(),
                });
                self.direct(|direct| direct.recorded(state.active));
            }
            // The rest is dealt with in `handle`.
            _ => {}
        }
    }
}

// ---- output ----

impl Rooms {
    /// A command that the host answers; returns its reference.
    fn command(&mut self, action: Action) -> u64 {
        let reference = self.next_reference;
        self.next_reference += 1;
        self.out.push(Command { reference, action });
        reference
    }

    fn anonymous(&mut self, action: Action) {
        let reference = ANONYMOUS;
        self.out.push(Command { reference, action });
    }

    fn send(&mut self, message: &ServerMessage<'_>) {
        self.anonymous(Action::Send(Frame::Text(message.to_json())));
    }

    fn error(&mut self, id: Option<u64>, code: ErrorCode, message: &str) {
        let message = limits::cut(message, limits::ERROR_BYTES_MAX);
        self.send(&ServerMessage::Error {
            id,
            code,
            message,
            fatal: false,
        });
    }

    fn fatal(&mut self, id: Option<u64>, code: ErrorCode, message: &str, close_code: u16) {
        let message = limits::cut(message, limits::ERROR_BYTES_MAX);
        self.send(&ServerMessage::Error {
            id,
            code,
            message,
            fatal: true,
        });
        self.close(close_code, message);
    }

    fn close(&mut self, code: u16, reason: &str) {
        let reason = limits::cut(reason, limits::CLOSE_REASON_BYTES_MAX);
        self.anonymous(Action::Close(code, reason.to_owned()));
        self.state = State::Closed;
    }
}

fn track(id: WireId) -> TrackId {
    TrackId(id.0)
}

fn mid_tracks(tracks: &[MidTrack]) -> Vec<wire::MidTrack<'_>> {
    tracks
        .iter()
        .map(|t| wire::MidTrack {
            mid: &t.mid,
            track: t.track.map(WireId::from),
        })
        .collect()
}

/// What a client that says nothing gets: which layer it is sent matters to few, and changes often.
fn notices(wanted: wire::Notify) -> Notices {
    Notices {
        speakers: wanted.speakers.unwrap_or(true),
        layers: wanted.layers.unwrap_or(false),
    }
}

fn layer_wish(wish: wire::Wish) -> LayerWish {
    LayerWish {
        track: track(wish.track),
        width: wish.width.unwrap_or(0),
        height: wish.height.unwrap_or(0),
        fps: wish.fps.unwrap_or(0),
        priority: wish.priority.unwrap_or(0),
        paused: wish.paused.unwrap_or(false),
    }
}

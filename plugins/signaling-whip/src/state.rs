//! The state machine, from a request to a session. See the chart in the crate's documentation.

use rillway_plugin_sdk::Signaling;
use rillway_plugin_sdk::signaling::{
    Action, Command, FailureCode, HttpRequest, Input, MidTrack, Notices, Opened, PublishedSource,
};
use rillway_plugin_sdk::types::{Direction, Grant, IceServer, Source, TrackId};

use crate::live::Live;
use crate::request::{
    self, Credentials, Endpoint, PathError, Protocol, SDP, Wishes, accepts_sdp, is_of_type,
};
use crate::response::{ENDPOINT_METHODS, Reply};
use crate::room::Room;
use crate::sdp::{Answer, Kind, Offer, OfferError};

/// Reference of commands whose outcome changes nothing.
pub(crate) const ANONYMOUS: u64 = 0;

/// One HTTP client: a request that is no session's, or a session from its POST to its end.
#[derive(Debug)]
pub struct Whip {
    opened: Opened,
    state: State,
    pub(crate) out: Out,
}

#[derive(Debug)]
enum State {
    /// Nothing was asked yet.
    Fresh,
    /// The authentication policy has been asked.
    Granting(Box<Setup>),
    /// The host has been asked to join.
    Joining(Box<Setup>),
    /// The host has been asked to answer the offer, and for the tracks to play.
    Negotiating(Box<Negotiation>),
    /// A session.
    Live(Box<Live>),
    /// Nothing is said any more.
    Over,
}

/// A session in the making.
#[derive(Debug)]
struct Setup {
    /// The POST.
    request: u64,
    endpoint: Endpoint,
    wishes: Wishes,
    offer: Offer,
    token: Option<String>,
    identity: String,
}

/// A session whose offer is with the router.
#[derive(Debug)]
struct Negotiation {
    setup: Setup,
    ice_servers: Vec<IceServer>,
    room: Room,
    /// Of the offer.
    reference: u64,
    answer: Option<String>,
    /// Subscriptions under way.
    playing: Vec<(u64, TrackId)>,
}

/// Commands of one call.
#[derive(Debug, Default)]
pub(crate) struct Out {
    commands: Vec<Command>,
    last: u64,
}

impl Out {
    /// A command whose outcome matters; returns its reference.
    pub(crate) fn ask(&mut self, action: Action) -> u64 {
        self.last += 1;
        self.commands.push(Command {
            reference: self.last,
            action,
        });
        self.last
    }

    /// A command whose outcome changes nothing.
    pub(crate) fn tell(&mut self, action: Action) {
        self.commands.push(Command {
            reference: ANONYMOUS,
            action,
        });
    }

    pub(crate) fn reply(&mut self, request: u64, reply: Reply) {
        self.tell(Action::Respond(reply.to(request)));
    }

    pub(crate) fn close(&mut self, reason: &str) {
        self.tell(Action::Close(1000, reason.to_owned()));
    }
}

impl Default for Whip {
    fn default() -> Self {
        Self::new()
    }
}

impl Whip {
    /// The state machine of a new client.
    pub fn new() -> Self {
        Whip {
            opened: Opened::default(),
            state: State::Fresh,
            out: Out::default(),
        }
    }
}

impl Signaling for Whip {
    fn handle(&mut self, input: Input) -> Vec<Command> {
        // A state that is not put back has ended.
        let state = std::mem::replace(&mut self.state, State::Over);
        self.state = self.step(state, input);
        std::mem::take(&mut self.out.commands)
    }
}

impl Whip {
    fn step(&mut self, state: State, input: Input) -> State {
        match (state, input) {
            (State::Over, _) | (_, Input::Closed(_)) => State::Over,
            (State::Fresh, Input::Opened(opened)) => {
                self.opened = opened;
                State::Fresh
            }
            (State::Fresh, Input::Request(request)) => self.first(&request),
            (State::Live(mut live), input) => {
                if live.handle(input, &mut self.out) {
                    State::Live(live)
                } else {
                    State::Over
                }
            }
            // Nobody can know the path of a session before it is there.
            (state, Input::Request(request)) => {
                let reply = Reply::problem(404, "there is no session yet");
                self.out.reply(request.id, reply);
                state
            }
            (State::Granting(setup), input) => self.granting(setup, input),
            (State::Joining(setup), input) => self.joining(setup, input),
            (State::Negotiating(negotiation), input) => self.negotiating(negotiation, input),
            (state @ State::Fresh, _) => state,
        }
    }

    /// Answers and ends; `inside`: in a room.
    fn refuse(&mut self, request: u64, inside: bool, reply: Reply) -> State {
        if inside {
            self.out.tell(Action::Leave);
        }
        let reason = format!("answered with {}", reply.status);
        self.out.reply(request, reply);
        self.out.close(&reason);
        State::Over
    }
}

// ---- the first request ----

impl Whip {
    fn first(&mut self, request: &HttpRequest) -> State {
        match self.begin(request) {
            Ok(setup) => {
                let (scheme, credentials) = match &setup.token {
                    Some(token) => ("token", token.as_bytes().to_vec()),
                    None => ("none", Vec::new()),
                };
                self.out.ask(Action::Authenticate {
                    scheme: scheme.to_owned(),
                    credentials,
                    room: Some(setup.endpoint.room.clone()),
                    name: setup.wishes.name.clone(),
                });
                State::Granting(Box::new(setup))
            }
            Err(reply) => self.refuse(request.id, false, reply),
        }
    }

    /// Everything that is known of a request before anybody is asked.
    fn begin(&self, request: &HttpRequest) -> Result<Setup, Reply> {
        let mut attributes = self.opened.attributes.iter();
        let route = attributes.find(|(name, _)| name == "route");
        let route = route.map_or("", |(_, route)| route);
        let endpoint = request::endpoint(route, &request.path);
        if request.method == "OPTIONS" {
            return Err(Reply::options(match endpoint {
                Ok(_) => ENDPOINT_METHODS,
                Err(_) => crate::response::SESSION_METHODS,
            }));
        }
        let endpoint = endpoint.map_err(|error| match error {
            PathError::NotFound => Reply::problem(404, "there is no such endpoint or session"),
            PathError::Room => Reply::problem(400, "a room's name has 1 to 128 bytes of UTF-8"),
        })?;
        match request.method.as_str() {
            "POST" => {}
            "GET" | "HEAD" => {
                return Err(match endpoint.protocol {
                    Protocol::Whip => Reply::new(204),
                    Protocol::Whep => Reply::describes_player(),
                });
            }
            _ => return Err(Reply::not_allowed(ENDPOINT_METHODS)),
        }
        if !is_of_type(request, SDP) {
            return Err(Reply::unsupported("accept-post", SDP));
        }
        // To a player 406 would mean that an offer of ours follows (draft-ietf-wish-whep-04); a server may
        // leave the header alone (RFC 9110 §12.5.1).
        if endpoint.protocol == Protocol::Whip && !accepts_sdp(request) {
            return Err(Reply::problem(406, "the answer is application/sdp"));
        }
        let token = match request::credentials(request) {
            Credentials::None => None,
            Credentials::Bearer(token) => Some(token),
            Credentials::Other => {
                return Err(Reply::unauthenticated("a bearer token is needed", true));
            }
        };
        let wishes = request::wishes(&request.query).map_err(|why| Reply::problem(400, &why))?;
        let offer = Offer::read(&request.body, endpoint.protocol).map_err(|error| match error {
            OfferError::Malformed(why) => Reply::problem(400, why),
            OfferError::Unacceptable(why) => Reply::problem(422, &why),
        })?;
        Ok(Setup {
            request: request.id,
            endpoint,
            wishes,
            offer,
            token,
            identity: String::new(),
        })
    }
}

// ---- the way into the room ----

impl Whip {
    fn granting(&mut self, mut setup: Box<Setup>, input: Input) -> State {
        match input {
            Input::Granted(grant) => {
                if let Err(reply) = setup.check(&grant) {
                    return self.refuse(setup.request, false, reply);
                }
                setup.identity = grant.identity;
                // There is nobody to tell.
                self.out.tell(Action::Notify(Notices {
                    speakers: false,
                    layers: false,
                }));
                self.out.ask(Action::Join);
                State::Joining(setup)
            }
            Input::Denied(denial) => {
                let reply = Reply::denied(&denial, setup.token.is_some());
                self.refuse(setup.request, false, reply)
            }
            Input::Failed { code, message, .. } => {
                self.refuse(setup.request, false, failure(code, &message))
            }
            _ => State::Granting(setup),
        }
    }

    fn joining(&mut self, setup: Box<Setup>, input: Input) -> State {
        match input {
            Input::Joined {
                participants,
                tracks,
                limits,
                ice_servers,
                ..
            } => {
                if setup.offer.text().len() > limits.sdp_bytes as usize {
                    let why = format!("an offer has at most {} bytes", limits.sdp_bytes);
                    return self.refuse(setup.request, true, Reply::problem(413, &why));
                }
                let (audio, video) = (setup.offer.has(Kind::Audio), setup.offer.has(Kind::Video));
                let mut room = Room::new(&setup.wishes, audio, video);
                participants.iter().for_each(|person| room.joined(person));
                tracks.iter().for_each(|track| room.published(track));
                self.negotiate(*setup, room, ice_servers)
            }
            Input::Failed { code, message, .. } => {
                // A room that is full may have a place later.
                let reply = match code {
                    FailureCode::LimitExceeded => Reply::unavailable(&message),
                    code => failure(code, &message),
                };
                self.refuse(setup.request, false, reply)
            }
            Input::Removed(why) => self.refuse(setup.request, true, Reply::unavailable(&why)),
            _ => State::Joining(setup),
        }
    }

    fn negotiate(&mut self, setup: Setup, mut room: Room, ice_servers: Vec<IceServer>) -> State {
        let sdp = setup.offer.text().to_owned();
        let mut playing = Vec::new();
        let reference = match setup.endpoint.protocol {
            Protocol::Whip => self.out.ask(Action::AcceptOffer {
                sdp,
                sources: setup.sources(),
            }),
            Protocol::Whep => {
                let tracks = room.fill();
                if tracks.is_empty() {
                    let why = "nothing is published here that this offer could receive";
                    return self.refuse(setup.request, true, Reply::nothing_to_play(why));
                }
                let reference = self.out.ask(Action::AcceptReceivingOffer { sdp });
                for track in tracks {
                    playing.push((self.out.ask(Action::Subscribe(track)), track));
                }
                reference
            }
        };
        State::Negotiating(Box::new(Negotiation {
            setup,
            ice_servers,
            room,
            reference,
            answer: None,
            playing,
        }))
    }
}

// ---- the negotiation ----

impl Whip {
    fn negotiating(&mut self, mut negotiation: Box<Negotiation>, input: Input) -> State {
        let request = negotiation.setup.request;
        match input {
            Input::Answer {
                reference,
                sdp,
                tracks,
            } if reference == negotiation.reference => {
                if negotiation.setup.is_partial(&sdp, &tracks) {
                    let why =
                        "not every section of the offer can be had: are its codecs supported?";
                    return self.refuse(request, true, Reply::problem(422, why));
                }
                negotiation.answer = Some(sdp);
            }
            Input::Done { reference } => {
                negotiation.playing.retain(|(of, _)| *of != reference);
            }
            Input::Failed {
                reference,
                code,
                message,
            } => {
                let track = negotiation.playing.iter().find(|(of, _)| *of == reference);
                if reference != negotiation.reference && track.is_none() {
                    return State::Negotiating(negotiation);
                }
                let reply = match code {
                    // It ended at this very moment.
                    FailureCode::NotFound => Reply::nothing_to_play("the track has ended"),
                    code => failure(code, &message),
                };
                return self.refuse(request, true, reply);
            }
            Input::Removed(why) => {
                return self.refuse(request, true, Reply::unavailable(&why));
            }
            event => observe(&mut negotiation.room, &event),
        }
        match (&negotiation.answer, negotiation.playing.is_empty()) {
            (Some(_), true) => self.begin_session(*negotiation),
            _ => State::Negotiating(negotiation),
        }
    }

    fn begin_session(&mut self, negotiation: Negotiation) -> State {
        let Negotiation {
            setup,
            ice_servers,
            room,
            answer,
            ..
        } = negotiation;
        let answer = answer.unwrap_or_default();
        let answer = Answer(&answer);
        let location = self.opened.resource.clone().unwrap_or_default();
        let etag = answer.etag();
        let reply = Reply::created(&location, &etag, &answer.text(), &ice_servers);
        self.out.reply(setup.request, reply);
        let mut live = Live::new(setup.endpoint, setup.wishes, setup.offer, etag);
        live.token = setup.token;
        live.identity = setup.identity;
        live.room = room;
        live.fill(&mut self.out);
        State::Live(Box::new(live))
    }
}

/// Takes note of what happens in the room.
pub(crate) fn observe(room: &mut Room, input: &Input) {
    match input {
        Input::ParticipantJoined(participant) => room.joined(participant),
        Input::ParticipantLeft(id) => room.left(*id),
        Input::TrackPublished(track) => room.published(track),
        Input::TrackUnpublished(id) => room.unpublished(*id),
        _ => {}
    }
}

impl Setup {
    /// What a grant has to allow.
    fn check(&self, grant: &Grant) -> Result<(), Reply> {
        let allowed = match self.endpoint.protocol {
            Protocol::Whep => grant.subscribe,
            Protocol::Whip => {
                let mut sources = self.sources().into_iter();
                sources.all(|published| grant.publish.contains(&published.source))
            }
        };
        if allowed {
            return Ok(());
        }
        Err(Reply::problem(
            403,
            match self.endpoint.protocol {
                Protocol::Whip => "the token does not allow to publish this here; see ?source=",
                Protocol::Whep => "the token does not allow to play here",
            },
        ))
    }

    /// What each section shows, as the query says.
    fn sources(&self) -> Vec<PublishedSource> {
        sources(&self.offer, self.wishes.sources)
    }

    /// Whether the answer leaves a section out (RFC 9725 §4.4.3).
    fn is_partial(&self, sdp: &str, tracks: &[MidTrack]) -> bool {
        let carried = |mid: &str| {
            let mut tracks = tracks.iter();
            tracks.any(|track| track.mid == mid && track.track.is_some())
        };
        let missing = self.endpoint.protocol == Protocol::Whip
            && !self.offer.media().all(|section| carried(&section.mid));
        missing || Answer(sdp).is_partial()
    }
}

pub(crate) fn sources(offer: &Offer, (audio, video): (Source, Source)) -> Vec<PublishedSource> {
    let published = offer.media().map(|section| PublishedSource {
        mid: section.mid.clone(),
        source: match section.kind {
            Kind::Audio => audio,
            _ => video,
        },
    });
    published.collect()
}

/// The direction of a protocol's transport.
pub(crate) fn direction(protocol: Protocol) -> Direction {
    match protocol {
        Protocol::Whip => Direction::Publish,
        Protocol::Whep => Direction::Subscribe,
    }
}

/// A refusal of the host as a response.
pub(crate) fn failure(code: FailureCode, message: &str) -> Reply {
    match code {
        FailureCode::Forbidden => Reply::problem(403, message),
        FailureCode::NotFound => Reply::problem(404, message),
        FailureCode::Invalid => Reply::problem(422, message),
        FailureCode::WrongState => Reply::problem(409, message),
        FailureCode::LimitExceeded | FailureCode::Unavailable => Reply::unavailable(message),
        _ => Reply::problem(500, message),
    }
}

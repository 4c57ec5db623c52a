//! A session: its requests, and what is played in it.

use std::collections::VecDeque;

use rillway_plugin_sdk::signaling::{Action, FailureCode, HttpRequest, Input, TransportState};
use rillway_plugin_sdk::types::TrackId;

use crate::limits::QUEUE_MAX;
use crate::request::{
    self, Credentials, Endpoint, FRAGMENT, Precondition, Protocol, Wishes, is_equal, is_of_type,
};
use crate::response::{Reply, SESSION_METHODS};
use crate::room::Room;
use crate::sdp::{Answer, Fragment, Offer};
use crate::state::{Out, direction, failure, observe, sources};

/// A session.
#[derive(Debug)]
pub(crate) struct Live {
    endpoint: Endpoint,
    wishes: Wishes,
    /// As last accepted.
    offer: Offer,
    /// Names the ICE session.
    etag: String,
    /// What every request has to bring; `None`: it was made without.
    pub(crate) token: Option<String>,
    /// Who the token says it is.
    pub(crate) identity: String,
    /// WHEP: where it plays.
    pub(crate) room: Room,
    /// Subscriptions under way.
    playing: Vec<(u64, TrackId)>,
    work: Option<Work>,
    /// Requests behind the one under way.
    queue: VecDeque<HttpRequest>,
}

/// A request that waits for the host.
#[derive(Debug)]
enum Work {
    /// It brought another token, about which the policy was asked.
    Authenticating {
        request: HttpRequest,
        reference: u64,
        token: String,
    },
    /// It restarts ICE.
    Restarting {
        request: u64,
        reference: u64,
        offer: Offer,
    },
}

impl Live {
    pub(crate) fn new(endpoint: Endpoint, wishes: Wishes, offer: Offer, etag: String) -> Self {
        Live {
            endpoint,
            wishes,
            offer,
            etag,
            token: None,
            identity: String::new(),
            room: Room::default(),
            playing: Vec::new(),
            work: None,
            queue: VecDeque::new(),
        }
    }

    /// Handles an input; false: the session is over.
    pub(crate) fn handle(&mut self, input: Input, out: &mut Out) -> bool {
        let goes_on = match input {
            Input::Request(request) => self.request(request, out),
            Input::Granted(_) | Input::Denied(_) => self.decided(input, out),
            Input::Answer { reference, sdp, .. } => {
                self.answered(reference, &sdp, out);
                true
            }
            Input::Done { reference } => {
                self.playing.retain(|(of, _)| *of != reference);
                true
            }
            Input::Failed {
                reference,
                code,
                message,
            } => self.failed(reference, code, &message, out),
            Input::TransportState(of, TransportState::Failed | TransportState::Closed)
                if of == direction(self.endpoint.protocol) =>
            {
                return self.over("the transport has ended", out);
            }
            Input::Removed(why) => return self.over(&why, out),
            event => {
                observe(&mut self.room, &event);
                self.fill(out);
                true
            }
        };
        goes_on && self.next(out)
    }

    /// Takes up requests that waited, now that none is under way.
    fn next(&mut self, out: &mut Out) -> bool {
        while self.work.is_none()
            && let Some(request) = self.queue.pop_front()
        {
            if !self.request(request, out) {
                return false;
            }
        }
        true
    }

    /// Ends the session; what was asked meanwhile is asked of nobody.
    fn over(&mut self, reason: &str, out: &mut Out) -> bool {
        let under_way = match self.work.take() {
            Some(Work::Authenticating { request, .. }) => Some(request.id),
            Some(Work::Restarting { request, .. }) => Some(request),
            None => None,
        };
        let waiting = self.queue.drain(..).map(|request| request.id);
        for request in under_way.into_iter().chain(waiting) {
            out.reply(request, Reply::problem(404, "the session has ended"));
        }
        out.tell(Action::Leave);
        out.close(reason);
        false
    }

    /// WHEP: subscribes to what is to be played and is not yet.
    pub(crate) fn fill(&mut self, out: &mut Out) {
        if self.endpoint.protocol == Protocol::Whip {
            return;
        }
        for track in self.room.fill() {
            let reference = out.ask(Action::Subscribe(track));
            self.playing.push((reference, track));
        }
    }
}

// ---- requests ----

impl Live {
    fn request(&mut self, request: HttpRequest, out: &mut Out) -> bool {
        // A page asks without a token whether it may ask with one (FETCH §4.8).
        if request.method == "OPTIONS" {
            out.reply(request.id, Reply::options(SESSION_METHODS));
            return true;
        }
        if self.work.is_some() {
            if self.queue.len() < QUEUE_MAX {
                self.queue.push_back(request);
            } else {
                let why = "too many requests of this session wait";
                out.reply(request.id, Reply::too_often(why));
            }
            return true;
        }
        let Some(token) = &self.token else {
            return self.carry_out(&request, out);
        };
        match request::credentials(&request) {
            Credentials::Bearer(brought) if is_equal(&brought, token) => {
                self.carry_out(&request, out)
            }
            // Tokens expire: another one will do, if it says the same of the same client.
            Credentials::Bearer(brought) => {
                let reference = out.ask(Action::Authenticate {
                    scheme: "token".to_owned(),
                    credentials: brought.as_bytes().to_vec(),
                    room: Some(self.endpoint.room.clone()),
                    name: None,
                });
                self.work = Some(Work::Authenticating {
                    request,
                    reference,
                    token: brought,
                });
                true
            }
            found @ (Credentials::None | Credentials::Other) => {
                let presented = found == Credentials::Other;
                let why = "this session wants the bearer token that made it";
                out.reply(request.id, Reply::unauthenticated(why, presented));
                true
            }
        }
    }

    fn carry_out(&mut self, request: &HttpRequest, out: &mut Out) -> bool {
        match request.method.as_str() {
            "GET" | "HEAD" => out.reply(request.id, Reply::new(204)),
            "DELETE" => {
                out.reply(request.id, Reply::new(200));
                return self.over("deleted by the client", out);
            }
            "PATCH" => {
                if let Err(reply) = self.patch(request, out) {
                    out.reply(request.id, reply);
                }
            }
            _ => out.reply(request.id, Reply::not_allowed(SESSION_METHODS)),
        }
        true
    }

    /// Trickled candidates (RFC 9725 §4.3.2), or an ICE restart (§4.3.3).
    fn patch(&mut self, request: &HttpRequest, out: &mut Out) -> Result<(), Reply> {
        if !is_of_type(request, FRAGMENT) {
            return Err(Reply::unsupported("accept-patch", FRAGMENT));
        }
        match request::precondition(request, &self.etag) {
            Precondition::Missing => {
                let why = "name the ICE session with if-match, or * to restart ICE";
                return Err(Reply::problem(428, why));
            }
            Precondition::Fails => {
                let why = "that ICE session is not in force any more";
                return Err(Reply::problem(412, why).with("etag", self.etag.clone()));
            }
            Precondition::Holds => {}
        }
        let fragment = Fragment::read(&request.body).map_err(|why| Reply::problem(400, why))?;
        match fragment.ice {
            Some(ice) if ice != self.offer.ice => {
                if ice.ufrag == self.offer.ice.ufrag || ice.password == self.offer.ice.password {
                    let why = "a restart changes both a=ice-ufrag and a=ice-pwd";
                    return Err(Reply::problem(400, why));
                }
                let offer = self.offer.restarted(&ice);
                let sdp = offer.text().to_owned();
                let reference = out.ask(match self.endpoint.protocol {
                    Protocol::Whip => Action::AcceptOffer {
                        sdp,
                        sources: sources(&offer, self.wishes.sources),
                    },
                    Protocol::Whep => Action::AcceptReceivingOffer { sdp },
                });
                self.work = Some(Work::Restarting {
                    request: request.id,
                    reference,
                    offer,
                });
            }
            _ => {
                // One that cannot be used is left out without a word (RFC 9725 §4.3.2).
                for candidate in fragment.candidates {
                    let direction = direction(self.endpoint.protocol);
                    out.tell(Action::AddCandidate(direction, candidate));
                }
                out.reply(request.id, Reply::new(204));
            }
        }
        Ok(())
    }
}

// ---- answers of the host ----

impl Live {
    fn decided(&mut self, input: Input, out: &mut Out) -> bool {
        let (request, token) = match self.work.take() {
            Some(Work::Authenticating { request, token, .. }) => (request, token),
            work => {
                self.work = work;
                return true;
            }
        };
        match input {
            Input::Granted(grant) if grant.identity == self.identity => {
                self.token = Some(token);
                return self.carry_out(&request, out);
            }
            Input::Denied(denial) => out.reply(request.id, Reply::denied(&denial, true)),
            _ => {
                let why = "the token is another client's";
                out.reply(request.id, Reply::problem(403, why));
            }
        }
        true
    }

    fn answered(&mut self, of: u64, sdp: &str, out: &mut Out) {
        match self.work.take() {
            Some(Work::Restarting {
                request,
                reference,
                offer,
            }) if reference == of => {
                let answer = Answer(sdp);
                self.offer = offer;
                self.etag = answer.etag();
                out.reply(request, Reply::restarted(&self.etag, &answer.fragment()));
            }
            work => self.work = work,
        }
    }

    fn failed(&mut self, of: u64, code: FailureCode, message: &str, out: &mut Out) -> bool {
        if let Some(place) = self.playing.iter().position(|(known, _)| *known == of) {
            let (_, track) = self.playing.swap_remove(place);
            // What the offer does not take would be refused again.
            if self.room.refused(track, code == FailureCode::Invalid) {
                self.fill(out);
            }
            return true;
        }
        match self.work.take() {
            // The session goes on with the ICE session it has (RFC 9725 §4.3.3).
            Some(Work::Restarting {
                request, reference, ..
            }) if reference == of => {
                let reply = match code {
                    FailureCode::LimitExceeded => Reply::too_often(message),
                    code => failure(code, message),
                };
                out.reply(request, reply);
            }
            Some(Work::Authenticating {
                request, reference, ..
            }) if reference == of => out.reply(request.id, failure(code, message)),
            work => self.work = work,
        }
        true
    }
}

//! A client over HTTP: its requests, until they are answered.
//!
//! A session over a WebSocket lives as long as the connection. Over HTTP nobody says goodbye, so one
//! that is in no room and has nothing to answer ends by itself.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rillway_plugin_sdk::signaling::{HttpRequest, HttpResponse};
use tokio::sync::oneshot;

use super::connection::{Answer, Exchange};

/// Requests of one client that may wait at once: a burst of trickled candidates.
const WAITING_MAX: usize = 16;
/// Time a request may wait for its answer (part of the ABI).
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Time a client may be in no room without a request (part of the ABI).
pub(crate) const IDLE_TIME: Duration = Duration::from_secs(10);

/// The requests of one client that wait for an answer.
pub(super) struct Requests {
    waiting: VecDeque<Waiting>,
    last_id: u64,
    idle_time: Duration,
    /// Since when nothing has kept the session alive.
    idle_since: Option<Instant>,
}

struct Waiting {
    id: u64,
    due: Instant,
    answer: oneshot::Sender<Answer>,
}

impl Requests {
    pub(super) fn new(idle_time: Duration) -> Self {
        Requests {
            waiting: VecDeque::new(),
            last_id: 0,
            idle_time,
            idle_since: None,
        }
    }

    /// Keeps a request until it is answered, and names it; `None` if too many wait already.
    pub(super) fn admit(&mut self, exchange: Exchange, now: Instant) -> Option<HttpRequest> {
        self.forget_lost(now);
        let Exchange {
            mut request,
            answer,
            place: _,
        } = exchange;
        if self.waiting.len() >= WAITING_MAX {
            // An error means that the client has gone.
            let _ = answer.send(Answer::Busy);
            return None;
        }
        self.idle_since = None;
        self.last_id += 1;
        request.id = self.last_id;
        self.waiting.push_back(Waiting {
            id: request.id,
            due: now + ANSWER_TIME,
            answer,
        });
        Some(request)
    }

    /// Answers a request. One that waits no longer was answered for the plugin.
    pub(super) fn respond(&mut self, response: HttpResponse) {
        let place = self.waiting.iter().position(|w| w.id == response.id);
        if let Some(waiting) = place.and_then(|place| self.waiting.remove(place)) {
            // An error means that the client has gone.
            let _ = waiting.answer.send(Answer::Response(response));
        }
    }

    /// When to look again whether the session is idle; `kept`: something else keeps it alive.
    pub(super) fn idle_check(&mut self, kept: bool, now: Instant) -> Option<Instant> {
        if kept {
            self.idle_since = None;
            return None;
        }
        self.forget_lost(now);
        match self.waiting.front() {
            Some(first) => {
                self.idle_since = None;
                Some(first.due)
            }
            None => Some(*self.idle_since.get_or_insert(now) + self.idle_time),
        }
    }

    /// Whether the session has been idle for too long.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.idle_since
            .is_some_and(|since| now.saturating_duration_since(since) >= self.idle_time)
    }

    /// Answers everything that still waits.
    pub(super) fn end(&mut self, with: &dyn Fn() -> Answer) {
        for waiting in self.waiting.drain(..) {
            let _ = waiting.answer.send(with());
        }
    }

    fn forget_lost(&mut self, now: Instant) {
        self.waiting
            .retain(|waiting| waiting.due > now && !waiting.answer.is_closed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::traces::Place;

    fn request() -> (Exchange, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let request = HttpRequest {
            id: 0,
            method: "POST".into(),
            path: "/x".into(),
            query: String::new(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        (
            Exchange {
                request,
                answer,
                place: Place::default(),
            },
            answered,
        )
    }

    fn response(id: u64) -> HttpResponse {
        HttpResponse {
            id,
            status: 204,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    #[test]
    fn each_request_gets_its_own_answer_once() {
        let now = Instant::now();
        let mut requests = Requests::new(IDLE_TIME);
        let (one, mut first) = request();
        let (two, mut second) = request();
        assert_eq!(requests.admit(one, now).unwrap().id, 1);
        assert_eq!(requests.admit(two, now).unwrap().id, 2);
        requests.respond(response(2));
        requests.respond(response(2));
        requests.respond(response(9));
        assert!(matches!(second.try_recv(), Ok(Answer::Response(r)) if r.id == 2));
        assert!(first.try_recv().is_err());
        requests.end(&|| Answer::Fault);
        assert!(matches!(first.try_recv(), Ok(Answer::Fault)));
    }

    #[test]
    fn too_many_at_once_are_refused_and_lost_ones_make_room() {
        let now = Instant::now();
        let mut requests = Requests::new(IDLE_TIME);
        let mut kept: Vec<_> = (0..WAITING_MAX)
            .map(|_| {
                let (exchange, answered) = request();
                assert!(requests.admit(exchange, now).is_some());
                answered
            })
            .collect();
        let (exchange, mut refused) = request();
        assert!(requests.admit(exchange, now).is_none());
        assert!(matches!(refused.try_recv(), Ok(Answer::Busy)));
        kept.pop();
        let (exchange, _answered) = request();
        assert!(requests.admit(exchange, now).is_some());
        let (exchange, _answered) = request();
        let later = now + ANSWER_TIME;
        assert!(
            requests.admit(exchange, later).is_some(),
            "overdue ones too"
        );
    }

    #[test]
    fn nothing_to_do_and_no_room_for_a_while_is_idle() {
        let now = Instant::now();
        let mut requests = Requests::new(IDLE_TIME);
        let (exchange, _answered) = request();
        requests.admit(exchange, now).unwrap();
        assert_eq!(requests.idle_check(false, now), Some(now + ANSWER_TIME));
        requests.respond(response(1));
        assert_eq!(requests.idle_check(false, now), Some(now + IDLE_TIME));
        let almost = now + IDLE_TIME / 2;
        assert_eq!(requests.idle_check(true, almost), None, "it is in a room");
        assert_eq!(requests.idle_check(false, almost), Some(almost + IDLE_TIME));
        assert!(!requests.is_idle(now + IDLE_TIME));
        assert!(requests.is_idle(almost + IDLE_TIME));
    }
}

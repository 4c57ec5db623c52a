//! Sessions of clients over HTTP, and frames from one client's plugin to another's.

use std::cell::RefCell;

use rillway_core::api::Event;
use rillway_plugin_sdk::signaling::{Action, Frame, HttpRequest, HttpResponse, Opened};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::tests::{Scripted, Setup, authenticate, control, joined};
use super::*;
use crate::directory::MemoryDirectory;

/// Sessions between a gateway and a worker that the test plays.
struct Stage {
    local: LocalSet,
    control: Rc<Control>,
    requests: mpsc::Receiver<ToWorker>,
    phase: watch::Sender<Phase>,
    directory: MemoryDirectory,
}

/// One client over HTTP.
struct Resource {
    incoming: mpsc::Sender<Incoming>,
    seen: Rc<RefCell<Vec<Input>>>,
}

impl Stage {
    fn new(setup: &Setup) -> Self {
        let (queue, requests) = mpsc::channel(setup.queue);
        let (phase, phase_seen) = watch::channel(Phase::Serving);
        let directory = MemoryDirectory::new([(WorkerId(0), None)], 0);
        let control = control(setup, &directory, queue, phase_seen);
        Stage {
            local: LocalSet::new(),
            control: Rc::new(control),
            requests,
            phase,
            directory,
        }
    }

    fn open(&mut self, plugin: &str, script: fn(&Input) -> Vec<Action>) -> Resource {
        let (connection, incoming) = resource(Opened::default());
        let seen = Rc::new(RefCell::new(Vec::new()));
        let instance = Scripted::new(Box::new(script), seen.clone());
        let session = run(
            self.control.clone(),
            plugin.into(),
            Box::new(instance),
            connection,
        );
        self.local.spawn_local(session);
        Resource { incoming, seen }
    }

    async fn pass(&mut self, ms: u64) {
        let sleep = tokio::time::sleep(Duration::from_millis(ms));
        self.local.run_until(sleep).await;
    }

    /// Sends a request and lets the session run.
    async fn ask(&mut self, resource: &Resource, method: &str) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        let request = HttpRequest {
            id: 0,
            method: method.to_owned(),
            path: "/x".to_owned(),
            query: String::new(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        let exchange = Exchange {
            request,
            answer,
            place: Place::default(),
        };
        let sent = resource.incoming.send(Incoming::Request(exchange)).await;
        assert!(sent.is_ok(), "the session lives");
        self.pass(5).await;
        answered
    }

    /// Confirms the last join that the worker was asked for, as this participant.
    async fn confirm(&mut self, participant: u64) -> ClientId {
        let mut client = None;
        while let Ok(ToWorker::Request(request)) = self.requests.try_recv() {
            if matches!(request.action, CoreAction::Join { .. }) {
                client = Some(request.client);
            }
        }
        let client = client.expect("a join");
        let mut kind = joined();
        if let EventKind::Joined { me, .. } = &mut kind {
            me.id = rillway_core::id::ParticipantId(participant);
        }
        self.control.clients.deliver(Event { client, kind });
        self.pass(5).await;
        client
    }
}

impl Resource {
    fn inputs(&self) -> Vec<Input> {
        self.seen.borrow_mut().drain(..).collect()
    }

    fn is_open(&self) -> bool {
        !self.incoming.is_closed()
    }
}

fn status(id: u64, status: u16) -> Action {
    Action::Respond(HttpResponse {
        id,
        status,
        headers: Vec::new(),
        body: Vec::new(),
    })
}

/// Answers GET at once, POST when it is in a room, DELETE with an end; says nothing to PUT.
fn polite(input: &Input) -> Vec<Action> {
    match input {
        Input::Request(request) => match request.method.as_str() {
            "GET" => vec![status(request.id, 204)],
            "POST" => vec![authenticate()],
            "DELETE" => vec![
                Action::Leave,
                status(request.id, 200),
                Action::Close(0, "bye".to_owned()),
            ],
            "SEND" => vec![Action::Send(Frame::Text("x".to_owned()))],
            "BAD" => vec![status(request.id, 99)],
            _ => Vec::new(),
        },
        Input::Granted(_) => vec![Action::Join],
        Input::Joined { .. } => vec![status(1, 201)],
        _ => Vec::new(),
    }
}

fn answered(mut answer: oneshot::Receiver<Answer>) -> Option<Answer> {
    answer.try_recv().ok()
}

fn is_status(answer: Option<Answer>, status: u16) -> bool {
    matches!(answer, Some(Answer::Response(response)) if response.status == status)
}

#[tokio::test]
async fn a_client_is_its_requests_and_stays_while_it_is_in_a_room() {
    let setup = Setup {
        idle_time: Duration::from_millis(40),
        ..Setup::default()
    };
    let mut stage = Stage::new(&setup);
    let whip = stage.open("p", polite);
    let created = stage.ask(&whip, "POST").await;
    stage.confirm(7).await;
    assert!(is_status(answered(created), 201));
    assert!(matches!(
        whip.inputs().as_slice(),
        [
            Input::Opened(_),
            Input::Request(_),
            Input::Granted(_),
            Input::Joined { .. }
        ]
    ));
    stage.pass(150).await;
    assert!(whip.is_open(), "in a room nobody is idle");
    assert!(is_status(answered(stage.ask(&whip, "GET").await), 204));
    assert!(is_status(answered(stage.ask(&whip, "DELETE").await), 200));
    assert!(!whip.is_open());
    assert!(matches!(whip.inputs().last(), Some(Input::Closed(_))));
    assert_eq!(stage.directory.rooms(), 0);
}

#[tokio::test]
async fn a_client_in_no_room_without_a_request_ends() {
    let setup = Setup {
        idle_time: Duration::from_millis(600),
        ..Setup::default()
    };
    let mut stage = Stage::new(&setup);
    let silent = stage.open("p", polite);
    let waiting = stage.open("p", polite);
    let unanswered = stage.ask(&waiting, "PUT").await;
    stage.pass(400).await;
    assert!(is_status(answered(stage.ask(&silent, "GET").await), 204));
    stage.pass(400).await;
    assert!(silent.is_open(), "each request begins the time anew");
    stage.pass(600).await;
    assert!(!silent.is_open());
    assert!(waiting.is_open(), "a request waits");
    drop(unanswered);
    // Its client has gone: when that is noticed, nothing keeps the session.
    let one_more = stage.ask(&waiting, "GET").await;
    assert!(is_status(answered(one_more), 204));
    stage.pass(1_000).await;
    assert!(!waiting.is_open());
}

#[tokio::test]
async fn what_a_plugin_never_answered_is_its_fault() {
    let mut stage = Stage::new(&Setup::default());
    let resource = stage.open("p", polite);
    let unanswered = stage.ask(&resource, "PUT").await;
    let deleted = stage.ask(&resource, "DELETE").await;
    assert!(is_status(answered(deleted), 200));
    assert!(matches!(answered(unanswered), Some(Answer::Fault)));
}

#[tokio::test]
async fn requests_behind_the_one_that_ends_a_client_find_nobody() {
    let mut stage = Stage::new(&Setup::default());
    let resource = stage.open("p", polite);
    let mut answers = Vec::new();
    for method in ["DELETE", "GET"] {
        let (answer, answered) = oneshot::channel();
        let request = HttpRequest {
            id: 0,
            method: method.to_owned(),
            path: "/x".to_owned(),
            query: String::new(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        let exchange = Exchange {
            request,
            answer,
            place: Place::default(),
        };
        assert!(
            resource
                .incoming
                .try_send(Incoming::Request(exchange))
                .is_ok()
        );
        answers.push(answered);
    }
    stage.pass(10).await;
    let second = answered(answers.pop().unwrap());
    assert!(matches!(second, Some(Answer::Gone)));
    assert!(is_status(answered(answers.pop().unwrap()), 200));
}

#[tokio::test]
async fn a_plugin_that_breaks_the_rules_of_its_transport_costs_its_client() {
    for method in ["SEND", "BAD"] {
        let mut stage = Stage::new(&Setup::default());
        let resource = stage.open("p", polite);
        let answer = answered(stage.ask(&resource, method).await);
        assert!(
            matches!(answer, Some(Answer::Fault)),
            "{method}: {answer:?}"
        );
        assert!(!resource.is_open(), "{method}");
    }
}

#[tokio::test]
async fn draining_is_told_and_closing_ends_clients_over_http_too() {
    let mut stage = Stage::new(&Setup::default());
    let resource = stage.open("p", polite);
    let created = stage.ask(&resource, "POST").await;
    let client = stage.confirm(7).await;
    assert!(is_status(answered(created), 201));
    let until = Instant::now() + Duration::from_secs(9);
    stage.phase.send(Phase::Draining(until)).unwrap();
    stage.pass(5).await;
    let told = resource.inputs();
    assert!(matches!(told.last(), Some(Input::Draining { .. })));
    let pending = stage.ask(&resource, "PUT").await;
    stage.phase.send(Phase::Closing).unwrap();
    stage.pass(5).await;
    assert!(matches!(answered(pending), Some(Answer::Closing)));
    assert!(!resource.is_open());
    let Ok(ToWorker::Request(left)) = stage.requests.try_recv() else {
        panic!("it leaves");
    };
    assert_eq!(left.client, client);
    assert!(matches!(left.action, CoreAction::Leave));
}

/// Joins on POST, relays to participant 2 on PUT and to participant 3 on any other.
fn relaying(input: &Input) -> Vec<Action> {
    let frame = |bytes: usize| Frame::Binary(vec![7; bytes]);
    match input {
        Input::Request(request) => match request.method.as_str() {
            "POST" => vec![authenticate()],
            "PUT" => vec![Action::SendTo(ParticipantId(2), frame(3))],
            "BIG" => vec![Action::SendTo(ParticipantId(2), frame((128 << 10) + 1))],
            _ => vec![Action::SendTo(ParticipantId(3), frame(3))],
        },
        Input::Granted(_) => vec![Action::Join],
        Input::Joined { .. } => vec![status(1, 201)],
        _ => Vec::new(),
    }
}

fn codes(inputs: &[Input]) -> Vec<FailureCode> {
    let failed = inputs.iter().filter_map(|input| match input {
        Input::Failed { code, .. } => Some(*code),
        _ => None,
    });
    failed.collect()
}

#[tokio::test]
async fn frames_reach_another_client_of_the_same_plugin_in_the_room() {
    let mut stage = Stage::new(&Setup::default());
    let ada = stage.open("p", relaying);
    let early = stage.ask(&ada, "PUT").await;
    assert_eq!(codes(&ada.inputs()), [FailureCode::WrongState]);
    drop(early);
    drop(stage.ask(&ada, "POST").await);
    stage.confirm(1).await;
    let bob = stage.open("p", relaying);
    drop(stage.ask(&bob, "POST").await);
    stage.confirm(2).await;
    let carol = stage.open("another", relaying);
    drop(stage.ask(&carol, "POST").await);
    stage.confirm(3).await;
    ada.inputs();
    bob.inputs();
    carol.inputs();

    drop(stage.ask(&ada, "PUT").await);
    let inputs = ada.inputs();
    assert!(
        matches!(inputs.last(), Some(Input::Done { .. })),
        "{inputs:?}"
    );
    assert_eq!(
        bob.inputs(),
        [Input::Relayed(ParticipantId(1), Frame::Binary(vec![7; 3]))]
    );
    for (method, code) in [
        ("other", FailureCode::NotFound),
        ("BIG", FailureCode::LimitExceeded),
    ] {
        drop(stage.ask(&ada, method).await);
        assert_eq!(codes(&ada.inputs()), [code], "{method}");
    }
    assert_eq!(bob.inputs(), []);
    assert_eq!(carol.inputs(), []);
}

//! Sessions with scripted plugins, a worker that is a queue, and a gateway that is one too.

use std::cell::RefCell;

use rillway_core::api::{Event, ParticipantInfo};
use rillway_core::id::ParticipantId;
use rillway_plugin_sdk::authentication::Attempt;
use rillway_plugin_sdk::signaling::{Action, Command, Frame, Notices, Opened};
use rillway_plugin_sdk::types::{Limits, Source, TrackId};
use tokio::task::LocalSet;

use super::*;
use crate::directory::MemoryDirectory;
use crate::rules::{Desk, NO_POLICY, RecorderOrders, RuleSet};
use crate::telemetry::metrics::Registry;
use crate::telemetry::traces::Span;

mod quiet;
mod recording;

pub(super) type Script = Box<dyn FnMut(&Input) -> Vec<Action>>;

/// A plugin that notes every input and answers by its script, with growing references.
pub(super) struct Scripted {
    script: Script,
    seen: Rc<RefCell<Vec<Input>>>,
    reference: u64,
}

impl Scripted {
    pub(super) fn new(script: Script, seen: Rc<RefCell<Vec<Input>>>) -> Self {
        Scripted {
            script,
            seen,
            reference: 0,
        }
    }
}

impl SignalingInstance for Scripted {
    fn call(&mut self, input: Input) -> LocalBoxFuture<'_, Result<Vec<Command>, PluginFault>> {
        let actions = (self.script)(&input);
        self.seen.borrow_mut().push(input);
        let commands = actions.into_iter().map(|action| {
            self.reference += 1;
            Command {
                reference: self.reference,
                action,
            }
        });
        Box::pin(std::future::ready(Ok(commands.collect())))
    }
}

/// Grants what [`Open`] does, for a while, and control of the recording or not.
struct Expiring {
    grant_ms: Option<u64>,
    record_control: bool,
}

impl Authenticator for Expiring {
    fn authenticate(
        &self,
        attempt: Attempt,
        span: Span,
    ) -> LocalBoxFuture<'static, Result<Grant, Denial>> {
        let expires_at_ms = self.grant_ms.map(|after| now_ms() + after);
        let record_control = self.record_control;
        let open = Open.authenticate(attempt, span);
        Box::pin(async move {
            open.await.map(|grant| Grant {
                expires_at_ms,
                record_control,
                ..grant
            })
        })
    }
}

pub(super) struct Setup {
    pub(super) queue: usize,
    pub(super) join_timeout: Duration,
    pub(super) grant_ms: Option<u64>,
    pub(super) idle_time: Duration,
    pub(super) rules: RuleSet,
    pub(super) recorder: Option<Rc<dyn RecorderOrders>>,
    pub(super) record_control: bool,
    /// Of the plugin's commands.
    pub(super) references_after: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            queue: 64,
            join_timeout: Duration::from_secs(60),
            grant_ms: None,
            idle_time: IDLE_TIME,
            rules: RuleSet::default(),
            recorder: None,
            record_control: true,
            references_after: 0,
        }
    }
}

/// One session between a gateway and a worker that the test plays.
struct Stage {
    local: LocalSet,
    control: Rc<Control>,
    requests: mpsc::Receiver<ToWorker>,
    phase: watch::Sender<Phase>,
    directory: MemoryDirectory,
    peer: Peer,
    seen: Rc<RefCell<Vec<Input>>>,
}

const LIMITS: Limits = Limits {
    data_message_bytes: 1_000,
    data_bytes_per_second: 10_000,
    sdp_bytes: 1_000,
    tracks_per_participant: 4,
    subscriptions_per_participant: 4,
};

pub(super) fn control(
    setup: &Setup,
    directory: &MemoryDirectory,
    queue: mpsc::Sender<ToWorker>,
    phase: watch::Receiver<Phase>,
) -> Control {
    let clients = Rc::new(Clients::default());
    let audience = clients.clone();
    Control {
        directory: Box::new(directory.clone()),
        workers: vec![queue.clone()],
        clients,
        rules: Rc::new(Rules::new(
            setup.rules.clone(),
            vec![queue],
            Registry::new().rules(),
            Desk::new(setup.recorder.clone().ok_or(NO_POLICY), audience),
        )),
        authenticator: Box::new(Expiring {
            grant_ms: setup.grant_ms,
            record_control: setup.record_control,
        }),
        facts: RefCell::new(Rc::new(JoinFacts {
            limits: LIMITS,
            ice_servers: Vec::new(),
            turn: None,
        })),
        phase,
        join_timeout: setup.join_timeout,
        idle_time: setup.idle_time,
        recorder: Registry::new().gateway(),
    }
}

impl Stage {
    fn new(setup: &Setup, script: impl FnMut(&Input) -> Vec<Action> + 'static) -> Self {
        let (queue, requests) = mpsc::channel(setup.queue);
        let (phase, phase_seen) = watch::channel(Phase::Serving);
        let directory = MemoryDirectory::new([(WorkerId(0), None)], 0);
        let control = Rc::new(control(setup, &directory, queue, phase_seen));
        let (connection, peer) = pair(Opened::default());
        let seen = Rc::new(RefCell::new(Vec::new()));
        let mut instance = Box::new(Scripted::new(Box::new(script), seen.clone()));
        instance.reference = setup.references_after;
        let local = LocalSet::new();
        local.spawn_local(deliver_leaves(control.clone()));
        local.spawn_local(run(control.clone(), "test".into(), instance, connection));
        Stage {
            local,
            control,
            requests,
            phase,
            directory,
            peer,
            seen,
        }
    }

    /// Lets the session run until nothing more happens at once.
    async fn settle(&mut self) {
        self.local
            .run_until(async {
                for _ in 0..50 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
    }

    /// Lets real time pass.
    async fn pass(&mut self, ms: u64) {
        let sleep = tokio::time::sleep(Duration::from_millis(ms));
        self.local.run_until(sleep).await;
        self.settle().await;
    }

    async fn say(&mut self, text: &str) {
        let frame = Incoming::Frame(Frame::Text(text.to_owned()));
        self.peer.incoming.try_send(frame).unwrap();
        self.settle().await;
    }

    /// What the session did since the last call, as seen by its plugin.
    fn inputs(&self) -> Vec<Input> {
        self.seen.borrow_mut().drain(..).collect()
    }

    fn requests(&mut self) -> Vec<Request> {
        std::iter::from_fn(|| self.requests.try_recv().ok())
            .map(|message| match message {
                ToWorker::Request(request) => request,
                other => panic!("sessions send no {other:?}"),
            })
            .collect()
    }

    async fn event(&mut self, client: ClientId, kind: EventKind) {
        self.control.clients.deliver(Event { client, kind });
        self.settle().await;
    }

    /// Goes into a room with a plugin that understands `join`; returns the client's name there.
    async fn enter(&mut self) -> ClientId {
        self.say("join").await;
        let requests = self.requests();
        let [request] = requests.as_slice() else {
            panic!("one join, not {requests:?}");
        };
        assert!(matches!(request.action, CoreAction::Join { .. }));
        self.event(request.client, joined()).await;
        let inputs = self.inputs();
        assert!(matches!(inputs.last(), Some(Input::Joined { .. })));
        request.client
    }

    fn aborted(&mut self) -> Option<Close> {
        self.peer.abort.try_recv().ok()
    }
}

pub(super) fn joined() -> EventKind {
    EventKind::Joined {
        me: ParticipantInfo {
            id: ParticipantId(7),
            identity: "guest".to_owned(),
            name: None,
            attributes: Vec::new(),
            joined_at_ms: 0,
        },
        participants: Vec::new(),
        tracks: Vec::new(),
    }
}

pub(super) fn authenticate() -> Action {
    Action::Authenticate {
        scheme: "none".to_owned(),
        credentials: Vec::new(),
        room: Some("r".to_owned()),
        name: None,
    }
}

/// Joins on the word `join`, leaves on `leave`, subscribes on any other.
fn polite(input: &Input) -> Vec<Action> {
    match input {
        Input::Message(Frame::Text(text)) => match text.as_str() {
            "join" => vec![authenticate()],
            "leave" => vec![Action::Leave],
            _ => vec![Action::Subscribe(TrackId(1))],
        },
        Input::Granted(_) => vec![Action::Join],
        _ => Vec::new(),
    }
}

fn failure(input: &Input) -> Option<FailureCode> {
    match input {
        Input::Failed { code, .. } => Some(*code),
        _ => None,
    }
}

#[tokio::test]
async fn a_client_joins_and_what_happens_in_the_room_reaches_its_plugin() {
    let mut stage = Stage::new(&Setup::default(), polite);
    stage.settle().await;
    assert!(matches!(stage.inputs().as_slice(), [Input::Opened(_)]));
    let client = stage.enter().await;
    assert_eq!(stage.directory.rooms(), 1);

    stage.say("subscribe").await;
    let requests = stage.requests();
    assert!(matches!(
        requests.as_slice(),
        [Request { client: c, action: CoreAction::Subscribe(_), .. }] if *c == client
    ));
    let done = EventKind::Done {
        reference: requests[0].reference,
    };
    stage.event(client, done).await;
    let reference = requests[0].reference.0;
    assert!(stage.inputs().contains(&Input::Done { reference }));
}

fn layer(track: u64, spatial: u8) -> EventKind {
    EventKind::Layer {
        track: rillway_core::id::TrackId(track),
        spatial: Some(spatial),
        temporal: None,
    }
}

#[tokio::test]
async fn what_comes_often_comes_to_those_who_want_it() {
    let wants = |speakers, layers| Action::Notify(Notices { speakers, layers });
    let mut stage = Stage::new(&Setup::default(), move |input| match input {
        Input::Message(Frame::Text(text)) if text == "layers" => vec![wants(false, true)],
        Input::Granted(_) => vec![wants(true, false), Action::Join],
        other => polite(other),
    });
    let client = stage.enter().await;
    let loud = || EventKind::Speakers(vec![(ParticipantId(1), 90)]);
    for kind in [loud(), layer(1, 0), layer(2, 0), layer(1, 2), layer(3, 1)] {
        stage.event(client, kind).await;
    }
    let gone = EventKind::TrackUnpublished(rillway_core::id::TrackId(3));
    stage.event(client, gone).await;
    let inputs = stage.inputs();
    assert!(
        matches!(inputs[..], [Input::Speakers(_), Input::TrackUnpublished(_)]),
        "{inputs:?}"
    );
    stage.say("layers").await;
    let seen = |inputs: Vec<Input>| {
        let layers = inputs.into_iter().filter_map(|input| match input {
            Input::Layer(state) => Some((state.track.0, state.spatial)),
            _ => None,
        });
        layers.collect::<Vec<_>>()
    };
    let expected = [(1, Some(2)), (2, Some(0))];
    assert_eq!(seen(stage.inputs()), expected, "what it missed, once");
    stage.event(client, loud()).await;
    stage.event(client, layer(2, 1)).await;
    let inputs = stage.inputs();
    assert_eq!(inputs.len(), 1, "no speakers any more: {inputs:?}");
    assert_eq!(seen(inputs), [(2, Some(1))]);
    stage.say("layers").await;
    assert_eq!(seen(stage.inputs()), [], "it had not missed anything");
}

#[tokio::test]
async fn leaving_frees_the_place_and_nothing_of_the_room_comes_after_it() {
    let mut stage = Stage::new(&Setup::default(), polite);
    let client = stage.enter().await;
    stage.say("leave").await;
    let requests = stage.requests();
    assert!(matches!(
        requests.as_slice(),
        [Request { client: c, action: CoreAction::Leave, .. }] if *c == client
    ));
    assert_eq!(stage.directory.rooms(), 0);
    stage.inputs();
    stage
        .event(client, EventKind::ParticipantLeft(ParticipantId(1)))
        .await;
    assert_eq!(stage.inputs(), []);
    let again = stage.enter().await;
    assert_ne!(again, client, "a new stay has a new name");
}

#[tokio::test]
async fn a_lost_connection_leaves_the_room() {
    let mut stage = Stage::new(&Setup::default(), polite);
    let client = stage.enter().await;
    let gone = Incoming::Closed("gone".to_owned());
    stage.peer.incoming.try_send(gone).unwrap();
    stage.settle().await;
    let requests = stage.requests();
    assert!(matches!(
        requests.as_slice(),
        [Request { client: c, action: CoreAction::Leave, .. }] if *c == client
    ));
    assert_eq!(stage.inputs(), [Input::Closed("gone".to_owned())]);
    assert_eq!(stage.directory.rooms(), 0);
}

#[tokio::test]
async fn commands_in_the_wrong_state_are_answered_once_each() {
    let all_of_a_room = || {
        vec![
            Action::Join,
            Action::RestartIce,
            Action::Subscribe(TrackId(1)),
            Action::Mute(TrackId(1), true),
            Action::AcceptAnswer {
                offer_id: 1,
                sdp: String::new(),
            },
            Action::Leave,
        ]
    };
    let mut stage = Stage::new(&Setup::default(), move |input| match input {
        Input::Message(_) => all_of_a_room(),
        _ => Vec::new(),
    });
    stage.say("go").await;
    let inputs = stage.inputs();
    let failures: Vec<_> = inputs.iter().filter_map(failure).collect();
    let mut expected = vec![FailureCode::Forbidden];
    expected.extend([FailureCode::WrongState; 4]);
    assert_eq!(failures, expected);
    assert!(stage.requests().is_empty());
}

#[tokio::test]
async fn a_second_join_is_refused() {
    let mut stage = Stage::new(&Setup::default(), |input| match input {
        Input::Message(_) => vec![authenticate(), authenticate()],
        Input::Granted(_) => vec![Action::Join, Action::Join],
        _ => Vec::new(),
    });
    stage.say("go").await;
    let inputs = stage.inputs();
    let failures: Vec<_> = inputs.iter().filter_map(failure).collect();
    assert_eq!(failures, [FailureCode::WrongState; 2]);
    assert_eq!(stage.requests().len(), 1);
}

#[tokio::test]
async fn what_exceeds_a_bound_does_not_reach_the_worker() {
    let mut stage = Stage::new(&Setup::default(), |input| match input {
        Input::Message(Frame::Text(text)) if text == "big" => vec![Action::AcceptOffer {
            sdp: "x".repeat(1_001),
            sources: Vec::new(),
        }],
        other => polite(other),
    });
    stage.enter().await;
    stage.say("big").await;
    let inputs = stage.inputs();
    assert_eq!(
        inputs.iter().filter_map(failure).collect::<Vec<_>>(),
        [FailureCode::LimitExceeded]
    );
    assert!(stage.requests().is_empty());
}

#[tokio::test]
async fn offers_are_rationed_because_they_cost_the_worker_most() {
    let mut stage = Stage::new(&Setup::default(), |input| match input {
        Input::Message(Frame::Text(text)) if text == "offers" => (0..15)
            .map(|_| Action::AcceptOffer {
                sdp: "v=0".to_owned(),
                sources: Vec::new(),
            })
            .collect(),
        other => polite(other),
    });
    stage.enter().await;
    stage.say("offers").await;
    let inputs = stage.inputs();
    assert_eq!(
        inputs.iter().filter_map(failure).collect::<Vec<_>>(),
        [FailureCode::LimitExceeded; 5]
    );
    assert_eq!(stage.requests().len(), 10);
    stage.say("subscribe").await;
    assert_eq!(stage.requests().len(), 1, "other commands are not rationed");
}

#[tokio::test]
async fn a_plugin_that_answers_in_circles_costs_its_client() {
    let mut stage = Stage::new(&Setup::default(), |input| match input {
        Input::Message(_) | Input::Failed { .. } => vec![Action::RestartIce],
        _ => Vec::new(),
    });
    stage.say("go").await;
    assert_eq!(stage.aborted().unwrap().code, close::PLUGIN_FAULT);
    assert!(stage.seen.borrow().len() < 30);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed() {
    let mut stage = Stage::new(&Setup::default(), |input| match input {
        Input::Message(_) => (0..8)
            .map(|_| Action::Send(Frame::Binary(vec![0; 1 << 20])))
            .collect(),
        _ => Vec::new(),
    });
    stage.say("go").await;
    assert_eq!(stage.aborted().unwrap().code, close::EXCESS);
}

#[tokio::test]
async fn frames_and_the_close_after_them_keep_their_order() {
    let mut stage = Stage::new(&Setup::default(), |input| match input {
        Input::Message(_) => vec![
            Action::Send(Frame::Text("a".to_owned())),
            Action::Send(Frame::Text("b".to_owned())),
            Action::Close(4001, "no".to_owned()),
            Action::Send(Frame::Text("never".to_owned())),
        ],
        _ => Vec::new(),
    });
    stage.say("go").await;
    let mut sent = Vec::new();
    for _ in 0..3 {
        sent.push(format!("{:?}", stage.peer.outgoing.next().await.unwrap()));
    }
    assert!(sent[0].contains("\"a\"") && sent[1].contains("\"b\"") && sent[2].contains("4001"));
    drop(stage.peer.incoming);
    stage.local.run_until(tokio::task::yield_now()).await;
    assert!(stage.peer.outgoing.next().await.is_none());
}

#[tokio::test]
async fn an_expired_grant_ends_the_stay() {
    let setup = Setup {
        grant_ms: Some(80),
        ..Setup::default()
    };
    let mut stage = Stage::new(&setup, polite);
    stage.enter().await;
    stage.pass(150).await;
    assert!(
        stage
            .inputs()
            .contains(&Input::Removed("the grant has expired".to_owned()))
    );
    assert!(matches!(stage.requests()[0].action, CoreAction::Leave));
}

#[tokio::test]
async fn a_worker_that_does_not_answer_fails_the_join() {
    let setup = Setup {
        join_timeout: Duration::from_millis(30),
        ..Setup::default()
    };
    let mut stage = Stage::new(&setup, polite);
    stage.say("join").await;
    stage.pass(80).await;
    assert!(
        stage
            .inputs()
            .iter()
            .any(|i| failure(i) == Some(FailureCode::Unavailable))
    );
    let requests = stage.requests();
    assert!(matches!(requests[1].action, CoreAction::Leave));
    assert_eq!(stage.directory.rooms(), 0);
}

#[tokio::test]
async fn a_worker_that_is_behind_refuses_requests_and_still_hears_of_leaves() {
    let setup = Setup {
        queue: 1,
        ..Setup::default()
    };
    let mut stage = Stage::new(&setup, polite);
    let client = stage.enter().await;
    stage.say("subscribe").await;
    stage.say("subscribe").await;
    assert!(
        stage
            .inputs()
            .iter()
            .any(|i| failure(i) == Some(FailureCode::Unavailable))
    );
    stage.say("leave").await;
    let first = stage.requests();
    assert!(matches!(first[0].action, CoreAction::Subscribe(_)));
    stage.settle().await;
    let late = stage.requests();
    assert!(matches!(
        late.as_slice(),
        [Request { client: c, action: CoreAction::Leave, .. }] if *c == client
    ));
}

#[tokio::test]
async fn clients_of_a_dead_worker_are_out_of_their_room() {
    let mut stage = Stage::new(&Setup::default(), polite);
    stage.enter().await;
    stage.control.clients.worker_ended(WorkerId(0));
    stage.settle().await;
    assert!(matches!(stage.inputs().as_slice(), [Input::Removed(_)]));
    stage.say("subscribe").await;
    let inputs = stage.inputs();
    assert_eq!(failure(&inputs[1]), Some(FailureCode::WrongState));
}

#[tokio::test]
async fn draining_is_told_once_keeps_newcomers_out_and_then_closes() {
    let mut stage = Stage::new(&Setup::default(), polite);
    stage.settle().await;
    stage.inputs();
    let until = Instant::now() + Duration::from_secs(9);
    stage.phase.send(Phase::Draining(until)).unwrap();
    stage.settle().await;
    let inputs = stage.inputs();
    assert!(matches!(
        inputs.as_slice(),
        [Input::Draining {
            within_ms: 8_000..=9_000,
            url: None
        }]
    ));
    stage.say("join").await;
    assert!(
        stage
            .inputs()
            .iter()
            .any(|i| failure(i) == Some(FailureCode::Unavailable))
    );
    stage.phase.send(Phase::Closing).unwrap();
    stage.settle().await;
    assert!(matches!(
        stage.peer.outgoing.next().await,
        Some(Outgoing::Close(Close {
            code: close::GOING_AWAY,
            ..
        }))
    ));
}

#[tokio::test]
async fn ticks_come_at_their_period_but_not_faster_than_allowed() {
    let mut stage = Stage::new(&Setup::default(), |input| match input {
        Input::Message(_) => vec![Action::TickEveryMs(1)],
        _ => Vec::new(),
    });
    stage.say("go").await;
    stage.pass(350).await;
    let inputs = stage.inputs();
    let ticks = inputs.iter().filter(|i| **i == Input::Tick).count();
    assert!((1..=3).contains(&ticks), "{ticks} ticks in 350 ms");
}

#[tokio::test]
async fn a_grant_the_host_does_not_believe_is_a_denial() {
    let setup = Setup {
        grant_ms: Some(0),
        ..Setup::default()
    };
    let mut stage = Stage::new(&setup, polite);
    stage.say("join").await;
    let inputs = stage.inputs();
    assert!(inputs.iter().any(|i| matches!(i, Input::Denied(_))));
    assert!(stage.requests().is_empty());
}

#[test]
fn every_source_and_direction_survives_the_translation() {
    let sources = [
        Source::Camera,
        Source::Microphone,
        Source::Screen,
        Source::ScreenAudio,
        Source::Other,
    ];
    let grant = Grant {
        room: "r".to_owned(),
        identity: "i".to_owned(),
        name: None,
        publish: sources.to_vec(),
        subscribe: true,
        publish_data: false,
        record_control: true,
        max_publish_bps: Some(1),
        expires_at_ms: Some(2),
        attributes: vec![("a".to_owned(), "b".to_owned())],
    };
    let translated = translate::grant(grant.clone());
    assert_eq!(format!("{:?}", translated.publish), format!("{sources:?}"));
    assert_eq!(
        (
            translated.subscribe,
            translated.publish_data,
            translated.record_control
        ),
        (grant.subscribe, grant.publish_data, grant.record_control)
    );
    assert_eq!(translated.attributes, grant.attributes);
}

//! Who may ask for the recording, and what they are told.

use rillway_core::api::{MediaKind, RoomEvent, RoomEventKind, Source, TrackInfo};
use rillway_core::id::{RoomId, TrackId};
use rillway_plugin_sdk::recording::{Container, Event as Happening, Order, Start};
use rillway_plugin_sdk::signaling::RecordingState;
use tokio::sync::Notify;

use super::*;
use crate::rules::{Opening, RecordingFactory, RecordingInstance, RuleFault};

/// A policy that records what is published, and answers requests with nothing once it is let.
struct Policy(Rc<Notify>);

/// A recorder that takes everything.
struct Willing;

impl RecorderOrders for Willing {
    fn give(&self, _: rillway_recorder::api::Order) -> bool {
        true
    }
}

impl RecordingFactory for Policy {
    fn policy(&self) -> Rc<str> {
        "test".into()
    }

    fn open(&self, _: &str) -> Opening<dyn RecordingInstance> {
        let instance: Box<dyn RecordingInstance> = Box::new(Policy(self.0.clone()));
        Box::pin(std::future::ready(Ok(instance)))
    }
}

impl RecordingInstance for Policy {
    fn retired(&self) -> LocalBoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn decide(&mut self, event: Happening) -> LocalBoxFuture<'_, Result<Vec<Order>, RuleFault>> {
        Box::pin(async move {
            if matches!(event, Happening::Requested(_)) {
                self.0.notified().await;
            }
            let Happening::TrackPublished(track) = event else {
                return Ok(Vec::new());
            };
            let start = Start {
                track: track.id,
                container: Container::Mp4,
                name: "a".to_owned(),
                max_segment_s: 0,
                attributes: Vec::new(),
            };
            Ok(vec![Order::Start(start)])
        })
    }
}

/// Joins, and asks for a recording on any other word.
fn eager(input: &Input) -> Vec<Action> {
    match input {
        Input::Message(Frame::Text(text)) if text != "join" && text != "leave" => {
            vec![Action::RequestRecording(true)]
        }
        other => polite(other),
    }
}

fn stage(record_control: bool, policy: bool) -> (Stage, Rc<Notify>) {
    let decided = Rc::new(Notify::new());
    let mut setup = Setup {
        record_control,
        ..Setup::default()
    };
    if policy {
        setup.recorder = Some(Rc::new(Willing));
        setup.rules.recording = Some(Rc::new(Policy(decided.clone())));
    }
    (Stage::new(&setup, eager), decided)
}

impl Stage {
    /// The room opens; its policy's first wish goes to the worker.
    async fn open_room(&mut self) {
        let name = "r".to_owned();
        self.happens(RoomEventKind::Opened { name }).await;
    }

    async fn happens(&mut self, kind: RoomEventKind) {
        let control = self.control.clone();
        let room = RoomId(0);
        let opened = async { control.rules.on_event(RoomEvent { room, kind }) };
        self.local.run_until(opened).await;
        self.settle().await;
        while let Ok(ToWorker::Room(_)) = self.requests.try_recv() {}
    }

    async fn ask(&mut self) -> Option<FailureCode> {
        self.inputs();
        self.say("record").await;
        self.inputs().iter().find_map(failure)
    }
}

#[tokio::test]
async fn the_policy_decides_and_the_client_waits_for_it() {
    let (mut stage, decided) = stage(true, true);
    assert_eq!(stage.ask().await, Some(FailureCode::WrongState), "outside");
    stage.enter().await;
    stage.open_room().await;
    assert_eq!(stage.ask().await, None);
    assert_eq!(
        stage.ask().await,
        Some(FailureCode::WrongState),
        "one at a time"
    );
    stage.inputs();
    decided.notify_one();
    stage.settle().await;
    assert!(matches!(stage.inputs().as_slice(), [Input::Done { .. }]));
    assert_eq!(stage.ask().await, None, "and again");
    stage.control.rules.worker_ended(WorkerId(0));
    decided.notify_one();
    stage.settle().await;
}

#[tokio::test]
async fn without_the_grant_or_a_policy_it_is_refused() {
    let (mut refused, _) = stage(false, true);
    refused.enter().await;
    refused.open_room().await;
    assert_eq!(refused.ask().await, Some(FailureCode::Forbidden));
    let (mut stage, _) = stage(true, false);
    stage.enter().await;
    stage.open_room().await;
    assert_eq!(stage.ask().await, Some(FailureCode::Unavailable));
}

#[tokio::test]
async fn whoever_comes_hears_what_is_recorded_and_so_does_everybody_when_it_changes() {
    let (mut stage, _) = stage(true, true);
    stage.settle().await;
    stage.open_room().await;
    let track = TrackInfo {
        id: TrackId(5),
        owner: ParticipantId(3),
        kind: MediaKind::Video,
        source: Source::Camera,
        codec: "VP8".to_owned(),
        muted: false,
        layers: Vec::new(),
    };
    stage.happens(RoomEventKind::Published(track)).await;
    // Who is there is told before.
    stage.pass(100).await;
    stage.say("join").await;
    let client = stage.requests()[0].client;
    stage.event(client, joined()).await;
    let told = Input::Recording(RecordingState {
        active: true,
        by: None,
        tracks: vec![rillway_plugin_sdk::types::TrackId(5)],
    });
    let inputs = stage.inputs();
    let [.., Input::Joined { .. }, last] = inputs.as_slice() else {
        panic!("{inputs:?}");
    };
    assert_eq!(*last, told);
    stage
        .happens(RoomEventKind::RecordingEnded(TrackId(5)))
        .await;
    stage.pass(100).await;
    let over = Input::Recording(RecordingState {
        active: false,
        by: None,
        tracks: Vec::new(),
    });
    assert_eq!(stage.inputs(), [over]);
}

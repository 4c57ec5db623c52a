//! Who may ask for the recording, and what they are told.

use rillway_core::api::{RoomEvent, RoomEventKind};
use rillway_core::id::RoomId;
use rillway_plugin_sdk::recording::{Event as Happening, Order};
use tokio::sync::Notify;

use super::*;
use crate::rules::{Opening, RecordingFactory, RecordingInstance, RuleFault};

/// A policy that records nothing, and says so once it is let.
struct Policy(Rc<Notify>);

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
            Ok(Vec::new())
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
        setup.rules.recording = Some(Rc::new(Policy(decided.clone())));
    }
    (Stage::new(&setup, eager), decided)
}

impl Stage {
    /// The room opens; its policy's first wish goes to the worker.
    async fn open_room(&mut self) {
        let control = self.control.clone();
        let kind = RoomEventKind::Opened {
            name: "r".to_owned(),
        };
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

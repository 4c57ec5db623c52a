//! What the tests share.

use std::time::{Duration, Instant};

use rillway_plugin_sdk::authentication::Attempt;
use rillway_plugin_sdk::layers::{Subscriber, Subscription, View};
use rillway_plugin_sdk::signaling::{Action, Command, Frame, Input};
use rillway_plugin_sdk::types::{Attributes, ParticipantId, TrackId};
use rillway_policy::testing::{Behaviour, spec};
use rillway_policy::{Budgets, Host, HostConfig, Kind, Plugin, PluginSpec};

/// A host for a test. Ends with it.
pub(crate) struct TestHost(pub(crate) Host);

impl TestHost {
    pub(crate) fn new() -> TestHost {
        TestHost::with(HostConfig {
            instances: 200,
            ..HostConfig::default()
        })
    }

    pub(crate) fn with(config: HostConfig) -> TestHost {
        TestHost(Host::start(config).expect("the host starts"))
    }

    pub(crate) async fn load(&self, spec: PluginSpec) -> Plugin {
        self.0.load(spec).await.expect("the plugin loads")
    }

    pub(crate) async fn plugin(&self, kind: Kind, behaviour: &Behaviour) -> Plugin {
        self.load(spec("test", kind, behaviour)).await
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        let ended = self.0.shutdown(Duration::from_secs(10));
        assert!(ended || std::thread::panicking(), "a thread did not end");
    }
}

/// A view in which that many choices may be made.
pub(crate) fn view(choices: usize, attributes: Attributes) -> View {
    let subscription = Subscription {
        track: TrackId(1),
        width: 0,
        height: 0,
        fps: 0,
        priority: 0,
        paused: false,
        spatial: None,
        temporal: None,
    };
    View {
        subscribers: vec![Subscriber {
            id: ParticipantId(1),
            estimate_bps: None,
            audio_bps: 0,
            rtt_ms: 0,
            loss_permille: 0,
            subscriptions: vec![subscription; choices],
            attributes: Vec::new(),
        }],
        attributes,
        ..View::default()
    }
}

/// Time enough on any machine, for calls that shall end well.
pub(crate) fn patient() -> Budgets {
    Budgets {
        call: Some(Duration::from_secs(20)),
        start: Some(Duration::from_secs(20)),
        ..Budgets::default()
    }
}

pub(crate) fn text(text: &str) -> Input {
    Input::Message(Frame::Text(text.to_owned()))
}

/// The text that a well-behaved signaling component sends back.
pub(crate) fn sent(commands: &[Command]) -> Option<&str> {
    match commands {
        [
            Command {
                action: Action::Send(Frame::Text(text)),
                ..
            },
        ] => Some(text),
        _ => None,
    }
}

pub(crate) fn attempt(room: &str) -> Attempt {
    Attempt {
        scheme: "none".to_owned(),
        room: Some(room.to_owned()),
        guest_identity: "guest-1".to_owned(),
        ..Attempt::default()
    }
}

/// Waits until something holds, for at most five seconds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A folder of a test's own, removed with it.
pub(crate) struct Folder(std::path::PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        let name = format!("rillway-policy-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

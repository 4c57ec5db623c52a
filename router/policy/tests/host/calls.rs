//! Calls that go well.

use rillway_plugin_sdk::layers::{Decision, View};
use rillway_plugin_sdk::recording::Event;
use rillway_plugin_sdk::signaling::Input;
use rillway_plugin_sdk::types::Denial;
use rillway_policy::Kind;
use rillway_policy::testing::Behaviour;

use crate::support::{TestHost, attempt, eventually, sent, text};

#[tokio::test]
async fn signaling_answers() {
    let host = TestHost::new();
    let plugin = host.plugin(Kind::Signaling, &Behaviour::Well).await;
    let policy = plugin.signaling().unwrap();
    assert!(plugin.authentication().is_none());
    let mut a = policy.open().await.unwrap();
    let mut b = policy.open().await.unwrap();
    for round in 0..100 {
        let (one, two) = (format!("a{round}"), format!("b{round}"));
        assert_eq!(sent(&a.call(text(&one)).await.unwrap()), Some(one.as_str()));
        assert_eq!(sent(&b.call(text(&two)).await.unwrap()), Some(two.as_str()));
    }
    assert_eq!(a.call(Input::Tick).await, Ok(vec![]));
    let stats = &plugin.stats().kinds[0];
    assert_eq!(
        (stats.calls, stats.faults_total(), stats.instances),
        (201, 0, 2)
    );
    assert_eq!(stats.durations.count(), 201);
    assert!(stats.memory_bytes >= 2 << 16, "{}", stats.memory_bytes);
    drop((a, b));
    eventually("instances end", || plugin.stats().kinds[0].instances == 0).await;
    assert_eq!(plugin.stats().kinds[0].memory_bytes, 0);
    assert_eq!(host.0.instances(), 0);
}

#[tokio::test]
async fn authentication_reuses_its_instances() {
    let host = TestHost::new();
    let plugin = host.plugin(Kind::Authentication, &Behaviour::Well).await;
    let policy = plugin.authentication().unwrap();
    for _ in 0..50 {
        let grant = policy.authenticate(attempt("room")).await.unwrap();
        assert_eq!(
            (grant.room.as_str(), grant.identity.as_str()),
            ("room", "guest-1")
        );
        assert!(grant.subscribe && grant.publish.is_empty());
    }
    assert_eq!(plugin.stats().kinds[0].instances_made, 1);
    // The one that was tried at loading may still be ending.
    eventually("one instance", || plugin.stats().kinds[0].instances == 1).await;

    let strict = host.plugin(Kind::Authentication, &Behaviour::Deny).await;
    let policy = strict.authentication().unwrap();
    let denial = policy.authenticate(attempt("r")).await;
    assert_eq!(denial, Err(Denial::Forbidden("denied".to_owned())));
}

#[tokio::test]
async fn layers_and_recording_answer() {
    let host = TestHost::new();
    let plugin = host.plugin(Kind::LayerSelection, &Behaviour::Well).await;
    let mut layers = plugin.layer_selection().unwrap().open().await.unwrap();
    assert_eq!(
        layers.choose(View::default()).await,
        Ok(Decision::default())
    );
    let plugin = host.plugin(Kind::Recording, &Behaviour::Values(3)).await;
    let mut recording = plugin.recording().unwrap().open().await.unwrap();
    let orders = recording.decide(Event::RoomClosed).await.unwrap();
    assert_eq!(orders.len(), 3);
}

//! Breakers open, are seen to be open, and close by themselves.

use std::time::Duration;

use rillway_plugin_sdk::signaling::Input;
use rillway_policy::testing::{Behaviour, spec};
use rillway_policy::{BreakerState, Budgets, Fault, Kind, Plugin, PluginSpec, Refusal};

use crate::support::{TestHost, attempt, eventually};

async fn plugin(host: &TestHost, kind: Kind, behaviour: &Behaviour) -> Plugin {
    let spec = PluginSpec {
        budgets: Budgets {
            breaker_backoff: Some(Duration::from_millis(200)),
            ..Budgets::default()
        },
        ..spec("test", kind, behaviour)
    };
    host.load(spec).await
}

fn state(plugin: &Plugin) -> BreakerState {
    plugin.stats().kinds[0].breaker
}

#[tokio::test]
async fn three_faults_stop_new_instances_and_one_trial_lets_them_in_again() {
    let host = TestHost::new();
    let behaviour = Behaviour::After(2, Box::new(Behaviour::Trap));
    let plugin = plugin(&host, Kind::Signaling, &behaviour).await;
    let policy = plugin.signaling().unwrap();
    let mut survivor = policy.open().await.unwrap();
    for _ in 0..3 {
        let mut instance = policy.open().await.unwrap();
        instance.call(Input::Tick).await.unwrap();
        instance.call(Input::Tick).await.unwrap();
        assert!(matches!(
            instance.call(Input::Tick).await,
            Err(Fault::Trapped(_))
        ));
    }
    assert_eq!(state(&plugin), BreakerState::Open);
    let refused = policy.open().await.unwrap_err();
    assert!(
        matches!(refused, Fault::Refused(Refusal::BreakerOpen { .. })),
        "{refused}"
    );
    assert!(!refused.ends_instance());
    assert_eq!(plugin.stats().kinds[0].refused("breaker"), 1);
    // Whoever is in stays in.
    survivor.call(Input::Tick).await.unwrap();

    eventually("half-open", || state(&plugin) == BreakerState::HalfOpen).await;
    let mut trial = policy.open().await.unwrap();
    assert!(policy.open().await.is_err(), "one trial only");
    trial.call(Input::Tick).await.unwrap();
    assert_eq!(state(&plugin), BreakerState::Closed);
    policy.open().await.unwrap();
}

#[tokio::test]
async fn a_trial_that_fails_opens_it_again() {
    let host = TestHost::new();
    let plugin = plugin(&host, Kind::Authentication, &Behaviour::Trap).await;
    let policy = plugin.authentication().unwrap();
    for _ in 0..3 {
        assert!(matches!(
            policy.decide(attempt("r")).await,
            Err(Fault::Trapped(_))
        ));
    }
    for _ in 0..2 {
        let refused = policy.decide(attempt("r")).await;
        assert!(matches!(
            refused,
            Err(Fault::Refused(Refusal::BreakerOpen { .. }))
        ));
        eventually("half-open", || state(&plugin) == BreakerState::HalfOpen).await;
        assert!(matches!(
            policy.decide(attempt("r")).await,
            Err(Fault::Trapped(_))
        ));
        assert_eq!(state(&plugin), BreakerState::Open);
    }
    let stats = &plugin.stats().kinds[0];
    assert_eq!((stats.faults("trapped"), stats.refused("breaker")), (5, 2));
}

#[tokio::test]
async fn a_trial_that_nobody_uses_blocks_nothing() {
    let host = TestHost::new();
    let behaviour = Behaviour::After(1, Box::new(Behaviour::Trap));
    let plugin = plugin(&host, Kind::Signaling, &behaviour).await;
    let policy = plugin.signaling().unwrap();
    for _ in 0..3 {
        let mut instance = policy.open().await.unwrap();
        let _ = instance.call(Input::Tick).await;
        let _ = instance.call(Input::Tick).await;
    }
    eventually("half-open", || state(&plugin) == BreakerState::HalfOpen).await;
    drop(policy.open().await.unwrap());
    eventually("it is gone", || plugin.stats().kinds[0].instances == 0).await;
    policy.open().await.unwrap();
}

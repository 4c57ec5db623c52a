//! Versions take over, share, and go back by themselves.

use std::time::Duration;

use rillway_plugin_sdk::signaling::{Action, Input};
use rillway_policy::testing::{Behaviour, spec};
use rillway_policy::{
    Budgets, Fault, Kind, Plugin, PluginSpec, Rollout, SignalingInstance, Source, VersionId,
};

use crate::support::{Folder, TestHost, attempt, eventually, sent, text};

fn signaling(behaviour: &Behaviour) -> PluginSpec {
    spec("test", Kind::Signaling, behaviour)
}

async fn reload(plugin: &Plugin, behaviour: &Behaviour, rollout: Rollout) -> VersionId {
    let spec = signaling(behaviour);
    plugin.reload(Some(spec), rollout).await.expect("it loads")
}

async fn open(plugin: &Plugin) -> SignalingInstance {
    plugin.signaling().unwrap().open().await.unwrap()
}

#[tokio::test]
async fn old_instances_finish_and_new_ones_are_new() {
    let host = TestHost::new();
    let plugin = host.load(signaling(&Behaviour::Well)).await;
    let first = plugin.version();
    let mut old = open(&plugin).await;
    let second = reload(&plugin, &Behaviour::Deny, Rollout::default()).await;
    assert_eq!((first.generation, second.generation), (1, 2));
    assert_eq!(plugin.version(), second);
    let mut new = open(&plugin).await;
    assert_eq!((old.version(), new.version()), (first, second));
    assert_eq!(sent(&old.call(text("x")).await.unwrap()), Some("x"));
    let closed = new.call(text("x")).await.unwrap();
    assert_eq!(closed[0].action, Action::Close(4_000, "denied".to_owned()));
    let stats = plugin.stats().versions;
    let of = |id| stats.iter().find(|v| v.id == id).unwrap();
    assert_eq!((of(first).instances, of(first).percent), (1, 0));
    assert_eq!((of(second).instances, of(second).percent), (1, 100));
    drop(old);
    eventually("the old one is gone", || {
        plugin
            .stats()
            .versions
            .iter()
            .all(|v| v.id != first || v.instances == 0)
    })
    .await;
    assert_eq!(plugin.rollback(), Some(first));
    assert_eq!(open(&plugin).await.version(), first);
    assert_eq!(plugin.rollback(), None, "there is nothing before the first");
}

#[tokio::test]
async fn a_canary_gets_its_share_exactly() {
    let host = TestHost::new();
    let plugin = host.load(signaling(&Behaviour::Well)).await;
    let first = plugin.version();
    let canary = reload(&plugin, &Behaviour::Deny, Rollout::canary(20)).await;
    assert_eq!(plugin.version(), first);
    let mut new = 0;
    for _ in 0..50 {
        new += usize::from(open(&plugin).await.version() == canary);
    }
    assert_eq!(new, 10);
    assert_eq!(plugin.promote(), canary);
    assert_eq!(open(&plugin).await.version(), canary);
    assert_eq!(plugin.rollback(), Some(first));
    // And one that is given up before it is promoted.
    reload(&plugin, &Behaviour::Deny, Rollout::canary(99)).await;
    assert_eq!(plugin.rollback(), Some(first));
    for _ in 0..10 {
        assert_eq!(open(&plugin).await.version(), first);
    }
}

#[tokio::test]
async fn a_canary_that_fails_is_taken_back() {
    let host = TestHost::new();
    let plugin = host.load(signaling(&Behaviour::Well)).await;
    let first = plugin.version();
    let canary = reload(&plugin, &Behaviour::Trap, Rollout::canary(50)).await;
    let mut faults = 0;
    for _ in 0..40 {
        let mut instance = open(&plugin).await;
        if let Err(fault) = instance.call(text("x")).await {
            assert_eq!(instance.version(), canary);
            assert!(matches!(fault, Fault::Trapped(_)));
            faults += 1;
        }
    }
    assert_eq!(faults, 3, "three faults open the breaker");
    let stats = plugin.stats();
    assert_eq!((stats.returns, stats.versions.len()), (1, 1));
    assert_eq!(plugin.version(), first);
}

#[tokio::test]
async fn a_version_with_too_many_faults_goes_back_to_the_one_before() {
    let host = TestHost::new();
    let patient = |behaviour: &Behaviour| PluginSpec {
        budgets: Budgets {
            breaker_faults: Some(1_000),
            ..Budgets::default()
        },
        ..signaling(behaviour)
    };
    let plugin = host.load(patient(&Behaviour::Well)).await;
    let first = plugin.version();
    // Every fiftieth call fails: 2 % where 1 % is allowed, and 10 % in the second round.
    let behaviour = Behaviour::After(49, Box::new(Behaviour::Trap));
    for (permille, back) in [(100, false), (10, true)] {
        let rollout = Rollout {
            faults_permille: permille,
            ..Rollout::default()
        };
        let second = plugin
            .reload(Some(patient(&behaviour)), rollout)
            .await
            .unwrap();
        for _ in 0..3 {
            let mut instance = open(&plugin).await;
            assert_eq!(instance.version(), second);
            while instance.call(Input::Tick).await.is_ok() {}
        }
        assert_eq!(open(&plugin).await.version() == first, back);
        assert_eq!(plugin.stats().returns, u64::from(back));
        if !back {
            assert_eq!(plugin.rollback(), Some(first));
        }
    }
}

#[tokio::test]
async fn what_fails_after_its_watch_stays() {
    let host = TestHost::new();
    let plugin = host.load(signaling(&Behaviour::Well)).await;
    let rollout = Rollout {
        watch: Duration::ZERO,
        ..Rollout::default()
    };
    let second = reload(&plugin, &Behaviour::Trap, rollout).await;
    for _ in 0..3 {
        let _ = open(&plugin).await.call(text("x")).await;
    }
    assert_eq!((plugin.version(), plugin.stats().returns), (second, 0));
}

#[tokio::test]
async fn a_file_is_read_anew() {
    let host = TestHost::new();
    let folder = Folder::new("reload");
    let file = folder.path("plugin.wasm");
    let write = |behaviour: &Behaviour| {
        let bytes = rillway_policy::testing::component(Kind::Authentication, behaviour);
        std::fs::write(&file, bytes).unwrap();
    };
    write(&Behaviour::Well);
    let plugin = host
        .load(PluginSpec::new("test", Source::File(file.clone())))
        .await;
    let policy = plugin.authentication().unwrap();
    assert!(policy.authenticate(attempt("r")).await.is_ok());
    write(&Behaviour::Deny);
    // Nothing changes by itself.
    assert!(policy.authenticate(attempt("r")).await.is_ok());
    plugin.reload(None, Rollout::default()).await.unwrap();
    assert!(policy.authenticate(attempt("r")).await.is_err());
    eventually("the old instance is gone", || {
        plugin.stats().kinds[0].instances == 1
    })
    .await;
}

#[tokio::test]
async fn no_call_is_lost_while_versions_change() {
    let host = TestHost::new();
    let plugin = host
        .load(spec("test", Kind::Authentication, &Behaviour::Well))
        .await;
    let policy = plugin.authentication().unwrap();
    let calls = tokio::spawn(async move {
        let mut calls = 0;
        for _ in 0..2_000 {
            policy.authenticate(attempt("r")).await.expect("granted");
            calls += 1;
        }
        calls
    });
    let mut swaps = 0;
    while !calls.is_finished() {
        plugin.reload(None, Rollout::default()).await.unwrap();
        swaps += 1;
    }
    assert_eq!(calls.await.unwrap(), 2_000);
    assert!(swaps >= 2, "{swaps} swaps");
    assert_eq!(plugin.stats().kinds[0].faults_total(), 0);
}

#[tokio::test]
async fn whoever_keeps_an_instance_hears_that_its_version_is_passed_by() {
    let host = TestHost::new();
    let plugin = host.load(signaling(&Behaviour::Well)).await;
    let first = plugin.version();
    let waits = async |version| {
        let brief = Duration::from_millis(20);
        let replaced = tokio::time::timeout(brief, plugin.replaced(version));
        replaced.await.is_err()
    };
    assert!(waits(first).await);
    // Both are dealt while a canary has a share.
    let canary = reload(&plugin, &Behaviour::Deny, Rollout::canary(20)).await;
    assert!(waits(first).await && waits(canary).await);
    // Who waits already is woken.
    let waiter = tokio::spawn({
        let plugin = plugin.clone();
        async move { plugin.replaced(first).await }
    });
    tokio::task::yield_now().await;
    plugin.promote();
    soon(waiter).await.expect("no panic");
    assert!(waits(canary).await);
    plugin.rollback();
    soon(plugin.replaced(canary)).await;
    assert!(waits(first).await);
    // A version that fails is passed by without anybody's order.
    let bad = reload(&plugin, &Behaviour::Trap, Rollout::default()).await;
    let waiter = tokio::spawn({
        let plugin = plugin.clone();
        async move { plugin.replaced(bad).await }
    });
    for _ in 0..3 {
        let fault = open(&plugin).await.call(text("x")).await;
        assert!(matches!(fault, Err(Fault::Trapped(_))));
    }
    assert_eq!(plugin.version(), first, "which looks");
    soon(waiter).await.expect("no panic");
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(5);
    tokio::time::timeout(limit, what).await.expect("in time")
}

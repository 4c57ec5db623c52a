//! Hostile components: each fault is named, ends its instance, and touches nobody else.

use std::time::{Duration, Instant};

use rillway_plugin_sdk::recording::Event;
use rillway_plugin_sdk::signaling::Input;
use rillway_plugin_sdk::types::Denial;
use rillway_policy::testing::{Assembly, Behaviour, bytes_spec, spec};
use rillway_policy::{Budgets, Excess, Fault, HostConfig, Kind, Plugin, PluginSpec, Refusal};

use crate::support::{TestHost, attempt, eventually, patient, sent, text, view};

/// The fault of a signaling component's first call.
async fn fault_of(host: &TestHost, behaviour: &Behaviour) -> Fault {
    let plugin = host.plugin(Kind::Signaling, behaviour).await;
    first_fault(&plugin).await
}

async fn first_fault(plugin: &Plugin) -> Fault {
    let policy = plugin.signaling().unwrap();
    let mut instance = policy.open().await.unwrap();
    let fault = instance.call(Input::Tick).await.unwrap_err();
    assert_eq!(
        instance.call(Input::Tick).await,
        Err(Fault::Gone),
        "entered again"
    );
    fault
}

fn trapped(fault: &Fault, with: &str) -> bool {
    matches!(fault, Fault::Trapped(text) if text.contains(with))
}

#[tokio::test]
async fn what_ends_abnormally_is_a_trap() {
    let host = TestHost::new();
    for (behaviour, with) in [
        (Behaviour::Trap, "unreachable"),
        (Behaviour::Recurse, "call stack exhausted"),
        (Behaviour::BadUtf8, "utf-8"),
        (Behaviour::BadCase, "discriminant"),
        (Behaviour::BadPointer, "out of bounds"),
    ] {
        let fault = fault_of(&host, &behaviour).await;
        assert!(trapped(&fault, with), "{behaviour:?}: {fault}");
    }
}

#[tokio::test]
async fn a_loop_is_interrupted_in_time() {
    let host = TestHost::new();
    let plugin = host.plugin(Kind::Signaling, &Behaviour::Spin).await;
    let began = Instant::now();
    let fault = first_fault(&plugin).await;
    assert_eq!(fault, Fault::Timeout(Duration::from_millis(20)));
    // Other tests run beside this one; by itself it takes 21 to 23 ms.
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(20) && took < Duration::from_secs(2),
        "{took:?}"
    );
    assert_eq!(plugin.stats().kinds[0].faults("timeout"), 1);
}

#[tokio::test]
async fn the_time_of_a_call_is_the_plugins_own() {
    // One thread: the honest plugin's calls are made between slices of fifty that loop.
    let host = TestHost::new();
    let hostile = PluginSpec {
        budgets: Budgets {
            call: Some(Duration::from_millis(50)),
            breaker_faults: Some(1_000),
            ..Budgets::default()
        },
        ..spec("hostile", Kind::Signaling, &Behaviour::Spin)
    };
    let hostile = host.load(hostile).await.signaling().unwrap();
    // About 3 ms of its own for each call: it is interrupted several times.
    let honest = PluginSpec {
        budgets: patient(),
        ..spec("honest", Kind::Signaling, &Behaviour::Busy(3_000_000))
    };
    let plugin = host.load(honest).await;
    let mut honest = plugin.signaling().unwrap().open().await.unwrap();
    let mut loops = Vec::new();
    for _ in 0..20 {
        let mut instance = hostile.open().await.unwrap();
        loops.push(tokio::spawn(
            async move { instance.call(Input::Tick).await },
        ));
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        let began = Instant::now();
        let commands = honest
            .call(text("x"))
            .await
            .expect("an honest call ends well");
        slowest = slowest.max(began.elapsed());
        assert_eq!(sent(&commands), Some("x"));
    }
    let mut running = 0;
    for task in loops {
        running += usize::from(!task.is_finished());
        let fault = task.await.unwrap().unwrap_err();
        assert_eq!(fault, Fault::Timeout(Duration::from_millis(50)));
    }
    // 20 loops of 50 ms are a second; the honest calls did not wait for them.
    assert!(
        running > 0,
        "the loops were over first: slowest {slowest:?}"
    );
}

#[tokio::test]
async fn memory_and_tables_have_a_bound() {
    let host = TestHost::new();
    let plugin = host.plugin(Kind::Signaling, &Behaviour::Grow).await;
    assert_eq!(first_fault(&plugin).await, Fault::Memory);
    let stats = &plugin.stats().kinds[0];
    assert_eq!(stats.memory_bytes_max, 32 << 20);
    eventually("memory returns", || {
        plugin.stats().kinds[0].memory_bytes == 0
    })
    .await;
    assert_eq!(fault_of(&host, &Behaviour::GrowTable).await, Fault::Memory);
    // Two that stay below their own bound, and above what the plugin has.
    let shared = PluginSpec {
        budgets: Budgets {
            memory_total_bytes: Some(5 << 20),
            ..Budgets::default()
        },
        ..spec("shared", Kind::Signaling, &Behaviour::GrowTo(80))
    };
    let plugin = host.load(shared).await;
    let policy = plugin.signaling().unwrap();
    let (mut a, mut b) = (policy.open().await.unwrap(), policy.open().await.unwrap());
    a.call(Input::Tick).await.unwrap();
    let one = plugin.stats().kinds[0].memory_bytes;
    b.call(Input::Tick).await.unwrap();
    let both = plugin.stats().kinds[0].memory_bytes;
    assert!(
        one > 5 << 20 && both < one + (1 << 20),
        "{one}, then {both}"
    );
}

#[tokio::test]
async fn what_is_returned_has_a_bound() {
    let host = TestHost::new();
    let excess = |excess| Fault::Excess(excess);
    let many = fault_of(&host, &Behaviour::Values(4_097)).await;
    assert_eq!(many, excess(Excess::Commands));
    let huge = fault_of(&host, &Behaviour::Huge).await;
    assert_eq!(huge, excess(Excess::Bytes));
    let all = host
        .plugin(Kind::Signaling, &Behaviour::Values(4_096))
        .await;
    let mut instance = all.signaling().unwrap().open().await.unwrap();
    assert_eq!(instance.call(Input::Tick).await.unwrap().len(), 4_096);

    let plugin = host
        .plugin(Kind::Recording, &Behaviour::Values(1_025))
        .await;
    let mut recording = plugin.recording().unwrap().open().await.unwrap();
    let fault = recording.decide(Event::RoomClosed).await;
    assert_eq!(fault, Err(excess(Excess::Orders)));

    let plugin = host
        .plugin(Kind::LayerSelection, &Behaviour::Values(3))
        .await;
    let policy = plugin.layer_selection().unwrap();
    let (mut fits, mut breaks) = (policy.open().await.unwrap(), policy.open().await.unwrap());
    let decision = fits.choose(view(3, Vec::new())).await.unwrap();
    assert_eq!(decision.choices.len(), 3);
    assert_eq!(
        breaks.choose(view(2, Vec::new())).await,
        Err(excess(Excess::Choices))
    );
}

#[tokio::test]
async fn a_layer_policy_has_more_time_for_more_subscriptions() {
    let host = TestHost::new();
    let plugin = host.plugin(Kind::LayerSelection, &Behaviour::Spin).await;
    let policy = plugin.layer_selection().unwrap();
    for (subscriptions, ms) in [(0, 5), (5_000, 15)] {
        let mut layers = policy.open().await.unwrap();
        let fault = layers.choose(view(subscriptions, Vec::new())).await;
        assert_eq!(fault, Err(Fault::Timeout(Duration::from_millis(ms))));
    }
}

#[tokio::test]
async fn nobody_gets_in_because_authentication_fails() {
    let host = TestHost::new();
    for behaviour in [
        Behaviour::Trap,
        Behaviour::Spin,
        Behaviour::Grow,
        Behaviour::Values(0),
        Behaviour::BadCase,
        Behaviour::BadUtf8,
        Behaviour::Huge,
    ] {
        let plugin = host.plugin(Kind::Authentication, &behaviour).await;
        let policy = plugin.authentication().unwrap();
        let denial = policy.authenticate(attempt("r")).await;
        assert!(
            matches!(denial, Err(Denial::Unavailable(_))),
            "{behaviour:?}: {denial:?}"
        );
        assert_eq!(plugin.stats().kinds[0].faults_total(), 1, "{behaviour:?}");
    }
}

#[tokio::test]
async fn an_instance_that_traps_is_replaced() {
    let host = TestHost::new();
    let behaviour = Behaviour::After(2, Box::new(Behaviour::Trap));
    let plugin = host.plugin(Kind::Authentication, &behaviour).await;
    let policy = plugin.authentication().unwrap();
    let mut good = Vec::new();
    for _ in 0..6 {
        good.push(policy.authenticate(attempt("r")).await.is_ok());
    }
    assert_eq!(good, [true, true, false, true, true, false]);
    assert_eq!(plugin.stats().kinds[0].instances_made, 2);
}

#[tokio::test]
async fn reused_instances_are_recycled() {
    let host = TestHost::new();
    let with = |behaviour: &Behaviour, budgets| PluginSpec {
        budgets,
        ..spec("test", Kind::Authentication, behaviour)
    };
    let calls = Budgets {
        recycle_calls: Some(3),
        ..Budgets::default()
    };
    // Two pages at first, and two more for each call: above five after the second.
    let memory = Budgets {
        recycle_memory_bytes: Some(5 << 16),
        ..Budgets::default()
    };
    for (spec, made) in [
        (with(&Behaviour::Well, calls), 3),
        (with(&Behaviour::GrowTo(2), memory), 5),
    ] {
        let plugin = host.load(spec).await;
        let policy = plugin.authentication().unwrap();
        for _ in 0..9 {
            policy.authenticate(attempt("r")).await.unwrap();
        }
        let stats = &plugin.stats().kinds[0];
        assert_eq!((stats.instances_made, stats.faults_total()), (made, 0));
    }
}

#[tokio::test]
async fn there_are_no_more_instances_than_there_may_be() {
    let host = TestHost::with(HostConfig {
        instances: 6,
        ..HostConfig::default()
    });
    let limited = PluginSpec {
        budgets: Budgets {
            instances: Some(3),
            ..Budgets::default()
        },
        ..spec("limited", Kind::Signaling, &Behaviour::Well)
    };
    let limited = host.load(limited).await;
    let refused = |result: Result<_, Fault>| match result {
        Err(Fault::Refused(Refusal::Instances)) => true,
        Err(fault) => panic!("{fault}"),
        Ok(rillway_policy::SignalingInstance { .. }) => false,
    };
    let policy = limited.signaling().unwrap();
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(policy.open().await.unwrap());
    }
    assert!(refused(policy.open().await));
    open.pop();
    eventually("a place is free", || {
        limited.stats().kinds[0].instances == 2
    })
    .await;
    open.push(policy.open().await.unwrap());
    // The host's own bound, for a plugin that may have thousands.
    let other = spec("other", Kind::Signaling, &Behaviour::Well);
    let other = host.load(other).await.signaling().unwrap();
    for _ in 0..3 {
        open.push(other.open().await.unwrap());
    }
    assert!(refused(other.open().await));
    assert_eq!(limited.stats().kinds[0].refused("instances"), 1);
}

#[tokio::test]
async fn calls_and_bytes_have_a_rate() {
    let host = TestHost::new();
    let with = |budgets| PluginSpec {
        budgets,
        ..spec("test", Kind::Signaling, &Behaviour::Well)
    };
    let calls = Budgets {
        calls_per_second: Some(20),
        ..Budgets::default()
    };
    let bytes = Budgets {
        bytes_per_second: Some(20_000),
        ..Budgets::default()
    };
    let long = "x".repeat(500);
    for (budgets, bound) in [(calls, 20), (bytes, 20)] {
        let plugin = host.load(with(budgets)).await;
        let mut instance = plugin.signaling().unwrap().open().await.unwrap();
        let began = Instant::now();
        let mut answered = 0;
        while began.elapsed() < Duration::from_millis(500) {
            answered += u32::from(instance.call(text(&long)).await.is_ok());
        }
        // The burst, then what half a second allows, with some patience.
        assert!((bound..=2 * bound + 2).contains(&answered), "{answered}");
        // Waiting is bounded: several at once are refused, and the instance lives.
        let policy = plugin.signaling().unwrap();
        let mut calls = Vec::new();
        for _ in 0..20 {
            let mut instance = policy.open().await.unwrap();
            let input = text(&long);
            calls.push(tokio::spawn(async move { instance.call(input).await }));
        }
        let mut refused = 0;
        for call in calls {
            refused += usize::from(call.await.unwrap() == Err(Fault::Refused(Refusal::Rate)));
        }
        assert!(refused > 0);
        assert_eq!(plugin.stats().kinds[0].refused("rate"), refused as u64);
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert!(
            instance.call(text("x")).await.is_ok(),
            "a refusal ends no instance"
        );
    }
}

#[tokio::test]
async fn a_flood_of_log_lines_is_dropped() {
    let host = TestHost::new();
    let flood = PluginSpec {
        budgets: Budgets {
            call: Some(Duration::from_secs(20)),
            log_lines_per_second: Some(10),
            ..Budgets::default()
        },
        ..spec("test", Kind::Signaling, &Behaviour::Log(1_000_000))
    };
    let plugin = host.load(flood).await;
    let mut instance = plugin.signaling().unwrap().open().await.unwrap();
    let began = Instant::now();
    instance.call(Input::Tick).await.unwrap();
    let stats = plugin.stats();
    assert_eq!(stats.log_lines + stats.log_lines_dropped, 1_000_000);
    let seconds = began.elapsed().as_secs() + 2;
    assert!(stats.log_lines <= 10 * seconds, "{} lines", stats.log_lines);
}

#[tokio::test]
async fn a_call_that_is_given_up_does_not_hurt_the_next() {
    let host = TestHost::new();
    // It is to be given up while it runs, not to run out of its own time.
    let busy = PluginSpec {
        budgets: patient(),
        ..spec("test", Kind::Signaling, &Behaviour::Busy(10_000_000))
    };
    let plugin = host.load(busy).await;
    let mut instance = plugin.signaling().unwrap().open().await.unwrap();
    let given_up = tokio::time::timeout(Duration::from_micros(1), instance.call(text("a")));
    assert!(given_up.await.is_err());
    assert_eq!(sent(&instance.call(text("b")).await.unwrap()), Some("b"));
}

#[tokio::test]
async fn odd_components_do_not_last() {
    // A store that writes its first page and asks for its own result again is none of these; this one
    // traps in its start function, before anything is called.
    let host = TestHost::new();
    let assembly = Assembly::new(Kind::Signaling, "(i32.const 0)")
        .fields("(func $begin unreachable) (start $begin)");
    let error = host
        .0
        .load(bytes_spec("odd", assembly.build()))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("first instance failed: the plugin trapped"),
        "{error}"
    );
}

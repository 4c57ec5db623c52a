//! Components that nobody wrote (`tests/src/smith.rs`), beside one that behaves well. `RILLWAY_SEED=7` runs one
//! of them alone.

#[allow(unreachable_pub, reason = "public in the crate whose file it is")]
#[path = "../../../../tests/src/smith.rs"]
mod generate;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use rillway_plugin_sdk::layers::View;
use rillway_plugin_sdk::recording::Event;
use rillway_plugin_sdk::signaling::{Input, Opened};
use rillway_policy::testing::{Behaviour, bytes_spec, spec};
use rillway_policy::{Budgets, Fault, Kind, LoadError, Plugin, PluginSpec, SignalingInstance};

use crate::support::{TestHost, attempt, eventually, patient, sent, text};

const SEEDS: u64 = 40;
/// Instances of each, and calls of each instance.
const INSTANCES: usize = 3;
const CALLS: usize = 3;
/// Within which everything ends that has a deadline of its own, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Names the seed if the test fails while it is at it.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to run this one alone: {}={}", generate::SEED, self.0);
        }
    }
}

/// How often what happened, by name.
type Outcomes = BTreeMap<&'static str, u64>;

async fn ends<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} does not end"),
    }
}

fn hostile(component: Vec<u8>) -> PluginSpec {
    PluginSpec {
        budgets: Budgets {
            call: Some(Duration::from_millis(10)),
            start: Some(Duration::from_millis(50)),
            // Every instance is to be tried.
            breaker_faults: Some(u32::MAX),
            ..Budgets::default()
        },
        ..bytes_spec("smith", component)
    }
}

fn note<T>(outcomes: &mut Outcomes, result: &Result<T, Fault>) {
    let name = match result {
        Ok(_) => "answered",
        Err(Fault::Trapped(_)) => "trapped",
        Err(Fault::Timeout(_)) => "timeout",
        Err(Fault::Memory) => "memory",
        Err(Fault::Excess(_)) => "excess",
        Err(Fault::Start(_)) => "start",
        Err(Fault::Gone) => "gone",
        Err(_) => "other",
    };
    *outcomes.entry(name).or_default() += 1;
}

/// Opens an instance and calls it, whatever comes of it.
async fn call(plugin: &Plugin, kind: Kind, outcomes: &mut Outcomes) {
    match kind {
        Kind::Signaling => {
            let opened = ends("opening", plugin.signaling().unwrap().open()).await;
            note(outcomes, &opened);
            let Ok(mut instance) = opened else { return };
            let opened = Input::Opened(Opened::default());
            for input in [opened, Input::Tick, text("hello")] {
                note(outcomes, &ends("a call", instance.call(input)).await);
            }
        }
        Kind::Authentication => {
            let policy = plugin.authentication().unwrap();
            for _ in 0..CALLS {
                let decision = ends("a call", policy.decide(attempt("room"))).await;
                note(outcomes, &decision);
            }
        }
        Kind::LayerSelection => {
            let opened = ends("opening", plugin.layer_selection().unwrap().open()).await;
            note(outcomes, &opened);
            let Ok(mut instance) = opened else { return };
            for _ in 0..CALLS {
                let choices = ends("a call", instance.choose(View::default())).await;
                note(outcomes, &choices);
            }
        }
        Kind::Recording => {
            let opened = ends("opening", plugin.recording().unwrap().open()).await;
            note(outcomes, &opened);
            let Ok(mut instance) = opened else { return };
            for event in [Event::RoomOpened("room".to_owned()), Event::RoomClosed] {
                note(outcomes, &ends("a call", instance.decide(event)).await);
            }
        }
    }
}

/// Loads one, calls it, and unloads it.
async fn run(host: &TestHost, kind: Kind, component: Vec<u8>, outcomes: &mut Outcomes) {
    match ends("loading", host.0.load(hostile(component))).await {
        Err(LoadError::Trial { .. }) => *outcomes.entry("refused by trial").or_default() += 1,
        Err(_) => *outcomes.entry("refused").or_default() += 1,
        Ok(plugin) => {
            *outcomes.entry("loaded").or_default() += 1;
            for _ in 0..INSTANCES {
                call(&plugin, kind, outcomes).await;
            }
            // Those of authentication are kept for the next attempt.
            if kind != Kind::Authentication {
                eventually("nothing of it is left", || {
                    let stats = plugin.kind_stats(kind).expect("it is of that kind");
                    (stats.instances, stats.memory_bytes) == (0, 0)
                })
                .await;
            }
        }
    }
    eventually("only the other plugin has an instance", || {
        host.0.instances() == 1
    })
    .await;
}

/// Calls until it is told to stop; how often is counted in `answered`.
async fn behave(mut honest: SignalingInstance, stop: Arc<AtomicBool>, answered: Arc<AtomicU64>) {
    while !stop.load(SeqCst) {
        let number = answered.load(SeqCst).to_string();
        let commands = ends("an honest call", honest.call(text(&number))).await;
        let commands = commands.expect("what others do is nothing to it");
        assert_eq!(sent(&commands), Some(number.as_str()));
        answered.fetch_add(1, SeqCst);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn components_that_nobody_wrote_harm_nobody() {
    let one = generate::seed_of_environment();
    let seeds = one.map_or(0..SEEDS, |seed| seed..seed + 1);
    let components = generate::components(&Kind::ALL, seeds);

    let host = TestHost::new();
    let honest = PluginSpec {
        budgets: patient(),
        ..spec("honest", Kind::Signaling, &Behaviour::Well)
    };
    let honest = host.load(honest).await;
    let instance = honest.signaling().unwrap().open().await.unwrap();
    let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let behaving = tokio::spawn(behave(instance, stop.clone(), answered.clone()));

    let mut outcomes = Outcomes::new();
    for (seed, kind, component) in components {
        let _named = Named(seed);
        let before = answered.load(SeqCst);
        run(&host, kind, component, &mut outcomes).await;
        eventually("the other plugin answers", || {
            answered.load(SeqCst) > before || behaving.is_finished()
        })
        .await;
        assert!(!behaving.is_finished(), "the other plugin is harmed");
    }
    stop.store(true, SeqCst);
    behaving.await.expect("it was answered every time");
    assert_eq!(honest.stats().kinds[0].faults_total(), 0);
    println!("{outcomes:?}, {} honest calls", answered.load(SeqCst));
    if one.is_none() {
        let count = |name| outcomes.get(name).copied().unwrap_or_default();
        // Of 40 seeds, that is: less would mean that they are refused before they do anything.
        for (name, least) in [
            ("loaded", 15),
            ("answered", 15),
            ("trapped", 10),
            ("timeout", 3),
        ] {
            assert!(count(name) >= least, "{name}: {outcomes:?}");
        }
    }
}

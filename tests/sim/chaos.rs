//! Calls that go through anything (`rillway_tests::chaos`): by fixed seeds, on one worker and on two; and faults put
//! into the core, each of which must be found.
//!
//! More seeds: `RILLWAY_SEEDS=1000-2000 cargo test --release … --test sim chaos::long -- --ignored --nocapture`, see
//! docs/simulation.md. One that failed is played again by its number.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rillway_core::mutants::{self, Mutant};
use rillway_tests::chaos::{Chaos, Outcome, Settings, Weather};

/// Plays seeds; fails at the first that breaks an invariant.
fn play(seeds: impl Iterator<Item = u64>, weather: Weather) -> Vec<Outcome> {
    let with = |seed| Settings {
        weather,
        ..Settings::varied(seed)
    };
    seeds.map(|seed| Chaos::play(with(seed))).collect()
}

#[test]
fn stormy_calls_keep_every_invariant() {
    let outcomes = play(1..=24, Weather::Stormy);
    let sum = |what: fn(&Outcome) -> u64| outcomes.iter().map(what).sum::<u64>();
    assert!(sum(|o| o.packets) > 300_000, "too little went on");
    assert!(sum(|o| o.switches) > 300, "too few layers were switched");
    // Whatever people and networks do was done.
    for action in [
        "come",
        "cut",
        "go",
        "mute",
        "network",
        "pause a layer",
        "pretend",
        "pry",
        "publish",
        "rebind",
        "restart",
        "speak",
        "subscribe",
        "unsubscribe",
        "vanish",
        "wish",
    ] {
        let times = |o: &Outcome| u64::from(o.actions.get(action).copied().unwrap_or(0));
        let times: u64 = outcomes.iter().map(times).sum();
        assert!(times > 0, "nobody did this: {action}");
    }
}

#[test]
fn what_rain_washes_away_is_sent_again() {
    play(101..=112, Weather::Rainy);
}

#[test]
fn a_seed_says_what_happens() {
    let run = |seed| play([seed].into_iter(), Weather::Calm).remove(0);
    let first = run(7);
    assert_eq!(first, run(7), "the same seed, and something else");
    assert_ne!(first.trace, run(8).trace, "another seed, and the same");
}

/// Puts a fault in while something is done, and takes it out again whatever comes of that.
fn with_mutant(mutant: Mutant, act: impl FnOnce() -> Outcome) -> Result<Outcome, String> {
    mutants::put(Some(mutant));
    let played = catch_unwind(AssertUnwindSafe(act));
    mutants::put(None);
    played.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.unwrap_or_else(|| "a panic".to_owned())
    })
}

#[test]
fn every_mutant_is_found() {
    for mutant in Mutant::ALL {
        let weather = match mutant.wants_rain() {
            true => Weather::Rainy,
            false => Weather::Stormy,
        };
        let found = (1..=30).find_map(|seed| {
            let settings = Settings {
                weather,
                ..Settings::varied(seed)
            };
            let played = with_mutant(mutant, || Chaos::play(settings));
            played.err().map(|text| (seed, text))
        });
        let Some((seed, text)) = found else {
            panic!("{mutant:?} goes unnoticed");
        };
        let line = text.replace('\n', " ");
        let line: String = line.chars().take(300).collect();
        println!("{mutant:?}, by seed {seed}: {line}");
    }
}

#[test]
#[ignore = "as long as one likes: RILLWAY_SEEDS"]
fn long() {
    let (mut bad, mut packets, mut switches) = (Vec::new(), 0, 0);
    let (mut simulated, mut slowest) = (Duration::ZERO, (Duration::ZERO, 0));
    let begin = Instant::now();
    for seed in crate::chosen_seeds() {
        match catch_unwind(|| Chaos::play(Settings::varied(seed))) {
            Ok(outcome) => {
                packets += outcome.packets;
                switches += outcome.switches;
                simulated += outcome.simulated;
                slowest = slowest.max((outcome.healed, seed));
            }
            Err(_) => bad.push(seed),
        }
    }
    let elapsed = begin.elapsed();
    let times = simulated.as_secs_f64() / elapsed.as_secs_f64();
    let seeds = crate::chosen_seeds();
    println!("seeds {seeds:?}: {packets} packets, {switches} switches");
    println!("{simulated:?} simulated in {elapsed:?}, {times:.0} times as fast");
    println!("slowest to heal: {:?}, seed {}", slowest.0, slowest.1);
    assert_eq!(bad, Vec::<u64>::new(), "seeds that break an invariant");
}

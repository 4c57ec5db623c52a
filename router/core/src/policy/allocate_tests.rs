use super::*;
use crate::policy::LayerView;
use crate::shard::slab::Key;

fn views(bps: &[u32]) -> Views {
    Views::collect(bps.iter().map(|bps| LayerView {
        active: *bps > 0,
        size: None,
        bps: *bps,
    }))
}

fn demand(bps: &[u32], rank: u16) -> Demand {
    let views = views(bps);
    Demand {
        subscription: SubscriptionKey::from_parts(0, 1),
        views,
        wanted: views.active_at_most(9).expect("an active layer"),
        before: None,
        rank,
        cautious: true,
        granted: Fit::Nothing,
    }
}

fn granted(budget: u64, mut demands: Vec<Demand>) -> Vec<Fit> {
    allocate(budget, &mut demands);
    demands.iter().map(|demand| demand.granted).collect()
}

const CAMERA: [u32; 3] = [100, 300, 1_000];

#[test]
fn everybody_has_a_picture_before_anybody_has_a_better_one() {
    let two = || vec![demand(&CAMERA, 1), demand(&CAMERA, 1)];
    let cases = [
        (99, [Fit::Nothing, Fit::Nothing]),
        (199, [Fit::Layer(0), Fit::Nothing]),
        (200, [Fit::Layer(0), Fit::Layer(0)]),
        (400, [Fit::Layer(1), Fit::Layer(0)]),
        (1_299, [Fit::Layer(1), Fit::Layer(1)]),
        (1_300, [Fit::Layer(2), Fit::Layer(1)]),
        (2_000, [Fit::Layer(2), Fit::Layer(2)]),
    ];
    for (budget, expected) in cases {
        assert_eq!(granted(budget, two()), expected, "{budget}");
    }
}

#[test]
fn the_higher_rank_climbs_first_and_is_dropped_last() {
    let both = vec![demand(&CAMERA, 1), demand(&CAMERA, 2)];
    let mut demands = both.clone();
    allocate(150, &mut demands);
    let of = |rank: u16, demands: &[Demand]| {
        let found = demands.iter().find(|demand| demand.rank == rank);
        found.expect("it is there").granted
    };
    assert_eq!(of(2, &demands), Fit::Layer(0));
    assert_eq!(of(1, &demands), Fit::Nothing);
    let mut demands = both;
    allocate(1_350, &mut demands);
    assert_eq!(of(2, &demands), Fit::Layer(2));
    assert_eq!(of(1, &demands), Fit::Layer(1));
}

#[test]
fn a_layer_that_is_silent_is_stepped_over() {
    assert_eq!(
        granted(999, vec![demand(&[100, 0, 1_000], 0)]),
        [Fit::Layer(0)]
    );
    assert_eq!(
        granted(1_000, vec![demand(&[100, 0, 1_000], 0)]),
        [Fit::Layer(2)]
    );
    assert_eq!(
        granted(1_000, vec![demand(&[0, 300, 0], 0)]),
        [Fit::Layer(1)]
    );
}

#[test]
fn a_step_up_leaves_a_margin_and_a_step_once_made_is_kept() {
    let after = |before: Fit, cautious: bool, budget: u64| {
        let mut demands = [Demand {
            before: Some(before),
            cautious,
            ..demand(&CAMERA, 0)
        }];
        allocate(budget, &mut demands);
        demands[0].granted
    };
    assert_eq!(after(Fit::Layer(1), true, 1_050), Fit::Layer(1));
    assert_eq!(after(Fit::Layer(1), true, 1_200), Fit::Layer(2));
    assert_eq!(after(Fit::Layer(2), true, 1_050), Fit::Layer(2), "kept");
    assert_eq!(after(Fit::Layer(2), true, 999), Fit::Layer(1));
    assert_eq!(after(Fit::Nothing, true, 105), Fit::Nothing);
    assert_eq!(after(Fit::Nothing, true, 120), Fit::Layer(0));
    assert_eq!(after(Fit::Layer(1), false, 1_000), Fit::Layer(2));
}

#[test]
fn no_seed_exceeds_the_budget_or_what_is_wanted() {
    let mut rng = fastrand::Rng::with_seed(7);
    for round in 0..20_000 {
        let mut demands: Vec<Demand> = (0..rng.usize(1..12))
            .map(|_| {
                let layers: Vec<u32> = (0..rng.usize(1..5))
                    .map(|_| if rng.bool() { rng.u32(1..3_000_000) } else { 0 })
                    .collect();
                let views = views(&layers);
                Demand {
                    views,
                    wanted: views.active_at_most(rng.usize(0..5)).unwrap_or(0),
                    before: match rng.u8(0..3) {
                        0 => None,
                        1 => Some(Fit::Nothing),
                        _ => Some(Fit::Layer(rng.u8(0..4))),
                    },
                    cautious: rng.bool(),
                    ..demand(&[1], rng.u16(0..4))
                }
            })
            .collect();
        let budget = rng.u64(0..10_000_000);
        allocate(budget, &mut demands);
        let mut sum = 0;
        for demand in &demands {
            if let Fit::Layer(layer) = demand.granted {
                let layer = usize::from(layer);
                assert!(layer <= demand.wanted, "round {round}");
                assert!(demand.views.all()[layer].active, "round {round}");
                sum += demand.views.bps(layer);
            }
        }
        assert!(sum <= budget, "round {round}: {sum} of {budget}");
    }
}

use super::*;
use crate::policy::{LayerView, Rate};
use crate::shard::slab::Key;

fn views(bps: &[u32]) -> Views {
    Views::collect(bps.iter().map(|bps| {
        let rate = Rate { bps: *bps, fps: 0 };
        LayerView::whole(*bps > 0, None, rate)
    }))
}

/// The highest temporal index of a spatial one.
fn most(spatial: u8) -> Grant {
    Grant::Most(Level::new(spatial, 0))
}

fn demand(bps: &[u32], rank: u16) -> Demand {
    let views = views(bps);
    Demand {
        subscription: SubscriptionKey::from_parts(0, 1),
        views,
        wanted: views.active_at_most(Level::ALL).expect("an active layer"),
        before: None,
        rank,
        cautious: true,
        granted: Grant::Nothing,
    }
}

fn granted(budget: u64, mut demands: Vec<Demand>) -> Vec<Grant> {
    allocate(budget, &mut demands);
    demands.iter().map(|demand| demand.granted).collect()
}

const CAMERA: [u32; 3] = [100, 300, 1_000];

#[test]
fn everybody_has_a_picture_before_anybody_has_a_better_one() {
    let two = || vec![demand(&CAMERA, 1), demand(&CAMERA, 1)];
    let cases = [
        (99, [Grant::Nothing, Grant::Nothing]),
        (199, [most(0), Grant::Nothing]),
        (200, [most(0), most(0)]),
        (400, [most(1), most(0)]),
        (1_299, [most(1), most(1)]),
        (1_300, [most(2), most(1)]),
        (2_000, [most(2), most(2)]),
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
    assert_eq!(of(2, &demands), most(0));
    assert_eq!(of(1, &demands), Grant::Nothing);
    let mut demands = both;
    allocate(1_350, &mut demands);
    assert_eq!(of(2, &demands), most(2));
    assert_eq!(of(1, &demands), most(1));
}

#[test]
fn a_layer_that_is_silent_is_stepped_over() {
    assert_eq!(granted(999, vec![demand(&[100, 0, 1_000], 0)]), [most(0)]);
    assert_eq!(granted(1_000, vec![demand(&[100, 0, 1_000], 0)]), [most(2)]);
    assert_eq!(granted(1_000, vec![demand(&[0, 300, 0], 0)]), [most(1)]);
}

#[test]
fn a_step_up_leaves_a_margin_and_a_step_once_made_is_kept() {
    let after = |before: Grant, cautious: bool, budget: u64| {
        let mut demands = [Demand {
            before: Some(before),
            cautious,
            ..demand(&CAMERA, 0)
        }];
        allocate(budget, &mut demands);
        demands[0].granted
    };
    assert_eq!(after(most(1), true, 1_050), most(1));
    assert_eq!(after(most(1), true, 1_200), most(2));
    assert_eq!(after(most(2), true, 1_050), most(2), "kept");
    assert_eq!(after(most(2), true, 999), most(1));
    assert_eq!(after(Grant::Nothing, true, 105), Grant::Nothing);
    assert_eq!(after(Grant::Nothing, true, 120), most(0));
    assert_eq!(after(most(1), false, 1_000), most(2));
}

#[test]
fn no_seed_exceeds_the_budget_or_what_is_wanted() {
    let mut rng = fastrand::Rng::with_seed(7);
    for round in 0..20_000 {
        let mut demands: Vec<Demand> = (0..rng.usize(1..12))
            .map(|_| {
                let layers = (0..rng.usize(1..5)).map(|_| {
                    let mut bps = 0;
                    LayerView {
                        active: rng.bool(),
                        size: None,
                        rates: std::array::from_fn(|_| {
                            bps += rng.u32(1..1_000_000);
                            Rate { bps, fps: 0 }
                        }),
                        temporal: rng.u8(0..4),
                    }
                });
                let views = Views::collect(layers);
                Demand {
                    views,
                    wanted: views
                        .active_at_most(Level::new(rng.u8(0..5), rng.u8(0..5)))
                        .unwrap_or_default(),
                    before: match rng.u8(0..3) {
                        0 => None,
                        1 => Some(Grant::Nothing),
                        _ => Some(Grant::Most(Level::new(rng.u8(0..4), rng.u8(0..4)))),
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
            if let Grant::Most(layer) = demand.granted {
                assert!(layer.is_within(demand.wanted), "round {round}");
                let view = demand.views.all()[usize::from(layer.spatial)];
                assert!(view.active && layer.temporal <= view.temporal);
                sum += demand.views.bps(layer);
            }
        }
        assert!(sum <= budget, "round {round}: {sum} of {budget}");
    }
}

/// A stream of three spatial and three temporal layers.
fn scalable() -> Views {
    let rates = [[50, 70, 100], [150, 220, 300], [500, 750, 1_000]];
    Views::collect(rates.into_iter().map(|bps| LayerView {
        active: true,
        size: None,
        rates: std::array::from_fn(|at| Rate {
            bps: bps[at.min(2)],
            fps: 0,
        }),
        temporal: 2,
    }))
}

#[test]
fn frames_are_given_up_before_half_the_size_is() {
    let level = |spatial, temporal| Grant::Most(Level::new(spatial, temporal));
    let cases = [
        (49, Grant::Nothing),
        (50, level(0, 0)),
        (99, level(0, 1)),
        (219, level(0, 2)),
        (220, level(1, 1)),
        (299, level(1, 1)),
        (749, level(1, 2)),
        (750, level(2, 1)),
        (1_000, level(2, 2)),
    ];
    let one = |wanted, before| Demand {
        views: scalable(),
        wanted,
        before,
        ..demand(&[1], 0)
    };
    for (budget, expected) in cases {
        let found = granted(budget, vec![one(Level::ALL, None)]);
        assert_eq!(found, [expected], "{budget}");
    }
    // Fewer frames are wanted: those above are not asked for, of whatever size.
    let found = granted(9_999, vec![one(Level::new(1, 1), None)]);
    assert_eq!(found, [level(1, 1)]);
    assert_eq!(
        granted(219, vec![one(Level::new(2, 1), None)]),
        [level(1, 0)]
    );
    // What was held before is kept without a margin, and one step above it is not.
    let before = Some(level(1, 1));
    assert_eq!(granted(310, vec![one(Level::ALL, before)]), [level(1, 1)]);
    assert_eq!(granted(222, vec![one(Level::ALL, before)]), [level(1, 1)]);
    assert_eq!(granted(350, vec![one(Level::ALL, before)]), [level(1, 2)]);
}

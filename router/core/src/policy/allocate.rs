//! Fitting what a subscriber shall get into what its network can carry.

use super::Views;
use crate::api::Fit;
use crate::limits::ESTIMATE_MARGIN;
use crate::shard::slab::SubscriptionKey;

/// A subscription that asks for a share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demand {
    /// Which.
    pub(crate) subscription: SubscriptionKey,
    /// The track's layers.
    pub(crate) views: Views,
    /// The layer wanted: an active one.
    pub(crate) wanted: usize,
    /// What it was granted the last time; `None`: it was not fitted before.
    pub(crate) before: Option<Fit>,
    /// Higher first.
    pub(crate) rank: u16,
    /// A step above `before` must leave a margin free.
    pub(crate) cautious: bool,
    /// The result.
    pub(crate) granted: Fit,
}

/// Sets what each demand is granted, so that all together stay within `budget_bps`. In order of rank
/// (equal ones as they come) each first gets its smallest layer, then they climb by turns; so nobody has
/// two steps before everybody who can have one has it.
pub(crate) fn allocate(budget_bps: u64, demands: &mut [Demand]) {
    demands.sort_by_key(|demand| std::cmp::Reverse(demand.rank));
    let mut used = 0;
    loop {
        let mut climbed = false;
        for demand in demands.iter_mut() {
            if let Some((layer, total)) = next_step(demand, used, budget_bps) {
                used = total;
                demand.granted = Fit::Layer(layer);
                climbed = true;
            }
        }
        if !climbed {
            return;
        }
    }
}

/// The next layer up, and what all would then use, if that fits.
fn next_step(demand: &Demand, used: u64, budget_bps: u64) -> Option<(u8, u64)> {
    let (from, present) = match demand.granted {
        Fit::Nothing => (0, 0),
        Fit::Layer(layer) => {
            let layer = usize::from(layer);
            (layer + 1, demand.views.bps(layer))
        }
    };
    let layers = demand.views.all().iter().enumerate();
    let (next, view) = layers
        .skip(from)
        .take_while(|(index, _)| *index <= demand.wanted)
        .find(|(_, layer)| layer.active)?;
    let total = (used - present).saturating_add(view.bps.into());
    let held_before = match demand.before {
        None => true,
        Some(Fit::Nothing) => false,
        Some(Fit::Layer(before)) => next <= usize::from(before),
    };
    let budget = if demand.cautious && !held_before {
        budget_bps - budget_bps / ESTIMATE_MARGIN
    } else {
        budget_bps
    };
    (total <= budget).then_some((next as u8, total))
}

#[cfg(test)]
#[path = "allocate_tests.rs"]
mod tests;

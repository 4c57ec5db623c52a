//! Fitting what a subscriber shall get into what its network can carry.

use super::Views;
use crate::api::Fit;
use crate::layers::frame::Level;
use crate::limits::ESTIMATE_MARGIN;
use crate::shard::slab::SubscriptionKey;

/// What a subscription is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grant {
    /// Not even the smallest layer.
    Nothing,
    /// This layer at most.
    Most(Level),
}

impl Grant {
    /// As others are told.
    pub(crate) fn fit(self) -> Fit {
        match self {
            Grant::Nothing => Fit::Nothing,
            Grant::Most(level) => Fit::Layer(level.spatial),
        }
    }

    fn level(self) -> Option<Level> {
        match self {
            Grant::Nothing => None,
            Grant::Most(level) => Some(level),
        }
    }
}

/// A subscription that asks for a share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demand {
    /// Which.
    pub(crate) subscription: SubscriptionKey,
    /// The track's layers.
    pub(crate) views: Views,
    /// The layer wanted: an active one.
    pub(crate) wanted: Level,
    /// What it was granted the last time; `None`: it was not fitted before.
    pub(crate) before: Option<Grant>,
    /// Higher first.
    pub(crate) rank: u16,
    /// A step above `before` must leave a margin free.
    pub(crate) cautious: bool,
    /// The result.
    pub(crate) granted: Grant,
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
                demand.granted = Grant::Most(layer);
                climbed = true;
            }
        }
        if !climbed {
            return;
        }
    }
}

/// The next layer up, and what all would then use, if that fits.
fn next_step(demand: &Demand, used: u64, budget_bps: u64) -> Option<(Level, u64)> {
    let granted = demand.granted.level();
    let present = granted.map_or(0, |level| demand.views.bps(level));
    let next = demand.views.step(granted, demand.wanted)?;
    let total = (used - present).saturating_add(demand.views.bps(next));
    let held_before = match demand.before {
        None => true,
        Some(Grant::Nothing) => false,
        Some(Grant::Most(before)) => next <= before,
    };
    let budget = if demand.cautious && !held_before {
        budget_bps - budget_bps / ESTIMATE_MARGIN
    } else {
        budget_bps
    };
    (total <= budget).then_some((next, total))
}

#[cfg(test)]
#[path = "allocate_tests.rs"]
mod tests;

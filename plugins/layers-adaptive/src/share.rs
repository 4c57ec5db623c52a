//! Sharing out what a viewer's network carries.

use rillway_plugin_sdk::layers::{Choice, Subscriber, Subscription};
use rillway_plugin_sdk::types::TrackId;

use crate::ladder::{Rung, Steps};

/// What pictures may take, bits per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// All together.
    pub(crate) most: u64,
    /// All together after a step beyond what was held; at most `most`.
    pub(crate) raise: u64,
}

/// A subscription that asks for a share.
#[derive(Debug, Clone)]
pub(crate) struct Asks {
    /// Its place among those of the viewer.
    pub(crate) index: usize,
    pub(crate) track: TrackId,
    /// What it can have, smallest first; never empty.
    pub(crate) steps: Steps,
    pub(crate) wished: (u16, u16),
    pub(crate) rank: u64,
    /// What was chosen the last time, nothing among it; `None`: it is new.
    pub(crate) held: Option<Option<(u8, u8)>>,
    /// Forwarded now.
    pub(crate) shown: Option<(u8, u8)>,
    /// The result; `None`: nothing.
    pub(crate) granted: Option<Rung>,
}

/// Whose turn comes first: the client's priority, shared screens, speakers, large tiles.
pub(crate) fn rank(subscription: &Subscription, screen: bool, speaks: bool) -> u64 {
    let area = u64::from(subscription.width) * u64::from(subscription.height);
    u64::from(subscription.priority) << 34
        | u64::from(screen) << 33
        | u64::from(speaks) << 32
        | area
}

impl Asks {
    /// What of the present steps was held the last time: the one chosen, or the next lower one.
    fn held_rung(&self) -> Option<&Rung> {
        let (spatial, temporal) = self.held??;
        let at_most = |rung: &&Rung| (rung.spatial, rung.temporal) <= (spatial, temporal);
        self.steps.all().iter().rev().find(at_most)
    }

    /// What that takes now.
    pub(crate) fn held_bps(&self) -> u64 {
        self.held_rung().map_or(0, |rung| rung.bps)
    }

    /// Whether a step is no higher than what was held. A new subscription has held everything.
    fn was_held(&self, rung: &Rung) -> bool {
        match self.held {
            None => true,
            Some(held) => held.is_some_and(|held| (rung.spatial, rung.temporal) <= held),
        }
    }

    /// The decision, with its reason.
    pub(crate) fn choice(&self, subscriber: &Subscriber, budget: Option<&Budget>) -> Choice {
        let (width, height) = self.wished;
        let wish = if width == 0 && height == 0 {
            "no size is wished".to_owned()
        } else {
            format!("shown at {width}x{height}")
        };
        let limit = budget.map_or_else(String::new, |budget| {
            format!("{} kb/s for all video", budget.most / 1_000)
        });
        let (spatial, temporal, reason) = match &self.granted {
            None => (0, 0, format!("no room: {limit}")),
            Some(rung) if Some(rung) == self.steps.all().last() => (
                rung.spatial,
                rung.temporal,
                format!("{}: {wish}", size(rung)),
            ),
            Some(rung) => {
                let reason = format!("{}: {wish}, but {limit}", size(rung));
                (rung.spatial, rung.temporal, reason)
            }
        };
        Choice {
            subscriber: subscriber.id,
            track: self.track,
            spatial,
            temporal,
            paused: self.granted.is_none(),
            reason,
        }
    }
}

fn size(rung: &Rung) -> String {
    match (rung.width, rung.height) {
        (0, _) | (_, 0) => format!("layer {}", rung.spatial),
        (width, height) => format!("{width}x{height}"),
    }
}

/// Grants each what it gets. Without a budget, everything.
pub(crate) fn share(budget: Option<&Budget>, asks: &mut [Asks]) {
    let Some(budget) = budget else {
        for ask in asks {
            ask.granted = ask.steps.all().last().copied();
        }
        return;
    };
    let mut turns: Vec<usize> = (0..asks.len()).collect();
    // Stable: equal ones keep the order in which they were subscribed.
    turns.sort_by_key(|turn| std::cmp::Reverse(asks.get(*turn).map(|ask| ask.rank)));
    let mut used = 0;
    while !turns.is_empty() {
        turns.retain(|turn| {
            let Some(ask) = asks.get_mut(*turn) else {
                return false;
            };
            climb(budget, ask, &mut used)
        });
    }
}

/// One step up, if it fits. False: this one climbs no more.
fn climb(budget: &Budget, ask: &mut Asks, used: &mut u64) -> bool {
    let steps = ask.steps.all();
    let present = ask.granted.map_or(0, |rung| rung.bps);
    let above = match ask.granted {
        None => 0,
        Some(granted) => steps
            .iter()
            .position(|rung| *rung == granted)
            .map_or(0, |at| at + 1),
    };
    let Some(next) = steps.get(above) else {
        return false;
    };
    let total = *used - present + next.bps;
    let bound = if ask.was_held(next) {
        budget.most
    } else {
        budget.raise
    };
    if total > bound {
        return false;
    }
    *used = total;
    ask.granted = Some(*next);
    true
}

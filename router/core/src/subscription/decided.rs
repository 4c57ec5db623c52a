//! What was decided about a subscription lately, for whoever asks why.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::api::{Fit, Wish};

/// Decisions kept of each subscription: enough to see it waver, at about a hundred bytes each.
pub(crate) const DECISIONS_KEPT: usize = 6;

/// One decision, as it was carried out.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    /// Since when.
    pub(crate) at: Instant,
    /// Policy outside the core, with its version and reason; `None`: the built-in one.
    pub(crate) by: Option<(Arc<str>, Arc<str>)>,
    /// What that policy said: the highest spatial index; `None` inside: nothing.
    pub(crate) chosen: Option<Option<u8>>,
    /// The wish the built-in one went by.
    pub(crate) wish: Wish,
    /// Spatial index wanted, of those that are being sent.
    pub(crate) wanted: Option<u8>,
    /// What the network leaves room for.
    pub(crate) fit: Option<Fit>,
    /// Spatial index that is due by all that.
    pub(crate) due: Option<u8>,
}

impl Decision {
    /// Whether the other says the same, whenever and in whatever words.
    fn is_like(&self, other: &Decision) -> bool {
        let policy = |decision: &Decision| decision.by.as_ref().map(|(policy, _)| policy.clone());
        policy(self) == policy(other)
            && self.chosen == other.chosen
            && (self.by.is_some() || self.wish == other.wish)
            && (self.wanted, self.fit, self.due) == (other.wanted, other.fit, other.due)
    }
}

/// The last ones, oldest first. The last is in force.
#[derive(Debug, Default)]
pub(crate) struct Decided {
    kept: VecDeque<Decision>,
}

impl Decided {
    /// Keeps a decision, if it differs from the one in force.
    pub(crate) fn note(&mut self, decision: Decision) {
        if self.kept.back().is_some_and(|last| last.is_like(&decision)) {
            return;
        }
        if self.kept.len() >= DECISIONS_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(decision);
    }

    /// All, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Decision> {
        self.kept.iter()
    }
}

//! What was decided about a subscription lately, for whoever asks why.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::api::{Fit, Wish};
use crate::subscription::Chosen;

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

/// What is in force now, before it is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InForce<'a> {
    /// Of a policy outside the core.
    pub(crate) choice: Option<&'a Chosen>,
    /// As in [`Decision`], and so the others.
    pub(crate) wish: Wish,
    pub(crate) wanted: Option<u8>,
    pub(crate) fit: Option<Fit>,
    pub(crate) due: Option<u8>,
}

impl InForce<'_> {
    fn chosen(&self) -> Option<Option<u8>> {
        let choice = self.choice?;
        Some((!choice.paused).then_some(choice.spatial))
    }
}

impl Decision {
    /// Whether that says the same, whenever and in whatever words.
    fn is_like(&self, other: &InForce<'_>) -> bool {
        let policy = self.by.as_ref().map(|(policy, _)| policy);
        policy == other.choice.map(|choice| &choice.policy)
            && self.chosen == other.chosen()
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
    /// Keeps a decision, if it differs from the last one. Asked about each subscription many times a second.
    pub(crate) fn note(&mut self, now: Instant, decision: &InForce<'_>) {
        if self.kept.back().is_some_and(|last| last.is_like(decision)) {
            return;
        }
        if self.kept.len() >= DECISIONS_KEPT {
            self.kept.pop_front();
        }
        let by = |choice: &Chosen| (choice.policy.clone(), choice.reason.clone());
        self.kept.push_back(Decision {
            at: now,
            by: decision.choice.map(by),
            chosen: decision.chosen(),
            wish: decision.wish,
            wanted: decision.wanted,
            fit: decision.fit,
            due: decision.due,
        });
    }

    /// All, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Decision> {
        self.kept.iter()
    }
}

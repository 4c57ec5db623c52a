//! Sharing out what a viewer's network carries.

use std::cmp::Reverse;
use std::fmt::Display;

use super::{Choice, Ladder, Rung, Steps, Subscriber};
use crate::types::TrackId;

/// A choice is made again when it has not come about after this long: the room may have lost it.
const REPEAT_MS: u64 = 2_000;
/// A step down this soon after the last doubles the patience.
const AGAIN_MS: u64 = 30_000;
/// Most that patience doubles: 3 s become 24.
const DOUBLINGS: u32 = 3;
/// Longest reason, bytes (part of the ABI).
const REASON_BYTES: usize = 128;

/// How slowly pictures grow: estimates waver, and a picture that comes and goes is worse than a small one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caution {
    /// Percent of the estimate that a step up leaves free.
    pub headroom_percent: u8,
    /// After a step down that a falling estimate forced, all pictures together take no more for so many
    /// milliseconds; twice as long each time that it happens again within 30 s, up to eight times.
    pub patience_ms: u32,
}

/// A subscription that asks for a share. `W` says why, for the choice's reason; in a few words.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a, W> {
    /// The track.
    pub track: TrackId,
    /// What there is of it.
    pub ladder: &'a Ladder,
    /// What of that may be chosen, as [`Ladder::steps`] has it; none: nothing, whatever the network carries.
    pub steps: Steps,
    /// Those of a higher tier get all they may have before those of a lower one get anything.
    pub tier: u8,
    /// Within a tier, pictures grow by turns, a step each, those of a higher rank first. Of equal ones, the
    /// first.
    pub rank: u64,
    /// Spatial index that is forwarded now, as in [`Subscription::spatial`](super::Subscription::spatial).
    pub shown: Option<u8>,
    /// Why.
    pub why: W,
}

/// What a policy remembers of one viewer: what it chose the last time, and how the network behaved. As
/// much as the viewer has subscriptions.
#[derive(Debug, Default)]
pub struct Viewer {
    /// In the order of the asks.
    held: Vec<Held>,
    /// No more than now before this moment.
    patient_until_ms: u64,
    /// When time alone may change what is chosen.
    due_at_ms: Option<u64>,
    /// Whether anything was chosen so far.
    chosen: bool,
    fell_at_ms: Option<u64>,
    /// Falls soon after each other.
    falls: u32,
}

/// What was chosen the last time.
#[derive(Debug, Clone, Copy)]
struct Held {
    track: TrackId,
    /// `None`: nothing.
    layer: Option<(u8, u8)>,
    said_at_ms: u64,
}

/// What pictures may take, bits per second.
#[derive(Debug, Clone, Copy)]
struct Budget {
    /// All together.
    most: u64,
    /// All together after a step beyond what was held; at most `most`.
    raise: u64,
}

/// Where one ask is.
struct Turn<'a> {
    steps: &'a [Rung],
    tier: u8,
    rank: u64,
    /// `None`: it is new.
    held: Option<Held>,
    /// Steps it has climbed.
    granted: usize,
}

impl Viewer {
    /// Shares out the viewer's estimate, audio first, among what asks, and adds the choices that differ from
    /// the last time, or that the router seems to have lost. Without an estimate, everybody gets everything.
    ///
    /// What is not among `asks` keeps what it has, and is forgotten. The order of asks should not change
    /// without need: it is looked at in the order of the last time.
    pub fn choose<W: Display>(
        &mut self,
        caution: &Caution,
        now_ms: u64,
        subscriber: &Subscriber,
        asks: &[Ask<'_, W>],
        choices: &mut Vec<Choice>,
    ) {
        let mut turns = self.turns(asks);
        let held = asks.iter().zip(&turns).filter_map(|(ask, turn)| {
            let (spatial, temporal) = turn.held?.layer?;
            Some(ask.ladder.at_most(spatial, temporal)?.bps)
        });
        let held_bps = held.sum();
        let budget = self.budget(caution, now_ms, subscriber, held_bps);
        share(budget.as_ref(), &mut turns);
        self.held.clear();
        for (ask, turn) in asks.iter().zip(&turns) {
            let granted = turn.granted();
            let layer = granted.map(|rung| (rung.spatial, rung.temporal));
            let quiet = turn.held.filter(|held| {
                let lost = ask.shown != layer.map(|(spatial, _)| spatial)
                    && now_ms.saturating_sub(held.said_at_ms) >= REPEAT_MS;
                held.layer == layer && !lost
            });
            if quiet.is_none() {
                choices.push(choice(subscriber, ask, granted, budget.as_ref()));
            }
            self.held.push(Held {
                track: ask.track,
                layer,
                said_at_ms: quiet.map_or(now_ms, |held| held.said_at_ms),
            });
        }
        self.due_at_ms = self.due_at(now_ms, asks);
        self.chosen = true;
    }

    /// Whether time alone may have changed what [`choose`](Viewer::choose) would choose: patience has ended, or
    /// a choice has not come about for long. True for a viewer for whom nothing was chosen so far.
    #[must_use]
    pub fn is_due(&self, now_ms: u64) -> bool {
        !self.chosen || self.due_at_ms.is_some_and(|at| now_ms >= at)
    }

    /// When time alone may change what is chosen, as of now.
    fn due_at(&self, now_ms: u64, asks: &[Ask<'_, impl Display>]) -> Option<u64> {
        let patience = Some(self.patient_until_ms).filter(|until| *until > now_ms);
        let said = asks.iter().zip(&self.held).filter_map(|(ask, held)| {
            let came = ask.shown == held.layer.map(|(spatial, _)| spatial);
            (!came).then(|| held.said_at_ms.saturating_add(REPEAT_MS))
        });
        said.chain(patience).min()
    }

    /// The asks, with what was held of each. Mostly each is where it was, so the search for one begins after
    /// the one before.
    fn turns<'a, W>(&self, asks: &'a [Ask<'_, W>]) -> Vec<Turn<'a>> {
        let mut cursor = 0;
        let turn = |ask: &'a Ask<'_, W>| {
            let (before, after) = self.held.split_at(cursor.min(self.held.len()));
            let mut places = (cursor..).zip(after).chain((0..).zip(before));
            let found = places.find(|(_, held)| held.track == ask.track);
            if let Some((at, _)) = found {
                cursor = at + 1;
            }
            Turn {
                steps: ask.steps.all(),
                tier: ask.tier,
                rank: ask.rank,
                held: found.map(|(_, held)| *held),
                granted: 0,
            }
        };
        asks.iter().map(turn).collect()
    }

    /// What the viewer's pictures may take; `None`: nothing is known of its network.
    fn budget(
        &mut self,
        caution: &Caution,
        now_ms: u64,
        subscriber: &Subscriber,
        held_bps: u64,
    ) -> Option<Budget> {
        let estimate = u64::from(subscriber.estimate_bps?);
        let mut most = estimate.saturating_sub(subscriber.audio_bps.into());
        if held_bps > most {
            self.fell(caution, now_ms);
        }
        let headroom = estimate * u64::from(caution.headroom_percent) / 100;
        let raise = most.saturating_sub(headroom);
        if now_ms < self.patient_until_ms {
            most = most.min(held_bps);
        }
        Some(Budget {
            most,
            raise: raise.min(most),
        })
    }

    /// The estimate fell below what the viewer got.
    fn fell(&mut self, caution: &Caution, now_ms: u64) {
        let again = |at: u64| now_ms.saturating_sub(at) < AGAIN_MS;
        self.falls = match self.fell_at_ms {
            Some(at) if again(at) => (self.falls + 1).min(DOUBLINGS),
            _ => 0,
        };
        self.fell_at_ms = Some(now_ms);
        let patience = u64::from(caution.patience_ms) << self.falls;
        self.patient_until_ms = now_ms.saturating_add(patience);
    }
}

impl<'a> Turn<'a> {
    fn granted(&self) -> Option<&'a Rung> {
        self.steps.get(self.granted.checked_sub(1)?)
    }

    /// Whether a step is no higher than what was held. A new subscription has held everything.
    fn was_held(&self, rung: &Rung) -> bool {
        let layer = (rung.spatial, rung.temporal);
        let held = |held: Held| held.layer.is_some_and(|held| layer <= held);
        self.held.is_none_or(held)
    }

    /// One step up, if it fits. False: this one climbs no more.
    fn climb(&mut self, budget: &Budget, used: &mut u64) -> bool {
        let Some(next) = self.steps.get(self.granted) else {
            return false;
        };
        let present = self.granted().map_or(0, |rung| rung.bps);
        let total = *used - present + next.bps;
        let bound = if self.was_held(next) {
            budget.most
        } else {
            budget.raise
        };
        if total > bound {
            return false;
        }
        *used = total;
        self.granted += 1;
        true
    }
}

/// Grants each what it gets. Without a budget, everything.
fn share(budget: Option<&Budget>, turns: &mut [Turn<'_>]) {
    let Some(budget) = budget else {
        for turn in turns {
            turn.granted = turn.steps.len();
        }
        return;
    };
    let mut order: Vec<&mut Turn<'_>> = turns.iter_mut().collect();
    // Stable: equal ones keep the order in which they were subscribed.
    order.sort_by_key(|turn| Reverse((turn.tier, turn.rank)));
    let mut used = 0;
    for tier in order.chunk_by_mut(|a, b| a.tier == b.tier) {
        let mut climbing: Vec<&mut &mut Turn<'_>> = tier.iter_mut().collect();
        while !climbing.is_empty() {
            climbing.retain_mut(|turn| turn.climb(budget, &mut used));
        }
    }
}

/// The decision, with its reason.
fn choice<W: Display>(
    subscriber: &Subscriber,
    ask: &Ask<'_, W>,
    granted: Option<&Rung>,
    budget: Option<&Budget>,
) -> Choice {
    let why = &ask.why;
    let limit = budget.map_or_else(String::new, |budget| {
        format!("{} kb/s for all video", budget.most / 1_000)
    });
    let mut reason = match granted {
        None if ask.steps.all().is_empty() => why.to_string(),
        None => format!("no room: {limit}"),
        Some(rung) if Some(rung) == ask.steps.all().last() => format!("{}: {why}", size(rung)),
        Some(rung) => format!("{}: {why}, but {limit}", size(rung)),
    };
    reason.truncate(reason.floor_char_boundary(REASON_BYTES));
    Choice {
        subscriber: subscriber.id,
        track: ask.track,
        spatial: granted.map_or(0, |rung| rung.spatial),
        temporal: granted.map_or(0, |rung| rung.temporal),
        paused: granted.is_none(),
        reason,
    }
}

fn size(rung: &Rung) -> String {
    match (rung.width, rung.height) {
        (0, _) | (_, 0) => format!("layer {}", rung.spatial),
        (width, height) => format!("{width}x{height}"),
    }
}

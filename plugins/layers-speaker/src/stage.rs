//! Who is seen large.

use std::collections::{BTreeMap, BTreeSet};

use rillway_plugin_sdk::types::ParticipantId;

/// A place that somebody holds.
#[derive(Debug, Clone, Copy)]
struct Place {
    who: ParticipantId,
    /// When it was last among the loudest.
    heard_ms: u64,
}

/// Whoever speaks, and who spoke last. As many as `size`, and one more: whoever lost its place last, for
/// those on the stage, who do not see themselves.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    places: Vec<Place>,
    /// When each was last heard, as far as it can be seen.
    heard: BTreeMap<ParticipantId, u64>,
    /// Who had a picture the last time.
    visible: Vec<ParticipantId>,
}

/// Whom a room shows.
pub(crate) struct Cast<'a> {
    /// Loudest first.
    pub(crate) speakers: &'a [ParticipantId],
    /// Who has a picture beside a shared screen, in the order of publishing; each once.
    pub(crate) visible: &'a [ParticipantId],
}

impl Stage {
    /// Who speaks now. Whoever was not among the `size` loudest for `hold_ms` makes way for one who is.
    /// Whether anybody may be shown another way by that: others have a picture, stand on the stage, or were
    /// heard later than others.
    pub(crate) fn update(
        &mut self,
        size: usize,
        hold_ms: u32,
        now_ms: u64,
        cast: &Cast<'_>,
    ) -> bool {
        let before = (self.on_stage(), self.by_silence());
        let others = self.visible != cast.visible;
        if others {
            self.visible = cast.visible.to_vec();
        }
        self.hear(size, hold_ms, now_ms, cast);
        others || before != (self.on_stage(), self.by_silence())
    }

    fn on_stage(&self) -> Vec<ParticipantId> {
        self.places.iter().map(|place| place.who).collect()
    }

    /// Who was heard, in groups of the same moment, by their order.
    fn by_silence(&self) -> Vec<Vec<ParticipantId>> {
        let mut moments: BTreeMap<u64, Vec<ParticipantId>> = BTreeMap::new();
        for (who, at) in &self.heard {
            moments.entry(*at).or_default().push(*who);
        }
        moments.into_values().collect()
    }

    fn hear(&mut self, size: usize, hold_ms: u32, now_ms: u64, cast: &Cast<'_>) {
        let visible: BTreeSet<ParticipantId> = cast.visible.iter().copied().collect();
        self.places.retain(|place| visible.contains(&place.who));
        self.heard.retain(|who, _| visible.contains(who));
        let speakers = cast.speakers.iter().filter(|who| visible.contains(who));
        let speakers: Vec<ParticipantId> = speakers.copied().collect();
        self.heard.extend(speakers.iter().map(|who| (*who, now_ms)));
        let loudest = speakers.get(..size).unwrap_or(&speakers);
        let on_stage = self.places.iter_mut().take(size);
        for place in on_stage.filter(|place| loudest.contains(&place.who)) {
            place.heard_ms = now_ms;
        }
        for who in loudest {
            self.enter(size, hold_ms, now_ms, *who);
        }
    }

    fn enter(&mut self, size: usize, hold_ms: u32, now_ms: u64, who: ParticipantId) {
        let there = self.places.iter().take(size).any(|place| place.who == who);
        if there {
            return;
        }
        let new = Place {
            who,
            heard_ms: now_ms,
        };
        if self.places.len() < size {
            self.places.push(new);
            return;
        }
        let on_stage = self.places.iter_mut().take(size);
        let Some(silent) = on_stage.min_by_key(|place| place.heard_ms) else {
            return;
        };
        if now_ms.saturating_sub(silent.heard_ms) >= hold_ms.into() {
            let last = std::mem::replace(silent, new);
            self.places.truncate(size);
            self.places.push(last);
        }
    }

    /// Whom a viewer sees large: the stage without the viewer. While too few have spoken, those who
    /// published first.
    pub(crate) fn seen_by(
        &self,
        viewer: ParticipantId,
        size: usize,
        visible: &[ParticipantId],
    ) -> Vec<ParticipantId> {
        let others = self.places.iter().map(|place| place.who);
        let mut seen: Vec<ParticipantId> = others.filter(|who| *who != viewer).collect();
        let more = visible.iter().filter(|who| **who != viewer);
        let more = more.filter(|who| self.places.iter().all(|place| place.who != **who));
        seen.extend(more.take(size.saturating_sub(seen.len())));
        seen.truncate(size);
        seen
    }

    /// When somebody was last heard; 0: not since it can be seen.
    pub(crate) fn heard_ms(&self, who: ParticipantId) -> u64 {
        self.heard.get(&who).copied().unwrap_or(0)
    }
}

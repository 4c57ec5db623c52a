//! Requests that the host has not answered yet: which reference belongs to which `id`.

use rillway_plugin_sdk::signaling::FailureCode;
use rillway_plugin_sdk::types::TrackId;

use crate::limits::PENDING_MAX;
use crate::wire::WireId;

/// Answers that the host still owes. Each entry owns one reference, or a row of them when one request
/// of the client became several commands.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    entries: Vec<Entry>,
}

/// One request of the client.
#[derive(Debug)]
struct Entry {
    /// First reference of the row.
    first: u64,
    id: Option<u64>,
    /// Whether success is told.
    confirm: bool,
    /// One for each reference of the row.
    parts: Vec<Part>,
    /// References not yet answered.
    open: usize,
    /// What failed, in the order of the answers.
    failures: Vec<(Option<TrackId>, FailureCode, String)>,
}

/// One command of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// The track it is about, if it is one of several.
    pub(crate) track: Option<TrackId>,
    /// A subscription that was not held before.
    pub(crate) new_subscription: bool,
    answered: bool,
}

impl Part {
    pub(crate) fn new(track: Option<TrackId>, new_subscription: bool) -> Self {
        Part {
            track,
            new_subscription,
            answered: false,
        }
    }
}

/// How a request ended, once all of its commands were answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) id: Option<u64>,
    /// Whether success is told.
    pub(crate) confirm: bool,
    /// First code and the message for people, if anything failed.
    pub(crate) failure: Option<(FailureCode, String)>,
}

/// What an answer of the host belongs to.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) part: Part,
    /// Present when this was the last command of its request.
    pub(crate) outcome: Option<Outcome>,
}

impl Pending {
    /// Whether one more request fits.
    pub(crate) fn has_room(&self) -> bool {
        self.entries.len() < PENDING_MAX
    }

    /// Remembers a request whose commands carry the references from `first` on, one for each part.
    pub(crate) fn insert(&mut self, first: u64, id: Option<u64>, confirm: bool, parts: Vec<Part>) {
        let open = parts.len();
        self.entries.push(Entry {
            first,
            id,
            confirm,
            parts,
            open,
            failures: Vec::new(),
        });
    }

    /// The host answered `reference`, with a failure or without. `None` if nothing waits for it.
    pub(crate) fn settle(
        &mut self,
        reference: u64,
        failure: Option<(FailureCode, String)>,
    ) -> Option<Settled> {
        let (index, entry, offset) = self.entries.iter_mut().enumerate().find_map(|(i, e)| {
            let offset = usize::try_from(reference.checked_sub(e.first)?).ok()?;
            (offset < e.parts.len()).then_some((i, e, offset))
        })?;
        let part = entry.parts.get_mut(offset).filter(|p| !p.answered)?;
        part.answered = true;
        let part = *part;
        if let Some((code, message)) = failure {
            entry.failures.push((part.track, code, message));
        }
        entry.open = entry.open.saturating_sub(1);
        let outcome = (entry.open == 0).then(|| {
            let entry = self.entries.swap_remove(index);
            entry.into_outcome()
        });
        Some(Settled { part, outcome })
    }
}

impl Entry {
    fn into_outcome(self) -> Outcome {
        let total = self.parts.len();
        let failed = self.failures.len();
        let code = self.failures.first().map(|(_, code, _)| *code);
        let list = self
            .failures
            .into_iter()
            .map(|(track, _, message)| match track {
                Some(track) if total > 1 => format!("track {}: {message}", WireId::from(track)),
                _ => message,
            });
        let list = list.collect::<Vec<_>>().join("; ");
        let failure = code.map(|code| match total {
            1 => (code, list),
            _ => (code, format!("{failed} of {total} failed: {list}")),
        });
        Outcome {
            id: self.id,
            confirm: self.confirm,
            failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_ends_once_with_all_its_failures() {
        let mut p = Pending::default();
        let part = |id| Part::new(Some(TrackId(id)), true);
        p.insert(5, Some(9), true, vec![part(1), part(0xab), part(3)]);
        assert!(p.settle(8, None).is_none());
        assert!(p.settle(5, None).is_some_and(|s| s.outcome.is_none()));
        assert!(p.settle(5, None).is_none(), "answered twice");
        assert!(p.settle(7, None).is_some_and(|s| s.outcome.is_none()));
        let failure = Some((FailureCode::NotFound, "no such track".to_owned()));
        let outcome = p.settle(6, failure).and_then(|s| s.outcome);
        let message = "1 of 3 failed: track ab: no such track".to_owned();
        assert_eq!(
            outcome,
            Some(Outcome {
                id: Some(9),
                confirm: true,
                failure: Some((FailureCode::NotFound, message)),
            })
        );
        assert!(p.entries.is_empty());
    }
}

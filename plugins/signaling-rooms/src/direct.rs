//! Direct calls: when two participants are to send to each other instead of through the router.
//!
//! Each client has an instance of this plugin, and the instances of a room tell each other by [`Note`]s. An
//! instance announces itself to the only other participant while nothing stands in the way; of two that have
//! announced themselves the one with the lower id starts the call, and either ends it as soon as something does.
//! Media goes on through the router until the clients say that they get it directly, and comes back to it
//! before they leave their connection: `docs/direct.md`.

use std::collections::{BTreeMap, BTreeSet};

use rillway_plugin_sdk::types::{Grant, ParticipantId, TrackId};
use serde::{Deserialize, Serialize};

use crate::limits::{DIRECT_MESSAGES_MAX, DIRECT_PATHS_MAX, TRACKS_MAX};
use crate::wire::ErrorCode;

/// The attribute of a grant that forbids direct calls, with the value `no`.
const ATTRIBUTE: &str = "direct";

/// `plugins.signaling-rooms.config` of the router's TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Which rooms may be direct.
    pub direct: Rooms,
    /// Whether a room that had to move to the router goes back once the two are alone again.
    pub direct_again: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            direct: Rooms::Never,
            direct_again: true,
        }
    }
}

/// Rooms that may be direct.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rooms {
    /// None.
    #[default]
    Never,
    /// Those of two participants whose clients both allow it.
    Two,
}

/// Why a call goes (on) through the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// Somebody else is in the room.
    Company,
    /// The room is recorded, or somebody asked for it.
    Recording,
    /// An operator muted a track: only the router can see to that.
    Muted,
    /// The direct connection could not be made, or was lost.
    Failed,
    /// The other one left.
    Left,
    /// The policy does not want it.
    Policy,
}

/// How a client gets what the other one sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Path {
    /// By the direct connection.
    Direct,
    /// Through the router.
    Router,
    /// The direct connection does not work.
    Failed,
}

/// Which description it is (`RTCSdpType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An offer.
    Offer,
    /// An answer.
    Answer,
}

/// What instances tell each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "lowercase")]
pub(crate) enum Note {
    /// Nothing stands in the way here.
    Ready {
        /// It answers a `Ready`, and wants no answer.
        answer: bool,
    },
    /// The call begins.
    Start { call: u64 },
    /// It is over, or is not to be.
    End { call: u64, reason: Reason },
    /// From the other client.
    Description { call: u64, kind: Kind, sdp: String },
    /// From the other client.
    Candidate {
        call: u64,
        candidate: String,
        mid: Option<String>,
    },
    /// From the other client.
    Path { call: u64, path: Path },
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The client is to connect to the other one.
    Begin {
        call: u64,
        participant: ParticipantId,
        offer: bool,
    },
    /// The client is to come back to the router.
    End { call: u64, reason: Reason },
    /// The client is told what the other one says.
    Hear(Note),
    /// The other one's instance is told.
    Tell(ParticipantId, Note),
}

/// The others in the room: how many, and, if it is one, who. Of a large room nothing more is kept.
#[derive(Debug, Default)]
struct Others {
    count: u32,
    mixed: u64,
}

impl Others {
    fn came(&mut self, id: ParticipantId) {
        self.count = self.count.saturating_add(1);
        self.mixed ^= id.0;
    }

    fn left(&mut self, id: ParticipantId) {
        self.count = self.count.saturating_sub(1);
        self.mixed = if self.count == 0 {
            0
        } else {
            self.mixed ^ id.0
        };
    }

    fn only(&self) -> Option<ParticipantId> {
        (self.count == 1).then_some(ParticipantId(self.mixed))
    }
}

/// The call that is, or the last one that was.
#[derive(Debug, Clone, Copy)]
struct Call {
    number: u64,
    peer: ParticipantId,
    /// Not ended.
    open: bool,
    /// Descriptions and candidates relayed for our client.
    messages: u32,
    /// Paths relayed for it.
    paths: u32,
}

/// What a client asked for of a track of its own.
#[derive(Debug, Default, Clone, Copy)]
struct Asked {
    muted: bool,
    /// Mutes that it asked for and that have not been told yet: what is told beyond them, an operator asked for.
    untold: u32,
}

/// The decisions of one membership.
#[derive(Debug)]
pub(crate) struct Direct {
    me: ParticipantId,
    /// By configuration, grant and client.
    allowed: bool,
    again: bool,
    may_record: bool,
    others: Others,
    recording: bool,
    /// Its tracks, and what it asked for of them.
    own: BTreeMap<TrackId, Asked>,
    /// Of them: muted by an operator.
    enforced: BTreeSet<TrackId>,
    /// To whom we have announced ourselves.
    announced: Option<ParticipantId>,
    /// Who has announced itself to us.
    ready: Option<ParticipantId>,
    /// With whom there is no direct connection.
    failed: Option<ParticipantId>,
    /// There was a call, and it is not to come back.
    spent: bool,
    call: Option<Call>,
    calls: u64,
}

impl Direct {
    /// For a client that has just joined; `willing`: it allows direct calls.
    pub(crate) fn new(config: Config, me: ParticipantId, grant: &Grant, willing: bool) -> Self {
        let forbidden = (grant.attributes.iter()).any(|(k, v)| k == ATTRIBUTE && v == "no");
        // What the router sees to on its own way, it cannot see to on this one.
        let useful = grant.subscribe && grant.publish_data && !grant.publish.is_empty();
        Direct {
            me,
            allowed: config.direct == Rooms::Two && willing && useful && !forbidden,
            again: config.direct_again,
            may_record: grant.record_control,
            others: Others::default(),
            recording: false,
            own: BTreeMap::new(),
            enforced: BTreeSet::new(),
            announced: None,
            ready: None,
            failed: None,
            spent: false,
            call: None,
            calls: 0,
        }
    }

    /// Somebody is in the room.
    pub(crate) fn came(&mut self, id: ParticipantId) -> Vec<Step> {
        self.others.came(id);
        self.reconsider()
    }

    /// Those who are in the room already.
    pub(crate) fn found(&mut self, ids: impl Iterator<Item = ParticipantId>) -> Vec<Step> {
        ids.for_each(|id| self.others.came(id));
        self.reconsider()
    }

    /// Somebody left.
    pub(crate) fn left(&mut self, id: ParticipantId) -> Vec<Step> {
        self.others.left(id);
        self.ready.take_if(|ready| *ready == id);
        self.failed.take_if(|failed| *failed == id);
        self.announced.take_if(|announced| *announced == id);
        self.spent &= self.others.count > 0;
        let mut steps = Vec::new();
        if let Some(call) = self.open().filter(|call| call.peer == id) {
            steps.push(self.close(call, Reason::Left));
        }
        steps.append(&mut self.reconsider());
        steps
    }

    /// The room is recorded, or no longer.
    pub(crate) fn recorded(&mut self, active: bool) -> Vec<Step> {
        self.recording = active;
        self.reconsider()
    }

    /// The client asks for a recording: there is to be something to record.
    pub(crate) fn asked_to_record(&mut self, start: bool) -> Vec<Step> {
        self.recording |= start && self.may_record;
        self.reconsider()
    }

    /// The client publishes these.
    pub(crate) fn published(&mut self, tracks: impl Iterator<Item = TrackId>) {
        for track in tracks {
            if self.own.len() < TRACKS_MAX {
                self.own.entry(track).or_default();
            }
        }
    }

    /// The client has ended a track.
    pub(crate) fn unpublished(&mut self, track: TrackId) -> Vec<Step> {
        self.own.remove(&track);
        self.enforced.remove(&track);
        self.reconsider()
    }

    /// The client mutes or unmutes a track of its own.
    pub(crate) fn mutes(&mut self, track: TrackId, muted: bool) -> Vec<Step> {
        // While an operator mutes it, nothing changes and nothing is told.
        let told = !self.enforced.contains(&track);
        if let Some(asked) = self.own.get_mut(&track) {
            asked.untold += u32::from(muted && !asked.muted && told);
            asked.muted = muted;
        }
        self.reconsider()
    }

    /// A track is muted or unmuted, whosever doing that is.
    pub(crate) fn muted(&mut self, track: TrackId, muted: bool) -> Vec<Step> {
        match self.own.get_mut(&track) {
            Some(asked) if muted && asked.untold > 0 => asked.untold -= 1,
            Some(_) if muted => {
                self.enforced.insert(track);
            }
            _ if !muted => {
                self.enforced.remove(&track);
            }
            _ => {}
        }
        self.reconsider()
    }

    /// What another instance says.
    pub(crate) fn note(&mut self, from: ParticipantId, note: Note) -> Vec<Step> {
        let open = self.open().filter(|call| call.peer == from);
        match note {
            // Both may announce themselves at once: the call that came of the first goes on.
            Note::Ready { .. } if open.is_some() => Vec::new(),
            Note::Ready { answer } => self.announced_by(from, answer),
            Note::Start { call } => self.started_by(from, call),
            Note::End { call, reason } => match open.filter(|open| open.number == call) {
                Some(open) => {
                    if reason == Reason::Failed {
                        self.failed = Some(from);
                    }
                    let mut steps = vec![self.close(open, reason)];
                    steps.append(&mut self.reconsider());
                    steps
                }
                None => Vec::new(),
            },
            Note::Description { call, .. } | Note::Candidate { call, .. } => {
                let known = open.is_some_and(|open| open.number == call);
                known.then_some(Step::Hear(note)).into_iter().collect()
            }
            Note::Path { call, .. } => {
                let known = self
                    .call
                    .is_some_and(|c| c.number == call && c.peer == from);
                known.then_some(Step::Hear(note)).into_iter().collect()
            }
        }
    }

    /// The client has a description or a candidate for the other one.
    pub(crate) fn relay(
        &mut self,
        call: u64,
        note: Note,
    ) -> Result<Step, (ErrorCode, &'static str)> {
        let open = (self.call.as_mut()).filter(|open| open.open && open.number == call);
        let open = open.ok_or(NO_CALL)?;
        if open.messages >= DIRECT_MESSAGES_MAX {
            return Err(TOO_MANY);
        }
        open.messages += 1;
        Ok(Step::Tell(open.peer, note))
    }

    /// The client says how it gets what the other one sends.
    pub(crate) fn path(
        &mut self,
        call: u64,
        path: Path,
    ) -> Result<Vec<Step>, (ErrorCode, &'static str)> {
        let last = self.call.as_mut().filter(|last| last.number == call);
        let last = last.ok_or(NO_CALL)?;
        if path == Path::Failed {
            let last = *last;
            self.failed = Some(last.peer);
            return Ok(match last.open {
                true => self.end(last, Reason::Failed),
                false => Vec::new(),
            });
        }
        if last.paths >= DIRECT_PATHS_MAX {
            return Err(TOO_MANY);
        }
        last.paths += 1;
        Ok(vec![Step::Tell(last.peer, Note::Path { call, path })])
    }

    fn open(&self) -> Option<Call> {
        self.call.filter(|call| call.open)
    }

    /// The participant to be direct with, or why there is none.
    fn partner(&self) -> Result<ParticipantId, Reason> {
        let other = match self.others.only() {
            _ if !self.allowed || self.spent => return Err(Reason::Policy),
            Some(other) => other,
            None if self.others.count == 0 => return Err(Reason::Left),
            None => return Err(Reason::Company),
        };
        match other {
            _ if self.recording => Err(Reason::Recording),
            _ if !self.enforced.is_empty() => Err(Reason::Muted),
            other if self.failed == Some(other) => Err(Reason::Failed),
            other => Ok(other),
        }
    }

    /// Does what follows from a change.
    fn reconsider(&mut self) -> Vec<Step> {
        match (self.open(), self.partner()) {
            (Some(call), Err(reason)) => self.end(call, reason),
            (Some(call), Ok(other)) if call.peer != other => self.end(call, Reason::Company),
            (Some(_), Ok(_)) => Vec::new(),
            (None, Err(_)) => {
                self.announced = None;
                Vec::new()
            }
            (None, Ok(other)) => {
                let mut steps = Vec::new();
                if self.announced.replace(other) != Some(other) {
                    steps.push(Step::Tell(other, Note::Ready { answer: false }));
                }
                if self.ready == Some(other) && self.me < other {
                    steps.append(&mut self.start(other));
                }
                steps
            }
        }
    }

    fn announced_by(&mut self, from: ParticipantId, answer: bool) -> Vec<Step> {
        self.ready = Some(from);
        let mut steps = Vec::new();
        if !answer && self.partner() == Ok(from) {
            self.announced = Some(from);
            steps.push(Step::Tell(from, Note::Ready { answer: true }));
        }
        steps.append(&mut self.reconsider());
        steps
    }

    fn start(&mut self, peer: ParticipantId) -> Vec<Step> {
        self.calls += 1;
        let call = self.calls;
        let begin = self.begin(call, peer, true);
        vec![Step::Tell(peer, Note::Start { call }), begin]
    }

    fn started_by(&mut self, peer: ParticipantId, call: u64) -> Vec<Step> {
        match self.partner() {
            Ok(other) if other == peer => vec![self.begin(call, peer, false)],
            refused => {
                let reason = refused.err().unwrap_or(Reason::Company);
                vec![Step::Tell(peer, Note::End { call, reason })]
            }
        }
    }

    fn begin(&mut self, call: u64, peer: ParticipantId, offer: bool) -> Step {
        self.call = Some(Call {
            number: call,
            peer,
            open: true,
            messages: 0,
            paths: 0,
        });
        Step::Begin {
            call,
            participant: peer,
            offer,
        }
    }

    /// Ends a call, here and there.
    fn end(&mut self, call: Call, reason: Reason) -> Vec<Step> {
        let note = Note::End {
            call: call.number,
            reason,
        };
        vec![self.close(call, reason), Step::Tell(call.peer, note)]
    }

    /// Ends a call here.
    fn close(&mut self, call: Call, reason: Reason) -> Step {
        self.call = Some(Call {
            open: false,
            ..call
        });
        self.announced = None;
        self.ready.take_if(|ready| *ready == call.peer);
        let passing = [Reason::Company, Reason::Recording, Reason::Muted].contains(&reason);
        self.spent |= passing && !self.again;
        Step::End {
            call: call.number,
            reason,
        }
    }
}

const NO_CALL: (ErrorCode, &str) = (
    ErrorCode::WrongState,
    "no such direct call: wait for `direct`, and leave off at `direct-end`",
);
const TOO_MANY: (ErrorCode, &str) = (
    ErrorCode::LimitExceeded,
    "too many messages for one direct call",
);

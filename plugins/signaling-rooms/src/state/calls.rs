//! Direct calls, between the state machine and what [`crate::direct`] decides.

use rillway_plugin_sdk::signaling::{Action, Command, Frame, QUIET};
use rillway_plugin_sdk::types::ParticipantId;

use super::{Rooms, State};
use crate::direct::{Direct, Note, Step};
use crate::wire::{self, ServerMessage};

impl Rooms {
    /// Tells the decisions of what has happened, and does what they say. Nothing outside a room.
    pub(super) fn direct(&mut self, what: impl FnOnce(&mut Direct) -> Vec<Step>) {
        if let State::InRoom(room) = &mut self.state {
            let steps = what(&mut room.direct);
            steps.into_iter().for_each(|step| self.step(step));
        }
    }

    pub(super) fn direct_description(&mut self, id: Option<u64>, message: wire::DirectDescription) {
        if self.sdp_too_large(id, &message.sdp) {
            return;
        }
        let wire::DirectDescription { call, kind, sdp } = message;
        self.relay(id, call, Note::Description { call, kind, sdp });
    }

    pub(super) fn direct_candidate(&mut self, id: Option<u64>, message: wire::DirectCandidate) {
        let wire::DirectCandidate {
            call,
            candidate,
            mid,
        } = message;
        let note = Note::Candidate {
            call,
            candidate,
            mid,
        };
        self.relay(id, call, note);
    }

    pub(super) fn direct_path(&mut self, id: Option<u64>, message: wire::DirectPath) {
        let State::InRoom(room) = &mut self.state else {
            return;
        };
        match room.direct.path(message.call, message.path) {
            Ok(steps) => steps.into_iter().for_each(|step| self.step(step)),
            Err((code, message)) => self.error(id, code, message),
        }
    }

    /// From another client's instance. What is no note is of a version that this one does not know.
    pub(super) fn relayed(&mut self, from: ParticipantId, frame: &Frame) {
        if let Frame::Text(text) = frame
            && let Ok(note) = serde_json::from_str::<Note>(text)
        {
            self.direct(|direct| direct.note(from, note));
        }
    }

    fn relay(&mut self, id: Option<u64>, call: u64, note: Note) {
        let State::InRoom(room) = &mut self.state else {
            return;
        };
        match room.direct.relay(call, note) {
            Ok(Step::Tell(peer, note)) => {
                let action = Action::SendTo(peer, frame(&note));
                self.silently(id, action);
            }
            Ok(step) => self.step(step),
            Err((code, message)) => self.error(id, code, message),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Begin {
                call,
                participant,
                offer,
            } => {
                let participant = participant.into();
                self.send(&ServerMessage::Direct {
                    call,
                    participant,
                    offer,
                });
            }
            Step::End { call, reason } => self.send(&ServerMessage::DirectEnd { call, reason }),
            Step::Hear(note) => self.hear(&note),
            // Whoever has just left, or speaks another protocol, cannot be told: nothing depends on it.
            Step::Tell(peer, note) => self.out.push(Command {
                reference: QUIET | super::UNTOLD,
                action: Action::SendTo(peer, frame(&note)),
            }),
        }
    }

    fn hear(&mut self, note: &Note) {
        match note {
            Note::Description { call, kind, sdp } => self.send(&ServerMessage::DirectDescription {
                call: *call,
                kind: *kind,
                sdp,
            }),
            Note::Candidate {
                call,
                candidate,
                mid,
            } => self.send(&ServerMessage::DirectCandidate {
                call: *call,
                candidate,
                mid: mid.as_deref(),
            }),
            Note::Path { call, path } => self.send(&ServerMessage::DirectPath {
                call: *call,
                path: *path,
            }),
            Note::Ready { .. } | Note::Start { .. } | Note::End { .. } => {}
        }
    }
}

fn frame(note: &Note) -> Frame {
    // No map, no failing serializer: this cannot fail, and what is empty is no note.
    Frame::Text(serde_json::to_string(note).unwrap_or_default())
}

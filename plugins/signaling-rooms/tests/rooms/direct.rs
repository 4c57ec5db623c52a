//! Direct calls: two instances, or three, that tell each other as the host lets them.

use std::collections::VecDeque;

use proptest::prelude::*;
use rillway_plugin_sdk::Signaling as _;
use rillway_plugin_sdk::signaling::{Action, Command, FailureCode, Frame, Input, MidTrack, QUIET};
use rillway_plugin_sdk::signaling::{Opened, RecordingState};
use rillway_plugin_sdk::types::{Grant, ParticipantId, TrackId};
use serde_json::{Value, json};
use signaling_rooms::{Config, DirectRooms, Rooms, limits};

use crate::harness::{LIMITS, grant, participant};

const TWO: Config = Config {
    direct: DirectRooms::Two,
    direct_again: true,
};

/// A room of some clients.
struct Room {
    config: Config,
    members: Vec<Member>,
    /// What is under way: from whom (0: the host), to whom.
    mail: VecDeque<(u64, u64, Input)>,
}

struct Member {
    id: u64,
    rooms: Rooms,
    heard: Vec<Value>,
}

impl Room {
    fn new(config: Config) -> Self {
        Room {
            config,
            members: Vec::new(),
            mail: VecDeque::new(),
        }
    }

    fn of_two(config: Config) -> Self {
        let mut room = Room::new(config);
        room.join(1, true);
        room.join(2, true);
        room
    }

    fn join(&mut self, id: u64, willing: bool) {
        let mut grant = grant("pair");
        grant.record_control = true;
        self.join_with(id, willing, grant);
    }

    fn join_with(&mut self, id: u64, willing: bool, grant: Grant) {
        let rooms = Rooms::with(self.config);
        let heard = Vec::new();
        let others: Vec<u64> = self.members.iter().map(|m| m.id).collect();
        self.members.push(Member { id, rooms, heard });
        let opened = Opened {
            subprotocol: "rillway.rooms.v1".to_owned(),
            ..Opened::default()
        };
        self.host(id, Input::Opened(opened));
        self.say(
            id,
            &json!({"type": "join", "room": "pair", "direct": willing}),
        );
        self.host(id, Input::Granted(grant));
        let found = others.iter().map(|id| participant(*id, "Other", 0));
        self.host(
            id,
            Input::Joined {
                me: participant(id, "Me", 0),
                participants: found.collect(),
                tracks: Vec::new(),
                limits: LIMITS,
                ice_servers: Vec::new(),
            },
        );
        for other in others {
            let joined = Input::ParticipantJoined(participant(id, "New", 0));
            self.mail.push_back((0, other, joined));
        }
    }

    fn leave(&mut self, id: u64) {
        self.members.retain(|m| m.id != id);
        self.mail.retain(|(_, to, _)| *to != id);
        for other in self.ids() {
            let left = Input::ParticipantLeft(ParticipantId(id));
            self.mail.push_back((0, other, left));
        }
    }

    fn ids(&self) -> Vec<u64> {
        self.members.iter().map(|m| m.id).collect()
    }

    fn say(&mut self, id: u64, message: &Value) {
        self.host(id, Input::Message(Frame::Text(message.to_string())));
    }

    fn all(&mut self, input: &Input) {
        for id in self.ids() {
            self.mail.push_back((0, id, input.clone()));
        }
    }

    fn host(&mut self, id: u64, input: Input) {
        let member = self.members.iter_mut().find(|m| m.id == id);
        let member = member.expect("a member");
        for Command { reference, action } in member.rooms.handle(input) {
            match action {
                Action::Send(Frame::Text(text)) => {
                    let message = serde_json::from_str(&text).expect("we send JSON");
                    member.heard.push(message);
                }
                Action::SendTo(to, frame) => {
                    assert!(reference & QUIET != 0, "nobody waits for it");
                    let note = Input::Relayed(ParticipantId(id), frame);
                    self.mail.push_back((id, to.0, note));
                }
                _ => {}
            }
        }
    }

    /// Carries notes to whoever is still there.
    fn deliver(&mut self) {
        let mut carried = 0;
        while !self.mail.is_empty() {
            carried += 1;
            assert!(carried < 1_000, "instances talk in circles");
            self.deliver_one(0);
        }
    }

    /// Carries one, the first from its sender to its receiver.
    fn deliver_one(&mut self, pick: usize) {
        let Some(wanted) = self.mail.get(pick % self.mail.len().max(1)) else {
            return;
        };
        let way = (wanted.0, wanted.1);
        let first = self.mail.iter().position(|m| (m.0, m.1) == way);
        if let Some((_, to, input)) = first.and_then(|first| self.mail.remove(first))
            && self.ids().contains(&to)
        {
            self.host(to, input);
        }
    }

    /// The call a client is in, as far as it has heard.
    fn call_of(&self, id: u64) -> Option<(u64, String)> {
        let member = self.members.iter().find(|m| m.id == id)?;
        let mut call = None;
        for message in &member.heard {
            let number = message["call"].as_u64().unwrap_or_default();
            match message["type"].as_str().expect("a type") {
                "direct" => {
                    let other = message["participant"].as_str().expect("an id");
                    call = Some((number, other.to_owned()));
                }
                "direct-end" => call = call.filter(|(open, _)| *open != number),
                _ => {}
            }
        }
        call
    }

    /// What a client has heard of direct calls since asked last.
    fn heard(&mut self, id: u64) -> Vec<Value> {
        self.deliver();
        let member = self.members.iter_mut().find(|m| m.id == id);
        let heard = std::mem::take(&mut member.expect("a member").heard);
        let about = |m: &Value| m["type"].as_str().is_some_and(|t| t.starts_with("direct"));
        heard.into_iter().filter(about).collect()
    }

    fn errors(&mut self, id: u64) -> Vec<String> {
        let member = self.members.iter_mut().find(|m| m.id == id);
        let heard = std::mem::take(&mut member.expect("a member").heard);
        let codes = heard.iter().filter(|m| m["type"] == "error");
        codes
            .map(|m| m["code"].as_str().expect("a code").to_owned())
            .collect()
    }

    /// Both have been called, and one of them offers; the number of the call.
    #[track_caller]
    fn begun(&mut self) -> u64 {
        let (one, other) = (self.heard(1), self.heard(2));
        let call = one[0]["call"].as_u64().expect("a number");
        let begin = |participant: &str, offer: bool| json!({"type": "direct", "call": call, "participant": participant, "offer": offer});
        assert_eq!(one, [begin("2", true)]);
        assert_eq!(other, [begin("1", false)]);
        call
    }

    #[track_caller]
    fn ended(&mut self, call: u64, reasons: [&str; 2]) {
        for (id, reason) in [1, 2].into_iter().zip(reasons) {
            let end = json!({"type": "direct-end", "call": call, "reason": reason});
            assert_eq!(self.heard(id), [end], "participant {id}");
        }
    }

    #[track_caller]
    fn silent(&mut self) {
        for id in self.ids() {
            assert_eq!(self.heard(id), [] as [Value; 0], "participant {id}");
        }
    }
}

#[test]
fn two_are_called_once_policy_clients_and_grants_allow_it() {
    Room::of_two(TWO).begun();
    Room::of_two(Config::default()).silent();
    let mut unwilling = Room::new(TWO);
    unwilling.join(1, true);
    unwilling.join(2, false);
    unwilling.silent();
    let mut forbidden = Room::new(TWO);
    forbidden.join(1, true);
    let attribute = ("direct".to_owned(), "no".to_owned());
    let attributes = vec![attribute];
    let grant = Grant {
        attributes,
        ..grant("pair")
    };
    forbidden.join_with(2, true, grant);
    forbidden.silent();
}

#[test]
fn a_third_ends_it_and_its_leaving_begins_another() {
    let mut room = Room::of_two(TWO);
    let first = room.begun();
    room.join(3, true);
    room.ended(first, ["company", "company"]);
    assert_eq!(room.heard(3), [] as [Value; 0]);
    room.leave(3);
    assert!(room.begun() > first);
}

#[test]
fn it_does_not_come_back_where_that_is_not_configured() {
    let mut room = Room::of_two(Config {
        direct_again: false,
        ..TWO
    });
    let first = room.begun();
    room.join(3, true);
    room.ended(first, ["company", "company"]);
    room.leave(3);
    room.silent();
    // A new pair is another matter.
    room.leave(2);
    room.join(2, true);
    room.begun();
}

#[test]
fn a_third_that_comes_while_notes_are_under_way_is_seen_by_both() {
    let mut room = Room::new(TWO);
    room.join(1, true);
    room.join(3, true);
    room.heard(1);
    room.heard(3);
    // The one who is called knows of the third before the other one does.
    let third = participant(2, "New", 0);
    room.host(3, Input::ParticipantJoined(third));
    let ends = room.heard(1);
    assert_eq!(ends[0]["type"], "direct-end", "{ends:?}");
    let third = participant(2, "New", 0);
    room.host(1, Input::ParticipantJoined(third));
    assert_eq!(room.heard(1), [] as [Value; 0]);
}

#[test]
fn descriptions_and_candidates_reach_the_other_one() {
    let mut room = Room::of_two(TWO);
    let call = room.begun();
    let offer = json!({"type": "direct-description", "call": call, "kind": "offer", "sdp": "v=0"});
    room.say(1, &offer);
    let candidate =
        json!({"type": "direct-candidate", "call": call, "candidate": "candidate:1", "mid": "0"});
    room.say(1, &candidate);
    let path = json!({"type": "direct-path", "call": call, "path": "direct"});
    room.say(1, &path);
    assert_eq!(room.heard(2), [offer, candidate, path]);
    room.silent();
}

#[test]
fn nothing_is_relayed_without_a_call_or_after_it_but_the_way_back() {
    let mut room = Room::of_two(TWO);
    let call = room.begun();
    let description =
        |call| json!({"type": "direct-description", "call": call, "kind": "offer", "sdp": "v=0"});
    room.say(1, &description(call + 1));
    assert_eq!(room.errors(1), ["wrong_state"]);
    room.join(3, true);
    for id in [1, 2] {
        room.heard(id);
    }
    room.say(1, &description(call));
    assert_eq!(room.errors(1), ["wrong_state"]);
    room.say(3, &description(call));
    assert_eq!(room.errors(3), ["wrong_state"]);
    let path = json!({"type": "direct-path", "call": call, "path": "router"});
    room.say(1, &path);
    assert_eq!(room.heard(2), [path]);
    assert_eq!(room.heard(3), [] as [Value; 0]);
}

#[test]
fn what_is_relayed_is_bounded() {
    let mut room = Room::of_two(TWO);
    let call = room.begun();
    let candidate = json!({"type": "direct-candidate", "call": call, "candidate": "candidate:1"});
    for _ in 0..limits::DIRECT_MESSAGES_MAX {
        room.say(1, &candidate);
    }
    assert_eq!(room.errors(1), [] as [&str; 0]);
    room.say(1, &candidate);
    assert_eq!(room.errors(1), ["limit_exceeded"]);
    let path = json!({"type": "direct-path", "call": call, "path": "direct"});
    for _ in 0..=limits::DIRECT_PATHS_MAX {
        room.say(1, &path);
    }
    assert_eq!(room.errors(1), ["limit_exceeded"]);
    let long = "x".repeat(LIMITS.sdp_bytes as usize + 1);
    let description =
        json!({"type": "direct-description", "call": call, "kind": "offer", "sdp": long});
    room.say(2, &description);
    assert_eq!(room.errors(2), ["limit_exceeded"]);
}

#[test]
fn one_that_does_not_connect_is_not_tried_again_with_the_same() {
    let mut room = Room::of_two(TWO);
    let call = room.begun();
    room.say(
        2,
        &json!({"type": "direct-path", "call": call, "path": "failed"}),
    );
    room.ended(call, ["failed", "failed"]);
    room.join(3, true);
    room.leave(3);
    room.silent();
    room.leave(2);
    room.join(2, true);
    room.begun();
}

#[test]
fn a_recording_is_one_of_the_routers() {
    let mut room = Room::of_two(TWO);
    let call = room.begun();
    room.say(1, &json!({"type": "record", "id": 1, "start": true}));
    // Before anything is recorded: there is to be something to record.
    room.ended(call, ["recording", "recording"]);
    let state = |active| RecordingState {
        active,
        by: None,
        tracks: Vec::new(),
    };
    room.all(&Input::Recording(state(true)));
    room.silent();
    room.all(&Input::Recording(state(false)));
    let call = room.begun();
    // An operator asked for it.
    room.all(&Input::Recording(state(true)));
    room.ended(call, ["recording", "recording"]);
}

#[test]
fn a_mute_of_an_operator_is_one_of_the_routers_and_ones_own_is_not() {
    let mut room = Room::of_two(TWO);
    let call = room.begun();
    let track = TrackId(0x10);
    let tracks = vec![MidTrack {
        mid: "0".to_owned(),
        track: Some(track),
    }];
    let sdp = "v=0".to_owned();
    room.host(
        1,
        Input::Answer {
            reference: 0,
            sdp,
            tracks,
        },
    );
    for muted in [true, false] {
        room.say(
            1,
            &json!({"type": "mute", "id": 3, "track": "10", "muted": muted}),
        );
        room.all(&Input::TrackMuted(track, muted));
    }
    room.silent();
    room.all(&Input::TrackMuted(track, true));
    room.ended(call, ["muted", "muted"]);
    room.all(&Input::TrackMuted(track, false));
    room.begun();
}

#[test]
fn whoever_is_left_hears_so() {
    let mut room = Room::of_two(TWO);
    let call = room.begun();
    room.leave(2);
    let end = json!({"type": "direct-end", "call": call, "reason": "left"});
    assert_eq!(room.heard(1), [end]);
}

#[test]
fn a_note_that_cannot_be_delivered_is_no_error_of_the_client() {
    let mut room = Room::new(TWO);
    room.join(1, true);
    let joined = Input::ParticipantJoined(participant(9, "Whip", 0));
    let member = &mut room.members[0];
    let commands = member.rooms.handle(joined);
    let told = commands
        .iter()
        .find(|c| matches!(c.action, Action::SendTo(..)));
    let failure = Input::Failed {
        reference: told.expect("it is announced").reference,
        code: FailureCode::NotFound,
        message: "no participant of this room by this protocol".to_owned(),
    };
    room.host(1, failure);
    assert_eq!(room.errors(1), [] as [&str; 0]);
}

#[derive(Debug, Clone)]
enum Event {
    Join(u64),
    Leave(u64),
    Recorded(bool),
    Deliver(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        2 => (1u64..5).prop_map(Event::Join),
        2 => (1u64..5).prop_map(Event::Leave),
        1 => any::<bool>().prop_map(Event::Recorded),
        8 => (0usize..20).prop_map(Event::Deliver),
    ];
    prop::collection::vec(event, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// In whatever order news and notes arrive, in the end two who are alone are in one call, and others in none.
    #[test]
    fn in_the_end_all_agree(events in events()) {
        let mut room = Room::new(TWO);
        let mut recorded = false;
        // Ids are never reused.
        let mut present = std::collections::BTreeMap::new();
        let mut next = 0;
        for event in events {
            match event {
                Event::Join(who) if !recorded && !present.contains_key(&who) => {
                    next += 1;
                    present.insert(who, next);
                    room.join(next, true);
                }
                Event::Leave(who) => {
                    if let Some(id) = present.remove(&who) {
                        room.leave(id);
                    }
                }
                Event::Recorded(active) => {
                    recorded = active;
                    room.all(&Input::Recording(RecordingState { active, by: None, tracks: Vec::new() }));
                }
                Event::Deliver(pick) => room.deliver_one(pick),
                Event::Join(_) => {}
            }
        }
        room.deliver();
        let ids = room.ids();
        let calls: Vec<_> = ids.iter().map(|id| room.call_of(*id)).collect();
        match ids.as_slice() {
            [one, other] if !recorded => {
                let (first, second) = (calls[0].clone(), calls[1].clone());
                let (first, second) = (first.expect("a call"), second.expect("a call"));
                prop_assert_eq!(first.0, second.0);
                prop_assert_eq!((first.1, second.1), (format!("{other:x}"), format!("{one:x}")));
            }
            _ => prop_assert!(calls.iter().all(Option::is_none), "{:?}", calls),
        }
    }
}

use proptest::prelude::*;
use sdk::Recording as _;
use sdk::recording::{Failure, FailureCause, Recorded};
use sdk::testing::{self, Host};
use sdk::types::{MediaKind, ParticipantId, Source, Track};

use super::*;

const ADA: Option<ParticipantId> = Some(ParticipantId(1));
const BOB: Option<ParticipantId> = Some(ParticipantId(2));

fn open(config: &str) -> RecordOnRequest {
    testing::install(Host {
        config: config.to_owned(),
        ..Host::default()
    });
    let mut policy: RecordOnRequest = testing::start().expect("a good configuration");
    policy.decide(Event::RoomOpened("room".to_owned()));
    policy
}

fn published(id: u64) -> Event {
    Event::TrackPublished(Track {
        id: TrackId(id),
        owner: ParticipantId(1),
        kind: MediaKind::Audio,
        source: Source::Microphone,
        codec: "opus".to_owned(),
        encrypted: false,
        muted: false,
        layers: Vec::new(),
        attributes: Vec::new(),
    })
}

fn asked(start: bool, by: Option<ParticipantId>, tracks: &[&str]) -> Event {
    let track = |number: &&str| ("track".to_owned(), (*number).to_owned());
    let mut attributes: Vec<_> = tracks.iter().map(track).collect();
    attributes.push(("unknown".to_owned(), "x".to_owned()));
    Event::Requested(Request {
        start,
        by,
        attributes,
    })
}

/// `+` and `-` with the tracks that are started and stopped.
fn words(orders: &[Order]) -> String {
    let word = |order: &Order| match order {
        Order::Start(start) => format!("+{}", start.track.0),
        Order::Stop(track) => format!("-{}", track.0),
        Order::TickEveryMs(period) => format!("tick {period}"),
    };
    orders.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// A room with tracks 1 and 2, and what it orders.
struct World(RecordOnRequest);

impl World {
    fn new(config: &str) -> Self {
        let mut world = World(open(config));
        assert_eq!(world.tell(published(1)), "");
        assert_eq!(world.tell(published(2)), "");
        world
    }

    fn tell(&mut self, event: Event) -> String {
        words(&self.0.decide(event))
    }

    fn ask(&mut self, start: bool, by: Option<ParticipantId>, tracks: &[&str]) -> String {
        self.tell(asked(start, by, tracks))
    }
}

#[test]
fn nothing_is_recorded_before_it_is_asked_for_and_everything_after() {
    let mut world = World::new("{}");
    assert_eq!(world.tell(Event::Speakers(Vec::new())), "");
    assert_eq!(world.ask(true, ADA, &[]), "+1 +2");
    assert_eq!(world.ask(true, BOB, &[]), "", "it is recorded already");
    assert_eq!(world.tell(published(3)), "+3");
    assert_eq!(world.tell(Event::TrackUnpublished(TrackId(1))), "");
    assert_eq!(world.ask(false, BOB, &[]), "-2 -3", "whoever began it");
    assert_eq!(world.tell(published(4)), "");
    assert_eq!(world.ask(true, None, &[]), "+2 +3 +4");
    assert_eq!(world.tell(Event::RoomClosed), "");
}

#[test]
fn single_tracks_can_be_asked_for() {
    let mut world = World::new("{}");
    assert_eq!(world.ask(true, ADA, &["2"]), "+2");
    assert_eq!(world.tell(published(3)), "", "the others are not");
    assert_eq!(world.ask(false, ADA, &["2"]), "-2");
    assert_eq!(world.ask(true, ADA, &[]), "+1 +2 +3");
    assert_eq!(world.ask(false, ADA, &["1", "3"]), "-1 -3");
    assert_eq!(world.tell(published(4)), "+4");
    assert_eq!(world.ask(true, BOB, &["3"]), "+3");
    assert_eq!(world.ask(true, BOB, &[]), "+1", "everything again");
}

#[test]
fn a_request_for_tracks_that_are_not_there_is_not_one_for_everything() {
    let mut world = World::new("{}");
    assert_eq!(world.ask(true, ADA, &["9"]), "");
    assert_eq!(world.ask(true, ADA, &["one", "-1", ""]), "");
    assert_eq!(world.tell(published(9)), "", "nor one for later");
    let logged = testing::with(|host| host.log.len());
    assert_eq!(logged, 4);
    assert_eq!(world.ask(true, ADA, &["x", "1"]), "+1", "what is there is");
}

#[test]
fn a_stop_is_heeded_by_an_instance_that_began_nothing() {
    let mut world = World::new("{}");
    assert_eq!(world.ask(false, ADA, &[]), "-1 -2");
    assert_eq!(world.tell(published(3)), "");
}

#[test]
fn it_ends_when_all_who_asked_left_if_so_configured() {
    let left = |who: Option<ParticipantId>| Event::ParticipantLeft(who.expect("a participant"));
    let mut world = World::new(r#"{"until_requesters_leave": true}"#);
    world.ask(true, ADA, &[]);
    world.ask(true, BOB, &["1"]);
    assert_eq!(world.tell(left(ADA)), "-2", "somebody else wants 1");
    assert_eq!(world.tell(left(BOB)), "-1");
    world.ask(true, None, &[]);
    world.ask(true, ADA, &[]);
    assert_eq!(world.tell(left(ADA)), "", "an operator does not leave");
    let mut world = World::new("{}");
    world.ask(true, ADA, &[]);
    assert_eq!(world.tell(left(ADA)), "");
}

#[test]
fn what_fails_is_tried_again_while_it_is_wanted() {
    let mut world = World::new("{}");
    world.ask(true, ADA, &[]);
    let failed = |track| {
        Event::Failed(Failure {
            track: TrackId(track),
            cause: FailureCause::DiskFull,
            message: "the disk is full".to_owned(),
        })
    };
    assert_eq!(world.tell(failed(1)), "tick 5000");
    assert_eq!(world.tell(failed(2)), "");
    assert_eq!(world.ask(false, ADA, &["2"]), "", "it is not recorded now");
    testing::with(|host| host.monotonic_ns = 15_000_000_000);
    assert_eq!(world.tell(Event::Tick), "+1 tick 0");
}

#[test]
fn many_requesters_take_no_more_room() {
    let mut world = World::new(r#"{"until_requesters_leave": true}"#);
    for who in 0..1_000 {
        world.ask(true, Some(ParticipantId(who)), &["1"]);
    }
    let memory = format!("{:?}", world.0.wishes);
    let remembered = memory.matches("ParticipantId").count();
    assert_eq!(remembered, 64);
}

#[test]
fn configuration_is_typed() {
    let problem = |json: &str| {
        testing::install(Host {
            config: json.to_owned(),
            ..Host::default()
        });
        testing::start::<RecordOnRequest>()
            .map(|_| ())
            .expect_err(json)
    };
    let wrong = problem(r#"{"until_requesters_leave": 1}"#);
    assert!(
        wrong.contains("`until_requesters_leave`: invalid type"),
        "{wrong}"
    );
    assert!(problem(r#"{"rooms": []}"#).contains("unknown field `rooms`"));
    assert!(problem(r#"{"files": {"segment_s": 1}}"#).contains("`files.segment_s`"));
}

proptest! {
    /// Whatever is asked for and published in whatever order: orders agree with a plain account of who wants
    /// what, nothing is started twice, and a stop of everything leaves nothing.
    #[test]
    fn orders_follow_the_wishes(
        steps in prop::collection::vec((0..6_u8, 0..4_u64, 0..2_u64), 0..60),
    ) {
        let mut world = World(open(r#"{"until_requesters_leave": true}"#));
        let mut tracks = std::collections::BTreeSet::new();
        let mut recorded = std::collections::BTreeSet::new();
        // Who wants all, who wants which, and what is left out of all.
        let (mut all, mut single, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
        for (what, track, who) in steps {
            let by = Some(ParticipantId(who));
            let number = track.to_string();
            let there = tracks.contains(&track);
            let event = match what {
                0 if !there => {
                    tracks.insert(track);
                    published(track)
                }
                0 | 1 => {
                    tracks.remove(&track);
                    recorded.remove(&track);
                    single.retain(|(id, _)| *id != track);
                    left_out.retain(|id| *id != track);
                    Event::TrackUnpublished(TrackId(track))
                }
                2 => {
                    all.push(by);
                    left_out.clear();
                    asked(true, by, &[])
                }
                3 if there => {
                    single.push((track, by));
                    asked(true, by, &[&number])
                }
                4 if there => {
                    single.retain(|(id, _)| *id != track);
                    left_out.push(track);
                    asked(false, by, &[&number])
                }
                5 if who == 0 => {
                    all.clear();
                    single.clear();
                    left_out.clear();
                    asked(false, by, &[])
                }
                _ => {
                    all.retain(|one| *one != by);
                    single.retain(|(_, one)| *one != by);
                    Event::ParticipantLeft(ParticipantId(who))
                }
            };
            for order in world.0.decide(event) {
                match order {
                    Order::Start(start) => prop_assert!(recorded.insert(start.track.0)),
                    Order::Stop(track) => {
                        recorded.remove(&track.0);
                    }
                    Order::TickEveryMs(period) => prop_assert!(period >= 1_000),
                }
            }
            let wanted = |id: &&u64| {
                (!all.is_empty() && !left_out.contains(*id)) || single.iter().any(|(one, _)| one == *id)
            };
            let wanted: std::collections::BTreeSet<u64> = tracks.iter().filter(wanted).copied().collect();
            prop_assert_eq!(&recorded, &wanted);
        }
    }
}

#[test]
fn what_an_instance_before_began_goes_on_until_somebody_stops_it() {
    let mut world = World::new("{}");
    let recorded = |id| Recorded {
        track: TrackId(id),
        name: "a".to_owned(),
        attributes: Vec::new(),
    };
    assert_eq!(world.tell(Event::Recording(vec![recorded(1)])), "");
    assert_eq!(world.tell(Event::Speakers(Vec::new())), "");
    assert_eq!(world.ask(true, ADA, &[]), "+2");
    assert_eq!(world.ask(false, BOB, &[]), "-1 -2");
}

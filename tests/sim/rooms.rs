//! Rooms as people use them: everybody publishes, everybody receives, everybody leaves.

use std::time::Duration;

use rillway_core::stats::DropCause;
use rillway_tests::media::TrackSpec;
use rillway_tests::world::checks::SOON;
use rillway_tests::world::{Who, World};

fn call(world: &mut World, room: &str, size: usize) -> Vec<Who> {
    (0..size)
        .map(|_| world.join(room, vec![TrackSpec::audio(), TrackSpec::video(2)]))
        .collect()
}

fn all_hear_all(world: &World, room: &[Who]) -> bool {
    room.iter().all(|to| {
        room.iter()
            .all(|from| to == from || world.hears(*to, *from))
    })
}

fn assert_all_complete(world: &World, room: &[Who]) {
    for to in room {
        for from in room.iter().filter(|from| *from != to) {
            world.assert_complete(*to, *from, 0, 150);
            world.assert_complete(*to, *from, 1, 150);
        }
    }
}

#[test]
fn two_people_see_and_hear_each_other() {
    let mut world = World::with_shard(1);
    let room = call(&mut world, "pair", 2);
    let heard = world.run_until(SOON, |w| all_hear_all(w, &room));
    assert!(heard, "not everybody is heard");
    world.run_for(Duration::from_secs(12));
    world.stop_media();
    assert_all_complete(&world, &room);
    world.assert_sound();
    for who in &room {
        for published in &world.client(*who).published {
            assert!(
                published.layers[0].sequence > 560,
                "too short to cross the wrap"
            );
        }
    }
}

#[test]
fn fifty_rooms_of_four_lose_nothing_and_cross_nothing() {
    let mut world = World::with_shard(2);
    let mut rooms = Vec::new();
    for number in 0..50 {
        rooms.push(call(&mut world, &format!("room-{number}"), 4));
        // People do not all arrive in one instant.
        world.run_for(Duration::from_millis(7));
    }
    let heard = world.run_until(SOON, |w| rooms.iter().all(|room| all_hear_all(w, room)));
    assert!(heard, "not everybody is heard");
    assert_eq!(world.stats(0).rooms, 50);
    assert_eq!(world.stats(0).participants, 200);
    assert_eq!(world.stats(0).tracks, 400);
    assert_eq!(world.stats(0).subscriptions, 1_200);
    assert_eq!(world.stats(0).transports, [0, 0, 400, 0]);
    world.run_for(Duration::from_secs(2));
    world.stop_media();
    for room in &rooms {
        assert_all_complete(&world, room);
    }
    world.assert_sound();
    assert_eq!(world.stats(0).dropped, [0; DropCause::COUNT]);

    // Half of the people say goodbye, the other half's connections just break: the control side
    // tells the core of both.
    for (i, who) in rooms.concat().into_iter().enumerate() {
        world.with(who, |c, _| c.leave());
        if i % 2 == 0 {
            world.run_for(Duration::from_millis(3));
        }
    }
    world.run_for(Duration::from_secs(1));
    world.assert_empty(0);
}

#[test]
fn leaving_frees_everything_and_is_told_to_the_others() {
    let mut world = World::with_shard(3);
    let room = call(&mut world, "r", 3);
    assert!(world.run_until(SOON, |w| all_hear_all(w, &room)));
    let [a, b, c] = room[..] else { unreachable!() };
    let gone = world.client(c).me.expect("joined");
    let tracks = [world.track(c, 0), world.track(c, 1)];
    world.with(c, |client, _| client.leave());
    world.run_for(Duration::from_millis(100));
    for who in [a, b] {
        let client = world.client(who);
        assert!(!client.roster.contains_key(&gone));
        assert!(tracks.iter().all(|t| !client.tracks.contains_key(t)));
    }
    assert_eq!(world.stats(0).participants, 2);
    assert_eq!(world.stats(0).tracks, 4);
    assert_eq!(world.stats(0).subscriptions, 4);

    // Nothing more arrives of who left, and the rest goes on.
    let before = world.client(a).inbound[&tracks[0]].packets;
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.client(a).inbound[&tracks[0]].packets, before);
    world.stop_media();
    world.assert_complete(a, b, 1, 150);
    world.assert_sound();

    world.with(a, |client, _| client.leave());
    world.with(b, |client, _| client.leave());
    world.run_for(Duration::from_secs(1));
    world.assert_empty(0);
}

#[test]
fn who_leaves_can_come_back_and_is_somebody_new() {
    let mut world = World::with_shard(4);
    let room = call(&mut world, "r", 2);
    let [a, b] = room[..] else { unreachable!() };
    assert!(world.run_until(SOON, |w| all_hear_all(w, &room)));
    for _ in 0..3 {
        let old = (world.client(a).me, world.track(a, 0));
        world.with(a, |client, _| client.leave());
        world.run_for(Duration::from_millis(50));
        world.with(a, |client, _| client.join());
        assert!(world.run_until(SOON, |w| w.client(a).published.len() == 2
            && w.client(a).published.iter().all(|p| p.track.is_some())
            && w.hears(b, a)
            && w.hears(a, b)));
        assert_ne!(world.client(a).me, old.0);
        assert_ne!(world.track(a, 0), old.1);
    }
    world.assert_sound();
}

#[test]
fn a_late_joiner_starts_with_a_key_frame_and_gets_all_that_follows() {
    let mut world = World::with_shard(5);
    let early = world.join("r", vec![TrackSpec::audio(), TrackSpec::video(3)]);
    world.run_for(Duration::from_secs(5));
    let sent = world.client(early).published[1].layers[0].sequence;
    assert!(sent > 300);
    let late = world.join("r", vec![]);
    assert!(world.run_until(SOON, |w| w.hears(late, early)));
    let first = world.inbound(late, early, 1).and_then(|i| i.first);
    let first = first.expect("video").body;
    assert!(first.keyframe && first.index == 0 && first.sequence >= sent);
    let requests = world.client(early).published[1].layers[0].keyframe_requests;
    assert!((1..=3).contains(&requests), "{requests} key frame requests");
    world.run_for(Duration::from_secs(2));
    world.stop_media();
    world.assert_complete(late, early, 0, 1_000);
    world.assert_complete(late, early, 1, 1_000);
    world.assert_sound();
}

#[test]
fn many_late_joiners_cost_the_publisher_about_one_key_frame_a_second() {
    let mut world = World::with_shard(6);
    let publisher = world.join("r", vec![TrackSpec::video(2)]);
    world.run_for(Duration::from_secs(2));
    let before = world.client(publisher).published[0].layers[0].keyframes;
    let late: Vec<_> = (0..30)
        .map(|_| {
            world.run_for(Duration::from_millis(100));
            world.join("r", vec![])
        })
        .collect();
    assert!(world.run_until(SOON, |w| late.iter().all(|l| w.hears(*l, publisher))));
    let keyframes = world.client(publisher).published[0].layers[0].keyframes - before;
    assert!(
        (2..=8).contains(&keyframes),
        "{keyframes} key frames in about 4 s"
    );
    world.assert_sound();
}

#[test]
fn loss_on_the_way_is_mended_for_video() {
    use str0m_netem::{NetemConfig, Probability, RandomLoss};
    let mut world = World::with_shard(7);
    let room = call(&mut world, "r", 3);
    assert!(world.run_until(SOON, |w| all_hear_all(w, &room)));
    for who in &room {
        let lossy = NetemConfig::new()
            .latency(Duration::from_millis(20))
            .loss(RandomLoss::new(Probability::new(0.03)));
        let seed = who.0 as u64 * 2 + 77;
        let (up, down) = world.links(*who);
        up.set_config(lossy.seed(seed));
        down.set_config(lossy.seed(seed + 1));
    }
    world.run_for(Duration::from_secs(10));
    // The last packets must not be lost without a successor that shows it.
    for who in &room {
        let clean = NetemConfig::new().latency(Duration::from_millis(20));
        let (up, down) = world.links(*who);
        up.set_config(clean);
        down.set_config(clean);
    }
    world.run_for(Duration::from_secs(1));
    world.stop_media();
    let mut sent = 0;
    let mut lost = 0;
    for to in &room {
        for from in room.iter().filter(|f| *f != to) {
            let inbound = world.inbound(*to, *from, 1).expect("video");
            let packets = world.client(*from).published[1].layers[0].sequence;
            sent += packets as usize;
            lost += inbound.missing(0, packets).len();
        }
        assert_eq!(world.client(*to).violations, Vec::<String>::new());
    }
    assert!(sent > 3_000);
    assert!(
        lost * 200 < sent,
        "{lost} of {sent} video packets lost for good"
    );
}

#[test]
fn a_run_repeats_from_its_seed() {
    let run = || {
        let mut world = World::with_shard(99);
        let room = call(&mut world, "r", 3);
        world.run_for(Duration::from_secs(3));
        let mut trace = Vec::new();
        for to in &room {
            for from in room.iter().filter(|f| *f != to) {
                trace.push((world.received(*to, *from, 0), world.received(*to, *from, 1)));
            }
        }
        let stats = *world.stats(0);
        (trace, stats)
    };
    let first = run();
    assert!(
        first
            .0
            .iter()
            .all(|(audio, video)| *audio > 100 && *video > 100)
    );
    assert_eq!(first, run());
}

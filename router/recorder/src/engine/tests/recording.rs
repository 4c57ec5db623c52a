//! When the disk does as it should.

use std::time::Duration;

use super::world::{World, packet};
use crate::api::{Codec, Container, Event, Order, TrackId};
use crate::sidecar::State;

#[test]
fn tracks_of_a_name_share_a_file_and_others_do_not() {
    let mut world = World::new(|_| {});
    world.start(1, 7, "talk", Container::Mp4);
    world.start(2, 7, "talk", Container::Mp4);
    world.start(3, 8, "talk", Container::Mp4);
    world.start(4, 7, "talk", Container::Webm);
    for _ in 0..40 {
        (1..=4).for_each(|track| world.packet(track, 1_000, true));
        world.turn();
    }
    assert_eq!(world.stats().tracks, 4);
    assert_eq!(world.stats().files_open, 3);
    (1..=4).for_each(|track| world.stop(track));
    world.run(20);
    let names = ["class/talk-2.mp4", "class/talk.mp4", "class/talk.webm"];
    assert_eq!(world.disk.finished(), names);
    assert_eq!(world.disk.bytes("class/talk.mp4").len(), 80_000);
    assert_eq!(world.disk.bytes("class/talk.mp4")[0], b'E');
    assert_eq!(world.stats().written_bytes, 160_000);
    let mut finished = world.finished();
    finished.sort_unstable();
    let expected = [
        (1, "class/talk.mp4"),
        (2, "class/talk.mp4"),
        (3, "class/talk-2.mp4"),
        (4, "class/talk.webm"),
    ];
    assert_eq!(finished, expected);
    assert_eq!(world.failed(), []);
    let sidecar = world.sidecar();
    assert_eq!(sidecar.room, "class");
    assert_eq!(sidecar.participants.len(), 2);
    assert_eq!(sidecar.tracks.len(), 4);
    assert_eq!(sidecar.files.len(), 3);
    assert!(
        sidecar
            .files
            .iter()
            .all(|file| file.state == State::Finished)
    );
    assert_eq!(sidecar.ended, None);
    world
        .core
        .order(Order::RoomClosed("class".into()), world.now.at, world.now);
    world.run(30);
    assert!(world.sidecar().ended.is_some());
    assert_eq!(world.core.wait(), None, "nothing is left to be done");
}

#[test]
fn what_is_older_than_a_second_is_durable() {
    let mut world = World::new(|_| {});
    world.start(1, 1, "a", Container::Mp4);
    let mut behind = Vec::new();
    for turn in 0..400 {
        world.packet(1, 100, true);
        world.turn();
        if turn > 10 {
            let file = &world.disk.files["class/a.mp4"];
            behind.push((turn + 1) * 100 - file.durable.len());
        }
    }
    // A second, the delay of writes, and what passes between job and answer: 51 turns.
    let worst = behind.iter().max().expect("some");
    assert!(*worst <= 5_100, "{worst} bytes behind");
    let syncs = world.disk.jobs["sync"];
    assert!((8..=11).contains(&syncs), "{syncs} syncs in ten seconds");
}

#[test]
fn a_room_that_closes_ends_its_recordings() {
    let mut world = World::new(|_| {});
    world.start(1, 1, "a", Container::RtpDump);
    world.packet(1, 100, true);
    world.run(4);
    world
        .core
        .order(Order::RoomClosed("class".into()), world.now.at, world.now);
    world.run(40);
    assert_eq!(world.finished(), [(1, "class/a.rtpd")]);
    assert_eq!(world.stats().tracks, 0);
    // The same name is another room's now.
    world.start(2, 1, "a", Container::RtpDump);
    world.packet(2, 100, true);
    world.run(4);
    world.stop(2);
    world.run(40);
    assert_eq!(world.finished().last(), Some(&(2, "class/a-2.rtpd")));
    assert_eq!(world.failed(), []);
}

#[test]
fn a_track_without_a_packet_leaves_no_file() {
    let mut world = World::new(|_| {});
    world.start(1, 1, "a", Container::Mp4);
    world.run(4);
    world.stop(1);
    world.run(10);
    assert!(world.disk.files.is_empty());
    assert_eq!(world.events, []);
}

#[test]
fn what_a_film_cannot_take_fails_with_its_reason() {
    let mut world = World::new(|_| {});
    world.start(1, 1, "a", Container::Mp4);
    let mut other = packet(1, world.now.at, 10, true);
    other.codec = Codec::Other;
    world.item(1, other, 0);
    world.run(4);
    assert_eq!(world.failed(), [(1, "its codec is not known")]);
    assert_eq!(world.stats().tracks, 0);
    let track = &world.sidecar().tracks[0];
    assert_eq!(track.failed.as_deref(), Some("its codec is not known"));
    // It may be tried again.
    world.start(1, 1, "a", Container::Mp4);
    world.packet(1, 10, true);
    world.run(4);
    assert_eq!(world.events.last(), Some(&Event::Started(TrackId(1))));
}

#[test]
fn a_shut_recorder_finishes_and_takes_nothing_more() {
    let mut world = World::new(|_| {});
    world.start(1, 1, "a", Container::Mp4);
    world.packet(1, 10, true);
    world.run(2);
    world.core.shut(world.now);
    world.start(2, 1, "b", Container::Mp4);
    assert!(!world.core.is_done());
    world.run(20);
    assert!(world.core.is_done());
    assert_eq!(world.finished(), [(1, "class/a.mp4")]);
    assert_eq!(world.failed(), [(2, "the router is shutting down")]);
    assert!(world.sidecar().ended.is_some());
}

#[test]
fn segments_of_a_dump_are_files() {
    let mut world = World::new(|_| {});
    let mut start = super::world::start(1, 1, "a", Container::RtpDump);
    start.segment = Some(Duration::from_secs(1));
    world
        .core
        .order(Order::Start(Box::new(start)), world.now.at, world.now);
    for n in 0..120 {
        world.packet(1, 100, n % 50 == 0);
        world.turn();
    }
    world.stop(1);
    world.run(20);
    let names = ["class/a-2.rtpd", "class/a-3.rtpd", "class/a.rtpd"];
    assert_eq!(world.disk.finished(), names);
    assert_eq!(world.finished().len(), 3);
    for name in names {
        let report = crate::dump::check(world.disk.bytes(name)).expect("a dump");
        assert!(report.complete, "{name}: {report:?}");
        assert_eq!(report.tracks[0].keyframes, 1, "{name}");
    }
}

#[test]
fn long_rooms_have_several_sidecars() {
    let mut world = World::new(|_| {});
    for track in 0..1_050 {
        world.start(track, 1, &format!("t{track}"), Container::Mp4);
        world.packet(track, 10, true);
        world.turn();
        world.stop(track);
    }
    world.run(60);
    assert_eq!(world.disk.finished().len(), 1_050);
    let read = |json: &Vec<u8>| crate::sidecar::Sidecar::from_json(json).expect("is read");
    let sidecars: Vec<_> = world.disk.sidecars.values().map(read).collect();
    let files: Vec<_> = sidecars.iter().map(|s| s.files.len()).collect();
    assert_eq!(files, [1_000, 50]);
    assert!(sidecars[0].ended.is_some() && sidecars[1].ended.is_none());
}

#[test]
fn packets_of_a_recording_before_are_not_of_the_next() {
    let mut world = World::new(|_| {});
    let old = packet(1, world.now.at, 10, true);
    world.run(4);
    world.start(1, 1, "a", Container::Mp4);
    world.item(1, old, 0);
    world.run(4);
    assert!(world.disk.files.is_empty());
    world.packet(1, 10, true);
    world.run(4);
    assert!(world.disk.files.contains_key("class/a.mp4"));
}

/// What replaces something is written when all before it is durable, and is durable then, too; and nothing is
/// waited for, as before that nobody can play what was appended.
#[test]
fn what_is_replaced_was_durable() {
    use crate::disk::{FileId, Job};
    use crate::film::Write;

    let world = World::new(|_| {});
    let mut now = world.now;
    let place = ("room".to_owned(), "a".to_owned());
    let room = crate::disk::RoomId(0);
    let mut file = crate::engine::file::File::new(room, Container::Mp4, Vec::new(), place, now);
    let (mut jobs, mut pushed) = (Vec::new(), 0);
    for turn in 0..60 {
        if turn % 20 == 1 {
            pushed = turn;
            let bytes = vec![1; 100];
            file.push(Write::Append(bytes), now.at);
            for _ in 0..2 {
                let (offset, bytes) = (0, vec![2; 8]);
                file.push(Write::Overwrite { offset, bytes }, now.at);
            }
        }
        now.at += Duration::from_millis(25);
        let Some((job, _)) = file.next(FileId(0), now.at) else {
            continue;
        };
        assert!(turn - pushed < 5, "{job:?} in turn {turn}");
        match job {
            Job::Create { .. } => {
                file.created(crate::disk::Place::new("room", "a.mp4").expect("a place"));
            }
            Job::Write { bytes, .. } => {
                jobs.push(if bytes.len() == 8 {
                    "replace"
                } else {
                    "append"
                });
                file.wrote();
            }
            Job::Sync { .. } => {
                jobs.push("sync");
                file.synced(now.at + Duration::from_secs(1));
            }
            other => panic!("{other:?}"),
        }
    }
    let once = ["append", "sync", "replace", "replace", "sync"];
    assert_eq!(jobs, [once; 3].concat());
}

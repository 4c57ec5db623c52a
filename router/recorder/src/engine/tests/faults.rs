//! When it does not.

use std::time::Duration;

use rustix::io::Errno;

use super::world::World;
use crate::api::{Bounds, Container, Event, Order, TrackId};
use crate::sidecar::State;

#[test]
fn low_space_stops_cleanly_with_one_alarm_and_goes_on_later() {
    let mut world = World::new(|_| {});
    for track in 0..10 {
        world.start(track, track, "a", Container::Mp4);
    }
    for _ in 0..40 {
        (0..10).for_each(|track| world.packet(track, 500, true));
        world.turn();
    }
    world.disk.free = 999_999;
    world.run(100);
    assert_eq!(world.disk.finished().len(), 10);
    assert_eq!(world.finished().len(), 10);
    assert_eq!(world.failed().len(), 10);
    let reason = world.failed()[0].1;
    assert!(reason.contains("999999 bytes are free"), "{reason}");
    assert_eq!((world.stats().alarms, world.stats().stopped), (1, 1));
    // Nothing starts, and nobody is told again.
    world.start(20, 1, "b", Container::Mp4);
    world.packet(20, 10, true);
    world.run(100);
    assert_eq!(world.failed().len(), 11);
    assert_eq!(world.disk.finished().len(), 10);
    // Just above the bound is not enough.
    world.disk.free = 1_000_001;
    world.run(100);
    assert_eq!(world.stats().stopped, 1);
    world.disk.free = 1_200_000;
    world.run(100);
    assert_eq!((world.stats().alarms, world.stats().stopped), (1, 0));
    world.start(20, 1, "b", Container::Mp4);
    world.packet(20, 10, true);
    world.run(10);
    assert_eq!(world.events.last(), Some(&Event::Started(TrackId(20))));
    world.disk.free = 5;
    world.run(100);
    assert_eq!(world.stats().alarms, 2, "a new case, a new alarm");
}

#[test]
fn a_full_disk_leaves_whole_appends() {
    let mut world = World::new(|settings| settings.free_bytes_least = 0);
    world.disk.free = 100_500;
    world.start(1, 1, "a", Container::Mp4);
    world.start(2, 2, "b", Container::Mp4);
    for _ in 0..100 {
        world.packet(1, 1_000, true);
        world.packet(2, 1_000, true);
        world.turn();
    }
    world.run(200);
    assert_eq!(world.disk.finished(), ["class/a.mp4", "class/b.mp4"]);
    let bytes: Vec<_> = world.disk.files.values().map(|f| f.bytes.len()).collect();
    assert!(bytes.iter().all(|n| n.is_multiple_of(1_000)), "{bytes:?}");
    assert!(bytes.iter().sum::<usize>() > 80_000, "{bytes:?}");
    let failed = world.failed();
    assert!(failed.iter().any(|(t, _)| *t == 1) && failed.iter().any(|(t, _)| *t == 2));
    assert_eq!(world.stats().alarms, 1);
    assert_eq!(world.finished().len(), 2);
}

#[test]
fn a_broken_file_harms_no_other() {
    let mut world = World::new(|_| {});
    world.start(1, 1, "bad", Container::Mp4);
    world.start(2, 2, "good", Container::Mp4);
    for turn in 0..200 {
        if turn == 100 {
            world.disk.broken = Some(("bad".to_owned(), Errno::IO));
        }
        world.packet(1, 1_000, true);
        world.packet(2, 1_000, true);
        world.turn();
    }
    world.stop(2);
    world.run(20);
    let failed = world.failed();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(
        failed[0].1.starts_with("class/bad.mp4 cannot be"),
        "{failed:?}"
    );
    assert_eq!(world.stats().alarms, 1);
    assert_eq!(world.disk.bytes("class/good.mp4").len(), 200_000);
    let bad = world.disk.bytes("class/bad.mp4").len();
    assert!(
        bad.is_multiple_of(1_000) && (80_000..=110_000).contains(&bad),
        "{bad}"
    );
    let sidecar = world.sidecar();
    let states: Vec<_> = sidecar.files.iter().map(|file| file.state).collect();
    assert_eq!(states, [State::Cut, State::Finished]);
    assert!(sidecar.files[0].reason.is_some());
}

#[test]
fn a_read_only_disk_stops_with_one_alarm() {
    let mut world = World::new(|_| {});
    world.start(1, 1, "a", Container::Mp4);
    world.start(2, 2, "b", Container::Mp4);
    for _ in 0..40 {
        world.packet(1, 1_000, true);
        world.packet(2, 1_000, true);
        world.turn();
    }
    world.disk.read_only = true;
    for _ in 0..200 {
        world.packet(1, 1_000, true);
        world.turn();
    }
    let mut failed: Vec<_> = world.failed().into_iter().map(|(track, _)| track).collect();
    failed.dedup();
    assert_eq!(failed, [1, 2]);
    assert_eq!((world.stats().alarms, world.stats().stopped), (1, 1));
    world.disk.read_only = false;
    world.run(100);
    assert_eq!(world.stats().stopped, 0);
    world.start(3, 3, "c", Container::Mp4);
    world.packet(3, 10, true);
    world.run(10);
    assert_eq!(world.events.last(), Some(&Event::Started(TrackId(3))));
}

#[test]
fn without_descriptors_a_track_fails_and_others_go_on() {
    let mut world = World::new(|_| {});
    world.disk.open_max = 2;
    for track in 0..4 {
        world.start(track, track, "a", Container::Mp4);
        world.packet(track, 10, true);
        world.run(4);
    }
    let failed = world.failed();
    assert_eq!(failed.iter().map(|(t, _)| *t).collect::<Vec<_>>(), [2, 3]);
    assert!(failed[0].1.contains("cannot be created"), "{failed:?}");
    assert_eq!((world.stats().alarms, world.stats().stopped), (1, 0));
    assert_eq!(world.stats().tracks, 2);
    world.stop(0);
    world.run(10);
    world.start(5, 5, "a", Container::Mp4);
    world.packet(5, 10, true);
    world.run(10);
    assert_eq!(world.stats().tracks, 2);
}

#[test]
fn more_files_than_allowed_are_refused() {
    let mut world = World::new(|settings| settings.files_max = 1);
    for track in 0..2 {
        world.start(track, track, "a", Container::Mp4);
        world.packet(track, 10, true);
        world.run(4);
    }
    let failed = world.failed();
    assert_eq!(failed.len(), 1);
    assert!(
        failed[0].1.starts_with("1 files are being written"),
        "{failed:?}"
    );
}

#[test]
fn bounds_change_while_it_runs() {
    let mut world = World::new(|settings| settings.files_max = 1);
    let sync_interval = Duration::from_secs(1);
    let bounds = |world: &mut World, files_max, free_bytes_least| {
        let bounds = Bounds {
            free_bytes_least,
            files_max,
            sync_interval,
        };
        world
            .core
            .order(Order::Bounds(bounds), world.now.at, world.now);
    };
    let begin = |world: &mut World, track| {
        world.start(track, track, "a", Container::Mp4);
        world.packet(track, 10, true);
        world.run(4);
    };
    begin(&mut world, 0);
    bounds(&mut world, 2, 1_000_000);
    begin(&mut world, 1);
    assert_eq!(world.failed(), [], "there is room for another");
    // What is being written goes on beyond the bound; what comes next does not begin.
    bounds(&mut world, 1, 1_000_000);
    begin(&mut world, 2);
    let failed: Vec<_> = world.failed().into_iter().map(|(track, _)| track).collect();
    assert_eq!((failed, world.stats().tracks), (vec![2], 2));
    // More has to be free than there is: it stops, and goes on when that is taken back.
    world.disk.free = 5_000_000;
    bounds(&mut world, 4, 10_000_000);
    world.run(10);
    assert_eq!((world.stats().stopped, world.stats().tracks), (1, 0));
    bounds(&mut world, 4, 1_000_000);
    world.run(10);
    begin(&mut world, 5);
    assert_eq!((world.stats().stopped, world.stats().tracks), (0, 1));
}

#[test]
fn a_slow_file_holds_up_none_and_drops_up_to_a_keyframe() {
    let mut world = World::new(|settings| settings.waiting_bytes_of_a_file_max = 50_000);
    world.start(1, 1, "slow", Container::Mp4);
    world.start(2, 2, "quick", Container::Mp4);
    for n in 0..400 {
        if n == 40 {
            world.disk.held = Some("slow".to_owned());
        }
        if n == 330 {
            world.disk.held = None;
        }
        world.packet(1, 1_000, n == 0 || n == 380);
        world.packet(2, 1_000, n == 0);
        world.turn();
    }
    let asked = world
        .events
        .iter()
        .filter(|e| **e == Event::KeyframeWanted(TrackId(1)));
    // Once a second, as long as it loses frames, and once by the film.
    let asked = asked.count();
    assert!((5..=9).contains(&asked), "{asked}");
    world.stop(1);
    world.stop(2);
    world.run(40);
    assert_eq!(world.failed(), []);
    assert_eq!(world.disk.bytes("class/quick.mp4").len(), 400_000);
    let slow = world.disk.bytes("class/slow.mp4").len();
    let dropped = usize::try_from(world.stats().packets_dropped_disk).expect("small");
    assert_eq!(slow, 1_000 * (400 - dropped));
    assert!(dropped > 200, "{dropped}");
    assert_eq!(world.stats().drops, 1);
    assert_eq!(world.stats().waiting_bytes, 0);
}

//! Nothing goes wrong.

use rillway_recorder::api::{Event, Order, TrackId};
use rillway_recorder::engine::Writer;
use rillway_recorder::sidecar::State;
use rillway_recorder::verify::{Verdict, list};

use crate::support::{
    Folder, PATIENCE, all_well, event, packet, run, settings, start, stop, until, verified,
};

/// Records, and returns how many packets were given.
fn record(writer: Writer) {
    let folder = Folder::new("normal");
    let mut settings = settings(&folder.0);
    settings.writer = writer;
    let mut running = run(settings);
    (0..20).for_each(|track| start(&running, track, &format!("../../t{}", track / 2)));
    for n in 0..300 {
        for track in 0..20 {
            assert!(running.taps[0].push(TrackId(track), packet(n, 700)));
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    until(&running, "all are taken", |s| s.packets == 6_000);
    if running.stats.snapshot().on_ring == 0 && writer == Writer::Auto {
        eprintln!("skipped: no ring here");
    }
    (0..20).for_each(|track| stop(&running, track));
    let mut finished = Vec::new();
    for _ in 0..20 {
        let Event::Finished(done) = event(&mut running, |e| matches!(e, Event::Finished(_))) else {
            unreachable!()
        };
        finished.push((done.track.0, done.name));
    }
    finished.sort_unstable();
    assert_eq!(finished[5], (5, "a_room_of_ours/_._.._t2.rtpd".to_owned()));
    let closed = Order::RoomClosed("a room/of ours".into());
    running.orders.give(closed).expect("is taken");
    let stats = running.stats.snapshot();
    assert!(
        stats.syncs >= 10 && stats.written_bytes > 6_000 * 700,
        "{stats:?}"
    );
    assert_eq!(
        (stats.packets_dropped_queue, stats.packets_dropped_disk),
        (0, 0)
    );
    assert!(running.recorder.finish(PATIENCE));
    assert_eq!(all_well(&folder.0), 10);
    let root = rillway_recorder::disk::Root::view(&folder.0).expect("is there");
    let recordings = list(&root).expect("is read");
    assert_eq!(recordings.len(), 1);
    let sidecar = recordings[0].contents.as_ref().expect("is read");
    assert!(sidecar.ended.is_some());
    assert_eq!(sidecar.room, "a room/of ours");
    for file in &sidecar.files {
        assert_eq!(file.state, State::Finished);
        assert_eq!(file.tracks.len(), 2);
        assert_eq!(file.tracks[0].frames, 300);
        assert_eq!(file.tracks[0].gaps, []);
    }
}

#[test]
fn on_a_ring() {
    record(Writer::Auto);
}

#[test]
fn by_blocking_calls() {
    record(Writer::Blocking);
}

#[test]
fn dropping_everything_finishes() {
    let folder = Folder::new("dropped");
    let mut running = run(settings(&folder.0));
    start(&running, 1, "a");
    assert!(running.taps[0].push(TrackId(1), packet(0, 700)));
    event(&mut running, |e| matches!(e, Event::Started(_)));
    drop(running);
    let end = std::time::Instant::now() + PATIENCE;
    // The lock is let go when the thread has ended.
    while rillway_recorder::disk::Root::record(&folder.0).is_err() {
        assert!(std::time::Instant::now() < end, "the thread goes on");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(all_well(&folder.0), 1);
}

#[test]
fn changes_are_noticed() {
    let folder = Folder::new("changed");
    let mut running = run(settings(&folder.0));
    for (track, name) in ["fine", "longer", "changed", "gone"].iter().enumerate() {
        let track = track as u64;
        start(&running, track, name);
        assert!(running.taps[0].push(TrackId(track), packet(0, 700)));
    }
    (0..4).for_each(|_| drop(event(&mut running, |e| matches!(e, Event::Started(_)))));
    assert!(running.recorder.finish(PATIENCE));
    assert_eq!(all_well(&folder.0), 4);
    let path = |name: &str| folder.0.join("a_room_of_ours").join(name);
    let mut bytes = std::fs::read(path("longer.rtpd")).expect("is there");
    bytes.push(0);
    std::fs::write(path("longer.rtpd"), bytes).expect("is written");
    let mut bytes = std::fs::read(path("changed.rtpd")).expect("is there");
    bytes[300] ^= 1;
    std::fs::write(path("changed.rtpd"), bytes).expect("is written");
    std::fs::remove_file(path("gone.rtpd")).expect("is removed");
    std::fs::write(path("stray.mp4"), "x").expect("is written");
    let findings = verified(&folder.0);
    let verdict = |name: &str| {
        let found = findings.iter().find(|f| f.name.ends_with(name));
        found.map(|f| f.verdict.clone()).expect("is found")
    };
    assert_eq!(verdict("fine.rtpd"), Verdict::Whole);
    assert!(matches!(verdict("longer.rtpd"), Verdict::Size { .. }));
    assert_eq!(verdict("changed.rtpd"), Verdict::Hash);
    assert_eq!(verdict("gone.rtpd"), Verdict::Missing);
    assert_eq!(verdict("stray.mp4"), Verdict::Unlisted);
    assert_eq!(findings.len(), 5);
}

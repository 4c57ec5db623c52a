//! What other processes of this program do.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rillway_recorder::api::Event;
use rillway_recorder::engine::{Snapshot, StartError};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::support::{
    NoFilms, PATIENCE, all_well, event, packet, run, settings, start, stop, until,
};

/// Not a test but for those that start this program again.
#[test]
fn child() {
    let Ok(task) = std::env::var("RILLWAY_TEST_TASK") else {
        return;
    };
    let root = std::env::var("RILLWAY_TEST_ROOT").expect("is given");
    let root = Path::new(&root);
    match task.as_str() {
        "until-killed" => until_killed(root),
        "watermark" => fill(root, 256 << 10),
        "no-space" => fill(root, 0),
        "read-only" => read_only(root),
        "few-files" => few_files(root),
        "no-descriptors" => no_descriptors(root),
        other => panic!("no such task: {other}"),
    }
    println!("done");
}

/// Records three tracks into one file, and says how many packets have to survive: those that had been taken
/// when the last but one sync was done.
fn until_killed(root: &Path) {
    let mut settings = settings(root);
    settings.sync_interval = Duration::from_millis(200);
    let mut running = run(settings);
    (0..3).for_each(|track| start(&running, track, "killed"));
    let (mut seen, mut next) = ((0, 0), 0);
    let end = Instant::now() + PATIENCE;
    let mut out = std::io::stdout();
    while Instant::now() < end {
        for track in 0..3 {
            let sent = packet(next, 200 + usize::try_from(next % 700).expect("small"));
            assert!(running.taps[0].push(rillway_recorder::api::TrackId(track), sent));
        }
        next += 1;
        let stats = running.stats.snapshot();
        if stats.syncs >= seen.0 + 2 {
            writeln!(out, "durable {} of {}", seen.1, next * 3).expect("is told");
            seen = (stats.syncs, stats.packets);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Fills a file system of 1 MiB while recording; the worker's side never waits.
fn fill(root: &Path, least: u64) {
    let mut settings = settings(root);
    settings.free_bytes_least = least;
    let mut running = run(settings);
    (0..3).for_each(|track| start(&running, track, &format!("t{track}")));
    let end = Instant::now() + PATIENCE;
    let mut n = 0;
    while running.stats.snapshot().stopped == 0 {
        for track in 0..3 {
            let _ = running.taps[0].push(rillway_recorder::api::TrackId(track), packet(n, 400));
        }
        n += 1;
        assert!(Instant::now() < end, "{:?}", running.stats.snapshot());
        std::thread::sleep(Duration::from_millis(1));
    }
    let failed = event(&mut running, |e| matches!(e, Event::Failed(..)));
    let Event::Failed(_, _, reason) = failed else {
        unreachable!()
    };
    assert!(
        reason.starts_with("recording is stopped") || reason.contains("No space"),
        "{reason}"
    );
    until(&running, "all files end", |s| s.files_open == 0);
    // It is still full, and a start is refused for it.
    start(&running, 9, "late");
    event(
        &mut running,
        |e| matches!(e, Event::Failed(track, ..) if track.0 == 9),
    );
    assert_eq!(running.stats.snapshot().alarms, 1);
    let finished = running.stats.snapshot().files_finished;
    assert!(finished >= 2, "{:?}", running.stats.snapshot());
    make_room(root);
    until(&running, "it goes on", |s| s.stopped == 0);
    start(&running, 10, "after");
    assert!(running.taps[0].push(rillway_recorder::api::TrackId(10), packet(0, 400)));
    event(
        &mut running,
        |e| matches!(e, Event::Started(track) if track.0 == 10),
    );
    assert!(running.recorder.finish(PATIENCE));
    // But for the one that was removed to make room.
    let findings = crate::support::verified(root);
    let ill = findings.iter().filter(|f| !f.verdict.is_well());
    assert_eq!(ill.count(), 1, "{findings:#?}");
    assert!(findings.len() >= 3, "{findings:#?}");
}

/// Removes the largest recording.
fn make_room(root: &Path) {
    let mut files = Vec::new();
    for folder in std::fs::read_dir(root).expect("is read").flatten() {
        for file in std::fs::read_dir(folder.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            let bytes = file.metadata().expect("is there").len();
            files.push((bytes, file.path()));
        }
    }
    let (_, largest) = files.into_iter().max().expect("there are some");
    std::fs::remove_file(largest).expect("is removed");
}

fn remount(root: &Path, how: &str) {
    let status = Command::new("mount").args(["-o", how]).arg(root).status();
    assert!(status.expect("mount runs").success(), "{how}");
}

/// The file system becomes read-only between two recordings.
fn read_only(root: &Path) {
    let mut settings = settings(root);
    settings.free_bytes_least = 64 << 10;
    let mut running = run(settings.clone());
    let tap = |running: &mut rillway_recorder::engine::Running, track, n| {
        running.taps[0].push(rillway_recorder::api::TrackId(track), packet(n, 400))
    };
    start(&running, 1, "before");
    assert!(tap(&mut running, 1, 0));
    event(&mut running, |e| matches!(e, Event::Started(_)));
    stop(&running, 1);
    event(&mut running, |e| matches!(e, Event::Finished(_)));
    until(&running, "the file is closed", |s| s.files_open == 0);
    // The sidecar may be written just now.
    std::thread::sleep(Duration::from_secs(1));
    remount(root, "remount,ro");
    for track in 2..5 {
        start(&running, track, "during");
        let _ = tap(&mut running, track, 0);
        event(
            &mut running,
            |e| matches!(e, Event::Failed(t, ..) if t.0 == track),
        );
    }
    assert_eq!(running.stats.snapshot().alarms, 1);
    remount(root, "remount,rw");
    until(&running, "it goes on", |s| s.stopped == 0);
    start(&running, 5, "after");
    assert!(tap(&mut running, 5, 0));
    event(&mut running, |e| matches!(e, Event::Started(_)));
    assert!(running.recorder.finish(PATIENCE));
    assert!(all_well(root) >= 2);
    remount(root, "remount,ro");
    let error = rillway_recorder::engine::start(settings, std::sync::Arc::new(NoFilms), 1);
    match error {
        // The lock is there from before, and is not written.
        Ok(running) => assert!(running.recorder.finish(PATIENCE)),
        Err(error) => assert!(matches!(error, StartError::Root { .. }), "{error}"),
    }
}

fn limit(files: u64) {
    let limit = Rlimit {
        current: Some(files),
        maximum: Some(files),
    };
    setrlimit(Resource::Nofile, limit).expect("may be lowered");
}

/// A limit of 64 files, of which recordings take half.
fn few_files(root: &Path) {
    limit(64);
    let mut running = run(settings(root));
    for track in 0..100 {
        start(&running, track, &format!("t{track}"));
        assert!(running.taps[0].push(rillway_recorder::api::TrackId(track), packet(0, 400)));
    }
    for _ in 0..68 {
        let failed = event(&mut running, |e| matches!(e, Event::Failed(..)));
        assert!(
            format!("{failed:?}").contains("32 files are being written"),
            "{failed:?}"
        );
    }
    assert_eq!(running.stats.snapshot().alarms, 1);
    // A file that is still to be created would find no descriptor where others took it.
    let written = |s: Snapshot| s.files_open == 32 && s.written_bytes > 0 && s.waiting_bytes == 0;
    until(&running, "all that was taken is in files", written);
    // What else the process does is not held up.
    let _others: Vec<_> = (0..12)
        .map(|_| std::fs::File::open("/dev/null").expect("opens"))
        .collect();
    assert!(running.recorder.finish(PATIENCE));
    assert_eq!(all_well(root), 32);
}

/// No descriptors are left, by no fault of the recorder.
fn no_descriptors(root: &Path) {
    limit(64);
    let mut running = run(settings(root));
    start(&running, 0, "first");
    assert!(running.taps[0].push(rillway_recorder::api::TrackId(0), packet(0, 400)));
    until(&running, "a file", |s| s.written_bytes > 0);
    let mut all = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        all.push(file);
    }
    for track in 1..4 {
        start(&running, track, "more");
        assert!(running.taps[0].push(rillway_recorder::api::TrackId(track), packet(0, 400)));
        let is = |e: &Event| matches!(e, Event::Failed(t, ..) if t.0 == track);
        let failed = event(&mut running, is);
        assert!(
            format!("{failed:?}").contains("Too many open files"),
            "{failed:?}"
        );
    }
    assert_eq!(running.stats.snapshot().alarms, 1);
    assert!(running.taps[0].push(rillway_recorder::api::TrackId(0), packet(1, 400)));
    // It ends while there are none, and is completed when there are.
    stop(&running, 0);
    std::thread::sleep(Duration::from_millis(500));
    all.clear();
    let finished = event(&mut running, |e| matches!(e, Event::Finished(_)));
    assert!(
        format!("{finished:?}").contains("first.rtpd"),
        "{finished:?}"
    );
    start(&running, 5, "after");
    assert!(running.taps[0].push(rillway_recorder::api::TrackId(5), packet(0, 400)));
    event(&mut running, |e| matches!(e, Event::Started(_)));
    assert!(running.recorder.finish(PATIENCE));
    assert_eq!(all_well(root), 2);
}

//! Cost of recording: processor time of the writer's threads for many tracks that are passed through.
//!
//! `cargo bench -p rillway-benches --bench recording -- [TRACKS [SECONDS]]`. Packets come in real time, as media
//! workers give them; each track has a file of its own. Files are written to memory (`/dev/shm`), where no disk
//! is waited for, and beneath `RILLWAY_BENCH_DISK` (the temporary directory without it).
#![forbid(unsafe_code)]

mod feed;
mod threads;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rillway_recorder::api::{Container, MediaKind, Order, ParticipantId, Start, TrackId};
use rillway_recorder::engine::{self, Running, Settings, Snapshot};
use rillway_recorder::films::Files;

use feed::Feed;
use threads::{Spent, Threads};

/// Before it is measured: files are created, and every timer has run some times.
const WARM_UP: Duration = Duration::from_secs(4);
const FINISH_TIME: Duration = Duration::from_secs(120);

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let tracks = numbers.first().copied().unwrap_or(1_000);
    let seconds = numbers.get(1).copied().unwrap_or(20);
    let disk =
        std::env::var_os("RILLWAY_BENCH_DISK").map_or_else(std::env::temp_dir, PathBuf::from);
    println!(
        "{tracks} tracks of {} kb/s in as many files, {seconds} s of each row; processor time in % of one core",
        feed::BITS_PER_SECOND / 1000
    );
    println!(
        "container where  | recorder  ring  blocking  all | tracks/core: recorder, all | packets/s  MB/s  syncs/s, mean, longest | dropped: queue, disk"
    );
    for container in [Container::Mp4, Container::RtpDump] {
        for (place, folder) in [("memory", Path::new("/dev/shm")), ("disk", &disk)] {
            row(container, (place, folder), tracks, seconds);
        }
    }
}

fn row(container: Container, (place, folder): (&str, &Path), tracks: u64, seconds: u64) {
    let root = folder.join(format!("rillway-bench-{}", std::process::id()));
    let mut settings = Settings::new(&root);
    settings.free_bytes_least = 1 << 20;
    let mut running = engine::start(settings, Arc::new(Files), 1).expect("a folder to write to");
    for track in 0..tracks {
        start(&running, TrackId(track), container);
    }
    let mut feed = Feed::new(tracks);
    let mut threads = Threads::default();
    feed.run(&mut running, WARM_UP, &mut || ());
    threads.look();
    let (before, counted) = (threads.clone(), running.stats.snapshot());
    let time = Duration::from_secs(seconds);
    feed.run(&mut running, time, &mut || threads.look());
    threads.look();
    let spent = threads.since(&before);
    report(
        (container, place),
        (tracks, seconds),
        &spent,
        &counted,
        &running.stats.snapshot(),
    );
    let finished = running.recorder.finish(FINISH_TIME);
    let snapshot = running.stats.snapshot();
    let _ = std::fs::remove_dir_all(&root);
    assert!(finished, "not finished in time: {snapshot:?}");
    assert_eq!(snapshot.files_finished, tracks, "{snapshot:?}");
}

fn start(running: &Running, track: TrackId, container: Container) {
    let start = Start {
        room: Arc::from(format!("room {}", track.0 / 10)),
        track,
        owner: ParticipantId(track.0),
        identity: Arc::from("somebody"),
        kind: MediaKind::Video,
        source: "camera",
        container,
        name: Box::from(format!("track-{}", track.0)),
        segment: None,
        attributes: Vec::new(),
    };
    let order = Order::Start(Box::new(start));
    running.orders.give(order).expect("room for every order");
}

fn report(
    (container, place): (Container, &str),
    (tracks, seconds): (u64, u64),
    spent: &Spent,
    before: &Snapshot,
    after: &Snapshot,
) {
    let time = seconds as f64;
    let percent = |spent: f64| spent / time * 100.0;
    let per_core = |spent: f64| tracks as f64 * time / spent;
    let (syncs, sync_us) = (after.syncs - before.syncs, after.sync_us - before.sync_us);
    println!(
        "{:<9} {place:<6} | {:>8.1} {:>5.1} {:>9.1} {:>4.0} | {:>11.0} {:>14.0} | {:>9.0} {:>5.1} {:>8.0}, {:>4.1} ms, {:>4.0} ms | {}, {}",
        container.extension(),
        percent(spent.recorder),
        percent(spent.ring),
        percent(spent.blocking),
        percent(spent.all()),
        per_core(spent.recorder),
        per_core(spent.all()),
        (after.packets - before.packets) as f64 / time,
        (after.written_bytes - before.written_bytes) as f64 / time / 1e6,
        syncs as f64 / time,
        sync_us as f64 / syncs.max(1) as f64 / 1e3,
        after.sync_us_max as f64 / 1e3,
        after.packets_dropped_queue,
        after.packets_dropped_disk,
    );
}

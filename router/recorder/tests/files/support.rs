//! What the tests share.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rillway_recorder::api::{
    Codec, Container, Event, MediaKind, Order, Packet, ParticipantId, Start, TrackId,
};
use rillway_recorder::disk::Root;
use rillway_recorder::engine::{Running, Settings, Snapshot};
use rillway_recorder::film::{Film, Films, Origin};
use rillway_recorder::verify::{Finding, verify};

/// For the longest that anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that is gone afterwards.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let unique = format!(
            "rillway-{name}-{}-{}",
            std::process::id(),
            fastrand::u64(..)
        );
        Self(std::env::temp_dir().join(unique))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Makes no films: RTP dumps need none.
pub(crate) struct NoFilms;

impl Films for NoFilms {
    fn film(&self, _: Container, _: Option<Duration>, _: Origin) -> Box<dyn Film> {
        unreachable!("only dumps are recorded here")
    }
}

pub(crate) fn settings(root: &Path) -> Settings {
    let mut settings = Settings::new(root);
    settings.free_bytes_least = 1 << 20;
    settings.queue_packets = 4096;
    settings
}

pub(crate) fn run(settings: Settings) -> Running {
    rillway_recorder::engine::start(settings, Arc::new(NoFilms), 1).expect("it starts")
}

pub(crate) fn start(running: &Running, track: u64, name: &str) {
    let start = Start {
        room: Arc::from("a room/of ours"),
        track: TrackId(track),
        owner: ParticipantId(1),
        identity: Arc::from("alice"),
        kind: MediaKind::Video,
        source: "camera",
        container: Container::RtpDump,
        name: Box::from(name),
        segment: None,
        attributes: Vec::new(),
    };
    let order = Order::Start(Box::new(start));
    running.orders.give(order).expect("is taken");
}

pub(crate) fn stop(running: &Running, track: u64) {
    running
        .orders
        .give(Order::Stop(TrackId(track)))
        .expect("is taken");
}

pub(crate) fn packet(sequence: u64, bytes: usize) -> Packet {
    let now = Instant::now();
    Packet {
        sequence,
        timestamp: 0,
        clock_rate: 90_000,
        captured: now,
        arrived: now,
        marker: true,
        payload_type: 96,
        codec: Codec::Vp8,
        keyframe: true,
        switched: false,
        payload: Arc::from(vec![7; bytes]),
    }
}

/// Waits until the counters are so.
pub(crate) fn until(running: &Running, what: &str, mut is: impl FnMut(Snapshot) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is(running.stats.snapshot()) {
        assert!(
            Instant::now() < end,
            "{what}: {:?}",
            running.stats.snapshot()
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits for an event; others are passed over.
pub(crate) fn event(running: &mut Running, mut is: impl FnMut(&Event) -> bool) -> Event {
    let end = Instant::now() + PATIENCE;
    loop {
        match running.events.try_recv() {
            Ok(event) if is(&event) => return event,
            Ok(_) => {}
            Err(_) => {
                assert!(Instant::now() < end, "no such event");
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

pub(crate) fn verified(root: &Path) -> Vec<Finding> {
    verify(&Root::view(root).expect("is there"), |_, _| {}).expect("is read")
}

/// Every file is as its sidecar says. Returns how many there are.
pub(crate) fn all_well(root: &Path) -> usize {
    let findings = verified(root);
    let ill: Vec<_> = findings.iter().filter(|f| !f.verdict.is_well()).collect();
    assert!(ill.is_empty(), "{ill:#?}");
    findings.len()
}

/// This program as another process that does `task` in `root`.
pub(crate) fn child(task: &str, root: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("is known"));
    command.args(["child::child", "--exact", "--nocapture", "--test-threads=1"]);
    command
        .env("RILLWAY_TEST_TASK", task)
        .env("RILLWAY_TEST_ROOT", root);
    command
}

//! The same room while other rooms are recorded: what the recorder's thread and disk cost those who only watch.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rillway_tests::live::{LiveClient, member};
use rillway_tests::media::TrackSpec;
use tokio::sync::watch;

use crate::router::Router;
use crate::{Meanwhile, Stretch, calm, crowd};

/// Cameras that are recorded in the measured stretches; they send in all of them.
const CAMERAS: u64 = 20;
const SECONDS: u64 = 10;
/// Stretches with and without, in turn.
const TURNS: usize = 2;

/// People in a room of their own, who have themselves recorded or not.
pub(crate) struct Studio {
    recording: watch::Sender<bool>,
    open: Cell<bool>,
}

impl Studio {
    fn new() -> Rc<Studio> {
        Rc::new(Studio {
            recording: watch::channel(false).0,
            open: Cell::new(false),
        })
    }

    /// They join, publish, and stay; once. Within a `LocalSet`.
    pub(crate) fn open(&self, gateway: SocketAddr) {
        if self.open.replace(true) {
            return;
        }
        for number in 0..CAMERAS {
            let mut recording = self.recording.subscribe();
            tokio::task::spawn_local(async move {
                let mut config = member(10_000 + number, "studio", Instant::now());
                // Of 660 kb/s.
                config.tracks = vec![TrackSpec::video(3)];
                config.auto_subscribe = false;
                let client = LiveClient::connect(gateway, config).await;
                let mut client = client.expect("the gateway listens");
                loop {
                    let change = client.run_until(Duration::from_secs(3_600), |_| {
                        recording.has_changed().unwrap_or(true)
                    });
                    change.await.expect("sockets work");
                    if recording.has_changed().is_err() {
                        return;
                    }
                    let wanted = *recording.borrow_and_update();
                    if number == 0 {
                        client.record(wanted).await.expect("sockets work");
                    }
                }
            });
        }
    }

    /// From now on, or not any more.
    pub(crate) fn record(&self, wanted: bool) {
        self.recording.send_replace(wanted);
    }
}

pub(crate) fn run() {
    let folder =
        std::env::var_os("RILLWAY_BENCH_DISK").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("rillway-load-recordings-{}", std::process::id()));
    let more = format!(
        "[recording]\npolicy = \"record-on-request\"\ndirectory = \"{}\"\nfree_bytes_min = 1048576\n",
        folder.display()
    );
    let router = Router::start("ring", &more);
    let studio = Studio::new();
    let mut stretches = Vec::new();
    for _ in 0..TURNS {
        stretches.push(calm("nothing is recorded", SECONDS));
        stretches.push(Stretch {
            title: format!("{CAMERAS} cameras recorded"),
            seconds: SECONDS,
            meanwhile: Meanwhile::Record(studio.clone()),
        });
    }
    stretches.push(calm("nothing is recorded", SECONDS));
    crowd(&router, &stretches);
    let bytes = size(&folder);
    drop(router);
    let _ = std::fs::remove_dir_all(&folder);
    println!("recorded: {} MB", bytes / 1_000_000);
    let least = CAMERAS * SECONDS * TURNS as u64 * 60_000;
    assert!(bytes > least, "{bytes} bytes were recorded");
}

/// Bytes of all files beneath a folder.
fn size(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => size(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

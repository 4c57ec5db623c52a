//! The recorder of this process: started before the workers, told by the rules, ended after both.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rillway_core::api::{RecordedCodec, RecordedPacket};
use rillway_recorder::api::{self, Codec, Event, Order, Packet};
use rillway_recorder::disk::LOCK_NAME;
use rillway_recorder::engine::{self, Recorder, StartError, Stats, Tap};
use rillway_recorder::films::Files;
use tokio::sync::mpsc;

use crate::config::{self, Config, Key, TEMPORARY_PREFIX};
use crate::rules::{RecorderOrders, Rules};
use crate::run::RunError;
use crate::telemetry::metrics::RecorderRecorder;

/// Why nothing is recorded, for people.
pub(crate) const NOT_CONFIGURED: &str =
    "this router has no place for recordings: its `recording.directory` is not set";
/// Time the recorder has to complete its files when the process ends.
const FINISH_TIME: Duration = Duration::from_secs(5);
/// Time policies have then to hear of them.
const LAST_WORDS_TIME: Duration = Duration::from_secs(2);
/// Niceness (setpriority(2)) of the recorder: it stands behind media workers where both want a core, and before
/// policies, which nobody loses frames by.
const NICE: i32 = 5;
/// Counters are reported this often.
const REPORT_PERIOD: Duration = Duration::from_secs(1);

/// A recorder that runs, but for the ends of its queues that workers have.
pub(crate) struct Running {
    orders: engine::Orders,
    events: mpsc::Receiver<Event>,
    stats: Arc<Stats>,
    recorder: Recorder,
    temporary: Option<PathBuf>,
}

/// Starts the recorder, if there is to be one. With it an end of a queue for each worker.
///
/// # Errors
/// The folder cannot be used.
pub(crate) fn start(
    config: &Config,
    workers: usize,
) -> Result<(Option<Running>, Vec<Tap>), RunError> {
    let Some(place) = config
        .recorder
        .as_ref()
        .filter(|_| config.recording.is_some())
    else {
        return Ok((None, Vec::new()));
    };
    if place.temporary {
        sweep(&place.directory);
    }
    let mut settings = engine::Settings::new(&place.directory);
    settings.free_bytes_least = place.free_bytes_min;
    settings.files_max = place.files_max as usize;
    settings.queue_packets = place.queue_packets as usize;
    settings.sync_interval = place.sync_every;
    let running = spawn(settings, workers).map_err(|error| {
        let help = "name a folder of this router's own that it may write to, on a disk with room";
        config.refused(Key::RECORDING_DIRECTORY, &error.to_string(), help)
    })?;
    log(&place.directory);
    let (taps, running) = (
        running.taps,
        Running {
            orders: running.orders,
            events: running.events,
            stats: running.stats,
            recorder: running.recorder,
            temporary: place.temporary.then(|| place.directory.clone()),
        },
    );
    Ok((Some(running), taps))
}

/// Removes what routers that were killed left beside a temporary folder: folders with a lock that nobody holds, and
/// nothing recorded.
fn sweep(ours: &Path) {
    let Some(entries) = ours.parent().and_then(|parent| parent.read_dir().ok()) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let named = entry.file_name();
        if named
            .as_encoded_bytes()
            .starts_with(TEMPORARY_PREFIX.as_bytes())
        {
            // Somebody else's, or one that is in use: it stays.
            let _ = remove_unused(&entry.path());
        }
    }
}

fn remove_unused(folder: &Path) -> std::io::Result<()> {
    let lock = std::fs::File::open(folder.join(LOCK_NAME))?;
    if lock.try_lock().is_err() || folder.read_dir()?.count() > 1 {
        return Ok(());
    }
    std::fs::remove_file(folder.join(LOCK_NAME))?;
    std::fs::remove_dir(folder)
}

/// Threads have the niceness of who starts them, so a thread that lives for that alone starts the recorder's.
fn spawn(settings: engine::Settings, workers: usize) -> Result<engine::Running, StartError> {
    let start = move || {
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::warn!(%error, "the recorder keeps the priority of media workers");
        }
        engine::start(settings, Arc::new(Files), workers)
    };
    let starter = std::thread::Builder::new().name("rillway-recorder-starter".to_owned());
    let starter = starter.spawn(start).map_err(StartError::Thread)?;
    let panicked = |_| {
        Err(StartError::Thread(std::io::Error::other(
            "its start panicked",
        )))
    };
    starter.join().unwrap_or_else(panicked)
}

fn log(directory: &Path) {
    tracing::info!(directory = %directory.display(), "recordings are written here");
}

/// What the control thread keeps of a recorder until the end.
pub(crate) struct Ending {
    recorder: Recorder,
    rules: Rc<Rules>,
    /// A folder to be removed if it is empty.
    temporary: Option<PathBuf>,
}

/// The way of the rules' orders.
pub(crate) struct Given(engine::Orders);

impl RecorderOrders for Given {
    fn give(&self, order: Order) -> bool {
        self.0.give(order).is_ok()
    }
}

impl Running {
    /// Takes it apart: where orders go, and what is left to be followed.
    pub(crate) fn part(self) -> (Rc<dyn RecorderOrders>, Following) {
        let following = Following {
            events: self.events,
            stats: self.stats,
            recorder: self.recorder,
            temporary: self.temporary,
        };
        (Rc::new(Given(self.orders)), following)
    }
}

/// A recorder whose events nobody takes yet.
pub(crate) struct Following {
    events: mpsc::Receiver<Event>,
    stats: Arc<Stats>,
    recorder: Recorder,
    temporary: Option<PathBuf>,
}

impl Following {
    /// Hands its events to the rules, and its numbers to whoever shows them. Within a `LocalSet`.
    pub(crate) fn follow(self, rules: Rc<Rules>, metrics: RecorderRecorder) -> Ending {
        tokio::task::spawn_local(follow(rules.clone(), self.events));
        tokio::spawn(report(self.stats, metrics));
        Ending {
            recorder: self.recorder,
            rules,
            temporary: self.temporary,
        }
    }
}

async fn follow(rules: Rc<Rules>, mut events: mpsc::Receiver<Event>) {
    while let Some(event) = events.recv().await {
        rules.on_recorder(event);
    }
    rules.recorder_ended();
}

async fn report(stats: Arc<Stats>, mut metrics: RecorderRecorder) {
    let mut ticks = tokio::time::interval(REPORT_PERIOD);
    loop {
        ticks.tick().await;
        metrics.record(&stats.snapshot());
    }
}

impl Ending {
    /// Completes all files, and lets policies hear of them.
    pub(crate) async fn end(self) {
        let recorder = self.recorder;
        let finish = tokio::task::spawn_blocking(move || recorder.finish(FINISH_TIME));
        if !finish.await.unwrap_or(false) {
            tracing::warn!(
                "recordings were not completed in time; the next start completes what is left"
            );
        }
        let ended = self.rules.recordings_ended();
        if tokio::time::timeout(LAST_WORDS_TIME, ended).await.is_err() {
            tracing::warn!("a recording policy did not hear of its last files");
        }
        if let Some(folder) = self.temporary {
            // It stays if anything was recorded.
            let _ = remove_unused(&folder);
        }
    }
}

/// What may change while it runs.
pub(crate) fn bounds(of: &config::Recorder) -> api::Bounds {
    api::Bounds {
        free_bytes_least: of.free_bytes_min,
        files_max: of.files_max as usize,
        sync_interval: of.sync_every,
    }
}

/// A recorded packet in the recorder's words.
pub(crate) fn packet(packet: RecordedPacket) -> (api::TrackId, Packet) {
    let track = api::TrackId(packet.track.0);
    let packet = Packet {
        sequence: packet.sequence,
        timestamp: packet.timestamp,
        clock_rate: packet.clock_rate,
        captured: packet.captured,
        arrived: packet.arrived,
        marker: packet.marker,
        payload_type: packet.payload_type,
        codec: codec(packet.codec),
        keyframe: packet.keyframe,
        switched: packet.switched,
        payload: packet.payload,
    };
    (track, packet)
}

fn codec(codec: RecordedCodec) -> Codec {
    match codec {
        RecordedCodec::Vp8 => Codec::Vp8,
        RecordedCodec::Vp9 => Codec::Vp9,
        RecordedCodec::Av1 => Codec::Av1,
        RecordedCodec::H264 => Codec::H264,
        RecordedCodec::Opus => Codec::Opus,
        _ => Codec::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_killed_routers_left_is_swept_and_nothing_else() {
        let place = std::env::temp_dir().join(format!("rillway-sweep-{}", std::process::id()));
        let make = |name: &str, files: &[&str]| {
            let folder = place.join(name);
            std::fs::create_dir_all(&folder).expect("a writable temporary directory");
            for file in files {
                std::fs::write(folder.join(file), "").expect("writable");
            }
            folder
        };
        let temporary = |name: &str| format!("{TEMPORARY_PREFIX}{name}");
        let left = make(&temporary("left"), &[LOCK_NAME]);
        let recorded = make(&temporary("recorded"), &[LOCK_NAME, "a.mp4"]);
        let unlocked = make(&temporary("begins"), &[]);
        let other = make("other", &[LOCK_NAME]);
        let used = make(&temporary("used"), &[LOCK_NAME]);
        let lock = std::fs::File::open(used.join(LOCK_NAME)).expect("just made");
        lock.try_lock().expect("nobody else's");
        sweep(&place.join(temporary("ours")));
        assert!(!left.exists());
        assert!(recorded.join(LOCK_NAME).exists() && recorded.join("a.mp4").exists());
        assert!(unlocked.exists() && other.join(LOCK_NAME).exists() && used.exists());
        std::fs::remove_dir_all(&place).expect("ours");
    }
}

//! `rillway recording` and `rillway dump`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rillway_recorder::api::{
    Codec, Container, MediaKind, Order, Packet, ParticipantId, Start, TrackId,
};
use rillway_recorder::engine::{Settings, start};
use rillway_recorder::films::Files;

use super::{EXIT_CONFIG, EXIT_USAGE, File, output};

const EXIT_DAMAGED: i32 = 65;

/// A folder with a finished dump of one track.
struct Recorded(PathBuf);

impl Recorded {
    fn new(name: &str) -> Self {
        let unique = format!("rillway-cli-recording-{}-{name}", std::process::id());
        let root = std::env::temp_dir().join(unique);
        let mut settings = Settings::new(&root);
        settings.free_bytes_least = 1 << 20;
        let mut running = start(settings, Arc::new(Files), 1).expect("it starts");
        let order = Start {
            room: Arc::from("class"),
            track: TrackId(1),
            owner: ParticipantId(1),
            identity: Arc::from("alice"),
            kind: MediaKind::Audio,
            source: "microphone",
            container: Container::RtpDump,
            name: Box::from("talk"),
            segment: None,
            attributes: Vec::new(),
        };
        let order = Order::Start(Box::new(order));
        running.orders.give(order).expect("is taken");
        for sequence in 0..50_u32 {
            let now = Instant::now();
            let packet = Packet {
                sequence: sequence.into(),
                timestamp: sequence * 960,
                clock_rate: 48_000,
                captured: now + Duration::from_millis(u64::from(sequence) * 20),
                arrived: now + Duration::from_millis(u64::from(sequence) * 20),
                marker: false,
                payload_type: 111,
                codec: Codec::Opus,
                keyframe: false,
                switched: false,
                // Silence, 20 ms.
                payload: Arc::from([0xf8, 0xff, 0xfe]),
            };
            assert!(running.taps[0].push(TrackId(1), packet));
        }
        assert!(running.recorder.finish(Duration::from_secs(60)));
        Self(root)
    }

    fn root(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }

    fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.root())
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn recordings_are_listed_and_verified() {
    let recorded = Recorded::new("listed");
    let (code, stdout, stderr) = output(&["recording", "ls", "--root", recorded.root()]);
    assert_eq!(code, 0, "{stderr}");
    for part in ["class", "alice", "class/talk.rtpd", "finished", "opus"] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
    let verify = ["recording", "verify", "--root", recorded.root()];
    let (code, stdout, stderr) = output(&verify);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("whole"), "{stdout}");
    let dump = recorded.file("class/talk.rtpd");
    let mut bytes = std::fs::read(&dump).expect("is there");
    bytes[100] ^= 1;
    std::fs::write(&dump, bytes).expect("is written");
    let (code, stdout, stderr) = output(&verify);
    assert_eq!(code, EXIT_DAMAGED);
    assert!(
        stdout.contains("SHA-256") && stderr.contains("not whole"),
        "{stdout}{stderr}"
    );
    let (_, stdout, _) = output(&[&verify[..], &["--json"]].concat());
    let findings: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(findings[0]["verdict"], "hash");
    assert_eq!(findings[0]["name"], "class/talk.rtpd");
}

#[test]
fn a_configuration_names_the_folder() {
    let recorded = Recorded::new("named");
    let directory = format!("[recording]\ndirectory = \"{}\"\n", recorded.root());
    let file = File::new("recordings", &super::any_ports(&directory));
    let (code, stdout, stderr) = output(&["recording", "ls", "--config", file.path(), "--json"]);
    assert_eq!(code, 0, "{stderr}");
    let listed: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(listed[0]["files"][0]["name"], "class/talk.rtpd");
    let file = File::new("no-recordings", &super::any_ports(""));
    let (code, _, stderr) = output(&["recording", "ls", "--config", file.path()]);
    assert_eq!(code, EXIT_CONFIG, "{stderr}");
    assert!(stderr.contains("recording.directory"), "{stderr}");
    let (code, _, _) = output(&["recording", "ls"]);
    assert_eq!(code, EXIT_USAGE);
    let (code, _, stderr) = output(&["recording", "ls", "--root", "/nowhere"]);
    assert_eq!(code, EXIT_USAGE);
    assert!(stderr.contains("/nowhere"), "{stderr}");
}

#[test]
fn dumps_are_listed_checked_and_converted() {
    let recorded = Recorded::new("dump");
    let dump = recorded.file("class/talk.rtpd");
    let (code, stdout, _) = output(&["dump", "ls", &dump]);
    assert_eq!(code, 0);
    assert!(
        stdout.contains("opus") && stdout.contains("48000"),
        "{stdout}"
    );
    let (code, stdout, _) = output(&["dump", "check", &dump]);
    assert_eq!(code, 0);
    assert!(stdout.starts_with("50 packets"), "{stdout}");
    for name in ["talk.pcap", "talk.webm", "talk.mp4"] {
        let made = recorded.file(name);
        let (code, stdout, stderr) = output(&["dump", "convert", &dump, &made]);
        assert_eq!(code, 0, "{name}: {stderr}");
        assert!(
            stdout.contains(name) && stdout.contains("50 packets"),
            "{stdout}"
        );
        assert!(
            std::fs::metadata(&made).expect("is there").len() > 150,
            "{name}"
        );
        // What is there is not replaced.
        let (code, _, stderr) = output(&["dump", "convert", &dump, &made]);
        assert_eq!(code, EXIT_USAGE, "{stderr}");
    }
    let (code, _, stderr) = output(&["dump", "convert", &dump, "talk.avi"]);
    assert_eq!(code, EXIT_USAGE);
    assert!(stderr.contains(".webm"), "{stderr}");
    let bytes = std::fs::read(&dump).expect("is there");
    std::fs::write(&dump, &bytes[..bytes.len() - 5]).expect("is written");
    let (code, stdout, stderr) = output(&["dump", "check", &dump]);
    assert_eq!(code, EXIT_DAMAGED);
    assert!(
        stdout.contains("50 packets") && stderr.contains("was cut"),
        "{stdout}{stderr}"
    );
    std::fs::write(&dump, "something else").expect("is written");
    let (code, _, stderr) = output(&["dump", "check", &dump]);
    assert_eq!(code, EXIT_DAMAGED);
    assert!(stderr.contains("no RTP dump"), "{stderr}");
}

//! What is recorded, from the policy's order to the file: a publisher's packets go in over real sockets, and
//! every frame is found in a file that `ffprobe` understands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rillway::Running;
use rillway_core::api::MediaKind;
use rillway_core::id::TrackId;
use rillway_tests::live::{LiveClient, member};
use rillway_tests::media::TrackSpec;
use rillway_tests::payload::{self, Body};
use serde_json::{Value, json};

use crate::router::{PATIENCE, join, metric, metric_becomes};
use crate::site::Site;

const ALL: &str = "authentication.policy = \"auth-open\"\n\
    recording = { policy = \"record-all\", directory = \"recordings\" }\n";
const ON_REQUEST: &str = "authentication.policy = \"auth-open\"\n\
    recording = { policy = \"record-on-request\", directory = \"recordings\" }\n";
const FINISHED: &str = "rillway_recorder_files_total{result=\"finished\"}";

async fn publisher(running: &Running, room: &str, tracks: Vec<TrackSpec>) -> LiveClient {
    let mut config = member(1, room, Instant::now());
    config.tracks = tracks;
    let client = LiveClient::connect(running.gateway_address(), config).await;
    client.expect("the gateway listens")
}

/// Publishes for this time, stops, and lets what is on its way arrive.
async fn publish(client: &mut LiveClient, time: Duration) {
    client.run_for(time).await.expect("sockets work");
    client.set_running(false);
    let quiet = client.run_for(Duration::from_millis(300)).await;
    quiet.expect("sockets work");
}

async fn leave(client: &mut LiveClient) {
    client.client.leave();
    let gone = |c: &LiveClient| c.client.unanswered.is_empty() && c.client.me.is_none();
    let left = client.run_until(Duration::from_secs(1), gone).await;
    left.expect("sockets work");
}

/// Files of a room, by extension.
fn files(site: &Site, room: &str, extension: &str) -> Vec<PathBuf> {
    let folder = site.0.join("recordings").join(room);
    let entries = std::fs::read_dir(folder).map(|all| all.filter_map(Result::ok));
    let paths = entries.into_iter().flatten().map(|entry| entry.path());
    let mut found: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .filter(|path| {
            !path
                .file_name()
                .is_some_and(|n| n.as_encoded_bytes().starts_with(b"."))
        })
        .collect();
    found.sort();
    found
}

/// Bodies of the test's packets in a file, by track, in the order of the file.
fn bodies(file: &Path) -> BTreeMap<TrackId, Vec<Body>> {
    let bytes = std::fs::read(file).expect("readable");
    let mut found: BTreeMap<TrackId, Vec<Body>> = BTreeMap::new();
    let mut at = 0;
    while let Some(body) = payload::next_body(&bytes, &mut at) {
        found.entry(body.track).or_default().push(body);
    }
    found
}

/// What a client has sent of a track.
struct Sent {
    track: TrackId,
    kind: MediaKind,
    /// Packets, by layer.
    packets: Vec<u32>,
}

/// To be asked before it leaves.
fn sent(client: &LiveClient) -> Vec<Sent> {
    let published = client.client.published.iter();
    let sent = published.map(|published| Sent {
        track: published.track.expect("published"),
        kind: published.spec.kind,
        packets: published.layers.iter().map(|l| l.sequence).collect(),
    });
    sent.collect()
}

/// Every packet of every track is there, in order, from a beginning to the last one sent.
fn assert_every_frame(sent: &[Sent], file: &Path) {
    let found = bodies(file);
    assert_eq!(found.len(), sent.len());
    for Sent {
        track,
        kind,
        packets: sent,
    } in sent
    {
        let packets = &found[track];
        assert!(packets.len() > 20, "{} of {}", packets.len(), sent[0]);
        let numbers: Vec<u32> = packets.iter().map(|body| body.sequence).collect();
        let expected: Vec<u32> = (numbers[0]..sent[0]).collect();
        assert_eq!(numbers, expected, "{kind:?}");
        if *kind == MediaKind::Video {
            assert!(packets[0].keyframe && packets[0].index == 0);
        }
    }
}

/// Codecs and packets of a file's streams as `ffprobe` sees them. `None`: it is not installed, which is said.
fn probe(file: &Path) -> Option<BTreeMap<String, u64>> {
    let entries = "stream=codec_name,nb_read_packets";
    let mut command = Command::new("ffprobe");
    command.args([
        "-v",
        "error",
        "-of",
        "json",
        "-count_packets",
        "-show_entries",
        entries,
    ]);
    let output = match command.arg(file).output() {
        Ok(output) => output,
        Err(error) => {
            println!("SKIPPED: ffprobe (Debian package ffmpeg): {error}");
            return None;
        }
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let streams = json["streams"].as_array().expect("streams");
    let stream = |stream: &Value| {
        let packets = stream["nb_read_packets"].as_str()?.parse().ok()?;
        Some((stream["codec_name"].as_str()?.to_owned(), packets))
    };
    Some(streams.iter().filter_map(stream).collect())
}

/// Frames of a track in a file.
fn frames(file: &Path, sent: &[Sent], kind: MediaKind) -> u64 {
    let found = bodies(file);
    let sent = sent.iter().find(|sent| sent.kind == kind).expect("sent");
    let packets = &found[&sent.track];
    packets.iter().filter(|body| body.index == 0).count() as u64
}

#[tokio::test]
async fn everything_a_participant_publishes_is_in_one_file_with_every_frame() {
    let site = Site::new("record-all");
    let running = site.run(ALL);
    let tracks = vec![TrackSpec::audio(), TrackSpec::video(2)];
    let mut client = publisher(&running, "standup", tracks).await;
    publish(&mut client, Duration::from_secs(4)).await;
    let sent = sent(&client);
    leave(&mut client).await;
    metric_becomes(&running, FINISHED, 1.0).await;
    let found = files(&site, "standup", "mp4");
    let [file] = found.as_slice() else {
        panic!("one file: {found:?}");
    };
    assert_every_frame(&sent, file);
    if let Some(streams) = probe(file) {
        let expected = [
            ("opus".to_owned(), frames(file, &sent, MediaKind::Audio)),
            ("vp8".to_owned(), frames(file, &sent, MediaKind::Video)),
        ];
        assert_eq!(streams, BTreeMap::from(expected));
    }
    let dropped = "rillway_recorder_dropped_packets_total{cause=\"queue\"}";
    assert_eq!(metric(&running, dropped).await, Some(0.0));
    // The sidecar tells of it once the room is gone.
    let sidecars = files(&site, "standup", "json");
    assert_eq!(sidecars.len(), 1, "{sidecars:?}");
    let text = std::fs::read_to_string(&sidecars[0]).expect("readable");
    let sidecar: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(sidecar["room"], "standup", "{sidecar}");
    let files = sidecar["files"].as_array().expect("files");
    assert_eq!(files.len(), 1, "{sidecar}");
    let name = file.file_name().and_then(|n| n.to_str()).expect("a name");
    assert!(
        files[0]["name"].as_str().is_some_and(|n| n.ends_with(name)),
        "{sidecar}"
    );
}

#[tokio::test]
async fn a_simulcast_camera_is_recorded_in_its_best_layer() {
    let site = Site::new("record-simulcast");
    let running = site.run(ALL);
    let mut client = publisher(&running, "r", vec![TrackSpec::simulcast()]).await;
    publish(&mut client, Duration::from_secs(4)).await;
    let sent = sent(&client)[0].packets[2];
    leave(&mut client).await;
    metric_becomes(&running, FINISHED, 1.0).await;
    let found = files(&site, "r", "mp4");
    let all = bodies(&found[0]);
    let packets = all.values().next().expect("a track");
    let last = packets.last().expect("packets");
    assert_eq!(last.layer, 2);
    let best: Vec<&Body> = packets.iter().filter(|body| body.layer == 2).collect();
    assert!(best.len() > 100, "{} packets", best.len());
    let numbers: Vec<u32> = best.iter().map(|body| body.sequence).collect();
    assert_eq!(numbers, (numbers[0]..sent).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_router_that_stops_completes_its_files_first() {
    let site = Site::new("record-stop");
    let running = site.run(ALL);
    let tracks = vec![TrackSpec::audio(), TrackSpec::video(1)];
    let mut client = publisher(&running, "r", tracks).await;
    publish(&mut client, Duration::from_secs(3)).await;
    running.stop();
    running.wait().expect("an end on request is no error");
    let found = files(&site, "r", "mp4");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_every_frame(&sent(&client), &found[0]);
    assert_eq!(files(&site, "r", "json").len(), 1);
}

#[tokio::test]
async fn everybody_in_the_room_sees_what_is_recorded_and_who_asked() {
    let site = Site::new("record-told");
    let running = site.run(ON_REQUEST);
    let tracks = vec![TrackSpec::audio(), TrackSpec::video(1)];
    let mut client = publisher(&running, "r", tracks).await;
    let on = |c: &LiveClient| {
        let published = &c.client.published;
        published.len() == 2 && published.iter().all(|p| p.track.is_some())
    };
    let published = client.run_until(PATIENCE, on).await;
    assert!(published.expect("sockets work"), "not published");
    let mut ids: Vec<String> = Vec::new();
    for published in &client.client.published {
        ids.push(format!("{:x}", published.track.expect("published").0));
    }
    ids.sort();
    let (mut ada, joined) = join(&running, "r", "Ada").await;
    let answer = ada.ask(json!({"type": "record", "start": true})).await;
    assert_eq!(answer["type"], "ok", "{answer}");
    let check = |told: &Value| {
        assert_eq!(told["active"], true, "{told}");
        assert_eq!(told["by"], joined["participant"]["id"], "{told}");
        let tracks = told["tracks"].as_array().expect("tracks");
        let mut tracks: Vec<&str> = tracks.iter().filter_map(Value::as_str).collect();
        tracks.sort_unstable();
        assert_eq!(tracks, ids);
    };
    check(&ada.told("recording").await);
    let (mut late, _) = join(&running, "r", "Grace").await;
    check(&late.told("recording").await);
    client
        .run_for(Duration::from_secs(3))
        .await
        .expect("sockets work");
    let answer = ada.ask(json!({"type": "record", "start": false})).await;
    assert_eq!(answer["type"], "ok", "{answer}");
    let over = json!({"type": "recording", "active": false, "by": null, "tracks": []});
    assert_eq!(late.told("recording").await, over);
    client.set_running(false);
    metric_becomes(&running, FINISHED, 1.0).await;
    let found = files(&site, "r", "mp4");
    assert_eq!(found.len(), 1, "{found:?}");
    if let Some(streams) = probe(&found[0]) {
        assert_eq!(streams.len(), 2, "{streams:?}");
    }
}

/// The command of `docs/recording.md`, on two films made for it.
#[test]
fn the_documented_command_puts_two_films_side_by_side() {
    let site = Site::new("record-composite");
    let run = |command: &mut Command| -> Option<()> {
        let output = match command.current_dir(&site.0).output() {
            Ok(output) => output,
            Err(error) => {
                println!("SKIPPED: ffmpeg (Debian package ffmpeg): {error}");
                return None;
            }
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        Some(())
    };
    for (name, size) in [("ada", "320x180"), ("grace", "320x240")] {
        let mut make = Command::new("ffmpeg");
        let picture = format!("testsrc=duration=3:size={size}:rate=10");
        make.args(["-v", "error", "-f", "lavfi", "-i", &picture]);
        make.args(["-f", "lavfi", "-i", "sine=duration=3"]);
        make.args([
            "-c:v",
            "libvpx-vp9",
            "-deadline",
            "realtime",
            "-c:a",
            "libopus",
        ]);
        if run(make.arg(format!("{name}.mp4"))).is_none() {
            return;
        }
    }
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/recording.md");
    let document = std::fs::read_to_string(document).expect("readable");
    let (_, command) = document.split_once("```sh\nffmpeg ").expect("a command");
    let (command, _) = command.split_once("```").expect("its end");
    let mut shell = Command::new("sh");
    run(shell.args(["-c", &format!("ffmpeg -v error {command}")]));
    let streams = probe(&site.0.join("room.mp4")).expect("it is there");
    // The second one began 1.2 s later: 4.2 s at 30 frames a second.
    assert!((124..=128).contains(&streams["h264"]), "{streams:?}");
    assert!(streams["aac"] > 150, "{streams:?}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_refused_with_its_place() {
    let site = Site::new("record-folder");
    site.write("taken", "a file");
    let config = |folder: &str| {
        format!("authentication.policy = \"auth-open\"\nrecording.directory = \"{folder}\"\n")
    };
    let first = site.run(&config("mine"));
    let said = site.refusal(&config("mine"));
    assert!(
        said.contains("recording.directory") && said.contains("in use"),
        "{said}"
    );
    first.stop();
    first.wait().expect("an end on request is no error");
    let again = site.run(&config("mine"));
    drop(again);
    for (folder, problem) in [("taken", "is no folder"), ("a/b", "there is no folder")] {
        let said = site.invalid(&config(folder));
        assert!(
            said.contains(problem) && said.contains("rillway.toml:"),
            "{said}"
        );
    }
}

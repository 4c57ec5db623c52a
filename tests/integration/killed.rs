//! Routers that are killed while they record. What the next one finds is completed, decodes, and misses a second
//! at most.
//!
//! `RILLWAY_TEST_KILLS` says how many are killed, `RILLWAY_TEST_SEED` when.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rillway_recorder::api::Codec;
use rillway_tests::film::{Stored, frames};
use rillway_tests::live::{LiveClient, member};
use rillway_tests::media::TrackSpec;
use shiguredo_mp4::TrackKind;

use crate::payloads::Payloader;
use crate::router::soon;
use crate::site::{Process, Site};
use crate::synth::{Clip, ffmpeg, have_ffmpeg, tone, video};

const CONFIGURATION: &str = "authentication.policy = \"auth-open\"\n\
    recording = { policy = \"record-all\", directory = \"recordings\" }\n";

/// Kills in `tests/run`.
const KILLS: usize = 9;
/// Routers that are killed beside each other.
const LANES: usize = 3;
/// Of each router, each with two participants.
const ROOMS: usize = 2;
/// From the first frame on, milliseconds.
const MOMENTS: std::ops::Range<u64> = 300..5_000;
/// From then on there has to be a film: it begins with a keyframe of the camera and its first second.
const FILMED_AFTER: Duration = Duration::from_millis(2_500);
/// What may be missing at the end of a film.
const MISSING_MOST: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(4);

/// What is sent, of each of the two participants of a room.
struct Clips {
    cameras: [Clip; 2],
    sound: Clip,
}

/// A participant whose camera shows a clip.
struct Player {
    live: LiveClient,
    clips: Arc<Clips>,
    camera: usize,
    payloaders: [Payloader; 2],
    began: Option<Instant>,
    /// Frames of the camera, and packets of the microphone, that were sent so far.
    counts: [u32; 2],
    /// The next frame of the clip.
    next: usize,
    /// Frames of the clip, and when they were sent.
    sent: Vec<(usize, Instant)>,
    /// The longest that a frame was late by: what this machine has on its hands.
    late: Duration,
}

impl Player {
    async fn join(gateway: SocketAddr, room: &str, number: u64, clips: &Arc<Clips>) -> Player {
        let mut config = member(number, room, Instant::now());
        let mut camera = TrackSpec::video(1);
        camera.interval = Duration::from_nanos(33_333_333);
        config.tracks = vec![camera, TrackSpec::audio()];
        config.auto_subscribe = false;
        let live = LiveClient::connect(gateway, config).await;
        Player {
            live: live.expect("the gateway listens"),
            clips: clips.clone(),
            camera: (number % 2) as usize,
            payloaders: [Payloader::new(Codec::Vp8), Payloader::new(Codec::Opus)],
            began: None,
            counts: [0; 2],
            next: 0,
            sent: Vec::new(),
            late: Duration::ZERO,
        }
    }

    fn clip(&self) -> &Clip {
        &self.clips.cameras[self.camera]
    }

    /// Sends what is due.
    fn play(&mut self) {
        self.live.set_running(false);
        let client = &self.live.client;
        let on = client.published.len() == 2
            && client.published.iter().all(|p| p.track.is_some())
            && client.is_publishing();
        let now = Instant::now();
        if !on {
            return;
        }
        let began = *self.began.get_or_insert(now);
        for track in [0, 1] {
            let interval = client_interval(track);
            let due = |counts: &[u32; 2]| began + interval * counts[track];
            while due(&self.counts) <= now {
                let late = now - due(&self.counts);
                self.late = self.late.max(late);
                self.counts[track] += 1;
                match track {
                    0 => self.picture(now),
                    _ => self.sound(now),
                }
            }
        }
    }

    /// The next frame; where a keyframe is wanted, the clip's next one.
    fn picture(&mut self, now: Instant) {
        let every = self.clip().every;
        let layer = &mut self.live.client.published[0].layers[0];
        if std::mem::take(&mut layer.keyframe_wanted) {
            self.next = self.next.next_multiple_of(every);
        }
        let (_, frame) = &self.clips.cameras[self.camera].frames[self.next];
        let payloads = self.payloaders[0].payloads(frame, self.next.is_multiple_of(every));
        self.live.client.send_payloads(now, 0, &payloads, true);
        self.sent.push((self.next, now));
        self.next += 1;
    }

    fn sound(&mut self, now: Instant) {
        let packets = &self.clips.sound.frames;
        let (_, packet) = &packets[self.counts[1] as usize % packets.len()];
        let payloads = self.payloaders[1].payloads(packet, true);
        self.live.client.send_payloads(now, 1, &payloads, false);
    }
}

fn client_interval(track: usize) -> Duration {
    match track {
        0 => Duration::from_nanos(33_333_333),
        _ => Duration::from_millis(20),
    }
}

async fn play(players: &mut [Player]) {
    players.iter_mut().for_each(Player::play);
    let runs = players.iter_mut().map(|player| player.live.run_for(STEP));
    let ran = futures_util::future::try_join_all(runs).await;
    ran.expect("sockets work");
}

/// What was sent to a router until it was killed.
struct Killed {
    round: String,
    at: Instant,
    players: Vec<Player>,
}

fn room(round: &str, index: usize) -> String {
    format!("{round}-{index}")
}

/// Everybody publishes; `after` the first frame of the last one the router is killed.
async fn kill(
    router: &mut Process,
    (round, after): (String, Duration),
    clips: &Arc<Clips>,
) -> Killed {
    let mut players = Vec::new();
    for index in 0..ROOMS {
        for number in [1, 2] {
            let room = room(&round, index);
            players.push(Player::join(router.gateway, &room, number, clips).await);
        }
    }
    let begun = async {
        while !players.iter().all(|player| player.began.is_some()) {
            play(&mut players).await;
        }
    };
    soon("everybody publishes", begun).await;
    let end = Instant::now() + after;
    while Instant::now() < end {
        play(&mut players).await;
    }
    let at = Instant::now();
    router.kill();
    Killed { round, at, players }
}

/// Files of a room.
fn films(site: &Site, room: &str, extension: &str) -> Vec<PathBuf> {
    let folder = site.0.join("recordings").join(room);
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let named = |path: &PathBuf| path.extension().is_some_and(|e| e == extension);
    paths.filter(named).collect()
}

/// Until nothing is left that is not complete.
async fn completed(site: &Site, round: &str) {
    let left = |index| !films(site, &room(round, index), "part").is_empty();
    while (0..ROOMS).any(left) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What was found of a router's films.
#[derive(Debug, Default)]
struct Found {
    films: usize,
    pictures: usize,
    worst: Duration,
}

impl Found {
    fn add(&mut self, other: &Found) {
        self.films += other.films;
        self.pictures += other.pictures;
        self.worst = self.worst.max(other.worst);
    }
}

/// Every film decodes, holds what was sent, and misses a second at most.
fn check(site: &Site, killed: &Killed) -> Found {
    let mut found = Found::default();
    for index in 0..ROOMS {
        let room = room(&killed.round, index);
        assert_eq!(films(site, &room, "part"), Vec::<PathBuf>::new());
        // In the order of their beginnings, which their names tell.
        let mut films = films(site, &room, "mp4");
        films.sort_by(|a, b| a.file_stem().cmp(&b.file_stem()));
        let mut films: Vec<Vec<Stored>> = films.iter().map(|path| pictures(path)).collect();
        for player in &killed.players[2 * index..2 * index + 2] {
            let frames = player.clip().frames.iter().enumerate();
            let numbers: HashMap<&[u8], usize> = frames
                .map(|(number, (_, frame))| (&frame[..], number))
                .collect();
            let theirs = |pictures: &mut Vec<Stored>| {
                let first = pictures.first();
                first.is_some_and(|first| numbers.contains_key(&first.data[..]))
            };
            // Several, where the microphone came later than the camera.
            let theirs: Vec<Vec<Stored>> = films.extract_if(.., theirs).collect();
            let filmed = killed.at - player.began.expect("begun");
            found.films += theirs.len();
            let pictures = theirs.concat();
            if pictures.is_empty() {
                let most = FILMED_AFTER + player.late;
                assert!(filmed < most, "{room}: no film of {filmed:?}");
                continue;
            }
            found.pictures += pictures.len();
            let missing = missing(player, &numbers, &pictures, killed.at, &room);
            found.worst = found.worst.max(missing);
        }
        // Sound alone, where the camera had not begun.
        let pictures: usize = films.iter().map(Vec::len).sum();
        assert_eq!(pictures, 0, "{room}: a film of nobody");
    }
    found
}

/// Of a film, which decodes.
fn pictures(path: &Path) -> Vec<Stored> {
    decodes(path);
    frames(&std::fs::read(path).expect("readable"), TrackKind::Video)
}

/// What was sent after the last of these frames, which are all before it from the first one on.
fn missing(
    player: &Player,
    numbers: &HashMap<&[u8], usize>,
    pictures: &[Stored],
    killed: Instant,
    room: &str,
) -> Duration {
    let number = |frame: &Stored| *numbers.get(&frame.data[..]).expect("a frame of the clip");
    let film: Vec<usize> = pictures.iter().map(number).collect();
    let sent = player.sent.iter();
    let from = sent.clone().position(|(number, _)| *number == film[0]);
    let sent: Vec<&(usize, Instant)> = sent.skip(from.expect("sent")).take(film.len()).collect();
    let numbers: Vec<usize> = sent.iter().map(|(number, _)| *number).collect();
    assert_eq!(film, numbers, "{room}");
    let (_, last) = sent.last().expect("there are some");
    let missing = killed.saturating_duration_since(*last + client_interval(0));
    let most = MISSING_MOST + player.late;
    assert!(missing <= most, "{room}: {missing:?} of {most:?}");
    missing
}

/// Completely, and ffmpeg has nothing to say. Two frames may be a millisecond apart, so the clock is a fine one.
fn decodes(file: &Path) {
    let name = file.to_str().expect("a name");
    let null = [
        "-xerror",
        "-i",
        name,
        "-enc_time_base:v",
        "-1",
        "-f",
        "null",
        "-",
    ];
    let (_, errors) = ffmpeg(&null);
    assert_eq!(errors, "", "{name}");
}

/// One router after the other in one folder: each completes what the one before it left.
fn lane(number: usize, moments: &[u64], clips: &Arc<Clips>) -> Found {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let site = Site::new(&format!("killed-{number}"));
    site.save(CONFIGURATION);
    let mut found = Found::default();
    let mut before: Option<Killed> = None;
    for (round, moment) in moments.iter().map(Some).chain([None]).enumerate() {
        let mut router = Process::start(&site);
        runtime.block_on(async {
            if let Some(killed) = before.take() {
                soon(
                    "what was left is completed",
                    completed(&site, &killed.round),
                )
                .await;
                found.add(&check(&site, &killed));
            }
            if let Some(moment) = moment {
                let round = (format!("round{round}"), Duration::from_millis(*moment));
                before = Some(kill(&mut router, round, clips).await);
            }
        });
    }
    found
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn films_survive_routers_that_are_killed_at_any_moment() {
    if !have_ffmpeg() {
        return;
    }
    let kills = number("RILLWAY_TEST_KILLS").map_or(KILLS, |n| n as usize);
    let seed = number("RILLWAY_TEST_SEED").unwrap_or(0x8_1126);
    println!("RILLWAY_TEST_KILLS={kills} RILLWAY_TEST_SEED={seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let moments: Vec<u64> = (0..kills).map(|_| dice.u64(MOMENTS)).collect();
    let clips = Arc::new(Clips {
        cameras: [
            video(Codec::Vp8, "160x90", 12),
            video(Codec::Vp8, "320x180", 12),
        ],
        sound: tone(12),
    });
    let began = Instant::now();
    let mut found = Found::default();
    std::thread::scope(|scope| {
        let lanes = moments.chunks(kills.div_ceil(LANES));
        let threads: Vec<_> = lanes
            .enumerate()
            .map(|(number, moments)| {
                let clips = &clips;
                scope.spawn(move || lane(number, moments, clips))
            })
            .collect();
        for thread in threads {
            found.add(&thread.join().expect("a lane"));
        }
    });
    let seconds = began.elapsed().as_secs();
    println!(
        "{kills} routers killed in {seconds} s: {} films of {} pictures decode, {:?} are missing at most",
        found.films, found.pictures, found.worst
    );
    assert!(found.films >= kills, "too few films: {found:?}");
}

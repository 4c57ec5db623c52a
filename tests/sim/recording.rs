//! Frame for frame: what a publisher sends over a bad network is what the recorder's file holds; and where it
//! cannot be, the gap is where frames are missing.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rillway_core::api::{
    MediaKind, RecordedCodec, RecordedPacket, RoomEventKind, RoomOrder, RoomOrderKind,
};
use rillway_core::id::{RoomId, TrackId};
use rillway_recorder::api::{self, Codec, Container, Order, Packet, Start};
use rillway_recorder::engine;
use rillway_recorder::film::{Film, Films as _, Gap, Origin, Step, TrackSummary, Write};
use rillway_recorder::films::Files;
use rillway_recorder::sidecar::{Contents, Missing, Sidecar};
use rillway_tests::client::RtcFactory;
use rillway_tests::film::{Stored, frames as stored};
use rillway_tests::media::TrackSpec;
use rillway_tests::world::checks::SOON;
use rillway_tests::world::{Who, World};
use shiguredo_mp4::TrackKind;
use str0m::RtcConfig;
use str0m_netem::{NetemConfig, Probability, RandomLoss};

use crate::films::Maker;

const CODECS: [Codec; 4] = [Codec::Vp8, Codec::H264, Codec::Vp9, Codec::Av1];
const SEEDS: u64 = 30;
const STEP: Duration = Duration::from_millis(10);
/// How often the recorder looks at its films.
const TICK: Duration = Duration::from_millis(50);
const DELAY: Duration = Duration::from_millis(30);
const LOSS: f32 = 0.05;
/// Frames in which a recording has begun: a keyframe is asked for once a second, and it or the request may be lost.
const KEYFRAME_WITHIN: usize = 100;

/// A frame that was sent.
struct Sent {
    at: Instant,
    keyframe: bool,
    payloads: Vec<Vec<u8>>,
    stored: Vec<u8>,
}

/// One of the two tracks.
struct Line {
    track: TrackId,
    spec: TrackSpec,
    maker: Maker,
    due: Instant,
    sent: Vec<Sent>,
}

/// A publisher, and a film of it.
struct Studio {
    world: World,
    who: Who,
    room: RoomId,
    /// Camera, then microphone.
    lines: [Line; 2],
    film: Box<dyn Film>,
    next_look: Instant,
    recorded: Vec<RecordedPacket>,
    file: Vec<u8>,
    summaries: Option<Vec<TrackSummary>>,
    /// Frames of video are sent again on request.
    again: bool,
}

fn factory(codec: Codec) -> RtcFactory {
    match codec {
        Codec::Vp8 => || audio_only().enable_vp8(true),
        Codec::Vp9 => || audio_only().enable_vp9(true),
        Codec::Av1 => || audio_only().enable_av1(true),
        _ => || audio_only().enable_h264(true),
    }
}

fn audio_only() -> RtcConfig {
    let config = RtcConfig::new().set_rtp_mode(true).clear_codecs();
    config.enable_opus(true, false)
}

fn lossy(seed: u64) -> NetemConfig {
    // Jitter of more than the time between two packets reorders them.
    NetemConfig::new()
        .latency(DELAY)
        .jitter(Duration::from_millis(8))
        .loss(RandomLoss::new(Probability::new(LOSS)))
        .seed(seed)
}

impl Studio {
    fn new(codec: Codec, seed: u64, again: bool) -> Self {
        let mut world = World::with_shard(seed);
        world.announce_rooms(0);
        world.set_default_link(NetemConfig::new().latency(DELAY));
        let specs = [TrackSpec::video(1), TrackSpec::audio()];
        let who = world.add_client("r", |config| {
            config.tracks = specs.to_vec();
            config.rtc_factory = factory(codec);
        });
        world.with(who, |c, _| c.join());
        assert!(world.run_until(SOON, |w| w.client(who).published.len() == 2));
        world.with(who, |c, _| {
            c.published.iter_mut().for_each(|p| p.running = false);
        });
        let on = |w: &World| {
            let client = w.client(who);
            client.is_publishing() && client.published.iter().all(|p| p.track.is_some())
        };
        assert!(world.run_until(SOON, on));
        let opened = world.poll_room_event(0).expect("the room opened");
        let published = &world.client(who).published;
        let tracks: Vec<TrackId> = published.iter().filter_map(|p| p.track).collect();
        let line = |index: usize, codec, spec| Line {
            track: tracks[index],
            spec,
            maker: Maker::new(codec, seed << 8 | index as u64),
            due: world.now,
            sent: Vec::new(),
        };
        let [camera, microphone] = specs;
        let lines = [line(0, codec, camera), line(1, Codec::Opus, microphone)];
        let origin = Origin {
            at: world.now,
            wall: std::time::SystemTime::now(),
        };
        Studio {
            next_look: world.now,
            world,
            who,
            room: opened.room,
            lines,
            film: Files.film(Container::Mp4, None, origin),
            recorded: Vec::new(),
            file: Vec::new(),
            summaries: None,
            again,
        }
    }

    fn order(&mut self, kind: RoomOrderKind) {
        let room = self.room;
        self.world.order(0, RoomOrder { room, kind });
        while let Some(event) = self.world.poll_room_event(0) {
            let refused = matches!(event.kind, RoomEventKind::RecordingRefused(..));
            assert!(!refused, "{event:?}");
        }
    }

    fn record(&mut self) {
        for index in 0..self.lines.len() {
            let Line { track, spec, .. } = &self.lines[index];
            let (track, video) = (*track, spec.kind == MediaKind::Video);
            self.order(RoomOrderKind::Record(track));
            self.film.add(api::TrackId(track.0), video);
        }
    }

    /// The links are as bad as that.
    fn links(&mut self, up: NetemConfig, down: NetemConfig) {
        let links = self.world.links(self.who);
        links.0.set_config(up);
        links.1.set_config(down);
    }

    fn run(&mut self, time: Duration, sending: bool) {
        let end = self.world.now + time;
        while self.world.now < end {
            for index in 0..self.lines.len() {
                while sending && self.lines[index].due <= self.world.now {
                    self.send(index);
                }
            }
            self.world.run_for(STEP);
            let recorded = self.world.take_recorded(0);
            for packet in &recorded {
                self.film
                    .packet(api::TrackId(packet.track.0), &given(packet));
            }
            self.recorded.extend(recorded);
            if self.world.now >= self.next_look {
                self.next_look = self.world.now + TICK;
                let mut steps = Vec::new();
                self.film.steps(self.world.now, &mut steps);
                self.apply(steps);
            }
        }
    }

    fn send(&mut self, index: usize) {
        let again = self.again && index == 0;
        let line = &mut self.lines[index];
        let now = self.world.now;
        self.world.with(self.who, |client, _| {
            let layer = &mut client.published[index].layers[0];
            let keyframe = std::mem::take(&mut layer.keyframe_wanted) || layer.frame == 0;
            let made = line.maker.frame(keyframe);
            let sent = client.send_payloads(now, index, &made.payloads, again);
            assert!(sent, "a track that is published takes frames");
            line.sent.push(Sent {
                at: line.due,
                keyframe,
                payloads: made.payloads,
                stored: made.stored,
            });
        });
        line.due += line.spec.interval;
    }

    fn apply(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Begin => assert!(self.file.is_empty(), "another file"),
                Step::Write(Write::Append(bytes)) => self.file.extend_from_slice(&bytes),
                Step::Write(Write::Overwrite { offset, bytes }) => {
                    let at = usize::try_from(offset).expect("within memory");
                    self.file[at..at + bytes.len()].copy_from_slice(&bytes);
                }
                Step::End(summaries) => self.summaries = Some(summaries),
                Step::Started(_) => {}
                Step::KeyframeWanted(track) => {
                    self.order(RoomOrderKind::AskKeyframe(TrackId(track.0)));
                }
                Step::Failed(track, reason) => panic!("{track:?}: {reason}"),
            }
        }
    }

    /// Stops sending, lets what is on its way arrive, and completes the file.
    fn finish(&mut self) {
        self.run(Duration::from_secs(2), false);
        let mut steps = Vec::new();
        self.film.finish(self.world.now, &mut steps);
        self.apply(steps);
    }

    fn summary(&self, index: usize) -> &TrackSummary {
        let track = api::TrackId(self.lines[index].track.0);
        let all = self.summaries.as_ref().expect("the file is complete");
        all.iter().find(|s| s.track == track).expect("in the file")
    }

    /// Frames of which every packet reached the router, by number.
    fn arrived(&self, index: usize) -> Vec<bool> {
        let line = &self.lines[index];
        let sent: Vec<&[u8]> = line
            .sent
            .iter()
            .flat_map(|frame| frame.payloads.iter().map(|p| &p[..]))
            .collect();
        let of = self.recorded.iter().filter(|p| p.track == line.track);
        let of: Vec<&RecordedPacket> = of.collect();
        // Parameter sets are often the same; the others are told apart by their noise. All make one stream.
        let known = of.iter().find_map(|packet| {
            let mut places = (0..sent.len()).filter(|at| sent[*at] == &packet.payload[..]);
            let place = places.next()?;
            places
                .next()
                .is_none()
                .then(|| packet.sequence.wrapping_sub(place as u64))
        });
        let first = known.expect("a packet that was sent");
        let mut here = vec![false; sent.len()];
        for packet in of {
            let at = packet.sequence.wrapping_sub(first) as usize;
            assert_eq!(&packet.payload[..], sent[at]);
            here[at] = true;
        }
        let mut here = here.into_iter();
        let whole = |frame: &Sent| {
            here.by_ref()
                .take(frame.payloads.len())
                .fold(true, |a, b| a & b)
        };
        line.sent.iter().map(whole).collect()
    }
}

/// In the recorder's words.
fn given(packet: &RecordedPacket) -> Packet {
    Packet {
        sequence: packet.sequence,
        timestamp: packet.timestamp,
        clock_rate: packet.clock_rate,
        captured: packet.captured,
        arrived: packet.arrived,
        marker: packet.marker,
        payload_type: packet.payload_type,
        codec: match packet.codec {
            RecordedCodec::Vp8 => Codec::Vp8,
            RecordedCodec::Vp9 => Codec::Vp9,
            RecordedCodec::Av1 => Codec::Av1,
            RecordedCodec::H264 => Codec::H264,
            RecordedCodec::Opus => Codec::Opus,
            _ => Codec::Other,
        },
        keyframe: packet.keyframe,
        switched: packet.switched,
        payload: packet.payload.clone(),
    }
}

/// Numbers of the frames sent that these are, byte for byte.
fn numbers(found: &[Stored], sent: &[Sent]) -> Vec<usize> {
    let by_bytes: HashMap<&[u8], usize> = sent
        .iter()
        .enumerate()
        .map(|(number, sent)| (&sent.stored[..], number))
        .collect();
    let number = |frame: &Stored| {
        let number = *by_bytes
            .get(&frame.data[..])
            .expect("a frame that was sent");
        assert!(
            frame.keyframe || !sent[number].keyframe,
            "{number} is a keyframe"
        );
        number
    };
    found.iter().map(number).collect()
}

/// Every frame has its time: that of its capture, from the first one on.
fn assert_times(found: &[Stored], numbers: &[usize], sent: &[Sent], what: &str) {
    for (frame, number) in found.iter().zip(numbers) {
        let is = frame.at - found[0].at;
        let was = sent[*number].at - sent[numbers[0]].at;
        let off = is - was.as_secs_f64();
        assert!(off.abs() < 0.030, "{what}: frame {number} is {off} s off");
    }
}

/// The gaps of a track are those between frames that do not follow each other.
fn assert_gaps(studio: &Studio, index: usize, numbers: &[usize], what: &str) {
    let line = &studio.lines[index];
    let summary = studio.summary(index);
    let interval = line.spec.interval.as_secs_f64();
    let expected: Vec<(f64, f64)> = numbers
        .windows(2)
        .filter(|pair| pair[1] > pair[0] + 1)
        .map(|pair| {
            let [last, next] = [pair[0], pair[1]].map(|n| {
                let since = line.sent[n].at - line.sent[numbers[0]].at;
                summary.begins.as_secs_f64() + since.as_secs_f64()
            });
            (last + interval, next - last - interval)
        })
        .collect();
    let gaps: Vec<(f64, f64)> = summary
        .gaps
        .iter()
        .map(|gap| (gap.at.as_secs_f64(), gap.lasts.as_secs_f64()))
        .collect();
    let near =
        |(a, b): (&(f64, f64), &(f64, f64))| (a.0 - b.0).abs() < 0.030 && (a.1 - b.1).abs() < 0.030;
    assert!(
        gaps.len() == expected.len() && gaps.iter().zip(&expected).all(near),
        "{what}: gaps {gaps:?}, missing {expected:?}"
    );
}

/// Frames of the microphone: those that arrived, without a gap but where they did not.
fn assert_sound(studio: &Studio, what: &str) -> usize {
    let found = stored(&studio.file, TrackKind::Audio);
    let sent = &studio.lines[1].sent;
    let numbers = numbers(&found, sent);
    let arrived = studio.arrived(1);
    let first = *numbers.first().expect("sound");
    let expected: Vec<usize> = (first..sent.len()).filter(|n| arrived[*n]).collect();
    assert_eq!(numbers, expected, "{what}");
    assert_times(&found, &numbers, sent, what);
    assert_gaps(studio, 1, &numbers, what);
    sent.len() - first - numbers.len()
}

fn seeds() -> Vec<u64> {
    match std::env::var("RILLWAY_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => (1..=SEEDS).collect(),
    }
}

#[test]
fn what_is_sent_again_makes_every_frame_whole() {
    let (mut retransmitted, mut frames, mut unheard) = (0, 0, 0);
    for seed in seeds() {
        let codec = CODECS[(seed % 4) as usize];
        let what = format!("{codec:?}, RILLWAY_SEED={seed}");
        let mut studio = Studio::new(codec, seed, true);
        studio.links(lossy(seed), lossy(seed + 1000));
        studio.run(Duration::from_millis(500), true);
        let from = studio.lines[0].sent.len();
        studio.record();
        studio.run(Duration::from_secs(8), true);
        // That the last packet is missing is seen by those that follow it.
        let good = NetemConfig::new().latency(DELAY);
        studio.links(good, good);
        studio.run(Duration::from_millis(500), true);
        studio.finish();
        let found = stored(&studio.file, TrackKind::Video);
        let sent = &studio.lines[0].sent;
        let numbers = numbers(&found, sent);
        let first = *numbers.first().expect("a picture");
        assert!(
            sent[first].keyframe && (from..from + KEYFRAME_WITHIN).contains(&first),
            "{what}: {first}"
        );
        let every: Vec<usize> = (first..sent.len()).collect();
        assert_eq!(numbers, every, "{what}");
        assert_times(&found, &numbers, sent, &what);
        assert_eq!(studio.summary(0).gaps, [], "{what}");
        unheard += assert_sound(&studio, &what);
        frames += numbers.len();
        retransmitted += late(&studio);
    }
    println!(
        "{frames} pictures whole, {retransmitted} packets came after later ones; {unheard} packets of sound lost"
    );
    assert!(retransmitted > frames / 50, "the network was good");
}

/// Packets of the camera that came after later ones.
fn late(studio: &Studio) -> usize {
    let of = studio.recorded.iter();
    let sequences = of.filter(|p| p.track == studio.lines[0].track);
    let mut latest = 0;
    let late = sequences.filter(|packet| {
        let is = packet.sequence < latest;
        latest = latest.max(packet.sequence);
        is
    });
    late.count()
}

/// Frames a decoder could show: those that came whole, from a keyframe on.
fn decodable(sent: &[Sent], arrived: &[bool], first: usize) -> Vec<usize> {
    let mut broken = true;
    let mut frames = Vec::new();
    for number in first..sent.len() {
        broken = !arrived[number] || (broken && !sent[number].keyframe);
        if !broken {
            frames.push(number);
        }
    }
    frames
}

/// A call whose packets are lost for good for some seconds.
fn without_recovery(codec: Codec, seed: u64) -> Studio {
    let mut studio = Studio::new(codec, seed, false);
    studio.run(Duration::from_millis(500), true);
    studio.record();
    studio.run(Duration::from_millis(1_500), true);
    let good = NetemConfig::new().latency(DELAY);
    studio.links(lossy(seed), good);
    studio.run(Duration::from_secs(5), true);
    studio.links(good, good);
    // A keyframe is asked for once a second.
    studio.run(Duration::from_millis(2_500), true);
    studio.finish();
    studio
}

#[test]
fn what_is_lost_for_good_is_a_gap_where_it_is() {
    let (mut gaps, mut lost) = (0, 0);
    for seed in seeds() {
        let codec = CODECS[(seed % 4) as usize];
        let what = format!("{codec:?}, RILLWAY_SEED={seed}");
        let studio = without_recovery(codec, seed);
        let found = stored(&studio.file, TrackKind::Video);
        let sent = &studio.lines[0].sent;
        let numbers = numbers(&found, sent);
        let arrived = studio.arrived(0);
        let first = *numbers.first().expect("a picture");
        assert_eq!(numbers, decodable(sent, &arrived, first), "{what}");
        assert_times(&found, &numbers, sent, &what);
        assert_gaps(&studio, 0, &numbers, &what);
        assert_sound(&studio, &what);
        gaps += studio.summary(0).gaps.len();
        lost += sent.len() - first - numbers.len();
        assert_eq!(
            numbers.last(),
            Some(&(sent.len() - 1)),
            "{what}: it goes on"
        );
    }
    println!("{gaps} gaps with {lost} pictures");
    assert!(gaps >= seeds().len(), "the network was good");
}

/// The same packets for the recorder itself, with its thread and its files.
fn on_disk(studio: &Studio, root: &Path) -> Contents {
    let mut settings = engine::Settings::new(root);
    settings.free_bytes_least = 1 << 20;
    let running = engine::start(settings, Arc::new(Files), 1);
    let mut running = running.expect("a folder to write to");
    for line in &studio.lines {
        let start = Start {
            room: Arc::from("r"),
            track: api::TrackId(line.track.0),
            owner: api::ParticipantId(1),
            identity: Arc::from("alice"),
            kind: match line.spec.kind {
                MediaKind::Audio => api::MediaKind::Audio,
                MediaKind::Video => api::MediaKind::Video,
            },
            source: "camera",
            container: Container::Mp4,
            name: Box::from("alice"),
            segment: None,
            attributes: Vec::new(),
        };
        let given = running.orders.give(Order::Start(Box::new(start)));
        given.expect("it takes orders");
    }
    // Its clock is that of the world outside.
    let (first, begin) = (studio.recorded[0].arrived, Instant::now() + TICK);
    let moved = |at: Instant| {
        begin + at.saturating_duration_since(first) - first.saturating_duration_since(at)
    };
    for recorded in &studio.recorded {
        let mut packet = given(recorded);
        packet.captured = moved(packet.captured);
        packet.arrived = moved(packet.arrived);
        let taken = running.taps[0].push(api::TrackId(recorded.track.0), packet);
        assert!(taken, "the queue holds them all");
    }
    assert!(running.recorder.finish(SOON), "it ends");
    let folder = root.join("r");
    let sidecar = std::fs::read_dir(&folder)
        .expect("the room's folder")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.extension().is_some_and(|e| e == "json"))
        .expect("a sidecar");
    let sidecar = std::fs::read(sidecar).expect("readable");
    let mut sidecar: Sidecar = serde_json::from_slice(&sidecar).expect("a sidecar");
    assert_eq!(sidecar.files.len(), 1, "{sidecar:?}");
    let tracks = sidecar.files.remove(0).tracks.into_iter();
    let of = |contents: &Contents| contents.track == studio.lines[0].track.0;
    tracks.into_iter().find(of).expect("the camera")
}

#[test]
fn the_sidecar_tells_of_the_gaps() {
    for (seed, codec) in (1..).zip(CODECS) {
        let studio = without_recovery(codec, seed);
        let root = std::env::temp_dir().join(format!("rillway-gaps-{}-{seed}", std::process::id()));
        let contents = on_disk(&studio, &root);
        std::fs::remove_dir_all(&root).expect("ours");
        let summary = studio.summary(0);
        assert_eq!(contents.frames, summary.frames, "{codec:?}");
        let close = |(told, gap): (&Missing, &Gap)| {
            let near = |a: u64, b: Duration| (a as f64 / 1e3 - b.as_secs_f64()).abs() < 0.05;
            near(told.at_ms, gap.at) && near(told.lasts_ms, gap.lasts)
        };
        assert!(!summary.gaps.is_empty(), "{codec:?}: the network was good");
        assert!(
            contents.gaps.len() == summary.gaps.len()
                && contents.gaps.iter().zip(&summary.gaps).all(close),
            "{codec:?}: {:?}, {:?}",
            contents.gaps,
            summary.gaps
        );
    }
}

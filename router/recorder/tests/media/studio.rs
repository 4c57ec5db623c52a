//! A film in virtual time over a bad network, and the files that come out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rillway_recorder::api::{Container, Packet, TrackId};
use rillway_recorder::film::{Film, Step, TrackSummary, Write};
use rillway_recorder::media::Recording;

use crate::synth::{Scratch, ffmpeg, hashes};

/// Seeded: a failure prints the seed's test.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// What a network does: 5 % lost and sent again up to 300 ms later, one in ten delayed past its successors,
/// 3 % twice, padding in between.
pub(crate) fn bad_network(packets: &[Packet], seed: u64) -> Vec<Packet> {
    let mut dice = Dice::new(seed);
    let mut out = Vec::new();
    let mut shift = 0;
    for packet in packets {
        let mut packet = packet.clone();
        if dice.below(100) < 2 {
            let padding = Packet {
                sequence: packet.sequence + shift,
                payload: [].into(),
                ..packet.clone()
            };
            out.push(padding);
            shift += 1;
        }
        packet.sequence += shift;
        match dice.below(100) {
            0..5 => packet.arrived += Duration::from_millis(100 + dice.below(200)),
            5..15 => packet.arrived += Duration::from_millis(dice.below(60)),
            15..18 => {
                let again = Packet {
                    arrived: packet.arrived + Duration::from_millis(dice.below(900)),
                    ..packet.clone()
                };
                out.push(again);
            }
            _ => {}
        }
        out.push(packet);
    }
    out
}

/// One file of a film.
#[derive(Default)]
pub(crate) struct Output {
    pub(crate) bytes: Vec<u8>,
    pub(crate) writes: Vec<Write>,
    pub(crate) tracks: Option<Vec<TrackSummary>>,
}

/// What a film did.
pub(crate) struct Studio {
    pub(crate) container: Container,
    pub(crate) film: Recording,
    pub(crate) files: Vec<Output>,
    pub(crate) started: Vec<TrackId>,
    pub(crate) wanted: Vec<(Instant, TrackId)>,
    pub(crate) failed: Vec<(TrackId, String)>,
}

impl Studio {
    pub(crate) fn new(
        container: Container,
        segment: Option<Duration>,
        tracks: &[(u64, bool)],
    ) -> Self {
        let mut film = Recording::new(container, segment);
        for (track, video) in tracks {
            film.add(TrackId(*track), *video);
        }
        let (files, started, wanted, failed) = Default::default();
        Self {
            container,
            film,
            files,
            started,
            wanted,
            failed,
        }
    }

    /// Plays packets of tracks in the order of their arrival, asking for steps each 50 ms.
    pub(crate) fn play(&mut self, tracks: Vec<(u64, Vec<Packet>)>) -> Instant {
        let mut all: Vec<(u64, Packet)> = tracks
            .into_iter()
            .flat_map(|(track, packets)| packets.into_iter().map(move |p| (track, p)))
            .collect();
        all.sort_by_key(|(_, packet)| packet.arrived);
        let mut now = all[0].1.arrived;
        for (track, packet) in all {
            while now < packet.arrived {
                self.step(now);
                now += Duration::from_millis(50);
            }
            self.film.packet(TrackId(track), &packet);
        }
        self.step(now);
        now
    }

    pub(crate) fn step(&mut self, now: Instant) {
        let mut steps = Vec::new();
        self.film.steps(now, &mut steps);
        self.apply(now, steps);
    }

    pub(crate) fn finish(&mut self, now: Instant) {
        let mut steps = Vec::new();
        self.film.finish(now, &mut steps);
        self.apply(now, steps);
        assert!(
            self.files.iter().all(|file| file.tracks.is_some()),
            "a file without an end"
        );
    }

    fn apply(&mut self, now: Instant, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Begin => {
                    assert!(
                        self.files.last().is_none_or(|file| file.tracks.is_some()),
                        "a file within a file"
                    );
                    self.files.push(Output::default());
                }
                Step::Write(write) => self.files.last_mut().unwrap().write(write),
                Step::End(tracks) => self.files.last_mut().unwrap().tracks = Some(tracks),
                Step::Started(track) => self.started.push(track),
                Step::KeyframeWanted(track) => self.wanted.push((now, track)),
                Step::Failed(track, reason) => self.failed.push((track, reason)),
            }
        }
    }

    pub(crate) fn extension(&self) -> &'static str {
        if self.container == Container::Webm {
            "webm"
        } else {
            "mp4"
        }
    }

    /// The file number `index` on disk.
    pub(crate) fn file(&self, index: usize) -> Scratch {
        Scratch::with(self.extension(), &self.files[index].bytes)
    }

    /// MD5s of all frames of a stream, over all files; and that each decodes without a word.
    pub(crate) fn hashes(&self, stream: &str, stored: bool) -> Vec<String> {
        (0..self.files.len())
            .flat_map(|index| {
                let file = self.file(index);
                decodes(&file);
                hashes(file.path(), stream, stored)
            })
            .collect()
    }
}

impl Output {
    fn write(&mut self, write: Write) {
        write_to(&mut self.bytes, &write, usize::MAX);
        self.writes.push(write);
    }

    /// What a crash leaves: of the writes that many, and of the next one so many bytes.
    pub(crate) fn crashed(&self, writes: usize, bytes: usize) -> Vec<u8> {
        let mut left = Vec::new();
        for write in &self.writes[..writes] {
            write_to(&mut left, write, usize::MAX);
        }
        write_to(&mut left, &self.writes[writes], bytes);
        left
    }

    pub(crate) fn track(&self, track: u64) -> &TrackSummary {
        self.tracks
            .as_ref()
            .unwrap()
            .iter()
            .find(|summary| summary.track == TrackId(track))
            .unwrap()
    }
}

pub(crate) fn write_to(file: &mut Vec<u8>, write: &Write, most: usize) {
    match write {
        Write::Append(bytes) => file.extend_from_slice(&bytes[..bytes.len().min(most)]),
        Write::Overwrite { offset, bytes } => {
            let (at, bytes) = (*offset as usize, &bytes[..bytes.len().min(most)]);
            file[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }
}

/// ffmpeg decodes all of it, and has nothing to say; the times of each stream rise.
pub(crate) fn decodes(file: &Scratch) {
    if let Ok(keep) = std::env::var("RILLWAY_KEEP") {
        let name = file.path().file_name().unwrap();
        std::fs::copy(file.path(), std::path::Path::new(&keep).join(name)).unwrap();
    }
    let path = file.path().to_str().unwrap();
    // The encoder's default time base is one frame of the guessed rate: two frames that are closer than that
    // would be one time to it, and it would complain of a legal file.
    let (_, errors) = ffmpeg(&[
        "-xerror",
        "-i",
        path,
        "-enc_time_base:v",
        "-1",
        "-f",
        "null",
        "-",
    ]);
    assert_eq!(errors, "", "decoding");
    times_rise(file);
}

/// In each stream, every packet is later than the one before.
fn times_rise(file: &Scratch) {
    let mut command = std::process::Command::new("ffprobe");
    command.args(["-v", "error", "-of", "csv=p=0"]);
    command.args(["-show_entries", "packet=stream_index,dts"]);
    let output = command.arg(file.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "ffprobe");
    let mut last: BTreeMap<u32, i64> = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        // Side data puts commas behind.
        let mut fields = line.split(',');
        let mut field = || fields.next().unwrap_or_default().trim();
        let (stream, at) = (field().parse().unwrap(), field());
        let at: i64 = at.parse().unwrap_or_else(|_| panic!("a time in {line:?}"));
        let before = last.insert(stream, at);
        assert!(
            before.is_none_or(|before| before < at),
            "stream {stream}: {before:?}, then {at}"
        );
    }
    assert!(!last.is_empty(), "no packets");
}

/// One field of a stream, or of the file (`format`), as ffprobe tells it.
pub(crate) fn probe(file: &Scratch, stream: &str, field: &str) -> String {
    let entries = if stream.is_empty() {
        format!("format={field}")
    } else {
        format!("stream={field}")
    };
    let mut command = std::process::Command::new("ffprobe");
    command.args([
        "-v",
        "error",
        "-count_frames",
        "-of",
        "csv=p=0",
        "-show_entries",
        &entries,
    ]);
    if !stream.is_empty() {
        command.args(["-select_streams", stream]);
    }
    let output = command.arg(file.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "ffprobe");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// A time that ffprobe tells, in seconds.
pub(crate) fn seconds(file: &Scratch, stream: &str, field: &str) -> f64 {
    let text = probe(file, stream, field);
    text.parse()
        .unwrap_or_else(|_| panic!("{stream} {field} is {text:?}"))
}

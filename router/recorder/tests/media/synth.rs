//! Media made by ffmpeg, as RTP.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rillway_recorder::api::{Codec, Packet};

use crate::payloads::Payloader;

/// Whether ffmpeg and ffprobe are here; says so if not.
pub(crate) fn have_ffmpeg() -> bool {
    let have = |program| {
        Command::new(program)
            .arg("-version")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let both = have("ffmpeg") && have("ffprobe");
    if !both {
        println!("skip: no ffmpeg on this machine (tests/setup/install ffmpeg)");
    }
    both
}

/// A file that goes when it is dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(extension: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "rillway-media-{}-{}.{extension}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        Self(std::env::temp_dir().join(name))
    }

    pub(crate) fn with(extension: &str, bytes: &[u8]) -> Self {
        let scratch = Self::new(extension);
        std::fs::write(&scratch.0, bytes).unwrap();
        scratch
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Runs ffmpeg; what it prints on standard output and what it says on errors.
pub(crate) fn ffmpeg(arguments: &[&str]) -> (String, String) {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// What a publisher sends of one track.
#[derive(Clone)]
pub(crate) struct Clip {
    pub(crate) codec: Codec,
    pub(crate) rate: u32,
    /// Frames with their times.
    pub(crate) frames: Vec<(Duration, Vec<u8>)>,
    /// Each so many frames, a keyframe.
    pub(crate) every: usize,
    /// As an encoder wrote it, for comparing.
    pub(crate) source: Arc<Scratch>,
}

/// Encoder, its options, and the format of what it writes.
fn encoder(codec: Codec) -> (&'static str, &'static str, &'static str) {
    const VPX: &str = "-deadline realtime -cpu-used 8 -auto-alt-ref 0 -lag-in-frames 0";
    const AOM: &str = "-usage realtime -cpu-used 8 -lag-in-frames 0";
    const X264: &str =
        "-preset ultrafast -tune zerolatency -sc_threshold 0 -bsf:v h264_metadata=aud=insert";
    match codec {
        Codec::Vp8 => ("libvpx", VPX, "ivf"),
        Codec::Vp9 => ("libvpx-vp9", VPX, "ivf"),
        Codec::Av1 => ("libaom-av1", AOM, "ivf"),
        _ => ("libx264", X264, "h264"),
    }
}

/// Moving pictures at 30 per second, a keyframe each second.
pub(crate) fn video(codec: Codec, size: &str, seconds: u32) -> Clip {
    let (encoder, options, extension) = encoder(codec);
    let source = Scratch::new(extension);
    let picture = format!("testsrc=s={size}:r=30:d={seconds}");
    let mut arguments = vec![
        "-f", "lavfi", "-i", &picture, "-pix_fmt", "yuv420p", "-c:v", encoder,
    ];
    arguments.extend(["-b:v", "400k", "-g", "30", "-keyint_min", "30"]);
    arguments.extend(options.split(' '));
    let path = source.path().to_str().unwrap().to_owned();
    arguments.push(&path);
    let (_, errors) = ffmpeg(&arguments);
    assert_eq!(errors, "", "encoding {codec:?}");
    let bytes = std::fs::read(source.path()).unwrap();
    let units = if extension == "ivf" {
        ivf(&bytes)
    } else {
        access_units(&bytes)
    };
    let frames = units
        .into_iter()
        .enumerate()
        .map(|(n, unit)| (Duration::from_secs(n as u64) / 30, unit))
        .collect();
    Clip {
        codec,
        rate: 90_000,
        frames,
        every: 30,
        source: Arc::new(source),
    }
}

/// A tone in 20 ms packets.
pub(crate) fn tone(seconds: u32) -> Clip {
    let source = Scratch::new("ogg");
    let sine = format!("sine=f=440:d={seconds}:r=48000");
    let path = source.path().to_str().unwrap().to_owned();
    let (_, errors) = ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        &sine,
        "-c:a",
        "libopus",
        "-b:a",
        "32k",
        "-page_duration",
        "20000",
        &path,
    ]);
    assert_eq!(errors, "", "encoding Opus");
    let packets = ogg(&std::fs::read(source.path()).unwrap());
    let frames = packets
        .into_iter()
        .enumerate()
        .map(|(n, packet)| (Duration::from_millis(20 * n as u64), packet));
    Clip {
        codec: Codec::Opus,
        rate: 48_000,
        frames: frames.collect(),
        every: 1,
        source: Arc::new(source),
    }
}

impl Clip {
    /// As packets of one stream: the first frame is captured at `start`.
    pub(crate) fn packets(&self, start: Instant) -> Vec<Packet> {
        self.packets_from(start, 0xffff_0000, 77, 0)
    }

    /// The same, with numbers and timestamps that go on from others'. `skew`: of the capture time, in
    /// nanoseconds for each second.
    pub(crate) fn packets_from(
        &self,
        start: Instant,
        timestamp: u32,
        sequence: u64,
        skew: u32,
    ) -> Vec<Packet> {
        let mut payloader = Payloader::new(self.codec);
        let mut packets: Vec<Packet> = Vec::new();
        for (number, (at, frame)) in self.frames.iter().enumerate() {
            let payloads = payloader.payloads(frame, number % self.every == 0);
            let last = payloads.len() - 1;
            let ticks = (at.as_nanos() * u128::from(self.rate) + 500_000_000) / 1_000_000_000;
            let captured = start + *at + at.mul_f64(f64::from(skew) / 1e9);
            for (index, payload) in payloads.into_iter().enumerate() {
                packets.push(Packet {
                    sequence: sequence + packets.len() as u64,
                    timestamp: timestamp.wrapping_add(ticks as u32),
                    clock_rate: self.rate,
                    captured,
                    arrived: captured + Duration::from_millis(30),
                    marker: self.codec != Codec::Opus && index == last,
                    payload_type: 96,
                    codec: self.codec,
                    keyframe: self.codec != Codec::Opus && index == 0 && number % self.every == 0,
                    switched: false,
                    payload: payload.into(),
                });
            }
        }
        packets
    }

    /// MD5 of each decoded picture.
    pub(crate) fn pictures(&self) -> Vec<String> {
        hashes(self.source.path(), "0:v", false)
    }
}

/// MD5 of each frame of a stream: decoded, or as it is stored.
pub(crate) fn hashes(path: &Path, stream: &str, stored: bool) -> Vec<String> {
    hashes_and_errors(path, stream, stored).0
}

/// MD5 of each decoded frame of a stream; ffmpeg has nothing to say about it.
pub(crate) fn clean_hashes(path: &Path, stream: &str) -> Vec<String> {
    let (hashes, errors) = hashes_and_errors(path, stream, false);
    assert_eq!(errors, "", "decoding");
    hashes
}

fn hashes_and_errors(path: &Path, stream: &str, stored: bool) -> (Vec<String>, String) {
    let mut arguments = vec![
        "-i",
        path.to_str().unwrap(),
        "-map",
        stream,
        "-fps_mode",
        "passthrough",
    ];
    if stored {
        arguments.extend(["-c", "copy"]);
    }
    arguments.extend(["-f", "framemd5", "-"]);
    let (text, errors) = ffmpeg(&arguments);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    (
        lines
            .map(|line| line.split(',').nth(5).unwrap().trim().to_owned())
            .collect(),
        errors,
    )
}

/// The same frames in the same order; says where they part.
pub(crate) fn same(got: &[String], wanted: &[String], what: &str) {
    let parts = got
        .iter()
        .zip(wanted)
        .position(|(got, wanted)| got != wanted);
    let part = parts.unwrap_or(got.len().min(wanted.len()));
    assert!(
        got == wanted,
        "{what}: {} of {} frames, different from number {part}",
        got.len(),
        wanted.len()
    );
}

fn ivf(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut rest = &bytes[32..];
    while rest.len() >= 12 {
        let size = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
        frames.push(rest[12..12 + size].to_vec());
        rest = &rest[12 + size..];
    }
    frames
}

/// Splits an Annex B stream at its access unit delimiters.
fn access_units(bytes: &[u8]) -> Vec<Vec<u8>> {
    let starts: Vec<usize> = (0..bytes.len() - 4)
        .filter(|at| bytes[*at..].starts_with(&[0, 0, 1]) && bytes[at + 3] & 0x1f == 9)
        .collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| bytes[*start..end].to_vec())
        .collect()
}

/// Packets of an Ogg stream, without its two headers (RFC 3533 §6).
fn ogg(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = vec![Vec::new()];
    let mut rest = bytes;
    while rest.len() > 27 {
        let segments = rest[26] as usize;
        let (table, mut data) = rest[27..].split_at(segments);
        for &length in table {
            let (part, after) = data.split_at(length as usize);
            packets.last_mut().unwrap().extend_from_slice(part);
            data = after;
            if length < 255 {
                packets.push(Vec::new());
            }
        }
        rest = data;
    }
    packets
        .into_iter()
        .skip(2)
        .filter(|packet| !packet.is_empty())
        .collect()
}

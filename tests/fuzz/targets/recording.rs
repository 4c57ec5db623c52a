//! Payloads of VP8, VP9, AV1, H.264 and Opus on their way into files: frames are found in them, and what comes out has
//! to be a file.

use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rillway_recorder::api::{Codec, Container, Packet, TrackId};
use rillway_recorder::film::{Film as _, Step, Write};
use rillway_recorder::media::{Recording, repair};

use super::reader::Reader;

const CODECS: [Codec; 6] = [
    Codec::Vp8,
    Codec::Vp9,
    Codec::Av1,
    Codec::H264,
    Codec::Opus,
    Codec::Other,
];
const TRACK: TrackId = TrackId(1);
/// A file is no more than the payloads, the boxes around each, and those at its ends.
const OVERHEAD_BYTES: usize = 4_096;

/// Input: container and codec; then packets: flags, steps of sequence number and time, the payload.
pub fn run(input: &[u8]) {
    let mut reader = Reader::new(input);
    let (Some(container), Some(codec)) = (
        reader.pick(&[Container::Mp4, Container::Webm]).copied(),
        reader.pick(&CODECS).copied(),
    ) else {
        return;
    };
    let start = Instant::now();
    let mut film = Recording::new(container, Some(Duration::from_secs(60)));
    film.add(TRACK, codec != Codec::Opus);
    let (mut sequence, mut timestamp, mut now) = (1_000_u64, 0_u32, start);
    let mut disk = Disk::default();
    let mut steps = Vec::new();
    let mut packets = 0;
    while let Some(flags) = reader.byte() {
        let (Some(step), Some(payload)) = (reader.byte(), reader.chunk()) else {
            break;
        };
        // Mostly the next one; else lost, late or repeated ones.
        let by = i64::from(flags >> 4) - 7;
        sequence = match flags & 1 {
            0 => sequence + 1,
            _ => sequence.saturating_add_signed(by),
        };
        timestamp = timestamp.wrapping_add(u32::from(step) * 300);
        now += Duration::from_millis(u64::from(step) * 10);
        packets += 1;
        film.packet(
            TRACK,
            &Packet {
                sequence,
                timestamp,
                clock_rate: if codec == Codec::Opus { 48_000 } else { 90_000 },
                captured: now,
                arrived: now,
                marker: flags & 2 != 0,
                payload_type: 96,
                codec,
                keyframe: flags & 4 != 0,
                switched: flags & 12 == 12,
                payload: Arc::from(payload),
            },
        );
        film.steps(now, &mut steps);
        disk.take(&mut steps);
    }
    film.remove(TRACK);
    film.finish(now + Duration::from_secs(5), &mut steps);
    disk.take(&mut steps);
    assert!(!disk.open, "a file that never ends");
    let most = 2 * input.len() + packets * 256 + (disk.files + 1) * OVERHEAD_BYTES;
    assert!(disk.written <= most, "{} bytes of {most}", disk.written);
    disk.crash(container, input.len());
}

/// What was written.
#[derive(Default)]
struct Disk {
    open: bool,
    files: usize,
    written: usize,
    file: Vec<u8>,
}

impl Disk {
    fn take(&mut self, steps: &mut Vec<Step>) {
        for step in steps.drain(..) {
            match step {
                Step::Begin => {
                    assert!(!self.open, "a file within a file");
                    self.open = true;
                    self.files += 1;
                    self.file.clear();
                }
                Step::Write(Write::Append(bytes)) => {
                    assert!(self.open);
                    self.written += bytes.len();
                    self.file.extend(bytes);
                }
                Step::Write(Write::Overwrite { offset, bytes }) => {
                    assert!(self.open);
                    let at = usize::try_from(offset).expect("within the file");
                    let place = self.file.get_mut(at..at + bytes.len());
                    place.expect("never beyond the end").copy_from_slice(&bytes);
                }
                Step::End(tracks) => {
                    assert!(self.open);
                    assert!(tracks.iter().all(|track| track.track == TRACK));
                    self.open = false;
                }
                Step::Started(track) | Step::KeyframeWanted(track) | Step::Failed(track, _) => {
                    assert_eq!(track, TRACK);
                }
            }
        }
    }

    /// The last file is found cut off somewhere, and repaired.
    fn crash(&self, container: Container, anywhere: usize) {
        let left = &self.file[..anywhere.min(self.file.len())];
        if let Some(found) = repair(container, &mut Cursor::new(left)) {
            assert!(
                found.keep_bytes <= left.len() as u64,
                "it keeps what is not there"
            );
        }
    }
}

//! Packets of many cameras in real time, as a media worker gives them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rillway_recorder::api::{Codec, Event, Packet, TrackId};
use rillway_recorder::engine::Running;

/// Of each track.
pub(crate) const BITS_PER_SECOND: usize = 500_000;
const FRAMES_PER_SECOND: usize = 30;
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / FRAMES_PER_SECOND as u64);
const FRAME_BYTES: usize = BITS_PER_SECOND / 8 / FRAMES_PER_SECOND;
const PACKETS: usize = 2;
/// RFC 6386 §9.1: a keyframe of 640 × 360, and another frame.
const KEY: [u8; 10] = [0x10, 1, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01];
const DELTA: [u8; 3] = [0x11, 1, 0];

struct Camera {
    frames: u64,
    next: Instant,
    keyframe: bool,
}

/// Cameras whose frames are spread evenly over time.
pub(crate) struct Feed {
    cameras: Vec<Camera>,
    filler: Vec<u8>,
}

impl Feed {
    pub(crate) fn new(tracks: u64) -> Self {
        let now = Instant::now();
        let camera = |index: u64| Camera {
            frames: 0,
            next: now + FRAME.mul_f64(index as f64 / tracks as f64),
            keyframe: true,
        };
        Feed {
            cameras: (0..tracks).map(camera).collect(),
            filler: (0..FRAME_BYTES).map(|n| (n * 7) as u8).collect(),
        }
    }

    /// Feeds for some time; looks each second.
    pub(crate) fn run(&mut self, running: &mut Running, time: Duration, look: &mut dyn FnMut()) {
        let mut now = Instant::now();
        let (end, mut next_look) = (now + time, now + Duration::from_secs(1));
        while now < end {
            for index in 0..self.cameras.len() {
                while self.cameras[index].next <= now {
                    self.frame(index, running);
                }
            }
            while let Ok(event) = running.events.try_recv() {
                self.hear(&event);
            }
            if now >= next_look {
                look();
                next_look += Duration::from_secs(1);
            }
            std::thread::sleep(Duration::from_millis(2));
            now = Instant::now();
        }
    }

    fn hear(&mut self, event: &Event) {
        match event {
            Event::KeyframeWanted(track) => {
                let camera = usize::try_from(track.0).ok();
                let camera = camera.and_then(|index| self.cameras.get_mut(index));
                camera.expect("one of ours").keyframe = true;
            }
            Event::Failed(track, cause, reason) => panic!("{track:?}: {cause:?}: {reason}"),
            _ => {}
        }
    }

    fn frame(&mut self, index: usize, running: &mut Running) {
        let camera = &mut self.cameras[index];
        let keyframe = std::mem::take(&mut camera.keyframe);
        let arrived = Instant::now();
        for part in 0..PACKETS {
            let packet = Packet {
                sequence: 1 + camera.frames * PACKETS as u64 + part as u64,
                timestamp: (camera.frames * 90_000 / FRAMES_PER_SECOND as u64) as u32,
                clock_rate: 90_000,
                captured: camera.next,
                arrived,
                marker: part + 1 == PACKETS,
                payload_type: 96,
                codec: Codec::Vp8,
                keyframe: keyframe && part == 0,
                switched: false,
                payload: payload(camera.frames, part, keyframe, &self.filler),
            };
            // One that is dropped is counted.
            let _ = running.taps[0].push(TrackId(index as u64), packet);
        }
        camera.frames += 1;
        camera.next += FRAME;
    }
}

fn payload(frame: u64, part: usize, keyframe: bool, filler: &[u8]) -> Arc<[u8]> {
    let bytes = FRAME_BYTES / PACKETS;
    let start = if part == 0 { 0x10 } else { 0 };
    let picture = (frame & 0x7fff) as u16 | 0x8000;
    let [high, low] = picture.to_be_bytes();
    let mut payload = Vec::with_capacity(bytes);
    payload.extend_from_slice(&[0x80 | start, 0x80, high, low]);
    match (part, keyframe) {
        (0, true) => payload.extend_from_slice(&KEY),
        (0, false) => payload.extend_from_slice(&DELTA),
        _ => {}
    }
    let rest = bytes - payload.len();
    payload.extend_from_slice(&filler[..rest]);
    payload.into()
}

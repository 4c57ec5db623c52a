//! What publishers send: frames on a beat, cut into packets, which leave in bursts or evenly.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::marker::{MARKER_BYTES, Medium};

/// Most bytes of a video payload, as browsers cut them.
const PAYLOAD_BYTES_MAX: u64 = 1_150;
/// Bytes of an Opus payload: 32 kbit/s in packets of 20 ms.
const AUDIO_BYTES: usize = 80;
const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
/// A keyframe is so many times as long as other frames.
const KEYFRAME_FACTOR: u64 = 4;
/// What browsers' pacers allow above the bit rate.
const PACING_FACTOR: f64 = 2.5;
/// Late by more than so many frames, a publisher goes on from now instead of catching up.
const FRAMES_BEHIND_MAX: u32 = 5;

/// How a camera sends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Video {
    /// Frames a second.
    pub fps: u32,
    /// Bits of payload a second.
    pub bitrate_bps: u64,
    /// Packets that leave together, where they are not paced.
    pub burst: u32,
    /// Packets of a frame leave one by one, evenly over the time to the next frame.
    pub paced: bool,
}

/// What a publisher publishes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Media {
    /// A microphone.
    pub audio: bool,
    /// A camera.
    pub video: Option<Video>,
}

impl Media {
    /// The media there are, in the order of their sections.
    pub fn list(&self) -> Vec<Medium> {
        let audio = self.audio.then_some(Medium::Audio);
        let video = self.video.map(|_| Medium::Video);
        audio.into_iter().chain(video).collect()
    }
}

/// A packet that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Counts frames, from 0.
    pub(crate) frame: u32,
    pub(crate) keyframe: bool,
    /// Of the packet in its frame.
    pub(crate) index: u16,
    /// Packets of the frame.
    pub(crate) count: u16,
    /// Of the payload.
    pub(crate) bytes: usize,
    /// In the medium's clock.
    pub(crate) timestamp: u32,
}

struct Frame {
    number: u32,
    keyframe: bool,
    next: u16,
    count: u16,
    bytes: usize,
    gap: Duration,
}

/// The beat of one medium of a publisher.
pub(crate) struct Beat {
    video: Option<Video>,
    interval: Duration,
    /// When the next frame is made.
    next_frame: Instant,
    /// When the next packets of frames that are made may leave.
    next_packet: Instant,
    frames: VecDeque<Frame>,
    made: u32,
    pub(crate) keyframe_wanted: bool,
}

impl Beat {
    /// A microphone, or a camera.
    pub(crate) fn new(video: Option<Video>, start: Instant) -> Self {
        let interval = video.map_or(AUDIO_INTERVAL, |v| Duration::from_secs(1) / v.fps.max(1));
        Beat {
            video,
            interval,
            next_frame: start,
            next_packet: start,
            frames: VecDeque::new(),
            made: 0,
            keyframe_wanted: true,
        }
    }

    /// When something is due.
    pub(crate) fn due(&self) -> Instant {
        if self.frames.is_empty() {
            self.next_frame
        } else {
            self.next_frame.min(self.next_packet)
        }
    }

    /// Makes the frame that is due, if one is.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.next_frame > now {
            return;
        }
        let frame = self.make();
        if self.frames.is_empty() {
            self.next_packet = now;
        }
        self.frames.push_back(frame);
        self.next_frame += self.interval;
        if self.next_frame + self.interval * FRAMES_BEHIND_MAX < now {
            self.next_frame = now + self.interval;
        }
    }

    fn make(&mut self) -> Frame {
        let number = self.made;
        self.made += 1;
        let keyframe = std::mem::take(&mut self.keyframe_wanted);
        let total = self.video.map_or(AUDIO_BYTES as u64, |video| {
            frame_bytes(&video, number, keyframe)
        });
        let count = total.div_ceil(PAYLOAD_BYTES_MAX).clamp(1, 1_000);
        let bytes = total.div_ceil(count) as usize;
        let gap = match self.video {
            Some(video) if video.paced => self.interval / count as u32,
            Some(video) => {
                let bits = u64::from(video.burst.max(1)) * bytes as u64 * 8;
                let rate = video.bitrate_bps.max(1) as f64 * PACING_FACTOR;
                Duration::from_secs_f64(bits as f64 / rate)
            }
            None => Duration::ZERO,
        };
        Frame {
            number,
            keyframe,
            next: 0,
            count: count as u16,
            bytes,
            gap,
        }
    }

    /// The packets that leave now: a burst at most.
    pub(crate) fn take(&mut self, now: Instant, out: &mut Vec<Piece>) {
        while !self.frames.is_empty() && self.next_packet <= now {
            let mut left = self.burst();
            let mut gap = Duration::ZERO;
            while left > 0
                && let Some(frame) = self.frames.front_mut()
            {
                gap = frame.gap;
                while left > 0 && frame.next < frame.count {
                    out.push(Piece {
                        frame: frame.number,
                        keyframe: frame.keyframe,
                        index: frame.next,
                        count: frame.count,
                        bytes: frame.bytes,
                        timestamp: timestamp(self.video.as_ref(), frame.number),
                    });
                    frame.next += 1;
                    left -= 1;
                }
                if frame.next == frame.count {
                    self.frames.pop_front();
                }
            }
            // Whoever was late does not send more at once for it.
            self.next_packet = (self.next_packet + gap).max(now);
            if gap.is_zero() || self.next_packet == now {
                break;
            }
        }
    }

    fn burst(&self) -> u32 {
        match self.video {
            Some(video) if !video.paced => video.burst.max(1),
            _ => 1,
        }
    }
}

/// Length of a frame. Frames of an encoder differ: by up to a quarter here, always in the same way.
fn frame_bytes(video: &Video, number: u32, keyframe: bool) -> u64 {
    let mean = video.bitrate_bps / 8 / u64::from(video.fps.max(1));
    let noise = u64::from(number.wrapping_mul(0x9e37_79b1) >> 22);
    let bytes = mean * (768 + noise / 2) / 1_024;
    let bytes = if keyframe {
        bytes * KEYFRAME_FACTOR
    } else {
        bytes
    };
    bytes.max(VIDEO_BYTES_MIN as u64)
}

fn timestamp(video: Option<&Video>, frame: u32) -> u32 {
    match video {
        None => frame.wrapping_mul(960),
        Some(video) => (u64::from(frame) * 90_000 / u64::from(video.fps.max(1))) as u32,
    }
}

const DESCRIPTOR_BYTES: usize = 6;
const KEY_HEADER_BYTES: usize = 10;
const VIDEO_BYTES_MIN: usize = DESCRIPTOR_BYTES + KEY_HEADER_BYTES + MARKER_BYTES;

/// Writes a payload with its marker. Between codec's header and marker is what compresses to nothing: zeros.
pub(crate) fn write(out: &mut Vec<u8>, medium: Medium, piece: &Piece, marker: [u8; MARKER_BYTES]) {
    out.clear();
    match medium {
        // A TOC byte of CELT, full band, 20 ms, mono (RFC 6716 §3.1).
        Medium::Audio => out.push(0xf8),
        Medium::Video => write_vp8(out, piece),
    }
    let filled = piece.bytes.saturating_sub(MARKER_BYTES).max(out.len());
    out.resize(filled, 0);
    out.extend_from_slice(&marker);
}

fn write_vp8(out: &mut Vec<u8>, piece: &Piece) {
    let first = piece.index == 0;
    let [_, _, high, low] = ((piece.frame & 0x7fff) | 0x8000).to_be_bytes();
    // X, then S on a frame's first packet; I, L and T are there, tid 0 (RFC 7741 §4.2).
    let start = if first { 0x10 } else { 0 };
    out.extend_from_slice(&[0x80 | start, 0xe0, high, low, low, 0x20]);
    if !first {
        return;
    }
    // A frame tag: shown, a first partition of one byte, the lowest bit clear in keyframes (RFC 6386 §9.1).
    out.extend_from_slice(&[0x10 | u8::from(!piece.keyframe), 1, 0]);
    if piece.keyframe {
        let [width, height] = [1_280_u16, 720].map(u16::to_le_bytes);
        out.extend_from_slice(&[0x9d, 0x01, 0x2a]);
        out.extend_from_slice(&width);
        out.extend_from_slice(&height);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIDEO: Video = Video {
        fps: 30,
        bitrate_bps: 2_500_000,
        burst: 8,
        paced: false,
    };

    /// Packets by the millisecond that they leave in.
    fn run(video: Option<Video>, ms: u64) -> Vec<(u64, Piece)> {
        let start = Instant::now();
        let mut beat = Beat::new(video, start);
        let (mut all, mut some) = (Vec::new(), Vec::new());
        for at in 0..ms {
            let now = start + Duration::from_millis(at);
            beat.tick(now);
            beat.take(now, &mut some);
            all.extend(some.drain(..).map(|piece| (at, piece)));
        }
        all
    }

    #[test]
    fn a_microphone_sends_fifty_packets_a_second() {
        let sent = run(None, 1_000);
        assert_eq!(sent.len(), 50);
        let [(0, first), (20, second), ..] = &sent[..] else {
            panic!("{:?}", &sent[..2]);
        };
        assert_eq!((first.bytes, first.count), (AUDIO_BYTES, 1));
        assert_eq!(second.timestamp - first.timestamp, 960);
    }

    #[test]
    fn a_camera_sends_its_bit_rate_in_whole_frames() {
        let sent = run(Some(VIDEO), 10_000);
        let bits: usize = sent.iter().map(|(_, piece)| piece.bytes * 8).sum();
        let share = bits as f64 / 25e6;
        // The keyframe at the beginning adds a little.
        assert!((0.99..1.04).contains(&share), "{share}");
        let lasts = sent.iter().filter(|(_, p)| p.index + 1 == p.count);
        assert_eq!(lasts.count(), 300);
        assert!(
            sent.iter()
                .all(|(_, p)| p.bytes as u64 <= PAYLOAD_BYTES_MAX)
        );
        let keyframes = sent.iter().filter(|(_, p)| p.keyframe && p.index == 0);
        assert_eq!(keyframes.count(), 1);
    }

    #[test]
    fn packets_leave_in_bursts_or_one_by_one() {
        let most = |video| {
            let sent = run(Some(video), 2_000);
            let at = |ms: &u64| sent.iter().filter(|(when, _)| when == ms).count();
            (0..2_000).map(|ms| at(&ms)).max()
        };
        assert_eq!(most(VIDEO), Some(8));
        let paced = Video {
            paced: true,
            ..VIDEO
        };
        assert_eq!(most(paced), Some(1));
    }

    #[test]
    fn payloads_are_as_long_as_they_should_be_and_end_with_the_marker() {
        let marker = [7; MARKER_BYTES];
        let mut out = Vec::new();
        for (_, piece) in run(Some(VIDEO), 500) {
            write(&mut out, Medium::Video, &piece, marker);
            assert_eq!(out.len(), piece.bytes);
            assert!(out.ends_with(&marker));
            let key = piece.index == 0 && piece.keyframe;
            assert_eq!(out[6] & 1 == 0 && out[9..12] == [0x9d, 1, 0x2a], key);
        }
        let small = Video {
            bitrate_bps: 1,
            ..VIDEO
        };
        let (_, piece) = run(Some(small), 1)[0];
        write(&mut out, Medium::Video, &piece, marker);
        assert_eq!(out.len(), VIDEO_BYTES_MIN);
    }
}

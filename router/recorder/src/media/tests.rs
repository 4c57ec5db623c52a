//! A film against packets of any kind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use super::Recording;
use crate::api::{Codec, Container, Packet, TrackId};
use crate::film::{Film, Step, Write};

/// Steps that follow each other as files do, writes within what was written.
#[derive(Default)]
struct Order {
    open: bool,
    length: u64,
    files: usize,
}

impl Order {
    fn check(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Begin => {
                    assert!(!self.open, "a file within a file");
                    (self.open, self.length, self.files) = (true, 0, self.files + 1);
                }
                Step::Write(write) => {
                    assert!(self.open, "written to no file");
                    match write {
                        Write::Append(bytes) => self.length += bytes.len() as u64,
                        Write::Overwrite { offset, bytes } => {
                            assert!(offset + bytes.len() as u64 <= self.length);
                        }
                    }
                }
                Step::End(tracks) => {
                    assert!(self.open, "the end of no file");
                    self.open = false;
                    assert!(tracks.is_empty() || self.length > 0);
                }
                _ => {}
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Piece {
    track: u64,
    codec: Codec,
    skip: i64,
    ticks: u32,
    ms: i64,
    flags: u8,
    payload: Vec<u8>,
}

fn piece() -> impl Strategy<Value = Piece> {
    let codec = prop::sample::select(vec![
        Codec::Vp8,
        Codec::Vp9,
        Codec::Av1,
        Codec::H264,
        Codec::Opus,
        Codec::Other,
    ]);
    let payload = prop_oneof![
        // A VP8 keyframe and what follows it, Opus, an H.264 keyframe in one packet, VP9; and noise.
        Just(vec![0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0]),
        Just(vec![0x10, 0x11, 0, 0]),
        Just(vec![0x78, 1, 2]),
        Just(vec![]),
        vec(any::<u8>(), 0..30),
    ];
    let skip = prop_oneof![8 => Just(1), 1 => -5..20_i64, 1 => any::<i32>().prop_map(i64::from)];
    let ticks = prop_oneof![8 => Just(3000_u32), 1 => any::<u32>()];
    let ms = prop_oneof![8 => Just(33), 1 => -3000..10_000_i64];
    (0..3_u64, codec, skip, ticks, ms, any::<u8>(), payload).prop_map(
        |(track, codec, skip, ticks, ms, flags, payload)| Piece {
            track,
            codec,
            skip,
            ticks,
            ms,
            flags,
            payload,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_packet_breaks_a_film(pieces in vec(piece(), 1..80), webm in any::<bool>(), segment in 0..4_u64) {
        let container = if webm { Container::Webm } else { Container::Mp4 };
        let segment = (segment < 3).then(|| Duration::from_millis(segment * 300));
        let mut film = Recording::new(container, segment);
        film.add(TrackId(0), true);
        film.add(TrackId(1), false);
        let start = Instant::now() + Duration::from_secs(1_000_000);
        let (mut sequence, mut timestamp, mut captured) = (1_u64 << 40, 0_u32, 0_i64);
        let mut order = Order::default();
        let mut now = start;
        for (number, piece) in pieces.iter().enumerate() {
            sequence = sequence.wrapping_add_signed(piece.skip);
            timestamp = timestamp.wrapping_add(piece.ticks);
            captured += piece.ms;
            // Mostly what the track should be.
            let codec = match (piece.flags & 0x30, piece.track) {
                (0, _) => piece.codec,
                (_, 1) => Codec::Opus,
                _ => Codec::Vp8,
            };
            let at = start + Duration::from_secs(100_000);
            let packet = Packet {
                sequence,
                timestamp,
                clock_rate: if piece.flags == 0 { 0 } else { 90_000 },
                captured: if captured < 0 { at - Duration::from_millis(captured.unsigned_abs()) }
                    else { at + Duration::from_millis(captured.unsigned_abs()) },
                arrived: now,
                marker: piece.flags & 1 != 0,
                payload_type: 96,
                codec,
                keyframe: piece.flags & 2 != 0,
                switched: piece.flags & 0xc == 0xc,
                payload: Arc::from(piece.payload.as_slice()),
            };
            match number {
                20 => film.add(TrackId(2), piece.flags & 1 != 0),
                40 => { film.remove(TrackId(0)); }
                50 => film.dropped(TrackId(1)),
                _ => {}
            }
            film.packet(TrackId(piece.track), &packet);
            let mut steps = Vec::new();
            now += Duration::from_millis(50);
            film.steps(now, &mut steps);
            order.check(&steps);
        }
        let mut steps = Vec::new();
        film.finish(now, &mut steps);
        order.check(&steps);
        prop_assert!(!order.open);
    }
}

fn packet(sequence: u64, at: Instant, payload: &[u8]) -> Packet {
    Packet {
        sequence,
        timestamp: 0,
        clock_rate: 90_000,
        captured: at,
        arrived: at,
        marker: false,
        payload_type: 96,
        codec: Codec::Vp8,
        keyframe: false,
        switched: false,
        payload: payload.into(),
    }
}

/// Every second packet is missing, none is ever given up by time: still only so many wait.
#[test]
fn holes_do_not_hoard() {
    let now = Instant::now();
    let mut film = Recording::new(Container::Mp4, None);
    film.add(TrackId(1), true);
    let payload: Arc<[u8]> = [0; 1200].into();
    for number in 0..40_000_u64 {
        let packet = Packet {
            payload: payload.clone(),
            ..packet(number * 2, now, &[])
        };
        film.packet(TrackId(1), &packet);
    }
    // All share one payload: whoever holds a packet holds a count.
    assert!(
        Arc::strong_count(&payload) <= 4098,
        "{} packets wait",
        Arc::strong_count(&payload)
    );
}

#[test]
fn a_keyframe_is_asked_for_each_second_until_it_comes() {
    let start = Instant::now();
    let mut film = Recording::new(Container::Mp4, None);
    film.add(TrackId(1), true);
    let mut steps = Vec::new();
    for tick in 0..100 {
        film.steps(start + Duration::from_millis(50 * tick), &mut steps);
    }
    assert_eq!(steps, vec![Step::KeyframeWanted(TrackId(1)); 5]);
}

/// Each track is ordered by itself: that the second one comes a moment later makes no second file.
#[test]
fn tracks_that_start_together_share_a_file() {
    let start = Instant::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    let keyframe = [0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0];
    let mut film = Recording::new(Container::Mp4, None);
    film.add(TrackId(1), true);
    let mut order = Order::default();
    for frame in 0..100_u64 {
        let camera = Packet {
            timestamp: frame as u32 * 1_800,
            keyframe: true,
            marker: true,
            ..packet(frame, at(frame * 20), &keyframe)
        };
        film.packet(TrackId(1), &camera);
        if frame == 4 {
            film.add(TrackId(2), false);
        }
        if frame >= 4 {
            let microphone = Packet {
                timestamp: frame as u32 * 960,
                clock_rate: 48_000,
                codec: Codec::Opus,
                ..packet(frame, at(frame * 20), &[0x78, 1, 2])
            };
            film.packet(TrackId(2), &microphone);
        }
        let mut steps = Vec::new();
        film.steps(at(frame * 20), &mut steps);
        order.check(&steps);
    }
    let mut steps = Vec::new();
    film.finish(at(2_000), &mut steps);
    order.check(&steps);
    let ends = steps.iter().find_map(|step| match step {
        Step::End(tracks) => Some(tracks),
        _ => None,
    });
    let tracks = ends.expect("the file is complete");
    let frames: Vec<u64> = tracks.iter().map(|track| track.frames).collect();
    assert_eq!((order.files, frames), (1, vec![100, 96]));
}

/// A camera and a microphone that begin at one moment; of the camera, the first frame arrives late, and others by
/// what `late` says (ms). When they begin in the film, in milliseconds.
fn begins(late: impl Fn(u64) -> u64, report_after_ms: Option<u64>) -> [f64; 2] {
    let start = Instant::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    let keyframe = [0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0];
    let mut film = Recording::new(Container::Mp4, None);
    film.add(TrackId(1), true);
    film.add(TrackId(2), false);
    let mut steps = Vec::new();
    for frame in 0..100_u64 {
        let sent = 1_000 + frame * 20;
        let arrived = sent + late(frame);
        let reported = report_after_ms.is_some_and(|after| frame * 20 >= after);
        let camera = Packet {
            timestamp: frame as u32 * 1_800,
            keyframe: true,
            marker: true,
            captured: at(if reported { sent - 1 } else { arrived }),
            ..packet(frame, at(arrived), &keyframe)
        };
        let microphone = Packet {
            timestamp: frame as u32 * 960,
            clock_rate: 48_000,
            codec: Codec::Opus,
            ..packet(frame, at(sent), &[0x78, 1, 2])
        };
        film.packet(TrackId(2), &microphone);
        film.packet(TrackId(1), &camera);
        film.steps(at(arrived), &mut steps);
    }
    film.finish(at(4_000), &mut steps);
    let begins: Vec<f64> = steps
        .iter()
        .find_map(|step| match step {
            Step::End(tracks) => Some(tracks),
            _ => None,
        })
        .expect("the file is complete")
        .iter()
        .map(|track| track.begins.as_secs_f64() * 1_000.0)
        .collect();
    [begins[0], begins[1]]
}

#[test]
fn tracks_begin_together_though_the_first_frame_was_late() {
    let first = |late: u64| move |frame: u64| if frame == 0 { late } else { 5 };
    for (late, report) in [(120, None), (220, None), (120, Some(200)), (220, Some(60))] {
        let [camera, microphone] = begins(first(late), report);
        assert!(
            (camera - microphone).abs() <= 6.0,
            "late by {late} ms, reports after {report:?} ms: {camera} and {microphone}"
        );
    }
    // What comes later is late for everybody: it does not move.
    let [camera, microphone] = begins(|frame| frame.min(20) * 5, None);
    assert!((camera - microphone).abs() < 1.0);
}

#[test]
fn too_many_tracks_are_refused() {
    let mut film = Recording::new(Container::Webm, None);
    for track in 0..33 {
        film.add(TrackId(track), false);
    }
    let mut steps = Vec::new();
    film.steps(Instant::now(), &mut steps);
    assert!(
        matches!(steps.as_slice(), [Step::Failed(TrackId(32), _)]),
        "{steps:?}"
    );
}

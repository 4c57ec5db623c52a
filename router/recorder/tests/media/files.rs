//! What is sent is what is in the file.

use std::time::{Duration, Instant};

use rillway_recorder::api::{Codec, Container};
use rillway_recorder::film::{Repair, Write};
use rillway_recorder::media::repair;

use crate::studio::{Dice, Studio, bad_network, probe, seconds, write_to};
use crate::synth::{Scratch, clean_hashes, hashes, have_ffmpeg, same, tone, video};

/// Pictures of the first fragment, at least.
const FIRST_FRAGMENT: usize = 20;

const ALL: [(Codec, Container); 7] = [
    (Codec::Vp8, Container::Mp4),
    (Codec::Vp9, Container::Mp4),
    (Codec::Av1, Container::Mp4),
    (Codec::H264, Container::Mp4),
    (Codec::Vp8, Container::Webm),
    (Codec::Vp9, Container::Webm),
    (Codec::Av1, Container::Webm),
];

/// Video that is captured from 137 ms after the sound on, over a bad network that loses nothing for good.
fn record(
    codec: Codec,
    container: Container,
    seconds: u32,
    segment: Option<Duration>,
) -> (Studio, usize, usize) {
    let (picture, sound) = (video(codec, "320x180", seconds), tone(seconds));
    let start = Instant::now();
    let mut studio = Studio::new(container, segment, &[(1, true), (2, false)]);
    let packets = bad_network(&picture.packets(start + Duration::from_millis(137)), 7);
    let end = studio.play(vec![
        (1, packets),
        (2, bad_network(&sound.packets(start), 8)),
    ]);
    studio.finish(end);
    assert_eq!(studio.failed, []);
    let all = picture.pictures();
    assert_eq!(all.len(), picture.frames.len());
    same(
        &studio.hashes("0:v", false),
        &all,
        &format!("{codec:?} {container:?} pictures"),
    );
    let packets = studio.hashes("0:a", true);
    same(
        &packets,
        &hashes(sound.source.path(), "0:a", true),
        &format!("{codec:?} {container:?} sound"),
    );
    (studio, all.len(), packets.len())
}

#[test]
fn every_frame_comes_through_a_bad_network() {
    if !have_ffmpeg() {
        return;
    }
    for (codec, container) in ALL {
        let (studio, pictures, packets) = record(codec, container, 3, None);
        assert_eq!(studio.files.len(), 1, "{codec:?} {container:?}");
        let file = studio.file(0);
        assert_eq!(probe(&file, "v", "nb_read_frames"), pictures.to_string());
        assert_eq!(probe(&file, "a", "nb_read_frames"), packets.to_string());
        let summary = studio.files[0].track(1);
        assert_eq!(
            (summary.frames, summary.width, summary.height),
            (pictures as u64, 320, 180)
        );
        assert_eq!(studio.files[0].track(2).frames, packets as u64);
        assert!(summary.gaps.is_empty() && studio.files[0].track(2).gaps.is_empty());
        let apart = seconds(&file, "v", "start_time") - seconds(&file, "a", "start_time");
        assert!(
            (apart - 0.137).abs() < 0.002,
            "{codec:?} {container:?}: {apart} s apart"
        );
        assert!(
            (summary.begins.as_secs_f64() - 0.137).abs() < 0.001,
            "{:?}",
            summary.begins
        );
        let length = seconds(&file, "", "duration");
        assert!(
            (length - 3.137).abs() < 0.03,
            "{codec:?} {container:?}: {length} s long"
        );
        println!(
            "{codec:?} {container:?}: {pictures} pictures, {packets} packets, {:.3} ms off",
            (apart - 0.137) * 1e3
        );
    }
}

#[test]
fn what_a_crash_leaves_of_an_mp4_plays_and_is_repaired() {
    crash(Codec::Vp8, Container::Mp4);
    crash(Codec::H264, Container::Mp4);
}

#[test]
fn what_a_crash_leaves_of_an_mp4_with_later_codecs_plays_and_is_repaired() {
    crash(Codec::Vp9, Container::Mp4);
    crash(Codec::Av1, Container::Mp4);
}

#[test]
fn what_a_crash_leaves_of_a_webm_plays_and_is_repaired() {
    crash(Codec::Vp8, Container::Webm);
    crash(Codec::Vp9, Container::Webm);
    crash(Codec::Av1, Container::Webm);
}

/// Fifteen moments of each, all seven together a hundred and five.
fn crash(codec: Codec, container: Container) {
    if have_ffmpeg() {
        let (studio, ..) = record(codec, container, 3, None);
        let file = &studio.files[0];
        let all = studio.hashes("0:v", false);
        let mut dice = Dice::new(codec as u64 * 2 + u64::from(container == Container::Webm));
        // Pictures of what is complete after so many writes.
        let mut complete = std::collections::HashMap::new();
        for point in 0..15 {
            // After the first fragment, anywhere; each fourth time between two writes. The last appends are the
            // completion's.
            let write = 1 + dice.below(file.writes.len() as u64 - 1) as usize;
            let size = match &file.writes[write] {
                Write::Append(bytes) | Write::Overwrite { bytes, .. } => bytes.len(),
            };
            let whole = point % 4 == 0 || matches!(file.writes[write], Write::Overwrite { .. });
            let bytes = if whole {
                0
            } else {
                dice.below(size as u64) as usize
            };
            let at = format!("{codec:?} {container:?}: {bytes} of {size} bytes of write {write}");
            let left = Scratch::with(studio.extension(), &file.crashed(write, bytes));
            let pictures = if whole {
                clean_hashes(left.path(), "0:v")
            } else {
                hashes(left.path(), "0:v", false)
            };
            if whole {
                complete.insert(write, pictures.len());
            }
            let least = *complete.entry(write).or_insert_with(|| {
                let least = Scratch::with(studio.extension(), &file.crashed(write, 0));
                hashes(least.path(), "0:v", false).len()
            });
            assert!(
                pictures.len() >= least.max(FIRST_FRAGMENT),
                "{at}: {} of {least} pictures",
                pictures.len()
            );
            repaired(&studio, write, bytes, &pictures[..least], &at);
            // The last frame may be half of one; players show it or not.
            let good = pictures.len() - usize::from(!whole);
            same(&pictures[..good], &all[..good], &at);
        }
    }
}

/// What a restart makes of what a crash left: all that was complete, seekable, as long as it should be.
fn repaired(studio: &Studio, write: usize, bytes: usize, pictures: &[String], at: &str) {
    let mut left = studio.files[0].crashed(write, bytes);
    let Some(repair) = repair(studio.container, &mut std::io::Cursor::new(&left)) else {
        // The last write of all: nothing is missing.
        assert_eq!(left, studio.files[0].bytes, "{at}: not repaired");
        return;
    };
    left.truncate(repair.keep_bytes as usize);
    for write in &repair.writes {
        write_to(&mut left, write, usize::MAX);
    }
    let file = Scratch::with(studio.extension(), &left);
    same(
        &clean_hashes(file.path(), "0:v"),
        pictures,
        &format!("{at}, repaired"),
    );
    let length = seconds(&file, "", "duration");
    let least = pictures.len() as f64 / 30.0 + 0.137;
    assert!(
        (least - 0.01..least + 1.2).contains(&length),
        "{at}: {length} s, {least} s of pictures"
    );
    // An ordinary file: complete, there is nothing to repair.
    assert_eq!(repair_again(studio, &left), None, "{at}");
}

fn repair_again(studio: &Studio, bytes: &[u8]) -> Option<Repair> {
    repair(studio.container, &mut std::io::Cursor::new(bytes))
}

#[test]
fn segments_have_every_frame_once() {
    if !have_ffmpeg() {
        return;
    }
    for (codec, container) in [
        (Codec::H264, Container::Mp4),
        (Codec::Vp9, Container::Mp4),
        (Codec::Vp8, Container::Webm),
        (Codec::Av1, Container::Webm),
    ] {
        let (studio, ..) = record(codec, container, 7, Some(Duration::from_secs(2)));
        assert_eq!(studio.files.len(), 4, "{codec:?} {container:?}");
        assert!(
            studio.wanted.len() >= 3,
            "a keyframe is asked for at each boundary"
        );
        for (index, file) in studio.files.iter().enumerate() {
            let (picture, sound) = (file.track(1), file.track(2));
            if index > 0 {
                assert!(
                    picture.begins.as_millis() <= 20 && sound.begins.as_millis() <= 20,
                    "{picture:?} {sound:?}"
                );
            }
            assert_eq!((picture.gaps.len(), sound.gaps.len()), (0, 0));
        }
    }
}

#[test]
fn sound_alone_is_cut_anywhere() {
    if !have_ffmpeg() {
        return;
    }
    for container in [Container::Mp4, Container::Webm] {
        let sound = tone(5);
        let mut studio = Studio::new(container, Some(Duration::from_secs(2)), &[(2, false)]);
        let end = studio.play(vec![(2, bad_network(&sound.packets(Instant::now()), 3))]);
        studio.finish(end);
        assert_eq!(studio.files.len(), 3);
        same(
            &studio.hashes("0:a", true),
            &hashes(sound.source.path(), "0:a", true),
            "sound",
        );
        assert_eq!(studio.wanted, []);
    }
}

#[test]
fn clocks_that_drift_apart_stay_together() {
    if !have_ffmpeg() {
        return;
    }
    let (picture, sound) = (video(Codec::Vp8, "160x90", 60), tone(60));
    let start = Instant::now();
    let mut studio = Studio::new(Container::Mp4, None, &[(1, true), (2, false)]);
    // The camera's clock is 0.2 % slow: 120 ms in a minute.
    let slow = picture.packets_from(start, 5, 1, 2_000_000);
    let end = studio.play(vec![(1, slow), (2, sound.packets(start))]);
    studio.finish(end);
    let file = studio.file(0);
    let length = |stream| seconds(&file, stream, "duration");
    let apart = length("v") - length("a");
    assert!(
        (apart - 0.120).abs() < 0.040,
        "{apart} s apart after a minute"
    );
    same(
        &studio.hashes("0:v", false),
        &picture.pictures(),
        "pictures",
    );
}

//! Loss for good, switches, what cannot be recorded.

use std::time::{Duration, Instant};

use rillway_recorder::api::{Codec, Container, Packet, TrackId};
use rillway_recorder::film::Film;

use crate::studio::{Dice, Studio, bad_network, decodes, probe, seconds};
use crate::synth::{Clip, hashes, have_ffmpeg, same, tone, video};

/// Packets of all frames but some.
fn without(clip: &Clip, packets: Vec<Packet>, frames: std::ops::Range<usize>) -> Vec<Packet> {
    let first = packets[0].timestamp;
    let number = |packet: &Packet| {
        let ticks = u128::from(packet.timestamp.wrapping_sub(first));
        let at = Duration::from_nanos((ticks * 1_000_000_000 / u128::from(clip.rate)) as u64);
        clip.frames
            .iter()
            .rposition(|(time, _)| *time <= at + Duration::from_millis(1))
            .unwrap()
    };
    packets
        .into_iter()
        .filter(|packet| !frames.contains(&number(packet)))
        .collect()
}

#[test]
fn loss_is_a_gap_up_to_the_next_keyframe() {
    if !have_ffmpeg() {
        return;
    }
    for (codec, container) in [
        (Codec::Vp8, Container::Mp4),
        (Codec::Vp9, Container::Webm),
        (Codec::Av1, Container::Mp4),
        (Codec::H264, Container::Mp4),
    ] {
        let (picture, sound) = (video(codec, "320x180", 4), tone(4));
        let start = Instant::now();
        let mut studio = Studio::new(container, None, &[(1, true), (2, false)]);
        // Frame 40, and sound from 1.0 s to 1.1 s.
        let packets = without(&picture, picture.packets(start), 40..41);
        let heard = without(&sound, sound.packets(start), 50..55);
        let end = studio.play(vec![
            (1, bad_network(&packets, 5)),
            (2, bad_network(&heard, 6)),
        ]);
        studio.finish(end);
        let all = picture.pictures();
        let wanted: Vec<String> = all[..40].iter().chain(&all[60..]).cloned().collect();
        same(&studio.hashes("0:v", false), &wanted, &format!("{codec:?}"));
        let near = |gap: Duration, wanted: f64| (gap.as_secs_f64() - wanted).abs() < 0.002;
        let gaps = &studio.files[0].track(1).gaps;
        assert!(
            gaps.len() == 1 && near(gaps[0].at, 40.0 / 30.0) && near(gaps[0].lasts, 20.0 / 30.0),
            "{gaps:?}"
        );
        let gaps = &studio.files[0].track(2).gaps;
        assert!(
            gaps.len() == 1 && near(gaps[0].at, 1.0) && near(gaps[0].lasts, 0.1),
            "{gaps:?}"
        );
        assert!(!studio.wanted.is_empty(), "no keyframe was asked for");
        // Time goes on over the gap.
        let length = seconds(&studio.file(0), "", "duration");
        assert!((length - 4.02).abs() < 0.03, "{length}");
    }
}

#[test]
fn what_the_router_dropped_is_a_gap_without_waiting() {
    if !have_ffmpeg() {
        return;
    }
    let picture = video(Codec::Vp8, "160x90", 3);
    let start = Instant::now();
    let mut studio = Studio::new(Container::Mp4, None, &[(1, true)]);
    let packets = picture.packets(start);
    let at = packets
        .iter()
        .position(|packet| packet.captured >= start + Duration::from_millis(1500))
        .unwrap();
    studio.play(vec![(1, packets[..at].to_vec())]);
    studio.film.dropped(TrackId(1));
    let asked = studio.wanted.len();
    // The stream's numbers have no hole here, and still nothing is decoded across it.
    let mut rest = packets[at + 5..].to_vec();
    for (number, packet) in rest.iter_mut().enumerate() {
        packet.sequence = packets[at].sequence + number as u64;
    }
    let end = studio.play(vec![(1, rest)]);
    assert!(
        studio.wanted[asked].0 < start + Duration::from_millis(1700),
        "asked at once"
    );
    studio.finish(end);
    assert_eq!(studio.files[0].track(1).gaps.len(), 1);
    let all = picture.pictures();
    let got = studio.hashes("0:v", false);
    let cut = got.len() - 30;
    assert!((40..=45).contains(&cut), "{cut}");
    same(&got, &[&all[..cut], &all[60..]].concat(), "around the drop");
}

#[test]
fn a_layer_switch_stays_in_the_file() {
    if !have_ffmpeg() {
        return;
    }
    for (codec, container) in [
        (Codec::Vp8, Container::Mp4),
        (Codec::Vp8, Container::Webm),
        (Codec::Vp9, Container::Mp4),
        (Codec::Vp9, Container::Webm),
        (Codec::Av1, Container::Mp4),
        (Codec::Av1, Container::Webm),
        (Codec::H264, Container::Mp4),
    ] {
        let (small, large) = (video(codec, "320x180", 2), video(codec, "640x360", 2));
        let start = Instant::now();
        let mut packets = small.packets_from(start, 1000, 1, 0);
        // The switch comes in the middle of a frame: its rest never comes.
        packets.pop();
        let next = packets.last().unwrap().sequence + 1;
        let mut more = large.packets_from(start + Duration::from_secs(2), 181_000, next, 0);
        more[0].switched = true;
        packets.extend(more);
        let mut packets = bad_network(&packets, 11);
        // Nothing of the layer that was left comes after the switch: the core gives it away no more.
        let switch = start + Duration::from_secs(2);
        for packet in packets.iter_mut().filter(|p| p.captured < switch) {
            packet.arrived = packet.arrived.min(switch);
        }
        let mut studio = Studio::new(container, None, &[(1, true)]);
        let end = studio.play(vec![(1, packets)]);
        studio.finish(end);
        assert_eq!(studio.files.len(), 1, "{codec:?} {container:?}");
        // A frame of one packet is gone, one of several is broken: either way it is the last of the small ones.
        let mut wanted = small.pictures();
        wanted.pop();
        let file = studio.file(0);
        decodes(&file);
        // ffmpeg scales what it hands on to the first size, so only the first ones can be compared.
        let got = hashes(file.path(), "0:v", false);
        same(&got[..59], &wanted, &format!("{codec:?} {container:?}"));
        assert_eq!(
            probe(&file, "v", "nb_read_frames"),
            "119",
            "{codec:?} {container:?}"
        );
        let summary = studio.files[0].track(1);
        assert_eq!(
            (summary.width, summary.height, summary.gaps.len()),
            (640, 360, 0),
            "{codec:?} {container:?}"
        );
    }
}

#[test]
fn another_codec_makes_another_file() {
    if !have_ffmpeg() {
        return;
    }
    let (first, second, sound) = (
        video(Codec::Vp8, "320x180", 2),
        video(Codec::Vp9, "320x180", 2),
        tone(4),
    );
    let start = Instant::now();
    let mut packets = first.packets_from(start, 1000, 1, 0);
    let next = packets.last().unwrap().sequence + 1;
    packets.extend(second.packets_from(start + Duration::from_secs(2), 181_000, next, 0));
    let mut studio = Studio::new(Container::Mp4, None, &[(1, true), (2, false)]);
    let end = studio.play(vec![(1, packets), (2, sound.packets(start))]);
    studio.finish(end);
    assert_eq!(studio.files.len(), 2);
    assert_eq!(
        (
            studio.files[0].track(1).codec,
            studio.files[1].track(1).codec
        ),
        ("VP8", "VP9")
    );
    same(
        &studio.hashes("0:v", false),
        &[first.pictures(), second.pictures()].concat(),
        "pictures",
    );
    same(
        &studio.hashes("0:a", true),
        &hashes(sound.source.path(), "0:a", true),
        "sound",
    );
}

#[test]
fn a_camera_that_comes_later_makes_another_file() {
    if !have_ffmpeg() {
        return;
    }
    let (picture, sound) = (video(Codec::H264, "320x180", 2), tone(7));
    let start = Instant::now();
    let mut studio = Studio::new(Container::Mp4, None, &[(2, false)]);
    let (before, after): (Vec<Packet>, Vec<Packet>) = sound
        .packets(start)
        .into_iter()
        .partition(|packet| packet.captured < start + Duration::from_secs(5));
    studio.play(vec![(2, before)]);
    studio.film.add(TrackId(1), true);
    let end = studio.play(vec![
        (1, picture.packets(start + Duration::from_millis(5070))),
        (2, after),
    ]);
    studio.finish(end);
    assert_eq!(studio.files.len(), 2);
    let file = studio.file(1);
    let (picture_at, sound_at) = (
        seconds(&file, "v", "start_time"),
        seconds(&file, "a", "start_time"),
    );
    // Sound of up to a step before is in the file before; what is here is each 20 ms, and the picture at 5.070 s.
    assert!(
        picture_at < 0.001 && (0.0..0.2).contains(&sound_at),
        "{picture_at} {sound_at}"
    );
    let off = (5.070 + sound_at) % 0.020;
    assert!(off.min(0.020 - off) < 0.001, "{off} s off");
    same(
        &hashes(file.path(), "0:v", false),
        &picture.pictures(),
        "pictures",
    );
    same(
        &studio.hashes("0:a", true),
        &hashes(sound.source.path(), "0:a", true),
        "sound",
    );
}

#[test]
fn silence_that_is_not_sent_is_no_gap() {
    if !have_ffmpeg() {
        return;
    }
    let sound = tone(5);
    for container in [Container::Mp4, Container::Webm] {
        let mut packets = without(&sound, sound.packets(Instant::now()), 100..200);
        let first = packets[0].sequence;
        for (number, packet) in packets.iter_mut().enumerate() {
            packet.sequence = first + number as u64;
        }
        let mut studio = Studio::new(container, None, &[(2, false)]);
        let end = studio.play(vec![(2, packets)]);
        studio.finish(end);
        let summary = studio.files[0].track(2);
        assert!(
            summary.gaps.is_empty() && summary.duration > Duration::from_millis(4990),
            "{summary:?}"
        );
        let file = studio.file(0);
        decodes(&file);
        assert!((seconds(&file, "", "duration") - 5.01).abs() < 0.03);
    }
}

#[test]
fn what_cannot_be_recorded_says_why() {
    if !have_ffmpeg() {
        return;
    }
    let start = Instant::now();
    let refused = |container, clip: &Clip, packets: Vec<Packet>| {
        let mut studio = Studio::new(container, None, &[(1, clip.codec != Codec::Opus)]);
        let end = studio.play(vec![(1, packets)]);
        studio.finish(end);
        assert_eq!(studio.failed.len(), 1, "{container:?} {:?}", clip.codec);
        println!("{}", studio.failed[0].1);
        studio.failed.remove(0).1
    };
    let h264 = video(Codec::H264, "160x90", 1);
    assert!(refused(Container::Webm, &h264, h264.packets(start)).contains("MP4"));
    let other: Vec<Packet> = h264
        .packets(start)
        .into_iter()
        .map(|packet| Packet {
            codec: Codec::Other,
            ..packet
        })
        .collect();
    assert!(refused(Container::Mp4, &h264, other).contains("RTP dump"));
    // Encrypted: payloads are noise, but for the first byte, which is RTP's own.
    let mut dice = Dice::new(4);
    for codec in [Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::H264, Codec::Opus] {
        let clip = if codec == Codec::Opus {
            tone(14)
        } else {
            video(codec, "160x90", 14)
        };
        let noise: Vec<Packet> = clip
            .packets(start)
            .into_iter()
            .map(|packet| {
                let clear = if codec == Codec::Opus { 0 } else { 3 };
                let scramble = |(index, byte): (usize, &u8)| {
                    if index < clear {
                        *byte
                    } else {
                        dice.below(256) as u8
                    }
                };
                Packet {
                    payload: packet.payload.iter().enumerate().map(scramble).collect(),
                    ..packet
                }
            })
            .collect();
        assert!(
            refused(Container::Mp4, &clip, noise).contains("encrypted"),
            "{codec:?}"
        );
    }
}

use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;

use super::convert::{to_files, to_film, to_pcap};
use super::*;
use crate::api::{Codec, Packet, TrackId};
use crate::film::{Film, Origin, Step, Write};

fn origin() -> Origin {
    Origin {
        at: Instant::now(),
        wall: SystemTime::UNIX_EPOCH + Duration::new(1_795_680_000, 123_456_789),
    }
}

fn packet(origin: Origin, sequence: u64) -> Packet {
    let at = origin.at + Duration::from_millis(20 * sequence);
    Packet {
        sequence,
        timestamp: u32::try_from(sequence).unwrap().wrapping_mul(1_800),
        clock_rate: 90_000,
        // Before the start, at first.
        captured: at.checked_sub(Duration::from_millis(50)).unwrap(),
        arrived: at,
        marker: !sequence.is_multiple_of(2),
        payload_type: 96,
        codec: Codec::Vp8,
        keyframe: sequence.is_multiple_of(50),
        switched: sequence == 50,
        payload: (0..=u8::try_from(sequence % 200).unwrap()).collect(),
    }
}

fn packet_of(sequence: u64) -> Packet {
    packet(origin(), sequence)
}

fn collect(steps: &mut Vec<Step>) -> Vec<Vec<u8>> {
    let mut files: Vec<Vec<u8>> = Vec::new();
    for step in steps.drain(..) {
        match step {
            Step::Begin => files.push(Vec::new()),
            Step::Write(Write::Append(bytes)) => files.last_mut().unwrap().extend(bytes),
            _ => {}
        }
    }
    files
}

/// A dump of two tracks, its steps, and what was put in.
fn dump(packets: u64) -> (Vec<u8>, Vec<Step>) {
    let origin = origin();
    let mut film = DumpFilm::new(None, origin);
    film.add(TrackId(7), true);
    film.add(TrackId(u64::MAX), false);
    let mut steps = Vec::new();
    for n in 0..packets {
        film.packet(TrackId(7), &packet(origin, n));
        let mut sound = packet(origin, n);
        (sound.codec, sound.clock_rate, sound.keyframe) = (Codec::Opus, 48_000, false);
        film.packet(TrackId(u64::MAX), &sound);
        film.steps(origin.at, &mut steps);
    }
    film.finish(origin.at, &mut steps);
    let mut files = collect(&mut steps.clone());
    assert_eq!(files.len(), 1);
    (files.remove(0), steps)
}

#[test]
fn what_goes_in_comes_out() {
    let (bytes, steps) = dump(100);
    let records: Vec<_> = Reader::new(&bytes[..]).unwrap().collect();
    let records: Vec<Record> = records.into_iter().map(Result::unwrap).collect();
    let start = origin().wall;
    assert_eq!(records[0], Record::Header { version: 1, start });
    assert_eq!(records.last(), Some(&Record::End { packets: 200 }));
    let of_video = records.iter().filter_map(|record| match record {
        Record::Packet(packet) if packet.track == TrackId(7) => Some(packet),
        _ => None,
    });
    let origin = origin();
    for (n, found) in (0..).zip(of_video) {
        let sent = packet(origin, n);
        assert_eq!(found.sequence, sent.sequence);
        assert_eq!(found.timestamp, sent.timestamp);
        assert_eq!(found.arrived_ns, 20_000_000 * i64::try_from(n).unwrap());
        assert_eq!(found.captured_ns, found.arrived_ns - 50_000_000);
        assert_eq!((found.marker, found.keyframe), (sent.marker, sent.keyframe));
        assert_eq!((found.switched, found.payload_type), (n == 50, 96));
        assert_eq!(found.payload[..], sent.payload[..]);
        assert_eq!((found.codec, found.clock_rate), (Codec::Vp8, 90_000));
    }
    let report = check(&bytes[..]).unwrap();
    assert!(report.complete);
    assert_eq!(report.start, "2026-11-26T08:00:00.123Z");
    assert_eq!(
        (report.packets, report.whole_bytes),
        (200, bytes.len() as u64)
    );
    let [video, audio] = &report.tracks[..] else {
        panic!("{report:?}")
    };
    assert_eq!((video.codec, video.keyframes, video.missing), ("VP8", 2, 0));
    assert_eq!(
        (audio.codec, audio.clock_rate, audio.video),
        ("opus", 48_000, false)
    );
    assert_eq!(video.duration_ms, 1_980);
    let started = steps
        .iter()
        .filter(|s| matches!(s, Step::Started(_)))
        .count();
    assert_eq!(started, 2);
}

#[test]
fn losses_are_gaps_unless_they_come_late() {
    let origin = origin();
    let mut film = DumpFilm::new(None, origin);
    film.add(TrackId(1), true);
    for n in [0, 1, 2, 6, 3, 4, 8, 7, 9, 12] {
        film.packet(TrackId(1), &packet(origin, n));
    }
    film.dropped(TrackId(1));
    let mut steps = Vec::new();
    film.finish(origin.at, &mut steps);
    assert!(steps.contains(&Step::KeyframeWanted(TrackId(1))));
    let Some(Step::End(summaries)) = steps.last() else {
        panic!("{steps:?}")
    };
    let [summary] = &summaries[..] else {
        panic!("{summaries:?}")
    };
    // 5 never came, nor did 10 and 11.
    let gaps: Vec<_> = summary.gaps.iter().map(|g| g.at.as_millis()).collect();
    assert_eq!(gaps, [40, 180]);
    assert_eq!(summary.gaps[1].lasts, Duration::from_millis(60));
    assert_eq!((summary.frames, summary.codec), (10, "VP8"));
    let files = collect(&mut steps);
    let report = check(&files[0][..]).unwrap();
    assert_eq!((report.tracks[0].missing, report.tracks[0].dropped), (3, 1));
}

#[test]
fn another_codec_of_a_track_is_kept_apart() {
    let origin = origin();
    let mut film = DumpFilm::new(None, origin);
    film.add(TrackId(1), true);
    for n in 0..10 {
        let mut packet = packet(origin, n);
        if n >= 5 {
            packet.codec = Codec::Av1;
        }
        film.packet(TrackId(1), &packet);
    }
    let mut steps = Vec::new();
    film.finish(origin.at, &mut steps);
    let files = collect(&mut steps);
    let codecs: Vec<_> = Reader::new(&files[0][..])
        .unwrap()
        .filter_map(|record| match record.unwrap() {
            Record::Packet(packet) => Some(packet.codec),
            _ => None,
        })
        .collect();
    assert_eq!(codecs, [[Codec::Vp8; 5], [Codec::Av1; 5]].concat());
    assert!(check(&files[0][..]).unwrap().complete);
}

#[test]
fn every_cut_is_found_and_mended() {
    let (bytes, _) = dump(10);
    for length in 0..bytes.len() {
        let cut = &bytes[..length];
        let repair = repair(&mut std::io::Cursor::new(cut)).unwrap();
        if length < MAGIC.len() {
            assert!(matches!(check(cut), Err(Damage::Magic)), "{length}");
            continue;
        }
        let report = check(cut).unwrap();
        assert!(!report.complete, "{length}");
        assert_eq!(report.whole_bytes, repair.keep_bytes, "{length}");
        let mut mended = cut[..usize::try_from(repair.keep_bytes).unwrap()].to_vec();
        for write in repair.writes {
            let Write::Append(bytes) = write else {
                panic!("a dump is only appended to")
            };
            mended.extend(bytes);
        }
        let after = check(&mended[..]).unwrap();
        assert!(after.complete, "{length}: {after:?}");
        assert_eq!(after.packets, report.packets, "{length}");
    }
}

#[test]
fn a_version_to_come_is_refused() {
    let (mut bytes, _) = dump(1);
    // The header's body: kind, version, start.
    let body = 16..27;
    bytes[18] = 9;
    let mut hash = crc32fast::Hasher::new();
    hash.update(&bytes[8..12]);
    hash.update(&bytes[body]);
    bytes[12..16].copy_from_slice(&hash.finalize().to_be_bytes());
    let error = check(&bytes[..]).unwrap_err();
    assert!(matches!(error, Damage::Version(9)), "{error}");
}

#[test]
fn a_capture_has_every_packet() {
    let (bytes, _) = dump(20);
    let mut pcap = Vec::new();
    let converted = to_pcap(&bytes[..], &mut pcap).unwrap();
    assert_eq!((converted.packets, converted.left_out), (40, 0));
    let mut reader = pcap_file::pcap::PcapReader::new(&pcap[..]).unwrap();
    let mut found = 0;
    while let Some(packet) = reader.next_packet() {
        let packet = packet.unwrap();
        let n = found / 2;
        if found % 2 == 0 {
            let sent = packet_of(n);
            assert_eq!(
                packet.data[28..30],
                [0x80, 96 | if sent.marker { 0x80 } else { 0 }]
            );
            assert_eq!(packet.data[30..32], u16::try_from(n).unwrap().to_be_bytes());
            assert_eq!(packet.data[36..40], [0, 0, 0, 1]);
            assert_eq!(packet.data[40..], sent.payload[..]);
            let start = origin().wall.duration_since(SystemTime::UNIX_EPOCH);
            let arrived = start.unwrap() + Duration::from_millis(20 * n);
            assert_eq!(packet.timestamp, arrived);
        }
        found += 1;
    }
    assert_eq!(found, 40);
}

#[test]
fn a_replay_is_what_was_recorded() {
    let (bytes, _) = dump(100);
    let start = Instant::now();
    let mut steps = Vec::new();
    let make =
        |wall| -> Box<dyn Film> { Box::new(DumpFilm::new(None, Origin { at: start, wall })) };
    let converted = to_film(&bytes[..], make, start, |step| {
        steps.push(step);
        Ok(())
    });
    assert_eq!(converted.unwrap().packets, 200);
    assert_eq!(collect(&mut steps), [bytes]);
}

#[test]
fn files_of_a_replay_are_new() {
    let (bytes, _) = dump(100);
    let unique = format!(
        "rillway-replay-{}-{}",
        std::process::id(),
        fastrand::u64(..)
    );
    let folder = std::env::temp_dir().join(unique);
    std::fs::create_dir(&folder).unwrap();
    let output = folder.join("again.rtpd");
    let make = |wall| -> Box<dyn Film> {
        let at = Instant::now();
        Box::new(DumpFilm::new(
            Some(Duration::from_secs(1)),
            Origin { at, wall },
        ))
    };
    let (converted, made) = to_files(&bytes[..], make, &output).unwrap();
    assert_eq!((converted.packets, converted.refused.len()), (200, 0));
    assert_eq!(made, [output.clone(), folder.join("again-2.rtpd")]);
    let packets = |path| check(&std::fs::read(path).unwrap()[..]).unwrap().packets;
    assert_eq!(made.iter().map(packets).sum::<u64>(), 200);
    assert!(to_files(&bytes[..], make, &output).is_err(), "it exists");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_far_future_does_not_hang_a_replay() {
    let origin = origin();
    let mut film = DumpFilm::new(None, origin);
    film.add(TrackId(1), true);
    let mut late = packet(origin, 0);
    late.arrived = origin.at + Duration::from_secs(9_000_000_000);
    film.packet(TrackId(1), &late);
    let mut steps = Vec::new();
    film.finish(origin.at, &mut steps);
    let files = collect(&mut steps);
    let start = Instant::now();
    let make =
        |wall| -> Box<dyn Film> { Box::new(DumpFilm::new(None, Origin { at: start, wall })) };
    let converted = to_film(&files[0][..], make, start, |_| Ok(())).unwrap();
    assert_eq!(converted.packets, 1);
}

proptest! {
    #[test]
    fn a_changed_byte_is_noticed(at in any::<prop::sample::Index>(), by in 1_u8..) {
        let (mut bytes, _) = dump(20);
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        match check(&bytes[..]) {
            Ok(report) => prop_assert!(!report.complete, "byte {at}"),
            Err(_) => prop_assert!(at < 8, "byte {at}"),
        }
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let mut file = MAGIC.to_vec();
        file.extend(bytes);
        let _ = check(&file[..]);
        let _ = repair(&mut std::io::Cursor::new(&file));
        let _ = to_pcap(&file[..], std::io::sink());
    }
}

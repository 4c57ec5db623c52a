//! WebM: clusters of at most a second, each of known size; cues, duration and sizes when it is closed.
//!
//! The segment's size stays unknown while it is written (RFC 8794 §6.2), so that a file cut off anywhere
//! plays up to its last whole cluster.

use shiguredo_mp4::boxes::SampleEntry;
use shiguredo_mp4::{Encode, Error};

use super::ebml::{
    UNKNOWN_SIZE, element, float, identifier, master, size8, text, unsigned, unsigned8, void,
};
use super::file::Sample;
use super::frame::Config;
use crate::film::Write;

pub(super) const SEGMENT: u32 = 0x1853_8067;
const SEEK_HEAD: u32 = 0x114d_9b74;
pub(super) const INFO: u32 = 0x1549_a966;
pub(super) const TRACKS: u32 = 0x1654_ae6b;
pub(super) const CLUSTER: u32 = 0x1f43_b675;
const CUES: u32 = 0x1c53_bb6b;
const DURATION: u32 = 0x4489;
/// A `SimpleBlock` says its time in 16 bits, relative to its cluster.
const MAX_CLUSTER_MS: u64 = 1000;
/// Of sound alone, how often there is a cue.
const CUE_EVERY_MS: u64 = 5000;
/// ID and a double.
pub(super) const DURATION_BYTES: usize = 11;
pub(super) const SEEK_HEAD_BYTES: usize = 96;

/// The muxer of one file. Keeps twenty-four bytes for each second that has a keyframe, for the cues.
#[derive(Debug)]
pub(super) struct Webm {
    tracks: Vec<Track>,
    /// Where the contents of the segment begin.
    segment: u64,
    /// Where the duration goes.
    duration: u64,
    info: u64,
    tracks_at: u64,
    /// Bytes so far.
    position: u64,
    end_ms: u64,
    cues: Vec<Cue>,
}

#[derive(Debug)]
struct Track {
    video: bool,
    timescale: u64,
}

#[derive(Debug, Clone, Copy)]
struct Cue {
    ms: u64,
    track: u64,
    cluster: u64,
}

/// A sample, on the file's time line.
struct Block<'a> {
    ms: u64,
    track: usize,
    sample: &'a Sample,
}

/// What a cue may point to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// On the file's time line.
    pub(super) ms: u64,
    /// Number of the track, from 0.
    pub(super) track: usize,
    /// Decodable alone.
    pub(super) keyframe: bool,
}

impl Block<'_> {
    fn mark(&self) -> Mark {
        Mark {
            ms: self.ms,
            track: self.track,
            keyframe: self.sample.keyframe,
        }
    }
}

impl Webm {
    /// The beginning of a file with these tracks.
    pub(super) fn new(configs: &[Config]) -> Result<(Self, Vec<u8>), Error> {
        let mut bytes = master(
            0x1a45_dfa3,
            &[
                unsigned(0x4286, 1),
                unsigned(0x42f7, 1),
                unsigned(0x42f2, 4),
                unsigned(0x42f3, 8),
                text(0x4282, "webm"),
                unsigned(0x4287, 4),
                unsigned(0x4285, 2),
            ],
        );
        bytes.extend_from_slice(&identifier(SEGMENT));
        bytes.extend_from_slice(&UNKNOWN_SIZE);
        let segment = bytes.len() as u64;
        bytes.extend_from_slice(&void(SEEK_HEAD_BYTES));
        let info = bytes.len() as u64;
        let contents = [
            // Nanoseconds of a tick: times are in milliseconds.
            unsigned(0x002a_d7b1, 1_000_000),
            text(0x4d80, concat!("rillway ", env!("CARGO_PKG_VERSION"))),
            text(0x5741, concat!("rillway ", env!("CARGO_PKG_VERSION"))),
            void(DURATION_BYTES),
        ];
        bytes.extend_from_slice(&master(INFO, &contents));
        let duration = (bytes.len() - DURATION_BYTES) as u64;
        let tracks_at = bytes.len() as u64;
        let entries: Vec<Vec<u8>> = (1_u64..)
            .zip(configs)
            .map(|(number, config)| track_entry(number, config))
            .collect::<Result<_, _>>()?;
        bytes.extend_from_slice(&master(TRACKS, &entries));
        let tracks = configs
            .iter()
            .map(|config| Track {
                video: *config != Config::Opus,
                timescale: u64::from(config.timescale().get()),
            })
            .collect();
        let position = bytes.len() as u64;
        Ok((
            Self {
                tracks,
                segment,
                duration,
                info,
                tracks_at,
                position,
                end_ms: 0,
                cues: Vec::new(),
            },
            bytes,
        ))
    }

    /// Clusters of samples of each track, which follow those before; after `header`, which is of the file's
    /// beginning.
    pub(super) fn fragment(
        &mut self,
        header: Option<Vec<u8>>,
        samples: &[Vec<Sample>],
    ) -> Vec<Write> {
        let mut blocks: Vec<Block<'_>> = Vec::new();
        for (track, (of, samples)) in self.tracks.iter().zip(samples).enumerate() {
            let ms = |ticks: u64| (ticks * 1000 + of.timescale / 2) / of.timescale;
            blocks.extend(samples.iter().map(|sample| Block {
                ms: ms(sample.ticks),
                track,
                sample,
            }));
            if let Some(last) = samples.last() {
                self.end_ms = self.end_ms.max(ms(last.ticks + u64::from(last.duration)));
            }
        }
        // Stable: the order within a track stays.
        blocks.sort_by_key(|block| block.ms);
        let mut out = header.unwrap_or_default();
        let before = out.len();
        let mut rest = blocks.as_slice();
        while let Some(first) = rest.first() {
            let count = rest
                .iter()
                .take_while(|block| block.ms - first.ms <= MAX_CLUSTER_MS)
                .count();
            let (cluster, after) = rest.split_at(count);
            let at = self.position - self.segment + (out.len() - before) as u64;
            let marks: Vec<Mark> = cluster.iter().map(Block::mark).collect();
            self.cue(&marks, at);
            out.extend_from_slice(&cluster_of(cluster, first.ms));
            rest = after;
        }
        self.position += (out.len() - before) as u64;
        if out.is_empty() {
            Vec::new()
        } else {
            vec![Write::Append(out)]
        }
    }

    /// The muxer of a file that has begun, without its clusters: see [`Self::found`]. `video`: of each track;
    /// then where the contents of the segment begin, its `Info`, its `Tracks`.
    pub(super) fn resume(video: &[bool], segment: u64, info: u64, tracks_at: u64) -> Self {
        Self {
            tracks: video
                .iter()
                .map(|video| Track {
                    video: *video,
                    timescale: 1000,
                })
                .collect(),
            segment,
            duration: tracks_at.saturating_sub(DURATION_BYTES as u64),
            info,
            tracks_at,
            position: 0,
            end_ms: 0,
            cues: Vec::new(),
        }
    }

    /// A cluster of the file, of which `at` and `end` are the places; `end_ms`: where its last frame ends.
    pub(super) fn found(&mut self, blocks: &[Mark], at: u64, end: u64, end_ms: u64) {
        self.cue(blocks, at.saturating_sub(self.segment));
        self.end_ms = self.end_ms.max(end_ms);
        self.position = end;
    }

    /// Players seek by the video; where there is none, by the sound.
    fn cue(&mut self, cluster: &[Mark], at: u64) {
        let is_video = |mark: &Mark| self.tracks.get(mark.track).is_some_and(|track| track.video);
        let mark = if self.tracks.iter().any(|track| track.video) {
            cluster.iter().find(|mark| is_video(mark) && mark.keyframe)
        } else {
            let due = self
                .cues
                .last()
                .map_or(0, |cue| cue.ms.saturating_add(CUE_EVERY_MS));
            cluster.first().filter(|mark| mark.ms >= due)
        };
        if let Some(mark) = mark {
            self.cues.push(Cue {
                ms: mark.ms,
                track: mark.track as u64 + 1,
                cluster: at,
            });
        }
    }

    /// Cues, and then what is known only now.
    pub(super) fn finish(&mut self) -> Vec<Write> {
        let mut points: Vec<Cue> = std::mem::take(&mut self.cues);
        points.sort_by_key(|cue| cue.ms);
        let cues: Vec<Vec<u8>> = points
            .iter()
            .map(|cue| {
                let place = master(
                    0xb7,
                    &[unsigned(0xf7, cue.track), unsigned(0xf1, cue.cluster)],
                );
                master(0xbb, &[unsigned(0xb3, cue.ms), place])
            })
            .collect();
        let cues_at = self.position;
        let cues = if cues.is_empty() {
            Vec::new()
        } else {
            master(CUES, &cues)
        };
        self.position += cues.len() as u64;
        let seek = |id: u32, at: u64| {
            master(
                0x4dbb,
                &[
                    element(0x53ab, &identifier(id)),
                    unsigned8(0x53ac, at - self.segment),
                ],
            )
        };
        let mut seeks = vec![seek(INFO, self.info), seek(TRACKS, self.tracks_at)];
        if !cues.is_empty() {
            seeks.push(seek(CUES, cues_at));
        }
        let mut head = master(SEEK_HEAD, &seeks);
        head.extend_from_slice(&void(SEEK_HEAD_BYTES - head.len()));
        let mut writes = Vec::new();
        if !cues.is_empty() {
            writes.push(Write::Append(cues));
        }
        writes.push(Write::Overwrite {
            offset: self.duration,
            bytes: float(DURATION, self.end_ms as f64),
        });
        writes.push(Write::Overwrite {
            offset: self.segment,
            bytes: head,
        });
        let size = size8(self.position - self.segment).to_vec();
        writes.push(Write::Overwrite {
            offset: self.segment - 8,
            bytes: size,
        });
        writes
    }
}

fn cluster_of(blocks: &[Block<'_>], at: u64) -> Vec<u8> {
    let mut contents = vec![unsigned(0xe7, at)];
    for block in blocks {
        // Track number, relative time, flags.
        let mut simple = vec![0x80 | (block.track as u8 + 1)];
        simple.extend_from_slice(&(block.ms.saturating_sub(at) as i16).to_be_bytes());
        simple.push(if block.sample.keyframe { 0x80 } else { 0 });
        simple.extend_from_slice(&block.sample.data);
        contents.push(element(0xa3, &simple));
    }
    master(CLUSTER, &contents)
}

fn track_entry(number: u64, config: &Config) -> Result<Vec<u8>, Error> {
    let (width, height) = config.size();
    let codec = match config {
        Config::Vp8 { .. } => "V_VP8",
        Config::Vp9 { .. } => "V_VP9",
        Config::Av1 { .. } => "V_AV1",
        Config::H264 { .. } => "V_MPEG4/ISO/AVC",
        Config::Opus => "A_OPUS",
    };
    let mut entry = vec![
        unsigned(0xd7, number),
        unsigned(0x73c5, number),
        unsigned(0x9c, 0),
        text(0x86, codec),
    ];
    if *config == Config::Opus {
        entry.push(unsigned(0x83, 2));
        // RFC 7845 §5.1: version, channels, pre-skip, rate, gain, mapping.
        entry.push(element(0x63a2, b"OpusHead\x01\x02\0\0\x80\xbb\0\0\0\0\0"));
        // Nanoseconds that a decoder needs to settle after seeking (RFC 7845 §4.6).
        entry.push(unsigned(0x56bb, 80_000_000));
        entry.push(master(0xe1, &[float(0xb5, 48_000.0), unsigned(0x9f, 2)]));
    } else {
        entry.push(unsigned(0x83, 1));
        if let SampleEntry::Av01(av01) = config.sample_entry()? {
            let av1c = av01.av1c_box.encode_to_vec()?;
            // Without the header of the box.
            entry.push(element(0x63a2, av1c.get(8..).unwrap_or_default()));
        }
        entry.push(master(
            0xe0,
            &[
                unsigned(0xb0, u64::from(width)),
                unsigned(0xba, u64::from(height)),
            ],
        ));
    }
    Ok(master(0xae, &entry))
}

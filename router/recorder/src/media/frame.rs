//! Frames, and what a decoder must know before the first one.

use std::num::NonZeroU32;

use shiguredo_mp4::bitstream::av1::{Av1SampleEntryConfig, Av1SequenceHeader, build_av01_box};
use shiguredo_mp4::bitstream::h264::LengthSize;
use shiguredo_mp4::bitstream::h264::{H264SampleEntryConfig, build_avc1_box, parse_sps};
use shiguredo_mp4::bitstream::opus::{ChannelCount, OpusSampleEntryConfig, build_opus_box};
use shiguredo_mp4::bitstream::vp8::{Vp8SampleEntryConfig, build_vp08_box};
use shiguredo_mp4::bitstream::vp9::{Vp9FrameHeader, Vp9SampleEntryConfig, build_vp09_box};
use shiguredo_mp4::boxes::SampleEntry;

use crate::api::{Codec, Container};

/// What one sample of a file is made of.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// Nanoseconds since the film's epoch.
    pub(super) time_ns: i64,
    /// Of audio; for video 0, as it is not known before the next frame.
    pub(super) length_ns: i64,
    /// Decodable without what came before. Audio always is.
    pub(super) keyframe: bool,
    /// With each keyframe.
    pub(super) config: Option<Config>,
    /// Frames are missing since then, in the time of `time_ns`.
    pub(super) missing_since: Option<i64>,
    /// As the container wants it.
    pub(super) data: Vec<u8>,
}

/// What a decoder is set up with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Config {
    /// RFC 6386.
    Vp8 {
        /// Pixels.
        width: u16,
        /// Pixels.
        height: u16,
    },
    /// From the first keyframe's header.
    Vp9 {
        /// Profile, depth, subsampling.
        header: Box<Vp9FrameHeader>,
        /// Pixels of the largest spatial layer.
        width: u16,
        /// Pixels.
        height: u16,
    },
    /// AV1.
    Av1 {
        /// Parsed.
        sequence: Box<Av1SequenceHeader>,
        /// The sequence header OBU with its size field.
        obu: Vec<u8>,
    },
    /// ITU-T H.264.
    H264 {
        /// Sequence parameter sets.
        sps: Vec<Vec<u8>>,
        /// Picture parameter sets.
        pps: Vec<Vec<u8>>,
        /// Pixels.
        width: u16,
        /// Pixels.
        height: u16,
    },
    /// Stereo at 48 kHz: mono is decoded as that too (RFC 7587 §4.1).
    Opus,
}

impl Config {
    /// As in SDP.
    pub(super) fn codec(&self) -> &'static str {
        match self {
            Self::Vp8 { .. } => "VP8",
            Self::Vp9 { .. } => "VP9",
            Self::Av1 { .. } => "AV1",
            Self::H264 { .. } => "H264",
            Self::Opus => "opus",
        }
    }

    /// Pixels; 0 for audio.
    pub(super) fn size(&self) -> (u32, u32) {
        match self {
            Self::Vp8 { width, height }
            | Self::Vp9 { width, height, .. }
            | Self::H264 { width, height, .. } => (u32::from(*width), u32::from(*height)),
            Self::Av1 { sequence, .. } => (sequence.max_frame_width, sequence.max_frame_height),
            Self::Opus => (0, 0),
        }
    }

    /// Whether `other` may follow under one sample description. A change of size alone may: every keyframe
    /// carries what a decoder needs, and adaptive senders change it every few seconds at the start.
    pub(super) fn continues_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Vp8 { .. }, Self::Vp8 { .. }) | (Self::Opus, Self::Opus) => true,
            (Self::Vp9 { header: a, .. }, Self::Vp9 { header: b, .. }) => {
                (a.profile, a.bit_depth, a.subsampling_x, a.subsampling_y)
                    == (b.profile, b.bit_depth, b.subsampling_x, b.subsampling_y)
            }
            (Self::Av1 { sequence: a, .. }, Self::Av1 { sequence: b, .. }) => {
                (a.seq_profile, a.high_bitdepth, a.twelve_bit, a.monochrome)
                    == (b.seq_profile, b.high_bitdepth, b.twelve_bit, b.monochrome)
            }
            (Self::H264 { sps: a, .. }, Self::H264 { sps: b, .. }) => {
                let profile = |sps: &[Vec<u8>]| sps.first().and_then(|sps| sps.get(1).copied());
                profile(a) == profile(b)
            }
            _ => false,
        }
    }

    /// Ticks per second in an MP4.
    pub(super) fn timescale(&self) -> NonZeroU32 {
        const AUDIO: NonZeroU32 = NonZeroU32::new(48_000).unwrap();
        const VIDEO: NonZeroU32 = NonZeroU32::new(90_000).unwrap();
        if *self == Self::Opus { AUDIO } else { VIDEO }
    }

    /// The sample description of an MP4. Errors are the sender's: sizes or profiles that it cannot say.
    pub(super) fn sample_entry(&self) -> Result<SampleEntry, shiguredo_mp4::Error> {
        Ok(match self {
            Self::Vp8 { width, height } => {
                SampleEntry::Vp08(build_vp08_box(&Vp8SampleEntryConfig {
                    video_full_range_flag: false,
                    colour_primaries: Vp8SampleEntryConfig::COLOUR_PRIMARIES_UNSPECIFIED,
                    transfer_characteristics:
                        Vp8SampleEntryConfig::TRANSFER_CHARACTERISTICS_UNSPECIFIED,
                    matrix_coefficients: Vp8SampleEntryConfig::MATRIX_COEFFICIENTS_UNSPECIFIED,
                    width: *width,
                    height: *height,
                }))
            }
            Self::Vp9 {
                header,
                width,
                height,
            } => SampleEntry::Vp09(build_vp09_box(
                header,
                &Vp9SampleEntryConfig {
                    level: vp9_level(*width, *height),
                    colour_primaries: Vp9SampleEntryConfig::COLOUR_PRIMARIES_UNSPECIFIED,
                    transfer_characteristics:
                        Vp9SampleEntryConfig::TRANSFER_CHARACTERISTICS_UNSPECIFIED,
                    matrix_coefficients: Vp9SampleEntryConfig::MATRIX_COEFFICIENTS_UNSPECIFIED,
                    width: *width,
                    height: *height,
                },
            )?),
            Self::Av1 { sequence, obu } => SampleEntry::Av01(build_av01_box(
                sequence,
                obu,
                &Av1SampleEntryConfig {
                    initial_presentation_delay_minus_one: None,
                },
            )?),
            Self::H264 { sps, pps, .. } => SampleEntry::Avc1(build_avc1_box(
                sps,
                pps,
                &H264SampleEntryConfig {
                    length_size: LengthSize::FourBytes,
                },
            )?),
            Self::Opus => SampleEntry::Opus(build_opus_box(&OpusSampleEntryConfig {
                channel_count: ChannelCount::Stereo,
                // A recording begins in the middle of a stream: there is no encoder's lead-in to skip.
                pre_skip: 0,
                input_sample_rate: 48_000,
                output_gain: 0,
            })),
        })
    }
}

/// Of the configuration in an SPS; None if it cannot be decoded.
pub(super) fn h264_config(sps: &[Vec<u8>], pps: &[Vec<u8>]) -> Option<Config> {
    let parsed = parse_sps(sps.first()?).ok()?;
    let config = Config::H264 {
        sps: sps.to_vec(),
        pps: pps.to_vec(),
        width: parsed.width,
        height: parsed.height,
    };
    fits(&config).then_some(config)
}

/// Whether its pixels can be written down and, as far as can be told, decoded: a side has at most 16,384
/// pixels and a picture at most 16,384 × 8,704 (level 6.2 of H.264, VP9 and AV1 is below it).
pub(super) fn fits(config: &Config) -> bool {
    let (width, height) = config.size();
    (1..=16_384).contains(&width)
        && (1..=16_384).contains(&height)
        && width * height <= 16_384 * 8_704
}

/// The lowest level whose pictures are as large (VP9 levels are by size and rate; the rate is not known yet).
fn vp9_level(width: u16, height: u16) -> u8 {
    const LEVELS: [(u32, u8); 8] = [
        (36_864, 10),
        (73_728, 11),
        (122_880, 20),
        (245_760, 21),
        (552_960, 30),
        (983_040, 31),
        (2_228_224, 41),
        (8_912_896, 51),
    ];
    let pixels = u32::from(width) * u32::from(height);
    LEVELS
        .iter()
        .find(|(most, _)| pixels <= *most)
        .map_or(61, |(_, level)| *level)
}

/// Whether a container holds a codec; the reason if not, for people.
pub(super) fn holds(container: Container, codec: Codec) -> Result<(), String> {
    match (container, codec) {
        (_, Codec::Other) => Err(
            "its codec is none of VP8, VP9, AV1, H264 and opus: only an RTP dump holds it; \
                                  record it into that"
                .to_owned(),
        ),
        (Container::Webm, Codec::H264) => {
            Err("WebM cannot hold H264: record it into an MP4".to_owned())
        }
        _ => Ok(()),
    }
}

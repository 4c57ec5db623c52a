//! How files are written: a part of a policy's configuration.

use serde::de::{Deserializer, Error as _};

use super::{Container, NamePattern};
use crate::types::{MediaKind, Track};

/// Shortest and longest segment, seconds: a file costs a directory entry and its hash, and what is longer
/// than a week is as good as one file.
const SEGMENT_S: std::ops::RangeInclusive<u32> = 10..=604_800;

/// How a policy's tracks are written; a member of its configuration.
///
/// ```toml
/// [plugins.NAME.config.files]
/// kinds = ["audio", "video"]   # what is recorded
/// container = "auto"           # or "mp4", "webm", "rtp-dump"; auto: mp4 wherever the codec allows
/// segment_s = 0                # begin a new file after so many seconds, 10 to 604800; 0: never
/// name = "{room}-{time}-{participant}-{media}"    # see `NamePattern`
/// dump_encrypted = false       # end-to-end-encrypted tracks: true: as RTP dumps; false: not at all
/// ```
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Files {
    #[serde(deserialize_with = "kinds")]
    kinds: Vec<Kind>,
    container: Format,
    #[serde(deserialize_with = "segment")]
    segment_s: u32,
    name: NamePattern,
    dump_encrypted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Audio,
    Video,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Format {
    Auto,
    Mp4,
    Webm,
    RtpDump,
}

fn kinds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Kind>, D::Error> {
    let kinds: Vec<Kind> = serde::Deserialize::deserialize(deserializer)?;
    if kinds.is_empty() {
        return Err(D::Error::custom(
            "nothing would be recorded: name \"audio\", \"video\" or both",
        ));
    }
    Ok(kinds)
}

fn segment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let seconds: u32 = serde::Deserialize::deserialize(deserializer)?;
    if seconds != 0 && !SEGMENT_S.contains(&seconds) {
        let (least, most) = SEGMENT_S.into_inner();
        return Err(D::Error::custom(format_args!(
            "{seconds} is neither 0 (never) nor {least} to {most} seconds"
        )));
    }
    Ok(seconds)
}

impl Default for Files {
    fn default() -> Self {
        Files {
            kinds: vec![Kind::Audio, Kind::Video],
            container: Format::Auto,
            segment_s: 0,
            name: NamePattern::default(),
            dump_encrypted: false,
        }
    }
}

impl Files {
    /// Into what a track is written; `None`: it is not to be recorded.
    #[must_use]
    pub fn container(&self, track: &Track) -> Option<Container> {
        let kind = match track.kind {
            MediaKind::Audio => Kind::Audio,
            MediaKind::Video => Kind::Video,
        };
        if !self.kinds.contains(&kind) {
            return None;
        }
        if track.encrypted {
            return self.dump_encrypted.then_some(Container::RtpDump);
        }
        Some(match self.container {
            Format::Mp4 => Container::Mp4,
            Format::Webm => Container::Webm,
            Format::RtpDump => Container::RtpDump,
            Format::Auto => of_codec(&track.codec),
        })
    }

    /// Seconds after which a new file begins; 0: never.
    #[must_use]
    pub fn segment_s(&self) -> u32 {
        self.segment_s
    }

    /// How files are named.
    #[must_use]
    pub fn name(&self) -> &NamePattern {
        &self.name
    }
}

/// What the router can put a codec into: MP4 for all that browsers send, and one that is not negotiated yet is
/// most likely one of these; the packets of telephony's as they are.
fn of_codec(codec: &str) -> Container {
    let is = |names: &[&str]| names.iter().any(|name| codec.eq_ignore_ascii_case(name));
    if is(&["VP8", "VP9", "AV1", "H264", "opus", ""]) {
        Container::Mp4
    } else {
        Container::RtpDump
    }
}

//! Frames out of RTP payloads.
//!
//! Of our own, after a look at libraries: of rtc-rtp 0.21 the AV1 and H.264 depacketisers panic on short
//! payloads from the network, VP9 refuses pictures with three references, VP8 refuses payloads below four
//! bytes. The headers of the codecs themselves are read by `shiguredo_mp4`.

mod av1;
mod h264;
mod opus;
#[cfg(test)]
mod tests;
mod vp8;
mod vp9;

use crate::api::Codec;

use super::frame::Config;

/// Bytes of one frame; more than any encoder makes of a picture in a call.
pub(super) const MAX_FRAME: usize = 16 << 20;

/// Why a payload or a frame cannot be read: damaged, encrypted, or of another codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub(super) &'static str);

/// A frame as the container wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Whole {
    /// Its bytes.
    pub(super) data: Vec<u8>,
    /// Decodable alone.
    pub(super) keyframe: bool,
    /// With a keyframe.
    pub(super) config: Option<Config>,
    /// Of audio, in units of 48 kHz; 0 for video.
    pub(super) samples: u32,
    /// Nothing in it says that it has its beginning: where packets before it are missing, some may be its own.
    pub(super) headless: bool,
}

/// Puts the payloads of one frame together. Holds at most one frame, at most 16 MiB.
#[derive(Debug)]
pub(super) enum Depacketizer {
    Vp8(vp8::Vp8),
    Vp9(vp9::Vp9),
    Av1(av1::Av1),
    H264(h264::H264),
    Opus(opus::Opus),
}

impl Depacketizer {
    /// None: not a codec of ours.
    pub(super) fn new(codec: Codec) -> Option<Self> {
        Some(match codec {
            Codec::Vp8 => Self::Vp8(vp8::Vp8::default()),
            Codec::Vp9 => Self::Vp9(vp9::Vp9::default()),
            Codec::Av1 => Self::Av1(av1::Av1::default()),
            Codec::H264 => Self::H264(h264::H264::default()),
            Codec::Opus => Self::Opus(opus::Opus::default()),
            Codec::Other => return None,
        })
    }

    /// Whether a payload says of itself that a keyframe begins with it. The router says so too, from
    /// elsewhere (a dependency descriptor); either is enough to begin, and the whole frame decides.
    pub(super) fn begins_keyframe(&self, payload: &[u8]) -> bool {
        match self {
            Self::Vp8(_) => vp8::begins_keyframe(payload),
            Self::Vp9(_) => vp9::begins_keyframe(payload),
            Self::Av1(_) => av1::begins_keyframe(payload),
            Self::H264(_) => h264::begins_keyframe(payload),
            Self::Opus(_) => true,
        }
    }

    /// The next payload of the frame, none missing in between.
    pub(super) fn push(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        let so_far = match self {
            Self::Vp8(vp8) => vp8.push(payload)?,
            Self::Vp9(vp9) => vp9.push(payload)?,
            Self::Av1(av1) => av1.push(payload)?,
            Self::H264(h264) => h264.push(payload)?,
            Self::Opus(opus) => opus.push(payload)?,
        };
        if so_far > MAX_FRAME {
            Err(Malformed("a frame of more than 16 MiB"))
        } else {
            Ok(())
        }
    }

    /// The frame is complete.
    pub(super) fn finish(&mut self) -> Result<Whole, Malformed> {
        match self {
            Self::Vp8(vp8) => vp8.finish(),
            Self::Vp9(vp9) => vp9.finish(),
            Self::Av1(av1) => av1.finish(),
            Self::H264(h264) => h264.finish(),
            Self::Opus(opus) => opus.finish(),
        }
    }

    /// The frame will never be complete.
    pub(super) fn reset(&mut self) {
        match self {
            Self::Vp8(vp8) => *vp8 = vp8::Vp8::default(),
            Self::Vp9(vp9) => *vp9 = vp9::Vp9::default(),
            Self::Av1(av1) => av1.reset(),
            Self::H264(h264) => h264.reset(),
            Self::Opus(opus) => *opus = opus::Opus::default(),
        }
    }
}

/// A cursor over bytes of a peer.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self
            .0
            .split_first()
            .ok_or(Malformed("a payload that ends in its header"))?;
        self.0 = rest;
        Ok(*first)
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self
            .0
            .split_at_checked(bytes)
            .ok_or(Malformed("a length beyond the payload"))?;
        self.0 = rest;
        Ok(head)
    }
}

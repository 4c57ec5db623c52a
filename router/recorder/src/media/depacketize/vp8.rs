//! VP8, RFC 7741.

use shiguredo_mp4::bitstream::vp8::parse_frame_header;

use super::{Malformed, Reader, Whole};
use crate::media::frame::{Config, fits};

/// One frame: partitions one after the other.
#[derive(Debug, Default)]
pub(in crate::media) struct Vp8 {
    data: Vec<u8>,
}

/// RFC 7741 §4.2: the payload descriptor. Whether a frame starts here, and the rest.
fn descriptor(payload: &[u8]) -> Result<(bool, &[u8]), Malformed> {
    let mut reader = Reader(payload);
    let first = reader.byte()?;
    let starts = first & 0x10 != 0 && first & 0x07 == 0;
    if first & 0x80 != 0 {
        let extension = reader.byte()?;
        if extension & 0x80 != 0 && reader.byte()? & 0x80 != 0 {
            reader.byte()?;
        }
        if extension & 0x40 != 0 {
            reader.byte()?;
        }
        if extension & 0x30 != 0 {
            reader.byte()?;
        }
    }
    Ok((starts, reader.0))
}

/// RFC 7741 §4.3: the P bit.
pub(super) fn begins_keyframe(payload: &[u8]) -> bool {
    descriptor(payload)
        .is_ok_and(|(starts, rest)| starts && rest.first().is_some_and(|byte| byte & 1 == 0))
}

impl Vp8 {
    pub(super) fn push(&mut self, payload: &[u8]) -> Result<usize, Malformed> {
        let (starts, rest) = descriptor(payload)?;
        if starts != self.data.is_empty() {
            return Err(Malformed(
                "a VP8 frame that does not start at its beginning",
            ));
        }
        self.data.extend_from_slice(rest);
        Ok(self.data.len())
    }

    pub(super) fn finish(&mut self) -> Result<Whole, Malformed> {
        let data = std::mem::take(&mut self.data);
        let header = parse_frame_header(&data).map_err(|_| Malformed("no VP8 frame header"))?;
        let config = match &header.keyframe {
            Some(key) => {
                let config = Config::Vp8 {
                    width: key.width,
                    height: key.height,
                };
                if !fits(&config) {
                    return Err(Malformed("a VP8 picture too large to decode"));
                }
                Some(config)
            }
            None => None,
        };
        Ok(Whole {
            data,
            keyframe: config.is_some(),
            config,
            samples: 0,
            headless: false,
        })
    }
}

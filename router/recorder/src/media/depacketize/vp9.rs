//! VP9, RFC 9628.

use shiguredo_mp4::bitstream::vp9::{
    Vp9FrameHeader, Vp9FrameSize, Vp9FrameType, parse_frame_header,
};

use super::{Malformed, Reader, Whole};
use crate::media::frame::{Config, fits};

/// A superframe index has three bits for its number of frames.
const MAX_LAYERS: usize = 8;

/// One picture: the frames of its spatial layers, lowest first.
#[derive(Debug, Default)]
pub(in crate::media) struct Vp9 {
    data: Vec<u8>,
    /// Where each layer's frame starts.
    starts: Vec<usize>,
}

struct Descriptor<'a> {
    /// A layer's frame starts here.
    starts: bool,
    /// Predicted from earlier pictures.
    predicted: bool,
    spatial: u8,
    rest: &'a [u8],
}

/// RFC 9628 §4.2: the payload descriptor.
fn descriptor(payload: &[u8]) -> Result<Descriptor<'_>, Malformed> {
    let mut reader = Reader(payload);
    let first = reader.byte()?;
    let (flexible, predicted) = (first & 0x10 != 0, first & 0x40 != 0);
    if first & 0x80 != 0 && reader.byte()? & 0x80 != 0 {
        reader.byte()?;
    }
    let mut spatial = 0;
    if first & 0x20 != 0 {
        spatial = (reader.byte()? >> 1) & 0x07;
        if !flexible {
            reader.byte()?;
        }
    }
    if flexible && predicted {
        // P_DIFF, at most three; N says that another follows.
        let more = reader.byte()? & 1 != 0 && reader.byte()? & 1 != 0 && reader.byte()? & 1 != 0;
        if more {
            return Err(Malformed("a VP9 picture with more than three references"));
        }
    }
    if first & 0x02 != 0 {
        scalability_structure(&mut reader)?;
    }
    Ok(Descriptor {
        starts: first & 0x08 != 0,
        predicted,
        spatial,
        rest: reader.0,
    })
}

/// RFC 9628 §4.2.1. Skipped: the frames say the same.
fn scalability_structure(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let first = reader.byte()?;
    if first & 0x10 != 0 {
        reader.take((usize::from(first >> 5) + 1) * 4)?;
    }
    if first & 0x08 != 0 {
        for _ in 0..reader.byte()? {
            let picture = reader.byte()?;
            reader.take(usize::from((picture >> 2) & 0x03))?;
        }
    }
    Ok(())
}

/// RFC 9628 §4.2: no prediction between pictures, first packet of the lowest layer.
pub(super) fn begins_keyframe(payload: &[u8]) -> bool {
    descriptor(payload).is_ok_and(|d| d.starts && !d.predicted && d.spatial == 0)
}

impl Vp9 {
    pub(super) fn push(&mut self, payload: &[u8]) -> Result<usize, Malformed> {
        let descriptor = descriptor(payload)?;
        if descriptor.starts {
            if self.starts.len() == MAX_LAYERS {
                return Err(Malformed("a VP9 picture of more than eight frames"));
            }
            self.starts.push(self.data.len());
        } else if self.starts.is_empty() {
            return Err(Malformed(
                "a VP9 frame that does not start at its beginning",
            ));
        }
        self.data.extend_from_slice(descriptor.rest);
        Ok(self.data.len())
    }

    pub(super) fn finish(&mut self) -> Result<Whole, Malformed> {
        let mut data = std::mem::take(&mut self.data);
        let starts = std::mem::take(&mut self.starts);
        let first = parse_frame_header(&data).map_err(|_| Malformed("no VP9 frame header"))?;
        let config = if first.frame_type == Vp9FrameType::Key && first.show_existing_frame.is_none()
        {
            Some(config(&first, &data, &starts)?)
        } else {
            None
        };
        if starts.len() > 1 {
            append_index(&mut data, &starts);
        }
        Ok(Whole {
            data,
            keyframe: config.is_some(),
            config,
            samples: 0,
            headless: false,
        })
    }
}

/// Of the lowest layer, with the size of the largest.
fn config(first: &Vp9FrameHeader, data: &[u8], starts: &[usize]) -> Result<Config, Malformed> {
    let size = |header: &Vp9FrameHeader| match header.frame_size {
        Vp9FrameSize::Resolved { width, height } => Some((
            u16::try_from(width).unwrap_or(u16::MAX),
            u16::try_from(height).unwrap_or(u16::MAX),
        )),
        _ => None,
    };
    let (width, height) = starts
        .iter()
        .filter_map(|start| size(&parse_frame_header(data.get(*start..)?).ok()?))
        .max()
        .ok_or(Malformed("a VP9 keyframe without a size"))?;
    let config = Config::Vp9 {
        header: Box::new(first.clone()),
        width,
        height,
    };
    if !fits(&config) || config.sample_entry().is_err() {
        return Err(Malformed(
            "a VP9 picture too large to decode, or in a colour format no file can name",
        ));
    }
    Ok(config)
}

/// VP9 bitstream specification, annex B: without it, decoders take the frames of all layers for one.
fn append_index(data: &mut Vec<u8>, starts: &[usize]) {
    let ends = starts.iter().skip(1).copied().chain([data.len()]);
    let sizes: Vec<usize> = starts
        .iter()
        .zip(ends)
        .map(|(start, end)| end.saturating_sub(*start))
        .collect();
    let largest = sizes.iter().copied().max().unwrap_or(0);
    let bytes_per_size = (1..4_usize)
        .find(|bytes| largest < 1 << (8 * bytes))
        .unwrap_or(4);
    let marker = 0b1100_0000 | ((bytes_per_size as u8 - 1) << 3) | (sizes.len() as u8 - 1);
    data.push(marker);
    for size in sizes {
        data.extend(size.to_le_bytes().iter().take(bytes_per_size));
    }
    data.push(marker);
}

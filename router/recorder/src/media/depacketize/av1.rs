//! AV1, by the AV1 RTP payload specification 1.0.

use shiguredo_mp4::bitstream::av1::{
    Av1FrameHeaderPrefix, Av1FrameType, Av1Obu, Av1ObuParseContext, Av1ObuType, Av1SequenceHeader,
    decode_leb128, parse_frame_header_prefix, parse_obus, parse_sequence_header,
};

use super::{Malformed, Reader, Whole};
use crate::media::frame::{Config, fits};

const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const TILE_LIST: u8 = 8;
const PADDING: u8 = 15;

/// One temporal unit in the low-overhead format, every OBU with its size, without temporal delimiters: what
/// MP4 and WebM want.
#[derive(Debug, Default)]
pub(in crate::media) struct Av1 {
    data: Vec<u8>,
    /// An OBU of which more follows in the next packet.
    partial: Option<Vec<u8>>,
    /// The last sequence header: it tells how frame headers are read.
    sequence: Option<Av1SequenceHeader>,
}

/// §4.4: N says that a coded video sequence begins. Some senders leave it out: a sequence header at the
/// start is as good.
pub(super) fn begins_keyframe(payload: &[u8]) -> bool {
    let Some((&header, rest)) = payload.split_first() else {
        return false;
    };
    if header & 0x80 != 0 {
        return false;
    }
    if header & 0x08 != 0 {
        return true;
    }
    let skip = if header & 0x30 == 0x10 {
        0
    } else {
        decode_leb128(rest).map_or(usize::MAX, |(_, bytes)| bytes)
    };
    rest.get(skip)
        .is_some_and(|byte| (byte >> 3) & 0x0f == SEQUENCE_HEADER)
}

impl Av1 {
    pub(super) fn reset(&mut self) {
        self.data.clear();
        self.partial = None;
    }

    pub(super) fn push(&mut self, payload: &[u8]) -> Result<usize, Malformed> {
        let mut reader = Reader(payload);
        // §4.4: |Z|Y|W W|N|-|-|-|.
        let header = reader.byte()?;
        let (continues, continued, count) =
            (header & 0x80 != 0, header & 0x40 != 0, (header >> 4) & 0x03);
        if continues != self.partial.is_some() {
            return Err(Malformed("an AV1 OBU without its beginning or end"));
        }
        let mut index = 0;
        while !reader.0.is_empty() {
            index += 1;
            let element = if count != 0 && index == count {
                std::mem::take(&mut reader.0)
            } else {
                let (length, bytes) =
                    decode_leb128(reader.0).map_err(|_| Malformed("no length of an AV1 OBU"))?;
                reader.take(bytes)?;
                reader.take(usize::try_from(length).unwrap_or(usize::MAX))?
            };
            let more_follows = continued && reader.0.is_empty();
            match self.partial.take() {
                Some(mut partial) => {
                    partial.extend_from_slice(element);
                    if more_follows {
                        self.partial = Some(partial);
                    } else {
                        self.append(&partial)?;
                    }
                }
                None if more_follows => self.partial = Some(element.to_vec()),
                None => self.append(element)?,
            }
        }
        if count != 0 && index != count {
            return Err(Malformed("fewer AV1 OBUs than announced"));
        }
        Ok(self.data.len() + self.partial.as_ref().map_or(0, Vec::len))
    }

    /// A whole OBU, with or without a size of its own (§4.5: it should have none).
    fn append(&mut self, obu: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader(obu);
        if obu.is_empty() {
            return Ok(());
        }
        let header = reader.byte()?;
        let extension = if header & 0x04 != 0 {
            Some(reader.byte()?)
        } else {
            None
        };
        let payload = if header & 0x02 != 0 {
            let (size, bytes) =
                decode_leb128(reader.0).map_err(|_| Malformed("no size of an AV1 OBU"))?;
            reader.take(bytes)?;
            reader.take(usize::try_from(size).unwrap_or(usize::MAX))?
        } else {
            reader.0
        };
        if matches!(
            (header >> 3) & 0x0f,
            TEMPORAL_DELIMITER | TILE_LIST | PADDING
        ) {
            return Ok(());
        }
        self.data.push(header | 0x02);
        self.data.extend(extension);
        let mut size = payload.len();
        while size >= 0x80 {
            self.data.push(size as u8 | 0x80);
            size >>= 7;
        }
        self.data.push(size as u8);
        self.data.extend_from_slice(payload);
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<Whole, Malformed> {
        let data = std::mem::take(&mut self.data);
        if self.partial.take().is_some() {
            return Err(Malformed("an AV1 OBU without its end"));
        }
        let obus = parse_obus(&data, Av1ObuParseContext::Sample)
            .map_err(|_| Malformed("no AV1 OBUs in a temporal unit"))?;
        let mut config = None;
        if let Some(obu) = obus
            .iter()
            .find(|obu| obu.obu_type == Av1ObuType::SequenceHeader)
        {
            let sequence = parse_sequence_header(obu.payload)
                .map_err(|_| Malformed("no AV1 sequence header"))?;
            let new = Config::Av1 {
                sequence: Box::new(sequence),
                obu: obu.obu.to_vec(),
            };
            if !fits(&new) || new.sample_entry().is_err() {
                return Err(Malformed("an AV1 picture too large to decode"));
            }
            self.sequence = Some(sequence);
            config = Some(new);
        }
        let keyframe = config.is_some() && self.first_is_key(&obus);
        Ok(Whole {
            keyframe,
            config: config.filter(|_| keyframe),
            data,
            samples: 0,
            headless: false,
        })
    }

    fn first_is_key(&self, obus: &[Av1Obu<'_>]) -> bool {
        let (Some(sequence), Some(frame)) = (
            &self.sequence,
            obus.iter()
                .find(|obu| matches!(obu.obu_type, Av1ObuType::Frame | Av1ObuType::FrameHeader)),
        ) else {
            return false;
        };
        matches!(
            parse_frame_header_prefix(frame.payload, sequence),
            Ok(Av1FrameHeaderPrefix::NewFrame {
                frame_type: Av1FrameType::Key,
                ..
            })
        )
    }
}

//! Picture ids in VP8 (RFC 7741 §4.2) and VP9 (RFC 9628 §4.2) payload descriptors: reading them, and
//! writing others in their place.
//!
//! A receiver orders frames by these ids; after a switch to another source they must go on as if
//! nothing had happened.

use str0m::format::Codec;

/// Where the ids of one packet are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptor {
    pub(crate) picture: Option<PictureId>,
    pub(crate) tl0: Option<Tl0>,
}

/// A picture id and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PictureId {
    pub(crate) value: u16,
    /// Two bytes, 15 bits; else one byte, 7 bits.
    pub(crate) long: bool,
    offset: usize,
}

/// A TL0PICIDX and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tl0 {
    pub(crate) value: u8,
    offset: usize,
}

impl PictureId {
    /// The values it can take.
    pub(crate) fn mask(self) -> u16 {
        if self.long { 0x7fff } else { 0x7f }
    }
}

/// Reads the descriptor of a payload; `None` when the codec has none or it is torn.
pub(crate) fn parse(codec: Codec, payload: &[u8]) -> Option<Descriptor> {
    match codec {
        Codec::Vp8 => parse_vp8(payload),
        Codec::Vp9 => parse_vp9(payload),
        _ => None,
    }
}

fn parse_vp8(payload: &[u8]) -> Option<Descriptor> {
    let mut descriptor = Descriptor {
        picture: None,
        tl0: None,
    };
    if payload.first()? & 0x80 == 0 {
        return Some(descriptor);
    }
    let extension = payload.get(1)?;
    let mut offset = 2;
    if extension & 0x80 != 0 {
        descriptor.picture = Some(picture_id(payload, &mut offset)?);
    }
    if extension & 0x40 != 0 {
        descriptor.tl0 = Some(tl0(payload, offset)?);
    }
    Some(descriptor)
}

fn parse_vp9(payload: &[u8]) -> Option<Descriptor> {
    let first = payload.first()?;
    let mut descriptor = Descriptor {
        picture: None,
        tl0: None,
    };
    let mut offset = 1;
    if first & 0x80 != 0 {
        descriptor.picture = Some(picture_id(payload, &mut offset)?);
    }
    let layered = first & 0x20 != 0;
    let flexible = first & 0x10 != 0;
    if layered && !flexible {
        // One byte of layer indices precedes it.
        descriptor.tl0 = Some(tl0(payload, offset + 1)?);
    }
    Some(descriptor)
}

fn picture_id(payload: &[u8], offset: &mut usize) -> Option<PictureId> {
    let at = *offset;
    let high = *payload.get(at)?;
    let long = high & 0x80 != 0;
    let value = if long {
        u16::from_be_bytes([high & 0x7f, *payload.get(at + 1)?])
    } else {
        u16::from(high)
    };
    *offset += if long { 2 } else { 1 };
    Some(PictureId {
        value,
        long,
        offset: at,
    })
}

fn tl0(payload: &[u8], offset: usize) -> Option<Tl0> {
    Some(Tl0 {
        value: *payload.get(offset)?,
        offset,
    })
}

/// Ids to write instead of those in a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replacement {
    pub(crate) descriptor: Descriptor,
    pub(crate) picture: Option<u16>,
    pub(crate) tl0: Option<u8>,
}

impl Replacement {
    /// Writes them into a copy of the payload the descriptor was read from.
    pub(crate) fn apply(&self, payload: &mut [u8]) {
        if let (Some(place), Some(value)) = (self.descriptor.picture, self.picture) {
            let value = value & place.mask();
            let [high, low] = value.to_be_bytes();
            if place.long {
                if let Some(bytes) = payload.get_mut(place.offset..place.offset + 2) {
                    bytes.copy_from_slice(&[0x80 | high, low]);
                }
            } else if let Some(byte) = payload.get_mut(place.offset) {
                *byte = low;
            }
        }
        if let (Some(place), Some(value)) = (self.descriptor.tl0, self.tl0)
            && let Some(byte) = payload.get_mut(place.offset)
        {
            *byte = value;
        }
    }
}

#[cfg(test)]
#[path = "descriptor_tests.rs"]
mod tests;

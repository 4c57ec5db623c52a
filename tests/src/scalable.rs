//! A publisher of layers inside one stream, and a receiver that knows what it may get of them.
//!
//! Frames depend on each other as those of Chromium's encoders do (`L3T3`, `L3T3_KEY` and their like). Each says by
//! its body which one it is, so that a receiver can tell whether all that it depends on was there before it.

use rillway_core::id::{ParticipantId, TrackId};

use crate::payload::{self, Body, PayloadError};

pub mod descriptor;
pub mod receiver;

/// How layers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// By RFC 7741: temporal layers alone.
    Vp8,
    /// By RFC 9628, in flexible mode.
    Vp9,
    /// By the dependency descriptor.
    Av1,
}

/// A scalability mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// Codec.
    pub codec: Codec,
    /// Spatial layers, 1 to 3.
    pub spatials: u8,
    /// Temporal layers, 1 to 3.
    pub temporals: u8,
    /// Spatial layers depend on each other in keyframes alone.
    pub key: bool,
}

/// Sizes of spatial layers.
pub const SIZES: [(u16, u16); 3] = [(320, 180), (640, 360), (1_280, 720)];

/// A frame of one spatial layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Counts frames of all layers.
    pub number: u32,
    /// Counts pictures.
    pub picture: u32,
    /// Spatial index.
    pub spatial: u8,
    /// Temporal index.
    pub temporal: u8,
    /// Of a keyframe's picture.
    pub key: bool,
    /// Numbers of the frames that it depends on.
    pub needs: Vec<u32>,
    /// Pictures between it and the one that it depends on in time.
    pub back: Option<u32>,
    /// Of a higher temporal layer, and depends on the base layer alone.
    pub synced: bool,
    /// Base layer's frames so far, for TL0PICIDX.
    pub base: u8,
}

/// A packet to send.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Payload.
    pub payload: Vec<u8>,
    /// Marker bit.
    pub marker: bool,
    /// Dependency descriptor.
    pub dependency: Option<Vec<u8>>,
}

/// What a packet that came says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Labels {
    /// Which packet it is.
    pub body: Body,
    /// Picture id.
    pub picture: Option<u16>,
    /// TL0PICIDX.
    pub tl0: Option<u8>,
}

impl Mode {
    /// Temporal indices of a period, and how many pictures back each of its pictures depends on another.
    fn period(&self) -> &'static [(u8, u32)] {
        match self.temporals {
            1 => &[(0, 1)],
            2 => &[(0, 2), (1, 1)],
            _ => &[(0, 4), (2, 1), (1, 2), (2, 1)],
        }
    }

    /// Frames of all layers that a picture has, so many after its keyframe.
    fn frames(&self, since: u32) -> Vec<Frame> {
        let period = self.period();
        let (temporal, back) = period[since as usize % period.len()];
        let (key, spatials) = (since == 0, u32::from(self.spatials));
        let length = period.len() as u32;
        let before = period[((since + length - back % length) % length) as usize].0;
        let frames = (0..self.spatials).map(|spatial| {
            let number = since * spatials + u32::from(spatial);
            let mut needs = Vec::new();
            if !key {
                needs.push(number - back * spatials);
            }
            if spatial > 0 && (key || !self.key) {
                needs.push(number - 1);
            }
            Frame {
                number,
                picture: since,
                spatial,
                temporal,
                key,
                needs,
                back: (!key).then_some(back),
                synced: temporal > 0 && before == 0,
                base: 0,
            }
        });
        frames.collect()
    }
}

/// The publisher.
#[derive(Debug)]
pub struct Source {
    /// What it sends.
    pub mode: Mode,
    /// By number.
    pub frames: Vec<Frame>,
    forms: Vec<descriptor::Form>,
    since: u32,
    pictures: u32,
    packets: u32,
    base: u8,
}

impl Source {
    /// Nothing sent yet.
    pub fn new(mode: Mode) -> Self {
        Source {
            mode,
            frames: Vec::new(),
            forms: descriptor::forms(&mode),
            since: 0,
            pictures: 0,
            packets: 0,
            base: 0,
        }
    }

    /// The packets of the next picture; a keyframe if it is asked for or the first. `origin`: room, publisher and
    /// track.
    pub fn picture(
        &mut self,
        key: bool,
        origin: (u64, ParticipantId, TrackId),
        sent_micros: u64,
    ) -> Vec<Outgoing> {
        if key {
            self.since = 0;
        }
        let shift = self.frames.len() as u32;
        let mut packets = Vec::new();
        let frames = self.mode.frames(self.since);
        let from = frames[0].number;
        for mut frame in frames {
            let moved = |number: u32| (number + shift).wrapping_sub(from);
            frame.needs = frame.needs.into_iter().map(moved).collect();
            frame.number = moved(frame.number);
            frame.picture = self.pictures;
            if frame.temporal == 0 && frame.spatial == 0 {
                self.base = self.base.wrapping_add(1);
            }
            frame.base = self.base;
            self.send(&frame, origin, sent_micros, &mut packets);
            self.frames.push(frame);
        }
        self.since += 1;
        self.pictures += 1;
        packets
    }

    fn send(
        &mut self,
        frame: &Frame,
        (room, publisher, track): (u64, ParticipantId, TrackId),
        sent_micros: u64,
        packets: &mut Vec<Outgoing>,
    ) {
        let count = 1 + u16::from(frame.spatial) + u16::from(frame.key);
        for index in 0..count {
            let body = Body {
                room,
                publisher,
                track,
                sent_micros,
                sequence: self.packets,
                frame: frame.number,
                index,
                count,
                layer: frame.spatial << 4 | frame.temporal,
                keyframe: frame.key,
            };
            self.packets += 1;
            let (first, last) = (index == 0, index + 1 == count);
            let mut payload = Vec::new();
            let mut dependency = None;
            match self.mode.codec {
                Codec::Vp8 => vp8(&mut payload, frame, first),
                Codec::Vp9 => vp9(&mut payload, frame, self.mode, first, last),
                Codec::Av1 => {
                    payload.push(if frame.key && frame.spatial == 0 && first {
                        0x18
                    } else {
                        0x10
                    });
                    let told = descriptor::write(&self.forms, frame, &self.mode, first, last);
                    dependency = Some(told);
                }
            }
            payload::write_body(&mut payload, &body, 500 + 100 * usize::from(frame.spatial));
            packets.push(Outgoing {
                payload,
                marker: last && frame.spatial + 1 == self.mode.spatials,
                dependency,
            });
        }
    }
}

/// RFC 7741 §4.2, with every field, and a frame header where a frame begins.
fn vp8(out: &mut Vec<u8>, frame: &Frame, first: bool) {
    let [_, _, high, low] = frame.picture.to_be_bytes();
    let layer = frame.temporal << 6 | u8::from(frame.synced) << 5;
    out.extend([
        0x80 | u8::from(first) << 4,
        0xf0,
        high | 0x80,
        low,
        frame.base,
        layer,
    ]);
    if first {
        payload::write_frame_header(out, frame.key, SIZES[2]);
    }
}

/// RFC 9628 §4.2, in flexible mode; sizes with keyframes.
fn vp9(out: &mut Vec<u8>, frame: &Frame, mode: Mode, first: bool, last: bool) {
    let [_, _, high, low] = frame.picture.to_be_bytes();
    let (begins, ends) = (u8::from(first) << 3, u8::from(last) << 2);
    let sizes = frame.key && first && frame.spatial == 0;
    let predicted = u8::from(!frame.key) << 6;
    out.push(0x80 | predicted | 0x30 | begins | ends | u8::from(sizes) << 1);
    out.extend([high | 0x80, low]);
    let inside = frame.spatial > 0 && (frame.key || !mode.key);
    let point = frame.temporal < 2;
    out.push(frame.temporal << 5 | u8::from(point) << 4 | frame.spatial << 1 | u8::from(inside));
    if let Some(back) = frame.back {
        out.push((back as u8) << 1);
    }
    if sizes {
        out.push((mode.spatials - 1) << 5 | 0x10);
        for (width, height) in SIZES.iter().take(mode.spatials.into()) {
            out.extend(width.to_be_bytes());
            out.extend(height.to_be_bytes());
        }
    }
}

/// Reads a packet of [`Source`].
///
/// # Errors
/// [`PayloadError`] says what is wrong.
pub fn read(codec: Codec, data: &[u8]) -> Result<Labels, PayloadError> {
    let short = || PayloadError::Short(data.len());
    let at = |index: usize| data.get(index).copied().ok_or_else(short);
    let picture = |high: u8, low: u8| Some(u16::from_be_bytes([high & 0x7f, low]));
    let (mut picture_id, mut tl0) = (None, None);
    let body = match codec {
        Codec::Vp8 => {
            picture_id = picture(at(2)?, at(3)?);
            tl0 = Some(at(4)?);
            match at(0)? & 0x10 {
                0 => 6,
                _ if at(6)? & 1 == 0 => 6 + 10,
                _ => 6 + 3,
            }
        }
        Codec::Vp9 => {
            picture_id = picture(at(1)?, at(2)?);
            let mut body = 4 + usize::from(at(0)? >> 6 & 1);
            if at(0)? & 2 != 0 {
                body += 1 + 4 * (usize::from(at(body)? >> 5) + 1);
            }
            body
        }
        Codec::Av1 => 1,
    };
    Ok(Labels {
        body: payload::read_body(data.get(body..).ok_or_else(short)?)?,
        picture: picture_id,
        tl0,
    })
}

//! H.264, RFC 6184: single NAL units, STAP-A and FU-A, as packetization modes 0 and 1 have them.

use super::{Malformed, Reader, Whole};
use crate::media::frame::h264_config;

const SLICE: u8 = 1;
const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const FILLER: u8 = 12;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
/// Of each kind; encoders of calls have one.
const MAX_SETS: usize = 16;

/// One access unit, each NAL unit after its length in four bytes (ISO/IEC 14496-15). Parameter sets stay in
/// it: where they change in mid-stream, the sample description cannot.
#[derive(Debug, Default)]
pub(in crate::media) struct H264 {
    data: Vec<u8>,
    /// Where the length of a fragmented NAL unit stands, while more of it follows.
    fragment: Option<usize>,
    idr: bool,
    /// Those of this access unit, and of earlier ones: some senders send them once, ahead of the picture.
    sps: Vec<Vec<u8>>,
    pps: Vec<Vec<u8>>,
    sps_is_new: bool,
    /// Whether the first slice of this access unit is the first of its picture.
    begins_picture: Option<bool>,
    /// The last keyframe came with its parameter sets: one without has lost them, or its sender changed its mind.
    sets_with_idr: bool,
}

/// Whether a sequence parameter set or an IDR slice is at its beginning.
pub(super) fn begins_keyframe(payload: &[u8]) -> bool {
    let kind = |byte: Option<&u8>| byte.map_or(0, |byte| byte & 0x1f);
    match kind(payload.first()) {
        STAP_A => matches!(kind(payload.get(3)), SPS | IDR) || kind(payload.get(3)) == DELIMITER,
        FU_A => payload
            .get(1)
            .is_some_and(|byte| byte & 0x80 != 0 && byte & 0x1f == IDR),
        other => matches!(other, SPS | IDR),
    }
}

impl H264 {
    pub(super) fn reset(&mut self) {
        self.data.clear();
        self.fragment = None;
        self.idr = false;
        self.sps_is_new = false;
        self.begins_picture = None;
    }

    pub(super) fn push(&mut self, payload: &[u8]) -> Result<usize, Malformed> {
        let mut reader = Reader(payload);
        let indicator = reader.byte()?;
        let kind = indicator & 0x1f;
        if self.fragment.is_some() && kind != FU_A {
            return Err(Malformed("an H.264 NAL unit without its end"));
        }
        match kind {
            1..=23 => self.unit(payload),
            STAP_A => {
                while !reader.0.is_empty() {
                    let length = u16::from_be_bytes([reader.byte()?, reader.byte()?]);
                    self.unit(reader.take(usize::from(length))?);
                }
            }
            FU_A => {
                let header = reader.byte()?;
                self.fragment(indicator, header, reader.0)?;
            }
            _ => return Err(Malformed("an H.264 payload of another packetization mode")),
        }
        Ok(self.data.len())
    }

    /// RFC 6184 §5.8.
    fn fragment(&mut self, indicator: u8, header: u8, rest: &[u8]) -> Result<(), Malformed> {
        if (header & 0x80 != 0) == self.fragment.is_some() {
            return Err(Malformed("an H.264 NAL unit without its beginning or end"));
        }
        let at = *self.fragment.get_or_insert_with(|| {
            let at = self.data.len();
            self.data
                .extend_from_slice(&[0, 0, 0, 0, (indicator & 0xe0) | (header & 0x1f)]);
            at
        });
        self.data.extend_from_slice(rest);
        if header & 0x40 != 0 {
            self.fragment = None;
            let unit = self.data.split_off(at);
            self.unit(unit.get(4..).unwrap_or_default());
        }
        Ok(())
    }

    fn unit(&mut self, unit: &[u8]) {
        let Some(kind) = unit.first().map(|byte| byte & 0x1f) else {
            return;
        };
        if matches!(kind, SLICE | IDR) {
            // §7.3.3: `first_mb_in_slice`, 0 as one bit.
            let first = unit.get(1).is_some_and(|byte| byte & 0x80 != 0);
            self.begins_picture.get_or_insert(first);
        }
        match kind {
            // ISO/IEC 14496-15 §5.3.2: neither belongs into a sample.
            DELIMITER | FILLER => return,
            IDR => self.idr = true,
            SPS => {
                // The first one of an access unit makes void what was known; picture parameter sets follow.
                if !self.sps_is_new {
                    self.sps.clear();
                    self.pps.clear();
                }
                self.sps_is_new = true;
                remember(&mut self.sps, unit);
            }
            PPS => remember(&mut self.pps, unit),
            _ => {}
        }
        self.data
            .extend_from_slice(&u32::try_from(unit.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.data.extend_from_slice(unit);
    }

    pub(super) fn finish(&mut self) -> Result<Whole, Malformed> {
        let data = std::mem::take(&mut self.data);
        let keyframe = self.idr;
        let whole = self.fragment.is_none();
        let has_sets = self.sps_is_new;
        let headless = self.begins_picture != Some(true) || (self.sets_with_idr && !has_sets);
        self.reset();
        if !whole {
            return Err(Malformed("an H.264 NAL unit without its end"));
        }
        if data.is_empty() {
            return Err(Malformed("an H.264 access unit without a NAL unit"));
        }
        let config = if keyframe {
            let config =
                h264_config(&self.sps, &self.pps).filter(|config| config.sample_entry().is_ok());
            self.sets_with_idr = has_sets;
            Some(config.ok_or(Malformed(
                "an H.264 keyframe without parameter sets that can be decoded",
            ))?)
        } else {
            None
        };
        Ok(Whole {
            data,
            keyframe,
            config,
            samples: 0,
            headless,
        })
    }
}

fn remember(sets: &mut Vec<Vec<u8>>, set: &[u8]) {
    if sets.len() < MAX_SETS && !sets.iter().any(|known| known == set) {
        sets.push(set.to_vec());
    }
}

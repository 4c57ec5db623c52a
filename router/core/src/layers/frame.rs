//! Which layer of its stream a packet belongs to, and where one may go on with more layers.

use str0m::format::Codec;

use super::dependency::{Described, Needs};

/// Spatial layers of a stream, and temporal ones, that are told apart; what is above the last belongs to it.
pub(crate) const LEVELS: usize = 4;

/// Spatial and temporal index, of one frame, or the highest of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Level {
    pub(crate) spatial: u8,
    pub(crate) temporal: u8,
}

impl Level {
    /// Every layer.
    pub(crate) const ALL: Level = Level {
        spatial: LEVELS as u8 - 1,
        temporal: LEVELS as u8 - 1,
    };

    /// With indices that are told apart.
    pub(crate) fn new(spatial: u8, temporal: u8) -> Self {
        Level {
            spatial: spatial.min(Level::ALL.spatial),
            temporal: temporal.min(Level::ALL.temporal),
        }
    }

    /// Whether a frame of this level is among those up to another.
    pub(crate) fn is_within(self, most: Level) -> bool {
        self.spatial <= most.spatial && self.temporal <= most.temporal
    }

    /// The lower of both indices.
    pub(crate) fn least(self, other: Level) -> Level {
        Level {
            spatial: self.spatial.min(other.spatial),
            temporal: self.temporal.min(other.temporal),
        }
    }
}

/// The frame of a packet, of one spatial layer of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) level: Level,
    /// The packet is its first.
    pub(crate) starts: bool,
    /// The packet is its last.
    pub(crate) ends: bool,
    pub(crate) up: Up,
}

/// Whether more temporal layers may follow, as codecs say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Up {
    /// VP8's Y: the frame depends on those of the base layer alone (RFC 7741 §4.2).
    Synced(bool),
    /// VP9's U: no later picture of a higher layer depends on one before this picture above its layer
    /// (RFC 9628 §4.2).
    Point(bool),
    /// What the dependency descriptor says.
    Described {
        number: u16,
        needs: Needs,
        switch: [u8; LEVELS],
    },
}

/// What a payload says of its frame; `None`: nothing, so it has no layers that could be told apart.
pub(crate) fn read(codec: Codec, payload: &[u8], marker: bool) -> Option<Frame> {
    match codec {
        Codec::Vp8 => vp8(payload, marker),
        Codec::Vp9 => vp9(payload),
        _ => None,
    }
}

/// RFC 7741 §4.2.
fn vp8(payload: &[u8], marker: bool) -> Option<Frame> {
    let (first, extension) = (*payload.first()?, *payload.get(1)?);
    if first & 0x80 == 0 || extension & 0x20 == 0 {
        return None;
    }
    let mut at = 2;
    if extension & 0x80 != 0 {
        at += width(*payload.get(at)?);
    }
    at += usize::from(extension & 0x40 != 0);
    let layer = *payload.get(at)?;
    Some(Frame {
        level: Level::new(0, layer >> 6),
        starts: first & 0x17 == 0x10,
        ends: marker,
        up: Up::Synced(layer & 0x20 != 0),
    })
}

/// RFC 9628 §4.2.
fn vp9(payload: &[u8]) -> Option<Frame> {
    let first = *payload.first()?;
    if first & 0x20 == 0 {
        return None;
    }
    let mut at = 1;
    if first & 0x80 != 0 {
        at += width(*payload.get(at)?);
    }
    let layer = *payload.get(at)?;
    Some(Frame {
        level: Level::new(layer >> 1 & 7, layer >> 5),
        starts: first & 0x08 != 0,
        ends: first & 0x04 != 0,
        up: Up::Point(layer & 0x10 != 0),
    })
}

/// Bytes of a picture id that begins with this one.
fn width(first: u8) -> usize {
    1 + usize::from(first >> 7)
}

impl Frame {
    /// Its number in the dependency descriptor.
    pub(crate) fn number(&self) -> Option<u16> {
        match self.up {
            Up::Described { number, .. } => Some(number),
            _ => None,
        }
    }

    /// By the dependency descriptor.
    pub(crate) fn described(by: &Described) -> Self {
        Frame {
            level: Level::new(by.spatial, by.temporal),
            starts: by.starts,
            ends: by.ends,
            up: Up::Described {
                number: by.number,
                needs: by.needs,
                switch: by.switch,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(level: (u8, u8), starts: bool, ends: bool, up: Up) -> Option<Frame> {
        let level = Level::new(level.0, level.1);
        Some(Frame {
            level,
            starts,
            ends,
            up,
        })
    }

    #[test]
    fn vp8_descriptors_tell_temporal_layers() {
        let cases: [(&[u8], Option<Frame>); 7] = [
            (&[0x10, 0xaa], None),
            (&[0x90, 0x80, 0x7f, 0xaa], None),
            (
                &[0x90, 0xe0, 0x81, 0x02, 9, 0x60],
                frame((0, 1), true, true, Up::Synced(true)),
            ),
            (
                &[0x90, 0xa0, 0x02, 0x80],
                frame((0, 2), true, true, Up::Synced(false)),
            ),
            (
                &[0x80, 0x20, 0xc0],
                frame((0, 3), false, true, Up::Synced(false)),
            ),
            // The second partition begins no frame.
            (
                &[0x91, 0x20, 0x00],
                frame((0, 0), false, true, Up::Synced(false)),
            ),
            (&[0x90, 0xe0, 0x81, 0x02, 9], None),
        ];
        for (payload, expected) in cases {
            let found = read(Codec::Vp8, payload, true);
            assert_eq!(found, expected, "{payload:x?}");
        }
    }

    #[test]
    fn vp9_descriptors_tell_both() {
        let cases: [(&[u8], Option<Frame>); 5] = [
            (&[0x8c, 0x05, 0xaa], None),
            // Temporal 1, a place to switch up at; spatial 2, predicted from 1.
            (
                &[0xa8, 0x81, 0x02, 0x35, 77, 0xaa],
                frame((2, 1), true, false, Up::Point(true)),
            ),
            (
                &[0xf4, 0x05, 0x42, 0x02],
                frame((1, 2), false, true, Up::Point(false)),
            ),
            // More layers than are told apart.
            (
                &[0x2c, 0xee, 1],
                frame((3, 3), true, true, Up::Point(false)),
            ),
            (&[0xa8, 0x81, 0x02], None),
        ];
        for (payload, expected) in cases {
            let found = read(Codec::Vp9, payload, false);
            assert_eq!(found, expected, "{payload:x?}");
        }
    }

    #[test]
    fn a_level_is_within_another_by_both_its_indices() {
        let level = Level::new;
        assert!(level(1, 1).is_within(level(1, 2)));
        assert!(!level(2, 0).is_within(level(1, 2)));
        assert!(!level(0, 3).is_within(level(1, 2)));
        assert_eq!(level(2, 1).least(level(1, 2)), level(1, 1));
        assert_eq!(level(9, 9), Level::ALL);
    }
}

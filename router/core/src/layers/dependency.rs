//! The dependency descriptor (AV1 RTP payload specification, appendix A): which frame a packet belongs to, what that
//! frame depends on, and for whom it is. It is a header extension, so it serves any codec, and payloads that are
//! encrypted from end to end.
//!
//! A keyframe brings templates, which later packets refer to: they are kept with each stream.

use super::bits::Bits;

/// Where the extension is negotiated.
pub(crate) const URI: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

/// Longest descriptor: what the two-byte form of an extension holds (RFC 8285 §4.3).
pub(crate) const BYTES_MOST: usize = 255;

/// Templates of a structure, and numbers that they go by (A.8.3).
const TEMPLATES: usize = 64;

/// Decode targets of a structure (A.8.3).
const TARGETS: usize = 32;

/// Spatial layers (A.8.3).
const SPATIALS: usize = 4;

/// Temporal layers (A.8.3).
const TEMPORALS: u8 = 8;

/// Frames that one may depend on and that are looked for.
const DIFFS: u32 = 128;

/// Indications of a frame for decode targets, two bits each, the first lowest.
type Indications = u64;

/// The frame is a place to switch to the target at.
const SWITCH: u64 = 2;

/// Of the frames that look alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Template {
    spatial: u8,
    temporal: u8,
    indications: Indications,
    /// Bit n: it depends on the frame n + 1 before it.
    depends: u128,
}

/// What a keyframe says of all frames up to the next one that says it anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Structure {
    /// Number of the first template.
    first: u8,
    targets: u8,
    chains: u8,
    templates: Vec<Template>,
    /// Highest spatial and temporal index of each decode target.
    levels: [(u8, u8); TARGETS],
    /// Pixels of each spatial layer, where told.
    pub(crate) sizes: [Option<(u16, u16)>; SPATIALS],
}

/// What a packet says of its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) starts: bool,
    pub(crate) ends: bool,
    /// Of the frame; each frame of a picture's layers has its own.
    pub(crate) number: u16,
    pub(crate) spatial: u8,
    pub(crate) temporal: u8,
    pub(crate) needs: Needs,
    /// Bit t of the byte of a spatial index: who has the frame may go on with that spatial and temporal index.
    pub(crate) switch: [u8; SPATIALS],
    /// A keyframe's.
    pub(crate) structure: Option<Structure>,
}

/// The frames that a frame depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Needs {
    /// Bit n: the frame n + 1 before it.
    pub(crate) near: u128,
    /// And one further back than is looked for.
    pub(crate) far: bool,
}

/// The number of a packet's frame: all that is written anew.
pub(crate) fn number(bytes: &[u8]) -> Option<u16> {
    let [high, low] = *bytes.get(1..3)?.first_chunk()?;
    Some(u16::from_be_bytes([high, low]))
}

/// Writes another number into a copy of the descriptor.
pub(crate) fn renumber(bytes: &mut [u8], number: u16) {
    if let Some(place) = bytes.get_mut(1..3) {
        place.copy_from_slice(&number.to_be_bytes());
    }
}

/// Reads a descriptor (A.8.2). `None`: it is torn, or of another structure than the one known.
pub(crate) fn read(bytes: &[u8], known: Option<&Structure>) -> Option<Described> {
    let mut bits = Bits::new(bytes);
    let starts = bits.flag()?;
    let ends = bits.flag()?;
    let template = bits.take(6)? as u8;
    let number = bits.take(16)? as u16;
    let extended = bytes.len() > 3;
    let mut flag = || if extended { bits.flag() } else { Some(false) };
    let (present, active, dtis) = (flag()?, flag()?, flag()?);
    let (fdiffs, chains) = (flag()?, flag()?);
    let structure = match present {
        true => Some(Structure::read(&mut bits)?),
        false => None,
    };
    let by = structure.as_ref().or(known)?;
    if active {
        bits.take(by.targets)?;
    }
    let template = by.template(template)?;
    let indications = match dtis {
        true => indications(&mut bits, by.targets)?,
        false => template.indications,
    };
    let needs = match fdiffs {
        true => custom_needs(&mut bits)?,
        false => Needs {
            near: template.depends,
            far: false,
        },
    };
    if chains {
        for _ in 0..by.chains {
            bits.take(8)?;
        }
    }
    Some(Described {
        starts,
        ends,
        number,
        spatial: template.spatial,
        temporal: template.temporal,
        needs,
        switch: by.switches(indications),
        structure,
    })
}

impl Structure {
    /// A.8.2, `template_dependency_structure`.
    fn read(bits: &mut Bits<'_>) -> Option<Self> {
        let first = bits.take(6)? as u8;
        let targets = bits.take(5)? as u8 + 1;
        let mut structure = Structure {
            first,
            targets,
            chains: 0,
            templates: layers(bits)?,
            levels: [(0, 0); TARGETS],
            sizes: [None; SPATIALS],
        };
        for template in &mut structure.templates {
            template.indications = indications(bits, targets)?;
        }
        for template in &mut structure.templates {
            while bits.flag()? {
                template.depends |= 1 << bits.take(4)?;
            }
        }
        structure.chains = bits.non_symmetric(u32::from(targets) + 1)? as u8;
        if structure.chains > 0 {
            for _ in 0..targets {
                bits.non_symmetric(structure.chains.into())?;
            }
            for _ in 0..structure.templates.len() {
                for _ in 0..structure.chains {
                    bits.take(4)?;
                }
            }
        }
        if bits.flag()? {
            // Templates are in order of their layers.
            let highest = structure.templates.last()?.spatial;
            for size in structure.sizes.iter_mut().take(usize::from(highest) + 1) {
                let (width, height) = (bits.take(16)? as u16, bits.take(16)? as u16);
                *size = Some((width.saturating_add(1), height.saturating_add(1)));
            }
        }
        structure.level();
        Some(structure)
    }

    /// The level of a decode target is that of its highest frames (A.8.3).
    fn level(&mut self) {
        for (target, level) in self.levels.iter_mut().enumerate() {
            for template in &self.templates {
                if template.indications >> (2 * target) & 3 != 0 {
                    level.0 = level.0.max(template.spatial);
                    level.1 = level.1.max(template.temporal);
                }
            }
        }
    }

    fn template(&self, number: u8) -> Option<Template> {
        let index = (usize::from(number) + TEMPLATES - usize::from(self.first)) % TEMPLATES;
        self.templates.get(index).copied()
    }

    fn switches(&self, indications: Indications) -> [u8; SPATIALS] {
        let mut switch = [0; SPATIALS];
        let targets = self.levels.iter().take(self.targets.into()).enumerate();
        for (target, (spatial, temporal)) in targets {
            if indications >> (2 * target) & 3 == SWITCH
                && let Some(temporals) = switch.get_mut(usize::from(*spatial))
            {
                *temporals |= 1 << temporal;
            }
        }
        switch
    }
}

/// `template_layers`: at most [`TEMPLATES`].
fn layers(bits: &mut Bits<'_>) -> Option<Vec<Template>> {
    let mut templates = Vec::new();
    let (mut spatial, mut temporal) = (0, 0);
    loop {
        if templates.len() == TEMPLATES {
            return None;
        }
        templates.push(Template {
            spatial,
            temporal,
            indications: 0,
            depends: 0,
        });
        match bits.take(2)? {
            0 => {}
            1 => temporal += 1,
            2 => (spatial, temporal) = (spatial + 1, 0),
            _ => return Some(templates),
        }
        if temporal >= TEMPORALS || usize::from(spatial) >= SPATIALS {
            return None;
        }
    }
}

fn indications(bits: &mut Bits<'_>, targets: u8) -> Option<Indications> {
    let mut all = 0;
    for target in 0..targets {
        all |= u64::from(bits.take(2)?) << (2 * target);
    }
    Some(all)
}

/// `frame_fdiffs`.
fn custom_needs(bits: &mut Bits<'_>) -> Option<Needs> {
    let mut needs = Needs::default();
    loop {
        let size = bits.take(2)? as u8;
        if size == 0 {
            return Some(needs);
        }
        let before = bits.take(4 * size)?;
        if before < DIFFS {
            needs.near |= 1 << before;
        } else {
            needs.far = true;
        }
    }
}

#[cfg(test)]
#[path = "dependency_tests.rs"]
pub(crate) mod tests;

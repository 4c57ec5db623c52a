//! What can be had of a track, and what it costs.

use super::Subscription;
use crate::types::{Layer, Track};

/// A picture to be had: a layer, and what is forwarded with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rung {
    /// Spatial index.
    pub spatial: u8,
    /// Temporal index.
    pub temporal: u8,
    /// Pixels; 0 = not known.
    pub width: u16,
    /// Pixels; 0 = not known.
    pub height: u16,
    /// Frames per second; 0 = not known.
    pub fps: u16,
    /// Of everything that is forwarded for it, bits per second.
    pub bps: u64,
}

/// Everything that is sent of a track now, by spatial, then temporal index.
#[derive(Debug, Clone, Default)]
pub struct Ladder {
    rungs: Vec<Rung>,
}

/// Steps one subscription may take, smallest first. Codecs have at most four spatial and four temporal
/// layers; of more than fit, the largest are left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Steps {
    rungs: [Rung; 8],
    len: usize,
}

impl Steps {
    /// All, smallest first.
    #[must_use]
    pub fn all(&self) -> &[Rung] {
        self.rungs.get(..self.len).unwrap_or_default()
    }

    /// Those of the smallest picture.
    #[must_use]
    pub fn smallest(&self) -> Steps {
        let all = self.all();
        let smallest = all.chunk_by(|a, b| a.spatial == b.spatial).next();
        let mut steps = Steps::default();
        for rung in smallest.unwrap_or_default() {
            steps.push(*rung);
        }
        steps
    }

    fn push(&mut self, rung: Rung) {
        if let Some(slot) = self.rungs.get_mut(self.len) {
            *slot = rung;
            self.len += 1;
        }
    }
}

impl Ladder {
    /// Of a track as measured: what is active of it. A muted one has nothing.
    #[must_use]
    pub fn of(track: &Track) -> Self {
        if track.muted {
            return Ladder::default();
        }
        let mut layers: Vec<&Layer> = track.layers.iter().filter(|l| l.active).collect();
        layers.sort_by_key(|layer| (layer.spatial, layer.temporal));
        let rungs = layers.iter().map(|top| Rung {
            spatial: top.spatial,
            temporal: top.temporal,
            width: top.width,
            height: top.height,
            fps: top.fps,
            bps: cost(&layers, top),
        });
        Ladder {
            rungs: rungs.collect(),
        }
    }

    /// Whether nothing comes of the track.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rungs.is_empty()
    }

    /// What the router forwards where a layer is chosen: that one, or the next lower one that is sent.
    #[must_use]
    pub fn at_most(&self, spatial: u8, temporal: u8) -> Option<&Rung> {
        let at_most = |rung: &&Rung| (rung.spatial, rung.temporal) <= (spatial, temporal);
        self.rungs.iter().rev().find(at_most)
    }

    /// The steps that make sense for a wish: of the smallest picture first few, then more frames; then
    /// larger pictures, up to the first that fills the tile.
    #[must_use]
    pub fn steps(&self, wish: &Subscription) -> Steps {
        let mut steps = Steps::default();
        let sized = wish.width != 0 || wish.height != 0;
        let sizes = self.rungs.chunk_by(|a, b| a.spatial == b.spatial);
        for (index, frames) in sizes.enumerate() {
            let smooth = |rung: &Rung| wish.fps != 0 && rung.fps >= wish.fps;
            let enough = frames.iter().position(smooth);
            let enough = enough.unwrap_or(frames.len() - 1);
            let first = if index == 0 { 0 } else { enough };
            for rung in frames.get(first..=enough).unwrap_or_default() {
                steps.push(*rung);
            }
            let fills = |rung: &Rung| rung.width >= wish.width && rung.height >= wish.height;
            if sized && frames.first().is_some_and(fills) {
                break;
            }
        }
        steps
    }
}

/// What is forwarded for a layer to be seen: its lower temporal layers, and, where layers are not streams
/// of their own (SVC: no rid), its lower spatial ones.
fn cost(layers: &[&Layer], top: &Layer) -> u64 {
    let needed = layers.iter().filter(|layer| {
        let below = layer.spatial < top.spatial && top.rid.is_none();
        layer.temporal <= top.temporal && (layer.spatial == top.spatial || below)
    });
    needed.map(|layer| u64::from(layer.bitrate_bps)).sum()
}

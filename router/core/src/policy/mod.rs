//! Which layer a subscriber gets. Decisions name a layer; the shard checks that it exists and switches
//! to it only at a keyframe.
//!
//! Three steps: the room's policy wants a layer (the built-in one below, or one outside the core whose
//! last choice is kept with the subscription); [`allocate`] fits what is wanted into the estimate of the
//! subscriber's network, if there is one; the shard switches. See `shard/layers.rs`.

pub(crate) mod allocate;
pub(crate) mod external;

use crate::api::Wish;
use crate::limits::LAYERS_PER_TRACK;

/// A layer as a policy sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LayerView {
    /// Packets arrived lately.
    pub(crate) active: bool,
    /// Pixels, where known.
    pub(crate) size: Option<(u16, u16)>,
    /// Bits per second over the last second.
    pub(crate) bps: u32,
}

/// The layers of a track, smallest first: a copy, so that nothing is borrowed or allocated meanwhile.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Views {
    layers: [LayerView; LAYERS_PER_TRACK],
    len: usize,
}

impl Views {
    /// Takes as many as fit.
    pub(crate) fn collect(from: impl Iterator<Item = LayerView>) -> Self {
        let mut views = Views::default();
        for (slot, layer) in views.layers.iter_mut().zip(from) {
            *slot = layer;
            views.len += 1;
        }
        views
    }

    /// All.
    pub(crate) fn all(&self) -> &[LayerView] {
        self.layers.get(..self.len).unwrap_or_default()
    }

    /// The active layer at or next below an index; failing that, the smallest active one.
    pub(crate) fn active_at_most(&self, index: usize) -> Option<usize> {
        let active = |index: &usize| self.layers.get(*index).is_some_and(|l| l.active);
        let end = self.len.min(index.saturating_add(1));
        (0..end)
            .rev()
            .find(active)
            .or_else(|| (end..self.len).find(active))
    }

    /// Bits per second of a layer.
    pub(crate) fn bps(&self, index: usize) -> u64 {
        self.all().get(index).map_or(0, |l| l.bps.into())
    }
}

/// The built-in policy: the smallest active layer that fills the size it is shown at, or else the
/// largest active one. `None`: none is active.
pub(crate) fn built_in(views: &Views, wish: &Wish) -> Option<usize> {
    let layers = views.all();
    let active = || layers.iter().enumerate().filter(|(_, layer)| layer.active);
    let fills = |layer: &LayerView| {
        layer
            .size
            .is_some_and(|(width, height)| width >= wish.width && height >= wish.height)
    };
    let largest = active().next_back().map(|(index, _)| index);
    if wish.width == 0 && wish.height == 0 {
        return largest;
    }
    active()
        .find(|(_, layer)| fills(layer))
        .map(|(index, _)| index)
        .or(largest)
}

#[cfg(test)]
mod tests;

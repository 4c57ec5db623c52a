//! Which layer a subscriber gets. Decisions name a layer; the shard checks that it exists and switches
//! to it only at a keyframe.

use crate::api::Wish;

/// A layer as a policy sees it, smallest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LayerView {
    /// Packets arrived lately.
    pub(crate) active: bool,
    /// Pixels, where known.
    pub(crate) size: Option<(u16, u16)>,
}

/// Chooses layers.
pub(crate) trait Policy {
    /// The index of the layer to forward; `None`: leave it as it is.
    fn choose(&self, layers: &[LayerView], wish: &Wish) -> Option<usize>;
}

/// Needs nothing but what the core measures: the smallest active layer that fills the size it is shown
/// at, or else the largest active one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BuiltIn;

impl Policy for BuiltIn {
    fn choose(&self, layers: &[LayerView], wish: &Wish) -> Option<usize> {
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
}

#[cfg(test)]
mod tests;

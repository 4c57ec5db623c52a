//! Which layer a subscriber gets. Decisions name a layer; the shard checks that it exists and switches
//! to it only at a keyframe.
//!
//! Three steps: the room's policy wants a layer (the built-in one below, or one outside the core whose
//! last choice is kept with the subscription); [`allocate`] fits what is wanted into the estimate of the
//! subscriber's network, if there is one; the shard switches. See `shard/layers.rs`.

pub(crate) mod allocate;
pub(crate) mod external;

use crate::api::Wish;
use crate::layers::frame::{LEVELS, Level};
use crate::limits::LAYERS_PER_TRACK;

/// A picture size as a policy sees it: a stream of its own, or a spatial layer inside one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LayerView {
    /// Packets arrived lately.
    pub(crate) active: bool,
    /// Pixels, where known.
    pub(crate) size: Option<(u16, u16)>,
    /// By temporal index.
    pub(crate) rates: [Rate; LEVELS],
    /// The highest temporal index that is active.
    pub(crate) temporal: u8,
}

/// What is forwarded for a layer, the ones below it included, over the last second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rate {
    /// Bits per second.
    pub(crate) bps: u32,
    /// Frames per second.
    pub(crate) fps: u16,
}

impl LayerView {
    /// A stream without temporal layers.
    pub(crate) fn whole(active: bool, size: Option<(u16, u16)>, rate: Rate) -> Self {
        LayerView {
            active,
            size,
            rates: [rate; LEVELS],
            temporal: 0,
        }
    }

    /// What is forwarded up to a temporal index.
    pub(crate) fn rate(&self, temporal: u8) -> Rate {
        let temporal = temporal.min(self.temporal);
        let rate = self.rates.get(usize::from(temporal));
        rate.copied().unwrap_or_default()
    }

    /// The lowest temporal index of this many frames per second at least, or else the highest; 0: any.
    fn smooth(&self, fps: u16) -> u8 {
        // What is measured wavers by one.
        let enough = |temporal: &u8| fps != 0 && self.rate(*temporal).fps.saturating_add(1) >= fps;
        (0..=self.temporal).find(enough).unwrap_or(self.temporal)
    }
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

    /// The active layer at or next below this one; failing that, the smallest active one.
    pub(crate) fn active_at_most(&self, most: Level) -> Option<Level> {
        let active = |index: &usize| self.layers.get(*index).is_some_and(|l| l.active);
        let end = self.len.min(usize::from(most.spatial).saturating_add(1));
        let index = (0..end)
            .rev()
            .find(active)
            .or_else(|| (end..self.len).find(active))?;
        let highest = self.layers.get(index)?.temporal;
        Some(Level::new(index as u8, most.temporal.min(highest)))
    }

    /// Bits per second of what is forwarded for a layer.
    pub(crate) fn bps(&self, level: Level) -> u64 {
        let layer = self.all().get(usize::from(level.spatial));
        layer.map_or(0, |l| l.rate(level.temporal).bps.into())
    }

    /// The next step up from a layer, or to the first, within what is wanted: of the smallest picture first few
    /// frames, then more; of larger ones at least every other of those wanted.
    pub(crate) fn step(&self, from: Option<Level>, wanted: Level) -> Option<Level> {
        let active = || (0..).zip(self.all()).filter(|(_, layer)| layer.active);
        let (smallest, _) = active().next()?;
        let steps = active().flat_map(|(spatial, layer)| {
            let highest = layer.temporal.min(wanted.temporal);
            let lowest = match spatial == smallest {
                true => 0,
                false => highest.saturating_sub(1),
            };
            (lowest..=highest).map(move |temporal| Level::new(spatial, temporal))
        });
        let mut steps = steps.filter(|step| step.spatial <= wanted.spatial);
        steps.find(|step| from.is_none_or(|from| *step > from))
    }
}

/// The built-in policy: the smallest active layer that fills the size it is shown at, or else the
/// largest active one, with as many frames as are wished. `None`: none is active.
pub(crate) fn built_in(views: &Views, wish: &Wish) -> Option<Level> {
    let active = || (0..).zip(views.all()).filter(|(_, layer)| layer.active);
    let fills = |layer: &LayerView| {
        layer
            .size
            .is_some_and(|(width, height)| width >= wish.width && height >= wish.height)
    };
    let largest = active().last();
    let sized = wish.width != 0 || wish.height != 0;
    let filling = active().find(|(_, layer)| sized && fills(layer));
    let (spatial, layer) = filling.or(largest)?;
    Some(Level::new(spatial, layer.smooth(wish.fps)))
}

#[cfg(test)]
mod tests;

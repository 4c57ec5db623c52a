//! A stream as policies and clients see it: by what is measured of the layers inside.

use std::time::Instant;

use super::frame::Level;
use super::levels::Share;
use super::{Layer, Levels};
use crate::api::LayerInfo;
use crate::policy::{LayerView, Rate};

impl Layer {
    /// As one size of picture.
    pub(crate) fn view(&self, now: Instant) -> LayerView {
        let whole = Rate {
            bps: self.measured_bps(),
            fps: self.measured_fps(),
        };
        let mut view = LayerView::whole(self.is_active(now), self.size, whole);
        if let Some(levels) = &self.levels {
            fill(&mut view, now, levels, levels.top().spatial);
            if let Some(highest) = view.rates.get_mut(usize::from(view.temporal)) {
                *highest = whole;
            }
        }
        view
    }

    /// One of the spatial layers inside, with what is below it.
    pub(crate) fn view_inside(&self, now: Instant, spatial: u8) -> LayerView {
        let mut view = LayerView {
            size: self.size_of(spatial),
            ..LayerView::default()
        };
        if let Some(levels) = &self.levels {
            fill(&mut view, now, levels, spatial);
        }
        view
    }

    /// What others see: as one spatial index, or, where it is the track's only stream, as many as are inside.
    pub(crate) fn inform(
        &self,
        now: Instant,
        spatial: u8,
        lone: bool,
        layers: &mut Vec<LayerInfo>,
    ) {
        let rid = || self.rid.map(|rid| rid.to_string());
        let Some(levels) = &self.levels else {
            let (width, height) = self.size.unwrap_or_default();
            layers.push(LayerInfo {
                spatial,
                temporal: 0,
                rid: rid(),
                width,
                height,
                fps: self.measured_fps(),
                bitrate_bps: self.measured_bps(),
                active: self.is_active(now),
            });
            return;
        };
        let top = levels.top();
        let scalable = lone && top.spatial > 0;
        for shown in 0..=(if scalable { top.spatial } else { 0 }) {
            let size = if scalable {
                self.size_of(shown)
            } else {
                self.size
            };
            let (width, height) = size.unwrap_or_default();
            let mut fps = 0_u16;
            for temporal in 0..=top.temporal {
                let share = if scalable {
                    levels.share(
                        now,
                        Level {
                            spatial: shown,
                            temporal,
                        },
                    )
                } else {
                    across(levels, now, top.spatial, temporal)
                };
                fps = fps.saturating_add(share.fps);
                layers.push(LayerInfo {
                    spatial: if scalable { shown } else { spatial },
                    temporal,
                    // Streams of their own have one.
                    rid: rid().filter(|_| !scalable),
                    width,
                    height,
                    fps,
                    bitrate_bps: share.bps,
                    active: share.active,
                });
            }
        }
    }
}

/// What a temporal index adds in all spatial ones together: a picture of several counts once.
fn across(levels: &Levels, now: Instant, top: u8, temporal: u8) -> Share {
    let mut all = Share::default();
    for spatial in 0..=top {
        let share = levels.share(now, Level { spatial, temporal });
        all.active |= share.active;
        all.bps = all.bps.saturating_add(share.bps);
        all.fps = all.fps.max(share.fps);
    }
    all
}

/// What is forwarded for a spatial index, and whether it is there.
fn fill(view: &mut LayerView, now: Instant, levels: &Levels, spatial: u8) {
    let mut sum = Rate::default();
    for (temporal, rate) in (0..).zip(&mut view.rates) {
        let own = levels.share(now, Level { spatial, temporal });
        let all = across(levels, now, spatial, temporal);
        if own.active {
            view.active = true;
            view.temporal = temporal;
        }
        sum.bps = sum.bps.saturating_add(all.bps);
        sum.fps = sum.fps.saturating_add(own.fps);
        *rate = sum;
    }
}

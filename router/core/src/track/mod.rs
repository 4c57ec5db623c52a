//! Published tracks.

pub(crate) mod level;

use std::time::Instant;

use str0m::format::{Codec, PayloadParams};
use str0m::media::{Mid, Pt, Rid};

use crate::api::{MediaKind, Source, TrackInfo};
use crate::crossing::Published;
use crate::id::{ParticipantId, TrackId, WorkerId};
use crate::layers::Layer;
use crate::layers::frame::Level;
use crate::policy::{LayerView, Views};
use crate::shard::slab::{Key, ParticipantKey, RoomKey, SubscriptionKey, TransportKey};
use crate::subscription::{self, Subscription};

/// A payload type of the publisher and what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PayloadFormat {
    pub(crate) payload_type: Pt,
    pub(crate) codec: Codec,
    pub(crate) clock_rate: u32,
}

/// One published track.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) id: TrackId,
    pub(crate) owner: ParticipantKey,
    pub(crate) owner_id: ParticipantId,
    pub(crate) room: RoomKey,
    pub(crate) transport: TransportKey,
    pub(crate) mid: Mid,
    pub(crate) kind: MediaKind,
    pub(crate) source: Source,
    /// The codec of the last packet; before the first, the client's first choice.
    pub(crate) codec: Codec,
    /// Muted by its publisher.
    pub(crate) muted_by_owner: bool,
    /// Muted by an operator: the publisher cannot undo that.
    pub(crate) muted_by_operator: bool,
    /// As declared: the order of `a=simulcast`.
    pub(crate) layers: Vec<Layer>,
    /// Indices of `layers`, smallest picture first.
    order: Vec<u8>,
    /// The format of the last packet.
    pub(crate) format: Option<PayloadFormat>,
    pub(crate) level: level::Level,
    pub(crate) subscriptions: Vec<SubscriptionKey>,
    /// What the recorder gets of it, if it is recorded: like a subscriber that wants the best.
    pub(crate) recording: Option<Box<Subscription>>,
    /// The same for an operator who captures it.
    pub(crate) capture: Option<Box<Subscription>>,
    /// Its layers when they were last measured.
    seen: Views,
    /// Set if its publisher is in a part of the room on another worker: then `owner` and `transport` name
    /// nothing.
    pub(crate) mirror: Option<Mirror>,
    /// Workers whose parts of the room subscribe to it.
    pub(crate) watchers: Vec<WorkerId>,
}

/// What is different about a track of another worker.
#[derive(Debug)]
pub(crate) struct Mirror {
    /// Whose it is.
    pub(crate) worker: WorkerId,
    /// That worker was told that somebody here subscribes to it.
    pub(crate) wanted: bool,
    /// What the payload type of the last packet stands for.
    pub(crate) params: Option<PayloadParams>,
}

/// What a new track is made of.
pub(crate) struct NewTrack {
    pub(crate) id: TrackId,
    pub(crate) owner: ParticipantKey,
    pub(crate) owner_id: ParticipantId,
    pub(crate) room: RoomKey,
    pub(crate) transport: TransportKey,
    pub(crate) mid: Mid,
    pub(crate) kind: MediaKind,
    pub(crate) source: Source,
    pub(crate) codec: Codec,
    pub(crate) rids: Vec<Rid>,
}

impl Track {
    /// A track without a packet yet.
    pub(crate) fn new(new: NewTrack) -> Self {
        let layers: Vec<Layer> = if new.rids.is_empty() {
            vec![Layer::new(None)]
        } else {
            new.rids
                .into_iter()
                .map(|rid| Layer::new(Some(rid)))
                .collect()
        };
        let order = (0..layers.len() as u8).collect();
        Track {
            id: new.id,
            owner: new.owner,
            owner_id: new.owner_id,
            room: new.room,
            transport: new.transport,
            mid: new.mid,
            kind: new.kind,
            source: new.source,
            codec: new.codec,
            muted_by_owner: false,
            muted_by_operator: false,
            layers,
            order,
            format: None,
            level: level::Level::default(),
            subscriptions: Vec::new(),
            recording: None,
            capture: None,
            seen: Views::default(),
            mirror: None,
            watchers: Vec::new(),
        }
    }

    /// A track of a part of the room on another worker.
    pub(crate) fn mirrored(worker: WorkerId, room: RoomKey, published: &Published) -> Self {
        let mut track = Track::new(NewTrack {
            id: published.id,
            owner: ParticipantKey::nowhere(),
            owner_id: published.owner,
            room,
            transport: TransportKey::nowhere(),
            mid: Mid::from(""),
            kind: published.kind,
            source: published.source,
            codec: published.codec,
            rids: published.rids.clone(),
        });
        track.muted_by_owner = published.muted;
        track.mirror = Some(Mirror {
            worker,
            wanted: false,
            params: None,
        });
        track
    }

    /// As other parts of the room need to know it.
    pub(crate) fn published(&self) -> Published {
        Published {
            id: self.id,
            owner: self.owner_id,
            kind: self.kind,
            source: self.source,
            codec: self.codec,
            rids: self.layers.iter().filter_map(|layer| layer.rid).collect(),
            muted: self.is_muted(),
        }
    }

    /// Nothing of it is forwarded, as its publisher or an operator wants.
    pub(crate) fn is_muted(&self) -> bool {
        self.muted_by_owner || self.muted_by_operator
    }

    /// The layer that carries this rid.
    pub(crate) fn layer_by_rid(&self, rid: Option<Rid>) -> Option<u8> {
        let index = match rid {
            Some(_) if self.layers.len() > 1 => self.layers.iter().position(|l| l.rid == rid)?,
            // A lone stream may carry a rid or not.
            _ if self.layers.len() == 1 => 0,
            _ => return None,
        };
        u8::try_from(index).ok()
    }

    /// The spatial index others know a layer by: 0 is the smallest picture.
    pub(crate) fn spatial(&self, layer: u8) -> u8 {
        let position = self.order.iter().position(|known| *known == layer);
        position.unwrap_or_default() as u8
    }

    /// The layer with this spatial index.
    pub(crate) fn layer_at(&self, spatial: usize) -> Option<u8> {
        self.order.get(spatial).copied()
    }

    /// Puts layers in order of their pictures. The order of `a=simulcast` counts until measurements
    /// say otherwise: pixels once every active layer's are known, or else bit rates that differ by
    /// half or more (encoders give a larger picture at least that).
    pub(crate) fn sort_layers(&mut self, now: Instant) {
        if self.layers.len() < 2 {
            return;
        }
        let measured: Vec<(Option<u32>, u32)> = self
            .layers
            .iter_mut()
            .map(|layer| {
                let pixels = layer.size.map(|(w, h)| u32::from(w) * u32::from(h));
                (pixels, layer.bitrate_bps(now))
            })
            .collect();
        let value = |layer: u8| {
            measured
                .get(usize::from(layer))
                .copied()
                .unwrap_or_default()
        };
        // Insertion sort: stable, tiny, and it keeps what cannot be compared where it is.
        for end in 1..self.order.len() {
            for at in (1..=end).rev() {
                let (Some(&below), Some(&above)) = (self.order.get(at - 1), self.order.get(at))
                else {
                    break;
                };
                if !is_larger(value(below), value(above)) {
                    break;
                }
                self.order.swap(at - 1, at);
            }
        }
    }

    /// Layers as a policy sees them, smallest first.
    pub(crate) fn views(&self, now: Instant) -> Views {
        if let [layer] = self.layers.as_slice()
            && layer.top().spatial > 0
        {
            let spatials = 0..=layer.top().spatial;
            return Views::collect(spatials.map(|spatial| layer.view_inside(now, spatial)));
        }
        let layers = self.order.iter();
        let layers = layers.filter_map(|index| self.layers.get(usize::from(*index)));
        Views::collect(layers.map(|layer| layer.view(now)))
    }

    /// Which stream a layer is in, and what of the layers inside it belongs to it. What is the highest of its kind
    /// means all of them, also those not seen yet.
    pub(crate) fn place_of(&self, level: Level) -> (Option<u8>, Level) {
        let lone = self.layers.len() == 1;
        let index = self.layer_at(if lone { 0 } else { level.spatial.into() });
        let layer = index.and_then(|index| self.layers.get(usize::from(index)));
        let top = layer.map_or_else(Level::default, Layer::top);
        let mut inside = Level::ALL;
        if lone && level.spatial < top.spatial {
            inside.spatial = level.spatial;
        }
        if level.temporal < top.temporal {
            inside.temporal = level.temporal;
        }
        (index, inside)
    }

    /// The layer that a subscription is forwarded now.
    pub(crate) fn forwarded(&self, subscription: &Subscription) -> Option<Level> {
        self.level_of(subscription.current?, subscription.inside_now())
    }

    /// The layer that it is to be forwarded.
    pub(crate) fn aimed_at(&self, subscription: &Subscription) -> Option<Level> {
        self.level_of(subscription.target?, subscription.inside)
    }

    fn level_of(&self, index: u8, inside: Level) -> Option<Level> {
        let inside = inside.least(self.layers.get(usize::from(index))?.top());
        let spatial = match self.layers.len() {
            1 => inside.spatial,
            _ => self.spatial(index),
        };
        Some(Level { spatial, ..inside })
    }

    /// What a subscription has to know of a stream.
    pub(crate) fn source_of(&self, layer: u8) -> Option<subscription::Source> {
        let layer = self.layers.get(usize::from(layer))?;
        Some(subscription::Source {
            epoch: layer.epoch,
            top: layer.top(),
        })
    }

    /// Bits per second of all layers as last measured.
    pub(crate) fn measured_bps(&self) -> u32 {
        let each = self.layers.iter().map(Layer::measured_bps);
        each.fold(0, u32::saturating_add)
    }

    /// Measures every layer anew. True if one fell silent, came back or has another size since the last
    /// time.
    pub(crate) fn measure(&mut self, now: Instant) -> bool {
        for layer in &mut self.layers {
            layer.bitrate_bps(now);
        }
        let views = self.views(now);
        let seen = std::mem::replace(&mut self.seen, views);
        let shape = |view: &LayerView| (view.active, view.size, view.temporal);
        !views
            .all()
            .iter()
            .map(shape)
            .eq(seen.all().iter().map(shape))
    }

    /// Breaks continuity of every layer: subscribers go on from a keyframe.
    pub(crate) fn interrupt(&mut self) {
        for layer in &mut self.layers {
            layer.interrupt();
        }
    }

    /// What others see.
    pub(crate) fn info(&self, now: Instant) -> TrackInfo {
        let mut layers = Vec::with_capacity(self.layers.len());
        for (spatial, index) in (0..).zip(&self.order) {
            if let Some(layer) = self.layers.get(usize::from(*index)) {
                layer.inform(now, spatial, self.layers.len() == 1, &mut layers);
            }
        }
        TrackInfo {
            id: self.id,
            owner: self.owner_id,
            kind: self.kind,
            source: self.source,
            codec: codec_name(self.codec),
            muted: self.is_muted(),
            layers,
        }
    }
}

/// As in SDP; empty when none was negotiated.
fn codec_name(codec: Codec) -> String {
    match codec {
        Codec::Unknown => String::new(),
        codec => codec.to_string(),
    }
}

/// Whether `a` is certainly a larger picture than `b`: (pixels, bits per second).
fn is_larger(a: (Option<u32>, u32), b: (Option<u32>, u32)) -> bool {
    match (a.0, b.0) {
        (Some(a), Some(b)) => a > b,
        _ => b.1 > 0 && a.1 / 2 > b.1,
    }
}

#[cfg(test)]
mod tests;

//! The delivery of one track to one participant.

pub(crate) mod decided;

use std::sync::Arc;

use str0m::media::{Mid, Pt};

use crate::api::Wish;
use crate::egress::sent::Variation;
use crate::layers::descriptor::Descriptor;
use crate::layers::frame::{Frame, Level};
use crate::layers::rewrite::{Arrival, Place, Rewriter, Shift};
use crate::layers::select::{Pick, Selector, Spot};
use crate::mutants::{self, Mutant};
use crate::policy::allocate::Grant;
use crate::shard::slab::{ParticipantKey, TrackKey, TransportKey};
use decided::Decided;

/// Where a subscription's packets leave: a negotiated section.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outlet {
    pub(crate) transport: TransportKey,
    pub(crate) mid: Mid,
    /// Which of the transport's streams.
    pub(crate) stream: u16,
}

/// The publisher's number for a codec and the subscriber's.
#[derive(Debug, Clone, Copy)]
struct PayloadMap {
    from: Pt,
    /// `None`: the subscriber did not negotiate this codec.
    to: Option<Pt>,
}

/// What a policy outside the core chose last.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    /// Indices at most; as chosen, whether or not they exist now.
    pub(crate) spatial: u8,
    pub(crate) temporal: u8,
    /// Forward nothing.
    pub(crate) paused: bool,
    /// Name and version of the policy.
    pub(crate) policy: Arc<str>,
    pub(crate) reason: Arc<str>,
}

/// One subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) subscriber: ParticipantKey,
    pub(crate) track: TrackKey,
    pub(crate) video: bool,
    pub(crate) wish: Wish,
    /// None until an answer brought a section into force.
    pub(crate) outlet: Option<Outlet>,
    payload_map: Option<PayloadMap>,
    rewriter: Rewriter,
    /// The layer forwarded now.
    pub(crate) current: Option<u8>,
    /// The layer to be forwarded from its next keyframe on.
    pub(crate) target: Option<u8>,
    /// What of the layers inside it is to be forwarded.
    pub(crate) inside: Level,
    /// What of them is; made when something is left out for the first time.
    selector: Option<Box<Selector>>,
    /// Continuity of the source when it was switched to.
    epoch: u32,
    /// What the subscriber was last told.
    pub(crate) told: Option<Level>,
    /// Sequence of the room's last view when it began: choices made from that one cannot mean it.
    pub(crate) born: u64,
    /// The last choice of a policy outside the core.
    pub(crate) chosen: Option<Chosen>,
    /// What the subscriber's network leaves room for; `None`: not measured.
    pub(crate) fit: Option<Grant>,
    /// What the policy in force wants; `None`: nothing.
    pub(crate) wanted: Option<Level>,
    /// Nothing is forwarded, by decision of the policy or for want of room.
    held: bool,
    /// What was decided lately.
    pub(crate) decided: Decided,
    /// Forwarded, without retransmissions.
    pub(crate) packets: u64,
    /// Payload of those.
    pub(crate) bytes: u64,
}

/// What is known of a layer's stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    pub(crate) epoch: u32,
    /// The highest layers inside.
    pub(crate) top: Level,
}

/// A packet that is due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due<'a> {
    pub(crate) layer: u8,
    pub(crate) epoch: u32,
    pub(crate) arrival: &'a Arrival,
    pub(crate) descriptor: Option<&'a Descriptor>,
    /// Its frame, where layers inside the stream are told apart.
    pub(crate) frame: Option<&'a Frame>,
    /// A keyframe begins.
    pub(crate) keyframe: bool,
    /// The highest layers inside the stream.
    pub(crate) top: Level,
    /// Pictures left out shall leave no gap in their ids.
    pub(crate) compact: bool,
}

/// What to do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not for this subscription.
    Skip,
    /// Forward it.
    Forward,
    /// Forward it: from here on another layer, or the same after a break.
    Switch,
}

impl Subscription {
    /// A subscription without a section. `first` is its first sequence number.
    pub(crate) fn new(
        subscriber: ParticipantKey,
        track: TrackKey,
        video: bool,
        wish: Wish,
        first: u16,
    ) -> Self {
        Subscription {
            subscriber,
            track,
            video,
            wish,
            outlet: None,
            payload_map: None,
            rewriter: Rewriter::new(first),
            current: None,
            target: None,
            inside: Level::ALL,
            selector: None,
            epoch: 0,
            told: None,
            born: 0,
            chosen: None,
            fit: None,
            wanted: None,
            held: false,
            decided: Decided::default(),
            packets: 0,
            bytes: 0,
        }
    }

    /// With the sequence of the room's last view.
    pub(crate) fn born_at(mut self, view: u64) -> Self {
        self.born = view;
        self
    }

    /// Whether nothing is to be forwarded now, by the client's wish or otherwise.
    pub(crate) fn is_paused(&self) -> bool {
        self.wish.paused || self.held
    }

    /// Whether [`Subscription::hold`] holds it back.
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    /// Holds it back, or lets it go on at a keyframe. True if that is news.
    pub(crate) fn hold(&mut self, held: bool) -> bool {
        let news = std::mem::replace(&mut self.held, held) != held;
        if held && news {
            self.suspend();
        }
        news
    }

    /// Takes a section into use. A stream already running there goes on where it was.
    pub(crate) fn open(&mut self, outlet: Outlet, rewriter: Rewriter) {
        self.outlet = Some(outlet);
        self.rewriter = rewriter;
        self.payload_map = None;
        self.current = None;
    }

    /// Gives the section back with the state of its stream.
    pub(crate) fn close(&mut self) -> Option<(Outlet, Rewriter)> {
        let outlet = self.outlet.take()?;
        self.current = None;
        let rewriter = std::mem::replace(&mut self.rewriter, Rewriter::new(1));
        Some((outlet, rewriter))
    }

    /// The subscriber's payload type, if this publisher's was looked up last.
    pub(crate) fn payload_type(&self, from: Pt) -> Option<Option<Pt>> {
        let map = self.payload_map?;
        (map.from == from).then_some(map.to)
    }

    /// Remembers a lookup.
    pub(crate) fn set_payload_type(&mut self, from: Pt, to: Option<Pt>) {
        self.payload_map = Some(PayloadMap { from, to });
    }

    /// Whether a packet of a layer is for this subscription now.
    pub(crate) fn judge(&self, layer: u8, epoch: u32, keyframe: bool) -> Verdict {
        if self.is_paused()
            || (mutants::is(Mutant::PausedForEver)
                && self.video
                && self.current.is_none()
                && self.packets > 0)
        {
            return Verdict::Skip;
        }
        let continues = self.current == Some(layer) && self.epoch == epoch;
        if !self.video {
            return if continues {
                Verdict::Forward
            } else {
                Verdict::Switch
            };
        }
        let wanted = self.target == Some(layer);
        let keyframe = keyframe || mutants::is(Mutant::SwitchAnywhere);
        if continues {
            Verdict::Forward
        } else if keyframe && (wanted || (self.current == Some(layer) && self.target.is_none())) {
            Verdict::Switch
        } else {
            Verdict::Skip
        }
    }

    /// Switches to the source of this packet.
    pub(crate) fn switch(&mut self, packet: &Due<'_>) {
        self.current = Some(packet.layer);
        self.epoch = packet.epoch;
        let number = packet.frame.and_then(Frame::number);
        self.rewriter
            .switch(packet.arrival, packet.descriptor, number);
        if let Some(selector) = &mut self.selector {
            selector.restart(self.inside);
        } else if self.inside != Level::ALL {
            self.selector
                .insert(Box::new(Selector::new(None)))
                .restart(self.inside);
        }
    }

    /// Places a packet in the outgoing stream. `None`: it is left out there.
    pub(crate) fn place(&mut self, packet: &Due<'_>) -> Option<(Place, Variation)> {
        let variation = match packet.frame {
            Some(frame) if self.selector.is_some() || self.inside != Level::ALL => {
                self.pick(packet, frame)?
            }
            _ => Variation::default(),
        };
        let place = self.rewriter.place(packet.arrival)?;
        if variation.hollow {
            return Some((place, variation));
        }
        if let Some(descriptor) = packet.descriptor {
            self.rewriter.note_pictures(descriptor, place.pictures);
        }
        if let Some(number) = packet.frame.and_then(Frame::number) {
            self.rewriter.note_frame(number);
        }
        let pictures = place.pictures;
        Some((
            place,
            Variation {
                pictures,
                ..variation
            },
        ))
    }

    /// Whether a packet of a stream with layers inside is forwarded whole, or its number alone: it was kept free
    /// when later ones were forwarded. `None`: neither.
    fn pick(&mut self, packet: &Due<'_>, frame: &Frame) -> Option<Variation> {
        let (newest, timestamp) = self.rewriter.seen();
        let selector = self.selector.get_or_insert_with(|| {
            // Everything was forwarded so far.
            Box::new(Selector::new(Some(timestamp)))
        });
        let spot = Spot {
            sequence: packet.arrival.sequence,
            timestamp: packet.arrival.timestamp,
            newest,
            keyframe: packet.keyframe,
            top: packet.top,
        };
        let mut variation = Variation::default();
        match selector.pick(&spot, frame, self.inside) {
            Pick::Take { last } => variation.last = last,
            Pick::Leave { .. } if newest >= spot.sequence => variation.hollow = true,
            Pick::Leave { picture } => {
                // Codecs whose pictures refer to others by their ids keep those.
                let picture = picture && packet.compact;
                self.rewriter.omit(packet.arrival, picture);
                return None;
            }
        }
        Some(variation)
    }

    /// How its packets are changed.
    pub(crate) fn shift(&self) -> Shift {
        self.rewriter.shift()
    }

    /// The highest of the layers inside that are forwarded.
    pub(crate) fn inside_now(&self) -> Level {
        self.selector.as_ref().map_or(Level::ALL, |s| s.current())
    }

    /// Whether a keyframe of the target is needed before anything (else) is forwarded.
    pub(crate) fn needs_keyframe(&self, source_of: impl Fn(u8) -> Option<Source>) -> Option<u8> {
        if self.outlet.is_none() || self.is_paused() {
            return None;
        }
        let target = self.target.filter(|_| self.video)?;
        let rises = source_of(target).is_some_and(|source| {
            let wanted = self.inside.spatial.min(source.top.spatial);
            self.inside_now().spatial < wanted
        });
        if rises {
            return Some(target);
        }
        self.unsettled(|layer| Some(source_of(layer)?.epoch))
    }

    /// The target, if something else (or nothing) is forwarded until its next keyframe.
    pub(crate) fn unsettled(&self, epoch_of: impl Fn(u8) -> Option<u32>) -> Option<u8> {
        let target = self.target.filter(|_| self.video)?;
        let settled = self.current == Some(target) && epoch_of(target) == Some(self.epoch);
        (!settled).then_some(target)
    }

    /// Stops forwarding until a keyframe; the subscriber wants nothing for now.
    pub(crate) fn suspend(&mut self) {
        self.current = None;
    }
}

#[cfg(test)]
mod tests;

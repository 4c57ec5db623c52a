//! The delivery of one track to one participant.

pub(crate) mod decided;

use std::sync::Arc;

use str0m::media::{Mid, Pt};

use crate::api::{Fit, Wish};
use crate::layers::descriptor::Descriptor;
use crate::layers::rewrite::{Arrival, Place, Rewriter};
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
    /// Spatial index at most; as chosen, whether or not it exists now.
    pub(crate) spatial: u8,
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
    /// Continuity of the source when it was switched to.
    epoch: u32,
    /// What the subscriber was last told.
    pub(crate) told: Option<u8>,
    /// Sequence of the room's last view when it began: choices made from that one cannot mean it.
    pub(crate) born: u64,
    /// The last choice of a policy outside the core.
    pub(crate) chosen: Option<Chosen>,
    /// What the subscriber's network leaves room for; `None`: not measured.
    pub(crate) fit: Option<Fit>,
    /// Spatial index that the policy in force wants; `None`: nothing.
    pub(crate) wanted: Option<u8>,
    /// Nothing is forwarded, by decision of the policy or for want of room.
    held: bool,
    /// What was decided lately.
    pub(crate) decided: Decided,
    /// Forwarded, without retransmissions.
    pub(crate) packets: u64,
    /// Payload of those.
    pub(crate) bytes: u64,
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
        if self.is_paused() {
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
        if continues {
            Verdict::Forward
        } else if keyframe && (wanted || (self.current == Some(layer) && self.target.is_none())) {
            Verdict::Switch
        } else {
            Verdict::Skip
        }
    }

    /// Switches to the source of this packet.
    pub(crate) fn switch(
        &mut self,
        layer: u8,
        epoch: u32,
        arrival: &Arrival,
        descriptor: Option<&Descriptor>,
    ) {
        self.current = Some(layer);
        self.epoch = epoch;
        self.rewriter.switch(arrival, descriptor);
    }

    /// Places a packet in the outgoing stream.
    pub(crate) fn place(&mut self, arrival: &Arrival) -> Option<Place> {
        self.rewriter.place(arrival)
    }

    /// The rewriter, for picture ids.
    pub(crate) fn rewriter(&mut self) -> &mut Rewriter {
        &mut self.rewriter
    }

    /// Whether a keyframe of the target is needed before anything (else) is forwarded.
    pub(crate) fn needs_keyframe(&self, epoch_of: impl Fn(u8) -> Option<u32>) -> Option<u8> {
        if self.outlet.is_none() || self.is_paused() {
            return None;
        }
        self.unsettled(epoch_of)
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

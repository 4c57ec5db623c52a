//! Subscribing: the sections of the transport, what each carries, and the offer under way.

use str0m::IceCreds;
use str0m::change::SdpPendingOffer;
use str0m::format::Codec;
use str0m::media::{MediaKind, Mid};

use crate::layers::rewrite::Rewriter;
use crate::shard::slab::SubscriptionKey;

/// What a section is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineState {
    /// Negotiated inactive: free for another subscription.
    Idle,
    /// The offer under way starts it.
    Starting,
    /// Negotiated sending.
    Sending,
    /// The offer under way stops it.
    Stopping,
    /// Refused by the client for good.
    Dead,
}

/// One section.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) mid: Mid,
    pub(crate) kind: MediaKind,
    /// The codec it is negotiated for.
    pub(crate) codec: Codec,
    pub(crate) state: LineState,
    /// What it carries, or shall carry.
    pub(crate) subscription: Option<SubscriptionKey>,
    /// The state of its stream while no subscription uses it: the SSRC stays, so whatever comes next
    /// must go on from there.
    pub(crate) rewriter: Option<Rewriter>,
}

/// The offer the client has not answered yet.
pub(crate) struct Outstanding {
    pub(crate) offer_id: u64,
    pub(crate) pending: SdpPendingOffer,
    /// Credentials that an ICE restart in it brings into force.
    pub(crate) restart: Option<IceCreds>,
    /// Its length.
    pub(crate) bytes: usize,
    /// Its sections, in order: the answer must have the same.
    pub(crate) mids: Vec<String>,
}

/// The sections of a subscribing transport.
#[derive(Default)]
pub(crate) struct Lines {
    pub(crate) lines: Vec<Line>,
    pub(crate) outstanding: Option<Outstanding>,
    /// The client's ufrag as last answered.
    pub(crate) remote_ufrag: Option<String>,
}

impl Lines {
    /// The line with this mid.
    pub(crate) fn by_mid(&mut self, mid: Mid) -> Option<&mut Line> {
        self.lines.iter_mut().find(|line| line.mid == mid)
    }

    /// A free line of this kind and codec.
    pub(crate) fn idle(&mut self, kind: MediaKind, codec: Codec) -> Option<&mut Line> {
        self.lines
            .iter_mut()
            .find(|line| line.state == LineState::Idle && line.kind == kind && line.codec == codec)
    }

    /// A subscription has ended: its line carries nothing any more.
    pub(crate) fn release(&mut self, subscription: SubscriptionKey, rewriter: Option<Rewriter>) {
        let line = self
            .lines
            .iter_mut()
            .find(|line| line.subscription == Some(subscription));
        if let Some(line) = line {
            line.subscription = None;
            if rewriter.is_some() {
                line.rewriter = rewriter;
            }
        }
    }
}

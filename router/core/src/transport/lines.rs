//! Subscribing: the sections of the transport, what each carries, and the offer under way.

use str0m::IceCreds;
use str0m::change::{SdpOffer, SdpPendingOffer};
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid};

use super::{Transport, TransportFault};
use crate::egress::extensions::Ids;
use crate::egress::stream::Negotiated;
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
    /// The codec it is negotiated for; where the client offers, all that it has.
    pub(crate) codec: Codec,
    pub(crate) state: LineState,
    /// What it carries, or shall carry.
    pub(crate) subscription: Option<SubscriptionKey>,
    /// The state of its stream while no subscription uses it: the SSRC stays, so whatever comes next
    /// must go on from there.
    pub(crate) rewriter: Option<Rewriter>,
    /// Its stream, where the client offers: known before anything is subscribed.
    pub(crate) stream: Option<u16>,
}

impl Line {
    /// A section to be added with the next offer, which gives it its mid.
    pub(crate) fn unnamed(kind: MediaKind, codec: Codec, subscription: SubscriptionKey) -> Self {
        Line {
            mid: Mid::from_array([b' '; 16]),
            kind,
            codec,
            state: LineState::Starting,
            subscription: Some(subscription),
            rewriter: None,
            stream: None,
        }
    }

    fn is_unnamed(&self) -> bool {
        self.mid.is_empty()
    }
}

/// A section that starts: for whom, which, its stream, and that stream's state if it has one.
pub(crate) type Opened = (SubscriptionKey, Mid, u16, Option<Rewriter>);

impl Transport {
    /// Makes an offer of what the lines want, if that is anything.
    ///
    /// # Errors
    /// The transport must be dropped.
    pub(crate) fn offer_lines(
        &mut self,
        restart: bool,
    ) -> Result<Option<(SdpOffer, SdpPendingOffer)>, TransportFault> {
        let (directions, additions) = self.lines.changes();
        let (added, made) = self.guard(|rtc| {
            let mut api = rtc.sdp_api();
            for (mid, direction) in &directions {
                api.set_direction(*mid, *direction);
            }
            let add =
                |kind: &MediaKind| api.add_media(*kind, Direction::SendOnly, None, None, None);
            let added: Vec<Mid> = additions.iter().map(add).collect();
            if restart {
                api.ice_restart(true);
            }
            (added, api.apply())
        })?;
        let unnamed = self.lines.lines.iter_mut().filter(|line| line.is_unnamed());
        for (line, mid) in unnamed.zip(added) {
            line.mid = mid;
        }
        Ok(made)
    }

    /// Moves a line on after an answer that has these payload types in it; tells if that starts it.
    ///
    /// # Errors
    /// The transport must be dropped.
    pub(crate) fn settle_line(
        &mut self,
        index: usize,
        answered: &[u8],
    ) -> Result<Option<Opened>, TransportFault> {
        let Some(line) = self.lines.lines.get(index) else {
            return Ok(None);
        };
        let (mid, state) = (line.mid, line.state);
        let (sending, dead) = match self.rtc().media(mid) {
            Some(media) => (
                media.direction().is_sending() && !media.disabled(),
                media.stopped(),
            ),
            None => (false, true),
        };
        let starts = sending && state == LineState::Starting;
        // An answer may change what a section that is sending was negotiated with.
        let stream = if sending {
            self.open_stream(mid, answered)?
        } else {
            None
        };
        let Some(line) = self.lines.lines.get_mut(index) else {
            return Ok(None);
        };
        line.state = match state {
            _ if dead => LineState::Dead,
            LineState::Stopping => LineState::Idle,
            LineState::Starting => LineState::Sending,
            other => other,
        };
        let (Some(subscription), Some(stream), true) = (line.subscription, stream, starts) else {
            return Ok(None);
        };
        Ok(Some((subscription, mid, stream, line.rewriter.take())))
    }

    /// Takes a section of an answered offer of the client's, with these payload types, into use.
    ///
    /// # Errors
    /// The transport must be dropped.
    pub(crate) fn open_line(
        &mut self,
        mid: Mid,
        kind: MediaKind,
        offered: &[u8],
    ) -> Result<(), TransportFault> {
        let stream = self.open_stream(mid, offered)?;
        if let Some(line) = self.lines.by_mid(mid) {
            line.state = LineState::Sending;
            return Ok(());
        }
        self.lines.lines.push(Line {
            mid,
            kind,
            codec: Codec::Unknown,
            state: LineState::Sending,
            subscription: None,
            rewriter: None,
            stream,
        });
        Ok(())
    }

    /// Has a section's stream take on what it was negotiated with, the client having these payload types
    /// in it; where it is kept.
    fn open_stream(&mut self, mid: Mid, answered: &[u8]) -> Result<Option<u16>, TransportFault> {
        let negotiated = self.guard(|rtc| {
            let (ssrc, repair_ssrc) = {
                let mut api = rtc.direct_api();
                let stream = api.stream_tx_by_mid(mid, None)?;
                (*stream.ssrc(), stream.rtx().map(|ssrc| *ssrc))
            };
            let media = rtc.media(mid)?;
            let params = rtc.codec_config().params().iter();
            let pairs = params.filter_map(|p| Some((*p.pt(), *p.resend()?)));
            // The client may have left out the type of retransmissions.
            let accepted =
                |(main, repair): &(u8, u8)| answered.contains(main) && answered.contains(repair);
            // Feedback on packets of a section tells of them only if its codecs were negotiated with it
            // (draft-holmer-rmcat-transport-wide-cc-extensions-01 §4); numbered without, they would count as
            // lost.
            let mut params = rtc.codec_config().params().iter();
            let told_of = params.any(|p| answered.contains(&*p.pt()) && p.fb_transport_cc());
            let ids = Ids::negotiated(media.remote_extmap());
            Some(Negotiated {
                mid,
                ssrc,
                repair_ssrc,
                repairs: pairs.filter(accepted).collect(),
                ids: if told_of { ids } else { ids.unnumbered() },
                cname: media.cname().to_owned(),
            })
        })?;
        let (Some(negotiated), Some(sender)) = (negotiated, &mut self.sender) else {
            return Ok(None);
        };
        // Two streams under one SSRC and one key would share nonces: chance or not, it ends here.
        let stream = sender.open(negotiated);
        stream
            .map(Some)
            .ok_or_else(|| TransportFault::Ended("two streams have one SSRC".into()))
    }
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
    /// The client offers: sections are its, and wait for tracks.
    pub(crate) by_client: bool,
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

    /// Lines of the client's offer that carry nothing.
    pub(crate) fn free(&self, kind: MediaKind) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |line| {
            line.kind == kind && line.state == LineState::Sending && line.subscription.is_none()
        })
    }

    /// Whether another offer is due: a section carries nothing, or one of these has no section.
    pub(crate) fn is_unfinished(&self, subscriptions: &[SubscriptionKey]) -> bool {
        let idle = |line: &Line| line.state == LineState::Sending && line.subscription.is_none();
        let carried = |key: &SubscriptionKey| {
            let mut lines = self.lines.iter();
            lines.any(|line| line.subscription == Some(*key))
        };
        self.lines.iter().any(idle) || !subscriptions.iter().all(carried)
    }

    /// What an offer has to change.
    fn changes(&self) -> (Vec<(Mid, Direction)>, Vec<MediaKind>) {
        let mut directions = Vec::new();
        let mut additions = Vec::new();
        for line in &self.lines {
            match line.state {
                LineState::Starting if line.is_unnamed() => additions.push(line.kind),
                LineState::Starting => directions.push((line.mid, Direction::SendOnly)),
                LineState::Stopping => directions.push((line.mid, Direction::Inactive)),
                LineState::Idle | LineState::Sending | LineState::Dead => {}
            }
        }
        (directions, additions)
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

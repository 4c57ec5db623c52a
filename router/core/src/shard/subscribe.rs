//! Subscribing: offers to clients, and their answers.

use std::time::Instant;

use rand_chacha::rand_core::Rng;
use str0m::change::SdpAnswer;

use super::Shard;
use super::lifecycle::engine_kind;
use super::slab::{ParticipantKey, SubscriptionKey, TransportKey};
use crate::api::{Direction, EventKind, MediaKind, MidTrack, RequestError, Wish};
use crate::guard::quietly;
use crate::id::TrackId;
use crate::layers::rewrite::Rewriter;
use crate::limits::SDP_SECTIONS_SPARE;
use crate::subscription::{Outlet, Subscription};
use crate::transport::lines::{Line, LineState, Outstanding};
use crate::transport::sdp::{self, Description, SdpBounds, Section, SectionExport};
use crate::transport::{TransportFault, credentials};

impl Shard {
    pub(super) fn subscribe(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        id: TrackId,
    ) -> Result<(), RequestError> {
        let Some(participant) = self.participants.get(key) else {
            return Err(RequestError::WrongState("not joined".into()));
        };
        if !participant.grant.subscribe {
            return Err(RequestError::Forbidden("subscribe".into()));
        }
        let track_key = self.others_track(key, id)?;
        if participant.subscription(track_key).is_none() {
            let most = usize::from(self.config.limits.subscriptions_per_participant);
            if participant.subscriptions.len() >= most {
                return Err(RequestError::Limit(format!("{most} subscriptions")));
            }
            let subscription = self
                .new_subscription(key, track_key, id)
                .ok_or_else(|| RequestError::Limit("subscriptions".into()))?;
            if self.client_offers(key) {
                let placed = self.place(now, key, subscription);
                if placed.is_err() {
                    self.end_subscription(subscription);
                }
                return placed;
            }
        }
        self.resume_offers(key);
        Ok(())
    }

    fn new_subscription(
        &mut self,
        key: ParticipantKey,
        track_key: super::slab::TrackKey,
        id: TrackId,
    ) -> Option<SubscriptionKey> {
        let first = first_sequence(&mut self.rng);
        let track = self.tracks.get_mut(track_key)?;
        let video = track.kind == MediaKind::Video;
        let wish = Wish {
            track: id,
            width: 0,
            height: 0,
            fps: 0,
            priority: 0,
            paused: false,
        };
        let room = track.room;
        let born = self.rooms.get(room).map_or(0, |room| room.view_sequence());
        let subscription = self
            .subscriptions
            .insert_with(|_| Subscription::new(key, track_key, video, wish, first).born_at(born))?;
        track.subscriptions.push(subscription);
        self.participants
            .get_mut(key)?
            .subscriptions
            .push((track_key, subscription));
        self.stats.subscriptions = self.subscriptions.len() as u64;
        self.touch(room);
        self.settle_interest(track_key);
        Some(subscription)
    }

    pub(super) fn unsubscribe(
        &mut self,
        key: ParticipantKey,
        id: TrackId,
    ) -> Result<(), RequestError> {
        let track = self.others_track(key, id)?;
        let subscription = self
            .participants
            .get(key)
            .and_then(|participant| participant.subscription(track))
            .ok_or_else(|| RequestError::NotFound("subscription".into()))?;
        self.end_subscription(subscription);
        Ok(())
    }

    pub(super) fn restart_ice(&mut self, key: ParticipantKey) -> Result<(), RequestError> {
        if self.client_offers(key) {
            let text = "the client offers: it restarts ICE with its next offer";
            return Err(RequestError::WrongState(text.into()));
        }
        let Some(participant) = self.participants.get_mut(key) else {
            return Err(RequestError::WrongState("not joined".into()));
        };
        if participant.subscribe.is_none() && participant.subscriptions.is_empty() {
            return Err(RequestError::WrongState("nothing is subscribed".into()));
        }
        // Without a transport (it failed or was closed) a new one is offered.
        participant.offers.restart = participant.subscribe.is_some();
        self.resume_offers(key);
        Ok(())
    }

    fn resume_offers(&mut self, key: ParticipantKey) {
        if let Some(participant) = self.participants.get_mut(key) {
            participant.offers.suspended = false;
        }
        self.want_offer(key);
    }

    /// Has an offer made at the end of the turn, or as soon as the present one is answered.
    pub(super) fn want_offer(&mut self, key: ParticipantKey) {
        if self.client_offers(key) {
            return;
        }
        let Some(participant) = self.participants.get_mut(key) else {
            return;
        };
        participant.offers.wanted = true;
        if !participant.offers.queued {
            participant.offers.queued = true;
            self.offers_due.push(key);
        }
    }

    pub(super) fn make_offers(&mut self, now: Instant) {
        for key in std::mem::take(&mut self.offers_due) {
            let Some(participant) = self.participants.get_mut(key) else {
                continue;
            };
            participant.offers.queued = false;
            let offers = &participant.offers;
            if !offers.wanted || offers.suspended {
                continue;
            }
            let transport = match participant.subscribe {
                Some(transport) => transport,
                None if participant.subscriptions.is_empty() => continue,
                None => match self.new_transport(now, key, Direction::Subscribe) {
                    Some(transport) => transport,
                    None => continue,
                },
            };
            let busy = self
                .transports
                .get(transport)
                .is_none_or(|transport| transport.lines.outstanding.is_some());
            if busy {
                continue;
            }
            if let Some(participant) = self.participants.get_mut(key) {
                participant.offers.wanted = false;
            }
            if let Err(fault) = self.make_offer(now, key, transport) {
                self.fail_transport(now, transport, &fault);
            }
        }
    }

    fn make_offer(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        transport_key: TransportKey,
    ) -> Result<(), TransportFault> {
        self.assign_lines(key, transport_key)?;
        let (Some(participant), Some(transport)) = (
            self.participants.get_mut(key),
            self.transports.get_mut(transport_key),
        ) else {
            return Ok(());
        };
        let restart = std::mem::take(&mut participant.offers.restart)
            .then(|| credentials::generate(&mut self.rng, self.config.worker, transport_key));
        let Some((offer, pending)) = transport.offer_lines(restart.is_some())? else {
            return Ok(());
        };
        let creds = restart
            .clone()
            .unwrap_or_else(|| transport.credentials().clone());
        let text = offer.to_sdp_string();
        let sections = self.section_exports(transport_key);
        let text = sdp::export(&text, &creds, &|mid| {
            let section = sections.iter().find(|(known, _)| known == mid);
            section
                .map(|(_, change)| change.clone())
                .unwrap_or_default()
        });
        let Some(transport) = self.transports.get_mut(transport_key) else {
            return Ok(());
        };
        let mids = transport.lines.lines.iter().map(|l| l.mid.to_string());
        let participant_offers = &mut self.participants.get_mut(key).map(|p| &mut p.offers);
        let Some(offers) = participant_offers else {
            return Ok(());
        };
        offers.last_id += 1;
        let offer_id = offers.last_id;
        transport.lines.outstanding = Some(Outstanding {
            offer_id,
            pending,
            restart,
            bytes: text.len(),
            mids: mids.collect(),
        });
        self.announce_offer(now, key, transport_key, offer_id, text);
        Ok(())
    }

    fn announce_offer(
        &mut self,
        _now: Instant,
        key: ParticipantKey,
        transport_key: TransportKey,
        offer_id: u64,
        sdp: String,
    ) {
        let tracks = self.line_tracks(transport_key);
        if let Some(client) = self.participants.get(key).map(|p| p.client) {
            self.emit(
                client,
                EventKind::Offer {
                    offer_id,
                    sdp,
                    tracks,
                },
            );
        }
    }

    /// Gives every subscription without a section one, and takes sections from those that ended.
    fn assign_lines(
        &mut self,
        key: ParticipantKey,
        transport_key: TransportKey,
    ) -> Result<(), TransportFault> {
        let most = usize::from(self.config.limits.subscriptions_per_participant);
        let (Some(participant), Some(transport)) = (
            self.participants.get(key),
            self.transports.get_mut(transport_key),
        ) else {
            return Ok(());
        };
        let lines = &mut transport.lines;
        for line in &mut lines.lines {
            if line.state == LineState::Sending && line.subscription.is_none() {
                line.state = LineState::Stopping;
            }
        }
        for (_, subscription_key) in &participant.subscriptions {
            let taken = lines
                .lines
                .iter()
                .any(|line| line.subscription == Some(*subscription_key));
            let Some(subscription) = self.subscriptions.get(*subscription_key) else {
                continue;
            };
            if taken {
                continue;
            }
            let Some(track) = self.tracks.get(subscription.track) else {
                continue;
            };
            let (kind, codec) = (engine_kind(track.kind), track.codec);
            if let Some(line) = lines.idle(kind, codec) {
                line.state = LineState::Starting;
                line.subscription = Some(*subscription_key);
            } else if lines.lines.len() < most + SDP_SECTIONS_SPARE {
                lines
                    .lines
                    .push(Line::unnamed(kind, codec, *subscription_key));
            }
            // Else a section becomes idle with this offer, and the next one uses it.
        }
        Ok(())
    }

    /// What an offer says of the sections that carry something: the track, and its codec alone.
    fn section_exports(&self, transport_key: TransportKey) -> Vec<(String, SectionExport)> {
        let Some(transport) = self.transports.get(transport_key) else {
            return Vec::new();
        };
        let params = transport.rtc().codec_config().params();
        let lines = transport.lines.lines.iter();
        lines
            .filter_map(|line| {
                let subscription = self.subscriptions.get(line.subscription?)?;
                let track = self.tracks.get(subscription.track)?;
                let same = params.iter().filter(|p| p.spec().codec == line.codec);
                let keep: Vec<u8> = same
                    .flat_map(|params| [Some(params.pt()), params.resend()])
                    .flatten()
                    .map(|of| *of)
                    .collect();
                let stream = format!("{:x}", track.owner_id.0);
                let change = SectionExport {
                    msid: Some((stream, format!("{:x}", track.id.0))),
                    // Of a codec that is not offered at all the client may refuse the section.
                    keep: (!keep.is_empty()).then_some(keep),
                    ..SectionExport::default()
                };
                Some((line.mid.to_string(), change))
            })
            .collect()
    }

    /// What each section carries once the offer is answered.
    pub(super) fn line_tracks(&self, transport_key: TransportKey) -> Vec<MidTrack> {
        let Some(transport) = self.transports.get(transport_key) else {
            return Vec::new();
        };
        let lines = transport.lines.lines.iter();
        lines
            .map(|line| MidTrack {
                mid: line.mid.to_string(),
                track: line
                    .subscription
                    .and_then(|key| self.subscriptions.get(key))
                    .and_then(|subscription| Some(self.tracks.get(subscription.track)?.id)),
            })
            .collect()
    }

    pub(super) fn accept_answer(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        offer_id: u64,
        text: &str,
    ) -> Result<(), RequestError> {
        let none = || RequestError::WrongState("no such offer is outstanding".into());
        let transport_key = self
            .participants
            .get(key)
            .and_then(|participant| participant.subscribe)
            .ok_or_else(none)?;
        let limits = self.config.limits;
        let transport = self.transports.get_mut(transport_key).ok_or_else(none)?;
        let outstanding = transport.lines.outstanding.as_ref().ok_or_else(none)?;
        if outstanding.offer_id != offer_id {
            return Err(none());
        }
        // An answer to an offer of ours may be about as long as that is.
        let bytes = outstanding.bytes + outstanding.bytes / 2;
        let bounds = SdpBounds {
            bytes: bytes.max(limits.sdp_bytes as usize),
            sections: usize::from(limits.subscriptions_per_participant) + SDP_SECTIONS_SPARE,
        };
        let description = sdp::scan(text, bounds)?;
        check_answer(
            &description,
            outstanding,
            transport.remote.as_ref().map(|creds| creds.ufrag.as_str()),
        )?;
        let imported = sdp::import_answer(text, &description);
        let answer = quietly("SDP", || SdpAnswer::from_sdp_string(&imported))
            .ok_or_else(|| RequestError::Invalid("SDP".into()))?
            .map_err(|error| RequestError::Invalid(format!("SDP: {error}")))?;
        let outstanding = transport.lines.outstanding.take().ok_or_else(none)?;
        transport.remote = Some(description.credentials());
        if !transport.is_connected() {
            transport.negotiated = now;
        }
        let pending = outstanding.pending;
        let applied = transport
            .guard(|rtc| rtc.sdp_api().accept_answer(pending, answer))
            .and_then(|result| {
                result.map_err(|error| TransportFault::Ended(format!("answer: {error}")))
            });
        let applied = applied.and_then(|()| match outstanding.restart {
            Some(creds) => transport.restart_with(creds, now),
            None => Ok(()),
        });
        if let Err(fault) = applied {
            // The engine has applied a part of it: this association is no good any more.
            self.fail_transport(now, transport_key, &fault);
            return Err(RequestError::Invalid(fault.to_string()));
        }
        let applied = self.apply_lines(now, key, transport_key, &description.sections);
        if let Err(fault) = applied {
            self.fail_transport(now, transport_key, &fault);
            return Err(RequestError::Internal(fault.to_string()));
        }
        self.mark(transport_key);
        Ok(())
    }

    /// The track's codec changed: its section was negotiated for another. Where the client offered, the
    /// section stays: it was negotiated for every codec that client has.
    pub(super) fn relocate(&mut self, key: SubscriptionKey) {
        let subscriber = self.subscriptions.get(key).map(|s| s.subscriber);
        if subscriber.is_some_and(|subscriber| self.client_offers(subscriber)) {
            return;
        }
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return;
        };
        let subscriber = subscription.subscriber;
        let rewriter = subscription.close().map(|(_, rewriter)| rewriter);
        let transport = self.participants.get(subscriber).and_then(|p| p.subscribe);
        if let Some(transport) = transport.and_then(|key| self.transports.get_mut(key)) {
            transport.lines.release(key, rewriter);
            self.want_offer(subscriber);
        }
    }

    /// An answer has come into force: sections start and stop.
    fn apply_lines(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        transport_key: TransportKey,
        sections: &[Section],
    ) -> Result<(), TransportFault> {
        let Some(transport) = self.transports.get_mut(transport_key) else {
            return Ok(());
        };
        for index in 0..transport.lines.lines.len() {
            let mid = transport.lines.lines.get(index).map(|line| line.mid);
            let mut answered = sections.iter();
            let answered = answered.find(|s| mid.is_some_and(|mid| s.mid == *mid));
            let payload_types = answered.map_or(&[][..], |section| &section.payload_types);
            let opened = transport.settle_line(index, payload_types)?;
            let Some((opened, mid, stream, rewriter)) = opened else {
                continue;
            };
            let Some(subscription) = self.subscriptions.get_mut(opened) else {
                continue;
            };
            let rng = &mut self.rng;
            let rewriter = rewriter.unwrap_or_else(|| Rewriter::new(first_sequence(rng)));
            let outlet = Outlet {
                transport: transport_key,
                mid,
                stream,
            };
            subscription.open(outlet, rewriter);
        }
        let Some(participant) = self.participants.get(key) else {
            return Ok(());
        };
        let subscriptions: Vec<SubscriptionKey> =
            participant.subscriptions.iter().map(|s| s.1).collect();
        let unfinished = self
            .transports
            .get(transport_key)
            .is_some_and(|transport| transport.lines.is_unfinished(&subscriptions));
        if unfinished || participant.offers.wanted {
            self.want_offer(key);
        }
        for subscription in subscriptions {
            self.choose_layer(now, subscription);
        }
        Ok(())
    }
}

/// A first sequence number below 32,768: room for reordering at the start without a rollover.
pub(super) fn first_sequence(rng: &mut rand_chacha::ChaCha20Rng) -> u16 {
    (rng.next_u32() & 0x7fff) as u16 | 1
}

/// What must be refused before the engine applies anything.
fn check_answer(
    description: &Description,
    outstanding: &Outstanding,
    known_ufrag: Option<&str>,
) -> Result<(), RequestError> {
    let invalid = |text: &str| Err(RequestError::Invalid(format!("SDP: {text}")));
    let offered = outstanding.mids.iter().map(String::as_str);
    let answered = description.sections.iter().map(|s| s.mid.as_str());
    if !offered.eq(answered) {
        return invalid("sections differ from those of the offer");
    }
    match (known_ufrag, outstanding.restart.is_some()) {
        (Some(known), true) if known == description.ufrag => {
            invalid("the ICE credentials must change in an ICE restart")
        }
        (Some(known), false) if known != description.ufrag => {
            invalid("the ICE credentials changed without an ICE restart")
        }
        _ => Ok(()),
    }
}

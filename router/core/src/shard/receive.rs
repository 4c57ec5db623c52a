//! Receiving by an offer of the client's (WHEP): its sections are there before the tracks are chosen.

use std::time::Instant;

use str0m::format::Codec;
use str0m::media::Mid;

use super::Shard;
use super::lifecycle::engine_kind;
use super::publish::{kind_of, parse_offer};
use super::slab::{ParticipantKey, SubscriptionKey, TrackKey, TransportKey};
use super::subscribe::first_sequence;
use crate::api::{Direction, EventKind, RequestError, TransportState};
use crate::id::Reference;
use crate::layers::rewrite::Rewriter;
use crate::limits::SDP_SECTIONS_SPARE;
use crate::subscription::Outlet;
use crate::transport::lines::LineState;
use crate::transport::sdp::{self, Description, SdpBounds, Section, SectionExport};
use crate::transport::{Transport, TransportFault};

impl Shard {
    pub(super) fn accept_receiving_offer(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        reference: Reference,
        text: &str,
    ) -> Result<(), RequestError> {
        let bounds = SdpBounds {
            bytes: self.config.limits.sdp_bytes as usize,
            sections: self.sections_most() + SDP_SECTIONS_SPARE,
        };
        let description = sdp::scan(text, bounds)?;
        let stream = self.check_receiving(key, &description)?;
        let offer = parse_offer(&sdp::import_offer(text, &description, Direction::Subscribe))?;
        let (transport, fresh) =
            self.transport_for_offer(now, key, Direction::Subscribe, &description)?;
        // One stream for all sections, which players show together (RFC 8830 §2).
        let section = |mid: &str| SectionExport {
            msid: Some((stream.clone(), mid.to_owned())),
            ..SectionExport::default()
        };
        let answer = match self.answer_offer(now, transport, offer, &description, &section) {
            Ok(answer) => answer,
            Err(error) => {
                if fresh {
                    self.detach_transport(now, transport, TransportState::Closed);
                }
                return Err(error);
            }
        };
        if let Err(fault) = self.open_sections(transport, &description) {
            self.fail_transport(now, transport, &fault);
            return Err(RequestError::Internal(fault.to_string()));
        }
        self.place_all(now, key);
        let tracks = self.line_tracks(transport);
        if let Some(client) = self.participants.get(key).map(|p| p.client) {
            self.emit(
                client,
                EventKind::Answer {
                    reference,
                    sdp: answer,
                    tracks,
                },
            );
        }
        self.mark(transport);
        Ok(())
    }

    /// Sections that may receive.
    fn sections_most(&self) -> usize {
        usize::from(self.config.limits.subscriptions_per_participant)
    }

    /// What is refused before anything is changed. Returns the id of the stream for the sections.
    fn check_receiving(
        &self,
        key: ParticipantKey,
        description: &Description,
    ) -> Result<String, RequestError> {
        let Some(participant) = self.participants.get(key) else {
            return Err(RequestError::WrongState("not joined".into()));
        };
        if !participant.grant.subscribe {
            return Err(RequestError::Forbidden("subscribe".into()));
        }
        let receiving = description.sections.iter().filter(|s| s.receives()).count();
        if receiving == 0 {
            return Err(RequestError::Invalid("SDP: no section receives".into()));
        }
        let most = self.sections_most();
        if receiving > most {
            return Err(RequestError::Limit(format!("{most} subscriptions")));
        }
        // The engine would notice too late to undo what it has applied by then.
        let present = participant
            .subscribe
            .and_then(|transport| self.transports.get(transport))
            .filter(|transport| is_same(transport, Direction::Subscribe, description));
        for line in present.iter().flat_map(|transport| &transport.lines.lines) {
            let mut sections = description.sections.iter();
            let section = sections.find(|section| section.mid == *line.mid);
            let kind = section.and_then(kind_of).map(engine_kind);
            if kind != Some(line.kind) {
                return Err(RequestError::Invalid(format!(
                    "SDP: section {} is gone or of another kind",
                    line.mid
                )));
            }
        }
        Ok(format!("{:x}", participant.id.0))
    }

    /// The transport an offer is for: the present one as long as it comes from the same connection
    /// object of the client, or else a new one in its place.
    pub(super) fn transport_for_offer(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        direction: Direction,
        description: &Description,
    ) -> Result<(TransportKey, bool), RequestError> {
        let present = self
            .participants
            .get(key)
            .and_then(|participant| participant.transport(direction));
        if let Some(present) = present {
            let transport = self.transports.get(present);
            if transport.is_some_and(|transport| is_same(transport, direction, description)) {
                return Ok((present, false));
            }
            self.close_transport(now, present);
        }
        let transport = self
            .new_transport(now, key, direction)
            .ok_or_else(|| RequestError::Limit("transports".into()))?;
        if let Some(transport) = self.transports.get_mut(transport) {
            transport.session.clone_from(&description.session);
            transport.lines.by_client = direction == Direction::Subscribe;
        }
        Ok((transport, true))
    }

    /// Whether the client offers on its subscribing transport.
    pub(super) fn client_offers(&self, key: ParticipantKey) -> bool {
        self.participants
            .get(key)
            .and_then(|participant| self.transports.get(participant.subscribe?))
            .is_some_and(|transport| transport.lines.by_client)
    }

    /// Takes the sections of an answered offer into use; what a section carried that is out of use
    /// now is no longer received.
    fn open_sections(
        &mut self,
        key: TransportKey,
        description: &Description,
    ) -> Result<(), TransportFault> {
        let mut ended = Vec::new();
        for section in &description.sections {
            let Some(kind) = kind_of(section) else {
                continue;
            };
            let mid = Mid::from(section.mid.as_str());
            let Some(transport) = self.transports.get_mut(key) else {
                break;
            };
            if is_sending(transport, mid, section) {
                transport.open_line(mid, engine_kind(kind), &section.payload_types)?;
            } else if let Some(line) = transport.lines.by_mid(mid) {
                line.state = LineState::Idle;
                ended.extend(line.subscription);
            }
        }
        for subscription in ended {
            self.end_subscription(subscription);
        }
        Ok(())
    }

    /// Places every subscription that is still without a section, and ends those that find none.
    fn place_all(&mut self, now: Instant, key: ParticipantKey) {
        let subscriptions: Vec<SubscriptionKey> = match self.participants.get(key) {
            Some(participant) => participant.subscriptions.iter().map(|s| s.1).collect(),
            None => return,
        };
        for subscription in subscriptions {
            let waits = self
                .subscriptions
                .get(subscription)
                .is_some_and(|subscription| subscription.outlet.is_none());
            if waits && self.place(now, key, subscription).is_err() {
                self.end_subscription(subscription);
            }
        }
    }

    /// Gives a subscription a free section of its track's kind in which its codec was negotiated.
    pub(super) fn place(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        subscription_key: SubscriptionKey,
    ) -> Result<(), RequestError> {
        let outlet = self.free_section(key, subscription_key)?;
        let fresh = Rewriter::new(first_sequence(&mut self.rng));
        let line = self
            .transports
            .get_mut(outlet.transport)
            .and_then(|transport| transport.lines.by_mid(outlet.mid))
            .ok_or_else(|| RequestError::Internal("the section is gone".into()))?;
        line.subscription = Some(subscription_key);
        let rewriter = line.rewriter.take().unwrap_or(fresh);
        if let Some(subscription) = self.subscriptions.get_mut(subscription_key) {
            subscription.open(outlet, rewriter);
        }
        self.choose_layer(now, subscription_key);
        Ok(())
    }

    fn free_section(
        &self,
        key: ParticipantKey,
        subscription: SubscriptionKey,
    ) -> Result<Outlet, RequestError> {
        let gone = || RequestError::NotFound("track".into());
        let subscription = self.subscriptions.get(subscription).ok_or_else(gone)?;
        let track = self.tracks.get(subscription.track).ok_or_else(gone)?;
        let none = || RequestError::WrongState("no section is free for this track".into());
        let participant = self.participants.get(key).ok_or_else(none)?;
        let transport_key = participant.subscribe.ok_or_else(none)?;
        let transport = self.transports.get(transport_key).ok_or_else(none)?;
        let mut refusal = none();
        for line in transport.lines.free(engine_kind(track.kind)) {
            let Some(stream) = line.stream else {
                continue;
            };
            let outlet = Outlet {
                transport: transport_key,
                mid: line.mid,
                stream,
            };
            if self.carries(subscription.track, outlet) {
                return Ok(outlet);
            }
            let text = format!("the offer does not take {}", track.codec);
            refusal = RequestError::Invalid(text);
        }
        Err(refusal)
    }

    /// Whether a section takes what a track's publisher sends, as far as that is known yet.
    fn carries(&self, key: TrackKey, outlet: Outlet) -> bool {
        let Some(track) = self.tracks.get(key) else {
            return false;
        };
        if let Some(format) = track.format {
            let sent = format.payload_type;
            return self.map_payload_type(key, outlet, sent).is_some();
        }
        let Some(transport) = self.transports.get(outlet.transport) else {
            return false;
        };
        let rtc = transport.rtc();
        let Some(media) = rtc.media(outlet.mid) else {
            return false;
        };
        let accepted = media.remote_pts();
        let mut params = rtc.codec_config().params().iter();
        track.codec == Codec::Unknown
            || params.any(|p| p.spec().codec == track.codec && accepted.contains(&p.pt()))
    }
}

/// Whether an offer comes from the connection object that a transport was made for.
fn is_same(transport: &Transport, direction: Direction, description: &Description) -> bool {
    let by_client = direction == Direction::Publish || transport.lines.by_client;
    by_client && transport.session == description.session
}

fn is_sending(transport: &Transport, mid: Mid, section: &Section) -> bool {
    let media = transport.rtc().media(mid);
    section.receives() && media.is_some_and(|m| m.direction().is_sending() && !m.disabled())
}

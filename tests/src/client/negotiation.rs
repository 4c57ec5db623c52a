//! Offers and answers, on both peer connections.

use std::time::{Duration, Instant};

use rillway_core::api::{Action, Direction, MediaKind, MidTrack};
use rillway_core::id::Reference;
use str0m::change::{SdpAnswer, SdpOffer};
use str0m::channel::{ChannelConfig, Reliability};
use str0m::media::{Mid, Simulcast, SimulcastLayer};
use str0m::net::Protocol;

use super::{Client, Published, Section};
use crate::inbound::Inbound;
use crate::media::{Beat, LayerState, TrackSpec};
use crate::peer::Peer;

/// How long packets of a track may still arrive on a section that was given to another one.
const REMAP_GRACE: Duration = Duration::from_millis(500);

impl Client {
    /// Offers every track of its configuration that is not offered yet, and the data channels.
    pub fn publish(&mut self, now: Instant) -> Option<Reference> {
        self.offer(now, false)
    }

    /// Publishes one more track.
    pub fn add_track(&mut self, now: Instant, spec: TrackSpec) -> Option<Reference> {
        self.config.tracks.push(spec);
        self.offer(now, false)
    }

    /// Restarts ICE on the publishing peer connection.
    pub fn restart_publish(&mut self, now: Instant) -> Option<Reference> {
        self.offer(now, true)
    }

    pub(super) fn offer(&mut self, now: Instant, restart: bool) -> Option<Reference> {
        if self.publisher.is_none() {
            self.publisher = Some(self.new_peer(now, Direction::Publish));
        }
        let peer = self.publisher.as_mut()?;
        let mut api = peer.rtc.sdp_api();
        for spec in self.config.tracks.iter().skip(self.published.len()) {
            let kind = match spec.kind {
                MediaKind::Audio => str0m::media::MediaKind::Audio,
                MediaKind::Video => str0m::media::MediaKind::Video,
            };
            let simulcast = simulcast_of(spec);
            let send = str0m::media::Direction::SendOnly;
            let mid = api.add_media(kind, send, None, None, simulcast);
            self.published.push(Published {
                spec: spec.clone(),
                mid,
                track: None,
                layers: vec![LayerState::default(); spec.layers.len()],
                running: true,
                beat: Beat::new(now),
            });
        }
        if self.config.channels && self.channels.is_empty() {
            for config in channel_configs() {
                let label = config.label.clone();
                let id = api.add_channel_with_config(config);
                self.channels.insert(label, (id, false));
            }
        }
        if restart {
            api.ice_restart(true);
        }
        let (offer, pending) = api.apply()?;
        let sources = self
            .published
            .iter()
            .map(|p| (p.mid.to_string(), p.spec.source))
            .collect();
        peer.handle_timeout(now);
        let mut sdp = offer.to_sdp_string();
        if self.config.dtls_passive {
            sdp = sdp.replace("a=setup:actpass", "a=setup:passive");
        }
        let sdp = self.filtered(Direction::Publish, sdp);
        let reference = self.request(Action::AcceptOffer { sdp, sources });
        self.pending = Some((reference, pending));
        Some(reference)
    }

    pub(super) fn answered(
        &mut self,
        now: Instant,
        reference: Reference,
        sdp: &str,
        tracks: &[MidTrack],
    ) {
        if self.pending.as_ref().is_none_or(|(r, _)| *r != reference) {
            return;
        }
        let Some(((_, pending), peer)) = self.pending.take().zip(self.publisher.as_mut()) else {
            return;
        };
        let accepted = SdpAnswer::from_sdp_string(sdp)
            .map_err(|e| e.to_string())
            .and_then(|answer| {
                let api = peer.rtc.sdp_api();
                api.accept_answer(pending, answer)
                    .map_err(|e| e.to_string())
            });
        if let Err(error) = accepted {
            peer.errors.push(format!("answer: {error}"));
        }
        peer.handle_timeout(now);
        for published in &mut self.published {
            let mid = published.mid.to_string();
            let Some(found) = tracks.iter().find(|t| t.mid == mid) else {
                continue;
            };
            if published.track.is_none() {
                published.beat = Beat::new(now);
            }
            published.track = found.track;
        }
        self.take_events(now);
    }

    /// Answers an offer of the router.
    pub fn answer_offer(&mut self, now: Instant, offer_id: u64, sdp: &str, tracks: &[MidTrack]) {
        if self.subscriber.is_none() {
            self.subscriber = Some(self.new_peer(now, Direction::Subscribe));
        }
        self.map_sections(now, tracks);
        let Some(peer) = &mut self.subscriber else {
            return;
        };
        // str0m answers `actpass` with `passive`; browsers with `active` (RFC 8842 §5.3).
        let role = if self.config.dtls_passive {
            "a=setup:active"
        } else {
            "a=setup:passive"
        };
        let sdp = sdp.replace("a=setup:actpass", role);
        let answer = SdpOffer::from_sdp_string(&sdp)
            .map_err(|e| e.to_string())
            .and_then(|offer| {
                let api = peer.rtc.sdp_api();
                api.accept_offer(offer).map_err(|e| e.to_string())
            });
        peer.forget_mids();
        peer.handle_timeout(now);
        match answer {
            Ok(answer) => {
                let sdp = self.filtered(Direction::Subscribe, answer.to_sdp_string());
                self.request(Action::AcceptAnswer { offer_id, sdp });
            }
            Err(error) => self.violation(format!("offer {offer_id} is not acceptable: {error}")),
        }
        self.take_events(now);
    }

    pub(super) fn map_sections(&mut self, now: Instant, tracks: &[MidTrack]) {
        for MidTrack { mid, track } in tracks {
            let section = self
                .sections
                .entry(Mid::from(mid.as_str()))
                .or_insert(Section {
                    track: None,
                    previous: None,
                });
            if section.track != *track {
                if let Some(before) = section.track {
                    section.previous = Some((before, now + REMAP_GRACE));
                }
                section.track = *track;
            }
            let Some(id) = track else { continue };
            match self.tracks.get(id) {
                Some(info) => {
                    let info = info.clone();
                    let inbound = self
                        .inbound
                        .entry(*id)
                        .or_insert_with(|| Inbound::new(info));
                    if self.config.decodes {
                        inbound.decoding.get_or_insert_default();
                    }
                }
                None => {
                    let text = format!("offered track {id:?} that was never announced");
                    self.violation(text);
                }
            }
        }
    }

    pub(super) fn new_peer(&self, now: Instant, direction: Direction) -> Peer {
        let config = (self.config.rtc_factory)();
        let protocol = match self.config.tcp {
            true => Protocol::Tcp,
            false => Protocol::Udp,
        };
        let local = match direction {
            Direction::Publish => self.config.publish_address,
            Direction::Subscribe => self.config.subscribe_address,
        };
        Peer::over(protocol, now, local, config)
    }

    pub(super) fn filtered(&mut self, direction: Direction, sdp: String) -> String {
        match &mut self.sdp_filter {
            Some(filter) => filter(direction, sdp),
            None => sdp,
        }
    }
}

fn simulcast_of(spec: &TrackSpec) -> Option<Simulcast> {
    let mut simulcast = Simulcast::new();
    for layer in &spec.layers {
        simulcast.add_send_layer(SimulcastLayer::new(layer.rid?));
    }
    Some(simulcast)
}

/// The two channels of the rooms protocol.
fn channel_configs() -> [ChannelConfig; 2] {
    [
        ChannelConfig {
            label: "reliable".to_owned(),
            ..Default::default()
        },
        ChannelConfig {
            label: "unreliable".to_owned(),
            ordered: false,
            reliability: Reliability::MaxRetransmits { retransmits: 0 },
            ..Default::default()
        },
    ]
}

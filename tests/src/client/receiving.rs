//! What the peer connections report: media and data in, key frame requests.

use std::time::{Duration, Instant};

use rillway_core::id::ParticipantId;
use str0m::Event;
use str0m::channel::ChannelId;
use str0m::media::{KeyframeRequest, KeyframeRequestKind, Mid};
use str0m::rtp::{RtpPacket, Ssrc};

use super::{Client, Message};
use crate::inbound::Arrival;
use crate::payload;
use crate::peer::Peer;
use crate::scalable::receiver::Received;

impl Client {
    pub(super) fn take_events(&mut self, now: Instant) {
        while let Some(event) = self.publisher.as_mut().and_then(Peer::poll_event) {
            match event {
                Event::KeyframeRequest(request) => self.keyframe_requested(request),
                Event::ChannelOpen(id, _) => self.channel_open(id),
                Event::ChannelData(data) => self.channel_data(now, data.id, &data.data),
                Event::ChannelClose(id) => self.channels.retain(|_, (c, _)| *c != id),
                Event::Connected => self.restart_beats(now),
                Event::RtpPacket(_) => {
                    self.violation("media came on the publishing connection".to_owned());
                }
                _ => {}
            }
        }
        while let Some(event) = self.subscriber.as_mut().and_then(Peer::poll_event) {
            match event {
                Event::RtpPacket(packet) => self.received(now, &packet),
                // Counted from the start of each stream.
                Event::MediaIngressStats(stats) => {
                    self.nacks_of.insert(stats.mid, stats.nacks);
                    self.nacks = self.nacks_of.values().sum();
                }
                _ => {}
            }
        }
    }

    /// Frames are due from the moment they can be sent.
    pub(super) fn restart_beats(&mut self, now: Instant) {
        for published in &mut self.published {
            published.beat.next = published.beat.next.max(now);
        }
    }

    pub(super) fn keyframe_requested(&mut self, request: KeyframeRequest) {
        let Some(published) = self.published.iter_mut().find(|p| p.mid == request.mid) else {
            return;
        };
        for (spec, state) in published.spec.layers.iter().zip(&mut published.layers) {
            if request.rid.is_none_or(|r| spec.rid == Some(&*r)) {
                state.keyframe_wanted = true;
                state.keyframe_requests += 1;
            }
        }
    }

    pub(super) fn channel_open(&mut self, id: ChannelId) {
        for (channel, open) in self.channels.values_mut() {
            *open |= *channel == id;
        }
    }

    pub(super) fn channel_data(&mut self, now: Instant, id: ChannelId, data: &[u8]) {
        let label = self.channels.iter().find(|(_, (c, _))| *c == id);
        let Some((label, _)) = label else { return };
        let Some((from, payload)) = data.split_first_chunk::<8>() else {
            self.violation(format!(
                "data message of {} bytes without a sender",
                data.len()
            ));
            return;
        };
        self.messages.push(Message {
            at: now,
            label: label.clone(),
            from: ParticipantId(u64::from_be_bytes(*from)),
            payload: payload.to_vec(),
        });
    }

    pub(super) fn received(&mut self, now: Instant, packet: &RtpPacket) {
        if let Some(kept) = &mut self.kept {
            kept.push(Received::of(packet));
            return;
        }
        let Some(mid) = self
            .subscriber
            .as_mut()
            .and_then(|p| p.mid_of(packet.header.ssrc))
        else {
            self.unknown_packets += 1;
            return;
        };
        let parsed = match payload::read_body(&packet.payload) {
            Ok(body) => Ok((None, body)),
            Err(_) => payload::read_video(&packet.payload).map(|(vp8, body)| (Some(vp8), body)),
        };
        let (vp8, body) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                self.unknown_packets += 1;
                self.violation(format!("payload on section {mid}: {error}"));
                return;
            }
        };
        self.check_origin(now, mid, &body);
        let Some(inbound) = self.inbound.get_mut(&body.track) else {
            self.unknown_packets += 1;
            return;
        };
        let arrival = Arrival {
            sequence: *packet.seq_no,
            timestamp: packet.header.timestamp,
            ssrc: *packet.header.ssrc,
            marker: packet.header.marker,
            vp8,
            body,
        };
        let sent = self.config.epoch + Duration::from_micros(body.sent_micros);
        let delay = now.saturating_duration_since(sent);
        inbound.delays.add(delay.as_micros() as u64);
        let mut broken = inbound.note(&arrival, packet.payload.len());
        if let Some(decoding) = &mut inbound.decoding {
            let micros = now.saturating_duration_since(self.config.epoch).as_micros() as u64;
            broken.extend(decoding.note(inbound.info.kind, &arrival, micros));
        }
        for text in broken {
            self.violation(format!("track {:?}: {text}", body.track));
        }
    }

    /// When the next keyframe is to be asked for, as far as known.
    pub(super) fn asks_at(&self) -> Option<Instant> {
        self.subscriber.as_ref().filter(|_| self.config.decodes)?;
        let present = self
            .inbound
            .iter()
            .filter(|(id, _)| self.tracks.contains_key(id));
        let decodings = present.filter_map(|(_, i)| i.decoding.as_ref());
        let next = decodings.filter_map(|d| d.asks_at()).min()?;
        Some(self.config.epoch + Duration::from_micros(next))
    }

    /// Asks for the keyframes without which decoders cannot go on.
    pub(super) fn ask_keyframes(&mut self, now: Instant) {
        if !self.config.decodes {
            return;
        }
        let micros = now.saturating_duration_since(self.config.epoch).as_micros() as u64;
        let Some(peer) = &mut self.subscriber else {
            return;
        };
        let tracks = &self.tracks;
        let present = self
            .inbound
            .iter_mut()
            .filter(|(id, _)| tracks.contains_key(id));
        for (_, inbound) in present {
            let wanted = inbound.decoding.as_mut().is_some_and(|d| d.asks(micros));
            let Some(ssrc) = inbound.ssrcs.last().filter(|_| wanted) else {
                continue;
            };
            let mut api = peer.rtc.direct_api();
            if let Some(stream) = api.stream_rx(&Ssrc::from(*ssrc)) {
                stream.request_keyframe(KeyframeRequestKind::Pli);
            }
        }
        peer.handle_timeout(now);
    }

    /// Isolation: a payload comes from this room, from the track its section was offered for, and
    /// from that track's owner.
    pub(super) fn check_origin(&mut self, now: Instant, mid: Mid, body: &payload::Body) {
        if body.room != self.room_hash {
            self.violation(format!("packet of another room: {body:?}"));
        }
        if Some(body.publisher) == self.me {
            self.violation("own packet came back".to_owned());
        }
        let expected = self.sections.get(&mid).is_some_and(|s| {
            let late = s
                .previous
                .is_some_and(|(track, until)| track == body.track && now < until);
            s.track == Some(body.track) || late
        });
        if !expected {
            let at = now.saturating_duration_since(self.config.epoch);
            let sent = Duration::from_micros(body.sent_micros);
            let (track, number, layer) = (body.track, body.sequence, body.layer);
            self.violation(format!(
                "section {mid} carries {track:?} at {at:?}: packet {number} of layer {layer}, sent at {sent:?}"
            ));
        }
        let owner = self.inbound.get(&body.track).map(|i| i.info.owner);
        if owner != Some(body.publisher) {
            self.violation(format!(
                "track {:?} of {owner:?} carries media of {:?}",
                body.track, body.publisher
            ));
        }
    }
}

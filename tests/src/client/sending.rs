//! Media and data out.

use std::time::Instant;

use rillway_core::api::MediaKind;
use str0m::media::{Pt, Rid};
use str0m::rtp::{ExtensionValues, RtpWrite};

use super::{Client, Published};
use crate::media::{LayerSpec, LayerState, TrackSpec};
use crate::payload::{self, Body};
use crate::peer::Peer;
use crate::scalable::Outgoing;
use crate::scalable::descriptor::Told;

/// First RTP sequence number: just below the wrap of 16 bits, so that every test of some length
/// crosses it.
const FIRST_SEQUENCE: u64 = 65_000;

impl Client {
    /// Whether a data channel can be written to.
    pub fn is_open(&self, label: &str) -> bool {
        self.channels.get(label).is_some_and(|(_, open)| *open)
    }

    /// Writes to a data channel. False if it is not open or its buffer is full.
    pub fn send_data(&mut self, now: Instant, label: &str, data: &[u8]) -> bool {
        let Some(((id, _), peer)) = self
            .channels
            .get(label)
            .copied()
            .zip(self.publisher.as_mut())
        else {
            return false;
        };
        let Some(mut channel) = peer.rtc.channel(id) else {
            return false;
        };
        let sent = channel.write(true, data).unwrap_or(false);
        peer.handle_timeout(now);
        self.take_events(now);
        sent
    }

    /// Sends a frame of somebody else's making on one track, which makes none itself (`running` is false), in
    /// its only layer. `again`: it is sent again to whoever asks for it. False: the track cannot be sent on yet.
    pub fn send_payloads(
        &mut self,
        now: Instant,
        index: usize,
        payloads: &[Vec<u8>],
        again: bool,
    ) -> bool {
        let (Some(peer), Some(published)) =
            (self.publisher.as_mut(), self.published.get_mut(index))
        else {
            return false;
        };
        let Published {
            spec,
            layers,
            beat,
            mid,
            ..
        } = published;
        let section = peer.rtc.media(*mid);
        let pt = section.and_then(|m| m.remote_pts().first().copied());
        let (Some(pt), [state]) = (pt, layers.as_mut_slice()) else {
            return false;
        };
        let is_video = spec.kind == MediaKind::Video;
        for (number, payload) in payloads.iter().enumerate() {
            let sequence = FIRST_SEQUENCE + u64::from(state.sequence);
            let timestamp = beat.timestamp(spec);
            let write = RtpWrite::new(pt, sequence.into(), timestamp, now, payload.as_slice())
                .marker(is_video && number + 1 == payloads.len())
                .nackable(again);
            let mut api = peer.rtc.direct_api();
            let Some(stream) = api.stream_tx_by_mid(*mid, None) else {
                return false;
            };
            stream.write_rtp(write);
            state.sequence += 1;
            peer.handle_timeout(now);
        }
        state.frame += 1;
        beat.advance(now, spec);
        self.take_events(now);
        true
    }

    /// Sends a picture of somebody else's making on one track, which makes none itself (`running` is false). False:
    /// the track cannot be sent on yet.
    pub fn send_picture(&mut self, now: Instant, index: usize, packets: &[Outgoing]) -> bool {
        let (Some(peer), Some(published)) =
            (self.publisher.as_mut(), self.published.get_mut(index))
        else {
            return false;
        };
        let section = peer.rtc.media(published.mid);
        let pt = section.and_then(|m| m.remote_pts().first().copied());
        let (Some(pt), [state]) = (pt, published.layers.as_mut_slice()) else {
            return false;
        };
        let timestamp = published.beat.timestamp(&published.spec);
        for packet in packets {
            let sequence = FIRST_SEQUENCE + u64::from(state.sequence);
            let payload = packet.payload.as_slice();
            let mut values = ExtensionValues::default();
            if let Some(told) = &packet.dependency {
                values.user_values.set(Told(told.clone()));
            }
            let write = RtpWrite::new(pt, sequence.into(), timestamp, now, payload)
                .marker(packet.marker)
                .nackable(true)
                .ext_vals(values);
            let mut api = peer.rtc.direct_api();
            let Some(stream) = api.stream_tx_by_mid(published.mid, None) else {
                return false;
            };
            stream.write_rtp(write);
            state.sequence += 1;
            peer.handle_timeout(now);
        }
        published.beat.advance(now, &published.spec);
        self.take_events(now);
        true
    }

    /// Sends the frame that is due of one track, in all its layers.
    pub(super) fn send_frame(&mut self, now: Instant, index: usize) {
        let Client {
            publisher,
            published,
            scratch,
            config,
            me,
            room_hash,
            ..
        } = self;
        let (Some(peer), Some(published), Some(me)) =
            (publisher.as_mut(), published.get_mut(index), *me)
        else {
            return;
        };
        let Published {
            spec,
            layers,
            beat,
            mid,
            ..
        } = published;
        let section = peer.rtc.media(*mid);
        let pt = section.and_then(|m| m.remote_pts().first().copied());
        if let (Some(pt), Some(track)) = (pt, published.track) {
            let mut body = Body {
                room: *room_hash,
                publisher: me,
                track,
                sent_micros: now.saturating_duration_since(config.epoch).as_micros() as u64,
                sequence: 0,
                frame: 0,
                index: 0,
                count: 0,
                layer: 0,
                keyframe: true,
            };
            for (number, (layer, state)) in spec.layers.iter().zip(layers).enumerate() {
                if state.paused {
                    continue;
                }
                body.layer = number as u8;
                start_frame(&mut body, spec, layer, state);
                let mut frame = Frame {
                    pt,
                    timestamp: beat.timestamp(spec),
                    stream: (*mid, layer.rid.map(Rid::from)),
                };
                frame.send(now, peer, spec, layer, state, &mut body, scratch);
                state.frame += 1;
            }
        }
        beat.advance(now, spec);
    }
}

/// Fills in what is the same for all packets of a layer's frame.
fn start_frame(body: &mut Body, spec: &TrackSpec, layer: &LayerSpec, state: &mut LayerState) {
    let is_video = spec.kind == MediaKind::Video;
    let beat = spec.keyframe_every > 0 && state.frame.is_multiple_of(spec.keyframe_every);
    body.frame = state.frame;
    body.count = layer.packets_per_frame;
    body.keyframe = !is_video || state.frame == 0 || state.keyframe_wanted || beat;
    state.keyframe_wanted = false;
    state.keyframes += u32::from(body.keyframe && is_video);
}

struct Frame {
    pt: Pt,
    timestamp: u32,
    stream: (str0m::media::Mid, Option<Rid>),
}

impl Frame {
    #[expect(clippy::too_many_arguments, reason = "the parts of one split borrow")]
    fn send(
        &mut self,
        now: Instant,
        peer: &mut Peer,
        spec: &TrackSpec,
        layer: &LayerSpec,
        state: &mut LayerState,
        body: &mut Body,
        scratch: &mut Vec<u8>,
    ) {
        let is_video = spec.kind == MediaKind::Video;
        for index in 0..layer.packets_per_frame {
            body.index = index;
            body.sequence = state.sequence;
            scratch.clear();
            if is_video {
                payload::write_video(scratch, body, layer.size, layer.payload_bytes);
            } else {
                payload::write_body(scratch, body, layer.payload_bytes);
            }
            let sequence = FIRST_SEQUENCE + u64::from(state.sequence);
            let last = index + 1 == layer.packets_per_frame;
            let mut write = RtpWrite::new(
                self.pt,
                sequence.into(),
                self.timestamp,
                now,
                scratch.as_slice(),
            )
            .marker(is_video && last)
            .nackable(is_video);
            if !is_video {
                write = write.ext_vals(ExtensionValues {
                    audio_level: Some(spec.level),
                    voice_activity: Some(spec.level > -50),
                    ..Default::default()
                });
            }
            let (mid, rid) = self.stream;
            let mut api = peer.rtc.direct_api();
            let Some(stream) = api.stream_tx_by_mid(mid, rid) else {
                return;
            };
            stream.write_rtp(write);
            state.sequence += 1;
            peer.handle_timeout(now);
        }
    }
}

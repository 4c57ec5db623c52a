//! From a publisher's packet to its subscribers'.

use std::time::Instant;

use str0m::format::{CodecConfig, PayloadParams};
use str0m::media::{KeyframeRequestKind, Pt};
use str0m::rtp::RtpPacket;

use super::Shard;
use super::incoming::{Incoming, Observed, Told, When, format_by, outgoing};
use super::slab::{SubscriptionKey, TrackKey, TransportKey};
use super::timers::Timer;
use crate::api::MediaKind;
use crate::crossing::{Crossing, Kind};
use crate::egress::Departure;
use crate::egress::extensions::dependency_of;
use crate::egress::history::Packet;
use crate::egress::sent::Origin;
use crate::guard::quietly;
use crate::layers::rewrite::Arrival;
use crate::layers::{Layer, descriptor};
use crate::limits::{ROOM_TICK, RTP_PAYLOAD_BYTES};
use crate::mutants::{self, Mutant};
use crate::stats::DropCause;
use crate::subscription::{Outlet, Verdict};
use crate::track::PayloadFormat;
use crate::transport::streams::Destination;

/// What one subscriber gets of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passage {
    Nothing,
    /// Its number alone.
    Number,
    Whole,
}

impl Shard {
    pub(super) fn on_packet(&mut self, now: Instant, key: TransportKey, packet: &RtpPacket) {
        self.stats.rtp_received += 1;
        self.stats.rtp_received_bytes += packet.payload.len() as u64;
        if packet.payload.len() > RTP_PAYLOAD_BYTES {
            return self.count_drop(DropCause::Malformed);
        }
        if !self.may_publish_media(now, key, packet.payload.len()) {
            return self.count_drop(DropCause::RateLimited);
        }
        let Some(destination) = self.destination(now, key, packet) else {
            return;
        };
        let Some(incoming) = self.examine(now, destination, packet) else {
            return;
        };
        self.record(&incoming, packet);
        let Some(track) = self.tracks.get(destination.track) else {
            return;
        };
        let crosses = !track.watchers.is_empty();
        if track.subscriptions.is_empty() && !crosses {
            return;
        }
        let passed_on = outgoing(packet, &incoming);
        if crosses {
            self.cross_packet(&incoming, packet, &passed_on);
        }
        self.pass_on(now, incoming, &passed_on);
    }

    /// Forwards a packet to whoever it is due to here.
    pub(super) fn pass_on(&mut self, now: Instant, mut incoming: Incoming, passed_on: &Packet) {
        let Some(track) = self.tracks.get_mut(incoming.track) else {
            return;
        };
        if track.subscriptions.is_empty() {
            return;
        }
        // Nobody may leave the list while it is walked.
        let subscriptions = std::mem::take(&mut track.subscriptions);
        incoming.packet = self.egress.admit(passed_on.clone());
        let (mut forwarded, mut sent) = (0, false);
        for subscription in &subscriptions {
            let passage = self.forward(*subscription, &incoming);
            forwarded += u64::from(passage == Passage::Whole);
            sent |= passage != Passage::Nothing;
        }
        self.stats.rtp_forwarded += forwarded;
        self.stats.rtp_forwarded_bytes += forwarded * incoming.payload_bytes;
        let Some(track) = self.tracks.get_mut(incoming.track) else {
            return;
        };
        track.subscriptions = subscriptions;
        // Audio is never asked for again.
        if sent
            && incoming.video
            && let Some(layer) = track.layers.get_mut(usize::from(incoming.layer))
        {
            layer.history.keep(now, passed_on);
        }
    }

    /// Whether the grant's bound on the bit rate lets a packet through.
    fn may_publish_media(&mut self, now: Instant, key: TransportKey, bytes: usize) -> bool {
        let owner = self
            .transports
            .get(key)
            .map(|transport| transport.participant);
        let bucket = owner
            .and_then(|owner| self.participants.get_mut(owner))
            .and_then(|participant| participant.media.as_mut());
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        bucket.is_none_or(|bucket| bucket.take(now, bytes))
    }

    /// Which layer of which track a packet belongs to.
    fn destination(
        &mut self,
        now: Instant,
        key: TransportKey,
        packet: &RtpPacket,
    ) -> Option<Destination> {
        let transport = self.transports.get_mut(key)?;
        transport.traffic.packets_received += 1;
        transport.traffic.bytes_received +=
            (packet.header.header_len + packet.payload.len()) as u64;
        let ssrc = *packet.header.ssrc;
        if let Some(known) = transport.streams.destination(ssrc) {
            return Some(known);
        }
        let stream = packet.header.ssrc;
        let found = transport
            .guard(|rtc| {
                let mut api = rtc.direct_api();
                let stream = api.stream_rx(&stream)?;
                Some((stream.mid(), stream.rid()))
            })
            .ok()??;
        let (mid, rid) = found;
        let track_key = transport.streams.track(mid)?;
        let layer = self.tracks.get(track_key)?.layer_by_rid(rid)?;
        let destination = Destination {
            track: track_key,
            layer,
        };
        if !transport.streams.map(ssrc, destination) {
            self.end_transport(now, key, "too many SSRCs");
            return None;
        }
        Some(destination)
    }

    /// What a payload type of a track stands for. If that is another codec than before, the track's
    /// subscriptions need other sections.
    pub(super) fn format_of(
        &mut self,
        track_key: TrackKey,
        payload_type: Pt,
    ) -> Option<PayloadFormat> {
        let track = self.tracks.get(track_key)?;
        if let Some(format) = track.format
            && format.payload_type == payload_type
        {
            return Some(format);
        }
        let format = format_by(&self.sent_params(track_key, payload_type)?);
        let track = self.tracks.get_mut(track_key)?;
        track.format = Some(format);
        let before = std::mem::replace(&mut track.codec, format.codec);
        if before != format.codec {
            track.layers.iter_mut().for_each(Layer::forget_levels);
            for subscription in track.subscriptions.clone() {
                self.relocate(subscription);
            }
        }
        Some(format)
    }

    /// What a payload type of a track's publisher stands for. `None` too for a codec of the other medium: the
    /// section of a subscriber would be left without any format, and its whole offer malformed.
    pub(super) fn sent_params(&self, key: TrackKey, payload_type: Pt) -> Option<PayloadParams> {
        let track = self.tracks.get(key)?;
        if let Some(mirror) = &track.mirror {
            return mirror.params.filter(|params| params.pt() == payload_type);
        }
        let video = track.kind == MediaKind::Video;
        let rtc = self.transports.get(track.transport)?.rtc();
        let mut params = rtc.codec_config().params().iter();
        let found = params.find(|params| params.pt() == payload_type);
        found
            .filter(|params| params.spec().codec.is_video() == video)
            .copied()
    }

    /// Measures a publisher's packet and says what it is; `None`: it goes nowhere.
    fn examine(
        &mut self,
        now: Instant,
        destination: Destination,
        packet: &RtpPacket,
    ) -> Option<Incoming> {
        let format = self.format_of(destination.track, packet.header.payload_type)?;
        let dependency = dependency_of(&packet.header.ext_vals);
        let observed = Observed {
            ssrc: *packet.header.ssrc,
            sequence: *packet.seq_no,
            timestamp: packet.header.timestamp,
            header_bytes: packet.header.header_len,
            payload: &packet.payload,
            marker: packet.header.marker,
            dependency: dependency.as_deref(),
            audio_level: packet.header.ext_vals.audio_level,
            when: When::Arrived(packet.timestamp),
        };
        self.observe(now, destination, format, &observed)
    }

    /// Measures a packet and says what it is; `None`: it goes nowhere.
    pub(super) fn observe(
        &mut self,
        now: Instant,
        destination: Destination,
        format: PayloadFormat,
        packet: &Observed<'_>,
    ) -> Option<Incoming> {
        let track = self.tracks.get_mut(destination.track)?;
        let video = track.kind == MediaKind::Video;
        let layer = track.layers.get_mut(usize::from(destination.layer))?;
        let padding = packet.payload.is_empty();
        let resumes = !padding && !layer.is_active(now);
        let place = (packet.sequence, packet.timestamp);
        let bytes = packet.bytes();
        if video && !padding && layer.has_lost_for_good(now, packet.sequence) {
            layer.want_keyframe();
        }
        // Padding does not show that the layer is being sent.
        let in_order = !padding && layer.on_packet(now, packet.ssrc, place, bytes);
        let told = match video && !padding {
            true => Told::read(now, layer, format.codec, packet, in_order),
            false => Told::default(),
        };
        let captured = match packet.when {
            When::Captured(at) => at,
            When::Arrived(at) => {
                let clock = &self.participants.get(track.owner)?.clock;
                layer.captured(clock, packet.timestamp, format.clock_rate, at)
            }
        };
        let (epoch, room, muted) = (layer.epoch, track.room, track.is_muted());
        if let Some(level) = packet.audio_level
            && !muted
        {
            track.level.on_packet(level);
        }
        if let Some(room_state) = self.rooms.get_mut(room) {
            self.timers
                .arm(&mut room_state.timer, Timer::Room(room), now + ROOM_TICK);
        }
        if muted {
            return None;
        }
        if resumes && video {
            self.choose_layers(now, destination.track);
        }
        Some(Incoming {
            track: destination.track,
            arrival: Arrival {
                sequence: packet.sequence,
                timestamp: packet.timestamp,
                captured,
                clock_rate: format.clock_rate,
            },
            format,
            video,
            layer: destination.layer,
            epoch,
            keyframe: told.begins_keyframe && in_order,
            begins_keyframe: told.begins_keyframe,
            descriptor: video
                .then(|| descriptor::parse(format.codec, packet.payload))
                .flatten(),
            frame: told.frame,
            top: told.top,
            payload_bytes: packet.payload.len() as u64,
            packet: 0,
        })
    }

    /// Where and as what a packet leaves for a subscriber; `None`: it is not due there.
    fn way_out(
        &mut self,
        key: SubscriptionKey,
        incoming: &Incoming,
    ) -> Option<(Outlet, Verdict, Pt)> {
        let subscription = self.subscriptions.get(key)?;
        let outlet = subscription.outlet?;
        let verdict = subscription.judge(incoming.layer, incoming.epoch, incoming.keyframe);
        let begins_with_nothing = verdict == Verdict::Switch && incoming.is_padding();
        if verdict == Verdict::Skip
            || begins_with_nothing
            || !self.transports.get(outlet.transport)?.is_connected()
        {
            return None;
        }
        let from = incoming.format.payload_type;
        let payload_type = match subscription.payload_type(from) {
            Some(known) => known,
            None => self.choose_payload_type(key, outlet, from),
        };
        Some((outlet, verdict, payload_type?))
    }

    /// Queues a packet for one subscriber, if it is due there.
    fn forward(&mut self, key: SubscriptionKey, incoming: &Incoming) -> Passage {
        let Some((outlet, verdict, payload_type)) = self.way_out(key, incoming) else {
            return Passage::Nothing;
        };
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return Passage::Nothing;
        };
        let due = incoming.due();
        if verdict == Verdict::Switch {
            subscription.switch(&due);
        }
        let before = subscription.inside_now();
        let placed = subscription.place(&due);
        // Another layer inside the same stream is news as well.
        let news = subscription.inside_now() != before;
        let Some((place, variation)) = placed else {
            if news {
                self.tell_layer(key);
            }
            return Passage::Nothing;
        };
        let packet = match variation.hollow {
            true => self.egress.admit_hollow_of(incoming.packet),
            false => Some(incoming.packet),
        };
        let Some(packet) = packet else {
            return Passage::Nothing;
        };
        let departure = Departure {
            packet,
            stream: outlet.stream,
            again: false,
            waits: incoming.video,
            sequence: place.sequence,
            origin: Origin {
                track: incoming.track,
                layer: incoming.layer,
                epoch: incoming.epoch,
                shift: subscription.shift(),
                payload_type: *payload_type,
            },
            variation,
        };
        let Some(transport) = self.transports.get_mut(outlet.transport) else {
            return Passage::Nothing;
        };
        let sender = transport.sender.as_mut();
        let queued = sender.is_some_and(|sender| {
            if verdict == Verdict::Switch && incoming.video {
                self.stats.pacer_dropped += sender.supersede(outlet.stream);
            }
            sender.queue(departure)
        });
        if queued && !variation.hollow {
            subscription.packets += 1;
            subscription.bytes += incoming.payload_bytes;
        }
        if queued && !transport.sending {
            transport.sending = true;
            self.sending.push(outlet.transport);
        }
        if news || (verdict == Verdict::Switch && incoming.video) {
            self.tell_layer(key);
        }
        match (queued, variation.hollow) {
            (false, _) => Passage::Nothing,
            (true, true) => Passage::Number,
            (true, false) => Passage::Whole,
        }
    }

    /// Finds the subscriber's payload type for a new one of the publisher, and remembers it.
    fn choose_payload_type(
        &mut self,
        key: SubscriptionKey,
        outlet: Outlet,
        from: Pt,
    ) -> Option<Pt> {
        let track = self.subscriptions.get(key)?.track;
        let to = self.map_payload_type(track, outlet, from);
        if let Some(subscription) = self.subscriptions.get_mut(key) {
            subscription.set_payload_type(from, to);
        }
        to
    }

    /// The subscriber's payload type for what the publisher sends: the same codec with a compatible
    /// format (profile, packetization mode), in the section's negotiated list.
    pub(super) fn map_payload_type(&self, track: TrackKey, outlet: Outlet, from: Pt) -> Option<Pt> {
        let sent = self.sent_params(track, from)?;
        let rtc = self.transports.get(outlet.transport)?.rtc();
        let accepted = rtc.media(outlet.mid)?.remote_pts();
        let params: Vec<PayloadParams> = rtc
            .codec_config()
            .params()
            .iter()
            .filter(|params| accepted.contains(&params.pt()))
            .copied()
            .collect();
        let config = CodecConfig::new_from_payload_params(params);
        let matching = quietly("payload type", || config.match_params(sent))?;
        matching.map(PayloadParams::pt)
    }

    /// Keyframes for everybody who waits for one of this track.
    pub(super) fn ask_keyframes_for(&mut self, now: Instant, key: TrackKey) {
        self.choose_layers(now, key);
    }

    /// Requests a keyframe of a layer: now, or when the interval allows.
    pub(super) fn ask_keyframe(&mut self, now: Instant, key: TrackKey, layer: u8) {
        let Some(track) = self.tracks.get_mut(key) else {
            return;
        };
        let (mid, transport_key, room) = (track.mid, track.transport, track.room);
        if track.kind != MediaKind::Video || mutants::is(Mutant::NoKeyframes) {
            return;
        }
        let Some(state) = track.layers.get_mut(usize::from(layer)) else {
            return;
        };
        state.want_keyframe();
        if let Some(room_state) = self.rooms.get_mut(room) {
            self.timers
                .arm(&mut room_state.timer, Timer::Room(room), now + ROOM_TICK);
        }
        if let Some(mirror) = &track.mirror {
            if state.take_keyframe_request(now) {
                let asked = Crossing(Kind::Keyframe(track.id, layer));
                self.outbound.push((mirror.worker, asked));
            }
            return;
        }
        let Some(transport) = self.transports.get_mut(transport_key) else {
            return;
        };
        if !transport.is_connected() || state.ssrc.is_none() || !state.take_keyframe_request(now) {
            return;
        }
        let rid = state.rid;
        let asked = transport.guard(|rtc| {
            let mut api = rtc.direct_api();
            // A lone stream may be known without its rid.
            let found = api.stream_rx_by_mid(mid, rid).is_some();
            let rid = if found { rid } else { None };
            match api.stream_rx_by_mid(mid, rid) {
                Some(stream) => {
                    stream.request_keyframe(KeyframeRequestKind::Pli);
                    true
                }
                None => false,
            }
        });
        match asked {
            Ok(true) => {
                transport.traffic.plis += 1;
                self.stats.keyframe_requests_sent += 1;
                self.mark(transport_key);
            }
            Ok(false) => {}
            Err(fault) => self.fail_transport(now, transport_key, &fault),
        }
    }
}

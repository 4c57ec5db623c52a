//! What engines report.

use std::time::Instant;

use str0m::media::{Mid, SenderFeedback};
use str0m::{Event, IceConnectionState};

use super::Shard;
use super::slab::TransportKey;
use crate::api::{Direction, TransportState};
use crate::limits::DISCONNECT_TIMEOUT;
use crate::path::PathKind;
use crate::transport::channels::Label;

impl Shard {
    pub(super) fn on_engine_event(&mut self, now: Instant, key: TransportKey, event: Event) {
        match event {
            Event::RtpPacket(packet) => self.on_packet(now, key, &packet),
            Event::SenderFeedback(report) => self.on_sender_report(key, &report),
            Event::IceConnectionStateChange(state) => self.on_ice_state(now, key, state),
            Event::Connected => self.on_secured(now, key),
            Event::Closed => {
                if let Some(transport) = self.transports.get_mut(key) {
                    transport.closed_by_client = true;
                }
            }
            Event::ChannelOpen(id, label) => self.on_channel_open(key, id, &label),
            Event::ChannelClose(id) => {
                if let Some(transport) = self.transports.get_mut(key) {
                    transport.channels.close(id);
                }
            }
            Event::ChannelData(data) => self.on_channel_data(now, key, data.id, &data.data),
            Event::ChannelBufferedAmountLow(_) => self.pump(now, key),
            _ => {}
        }
    }

    /// The network toward a subscriber carries this much.
    pub(super) fn on_estimate(&mut self, now: Instant, key: TransportKey, bps: u64) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        if transport.direction != Direction::Subscribe || !transport.network.on_estimate(bps) {
            return;
        }
        let subscriber = transport.participant;
        self.fit_subscriber(now, subscriber);
        if let Some(room) = self.participants.get(subscriber).map(|p| p.room) {
            self.touch(room);
        }
    }

    fn on_ice_state(&mut self, now: Instant, key: TransportKey, state: IceConnectionState) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        match state {
            IceConnectionState::Connected | IceConnectionState::Completed => {
                transport.reachable = true;
                transport.disconnected_since = None;
                self.connected(now, key);
            }
            IceConnectionState::Disconnected => {
                transport.reachable = false;
                // Nothing was ever there to be lost.
                if transport.state == TransportState::New {
                    return;
                }
                transport.disconnected_since = Some(now);
                let timer = super::timers::Timer::Transport(key);
                self.timers
                    .arm(&mut transport.timer, timer, now + DISCONNECT_TIMEOUT);
                self.suspend_outlets(key);
                self.set_state(key, TransportState::Disconnected);
            }
            // After a restart media goes on along the old path until there is a new one.
            IceConnectionState::New | IceConnectionState::Checking => {}
        }
    }

    fn on_secured(&mut self, now: Instant, key: TransportKey) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        transport.secured = true;
        let waited = now.saturating_duration_since(transport.negotiated);
        self.stats.connects += 1;
        self.stats.connect_micros_sum += u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.connected(now, key);
    }

    /// ICE or DTLS came about; with both, media flows.
    fn connected(&mut self, now: Instant, key: TransportKey) {
        let Some(transport) = self.transports.get(key) else {
            return;
        };
        if !transport.is_connected() {
            return;
        }
        let (owner, direction) = (transport.participant, transport.direction);
        let before = transport.state;
        self.set_state(key, TransportState::Connected);
        if before != TransportState::Connected {
            self.say_path(key, None);
        }
        if direction != Direction::Subscribe {
            return;
        }
        let Some(participant) = self.participants.get(owner) else {
            return;
        };
        let subscriptions: Vec<_> = participant.subscriptions.iter().map(|s| s.1).collect();
        for subscription in subscriptions {
            self.choose_layer(now, subscription);
        }
    }

    /// The client chose a path anew: one of another kind is told of.
    pub(super) fn follow_path(&mut self, key: TransportKey) {
        let Some(transport) = self.transports.get(key) else {
            return;
        };
        let Some(before) = transport.said else {
            return;
        };
        let kind = transport.path_kind(&self.factory);
        if transport.state == TransportState::Connected && kind != Some(before) {
            self.say_path(key, Some(before));
        }
    }

    /// Which way a client got through and why by none that costs less, for operators whose users complain; and
    /// counted. `before`: the kind it had, if it was connected all the time.
    fn say_path(&mut self, key: TransportKey, before: Option<PathKind>) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let Some(kind) = transport.path_kind(&self.factory) else {
            return;
        };
        let why = transport.path_reason(&self.factory, kind);
        transport.said = Some(kind);
        let direction = transport.direction;
        let Some(participant) = self.participants.get(transport.participant) else {
            return;
        };
        let participant = participant.info.id.0;
        let why = why.map(tracing::field::display);
        match before {
            None => {
                self.stats.connects_by_path[kind as usize] += 1;
                tracing::info!(participant, ?direction, path = %kind, why, "media connected");
            }
            Some(before) => {
                self.stats.path_changes[kind as usize] += 1;
                tracing::info!(participant, ?direction, from = %before, path = %kind, why, "media path changed");
            }
        }
    }

    /// Nothing is sent without consent (RFC 7675 §5.1); video goes on from a keyframe.
    fn suspend_outlets(&mut self, key: TransportKey) {
        let Some(transport) = self.transports.get(key) else {
            return;
        };
        for line in &transport.lines.lines {
            if let Some(subscription) = line.subscription
                && let Some(subscription) = self.subscriptions.get_mut(subscription)
            {
                subscription.suspend();
            }
        }
    }

    /// A subscriber needs a keyframe of what a section carries.
    pub(super) fn on_keyframe_request(&mut self, now: Instant, key: TransportKey, mid: Mid) {
        self.stats.keyframe_requests_received += 1;
        self.ask_keyframe_in(now, key, mid);
    }

    /// Requests a keyframe of what a section carries, for its subscriber.
    pub(super) fn ask_keyframe_in(&mut self, now: Instant, key: TransportKey, mid: Mid) {
        let subscription = self
            .transports
            .get_mut(key)
            .and_then(|transport| transport.lines.by_mid(mid)?.subscription)
            .and_then(|subscription| self.subscriptions.get(subscription))
            .filter(|subscription| !subscription.is_paused());
        let Some(subscription) = subscription else {
            return;
        };
        let track = subscription.track;
        if let Some(layer) = subscription.current.or(subscription.target) {
            self.ask_keyframe(now, track, layer);
        }
    }

    fn on_sender_report(&mut self, key: TransportKey, report: &SenderFeedback) {
        let Some(transport) = self.transports.get(key) else {
            return;
        };
        let owner = transport.participant;
        let Some(track) = transport
            .streams
            .track(report.mid)
            .and_then(|track| self.tracks.get_mut(track))
        else {
            return;
        };
        let info = &report.sender_info;
        // RTP time of a report is as wide as a packet's.
        let rtp = info.rtp_time.numer() as u32;
        let layer = track
            .layer_by_rid(report.rid)
            .and_then(|layer| track.layers.get_mut(usize::from(layer)));
        if let Some(layer) = layer {
            layer.on_sender_report(info.ntp_time, rtp);
        }
        if let Some(participant) = self.participants.get_mut(owner) {
            participant.clock.observe(info.ntp_time, report.received_at);
        }
    }

    fn on_channel_open(&mut self, key: TransportKey, id: str0m::channel::ChannelId, label: &str) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let surplus = match Label::parse(label) {
            Some(label) if transport.direction == Direction::Publish => {
                transport.channels.open(id, label)
            }
            _ if transport.channels.admit_stranger(id) => None,
            _ => Some(id),
        };
        if let Some(surplus) = surplus
            && transport
                .guard(|rtc| rtc.direct_api().close_data_channel(surplus))
                .is_ok()
        {
            self.mark(key);
        }
    }
}

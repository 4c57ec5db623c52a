//! Data: from one participant to the others in the room, over channels or through signaling.

use std::sync::Arc;
use std::time::Instant;

use str0m::channel::ChannelId;

use super::Shard;
use super::slab::{ParticipantKey, RoomKey, TransportKey};
use crate::api::RequestError;
use crate::crossing::Kind;
use crate::id::ParticipantId;
use crate::limits::{DATA_LABEL_BYTES, SIGNALED_DATA_BYTES};
use crate::transport::channels::{Label, Sent};

impl Shard {
    pub(super) fn on_channel_data(
        &mut self,
        now: Instant,
        key: TransportKey,
        channel: ChannelId,
        data: &[u8],
    ) {
        let Some(transport) = self.transports.get(key) else {
            return;
        };
        let sender = transport.participant;
        let Some(label) = transport.channels.label_of(channel) else {
            return;
        };
        let most = self.config.limits.data_message_bytes as usize;
        let Some(participant) = self.participants.get_mut(sender) else {
            return;
        };
        let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let allowed = participant.grant.publish_data
            && data.len() <= most
            && participant.data.bucket.take(now, size);
        if !allowed {
            participant.data.dropped_outgoing += 1;
            self.stats.data_dropped += 1;
            return self.report_drops(now, sender);
        }
        let (id, room) = (participant.id, participant.room);
        let mut message = Vec::with_capacity(8 + data.len());
        message.extend_from_slice(&id.0.to_be_bytes());
        message.extend_from_slice(data);
        let message: Arc<[u8]> = message.into();
        self.cross(room, &|room| Kind::Data(room, label, Arc::clone(&message)));
        self.deliver_to_all(now, room, Some(sender), label, &message);
    }

    /// Hands a message to everybody in this part of a room but one.
    pub(super) fn deliver_to_all(
        &mut self,
        now: Instant,
        room: RoomKey,
        except: Option<ParticipantKey>,
        label: Label,
        message: &Arc<[u8]>,
    ) {
        let receivers = self.rooms.get(room).map(|room| room.participants.clone());
        let receivers = receivers.unwrap_or_default().into_iter();
        for receiver in receivers.filter(|receiver| Some(*receiver) != except) {
            self.deliver(now, receiver, label, message);
        }
    }

    fn deliver(
        &mut self,
        now: Instant,
        receiver: ParticipantKey,
        label: Label,
        message: &Arc<[u8]>,
    ) {
        let most = self.config.limits.data_queue_bytes as usize;
        let Some(key) = self.participants.get(receiver).and_then(|p| p.publish) else {
            return;
        };
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let dropped = match transport.channels.push(label, message, most) {
            Sent::Absent => return,
            Sent::Dropped => 1,
            Sent::Taken { displaced } => {
                self.stats.data_forwarded += 1;
                displaced
            }
        };
        self.count_undelivered(now, receiver, dropped);
        self.pump(now, key);
    }

    fn count_undelivered(&mut self, now: Instant, receiver: ParticipantKey, dropped: u64) {
        if dropped == 0 {
            return;
        }
        self.stats.data_dropped += dropped;
        if let Some(participant) = self.participants.get_mut(receiver) {
            participant.data.dropped_incoming += dropped;
        }
        self.report_drops(now, receiver);
    }

    /// Gives SCTP what it has room for now.
    pub(super) fn pump(&mut self, now: Instant, key: TransportKey) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        if !transport.channels.is_waiting() {
            return;
        }
        let receiver = transport.participant;
        match transport.pump_channels() {
            Ok(refused) => {
                self.mark(key);
                self.count_undelivered(now, receiver, refused);
            }
            Err(fault) => self.fail_transport(now, key, &fault),
        }
    }

    pub(super) fn send_signaled(
        &mut self,
        now: Instant,
        sender: ParticipantKey,
        to: &[ParticipantId],
        label: &str,
        payload: &[u8],
    ) -> Result<(), RequestError> {
        let most = SIGNALED_DATA_BYTES.min(self.config.limits.data_message_bytes as usize);
        let Some(participant) = self.participants.get_mut(sender) else {
            return Err(RequestError::WrongState("not joined".into()));
        };
        if !participant.grant.publish_data {
            return Err(RequestError::Forbidden("send data".into()));
        }
        if payload.len() > most {
            return Err(RequestError::Limit(format!(
                "data through signaling: {most} bytes"
            )));
        }
        if label.len() > DATA_LABEL_BYTES {
            return Err(RequestError::Limit(format!(
                "label: {DATA_LABEL_BYTES} bytes"
            )));
        }
        let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        if !participant.data.bucket.take(now, size) {
            participant.data.dropped_outgoing += 1;
            self.stats.data_dropped += 1;
            self.report_drops(now, sender);
            return Err(RequestError::Limit("data rate".into()));
        }
        let (from, room) = (participant.id, participant.room);
        self.cross_signaled(room, from, to, (label, payload));
        self.hand_signaled(room, from, to, label, payload);
        Ok(())
    }
}

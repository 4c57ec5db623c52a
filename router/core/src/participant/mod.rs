//! Participants: what a client may do and what belongs to it.

use std::time::Instant;

use crate::api::{Direction, Grant, ParticipantInfo, RequestError, Source};
use crate::id::{ClientId, ParticipantId, Reference};
use crate::layers::PublisherClock;
use crate::limits::{GRANT_TEXT_BYTES, ROOM_NAME_BYTES};
use crate::shard::bucket::Bucket;
use crate::shard::slab::{RoomKey, SubscriptionKey, TrackKey, TransportKey};

/// One participant of a room.
#[derive(Debug)]
pub(crate) struct Participant {
    pub(crate) client: ClientId,
    pub(crate) id: ParticipantId,
    pub(crate) room: RoomKey,
    /// Its join, if that was not answered yet: other parts of the room have not said who is there.
    pub(crate) unanswered: Option<Reference>,
    pub(crate) grant: Grant,
    pub(crate) info: ParticipantInfo,
    pub(crate) publish: Option<TransportKey>,
    pub(crate) subscribe: Option<TransportKey>,
    pub(crate) subscriptions: Vec<(TrackKey, SubscriptionKey)>,
    pub(crate) offers: Offers,
    /// Bytes of media it may send, if its grant bounds them.
    pub(crate) media: Option<Bucket>,
    /// Its wall clock against ours.
    pub(crate) clock: PublisherClock,
    pub(crate) data: DataAccount,
    pub(crate) timer: Option<Instant>,
}

/// Negotiation of the subscribing transport.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    /// Id of the last offer made.
    pub(crate) last_id: u64,
    /// Something is to be negotiated.
    pub(crate) wanted: bool,
    /// In the shard's list of offers due.
    pub(crate) queued: bool,
    /// The next offer restarts ICE.
    pub(crate) restart: bool,
    /// The transport failed or was closed: nothing is offered before the client asks for something.
    pub(crate) suspended: bool,
}

/// What a participant may send, and what was dropped.
#[derive(Debug)]
pub(crate) struct DataAccount {
    pub(crate) bucket: Bucket,
    pub(crate) dropped_outgoing: u64,
    pub(crate) dropped_incoming: u64,
    pub(crate) reported: Option<Instant>,
}

impl Participant {
    /// The transport of a direction.
    pub(crate) fn transport(&self, direction: Direction) -> Option<TransportKey> {
        match direction {
            Direction::Publish => self.publish,
            Direction::Subscribe => self.subscribe,
        }
    }

    /// Sets or clears it.
    pub(crate) fn set_transport(&mut self, direction: Direction, key: Option<TransportKey>) {
        match direction {
            Direction::Publish => self.publish = key,
            Direction::Subscribe => self.subscribe = key,
        }
    }

    /// The subscription to a track.
    pub(crate) fn subscription(&self, track: TrackKey) -> Option<SubscriptionKey> {
        let (_, key) = self
            .subscriptions
            .iter()
            .find(|(known, _)| *known == track)?;
        Some(*key)
    }

    /// Refuses a source that the grant does not name.
    ///
    /// # Errors
    /// [`RequestError::Forbidden`].
    pub(crate) fn may_publish(&self, source: Source) -> Result<(), RequestError> {
        if self.grant.publish.contains(&source) {
            return Ok(());
        }
        Err(RequestError::Forbidden(format!("publish {source:?}")))
    }
}

/// Refuses a grant whose texts are too long: everybody in the room gets them.
///
/// # Errors
/// [`RequestError::Limit`] or [`RequestError::Invalid`].
pub(crate) fn check_grant(grant: &Grant) -> Result<(), RequestError> {
    if grant.room.is_empty() || grant.room.len() > ROOM_NAME_BYTES {
        return Err(RequestError::Invalid(format!(
            "room name: 1 to {ROOM_NAME_BYTES} bytes"
        )));
    }
    let attributes = grant
        .attributes
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum::<usize>();
    let name = grant.name.as_ref().map_or(0, String::len);
    if grant.identity.len() + name + attributes > GRANT_TEXT_BYTES {
        return Err(RequestError::Limit(format!(
            "identity, name and attributes: {GRANT_TEXT_BYTES} bytes"
        )));
    }
    Ok(())
}

//! What a client may ask.

use std::time::{Duration, Instant};

use turn_types::stun::attribute::ErrorCode;
use turn_types::stun::message::Message;

use super::{Client, Network, Relay};
use crate::credentials::{NameError, identity};
use crate::limits::REQUEST_BYTES_MAX;
use crate::message::{self, Kind};
use crate::peers::plain;
use crate::session::{Bind, Named, Session};
use crate::stats::Refusal;

/// Why an Allocate is refused, and the code that says so.
type Refused = (Refusal, u16);

impl Relay {
    pub(super) fn handle_message(
        &mut self,
        client: Client,
        message: &Message<'_>,
        (now, unix): (Instant, Duration),
        network: &mut impl Network,
    ) {
        let Some(kind) = message::kind(message) else {
            return self.stats.refuse(Refusal::Malformed);
        };
        if kind == Kind::Send {
            return self.indication(client, message, now, network);
        }
        if message.as_bytes().len() > REQUEST_BYTES_MAX {
            return self.stats.refuse(Refusal::Malformed);
        }
        let allocated = self.is_allocated(&client);
        // Whoever has no allocation is a stranger, with credentials or without: they cost a look. An answer to one who
        // is there floods nobody, and a request in a stream is not repeated: those are bound each for itself, and by
        // the number of connections.
        let allowed = match self.sessions.get_mut(&client) {
            Some(session) if allocated || client.proven => {
                session.may_ask(now).then_some(()).ok_or(Refusal::Excess)
            }
            None if client.proven => Ok(()),
            _ => {
                let taken = self.strangers.take(client.address.ip(), now);
                taken.then_some(()).ok_or(Refusal::Rate)
            }
        };
        if let Err(refusal) = allowed {
            return self.stats.refuse(refusal);
        }
        match kind {
            Kind::Binding => {
                let answer = message::binding(message, plain(client.address));
                reply(client, answer, network);
            }
            Kind::Allocate => self.allocate(client, message, (now, unix), network),
            // There is nothing to refresh or to add to (RFC 8656 §5).
            _ if !allocated => {
                let answer = message::error(message, ErrorCode::ALLOCATION_MISMATCH, None);
                reply(client, answer, network);
            }
            kind => self.request(client, kind, message, (now, unix), network),
        }
    }

    /// A Send indication: one packet for one peer.
    fn indication(
        &mut self,
        client: Client,
        message: &Message<'_>,
        now: Instant,
        network: &mut impl Network,
    ) {
        match message::peers(message).as_deref() {
            Some([peer]) => match self.settings.peers.outward(*peer) {
                Ok(_) => self.forward(client, message.as_bytes(), now, network),
                Err(error) => self.refuse_peer(error),
            },
            _ => self.stats.refuse(Refusal::Malformed),
        }
    }

    /// An Allocate: the one request that somebody may send who has nothing.
    fn allocate(
        &mut self,
        client: Client,
        message: &Message<'_>,
        (now, unix): (Instant, Duration),
        network: &mut impl Network,
    ) {
        let (settings, half_open) = (&self.settings, &mut self.half_open);
        let session = self.sessions.entry(client).or_insert_with(|| {
            *half_open += 1;
            Session::new(plain(client.address), settings, now)
        });
        if let Some((request, answer)) = &session.allocated
            && request == message.as_bytes()
        {
            return network.to_client(client, answer);
        }
        if message::is_signed(message) {
            match message::username(message).map(|name| session.name(&name, settings, unix)) {
                Some(Named::TooMany) => return self.stats.refuse(Refusal::Excess),
                Some(Named::Unknown(NameError::Expired)) => self.stats.credentials_expired += 1,
                Some(Named::Unknown(_)) => self.stats.credentials_wrong += 1,
                Some(Named::Known) | None => {
                    let wrong = session.verify(message).is_none();
                    self.stats.credentials_wrong += u64::from(wrong);
                }
            }
            if let Some((refusal, answer)) = self.refuse_allocation(client, message, unix) {
                tracing::warn!(cause = refusal.as_str(), "TURN: an allocation was refused");
                self.stats.refuse(refusal);
                return reply(client, answer, network);
            }
        }
        self.ask(client, message, now, network);
    }

    /// Whether an Allocate with good credentials asks for what there is not.
    fn refuse_allocation(
        &self,
        client: Client,
        message: &Message<'_>,
        unix: Duration,
    ) -> Option<(Refusal, Option<Vec<u8>>)> {
        let session = self.sessions.get(&client).filter(|s| s.user.is_none())?;
        let signed = session.verify(message)?;
        let user = identity(session.named()?, unix).ok()?;
        let (refusal, code) = self.full(client, user, message)?;
        Some((refusal, message::error(message, code, Some(signed))))
    }

    fn full(&self, client: Client, user: &str, message: &Message<'_>) -> Option<Refused> {
        let settings = &self.settings;
        let of_user = self.users.get(user).copied().unwrap_or(0);
        let of_address = self
            .addresses
            .get(&client.address.ip())
            .copied()
            .unwrap_or(0);
        let quota = ErrorCode::ALLOCATION_QUOTA_REACHED;
        let capacity = ErrorCode::INSUFFICIENT_CAPACITY;
        if message::asks_too_much(message) {
            Some((Refusal::Unsupported, capacity))
        } else if self.sessions.len() - self.half_open >= settings.allocations_max {
            Some((Refusal::TotalQuota, capacity))
        } else if of_user >= settings.allocations_per_user_max {
            Some((Refusal::UserQuota, quota))
        } else if of_address >= settings.allocations_per_address_max {
            Some((Refusal::AddressQuota, quota))
        } else {
            None
        }
    }

    /// A request about an allocation that there is.
    fn request(
        &mut self,
        client: Client,
        kind: Kind,
        message: &Message<'_>,
        (now, unix): (Instant, Duration),
        network: &mut impl Network,
    ) {
        let judged = match kind {
            Kind::Permission | Kind::Channel => self.judge(client, kind, message, now),
            Kind::Connect => Err((Refusal::Unsupported, ErrorCode::BAD_REQUEST)),
            _ => Ok(()),
        };
        let Some(session) = self.sessions.get_mut(&client) else {
            return;
        };
        if let Err((refusal, code)) = judged {
            let answer = message::error(message, code, session.verify(message));
            self.stats.refuse(refusal);
            return reply(client, answer, network);
        }
        // Somebody else's credentials are no use here, and the library says so if it knows them (441).
        if let Some(name) = message::username(message) {
            match session.name(&name, &self.settings, unix) {
                Named::TooMany => return self.stats.refuse(Refusal::Excess),
                Named::Unknown(_) => self.stats.credentials_wrong += 1,
                Named::Known => {}
            }
        }
        self.ask(client, message, now, network);
    }

    /// Whether the peers of a request may be reached, and there is room to remember them.
    fn judge(
        &mut self,
        client: Client,
        kind: Kind,
        message: &Message<'_>,
        now: Instant,
    ) -> Result<(), Refused> {
        let malformed = (Refusal::Malformed, ErrorCode::BAD_REQUEST);
        let peers = message::peers(message).ok_or(malformed)?;
        for peer in &peers {
            if let Err(error) = self.settings.peers.outward(*peer) {
                tracing::warn!(cause = "peer", %error, "TURN: a peer was refused");
                return Err((Refusal::Peer, ErrorCode::FORBIDDEN));
            }
        }
        let Some(session) = self.sessions.get_mut(&client) else {
            return Ok(());
        };
        if session.verify(message).is_none() {
            // The library will find out; nothing is to be remembered.
            return Ok(());
        }
        let excess = (Refusal::Excess, ErrorCode::INSUFFICIENT_CAPACITY);
        if kind == Kind::Channel {
            let ([peer], Some(number)) = (peers.as_slice(), message::channel(message)) else {
                return Err(malformed);
            };
            match session.bind(number, *peer, now) {
                Bind::Done => {}
                Bind::Taken => return Err(malformed),
                Bind::Full => return Err(excess),
            }
        }
        session.permit(&peers, now).then_some(()).ok_or(excess)
    }
}

fn reply(client: Client, answer: Option<Vec<u8>>, network: &mut impl Network) {
    if let Some(answer) = answer {
        network.to_client(client, &answer);
    }
}

//! Which transport a datagram belongs to.
//!
//! The first byte tells what it is (RFC 7983). A STUN request names its transport by our ufrag and
//! proves by its integrity attribute that it comes from the client; only that makes its address the
//! transport's. Everything else is taken from such addresses alone. Bytes that fail any of this are
//! counted and dropped: they change nothing.

use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use hashbrown::HashMap;
use str0m::ice::StunMessage;
use str0m::net::Protocol;

use super::bucket::Bucket;
use super::port::{Elsewhere, Stop};
use super::slab::TransportKey;
use super::{Hasher, Shard, stun};
use crate::api::TransportState;
use crate::guard::quietly;
use crate::id::SocketId;
use crate::limits::{
    ADDRESS_LIFETIME, DATAGRAM_BYTES, STUN_ANSWERS_PER_SOURCE, STUN_FAILURES_PER_SOURCE,
    STUN_SOURCE_SLOTS,
};
use crate::stats::DropCause;
use crate::transport::credentials::parse_ufrag;
use crate::transport::{Check, Era, Outgoing, Validated};

/// What the first byte says (RFC 7983 §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Stun,
    Dtls,
    /// RTP or RTCP.
    Media,
}

fn classify(contents: &[u8]) -> Option<Class> {
    if contents.len() > DATAGRAM_BYTES {
        return None;
    }
    match contents.first()? {
        0..=3 => Some(Class::Stun),
        20..=63 => Some(Class::Dtls),
        128..=191 => Some(Class::Media),
        _ => None,
    }
}

/// Addresses of transports, and the sources that failed to show they were one.
pub(crate) struct Demux {
    by_address: HashMap<(SocketId, SocketAddr), TransportKey, Hasher>,
    sources: Vec<Bucket>,
    /// Sources that asked for their address.
    askers: Vec<Bucket>,
    hasher: Hasher,
}

impl Demux {
    pub(super) fn new(hasher: Hasher, now: Instant) -> Self {
        Demux {
            by_address: HashMap::with_hasher(hasher.clone()),
            sources: vec![Bucket::new(STUN_FAILURES_PER_SOURCE, now); STUN_SOURCE_SLOTS],
            askers: vec![Bucket::new(STUN_ANSWERS_PER_SOURCE, now); STUN_SOURCE_SLOTS],
            hasher,
        }
    }

    /// How many addresses are known.
    pub(super) fn len(&self) -> usize {
        self.by_address.len()
    }

    /// Who is, or was lately, at which ports of an address.
    pub(super) fn places(
        &self,
        socket: SocketId,
        address: IpAddr,
    ) -> impl Iterator<Item = (SocketAddr, TransportKey)> {
        let places = self.by_address.iter();
        let here = places.filter(move |((at, remote), _)| *at == socket && remote.ip() == address);
        here.map(|((_, remote), key)| (*remote, *key))
    }

    /// Whether an address is a transport's.
    pub(super) fn is_known(&self, socket: SocketId, remote: SocketAddr) -> bool {
        self.transport(socket, remote).is_some()
    }

    fn transport(&self, socket: SocketId, remote: SocketAddr) -> Option<TransportKey> {
        self.by_address.get(&(socket, remote)).copied()
    }

    /// An address is no longer this transport's; true: until now it was.
    pub(super) fn forget(
        &mut self,
        socket: SocketId,
        remote: SocketAddr,
        key: TransportKey,
    ) -> bool {
        let known = self.transport(socket, remote) == Some(key);
        if known {
            self.by_address.remove(&(socket, remote));
        }
        known
    }

    fn source(&mut self, address: IpAddr) -> Option<&mut Bucket> {
        let slot = self.hasher.hash_one(address) as usize % STUN_SOURCE_SLOTS;
        self.sources.get_mut(slot)
    }

    fn asker(&mut self, address: IpAddr) -> Option<&mut Bucket> {
        let slot = self.hasher.hash_one(address) as usize % STUN_SOURCE_SLOTS;
        self.askers.get_mut(slot)
    }
}

impl Shard {
    pub(super) fn on_datagram(
        &mut self,
        now: Instant,
        socket: SocketId,
        source: SocketAddr,
        contents: &[u8],
    ) -> Option<Elsewhere> {
        let outcome = match classify(contents) {
            None => Err(DropCause::Malformed.into()),
            Some(Class::Stun) => self.on_stun(now, socket, source, contents),
            Some(class) => self.on_protected(now, socket, source, contents, class),
        };
        match outcome {
            Ok(()) => None,
            Err(Stop::Dropped(cause)) => {
                self.count_drop(cause);
                None
            }
            Err(Stop::Elsewhere(elsewhere)) => Some(elsewhere),
        }
    }

    pub(super) fn count_drop(&mut self, cause: DropCause) {
        if let Some(count) = self.stats.dropped.get_mut(cause as usize) {
            *count += 1;
        }
    }

    fn local(&self, socket: SocketId) -> Option<SocketAddr> {
        self.factory.advertised.get(usize::from(socket.0)).copied()
    }

    /// DTLS, RTP and RTCP: from validated addresses only.
    fn on_protected(
        &mut self,
        now: Instant,
        socket: SocketId,
        source: SocketAddr,
        contents: &[u8],
        class: Class,
    ) -> Result<(), Stop> {
        let Some(key) = self.demux.transport(socket, source) else {
            let elsewhere = match self.elsewhere(now, socket, source) {
                None => self.who_moved(now, socket, source, contents),
                owned => owned,
            };
            let unknown = DropCause::UnvalidatedSource.into();
            return Err(elsewhere.map_or(unknown, Stop::Elsewhere));
        };
        let transport = self
            .transports
            .get_mut(key)
            .ok_or(DropCause::UnvalidatedSource)?;
        let may_be_back = transport.touch(socket, source, now) && transport.may_be_back(now);
        let (secured, sends) = (transport.secured, transport.sender.is_some());
        if may_be_back {
            self.ask_whether_moved(now, key, socket, source, usize::MAX);
        }
        if class == Class::Media && !secured {
            return Err(DropCause::Refused.into());
        }
        if class == Class::Media && sends {
            return Ok(self.on_feedback(now, key, contents)?);
        }
        let rtp_before = self.stats.rtp_received;
        self.give(now, key, socket, source, contents)?;
        if class == Class::Media
            && is_rtp_with_payload(contents)
            && self.stats.rtp_received == rtp_before
        {
            // A wrong tag, a replay or no section it belongs to: the engine does not say which.
            return Err(if self.is_retransmission(key, contents) {
                DropCause::Repeated.into()
            } else {
                DropCause::Refused.into()
            });
        }
        Ok(())
    }

    /// Whether the payload type is one negotiated for retransmissions (RFC 4588 §8.1).
    fn is_retransmission(&self, key: TransportKey, contents: &[u8]) -> bool {
        let payload_type = contents.get(1).map(|byte| byte & 0x7f);
        let transport = self.transports.get(key);
        transport.is_some_and(|transport| {
            let mut formats = transport.rtc().codec_config().params().iter();
            formats.any(|params| params.resend().map(|pt| *pt) == payload_type)
        })
    }

    /// Hands a datagram to its transport's engine.
    fn give(
        &mut self,
        now: Instant,
        key: TransportKey,
        socket: SocketId,
        source: SocketAddr,
        contents: &[u8],
    ) -> Result<(), DropCause> {
        let local = self.local(socket).ok_or(DropCause::Malformed)?;
        let Some(transport) = self.transports.get_mut(key) else {
            return Err(DropCause::UnvalidatedSource);
        };
        let local = (self.factory.protocol(socket), local);
        match transport.receive(now, local, source, contents) {
            Ok(accepted) => {
                self.drain(now, key);
                if accepted {
                    Ok(())
                } else {
                    Err(DropCause::Refused)
                }
            }
            Err(fault) => {
                self.fail_transport(now, key, &fault);
                Err(DropCause::Refused)
            }
        }
    }

    fn on_stun(
        &mut self,
        now: Instant,
        socket: SocketId,
        source: SocketAddr,
        contents: &[u8],
    ) -> Result<(), Stop> {
        if let Some(binding) = stun::read(contents)? {
            return Ok(self.on_stranger(now, socket, source, &binding)?);
        }
        let parsed = quietly("STUN", || StunMessage::parse(contents));
        let message = parsed.and_then(Result::ok).ok_or(DropCause::Malformed)?;
        if message.is_successful_binding_response() {
            return self.on_stun_answer(now, socket, source, &message);
        }
        if !message.is_binding_request() {
            return Err(DropCause::StunUnauthenticated.into());
        }
        let (ufrag, _) = message.split_username().ok_or(DropCause::Malformed)?;
        let (worker, key) = parse_ufrag(ufrag).ok_or(DropCause::StunUnknownUfrag)?;
        if worker != self.config.worker {
            return Err(self.check_elsewhere(now, (socket, source), worker));
        }
        let known = self.demux.transport(socket, source) == Some(key);
        if !known {
            self.may_verify(now, key, source)?;
        }
        let hmac = self.factory.crypto.sha1_hmac_provider;
        let transport = self
            .transports
            .get_mut(key)
            .ok_or(DropCause::StunUnknownUfrag)?;
        let (era, password) = transport
            .password_for(ufrag, now)
            .ok_or(DropCause::StunUnknownUfrag)?;
        let sha1 = |key: &[u8], parts: &[&[u8]]| hmac.sha1_hmac(key, parts);
        let verified = quietly("STUN", || message.verify(password.as_bytes(), sha1));
        if verified != Some(true) {
            if !known {
                self.count_failure(now, key, source);
            }
            return Err(DropCause::StunUnauthenticated.into());
        }
        if era == Era::Previous {
            let reply = stun_reply(&message, source, password, sha1);
            return Ok(self.answer_previous(now, key, socket, source, reply)?);
        }
        let check = Check {
            chooses: message.use_candidate(),
            priority: message.prio().unwrap_or_default(),
        };
        self.claim(now, key, socket, source, check)?;
        Ok(self.give(now, key, socket, source, contents)?)
    }

    /// Tells a stranger the address it asks from.
    fn on_stranger(
        &mut self,
        now: Instant,
        socket: SocketId,
        source: SocketAddr,
        binding: &stun::Binding,
    ) -> Result<(), DropCause> {
        if source.port() == 0 {
            return Err(DropCause::Malformed);
        }
        // A connection shows that it belongs to somebody by what it gets from us: strangers, nothing.
        if self.factory.protocol(socket) == Protocol::Tcp {
            return Err(DropCause::StunUnauthenticated);
        }
        let allowed = self
            .demux
            .asker(source.ip())
            .is_none_or(|bucket| bucket.take(now, 1));
        if !allowed || !self.stun_allowance.take(now, 1) {
            return Err(DropCause::RateLimited);
        }
        self.stats.stun_answered += 1;
        self.stun_answers
            .push((socket, source, binding.answer(source)));
        Ok(())
    }

    /// Verification costs a hash, so sources that keep failing are not verified any more.
    fn may_verify(
        &mut self,
        now: Instant,
        key: TransportKey,
        source: SocketAddr,
    ) -> Result<(), DropCause> {
        let shard = self.stun_failures.has(now);
        let source = self
            .demux
            .source(source.ip())
            .is_none_or(|bucket| bucket.has(now));
        let transport = self
            .transports
            .get_mut(key)
            .ok_or(DropCause::StunUnknownUfrag)?
            .stun_failures
            .has(now);
        if shard && source && transport {
            Ok(())
        } else {
            Err(DropCause::RateLimited)
        }
    }

    fn count_failure(&mut self, now: Instant, key: TransportKey, source: SocketAddr) {
        self.stun_failures.take(now, 1);
        if let Some(bucket) = self.demux.source(source.ip()) {
            bucket.take(now, 1);
        }
        if let Some(transport) = self.transports.get_mut(key) {
            transport.stun_failures.take(now, 1);
        }
    }

    /// Makes an address the transport's.
    pub(super) fn claim(
        &mut self,
        now: Instant,
        key: TransportKey,
        socket: SocketId,
        source: SocketAddr,
        check: Check,
    ) -> Result<(), DropCause> {
        let owner = self.demux.transport(socket, source);
        if let Some(owner) = owner.filter(|owner| *owner != key)
            && self.is_in_use(now, owner, socket, source)
        {
            // A participant that forges another's address must not get its packets.
            return Err(DropCause::UnvalidatedSource);
        }
        if owner.is_none() && self.is_taken(now, socket, source) {
            return Err(DropCause::UnvalidatedSource);
        }
        let transport = self
            .transports
            .get_mut(key)
            .ok_or(DropCause::StunUnknownUfrag)?;
        match transport.validate(&self.factory, (socket, source), check, now) {
            Validated::Known => {}
            Validated::Refused => return Err(DropCause::RateLimited),
            Validated::New { forgotten } => {
                if let Some(old) = forgotten {
                    self.forget_address(old.socket, old.remote, key);
                }
            }
        }
        if owner != Some(key) {
            self.demux.by_address.insert((socket, source), key);
            self.note_route(socket, source, true);
        }
        self.advance(now, key, TransportState::Connecting);
        if check.chooses {
            self.follow_path(key);
        }
        Ok(())
    }

    /// Whether a client of ours has used this address just now.
    pub(super) fn is_used(&self, now: Instant, socket: SocketId, remote: SocketAddr) -> bool {
        let owner = self.demux.transport(socket, remote);
        owner.is_some_and(|owner| self.is_in_use(now, owner, socket, remote))
    }

    fn is_in_use(
        &self,
        now: Instant,
        owner: TransportKey,
        socket: SocketId,
        remote: SocketAddr,
    ) -> bool {
        self.transports.get(owner).is_some_and(|transport| {
            transport.addresses.iter().any(|address| {
                address.socket == socket
                    && address.remote == remote
                    && now.saturating_duration_since(address.seen) < ADDRESS_LIFETIME
            })
        })
    }

    /// The engine has forgotten the credentials before an ICE restart, but the client keeps checking
    /// its old path until the new one is chosen (RFC 8445 §9), and drops it when nobody answers.
    fn answer_previous(
        &mut self,
        now: Instant,
        key: TransportKey,
        socket: SocketId,
        source: SocketAddr,
        reply: Option<Vec<u8>>,
    ) -> Result<(), DropCause> {
        if self.demux.transport(socket, source) != Some(key) {
            return Err(DropCause::UnvalidatedSource);
        }
        let transport = self
            .transports
            .get_mut(key)
            .ok_or(DropCause::StunUnknownUfrag)?;
        transport.touch(socket, source, now);
        let reply = reply.ok_or(DropCause::Malformed)?;
        transport.outgoing.push(Outgoing {
            socket,
            destination: source,
            contents: reply.into(),
        });
        self.has_datagrams(key);
        Ok(())
    }

    /// What was queued at a transport is sent at the end of the turn.
    pub(super) fn has_datagrams(&mut self, key: TransportKey) {
        if let Some(transport) = self.transports.get_mut(key)
            && !std::mem::replace(&mut transport.sending, true)
        {
            self.sending.push(key);
        }
    }
}

/// A binding success response (RFC 8489 §6.3.1), never longer than a request of a browser.
fn stun_reply(
    request: &StunMessage<'_>,
    source: SocketAddr,
    password: &str,
    sha1: impl Fn(&[u8], &[&[u8]]) -> [u8; 20],
) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 256];
    let length = StunMessage::binding_reply(request.trans_id(), source)
        .to_bytes(Some(password.as_bytes()), &mut buffer, sha1)
        .ok()?;
    buffer.truncate(length);
    Some(buffer)
}

/// Whether a datagram is RTP that should have led to a packet: not RTCP (RFC 5761 §4), not padding.
fn is_rtp_with_payload(contents: &[u8]) -> bool {
    let &[first, second, ..] = contents else {
        return false;
    };
    let padded = first & 0x20 != 0;
    let rtcp = (64..96).contains(&(second & 0x7f));
    !padded && !rtcp
}

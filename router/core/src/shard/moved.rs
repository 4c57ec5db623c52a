//! Clients whose NAT gave them another port.
//!
//! Nobody tells a client that this has happened. Its next check comes within seconds (Chromium checks a
//! path that works every 2.5 s), but its media and its feedback come from the new port at once. So when
//! protected packets come from an unknown port of an address that a client of ours was at, and that
//! client has fallen silent, it is asked whether this is it: by a check of ours, which only it can answer,
//! since the answer is signed with its password and names a transaction that nobody can guess
//! (RFC 8445 §7.2.2, §7.3.1; as RFC 9000 §9.3 has servers do). What is sent to it goes to the new port
//! from the answer on. Who forges a source address has a client's own address asked, a few times a second.

use std::net::SocketAddr;
use std::time::Instant;

use rand_chacha::rand_core::Rng;
use str0m::ice::{StunMessage, TransId};
use str0m::net::Protocol;

use super::Shard;
use super::bucket::Bucket;
use super::port::{Elsewhere, Stop};
use super::slab::TransportKey;
use crate::guard::quietly;
use crate::id::SocketId;
use crate::limits::{MOVED_ASKED, MOVED_QUESTIONS, MOVED_SCANS, MOVED_SHARE, MOVED_TIME};
use crate::mutants::{self, Mutant};
use crate::stats::DropCause;
use crate::transport::{Check, Outgoing};

/// A check of ours that may still be answered.
#[derive(Debug, Clone, Copy)]
struct Question {
    transaction: TransId,
    key: TransportKey,
    socket: SocketId,
    remote: SocketAddr,
    at: Instant,
}

/// What was asked of whom.
#[derive(Debug)]
pub(crate) struct Questions {
    open: Vec<Question>,
    /// Looking for who may have moved goes through all addresses.
    scans: Bucket,
}

impl Questions {
    pub(super) fn new(now: Instant) -> Self {
        Questions {
            open: Vec::new(),
            scans: Bucket::new(MOVED_SCANS, now),
        }
    }

    fn insert(&mut self, question: Question) {
        let until = question.at;
        self.open
            .retain(|q| until.saturating_duration_since(q.at) < MOVED_TIME);
        if self.open.len() < MOVED_QUESTIONS {
            self.open.push(question);
        }
    }

    fn find(&self, transaction: TransId, place: (SocketId, SocketAddr)) -> Option<Question> {
        let found = self.open.iter().find(|q| q.transaction == transaction);
        found.filter(|q| (q.socket, q.remote) == place).copied()
    }
}

impl Shard {
    /// Protected bytes came from where nobody is known to be: those who may be it are asked. If nobody here may, other
    /// workers behind the same port are to look.
    pub(super) fn who_moved(
        &mut self,
        now: Instant,
        socket: SocketId,
        source: SocketAddr,
        contents: &[u8],
    ) -> Option<Elsewhere> {
        let stream = self.factory.protocol(socket) == Protocol::Tcp;
        if stream || source.port() == 0 || !self.questions.scans.take(now, 1) {
            return None;
        }
        let candidates = self.may_have_moved(now, socket, source, contents);
        if candidates.is_empty() {
            return self.anywhere(socket);
        }
        let mut most = contents.len() * MOVED_SHARE;
        for key in candidates {
            let asked = self.ask_whether_moved(now, key, socket, source, most);
            most = most.saturating_sub(asked);
        }
        None
    }

    /// Silent clients that were at this address; the one alone that the packet names by its SSRC, if one does.
    fn may_have_moved(
        &self,
        now: Instant,
        socket: SocketId,
        source: SocketAddr,
        contents: &[u8],
    ) -> Vec<TransportKey> {
        let ssrc = sender_of(contents);
        let mut found = Vec::new();
        for (remote, key) in self.demux.places(socket, source.ip()) {
            let Some(transport) = self.transports.get(key) else {
                continue;
            };
            if !transport.may_have_moved((socket, remote), now) {
                continue;
            }
            if ssrc.is_some_and(|ssrc| transport.streams.destination(ssrc).is_some()) {
                return vec![key];
            }
            if found.len() < MOVED_ASKED {
                found.push(key);
            }
        }
        found
    }

    /// Asks a client whether it is at a place now, by so many bytes at most; how many they were.
    pub(super) fn ask_whether_moved(
        &mut self,
        now: Instant,
        key: TransportKey,
        socket: SocketId,
        remote: SocketAddr,
        most: usize,
    ) -> usize {
        let Some(transaction) = self.transaction() else {
            return 0;
        };
        let tie_breaker = self.rng.next_u64();
        let hmac = self.factory.crypto.sha1_hmac_provider;
        let sha1 = |key: &[u8], parts: &[&[u8]]| hmac.sha1_hmac(key, parts);
        let Some(transport) = self.transports.get_mut(key) else {
            return 0;
        };
        let request = transport.question(transaction, tie_breaker, sha1);
        let fits = |bytes: usize| bytes <= most || mutants::is(Mutant::AskAlways);
        let Some(request) = request.filter(|request| fits(request.len())) else {
            return 0;
        };
        let bytes = request.len();
        transport.asked = Some(now);
        transport.outgoing.push(Outgoing {
            socket,
            destination: remote,
            contents: request.into(),
        });
        self.has_datagrams(key);
        self.questions.insert(Question {
            transaction,
            key,
            socket,
            remote,
            at: now,
        });
        bytes
    }

    /// 96 bits of the shard's own randomness, in the engine's wrapping, which it makes of a message only.
    fn transaction(&mut self) -> Option<TransId> {
        let mut message = [0; 20];
        // An indication: of a request more is expected.
        message[..8].copy_from_slice(&[0, 0x11, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
        self.rng.fill_bytes(&mut message[8..]);
        StunMessage::parse(&message).ok().map(|m| m.trans_id())
    }

    /// Somebody answers a check. If it was ours, the client is where it answered from.
    pub(super) fn on_stun_answer(
        &mut self,
        now: Instant,
        socket: SocketId,
        source: SocketAddr,
        answer: &StunMessage<'_>,
    ) -> Result<(), Stop> {
        let question = self.questions.find(answer.trans_id(), (socket, source));
        if let Some(question) = question {
            return Ok(self.on_answer(now, &question, answer)?);
        }
        // It does not say who asked.
        let elsewhere = self.anywhere(socket);
        let elsewhere = elsewhere.filter(|_| self.questions.scans.take(now, 1));
        let unknown = DropCause::StunUnauthenticated.into();
        Err(elsewhere.map_or(unknown, Stop::Elsewhere))
    }

    fn on_answer(
        &mut self,
        now: Instant,
        question: &Question,
        answer: &StunMessage<'_>,
    ) -> Result<(), DropCause> {
        let unknown = DropCause::StunUnauthenticated;
        let &Question {
            key,
            socket,
            remote: source,
            at,
            ..
        } = question;
        let hmac = self.factory.crypto.sha1_hmac_provider;
        let sha1 = |key: &[u8], parts: &[&[u8]]| hmac.sha1_hmac(key, parts);
        let transport = self.transports.get_mut(key).ok_or(unknown)?;
        let password = transport.remote.as_ref().map(|creds| creds.pass.as_bytes());
        let verified =
            password.and_then(|password| quietly("STUN", || answer.verify(password, sha1)));
        // The answer says where our check came from. If that is not us, somebody handed it on, to be sent what is the
        // client's; a client that knows us by a translated address is followed once it checks by itself.
        let seen = answer.mapped_address();
        let direct =
            seen.is_some() && seen == self.factory.advertised.get(usize::from(socket.0)).copied();
        if verified != Some(true) || !direct {
            return Err(unknown);
        }
        self.questions.open.retain(|q| q.key != key);
        let Some(from) = transport.silent_path(now) else {
            return Ok(());
        };
        if now.saturating_duration_since(at) >= MOVED_TIME {
            return Ok(());
        }
        let check = Check {
            chooses: false,
            priority: 0,
        };
        self.claim(now, key, socket, source, check)?;
        let Some(transport) = self.transports.get_mut(key) else {
            return Ok(());
        };
        if transport.leave(from, (socket, source), now) {
            self.stats.paths_rebound += 1;
            let participant = self.participants.get(transport.participant);
            let participant = participant.map(|p| p.info.id.0);
            tracing::info!(participant, from = %from.1, to = %source, "media follows the client to another port");
        }
        Ok(())
    }
}

/// The SSRC of who sent RTP or RTCP: neither is encrypted there (RFC 3711 §3.1, §3.4).
fn sender_of(contents: &[u8]) -> Option<u32> {
    let &[first, second, ..] = contents else {
        return None;
    };
    if !(128..=191).contains(&first) {
        return None;
    }
    let rtcp = (64..96).contains(&(second & 0x7f));
    let at = if rtcp { 4 } else { 8 };
    let bytes: [u8; 4] = contents.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_be_bytes(bytes))
}

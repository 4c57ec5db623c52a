//! DTLS for every transport of the process: one cached configuration, and handshakes that strangers
//! cannot break.
//!
//! Building a `dimpl::Config` tests all key exchanges and takes 0.8 ms; shared, a transport costs
//! 14 µs. Until a handshake is complete DTLS records are plain text, so somebody who can forge the
//! client's source address could end it with one datagram: a fatal alert, a message of the wrong role,
//! or another ClientHello. [`Association`] drops the first two and gives every ClientHello a handshake
//! of its own; the one that completes wins. A ClientHello is answered once for each time it comes and
//! never by a timer (a client that missed the answer repeats its hello), so that answers to strangers'
//! do not go on; a client that is past its own ServerHello ignores them anyway (RFC 6347 §4.2.2,
//! message sequence). What remains is the round trip in which a client waits for its first answer: a
//! stranger's that comes first misleads it, and no server can prevent that.
//!
//! Key exchange, signatures and record nonces take their randomness from the operating system inside
//! aws-lc: the one part of the core that a seed does not replay.

use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use str0m_proto::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, ProtocolVersion,
};
use str0m_proto::crypto::{CryptoError, CryptoProvider, DtlsVersion};

use crate::egress::srtp::Keys;
use crate::limits::{HANDSHAKES, HANDSHAKES_TOTAL};

/// Who gets the keys for SRTP that a handshake leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyHolder {
    /// The engine: it receives media.
    Engine,
    /// We ([`take_keys`]), and the engine does not: whoever has no key seals nothing under it.
    Ourselves,
}

/// What transports compute with: aws-lc, with DTLS through [`Association`].
pub(crate) fn crypto_provider(holder: KeyHolder) -> Arc<CryptoProvider> {
    static OF_ENGINE: Provider = Provider(KeyHolder::Engine);
    static OURS: Provider = Provider(KeyHolder::Ourselves);
    let mut provider = str0m_aws_lc_rs::default_provider();
    provider.dtls_provider = match holder {
        KeyHolder::Engine => &OF_ENGINE,
        KeyHolder::Ourselves => &OURS,
    };
    Arc::new(provider)
}

thread_local! {
    /// On its way from an [`Association`] inside an engine to the transport that polls the engine: the
    /// engine has no door for it.
    static KEYS: Cell<Option<Keys>> = const { Cell::new(None) };
}

/// Takes the keys that the engine just polled on this thread left for us.
pub(crate) fn take_keys() -> Option<Keys> {
    KEYS.take()
}

#[derive(Debug)]
struct Provider(KeyHolder);

impl DtlsProvider for Provider {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        str0m_aws_lc_rs::default_provider()
            .dtls_provider
            .generate_certificate()
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        _version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let config = config(mtu)?;
        let association = Association::new(config, certificate.clone(), self.0, now);
        Ok(Box::new(association))
    }
}

/// The cached configuration. Every transport has the same MTU, so the first call decides it.
fn config(mtu: Option<usize>) -> Result<Arc<dimpl::Config>, CryptoError> {
    static CONFIG: OnceLock<Arc<dimpl::Config>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    // ICE has shown that the source receives at its address: cookies would only cost a round trip.
    let mut builder = dimpl::Config::builder().use_server_cookie(false);
    if let Some(mtu) = mtu {
        builder = builder.mtu(mtu);
    }
    let config = builder
        .build()
        .map_err(|error| CryptoError::Other(format!("DTLS configuration: {error}")))?;
    Ok(CONFIG.get_or_init(|| Arc::new(config)).clone())
}

/// One handshake under way.
struct Handshake {
    /// The ClientHello it answers; none until one came.
    hello: Option<Hello>,
    /// The peer sent more than ClientHellos.
    progressed: bool,
    /// A packet of the peer's waits for its answer; else what comes out is a repetition.
    asked: bool,
    /// The last repetition, kept until the peer asks for it by repeating its own.
    repetition: Vec<Vec<u8>>,
    dtls: dimpl::Dtls,
    /// Held back until the handshake is complete, so that a forged certificate message has no effect.
    certificate: Option<Vec<u8>>,
}

/// What is still to be told after a handshake completed.
enum Told {
    Certificate(Vec<u8>),
    Connected,
}

/// One transport's DTLS: some handshakes, then one connection.
pub(crate) struct Association {
    config: Arc<dimpl::Config>,
    certificate: DtlsCert,
    holder: KeyHolder,
    now: Instant,
    active: bool,
    handshakes: Vec<Handshake>,
    /// Handshakes ever begun.
    begun: u32,
    /// Set once a handshake is complete: then there is exactly one, and it is authenticated.
    settled: bool,
    /// Reversed: the next to be told is the last.
    told: Vec<Told>,
    scratch: Vec<u8>,
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Association")
            .field("active", &self.active)
            .field("settled", &self.settled)
            .field("handshakes", &self.handshakes.len())
            .finish()
    }
}

impl Association {
    fn new(
        config: Arc<dimpl::Config>,
        certificate: DtlsCert,
        holder: KeyHolder,
        now: Instant,
    ) -> Self {
        let mut association = Association {
            config,
            certificate,
            holder,
            now,
            active: false,
            handshakes: Vec::with_capacity(1),
            begun: 0,
            settled: false,
            told: Vec::new(),
            scratch: Vec::new(),
        };
        let first = association.begin(None);
        association.handshakes.push(first);
        association
    }

    fn begin(&mut self, hello: Option<Hello>) -> Handshake {
        self.begun = self.begun.saturating_add(1);
        Handshake {
            hello,
            progressed: false,
            asked: false,
            repetition: Vec::new(),
            dtls: dimpl::Dtls::new_12(self.config.clone(), self.certificate.clone(), self.now),
            certificate: None,
        }
    }

    /// A handshake in place of those that failed, while the bound allows.
    fn begin_again(&mut self) {
        if self.begun >= HANDSHAKES_TOTAL {
            return;
        }
        let mut fresh = self.begin(None);
        fresh.dtls.set_active(self.active);
        if fresh.dtls.handle_timeout(self.now).is_ok() {
            self.handshakes.push(fresh);
        }
    }

    /// The handshake that shall see this ClientHello; `None`: over a bound.
    fn handshake_for(&mut self, hello: Hello) -> Option<usize> {
        if let Some(known) = self.handshakes.iter().position(|h| h.hello == Some(hello)) {
            return Some(known);
        }
        if let Some(blank) = self.handshakes.iter().position(|h| h.hello.is_none()) {
            if let Some(handshake) = self.handshakes.get_mut(blank) {
                handshake.hello = Some(hello);
            }
            return Some(blank);
        }
        if self.begun >= HANDSHAKES_TOTAL {
            return None;
        }
        if self.handshakes.len() >= HANDSHAKES {
            // The oldest that never went on is a stranger's or lost anyway.
            let stale = self.handshakes.iter().position(|h| !h.progressed)?;
            self.handshakes.remove(stale);
        }
        let mut fresh = self.begin(Some(hello));
        fresh.dtls.set_active(false);
        fresh.dtls.handle_timeout(self.now).ok()?;
        self.handshakes.push(fresh);
        Some(self.handshakes.len() - 1)
    }

    fn handle_plain(&mut self, packet: &[u8]) {
        let Some(packet) = sift(packet, self.active) else {
            return;
        };
        match client_hello(&packet).filter(|_| !self.active) {
            Some(ClientHello::Begins(hello)) => {
                if let Some(index) = self.handshake_for(hello)
                    && let Some(handshake) = self.handshakes.get_mut(index)
                {
                    handshake.asked = true;
                    if handshake.dtls.handle_packet(&packet).is_err() {
                        self.handshakes.remove(index);
                    }
                }
            }
            // Only where its beginning is known: anywhere else it would stand in the way of a genuine
            // one. A fragment that overtook its beginning is sent again.
            Some(ClientHello::Continues(length)) => self.handshakes.retain_mut(|handshake| {
                let same = handshake.hello.is_some_and(|hello| hello.length == length);
                handshake.asked |= same;
                !same || handshake.dtls.handle_packet(&packet).is_ok()
            }),
            None => {
                let active = self.active;
                self.handshakes.retain_mut(|handshake| {
                    if !active && handshake.hello.is_none() {
                        return true;
                    }
                    handshake.progressed = true;
                    handshake.asked = true;
                    handshake.dtls.handle_packet(&packet).is_ok()
                });
            }
        }
        if self.handshakes.is_empty() {
            self.begin_again();
        }
    }

    /// Keeps the completed handshake alone.
    fn settle(&mut self, index: usize) {
        let mut winner = self.handshakes.swap_remove(index);
        self.told.push(Told::Connected);
        if let Some(certificate) = winner.certificate.take() {
            self.told.push(Told::Certificate(certificate));
        }
        self.handshakes.clear();
        self.handshakes.push(winner);
        self.settled = true;
    }

    fn poll_connection<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        let Some(connection) = self.handshakes.first_mut() else {
            return DtlsOutput::Timeout(self.now);
        };
        match connection.dtls.poll_output(buffer) {
            DtlsOutput::KeyingMaterial(material, profile)
                if self.holder == KeyHolder::Ourselves =>
            {
                KEYS.set(Keys::exported(profile, &material, self.active));
                // Of course there is more to come.
                DtlsOutput::Timeout(self.now)
            }
            output => output,
        }
    }

    fn tell<'a>(&mut self, buffer: &'a mut [u8]) -> Option<DtlsOutput<'a>> {
        match self.told.pop()? {
            Told::Connected => Some(DtlsOutput::Connected),
            Told::Certificate(der) => match buffer.get_mut(..der.len()) {
                Some(space) => {
                    space.copy_from_slice(&der);
                    Some(DtlsOutput::PeerCert(space))
                }
                None => {
                    let needed = der.len();
                    self.told.push(Told::Certificate(der));
                    Some(DtlsOutput::BufferTooSmall { needed })
                }
            },
        }
    }
}

impl DtlsInstance for Association {
    fn set_active(&mut self, active: bool) {
        self.active = active;
        for handshake in &mut self.handshakes {
            handshake.dtls.set_active(active);
        }
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        if self.settled {
            return match self.handshakes.first_mut() {
                Some(connection) => connection.dtls.handle_packet(packet),
                None => Ok(()),
            };
        }
        if packet.is_empty() {
            // str0m's way of starting the client role.
            if let Some(handshake) = self.handshakes.first_mut() {
                return handshake.dtls.handle_packet(packet);
            }
            return Ok(());
        }
        self.handle_plain(packet);
        Ok(())
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        if self.settled && self.told.is_empty() {
            return self.poll_connection(buffer);
        }
        if self.told.is_empty() {
            self.scratch.resize(buffer.len(), 0);
            let mut deadline: Option<Instant> = None;
            let mut index = 0;
            while let Some(handshake) = self.handshakes.get_mut(index) {
                if handshake.asked
                    && let Some(packet) = handshake.repetition.pop()
                    && packet.len() <= buffer.len()
                {
                    let (space, _) = buffer.split_at_mut(packet.len());
                    space.copy_from_slice(&packet);
                    return DtlsOutput::Packet(space);
                }
                match handshake.dtls.poll_output(&mut self.scratch) {
                    DtlsOutput::Timeout(at) => {
                        handshake.asked = false;
                        deadline = Some(deadline.map_or(at, |earliest| earliest.min(at)));
                        index += 1;
                    }
                    DtlsOutput::Packet(packet) => {
                        if packet.len() > buffer.len() {
                            continue;
                        }
                        if !self.active && !handshake.progressed && !handshake.asked {
                            handshake.repetition.push(packet.to_vec());
                            continue;
                        }
                        let (space, _) = buffer.split_at_mut(packet.len());
                        space.copy_from_slice(packet);
                        return DtlsOutput::Packet(space);
                    }
                    DtlsOutput::PeerCert(der) => handshake.certificate = Some(der.to_vec()),
                    DtlsOutput::Connected => {
                        self.settle(index);
                        break;
                    }
                    DtlsOutput::BufferTooSmall { needed } => {
                        return DtlsOutput::BufferTooSmall { needed };
                    }
                    // Only a complete handshake has keys or data, and it was settled above.
                    _ => index += 1,
                }
            }
            if !self.settled {
                let idle = self.now + crate::limits::CONNECT_TIMEOUT;
                return DtlsOutput::Timeout(deadline.unwrap_or(idle));
            }
        }
        self.tell(buffer).unwrap_or(DtlsOutput::Timeout(self.now))
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.now = now;
        if self.settled {
            return match self.handshakes.first_mut() {
                Some(connection) => connection.dtls.handle_timeout(now),
                None => Ok(()),
            };
        }
        // A handshake that gave up is replaced: the transport's own timeout decides when to stop.
        self.handshakes.retain_mut(|handshake| {
            handshake.repetition.clear();
            handshake.dtls.handle_timeout(now).is_ok()
        });
        if self.handshakes.is_empty() {
            self.begin_again();
        }
        Ok(())
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        match self.handshakes.first_mut() {
            Some(connection) if self.settled => connection.dtls.send_application_data(data),
            // Not accepted: SCTP keeps it until the handshake is complete.
            _ => Ok(0),
        }
    }

    fn is_active(&self) -> bool {
        self.active
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.handshakes.first()?.dtls.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.handshakes.first().is_some_and(|h| h.dtls.is_closing())
    }

    fn is_closed(&self) -> bool {
        self.handshakes.first().is_none_or(|h| h.dtls.is_closed())
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        if !self.settled {
            self.handshakes.truncate(1);
        }
        match self.handshakes.first_mut() {
            Some(connection) => connection.dtls.close(),
            None => Ok(()),
        }
    }
}

const RECORD_HEADER: usize = 13;
const HANDSHAKE_HEADER: usize = 12;
const CONTENT_CHANGE_CIPHER_SPEC: u8 = 20;
const CONTENT_HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// One record of a datagram (RFC 6347 §4.1), header included; `None` at its end or if it is torn.
fn split_record(packet: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(u16::from_be_bytes([*packet.get(11)?, *packet.get(12)?]));
    packet.split_at_checked(RECORD_HEADER + length)
}

fn is_plain(record: &[u8]) -> bool {
    record.get(3..5) == Some(&[0, 0])
}

/// Handshake messages that come before encryption, from the peer (RFC 5246 §7.4, RFC 6347 §4.2.2).
/// HelloRequest is to be ignored during a handshake; session tickets and OCSP are not asked for.
fn is_expected(message: u8, active: bool) -> bool {
    if active {
        // ServerHello, HelloVerifyRequest, Certificate, ServerKeyExchange, CertificateRequest,
        // ServerHelloDone.
        matches!(message, 2 | 3 | 11 | 12 | 13 | 14)
    } else {
        // ClientHello, Certificate, CertificateVerify, ClientKeyExchange.
        matches!(message, CLIENT_HELLO | 11 | 15 | 16)
    }
}

fn keeps(record: &[u8], active: bool) -> bool {
    if !is_plain(record) {
        return true;
    }
    match record.first() {
        Some(&CONTENT_CHANGE_CIPHER_SPEC) => true,
        Some(&CONTENT_HANDSHAKE) => record
            .get(RECORD_HEADER)
            .is_some_and(|message| is_expected(*message, active)),
        _ => false,
    }
}

/// The datagram without what a handshake has no use for: plain-text alerts and data, messages that the
/// peer does not send, a torn record at the end; `None` if nothing is left.
fn sift(packet: &[u8], active: bool) -> Option<std::borrow::Cow<'_, [u8]>> {
    let mut kept = Vec::new();
    let mut rest = packet;
    while let Some((record, after)) = split_record(rest) {
        if keeps(record, active) {
            kept.extend_from_slice(record);
        }
        rest = after;
    }
    if kept.is_empty() {
        return None;
    }
    // Nearly always all of it.
    Some(if kept.len() == packet.len() {
        packet.into()
    } else {
        kept.into()
    })
}

/// Tells one ClientHello from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hello {
    random: [u8; 32],
    /// Of the whole message.
    length: [u8; 3],
}

/// A fragment of a ClientHello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientHello {
    /// The first.
    Begins(Hello),
    /// A later one, of a message of this length.
    Continues([u8; 3]),
}

/// The fragment of a ClientHello in this datagram's first record.
fn client_hello(packet: &[u8]) -> Option<ClientHello> {
    let (record, _) = split_record(packet)?;
    if record.first() != Some(&CONTENT_HANDSHAKE) || !is_plain(record) {
        return None;
    }
    let message = record.get(RECORD_HEADER..)?;
    if message.first() != Some(&CLIENT_HELLO) {
        return None;
    }
    let length = message.get(1..4)?.try_into().ok()?;
    if message.get(6..9)? != [0, 0, 0] {
        return Some(ClientHello::Continues(length));
    }
    // client_version precedes the random. A first fragment without it is of no use.
    let random = message.get(HANDSHAKE_HEADER + 2..HANDSHAKE_HEADER + 34);
    Some(match random.and_then(|random| random.try_into().ok()) {
        Some(random) => ClientHello::Begins(Hello { random, length }),
        None => ClientHello::Continues(length),
    })
}

#[cfg(test)]
#[path = "dtls_tests.rs"]
mod tests;

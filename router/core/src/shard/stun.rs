//! Binding requests of strangers (RFC 8489 §2): "which address do you see me at?"
//!
//! They are told apart from ICE's checks by what they leave out: USERNAME and MESSAGE-INTEGRITY. Nothing
//! is kept of who asks. Anybody may forge the address that asks, so the answer goes to whoever that is:
//! it says what it must and nothing else (no SOFTWARE, an empty reason, a FINGERPRINT only in return for
//! one). It is then at most 12 bytes longer than the request over IPv4, 24 over IPv6, which is
//! XOR-MAPPED-ADDRESS itself: the 20 bytes of a request without attributes, which is what browsers send,
//! cannot be answered in less. On the wire that is 48 bytes for 60, of which one worker gives as many a
//! second as configuration allows, and one address [`crate::limits::STUN_ANSWERS_PER_SOURCE`].

use std::net::{IpAddr, SocketAddr};

use crate::limits::STUN_REQUEST_BYTES;
use crate::stats::DropCause;

const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
const BINDING_ERROR: [u8; 2] = [0x01, 0x11];
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const HEADER_BYTES: usize = 20;
const FINGERPRINT_BYTES: usize = 8;
/// What a FINGERPRINT's CRC is XORed with (RFC 8489 §14.7).
const FINGERPRINT_MASK: u32 = 0x5354_554e;
/// Unknown attributes that an answer names at most.
const UNKNOWN_NAMED: usize = 8;

/// Attributes (RFC 8489 §18.3), those of 0x8000 and above left out: they may be ignored.
mod attribute {
    pub(super) const MAPPED_ADDRESS: u16 = 0x0001;
    pub(super) const USERNAME: u16 = 0x0006;
    pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(super) const ERROR_CODE: u16 = 0x0009;
    pub(super) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    pub(super) const REALM: u16 = 0x0014;
    pub(super) const NONCE: u16 = 0x0015;
    pub(super) const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
    pub(super) const USERHASH: u16 = 0x001e;
    pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(super) const PRIORITY: u16 = 0x0024;
    pub(super) const USE_CANDIDATE: u16 = 0x0025;
    pub(super) const FINGERPRINT: u16 = 0x8028;
}

/// A stranger's binding request that can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Binding {
    transaction: [u8; 12],
    /// It had a FINGERPRINT, so its answer has one.
    fingerprint: bool,
    unknown: [u16; UNKNOWN_NAMED],
    unknowns: usize,
}

/// Reads a binding request. `Ok(None)`: it is something else, or has credentials: a check of ICE.
///
/// # Errors
/// Why it is dropped: malformed, longer than such requests are, or with a wrong FINGERPRINT.
pub(super) fn read(contents: &[u8]) -> Result<Option<Binding>, DropCause> {
    let Some((header, attributes)) = contents.split_first_chunk::<HEADER_BYTES>() else {
        return Err(DropCause::Malformed);
    };
    let &[t0, t1, l0, l1, c0, c1, c2, c3, ref transaction @ ..] = header;
    if [t0, t1] != BINDING_REQUEST {
        return Ok(None);
    }
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let whole = length == attributes.len() && length.is_multiple_of(4);
    if !whole || [c0, c1, c2, c3] != MAGIC_COOKIE {
        return Err(DropCause::Malformed);
    }
    let mut binding = Binding {
        transaction: *transaction,
        fingerprint: false,
        unknown: [0; UNKNOWN_NAMED],
        unknowns: 0,
    };
    let mut rest = attributes;
    while let Some((&[k0, k1, n0, n1], tail)) = rest.split_first_chunk::<4>() {
        let bytes = usize::from(u16::from_be_bytes([n0, n1]));
        let (padded, after) = tail
            .split_at_checked(bytes.next_multiple_of(4))
            .ok_or(DropCause::Malformed)?;
        match u16::from_be_bytes([k0, k1]) {
            attribute::USERNAME
            | attribute::USERHASH
            | attribute::MESSAGE_INTEGRITY
            | attribute::MESSAGE_INTEGRITY_SHA256 => return Ok(None),
            attribute::FINGERPRINT => {
                // Nothing comes after it (§14.7).
                let said = <[u8; 4]>::try_from(padded).map_err(|_| DropCause::Malformed)?;
                if bytes != 4 || !after.is_empty() {
                    return Err(DropCause::Malformed);
                }
                binding.fingerprint = true;
                verify(contents, u32::from_be_bytes(said))?;
            }
            kind if !is_known(kind) => binding.note_unknown(kind),
            _ => {}
        }
        rest = after;
    }
    if contents.len() > STUN_REQUEST_BYTES {
        return Err(DropCause::Malformed);
    }
    Ok(Some(binding))
}

/// Whether an attribute may be passed over: it is known, or need not be.
fn is_known(kind: u16) -> bool {
    kind >= 0x8000
        || matches!(
            kind,
            attribute::MAPPED_ADDRESS
                | attribute::ERROR_CODE
                | attribute::UNKNOWN_ATTRIBUTES
                | attribute::REALM
                | attribute::NONCE
                | attribute::XOR_MAPPED_ADDRESS
                | attribute::PRIORITY
                | attribute::USE_CANDIDATE
        )
}

/// Checks a FINGERPRINT, the last attribute, if the message is short enough to be worth it.
fn verify(contents: &[u8], said: u32) -> Result<(), DropCause> {
    if contents.len() > STUN_REQUEST_BYTES {
        return Err(DropCause::Malformed);
    }
    let covered = contents.len().saturating_sub(FINGERPRINT_BYTES);
    let covered = contents.get(..covered).unwrap_or_default();
    if crc32fast::hash(covered) ^ FINGERPRINT_MASK == said {
        Ok(())
    } else {
        Err(DropCause::StunUnauthenticated)
    }
}

impl Binding {
    fn note_unknown(&mut self, kind: u16) {
        // Beyond what an answer names, the first ones will do for whoever debugs his client.
        if let Some(place) = self.unknown.get_mut(self.unknowns) {
            *place = kind;
            self.unknowns += 1;
        }
    }

    /// The answer for whoever asks from `source`: where that is (RFC 8489 §6.3.1.2), or which
    /// attributes would have to be understood (§6.3.1, 420).
    pub(super) fn answer(&self, source: SocketAddr) -> Answer {
        let success = self.unknowns == 0;
        let mut answer = Answer::default();
        answer.put(if success {
            &BINDING_SUCCESS
        } else {
            &BINDING_ERROR
        });
        answer.put(&[0, 0]);
        answer.put(&MAGIC_COOKIE);
        answer.put(&self.transaction);
        if success {
            self.put_address(&mut answer, source);
        } else {
            answer.attribute(attribute::ERROR_CODE, 4);
            answer.put(&[0, 0, 4, 20]);
            let unknown = self.unknown.get(..self.unknowns).unwrap_or_default();
            answer.attribute(attribute::UNKNOWN_ATTRIBUTES, 2 * unknown.len());
            for kind in unknown {
                answer.put(&kind.to_be_bytes());
            }
            if !unknown.len().is_multiple_of(2) {
                answer.put(&[0, 0]);
            }
        }
        if self.fingerprint {
            answer.set_length(FINGERPRINT_BYTES);
            let crc = crc32fast::hash(answer.contents()) ^ FINGERPRINT_MASK;
            answer.attribute(attribute::FINGERPRINT, 4);
            answer.put(&crc.to_be_bytes());
        }
        answer.set_length(0);
        answer
    }

    /// XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
    fn put_address(&self, answer: &mut Answer, source: SocketAddr) {
        let [c0, c1, ..] = MAGIC_COOKIE;
        let port = source.port() ^ u16::from_be_bytes([c0, c1]);
        let mask = MAGIC_COOKIE.into_iter().chain(self.transaction);
        let mut address = [0; 16];
        let (family, octets) = match source.ip() {
            IpAddr::V4(ip) => {
                address
                    .iter_mut()
                    .zip(ip.octets())
                    .for_each(|(to, from)| *to = from);
                (1, 4)
            }
            IpAddr::V6(ip) => {
                address = ip.octets();
                (2, 16)
            }
        };
        address
            .iter_mut()
            .zip(mask)
            .for_each(|(byte, mask)| *byte ^= mask);
        answer.attribute(attribute::XOR_MAPPED_ADDRESS, 4 + octets);
        answer.put(&[0, family]);
        answer.put(&port.to_be_bytes());
        answer.put(address.get(..octets).unwrap_or_default());
    }
}

/// Longest answer: 20 bytes of header, 28 of an error with eight attributes, 8 of FINGERPRINT.
const ANSWER_BYTES: usize = 64;

/// An answer, without memory of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    bytes: [u8; ANSWER_BYTES],
    length: usize,
}

impl Default for Answer {
    fn default() -> Self {
        Answer {
            bytes: [0; ANSWER_BYTES],
            length: 0,
        }
    }
}

impl Answer {
    /// The datagram.
    pub(super) fn contents(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            place.copy_from_slice(bytes);
            self.length = end;
        }
    }

    fn attribute(&mut self, kind: u16, bytes: usize) {
        self.put(&kind.to_be_bytes());
        self.put(&(bytes as u16).to_be_bytes());
    }

    /// Writes the length of the attributes, with `more` bytes of them still to come.
    fn set_length(&mut self, more: usize) {
        let length = (self.length + more).saturating_sub(HEADER_BYTES) as u16;
        if let Some(place) = self.bytes.get_mut(2..4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }
}

#[cfg(test)]
#[path = "stun_tests.rs"]
mod tests;

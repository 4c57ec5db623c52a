//! ICE credentials: unguessable, and telling which transport they belong to.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng;
use str0m::IceCreds;

use crate::id::WorkerId;
use crate::shard::slab::{Key, TransportKey};

/// ice-char (RFC 8839 §5.4) is the alphabet of base64.
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Worker, slot (3 bytes), generation (4), random (7): 15 bytes make 20 characters without padding.
const UFRAG_BYTES: usize = 15;
/// 192 bits; RFC 8445 §5.3 asks for 128.
const PASSWORD_BYTES: usize = 24;

/// New credentials for a transport.
pub(crate) fn generate(rng: &mut ChaCha20Rng, worker: WorkerId, key: TransportKey) -> IceCreds {
    let mut bytes = [0; UFRAG_BYTES];
    let (name, random) = bytes.split_at_mut(8);
    name.copy_from_slice(&name_of(worker, key));
    rng.fill_bytes(random);
    let mut password = [0; PASSWORD_BYTES];
    rng.fill_bytes(&mut password);
    IceCreds {
        ufrag: encode(&bytes),
        pass: encode(&password),
    }
}

/// The worker and transport a ufrag of ours names. Whether that transport uses it must be checked.
pub(crate) fn parse_ufrag(ufrag: &str) -> Option<(WorkerId, TransportKey)> {
    let bytes: [u8; UFRAG_BYTES] = decode(ufrag)?;
    let [worker, s0, s1, s2, g0, g1, g2, g3, ..] = bytes;
    let slot = u32::from_be_bytes([0, s0, s1, s2]);
    let generation = u32::from_be_bytes([g0, g1, g2, g3]);
    Some((WorkerId(worker), TransportKey::from_parts(slot, generation)))
}

fn name_of(worker: WorkerId, key: TransportKey) -> [u8; 8] {
    let [_, s0, s1, s2] = key.slot().to_be_bytes();
    let [g0, g1, g2, g3] = key.generation().to_be_bytes();
    [worker.0, s0, s1, s2, g0, g1, g2, g3]
}

fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() / 3 * 4);
    for group in bytes.chunks_exact(3) {
        let bits = group
            .iter()
            .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        for shift in [18, 12, 6, 0] {
            let index = (bits >> shift) as usize & 63;
            text.push(char::from(*ICE_CHARS.get(index).unwrap_or(&b'A')));
        }
    }
    text
}

fn decode(text: &str) -> Option<[u8; UFRAG_BYTES]> {
    if text.len() != UFRAG_BYTES / 3 * 4 {
        return None;
    }
    let mut bytes = [0; UFRAG_BYTES];
    for (group, out) in text
        .as_bytes()
        .chunks_exact(4)
        .zip(bytes.chunks_exact_mut(3))
    {
        let mut bits = 0u32;
        for char in group {
            bits = bits << 6 | u32::from(value_of(*char)?);
        }
        out.copy_from_slice(bits.to_be_bytes().get(1..)?);
    }
    Some(bytes)
}

fn value_of(char: u8) -> Option<u8> {
    match char {
        b'A'..=b'Z' => Some(char - b'A'),
        b'a'..=b'z' => Some(char - b'a' + 26),
        b'0'..=b'9' => Some(char - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;

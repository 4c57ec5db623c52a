//! What cannot be avoided: copying and encrypting each packet for each receiver.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::cpu::{Samples, timed};

/// Header bytes that are authenticated and not encrypted.
const HEADER_BYTES: usize = 32;
const TAG_BYTES: usize = 16;

/// Copying a payload behind a header and sealing it with AES-256-GCM, once for each of `receivers` keys
/// in a burst of `burst` packets; ns per packet.
pub(crate) fn seal(receivers: usize, burst: usize, payload_bytes: usize, turns: usize) -> Samples {
    let payloads: Vec<Vec<u8>> = (0..burst).map(|n| vec![n as u8; payload_bytes]).collect();
    let keys: Vec<LessSafeKey> = (0..receivers)
        .map(|n| {
            let mut bytes = [1; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).expect("a key"))
        })
        .collect();
    let packet_bytes = HEADER_BYTES + payload_bytes + TAG_BYTES;
    let mut arena = vec![0; packet_bytes * burst];
    let mut samples = Samples::default();
    let mut counter = 0_u64;
    for _ in 0..turns {
        let (spent_ns, ()) = timed(|| {
            for key in &keys {
                for (packet, payload) in arena.chunks_mut(packet_bytes).zip(&payloads) {
                    counter += 1;
                    seal_one(key, counter, packet, payload);
                }
            }
        });
        samples.add(spent_ns, (receivers * burst) as u64);
    }
    samples
}

fn seal_one(key: &LessSafeKey, counter: u64, packet: &mut [u8], payload: &[u8]) {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    let (header, body) = packet.split_at_mut(HEADER_BYTES);
    header[..8].copy_from_slice(&counter.to_be_bytes());
    let (body, tag) = body.split_at_mut(payload.len());
    body.copy_from_slice(payload);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let sealed = key
        .seal_in_place_separate_tag(nonce, Aad::from(&header[..]), body)
        .expect("sealed");
    tag.copy_from_slice(sealed.as_ref());
}

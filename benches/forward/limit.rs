//! What cannot be avoided: copying and encrypting each packet for each receiver, and giving it to the kernel.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use quinn_udp::{Transmit, UdpSocketState};

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

/// Sockets that stand for all receivers: what a turn sends fits into their buffers as they are by default.
const SOCKETS: usize = 256;

/// Sending a burst to each of `receivers` as one datagram train (UDP GSO) over loopback; ns per packet. What the
/// kernel does there to hand packets to their receivers is in it, as it is in a router's time.
pub(crate) fn send(
    receivers: usize,
    burst: usize,
    payload_bytes: usize,
    turns: usize,
) -> io::Result<Samples> {
    let packet_bytes = HEADER_BYTES + payload_bytes + TAG_BYTES;
    let from = UdpSocket::bind("127.0.0.1:0")?;
    let state = UdpSocketState::new((&from).into())?;
    let mut sinks = Vec::new();
    for _ in 0..SOCKETS {
        let sink = UdpSocket::bind("127.0.0.1:0")?;
        sink.set_nonblocking(true)?;
        sinks.push(sink);
    }
    let places: Vec<SocketAddr> = sinks
        .iter()
        .map(UdpSocket::local_addr)
        .collect::<Result<_, _>>()?;
    let train = vec![7; packet_bytes * burst];
    let mut samples = Samples::default();
    let mut received = 0;
    for _ in 0..turns {
        let (spent_ns, sent) = timed(|| {
            let mut destinations = places.iter().cycle().take(receivers);
            destinations.try_for_each(|destination| {
                let transmit = Transmit {
                    destination: *destination,
                    ecn: None,
                    contents: &train,
                    segment_size: (burst > 1).then_some(packet_bytes),
                    src_ip: None,
                };
                state.try_send((&from).into(), &transmit)
            })
        });
        sent?;
        samples.add(spent_ns, (receivers * burst) as u64);
        received += sinks.iter().map(drain).sum::<usize>();
    }
    assert_eq!(received, turns * receivers * burst, "all arrived");
    Ok(samples)
}

/// Empties a socket; how many packets there were.
fn drain(sink: &UdpSocket) -> usize {
    let mut bytes = [0; 2_048];
    std::iter::from_fn(|| sink.recv(&mut bytes).ok()).count()
}

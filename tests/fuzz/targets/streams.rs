//! Streams cut into messages: ICE over TCP (RFC 4571) and TURN over TCP (RFC 8656 §3.1), however they arrive.

use rillway_turn::framing;

use super::reader::Reader;

// Of the ring, which is otherwise all system calls.
#[allow(dead_code, unreachable_pub)]
#[path = "../../../router/ring/src/streams/assembler.rs"]
mod assembler;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../router/ring/src/streams/backlog.rs"]
mod backlog;

use assembler::{Assembler, FRAME_BYTES_MAX};
use backlog::Backlog;

/// What is queued for one connection at most, bytes.
const BACKLOG_BYTES: usize = 512 * 1_024;

/// Input: lengths of the pieces, with their number before them, and the stream.
pub fn run_ice(input: &[u8]) {
    let mut reader = Reader::new(input);
    let cuts = reader.chunk().unwrap_or_default();
    let stream = reader.rest();
    let whole = packets(&[stream]);
    let pieces = pieces(stream, cuts);
    // How it is cut makes no difference.
    assert_eq!(packets(&pieces), whole);
    let (packets, fine) = whole;
    let bytes: usize = packets.iter().map(|packet| packet.len() + 2).sum();
    assert!(bytes <= stream.len());
    assert!(
        packets
            .iter()
            .all(|p| (1..=FRAME_BYTES_MAX).contains(&p.len()))
    );

    // Sent again, it arrives again.
    let mut backlog = Backlog::default();
    for (index, packet) in packets.iter().enumerate() {
        assert!(
            backlog.push(packet, fine && index % 2 == 0),
            "there is room"
        );
    }
    let mut sent = Vec::new();
    for step in cuts.iter().map(|cut| usize::from(*cut)).chain([usize::MAX]) {
        let [first, second] = backlog.slices();
        let waiting = [&*first, &*second].concat();
        assert!(waiting.len() <= BACKLOG_BYTES);
        let taken = step.min(waiting.len());
        sent.extend_from_slice(&waiting[..taken]);
        backlog.written(taken);
    }
    assert!(backlog.is_empty());
    assert_eq!(self::packets(&[&sent]), (packets, true));
}

/// The packets in a stream that arrives in pieces; false: it was refused at some place.
fn packets(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
    let mut assembler = Assembler::default();
    let mut packets = Vec::new();
    for piece in pieces {
        let mut count = 0;
        let fed = assembler.feed(&mut piece.to_vec(), &mut |packet| {
            packets.push(packet.to_vec());
            count += 1;
        });
        match fed {
            Ok(told) => assert_eq!(told, count),
            Err(_) => return (packets, false),
        }
    }
    (packets, true)
}

fn pieces<'a>(mut stream: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, rest) = stream.split_at(usize::from(*cut).min(stream.len()));
        pieces.push(piece);
        stream = rest;
    }
    pieces.push(stream);
    pieces
}

/// Input: a stream of TURN.
pub fn run_turn(stream: &[u8]) {
    let mut rest = stream;
    loop {
        match framing::next(rest) {
            Ok(Some((taken, message))) => {
                assert!(message <= taken && taken <= rest.len() && taken >= 4);
                let whole = &rest[..message];
                assert_eq!(framing::padding(whole).len(), taken - message);
                // Each of its beginnings is one, and says neither more nor anything else.
                for short in [0, 1, 3, 4, taken / 2, taken - 1] {
                    let begun = framing::next(&rest[..short.min(taken - 1)]);
                    assert_eq!(begun, Ok(None), "{short} of {taken}");
                }
                rest = &rest[taken..];
            }
            Ok(None) => {
                assert!(rest.len() < rillway_turn::limits::FRAME_BYTES_MAX + 4);
                return;
            }
            // What follows does not mend it.
            Err(_) => {
                let more = [rest, &[0; 64]].concat();
                assert!(framing::next(&more).is_err());
                return;
            }
        }
    }
}

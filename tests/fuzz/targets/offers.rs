//! Descriptions and candidates of clients, up to the engine: each request is answered once, and leaves nothing behind.

use std::time::Instant;

use rillway_core::Shard;
use rillway_core::api::{Action, Direction, EventKind, Source};
use rillway_core::id::{ClientId, Reference};

use super::reader::{Reader, text};
use super::shards;

/// A participant that publishes, and one that plays by offers of its own.
const CLIENTS: [u64; 2] = [1, 2];

/// Input: requests, each of a kind and a text with a length of two bytes.
pub fn run(input: &[u8]) {
    let mut reader = Reader::new(input);
    let now = Instant::now();
    let mut shard = shards::shard(now);
    for client in CLIENTS {
        shards::join(&mut shard, now, client);
    }
    let _ = shards::turn(&mut shard, now);
    let mut reference = 0;
    while let Some(kind) = reader.byte() {
        let Some(said) = reader.long_chunk() else {
            break;
        };
        reference += 1;
        let client = CLIENTS[usize::from(kind >> 7)];
        let action = action(kind & 0x7f, text(said));
        shards::ask(&mut shard, now, client, reference, action);
        check(&mut shard, now, client, reference);
    }
    shards::leave(&mut shard, now, &CLIENTS);
}

fn action(kind: u8, text: String) -> Action {
    let sources = ["0", "1", "a", "v"].map(|mid| (mid.to_owned(), Source::Camera));
    match kind % 8 {
        0 | 1 => Action::AcceptOffer {
            sdp: text,
            sources: sources.to_vec(),
        },
        2 => Action::AcceptReceivingOffer { sdp: text },
        3 => Action::AcceptAnswer {
            offer_id: 1,
            sdp: text,
        },
        4 => Action::AddCandidate(Direction::Publish, text),
        5 => Action::AddCandidate(Direction::Subscribe, text),
        6 => Action::CloseTransport(Direction::Publish),
        _ => Action::RestartIce,
    }
}

fn check(shard: &mut Shard, now: Instant, client: u64, asked: u64) {
    let (sent, events) = shards::turn(shard, now);
    assert!(sent.0.is_empty(), "nobody has an address yet");
    let mut answers = 0;
    for event in events {
        let about = match event.kind {
            EventKind::Answer { reference, sdp, .. } => {
                assert!(sdp.contains("\r\na=ice-lite\r\n"), "{sdp}");
                assert!(
                    !sdp.contains("abcdefghijklmnopqrstuvwx"),
                    "the client's password: {sdp}"
                );
                reference
            }
            EventKind::Done { reference } | EventKind::Failed { reference, .. } => reference,
            EventKind::Removed { reason } => panic!("removed: {reason}"),
            _ => continue,
        };
        assert_eq!((event.client, about), (ClientId(client), Reference(asked)));
        answers += 1;
    }
    assert_eq!(answers, 1, "one answer to each request");
}

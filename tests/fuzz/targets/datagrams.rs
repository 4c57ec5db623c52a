//! Datagrams at a shard with a participant in it (RFC 7983): STUN with good credentials and others, DTLS, RTP, noise.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rillway_core::api::{Action, EventKind, Source};
use rillway_core::id::SocketId;
use turn_types::stun::attribute::{AttributeType, RawAttribute, Username};
use turn_types::stun::message::{
    BINDING, IntegrityAlgorithm, Message, MessageWrite as _, MessageWriteExt as _, MessageWriteVec,
    ShortTermCredentials,
};

use super::reader::Reader;
use super::shards;

const CLIENT: u64 = 1;
/// An answer to a stranger may be longer than what it asked by as much (IPv4).
const STUN_MORE: usize = 12;

/// What one address sent and got.
#[derive(Default)]
struct Account {
    sent: usize,
    got: usize,
    /// It has shown that it knows the credentials.
    validated: bool,
}

/// Input: steps, each of a kind, an address, and what the kind wants.
pub fn run(input: &[u8]) {
    let mut reader = Reader::new(input);
    let mut now = Instant::now();
    let mut shard = shards::shard(now);
    shards::join(&mut shard, now, CLIENT);
    let sources = ["0", "1"].map(|mid| (mid.to_owned(), Source::Camera));
    let offer = Action::AcceptOffer {
        sdp: shards::offer(true),
        sources: sources.to_vec(),
    };
    shards::ask(&mut shard, now, CLIENT, 1, offer);
    let (_, events) = shards::turn(&mut shard, now);
    let answer = events.iter().find_map(|event| match &event.kind {
        EventKind::Answer { sdp, .. } => Some(sdp.as_str()),
        _ => None,
    });
    let answer = answer.expect("an answer");
    let of = |name: &str| {
        let mut lines = answer.lines();
        lines
            .find_map(|l| l.strip_prefix(name))
            .expect("credentials")
    };
    let (ufrag, password) = (of("a=ice-ufrag:").to_owned(), of("a=ice-pwd:").to_owned());
    let mut accounts: HashMap<SocketAddr, Account> = HashMap::new();
    while let (Some(kind), Some(from)) = (reader.byte(), reader.byte()) {
        let from = SocketAddr::from(([198, 51, 100, from % 4], 5_000));
        let datagram = match kind % 4 {
            0 => reader.chunk().unwrap_or_default().to_vec(),
            1 => reader.long_chunk().unwrap_or_default().to_vec(),
            2 => {
                let (check, good) = check(&mut reader, &ufrag, &password);
                accounts.entry(from).or_default().validated |= good;
                check
            }
            _ => {
                now += Duration::from_millis(u64::from(reader.byte().unwrap_or(0)) * 20);
                Vec::new()
            }
        };
        if !datagram.is_empty() {
            let account = accounts.entry(from).or_default();
            account.sent += datagram.len() + STUN_MORE;
            shard.handle_datagram(now, SocketId(0), from, &datagram);
        }
        let (sent, _) = shards::turn(&mut shard, now);
        for (to, contents) in sent.0 {
            let account = accounts
                .get_mut(&to)
                .expect("nobody unheard of gets anything");
            account.got += contents.len();
            let fair = account.validated || account.got <= account.sent;
            assert!(fair, "{to} got {} for {}", account.got, account.sent);
        }
    }
    shards::leave(&mut shard, now, &[CLIENT]);
}

/// A check of ICE; whether it is a good one.
fn check(reader: &mut Reader<'_>, ufrag: &str, password: &str) -> (Vec<u8>, bool) {
    let flags = reader.byte().unwrap_or(0);
    let mut message = Message::builder_request(BINDING, MessageWriteVec::new());
    let name = match flags & 1 {
        0 => format!("{ufrag}:abcd"),
        _ => format!("{ufrag}{}", super::reader::text(reader.take(8))),
    };
    let mut good = name
        .strip_prefix(ufrag)
        .is_some_and(|rest| rest.starts_with(':'));
    let _ = Username::new(&name).map(|name| message.add_attribute(&name));
    // USE-CANDIDATE, PRIORITY, ICE-CONTROLLING, ICE-CONTROLLED (RFC 8445 §16.1).
    for (flag, kind, bytes) in [(2, 0x25, 0), (4, 0x24, 4), (8, 0x802a, 8), (64, 0x8029, 8)] {
        if flags & flag != 0 {
            let value = reader.take(bytes);
            let _ = message.add_attribute(&RawAttribute::new(AttributeType::new(kind), value));
        }
    }
    let key = ShortTermCredentials::new(password.to_owned()).into();
    let _ = message.add_message_integrity(&key, IntegrityAlgorithm::Sha1);
    if flags & 16 != 0 {
        let _ = message.add_fingerprint();
    }
    let mut bytes = message.finish();
    if flags & 32 != 0 {
        let at = usize::from(reader.byte().unwrap_or(0)) % bytes.len();
        let change = reader.byte().unwrap_or(1);
        bytes[at] ^= change;
        // What comes after the integrity is not covered by it.
        good &= change == 0 || (flags & 16 != 0 && at + 8 >= bytes.len());
    }
    (bytes, good)
}

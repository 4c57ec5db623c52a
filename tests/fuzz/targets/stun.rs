//! Binding requests of strangers (RFC 8489 §2), by a shard that nobody is in.

use std::cell::RefCell;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use rillway_core::Shard;
use rillway_core::id::SocketId;
use turn_types::stun::attribute::XorMappedAddress;
use turn_types::stun::message::{BINDING, Message, MessageClass};

use super::shards;

thread_local! {
    /// Strangers leave no trace, so one is enough; each comes a second later, when there are answers again.
    static SHARD: RefCell<(Shard, Instant)> = {
        let now = Instant::now();
        RefCell::new((shards::shard(now), now))
    };
}

/// Input: the family of the address, and a datagram.
pub fn run(input: &[u8]) {
    let Some((&family, datagram)) = input.split_first() else {
        return;
    };
    let from: SocketAddr = match family % 2 {
        0 => ([198, 51, 100, 7], 4_242).into(),
        _ => (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7), 4_242).into(),
    };
    SHARD.with_borrow_mut(|(shard, now)| {
        *now += Duration::from_secs(2);
        let sizes = shard.table_sizes();
        shard.handle_datagram(*now, SocketId(0), from, datagram);
        let (sent, events) = shards::turn(shard, *now);
        assert_eq!(events, [], "a stranger is nobody's business");
        assert_eq!(shard.table_sizes(), sizes, "it left a trace");
        assert!(sent.0.len() <= 1);
        for (to, answer) in sent.0 {
            assert_eq!(to, from);
            check(from, datagram, &answer);
        }
    });
}

fn check(from: SocketAddr, request: &[u8], answer: &[u8]) {
    let more = if from.is_ipv4() { 12 } else { 24 };
    assert!(answer.len() <= request.len() + more, "{answer:02x?}");
    assert_eq!(answer[4..20], request[4..20], "another transaction");
    let message = Message::from_bytes(answer).expect("an answer is STUN");
    assert!(message.has_method(BINDING));
    if message.has_class(MessageClass::Success) {
        let seen = message.attribute::<XorMappedAddress>().expect("an address");
        assert_eq!(seen.addr(message.transaction_id()), from);
    } else {
        assert!(message.has_class(MessageClass::Error));
    }
}

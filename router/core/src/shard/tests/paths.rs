use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::*;
use crate::limits::Limits;
use crate::path::{PathKind, Relays};
use crate::{Shard, ShardConfig};

/// A relay that sends from one address, for clients who come by TLS.
#[derive(Debug)]
struct From(IpAddr);

impl Relays for From {
    fn kind(&self, source: SocketAddr) -> Option<PathKind> {
        (source.ip() == self.0).then_some(PathKind::TurnTls)
    }

    fn offers(&self, kind: PathKind) -> bool {
        kind == PathKind::TurnTls
    }
}

fn counted(bench: &Bench) -> ([u64; 5], [u64; 5]) {
    let stats = bench.shard.stats();
    (stats.connects_by_path, stats.path_changes)
}

#[test]
fn who_comes_by_the_relay_is_counted_apart_and_so_is_another_way_later() {
    let mut bench = Bench::new();
    let relay: SocketAddr = "10.0.8.8:50001".parse().unwrap();
    let setup = ShardConfig {
        relays: Some(Arc::new(From(relay.ip()))),
        ..config(Limits::default())
    };
    bench.shard = Shard::new(setup, bench.now);
    let (alice, mids) = bench.talker("room");
    let bob = bench.join("room");
    let track = bench.clients[alice].track(0);
    bench.watch(bob, &[track]);
    let mut feed = Feed::audio(mids[0]);
    let mut send = |bench: &mut Bench| {
        for _ in 0..150 {
            bench.run(Duration::from_millis(20));
            bench.send(alice, &feed.next(false, 1));
        }
    };
    send(&mut bench);
    let straight = [2, 0, 0, 0, 0];
    assert_eq!(counted(&bench), (straight, [0; 5]));
    for (address, changes) in [
        (relay.to_string(), [0, 0, 0, 0, 1]),
        // Another port of the same relay is no other way.
        ("10.0.8.8:50002".to_owned(), [0, 0, 0, 0, 1]),
        ("10.0.9.9:6000".to_owned(), [1, 0, 0, 0, 1]),
    ] {
        let end = bench.clients[bob].subscribe();
        end.move_to(address.parse().unwrap());
        bench.ok(bob, Action::RestartIce);
        send(&mut bench);
        assert_eq!(counted(&bench), (straight, changes), "{address}");
    }
}

//! Whom the relay reaches, asked over sockets; and Debian's coturn, asked the same.

use std::net::SocketAddr;

use rillway_tests::turn::{COTURN_USER, Caller, Coturn, binding};

use super::{Told, told, with_relay};
use crate::router::{Client, join, metric, metric_becomes};
use serde_json::Value;

/// How often a media port is asked; half a second is waited for each answer.
const TRIES: u32 = 6;

/// What a client must not reach by a relay. (All that there are, one by one: router/turn/src/peers/tests.rs.)
const NEVER: [&str; 20] = [
    // Another port of this machine, by all its names.
    "127.0.0.1:22",
    "127.8.8.8:40000",
    "0.0.0.0:22",
    "0.0.0.0:40000",
    "[::1]:22",
    "[::]:22",
    "[::ffff:127.0.0.1]:22",
    "[::ffff:0.0.0.0]:22",
    "[::127.0.0.1]:22",
    // Its network, its cloud's secrets.
    "10.1.2.3:40000",
    "192.168.1.1:40000",
    "169.254.169.254:80",
    "[::ffff:169.254.169.254]:80",
    "[fe80::1]:40000",
    "[fd00::1]:40000",
    // Everybody, and nobody in particular.
    "224.0.0.1:40000",
    "255.255.255.255:40000",
    "[ff02::1]:40000",
    // The Internet: this relay is for this router.
    "8.8.8.8:50000",
    "[2606:4700:4700::1111]:50000",
];

fn never() -> impl Iterator<Item = SocketAddr> {
    NEVER.iter().map(|text| text.parse().expect("an address"))
}

/// Asks for a permission and a channel to each; those that were granted.
fn granted(v4: &Caller, v6: &Caller) -> Vec<SocketAddr> {
    let mut granted = Vec::new();
    for (peer, channel) in never().zip(0x4000..) {
        let caller = if peer.is_ipv4() { v4 } else { v6 };
        if caller.permit(peer).is_ok() || caller.bind(channel, peer).is_ok() {
            granted.push(peer);
        }
    }
    granted
}

/// A media port answers what is sent to it by the relay.
pub(super) fn reaches_media(told: &Told, media: SocketAddr) -> Caller {
    let server = SocketAddr::from(([127, 0, 0, 1], told.udp));
    let user = (told.username.as_str(), told.credential.as_str());
    let caller = Caller::allocate(server, user, false).expect("an allocation");
    caller.bind(0x4001, media).expect("it is the router's");
    // It is UDP, on a machine with much else to do: asked again, as RFC 8489 §6.2.1 has it.
    let answered = (0..TRIES).any(|_| {
        caller.send(0x4001, &binding());
        caller.receive(0x4001).is_some()
    });
    assert!(answered, "no answer by the relay");
    caller
}

async fn somebody(router: &rillway::Running) -> (Client, Value) {
    join(router, "meeting", "Ada").await
}

#[tokio::test]
async fn no_address_of_the_matrix_is_reached_and_coturn_reaches_some() {
    let router = with_relay("relay_addresses = [\"127.0.0.1\", \"::1\"]\n");
    let (_ada, joined) = somebody(&router).await;
    let told = told(&joined);
    let server = SocketAddr::from(([127, 0, 0, 1], told.udp));
    let user = (told.username.as_str(), told.credential.as_str());
    let v4 = Caller::allocate(server, user, false).expect("an allocation");
    let v6 = Caller::allocate(server, user, true).expect("an allocation of IPv6");
    for (peer, channel) in never().zip(0x4000..) {
        let caller = if peer.is_ipv4() { &v4 } else { &v6 };
        assert_eq!(caller.permit(peer), Err(403), "{peer}");
        assert_eq!(caller.bind(channel, peer), Err(403), "{peer}");
    }
    let refused = "rillway_turn_refused_total{cause=\"peer\"}";
    metric_becomes(&router, refused, 2.0 * NEVER.len() as f64).await;

    // The same questions reach addresses where nobody refuses: they were asked well.
    let folder = std::env::temp_dir().join(format!("rillway-coturn-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let Some(coturn) = Coturn::start(&folder, &[]) else {
        eprintln!("skipped: no turnserver (tests/setup/install coturn)");
        return;
    };
    let v4 = Caller::allocate(coturn.address, COTURN_USER, false).expect("an allocation");
    let v6 = Caller::allocate(coturn.address, COTURN_USER, true).expect("an allocation of IPv6");
    let granted = granted(&v4, &v6);
    let _ = std::fs::remove_dir_all(&folder);
    eprintln!("coturn reaches {granted:?}");
    let reached = |text: &str| granted.contains(&text.parse().expect("an address"));
    assert!(reached("10.1.2.3:40000"), "{granted:?}");
    assert!(reached("169.254.169.254:80"), "{granted:?}");
}

#[tokio::test]
async fn a_media_port_is_reached_and_answers() {
    let router = with_relay("");
    let (_ada, joined) = somebody(&router).await;
    let told = told(&joined);
    let _caller = reaches_media(&told, router.media_addresses()[0][0]);
    metric_becomes(
        &router,
        "rillway_turn_packets_total{direction=\"to-clients\"}",
        1.0,
    )
    .await;
    assert_eq!(metric(&router, "rillway_turn_allocations").await, Some(1.0));
}

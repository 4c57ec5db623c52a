use super::*;

fn at(text: &str) -> SocketAddr {
    text.parse()
        .unwrap_or_else(|_| panic!("{text} is an address"))
}

/// Two workers: one beside a NAT that maps it to 1.2.3.4, one on loopback as in `rillway dev`; IPv6 too.
fn peers(public: bool) -> Peers {
    let media = [
        (at("10.0.0.5:40000"), at("1.2.3.4:40000")),
        (at("127.0.0.1:40000"), at("127.0.0.1:40000")),
        (at("[2a00:1:2:3::5]:40000"), at("[2a00:1:2:3::5]:40000")),
        (at("[::1]:40000"), at("[::1]:40000")),
    ];
    Peers::new(media, ["10.0.0.6".parse().expect("an address")], public)
}

/// What no relay may reach, whatever is allowed.
const NEVER: [&str; 52] = [
    // Other ports of this machine: bound, told, known, loopback.
    "10.0.0.5:22",
    "10.0.0.5:40001",
    "10.0.0.5:40000",
    "10.0.0.6:40000",
    "1.2.3.4:80",
    "1.2.3.4:40001",
    "127.0.0.1:22",
    "127.0.0.1:40001",
    "127.0.0.2:40000",
    "[::1]:22",
    "[::1]:40001",
    "[2a00:1:2:3::5]:40001",
    // The same, mapped; compatible too.
    "[::ffff:127.0.0.1]:40000",
    "[::ffff:127.0.0.1]:22",
    "[::ffff:1.2.3.4]:40000",
    "[::ffff:8.8.8.8]:50000",
    "[::ffff:10.0.0.5]:40000",
    "[::127.0.0.1]:40000",
    // Zero.
    "0.0.0.0:40000",
    "0.0.0.0:0",
    "0.1.2.3:40000",
    "[::]:40000",
    "8.8.8.8:0",
    "1.2.3.4:0",
    // Private, shared, link-local, documentation, benchmarks.
    "10.1.2.3:40000",
    "172.16.0.1:40000",
    "172.31.255.254:40000",
    "192.168.1.1:40000",
    "100.64.0.1:40000",
    "169.254.169.254:80",
    "169.254.169.254:40000",
    "192.0.0.1:40000",
    "192.0.2.1:40000",
    "198.18.0.1:40000",
    "198.51.100.1:40000",
    "203.0.113.1:40000",
    "192.88.99.1:40000",
    "[fe80::1]:40000",
    "[fc00::1]:40000",
    "[fd12:3456::1]:40000",
    "[2001:db8::1]:40000",
    "[3fff::1]:40000",
    // Multicast, broadcast, reserved.
    "224.0.0.1:40000",
    "239.255.255.255:40000",
    "240.0.0.1:40000",
    "255.255.255.255:40000",
    "[ff02::1]:40000",
    // IPv4 in IPv6 by other ways: NAT64, local NAT64, 6to4, Teredo.
    "[64:ff9b::7f00:1]:40000",
    "[64:ff9b:1::7f00:1]:40000",
    "[2002:7f00:1::1]:40000",
    "[2001:0:7f00:1::1]:40000",
    // A service of the Internet.
    "8.8.8.8:53",
];

#[test]
fn nothing_of_the_matrix_is_reached_whatever_is_allowed() {
    for public in [false, true] {
        let peers = peers(public);
        for peer in NEVER {
            let out = peers.outward(at(peer));
            assert!(
                out.is_err(),
                "{peer} was let through to {out:?}, public {public}"
            );
        }
        // What comes from there is nobody's. The bound address is how the router's own packets come.
        for peer in NEVER.iter().filter(|peer| **peer != "10.0.0.5:40000") {
            let from = peers.inward(at(peer));
            assert!(from.is_err(), "{peer} came in as {from:?}, public {public}");
        }
    }
}

#[test]
fn the_routers_media_are_reached_where_they_are_bound() {
    for public in [false, true] {
        let peers = peers(public);
        assert_eq!(peers.outward(at("1.2.3.4:40000")), Ok(at("10.0.0.5:40000")));
        assert_eq!(peers.inward(at("10.0.0.5:40000")), Ok(at("1.2.3.4:40000")));
        for same in ["127.0.0.1:40000", "[::1]:40000", "[2a00:1:2:3::5]:40000"] {
            assert_eq!(peers.outward(at(same)), Ok(at(same)));
            assert_eq!(peers.inward(at(same)), Ok(at(same)));
        }
    }
}

#[test]
fn public_peers_are_reached_only_where_that_is_allowed() {
    for peer in ["8.8.8.8:50000", "172.32.0.1:1024", "[2a00:1450::1]:50000"] {
        assert_eq!(
            peers(false).outward(at(peer)),
            Err(PeerError::Foreign),
            "{peer}"
        );
        assert_eq!(
            peers(false).inward(at(peer)),
            Err(PeerError::Foreign),
            "{peer}"
        );
        assert_eq!(peers(true).outward(at(peer)), Ok(at(peer)));
        assert_eq!(peers(true).inward(at(peer)), Ok(at(peer)));
    }
}

#[test]
fn a_zone_or_a_flow_label_hides_nothing() {
    let SocketAddr::V6(mut own) = at("[::1]:22") else {
        unreachable!()
    };
    own.set_scope_id(7);
    own.set_flowinfo(9);
    assert_eq!(peers(true).outward(own.into()), Err(PeerError::OwnPort));
}

//! Which addresses a name may stand for.
//!
//! A name in `http_origins` belongs to whoever keeps its DNS, and that need not be the operator: a name that
//! is made to point at 127.0.0.1 or at the metadata service of a cloud would turn a harmless grant into one
//! for the inside of the network. So a name stands for public addresses only, unless the operator says which
//! others; an origin that is an address has been named by the operator already. What is checked is what is
//! connected to: there is no second look-up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use ipnet::IpNet;

/// A range of addresses that names may stand for although it is not public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

/// A text is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no network: write an address, or a prefix such as `10.0.0.0/8` or `fd00::/8`")]
pub struct NetworkProblem(String);

impl Network {
    /// Reads `10.0.0.0/8`, `fd00::/8` or one address.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str) -> Result<Network, NetworkProblem> {
        let one = text.parse::<IpAddr>().map(IpNet::from);
        let net = one.or_else(|_| text.parse::<IpNet>());
        net.map(Network)
            .map_err(|_| NetworkProblem(text.to_owned()))
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What is not public: the IANA registries of special-purpose addresses (RFC 6890), multicast, reserved.
static SPECIAL_V4: LazyLock<Vec<IpNet>> = LazyLock::new(|| {
    nets(&[
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    ])
});

/// Within 2000::/3, outside of which nothing is public: Teredo and other assignments, examples, 6to4.
static SPECIAL_V6: LazyLock<Vec<IpNet>> =
    LazyLock::new(|| nets(&["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"]));

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => !SPECIAL_V4.iter().any(|net| net.contains(&address)),
        IpAddr::V6(v6) => {
            v6.segments()[0] & 0xe000 == 0x2000
                && !SPECIAL_V6.iter().any(|net| net.contains(&address))
        }
    }
}

/// The IPv4 address that an IPv6 address leads to: mapped (RFC 4291 §2.5.5.2), or by NAT64 (RFC 6052 §2.1).
fn inner(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => match v6.segments() {
            [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => embedded(v6).into(),
            _ => address,
        },
        IpAddr::V4(_) => address,
    }
}

fn embedded(v6: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = v6.octets();
    Ipv4Addr::new(a, b, c, d)
}

/// Whether `name` may stand for `address`.
pub(super) fn may_stand_for(name: &str, address: IpAddr, listed: &[Network]) -> bool {
    let address = inner(address);
    // These names are the machine itself wherever they are looked up (RFC 6761 §6.3).
    let name = name.to_ascii_lowercase();
    let local = name == "localhost" || name.ends_with(".localhost");
    is_public(address)
        || (local && address.is_loopback())
        || listed.iter().any(|net| net.0.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(name: &str, address: &str, listed: &[&str]) -> bool {
        let listed: Vec<Network> = listed.iter().map(|t| Network::parse(t).unwrap()).collect();
        may_stand_for(name, address.parse().unwrap(), &listed)
    }

    #[test]
    fn a_name_stands_for_public_addresses() {
        assert_eq!(
            (SPECIAL_V4.len(), SPECIAL_V6.len()),
            (15, 4),
            "a net does not parse"
        );
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "172.32.0.1",
            "2606:4700::1",
            "2a00::1",
        ] {
            assert!(may("a.example", address, &[]), "{address}");
        }
        for address in [
            "0.0.0.0",
            "127.0.0.1",
            "127.8.8.8",
            "10.1.2.3",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "100.100.100.200",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
            "2002:7f00:1::",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "::7f00:1",
        ] {
            assert!(!may("a.example", address, &[]), "{address}");
        }
        assert!(
            may("a.example", "64:ff9b::808:808", &[]),
            "NAT64 of 8.8.8.8"
        );
    }

    #[test]
    fn the_operator_may_list_others() {
        assert!(may("a.internal", "10.1.2.3", &["10.0.0.0/8"]));
        assert!(may("a.internal", "::ffff:10.1.2.3", &["10.0.0.0/8"]));
        assert!(may("a.internal", "fd00::1", &["fd00::/8"]));
        assert!(may("a.internal", "192.168.0.7", &["192.168.0.7"]));
        assert!(!may("a.internal", "192.168.0.8", &["192.168.0.7"]));
        assert!(!may("a.internal", "127.0.0.1", &["10.0.0.0/8"]));
        for text in ["", "10.0.0.0/33", "all", "10.0.0"] {
            let problem = Network::parse(text).unwrap_err();
            assert!(problem.to_string().contains("10.0.0.0/8"), "{problem}");
        }
    }

    #[test]
    fn localhost_is_this_machine() {
        assert!(may("localhost", "127.0.0.1", &[]) && may("hook.LOCALHOST", "::1", &[]));
        assert!(!may("localhost", "10.0.0.1", &[]) && !may("notlocalhost", "127.0.0.1", &[]));
    }
}

//! Which addresses the media sockets are bound to.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};

/// Sockets one driver takes at most.
const ADDRESSES_MAX: usize = 64;

/// Addresses of every wanted interface (`media.interfaces`; none: of all) that is up: IPv4 and global
/// IPv6, loopback included, link-local not (a client would need a zone to reach it). Loopback comes
/// last, so that the first candidate a client reads is one it may reach.
///
/// # Errors
/// What the system said; [`io::ErrorKind::AddrNotAvailable`] if there is no address.
pub(crate) fn enumerate(wanted: &[String]) -> io::Result<Vec<IpAddr>> {
    let mut up = if_addrs::get_if_addrs()?;
    up.retain(if_addrs::Interface::is_oper_up);
    let names: BTreeSet<_> = up.iter().map(|interface| interface.name.clone()).collect();
    up.retain(|interface| is_wanted(&interface.name, wanted));
    let addresses = up.iter().map(if_addrs::Interface::ip);
    let chosen = choose(addresses.filter(|&address| is_bindable(address)));
    if chosen.is_empty() {
        let names = Vec::from_iter(names).join(", ");
        let why = match (names.as_str(), wanted) {
            ("", _) | (_, []) => "no interface with an address is up".to_owned(),
            (names, _) => format!("none of these interfaces is up and has one; up are {names}"),
        };
        return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, why));
    }
    Ok(chosen)
}

/// Whether an interface is named, or none is, and it is not left out (`!`). `*` stands for any end of a name.
fn is_wanted(name: &str, wanted: &[String]) -> bool {
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    };
    let left_out = wanted
        .iter()
        .filter_map(|pattern| pattern.strip_prefix('!'));
    let mut named = wanted
        .iter()
        .filter(|pattern| !pattern.starts_with('!'))
        .peekable();
    let is_named = named.peek().is_none() || named.any(|pattern| fits(pattern));
    is_named && !left_out.into_iter().any(fits)
}

fn choose(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let usable: BTreeSet<_> = addresses
        .filter(|address| is_usable(*address))
        .map(|address| (address.is_loopback(), address.is_ipv6(), address))
        .collect();
    usable
        .into_iter()
        .map(|(_, _, address)| address)
        .take(ADDRESSES_MAX)
        .collect()
}

/// Whether a socket can have it: an IPv6 address whose uniqueness is still being checked (RFC 4862)
/// is listed and cannot be bound, which shall not keep the router from starting.
fn is_bindable(address: IpAddr) -> bool {
    let bound = UdpSocket::bind((address, 0));
    if let (Err(error), true) = (&bound, is_usable(address)) {
        tracing::warn!(%address, %error, "address left out of media candidates");
    }
    bound.is_ok()
}

fn is_usable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_unspecified() && !v4.is_broadcast(),
        IpAddr::V6(v6) => {
            !v6.is_unicast_link_local()
                && !v6.is_unspecified()
                && !v6.is_multicast()
                && !is_site_local(v6)
        }
    }
}

/// `fec0::/10`, deprecated by RFC 3879 and as ambiguous as link-local.
fn is_site_local(address: Ipv6Addr) -> bool {
    address
        .segments()
        .first()
        .is_some_and(|s| s & 0xffc0 == 0xfec0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    #[test]
    fn link_local_is_left_out_and_loopback_comes_last() {
        let given = ips(&[
            "127.0.0.1",
            "::1",
            "169.254.3.4",
            "fe80::1",
            "2001:db8::5",
            "192.0.2.7",
            "fd00::9",
            "0.0.0.0",
        ]);
        let expected = ips(&["192.0.2.7", "2001:db8::5", "fd00::9", "127.0.0.1", "::1"]);
        assert_eq!(choose(given.into_iter()), expected);
    }

    #[test]
    fn an_address_on_two_interfaces_is_bound_once() {
        let given = ips(&["192.0.2.7", "192.0.2.7"]);
        assert_eq!(choose(given.into_iter()), ips(&["192.0.2.7"]));
    }

    #[test]
    fn interfaces_are_named_or_left_out() {
        let wanted = |name, patterns: &[&str]| {
            let patterns: Vec<_> = patterns.iter().map(|p| (*p).to_owned()).collect();
            is_wanted(name, &patterns)
        };
        for (name, patterns, expected) in [
            ("eth0", &[][..], true),
            ("eth0", &["eth0"], true),
            ("eth01", &["eth0"], false),
            ("eth01", &["eth0*"], true),
            ("lo", &["eth*"], false),
            ("docker0", &["!docker*", "!br-*"], false),
            ("eth0", &["!docker*", "!br-*"], true),
            ("eth1", &["eth*", "!eth1"], false),
            ("eth0", &["eth*", "!eth1"], true),
            ("anything", &["*"], true),
        ] {
            assert_eq!(wanted(name, patterns), expected, "{name} {patterns:?}");
        }
    }

    #[test]
    fn sockets_are_bounded() {
        let many = (0..300_u16).map(|i| IpAddr::from([10, 0, (i >> 8) as u8, i as u8]));
        assert_eq!(choose(many).len(), ADDRESSES_MAX);
    }

    #[test]
    fn an_address_of_nobody_is_left_out() {
        assert!(!is_bindable("203.0.113.77".parse().unwrap()));
        assert!(is_bindable("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn this_machine_has_an_address() {
        assert!(!enumerate(&[]).unwrap().is_empty());
        let loopback = enumerate(&["lo".to_owned()]).unwrap();
        assert!(loopback.iter().all(IpAddr::is_loopback), "{loopback:?}");
        let none = enumerate(&["no-such0".to_owned()]).unwrap_err().to_string();
        assert!(none.contains("up are") && none.contains("lo"), "{none}");
    }
}

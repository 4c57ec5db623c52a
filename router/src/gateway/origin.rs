//! Which web pages may open a signaling connection (RFC 6454; RFC 6455 §10.2).
//!
//! Browsers send `Origin` with every WebSocket handshake and enforce nothing themselves, so without
//! this check any page a user visits could join rooms in the user's name.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};

/// Who may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Origins beside the page's own; if empty, only that.
    pub(crate) allowed: Vec<String>,
    /// Pages served by any port of this machine may connect from this machine: development.
    pub(crate) loopback: bool,
}

impl Policy {
    /// Whether a request with these headers from `peer` may be upgraded. Clients that send no
    /// `Origin` are no web pages and may.
    pub(super) fn admits(&self, headers: &HeaderMap, peer: IpAddr) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else {
            return true;
        };
        if origins.next().is_some() {
            return false;
        }
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        let host = headers.get(HOST).and_then(|h| h.to_str().ok());
        self.is_allowed(origin)
            || (self.allowed.is_empty() && host.is_some_and(|host| is_same(origin, host)))
            || (self.loopback && peer.to_canonical().is_loopback() && is_loopback(origin))
    }

    fn is_allowed(&self, origin: &str) -> bool {
        self.allowed.iter().any(|a| a.eq_ignore_ascii_case(origin))
    }
}

/// Scheme and authority of an origin that is a tuple of them (`null` is not).
fn split(origin: &str) -> Option<(&str, &str)> {
    let (scheme, authority) = origin.split_once("://")?;
    let usable = !authority.is_empty() && !authority.contains(['/', '?', '#', '@']);
    usable.then_some((scheme, authority))
}

/// Whether the page came from where the request goes. The scheme is not compared: behind a proxy
/// that ends TLS we cannot know ours. An absent port is the scheme's.
pub(crate) fn is_same(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = split(origin) else {
        return false;
    };
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let without = |authority: &str| {
        authority
            .strip_suffix(port)
            .unwrap_or(authority)
            .to_ascii_lowercase()
    };
    without(authority) == without(host)
}

/// Whether the page came from this machine.
fn is_loopback(origin: &str) -> bool {
    let Some(("http" | "https", authority)) = split(origin) else {
        return false;
    };
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origin: &str, host: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, origin.parse().unwrap());
        headers.insert(HOST, host.parse().unwrap());
        headers
    }

    fn policy(allowed: &[&str], loopback: bool) -> Policy {
        Policy {
            allowed: allowed.iter().map(|&a| a.to_owned()).collect(),
            loopback,
        }
    }

    const FAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const NEAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn no_origin_is_no_page() {
        assert!(policy(&[], false).admits(&HeaderMap::new(), FAR));
        assert!(policy(&["https://a.example"], false).admits(&HeaderMap::new(), FAR));
    }

    #[test]
    fn the_own_origin_is_admitted_with_and_without_its_port() {
        let same = policy(&[], false);
        for (origin, host) in [
            ("http://meet.example", "meet.example"),
            ("https://meet.example", "meet.example:443"),
            ("https://Meet.Example:8443", "meet.example:8443"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(same.admits(&headers(origin, host), FAR), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://evil.example", "meet.example"),
            ("http://meet.example.evil.example", "meet.example"),
            ("http://meet.example:81", "meet.example"),
            ("http://user@meet.example", "meet.example"),
            ("null", "null"),
            ("file://", ""),
            ("ftp://meet.example", "meet.example"),
        ] {
            assert!(!same.admits(&headers(origin, host), FAR), "{origin} {host}");
        }
    }

    #[test]
    fn a_list_replaces_the_own_origin() {
        let listed = policy(&["https://a.example"], false);
        assert!(listed.admits(&headers("https://a.example", "sfu.example"), FAR));
        assert!(!listed.admits(&headers("http://a.example", "sfu.example"), FAR));
        assert!(!listed.admits(&headers("https://sfu.example", "sfu.example"), FAR));
    }

    #[test]
    fn development_admits_pages_of_this_machine_from_this_machine() {
        let dev = policy(&[], true);
        for origin in [
            "http://localhost:5173",
            "http://127.0.0.1:3000",
            "http://[::1]:80",
        ] {
            assert!(
                dev.admits(&headers(origin, "127.0.0.1:8080"), NEAR),
                "{origin}"
            );
            assert!(
                !dev.admits(&headers(origin, "192.0.2.9:8080"), FAR),
                "{origin}"
            );
        }
        assert!(!dev.admits(&headers("http://localhost.evil.example", "x"), NEAR));
    }

    #[test]
    fn two_origins_are_none() {
        let mut two = headers("http://meet.example", "meet.example");
        two.append(ORIGIN, "http://meet.example".parse().unwrap());
        assert!(!policy(&[], false).admits(&two, FAR));
    }
}

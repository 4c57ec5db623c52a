//! Strings with a form of their own.

use std::net::{IpAddr, SocketAddr};

use rillway_policy::{Network, Origin};

use super::super::PublicAddress;
use super::super::traces::check_collector_url;
use crate::stun;

/// Checks a string with a format; the error is why, and what was expected.
pub(super) fn check_format(format: Option<&str>, text: &str) -> Result<(), (String, &'static str)> {
    let owned = |result: Result<(), &'static str>| result.map_err(str::to_owned);
    let (result, expected) = match format {
        Some("socket-address") => (
            owned(check_socket_address(text)),
            "an address with a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\"",
        ),
        Some("ip") => (
            owned(check_ip(text)),
            "an IP address, such as \"192.0.2.1\" or \"2001:db8::1\"",
        ),
        Some("public-address") => (
            text.parse::<PublicAddress>().map(drop),
            "a public address, such as \"203.0.113.7\" or \"203.0.113.7/10.0.0.5\"",
        ),
        Some("interface") => (
            owned(check_interface(text)),
            "an interface, such as \"eth0\", \"eth*\" or \"!docker*\"",
        ),
        Some("stun-server") => (
            owned(check_stun_server(text)),
            "a STUN server, such as \"stun.example.org:3478\"",
        ),
        Some("origin") => (
            owned(check_origin(text)),
            "an origin, such as \"https://meet.example.org\"",
        ),
        Some("http-origin") => (
            Origin::parse(text)
                .map(drop)
                .map_err(|problem| problem.to_string()),
            "an origin, such as \"https://backend.example\" or \"http://127.0.0.1:8000\"",
        ),
        Some("network") => (
            Network::parse(text)
                .map(drop)
                .map_err(|problem| problem.to_string()),
            "a network, such as \"10.0.0.0/8\" or \"fd00::/8\"",
        ),
        Some("route-path") => (
            owned(check_route_path(text)),
            "a path, such as \"/signal/rooms\" or \"/whip\"",
        ),
        Some("sha256") => (owned(check_sha256(text)), "a SHA-256"),
        Some("ice-url") => (
            owned(check_ice_url(text)),
            "an ICE server URL, such as \"stun:stun.example.org:3478\"",
        ),
        Some("collector-url") => (
            owned(check_collector_url(text)),
            "the URL of a collector, such as \"http://127.0.0.1:4318/v1/traces\"",
        ),
        Some("log-filter") => (
            tracing_subscriber::EnvFilter::builder()
                .parse(text)
                .map(drop)
                .map_err(|error| error.to_string()),
            "a filter, such as \"info\" or \"info,rillway=debug\"",
        ),
        _ => (Ok(()), ""),
    };
    result.map_err(|why| (why, expected))
}

/// Linux names an interface with up to 15 bytes, none of them a blank or a `/`.
fn check_interface(text: &str) -> Result<(), &'static str> {
    let name = text.strip_prefix('!').unwrap_or(text);
    let fixed = name.strip_suffix('*').unwrap_or(name);
    match name.len() {
        0 => return Err("the name is missing"),
        1..=15 => {}
        _ => return Err("a name has at most 15 letters"),
    }
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '*' | '!');
    match fixed.contains(odd) {
        true => Err("no interface has such a name; `*` stands at the end"),
        false => Ok(()),
    }
}

fn check_stun_server(text: &str) -> Result<(), &'static str> {
    match stun::host_port(text) {
        Some(_) => Ok(()),
        None if text.starts_with("stun:") => Err("write the host without `stun:`"),
        None => Err("expected a host, or a host and a port"),
    }
}

fn check_socket_address(text: &str) -> Result<(), &'static str> {
    match (text.parse::<SocketAddr>(), text.parse::<IpAddr>()) {
        (Ok(_), _) => Ok(()),
        (_, Ok(_)) => Err("the port is missing"),
        _ if text.starts_with("localhost") => Err("names are not looked up: write 127.0.0.1"),
        _ => Err("expected an IP address and a port"),
    }
}

fn check_ip(text: &str) -> Result<(), &'static str> {
    match (text.parse::<IpAddr>(), text.parse::<SocketAddr>()) {
        (Ok(_), _) => Ok(()),
        (_, Ok(_)) => Err("there must be no port"),
        _ => Err("expected an IP address"),
    }
}

/// An origin as browsers serialise it (RFC 6454 §6.2): scheme, host, port if not the default, no more.
fn check_origin(text: &str) -> Result<(), &'static str> {
    let Some(rest) = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
    else {
        return Err("expected http:// or https:// before it");
    };
    if rest.is_empty() {
        return Err("the host is missing");
    }
    if rest.contains(['/', '?', '#', '@', '*', ' ']) {
        return Err(
            "expected scheme, host and port only: no path, no `*`, not even a `/` at the end",
        );
    }
    if text.chars().any(|c| c.is_ascii_uppercase()) {
        return Err("browsers send origins in small letters");
    }
    let default = if text.starts_with("https") {
        ":443"
    } else {
        ":80"
    };
    if rest.ends_with(default) {
        return Err("browsers leave the scheme's own port out");
    }
    Ok(())
}

/// `stun:` and `turn:` URIs (RFC 7064 §3.1, RFC 7065 §3.1), as browsers accept them.
fn check_ice_url(text: &str) -> Result<(), &'static str> {
    let Some((scheme, rest)) = text.split_once(':') else {
        return Err("the scheme is missing: stun:, stuns:, turn: or turns:");
    };
    let turn = match scheme {
        "stun" | "stuns" => false,
        "turn" | "turns" => true,
        _ => return Err("expected stun:, stuns:, turn: or turns:"),
    };
    if rest.starts_with("//") {
        return Err("these URLs have no `//`");
    }
    let (host_port, query) = match rest.split_once('?') {
        Some((host_port, query)) => (host_port, Some(query)),
        None => (rest, None),
    };
    match query {
        Some("transport=udp" | "transport=tcp") if turn => {}
        Some(_) if turn => return Err("expected ?transport=udp or ?transport=tcp"),
        Some(_) => return Err("stun: URLs have no `?`"),
        None => {}
    }
    check_host_port(host_port)
}

fn check_host_port(text: &str) -> Result<(), &'static str> {
    let (host, port) = if let Some(v6) = text.strip_prefix('[') {
        let (host, port) = v6.split_once(']').ok_or("a `]` is missing")?;
        host.parse::<std::net::Ipv6Addr>()
            .map_err(|_| "expected an IPv6 address in the brackets")?;
        (
            host,
            port.strip_prefix(':')
                .or_else(|| (!port.is_empty()).then_some("?")),
        )
    } else {
        text.split_once(':')
            .map_or((text, None), |(host, port)| (host, Some(port)))
    };
    if host.is_empty() || host.contains(['/', ' ', '@']) {
        return Err("expected a host name or address");
    }
    match port.map(str::parse::<u16>) {
        Some(Err(_) | Ok(0)) => Err("expected a port from 1 to 65535"),
        _ => Ok(()),
    }
}

/// A path that the gateway can route: segments of unreserved characters (RFC 3986 §2.3).
fn check_route_path(text: &str) -> Result<(), &'static str> {
    let Some(rest) = text.strip_prefix('/') else {
        return Err("expected a `/` before it");
    };
    let segment = |segment: &str| {
        !segment.is_empty()
            && segment != "."
            && segment != ".."
            && segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
    };
    match rest.split('/').next() {
        _ if !rest.split('/').all(segment) => {
            Err("expected letters, digits, `-`, `.`, `_` and `~`, parted by single `/`")
        }
        Some("healthz" | "readyz") => Err("this one is the router's own"),
        _ => Ok(()),
    }
}

fn check_sha256(text: &str) -> Result<(), &'static str> {
    let hexadecimal = text
        .bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if text.len() == 64 && hexadecimal {
        Ok(())
    } else {
        Err("expected 64 hexadecimal digits in small letters, as `sha256sum` prints them")
    }
}

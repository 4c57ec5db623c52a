//! Origins that a plugin may reach.

use std::fmt;
use std::net::Ipv6Addr;

use hyper::Uri;
use hyper::http::uri::Scheme;

/// Scheme, host and port (RFC 6454 §4).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    https: bool,
    host: String,
    port: u16,
}

/// A text is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no origin: write `https://host`, or `http://host:port` for one without TLS; there is no path and \
     no wildcard"
)]
pub struct OriginProblem(String);

impl Origin {
    /// Reads `https://host`, `https://host:port` or `http://host:port`.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str) -> Result<Origin, OriginProblem> {
        let problem = || OriginProblem(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| problem())?;
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        Origin::of(&uri)
            .filter(|origin| bare && !origin.host.contains('*'))
            .ok_or_else(problem)
    }

    /// Where a request to `uri` goes: the client connects to what this same value names.
    pub(crate) fn of(uri: &Uri) -> Option<Origin> {
        let https = match uri.scheme()? {
            scheme if *scheme == Scheme::HTTPS => true,
            scheme if *scheme == Scheme::HTTP => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        // Credentials in a URL only serve to make it look like another.
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            // `host:` without a number, or with too large a one.
            None if authority.as_str() != authority.host() => return None,
            None if https => 443,
            None => 80,
        };
        Some(Origin {
            https,
            host: canonical(authority.host()),
            port,
        })
    }

    /// Whether it is reached over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.https
    }
}

/// Names in lower case; an IPv6 address has many forms, and one of them is compared.
fn canonical(host: &str) -> String {
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    match inner.and_then(|inner| inner.parse::<Ipv6Addr>().ok()) {
        Some(address) => format!("[{address}]"),
        None => host.to_ascii_lowercase(),
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read() {
        let origin = |text: &str| Origin::parse(text).unwrap();
        let plain = origin("HTTPS://Hooks.Example.com");
        assert_eq!(plain.to_string(), "https://hooks.example.com:443");
        assert_eq!(plain, origin("https://hooks.example.com:443/"));
        assert_ne!(plain, origin("http://hooks.example.com:443"));
        assert!(plain.is_https() && !origin("http://10.0.0.1").is_https());
        assert_eq!(
            origin("http://[::1]:80"),
            origin("http://[0:0:0:0:0:0:0:1]")
        );
        for text in [
            "",
            "hooks.example.com",
            "https://",
            "ftp://a",
            "https://a/path",
            "https://a?q",
            "https://user@a",
            "https://a:",
            "https://a:99999",
            "*",
            "https://*",
            "https://*.example.com",
        ] {
            let problem = Origin::parse(text).unwrap_err();
            assert!(problem.to_string().contains("https://host"), "{problem}");
        }
    }
}

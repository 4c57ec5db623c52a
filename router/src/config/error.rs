//! What is wrong with a configuration, said so that it can be mended.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// A key whose value is only proved by the kernel, when it is bound or applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(&'static str);

impl Key {
    /// `gateway.listen`
    pub const GATEWAY_LISTEN: Key = Key("gateway.listen");
    /// `metrics.listen`
    pub const METRICS_LISTEN: Key = Key("metrics.listen");
    /// `media.first_port`
    pub const MEDIA_FIRST_PORT: Key = Key("media.first_port");
    /// `media.bind`
    pub const MEDIA_BIND: Key = Key("media.bind");
    /// `media.driver`
    pub const MEDIA_DRIVER: Key = Key("media.driver");

    /// The dotted path.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A configuration that cannot be used. Its `Display` is the whole report, one or more problems.
#[derive(Debug)]
pub struct ConfigError {
    report: String,
}

impl ConfigError {
    /// Exit code of the process, `EX_CONFIG` of sysexits.h.
    pub const EXIT_CODE: u8 = 78;

    pub(super) fn bind(key: Key, address: SocketAddr, error: &io::Error) -> Self {
        ConfigError {
            report: format!("error: cannot listen on {address} ({key}): {error}"),
        }
    }

    pub(super) fn refused(key: Key, problem: &str, help: &str) -> Self {
        ConfigError {
            report: format!("error: {problem} ({key})\nhelp: {help}"),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report)
    }
}

impl std::error::Error for ConfigError {}

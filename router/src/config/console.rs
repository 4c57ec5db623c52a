//! `[console]`: as it is written, checked, and as it is used.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Secret;

/// A shorter token can be guessed.
pub(super) const TOKEN_CHARS_MIN: usize = 16;

/// The console page: a running router in the browser, read-only (`docs/console.md`). Off unless `listen` is
/// set. The token travels in the clear: for other machines, put a TLS proxy before it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Console")]
pub(super) struct RawConsole {
    /// Address and TCP port to listen on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "socket-address", "x-example" = "127.0.0.1:7444"))]
    pub(super) listen: Option<SocketAddr>,
    /// File with the token that opens it, one line of at least 16 characters; relative to this file. Only its
    /// owner and group may be able to read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 4_096), extend("x-example" = "console.token"))]
    pub(super) token_file: Option<PathBuf>,
}

/// The console page.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Console {
    /// Where it listens (TCP).
    pub listen: SocketAddr,
    /// What opens it.
    pub token: Secret,
}

impl Console {
    /// Opened by this token.
    #[must_use]
    pub fn new(listen: SocketAddr, token: Secret) -> Console {
        Console { listen, token }
    }
}

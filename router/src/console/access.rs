//! Who may look: whoever shows the token, or the session that it was changed for.

use std::time::Instant;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};

use super::Console;
use crate::gateway::is_same_origin;

/// Name of the cookie. Cookies know no ports: routers on one host must not share it with other services.
const COOKIE_NAME: &str = "rillway_console";

/// A request that may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Another page sent it.
    Foreign,
    /// It shows no token and no session of this process.
    Unknown,
    /// Too many attempts.
    TooMany,
}

/// Whether two secrets are the same, in a time that tells nothing of where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    // Digests have one length.
    let (a, b) = (digest(&SHA256, a), digest(&SHA256, b));
    verify_slices_are_equal(a.as_ref(), b.as_ref()).is_ok()
}

/// A request of our own page, or of no page. Browsers say where a request comes from; programs do not.
pub(super) fn is_own(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let site = match headers.contains_key("sec-fetch-site") {
        true => matches!(text("sec-fetch-site"), Some("same-origin" | "none")),
        false => true,
    };
    let origin = match (headers.get(ORIGIN), text(HOST.as_str())) {
        (None, _) => true,
        (Some(origin), Some(host)) => {
            let origin = origin.to_str();
            origin.is_ok_and(|origin| is_same_origin(origin, host))
        }
        (Some(_), None) => false,
    };
    site && origin
}

impl Console {
    /// The session that the present token is changed for; `None`: there is no token.
    pub(super) fn session(&self) -> Option<String> {
        let config = self.sources.asked.config.look().config;
        let token = config.console.as_ref()?.token.reveal().as_bytes();
        let bytes = [self.key.as_slice(), token].concat();
        let digest = digest(&SHA256, &bytes);
        Some(digest.as_ref().iter().map(|b| format!("{b:02x}")).collect())
    }

    /// Changes the token for a session.
    ///
    /// # Errors
    /// [`Refused`].
    pub(super) fn log_in(&self, headers: &HeaderMap, token: &str) -> Result<String, Refused> {
        if !is_own(headers) {
            return Err(Refused::Foreign);
        }
        let mut logins = match self.logins.lock() {
            Ok(logins) => logins,
            Err(poisoned) => poisoned.into_inner(),
        };
        if !logins.take(Instant::now()) {
            return Err(Refused::TooMany);
        }
        drop(logins);
        let session = self.session().filter(|_| self.is_token(token.trim()));
        session.ok_or(Refused::Unknown)
    }

    fn is_token(&self, shown: &str) -> bool {
        let config = self.sources.asked.config.look().config;
        let token = config.console.as_ref().map(|console| &console.token);
        token.is_some_and(|token| same(token.reveal().as_bytes(), shown.as_bytes()))
    }

    /// Whether a request may see numbers.
    ///
    /// # Errors
    /// [`Refused`].
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Refused> {
        if !is_own(headers) {
            return Err(Refused::Foreign);
        }
        let bearer = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok());
        if let Some(token) = bearer.and_then(|value| value.strip_prefix("Bearer ")) {
            return match self.is_token(token.trim()) {
                true => Ok(()),
                false => Err(Refused::Unknown),
            };
        }
        let session = self.session().ok_or(Refused::Unknown)?;
        let shown = headers.get_all(COOKIE).iter();
        let mut shown = shown
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == COOKIE_NAME);
        match shown.any(|(_, value)| same(value.as_bytes(), session.as_bytes())) {
            true => Ok(()),
            false => Err(Refused::Unknown),
        }
    }
}

/// The header that keeps a session, or ends it.
pub(super) fn cookie(session: Option<&str>) -> String {
    let (value, age) = match session {
        Some(session) => (session, ""),
        None => ("", "; Max-Age=0"),
    };
    format!("{COOKIE_NAME}={value}; Path=/; HttpOnly; SameSite=Strict{age}")
}

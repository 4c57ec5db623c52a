//! HTTP requests to origins that the operator allows. A call waits for its answer, within the deadline of
//! the call that makes it. WIT: `rillway:policy/http`.

use super::backend;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// `http` or `https`, an allowed origin.
    pub url: String,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// At most 1 MiB.
    pub body: Vec<u8>,
    /// Milliseconds to wait; 0 = what is left of the call's time, which also is the bound.
    pub timeout_ms: u32,
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// At most 1 MiB; a longer one is an error.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The operator's list does not have this origin.
    NotAllowed(String),
    /// The request cannot be sent as it is.
    Invalid(String),
    /// No answer in time.
    Timeout,
    /// No connection, or the answer broke off.
    Failed(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::NotAllowed(origin) => write!(f, "{origin} is not allowed to this plugin"),
            Error::Invalid(why) => write!(f, "the request cannot be sent: {why}"),
            Error::Timeout => f.write_str("no answer in time"),
            Error::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}

/// Sends a request and waits for its answer, whatever its status.
///
/// # Errors
/// [`Error`].
pub fn send(request: &Request) -> Result<Response, Error> {
    backend::send(request)
}

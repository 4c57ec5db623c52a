//! The authentication interface: who may join. WIT: `rillway:policy/authentication`.

use crate::types::{Attributes, Denial, Grant};

/// What a client presents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "json",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Attempt {
    /// How it proves itself: `token`, `none`, or a word of the signaling policy's own.
    pub scheme: String,
    /// What it presented; at most 16 KiB.
    #[cfg_attr(feature = "json", serde(with = "crate::json"))]
    pub credentials: Vec<u8>,
    /// The room it wants; `None` where the credentials are to say it.
    pub room: Option<String>,
    /// The name it wants to be shown by. Its own claim.
    pub name: Option<String>,
    /// IP address as the gateway saw it.
    pub remote_address: String,
    /// Name of the signaling plugin it came by.
    pub protocol: String,
    /// A fresh, unguessable identity, for policies that admit people who bring none.
    pub guest_identity: String,
    /// Further facts.
    pub attributes: Attributes,
}

/// Decides who a client is and what it may do. An instance serves any client; its state is a cache.
pub trait Authentication {
    /// Decides.
    ///
    /// # Errors
    /// [`Denial`]: why not.
    fn authenticate(&mut self, attempt: Attempt) -> Result<Grant, Denial>;
}

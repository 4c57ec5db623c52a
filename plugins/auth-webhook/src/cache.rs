//! Grants that were given, in the router's store: all instances share them.

use rillway_plugin_sdk::crypto::{self, KeyError};
use rillway_plugin_sdk::{kv, log};

use crate::answer::Answer;
use crate::hex;
use crate::question::Question;

/// The key of a question: of fixed length whatever is asked, and nothing from which credentials could be
/// read again.
///
/// # Errors
/// The router has the secret no more.
pub(crate) fn key(question: &Question<'_>, secret: &str) -> Result<String, KeyError> {
    let mac = crypto::hmac_sha256(secret, &question.without_guest())?;
    Ok(format!("grant/{}", hex(&mac)))
}

pub(crate) fn get(key: &str) -> Option<Answer> {
    Answer::read(&kv::get(key)?).ok()
}

pub(crate) fn set(key: &str, body: &[u8], ttl_s: u32) {
    // A full store costs a question more, nothing else.
    if let Err(why) = kv::set(key, body, Some(u64::from(ttl_s) * 1_000)) {
        log::debug(&format!("a grant is not cached: {why}"));
    }
}

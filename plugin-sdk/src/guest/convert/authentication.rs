//! `rillway:policy/authentication`.

use crate::authentication::Attempt;
use crate::guest::bindings::authentication::exports::rillway::policy::authentication as wit;

impl From<wit::Attempt> for Attempt {
    fn from(attempt: wit::Attempt) -> Self {
        Attempt {
            scheme: attempt.scheme,
            credentials: attempt.credentials,
            room: attempt.room,
            name: attempt.name,
            remote_address: attempt.remote_address,
            protocol: attempt.protocol,
            guest_identity: attempt.guest_identity,
            attributes: attempt.attributes,
        }
    }
}

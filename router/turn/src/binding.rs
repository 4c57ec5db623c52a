//! A binding request (RFC 8489 §2) and what comes back: which address am I seen at?

use std::net::SocketAddr;

use turn_types::stun::attribute::XorMappedAddress;
use turn_types::stun::message::{
    BINDING, Message, MessageClass, MessageWrite, MessageWriteVec, TransactionId,
};

/// A request; sent again, it is the same one.
#[derive(Debug, Clone)]
pub struct Request {
    bytes: Vec<u8>,
    id: TransactionId,
}

impl Default for Request {
    fn default() -> Self {
        Request::new()
    }
}

impl Request {
    /// With an id that nobody can guess.
    #[must_use]
    pub fn new() -> Request {
        let message = Message::builder_request(BINDING, MessageWriteVec::new());
        let bytes = message.finish();
        let id = Message::from_bytes(&bytes).map_or(0.into(), |m| m.transaction_id());
        Request { bytes, id }
    }

    /// What is sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where whoever answered this request saw it come from; `None`: these bytes are something else.
    #[must_use]
    pub fn seen_at(&self, bytes: &[u8]) -> Option<SocketAddr> {
        let message = Message::from_bytes(bytes).ok()?;
        let ours = message.transaction_id() == self.id && message.has_method(BINDING);
        if !ours || !message.has_class(MessageClass::Success) {
            return None;
        }
        let seen = message.attribute::<XorMappedAddress>().ok()?;
        Some(seen.addr(self.id))
    }
}

#[cfg(test)]
mod tests {
    use turn_types::stun::message::MessageWriteExt as _;

    use super::*;

    fn answer(request: &Request, class: MessageClass, seen: SocketAddr) -> Vec<u8> {
        let asked = Message::from_bytes(request.bytes()).expect("STUN");
        let mut answer = match class {
            MessageClass::Success => Message::builder_success(&asked, MessageWriteVec::new()),
            _ => Message::builder_error(&asked, MessageWriteVec::new()),
        };
        let seen = XorMappedAddress::new(seen, asked.transaction_id());
        answer.add_attribute(&seen).expect("room");
        answer.finish()
    }

    #[test]
    fn only_the_answer_to_it_says_where_it_was_seen() {
        let request = Request::new();
        assert_eq!(request.bytes().len(), 20, "as browsers ask");
        for seen in ["192.0.2.7:40000", "[2001:db8::7]:40001"] {
            let seen = seen.parse().expect("an address");
            let good = answer(&request, MessageClass::Success, seen);
            assert_eq!(request.seen_at(&good), Some(seen));
            assert_eq!(Request::new().seen_at(&good), None, "another request");
            assert_eq!(request.seen_at(&good[..good.len() - 1]), None, "cut");
            let refused = answer(&request, MessageClass::Error, seen);
            assert_eq!(request.seen_at(&refused), None);
        }
        assert_eq!(request.seen_at(request.bytes()), None, "an echo");
        assert_eq!(request.seen_at(b"no STUN"), None);
    }
}

//! What has to be known of a message before it may go on, and the answers that are made here.

use std::net::SocketAddr;

use turn_types::attribute::{
    ChannelNumber, EvenPort, RequestedTransport, ReservationToken, XorPeerAddress,
};
use turn_types::message::{
    ALLOCATE, CHANNEL_BIND, CONNECT, CONNECTION_BIND, CREATE_PERMISSION, REFRESH, SEND,
};
use turn_types::stun::attribute::{
    ErrorCode, Fingerprint, MessageIntegrity, MessageIntegritySha256, Username, XorMappedAddress,
};
use turn_types::stun::message::{
    BINDING, IntegrityAlgorithm, Message, MessageClass, MessageIntegrityCredentials, MessageWrite,
    MessageWriteExt, MessageWriteVec,
};
use turn_types::stun::prelude::{Attribute as _, AttributeFromRaw as _, AttributeStaticType as _};

/// What a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Binding,
    Allocate,
    Refresh,
    Permission,
    Channel,
    Send,
    /// RFC 6062: TCP toward peers.
    Connect,
    Other,
}

/// What kind of message it is; `None`: none that a client sends.
pub(crate) fn kind(message: &Message<'_>) -> Option<Kind> {
    Some(match (message.class(), message.method()) {
        (MessageClass::Request, BINDING) => Kind::Binding,
        (MessageClass::Request, ALLOCATE) => Kind::Allocate,
        (MessageClass::Request, REFRESH) => Kind::Refresh,
        (MessageClass::Request, CREATE_PERMISSION) => Kind::Permission,
        (MessageClass::Request, CHANNEL_BIND) => Kind::Channel,
        (MessageClass::Request, CONNECT | CONNECTION_BIND) => Kind::Connect,
        (MessageClass::Request, _) => Kind::Other,
        (MessageClass::Indication, SEND) => Kind::Send,
        _ => return None,
    })
}

/// Every peer that it names, wherever. `None`: one of them cannot be read.
pub(crate) fn peers(message: &Message<'_>) -> Option<Vec<SocketAddr>> {
    let attributes = message.iter_attributes();
    let peers = attributes.filter(|(_, raw)| raw.get_type() == XorPeerAddress::TYPE);
    peers
        .map(|(_, raw)| {
            let peer = XorPeerAddress::from_raw(raw).ok()?;
            Some(peer.addr(message.transaction_id()))
        })
        .collect()
}

pub(crate) fn channel(message: &Message<'_>) -> Option<u16> {
    let number = message.attribute::<ChannelNumber>().ok()?;
    Some(number.channel())
}

pub(crate) fn username(message: &Message<'_>) -> Option<String> {
    let name = message.attribute::<Username>().ok()?;
    Some(name.username().to_owned())
}

/// Whether it claims to come from somebody with credentials.
pub(crate) fn is_signed(message: &Message<'_>) -> bool {
    message.has_attribute(MessageIntegrity::TYPE)
        || message.has_attribute(MessageIntegritySha256::TYPE)
}

/// Whether an Allocate asks for an even port.
pub(crate) fn asks_for_even(request: &[u8]) -> bool {
    Message::from_bytes(request).is_ok_and(|message| message.has_attribute(EvenPort::TYPE))
}

/// Whether an Allocate asks for what there is not: relayed TCP, ports in pairs, a reserved one.
pub(crate) fn asks_too_much(message: &Message<'_>) -> bool {
    let transport = message.attribute::<RequestedTransport>().ok();
    transport.is_some_and(|t| t.protocol() != RequestedTransport::UDP)
        || message
            .attribute::<EvenPort>()
            .is_ok_and(|even| even.requested())
        || message.has_attribute(ReservationToken::TYPE)
}

/// An error, signed for whoever has these credentials.
pub(crate) fn error(
    request: &Message<'_>,
    code: u16,
    signed: Option<(&MessageIntegrityCredentials, IntegrityAlgorithm)>,
) -> Option<Vec<u8>> {
    let error = ErrorCode::builder(code).build().ok()?;
    let mut answer = Message::builder_error(request, MessageWriteVec::with_capacity(96));
    answer.add_attribute(&error).ok()?;
    if let Some((credentials, algorithm)) = signed {
        answer.add_message_integrity(credentials, algorithm).ok()?;
    }
    Some(answer.finish())
}

/// "You are seen at this address", with a FINGERPRINT only in return for one: nobody gets much more than he sent.
pub(crate) fn binding(request: &Message<'_>, from: SocketAddr) -> Option<Vec<u8>> {
    let seen = XorMappedAddress::new(from, request.transaction_id());
    let mut answer = Message::builder_success(request, MessageWriteVec::with_capacity(64));
    answer.add_attribute(&seen).ok()?;
    if request.has_attribute(Fingerprint::TYPE) {
        answer.add_fingerprint().ok()?;
    }
    Some(answer.finish())
}

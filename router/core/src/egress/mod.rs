//! The way out of a forwarded packet: the seam behind which sending is done.
//!
//! At present through the engine ([`str0m::rtp::StreamTx`]); our own SRTP sender replaces it without
//! the shard noticing.

use std::sync::Arc;
use std::time::Instant;

use str0m::format::Codec;
use str0m::media::{ExtensionValues, Pt};
use str0m::rtp::{RtpWrite, Ssrc, Vp8Descriptor, Vp8Patch};

use crate::guard::quietly;
use crate::layers::descriptor::Replacement;
use crate::layers::rewrite::Place;
use crate::transport::{Transport, TransportFault};

/// A packet as one subscriber shall get it.
pub(crate) struct ForwardedPacket<'a> {
    pub(crate) place: Place,
    /// The subscriber's number for the codec.
    pub(crate) payload_type: Pt,
    pub(crate) codec: Codec,
    pub(crate) marker: bool,
    /// When it was captured, by our clock: what sender reports relate to.
    pub(crate) captured: Instant,
    /// As they came; those that belong to a transport are the sender's business.
    pub(crate) extensions: &'a ExtensionValues,
    pub(crate) payload: &'a Arc<[u8]>,
    /// Picture ids to write in place of those in the payload.
    pub(crate) pictures: Option<Replacement>,
    /// May be retransmitted.
    pub(crate) nackable: bool,
}

/// Sends forwarded packets of subscriptions.
pub(crate) trait Egress {
    /// Queues one packet on an outgoing stream. False: the stream is gone.
    ///
    /// # Errors
    /// The transport must be dropped.
    fn send(&mut self, stream: Ssrc, packet: &ForwardedPacket<'_>) -> Result<bool, TransportFault>;
}

impl Egress for Transport {
    fn send(&mut self, stream: Ssrc, packet: &ForwardedPacket<'_>) -> Result<bool, TransportFault> {
        let mut extensions = packet.extensions.clone();
        extensions.mid = None;
        extensions.rid = None;
        extensions.rid_repair = None;
        extensions.transport_cc = None;
        let (payload, patch) = rewritten(packet);
        self.guard(|rtc| {
            let mut api = rtc.direct_api();
            let Some(sender) = api.stream_tx(&stream) else {
                return false;
            };
            let mut write = RtpWrite::new(
                packet.payload_type,
                packet.place.sequence.into(),
                packet.place.timestamp,
                packet.captured,
                payload,
            )
            .marker(packet.marker)
            .ext_vals(extensions)
            .nackable(packet.nackable);
            if let Some(patch) = patch {
                write = write.vp8_patch(patch);
            }
            sender.write_rtp(write);
            true
        })
    }
}

/// The payload with its picture ids replaced. For VP8 the engine does that while serializing; for VP9
/// it costs a copy, and only after a switch between sources.
fn rewritten(packet: &ForwardedPacket<'_>) -> (Arc<[u8]>, Option<Vp8Patch>) {
    let Some(replacement) = &packet.pictures else {
        return (packet.payload.clone(), None);
    };
    if packet.codec == Codec::Vp8
        && let Some(patch) = vp8_patch(packet.payload, replacement)
    {
        return (packet.payload.clone(), Some(patch));
    }
    let mut copy: Arc<[u8]> = Arc::from(&packet.payload[..]);
    if let Some(bytes) = Arc::get_mut(&mut copy) {
        replacement.apply(bytes);
    }
    (copy, None)
}

fn vp8_patch(payload: &[u8], replacement: &Replacement) -> Option<Vp8Patch> {
    let descriptor = quietly("VP8", || Vp8Descriptor::parse(payload))?.ok()?;
    let mut builder = descriptor.patch();
    if let Some(picture) = replacement.picture {
        builder = builder.picture_id(picture);
    }
    if let Some(tl0) = replacement.tl0 {
        builder = builder.tl0_pic_idx(tl0);
    }
    builder.build().ok()
}

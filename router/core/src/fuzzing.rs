//! Parsers that nothing outside reaches alone, for the fuzzers (`tests/fuzz`). No part of the interface.

use str0m::IceCreds;
use str0m::format::Codec;
use str0m::rtp::{ExtensionMap, ExtensionValues};

use crate::api::Direction;
use crate::egress::congestion::feedback;
use crate::egress::extensions::{self, Ids, Own, Passed, Said};
use crate::egress::rtcp;
use crate::layers::descriptor::{self, Replacement};
use crate::layers::{Layer, keyframe};
use crate::limits::{Limits, SDP_SECTIONS_SPARE};
use crate::transport;
use crate::transport::sdp::{self, SdpBounds, SectionExport};

/// What is read of a compound packet of RTCP, part by part.
pub fn rtcp(packet: &[u8]) -> Vec<String> {
    let mut told = Vec::new();
    rtcp::read(packet, &mut |feedback| told.push(format!("{feedback:?}")));
    told
}

/// What transport-wide feedback says of at most `most` packets; false: it is torn.
pub fn arrivals(control: &[u8], most: u16) -> (Vec<(u16, Option<i64>)>, bool) {
    let mut told = Vec::new();
    let whole = feedback::read(control, most, &mut |number, at| {
        told.push((number, at));
    });
    (told, whole.is_some())
}

/// Picture id with its mask, and TL0PICIDX.
pub type PictureIds = (Option<(u16, u16)>, Option<u8>);

/// The ids in a payload descriptor of VP8 or VP9; `None`: torn, or another codec.
pub fn picture_ids(codec: Codec, payload: &[u8]) -> Option<PictureIds> {
    let descriptor = descriptor::parse(codec, payload)?;
    let picture = descriptor.picture.map(|id| (id.value, id.mask()));
    Some((picture, descriptor.tl0.map(|tl0| tl0.value)))
}

/// Writes other ids in the place of those.
pub fn renumber(codec: Codec, payload: &mut [u8], picture: u16, tl0: u8) {
    if let Some(descriptor) = descriptor::parse(codec, payload) {
        let replacement = Replacement {
            descriptor,
            picture: Some(picture),
            tl0: Some(tl0),
        };
        replacement.apply(payload);
    }
}

/// Whether a keyframe begins with a payload, and its size where it is told.
pub fn keyframe(codec: Codec, payload: &[u8]) -> (bool, Option<(u16, u16)>) {
    (
        keyframe::begins(codec, payload),
        keyframe::size(codec, payload),
    )
}

/// Spatial and temporal index, and number.
pub type DescribedFrame = (u8, u8, u16);

/// The frames that dependency descriptors of one stream tell of, one after the other; `None`: torn, or of a structure
/// that is not known.
pub fn described_frames(descriptors: &[&[u8]]) -> Vec<Option<DescribedFrame>> {
    let mut layer = Layer::new(None);
    let frames = descriptors.iter().map(|bytes| {
        let (frame, _) = layer.read_frame(Codec::Av1, &[], false, Some(bytes));
        let frame = frame?;
        Some((frame.level.spatial, frame.level.temporal, frame.number()?))
    });
    frames.collect()
}

/// A client's offer as the engine sees it.
///
/// # Errors
/// Why it is refused.
pub fn import_offer(text: &str, transport: Direction) -> Result<String, String> {
    let description = sdp::scan(text, bounds()).map_err(|error| error.to_string())?;
    Ok(sdp::import_offer(text, &description, transport))
}

/// Sections of a description: mid, and whether its author sends in it.
pub fn sections(text: &str) -> Option<Vec<(String, bool)>> {
    let description = sdp::scan(text, bounds()).ok()?;
    let sections = description.sections.iter();
    Some(sections.map(|s| (s.mid.clone(), s.sends())).collect())
}

/// A description of the engine's as a client sees it, with these credentials.
pub fn export(text: &str, ufrag: &str, password: &str) -> String {
    let creds = IceCreds {
        ufrag: ufrag.to_owned(),
        pass: password.to_owned(),
    };
    let section = |mid: &str| SectionExport {
        msid: Some((mid.to_owned(), mid.to_owned())),
        keep: Some(vec![96, 97, 111]),
        prefer: vec![111, 96],
        most_bps: None,
    };
    sdp::export(text, &creds, &section)
}

fn bounds() -> SdpBounds {
    let limits = Limits::default();
    SdpBounds {
        bytes: limits.sdp_bytes as usize,
        sections: usize::from(limits.tracks_per_participant) + SDP_SECTIONS_SPARE,
    }
}

/// Header extensions negotiated on a transport.
pub fn extension_map(transport: Direction) -> ExtensionMap {
    transport::extensions(transport)
}

/// The extension block that subscribers get for what a publisher said.
pub fn passed_on(values: &ExtensionValues, mid: Option<&[u8]>) -> Option<Vec<u8>> {
    let ids = Ids::negotiated(&transport::extensions(Direction::Subscribe));
    let own = Own {
        mid,
        send_time: 0x00ab_cdef,
        transport_sequence: 0x1234,
    };
    let mut slot = vec![0xff; 128];
    let said = Said {
        passed: Passed::of(values),
        ..Said::default()
    };
    let bytes = extensions::write(&mut slot, ids, &said, &own)?;
    slot.truncate(bytes);
    Some(slot)
}

//! The dependency descriptor (AV1 RTP payload specification, appendix A), as a publisher writes it.

use str0m::RtcConfig;
use str0m::rtp::{Extension, ExtensionSerializer, ExtensionValues};

use super::{Codec, Frame, Mode, SIZES};

/// Name of the extension.
const URI: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

/// A template: what frames that look alike have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    spatial: u8,
    temporal: u8,
    /// Indications for the decode targets: `-`, `D`, `S`, `R` as 0 to 3.
    indications: Vec<u32>,
    back: Vec<u32>,
}

/// A descriptor as it is on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told(pub Vec<u8>);

#[derive(Debug)]
struct Serializer;

impl ExtensionSerializer for Serializer {
    fn write_to(&self, out: &mut [u8], values: &ExtensionValues) -> usize {
        let Some(Told(bytes)) = values.user_values.get::<Told>() else {
            return 0;
        };
        out[..bytes.len()].copy_from_slice(bytes);
        bytes.len()
    }

    fn parse_value(&self, bytes: &[u8], values: &mut ExtensionValues) -> bool {
        values.user_values.set(Told(bytes.to_vec()));
        true
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }

    fn requires_two_byte_form(&self, values: &ExtensionValues) -> bool {
        let told = values.user_values.get::<Told>();
        told.is_some_and(|Told(bytes)| bytes.len() > 16)
    }
}

/// RTP mode, and one codec with the extension.
fn config(codec: Codec) -> RtcConfig {
    let config = RtcConfig::new().set_rtp_mode(true).clear_codecs();
    let config = match codec {
        Codec::Vp8 => config.enable_vp8(true),
        Codec::Vp9 => config.enable_vp9(true),
        Codec::Av1 => config.enable_av1(true),
    };
    config.set_extension(9, Extension::with_serializer(URI, Serializer))
}

/// Makes peer connections of a client with this codec alone.
pub fn factory(codec: Codec) -> crate::client::RtcFactory {
    match codec {
        Codec::Vp8 => || config(Codec::Vp8),
        Codec::Vp9 => || config(Codec::Vp9),
        Codec::Av1 => || config(Codec::Av1),
    }
}

/// What a frame is to a decode target.
fn indication(mode: &Mode, frame: &Frame, (spatial, temporal): (u8, u8)) -> u32 {
    let same = spatial == frame.spatial;
    if spatial < frame.spatial || temporal < frame.temporal {
        return 0;
    }
    if frame.key {
        return 2;
    }
    match same {
        true if temporal == frame.temporal && temporal > 0 => 1,
        true => 2,
        false if mode.key => 0,
        false => 3,
    }
}

fn form(mode: &Mode, frame: &Frame) -> Form {
    let targets = (0..mode.spatials).flat_map(|s| (0..mode.temporals).map(move |t| (s, t)));
    let needs = frame.needs.iter();
    Form {
        spatial: frame.spatial,
        temporal: frame.temporal,
        indications: targets
            .map(|target| indication(mode, frame, target))
            .collect(),
        back: needs.map(|needed| frame.number - needed).collect(),
    }
}

/// All templates of a mode, in the order of their layers.
pub fn forms(mode: &Mode) -> Vec<Form> {
    let mut forms: Vec<Form> = Vec::new();
    for frame in (0..9).flat_map(|since| mode.frames(since)) {
        let form = form(mode, &frame);
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms.sort_by_key(|form| (form.spatial, form.temporal));
    forms
}

/// The descriptor of a packet.
pub fn write(forms: &[Form], frame: &Frame, mode: &Mode, first: bool, last: bool) -> Vec<u8> {
    let mut pen = Pen::default();
    let wanted = form(mode, frame);
    let template = forms.iter().position(|form| *form == wanted);
    pen.put(first.into(), 1).put(last.into(), 1);
    pen.put(template.expect("known") as u32, 6);
    pen.put(frame.number & 0xffff, 16);
    if !(frame.key && frame.spatial == 0 && first) {
        return pen.bytes();
    }
    let targets = u32::from(mode.spatials * mode.temporals);
    pen.put(0b10000, 5).put(0, 6).put(targets - 1, 5);
    for pair in forms.windows(2) {
        let next = match (
            pair[1].spatial > pair[0].spatial,
            pair[1].temporal > pair[0].temporal,
        ) {
            (true, _) => 2,
            (false, true) => 1,
            (false, false) => 0,
        };
        pen.put(next, 2);
    }
    pen.put(3, 2);
    for indication in forms.iter().flat_map(|form| &form.indications) {
        pen.put(*indication, 2);
    }
    for form in forms {
        for back in &form.back {
            pen.put(1, 1).put(back - 1, 4);
        }
        pen.put(0, 1);
    }
    // No chains: ns(targets + 1) of zero.
    let width = u32::BITS - (targets + 1).leading_zeros();
    pen.put(0, width as u8 - 1).put(1, 1);
    for (width, height) in SIZES.iter().take(mode.spatials.into()) {
        pen.put(u32::from(*width) - 1, 16);
        pen.put(u32::from(*height) - 1, 16);
    }
    pen.bytes()
}

/// Writes bits, the highest first.
#[derive(Default)]
struct Pen(Vec<bool>);

impl Pen {
    fn put(&mut self, value: u32, count: u8) -> &mut Self {
        self.0
            .extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let byte = |bits: &[bool]| {
            let bits = bits.iter().enumerate();
            bits.fold(0, |byte, (at, bit)| byte | u8::from(*bit) << (7 - at))
        };
        self.0.chunks(8).map(byte).collect()
    }
}

/// Number of the frame of a descriptor.
pub fn number(told: &Told) -> Option<u16> {
    let bytes = told.0.get(1..3)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

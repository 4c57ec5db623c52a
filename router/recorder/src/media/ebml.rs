//! Writing EBML (RFC 8794): element ids, sizes, values.
//!
//! Of our own: mkv-element 0.4 generates its two hundred elements at build time with a template engine and an
//! XML parser, and WebM as it is written here has thirty.

/// An element with these contents.
pub(super) fn element(id: u32, contents: &[u8]) -> Vec<u8> {
    let mut out = identifier(id);
    out.extend_from_slice(&size(contents.len() as u64));
    out.extend_from_slice(contents);
    out
}

/// A master element of these.
pub(super) fn master(id: u32, elements: &[Vec<u8>]) -> Vec<u8> {
    element(id, &elements.concat())
}

/// An unsigned integer, in as few bytes as it needs.
pub(super) fn unsigned(id: u32, value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let skip = (value.leading_zeros() as usize / 8).min(7);
    element(id, bytes.get(skip..).unwrap_or_default())
}

/// An unsigned integer in eight bytes, to be written over later.
pub(super) fn unsigned8(id: u32, value: u64) -> Vec<u8> {
    element(id, &value.to_be_bytes())
}

/// A double.
pub(super) fn float(id: u32, value: f64) -> Vec<u8> {
    element(id, &value.to_be_bytes())
}

/// Text.
pub(super) fn text(id: u32, value: &str) -> Vec<u8> {
    element(id, value.as_bytes())
}

/// A void element of `bytes` in all, 9 at least.
pub(super) fn void(bytes: usize) -> Vec<u8> {
    let mut out = vec![0xec];
    out.extend_from_slice(&size8((bytes - 9) as u64));
    out.resize(bytes, 0);
    out
}

/// An id as it is written: its length is in its first byte.
pub(super) fn identifier(id: u32) -> Vec<u8> {
    let bytes = id.to_be_bytes();
    bytes
        .get((id.leading_zeros() as usize / 8).min(3)..)
        .unwrap_or_default()
        .to_vec()
}

/// A size in eight bytes (RFC 8794 §6.1).
pub(super) fn size8(size: u64) -> [u8; 8] {
    (size & 0x00ff_ffff_ffff_ffff | 0x0100_0000_0000_0000).to_be_bytes()
}

/// The size of an element that is not known yet: it ends where another of its level begins.
pub(super) const UNKNOWN_SIZE: [u8; 8] = [0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

/// A size in as few bytes as it needs; all ones is reserved.
fn size(size: u64) -> Vec<u8> {
    for length in 1..8_u32 {
        if size < (1 << (7 * length)) - 1 {
            let marked = size | 1 << (7 * length);
            return marked
                .to_be_bytes()
                .get(8 - length as usize..)
                .unwrap_or_default()
                .to_vec();
        }
    }
    size8(size).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ids_are_as_in_the_standard() {
        assert_eq!(size(0), [0x80]);
        assert_eq!(size(126), [0xfe]);
        assert_eq!(size(127), [0x40, 0x7f]);
        assert_eq!(size(16_382), [0x7f, 0xfe]);
        assert_eq!(size(16_383), [0x20, 0x3f, 0xff]);
        assert_eq!(size8(5), [1, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(unsigned(0x86, 0), [0x86, 0x81, 0]);
        assert_eq!(unsigned(0x4286, 256), [0x42, 0x86, 0x82, 1, 0]);
        assert_eq!(identifier(0x1a45_dfa3), [0x1a, 0x45, 0xdf, 0xa3]);
        assert_eq!(void(11), [0xec, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0]);
    }
}

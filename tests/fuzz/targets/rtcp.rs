//! Compound packets of RTCP (RFC 3550 §6), as subscribers report, once decrypted.

use rillway_core::fuzzing;

/// Input: a compound packet.
pub fn run(packet: &[u8]) {
    let whole = fuzzing::rtcp(packet);
    // The shortest of all, an entry of a NACK, has four bytes.
    assert!(whole.len() <= packet.len() / 4, "{} parts", whole.len());

    // It says what its parts say, up to where it is torn.
    let mut parts = Vec::new();
    let mut rest = packet;
    while let [first, _, high, low, ..] = *rest {
        let bytes = 4 * (usize::from(u16::from_be_bytes([high, low])) + 1);
        if first >> 6 != 2 || bytes > rest.len() {
            break;
        }
        let (part, after) = rest.split_at(bytes);
        let padding = usize::from(part[bytes - 1]);
        if first & 0x20 != 0 && (bytes == 4 || padding > bytes - 4) {
            break;
        }
        parts.extend(fuzzing::rtcp(part));
        rest = after;
    }
    assert_eq!(whole, parts);
}

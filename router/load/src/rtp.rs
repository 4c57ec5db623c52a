//! What of RTP a player reads itself: the header, one extension, padding.

/// What the header says (RFC 3550 §5.1, RFC 8285).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) bytes: usize,
    pub(crate) payload_type: u8,
    pub(crate) padded: bool,
    pub(crate) sequence: u16,
    pub(crate) ssrc: u32,
    /// The transport-wide sequence number, where the extension is there.
    pub(crate) transport_sequence: Option<u16>,
}

impl Header {
    /// Reads it; `transport` is the id that the extension was given.
    pub(crate) fn read(packet: &[u8], transport: Option<u8>) -> Option<Self> {
        let (fixed, rest) = packet.split_first_chunk::<12>()?;
        let [first, second, high, low, _, _, _, _, ssrc @ ..] = *fixed;
        if first >> 6 != 2 {
            return None;
        }
        let sources = usize::from(first & 0x0f) * 4;
        let rest = rest.get(sources..)?;
        let mut bytes = 12 + sources;
        let mut transport_sequence = None;
        if first & 0x10 != 0 {
            let (head, rest) = rest.split_first_chunk::<4>()?;
            let [profile @ .., length_high, length_low] = *head;
            let length = usize::from(u16::from_be_bytes([length_high, length_low])) * 4;
            let elements = rest.get(..length)?;
            bytes += 4 + length;
            transport_sequence = transport
                .and_then(|id| element(u16::from_be_bytes(profile), elements, id))
                .and_then(|value| value.first_chunk::<2>())
                .map(|value| u16::from_be_bytes(*value));
        }
        Some(Header {
            bytes,
            payload_type: second & 0x7f,
            padded: first & 0x20 != 0,
            sequence: u16::from_be_bytes([high, low]),
            ssrc: u32::from_be_bytes(ssrc),
            transport_sequence,
        })
    }
}

/// The element of an id, in either form (RFC 8285 §4.2, §4.3).
fn element(profile: u16, mut rest: &[u8], wanted: u8) -> Option<&[u8]> {
    let long = match profile {
        0xbede => false,
        _ if profile & 0xfff0 == 0x1000 => true,
        _ => return None,
    };
    loop {
        let (first, after) = rest.split_first()?;
        if *first == 0 {
            rest = after;
            continue;
        }
        let (id, length, after) = match long {
            false => (first >> 4, usize::from(first & 0x0f) + 1, after),
            true => {
                let (length, after) = after.split_first()?;
                (*first, usize::from(*length), after)
            }
        };
        let (value, after) = after.split_at_checked(length)?;
        if id == wanted {
            return Some(value);
        }
        rest = after;
    }
}

/// A payload without its padding (RFC 3550 §5.1).
pub(crate) fn without_padding(payload: &[u8], padded: bool) -> &[u8] {
    if !padded {
        return payload;
    }
    let padding = usize::from(payload.last().copied().unwrap_or(0));
    let kept = payload.len().saturating_sub(padding);
    payload.get(..kept).unwrap_or(&[])
}

/// The number that a sequence number of 16 bits stands for, the nearest to one that was seen (RFC 3711 §3.3.1).
pub(crate) fn extend(near: u64, sequence: u16) -> u64 {
    let ahead = sequence.wrapping_sub(near as u16) as i16;
    near.saturating_add_signed(i64::from(ahead))
}

/// What of a remote description a player has to know itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Negotiated {
    /// Id of the extension for transport-wide sequence numbers.
    pub(crate) transport: Option<u8>,
    /// Payload types of retransmissions (RFC 4588).
    pub(crate) retransmissions: Vec<u8>,
}

impl Negotiated {
    /// Reads an SDP.
    pub(crate) fn read(sdp: &str) -> Self {
        let mut found = Negotiated::default();
        for line in sdp.lines() {
            if let Some(extension) = line.strip_prefix("a=extmap:") {
                if extension.contains("transport-wide-cc-extensions") {
                    let id = extension.split(['/', ' ']).next();
                    found.transport = id.and_then(|id| id.parse().ok()).or(found.transport);
                }
            } else if let Some((number, format)) = line
                .strip_prefix("a=rtpmap:")
                .and_then(|map| map.split_once(' '))
                && format.to_ascii_lowercase().starts_with("rtx/")
                && let Ok(number) = number.parse()
            {
                found.retransmissions.push(number);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_with_both_forms_of_extensions() {
        let fixed = [0x90, 0xe4, 1, 2, 0, 0, 0, 0, 9, 8, 7, 6];
        let short = [0xbe, 0xde, 0, 2, 0x10, 0xff, 0x31, 5, 6, 0, 0, 0];
        let long = [0x10, 0, 0, 2, 1, 1, 0xff, 3, 2, 5, 6, 0];
        for extension in [short, long] {
            let packet = [&fixed[..], &extension, &[1, 2, 3]].concat();
            let header = Header::read(&packet, Some(3)).expect("a header");
            assert_eq!(
                header,
                Header {
                    bytes: 24,
                    payload_type: 100,
                    padded: false,
                    sequence: 0x0102,
                    ssrc: 0x0908_0706,
                    transport_sequence: Some(0x0506),
                }
            );
            let without = Header::read(&packet, Some(4)).expect("a header");
            assert_eq!(without.transport_sequence, None);
            assert_eq!(Header::read(&packet[..20], Some(3)), None);
        }
    }

    #[test]
    fn sequence_numbers_are_extended_across_the_wrap() {
        let cases = [
            (0, 1, 1),
            (65_535, 0, 65_536),
            (65_536, 65_535, 65_535),
            (200_000, 3_391, 199_999),
            (0, 65_535, 0),
        ];
        for (near, sequence, number) in cases {
            assert_eq!(extend(near, sequence), number, "{near} {sequence}");
        }
    }

    #[test]
    fn padding_is_taken_off() {
        assert_eq!(without_padding(&[1, 2, 0, 2], true), [1, 2]);
        assert_eq!(without_padding(&[1, 2, 0, 2], false), [1, 2, 0, 2]);
        assert_eq!(without_padding(&[0, 9], true), [0; 0]);
    }

    #[test]
    fn descriptions_are_read() {
        let sdp = "v=0\r\na=extmap:3/recvonly http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
            a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n";
        let expected = Negotiated {
            transport: Some(3),
            retransmissions: vec![97],
        };
        assert_eq!(Negotiated::read(sdp), expected);
    }
}

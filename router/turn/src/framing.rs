//! Messages in a stream (RFC 8656 §3.1, §12.5): each says its own length, and channel data is padded to four bytes.

use crate::limits::FRAME_BYTES_MAX;

/// What a stream holds that no TURN client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither a STUN message nor channel data")]
pub struct FrameError;

/// Bytes that the next message takes in the stream, and how many of them it is; `None`: more have to come first.
///
/// # Errors
/// [`FrameError`]: the stream cannot be read any further.
pub fn next(stream: &[u8]) -> Result<Option<(usize, usize)>, FrameError> {
    let Some(&[kind, _, high, low]) = stream.first_chunk::<4>() else {
        // A first byte that begins nothing is told at once.
        return match stream.first() {
            Some(kind) if kind >> 6 > 1 => Err(FrameError),
            _ => Ok(None),
        };
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (whole, padded) = match kind >> 6 {
        0 if length.is_multiple_of(4) => (20 + length, 20 + length),
        1 => (4 + length, 4 + length.next_multiple_of(4)),
        _ => return Err(FrameError),
    };
    debug_assert!(padded <= FRAME_BYTES_MAX);
    Ok((stream.len() >= padded).then_some((padded, whole)))
}

/// Zero bytes that follow a message in a stream.
#[must_use]
pub fn padding(message: &[u8]) -> &'static [u8] {
    &[0; 3][..message.len().next_multiple_of(4) - message.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_whole_and_without_their_padding() {
        let channel = [0x40, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0, 0x40];
        for short in 0..12 {
            assert_eq!(next(&channel[..short]), Ok(None), "{short}");
        }
        assert_eq!(next(&channel), Ok(Some((12, 9))));
        let mut stun = [0; 28];
        stun[3] = 8;
        assert_eq!(next(&stun[..27]), Ok(None));
        assert_eq!(next(&stun), Ok(Some((28, 28))));
    }

    #[test]
    fn other_streams_end_at_once() {
        for text in [
            &b"\xff"[..],
            b"GET / HTTP/1.1\r\n",
            b"\x00\x01\x00\x03",
            b"\x80\0\0\0",
        ] {
            // `G` is 0x47, which is channel data of 8,239 bytes: bounded, and then found out.
            if text[0] != b'G' {
                assert_eq!(next(text), Err(FrameError), "{text:?}");
            }
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for length in 0..9_u8 {
            let mut message = vec![0x40, 0, 0, length];
            message.resize(4 + usize::from(length), 7);
            let whole = message.len();
            message.extend(padding(&message.clone()));
            assert_eq!(next(&message), Ok(Some((message.len(), whole))));
        }
    }
}

//! Messages on a stream: each is preceded by its length as a protobuf varint.

use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes read at once: memory grows with what has arrived, not with what was announced.
const CHUNK_BYTES: usize = 64 * 1024;

/// Bytes of a length at most: 35 bits, more than any bound here.
const LENGTH_BYTES_MAX: usize = 5;

/// Why no message was read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Stream(#[from] std::io::Error),
    /// It ended within a message.
    #[error("the stream ended within a message")]
    Cut,
    /// The length is over the bound, or none. Nothing after it was read.
    #[error("a message of {length} bytes, and at most {max} are allowed")]
    TooLong {
        /// What was announced.
        length: usize,
        /// The bound.
        max: usize,
    },
    /// It is no such message.
    #[error("malformed message: {0}")]
    Malformed(#[from] prost::DecodeError),
}

/// The next message's bytes; `None` at the end of the stream.
///
/// # Errors
/// [`FrameError`]; the stream is of no use any more.
pub async fn read_bytes<R: AsyncRead + Unpin>(
    stream: &mut R,
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, FrameError> {
    let Some(length) = read_length(stream, bytes_max).await? else {
        return Ok(None);
    };
    read_body(stream, length).await.map(Some)
}

/// A message's bytes after its length.
///
/// # Errors
/// [`FrameError`]; the stream is of no use any more.
pub async fn read_body<R: AsyncRead + Unpin>(
    stream: &mut R,
    length: usize,
) -> Result<Vec<u8>, FrameError> {
    let mut bytes = Vec::with_capacity(length.min(CHUNK_BYTES));
    while bytes.len() < length {
        let left = length - bytes.len();
        let mut part = stream.take(left.min(CHUNK_BYTES) as u64);
        if part.read_buf(&mut bytes).await? == 0 {
            return Err(FrameError::Cut);
        }
    }
    Ok(bytes)
}

async fn read_length<R: AsyncRead + Unpin>(
    stream: &mut R,
    bytes_max: usize,
) -> Result<Option<usize>, FrameError> {
    let too_long = |length| FrameError::TooLong {
        length,
        max: bytes_max,
    };
    let mut length = 0_u64;
    for index in 0..LENGTH_BYTES_MAX {
        let mut byte = [0_u8];
        if stream.read(&mut byte).await? == 0 {
            return if index == 0 {
                Ok(None)
            } else {
                Err(FrameError::Cut)
            };
        }
        length |= u64::from(byte[0] & 0x7f) << (7 * index);
        if byte[0] & 0x80 == 0 {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            return if length <= bytes_max {
                Ok(Some(length))
            } else {
                Err(too_long(length))
            };
        }
    }
    Err(too_long(usize::MAX))
}

/// The next message; `None` at the end of the stream.
///
/// # Errors
/// [`FrameError`]; the stream is of no use any more.
pub async fn read<M: Message + Default, R: AsyncRead + Unpin>(
    stream: &mut R,
    bytes_max: usize,
) -> Result<Option<M>, FrameError> {
    match read_bytes(stream, bytes_max).await? {
        Some(bytes) => Ok(Some(M::decode(bytes.as_slice())?)),
        None => Ok(None),
    }
}

/// A message as it travels.
#[must_use]
pub fn bytes<M: Message>(message: &M) -> Vec<u8> {
    message.encode_length_delimited_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::management::wire::{Request, StatusRequest, request::Verb};

    fn request() -> Request {
        Request {
            verb: Some(Verb::Status(StatusRequest {})),
        }
    }

    async fn parse(mut bytes: &[u8], max: usize) -> Result<Option<Request>, FrameError> {
        read(&mut bytes, max).await
    }

    #[tokio::test]
    async fn messages_come_back_one_by_one() {
        let mut sent = bytes(&request());
        sent.extend(bytes(&request()));
        let mut stream = sent.as_slice();
        for _ in 0..2 {
            let read = read::<Request, _>(&mut stream, 100).await.expect("whole");
            assert_eq!(read, Some(request()));
        }
        assert!(matches!(
            read::<Request, _>(&mut stream, 100).await,
            Ok(None)
        ));
    }

    #[tokio::test]
    async fn what_is_cut_or_too_long_is_refused() {
        let whole = bytes(&request());
        for end in 1..whole.len() {
            assert!(matches!(
                parse(&whole[..end], 100).await,
                Err(FrameError::Cut)
            ));
        }
        let huge = [0xff, 0xff, 0xff, 0xff, 0x7f];
        assert!(matches!(
            parse(&huge, 100).await,
            Err(FrameError::TooLong { max: 100, .. })
        ));
        assert!(matches!(
            parse(&[0x80; 6], 100).await,
            Err(FrameError::TooLong { max: 100, .. })
        ));
        assert!(matches!(
            parse(&[101], 100).await,
            Err(FrameError::TooLong { max: 100, .. })
        ));
        assert!(matches!(
            parse(&[1, 0xff], 100).await,
            Err(FrameError::Malformed(_))
        ));
    }
}

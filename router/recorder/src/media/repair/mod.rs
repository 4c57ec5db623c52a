//! Files that a crash left, finished as if they had been closed.

mod mp4;
#[cfg(test)]
mod tests;
mod webm;

use std::io::{self, SeekFrom};

use crate::api::Container;
use crate::film::{ReadSeek, Repair};

/// Of one header: `moov` or `moof` of a file of ours, `Tracks` or a cluster; more is none of ours.
const MAX_READ: u64 = 64 << 20;

/// How a file is finished that [`super::Recording`] began: the torn end goes, and the index is written. Nothing
/// is kept of a file without a whole fragment. `None`: it is complete, or none of ours: it stays as it is.
///
/// Reads headers and indexes, and of a WebM all clusters, one at a time.
pub fn repair(container: Container, file: &mut dyn ReadSeek) -> Option<Repair> {
    match container {
        Container::Mp4 => mp4::repair(file),
        Container::Webm => webm::repair(file),
        Container::RtpDump => return None,
    }
    .unwrap_or_else(|error| {
        tracing::warn!(%error, ?container, "a file that a crash left cannot be finished; it stays as it is");
        None
    })
}

/// What it is, where its contents begin, and where what follows it does.
struct Part {
    id: u32,
    contents: u64,
    end: u64,
}

/// Bytes of a file from `from` to `to`.
fn read(file: &mut dyn ReadSeek, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let length = to.saturating_sub(from);
    if length > MAX_READ {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "an element of more than 64 MiB",
        ));
    }
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

//! RTP dumps: the packets of tracks as they came, for forensics.
//!
//! The format is described in `docs/recording-dump.md`: a magic number,
//! then records, each with its length and a CRC-32. A file that a crash cut is whole up to its last record.
//! [`DumpFilm`] writes it, [`Reader`] reads it, [`check`] tells whether it is whole, and [`convert`] makes
//! something of it that other programs know.

pub mod convert;
mod film;
mod read;
mod record;

#[cfg(test)]
mod tests;

pub use film::DumpFilm;
pub use read::{Damage, Reader, Report, TrackReport, check, repair};
pub use record::{MAGIC, Record, RecordedPacket, RecordedTrack, VERSION};

//! Reading dumps.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

use serde::Serialize;

use super::record::{
    BODY_BYTES_MAX, HEAD_BYTES, MAGIC, Record, RecordedTrack, VERSION, checksum, codec_name, parse,
    put_end,
};
use crate::api::{Codec, TrackId};
use crate::film::{Repair, Write};
use crate::sidecar::rfc3339;

/// What is wrong with a dump.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// It cannot be read.
    #[error("byte {at}: {error}")]
    Io {
        /// Where.
        at: u64,
        /// Why.
        error: io::Error,
    },
    /// It is none.
    #[error("this is no RTP dump of Rillway: it does not begin with its magic number")]
    Magic,
    /// Of a router to come.
    #[error("version {0} of the format, of which this router knows {VERSION}; use a newer one")]
    Version(u16),
    /// The file ends in a record.
    #[error("byte {at}: the file ends within a record; it was cut, or its router died")]
    Cut {
        /// Where the record begins.
        at: u64,
    },
    /// Bytes were changed.
    #[error("byte {at}: the checksum of a record is wrong; bytes of it were changed")]
    Checksum {
        /// Where the record begins.
        at: u64,
    },
    /// The checksum is right, and yet.
    #[error("byte {at}: a record that makes no sense; it was not written by this router")]
    Nonsense {
        /// Where the record begins.
        at: u64,
    },
}

/// Reads the records of a dump, in order. After an error it has ended.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    at: u64,
    tracks: Vec<RecordedTrack>,
    body: Vec<u8>,
    over: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the magic number; wrap a file into a `BufReader`.
    ///
    /// # Errors
    /// It is no dump, or cannot be read.
    pub fn new(mut from: R) -> Result<Self, Damage> {
        let mut magic = [0; MAGIC.len()];
        match from.read_exact(&mut magic) {
            Ok(()) if magic == MAGIC => {}
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(Damage::Io { at: 0, error });
            }
            _ => return Err(Damage::Magic),
        }
        Ok(Self {
            from,
            at: MAGIC.len() as u64,
            tracks: Vec::new(),
            body: Vec::new(),
            over: false,
        })
    }

    /// Bytes of whole records read so far, with the magic number.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Fills `into`; false: the file ends before its first byte.
    fn fill(&mut self, into: usize) -> Result<bool, Damage> {
        self.body.resize(into, 0);
        let at = self.at;
        let mut filled = 0;
        while let Some(rest) = self.body.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.from.read(rest) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(Damage::Cut { at }),
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Damage::Io { at, error }),
            }
        }
        Ok(true)
    }

    fn read(&mut self) -> Result<Option<Record>, Damage> {
        loop {
            let at = self.at;
            if !self.fill(HEAD_BYTES)? {
                return Ok(None);
            }
            let (length, sum) = self
                .body
                .split_first_chunk::<4>()
                .ok_or(Damage::Cut { at })?;
            let (length, sum) = (*length, sum.first_chunk::<4>().copied().unwrap_or_default());
            let bytes = u32::from_be_bytes(length) as usize;
            // No record is empty or so long: the length itself was changed.
            if bytes == 0 || bytes > BODY_BYTES_MAX {
                return Err(Damage::Checksum { at });
            }
            if !self.fill(bytes)? {
                return Err(Damage::Cut { at });
            }
            if checksum(length, &self.body) != u32::from_be_bytes(sum) {
                return Err(Damage::Checksum { at });
            }
            let record = parse(&self.body, &mut self.tracks).ok_or(Damage::Nonsense { at })?;
            if let Some(Record::Header { version, .. }) = record
                && version != VERSION
            {
                return Err(Damage::Version(version));
            }
            self.at += (HEAD_BYTES + bytes) as u64;
            if record.is_some() {
                return Ok(record);
            }
        }
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Record, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let result = self.read().transpose();
        self.over = !matches!(result, Some(Ok(_)));
        result
    }
}

/// What a dump holds, and whether it is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Start, RFC 3339.
    pub start: String,
    /// It was closed, and nothing is wrong with it.
    pub complete: bool,
    /// Bytes up to the end of the last whole record.
    pub whole_bytes: u64,
    /// What follows that.
    pub damage: Option<String>,
    /// Packets.
    pub packets: u64,
    /// Tracks.
    pub tracks: Vec<TrackReport>,
}

/// A track in a dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrackReport {
    /// The router's number.
    pub track: u64,
    /// Video, or audio.
    pub video: bool,
    /// As in SDP.
    pub codec: &'static str,
    /// Hz.
    pub clock_rate: u32,
    /// Packets.
    pub packets: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
    /// Keyframes.
    pub keyframes: u64,
    /// Sequence numbers that are missing.
    pub missing: u64,
    /// Times when the router dropped packets of it.
    pub dropped: u64,
    /// From the first arrival to the last.
    pub duration_ms: u64,
}

#[derive(Default)]
struct Tally {
    packets: u64,
    payload_bytes: u64,
    keyframes: u64,
    dropped: u64,
    sequences: Option<(u64, u64)>,
    arrived: Option<(i64, i64)>,
}

impl Tally {
    fn packet(&mut self, packet: &super::RecordedPacket) {
        self.packets += 1;
        self.payload_bytes += packet.payload.len() as u64;
        self.keyframes += u64::from(packet.keyframe);
        let (n, at) = (packet.sequence, packet.arrived_ns);
        let (low, high) = self.sequences.unwrap_or((n, n));
        self.sequences = Some((low.min(n), high.max(n)));
        let (first, last) = self.arrived.unwrap_or((at, at));
        self.arrived = Some((first.min(at), last.max(at)));
    }

    fn report(&self, track: &RecordedTrack) -> TrackReport {
        let (low, high) = self.sequences.unwrap_or((1, 0));
        let sent = high.wrapping_sub(low).wrapping_add(1);
        let (first, last) = self.arrived.unwrap_or_default();
        TrackReport {
            track: track.track.0,
            video: track.video,
            codec: codec_name(track.codec),
            clock_rate: track.clock_rate,
            packets: self.packets,
            payload_bytes: self.payload_bytes,
            keyframes: self.keyframes,
            missing: sent.saturating_sub(self.packets),
            dropped: self.dropped,
            duration_ms: last.saturating_sub(first).unsigned_abs() / 1_000_000,
        }
    }
}

/// Reads a whole dump.
///
/// # Errors
/// It is no dump, of another version, or cannot be read. Damage within it is in the report.
pub fn check(from: impl Read) -> Result<Report, Damage> {
    let mut reader = Reader::new(from)?;
    let mut tallies: BTreeMap<TrackId, Tally> = BTreeMap::new();
    let mut report = Report {
        start: String::new(),
        complete: false,
        whole_bytes: 0,
        damage: None,
        packets: 0,
        tracks: Vec::new(),
    };
    let mut end = None;
    for record in &mut reader {
        match record {
            Ok(Record::Header { start, .. }) => report.start = rfc3339(start),
            Ok(Record::Track(_)) => {}
            Ok(Record::Packet(packet)) => {
                report.packets += 1;
                tallies.entry(packet.track).or_default().packet(&packet);
            }
            Ok(Record::Lost { track }) => tallies.entry(track).or_default().dropped += 1,
            Ok(Record::End { packets }) => end = Some(packets),
            Err(error @ (Damage::Version(_) | Damage::Io { .. })) => return Err(error),
            Err(damage) => report.damage = Some(damage.to_string()),
        }
    }
    report.whole_bytes = reader.position();
    if let Some(packets) = end
        && report.damage.is_none()
        && packets != report.packets
    {
        let found = report.packets;
        let text = format!("{packets} packets were written, and {found} are there");
        report.damage = Some(text);
    }
    report.complete = end.is_some() && report.damage.is_none();
    let tally = |track: &RecordedTrack| match tallies.get(&track.track) {
        Some(tally) => tally.report(track),
        None => Tally::default().report(track),
    };
    report.tracks = reader.tracks.iter().map(tally).collect();
    Ok(report)
}

/// What makes a dump that a crash left complete: it is cut after its last whole record, and ended.
///
/// # Errors
/// It cannot be read.
pub fn repair(file: &mut (impl Read + Seek + ?Sized)) -> io::Result<Repair> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = match Reader::new(io::BufReader::new(file)) {
        Ok(reader) => reader,
        Err(Damage::Io { error, .. }) => return Err(error),
        Err(_) => return Ok(Repair::default()),
    };
    let mut packets = 0;
    let mut ended = false;
    for record in &mut reader {
        match record {
            Ok(Record::Packet(_)) => packets += 1,
            Ok(Record::End { .. }) => ended = true,
            Err(Damage::Io { error, .. }) => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    let mut repair = Repair {
        keep_bytes: reader.position(),
        writes: Vec::new(),
    };
    if !ended {
        let mut end = Vec::new();
        put_end(&mut end, packets);
        repair.writes.push(Write::Append(end));
    }
    Ok(repair)
}

/// Whether packets of it depend on keyframes, as far as is known.
pub(super) fn has_keyframes(codec: Codec) -> bool {
    !matches!(codec, Codec::Opus | Codec::Other)
}

//! Making something of dumps that other programs know.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, TsResolution};

use super::read::{Damage, Reader};
use super::record::{Record, RecordedPacket, RecordedTrack};
use crate::api::Packet;
use crate::film::{Film, Step, Write as Contents};

/// How often a film is asked for its steps while a dump is replayed, in the dump's time.
const TICK: Duration = Duration::from_millis(50);
/// A longer silence is passed over at once but for its end: by then, a film has written all it had.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// From and to in every packet of a capture, as a dump has none of its own: 192.0.2.1 and 192.0.2.2 of
/// RFC 5737.
const ADDRESSES: [u8; 8] = [192, 0, 2, 1, 192, 0, 2, 2];
/// Port of the first track; each further one has the next even one.
const FIRST_PORT: u16 = 5004;
/// IPv4, UDP and RTP without extensions.
const HEADERS_BYTES: usize = 20 + 8 + 12;

/// Why a dump was not converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// Of the dump.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// What it was converted to could not be written.
    #[error("writing: {0}")]
    Io(#[from] io::Error),
}

/// What came of a conversion.
#[derive(Debug, Default)]
pub struct Converted {
    /// Packets that were in it.
    pub packets: u64,
    /// Packets that had no place in it, because they were too long.
    pub left_out: u64,
    /// Why tracks are not in it, for people.
    pub refused: Vec<String>,
    /// Where the dump was damaged: everything before is converted.
    pub damage: Option<Damage>,
}

/// Writes a capture file of RTP over UDP over IPv4, for Wireshark and the like. What a dump does not hold is
/// made up: addresses, a port and an SSRC for each track (its number in the dump, from 1). Header extensions
/// are not there.
///
/// # Errors
/// It is no dump, or the capture cannot be written.
pub fn to_pcap(from: impl Read, into: impl Write) -> Result<Converted, ConvertError> {
    let header = PcapHeader {
        datalink: DataLink::IPV4,
        ts_resolution: TsResolution::NanoSecond,
        ..PcapHeader::default()
    };
    let mut pcap = PcapWriter::with_header(into, header).map_err(io::Error::other)?;
    let mut converted = Converted::default();
    let mut start = Duration::ZERO;
    let mut tracks: Vec<RecordedTrack> = Vec::new();
    for record in Reader::new(from)? {
        match record {
            Ok(Record::Header { start: at, .. }) => {
                start = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            }
            Ok(Record::Track(track)) => tracks.push(track),
            Ok(Record::Packet(packet)) => {
                let index = tracks.iter().position(|t| t.track == packet.track);
                let Some(bytes) = datagram(index.unwrap_or_default(), &packet) else {
                    converted.left_out += 1;
                    continue;
                };
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                let at = shifted(start, packet.arrived_ns);
                let packet = PcapPacket::new(at, length, &bytes);
                pcap.write_packet(&packet).map_err(io::Error::other)?;
                converted.packets += 1;
            }
            Ok(_) => {}
            Err(damage) => converted.damage = Some(damage),
        }
    }
    pcap.into_writer().flush()?;
    Ok(converted)
}

fn shifted(start: Duration, ns: i64) -> Duration {
    let by = Duration::from_nanos(ns.unsigned_abs());
    match ns < 0 {
        true => start.saturating_sub(by),
        false => start.saturating_add(by),
    }
}

/// `None`: too long for a datagram.
fn datagram(index: usize, packet: &RecordedPacket) -> Option<Vec<u8>> {
    let total = u16::try_from(HEADERS_BYTES + packet.payload.len()).ok()?;
    let index = u16::try_from(index).ok()?;
    let port = FIRST_PORT.wrapping_add(index.wrapping_mul(2));
    let mut ip = Vec::with_capacity(usize::from(total));
    ip.extend_from_slice(&[0x45, 0]);
    ip.extend_from_slice(&total.to_be_bytes());
    // No identification, may not be fragmented, 64 hops, UDP, checksum to come.
    ip.extend_from_slice(&[0, 0, 0x40, 0, 64, 17, 0, 0]);
    ip.extend_from_slice(&ADDRESSES);
    let sum = internet_checksum(&ip).to_be_bytes();
    ip.get_mut(10..12)?.copy_from_slice(&sum);
    ip.extend_from_slice(&port.to_be_bytes());
    ip.extend_from_slice(&port.to_be_bytes());
    ip.extend_from_slice(&(total - 20).to_be_bytes());
    // RFC 768: 0 means that no checksum was made.
    ip.extend_from_slice(&[0, 0]);
    let marker = if packet.marker { 0x80 } else { 0 };
    ip.extend_from_slice(&[0x80, marker | (packet.payload_type & 0x7f)]);
    // The lower bits are what RTP sends.
    let [.., high, low] = packet.sequence.to_be_bytes();
    ip.extend_from_slice(&[high, low]);
    ip.extend_from_slice(&packet.timestamp.to_be_bytes());
    ip.extend_from_slice(&(u32::from(index) + 1).to_be_bytes());
    ip.extend_from_slice(&packet.payload);
    Some(ip)
}

/// RFC 1071.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(u16::from_be_bytes([*high, 0])),
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// Replays a dump through a film of another container, of which `film` makes one when the start is known.
/// `step` gets what it makes.
///
/// # Errors
/// It is no dump, or whatever `step` returns.
pub fn to_film(
    from: impl Read,
    film: impl FnOnce(std::time::SystemTime) -> Box<dyn Film>,
    start: Instant,
    mut step: impl FnMut(Step) -> io::Result<()>,
) -> Result<Converted, ConvertError> {
    let mut converted = Converted::default();
    let mut film = Made::Not(Some(film));
    let mut added = BTreeSet::new();
    let (mut steps, mut now) = (Vec::new(), start);
    for record in Reader::new(from)? {
        match record {
            Ok(Record::Header { start: wall, .. }) => film.make(wall),
            Ok(Record::Track(track)) => {
                if added.insert(track.track) {
                    film.get(|f| f.add(track.track, track.video));
                }
            }
            Ok(Record::Packet(packet)) => {
                let arrived = moved(start, packet.arrived_ns);
                if arrived.saturating_duration_since(now) > SILENCE_MAX {
                    now = arrived.checked_sub(SILENCE_MAX).unwrap_or(now);
                }
                while now + TICK <= arrived {
                    now += TICK;
                    film.get(|f| f.steps(now, &mut steps));
                    steps.drain(..).try_for_each(&mut step)?;
                }
                let track = packet.track;
                let packet = replayed(packet, start);
                film.get(|f| f.packet(track, &packet));
                converted.packets += 1;
            }
            Ok(Record::Lost { track }) => film.get(|f| f.dropped(track)),
            Ok(Record::End { .. }) => {}
            Err(damage) => converted.damage = Some(damage),
        }
    }
    film.get(|f| f.finish(now + TICK, &mut steps));
    steps.drain(..).try_for_each(&mut step)?;
    Ok(converted)
}

/// Replays a dump into files of another container. The first is `output`, which must not exist; where the film
/// begins another file, it is called `…-2`, and so on.
///
/// # Errors
/// It is no dump, or a file cannot be made or written.
pub fn to_files(
    from: impl Read,
    film: impl FnOnce(std::time::SystemTime) -> Box<dyn Film>,
    output: &Path,
) -> Result<(Converted, Vec<PathBuf>), ConvertError> {
    let mut made: Vec<PathBuf> = Vec::new();
    let mut file: Option<(File, u64)> = None;
    let mut refused = Vec::new();
    let converted = to_film(from, film, Instant::now(), |step| {
        match (step, &mut file) {
            (Step::Begin, _) => {
                let path = nth(output, made.len() + 1);
                file = Some((File::create_new(&path)?, 0));
                made.push(path);
            }
            (Step::Write(Contents::Append(bytes)), Some((file, end))) => {
                file.write_all_at(&bytes, *end)?;
                *end += bytes.len() as u64;
            }
            (Step::Write(Contents::Overwrite { offset, bytes }), Some((file, _))) => {
                file.write_all_at(&bytes, offset)?;
            }
            (Step::Failed(track, reason), _) => {
                refused.push(format!("track {}: {reason}", track.0));
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok((
        Converted {
            refused,
            ..converted
        },
        made,
    ))
}

fn nth(output: &Path, n: usize) -> PathBuf {
    let stem = output.file_stem().unwrap_or_default().to_string_lossy();
    let extension = output.extension().unwrap_or_default().to_string_lossy();
    match n {
        0 | 1 => output.to_owned(),
        n => output.with_file_name(format!("{stem}-{n}.{extension}")),
    }
}

/// A film that is made when a dump's header was read, which is before anything else in it.
enum Made<F> {
    Not(Option<F>),
    Is(Box<dyn Film>),
}

impl<F: FnOnce(std::time::SystemTime) -> Box<dyn Film>> Made<F> {
    fn make(&mut self, start: std::time::SystemTime) {
        if let Self::Not(film) = self
            && let Some(film) = film.take()
        {
            *self = Self::Is(film(start));
        }
    }

    fn get(&mut self, call: impl FnOnce(&mut dyn Film)) {
        if let Self::Is(film) = self {
            call(film.as_mut());
        }
    }
}

fn moved(start: Instant, ns: i64) -> Instant {
    let by = Duration::from_nanos(ns.unsigned_abs());
    let moved = match ns < 0 {
        true => start.checked_sub(by),
        false => start.checked_add(by),
    };
    moved.unwrap_or(start)
}

fn replayed(packet: RecordedPacket, start: Instant) -> Packet {
    Packet {
        sequence: packet.sequence,
        timestamp: packet.timestamp,
        clock_rate: packet.clock_rate,
        captured: moved(start, packet.captured_ns),
        arrived: moved(start, packet.arrived_ns),
        marker: packet.marker,
        payload_type: packet.payload_type,
        codec: packet.codec,
        keyframe: packet.keyframe,
        switched: packet.switched,
        payload: Arc::from(packet.payload),
    }
}

//! WebM: cues and duration out of clusters.

use std::collections::HashMap;
use std::io::{self, SeekFrom};

use super::{Part, damaged, read};
use crate::film::{ReadSeek, Repair};
use crate::media::ebml::UNKNOWN_SIZE;
use crate::media::webm::{
    CLUSTER, DURATION_BYTES, INFO, Mark, SEEK_HEAD_BYTES, SEGMENT, TRACKS, Webm,
};

const EBML: u32 = 0x1a45_dfa3;
const VOID: u32 = 0xec;
const TRACK_ENTRY: u32 = 0xae;
const TRACK_TYPE: u32 = 0x83;
const TIMESTAMP: u32 = 0xe7;
const SIMPLE_BLOCK: u32 = 0xa3;

pub(super) fn repair(file: &mut dyn ReadSeek) -> io::Result<Option<Repair>> {
    let length = file.seek(SeekFrom::End(0))?;
    let nothing = Ok(Some(Repair::default()));
    let Some(header) = next(file, 0, length)?.filter(|part| part.id == EBML && part.end < length)
    else {
        return nothing;
    };
    let segment = header.end + 12;
    if segment > length {
        return nothing;
    }
    let bytes = read(file, header.end, segment)?;
    let (id, size) = bytes.split_at(4);
    if id != SEGMENT.to_be_bytes() || size != UNKNOWN_SIZE {
        // Finished, or none of ours.
        return Ok(None);
    }
    let mut at = segment;
    let (mut info, mut webm) = (0, None);
    let mut last = HashMap::new();
    let mut keep = 0;
    while let Some(part) = next(file, at, length)? {
        match (part.id, &mut webm) {
            (VOID, None) => {}
            // Places ahead of it were overwritten: only its size was not.
            (0x114d_9b74, None) => {}
            (INFO, None) => info = at,
            // The layout of our files; what is written over must be there.
            (TRACKS, None) if info != segment + SEEK_HEAD_BYTES as u64 => return Ok(None),
            (TRACKS, None) if at < info + DURATION_BYTES as u64 => return Ok(None),
            (TRACKS, None) => {
                let kinds = kinds(&read(file, part.contents, part.end)?)?;
                webm = Some(Webm::resume(&kinds, segment, info, at));
            }
            (CLUSTER, Some(webm)) => {
                let Some(marks) = marks(&read(file, part.contents, part.end)?) else {
                    break;
                };
                let end_ms = end(&mut last, &marks);
                webm.found(&marks, at, part.end, end_ms);
                keep = part.end;
            }
            _ => break,
        }
        at = part.end;
    }
    match webm {
        Some(mut webm) if keep > 0 => Ok(Some(Repair {
            keep_bytes: keep,
            writes: webm.finish(),
        })),
        _ => nothing,
    }
}

/// Where the frames of a cluster end, given the last frame of each track and how long they were so far. How long
/// the very last one is stands nowhere: as long as the one before.
fn end(last: &mut HashMap<usize, (u64, u64)>, marks: &[Mark]) -> u64 {
    for mark in marks {
        let entry = last.entry(mark.track).or_insert((mark.ms, 20));
        if mark.ms > entry.0 {
            *entry = (mark.ms, (mark.ms - entry.0).min(1000));
        }
    }
    last.values()
        .map(|(ms, length)| ms.saturating_add(*length))
        .max()
        .unwrap_or(0)
}

/// Of each track, whether it is video.
fn kinds(tracks: &[u8]) -> io::Result<Vec<bool>> {
    let mut kinds = Vec::new();
    for (id, entry) in elements(tracks).ok_or_else(|| damaged("tracks that cannot be read"))? {
        if id == TRACK_ENTRY {
            let fields = elements(entry).ok_or_else(|| damaged("a track that cannot be read"))?;
            kinds.push(
                fields
                    .iter()
                    .any(|(id, value)| *id == TRACK_TYPE && *value == [1]),
            );
        }
    }
    Ok(kinds)
}

/// The frames of a cluster.
fn marks(cluster: &[u8]) -> Option<Vec<Mark>> {
    let mut start = 0_u64;
    let mut marks = Vec::new();
    for (id, value) in elements(cluster)? {
        match id {
            TIMESTAMP => start = unsigned(value),
            SIMPLE_BLOCK => {
                let [number, high, low, flags, ..] = value else {
                    return None;
                };
                let relative = i64::from(i16::from_be_bytes([*high, *low]));
                marks.push(Mark {
                    ms: start.saturating_add_signed(relative),
                    track: usize::from(number & 0x7f).checked_sub(1)?,
                    keyframe: flags & 0x80 != 0,
                });
            }
            _ => {}
        }
    }
    Some(marks)
}

fn unsigned(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |all, byte| all << 8 | u64::from(*byte))
}

/// The elements in a master element.
fn elements(mut bytes: &[u8]) -> Option<Vec<(u32, &[u8])>> {
    let mut elements = Vec::new();
    while !bytes.is_empty() {
        let (id, size, header) = head(bytes)?;
        let rest = bytes.get(header..)?;
        let (contents, after) = rest.split_at_checked(usize::try_from(size).ok()?)?;
        elements.push((id, contents));
        bytes = after;
    }
    Some(elements)
}

/// The element at `at`, if all of it is there.
fn next(file: &mut dyn ReadSeek, at: u64, length: u64) -> io::Result<Option<Part>> {
    let bytes = read(file, at, length.min(at + 12))?;
    Ok(head(&bytes).and_then(|(id, size, header)| {
        let contents = at + header as u64;
        let end = contents.checked_add(size)?;
        (end <= length).then_some(Part { id, contents, end })
    }))
}

/// Id, size, and how long both are (RFC 8794 §4 and §5).
fn head(bytes: &[u8]) -> Option<(u32, u64, usize)> {
    let id_length = bytes.first()?.leading_zeros() as usize + 1;
    let id = bytes
        .get(..id_length.min(4))?
        .iter()
        .fold(0, |all, byte| all << 8 | u32::from(*byte));
    let size = bytes.get(id_length..)?;
    let size_length = size.first()?.leading_zeros() as usize + 1;
    if id_length > 4 || size_length > 8 {
        return None;
    }
    let size = size
        .get(..size_length)?
        .iter()
        .fold(0, |all, byte| all << 8 | u64::from(*byte));
    Some((
        id,
        size & ((1 << (7 * size_length)) - 1),
        id_length + size_length,
    ))
}

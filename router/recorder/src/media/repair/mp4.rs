//! MP4: sample tables out of `moof` boxes.

use std::io::{self, SeekFrom};

use shiguredo_mp4::Decode;
use shiguredo_mp4::boxes::{MoofBox, MoovBox};

use super::{Part, damaged, read};
use crate::film::{ReadSeek, Repair};
use crate::media::mp4::Mp4;

const FTYP: u32 = u32::from_be_bytes(*b"ftyp");
const FREE: u32 = u32::from_be_bytes(*b"free");
const MOOV: u32 = u32::from_be_bytes(*b"moov");
const MOOF: u32 = u32::from_be_bytes(*b"moof");
const MDAT: u32 = u32::from_be_bytes(*b"mdat");

pub(super) fn repair(file: &mut dyn ReadSeek) -> io::Result<Option<Repair>> {
    let length = file.seek(SeekFrom::End(0))?;
    let Some(ftyp) = next(file, 0, length)?.filter(|part| part.id == FTYP) else {
        return Ok(Some(Repair::default()));
    };
    let Some(placeholder) = next(file, ftyp.end, length)? else {
        return Ok(Some(Repair::default()));
    };
    if placeholder.id != FREE {
        // Finished, or none of ours.
        return Ok(None);
    }
    let Some(moov) = next(file, placeholder.end, length)?.filter(|part| part.id == MOOV) else {
        return Ok(Some(Repair::default()));
    };
    let bytes = read(file, placeholder.end, moov.end)?;
    let (decoded, _) =
        MoovBox::decode(&bytes).map_err(|_| damaged("a movie header that cannot be read"))?;
    let mut mp4 = Mp4::resume(decoded, ftyp.end);
    let mut keep = 0;
    let mut at = moov.end;
    // A fragment that was not finished is a `free` box.
    while let Some(moof) = next(file, at, length)?.filter(|part| part.id == MOOF) {
        let Some(mdat) = next(file, moof.end, length)?.filter(|part| part.id == MDAT) else {
            break;
        };
        let bytes = read(file, at, moof.end)?;
        let Ok((decoded, _)) = MoofBox::decode(&bytes) else {
            break;
        };
        mp4.found(&decoded, at, mdat.end)
            .map_err(|_| damaged("a fragment that is too large"))?;
        (at, keep) = (mdat.end, mdat.end);
    }
    if keep == 0 {
        return Ok(Some(Repair::default()));
    }
    let writes = mp4
        .finish()
        .map_err(|_| damaged("an index that cannot be written"))?;
    Ok(Some(Repair {
        keep_bytes: keep,
        writes,
    }))
}

/// The box at `at`, if all of it is there.
fn next(file: &mut dyn ReadSeek, at: u64, length: u64) -> io::Result<Option<Part>> {
    if length.saturating_sub(at) < 8 {
        return Ok(None);
    }
    let header = read(file, at, at + 8)?;
    let [a, b, c, d, e, f, g, h] = header.as_slice() else {
        return Ok(None);
    };
    let size = u64::from(u32::from_be_bytes([*a, *b, *c, *d]));
    let id = u32::from_be_bytes([*e, *f, *g, *h]);
    // Sizes in 64 bits only stand in the placeholder of a file that is finished.
    let end = if size == 1 { length } else { at + size };
    Ok((end <= length && (size == 1 || size >= 8)).then_some(Part {
        id,
        contents: at + 8,
        end,
    }))
}

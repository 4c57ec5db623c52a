//! Finishing what a crash left.

use std::io;

use super::{Completed, Place, Root};
use crate::api::Container;
use crate::dump;
use crate::film::{Films, Repair, Write};
use crate::sidecar;

/// Unfinished files, found before this router began its first.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    /// As they will be called.
    places: Vec<Place>,
    /// Of earlier runs.
    sidecars: Vec<Place>,
}

/// What became of one.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) place: Place,
    /// `Ok(None)`: there was nothing in it, and it is gone.
    pub(crate) result: io::Result<Option<Completed>>,
}

impl Leftovers {
    /// Looks for them.
    pub(crate) fn find(root: &Root) -> io::Result<Self> {
        root.remove_temporaries()?;
        let places = root.list()?;
        Ok(Self {
            places: places.iter().filter_map(Place::finished).collect(),
            sidecars: places.into_iter().filter(is_sidecar).collect(),
        })
    }

    /// Finishes each, and says so in their rooms' sidecars.
    pub(crate) fn finish(self, root: &Root, films: &dyn Films) -> Vec<Recovered> {
        let finish = |place| Recovered {
            result: finish(root, films, &place),
            place,
        };
        let finished: Vec<_> = self.places.into_iter().map(finish).collect();
        sidecar::note_recovered(root, &self.sidecars, &finished);
        finished
    }
}

fn is_sidecar(place: &Place) -> bool {
    place.file().ends_with(".json")
}

fn finish(root: &Root, films: &dyn Films, place: &Place) -> io::Result<Option<Completed>> {
    let unfinished = place.unfinished();
    let mut file = root.read(&unfinished)?;
    if file.metadata()?.len() == 0 {
        root.remove(&unfinished)?;
        return Ok(None);
    }
    let repair = match Container::of_extension(place.file()) {
        Some(Container::RtpDump) => Some(dump::repair(&mut file)?),
        Some(container) => films.repair(container, &mut file),
        None => None,
    };
    drop(file);
    let Some(Repair { keep_bytes, writes }) = repair else {
        return root.finish(place, None).map(Some);
    };
    root.cut(&unfinished, keep_bytes)?;
    let mut end = keep_bytes;
    let mut patches = Vec::new();
    for write in &writes {
        match write {
            Write::Append(bytes) => {
                patches.push((end, bytes.as_slice()));
                end += bytes.len() as u64;
            }
            Write::Overwrite { offset, bytes } => patches.push((*offset, bytes.as_slice())),
        }
    }
    root.patch(&unfinished, &patches)?;
    root.finish(place, None).map(Some)
}

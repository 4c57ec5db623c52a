//! What recordings there are beneath a root, and whether they are whole.

use std::collections::BTreeSet;
use std::io;

use serde::Serialize;

use crate::api::Container;
use crate::disk::{Place, Root, digest};
use crate::dump;
use crate::sidecar::{self, Sidecar, State};

/// A sidecar and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recording {
    /// Path of the sidecar beneath the root.
    pub sidecar: String,
    /// What it tells. `None`: it cannot be read.
    #[serde(flatten)]
    pub contents: Option<Sidecar>,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// All recordings beneath a root, in the order of their names.
///
/// # Errors
/// The root cannot be read.
pub fn list(root: &Root) -> io::Result<Vec<Recording>> {
    let recording = |(place, sidecar): (Place, Result<Sidecar, String>)| {
        let (contents, error) = match sidecar {
            Ok(sidecar) => (Some(sidecar), None),
            Err(error) => (None, Some(error)),
        };
        Recording {
            sidecar: place.to_string(),
            contents,
            error,
        }
    };
    Ok(sidecar::all(root)?.into_iter().map(recording).collect())
}

/// What is the matter with a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// As the sidecar says.
    Whole,
    /// Being written, or left by a crash: the router finishes it when it starts.
    Unfinished,
    /// It ended early, and the sidecar says why; what there is of it is as it says.
    Cut {
        /// Why.
        reason: String,
    },
    /// It is not there.
    Missing,
    /// It is shorter or longer than it was.
    Size {
        /// As the sidecar says.
        expected_bytes: u64,
        /// As it is.
        found_bytes: u64,
    },
    /// Bytes of it were changed.
    Hash,
    /// An RTP dump with the right hash, and yet damaged: it was written so.
    Damaged {
        /// Where and how.
        damage: String,
    },
    /// No sidecar tells of it.
    Unlisted,
    /// It, or its sidecar, cannot be read.
    Unreadable {
        /// Why.
        error: String,
    },
}

impl Verdict {
    /// Nothing that anybody has to look after.
    #[must_use]
    pub fn is_well(&self) -> bool {
        matches!(self, Self::Whole | Self::Cut { .. })
    }
}

/// What was found of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Path beneath the root.
    pub name: String,
    /// What is the matter with it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// Reads every recording beneath a root and compares it with its sidecar: sizes, hashes, checksums of RTP
/// dumps. `progress` hears after each file how many of how many that sidecars tell of are done.
///
/// # Errors
/// The root cannot be read.
pub fn verify(root: &Root, mut progress: impl FnMut(usize, usize)) -> io::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut known = BTreeSet::new();
    let mut find = |name: String, verdict| findings.push(Finding { name, verdict });
    let sidecars = sidecar::all(root)?;
    let readable = sidecars
        .iter()
        .filter_map(|(_, sidecar)| sidecar.as_ref().ok());
    let count = readable.map(|sidecar| sidecar.files.len()).sum();
    let mut done = 0;
    for (place, sidecar) in sidecars {
        known.insert(place.to_string());
        let sidecar = match sidecar {
            Ok(sidecar) => sidecar,
            Err(error) => {
                find(place.to_string(), Verdict::Unreadable { error });
                continue;
            }
        };
        for file in &sidecar.files {
            known.insert(file.name.clone());
            if let Some(place) = Place::parse(&file.name) {
                known.insert(place.unfinished().to_string());
            }
            if file.state != State::Empty {
                find(file.name.clone(), judge(root, file));
            }
            done += 1;
            progress(done, count);
        }
    }
    for place in root.list()? {
        if !known.contains(&place.to_string()) {
            find(place.to_string(), Verdict::Unlisted);
        }
    }
    Ok(findings)
}

fn judge(root: &Root, file: &sidecar::File) -> Verdict {
    match compare(root, file) {
        Ok(verdict) => verdict,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Verdict::Missing,
        Err(error) => Verdict::Unreadable {
            error: error.to_string(),
        },
    }
}

fn compare(root: &Root, file: &sidecar::File) -> io::Result<Verdict> {
    let place = Place::parse(&file.name).ok_or_else(|| {
        let text = "the sidecar names a file outside of the root";
        io::Error::new(io::ErrorKind::InvalidFilename, text)
    })?;
    if matches!(file.state, State::Recording | State::Failed) {
        return match root.read(&place.unfinished()) {
            Ok(_) => Ok(Verdict::Unfinished),
            // Completed a moment ago.
            Err(_) => root.read(&place).map(|_| Verdict::Unfinished),
        };
    }
    let mut read = root.read(&place)?;
    let (found_bytes, sha256) = digest(&mut read)?;
    if let Some(expected_bytes) = file.bytes.filter(|bytes| *bytes != found_bytes) {
        return Ok(Verdict::Size {
            expected_bytes,
            found_bytes,
        });
    }
    if file.sha256.as_ref() != Some(&sha256) {
        return Ok(Verdict::Hash);
    }
    if Container::of_extension(&file.name) == Some(Container::RtpDump) && file.state != State::Cut {
        let read = io::BufReader::new(root.read(&place)?);
        match dump::check(read) {
            Ok(report) if report.complete => {}
            Ok(report) => {
                let cut = || "it has no end".to_owned();
                let damage = report.damage.unwrap_or_else(cut);
                return Ok(Verdict::Damaged { damage });
            }
            Err(damage) => {
                let damage = damage.to_string();
                return Ok(Verdict::Damaged { damage });
            }
        }
    }
    match &file.reason {
        Some(reason) => Ok(Verdict::Cut {
            reason: reason.clone(),
        }),
        None => Ok(Verdict::Whole),
    }
}

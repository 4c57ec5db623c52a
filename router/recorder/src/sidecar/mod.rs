//! What is written about the recordings of a room: a JSON file beside them.
//!
//! It is replaced as a whole, so that a reader sees an old or a new one and never half of one. One describes
//! what was recorded of a room from its first track until it closed.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::api::{Container, MediaKind, Start};
use crate::disk::{Place, Recovered, Root, digest};
use crate::film::TrackSummary;

/// Of the format.
pub const VERSION: u32 = 1;

/// Recordings of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sidecar {
    /// [`VERSION`].
    pub version: u32,
    /// The room's name, as clients have it.
    pub room: String,
    /// When the first track of it was recorded, RFC 3339, UTC.
    pub started: String,
    /// When the room had closed and its last file was complete. `None`: not yet, or the router died.
    #[serde(default)]
    pub ended: Option<String>,
    /// Who was recorded.
    pub participants: Vec<Participant>,
    /// What was recorded of them.
    pub tracks: Vec<Track>,
    /// Into which files.
    pub files: Vec<File>,
}

/// Somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    /// The router's number of the participant.
    pub id: u64,
    /// The identity of its grant.
    pub identity: String,
}

/// A track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// The router's number of the track.
    pub id: u64,
    /// Its publisher's.
    pub participant: u64,
    /// `audio` or `video`.
    pub kind: String,
    /// `camera`, `microphone`, …
    pub source: String,
    /// What the policy gave with it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Why recording it ended against the policy's will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Path beneath the root. While it is being written the file is called so with `.part` behind it.
    pub name: String,
    /// `mp4`, `webm`, `rtpd`.
    pub container: String,
    /// How it is.
    pub state: State,
    /// When its first frame was captured, RFC 3339, UTC.
    pub started: String,
    /// Tracks that may be in it.
    pub of: Vec<u64>,
    /// Size, once it is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// SHA-256, lower-case hexadecimal, once it is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Why it ended early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is in it, once it is complete.
    #[serde(default)]
    pub tracks: Vec<Contents>,
}

/// How a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Being written, or the router died.
    Recording,
    /// Complete.
    Finished,
    /// Complete up to where writing failed.
    Cut,
    /// Left by a crash; complete up to about a second before it.
    Recovered,
    /// Could not be completed; what there is of it has its unfinished name.
    Failed,
    /// A crash left nothing of it.
    Empty,
}

/// A track in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// The router's number of the track.
    pub track: u64,
    /// As in SDP.
    pub codec: String,
    /// Its first frame, from the beginning of the file.
    pub begins_ms: u64,
    /// From its first frame to the end of its last.
    pub duration_ms: u64,
    /// Frames (of an RTP dump: packets).
    pub frames: u64,
    /// Largest frame, pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Where frames are missing.
    #[serde(default)]
    pub gaps: Vec<Missing>,
}

/// A gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// From the beginning of the file.
    pub at_ms: u64,
    /// How long.
    pub lasts_ms: u64,
}

impl Sidecar {
    /// Of a room whose first track is recorded.
    #[must_use]
    pub fn new(room: &str, started: SystemTime) -> Self {
        Self {
            version: VERSION,
            room: room.to_owned(),
            started: rfc3339(started),
            ended: None,
            participants: Vec::new(),
            tracks: Vec::new(),
            files: Vec::new(),
        }
    }

    /// A track of it is recorded.
    pub(crate) fn start(&mut self, start: &Start) {
        let owner = start.owner.0;
        if !self.participants.iter().any(|p| p.id == owner) {
            self.participants.push(Participant {
                id: owner,
                identity: start.identity.to_string(),
            });
        }
        let kind = match start.kind {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
        };
        let track = Track {
            id: start.track.0,
            participant: owner,
            kind: kind.to_owned(),
            source: start.source.to_owned(),
            attributes: start.attributes.iter().cloned().collect(),
            failed: None,
        };
        match self.tracks.iter_mut().find(|t| t.id == track.id) {
            Some(old) => *old = track,
            None => self.tracks.push(track),
        }
    }

    /// Recording a track of it failed.
    pub(crate) fn fail(&mut self, track: u64, reason: &str) {
        if let Some(track) = self.tracks.iter_mut().find(|t| t.id == track) {
            track.failed = Some(reason.to_owned());
        }
    }

    /// As it is written.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// As it was written.
    ///
    /// # Errors
    /// It is no sidecar, or of a version to come.
    pub fn from_json(json: &[u8]) -> Result<Self, String> {
        let sidecar: Self = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        match sidecar.version {
            VERSION => Ok(sidecar),
            version => Err(format!(
                "version {version} of the format, of which this router knows {VERSION}"
            )),
        }
    }
}

impl File {
    pub(crate) fn new(place: &Place, container: Container, of: Vec<u64>, at: SystemTime) -> Self {
        Self {
            name: place.to_string(),
            container: container.extension().to_owned(),
            state: State::Recording,
            started: rfc3339(at),
            of,
            bytes: None,
            sha256: None,
            reason: None,
            tracks: Vec::new(),
        }
    }
}

impl From<&TrackSummary> for Contents {
    fn from(summary: &TrackSummary) -> Self {
        let gap = |gap: &crate::film::Gap| Missing {
            at_ms: millis(gap.at),
            lasts_ms: millis(gap.lasts),
        };
        Self {
            track: summary.track.0,
            codec: summary.codec.to_owned(),
            begins_ms: millis(summary.begins),
            duration_ms: millis(summary.duration),
            frames: summary.frames,
            width: (summary.width > 0).then_some(summary.width),
            height: (summary.height > 0).then_some(summary.height),
            gaps: summary.gaps.iter().map(gap).collect(),
        }
    }
}

fn millis(of: Duration) -> u64 {
    u64::try_from(of.as_millis()).unwrap_or(u64::MAX)
}

/// A time of day for people and programs, in milliseconds.
pub(crate) fn rfc3339(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let at = at.replace_millisecond(at.millisecond()).unwrap_or(at);
    at.format(&Rfc3339).unwrap_or_default()
}

/// The same for the name of a file: `20261126T081500Z`.
pub(crate) fn stamp(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let (date, time) = (at.date(), at.time());
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// All sidecars beneath a root, or why one cannot be read.
///
/// # Errors
/// The root cannot be read.
pub fn all(root: &Root) -> std::io::Result<Vec<(Place, Result<Sidecar, String>)>> {
    let places = root.list()?.into_iter();
    let read = |place: Place| {
        let read = root.read_whole(&place).map_err(|e| e.to_string());
        let sidecar = read.and_then(|json| Sidecar::from_json(&json));
        (place, sidecar)
    };
    Ok(places
        .filter(|p| p.file().ends_with(".json"))
        .map(read)
        .collect())
}

/// Says in sidecars of an earlier run what became of files that a crash left. A file of which none of them
/// tells stays without one: `rillway recording verify` names it.
pub(crate) fn note_recovered(root: &Root, sidecars: &[Place], recovered: &[Recovered]) {
    for place in sidecars {
        let read = root.read_whole(place).map_err(|e| e.to_string());
        let Ok(mut sidecar) = read.and_then(|json| Sidecar::from_json(&json)) else {
            continue;
        };
        let mut changed = false;
        let open = |f: &&mut File| f.state == State::Recording;
        for file in sidecar.files.iter_mut().filter(open) {
            match recovered.iter().find(|r| r.place.to_string() == file.name) {
                Some(recovered) => note(file, recovered),
                None => settle(root, file),
            }
            changed = true;
        }
        if changed && let Err(error) = root.replace(place, &sidecar.to_json()) {
            tracing::warn!(%place, %error, "a sidecar cannot be written");
        }
    }
}

/// The router died between completing a file and saying so.
fn settle(root: &Root, file: &mut File) {
    let read = Place::parse(&file.name).ok_or(std::io::ErrorKind::InvalidFilename.into());
    let read = read.and_then(|place| root.read(&place));
    match read.and_then(|mut read| digest(&mut read)) {
        Ok((bytes, sha256)) => {
            file.state = State::Finished;
            file.bytes = Some(bytes);
            file.sha256 = Some(sha256);
        }
        Err(error) => {
            file.state = State::Failed;
            file.reason = Some(error.to_string());
        }
    }
}

fn note(file: &mut File, recovered: &Recovered) {
    match &recovered.result {
        Ok(Some(completed)) => {
            file.name = completed.place.to_string();
            file.state = State::Recovered;
            file.bytes = Some(completed.bytes);
            file.sha256 = Some(completed.sha256.clone());
        }
        Ok(None) => file.state = State::Empty,
        Err(error) => {
            file.state = State::Failed;
            file.reason = Some(error.to_string());
        }
    }
}

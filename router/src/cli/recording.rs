//! `rillway recording` and `rillway dump`: what was recorded, and whether it is whole. No router is asked but to
//! start and stop.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, Subcommand};
use rillway_recorder::api::Container;
use rillway_recorder::disk::Root;
use rillway_recorder::dump::convert::{self, ConvertError, Converted};
use rillway_recorder::dump::{Damage, Report, check};
use rillway_recorder::film::{Films as _, Origin};
use rillway_recorder::films::Files;
use rillway_recorder::verify::{self, Verdict};
use serde::Serialize;

use super::lists::{self, InRoom};
use super::operate::{Ask, OperateError, table};
use super::progress::{Progress, Watched};
use crate::config::{Config, ConfigError, Overrides};
use crate::management::wire::RecordRequest;
use crate::management::wire::request::Verb;
use crate::management::wire::response::Part;

/// Exit code where a recording is damaged, `EX_DATAERR` of sysexits.h.
pub const EXIT_DAMAGED: u8 = 65;

pub(super) const RECORDING_HELP: &str = "\
Examples:
  rillway recording ls --root /var/lib/rillway
  rillway recording verify --config rillway.toml
  rillway recording verify --root /mnt/backup --json
  rillway recording now                            what a running router records
  rillway recording start standup                  ask the recording policy of a running router
  rillway recording stop standup --track screen

ls and verify may be used while a router records there; what is being written is `unfinished`.";

pub(super) const DUMP_HELP: &str = "\
Examples:
  rillway dump ls talk.rtpd
  rillway dump check talk.rtpd
  rillway dump convert talk.rtpd talk.pcap     for Wireshark: RTP over UDP
  rillway dump convert talk.rtpd talk.mp4      frames, as the router would have recorded them

The format is in docs/recording-dump.md.";

/// What is to be done with recordings.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Recording {
    /// List recordings: rooms, files, how they ended
    Ls(Where),
    /// List what a running router records now, in a room or in all
    Now(InRoom),
    /// Ask the recording policy of a running router's room to start
    Start(Asked),
    /// Ask the recording policy of a running router's room to stop
    Stop(Asked),
    /// Compare every file with its sidecar: size, SHA-256, checksums of RTP dumps
    Verify(Where),
}

/// What is to be recorded, or no more.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[group(skip)]
pub struct Asked {
    /// Name of the room
    room: String,
    /// Only this track: its id, or its source if only one has it; may be given several times
    #[arg(long = "track", value_name = "TRACK")]
    tracks: Vec<String>,
    #[command(flatten)]
    ask: Ask,
}

impl Asked {
    fn run(&self, start: bool) -> Result<String, OperateError> {
        let request = RecordRequest {
            room: self.room.clone(),
            start,
            tracks: self.tracks.clone(),
        };
        self.ask.call(Verb::Record(request), |part| match part {
            Part::Recorded(recorded) if recorded.tracks.is_empty() => {
                "nothing is recorded now".to_owned()
            }
            Part::Recorded(recorded) => format!("recorded now: {}", recorded.tracks.join(", ")),
            _ => String::new(),
        })
    }
}

/// Which folder, and how it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[group(skip)]
pub struct Where {
    /// Folder beneath which recordings are
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    root: Option<PathBuf>,
    /// Configuration file that names it
    #[arg(long, value_name = "FILE", conflicts_with = "root")]
    config: Option<PathBuf>,
    /// JSON for programs
    #[arg(long)]
    json: bool,
}

/// What is to be done with an RTP dump.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Dump {
    /// List its tracks
    Ls(Which),
    /// Check every checksum, and whether it was closed
    Check(Which),
    /// Make something of it that other programs read
    Convert {
        /// The dump
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// What is made; by its extension: .pcap, .mp4 or .webm. It must not exist
        #[arg(value_name = "OUTPUT")]
        output: PathBuf,
    },
}

/// A dump, and how it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Which {
    /// The dump
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// JSON for programs
    #[arg(long)]
    json: bool,
}

/// What was done.
#[derive(Debug)]
pub struct Done {
    /// For standard output.
    pub text: String,
    /// What was found to be wrong.
    pub failed: Option<RecordingError>,
}

/// Why it was not done, or what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(ConfigError),
    /// It names no folder.
    #[error("`{0}` names no folder for recordings; set `recording.directory`, or use `--root`")]
    NoDirectory(String),
    /// A file or folder cannot be read or made.
    #[error("cannot use `{path}`: {error}")]
    Path {
        /// Which.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// No such conversion.
    #[error("cannot make `{0}`: give it the extension .pcap, .mp4 or .webm")]
    Extension(String),
    /// A dump cannot be read.
    #[error("`{path}`: {damage}")]
    Dump {
        /// Which.
        path: String,
        /// Why.
        damage: Damage,
    },
    /// Recordings that are not as they were written.
    #[error("{0} of the recordings are not whole")]
    NotWhole(usize),
    /// A dump that is not as it was written.
    #[error("`{path}` is not whole: {why}")]
    DumpNotWhole {
        /// Which.
        path: String,
        /// How.
        why: String,
    },
    /// A running router was asked, and there is no answer.
    #[error("{0}")]
    Operate(#[from] OperateError),
    /// No text for the answer.
    #[error("{0}")]
    Local(String),
}

impl RecordingError {
    /// Exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::NoDirectory(_) => ConfigError::EXIT_CODE,
            Self::Path { .. } | Self::Extension(_) => super::EXIT_USAGE,
            Self::Operate(error) => error.exit_code(),
            Self::Local(_) => super::EXIT_INTERNAL,
            _ => EXIT_DAMAGED,
        }
    }

    fn path(path: &Path, error: io::Error) -> Self {
        Self::Path {
            path: path.display().to_string(),
            error,
        }
    }

    fn dump(path: &Path, damage: Damage) -> Self {
        match damage {
            Damage::Io { error, .. } => Self::path(path, error),
            damage => Self::Dump {
                path: path.display().to_string(),
                damage,
            },
        }
    }
}

fn json(value: &impl Serialize) -> Result<String, RecordingError> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|error| RecordingError::Local(error.to_string()))?;
    Ok(text + "\n")
}

impl Where {
    fn root(&self) -> Result<(Root, PathBuf), RecordingError> {
        let path = match (&self.root, &self.config) {
            (Some(root), _) => root.clone(),
            (None, Some(file)) => {
                let config = Config::load(file, &Overrides::default());
                let config = config.map_err(RecordingError::Config)?;
                let directory = config.recorder.map(|recorder| recorder.directory);
                let none = || RecordingError::NoDirectory(file.display().to_string());
                directory.ok_or_else(none)?
            }
            (None, None) => PathBuf::from("."),
        };
        let root = Root::view(&path).map_err(|error| RecordingError::path(&path, error))?;
        Ok((root, path))
    }
}

fn done(text: String) -> Done {
    Done { text, failed: None }
}

impl Recording {
    /// Does it.
    ///
    /// # Errors
    /// The folder, or the configuration that names it, cannot be used; or a router refuses.
    pub fn run(&self) -> Result<Done, RecordingError> {
        match self {
            Self::Ls(at) => ls(at),
            Self::Verify(at) => verify_all(at),
            Self::Now(of) => Ok(done(lists::recordings(of)?)),
            Self::Start(asked) => Ok(done(asked.run(true)?)),
            Self::Stop(asked) => Ok(done(asked.run(false)?)),
        }
    }
}

fn ls(at: &Where) -> Result<Done, RecordingError> {
    let (root, path) = at.root()?;
    let found = verify::list(&root).map_err(|error| RecordingError::path(&path, error))?;
    let mut text = String::new();
    if at.json {
        text = json(&found)?;
    } else if found.is_empty() {
        text = format!("no recordings beneath {}\n", path.display());
    }
    for recording in found.iter().filter(|_| !at.json) {
        let Some(sidecar) = &recording.contents else {
            let error = recording.error.as_deref().unwrap_or_default();
            let _ = writeln!(text, "{}: {error}\n", recording.sidecar);
            continue;
        };
        let ended = sidecar.ended.as_deref().unwrap_or("not ended");
        let who = sidecar.participants.iter().map(|p| p.identity.as_str());
        let who = who.collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            text,
            "{}  {} – {ended}  {who}",
            sidecar.room, sidecar.started
        );
        let rows = sidecar.files.iter().map(|file| {
            let longest = file
                .tracks
                .iter()
                .map(|t| t.begins_ms + t.duration_ms)
                .max();
            let gaps: usize = file.tracks.iter().map(|t| t.gaps.len()).sum();
            let codecs = file.tracks.iter().map(|t| t.codec.as_str());
            [
                format!("  {}", file.name),
                format!("{:?}", file.state).to_lowercase(),
                file.bytes.map(|n| n.to_string()).unwrap_or_default(),
                longest
                    .map(|ms| format!("{:.1}", ms as f64 / 1_000.0))
                    .unwrap_or_default(),
                codecs.collect::<Vec<_>>().join(", "),
                gaps.to_string(),
            ]
        });
        let header = ["  FILE", "STATE", "BYTES", "SECONDS", "CODECS", "GAPS"];
        let _ = writeln!(text, "{}\n", table(header, rows));
    }
    Ok(Done { text, failed: None })
}

fn verify_all(at: &Where) -> Result<Done, RecordingError> {
    let (root, path) = at.root()?;
    let mut progress = Progress::files("checking");
    let findings = verify::verify(&root, |done, count| {
        progress.of(count as u64);
        progress.at(done as u64);
    });
    drop(progress);
    let findings = findings.map_err(|error| RecordingError::path(&path, error))?;
    let ill = |f: &&verify::Finding| !f.verdict.is_well() && f.verdict != Verdict::Unfinished;
    let ill = findings.iter().filter(ill).count();
    let text = match at.json {
        true => json(&findings)?,
        false => {
            let rows = findings.iter().map(|f| [f.name.clone(), said(&f.verdict)]);
            table(["FILE", "FOUND"], rows) + "\n"
        }
    };
    let failed = (ill > 0).then_some(RecordingError::NotWhole(ill));
    Ok(Done { text, failed })
}

fn said(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Whole => "whole".to_owned(),
        Verdict::Unfinished => {
            "unfinished: it is being written, or the router finishes it when it starts".to_owned()
        }
        Verdict::Cut { reason } => format!("whole, but ended early: {reason}"),
        Verdict::Missing => "missing".to_owned(),
        Verdict::Size {
            expected_bytes,
            found_bytes,
        } => format!("{found_bytes} bytes long, and was {expected_bytes}"),
        Verdict::Hash => "its contents were changed (SHA-256)".to_owned(),
        Verdict::Damaged { damage } => format!("damaged: {damage}"),
        Verdict::Unlisted => "no sidecar tells of it".to_owned(),
        Verdict::Unreadable { error } => format!("cannot be read: {error}"),
        other => format!("{other:?}"),
    }
}

impl Dump {
    /// Does it.
    ///
    /// # Errors
    /// The file cannot be read or is no dump, or the output cannot be made.
    pub fn run(&self) -> Result<Done, RecordingError> {
        match self {
            Self::Ls(which) => {
                let report = report(&which.file)?;
                let text = match which.json {
                    true => json(&report)?,
                    false => tracks(&report),
                };
                Ok(Done { text, failed: None })
            }
            Self::Check(which) => {
                let report = report(&which.file)?;
                let text = match which.json {
                    true => json(&report)?,
                    false => summary(&report),
                };
                let cut = "it was never closed; what there is of it is whole";
                let failed = (!report.complete).then(|| RecordingError::DumpNotWhole {
                    path: which.file.display().to_string(),
                    why: report.damage.unwrap_or_else(|| cut.to_owned()),
                });
                Ok(Done { text, failed })
            }
            Self::Convert { file, output } => convert_dump(file, output),
        }
    }
}

fn open(file: &Path) -> Result<BufReader<Watched<File>>, RecordingError> {
    let open = File::open(file).map_err(|error| RecordingError::path(file, error))?;
    let length = open.metadata().map_or(0, |metadata| metadata.len());
    Ok(BufReader::new(Watched::new(open, length)))
}

fn report(file: &Path) -> Result<Report, RecordingError> {
    check(open(file)?).map_err(|damage| RecordingError::dump(file, damage))
}

fn summary(report: &Report) -> String {
    let Report {
        packets,
        whole_bytes,
        ..
    } = report;
    let closed = if report.complete {
        "closed"
    } else {
        "not whole"
    };
    format!("{packets} packets in {whole_bytes} bytes, all checksums right; {closed}\n")
}

fn tracks(report: &Report) -> String {
    let rows = report.tracks.iter().map(|track| {
        [
            track.track.to_string(),
            track.codec.to_owned(),
            track.clock_rate.to_string(),
            track.packets.to_string(),
            track.payload_bytes.to_string(),
            track.keyframes.to_string(),
            track.missing.to_string(),
            format!("{:.1}", track.duration_ms as f64 / 1_000.0),
        ]
    });
    let header = [
        "TRACK",
        "CODEC",
        "HZ",
        "PACKETS",
        "BYTES",
        "KEYFRAMES",
        "MISSING",
        "SECONDS",
    ];
    format!("began {}\n{}\n", report.start, table(header, rows))
}

fn convert_dump(file: &Path, output: &Path) -> Result<Done, RecordingError> {
    let name = output.file_name().and_then(|name| name.to_str());
    let container = name.and_then(Container::of_extension);
    let from = open(file)?;
    let result = match (container, output.extension()) {
        (Some(container @ (Container::Mp4 | Container::Webm)), _) => {
            let film = |wall| {
                let at = Instant::now();
                Files.film(container, None, Origin { at, wall })
            };
            convert::to_files(from, film, output)
        }
        (None, Some(extension)) if extension == "pcap" => File::create_new(output)
            .map_err(ConvertError::from)
            .and_then(|into| convert::to_pcap(from, BufWriter::new(into)))
            .map(|converted| (converted, vec![output.to_owned()])),
        _ => return Err(RecordingError::Extension(output.display().to_string())),
    };
    let (converted, made) = result.map_err(|error| match error {
        ConvertError::Damage(damage) => RecordingError::dump(file, damage),
        ConvertError::Io(error) => RecordingError::path(output, error),
        other => RecordingError::Local(other.to_string()),
    })?;
    Ok(told(file, converted, &made))
}

fn told(file: &Path, converted: Converted, made: &[PathBuf]) -> Done {
    let mut text = String::new();
    for path in made {
        let _ = writeln!(text, "{}", path.display());
    }
    let _ = writeln!(text, "{} packets", converted.packets);
    if converted.left_out > 0 {
        let _ = writeln!(text, "{} had no place in it", converted.left_out);
    }
    for reason in &converted.refused {
        let _ = writeln!(text, "not converted: {reason}");
    }
    let failed = converted.damage.map(|damage| RecordingError::DumpNotWhole {
        path: file.display().to_string(),
        why: format!("{damage}; everything before it was converted"),
    });
    Done { text, failed }
}

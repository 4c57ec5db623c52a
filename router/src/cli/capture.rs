//! `rillway capture`: a bounded dump of a track of a running router.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use rillway_recorder::dump::convert;
use serde::Serialize;

use super::operate::{Ask, OperateError};
use super::progress::Progress;
use crate::management::wire::request::Verb;
use crate::management::wire::response::Part;
use crate::management::wire::{CaptureRequest, Captured};

pub(super) const HELP: &str = "\
Examples:
  rillway capture standup Ada microphone -o talk.rtpd      ten seconds, or 64 MiB
  rillway capture standup Ada camera --seconds 60 -o cam.pcap
  rillway capture standup Ada 2000000001 --packets 1000 -o cam.rtpd
  rillway dump ls talk.rtpd

The first bound that is met ends it. What is captured is what a recorder would get: the best layer that is being
sent, from a keyframe on. It has people's sound and picture in it: the role admin is needed, the router logs who
took what, and only you may read the file.";

/// `rillway capture`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Capture {
    /// Name of the room
    room: String,
    /// Who publishes it: id; or identity or display name, if only one in the room has it
    participant: String,
    /// Id of the track; or a source such as `camera`, if it publishes only one
    track: String,
    /// File to write, which must not exist: .rtpd, or .pcap for Wireshark
    #[arg(short, long, value_name = "FILE", value_parser = output)]
    output: PathBuf,
    /// Seconds at most [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: Option<u32>,
    /// Packets at most [default: 10,000,000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    packets: Option<u64>,
    /// Bytes at most, about [default: 67,108,864]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_073_741_824))]
    bytes: Option<u64>,
    #[command(flatten)]
    ask: Ask,
}

fn output(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("rtpd" | "pcap") => Ok(path),
        _ => Err("its name must end with .rtpd or .pcap".to_owned()),
    }
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Taken {
    file: String,
    packets: u64,
    bytes: u64,
    lost: u64,
    ended: String,
}

impl Capture {
    /// Asks, and writes what comes.
    ///
    /// # Errors
    /// [`OperateError`]; no file is left then.
    pub fn run(&self) -> Result<String, OperateError> {
        let is_pcap = self.output.extension().is_some_and(|e| e == "pcap");
        let mut out = create(&self.output)?;
        // What is converted in the end stands beside it until then.
        let beside = self.output.with_extension("pcap.rtpd");
        let taken = match is_pcap {
            false => self.take(&mut out),
            true => create(&beside).and_then(|mut dump| {
                let taken = self.take(&mut dump);
                let taken = taken.and_then(|taken| to_pcap(&beside, &out).map(|()| taken));
                let _ = std::fs::remove_file(&beside);
                taken
            }),
        };
        let taken = taken.and_then(|taken| match taken.packets {
            0 => Err(OperateError::Absent(format!(
                "nothing came of the track until the end ({})\nhelp: is it muted, or paused? `rillway track ls` shows it",
                taken.ended
            ))),
            _ => Ok(taken),
        });
        if taken.is_err() {
            let _ = std::fs::remove_file(&self.output);
        }
        self.ask.show(&taken?, shown)
    }

    fn take(&self, into: &mut File) -> Result<Taken, OperateError> {
        let ms = self.seconds.map_or(0, |seconds| seconds * 1_000);
        let request = CaptureRequest {
            room: self.room.clone(),
            track: self.track.clone(),
            participant: self.participant.clone(),
            ms,
            packets: self.packets.unwrap_or(0),
            bytes: self.bytes.unwrap_or(0),
        };
        let mut taken = Taken {
            file: self.output.display().to_string(),
            ..Taken::default()
        };
        let began = std::time::Instant::now();
        let mut progress =
            Progress::time("capturing", u64::from(if ms == 0 { 10_000 } else { ms }));
        let ended = self.ask.follow(Verb::Capture(request), |part| {
            let Part::Captured(part) = part else {
                return Ok(true);
            };
            let written = into.write_all(&part.dump);
            written.map_err(|e| OperateError::argument(&self.output.display(), &e))?;
            taken.note(&part);
            let at = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            progress.say(at, format!("{} packets", taken.packets));
            Ok(true)
        })?;
        if ended {
            taken.ended = "the router ended".to_owned();
        }
        Ok(taken)
    }
}

impl Taken {
    fn note(&mut self, part: &Captured) {
        (self.packets, self.bytes, self.lost) = (part.packets, part.bytes, part.lost);
        self.ended.clone_from(&part.ended);
    }
}

fn create(path: &Path) -> Result<File, OperateError> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create_new(true).mode(0o600);
    let file = options.open(path);
    file.map_err(|error| OperateError::argument(&path.display(), &error))
}

fn to_pcap(from: &Path, into: &File) -> Result<(), OperateError> {
    let failed = |error: &dyn std::fmt::Display| OperateError::argument(&from.display(), error);
    let from = File::open(from).map_err(|error| failed(&error))?;
    if from.metadata().is_ok_and(|metadata| metadata.len() == 0) {
        return Ok(());
    }
    let converted = convert::to_pcap(BufReader::new(from), BufWriter::new(into));
    converted.map(drop).map_err(|error| failed(&error))
}

fn shown(taken: &Taken) -> String {
    let ended = match taken.ended.as_str() {
        "time" => "the time was over",
        "packets" => "as many packets as were wanted",
        "bytes" => "as many bytes as were wanted",
        "track" => "the track ended",
        other => other,
    };
    let lost = match taken.lost {
        0 => String::new(),
        lost => format!(", {lost} lost because they were not read in time"),
    };
    format!(
        "{}: {} packets, {} bytes{lost}; {ended}",
        taken.file, taken.packets, taken.bytes
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_is_said() {
        let mut taken = Taken {
            file: "a.rtpd".to_owned(),
            packets: 5,
            bytes: 600,
            lost: 0,
            ended: "time".to_owned(),
        };
        let text = shown(&taken);
        assert_eq!(text, "a.rtpd: 5 packets, 600 bytes; the time was over");
        taken.lost = 7;
        assert!(shown(&taken).contains("7 lost"));
        assert!(output("a.mp4").is_err() && output("rtpd").is_err());
    }
}

//! Writing dumps.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::read::has_keyframes;
use super::record::{
    RecordedTrack, codec_name, put_end, put_header, put_lost, put_packet, put_track,
};
use crate::api::{Codec, Packet, TrackId};
use crate::film::{Film, Gap, Origin, Step, TrackSummary, Write};

/// Gaps that are remembered for each track of a file; later ones are in the dump all the same.
const GAPS_MAX: usize = 1_000;
/// Tracks of one file: their number is 16 bits.
const TRACKS_MAX: usize = 65_535;

/// A film that keeps packets as they came: nothing is put in order, and nothing waits.
#[derive(Debug)]
pub struct DumpFilm {
    origin: Origin,
    segment: Option<Duration>,
    tracks: BTreeMap<TrackId, Track>,
    file: Option<File>,
    /// What is written next.
    bytes: Vec<u8>,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Track {
    video: bool,
    started: bool,
    /// Codec of its last packet.
    codec: Codec,
}

#[derive(Debug)]
struct File {
    /// Arrival of its first packet.
    from: Instant,
    /// Capture of its first packet.
    began: Instant,
    packets: u64,
    /// In the order of their indices.
    tracks: Vec<(TrackId, InFile)>,
    /// A keyframe was asked for, to begin the next one with.
    full: bool,
}

#[derive(Debug)]
struct InFile {
    recorded: RecordedTrack,
    first: Instant,
    last: Instant,
    packets: u64,
    next: u64,
    holes: BTreeMap<u64, Hole>,
}

/// Sequence numbers that have not come, from the key of the map on.
#[derive(Debug, Clone, Copy)]
struct Hole {
    /// The first one after it.
    end: u64,
    at: Instant,
    until: Instant,
}

impl DumpFilm {
    /// A new file begins at the first keyframe after `segment`; where no track has keyframes, at any packet.
    #[must_use]
    pub fn new(segment: Option<Duration>, origin: Origin) -> Self {
        Self {
            origin,
            segment,
            tracks: BTreeMap::new(),
            file: None,
            bytes: Vec::new(),
            steps: Vec::new(),
        }
    }

    fn ns(&self, at: Instant) -> i64 {
        let ns = |d: Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
        match at.checked_duration_since(self.origin.at) {
            Some(after) => ns(after),
            None => -ns(self.origin.at.saturating_duration_since(at)),
        }
    }

    fn flush(&mut self) {
        if !self.bytes.is_empty() {
            let bytes = std::mem::take(&mut self.bytes);
            self.steps.push(Step::Write(Write::Append(bytes)));
        }
    }

    fn end(&mut self) {
        let Some(file) = self.file.take() else { return };
        put_end(&mut self.bytes, file.packets);
        self.flush();
        let summary = |(track, of): &(TrackId, InFile)| of.summary(*track, file.began);
        let tracks = file.tracks.iter().map(summary).collect();
        self.steps.push(Step::End(tracks));
    }

    /// Whether a full file ends before this packet.
    fn is_over(&self, packet: &Packet) -> bool {
        let (Some(file), Some(segment)) = (&self.file, self.segment) else {
            return false;
        };
        if packet.arrived.saturating_duration_since(file.from) < segment {
            return false;
        }
        let keyframes = |t: &Track| t.video && has_keyframes(t.codec);
        packet.keyframe || !self.tracks.values().any(keyframes)
    }

    /// Number of a track in the file, which is begun if there is none.
    fn index(&mut self, track: TrackId, packet: &Packet, video: bool) -> Option<u16> {
        if self.file.is_none() {
            self.steps.push(Step::Begin);
            put_header(&mut self.bytes, self.origin.wall);
            self.file = Some(File {
                from: packet.arrived,
                began: packet.captured,
                packets: 0,
                tracks: Vec::new(),
                full: false,
            });
        }
        let file = self.file.as_mut()?;
        let same = |(of, in_file): &(TrackId, InFile)| {
            let recorded = &in_file.recorded;
            *of == track
                && recorded.codec == packet.codec
                && recorded.clock_rate == packet.clock_rate
        };
        if let Some(index) = file.tracks.iter().position(same) {
            return u16::try_from(index).ok();
        }
        if file.tracks.len() >= TRACKS_MAX {
            return None;
        }
        let index = u16::try_from(file.tracks.len()).ok()?;
        let recorded = RecordedTrack {
            track,
            video,
            codec: packet.codec,
            clock_rate: packet.clock_rate,
            payload_type: packet.payload_type,
        };
        put_track(&mut self.bytes, index, &recorded);
        let of = InFile {
            recorded,
            first: packet.captured,
            last: packet.captured,
            packets: 0,
            next: packet.sequence,
            holes: BTreeMap::new(),
        };
        file.tracks.push((track, of));
        Some(index)
    }
}

impl InFile {
    fn packet(&mut self, packet: &Packet) {
        self.packets += 1;
        let (n, at) = (packet.sequence, packet.captured);
        if n < self.next {
            self.came_late(n);
        } else {
            if n > self.next && self.holes.len() < GAPS_MAX {
                let hole = Hole {
                    end: n,
                    at: self.last,
                    until: at,
                };
                self.holes.insert(self.next, hole);
            }
            self.next = n.saturating_add(1);
        }
        self.first = self.first.min(at);
        self.last = self.last.max(at);
    }

    fn came_late(&mut self, n: u64) {
        let found = self.holes.range(..=n).next_back();
        let Some((start, hole)) = found.map(|(s, h)| (*s, *h)) else {
            return;
        };
        if n >= hole.end {
            return;
        }
        self.holes.remove(&start);
        if start < n {
            self.holes.insert(start, Hole { end: n, ..hole });
        }
        if n + 1 < hole.end {
            self.holes.insert(n + 1, hole);
        }
    }

    fn summary(&self, track: TrackId, began: Instant) -> TrackSummary {
        let gap = |hole: &Hole| Gap {
            at: hole.at.saturating_duration_since(began),
            lasts: hole.until.saturating_duration_since(hole.at),
        };
        TrackSummary {
            track,
            codec: codec_name(self.recorded.codec),
            begins: self.first.saturating_duration_since(began),
            duration: self.last.saturating_duration_since(self.first),
            frames: self.packets,
            gaps: self.holes.values().map(gap).collect(),
            width: 0,
            height: 0,
        }
    }
}

impl Film for DumpFilm {
    fn add(&mut self, track: TrackId, video: bool) {
        let fresh = Track {
            video,
            started: false,
            codec: Codec::Other,
        };
        self.tracks.insert(track, fresh);
        if video {
            self.steps.push(Step::KeyframeWanted(track));
        }
    }

    fn remove(&mut self, track: TrackId) -> bool {
        self.tracks.remove(&track);
        self.tracks.is_empty()
    }

    fn packet(&mut self, track: TrackId, packet: &Packet) {
        let Some(known) = self.tracks.get_mut(&track) else {
            return;
        };
        known.codec = packet.codec;
        let (video, started) = (known.video, std::mem::replace(&mut known.started, true));
        if self.is_over(packet) {
            self.end();
        }
        let Some(index) = self.index(track, packet, video) else {
            return;
        };
        let (captured, arrived) = (self.ns(packet.captured), self.ns(packet.arrived));
        put_packet(&mut self.bytes, index, packet, captured, arrived);
        if let Some(file) = &mut self.file {
            file.packets += 1;
            if let Some((_, of)) = file.tracks.get_mut(usize::from(index)) {
                of.packet(packet);
            }
        }
        if !started {
            self.steps.push(Step::Started(track));
        }
    }

    fn dropped(&mut self, track: TrackId) {
        if let Some(file) = &self.file
            && let Some(index) = file.tracks.iter().position(|(t, _)| *t == track)
            && let Ok(index) = u16::try_from(index)
        {
            put_lost(&mut self.bytes, index);
        }
        if self.tracks.get(&track).is_some_and(|t| t.video) {
            self.steps.push(Step::KeyframeWanted(track));
        }
    }

    fn steps(&mut self, now: Instant, into: &mut Vec<Step>) {
        self.flush();
        if let (Some(file), Some(segment)) = (&mut self.file, self.segment)
            && !file.full
            && now.saturating_duration_since(file.from) >= segment
        {
            file.full = true;
            let video = self.tracks.iter().filter(|(_, t)| t.video);
            let wanted = video.map(|(track, _)| Step::KeyframeWanted(*track));
            self.steps.extend(wanted);
        }
        into.append(&mut self.steps);
    }

    fn finish(&mut self, _now: Instant, into: &mut Vec<Step>) {
        self.flush();
        self.end();
        into.append(&mut self.steps);
    }

    fn began(&self) -> Option<Instant> {
        self.file.as_ref().map(|file| file.began)
    }
}

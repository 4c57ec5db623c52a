//! A film of audio and video in MP4 or WebM files.

use std::time::{Duration, Instant};

use crate::api::{Container, Packet, TrackId};
use crate::film::{Film, Step};

use super::file::{End, File};
use super::frame::{Config, Frame};
use super::track::Track;

/// How long the first file waits for a frame of tracks that send: a video track that comes later makes another
/// file necessary, and audio that comes later cannot be put before the file's beginning.
const START: Duration = Duration::from_secs(3);
/// The same for tracks of which no packet came: they may be muted.
const START_SILENT: Duration = Duration::from_secs(1);
/// The same for tracks that start with the first one: each is ordered by itself, and packets of one may come before
/// the order for the next.
const START_TOGETHER: Duration = Duration::from_millis(250);
/// How long it waits for the first sender report of tracks that send, or at least a frame that was not delayed:
/// what is in the file is corrected but slowly.
const ALIGNMENT: Duration = Duration::from_millis(500);
/// How long a file that ends waits for what its other tracks still have for it.
const CUT: Duration = Duration::from_secs(3);
/// How long sound at the end of a segment waits for the video of its time.
const SOUND_WAITS_NS: i64 = 1_000_000_000;
/// Files are begun and ended at most so often at a time.
const MAX_TURNS: usize = 64;
/// A camera, a screen with sound and a microphone, some times over. A block of WebM has seven bits for it.
const MAX_TRACKS: usize = 32;

/// Tracks of one participant, in files of one container.
///
/// A file begins with a keyframe of each video track in it; its time zero is the earliest capture time in
/// it, and each track begins at its own. Another file begins where `segment` is over, where a video track
/// joins, where a codec or profile changes and after a million frames; always at keyframes, and no frame is
/// lost or written twice.
///
/// Memory for each track: 8 MiB of packets that wait for earlier ones, at most; one frame in the making
/// (16 MiB at most); frames that wait for a file (16 MiB and one frame, for 3 s at most); a second or 4 MiB
/// of frames for the next fragment; and the index of the file, 20 bytes for each of at most a million frames.
#[derive(Debug)]
pub struct Recording {
    container: Container,
    segment: Option<Duration>,
    tracks: Vec<Track>,
    file: Option<File>,
    /// Of the time line: the first packet's capture.
    epoch: Option<Instant>,
    /// Of the first frame of the last file.
    began: Option<Instant>,
    /// Since when a frame waits for the first file.
    waiting_since: Option<Instant>,
    /// There was a file.
    begun: bool,
    cut: Option<Cut>,
    refused: Vec<TrackId>,
}

/// Where a file ends: video tracks at their next keyframe from then on, audio there.
#[derive(Debug, Clone, Copy)]
struct Cut {
    at_ns: i64,
    since: Instant,
}

/// Whether a segment ends before a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SegmentEnds {
    Not,
    Here,
    /// Video decides, and has not come as far.
    Unknown,
}

/// Of a track's next frame. Sound goes where the video of its time goes, without waiting for it for longer than
/// a second; if no keyframe comes for as long as a segment again, the file ends at a frame of the sound.
fn segment_ends(file: &File, track: &Track, frame: &Frame, segment: Duration) -> SegmentEnds {
    let age = file.age(frame.time_ns);
    let video = file
        .members
        .iter()
        .enumerate()
        .filter(|(_, member)| member.video);
    let video_end = video.filter_map(|(index, _)| file.end_ns(index)).max();
    let begun = file
        .member(track.id)
        .is_some_and(|index| file.end_ns(index).is_some());
    if age < segment || !frame.keyframe || !begun {
        return SegmentEnds::Not;
    }
    match video_end {
        Some(end) if !track.video && age < segment * 2 => {
            let newest = track
                .ready
                .back()
                .map_or(frame.time_ns, |newest| newest.time_ns);
            let ahead =
                frame.time_ns > end && newest - frame.time_ns < SOUND_WAITS_NS && !track.ended;
            if ahead {
                SegmentEnds::Unknown
            } else {
                SegmentEnds::Not
            }
        }
        _ => SegmentEnds::Here,
    }
}

impl Recording {
    /// A film in MP4 or WebM files; for an RTP dump there is another. After `segment`, another file begins.
    pub fn new(container: Container, segment: Option<Duration>) -> Self {
        Self {
            container,
            segment,
            tracks: Vec::new(),
            file: None,
            epoch: None,
            began: None,
            waiting_since: None,
            begun: false,
            cut: None,
            refused: Vec::new(),
        }
    }

    fn track(&mut self, track: TrackId) -> Option<&mut Track> {
        self.tracks.iter_mut().find(|known| known.id == track)
    }

    /// Takes out tracks that cannot be recorded.
    fn drop_failed(&mut self, into: &mut Vec<Step>) {
        let refused = std::mem::take(&mut self.refused);
        into.extend(refused.into_iter().map(|track| {
            Step::Failed(
                track,
                format!("a recording holds {MAX_TRACKS} tracks at most: give it another name"),
            )
        }));
        for track in &mut self.tracks {
            if let Some(reason) = track.failed.take() {
                into.push(Step::Failed(track.id, reason));
                // What it had before goes into the file.
                track.ended = true;
            }
        }
    }

    /// Forgets tracks that ended and have nothing left.
    fn drop_ended(&mut self) {
        self.tracks
            .retain(|track| !track.ended || !track.ready.is_empty());
    }

    fn ask(&mut self, now: Instant, into: &mut Vec<Step>) {
        let over = match (&self.file, self.segment) {
            (Some(file), Some(segment)) => (0..file.members.len())
                .filter_map(|index| file.end_ns(index))
                .any(|end| file.age(end) >= segment),
            _ => false,
        };
        let also = over || self.cut.is_some();
        for track in &mut self.tracks {
            if track.asks(now, also) {
                into.push(Step::KeyframeWanted(track.id));
            }
        }
    }

    /// Moves frames into files, as far as they are decided upon. True: there may be more to do.
    fn turn(&mut self, now: Instant, all: bool, into: &mut Vec<Step>) -> Result<bool, String> {
        if self.file.is_none() {
            return self.open(now, all, into);
        }
        self.drain(now);
        if self.cut.is_some_and(|cut| self.is_cut(cut, now, all)) {
            self.close(into)?;
            return Ok(true);
        }
        if let Some(file) = &mut self.file {
            file.write(now, into)?;
        }
        Ok(false)
    }

    /// Begins a file when all tracks have something for it, or have had time enough.
    fn open(&mut self, now: Instant, all: bool, into: &mut Vec<Step>) -> Result<bool, String> {
        if self.tracks.iter().all(|track| track.ready.is_empty()) {
            return Ok(false);
        }
        let since = *self.waiting_since.get_or_insert(now);
        let waited = now.saturating_duration_since(since);
        let awaited = |track: &Track| {
            let patience = if track.is_silent() {
                START_SILENT
            } else {
                START
            };
            let missing = !track.ended && track.ready.is_empty() && waited < patience;
            missing || (track.is_vague() && waited < ALIGNMENT)
        };
        let full = self.tracks.iter().any(Track::is_full);
        // What comes between two files was waited for when the first one ended.
        let complete = waited >= START_TOGETHER && !self.tracks.iter().any(awaited);
        if !(all || full || self.begun || complete) {
            return Ok(false);
        }
        for track in self
            .tracks
            .iter_mut()
            .filter(|track| !track.ready.is_empty())
        {
            track.skip_to_keyframe();
        }
        let members: Vec<(TrackId, bool, Config)> = self
            .tracks
            .iter()
            .filter(|track| !track.ended || !track.ready.is_empty())
            .filter_map(|track| Some((track.id, track.video, track.config()?.clone())))
            .collect();
        let Some(zero) = self
            .tracks
            .iter()
            .filter_map(|track| Some(track.ready.front()?.time_ns))
            .min()
        else {
            return Ok(false);
        };
        self.waiting_since = None;
        self.begun = true;
        self.began = self.epoch.and_then(|epoch| moved(epoch, zero));
        self.file = Some(File::new(self.container, members, zero, since)?);
        into.push(Step::Begin);
        Ok(true)
    }

    /// Moves frames into the file, up to where it ends: video first, as it says where that is.
    fn drain(&mut self, now: Instant) {
        for video in [true, false] {
            for index in 0..self.tracks.len() {
                if self
                    .tracks
                    .get(index)
                    .is_some_and(|track| track.video == video)
                {
                    self.drain_track(index, now);
                }
            }
        }
    }

    fn drain_track(&mut self, index: usize, now: Instant) {
        let (Some(file), Some(track)) = (&mut self.file, self.tracks.get_mut(index)) else {
            return;
        };
        let member = file.member(track.id);
        while let Some(frame) = track.ready.front() {
            match self.cut {
                // It waits for the next file.
                Some(cut) if frame.time_ns >= cut.at_ns && (frame.keyframe || !track.video) => {
                    break;
                }
                _ => {}
            }
            let refused = member.is_none_or(|member| file.refuses(member, frame));
            let ends = match self.segment {
                Some(segment) if self.cut.is_none() => segment_ends(file, track, frame, segment),
                _ => SegmentEnds::Not,
            };
            if self.cut.is_none() && (refused || ends == SegmentEnds::Here) {
                self.cut = Some(Cut {
                    at_ns: frame.time_ns,
                    since: now,
                });
                break;
            }
            if refused || ends == SegmentEnds::Unknown {
                break;
            }
            let (Some(member), Some(frame)) = (member, track.next()) else {
                break;
            };
            file.push(member, frame);
        }
    }

    /// Whether every track is past the cut, or has had time enough.
    fn is_cut(&self, cut: Cut, now: Instant, all: bool) -> bool {
        let waited = now.saturating_duration_since(cut.since);
        let in_file = |track: &Track| {
            self.file
                .as_ref()
                .is_some_and(|file| file.member(track.id).is_some())
        };
        // What is ready and was not taken is past the cut.
        let awaited = |track: &Track| !track.ended && track.ready.is_empty() && in_file(track);
        all || waited >= CUT
            || self.tracks.iter().any(Track::is_full)
            || !self.tracks.iter().any(awaited)
    }

    fn close(&mut self, into: &mut Vec<Step>) -> Result<(), String> {
        let cut = self.cut.take();
        let Some(file) = self.file.take() else {
            return Ok(());
        };
        if cut.is_some() {
            // A video track of which no keyframe came in time.
            for track in self
                .tracks
                .iter_mut()
                .filter(|track| track.video && !track.ready.is_empty())
            {
                track.skip_to_keyframe();
            }
        }
        let ends = |id: TrackId| match self.tracks.iter().find(|track| track.id == id) {
            Some(track) => {
                let next = track.ready.front();
                End {
                    next_ns: next.map(|frame| frame.time_ns),
                    missing_since: next.map_or(track.open_gap(), |frame| frame.missing_since),
                }
            }
            None => End::default(),
        };
        file.close(ends, into)
    }

    /// Ends the file, if there is one.
    fn complete(&mut self, into: &mut Vec<Step>) {
        if let Err(reason) = self.close(into) {
            tracing::warn!(reason, "a recording could not be completed");
            into.push(Step::End(Vec::new()));
        }
    }

    /// All that is to be done; an error ends the film.
    fn work(&mut self, now: Instant, all: bool, into: &mut Vec<Step>) {
        // Each turn closes or opens a file, and each file takes a frame at least. What is left comes next time.
        for _ in 0..MAX_TURNS {
            match self.turn(now, all, into) {
                Ok(true) => {}
                Ok(false) => break,
                Err(reason) => {
                    tracing::warn!(reason, "a recording cannot go on");
                    self.file = None;
                    self.cut = None;
                    into.extend(
                        self.tracks
                            .drain(..)
                            .map(|track| Step::Failed(track.id, reason.clone())),
                    );
                    into.push(Step::End(Vec::new()));
                    break;
                }
            }
        }
    }
}

impl Film for Recording {
    fn add(&mut self, track: TrackId, video: bool) {
        if self
            .tracks
            .iter()
            .any(|known| known.id == track && !known.ended)
        {
            return;
        }
        if self.tracks.len() >= MAX_TRACKS {
            self.refused.push(track);
            return;
        }
        self.tracks.push(Track::new(track, video, self.container));
    }

    fn remove(&mut self, track: TrackId) -> bool {
        if let Some(track) = self.track(track) {
            track.ended = true;
        }
        self.tracks.iter().all(|track| track.ended)
    }

    fn packet(&mut self, track: TrackId, packet: &Packet) {
        let epoch = *self.epoch.get_or_insert(packet.captured);
        if let Some(track) = self.track(track).filter(|track| !track.ended) {
            track.packet(packet, epoch);
        }
    }

    fn dropped(&mut self, track: TrackId) {
        if let Some(track) = self.track(track) {
            track.dropped();
        }
    }

    fn steps(&mut self, now: Instant, into: &mut Vec<Step>) {
        let Some(epoch) = self.epoch else {
            self.drop_failed(into);
            return self.ask(now, into);
        };
        for track in &mut self.tracks {
            track.advance(now, epoch);
        }
        self.drop_failed(into);
        self.work(now, false, into);
        self.drop_ended();
        if self.tracks.is_empty() {
            self.complete(into);
        }
        self.ask(now, into);
    }

    fn finish(&mut self, now: Instant, into: &mut Vec<Step>) {
        for track in &mut self.tracks {
            track.ended = true;
        }
        if let Some(epoch) = self.epoch {
            for track in &mut self.tracks {
                track.advance(now, epoch);
            }
            self.drop_failed(into);
            self.work(now, true, into);
            self.complete(into);
        }
        self.tracks.clear();
    }

    fn began(&self) -> Option<Instant> {
        self.began
    }
}

/// So many nanoseconds after a time, or before it.
fn moved(at: Instant, ns: i64) -> Option<Instant> {
    let by = Duration::from_nanos(ns.unsigned_abs());
    if ns < 0 {
        at.checked_sub(by)
    } else {
        at.checked_add(by)
    }
}

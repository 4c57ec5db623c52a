//! One file of a film: what is in it, and when it is written.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::api::{Container, TrackId};
use crate::film::{Gap, Step, TrackSummary};

use super::frame::{Config, Frame};
use super::mp4::Mp4;
use super::webm::Webm;

/// A fragment is written as often. With what follows until it can be played (two looks of the recorder, a sync,
/// the last frame's length) that makes a second at most, which is what a crash may cost.
const FRAGMENT: Duration = Duration::from_millis(800);
/// A fragment is written earlier when it would be larger.
const MAX_FRAGMENT_BYTES: usize = 4 << 20;
/// A file ends before its index, and what a player needs to open it, becomes too large: nine hours at 30
/// frames per second, five of Opus. Another one begins.
const MAX_FRAMES: u64 = 1_000_000;

/// Before there are two frames to tell: 30 per second.
const USUAL_FRAME_NS: i64 = 33_333_333;
/// A longer pause is no frame rate.
const SLOWEST_FRAME_NS: i64 = 1_000_000_000;

/// A frame with its place in the file.
#[derive(Debug)]
pub(super) struct Sample {
    /// Of the track's timescale, since the beginning of the file.
    pub(super) ticks: u64,
    /// Up to the next sample.
    pub(super) duration: u32,
    /// Decodable alone.
    pub(super) keyframe: bool,
    /// The frame.
    pub(super) data: Vec<u8>,
}

/// A file that is being written. Frames wait for a second, 4 MiB at most.
#[derive(Debug)]
pub(super) struct File {
    muxer: Muxer,
    /// In the film's time: the earliest frame in it.
    zero_ns: i64,
    /// The tracks in it.
    pub(super) members: Vec<Member>,
    /// The beginning of the file, until the first fragment: without one it is of no use.
    header: Option<Vec<u8>>,
    written: Instant,
    waiting_bytes: usize,
}

#[derive(Debug)]
enum Muxer {
    Mp4(Mp4),
    Webm(Webm),
}

/// A track in a file.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) track: TrackId,
    pub(super) video: bool,
    /// Of the file's sample description.
    config: Config,
    timescale: i64,
    /// Frames that are not written yet, with their ticks. The last one waits for its successor: only that
    /// tells how long it is.
    waiting: VecDeque<(u64, Frame)>,
    /// Of the next fragment.
    samples: Vec<Sample>,
    first_ns: Option<i64>,
    last_ticks: Option<u64>,
    end_ns: i64,
    /// How long a frame of video usually is.
    usual_ns: i64,
    announced: bool,
    frames: u64,
    gaps: Vec<Gap>,
    size: (u32, u32),
}

impl File {
    /// A file with these tracks, of which the first frame is captured at `zero_ns` and waits since `since`. The
    /// error is for people.
    pub(super) fn new(
        container: Container,
        tracks: Vec<(TrackId, bool, Config)>,
        zero_ns: i64,
        since: Instant,
    ) -> Result<Self, String> {
        let configs: Vec<Config> = tracks.iter().map(|(_, _, config)| config.clone()).collect();
        let failed =
            |error: shiguredo_mp4::Error| format!("the file cannot describe its tracks: {error}");
        let (muxer, header) = match container {
            Container::Webm => {
                let (webm, header) = Webm::new(&configs).map_err(failed)?;
                (Muxer::Webm(webm), header)
            }
            Container::Mp4 | Container::RtpDump => {
                let (mp4, header) = Mp4::new(&configs).map_err(failed)?;
                (Muxer::Mp4(mp4), header)
            }
        };
        let members = tracks
            .into_iter()
            .map(|(track, video, config)| Member::new(track, video, config))
            .collect();
        Ok(Self {
            muxer,
            zero_ns,
            members,
            header: Some(header),
            written: since,
            waiting_bytes: 0,
        })
    }

    /// Which of its tracks it is.
    pub(super) fn member(&self, track: TrackId) -> Option<usize> {
        self.members.iter().position(|member| member.track == track)
    }

    /// How long it is up to `time_ns`.
    pub(super) fn age(&self, time_ns: i64) -> Duration {
        duration(time_ns.saturating_sub(self.zero_ns))
    }

    /// Whether a frame of member `index` belongs into another file for its own sake.
    pub(super) fn refuses(&self, index: usize, frame: &Frame) -> bool {
        self.members.get(index).is_none_or(|member| {
            let other = frame
                .config
                .as_ref()
                .is_some_and(|config| !member.config.continues_as(config));
            other || (frame.keyframe && member.frames >= MAX_FRAMES)
        })
    }

    /// The next frame of member `index`.
    pub(super) fn push(&mut self, index: usize, frame: Frame) {
        let Some(member) = self.members.get_mut(index) else {
            return;
        };
        // Sound that was late for a file that has begun: it cannot be put before its beginning.
        if frame.time_ns < self.zero_ns && !member.video {
            return;
        }
        if let Some((width, height)) = frame.config.as_ref().map(Config::size) {
            member.size = (member.size.0.max(width), member.size.1.max(height));
            if let Muxer::Mp4(mp4) = &mut self.muxer {
                mp4.size(index, width, height);
            }
        }
        self.waiting_bytes += frame.data.len();
        member.push(frame, self.zero_ns);
    }

    /// Writes a fragment if one is due.
    pub(super) fn write(&mut self, now: Instant, into: &mut Vec<Step>) -> Result<(), String> {
        let due = now.saturating_duration_since(self.written) >= FRAGMENT
            || self.waiting_bytes > MAX_FRAGMENT_BYTES;
        if !due || self.members.iter().all(|member| member.samples.is_empty()) {
            return Ok(());
        }
        self.written = now;
        self.fragment(into)
    }

    fn fragment(&mut self, into: &mut Vec<Step>) -> Result<(), String> {
        let samples: Vec<Vec<Sample>> = self
            .members
            .iter_mut()
            .map(|member| std::mem::take(&mut member.samples))
            .collect();
        let bytes: usize = samples
            .iter()
            .flatten()
            .map(|sample| sample.data.len())
            .sum();
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
        let header = self.header.take();
        let writes = match &mut self.muxer {
            Muxer::Mp4(mp4) => mp4
                .fragment(header, &samples)
                .map_err(|error| format!("a fragment cannot be written: {error}"))?,
            Muxer::Webm(webm) => webm.fragment(header, &samples),
        };
        into.extend(writes.into_iter().map(Step::Write));
        for (member, samples) in self.members.iter_mut().zip(&samples) {
            if !samples.is_empty() && !member.announced {
                member.announced = true;
                into.push(Step::Started(member.track));
            }
        }
        Ok(())
    }

    /// Completes the file. `ends` tells of each track how it goes on.
    pub(super) fn close(
        mut self,
        ends: impl Fn(TrackId) -> End,
        into: &mut Vec<Step>,
    ) -> Result<(), String> {
        for member in &mut self.members {
            member.end(&ends(member.track), self.zero_ns);
        }
        self.fragment(into)?;
        let writes = match &mut self.muxer {
            Muxer::Mp4(mp4) => mp4
                .finish()
                .map_err(|error| format!("the index cannot be written: {error}"))?,
            Muxer::Webm(webm) => webm.finish(),
        };
        into.extend(writes.into_iter().map(Step::Write));
        let summaries = self
            .members
            .into_iter()
            .filter(|member| member.frames > 0)
            .map(|m| m.summary(self.zero_ns));
        into.push(Step::End(summaries.collect()));
        Ok(())
    }

    /// How far member `index` is, in the film's time.
    pub(super) fn end_ns(&self, index: usize) -> Option<i64> {
        self.members
            .get(index)
            .filter(|member| member.frames > 0)
            .map(|member| member.end_ns)
    }
}

/// How a track leaves a file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct End {
    /// Its next frame, in another file.
    pub(super) next_ns: Option<i64>,
    /// Frames are missing since then.
    pub(super) missing_since: Option<i64>,
}

impl Member {
    fn new(track: TrackId, video: bool, config: Config) -> Self {
        Self {
            track,
            video,
            timescale: i64::from(config.timescale().get()),
            size: config.size(),
            config,
            waiting: VecDeque::new(),
            samples: Vec::new(),
            first_ns: None,
            last_ticks: None,
            end_ns: 0,
            usual_ns: USUAL_FRAME_NS,
            announced: false,
            frames: 0,
            gaps: Vec::new(),
        }
    }

    fn ticks(&self, since_zero_ns: i64) -> u64 {
        let ns = i128::from(since_zero_ns.max(0));
        u64::try_from((ns * i128::from(self.timescale) + 500_000_000) / 1_000_000_000).unwrap_or(0)
    }

    fn push(&mut self, frame: Frame, zero_ns: i64) {
        let ticks = self.ticks(frame.time_ns - zero_ns);
        let ticks = self.last_ticks.map_or(ticks, |last| ticks.max(last + 1));
        self.last_ticks = Some(ticks);
        self.frames += 1;
        if let Some(since) = frame.missing_since
            && self.first_ns.is_some()
        {
            self.gap(since, frame.time_ns, zero_ns);
        } else if self.first_ns.is_some() {
            self.usual_ns = (frame.time_ns - self.end_ns).clamp(1, SLOWEST_FRAME_NS);
        }
        self.first_ns.get_or_insert(frame.time_ns);
        self.end_ns = frame.time_ns + frame.length_ns;
        self.waiting.push_back((ticks, frame));
        while let [(_, _), (next, _), ..] = self.waiting.make_contiguous() {
            let next = *next;
            self.sample_until(next);
        }
    }

    /// The first frame that waits becomes a sample.
    fn sample_until(&mut self, next: u64) {
        let Some((ticks, frame)) = self.waiting.pop_front() else {
            return;
        };
        let duration = u32::try_from(next.saturating_sub(ticks))
            .unwrap_or(u32::MAX)
            .max(1);
        self.samples.push(Sample {
            ticks,
            duration,
            keyframe: frame.keyframe,
            data: frame.data,
        });
    }

    fn gap(&mut self, since: i64, until: i64, zero_ns: i64) {
        if until > since {
            self.gaps.push(Gap {
                at: duration(since - zero_ns),
                lasts: duration(until - since),
            });
        }
    }

    fn end(&mut self, end: &End, zero_ns: i64) {
        let Some((_, last)) = self.waiting.back() else {
            return;
        };
        let usual = if last.length_ns > 0 {
            last.length_ns
        } else {
            self.usual_ns
        };
        // Where it goes on at once, up to there; not over a pause.
        let next = end
            .next_ns
            .map(|next| next - last.time_ns)
            .filter(|length| *length > 0 && *length < 2 * usual);
        let until = last.time_ns + next.unwrap_or(usual);
        self.end_ns = until;
        if let Some(since) = end.missing_since {
            self.gap(since, end.next_ns.unwrap_or(since), zero_ns);
        }
        self.sample_until(self.ticks(until - zero_ns));
    }

    fn summary(self, zero_ns: i64) -> TrackSummary {
        let first = self.first_ns.unwrap_or(zero_ns);
        TrackSummary {
            track: self.track,
            codec: self.config.codec(),
            begins: duration(first - zero_ns),
            duration: duration(self.end_ns - first),
            frames: self.frames,
            gaps: self.gaps,
            width: self.size.0,
            height: self.size.1,
        }
    }
}

/// A time that is not negative.
fn duration(ns: i64) -> Duration {
    Duration::from_nanos(u64::try_from(ns).unwrap_or(0))
}

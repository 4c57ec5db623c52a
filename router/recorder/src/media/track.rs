//! One track: packets in, whole decodable frames out, with their times.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::api::{Codec, Container, Packet, TrackId};

use super::depacketize::{Depacketizer, Whole};
use super::frame::{Config, Frame, holds};
use super::reorder::{Ordered, Reorder};
use super::timeline::{Captured, Timeline};

/// A keyframe that does not come is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long a track is watched before it is said to be unreadable.
const WATCH: Duration = Duration::from_secs(10);
/// Unreadable frames in that time below which nothing is said: damage on the way.
const FEW: u32 = 3;
/// Frames that wait for a file, of one track: 3 s of 40 Mb/s.
const MAX_READY_BYTES: usize = 16 << 20;
/// Before there are two frames to tell: 30 per second.
const USUAL_FRAME_NS: i64 = 33_333_333;

/// A track of a film. Memory: the reorder buffer (8 MiB), one frame in the making (16 MiB) and what waits for
/// the file (16 MiB and one frame).
#[derive(Debug)]
pub(super) struct Track {
    pub(super) id: TrackId,
    pub(super) video: bool,
    container: Container,
    reorder: Reorder,
    codec: Option<Codec>,
    depacketizer: Option<Depacketizer>,
    timeline: Timeline,
    /// The frame in the making.
    making: Option<Making>,
    /// Nothing can be decoded before the next keyframe.
    needs_keyframe: bool,
    asked: Option<Instant>,
    /// Since when frames are missing.
    missing_since: Option<i64>,
    last: Option<Last>,
    /// Whole frames, in order.
    pub(super) ready: VecDeque<Frame>,
    ready_bytes: usize,
    /// No frame of this clock was taken: they may still be moved.
    untouched: bool,
    watch: Watch,
    /// No packet comes any more.
    pub(super) ended: bool,
    /// Why it cannot be recorded.
    pub(super) failed: Option<String>,
}

#[derive(Debug)]
struct Making {
    timestamp: u32,
    clock_rate: u32,
    captured: Captured,
    arrived: Instant,
    marker: bool,
    /// A payload of it could not be read.
    broken: bool,
    /// It is of use as a keyframe only.
    must_be_keyframe: bool,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    time_ns: i64,
    length_ns: i64,
}

/// Tells a damaged packet from a track that is encrypted.
#[derive(Debug, Default)]
struct Watch {
    since: Option<Instant>,
    readable: u32,
    unreadable: u32,
    reason: &'static str,
}

impl Track {
    pub(super) fn new(id: TrackId, video: bool, container: Container) -> Self {
        Self {
            id,
            video,
            container,
            reorder: Reorder::default(),
            codec: None,
            depacketizer: None,
            timeline: Timeline::default(),
            making: None,
            needs_keyframe: video,
            asked: None,
            missing_since: None,
            last: None,
            ready: VecDeque::new(),
            ready_bytes: 0,
            untouched: true,
            watch: Watch::default(),
            ended: false,
            failed: None,
        }
    }

    /// A packet, in whatever order.
    pub(super) fn packet(&mut self, packet: &Packet, epoch: Instant) {
        self.reorder.insert(packet);
        while self.reorder.is_full() {
            match self.reorder.pop(packet.arrived, true) {
                Some(ordered) => self.take(ordered, epoch),
                None => break,
            }
        }
    }

    /// Packets were lost in the router.
    pub(super) fn dropped(&mut self) {
        self.reorder.broken_here();
    }

    /// What can be put together by `now`.
    pub(super) fn advance(&mut self, now: Instant, epoch: Instant) {
        while let Some(ordered) = self.reorder.pop(now, self.ended) {
            self.take(ordered, epoch);
        }
        // The next frame's timestamp, which would tell too, may be a while.
        self.complete_if_marked();
    }

    /// Whether a keyframe is to be asked for now; `also`: for a reason of the film's.
    pub(super) fn asks(&mut self, now: Instant, also: bool) -> bool {
        let asks = self.video
            && !self.ended
            && (self.needs_keyframe || also)
            && self
                .asked
                .is_none_or(|asked| now.saturating_duration_since(asked) >= ASK_AGAIN);
        if asks {
            self.asked = Some(now);
        }
        asks
    }

    /// More frames wait than should.
    pub(super) fn is_full(&self) -> bool {
        self.ready_bytes > MAX_READY_BYTES
    }

    /// The next frame for a file.
    pub(super) fn next(&mut self) -> Option<Frame> {
        let frame = self.ready.pop_front()?;
        self.untouched = false;
        self.ready_bytes = self.ready_bytes.saturating_sub(frame.data.len());
        Some(frame)
    }

    /// Frames up to the next keyframe are of no use: they belong to a file that is closed.
    pub(super) fn skip_to_keyframe(&mut self) {
        if self.ready.front().is_none_or(|frame| frame.keyframe) {
            return;
        }
        let since = self.ready.front().map(|frame| frame.time_ns);
        while self.ready.front().is_some_and(|frame| !frame.keyframe) {
            self.next();
        }
        match self.ready.front_mut() {
            Some(frame) => frame.missing_since = frame.missing_since.or(since),
            None => self.lose(),
        }
    }

    /// Since when frames are missing that have no successor yet.
    pub(super) fn open_gap(&self) -> Option<i64> {
        self.missing_since
    }

    /// Where its frames belong may be told better soon, and they may still be moved.
    pub(super) fn is_vague(&self) -> bool {
        self.untouched && !self.ended && !self.ready.is_empty() && !self.timeline.is_settled()
    }

    /// No packet came yet.
    pub(super) fn is_silent(&self) -> bool {
        self.codec.is_none()
    }

    fn take(&mut self, ordered: Ordered, epoch: Instant) {
        match ordered {
            Ordered::Hole => {
                self.complete_if_marked();
                self.lose();
            }
            Ordered::Packet(packet) => self.ordered(&packet, epoch),
        }
    }

    fn ordered(&mut self, packet: &Packet, epoch: Instant) {
        if self.failed.is_some() || packet.payload.is_empty() {
            return;
        }
        if self.codec != Some(packet.codec) {
            self.complete_if_marked();
            if let Err(reason) = self.begin_codec(packet.codec) {
                self.failed = Some(reason);
                return;
            }
        }
        if packet.switched {
            self.complete_if_marked();
            self.abandon();
            self.needs_keyframe = self.video;
        } else if self
            .making
            .as_ref()
            .is_some_and(|making| making.timestamp != packet.timestamp)
        {
            self.complete();
        }
        let Some(depacketizer) = &mut self.depacketizer else {
            return;
        };
        let must_be_keyframe = self.needs_keyframe;
        if self.needs_keyframe {
            if !(packet.keyframe || depacketizer.begins_keyframe(&packet.payload)) {
                self.miss();
                return;
            }
            self.needs_keyframe = false;
        }
        let making = self.making.get_or_insert_with(|| Making {
            timestamp: packet.timestamp,
            clock_rate: packet.clock_rate,
            captured: Captured {
                ns: since(epoch, packet.captured),
                // Without a report, the router takes the arrival for it.
                reported: packet.captured != packet.arrived,
            },
            arrived: packet.arrived,
            marker: false,
            broken: false,
            must_be_keyframe,
        });
        making.marker = packet.marker;
        if !making.broken
            && let Err(malformed) = depacketizer.push(&packet.payload)
        {
            making.broken = true;
            self.watch.reason = malformed.0;
        }
        if !self.video {
            self.complete();
        }
    }

    /// The error is for people.
    fn begin_codec(&mut self, codec: Codec) -> Result<(), String> {
        holds(self.container, codec)?;
        if (codec == Codec::Opus) == self.video {
            return Err(
                "its codec is not of its kind: sound in a video track, or the other way round"
                    .to_owned(),
            );
        }
        self.codec = Some(codec);
        self.depacketizer = Depacketizer::new(codec);
        self.timeline.restart();
        self.untouched &= self.ready.is_empty();
        self.needs_keyframe = self.video;
        Ok(())
    }

    fn complete_if_marked(&mut self) {
        if self.making.as_ref().is_some_and(|making| making.marker) {
            self.complete();
        }
    }

    /// The frame in the making has all its packets.
    fn complete(&mut self) {
        let (Some(making), Some(depacketizer)) = (self.making.take(), &mut self.depacketizer)
        else {
            return;
        };
        let whole = if making.broken {
            None
        } else {
            Some(depacketizer.finish())
        };
        depacketizer.reset();
        match whole {
            Some(Ok(whole)) if !making.must_be_keyframe || (whole.keyframe && !whole.headless) => {
                self.watch.readable += 1;
                self.emit(&making, whole);
            }
            // Said to be a keyframe, and is none, or only the rest of one.
            Some(Ok(_)) => self.lose(),
            Some(Err(malformed)) => {
                self.watch.reason = malformed.0;
                self.unreadable();
            }
            None => self.unreadable(),
        }
        if let Some(reason) = self.watch.verdict(making.arrived) {
            self.failed = Some(reason);
        }
    }

    fn unreadable(&mut self) {
        self.watch.unreadable += 1;
        self.lose();
    }

    /// The frame in the making will never be complete.
    fn abandon(&mut self) {
        self.making = None;
        if let Some(depacketizer) = &mut self.depacketizer {
            depacketizer.reset();
        }
    }

    /// What is in the making, and for video all up to the next keyframe, is lost.
    fn lose(&mut self) {
        self.abandon();
        self.needs_keyframe = self.video;
        self.miss();
    }

    /// A gap begins, if there is none yet.
    fn miss(&mut self) {
        if let Some(last) = self.last {
            self.missing_since
                .get_or_insert(last.time_ns + last.length_ns);
        }
    }

    fn emit(&mut self, making: &Making, whole: Whole) {
        let rate = match (making.clock_rate, self.video) {
            (0, true) => 90_000,
            (0, false) => 48_000,
            (rate, _) => rate,
        };
        if self.untouched {
            let by = self.timeline.align(making.timestamp, rate, making.captured);
            self.shift(by);
        }
        let time_ns = self.timeline.place(making.timestamp, rate, making.captured);
        let length_ns = if self.video {
            let usual = self.last.map_or(USUAL_FRAME_NS, |last| last.length_ns);
            // A pause is no frame rate: one second is the slowest that is believed.
            let before = self.last.filter(|_| self.missing_since.is_none());
            before.map_or(usual, |last| (time_ns - last.time_ns).min(1_000_000_000))
        } else {
            i64::from(whole.samples) * 1_000_000_000 / 48_000
        };
        // Of sound, a hole that took nothing (padding, a pause of the sender) is no gap.
        let missing_since = self
            .missing_since
            .take()
            .filter(|since| self.video || *since + 1_000_000 < time_ns);
        self.last = Some(Last { time_ns, length_ns });
        self.ready_bytes += whole.data.len();
        self.ready.push_back(Frame {
            time_ns,
            length_ns: if self.video { 0 } else { length_ns },
            keyframe: whole.keyframe,
            config: whole.config,
            missing_since,
            data: whole.data,
        });
    }

    /// Moves all frames that are there.
    fn shift(&mut self, ns: i64) {
        for frame in &mut self.ready {
            frame.time_ns += ns;
            frame.missing_since = frame.missing_since.map(|since| since + ns);
        }
        self.missing_since = self.missing_since.map(|since| since + ns);
        if let Some(last) = &mut self.last {
            last.time_ns += ns;
        }
    }

    /// What the file would be set up with, if the track joined it now.
    pub(super) fn config(&self) -> Option<&Config> {
        match self.ready.front() {
            Some(frame) => frame.config.as_ref(),
            None if self.video => None,
            // Sound says nothing about itself that a file must know in advance.
            None => Some(&Config::Opus),
        }
    }
}

impl Watch {
    fn verdict(&mut self, now: Instant) -> Option<String> {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) < WATCH {
            return None;
        }
        let seen = std::mem::replace(
            self,
            Self {
                since: Some(now),
                ..Self::default()
            },
        );
        (seen.unreadable >= FEW && seen.unreadable.saturating_mul(4) > seen.readable).then(|| {
            format!(
                "{} of {} frames in 10 s cannot be read ({}): it is encrypted end to end, or its sender is \
                 broken; only an RTP dump can hold it",
                seen.unreadable,
                seen.unreadable + seen.readable,
                seen.reason
            )
        })
    }
}

/// Nanoseconds from `epoch`, before it or after.
fn since(epoch: Instant, at: Instant) -> i64 {
    let ns = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    match at.checked_duration_since(epoch) {
        Some(after) => ns(after),
        None => -ns(epoch.saturating_duration_since(at)),
    }
}

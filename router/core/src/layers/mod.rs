//! Layers of a track: measuring them, and making one continuous stream of what is forwarded.

pub(crate) mod bits;
pub(crate) mod dependency;
pub(crate) mod descriptor;
pub(crate) mod frame;
pub(crate) mod keyframe;
pub(crate) mod levels;
pub(crate) mod omitted;
pub(crate) mod rewrite;
pub(crate) mod select;
mod views;

use std::time::{Duration, Instant, SystemTime};

use str0m::format::Codec;
use str0m::media::Rid;

use crate::egress::history::History;
use crate::limits::{KEYFRAME_INTERVAL, LAYER_SILENCE, REPAIR_TIME};
use dependency::Structure;
use frame::{Frame, LEVELS, Level};
use levels::Levels;

/// One encoded stream of a track: the only one, or a simulcast layer.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) rid: Option<Rid>,
    pub(crate) ssrc: Option<u32>,
    /// Grows when continuity is broken: another SSRC, or after a mute. What follows is forwarded from
    /// a keyframe on, as if it were another source.
    pub(crate) epoch: u32,
    pub(crate) last_packet: Option<Instant>,
    /// Highest extended sequence number since the epoch began.
    newest: Option<u64>,
    /// RTP timestamp of the packet that has it: another one is another frame.
    timestamp: Option<u32>,
    meter: Meter,
    /// Pixels, from the last keyframe of a codec that tells.
    pub(crate) size: Option<(u16, u16)>,
    /// The same of the spatial layers inside, where told.
    sizes: [Option<(u16, u16)>; LEVELS],
    keyframe: KeyframeRequests,
    report: Option<SenderReport>,
    /// What keyframes say of the frames after them in dependency descriptors, and the frame that said it.
    structure: Option<Box<(u16, Structure)>>,
    /// The layers inside, once there is more than one.
    pub(crate) levels: Option<Box<Levels>>,
    /// What was forwarded to anybody, to be sent again.
    pub(crate) history: History,
}

/// Capture time of an RTP timestamp by the publisher's clock (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy)]
struct SenderReport {
    ntp: SystemTime,
    rtp: u32,
}

/// Bits and frames per second over the last full second.
#[derive(Debug, Default)]
struct Meter {
    began: Option<Instant>,
    bytes: u64,
    frames: u32,
    bps: u32,
    fps: u16,
}

impl Meter {
    fn add(&mut self, now: Instant, bytes: usize, frame: bool) {
        let began = *self.began.get_or_insert(now);
        self.roll(now, began);
        self.bytes += bytes as u64;
        self.frames += u32::from(frame);
    }

    fn roll(&mut self, now: Instant, began: Instant) {
        let elapsed = now.saturating_duration_since(began);
        if elapsed >= Duration::from_secs(1) {
            let micros = elapsed.as_micros().max(1) as u64;
            let bps = self.bytes.saturating_mul(8_000_000) / micros;
            let fps = (u64::from(self.frames) * 1_000_000 + micros / 2) / micros;
            // What was counted before a long silence says nothing about the last second.
            let silent = elapsed >= Duration::from_secs(2);
            (self.bps, self.fps) = if silent {
                (0, 0)
            } else {
                (
                    u32::try_from(bps).unwrap_or(u32::MAX),
                    u16::try_from(fps).unwrap_or(u16::MAX),
                )
            };
            self.bytes = 0;
            self.frames = 0;
            self.began = Some(now);
        }
    }
}

/// Keyframe requests of one layer, at most one per [`KEYFRAME_INTERVAL`].
#[derive(Debug, Default)]
struct KeyframeRequests {
    last: Option<Instant>,
    wanted: bool,
}

impl Layer {
    /// A layer nothing is known of.
    pub(crate) fn new(rid: Option<Rid>) -> Self {
        Layer {
            rid,
            ssrc: None,
            epoch: 0,
            last_packet: None,
            newest: None,
            timestamp: None,
            meter: Meter::default(),
            size: None,
            sizes: [None; LEVELS],
            keyframe: KeyframeRequests::default(),
            report: None,
            structure: None,
            levels: None,
            history: History::default(),
        }
    }

    /// A packet of so many bytes, headers included, arrived. False: later ones arrived before it.
    pub(crate) fn on_packet(
        &mut self,
        now: Instant,
        ssrc: u32,
        (sequence, timestamp): (u64, u32),
        bytes: usize,
    ) -> bool {
        if self.ssrc != Some(ssrc) {
            self.ssrc = Some(ssrc);
            self.interrupt();
            self.report = None;
        }
        self.last_packet = Some(now);
        let in_order = self.newest.is_none_or(|newest| newest < sequence);
        let frame = in_order && self.timestamp != Some(timestamp);
        self.meter.add(now, bytes, frame);
        if in_order {
            self.newest = Some(sequence);
            self.timestamp = Some(timestamp);
        }
        in_order
    }

    /// Whether what is missing before this packet will not come any more: a sender keeps what it sent for about a
    /// second, and the path was gone for as long.
    pub(crate) fn has_lost_for_good(&self, now: Instant, sequence: u64) -> bool {
        let silent = self
            .last_packet
            .is_some_and(|at| now.saturating_duration_since(at) >= REPAIR_TIME);
        silent && self.newest.is_some_and(|newest| newest + 1 < sequence)
    }

    /// Continuity is broken on purpose.
    pub(crate) fn interrupt(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.newest = None;
        self.forget_levels();
        self.history.clear();
    }

    /// The layers inside are others from now on.
    pub(crate) fn forget_levels(&mut self) {
        self.structure = None;
        self.levels = None;
    }

    /// What a packet says of its frame. Whether that is a keyframe and begins here is known by the dependency
    /// descriptor too; `None`: that says nothing.
    pub(crate) fn read_frame(
        &mut self,
        codec: Codec,
        payload: &[u8],
        marker: bool,
        descriptor: Option<&[u8]>,
    ) -> (Option<Frame>, Option<bool>) {
        let known = self.structure.as_ref().map(|known| &known.1);
        let Some(mut described) = descriptor.and_then(|bytes| dependency::read(bytes, known))
        else {
            return (frame::read(codec, payload, marker), None);
        };
        let frame = Frame::described(&described);
        let begins = described.starts && described.structure.is_some();
        if let Some(structure) = described.structure.take() {
            let number = described.number;
            let newer = |known: u16| number.wrapping_sub(known) < 0x8000;
            if self.structure.as_ref().is_none_or(|known| newer(known.0)) {
                self.on_sizes(&structure.sizes);
                self.structure = Some(Box::new((number, structure)));
            }
        }
        (Some(frame), Some(begins))
    }

    /// A packet of a frame arrived, so many bytes in all, its headers included.
    pub(crate) fn on_frame(&mut self, now: Instant, frame: &Frame, bytes: usize) {
        if self.levels.is_none() && frame.level == Level::default() {
            return;
        }
        let levels = self.levels.get_or_insert_default();
        levels.on_packet(now, frame, bytes);
    }

    /// The highest layers inside.
    pub(crate) fn top(&self) -> Level {
        self.levels
            .as_ref()
            .map_or_else(Level::default, |levels| levels.top())
    }

    /// Pixels of a spatial layer inside, where told.
    pub(crate) fn size_of(&self, spatial: u8) -> Option<(u16, u16)> {
        *self.sizes.get(usize::from(spatial))?
    }

    /// Whether packets arrived lately.
    pub(crate) fn is_active(&self, now: Instant) -> bool {
        self.last_packet
            .is_some_and(|at| now.saturating_duration_since(at) < LAYER_SILENCE)
    }

    /// Bits per second over the last full second; 0 when silent.
    pub(crate) fn bitrate_bps(&mut self, now: Instant) -> u32 {
        if let Some(began) = self.meter.began {
            self.meter.roll(now, began);
        }
        if let Some(levels) = &mut self.levels {
            levels.roll(now);
        }
        self.meter.bps
    }

    /// As [`Layer::bitrate_bps`] last found it.
    pub(crate) fn measured_bps(&self) -> u32 {
        self.meter.bps
    }

    /// Frames per second over the last full second, as [`Layer::bitrate_bps`] last found it.
    pub(crate) fn measured_fps(&self) -> u16 {
        self.meter.fps
    }

    /// Somebody needs a keyframe.
    pub(crate) fn want_keyframe(&mut self) {
        self.keyframe.wanted = true;
    }

    /// A keyframe of this size begins: whoever wanted one has it, unless they ask after this.
    pub(crate) fn on_keyframe(&mut self, size: Option<(u16, u16)>) {
        self.keyframe.wanted = false;
        self.size = size.or(self.size);
    }

    /// A keyframe told the sizes of the spatial layers inside.
    pub(crate) fn on_sizes(&mut self, sizes: &[Option<(u16, u16)>; LEVELS]) {
        let largest = sizes.iter().rev().find_map(|size| *size);
        if largest.is_some() {
            self.sizes = *sizes;
            self.size = largest;
        }
    }

    /// Whether a request is to be sent now; it counts as sent.
    pub(crate) fn take_keyframe_request(&mut self, now: Instant) -> bool {
        let due = self
            .keyframe
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= KEYFRAME_INTERVAL);
        if !self.keyframe.wanted || !due {
            return false;
        }
        self.keyframe.wanted = false;
        self.keyframe.last = Some(now);
        true
    }

    /// Whether a request waits for its time.
    pub(crate) fn is_keyframe_wanted(&self) -> bool {
        self.keyframe.wanted
    }

    /// A sender report arrived for this layer.
    pub(crate) fn on_sender_report(&mut self, ntp: SystemTime, rtp: u32) {
        self.report = Some(SenderReport { ntp, rtp });
    }

    /// When a frame was captured, by our clock, as well as can be told.
    pub(crate) fn captured(
        &self,
        clock: &PublisherClock,
        rtp: u32,
        clock_rate: u32,
        arrived: Instant,
    ) -> Instant {
        self.captured_by_report(clock, rtp, clock_rate)
            .filter(|at| {
                let age = arrived.saturating_duration_since(*at);
                *at <= arrived && age < Duration::from_secs(5)
            })
            .unwrap_or(arrived)
    }

    fn captured_by_report(&self, clock: &PublisherClock, rtp: u32, rate: u32) -> Option<Instant> {
        let report = self.report?;
        // Signed: the packet may be older than the report.
        let ticks = i64::from(rtp.wrapping_sub(report.rtp) as i32);
        let micros = ticks.saturating_mul(1_000_000) / i64::from(rate.max(1));
        let offset = Duration::from_micros(micros.unsigned_abs());
        let ntp = if micros < 0 {
            report.ntp.checked_sub(offset)?
        } else {
            report.ntp.checked_add(offset)?
        };
        clock.local(ntp)
    }
}

/// A publisher's wall clock against ours; one for all its streams, so that they stay in step.
#[derive(Debug, Default)]
pub(crate) struct PublisherClock {
    base: Option<(SystemTime, Instant)>,
}

impl PublisherClock {
    /// A sender report with this time arrived. The one with the least delay so far is the truth; a
    /// drift of the other clock moves it slowly.
    pub(crate) fn observe(&mut self, ntp: SystemTime, arrived: Instant) {
        let Some(expected) = self.local(ntp) else {
            self.base = Some((ntp, arrived));
            return;
        };
        let late = arrived.saturating_duration_since(expected);
        let jumped = late > Duration::from_secs(2);
        let local = if jumped || arrived < expected {
            arrived
        } else {
            expected + late / 64
        };
        self.base = Some((ntp, local));
    }

    /// Our time for one of its.
    fn local(&self, ntp: SystemTime) -> Option<Instant> {
        let (base_ntp, base) = self.base?;
        match ntp.duration_since(base_ntp) {
            Ok(later) => base.checked_add(later),
            Err(earlier) => base.checked_sub(earlier.duration()),
        }
    }
}

#[cfg(test)]
mod tests;

//! What a test client publishes: tracks made of layers, frames and packets, on a fixed beat.

use std::time::{Duration, Instant};

use rillway_core::api::{MediaKind, Source};

/// One layer of a track to publish.
#[derive(Debug, Clone, Copy)]
pub struct LayerSpec {
    /// RTP stream id (RFC 8851); `None` on a track without simulcast.
    pub rid: Option<&'static str>,
    /// Packets in each frame.
    pub packets_per_frame: u16,
    /// Bytes of each payload.
    pub payload_bytes: usize,
    /// Width and height, pixels, of video.
    pub size: (u16, u16),
}

/// A track to publish.
#[derive(Debug, Clone)]
pub struct TrackSpec {
    /// Audio or video.
    pub kind: MediaKind,
    /// Declared source.
    pub source: Source,
    /// Time from frame to frame.
    pub interval: Duration,
    /// Layers, smallest first.
    pub layers: Vec<LayerSpec>,
    /// Audio level, -127 (silence) to 0 dBov (RFC 6464).
    pub level: i8,
    /// Frames between two key frames nobody asked for; 0 = only the first.
    pub keyframe_every: u32,
}

impl TrackSpec {
    /// A microphone: 50 packets a second.
    pub fn audio() -> Self {
        TrackSpec {
            kind: MediaKind::Audio,
            source: Source::Microphone,
            interval: Duration::from_millis(20),
            layers: vec![LayerSpec {
                rid: None,
                packets_per_frame: 1,
                payload_bytes: 120,
                size: (0, 0),
            }],
            level: -30,
            keyframe_every: 0,
        }
    }

    /// A camera: 25 frames a second of `packets_per_frame` packets of 1,100 bytes.
    pub fn video(packets_per_frame: u16) -> Self {
        TrackSpec {
            kind: MediaKind::Video,
            source: Source::Camera,
            interval: Duration::from_millis(40),
            layers: vec![LayerSpec {
                rid: None,
                packets_per_frame,
                payload_bytes: 1_100,
                size: (1_280, 720),
            }],
            level: 0,
            keyframe_every: 0,
        }
    }

    /// A camera with three simulcast layers of 1, 2 and 4 packets a frame: 320x180, 640x360, 1280x720.
    pub fn simulcast() -> Self {
        let layer = |rid, packets_per_frame: u16| LayerSpec {
            rid: Some(rid),
            packets_per_frame,
            payload_bytes: 1_000,
            size: (320 * packets_per_frame, 180 * packets_per_frame),
        };
        TrackSpec {
            layers: vec![layer("q", 1), layer("h", 2), layer("f", 4)],
            ..TrackSpec::video(1)
        }
    }

    /// The same track as another source.
    #[must_use]
    pub fn with_source(mut self, source: Source) -> Self {
        self.source = source;
        self
    }

    /// RTP clock rate, hertz.
    pub fn clock_rate(&self) -> u32 {
        match self.kind {
            MediaKind::Audio => 48_000,
            MediaKind::Video => 90_000,
        }
    }

    /// Packets a second over all layers.
    pub fn packets_per_second(&self) -> f64 {
        let packets: u32 = self
            .layers
            .iter()
            .map(|l| u32::from(l.packets_per_frame))
            .sum();
        f64::from(packets) / self.interval.as_secs_f64()
    }
}

/// Where a published layer stands.
#[derive(Debug, Clone, Default)]
pub struct LayerState {
    /// Packets sent.
    pub sequence: u32,
    /// Frames sent.
    pub frame: u32,
    /// The next frame shall be a key frame.
    pub keyframe_wanted: bool,
    /// Key frames sent.
    pub keyframes: u32,
    /// Requests for a key frame received.
    pub keyframe_requests: u32,
    /// Nothing is sent on it now (as an encoder that ran out of bit rate).
    pub paused: bool,
}

/// The beat of a published track.
#[derive(Debug, Clone)]
pub struct Beat {
    /// When the next frame is due.
    pub next: Instant,
    /// Frames due so far; gives the RTP timestamp, the same for all layers.
    pub frames: u32,
}

impl Beat {
    /// Starts now.
    pub fn new(now: Instant) -> Self {
        Beat {
            next: now,
            frames: 0,
        }
    }

    /// RTP timestamp of the frame that is due; starts near the wrap, so that it is crossed.
    pub fn timestamp(&self, spec: &TrackSpec) -> u32 {
        let step = u64::from(spec.clock_rate()) * u64::from(self.frames);
        let elapsed = step * spec.interval.as_micros() as u64 / 1_000_000;
        (u32::MAX - spec.clock_rate()).wrapping_add(elapsed as u32)
    }

    /// Moves on to the next frame. A client that was not run for long does not send a burst.
    pub fn advance(&mut self, now: Instant, spec: &TrackSpec) {
        self.frames = self.frames.wrapping_add(1);
        self.next += spec.interval;
        if self.next + spec.interval * 5 < now {
            self.next = now;
        }
    }
}

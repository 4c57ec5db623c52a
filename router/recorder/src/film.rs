//! The seam between the contents of files and the disk they are written to.

use std::time::{Duration, Instant, SystemTime};

use crate::api::{Container, Packet, TrackId};

/// A part of a file's contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// At the end. Once it and the overwrites that follow are on the disk, everything up to here can be played,
    /// whatever happens to the rest. An append that was cut off anywhere leaves what was there playable.
    Append(Vec<u8>),
    /// In place of what is there; never beyond the end. Never before the append ahead of it.
    Overwrite {
        /// Bytes from the beginning.
        offset: u64,
        /// As many as are replaced.
        bytes: Vec<u8>,
    },
}

/// Of one track in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackSummary {
    /// Track.
    pub track: TrackId,
    /// Codec name as in SDP.
    pub codec: &'static str,
    /// When its first frame was captured, relative to the first one of the file.
    pub begins: Duration,
    /// From its first frame to the end of its last.
    pub duration: Duration,
    /// Frames in the file.
    pub frames: u64,
    /// Where frames are missing, in the file's time: packets lost for good, or dropped for want of speed.
    pub gaps: Vec<Gap>,
    /// Pixels of its largest frame; 0: audio or not known.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// A time without frames that were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Since the beginning of the file.
    pub at: Duration,
    /// Until the next frame that is whole and decodable.
    pub lasts: Duration,
}

/// What happens to the files of a film, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Another file begins; the one before has ended.
    Begin,
    /// Contents of the file that began last.
    Write(Write),
    /// The file is complete.
    End(Vec<TrackSummary>),
    /// A track's first frame is among what was written.
    Started(TrackId),
    /// It needs a keyframe of a track.
    KeyframeWanted(TrackId),
    /// A track cannot be recorded (codec, encryption), for people. It is not in the film any more.
    Failed(TrackId, String),
}

/// A recording of one or more tracks of a participant in one container, over one or more files. It has no
/// clock and no file.
pub trait Film: Send {
    /// Another track of it. Where the container cannot take it into a file that has begun, another begins.
    fn add(&mut self, track: TrackId, video: bool);

    /// A track ended. True: it was the last one.
    fn remove(&mut self, track: TrackId) -> bool;

    /// A packet of one of its tracks, in whatever order they come.
    fn packet(&mut self, track: TrackId, packet: &Packet);

    /// Packets of a track were lost in the router, because the disk was too slow: the next frame worth
    /// writing is a keyframe.
    fn dropped(&mut self, track: TrackId);

    /// What is to be done by now. Called about twenty times a second.
    fn steps(&mut self, now: Instant, into: &mut Vec<Step>);

    /// Ends everything: what waits is written, and the file is complete.
    fn finish(&mut self, now: Instant, into: &mut Vec<Step>);

    /// When the first frame of the file that began last was captured: what the sidecar gives as the file's
    /// start. `None`: not known, the time of its first step is taken.
    fn began(&self) -> Option<Instant> {
        None
    }
}

/// One moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// What packets are timed by.
    pub at: Instant,
    /// The same moment for people.
    pub wall: SystemTime,
}

/// Makes films of media containers; RTP dumps are the recorder's own ([`crate::dump`]).
pub trait Films: Send + Sync {
    /// A film for tracks of one participant. `segment`: a new file begins at the first keyframe after this
    /// time. `origin`: by which a film may give times of day.
    fn film(
        &self,
        container: Container,
        segment: Option<Duration>,
        origin: Origin,
    ) -> Box<dyn Film>;

    /// What is to be done to a file that a crash left, so that it is as good as one that was closed: how many
    /// of its bytes are kept, which are then written over, and what follows them. `None`: it stays as it is,
    /// playable up to the last [`Write::Append`] that reached the disk. Reads all it needs; runs beside the
    /// recorder's loop.
    fn repair(&self, container: Container, file: &mut dyn ReadSeek) -> Option<Repair> {
        let _ = (container, file);
        None
    }
}

/// A file that is read for its repair.
pub trait ReadSeek: std::io::Read + std::io::Seek {}
impl<T: std::io::Read + std::io::Seek> ReadSeek for T {}

/// How a file that a crash left is made whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repair {
    /// Bytes from the beginning that are kept; what follows was torn.
    pub keep_bytes: u64,
    /// Then done in order; the file has `keep_bytes` bytes by then.
    pub writes: Vec<Write>,
}

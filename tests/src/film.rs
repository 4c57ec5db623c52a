//! Frames in a recording.

use shiguredo_mp4::TrackKind;
use shiguredo_mp4::demux::{Input, Mp4FileDemuxer};

/// A frame in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Since the first one of its track, seconds.
    pub at: f64,
    /// Decodable alone.
    pub keyframe: bool,
    /// Bytes.
    pub data: Vec<u8>,
}

/// Frames of an MP4's tracks of this kind, in order.
///
/// # Panics
/// If it is no complete MP4.
pub fn frames(file: &[u8], kind: TrackKind) -> Vec<Stored> {
    let mut demuxer = Mp4FileDemuxer::new();
    demuxer.handle_input(Input {
        position: 0,
        data: file,
    });
    demuxer.tracks().expect("an MP4");
    let mut found: Vec<Stored> = Vec::new();
    while let Some(sample) = demuxer.next_sample().expect("an MP4") {
        if sample.track.kind == kind {
            let begin = usize::try_from(sample.data_offset).expect("within memory");
            found.push(Stored {
                at: sample.timestamp as f64 / f64::from(sample.track.timescale.get()),
                keyframe: sample.keyframe,
                data: file[begin..begin + sample.data_size].to_vec(),
            });
        }
    }
    found
}

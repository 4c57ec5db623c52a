//! The sending side of a connection: media on its beat, by the engine, which answers NACKs and reports.

use std::time::Instant;

use str0m::Rtc;
use str0m::media::Mid;
use str0m::rtp::{ExtensionValues, RtpWrite};

use crate::clock::Clock;
use crate::marker::{Marker, Medium, StreamId};
use crate::media::{self, Beat, Media, Piece};
use crate::tally::Tally;

/// RTP sequence number of the first packet of each stream.
const FIRST_SEQUENCE: u64 = 1_000;

/// Packets of a stream that were sent while it was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) stream: StreamId,
    pub(crate) packets: u64,
}

struct Outgoing {
    medium: Medium,
    mid: Mid,
    beat: Beat,
    sequence: u32,
    sent: Sent,
}

/// What a publisher sends.
pub(crate) struct Publisher {
    streams: Vec<Outgoing>,
    /// It may send.
    pub(crate) running: bool,
    pieces: Vec<Piece>,
    payload: Vec<u8>,
}

impl Publisher {
    /// `mids` are those of its media, in their order.
    pub(crate) fn new(number: u32, media: &Media, mids: &[Mid], now: Instant) -> Self {
        let streams = media.list().into_iter().zip(mids).map(|(medium, mid)| {
            let video = media.video.filter(|_| medium == Medium::Video);
            Outgoing {
                medium,
                mid: *mid,
                beat: Beat::new(video, now),
                sequence: 0,
                sent: Sent {
                    stream: StreamId::new(number, medium),
                    packets: 0,
                },
            }
        });
        Publisher {
            streams: streams.collect(),
            running: false,
            pieces: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// Begins.
    pub(crate) fn start(&mut self, media: &Media, now: Instant) {
        self.running = true;
        for stream in &mut self.streams {
            let video = media.video.filter(|_| stream.medium == Medium::Video);
            stream.beat = Beat::new(video, now);
        }
    }

    /// When something is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        let beats = self.streams.iter().map(|stream| stream.beat.due());
        beats.min().filter(|_| self.running)
    }

    /// The next frame of a section is to be a keyframe.
    pub(crate) fn want_keyframe(&mut self, mid: Mid) {
        for stream in self.streams.iter_mut().filter(|stream| stream.mid == mid) {
            stream.beat.keyframe_wanted = true;
        }
    }

    /// Gives the engine what is due; whether there was anything.
    pub(crate) fn write(
        &mut self,
        now: Instant,
        clock: &Clock,
        rtc: &mut Rtc,
        tally: &mut Tally,
    ) -> bool {
        let mut any = false;
        for stream in self.streams.iter_mut().filter(|_| self.running) {
            stream.beat.tick(now);
            self.pieces.clear();
            stream.beat.take(now, &mut self.pieces);
            let section = rtc.media(stream.mid);
            let Some(pt) = section.and_then(|media| media.remote_pts().first().copied()) else {
                continue;
            };
            for piece in &self.pieces {
                let at = Instant::now();
                let sent_ns = clock.ns(at);
                let marker = Marker {
                    run: tally.run,
                    stream: stream.sent.stream,
                    sequence: stream.sequence,
                    sent_ns,
                    index: piece.index,
                    count: piece.count,
                };
                media::write(&mut self.payload, stream.medium, piece, marker.to_bytes());
                let video = stream.medium == Medium::Video;
                let number = FIRST_SEQUENCE + u64::from(stream.sequence);
                let mut write = RtpWrite::new(
                    pt,
                    number.into(),
                    piece.timestamp,
                    at,
                    self.payload.as_slice(),
                )
                .marker(video && piece.index + 1 == piece.count)
                .nackable(video);
                if !video {
                    write = write.ext_vals(ExtensionValues {
                        audio_level: Some(-30),
                        voice_activity: Some(true),
                        ..ExtensionValues::default()
                    });
                }
                let mut api = rtc.direct_api();
                let Some(out) = api.stream_tx_by_mid(stream.mid, None) else {
                    break;
                };
                out.write_rtp(write);
                any = true;
                stream.sequence += 1;
                tally.sent += 1;
                if tally.window.holds(sent_ns) {
                    stream.sent.packets += 1;
                }
            }
        }
        any
    }

    /// What was sent while it was measured.
    pub(crate) fn result(&self) -> Vec<Sent> {
        self.streams.iter().map(|stream| stream.sent).collect()
    }
}

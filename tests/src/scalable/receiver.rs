//! A receiver that reads packets in the order of their sequence numbers, as a decoder gets them.

use std::collections::{BTreeMap, HashMap};

use std::sync::Arc;

use str0m::rtp::RtpPacket;

use super::descriptor::{Told, number};
use super::{Codec, Labels, Source, read};

/// A packet as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Extended sequence number.
    pub sequence: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Marker bit.
    pub marker: bool,
    /// Payload.
    pub payload: Arc<[u8]>,
    /// Number of the frame in the dependency descriptor.
    pub number: Option<u16>,
}

impl Received {
    /// Of a packet.
    pub fn of(packet: &RtpPacket) -> Self {
        let told = packet.header.ext_vals.user_values.get::<Told>();
        Received {
            sequence: *packet.seq_no,
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            payload: Arc::clone(&packet.payload),
            number: told.and_then(number),
        }
    }
}

/// What was received of one track.
#[derive(Debug, Default)]
pub struct Report {
    /// Rules that it breaks.
    pub broken: Vec<String>,
    /// Frames that came whole, with all that they depend on.
    pub decodable: u64,
    /// Frames that came whole, and could not be decoded since packets were lost.
    pub stranded: u64,
    /// Sequence numbers that never came.
    pub holes: u64,
    /// Numbers without content.
    pub hollow: u64,
    /// Pictures by the highest spatial and temporal index of what could be decoded.
    pub levels: BTreeMap<(u8, u8), u64>,
}

/// What is known while reading on.
struct Reader<'a> {
    source: &'a Source,
    report: Report,
    /// By frame: packets so far, all of them next to each other.
    parts: HashMap<u32, (u16, u64)>,
    decodable: HashMap<u32, bool>,
    /// The sequence number behind the last hole.
    hole: u64,
    /// The last packet with content.
    last: Option<(Received, Labels)>,
    /// Numbers without content since.
    hollow: u64,
    began: u64,
}

/// Reads everything that came of a track.
pub fn read_all(source: &Source, packets: &[Received]) -> Report {
    let by_number: BTreeMap<u64, &Received> = packets
        .iter()
        .map(|packet| (packet.sequence, packet))
        .collect();
    let mut reader = Reader {
        source,
        report: Report::default(),
        parts: HashMap::new(),
        decodable: HashMap::new(),
        hole: 0,
        last: None,
        hollow: 0,
        began: by_number.keys().next().copied().unwrap_or_default(),
    };
    let mut next = reader.began;
    for (sequence, packet) in by_number {
        if sequence != next {
            reader.report.holes += sequence - next;
            reader.hole = sequence;
        }
        next = sequence + 1;
        if packet.payload.is_empty() {
            reader.hollow += 1;
            reader.report.hollow += 1;
        } else {
            reader.packet(sequence, packet);
        }
    }
    reader.report
}

impl Reader<'_> {
    fn packet(&mut self, sequence: u64, packet: &Received) {
        let labels = match read(self.source.mode.codec, &packet.payload) {
            Ok(labels) => labels,
            Err(error) => return self.report.broken.push(format!("{sequence}: {error}")),
        };
        if let Some((last, before)) = self.last.take() {
            self.compare(sequence, (&last, &before), (packet, &labels));
        } else if !(labels.body.keyframe && labels.body.index == 0) {
            self.report
                .broken
                .push("begins with no keyframe".to_owned());
        }
        self.number(packet, &labels);
        let part = self.parts.entry(labels.body.frame).or_insert((0, sequence));
        let together = part.1 + u64::from(part.0) == sequence && part.0 == labels.body.index;
        if together {
            part.0 += 1;
        }
        let (came, begins) = *part;
        if together && came == labels.body.count {
            self.whole(begins, &labels);
        }
        self.last = Some((packet.clone(), labels));
        self.hollow = 0;
    }

    /// A frame is there. Everything that it depends on was, or it can be seen that something is missing.
    fn whole(&mut self, begins: u64, labels: &Labels) {
        let frame = &self.source.frames[labels.body.frame as usize];
        let there = |needed: &u32| self.decodable.get(needed) == Some(&true);
        let decodable = frame.needs.iter().all(there);
        self.decodable.insert(frame.number, decodable);
        if decodable {
            self.report.decodable += 1;
            let level = (frame.spatial, frame.temporal);
            *self.report.levels.entry(level).or_default() += 1;
        } else if self.hole > self.began {
            self.report.stranded += 1;
        } else {
            self.report.broken.push(format!(
                "frame {} of {:?} is whole at {begins}, and of {:?} not all is there",
                frame.number,
                (frame.spatial, frame.temporal),
                frame.needs
            ));
        }
        // What is seen to be missing is excused until the next keyframe.
        if frame.key && frame.spatial == 0 && decodable {
            self.began = begins;
        }
    }

    /// Numbers of frames in the dependency descriptor are the publisher's.
    fn number(&mut self, packet: &Received, labels: &Labels) {
        if self.source.mode.codec != Codec::Av1 {
            return;
        }
        let told = packet.number;
        if told != Some(labels.body.frame as u16) {
            let frame = labels.body.frame;
            self.report
                .broken
                .push(format!("frame {frame} is told as {told:?}"));
        }
    }

    fn compare(&mut self, sequence: u64, old: (&Received, &Labels), new: (&Received, &Labels)) {
        let frame = |labels: &Labels| &self.source.frames[labels.body.frame as usize];
        let (before, after) = (frame(old.1), frame(new.1));
        let mut broken = Vec::new();
        let step = new.0.timestamp.wrapping_sub(old.0.timestamp) as i32;
        let same = before.picture == after.picture;
        if step < 0 || (step == 0) != same {
            broken.push(format!("timestamp moved by {step}"));
        }
        // Between packets next to each other nothing is missing.
        let lost = old.0.sequence + 1 + self.hollow != sequence;
        let rises = (before.number, old.1.body.index) < (after.number, new.1.body.index);
        if !rises {
            broken.push("goes back".to_owned());
        }
        if !lost && old.0.marker == same {
            broken.push(format!("marker {}, same picture {same}", old.0.marker));
        }
        if let (Some(a), Some(b)) = (old.1.picture, new.1.picture) {
            let step = b.wrapping_sub(a) & 0x7fff;
            let expected = match self.source.mode.codec {
                // One after the other, unless something is missing or came late.
                Codec::Vp8 if !lost && self.hollow == 0 => u16::from(!same),
                Codec::Vp8 => step.clamp(u16::from(!same), (after.picture - before.picture) as u16),
                _ => (after.picture - before.picture) as u16,
            };
            if step != expected {
                broken.push(format!("picture id moved by {step}, not {expected}"));
            }
        }
        if let (Some(a), Some(b)) = (old.1.tl0, new.1.tl0) {
            let (step, expected) = (b.wrapping_sub(a), after.base.wrapping_sub(before.base));
            if step != expected {
                broken.push(format!("TL0PICIDX moved by {step}, not {expected}"));
            }
        }
        let texts = broken.into_iter().map(|text| {
            format!(
                "{sequence}: {text}, from {:?} to {:?}",
                old.1.body, new.1.body
            )
        });
        self.report.broken.extend(texts);
    }
}

//! RTP header extensions (RFC 8285): those of the publisher that are handed through, and those that belong
//! to the subscriber's transport, under the numbers negotiated there.

use std::sync::Arc;
use std::time::SystemTime;

use str0m::rtp::{Extension, ExtensionMap, ExtensionSerializer, ExtensionValues};

use crate::layers::dependency;

/// Numbers a section was negotiated with; 0 stands for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ids {
    mid: u8,
    send_time: u8,
    transport_sequence: u8,
    audio_level: u8,
    orientation: u8,
    content_type: u8,
    playout_delay: u8,
    capture_time: u8,
    dependency: u8,
}

impl Ids {
    /// Those of a section. Numbers above 14 do not fit the one-byte form, the only one written; none of
    /// ours is.
    pub(crate) fn negotiated(map: &ExtensionMap) -> Self {
        let id = |extension| map.id_of(extension).filter(|id| *id < 15).unwrap_or(0);
        Ids {
            mid: id(Extension::RtpMid),
            send_time: id(Extension::AbsoluteSendTime),
            transport_sequence: id(Extension::TransportSequenceNumber),
            audio_level: id(Extension::AudioLevel),
            orientation: id(Extension::VideoOrientation),
            content_type: id(Extension::VideoContentType),
            playout_delay: id(Extension::PlayoutDelay),
            capture_time: id(Extension::AbsoluteCaptureTime),
            dependency: id(dependency_descriptor()),
        }
    }

    /// The same without numbers for transport-wide feedback.
    pub(crate) fn unnumbered(self) -> Self {
        Ids {
            transport_sequence: 0,
            ..self
        }
    }

    /// Whether packets of the section are numbered for transport-wide feedback.
    pub(crate) fn numbers_packets(self) -> bool {
        self.transport_sequence != 0
    }
}

/// What a publisher said in a packet's extensions and every subscriber is told, as on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    /// RFC 6464 §3.
    audio_level: Option<u8>,
    /// 3GPP TS 26.114 §7.4.5.
    orientation: Option<u8>,
    content_type: Option<u8>,
    playout_delay: Option<[u8; 3]>,
    /// When it was captured, by the publisher's clock, and that clock's offset.
    capture_time: Option<(u64, Option<i64>)>,
}

impl Passed {
    /// What of these is handed through.
    pub(crate) fn of(values: &ExtensionValues) -> Self {
        let level = values.audio_level.map(|level| {
            let voice = u8::from(values.voice_activity == Some(true)) << 7;
            voice | (level.unsigned_abs() & 0x7f)
        });
        let delay = values.play_delay_min.zip(values.play_delay_max);
        Passed {
            audio_level: level,
            orientation: values.video_orientation.map(|rotation| rotation as u8),
            content_type: values.video_content_type,
            playout_delay: delay.map(|(least, most)| {
                let value = ((least.numer() & 0xfff) << 12) | (most.numer() & 0xfff);
                let [_, bytes @ ..] = (value as u32).to_be_bytes();
                bytes
            }),
            capture_time: values
                .abs_capture_time
                .map(|time| (ntp_of(time.capture_time), time.clock_offset)),
        }
    }
}

/// What a packet's extensions say to a subscriber.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Said<'a> {
    pub(crate) passed: Passed,
    /// The dependency descriptor, as its publisher wrote it.
    pub(crate) dependency: Option<&'a [u8]>,
    /// What is added to the number of its frame.
    pub(crate) frame: u16,
}

/// The extension that the engine does not know.
pub(crate) fn dependency_descriptor() -> Extension {
    Extension::with_serializer(dependency::URI, Opaque)
}

/// A dependency descriptor as it came.
#[derive(Debug)]
struct Described(Arc<[u8]>);

/// Has the engine hand over dependency descriptors unread; it never writes any.
#[derive(Debug)]
struct Opaque;

impl ExtensionSerializer for Opaque {
    fn write_to(&self, _: &mut [u8], _: &ExtensionValues) -> usize {
        0
    }

    fn parse_value(&self, bytes: &[u8], values: &mut ExtensionValues) -> bool {
        let whole = (3..=dependency::BYTES_MOST).contains(&bytes.len());
        if whole {
            values.user_values.set(Described(bytes.into()));
        }
        whole
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }
}

/// The dependency descriptor of a packet.
pub(crate) fn dependency_of(values: &ExtensionValues) -> Option<Arc<[u8]>> {
    let described = values.user_values.get::<Described>()?;
    Some(Arc::clone(&described.0))
}

/// A wall clock time as RTCP has it (RFC 3550 §4): seconds since 1900, 32 bits of them behind the point.
fn ntp_of(time: SystemTime) -> u64 {
    const EPOCH_SECONDS: u64 = 2_208_988_800;
    let unix = time.duration_since(SystemTime::UNIX_EPOCH);
    let unix = unix.unwrap_or_default();
    let fraction = (u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000;
    (unix.as_secs().wrapping_add(EPOCH_SECONDS) << 32) | fraction
}

/// What belongs to the transport a packet leaves by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Own<'a> {
    /// Until the receiver knows which section the SSRC belongs to (RFC 9143 §15).
    pub(crate) mid: Option<&'a [u8]>,
    /// When it leaves: 24 bits, 6 of them before the point (abs-send-time).
    pub(crate) send_time: u32,
    pub(crate) transport_sequence: u16,
}

/// Writes the extension block of a packet (RFC 8285); its length, a multiple of four, 0 if there is nothing to say.
/// It has the one-byte form (§4.2), unless the dependency descriptor is too long for that. `None`: no room.
pub(crate) fn write(slot: &mut [u8], ids: Ids, said: &Said<'_>, own: &Own<'_>) -> Option<usize> {
    let dependency = said.dependency.filter(|_| ids.dependency != 0);
    let wide = dependency.is_some_and(|bytes| bytes.len() > SHORT_BYTES);
    let mut block = Block { slot, at: 4, wide };
    let passed = &said.passed;
    let [_, time @ ..] = own.send_time.to_be_bytes();
    block.add(ids.send_time, &time)?;
    block.add(
        ids.transport_sequence,
        &own.transport_sequence.to_be_bytes(),
    )?;
    if let Some(mid) = own.mid {
        block.add(ids.mid, mid)?;
    }
    if let Some(level) = passed.audio_level {
        block.add(ids.audio_level, &[level])?;
    }
    if let Some(orientation) = passed.orientation {
        block.add(ids.orientation, &[orientation])?;
    }
    if let Some(content_type) = passed.content_type {
        block.add(ids.content_type, &[content_type])?;
    }
    if let Some(delay) = passed.playout_delay {
        block.add(ids.playout_delay, &delay)?;
    }
    if let Some((time, offset)) = passed.capture_time {
        let mut value = [0; 16];
        let (first, second) = value.split_at_mut(8);
        first.copy_from_slice(&time.to_be_bytes());
        second.copy_from_slice(&offset.unwrap_or_default().to_be_bytes());
        let bytes = if offset.is_some() { 16 } else { 8 };
        block.add(ids.capture_time, value.get(..bytes)?)?;
    }
    if let Some(bytes) = dependency {
        let from = block.at + 1 + usize::from(wide);
        block.add(ids.dependency, bytes)?;
        if let Some(number) = dependency::number(bytes).filter(|_| said.frame != 0) {
            let written = block.slot.get_mut(from..block.at)?;
            dependency::renumber(written, number.wrapping_add(said.frame));
        }
    }
    block.finish()
}

/// Longest element of the one-byte form, bytes.
const SHORT_BYTES: usize = 16;

struct Block<'a> {
    slot: &'a mut [u8],
    at: usize,
    /// The two-byte form (RFC 8285 §4.3).
    wide: bool,
}

impl Block<'_> {
    fn add(&mut self, id: u8, value: &[u8]) -> Option<()> {
        let most = if self.wide {
            dependency::BYTES_MOST
        } else {
            SHORT_BYTES
        };
        if id == 0 || value.is_empty() || value.len() > most {
            return Some(());
        }
        let head = 1 + usize::from(self.wide);
        let after = self.at + head + value.len();
        let (head, body) = self.slot.get_mut(self.at..after)?.split_at_mut(head);
        match head {
            [id_and_length] => *id_and_length = (id << 4) | (value.len() - 1) as u8,
            [of, length] => (*of, *length) = (id, value.len() as u8),
            _ => {}
        }
        body.copy_from_slice(value);
        self.at = after;
        Some(())
    }

    fn finish(self) -> Option<usize> {
        if self.at == 4 {
            return Some(0);
        }
        let end = self.at.next_multiple_of(4);
        self.slot.get_mut(self.at..end)?.fill(0);
        let words = (end / 4 - 1) as u16;
        let [high, low] = words.to_be_bytes();
        let form = if self.wide {
            [0x10, 0x00]
        } else {
            [0xbe, 0xde]
        };
        self.slot
            .first_chunk_mut::<4>()?
            .copy_from_slice(&[form[0], form[1], high, low]);
        Some(end)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use str0m::rtp::{AbsCaptureTime, VideoOrientation};

    use super::*;
    use crate::api::Direction;
    use crate::transport::extensions;

    /// What [`super::super::train::SLOT_BYTES`] counts on, without a dependency descriptor.
    const EXTENSION_BYTES: usize = 64;

    fn all() -> Ids {
        Ids::negotiated(&extensions(Direction::Subscribe))
    }

    fn said(passed: Passed) -> Said<'static> {
        Said {
            passed,
            ..Said::default()
        }
    }

    fn passed() -> Passed {
        let values = ExtensionValues {
            audio_level: Some(-33),
            voice_activity: Some(true),
            video_orientation: Some(VideoOrientation::Deg90),
            video_content_type: Some(1),
            abs_capture_time: Some(AbsCaptureTime {
                capture_time: SystemTime::UNIX_EPOCH + Duration::from_millis(500),
                clock_offset: Some(-1),
            }),
            ..Default::default()
        };
        Passed::of(&values)
    }

    #[test]
    fn elements_are_written_in_the_one_byte_form() {
        let mut slot = [0xff; EXTENSION_BYTES];
        let own = Own {
            mid: Some(b"ab"),
            send_time: 0x0001_0203,
            transport_sequence: 0x0405,
        };
        let bytes = write(&mut slot, all(), &said(passed()), &own).unwrap();
        let expected = [
            0xbe,
            0xde,
            0,
            9, // words
            0x22,
            1,
            2,
            3, // abs-send-time
            0x31,
            4,
            5, // transport-wide sequence number
            0x41,
            b'a',
            b'b', // mid
            0x10,
            0x80 | 33, // audio level
            0xd0,
            3, // orientation
            0x60,
            1, // content type
            0x7f,
            0x83,
            0xaa,
            0x7e,
            0x80,
            0x80,
            0,
            0,
            0, // abs-capture-time
            0xff,
            0xff,
            0xff,
            0xff,
            0xff,
            0xff,
            0xff,
            0xff,
            0,
            0,
            0,
        ];
        assert_eq!(slot[..bytes], expected);
        assert!(bytes <= EXTENSION_BYTES);
    }

    #[test]
    fn the_longest_block_fits_the_room_reserved_for_it() {
        let mut slot = [0; EXTENSION_BYTES];
        let mut passed = passed();
        passed.playout_delay = Some([1, 2, 3]);
        let own = Own {
            mid: Some(b"0123456789abcdef"),
            send_time: 1,
            transport_sequence: 1,
        };
        assert!(write(&mut slot, all(), &said(passed), &own).is_some());
        for shorter in 0..50 {
            assert_eq!(
                write(&mut slot[..shorter], all(), &said(passed), &own),
                None
            );
        }
    }

    #[test]
    fn a_dependency_descriptor_is_renumbered_and_may_need_the_two_byte_form() {
        let own = Own {
            mid: Some(b"a"),
            send_time: 1,
            transport_sequence: 0x0203,
        };
        for bytes in [3, 16, 17, 255] {
            let mut descriptor = vec![0x5a; bytes];
            descriptor[1..3].copy_from_slice(&[0xff, 0xfe]);
            let said = Said {
                dependency: Some(&descriptor),
                frame: 3,
                ..Said::default()
            };
            let mut slot = [0xff; 400];
            let length = write(&mut slot, all(), &said, &own).unwrap();
            descriptor[1..3].copy_from_slice(&[0, 1]);
            // Read as RFC 8285 has it.
            let wide = bytes > 16;
            let form: [u8; 2] = if wide { [0x10, 0] } else { [0xbe, 0xde] };
            assert_eq!(slot[..2], form);
            let (mut at, mut found) = (4, Vec::new());
            while at < length && slot[at] != 0 {
                let (id, long, head) = match wide {
                    true => (slot[at], usize::from(slot[at + 1]), 2),
                    false => (slot[at] >> 4, usize::from(slot[at] & 15) + 1, 1),
                };
                found.push((id, slot[at + head..at + head + long].to_vec()));
                at += head + long;
            }
            let (send_time, number) = (vec![0, 0, 1], vec![2, 3]);
            let mid = b"a".to_vec();
            assert_eq!(
                found,
                [(2, send_time), (3, number), (4, mid), (12, descriptor)]
            );
        }
    }

    #[test]
    fn what_was_not_negotiated_is_not_said() {
        let mut slot = [0; EXTENSION_BYTES];
        let own = Own {
            mid: Some(b"a"),
            send_time: 1,
            transport_sequence: 1,
        };
        let written = write(&mut slot, Ids::default(), &said(passed()), &own);
        assert_eq!(written, Some(0));
        let mut map = ExtensionMap::empty();
        map.set(15, Extension::RtpMid);
        assert_eq!(Ids::negotiated(&map), Ids::default(), "no one-byte form");
    }
}

//! Headers of RTP with their extensions (RFC 3550 §5.1, RFC 8285), and what of these is passed on.

use std::time::{Duration, SystemTime};

use rillway_core::api::Direction;
use rillway_core::fuzzing;
use str0m::rtp::RtpHeader;

/// What the core keeps free for extensions in a packet.
const EXTENSION_BYTES: usize = 64;

/// Input: a packet, as it is once decrypted.
pub fn run(packet: &[u8]) {
    let published = fuzzing::extension_map(Direction::Publish);
    let Some(header) = RtpHeader::_parse(packet, &published) else {
        return;
    };
    assert!(
        header.header_len <= packet.len(),
        "a header beyond its packet"
    );
    let mid = Some(&b"0123456789abcdef"[..]);
    let block = fuzzing::passed_on(&header.ext_vals, mid).expect("room for the longest block");
    assert!(block.len() <= EXTENSION_BYTES, "{} bytes", block.len());
    assert!(block.len().is_multiple_of(4));

    // Times of the NTP era after this one (from 2036 on) are read by the engine as if they were of this one.
    let captured = header.ext_vals.abs_capture_time.map(|c| c.capture_time);
    let era = SystemTime::UNIX_EPOCH..SystemTime::UNIX_EPOCH + Duration::from_secs(2_085_978_496);
    if captured.is_some_and(|time| !era.contains(&time)) {
        return;
    }

    // What subscribers get can be read, and says the same again.
    let mut sent = vec![0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
    sent.extend(&block);
    let map = fuzzing::extension_map(Direction::Subscribe);
    let read = RtpHeader::_parse(&sent, &map).expect("what we write can be read");
    assert_eq!(read.header_len, sent.len());
    let again = fuzzing::passed_on(&read.ext_vals, mid);
    assert_eq!(again.as_ref(), Some(&block));
}

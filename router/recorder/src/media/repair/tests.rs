//! What a crash leaves may be anything.

use std::io::Cursor;

use proptest::collection::vec;
use proptest::prelude::*;

use super::repair;
use crate::api::Container;
use crate::film::Repair;
use crate::media::ebml::{master, unsigned, void};
use crate::media::webm::{INFO, TRACKS};

/// Beginnings that get past the first checks.
fn heads() -> [Vec<u8>; 4] {
    let webm = [
        b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        void(96),
        master(INFO, &[void(11)]),
        master(
            TRACKS,
            &[
                master(0xae, &[unsigned(0x83, 1)]),
                master(0xae, &[unsigned(0x83, 2)]),
            ],
        ),
    ]
    .concat();
    let cluster = [webm.as_slice(), b"\x1f\x43\xb6\x75\x90"].concat();
    let mp4 = b"\0\0\0\x08ftyp\0\0\0\x10free\0\0\0\0\0\0\0\0\0\0\0\x40moov".to_vec();
    [Vec::new(), mp4, webm, cluster]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn no_file_breaks_a_repair(bytes in vec(any::<u8>(), 0..200), kind in 0..4_usize) {
        let file = [&heads()[kind], bytes.as_slice()].concat();
        for container in [Container::Mp4, Container::Webm, Container::RtpDump] {
            if let Some(Repair { keep_bytes, .. }) = repair(container, &mut Cursor::new(&file)) {
                prop_assert!(keep_bytes <= file.len() as u64);
            }
        }
    }
}

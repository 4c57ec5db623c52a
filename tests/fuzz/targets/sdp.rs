//! Session descriptions on their way between clients and the engine (`router/core/src/transport/sdp.rs`).

use rillway_core::api::Direction;
use rillway_core::fuzzing::{export, import_offer, sections};

/// Beyond this a description may be refused for its length, bytes.
const LONG_BYTES: usize = 60_000;

/// Input: an offer.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let exported = export(text, "uuuu", "pppp");
    assert_eq!(export(&exported, "uuuu", "pppp"), exported);
    for transport in [Direction::Publish, Direction::Subscribe] {
        let Ok(imported) = import_offer(text, transport) else {
            assert!(sections(text).is_none());
            continue;
        };
        assert!(!imported.contains("\na=candidate:"), "{imported}");
        // Credentials may have become longer in every section.
        if imported.len() > LONG_BYTES {
            continue;
        }
        // What the engine sees would be taken again, unchanged.
        assert_eq!(import_offer(&imported, transport).as_ref(), Ok(&imported));
        let (before, after) = (sections(text), sections(&imported));
        let (before, after) = (before.expect("taken"), after.expect("taken"));
        assert_eq!(before.len(), after.len());
        for ((mid, sends), (same, still)) in before.iter().zip(&after) {
            assert_eq!(mid, same);
            // A publishing transport goes on to receive what is sent, and another never does.
            let expected = *sends && transport == Direction::Publish;
            assert_eq!(*still, expected, "section {mid} in {imported}");
        }
    }
}

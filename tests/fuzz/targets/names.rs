//! Names of files that recording policies wish for: whatever it is, it stays beneath the root.

use rillway_plugin_sdk::recording::{NamePattern, Named};
use rillway_plugin_sdk::types::{MediaKind, Source, TrackId};
use rillway_recorder::disk::{Place, safe};

use super::reader::{Reader, text};

/// Longest name made of a wish, bytes.
const NAME_BYTES: usize = 140;

/// Input: a pattern, a room, a participant, each with its length; then a path.
pub fn run(input: &[u8]) {
    let mut reader = Reader::new(input);
    let pattern = text(reader.chunk().unwrap_or_default());
    let room = text(reader.chunk().unwrap_or_default());
    let participant = text(reader.chunk().unwrap_or_default());
    let path = text(reader.rest());
    for wish in [&pattern, &room, &participant, &path] {
        check(&safe(wish));
    }
    if let Some(place) = Place::parse(&path) {
        for part in [place.folder(), place.file()] {
            assert!(!part.is_empty() && !part.starts_with('.') && !part.contains(['/', '\0']));
        }
        assert_eq!(Place::parse(&place.to_string()), Some(place.clone()));
        assert_eq!(
            place.unfinished().finished(),
            Place::new(place.folder(), place.file())
        );
    }
    if let Ok(pattern) = NamePattern::try_from(pattern) {
        let name = pattern.name(&Named {
            room: &room,
            participant: &participant,
            track: TrackId(u64::from_be_bytes([0xff; 8])),
            source: Source::Screen,
            kind: MediaKind::Video,
            began_ms: u64::MAX,
        });
        assert!((1..=128).contains(&name.len()), "{name:?}");
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        assert!(name.chars().all(plain), "{name:?}");
        check(&safe(&name));
    }
}

fn check(name: &str) {
    assert!(!name.is_empty() && name.len() <= NAME_BYTES);
    assert!(!name.starts_with(['.', '-']) && !name.ends_with('.'));
    assert!(!name.contains(|c: char| c == '/' || c == '\\' || c.is_control()));
    assert_eq!(safe(name), name, "safe, and yet changed");
    assert!(Place::new(name, name).is_some());
}

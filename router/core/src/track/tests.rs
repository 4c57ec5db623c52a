use super::*;
use crate::shard::slab::Key;
use crate::shard::testing::start;

fn track(rids: &[&str]) -> Track {
    Track::new(NewTrack {
        id: TrackId(1),
        owner: ParticipantKey::from_parts(0, 1),
        owner_id: ParticipantId(1),
        room: RoomKey::from_parts(0, 1),
        transport: TransportKey::from_parts(0, 1),
        mid: Mid::from("0"),
        kind: MediaKind::Video,
        source: Source::Camera,
        codec: Codec::Vp8,
        rids: rids.iter().map(|rid| Rid::from(*rid)).collect(),
    })
}

#[test]
fn layers_are_found_by_rid() {
    let three = track(&["q", "h", "f"]);
    assert_eq!(three.layer_by_rid(Some(Rid::from("h"))), Some(1));
    assert_eq!(three.layer_by_rid(Some(Rid::from("x"))), None);
    assert_eq!(three.layer_by_rid(None), None);
    let one = track(&[]);
    assert_eq!(one.layer_by_rid(None), Some(0));
    assert_eq!(one.layer_by_rid(Some(Rid::from("x"))), Some(0));
}

#[test]
fn the_declared_order_counts_until_measurements_contradict() {
    let now = start();
    let mut declared = track(&["q", "h", "f"]);
    declared.sort_layers(now);
    assert_eq!([0, 1, 2].map(|layer| declared.spatial(layer)), [0, 1, 2]);
    for (layer, size) in [(0, (1280, 720)), (1, (640, 360)), (2, (320, 180))] {
        declared.layers[layer].size = Some(size);
    }
    declared.sort_layers(now);
    assert_eq!([0, 1, 2].map(|layer| declared.spatial(layer)), [2, 1, 0]);
    assert_eq!(declared.layer_at(0), Some(2));
}

#[test]
fn without_sizes_bit_rates_that_clearly_differ_decide() {
    let now = start();
    let mut reversed = track(&["f", "h", "q"]);
    for (layer, bytes) in [(0, 1_000), (1, 300), (2, 80)] {
        for step in 0..150 {
            let at = now + std::time::Duration::from_millis(10 * step);
            reversed.layers[layer].on_packet(at, layer as u32, (step, 0), bytes);
        }
    }
    let at = now + std::time::Duration::from_millis(1_600);
    reversed.sort_layers(at);
    assert_eq!([0, 1, 2].map(|layer| reversed.spatial(layer)), [2, 1, 0]);
}

use super::*;
use crate::id::TrackId;

fn wish(width: u16, height: u16) -> Wish {
    Wish {
        track: TrackId(1),
        width,
        height,
        fps: 0,
        priority: 0,
        paused: false,
    }
}

fn layers(active: [bool; 3], known: bool) -> [LayerView; 3] {
    let sizes = [(320, 180), (640, 360), (1280, 720)];
    std::array::from_fn(|index| LayerView {
        active: active[index],
        size: known.then_some(sizes[index]),
    })
}

#[test]
fn the_smallest_active_layer_that_fills_the_wish_or_the_largest() {
    let all = [true; 3];
    let cases = [
        (all, (0, 0), Some(2)),
        (all, (320, 180), Some(0)),
        (all, (321, 180), Some(1)),
        (all, (0, 200), Some(1)),
        (all, (1920, 1080), Some(2)),
        ([true, false, true], (640, 360), Some(2)),
        ([true, true, false], (1280, 720), Some(1)),
        ([false, true, false], (1, 1), Some(1)),
        ([false; 3], (0, 0), None),
    ];
    for (active, (width, height), expected) in cases {
        let chosen = BuiltIn.choose(&layers(active, true), &wish(width, height));
        assert_eq!(chosen, expected, "{active:?} {width}x{height}");
    }
}

#[test]
fn sizes_nobody_knows_are_taken_for_too_small() {
    let chosen = BuiltIn.choose(&layers([true; 3], false), &wish(100, 100));
    assert_eq!(chosen, Some(2));
}

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

fn views(active: [bool; 3], known: bool) -> Views {
    let sizes = [(320, 180), (640, 360), (1280, 720)];
    Views::collect((0..3).map(|index| {
        let size = known.then_some(sizes[index]);
        LayerView::whole(active[index], size, Rate::default())
    }))
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
        let chosen = built_in(&views(active, true), &wish(width, height));
        let expected = expected.map(|spatial| Level::new(spatial, 0));
        assert_eq!(chosen, expected, "{active:?} {width}x{height}");
    }
}

#[test]
fn sizes_nobody_knows_are_taken_for_too_small() {
    let chosen = built_in(&views([true; 3], false), &wish(100, 100));
    assert_eq!(chosen, Some(Level::new(2, 0)));
}

#[test]
fn a_layer_that_is_not_there_gives_way_to_the_next_lower_one() {
    let cases = [
        ([true; 3], 1, Some(1)),
        ([true; 3], 200, Some(2)),
        ([true, false, true], 1, Some(0)),
        ([false, false, true], 1, Some(2)),
        ([false; 3], 1, None),
    ];
    for (active, asked, expected) in cases {
        let found = views(active, true).active_at_most(Level::new(asked, 0));
        let expected = expected.map(|spatial| Level::new(spatial, 0));
        assert_eq!(found, expected, "{active:?} {asked}");
    }
}

#[test]
fn more_layers_than_fit_are_left_out() {
    let many = Views::collect(std::iter::repeat_n(LayerView::default(), 9));
    assert_eq!(many.all().len(), LAYERS_PER_TRACK);
    assert_eq!(Views::default().all().len(), 0);
}

#[test]
fn as_many_frames_are_wanted_as_are_wished() {
    let mut layer = views([true; 3], true).all()[1];
    for (rate, fps) in layer.rates.iter_mut().zip([7, 15, 30, 0]) {
        rate.fps = fps;
    }
    layer.temporal = 2;
    let views = Views::collect(std::iter::once(layer));
    for (fps, expected) in [(0, 2), (5, 0), (8, 0), (9, 1), (16, 1), (24, 2), (60, 2)] {
        let wish = Wish { fps, ..wish(0, 0) };
        let found = built_in(&views, &wish);
        assert_eq!(found, Some(Level::new(0, expected)), "{fps}");
    }
    let at_most = |temporal| views.active_at_most(Level::new(2, temporal));
    assert_eq!(at_most(1), Some(Level::new(0, 1)));
    assert_eq!(at_most(3), Some(Level::new(0, 2)));
}

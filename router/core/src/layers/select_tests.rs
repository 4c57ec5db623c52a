use super::*;

/// A stream as a selector sees it.
struct Stream {
    selector: Selector,
    top: Level,
    newest: u64,
    target: Level,
}

/// A packet of one frame: sequence number, picture, level.
type Packet = (u64, u32, (u8, u8));

impl Stream {
    fn new(top: (u8, u8), target: (u8, u8)) -> Self {
        let mut selector = Selector::new(None);
        let target = Level::new(target.0, target.1);
        selector.restart(target);
        Stream {
            selector,
            top: Level::new(top.0, top.1),
            newest: 0,
            target,
        }
    }

    fn packet(
        &mut self,
        packet: Packet,
        keyframe: bool,
        (starts, ends): (bool, bool),
        up: Up,
    ) -> Pick {
        let (sequence, timestamp, level) = packet;
        let spot = Spot {
            sequence,
            timestamp,
            newest: self.newest,
            keyframe,
            top: self.top,
        };
        let frame = Frame {
            level: Level::new(level.0, level.1),
            starts,
            ends,
            up,
        };
        self.newest = self.newest.max(sequence);
        self.selector.pick(&spot, &frame, self.target)
    }

    fn taken(&mut self, packet: Packet, up: Up) -> bool {
        let pick = self.packet(packet, false, (true, true), up);
        matches!(pick, Pick::Take { .. })
    }
}

const SYNC: Up = Up::Synced(true);
const PLAIN: Up = Up::Synced(false);
const POINT: Up = Up::Point(true);
const NO_POINT: Up = Up::Point(false);

#[test]
fn vp8_climbs_one_layer_at_a_time_where_it_depends_on_the_base_alone() {
    let mut stream = Stream::new((0, 2), (0, 0));
    assert!(stream.taken((1, 1, (0, 0)), PLAIN));
    assert!(!stream.taken((2, 2, (0, 2)), SYNC));
    stream.target = Level::new(0, 2);
    assert!(!stream.taken((3, 3, (0, 1)), PLAIN), "no place to");
    assert!(!stream.taken((4, 4, (0, 2)), SYNC), "layer 1 may need more");
    assert!(stream.taken((5, 5, (0, 0)), SYNC));
    assert!(stream.taken((6, 6, (0, 1)), SYNC));
    assert!(!stream.taken((7, 7, (0, 2)), PLAIN));
    assert!(stream.taken((8, 8, (0, 2)), SYNC));
    assert!(stream.taken((9, 9, (0, 2)), PLAIN));
    assert_eq!(stream.selector.current(), Level::new(0, 2));
    // Not with the second packet of a frame.
    stream.target = Level::new(0, 0);
    assert!(!stream.taken((10, 10, (0, 1)), PLAIN), "down at once");
    stream.target = Level::new(0, 2);
    let pick = stream.packet((12, 12, (0, 1)), false, (false, true), SYNC);
    assert_eq!(pick, Pick::Leave { picture: true });
}

#[test]
fn vp9_climbs_after_a_picture_of_what_it_has_that_says_so() {
    let mut stream = Stream::new((0, 2), (0, 0));
    assert!(stream.taken((1, 1, (0, 0)), POINT));
    stream.target = Level::new(0, 2);
    assert!(
        !stream.taken((2, 2, (0, 2)), POINT),
        "of what it does not have"
    );
    assert!(stream.taken((3, 3, (0, 0)), NO_POINT));
    assert!(!stream.taken((4, 4, (0, 1)), NO_POINT));
    assert!(stream.taken((5, 5, (0, 0)), POINT));
    assert!(stream.taken((6, 6, (0, 2)), NO_POINT));
}

#[test]
fn more_spatial_layers_come_with_a_keyframe_and_fewer_at_once() {
    let mut stream = Stream::new((2, 0), (2, 0));
    let mut sequence = 0;
    let mut picture = |stream: &mut Stream, keyframe: bool| -> Vec<(bool, bool)> {
        let number = sequence;
        let picks = (0..3).map(|spatial| {
            let parts = [(true, false), (false, true)].map(|part| {
                sequence += 1;
                let key = keyframe && spatial == 0 && part.0;
                stream.packet((sequence, number as u32, (spatial, 0)), key, part, POINT)
            });
            let taken = matches!(parts[0], Pick::Take { last: false });
            (taken, parts[1] == Pick::Take { last: true })
        });
        picks.collect()
    };
    let (gone, within, last) = ((false, false), (true, false), (true, true));
    assert_eq!(picture(&mut stream, true), [within, within, last]);
    stream.target = Level::new(0, 0);
    assert_eq!(picture(&mut stream, false), [last, gone, gone]);
    stream.target = Level::new(1, 0);
    assert_eq!(picture(&mut stream, false), [last, gone, gone]);
    assert_eq!(picture(&mut stream, true), [within, last, gone]);
    stream.target = Level::ALL;
    assert_eq!(picture(&mut stream, false), [within, last, gone]);
    // The publisher's own marker is on the last of all.
    assert_eq!(picture(&mut stream, true), [within, within, within]);
}

#[test]
fn what_comes_late_is_judged_by_its_place() {
    let mut stream = Stream::new((0, 1), (0, 1));
    assert!(stream.taken((1, 1, (0, 0)), PLAIN));
    // 2, of layer 1, is missing. From 3 on there is no layer 1 any more.
    stream.target = Level::new(0, 0);
    assert!(stream.taken((3, 3, (0, 0)), PLAIN));
    assert!(!stream.taken((2, 2, (0, 1)), PLAIN), "nothing needs it");
    assert!(!stream.taken((5, 5, (0, 1)), PLAIN));
    stream.target = Level::new(0, 1);
    assert!(stream.taken((8, 8, (0, 1)), SYNC));
    assert!(!stream.taken((6, 6, (0, 1)), SYNC), "before the step up");
    assert!(stream.taken((7, 7, (0, 0)), SYNC));
    stream.target = Level::new(0, 0);
    assert!(!stream.taken((11, 11, (0, 1)), PLAIN));
    assert!(!stream.taken((10, 10, (0, 1)), PLAIN));
    assert!(stream.taken((8, 8, (0, 1)), PLAIN), "again");
}

fn described(number: u16, before: &[u32], switch: [u8; 4]) -> Up {
    let near = before.iter().fold(0, |near, n| near | 1 << (n - 1));
    Up::Described {
        number,
        needs: Needs { near, far: false },
        switch,
    }
}

#[test]
fn by_its_descriptor_a_frame_leads_up_if_all_it_needs_was_sent() {
    let mut stream = Stream::new((0, 2), (0, 0));
    // As in L1T3: 0 2 1 2.
    assert!(stream.taken((1, 1, (0, 0)), described(65_534, &[], [0b111, 0, 0, 0])));
    assert!(!stream.taken((2, 2, (0, 2)), described(65_535, &[1], [0; 4])));
    stream.target = Level::new(0, 2);
    assert!(
        !stream.taken((3, 3, (0, 2)), described(0, &[1], [0b100, 0, 0, 0])),
        "it needs 2"
    );
    assert!(stream.taken((4, 4, (0, 1)), described(1, &[3], [0b110, 0, 0, 0])));
    assert!(stream.taken((5, 5, (0, 2)), described(2, &[1], [0; 4])));
    stream.target = Level::new(0, 1);
    assert!(!stream.taken((6, 6, (0, 2)), described(3, &[1], [0; 4])));
    stream.target = Level::new(0, 2);
    let far = Up::Described {
        number: 4,
        needs: Needs { near: 0, far: true },
        switch: [0b100, 0, 0, 0],
    };
    assert!(!stream.taken((7, 7, (0, 2)), far), "nobody knows");
    assert!(stream.taken((8, 8, (0, 0)), described(5, &[4], [0b111, 0, 0, 0])));
    assert!(stream.taken((9, 9, (0, 2)), described(6, &[1], [0; 4])));
}

#[test]
fn every_spatial_layer_has_to_lead_up_in_one_picture() {
    let mut stream = Stream::new((1, 1), (1, 0));
    let at = |number: u16, needs, switch| described(number, needs, switch);
    assert!(stream.taken((1, 1, (0, 0)), at(1, &[], [0b11, 0b11, 0, 0])));
    assert!(stream.taken((2, 1, (1, 0)), at(2, &[1], [0, 0b11, 0, 0])));
    stream.target = Level::new(1, 1);
    assert!(!stream.taken((3, 3, (0, 1)), at(3, &[2], [0; 4])));
    assert!(!stream.taken((4, 3, (1, 1)), at(4, &[2, 1], [0; 4])));
    // The upper one is missing, then the lower one.
    assert!(stream.taken((5, 5, (0, 0)), at(5, &[4], [0b11, 0, 0, 0])));
    assert!(!stream.taken((6, 6, (0, 1)), at(7, &[2], [0; 4])));
    assert!(stream.taken((7, 7, (1, 0)), at(10, &[8], [0, 0b11, 0, 0])));
    assert!(!stream.taken((8, 8, (1, 1)), at(12, &[2], [0; 4])));
    assert!(stream.taken((9, 9, (0, 0)), at(13, &[4], [0b11, 0, 0, 0])));
    assert!(stream.taken((10, 9, (1, 0)), at(14, &[4, 1], [0, 0b11, 0, 0])));
    assert!(stream.taken((11, 11, (0, 1)), at(15, &[2], [0; 4])));
    assert!(stream.taken((12, 11, (1, 1)), at(16, &[2, 1], [0; 4])));
}

#[test]
fn frames_that_were_sent_are_known_by_number_across_its_wrap() {
    let mut had = Had {
        newest: None,
        frames: u128::MAX,
    };
    let needs = |before: &[u32]| Needs {
        near: before.iter().fold(0, |near, n| near | 1 << (n - 1)),
        far: false,
    };
    assert!(had.all(9, needs(&[1, 2, 100])), "everything so far");
    had.note(65_530);
    had.note(2);
    had.note(65_533);
    assert!(had.all(3, needs(&[1, 6, 9])));
    assert!(!had.all(3, needs(&[2])));
    assert!(!had.all(3, needs(&[1, 3])));
    assert!(had.all(6, needs(&[4, 9, 12])));
    assert!(!had.all(6, needs(&[1])));
    assert!(had.all(300, needs(&[])));
    assert!(!had.all(300, needs(&[128])));
}

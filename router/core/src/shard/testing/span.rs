//! Two shards whose rooms have parts on both.

use std::time::Duration;

use super::Bench;
use crate::crossing::{Crossing, Worth};
use crate::id::WorkerId;

/// The workers of both.
pub(crate) const WORKERS: [WorkerId; 2] = [WorkerId(3), WorkerId(4)];

/// Two benches, and the way between them.
pub(crate) struct Span {
    pub(crate) sides: [Bench; 2],
    /// Loses packets of video between them.
    pub(crate) lose_video: bool,
    /// Nothing gets across.
    pub(crate) cut: bool,
}

impl Span {
    /// Two shards that know that this room has a part on each.
    pub(crate) fn of(room: &str) -> Self {
        let mut span = Span {
            sides: WORKERS.map(Bench::of_worker),
            lose_video: false,
            cut: false,
        };
        for side in &mut span.sides {
            side.shard.set_parts(side.now, room, &WORKERS);
        }
        span
    }

    /// One side, at the time of the later one.
    pub(crate) fn side(&mut self, index: usize) -> &mut Bench {
        self.sync();
        &mut self.sides[index]
    }

    /// Both at the same time, with nothing on the way.
    pub(crate) fn sync(&mut self) {
        let now = self.sides.iter().map(|side| side.now).max().unwrap();
        for side in &mut self.sides {
            side.now = now;
        }
        for _ in 0..200 {
            let mut moved = false;
            for from in 0..2 {
                self.sides[from].settle();
                let crossings = std::mem::take(&mut self.sides[from].crossings);
                for (to, crossing) in crossings {
                    assert_eq!(to, WORKERS[1 - from], "there is no other worker");
                    moved |= self.carry(from, crossing);
                }
            }
            if !moved {
                return;
            }
        }
        panic!("the shards never had enough of each other");
    }

    fn carry(&mut self, from: usize, crossing: Crossing) -> bool {
        if self.cut || (self.lose_video && crossing.worth() == Worth::Video) {
            return false;
        }
        let to = &mut self.sides[1 - from];
        to.shard.handle_crossing(to.now, WORKERS[from], crossing);
        true
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.sides[0].now + time;
        while self.sides[0].now < until {
            for side in &mut self.sides {
                side.now += Duration::from_millis(10);
            }
            self.sync();
        }
    }
}

//! Faults put in on purpose, one at a time, so that the simulator can show that it would find them.
//!
//! Only with the feature `mutants`, which tests have; without it [`is`] is false at compile time.

/// A fault. The number is that of the invariant it breaks first (docs/simulation.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// 1: tracks of other rooms may be subscribed to.
    OtherRooms,
    /// 2: what comes after packets that were given up takes one number too low.
    GivenUpTwice,
    /// 2: a new source begins with the number of the last packet of the old one.
    NumberTwice,
    /// 3: picture ids are those of the source.
    PictureIds,
    /// 4: a switch to another layer does not wait for a keyframe.
    SwitchAnywhere,
    /// 4: packets from before a switch are forwarded after it.
    LateAfterSwitch,
    /// 5: publishers are never asked for keyframes.
    NoKeyframes,
    /// 6: packets that receivers miss are not sent again.
    NoRepair,
    /// 8: what a pause stopped does not go on.
    PausedForEver,
    /// 9: who may have moved is asked again and again.
    AskAlways,
    /// 10: an empty room stays.
    RoomsStay,
    /// 10: subscriptions of a track stay when it ends.
    SubscriptionsStay,
    /// 11: nobody is told who left.
    SilentLeave,
    /// 11: nobody is told which tracks ended.
    SilentEnd,
    /// 11: other workers are not told who left.
    WordsLost,
    /// 12: retransmissions do not count their numbers.
    RepairNumbers,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 16] = [
        Mutant::OtherRooms,
        Mutant::GivenUpTwice,
        Mutant::NumberTwice,
        Mutant::PictureIds,
        Mutant::SwitchAnywhere,
        Mutant::LateAfterSwitch,
        Mutant::NoKeyframes,
        Mutant::NoRepair,
        Mutant::PausedForEver,
        Mutant::AskAlways,
        Mutant::RoomsStay,
        Mutant::SubscriptionsStay,
        Mutant::SilentLeave,
        Mutant::SilentEnd,
        Mutant::WordsLost,
        Mutant::RepairNumbers,
    ];

    /// It is seen where packets get lost and nothing else happens to them.
    #[must_use]
    pub fn wants_rain(self) -> bool {
        self == Mutant::NoRepair
    }
}

#[cfg(feature = "mutants")]
mod present {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static PRESENT: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Puts a fault into the shards of this thread, or takes it out.
    pub fn put(mutant: Option<Mutant>) {
        PRESENT.set(mutant);
    }

    pub(super) fn get() -> Option<Mutant> {
        PRESENT.get()
    }
}

#[cfg(feature = "mutants")]
pub use present::put;

/// Whether this fault is in.
#[inline]
pub(crate) fn is(mutant: Mutant) -> bool {
    #[cfg(feature = "mutants")]
    let present = present::get() == Some(mutant);
    #[cfg(not(feature = "mutants"))]
    let present = {
        let _ = mutant;
        false
    };
    present
}

//! Fuzzers of everything that reads what came from a network or a plugin. `tests/fuzz/run` builds and runs them.
//!
//! One program for all: `RILLWAY_FUZZ` names the target (or `seeds`, which writes the seeds of all of them into the
//! folder that `RILLWAY_FUZZ_SEEDS` names). Beside panics each target has something that it holds against its
//! subject: that what was written is read again, that nothing forbidden leaves, that each request has one answer.
#![no_main]

#[path = "targets/arrivals.rs"]
mod arrivals;
#[path = "targets/datagrams.rs"]
mod datagrams;
#[path = "targets/descriptors.rs"]
mod descriptors;
#[path = "targets/management.rs"]
mod management;
#[path = "targets/media.rs"]
mod media;
#[path = "targets/names.rs"]
mod names;
#[path = "targets/offers.rs"]
mod offers;
#[path = "targets/people.rs"]
mod people;
#[path = "targets/reader.rs"]
mod reader;
#[path = "targets/recording.rs"]
mod recording;
#[path = "targets/rooms.rs"]
mod rooms;
#[path = "targets/rtcp.rs"]
mod rtcp;
#[path = "targets/rtp.rs"]
mod rtp;
#[path = "targets/sdp.rs"]
mod sdp;
#[path = "targets/seeds.rs"]
mod seeds;
#[path = "targets/shards.rs"]
mod shards;
#[path = "targets/streams.rs"]
mod streams;
#[path = "targets/stun.rs"]
mod stun;
#[path = "targets/texts.rs"]
mod texts;
#[path = "targets/turn.rs"]
mod turn;
#[path = "targets/whip.rs"]
mod whip;
#[path = "targets/wires.rs"]
mod wires;

use std::panic;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use libfuzzer_sys::fuzz_target;

/// What is fuzzed, in the order of `tests/fuzz/run`.
const TARGETS: [(&str, fn(&[u8])); 18] = [
    ("rtp", rtp::run),
    ("descriptors", descriptors::run),
    ("recording", recording::run),
    ("rtcp", rtcp::run),
    ("arrivals", arrivals::run),
    ("media", media::run),
    ("sdp", sdp::run),
    ("offers", offers::run),
    ("stun", stun::run),
    ("datagrams", datagrams::run),
    ("turn", turn::run),
    ("turn-stream", streams::run_turn),
    ("ice-stream", streams::run_ice),
    ("message", rooms::run_message),
    ("rooms", rooms::run),
    ("whip", whip::run),
    ("names", names::run),
    ("management", management::run),
];

/// Panics so far: one that the router contains is a finding too.
static PANICS: AtomicU32 = AtomicU32::new(0);

/// The target that was asked for.
fn target() -> fn(&[u8]) {
    static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();
    *TARGET.get_or_init(|| {
        let name = std::env::var("RILLWAY_FUZZ").unwrap_or_default();
        if name == "seeds" {
            seeds::write();
            return |_| ();
        }
        let found = TARGETS.iter().find(|(known, _)| *known == name);
        let Some((_, target)) = found else {
            eprintln!(
                "RILLWAY_FUZZ has to be one of {:?}",
                TARGETS.map(|(name, _)| name)
            );
            std::process::exit(64);
        };
        // The usual hook ends the process at the panic: what contains panics shall run its course, and be found out.
        panic::set_hook(Box::new(|info| {
            eprintln!("{info}");
            PANICS.fetch_add(1, Ordering::Relaxed);
        }));
        *target
    })
}

fuzz_target!(|input: &[u8]| {
    target()(input);
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "a panic was contained");
});

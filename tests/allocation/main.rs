//! What the packet path takes from the allocator.
//!
//! The engine allocates for each packet that comes in; for each that goes out nothing may. So the same
//! stream is forwarded to few and to many, and both must take the same.
#![forbid(unsafe_code)]

use allocation_counter::{AllocationInfo, measure};
use rillway_tests::media::TrackSpec;
use rillway_tests::scene::{Part, Scene};

/// Turns until every table and queue has the size it needs.
const WARM_UP: usize = 200;
const TURNS: usize = 300;

/// What turns that forward something took.
struct Taken {
    /// Least of a turn.
    least: u64,
    total: u64,
    forwarded: u64,
}

fn allocations(tracks: &[TrackSpec], subscribers: usize) -> Taken {
    let mut scene = Scene::new(tracks.to_vec(), subscribers);
    for _ in 0..WARM_UP {
        scene.frame(&mut |_, work| work());
    }
    let received = scene.received();
    let mut taken = Taken {
        least: u64::MAX,
        total: 0,
        forwarded: 0,
    };
    for _ in 0..TURNS {
        let mut count = 0;
        let packets = scene.frame(&mut |part, work| match part {
            Part::Forwarding => count += measure(work).count_total,
            Part::Feedback => work(),
        });
        if packets > 0 {
            taken.least = taken.least.min(count);
            taken.total += count;
            taken.forwarded += packets;
        }
    }
    assert_eq!(scene.received() - received, taken.forwarded);
    assert!(taken.forwarded >= (TURNS * subscribers) as u64);
    taken
}

#[test]
fn a_forwarded_packet_allocates_nothing() {
    for tracks in [
        vec![TrackSpec::video(8)],
        vec![TrackSpec::audio(), TrackSpec::video(2)],
    ] {
        let few = allocations(&tracks, 2);
        let many = allocations(&tracks, 60);
        assert_eq!(
            few.least, many.least,
            "a turn without reports and timers takes what its incoming packets take"
        );
        // Reports and timers of 58 more transports take a little, now and then.
        let more = many.total.saturating_sub(few.total) as f64;
        let each = more / (many.forwarded - few.forwarded) as f64;
        assert!(each < 0.02, "{each} allocations for each packet");
    }
}

#[test]
fn the_counter_counts() {
    let AllocationInfo { count_total, .. } = measure(|| drop(std::hint::black_box(vec![1_u8; 9])));
    assert_eq!(count_total, 1);
}

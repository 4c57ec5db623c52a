//! Cost of forwarding a packet, beside what cannot be avoided, in one run.
//!
//! `cargo bench -p rillway-benches --bench forward -- [SUBSCRIBERS…]`. Clients are real (ICE, DTLS,
//! SRTP) and check every packet; only the shard's part is measured, as CPU time of the thread. Beside it: the bare
//! sealing of as many bytes under as many keys, and bare sends in trains of the burst's size (UDP GSO, loopback). The
//! last column is (forwarding + send) / (seal + send).
#![forbid(unsafe_code)]

mod cpu;
mod limit;

use rillway_tests::media::TrackSpec;
use rillway_tests::scene::{Part, Scene};

use cpu::{Samples, timed};

const PAYLOAD_BYTES: usize = 1_100;

fn main() {
    let arguments: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let counts = if arguments.is_empty() {
        vec![10, 100, 500, 1_000]
    } else {
        arguments
    };
    println!(
        "ns of thread CPU per forwarded packet of {PAYLOAD_BYTES} bytes: 10th percentile / median / mean"
    );
    println!(
        "subscribers burst |          forward          |         feedback          |   seal |   send | to the limit"
    );
    for subscribers in counts {
        for burst in [1, 8] {
            row(subscribers, burst);
        }
    }
}

fn row(subscribers: usize, burst: u16) {
    let turns = (200_000 / (subscribers * usize::from(burst))).clamp(100, 1_000);
    let mut scene = Scene::new(vec![TrackSpec::video(burst)], subscribers);
    for _ in 0..turns / 4 {
        scene.frame(&mut |_, work| work());
    }
    let (mut forward, mut feedback) = (Samples::default(), Samples::default());
    let received = scene.received();
    let mut forwarded = 0;
    for _ in 0..turns {
        let mut spent = [0, 0];
        let packets = scene.frame(&mut |part, work| {
            let (ns, ()) = timed(work);
            spent[usize::from(part == Part::Feedback)] += ns;
        });
        forward.add(spent[0], packets);
        feedback.add(spent[1], packets);
        forwarded += packets;
    }
    assert_eq!(scene.received() - received, forwarded, "all arrived");
    scene.assert_sound();
    let seal = limit::seal(subscribers, burst.into(), PAYLOAD_BYTES, turns).quantile(0.1);
    let send = limit::send(subscribers, burst.into(), PAYLOAD_BYTES, turns);
    let send = send.expect("loopback works").quantile(0.1);
    println!(
        "{subscribers:>11} {burst:>5} | {} | {} | {seal:>6.0} | {send:>6.0} | {:>5.2}",
        figures(&forward),
        figures(&feedback),
        (forward.quantile(0.1) + send) / (seal + send),
    );
}

fn figures(samples: &Samples) -> String {
    format!(
        "{:>7.0} / {:>6.0} / {:>6.0}",
        samples.quantile(0.1),
        samples.quantile(0.5),
        samples.mean()
    )
}

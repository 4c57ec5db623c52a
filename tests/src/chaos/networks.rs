//! What networks do to people in calls.

use std::time::Duration;

use str0m_netem::{Bitrate, DataSize, GilbertElliot, NetemConfig, Probability, RandomLoss};

/// A network without faults.
pub(super) fn calm(seed: u64) -> NetemConfig {
    NetemConfig::new()
        .latency(Duration::from_millis(10))
        .seed(seed)
}

/// A network that loses some packets.
pub(super) fn rainy(dice: &mut fastrand::Rng) -> NetemConfig {
    let latency = Duration::from_millis(dice.u64(1..60));
    let share = Probability::new(dice.f32() * 0.03);
    let base = NetemConfig::new().latency(latency).seed(dice.u64(..));
    base.loss(RandomLoss::new(share))
}

/// Some network.
pub(super) fn some(dice: &mut fastrand::Rng) -> NetemConfig {
    let latency = Duration::from_millis(dice.u64(1..60));
    let base = NetemConfig::new().latency(latency).seed(dice.u64(..));
    let share = |dice: &mut fastrand::Rng, most: f32| Probability::new(dice.f32() * most);
    match dice.u8(0..8) {
        0 | 1 => base,
        2 => base.loss(RandomLoss::new(share(dice, 0.05))),
        3 => base.loss(GilbertElliot::wifi_lossy()),
        4 => base.jitter(latency.mul_f32(0.6)),
        5 => base
            .jitter(latency.mul_f32(0.4))
            .duplicate(share(dice, 0.05)),
        6 => base.reorder_gap(dice.u32(5..40)),
        _ => {
            let kbps = dice.u64(150..3_000);
            base.link(
                Bitrate::kbps(kbps),
                DataSize::bytes(kbps as i64 * 1_000 / 8 / 4),
            )
        }
    }
}

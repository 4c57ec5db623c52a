//! Numbers for people, in few cells.

pub(super) use crate::cli::tables::plain;

/// Bits per second, in at most six cells: `9.9M`.
pub(super) fn bits(bps: u64) -> String {
    scaled(bps as f64, &["", "k", "M", "G", "T"])
}

/// Bytes.
pub(super) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1_024.0 {
            break;
        }
        value /= 1_024.0;
        unit = next;
    }
    if value < 10.0 && unit != "B" {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// A count per second.
pub(super) fn per_second(rate: f64) -> String {
    if rate > 0.0 && rate < 9.95 {
        format!("{rate:.1}")
    } else {
        scaled(rate, &["", "k", "M", "G"])
    }
}

fn scaled(value: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut unit = 0;
    // Rounded, so that 999,999 is not `1000k`.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1_000.0;
        unit += 1;
    }
    let name = units.get(unit).copied().unwrap_or_default();
    if unit > 0 && value < 9.95 {
        format!("{value:.1}{name}")
    } else {
        format!("{value:.0}{name}")
    }
}

/// Microseconds.
pub(super) fn micros(us: f64) -> String {
    match us {
        us if us < 999.5 => format!("{us:.0} µs"),
        us if us < 9_950.0 => format!("{:.1} ms", us / 1e3),
        us if us < 999_500.0 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.1} s", us / 1e6),
    }
}

/// A share, 0 to 1.
pub(super) fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent > 0.0 && percent < 9.95 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    }
}

/// How long something has been going on.
pub(super) fn age(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => format!("{minutes} min {rest:02} s"),
        (0, _, _) => format!("{hours} h {minutes:02} min"),
        _ => format!("{days} d {hours:02} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_few_cells_and_their_unit() {
        let rates = [
            0,
            999,
            1_000,
            9_940,
            12_345,
            999_999,
            1_250_000,
            98_000_000_000,
        ];
        let texts = ["0", "999", "1.0k", "9.9k", "12k", "1.0M", "1.2M", "98G"];
        assert_eq!(rates.map(bits), texts);
        let times = [0.0, 45.4, 999.4, 1_234.0, 25_000.0, 1_500_000.0];
        assert_eq!(
            times.map(micros),
            ["0 µs", "45 µs", "999 µs", "1.2 ms", "25 ms", "1.5 s"]
        );
        assert_eq!([0.0, 0.004, 0.5].map(percent), ["0 %", "0.4 %", "50 %"]);
        assert_eq!(
            [0.0, 0.25, 12.0, 4_500.0].map(per_second),
            ["0", "0.2", "12", "4.5k"]
        );
        assert_eq!(
            [1_023, 1_536, 120 << 20].map(bytes),
            ["1023 B", "1.5 KiB", "120 MiB"]
        );
        let ages = [5_000, 65_000, 3_725_000, 180_000_000];
        assert_eq!(
            ages.map(age),
            ["5 s", "1 min 05 s", "1 h 02 min", "2 d 02 h"]
        );
    }
}

//! Configuration files as distracted people, and bad disks, leave them.

/// Numbers that look random and are the same each time.
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Numbers(seed)
    }

    /// The next one, below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }
}

/// Lines whose numbers are changed; each is valid. The first so many can change while a router runs.
const LINES: &[&str] = &[
    "gateway.page = true",
    "gateway.connections_max = 100N",
    "gateway.idle_timeout_ms = 1600N",
    "gateway.allowed_origins = [\"https://N.example\"]",
    "limits.participants_per_room = 1N",
    "limits.data_queue_bytes = 400000N",
    "limits.stun_answers_per_second = N",
    "shutdown.notice_ms = 100N",
    "log.filter = \"info\"",
    "layers.every_ms = 20N",
    "recording.files_max = 204N",
    // What needs a restart.
    "limits.sdp_bytes = 6553N",
    "recording.queue_packets = 1638N",
];
const LIVE: usize = 11;

/// A file that begins with `text`: a quarter of them valid, a quarter with a key that needs a restart, the others
/// damaged somewhere.
#[must_use]
pub fn configuration(text: &str, numbers: &mut Numbers) -> String {
    const PIECES: [&str; 12] = [
        "\"", "[", "]", "=", "\n", "é", "\u{0}", "{", ",", "#", ".", "'''",
    ];
    let mut text = text.to_owned();
    for line in LINES.iter().take(LIVE) {
        let digit = numbers.below(10).to_string();
        text += &format!("{}\n", line.replace('N', &digit));
    }
    match numbers.below(4) {
        0 => {}
        1 => {
            let line = LINES[LIVE + numbers.below(LINES.len() - LIVE)];
            text += &format!("{}\n", line.replace('N', "9"));
        }
        _ => {
            let starts: Vec<_> = text.char_indices().map(|(at, _)| at).collect();
            let at = starts[numbers.below(starts.len())];
            let end = (at + 1 + numbers.below(30)).min(text.len());
            match numbers.below(3) {
                0 => text.insert_str(at, PIECES[numbers.below(PIECES.len())]),
                1 => text.replace_range(at..end, ""),
                _ => text.truncate(at),
            }
        }
    }
    text
}

/// A text after some accidents: lines lost, repeated and in another order, values of another kind, pieces anywhere.
#[must_use]
pub fn damaged(text: &str, numbers: &mut Numbers) -> String {
    const VALUES: [&str; 16] = [
        "-1",
        "0",
        "18446744073709551616",
        "1e400",
        "inf",
        "nan",
        "true",
        "\"\"",
        "\"é\\u0000\"",
        "\"/dev/null\"",
        "[]",
        "[[1], {}]",
        "{ a = { b = 1 } }",
        "1979-05-27",
        "'''\n\t'''",
        "\"0.0.0.0:0\"",
    ];
    const PIECES: [&str; 14] = [
        "\"", "'''", "[", "]]", "=", "\n", "\r", "\t", "é", "漢", "\u{0}", "\u{202e}", "{", ".",
    ];
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..=numbers.below(6) {
        if lines.is_empty() {
            break;
        }
        let at = numbers.below(lines.len());
        match numbers.below(6) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(numbers.below(lines.len() + 1), lines[at].clone()),
            2 => {
                let other = numbers.below(lines.len());
                lines.swap(at, other);
            }
            3 | 4 => {
                let key = lines[at].split('=').next().unwrap_or_default().to_owned();
                lines[at] = format!("{key}= {}", VALUES[numbers.below(VALUES.len())]);
            }
            _ => {
                let line = &mut lines[at];
                let place = line.floor_char_boundary(numbers.below(line.len() + 1));
                line.insert_str(place, PIECES[numbers.below(PIECES.len())]);
            }
        }
    }
    lines.join("\n")
}

/// Whether a report names a place in `rillway.toml`, or says that something is not in it.
#[must_use]
pub fn has_place(report: &str) -> bool {
    let after = report.split("rillway.toml:").nth(1);
    after.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        || report.contains("is not in `")
        || report.contains("has no `[authentication]`")
}

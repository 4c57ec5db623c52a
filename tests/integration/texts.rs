//! Configurations that nobody would write. The parser is too deep in the router for the fuzzers of `tests/fuzz`.

use rillway::config::{Config, reference};
use rillway_tests::mutate::{Numbers, damaged, has_place};

/// Everything there is, in force.
fn everything() -> String {
    let reference = reference();
    let lines = reference.lines().map(|line| {
        let key = line.strip_prefix('#').filter(|rest| {
            let name = rest.split('=').next().unwrap_or_default().trim();
            let plain = |c: char| c.is_ascii_alphanumeric() || "_.-[]\"".contains(c);
            !name.is_empty() && name.chars().all(plain)
        });
        key.unwrap_or(line)
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn damaged_configurations_are_read_or_refused_with_a_place() {
    let count = std::env::var("RILLWAY_TEST_TEXTS").map_or(2_000, |n| n.parse().expect("a number"));
    let texts = [
        everything(),
        reference().replace("\n#policy = ", "\npolicy = "),
        "[authentication]\npolicy = \"auth-open\"\n".to_owned(),
    ];
    let mut numbers = Numbers::new(11);
    let (mut taken, mut refused) = (0, 0);
    for number in 0..count {
        let text = damaged(&texts[number % texts.len()], &mut numbers);
        match Config::parse("rillway.toml", &text) {
            Ok(_) => taken += 1,
            Err(error) => {
                let report = error.to_string();
                assert!(has_place(&report), "{number}: {report}\n{text}");
                refused += 1;
            }
        }
    }
    println!("{taken} taken, {refused} refused");
    assert!(refused > count / 4 && taken > count / 20, "{taken} taken");
}

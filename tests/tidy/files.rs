//! Layout and budgets.

use crate::repository::{assert_none, files};

/// What may stand at the top.
const TOP: [&str; 19] = [
    "Cargo.toml",
    "Cargo.lock",
    "router",
    "plugin-sdk",
    "plugins",
    "config",
    "tests",
    "benches",
    "docs",
    "README.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "clippy.toml",
    "deny.toml",
    "rustfmt.toml",
    "rust-toolchain.toml",
];

/// Lines of one file, tests and all.
const FILE_LINES_MAX: usize = 800;
/// Lines of one function, from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// The same in tests, where a table of cases is one function.
const TEST_FUNCTION_LINES_MAX: usize = 120;

#[test]
fn the_top_level_holds_only_what_is_named() {
    let strangers: Vec<String> = files()
        .into_iter()
        .filter_map(|file| file.path.split('/').next().map(str::to_owned))
        .filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str()))
        .collect();
    assert_none("not a named top-level folder or file", &strangers);
}

#[test]
fn files_are_short() {
    let extensions = [
        "rs", "js", "mjs", "ts", "css", "html", "wit", "sh", "md", "toml",
    ];
    let long: Vec<String> = files()
        .into_iter()
        .filter(|file| file.has_extension(&extensions))
        .map(|file| (file.text.lines().count(), file.path))
        .filter(|(lines, _)| *lines > FILE_LINES_MAX)
        .map(|(lines, path)| format!("{path}: {lines} lines"))
        .collect();
    assert_none(&format!("longer than {FILE_LINES_MAX} lines"), &long);
}

/// Name and length of each function of a file that rustfmt has laid out: it ends where a line holds
/// nothing but its closing brace, as far in as its `fn` line.
fn functions(text: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let words: Vec<&str> = code.split(' ').take(4).collect();
        let qualifiers = [
            "pub",
            "pub(crate)",
            "pub(super)",
            "const",
            "async",
            "unsafe",
            "fn",
        ];
        let is_function = words.contains(&"fn")
            && words
                .iter()
                .take_while(|w| **w != "fn")
                .all(|w| qualifiers.contains(w));
        if !is_function {
            continue;
        }
        let indent = line.len() - code.len();
        let closing = format!("{}}}", " ".repeat(indent));
        let rest = lines.iter().skip(start);
        // A declaration without a body ends with its semicolon.
        let end = rest.enumerate().find(|(i, l)| {
            let l = l.trim_end();
            l == closing
                || (l.len() - l.trim_start().len() <= indent && l.ends_with(';'))
                || (*i == 0 && l.ends_with('}'))
        });
        if let Some((length, _)) = end {
            let name = code.split(" fn ").last().unwrap_or(code);
            let name = name.trim_start_matches("fn ").split(['(', '<']).next();
            found.push((name.unwrap_or("?").to_owned(), length + 1));
        }
    }
    found
}

#[test]
fn functions_are_measured_rightly() {
    let text = "\
pub fn a() {
    if x {
    }
}
    pub(crate) const fn b<T>(
        t: T,
    ) -> T {
        t
    }
fn c();
fn d() {}
// fn e
";
    let expected = [("a", 4), ("b", 5), ("c", 1), ("d", 1)];
    let expected = expected.map(|(name, lines)| (name.to_owned(), lines));
    assert_eq!(functions(text), expected);
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("tests.rs")
}

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    let mut count = 0;
    for file in files().iter().filter(|file| file.has_extension(&["rs"])) {
        let max = match is_test(&file.path) {
            true => TEST_FUNCTION_LINES_MAX,
            false => FUNCTION_LINES_MAX,
        };
        for (name, lines) in functions(&file.text) {
            count += 1;
            if lines > max {
                long.push(format!(
                    "{}: `{name}` has {lines} lines, at most {max}",
                    file.path
                ));
            }
        }
    }
    assert!(count > 300, "only {count} functions were found");
    assert_none("functions are too long", &long);
}

#[test]
fn no_machine_is_named() {
    // Put together here, so that this file does not name them.
    let homes = [
        "/ro|ot/", "/ho|me/", "/wo|rk/", "/tm|p/w/", "/tm|p/t/", "/Us|ers/",
    ];
    let mut found = Vec::new();
    for file in files() {
        for (number, line) in file.text.lines().enumerate() {
            for home in homes {
                let home = home.replace('|', "");
                // In the middle of a longer path, as in a URL, it is nobody's machine.
                let names_it = line.match_indices(&home).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    before.is_none_or(|c| !c.is_alphanumeric() && !"_-.~/}$".contains(c))
                });
                if names_it {
                    found.push(format!("{}:{}: {home}", file.path, number + 1));
                }
            }
        }
    }
    assert_none("a path of somebody's machine", &found);
}

#[test]
fn packages_come_from_the_public_registries() {
    let mut found = Vec::new();
    for file in files() {
        let (key, prefix) = match file.path.rsplit('/').next() {
            Some("Cargo.lock") => (
                "source = ",
                "\"registry+https://github.com/rust-lang/crates.io-index\"",
            ),
            Some("package-lock.json") => ("\"resolved\": ", "\"https://registry.npmjs.org/"),
            _ => continue,
        };
        for (number, line) in file.text.lines().enumerate() {
            let source = line.trim_start().strip_prefix(key);
            if source.is_some_and(|source| !source.starts_with(prefix)) {
                found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    assert_none("not from a public registry", &found);
}

#[test]
fn obsolete_standards_are_not_cited() {
    // Number, and what replaced it.
    let obsolete = [
        ("52|45", "8445"),
        ("53|89", "8489"),
        ("45|66", "8866"),
        ("57|66", "8656"),
        ("88|29", "9429"),
        ("88|43", "9143"),
        ("71|59", "8259"),
    ];
    let mut found = Vec::new();
    for file in files() {
        if file.path.ends_with("lock") || file.path.ends_with("lock.json") {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            let line = line.to_lowercase().replace(' ', "");
            for (old, new) in obsolete {
                let old = old.replace('|', "");
                if line.contains(&format!("rfc{old}")) {
                    let at = format!("{}:{}", file.path, number + 1);
                    found.push(format!("{at}: RFC {old} is obsolete, cite RFC {new}"));
                }
            }
        }
    }
    assert_none("obsolete standards", &found);
}

#[test]
fn text_files_are_clean() {
    let mut found = Vec::new();
    for file in files() {
        // Seeds of fuzzers are inputs, even where they happen to be texts.
        if file.text.is_empty() || file.path.starts_with("tests/fuzz/corpus/") {
            continue;
        }
        if !file.text.ends_with('\n') {
            found.push(format!("{}: no line end at the end of the file", file.path));
        }
        for (number, line) in file.text.lines().enumerate() {
            if line.ends_with('\r') || line.ends_with(' ') || line.ends_with('\t') {
                found.push(format!(
                    "{}:{}: space at the end of the line",
                    file.path,
                    number + 1
                ));
            }
            if ["<<<<<<< ", ">>>>>>> "]
                .iter()
                .any(|mark| line.starts_with(mark))
            {
                found.push(format!("{}:{}: unresolved merge", file.path, number + 1));
            }
        }
    }
    assert_none("untidy text", &found);
}

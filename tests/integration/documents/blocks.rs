//! The commands in the documents: fenced `sh` and `console` blocks, line by line.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A command of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    /// Where it stands.
    pub(super) file: PathBuf,
    pub(super) line: usize,
    /// As written, its lines put together.
    pub(super) text: String,
    /// Lines of its output in the document, of a `console` block.
    pub(super) output: Option<Range<usize>>,
}

/// Every command of a document: in `sh` blocks those of the router; in `console` blocks what stands behind `$ `,
/// with the lines below as its output.
pub(super) fn commands(file: &Path, text: &str) -> Vec<Command> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    let mut kind = None;
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        match (&kind, line.strip_prefix("```")) {
            (None, Some(language)) => kind = Some(language.to_owned()),
            (Some(_), Some(_)) => kind = None,
            _ => {}
        }
        let begins = match kind.as_deref() {
            Some("sh") => line.starts_with("rillway ").then_some(*line),
            Some("console") => line.strip_prefix("$ "),
            _ => None,
        };
        let Some(begins) = begins else {
            at += 1;
            continue;
        };
        let first = at;
        let mut text = begins.to_owned();
        while let Some(continued) = text.strip_suffix('\\') {
            at += 1;
            let next = lines.get(at).copied().unwrap_or_default();
            text = format!("{}{}", continued, next.trim_start());
        }
        at += 1;
        let output = (kind.as_deref() == Some("console")).then(|| {
            let ends = |line: &&str| line.starts_with("$ ") || line.starts_with("```");
            let rest = lines.get(at..).unwrap_or_default();
            let length = rest.iter().position(ends).unwrap_or(rest.len());
            at..at + length
        });
        if let Some(output) = &output {
            at = output.end;
        }
        found.push(Command {
            file: file.to_owned(),
            line: first + 1,
            text,
            output,
        });
        // The fence that ends the block is looked at next.
    }
    found
}

/// Words as a shell takes them, up to a comment, a pipe, a redirection or the next command.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | '>' | '&' | ';') => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// What has to be the same in an output of two runs: its words, without numbers, ids and times; of a table, its kinds of
/// rows.
pub(super) fn shape(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut shape = String::new();
        let mut word = String::new();
        for c in line.chars().chain([' ']) {
            if c.is_alphanumeric() || c == '_' {
                word.push(c);
                continue;
            }
            let plain = match word.as_str() {
                "bit" | "kbit" | "Mbit" => "bit",
                // Of the machine that it ran on.
                "ring" | "mmsg" => "driver",
                // Who came first, and how far it was.
                "Ada" | "Bob" => "name",
                "waiting" | "writing" => "state",
                word if word.contains(|c: char| c.is_ascii_digit()) => "0",
                word => word,
            };
            shape.push_str(plain);
            word.clear();
            let last = shape.chars().last();
            // Columns are as wide as what is in them.
            if !(c == ' ' && last.is_none_or(|last| last == ' ')) {
                shape.push(c);
            }
        }
        lines.push(shape.trim_end().to_owned());
    }
    // Rows come in the order of ids, and how many differ in numbers alone may differ too.
    let mut shape = Vec::new();
    for block in lines.split(String::is_empty).filter(|b| !b.is_empty()) {
        let (first, rows) = block.split_at(1);
        shape.extend_from_slice(first);
        shape.extend(rows.iter().collect::<BTreeSet<_>>().into_iter().cloned());
    }
    shape
}

#[test]
fn blocks_are_read_as_a_reader_reads_them() {
    let text = "```sh\nrillway a 'b c'   # d\nopenssl x\nrillway e \\\n    f\n```\n\n```console\n$ rillway g | jq\n\
                out 1\n\nout 2\n$ true\n```\nrillway h\n";
    let found = commands(Path::new("x.md"), text);
    let texts: Vec<_> = found.iter().map(|c| c.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "rillway a 'b c'   # d",
            "rillway e f",
            "rillway g | jq",
            "true"
        ]
    );
    assert_eq!(found[0].output, None);
    assert_eq!(found[2].output, Some(9..12));
    assert_eq!(found[3].output, Some(13..13));
    assert_eq!((found[1].line, found[2].line), (4, 9));
    assert_eq!(words(&found[0].text), ["rillway", "a", "b c"]);
    assert_eq!(words(&found[2].text), ["rillway", "g"]);
    assert_eq!(words("rillway dev &"), ["rillway", "dev"]);
    assert_eq!(
        shape("A   B\n1  x9 2.5 kbit/s\n2 3a 1.0 Mbit/s\n\n"),
        ["A B", "0 0 0.0 bit/s"]
    );
}

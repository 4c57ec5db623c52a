//! The commands that the documents show: each is one that there is, and those about a running router are carried out,
//! by the real program on a real call, and show what the documents show.
//!
//! `RILLWAY_WRITE=1 cargo test … --test integration -- documents` writes what they show into the documents.

mod blocks;
mod scene;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use rillway::cli::Arguments;

use blocks::{Command, commands, shape, words};
use scene::Scene;

/// Documents whose commands are carried out, in this order: one scene, from beginning to end.
const PLAYED: [&str; 3] = [
    "docs/management.md",
    "docs/recording.md",
    "docs/recording-dump.md",
];

/// Sub-commands that no document has to show with a router, and why.
const ELSEWHERE: [(&str, &str); 12] = [
    (
        "doctor",
        "router/tests/cli/doctor.rs: what it shows is of the machine",
    ),
    (
        "load",
        "tests/integration/load.rs: what it shows is measured",
    ),
    (
        "participant move",
        "tests/integration/spanning.rs: it takes two workers, and a client that comes again",
    ),
    (
        "plugin new",
        "tests/languages, as the READMEs of the examples say",
    ),
    ("plugin build", "tests/languages"),
    ("plugin wrap", "tests/languages"),
    ("plugin wit", "tests/languages"),
    ("plugin check", "tests/languages"),
    (
        "plugin bench",
        "router/tests/cli: what it shows is measured",
    ),
    ("plugin run", "tests/languages"),
    (
        "reference",
        "router/src/config and router/src/telemetry: their texts are checked in",
    ),
    ("top", "needs a terminal; its own suite has one"),
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(document: &str) -> String {
    let path = repository().join(document);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{document}: {error}"))
}

/// Every document: the book, and what stands beside it.
fn documents() -> Vec<String> {
    let mut found = vec!["README.md".to_owned()];
    for folder in ["docs", "docs/plugins"] {
        let entries = repository().join(folder).read_dir().expect("a folder");
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let pages = names.filter(|name| name.ends_with(".md"));
        found.extend(pages.map(|name| format!("{folder}/{name}")));
    }
    found.sort();
    found
}

/// Which sub-command this is, or why it is none.
fn leaf(words: &[String]) -> Result<String, String> {
    let matches = Arguments::command().try_get_matches_from(words);
    let matches = matches.map_err(|error| error.to_string())?;
    let mut path = Vec::new();
    let mut at = &matches;
    while let Some((name, below)) = at.subcommand() {
        path.push(name.to_owned());
        at = below;
    }
    Ok(path.join(" "))
}

/// Every sub-command that there is.
fn leaves(command: &clap::Command, path: &str, found: &mut BTreeSet<String>) {
    let below = command.get_subcommands();
    let below: Vec<_> = below
        .filter(|c| !c.is_hide_set() && c.get_name() != "help")
        .collect();
    if below.is_empty() && !path.is_empty() {
        found.insert(path.to_owned());
    }
    for one in below {
        leaves(
            one,
            format!("{path} {}", one.get_name()).trim_start(),
            found,
        );
    }
}

#[test]
fn every_command_in_the_documents_is_one() {
    let mut wrong = String::new();
    for document in documents() {
        for command in commands(Path::new(&document), &read(&document)) {
            let words = words(&command.text);
            if words.first().is_some_and(|word| word == "rillway")
                && let Err(why) = leaf(&words)
            {
                let _ = writeln!(
                    wrong,
                    "{document}:{}: {}\n{why}",
                    command.line, command.text
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_sub_command_is_shown_by_a_document_that_is_played() {
    let mut all = BTreeSet::new();
    leaves(&Arguments::command(), "", &mut all);
    let mut shown = BTreeSet::new();
    for document in PLAYED {
        let found = commands(Path::new(document), &read(document));
        shown.extend(found.iter().filter_map(|c| leaf(&words(&c.text)).ok()));
    }
    let elsewhere: BTreeSet<_> = ELSEWHERE
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    let missing: Vec<_> = all
        .difference(&shown)
        .filter(|l| !elsewhere.contains(*l))
        .collect();
    assert!(missing.is_empty(), "no document shows {missing:?}");
    let needless: Vec<_> = elsewhere.intersection(&shown).collect();
    assert!(needless.is_empty(), "shown after all: {needless:?}");
}

#[tokio::test]
async fn the_documents_show_what_their_commands_do() {
    let mut played: Vec<Command> = Vec::new();
    for document in PLAYED {
        played.extend(commands(Path::new(document), &read(document)));
    }
    let scene = Scene::start().await;
    let outputs = scene.play(played).await;
    if std::env::var_os("RILLWAY_WRITE").is_some() {
        return write(&outputs);
    }
    let mut wrong = String::new();
    for (command, output) in &outputs {
        let document = command.file.display();
        let at = format!("{document}:{}: {}", command.line, command.text);
        let text = read(&document.to_string());
        let shown = command.output.as_ref().map(|lines| {
            let all: Vec<_> = text.lines().collect();
            all[lines.clone()].join("\n")
        });
        let fails = shown
            .as_ref()
            .is_some_and(|shown| shown.contains("error: "));
        if (output.code == Some(0)) == fails {
            let _ = writeln!(
                wrong,
                "{at}\nexit code {:?}:\n{}\n",
                output.code, output.text
            );
        } else if let Some(shown) = shown
            && shape(&shown) != shape(&output.text)
        {
            let _ = writeln!(
                wrong,
                "{at}\nthe document shows\n{shown}\nand it is\n{}\n",
                output.text
            );
        }
    }
    assert!(
        wrong.is_empty(),
        "{wrong}\nRILLWAY_WRITE=1 writes what they show into the documents"
    );
}

/// Puts the outputs into the documents.
fn write(outputs: &[(Command, scene::Output)]) {
    let mut by_file: BTreeMap<&Path, Vec<_>> = BTreeMap::new();
    for (command, output) in outputs {
        if let Some(lines) = &command.output {
            by_file
                .entry(&command.file)
                .or_default()
                .push((lines, output));
        }
    }
    for (file, outputs) in by_file {
        let path = repository().join(file);
        let text = std::fs::read_to_string(&path).expect("it was read");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (at, output) in outputs.into_iter().rev() {
            let new = output
                .text
                .trim_end()
                .lines()
                .map(|line| line.trim_end().to_owned());
            lines.splice(at.clone(), new);
        }
        std::fs::write(&path, lines.join("\n") + "\n").expect("our documents");
    }
}

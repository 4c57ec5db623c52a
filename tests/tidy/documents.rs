//! Documents name what exists.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::repository::{File, assert_none, files, root};

/// Made by tests and builds, so never tracked.
const GENERATED: [&str; 2] = ["tests/artifacts", "router/src/gateway/page/node_modules"];

/// Text of a document without its fenced blocks.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let lines = text.lines().map(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        if fenced || fence { "" } else { line }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What stands between backticks.
fn code_spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Targets of `[text](target)`.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1);
    targets.filter_map(|rest| rest.split(')').next()).collect()
}

/// Anchors of a document's headings, as renderers make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text);
    let headings = headings.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// `a/b/../c` → `a/c`.
fn normalized(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, part| {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            part => path.push(part),
        }
        path
    })
}

fn documents() -> Vec<File> {
    let documents: Vec<File> = files()
        .into_iter()
        .filter(|file| file.has_extension(&["md"]))
        .collect();
    assert!(
        documents.len() > 5,
        "only {} documents were found",
        documents.len()
    );
    documents
}

#[test]
fn links_lead_somewhere() {
    let mut found = Vec::new();
    for document in documents() {
        let directory = Path::new(&document.path)
            .parent()
            .expect("a folder")
            .to_owned();
        for link in links(&prose(&document.text)) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => PathBuf::from(&document.path),
                path => normalized(&directory.join(path)),
            };
            let Ok(metadata) = std::fs::metadata(root().join(&target)) else {
                found.push(format!("{}: {link}", document.path));
                continue;
            };
            if anchor.is_empty() || metadata.is_dir() {
                continue;
            }
            let text = std::fs::read_to_string(root().join(&target)).expect("a text");
            if !anchors(&text).contains(anchor) {
                found.push(format!("{}: {link} (no such heading)", document.path));
            }
        }
    }
    assert_none("dead links", &found);
}

/// Paths a document names in backticks: with a `/`, and starting with a top-level folder.
fn named_paths(text: &str) -> Vec<String> {
    const FOLDERS: [&str; 7] = [
        "router",
        "plugin-sdk",
        "plugins",
        "config",
        "tests",
        "benches",
        "docs",
    ];
    let prose = prose(text);
    let spans = code_spans(&prose).into_iter();
    let paths = spans.filter(|span| {
        let first = span.split('/').next().unwrap_or("");
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        span.contains('/') && FOLDERS.contains(&first) && span.chars().all(plain)
    });
    paths.map(str::to_owned).collect()
}

#[test]
fn documents_name_files_that_exist() {
    let mut found = Vec::new();
    for document in documents() {
        // What was true of a release stays in the change log.
        if document.path == "CHANGELOG.md" {
            continue;
        }
        for path in named_paths(&document.text) {
            let generated = GENERATED.iter().any(|g| path.starts_with(g));
            if !generated && !root().join(&path).exists() {
                found.push(format!("{}: `{path}`", document.path));
            }
        }
    }
    assert_none("files that do not exist", &found);
}

#[test]
fn the_architecture_names_the_files_of_both_ways() {
    let text = std::fs::read_to_string(root().join("docs/architecture.md")).expect("it exists");
    let named = named_paths(&text);
    assert!(named.len() >= 20, "only {} paths are named", named.len());
    for folder in [
        "router/core/",
        "router/ring/",
        "router/src/",
        "plugins/",
        "tests/",
    ] {
        assert!(
            named.iter().any(|path| path.starts_with(folder)),
            "nothing of {folder}"
        );
    }
}

#[test]
fn every_page_is_in_the_summary() {
    let summary = std::fs::read_to_string(root().join("docs/SUMMARY.md")).expect("it exists");
    let linked: BTreeSet<String> = links(&summary)
        .into_iter()
        .map(|l| format!("docs/{l}"))
        .collect();
    let missing: Vec<String> = documents()
        .into_iter()
        .map(|document| document.path)
        .filter(|path| path.starts_with("docs/") && path != "docs/SUMMARY.md")
        .filter(|path| !linked.contains(path))
        .collect();
    assert_none("not in docs/SUMMARY.md", &missing);
}

/// Every step of `tests/run` is explained.
#[test]
fn every_step_of_the_tests_is_documented() {
    let run = std::fs::read_to_string(root().join("tests/run")).expect("it exists");
    let page = std::fs::read_to_string(root().join("docs/testing.md")).expect("it exists");
    let steps = run.lines().skip_while(|line| *line != "steps=(").skip(1);
    let steps: Vec<&str> = steps
        .take_while(|line| *line != ")")
        .filter_map(|line| line.trim().strip_prefix('"')?.split('|').next())
        .collect();
    assert!(steps.len() > 5, "the steps were found");
    let missing: Vec<String> = steps
        .into_iter()
        .filter(|step| !page.contains(&format!("`{step}`")))
        .map(str::to_owned)
        .collect();
    assert_none("not in docs/testing.md", &missing);
}

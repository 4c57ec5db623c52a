//! The files of the repository.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests/ is in the root").to_owned()
}

/// A file of the repository.
#[derive(Debug)]
pub(crate) struct File {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    /// Contents; empty if it is not text.
    pub(crate) text: String,
}

impl File {
    pub(crate) fn has_extension(&self, extensions: &[&str]) -> bool {
        let extension = Path::new(&self.path).extension().and_then(|e| e.to_str());
        extension.is_some_and(|e| extensions.contains(&e))
    }
}

/// Every file that is tracked, or would be after `git add`; without git, every file that is there.
pub(crate) fn files() -> Vec<File> {
    let root = root();
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(&root)
        .output()
        .ok()
        .filter(|output| output.status.success());
    let paths: BTreeSet<String> = match listed {
        Some(output) => String::from_utf8(output.stdout)
            .expect("paths are UTF-8")
            .split_terminator('\0')
            .map(str::to_owned)
            .collect(),
        None => {
            let mut found = BTreeSet::new();
            walk(&root, "", &mut found);
            found
        }
    };
    let read = |path: String| {
        // Deleted but not yet committed.
        let bytes = std::fs::read(root.join(&path)).ok()?;
        let text = String::from_utf8(bytes).unwrap_or_default();
        Some(File { path, text })
    };
    let files: Vec<File> = paths.into_iter().filter_map(read).collect();
    assert!(files.len() > 50, "only {} files were found", files.len());
    files
}

fn walk(directory: &Path, prefix: &str, found: &mut BTreeSet<String>) {
    const GENERATED: [&str; 4] = ["target", "node_modules", "tests/artifacts", ".git"];
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if GENERATED.contains(&path.as_str()) || GENERATED.contains(&name.as_str()) {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path(), &format!("{path}/"), found),
            _ => {
                found.insert(path);
            }
        }
    }
}

/// Fails with all complaints at once.
#[track_caller]
pub(crate) fn assert_none(what: &str, complaints: &[String]) {
    let list = complaints.join("\n  ");
    assert!(complaints.is_empty(), "{what}:\n  {list}");
}

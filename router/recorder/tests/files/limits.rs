//! Disks and processes with little of something.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{Folder, child};

fn succeeded(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let done = output.status.success() && text.contains("done");
    assert!(done, "{}\n{text}\n{errors}", output.status);
}

/// The task on a file system of 1 MiB, in a mount namespace; skipped where that is not permitted.
fn on_small_disk(task: &str) {
    let folder = Folder::new(task);
    std::fs::create_dir(&folder.0).expect("is made");
    let mount = |then: &[&std::ffi::OsStr], root: &Path, of: Option<&Command>| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-ec"]);
        command
            .arg("mount -t tmpfs -o size=1m tmpfs \"$0\"; exec \"$@\"")
            .arg(root);
        command.args(then);
        for (name, value) in of.into_iter().flat_map(Command::get_envs) {
            command.env(name, value.unwrap_or_default());
        }
        command.stdin(Stdio::null()).output()
    };
    let permitted = mount(&["true".as_ref()], &folder.0, None);
    if !permitted
        .as_ref()
        .is_ok_and(|output| output.status.success())
    {
        eprintln!("skipped: a mount namespace is not permitted here: {permitted:?}");
        return;
    }
    let child = child(task, &folder.0);
    let mut words = vec![child.get_program()];
    words.extend(child.get_args());
    succeeded(&mount(&words, &folder.0, Some(&child)).expect("it runs"));
}

#[test]
fn the_watermark_on_a_small_disk() {
    on_small_disk("watermark");
}

#[test]
fn a_small_disk_is_full() {
    on_small_disk("no-space");
}

#[test]
fn a_disk_becomes_read_only() {
    on_small_disk("read-only");
}

#[test]
fn of_few_descriptors_half_are_taken() {
    let folder = Folder::new("few-files");
    succeeded(&child("few-files", &folder.0).output().expect("it runs"));
}

#[test]
fn there_are_no_descriptors() {
    let folder = Folder::new("no-descriptors");
    succeeded(
        &child("no-descriptors", &folder.0)
            .output()
            .expect("it runs"),
    );
}

//! Real files.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;

use super::*;
use crate::engine::StartError;

/// A folder that is gone afterwards.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let unique = format!(
            "rillway-{name}-{}-{}",
            std::process::id(),
            fastrand::u64(..)
        );
        Self(std::env::temp_dir().join(unique))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn read(folder: &Folder, name: &str) -> String {
    fs::read_to_string(folder.0.join(name)).expect("is there")
}

#[test]
fn files_are_private_exclusive_and_numbered() {
    let folder = Folder::new("exclusive");
    let root = Root::record(&folder.0).expect("a root");
    let (first, mut file) = root.create("room", "a", "mp4").expect("a file");
    file.write_all(b"one").expect("is written");
    let (second, _) = root.create("room", "a", "mp4").expect("a file");
    assert_eq!(first.to_string(), "room/a.mp4");
    assert_eq!(second.to_string(), "room/a-2.mp4");
    let mode = |name: &str| {
        fs::metadata(folder.0.join(name))
            .expect("is there")
            .permissions()
            .mode()
    };
    assert_eq!(mode("room/a.mp4.part") & 0o777, 0o600);
    assert_eq!(mode("room") & 0o777, 0o700);
    assert_eq!(mode("") & 0o777, 0o700);
    let done = root.finish(&first, None).expect("is finished");
    assert_eq!((done.bytes, done.place), (3, first));
    let hash = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
    assert_eq!(done.sha256, hash);
    assert!(!folder.0.join("room/a.mp4.part").exists());
    assert_eq!(mode("room/a.mp4") & 0o777, 0o600);
    let (third, _) = root.create("room", "a", "mp4").expect("a file");
    assert_eq!(third.to_string(), "room/a-3.mp4");
}

#[test]
fn a_file_put_in_the_way_is_not_replaced() {
    let folder = Folder::new("in-the-way");
    let root = Root::record(&folder.0).expect("a root");
    let (place, mut file) = root.create("room", "a", "mp4").expect("a file");
    file.write_all(b"ours").expect("is written");
    fs::write(folder.0.join("room/a.mp4"), "theirs").expect("is written");
    let done = root.finish(&place, None).expect("is finished");
    assert_eq!(done.place.to_string(), "room/a-2.mp4");
    assert_eq!(read(&folder, "room/a.mp4"), "theirs");
    assert_eq!(read(&folder, "room/a-2.mp4"), "ours");
}

#[test]
fn links_are_not_followed() {
    let outside = Folder::new("outside");
    fs::create_dir(&outside.0).expect("is made");
    fs::write(outside.0.join("a.json"), "secret").expect("is written");
    let folder = Folder::new("links");
    let root = Root::record(&folder.0).expect("a root");
    symlink(&outside.0, folder.0.join("room")).expect("is made");
    fs::create_dir(folder.0.join("real")).expect("is made");
    symlink(outside.0.join("a.json"), folder.0.join("real/a.json")).expect("is made");
    symlink(outside.0.join("new"), folder.0.join("real/b.mp4.part")).expect("is made");
    for plain in [false, true] {
        root.walk_names(plain);
        root.create("room", "a", "mp4").expect_err("leads out");
        root.replace(&Place::new("room", "a.json").expect("a place"), b"x")
            .expect_err("leads out");
        for place in ["room/a.json", "real/a.json"] {
            root.read(&Place::parse(place).expect("a place"))
                .expect_err("leads out");
        }
        let (place, _) = root.create("real", "b", "mp4").expect("a file");
        assert!(place.file().starts_with("b-"), "{place}");
    }
    // A sidecar is replaced as a name, not through it.
    root.replace(&Place::new("real", "a.json").expect("a place"), b"x")
        .expect("is written");
    assert_eq!(read(&outside, "a.json"), "secret");
    assert_eq!(read(&folder, "real/a.json"), "x");
    let inside = fs::read_dir(&outside.0).expect("is read").count();
    assert_eq!(inside, 1, "nothing was made outside");
}

#[test]
fn a_pipe_is_no_recording() {
    let folder = Folder::new("pipe");
    let root = Root::record(&folder.0).expect("a root");
    fs::create_dir(folder.0.join("room")).expect("is made");
    let status = std::process::Command::new("mkfifo")
        .arg(folder.0.join("room/a.json"))
        .status();
    assert!(status.expect("mkfifo runs").success());
    let error = root
        .read(&Place::parse("room/a.json").expect("a place"))
        .expect_err("is none");
    assert!(error.to_string().contains("no regular file"), "{error}");
}

#[test]
fn two_routers_do_not_share_a_root() {
    let folder = Folder::new("lock");
    let root = Root::record(&folder.0).expect("a root");
    let error = Root::record(&folder.0).expect_err("is locked");
    assert!(matches!(error, StartError::InUse { .. }), "{error}");
    assert!(Root::view(&folder.0).is_ok(), "it may be looked at");
    drop(root);
    assert!(Root::record(&folder.0).is_ok());
    let missing = Root::record(&folder.0.join("a/b")).expect_err("has no parent");
    assert!(
        missing.to_string().contains("its parent has to exist"),
        "{missing}"
    );
}

#[test]
fn a_sidecar_is_replaced_whole() {
    let folder = Folder::new("replace");
    let root = Root::record(&folder.0).expect("a root");
    let place = root.unused("room", "recording", "json").expect("a name");
    root.replace(&place, b"one").expect("is written");
    let first = fs::metadata(folder.0.join("room/recording.json"))
        .expect("is there")
        .ino();
    root.replace(&place, b"two").expect("is written");
    let second = fs::metadata(folder.0.join("room/recording.json"))
        .expect("is there")
        .ino();
    assert_eq!(read(&folder, "room/recording.json"), "two");
    assert_ne!(first, second);
    fs::write(folder.0.join("room/.recording.json.tmp"), "torn").expect("is written");
    root.remove_temporaries().expect("are removed");
    assert_eq!(root.list().expect("is listed"), [place]);
    assert_eq!(
        fs::read_dir(folder.0.join("room"))
            .expect("is read")
            .count(),
        1
    );
}

#[test]
fn what_is_not_kept_is_gone() {
    let folder = Folder::new("keep");
    let root = Root::record(&folder.0).expect("a root");
    let (place, mut file) = root.create("room", "a", "mp4").expect("a file");
    file.write_all(b"whole torn").expect("is written");
    let done = root.finish(&place, Some(5)).expect("is finished");
    assert_eq!(done.bytes, 5);
    assert_eq!(read(&folder, "room/a.mp4"), "whole");
    let (place, _) = root.create("room", "b", "mp4").expect("a file");
    assert_eq!(root.finish(&place, Some(0)).expect("is finished").bytes, 0);
    assert_eq!(root.list().expect("is listed").len(), 1);
    assert!(root.space().expect("is seen").free_bytes > 0);
}

//! What counts as a router of this machine.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// A private folder, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rillway-find-{name}-{}", std::process::id()));
        make_private(&path).expect("a folder");
        Scratch(path)
    }

    fn entry(&self, pid: u32, start_ticks: u64) {
        let path = self.0.join(pid.to_string());
        make_private(&path).expect("a folder");
        let entry = Entry {
            pid,
            start_ticks,
            address: "127.0.0.1:7443".parse().expect("an address"),
            url: "http://127.0.0.1:8080/".to_owned(),
            version: "0".to_owned(),
        };
        let text = serde_json::to_string(&entry).expect("JSON");
        for (name, text) in [
            (NODE, text.as_str()),
            (CERTIFICATE, "c"),
            (KEY, "k"),
            (AUTHORITY, "a"),
        ] {
            write_private(&path.join(name), text).expect("a file");
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn me() -> (u32, u64) {
    let pid = std::process::id();
    (pid, start_ticks(pid).expect("we run"))
}

/// Two processes that run: this one and its parent.
fn parent() -> (u32, u64) {
    let pid = std::os::unix::process::parent_id();
    (pid, start_ticks(pid).expect("it runs"))
}

#[test]
fn the_only_one_is_found_and_nothing_else() {
    let scratch = Scratch::new("one");
    let none = find(&scratch.0, None).expect_err("empty");
    assert!(matches!(none, FindError::None(_)), "{none}");
    let (pid, ticks) = me();
    scratch.entry(pid, ticks);
    let (entry, target) = find(&scratch.0, None).expect("one");
    assert_eq!((entry.pid, target.name.as_str()), (pid, "127.0.0.1"));
    assert_eq!(target.identity.key.reveal(), "k");
    let error = find(&scratch.0, Some(1 << 23)).expect_err("no such one");
    assert!(error.to_string().contains("8080"), "{error}");
}

#[test]
fn several_are_told_apart() {
    let scratch = Scratch::new("two");
    let ((pid, ticks), (parent, parent_ticks)) = (me(), parent());
    scratch.entry(pid, ticks);
    scratch.entry(parent, parent_ticks);
    let error = find(&scratch.0, None).expect_err("two");
    let text = error.to_string();
    assert!(
        text.contains(&pid.to_string()) && text.contains(&parent.to_string()),
        "{text}"
    );
    for wanted in [pid, parent] {
        let (entry, _) = find(&scratch.0, Some(wanted)).expect("one");
        assert_eq!(entry.pid, wanted);
    }
}

#[test]
fn what_the_dead_left_behind_is_ignored_and_swept() {
    let scratch = Scratch::new("stale");
    let (pid, ticks) = me();
    // The same number, but another process had it.
    scratch.entry(pid, ticks + 1);
    // Above the largest process number Linux gives.
    scratch.entry(1 << 23, 5);
    make_private(&scratch.0.join("no-number")).expect("a folder");
    fs::write(scratch.0.join("no-number").join(NODE), "{").expect("a file");
    assert_eq!(all(&scratch.0).expect("readable"), []);
    sweep(&scratch.0);
    assert_eq!(
        folders(&scratch.0).expect("readable"),
        Vec::<PathBuf>::new()
    );
}

#[test]
fn a_folder_open_to_others_is_refused() {
    let scratch = Scratch::new("open");
    let (pid, ticks) = me();
    scratch.entry(pid, ticks);
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o755)).expect("ours");
    let error = find(&scratch.0, None).expect_err("anybody could read keys");
    assert!(matches!(error, FindError::Folder { .. }), "{error}");
    assert!(make_private(&scratch.0).is_err());
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o700)).expect("ours");
    let link = scratch.0.join("link");
    std::os::unix::fs::symlink("/tmp", &link).expect("a link");
    assert!(make_private(&link).is_err(), "nor is one that is a link");
}

#[test]
fn files_are_private_and_never_overwritten() {
    let scratch = Scratch::new("files");
    let path = scratch.0.join("key");
    write_private(&path, "secret").expect("new");
    assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
    let error = write_private(&path, "other").expect_err("it is there");
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&path).expect("text"), "secret");
}

//! Files and folders: recordings, plugins.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, StatVfsMountFlags};
use sha2::{Digest as _, Sha256};

use super::report::Finding;
use crate::config::{Component, Config, Plugin, Recorder};

/// What a recording folder is like.
#[derive(Debug, PartialEq, Eq)]
struct Folder {
    /// The folder, or the one it will be made in.
    place: PathBuf,
    exists: bool,
    /// Why this user cannot write to it.
    refused: Option<String>,
    free_bytes: u64,
    read_only: bool,
}

/// Where recordings go.
pub(super) fn recordings(config: &Config) -> Finding {
    const CHECK: &str = "recordings";
    let recorder = match (&config.recording, &config.recorder) {
        (None, _) => {
            return Finding::ok(CHECK, "nothing is recorded: `recording.policy` is \"none\"");
        }
        (_, None) => {
            return Finding::ok(
                CHECK,
                "nothing is recorded: `recording.directory` is not set",
            );
        }
        (_, Some(recorder)) if recorder.temporary => {
            return Finding::ok(CHECK, "into a temporary folder");
        }
        (_, Some(recorder)) => recorder,
    };
    match look(&recorder.directory) {
        Ok(folder) => judge_folder(recorder, &folder),
        Err(error) => {
            let what = format!(
                "{} cannot be looked at: {error}",
                recorder.directory.display()
            );
            Finding::problem(CHECK, what).at("recording.directory")
        }
    }
}

fn look(directory: &Path) -> io::Result<Folder> {
    let exists = directory.exists();
    let parent = directory.parent().filter(|p| !p.as_os_str().is_empty());
    let place = match exists {
        true => directory,
        false => parent.unwrap_or(Path::new(".")),
    };
    let space = rustix::fs::statvfs(place)?;
    let access = rustix::fs::access(place, Access::WRITE_OK | Access::EXEC_OK);
    Ok(Folder {
        place: place.to_owned(),
        exists,
        refused: access.err().map(|error| io::Error::from(error).to_string()),
        free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
        read_only: space.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}

fn judge_folder(recorder: &Recorder, folder: &Folder) -> Finding {
    const CHECK: &str = "recordings";
    let directory = recorder.directory.display();
    let problem = |what: String| Finding::problem(CHECK, what).at("recording.directory");
    let place = folder.place.display();
    if folder.read_only {
        let what = format!("{place} is on a file system that is mounted read-only");
        return problem(what).mend(format!("`mount -o remount,rw` of what `df {place}` names"));
    }
    if let Some(why) = &folder.refused {
        let what = match folder.exists {
            true => format!("{directory} cannot be written to: {why}"),
            false => format!("{directory} cannot be made in {place}: {why}"),
        };
        let way = format!("give it to the user that rillway runs as: `chown -R rillway {place}`");
        return problem(what).mend(way);
    }
    let (free, reserve) = (mib(folder.free_bytes), mib(recorder.free_bytes_min));
    if folder.free_bytes < recorder.free_bytes_min {
        let what =
            format!("{directory} has {free} MiB free, and below {reserve} nothing is recorded");
        return problem(what)
            .mend("remove old recordings (`rillway recording list`), or take a larger disk")
            .mend("or lower `recording.free_bytes_min`");
    }
    if folder.free_bytes / 2 < recorder.free_bytes_min {
        let what = format!("{directory} has {free} MiB free, and stops at {reserve}");
        let finding = Finding::warning(CHECK, what).at("recording.directory");
        return finding.mend("remove old recordings, or take a larger disk");
    }
    let made = if folder.exists {
        ""
    } else {
        " (it will be made)"
    };
    Finding::ok(
        CHECK,
        format!("{directory}{made}: {free} MiB free, reserve {reserve}"),
    )
}

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

/// Components from files: are they there, and the ones that were pinned? They are not compiled.
pub(super) fn plugins(config: &Config) -> Vec<Finding> {
    let bytes_max = u64::from(config.policy.component_bytes_max);
    let files = config.plugins.iter().filter_map(|(name, plugin)| {
        let Component::File(path) = &plugin.component else {
            return None;
        };
        Some(judge_plugin(name, path, plugin, bytes_max))
    });
    files.collect()
}

fn judge_plugin(name: &str, path: &Path, plugin: &Plugin, bytes_max: u64) -> Finding {
    const CHECK: &str = "plugins";
    let file = path.display();
    let problem =
        |what: String, key: &str| Finding::problem(CHECK, what).at(format!("plugins.{name}.{key}"));
    let read = File::open(path).and_then(|open| {
        let mut bytes = Vec::new();
        open.take(bytes_max + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(error) => {
            let what = format!("{name}: {file} cannot be read: {error}");
            return problem(what, "component")
                .mend(format!("`ls -l {file}`: rillway's user reads it"));
        }
    };
    if bytes.len() as u64 > bytes_max {
        let what =
            format!("{name}: {file} is larger than `policy.component_bytes_max`, {bytes_max}");
        return problem(what, "component").mend("name another file, or raise that");
    }
    let found: [u8; 32] = Sha256::digest(&bytes).into();
    let hex = |digest: &[u8; 32]| -> String { digest.iter().map(|b| format!("{b:02x}")).collect() };
    match plugin.sha256 {
        Some(pinned) if pinned != found => {
            let what = format!(
                "{name}: SHA-256 of {file} is {}, not what is pinned",
                hex(&found)
            );
            problem(what, "sha256")
                .mend("restore the file that was pinned")
                .mend(format!(
                    "or, if it is the right one: `sha256 = \"{}\"`",
                    hex(&found)
                ))
        }
        pinned => {
            let pinned = if pinned.is_some() {
                "as pinned"
            } else {
                "not pinned"
            };
            let what = format!(
                "{name}: {file}, {} KiB, {pinned}",
                bytes.len().div_ceil(1024)
            );
            Finding::ok(CHECK, what)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;

    fn recorder() -> Recorder {
        let text = "authentication.policy = \"auth-open\"\n[recording]\ndirectory = \"there\"\n\
                    free_bytes_min = 1_048_576\n";
        let config = Config::parse("r.toml", text).expect("valid");
        config.recorder.expect("a place")
    }

    fn folder() -> Folder {
        Folder {
            place: PathBuf::from("there"),
            exists: true,
            refused: None,
            free_bytes: 4 << 20,
            read_only: false,
        }
    }

    #[test]
    fn a_folder_has_room_and_can_be_written() {
        let judged = |change: fn(&mut Folder)| {
            let mut folder = folder();
            change(&mut folder);
            judge_folder(&recorder(), &folder)
        };
        assert_eq!(judged(|_| {}).verdict, Verdict::Ok);
        let new = judged(|f| f.exists = false);
        assert_eq!(new.verdict, Verdict::Ok);
        assert!(new.what.contains("will be made"), "{new:?}");
        assert_eq!(judged(|f| f.free_bytes = 3 << 19).verdict, Verdict::Warning);
        let full = judged(|f| f.free_bytes = 1 << 19);
        assert_eq!(full.verdict, Verdict::Problem);
        assert!(full.what.contains("0 MiB free, and below 1"), "{full:?}");
        let refused = judged(|f| f.refused = Some("denied".to_owned()));
        assert_eq!(refused.verdict, Verdict::Problem);
        assert!(refused.mend[0].contains("chown"), "{refused:?}");
        assert_eq!(judged(|f| f.read_only = true).verdict, Verdict::Problem);
    }

    #[test]
    fn this_machines_folders_are_looked_at() {
        let here = std::env::temp_dir();
        let found = look(&here).expect("it is there");
        assert!(found.exists && found.free_bytes > 0, "{found:?}");
        let new = look(&here.join("not-there")).expect("its parent is");
        assert_eq!((new.exists, &new.place), (false, &here));
    }

    #[test]
    fn a_component_is_the_one_that_was_pinned() {
        let path = std::env::temp_dir().join(format!("rillway-doctor-{}", std::process::id()));
        std::fs::write(&path, "abc").expect("written");
        let judged = |sha256: &str, bytes_max| {
            let text = format!(
                "authentication.policy = \"mine\"\n[plugins.mine]\ncomponent = \"{}\"\n{sha256}",
                path.display()
            );
            let config = Config::parse("r.toml", &text).expect("valid");
            judge_plugin("mine", &path, &config.plugins["mine"], bytes_max)
        };
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let pinned = format!("sha256 = \"{of_abc}\"\n");
        assert_eq!(judged(&pinned, 10).verdict, Verdict::Ok);
        assert!(judged("", 10).what.ends_with("not pinned"));
        let other = judged(&pinned.replace("ba78", "ba79"), 10);
        assert_eq!(other.verdict, Verdict::Problem);
        assert!(other.mend[1].contains(of_abc), "{other:?}");
        assert_eq!(judged(&pinned, 2).verdict, Verdict::Problem);
        std::fs::remove_file(&path).expect("ours");
        let gone = Path::new("/nonexistent/mine.wasm");
        let text = "authentication.policy = \"auth-open\"\n";
        let config = Config::parse("r.toml", text).expect("valid");
        let found = judge_plugin("mine", gone, &config.plugins["auth-open"], 10);
        assert_eq!(found.verdict, Verdict::Problem);
    }
}

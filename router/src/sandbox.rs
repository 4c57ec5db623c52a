//! What of the file system this process can reach, for good (Landlock, landlock(7)): whoever takes it over finds no
//! other file, and starts no program.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use landlock::{
    ABI, Access, AccessFs, BitFlags, PathBeneath, PathFd, PathFdError, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus,
};

use crate::config::{Confinement, Sandbox};

/// What later kernels added is used where it is there. 5: Linux 6.10.
const NEWEST: ABI = ABI::V5;

/// What every process reads: names of hosts and services, certificate authorities, the time zone, libraries that
/// resolve names, the machine's state.
const SYSTEM: [&str; 8] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/proc",
    "/sys",
    "/run/systemd/resolve",
    "/dev/urandom",
];

/// Where systemd puts what `LoadCredential=` names.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Folders within reach, once the process is confined.
static WITHIN: OnceLock<Vec<PathBuf>> = OnceLock::new();

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Confined {
    /// Nothing else can be reached.
    Whole,
    /// The kernel knows fewer rights than were asked to be taken away.
    Partly,
    /// Everything can be reached that the user may.
    Not,
}

impl Confined {
    /// Says it in the log.
    pub fn log(self) {
        match self {
            Confined::Whole => tracing::info!("confined to the files that the configuration names"),
            Confined::Partly => tracing::warn!(
                "confined to the files that the configuration names, as far as this kernel can"
            ),
            Confined::Not => tracing::info!("not confined to files: see `sandbox.files`"),
        }
    }
}

/// Why the process is not confined although that was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The kernel has no Landlock, or it is off.
    #[error(
        "`sandbox.files` is \"required\", and this kernel has no Landlock (Linux 5.13; it may be missing in the boot \
         parameter `lsm=`): \"auto\" runs without"
    )]
    Absent,
    /// It refused.
    #[error("cannot confine the process (`sandbox.files` = \"off\" runs without): {0}")]
    Refused(#[from] RulesetError),
}

/// Confines this thread and all that it starts from now on. To be called before there is any other.
///
/// # Errors
/// The kernel refuses, or has no Landlock and it is required.
pub fn confine(sandbox: &Sandbox) -> Result<Confined, SandboxError> {
    if sandbox.files == Confinement::Off {
        return Ok(Confined::Not);
    }
    let places = places(sandbox);
    let confined = restrict(&places)?;
    match confined {
        Confined::Not if sandbox.files == Confinement::Required => Err(SandboxError::Absent),
        Confined::Not => Ok(confined),
        Confined::Whole | Confined::Partly => {
            // A place that is not there is out of reach when it comes.
            let within = places
                .iter()
                .filter_map(|(place, _)| place.canonicalize().ok());
            let _ = WITHIN.set(within.collect());
            Ok(confined)
        }
    }
}

/// What confining would come to here, tried on a thread that ends with it: the kernel confines threads.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn probe() -> Result<Confined, SandboxError> {
    let tried = std::thread::spawn(|| restrict(&[])).join();
    // It has nothing to panic at.
    Ok(tried.unwrap_or(Ok(Confined::Not))?)
}

/// Whether the process is confined to other places than this file's or folder's.
pub(crate) fn is_out_of_reach(path: &Path) -> bool {
    let Some(within) = WITHIN.get() else {
        return false;
    };
    // What is not there yet is judged by where it would be.
    let place = path.ancestors().find_map(|place| place.canonicalize().ok());
    place.is_some_and(|place| !within.iter().any(|folder| place.starts_with(folder)))
}

/// What is to be within reach, and what may be done there.
fn places(sandbox: &Sandbox) -> Vec<(PathBuf, BitFlags<AccessFs>)> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = read
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer;
    for folder in &sandbox.write {
        make(folder);
    }
    let credentials = std::env::var_os(CREDENTIALS).map(PathBuf::from);
    let readable = SYSTEM.map(PathBuf::from).into_iter().chain(credentials);
    let readable = sandbox.read.iter().cloned().chain(readable);
    let writable = sandbox.write.iter().cloned().map(|place| (place, write));
    let null = (PathBuf::from("/dev/null"), read | AccessFs::WriteFile);
    let places = readable.map(|place| (place, read)).chain(writable);
    places.chain([null]).collect()
}

fn restrict(places: &[(PathBuf, BitFlags<AccessFs>)]) -> Result<Confined, RulesetError> {
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .create()?;
    for (place, access) in places {
        if let Some(rule) = rule(place, *access) {
            ruleset = ruleset.add_rule(rule)?;
        }
    }
    let status = ruleset.restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Confined::Whole,
        RulesetStatus::PartiallyEnforced => Confined::Partly,
        RulesetStatus::NotEnforced => Confined::Not,
    })
}

/// `None`: there is no such place.
fn rule(place: &Path, access: BitFlags<AccessFs>) -> Option<PathBeneath<PathFd>> {
    let opened: Result<PathFd, PathFdError> = PathFd::new(place);
    let of_files = if place.is_dir() {
        access
    } else {
        access & AccessFs::from_file(NEWEST)
    };
    Some(PathBeneath::new(opened.ok()?, of_files))
}

/// Folders that are written come into being at the first recording or component; a rule needs them now. Where that
/// fails, whoever needs them says so.
fn make(folder: &Path) {
    if folder.as_os_str() != OsStr::from_bytes(b"") && !folder.exists() {
        let _ = std::fs::DirBuilder::new().mode(0o750).create(folder);
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::process::Command;

    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Scratch {
            let name = format!("rillway-sandbox-{}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            for place in ["read", "write", "other"] {
                std::fs::create_dir_all(folder.join(place)).unwrap();
                std::fs::write(folder.join(place).join("file"), place).unwrap();
            }
            Scratch(folder)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn denied<T>(result: std::io::Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    }

    #[test]
    fn a_confined_thread_reaches_what_it_was_given_and_starts_nothing() {
        let scratch = Scratch::new();
        let folder = scratch.0.clone();
        let sandbox = Sandbox {
            files: Confinement::Auto,
            read: vec![folder.join("read")],
            write: vec![folder.join("write"), folder.join("new")],
        };
        // The kernel confines threads: this test's own stays free.
        let thread = std::thread::spawn(move || {
            if restrict(&places(&sandbox)).unwrap() == Confined::Not {
                eprintln!("skipped: no Landlock here");
                return;
            }
            let at = |place: &str| folder.join(place);
            assert_eq!(std::fs::read_to_string(at("read/file")).unwrap(), "read");
            assert!(denied(std::fs::write(at("read/file"), "")));
            assert!(denied(std::fs::write(at("read/more"), "")));
            assert!(denied(std::fs::remove_file(at("read/file"))));
            std::fs::write(at("write/more"), "more").unwrap();
            std::fs::rename(at("write/more"), at("new/more")).unwrap();
            std::fs::remove_file(at("new/more")).unwrap();
            assert!(denied(std::fs::read(at("other/file"))));
            assert!(denied(std::fs::read_dir(&folder)));
            assert!(denied(std::fs::write(at("other/file"), "")));
            assert!(denied(Command::new("/bin/true").status()));
            std::fs::read_to_string("/etc/hosts").unwrap();
            std::fs::read_to_string("/proc/self/limits").unwrap();
        });
        thread.join().unwrap();
        assert!(Command::new("/bin/true").status().unwrap().success());
    }
}

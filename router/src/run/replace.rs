//! Another text for a configuration's file: whole, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Puts a text in place of a file's. Whoever reads it meanwhile, or after a crash, finds the old text or the new
/// one. Mode and owner stay, as far as this process may set them; a link leads where it did.
///
/// # Errors
/// What the system said; the file is as it was.
pub(super) fn replace(file: &Path, text: &str) -> io::Result<()> {
    let file = fs::canonicalize(file)?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    let new = beside(&file);
    // Of a process that was killed here.
    let _ = fs::remove_file(&new);
    let written = write(&new, text, &file).and_then(|()| fs::rename(&new, &file));
    if let Err(error) = written {
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    // The rename itself must survive a loss of power.
    File::open(folder)?.sync_all()
}

fn beside(file: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(".new");
    file.with_file_name(name)
}

fn write(new: &Path, text: &str, like: &Path) -> io::Result<()> {
    let old = fs::metadata(like)?;
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(new)?;
    file.write_all(text.as_bytes())?;
    let made = file.metadata()?;
    if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
        // Only root may give files away; else it belongs to the router from now on, with what others may do.
        let _ = std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()));
    }
    file.set_permissions(old.permissions())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_and_behind_its_link() {
        let folder = std::env::temp_dir().join(format!("rillway-replace-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("writable");
        let (file, link) = (folder.join("a.toml"), folder.join("link.toml"));
        fs::write(&file, "old").expect("writable");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("ours");
        std::os::unix::fs::symlink("a.toml", &link).expect("writable");
        // What a killed one left is in nobody's way.
        fs::write(beside(&file), "half").expect("writable");
        replace(&link, "new").expect("replaced");
        assert_eq!(fs::read_to_string(&file).expect("there"), "new");
        assert!(link.is_symlink());
        let mode = fs::metadata(&file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert!(!beside(&file).exists());
        assert!(replace(&folder.join("none.toml"), "new").is_err());
        fs::remove_dir_all(&folder).expect("ours");
    }
}

//! Names of files, made of wishes.

use std::fmt;

/// Longest folder or stem, bytes. With `-9999`, an extension and `.part` it stays below the 255 of file
/// systems.
const PART_BYTES_MAX: usize = 140;
/// Longest name of a file, bytes: what Linux file systems take.
const NAME_BYTES_MAX: usize = 255;
/// What a file is called until it is complete.
pub(crate) const UNFINISHED: &str = ".part";

/// A file in a folder beneath the root. Neither name has a slash, begins with a dot, or is empty, so that
/// joined they lead nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    folder: String,
    file: String,
}

impl Place {
    /// `None`: one of them is no name.
    #[must_use]
    pub fn new(folder: &str, file: &str) -> Option<Self> {
        (is_name(folder) && is_name(file)).then(|| Self {
            folder: folder.to_owned(),
            file: file.to_owned(),
        })
    }

    /// From `folder/file`.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let (folder, file) = path.split_once('/')?;
        Self::new(folder, file)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// The file's name in it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The same file while it is being written.
    #[must_use]
    pub fn unfinished(&self) -> Self {
        Self {
            folder: self.folder.clone(),
            file: format!("{}{UNFINISHED}", self.file),
        }
    }

    /// The file that an unfinished one is to become.
    #[must_use]
    pub fn finished(&self) -> Option<Self> {
        Self::new(&self.folder, self.file.strip_suffix(UNFINISHED)?)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.folder, self.file)
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.starts_with('.')
        && !name.contains(['/', '\0'])
}

/// A safe name of a folder, or of a file without its extension: letters and digits of any script, `-`, `_`
/// and inner dots stay, all else becomes `_`; cut to 140 bytes. Never empty, hidden, or a way up.
#[must_use]
pub fn safe(wish: &str) -> String {
    let mut name = String::with_capacity(wish.len().min(PART_BYTES_MAX));
    for c in wish.chars() {
        let c = match c {
            '-' | '_' => c,
            '.' if !name.is_empty() => c,
            c if c.is_alphanumeric() => c,
            _ => '_',
        };
        if name.len() + c.len_utf8() > PART_BYTES_MAX {
            break;
        }
        name.push(c);
    }
    // A leading dash is an option to the tools people use on such files.
    if name.starts_with('-') {
        name.replace_range(..1, "_");
    }
    let kept = name.trim_end_matches('.').len();
    name.truncate(kept);
    if name.is_empty() {
        name.push_str("unnamed");
    }
    name
}

/// The `n`th name, from 1, for files that want the same one.
pub(crate) fn numbered(stem: &str, extension: &str, n: u32) -> String {
    match n {
        0 | 1 => format!("{stem}.{extension}"),
        n => format!("{stem}-{n}.{extension}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wishes_become_names() {
        let cases = [
            ("class-1", "class-1"),
            ("../../etc/passwd", "_._.._etc_passwd"),
            ("..", "_"),
            (".", "_"),
            ("", "unnamed"),
            (".hidden", "_hidden"),
            ("-rf", "_rf"),
            ("a b\tc\0d\ne", "a_b_c_d_e"),
            ("会议/ü.x", "会议_ü.x"),
            ("ends...", "ends"),
            ("C:\\con", "C__con"),
        ];
        for (wish, name) in cases {
            assert_eq!(safe(wish), name, "{wish:?}");
        }
        assert_eq!(safe(&"é".repeat(200)).len(), PART_BYTES_MAX);
    }

    #[test]
    fn places_are_two_names() {
        let bad = [
            "", "a", "a/", "/a", "../a", "a/..", "a/b/c", "a/.b", "a/b\0",
        ];
        for path in bad {
            assert_eq!(Place::parse(path), None, "{path:?}");
        }
        let place = Place::parse("room/a.mp4").expect("a place");
        assert_eq!(place.unfinished().to_string(), "room/a.mp4.part");
        assert_eq!(place.unfinished().finished(), Some(place.clone()));
        assert_eq!(place.finished(), None);
    }

    proptest! {
        #[test]
        fn no_wish_leads_out(room in ".*", wish in ".*", n in 0_u32..10_000) {
            let file = numbered(&safe(&wish), "webm", n);
            let place = Place::new(&safe(&room), &file);
            prop_assert!(place.is_some(), "{room:?} {wish:?}");
            let place = place.expect("checked above").unfinished();
            prop_assert!(place.file().len() <= NAME_BYTES_MAX);
            let path = std::path::PathBuf::from(place.to_string());
            let parts = path.components().count();
            prop_assert_eq!(parts, 2);
            prop_assert!(path.components().all(|c| matches!(c, std::path::Component::Normal(_))));
        }

        #[test]
        fn safe_names_stay(wish in "\\PC*") {
            let once = safe(&wish);
            prop_assert_eq!(safe(&once), once);
        }
    }
}

//! One folder and what is in it: every path is two checked names, opened without following links.
//!
//! All of this blocks; the recorder calls it beside its loop.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::fs::{
    AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags,
    StatVfsMountFlags,
};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::LOCK_NAME;
use super::name::{Place, numbered};
use crate::engine::StartError;

/// Files of one wanted name in one folder.
const SAME_NAME_MAX: u32 = 9_999;
/// Longest sidecar or other whole file read at once, bytes: 10,000 files of 1 KiB, and room to spare.
const WHOLE_BYTES_MAX: u64 = 64 << 20;

/// The folder beneath which recordings are.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    folder: OwnedFd,
    /// Held while the router lives; the kernel lets go of it.
    _lock: Option<OwnedFd>,
    /// The kernel, or a sandbox, has no openat2: names are walked one by one.
    plain: AtomicBool,
}

/// A file that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Completed {
    pub(crate) place: Place,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// Of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) free_bytes: u64,
    pub(crate) read_only: bool,
}

fn private() -> Mode {
    Mode::RUSR | Mode::WUSR
}

fn private_folder() -> Mode {
    Mode::RWXU
}

impl Root {
    /// Opens it to record: makes it if it is missing, and takes its lock.
    ///
    /// # Errors
    /// It cannot be made, opened or written, or another router has it.
    pub fn record(path: &Path) -> Result<Self, StartError> {
        let error = |what| {
            move |error: io::Error| StartError::Root {
                root: path.to_owned(),
                what,
                error,
            }
        };
        match rustix::fs::mkdir(path, private_folder()) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => {
                let what =
                    "cannot be made (its parent has to exist and be writable for the router)";
                return Err(error(what)(e.into()));
            }
        }
        let mut root = Self::view(path).map_err(error("cannot be opened"))?;
        // Not to write: it would keep operators from making an idle file system read-only.
        let flags = OFlags::CREATE | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = rustix::fs::openat(&root.folder, LOCK_NAME, flags, private());
        let what = "its lock cannot be made (it has to be writable for the router)";
        let lock = lock.map_err(|e| error(what)(e.into()))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(StartError::InUse {
                    root: path.to_owned(),
                });
            }
            Err(e) => return Err(error("cannot be locked")(e.into())),
        }
        root._lock = Some(lock);
        Ok(root)
    }

    /// Opens it to read.
    ///
    /// # Errors
    /// It is no folder, or may not be read.
    pub fn view(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self {
            path: path.to_owned(),
            folder,
            _lock: None,
            plain: AtomicBool::new(false),
        })
    }

    /// As on a kernel without openat2, or as on one that has it.
    #[cfg(test)]
    pub(crate) fn walk_names(&self, plain: bool) {
        self.plain.store(plain, Relaxed);
    }

    /// Its path, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn folder(&self, name: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(
            &self.folder,
            name,
            flags,
            Mode::empty(),
        )?)
    }

    fn made_folder(&self, name: &str) -> io::Result<OwnedFd> {
        match rustix::fs::mkdirat(&self.folder, name, private_folder()) {
            Ok(()) => rustix::fs::fsync(&self.folder)?,
            Err(Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
        self.folder(name)
    }

    /// Opens a file of the root, whatever anybody made of the folders meanwhile.
    fn open(&self, place: &Place, flags: OFlags) -> io::Result<File> {
        let mut flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if !flags.contains(OFlags::EXCL) {
            // Not to hang on a pipe. A new file is none, and on a ring this would mean to fail and not to wait.
            flags |= OFlags::NONBLOCK;
        }
        if !self.plain.load(Relaxed) {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let path = place.to_string();
            match rustix::fs::openat2(&self.folder, path, flags, private_if(flags), resolve) {
                Ok(file) => return regular(file),
                // Kernels before 5.6, and sandboxes that do not know it.
                Err(Errno::NOSYS | Errno::PERM) => self.plain.store(true, Relaxed),
                Err(e) => return Err(e.into()),
            }
        }
        let folder = self.folder(place.folder())?;
        let file = rustix::fs::openat(&folder, place.file(), flags, private_if(flags))?;
        regular(file)
    }

    /// Opens a file to read.
    ///
    /// # Errors
    /// It is missing, no regular file, or may not be read.
    pub fn read(&self, place: &Place) -> io::Result<File> {
        self.open(place, OFlags::RDONLY)
    }

    /// A whole file.
    ///
    /// # Errors
    /// As [`Self::read`]; or it is larger than any sidecar.
    pub(crate) fn read_whole(&self, place: &Place) -> io::Result<Vec<u8>> {
        let file = self.read(place)?;
        let mut bytes = Vec::new();
        file.take(WHOLE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > WHOLE_BYTES_MAX {
            let text = format!("larger than {WHOLE_BYTES_MAX} bytes, so it is no sidecar");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(bytes)
    }

    /// A new file, under the first free name: `stem.extension`, `stem-2.extension`, …
    pub(crate) fn create(
        &self,
        folder: &str,
        stem: &str,
        extension: &str,
    ) -> io::Result<(Place, File)> {
        let fd = self.made_folder(folder)?;
        let mut n = 1;
        loop {
            let place = self.free(&fd, folder, stem, extension, &mut n)?;
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
            match self.open(&place.unfinished(), flags) {
                Ok(file) => {
                    // The name has to be as durable as what is written under it.
                    rustix::fs::fsync(&fd)?;
                    return Ok((place, file));
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => n += 1,
                Err(e) => return Err(e),
            }
        }
    }

    /// The first name from the `n`th on under which there is no finished file.
    fn free(
        &self,
        fd: &OwnedFd,
        folder: &str,
        stem: &str,
        extension: &str,
        n: &mut u32,
    ) -> io::Result<Place> {
        while *n <= SAME_NAME_MAX {
            let place = Place::new(folder, &numbered(stem, extension, *n));
            let place = place.ok_or(io::ErrorKind::InvalidFilename)?;
            match rustix::fs::statat(fd, place.file(), AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => return Ok(place),
                Err(e) => return Err(e.into()),
                Ok(_) => *n += 1,
            }
        }
        let text = format!("{SAME_NAME_MAX} files are called `{stem}` in `{folder}` already");
        Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
    }

    /// Completes an unfinished file: cut to `keep` bytes, durable, under its final name. Where nothing is
    /// kept, it is gone.
    pub(crate) fn finish(&self, place: &Place, keep: Option<u64>) -> io::Result<Completed> {
        let unfinished = place.unfinished();
        let mut file = self.open(&unfinished, OFlags::RDWR)?;
        if let Some(keep) = keep
            && file.metadata()?.len() > keep
        {
            file.set_len(keep)?;
        }
        if keep == Some(0) {
            drop(file);
            self.remove(&unfinished)?;
            return Ok(Completed {
                place: place.clone(),
                bytes: 0,
                sha256: String::new(),
            });
        }
        file.sync_all()?;
        let (bytes, sha256) = digest(&mut file)?;
        let place = self.rename(&unfinished, place)?;
        Ok(Completed {
            place,
            bytes,
            sha256,
        })
    }

    /// To the final name, or the next free one if somebody has put a file there.
    fn rename(&self, from: &Place, to: &Place) -> io::Result<Place> {
        let fd = self.folder(from.folder())?;
        let (stem, extension) = to.file().rsplit_once('.').unwrap_or((to.file(), "bin"));
        let mut place = to.clone();
        let mut n = 1;
        loop {
            match rename_new(fd.as_fd(), from.file(), place.file()) {
                Ok(()) => break,
                Err(Errno::EXIST) => {
                    n += 1;
                    place = self.free(&fd, from.folder(), stem, extension, &mut n)?;
                }
                Err(e) => return Err(e.into()),
            }
        }
        rustix::fs::fsync(&fd)?;
        Ok(place)
    }

    /// Cuts a torn end off, for repairs.
    pub(crate) fn cut(&self, place: &Place, keep: u64) -> io::Result<()> {
        let file = self.open(place, OFlags::RDWR)?;
        file.set_len(keep.min(file.metadata()?.len()))
    }

    /// Writes in place, for repairs.
    pub(crate) fn patch(&self, place: &Place, writes: &[(u64, &[u8])]) -> io::Result<()> {
        let file = self.open(place, OFlags::RDWR)?;
        for (offset, bytes) in writes {
            file.write_all_at(bytes, *offset)?;
        }
        file.sync_data()
    }

    /// A file that is there whole or not at all, in place of an older one of that name.
    pub(crate) fn replace(&self, place: &Place, bytes: &[u8]) -> io::Result<()> {
        let fd = self.made_folder(place.folder())?;
        // Hidden, so never the name of a recording.
        let temporary = format!(".{}{}", place.file(), super::TEMPORARY);
        let flags = OFlags::CREATE
            | OFlags::TRUNC
            | OFlags::WRONLY
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&fd, temporary.as_str(), flags, private())?;
        let mut file = regular(file)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        if let Err(e) = written {
            let _ = rustix::fs::unlinkat(&fd, temporary.as_str(), AtFlags::empty());
            return Err(e);
        }
        rustix::fs::renameat(&fd, temporary.as_str(), &fd, place.file())?;
        rustix::fs::fsync(&fd)?;
        Ok(())
    }

    /// The first name of the kind that no file has; the caller writes it.
    pub(crate) fn unused(&self, folder: &str, stem: &str, extension: &str) -> io::Result<Place> {
        let fd = self.made_folder(folder)?;
        self.free(&fd, folder, stem, extension, &mut 1)
    }

    pub(crate) fn space(&self) -> io::Result<Space> {
        let found = rustix::fs::fstatvfs(&self.folder)?;
        Ok(Space {
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            read_only: found.f_flag.contains(StatVfsMountFlags::RDONLY),
        })
    }

    /// Removes a file; for one that has nothing in it.
    pub(crate) fn remove(&self, place: &Place) -> io::Result<()> {
        let fd = self.folder(place.folder())?;
        rustix::fs::unlinkat(&fd, place.file(), AtFlags::empty())?;
        rustix::fs::fsync(&fd)?;
        Ok(())
    }

    /// Removes what was to replace sidecars when the router died.
    pub(crate) fn remove_temporaries(&self) -> io::Result<()> {
        for (_, fd) in self.folders()? {
            for (file, _) in entries(fd.as_fd())? {
                if file.starts_with('.') && file.ends_with(super::TEMPORARY) {
                    rustix::fs::unlinkat(&fd, file, AtFlags::empty())?;
                }
            }
        }
        Ok(())
    }

    fn folders(&self) -> io::Result<Vec<(String, OwnedFd)>> {
        let mut folders = Vec::new();
        for (name, kind) in entries(self.folder.as_fd())? {
            if name.starts_with('.') || !matches!(kind, FileType::Directory | FileType::Unknown) {
                continue;
            }
            match self.folder(&name) {
                Ok(fd) => folders.push((name, fd)),
                Err(e) if e.kind() == io::ErrorKind::NotADirectory => {}
                Err(e) => return Err(e),
            }
        }
        Ok(folders)
    }

    /// Every file in every folder, sorted. What has other names than the recorder gives is left out.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn list(&self) -> io::Result<Vec<Place>> {
        let mut places = Vec::new();
        for (folder, fd) in self.folders()? {
            let files = entries(fd.as_fd())?.into_iter();
            places.extend(files.filter_map(|(file, _)| Place::new(&folder, &file)));
        }
        places.sort();
        Ok(places)
    }
}

fn entries(folder: BorrowedFd<'_>) -> io::Result<Vec<(String, FileType)>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().to_str() {
            found.push((name.to_owned(), entry.file_type()));
        }
    }
    Ok(found)
}

fn private_if(flags: OFlags) -> Mode {
    match flags.contains(OFlags::CREATE) {
        true => private(),
        false => Mode::empty(),
    }
}

/// A pipe or device put where a recording should be is not read or written.
fn regular(file: OwnedFd) -> io::Result<File> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    match kind {
        FileType::RegularFile => Ok(File::from(file)),
        _ => Err(io::Error::other("is no regular file")),
    }
}

fn rename_new(folder: BorrowedFd<'_>, from: &str, to: &str) -> Result<(), Errno> {
    match rustix::fs::renameat_with(folder, from, folder, to, RenameFlags::NOREPLACE) {
        // Some network file systems cannot; the lock keeps other routers out, so looking first is enough.
        Err(Errno::INVAL | Errno::NOSYS) => {
            match rustix::fs::statat(folder, to, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => Err(Errno::EXIST),
                Err(Errno::NOENT) => rustix::fs::renameat(folder, from, folder, to),
                Err(e) => Err(e),
            }
        }
        result => result,
    }
}

/// Size and SHA-256 of a file, lower-case hexadecimal.
///
/// # Errors
/// It cannot be read.
pub fn digest(file: &mut (impl Read + Seek)) -> io::Result<(u64, String)> {
    file.seek(SeekFrom::Start(0))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut bytes = 0;
    loop {
        let n = match file.read(&mut buffer) {
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        let Some(read) = buffer.get(..n).filter(|read| !read.is_empty()) else {
            break;
        };
        hash.update(read);
        bytes += n as u64;
    }
    let text = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    Ok((bytes, text))
}

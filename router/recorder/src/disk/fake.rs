//! A disk in memory that fails as it is told.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::time::Duration;

use rustix::io::Errno;

use super::name::numbered;
use super::{Completed, Disk, Done, FileId, Job, Place, Space};

#[derive(Debug, Default, Clone)]
pub(crate) struct FakeFile {
    pub(crate) bytes: Vec<u8>,
    /// As of the last sync.
    pub(crate) durable: Vec<u8>,
    pub(crate) finished: bool,
}

#[derive(Debug, Default)]
pub(crate) struct FakeDisk {
    pub(crate) files: BTreeMap<String, FakeFile>,
    pub(crate) sidecars: BTreeMap<String, Vec<u8>>,
    open: HashMap<FileId, Place>,
    queue: VecDeque<Job>,
    /// Free bytes; writes beyond it are torn and fail.
    pub(crate) free: u64,
    pub(crate) read_only: bool,
    /// Files that may be open.
    pub(crate) open_max: usize,
    /// Jobs of files whose name contains it wait.
    pub(crate) held: Option<String>,
    /// Writes and syncs of files whose name contains it fail.
    pub(crate) broken: Option<(String, Errno)>,
    /// How often each kind of job was given.
    pub(crate) jobs: BTreeMap<&'static str, u64>,
    /// Jobs of one file that were given while another of it was not done: a fault of the engine.
    pub(crate) overlaps: u64,
    busy: BTreeSet<FileId>,
}

impl FakeDisk {
    pub(crate) fn new() -> Self {
        Self {
            free: 1 << 40,
            open_max: usize::MAX,
            ..Self::default()
        }
    }

    /// Contents of a file, unfinished or not.
    pub(crate) fn bytes(&self, name: &str) -> &[u8] {
        &self.files[name].bytes
    }

    pub(crate) fn finished(&self) -> Vec<&str> {
        let finished = self.files.iter().filter(|(_, f)| f.finished);
        finished.map(|(name, _)| name.as_str()).collect()
    }

    fn name(&self, file: FileId) -> String {
        self.open
            .get(&file)
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    fn fault(&self, name: &str) -> io::Result<()> {
        if self.read_only {
            return Err(Errno::ROFS.into());
        }
        match &self.broken {
            Some((part, errno)) if name.contains(part) => Err((*errno).into()),
            _ => Ok(()),
        }
    }

    fn create(
        &mut self,
        file: FileId,
        folder: &str,
        stem: &str,
        extension: &str,
    ) -> io::Result<Place> {
        if self.open.len() >= self.open_max {
            return Err(Errno::MFILE.into());
        }
        self.fault(stem)?;
        if self.free == 0 {
            return Err(Errno::NOSPC.into());
        }
        let names = (1..).map(|n| numbered(stem, extension, n));
        let mut places = names.filter_map(|name| Place::new(folder, &name));
        let free = places.find(|place| !self.files.contains_key(&place.to_string()));
        let place = free.expect("some number is free");
        self.files.insert(place.to_string(), FakeFile::default());
        self.open.insert(file, place.clone());
        Ok(place)
    }

    fn write(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let name = self.name(file);
        self.fault(&name)?;
        let offset = usize::try_from(offset).expect("small");
        let of = self.files.get_mut(&name).expect("open");
        assert!(offset <= of.bytes.len(), "{name}: a hole");
        let fits = usize::try_from(self.free)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let end = of.bytes.len().max(offset + fits);
        of.bytes.resize(end, 0);
        of.bytes[offset..offset + fits].copy_from_slice(&bytes[..fits]);
        self.free -= fits as u64;
        match fits == bytes.len() {
            true => Ok(()),
            false => Err(Errno::NOSPC.into()),
        }
    }

    fn finish(&mut self, file: FileId, keep: Option<u64>) -> io::Result<Completed> {
        let place = self.open.remove(&file).expect("open");
        let name = place.to_string();
        if self.read_only {
            return Err(Errno::ROFS.into());
        }
        let of = self.files.get_mut(&name).expect("open");
        if let Some(keep) = keep {
            let keep = usize::try_from(keep).expect("small");
            self.free += of.bytes.len().saturating_sub(keep) as u64;
            of.bytes.truncate(keep);
        }
        of.durable.clone_from(&of.bytes);
        of.finished = true;
        let bytes = of.bytes.len() as u64;
        if bytes == 0 {
            self.files.remove(&name);
        }
        Ok(Completed {
            place,
            bytes,
            sha256: "hash".to_owned(),
        })
    }

    fn carry_out(&mut self, job: Job) -> Done {
        match job {
            Job::Create {
                file,
                folder,
                stem,
                extension,
            } => Done::Created(file, self.create(file, &folder, &stem, extension)),
            Job::Write {
                file,
                offset,
                bytes,
            } => Done::Wrote(file, self.write(file, offset, &bytes)),
            Job::Sync { file } => {
                let name = self.name(file);
                let result = self.fault(&name);
                if let Some(of) = self.files.get_mut(&name).filter(|_| result.is_ok()) {
                    of.durable.clone_from(&of.bytes);
                }
                Done::Synced(file, Duration::from_millis(1), result)
            }
            Job::Finish { file, keep } => Done::Finished(file, self.finish(file, keep)),
            Job::Sidecar {
                room,
                folder,
                stem,
                place,
                json,
            } => {
                let place = place.or_else(|| Place::new(&folder, &format!("{stem}.json")));
                let place = place.expect("a name");
                if self.free == 0 || self.read_only {
                    return Done::Sidecar(room, Err(Errno::NOSPC.into()));
                }
                self.sidecars.insert(place.to_string(), json);
                Done::Sidecar(room, Ok(place))
            }
            Job::Space => Done::Space(Ok(Space {
                free_bytes: self.free,
                read_only: self.read_only,
            })),
            Job::Recover(_) => Done::Recovered(Vec::new()),
        }
    }
}

fn kind(job: &Job) -> (&'static str, Option<FileId>) {
    match job {
        Job::Create { file, .. } => ("create", Some(*file)),
        Job::Write { file, .. } => ("write", Some(*file)),
        Job::Sync { file } => ("sync", Some(*file)),
        Job::Finish { file, .. } => ("finish", Some(*file)),
        Job::Sidecar { .. } => ("sidecar", None),
        Job::Space => ("space", None),
        Job::Recover(_) => ("recover", None),
    }
}

impl Disk for FakeDisk {
    fn submit(&mut self, job: Job) {
        let (kind, file) = kind(&job);
        *self.jobs.entry(kind).or_default() += 1;
        if let Some(file) = file
            && !self.busy.insert(file)
        {
            self.overlaps += 1;
        }
        self.queue.push_back(job);
    }

    fn done(&mut self, into: &mut Vec<Done>) {
        for job in std::mem::take(&mut self.queue) {
            let file = kind(&job).1;
            let name = file.map(|file| self.name(file)).unwrap_or_default();
            let held = self.held.as_ref().is_some_and(|part| name.contains(part));
            if held {
                self.queue.push_back(job);
                continue;
            }
            if let Some(file) = file {
                self.busy.remove(&file);
            }
            let done = self.carry_out(job);
            into.push(done);
        }
    }
}

//! Which files a configuration names, and whether this process can still reach them.

use std::path::{Path, PathBuf};

use super::Checks;
use crate::config::Sandbox;
use crate::sandbox;

/// Begins what is no file.
const BUILT_IN: &str = "builtin:";

impl Checks<'_> {
    /// What is to be reached. Once the process is confined, what is out of reach is a problem.
    pub(super) fn sandbox(&mut self) -> Sandbox {
        let own = self.provenance.source().folder.clone();
        let named = self.files_read();
        let written = self.folders_written();
        for (key, path) in named.iter().chain(&written) {
            if sandbox::is_out_of_reach(path) {
                let title = format!("`{}` is out of reach", path.display());
                self.report(
                    title,
                    &[(key, "outside of what the router confined itself to at its start")],
                    "restart the router, or name a place in a folder that was named then (`sandbox.read`, `sandbox.write`)",
                );
            }
        }
        let folder = |path: &PathBuf| path.parent().map(Path::to_owned).unwrap_or_default();
        let mut read: Vec<PathBuf> = named.iter().map(|(_, path)| folder(path)).collect();
        read.extend(self.raw.sandbox.read.iter().map(|path| own.join(path)));
        let mut write: Vec<PathBuf> = written.into_iter().map(|(_, path)| path).collect();
        write.extend(self.raw.sandbox.write.iter().map(|path| own.join(path)));
        write.push(own);
        for places in [&mut read, &mut write] {
            for place in places
                .iter_mut()
                .filter(|place| place.as_os_str().is_empty())
            {
                *place = PathBuf::from(".");
            }
            places.sort();
            places.dedup();
        }
        Sandbox {
            files: self.raw.sandbox.files,
            read,
            write,
        }
    }

    /// Keys that name a file, and the file.
    fn files_read(&self) -> Vec<(String, PathBuf)> {
        let raw = self.raw;
        let mut files: Vec<(String, &Path)> = Vec::new();
        for (name, plugin) in &raw.plugins {
            let component = plugin.component.as_deref().map(Path::new);
            let component = component.filter(|path| !path.to_string_lossy().starts_with(BUILT_IN));
            files.extend(component.map(|path| (format!("plugins.{name}.component"), path)));
            let keys = plugin.keys.iter();
            files.extend(
                keys.map(|(key, of)| (format!("plugins.{name}.keys.{key}.file"), &*of.file)),
            );
        }
        for (index, server) in raw.ice.servers.iter().enumerate() {
            let file = server.credential_file.as_deref();
            files.extend(file.map(|path| (format!("ice.servers[{index}].credential_file"), path)));
        }
        let management = &raw.management;
        let others = [
            ("policy.http_ca_file", Some(&*raw.policy.http_ca_file)),
            ("management.certificate", management.certificate.as_deref()),
            ("management.key", management.key.as_deref()),
            ("management.client_ca", management.client_ca.as_deref()),
            ("console.token_file", raw.console.token_file.as_deref()),
            ("traces.headers_file", raw.traces.headers_file.as_deref()),
            ("traces.ca_file", raw.traces.ca_file.as_deref()),
        ];
        let others = others.into_iter().filter_map(|(key, path)| {
            let path = path.filter(|path| !path.as_os_str().is_empty())?;
            Some((key.to_owned(), path))
        });
        files.extend(others);
        files.extend(Checks::turn_files(&raw.turn));
        let own = &self.provenance.source().folder;
        files
            .into_iter()
            .map(|(key, path)| (key, own.join(path)))
            .collect()
    }

    fn folders_written(&self) -> Vec<(String, PathBuf)> {
        let own = &self.provenance.source().folder;
        let folders = [
            ("recording.directory", &self.raw.recording.directory),
            ("policy.cache_folder", &self.raw.policy.cache_folder),
        ];
        let folders = folders
            .into_iter()
            .filter(|(_, path)| !path.as_os_str().is_empty());
        folders
            .map(|(key, path)| (key.to_owned(), own.join(path)))
            .collect()
    }
}

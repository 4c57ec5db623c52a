//! What becomes of jobs that are done.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::health::Cause;
use super::stats;
use crate::api::{Event, Finished, Start, TrackId};
use crate::disk::{Completed, Done, FileId, Place, Recovered, Space};
use crate::film::{Origin, TrackSummary};
use crate::sidecar;

impl Core {
    /// A job is done.
    pub(crate) fn done(&mut self, done: Done, now: Origin) {
        self.jobs_open = self.jobs_open.saturating_sub(1);
        match done {
            Done::Created(file, result) => self.created(file, result, now),
            Done::Wrote(file, result) => self.wrote(file, result, now),
            Done::Synced(file, took, result) => self.synced(file, took, result, now),
            Done::Finished(file, result) => self.finished(file, result),
            Done::Sidecar(room, result) => self.rooms.written(room, result, now.at),
            Done::Space(result) => self.seen(result, now),
            Done::Recovered(recovered) => self.recovered(&recovered),
        }
    }

    fn created(&mut self, id: FileId, result: io::Result<Place>, now: Origin) {
        let Some(file) = self.files.get_mut(&id) else {
            return;
        };
        match result {
            Ok(place) => {
                let of = file.tracks.iter().map(|(track, _)| track.0).collect();
                let entry = sidecar::File::new(&place, file.container, of, file.began);
                file.created(place);
                self.rooms.created(file.room, id, entry);
                if file.failed.is_none() {
                    self.health.works();
                }
            }
            Err(error) => self.fail_file(id, "cannot be created", &error, now),
        }
    }

    fn wrote(&mut self, id: FileId, result: io::Result<()>, now: Origin) {
        let Some(file) = self.files.get_mut(&id) else {
            return;
        };
        match result {
            Ok(()) => {
                let grown = file.wrote();
                stats::add(&self.stats.written_bytes, grown);
            }
            Err(error) => {
                file.broke();
                self.fail_file(id, "cannot be written", &error, now);
            }
        }
    }

    fn synced(&mut self, id: FileId, took: Duration, result: io::Result<()>, now: Origin) {
        let Some(file) = self.files.get_mut(&id) else {
            return;
        };
        match result {
            Ok(()) => {
                let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                stats::add(&self.stats.syncs, 1);
                stats::add(&self.stats.sync_us, us);
                stats::max(&self.stats.sync_us_max, us);
                // From when it began, so that a slow one does not make the next one late.
                let began = now.at.checked_sub(took).unwrap_or(now.at);
                file.synced(began + self.settings.sync_interval);
            }
            Err(error) => {
                file.broke();
                self.fail_file(id, "cannot be made durable", &error, now);
            }
        }
    }

    /// What was written of it is completed; its tracks are recorded no more.
    fn fail_file(&mut self, id: FileId, what: &str, error: &io::Error, now: Origin) {
        let Some(file) = self.files.get_mut(&id) else {
            return;
        };
        let cause = Cause::of(error);
        let name = match &file.place {
            Some(place) => place.to_string(),
            None => "a file".to_owned(),
        };
        let why = format!("{name} {what}: {error}");
        stats::add(&self.stats.files_failed, 1);
        self.waiting = self.waiting.saturating_sub(file.fail(&why));
        let unborn = file.is_unborn();
        let of = self.reels.iter().find(|(_, reel)| reel.file == Some(id));
        let reel = of.map(|(reel, _)| *reel);
        if let Some(reel) = reel {
            self.fail_reel(reel, (cause, &why), now);
        } else if let Some(file) = self.files.get_mut(&id)
            && !std::mem::replace(&mut file.told, true)
        {
            // Its film had ended it, so its tracks are told here, if nothing else records them by now.
            let tracks: Vec<_> = file.tracks.iter().map(|(track, _)| *track).collect();
            self.tell_ended(&tracks, cause, &why);
        }
        if unborn {
            self.files.remove(&id);
        }
        match cause.stops_all() {
            true => self.stop_all(cause, &why, now),
            false => self.alarm(cause, &why),
        }
    }

    fn tell_ended(&mut self, tracks: &[TrackId], cause: Cause, why: &str) {
        for track in tracks {
            if !self.tracks.contains_key(track) {
                let cause = cause.failure();
                self.event(Event::Failed(*track, cause, why.to_owned()));
            }
        }
    }

    fn finished(&mut self, id: FileId, result: io::Result<Completed>) {
        let Some(file) = self.files.remove(&id) else {
            return;
        };
        self.waiting = self.waiting.saturating_sub(file.waiting());
        match result {
            Ok(completed) => {
                let summaries = file.summaries.as_deref().unwrap_or_default();
                let reason = file.failed.as_deref();
                self.rooms.began(file.room, id, file.began);
                self.rooms
                    .finished(file.room, id, &completed, summaries, reason);
                if completed.bytes > 0 {
                    stats::add(&self.stats.files_finished, 1);
                    self.tell_finished(&file.tracks, &completed, summaries);
                }
            }
            Err(error) => {
                let place = file.place.map(|p| p.to_string()).unwrap_or_default();
                let why = format!("{place} cannot be completed: {error}");
                self.rooms.failed(file.room, id, &why);
                if file.failed.is_none() {
                    stats::add(&self.stats.files_failed, 1);
                }
                if !file.told {
                    let tracks: Vec<_> = file.tracks.iter().map(|(track, _)| *track).collect();
                    self.tell_ended(&tracks, Cause::of(&error), &why);
                }
                self.alarm(Cause::of(&error), &why);
            }
        }
    }

    fn tell_finished(
        &mut self,
        tracks: &[(TrackId, Arc<Start>)],
        completed: &Completed,
        summaries: &[TrackSummary],
    ) {
        for summary in summaries {
            let start = tracks
                .iter()
                .rev()
                .find(|(track, _)| *track == summary.track);
            let Some((track, start)) = start else {
                continue;
            };
            self.event(Event::Finished(Finished {
                track: *track,
                name: completed.place.to_string(),
                bytes: completed.bytes,
                duration: summary.duration,
                sha256: completed.sha256.clone(),
                attributes: start.attributes.clone(),
            }));
        }
    }

    fn seen(&mut self, result: io::Result<Space>, now: Origin) {
        let space = match result {
            Ok(space) => space,
            Err(error) => {
                tracing::debug!(%error, "the free space cannot be seen");
                return self.health.blind();
            }
        };
        stats::set(&self.stats.free_bytes, space.free_bytes);
        match self.health.seen(space) {
            Err((cause, why)) => self.stop_all(cause, &why, now),
            Ok(true) => {
                stats::set(&self.stats.stopped, 0);
                let root = self.settings.root.display();
                tracing::info!(%root, "recording is possible again");
            }
            Ok(false) => {}
        }
    }

    fn recovered(&mut self, recovered: &[Recovered]) {
        for Recovered { place, result } in recovered {
            match result {
                Ok(Some(completed)) => {
                    stats::add(&self.stats.files_recovered, 1);
                    let (file, bytes) = (&completed.place, completed.bytes);
                    tracing::info!(%file, bytes, "finished a recording that a crash had left");
                }
                Ok(None) => tracing::info!(file = %place, "a crash had left an empty recording"),
                Err(error) => {
                    stats::add(&self.stats.files_failed, 1);
                    tracing::warn!(file = %place, %error, "a recording left by a crash cannot be finished; it is tried again at the next start");
                }
            }
        }
    }
}

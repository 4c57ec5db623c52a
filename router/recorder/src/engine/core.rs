//! The recorder without threads, clocks and files: orders and packets go in, jobs and events come out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::file::File;
use super::health::{Cause, Health};
use super::queue::{Gate, Item, Pass};
use super::rooms::Rooms;
use super::settings::Settings;
use super::stats::{self, Stats};
use crate::api::{
    Codec, Container, Event, FailureCause, MediaKind, Order, ParticipantId, Start, TrackId,
};
use crate::disk::{FileId, Job, Leftovers, safe};
use crate::dump::DumpFilm;
use crate::film::{Film, Films, Origin, Step};

/// Between two requests for a keyframe of a track that loses frames.
const KEYFRAME_EVERY: Duration = Duration::from_secs(1);
/// Events that wait for the control side; more than all tracks of a router can have at once.
const EVENTS_MAX: usize = 65_536;

/// A recording of some tracks.
pub(super) struct Reel {
    film: Box<dyn Film>,
    key: Key,
    tracks: BTreeMap<TrackId, Arc<Start>>,
    /// From when on packets of its tracks are meant: older ones are of a recording before.
    since: BTreeMap<TrackId, Instant>,
    pub(super) file: Option<FileId>,
    /// It is being finished.
    ending: bool,
}

/// Tracks that share a file.
type Key = (Arc<str>, ParticipantId, Box<str>, Container);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReelId(u64);

/// The recorder.
pub(crate) struct Core {
    pub(super) settings: Settings,
    films: Arc<dyn Films>,
    pub(super) stats: Arc<Stats>,
    pub(super) reels: BTreeMap<ReelId, Reel>,
    keys: HashMap<Key, ReelId>,
    pub(super) tracks: HashMap<TrackId, ReelId>,
    pub(super) files: BTreeMap<FileId, File>,
    pub(super) rooms: Rooms,
    pub(super) health: Health,
    gate: Gate,
    losing: BTreeMap<TrackId, Instant>,
    pub(super) waiting: usize,
    pub(super) jobs: Vec<Job>,
    /// Jobs that were given and not done.
    pub(super) jobs_open: usize,
    events: VecDeque<Event>,
    steps: Vec<Step>,
    next_id: u64,
    shut: bool,
}

impl Core {
    pub(crate) fn new(settings: Settings, films: Arc<dyn Films>, stats: Arc<Stats>) -> Self {
        Self {
            health: Health::new(settings.free_bytes_least),
            settings,
            films,
            stats,
            reels: BTreeMap::new(),
            keys: HashMap::new(),
            tracks: HashMap::new(),
            files: BTreeMap::new(),
            rooms: Rooms::default(),
            gate: Gate::new(),
            losing: BTreeMap::new(),
            waiting: 0,
            jobs: Vec::new(),
            jobs_open: 0,
            events: VecDeque::new(),
            steps: Vec::new(),
            next_id: 0,
            shut: false,
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        if self.events.len() >= EVENTS_MAX {
            stats::add(&self.stats.events_lost, 1);
            return;
        }
        self.events.push_back(event);
    }

    /// Takes the oldest event.
    pub(crate) fn pop_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Gives one back that could not be delivered yet.
    pub(crate) fn unpop_event(&mut self, event: Event) {
        self.events.push_front(event);
    }

    /// Finishes what a crash left.
    pub(crate) fn recover(&mut self, leftovers: Leftovers) {
        self.jobs.push(Job::Recover(leftovers));
    }

    /// Jobs to be carried out.
    pub(crate) fn take_jobs(&mut self, into: &mut Vec<Job>) {
        self.jobs_open += self.jobs.len();
        into.append(&mut self.jobs);
    }

    /// Carries out an order that was given at `given`.
    pub(crate) fn order(&mut self, order: Order, given: Instant, now: Origin) {
        match order {
            Order::Start(start) => self.start(&Arc::from(start), given, now),
            Order::Stop(track) => self.stop_track(track, now),
            Order::Bounds(bounds) => {
                self.settings.files_max = super::within_descriptors(bounds.files_max);
                self.settings.sync_interval = bounds.sync_interval;
                self.health.need(bounds.free_bytes_least);
            }
            Order::RoomClosed(room) => {
                let of = |reel: &Reel| reel.key.0 == room;
                let ids: Vec<_> = self.ids(of);
                ids.into_iter().for_each(|id| self.end_reel(id, now));
                self.rooms.close(&room);
            }
        }
    }

    fn ids(&self, of: impl Fn(&Reel) -> bool) -> Vec<ReelId> {
        let reels = self.reels.iter();
        reels.filter(|(_, r)| of(r)).map(|(id, _)| *id).collect()
    }

    fn start(&mut self, start: &Arc<Start>, given: Instant, now: Origin) {
        if self.tracks.contains_key(&start.track) {
            tracing::debug!(track = start.track.0, "is being recorded already");
            return;
        }
        if self.shut {
            let reason = "the router is shutting down".to_owned();
            let cause = FailureCause::Unavailable;
            return self.event(Event::Failed(start.track, cause, reason));
        }
        if let Some((cause, why)) = self.health.stopped() {
            let reason = format!("recording is stopped: {why}");
            let cause = cause.failure();
            return self.event(Event::Failed(start.track, cause, reason));
        }
        let key = (
            Arc::clone(&start.room),
            start.owner,
            start.name.clone(),
            start.container,
        );
        let id = match self.keys.get(&key) {
            Some(id) => *id,
            None => self.new_reel(key, start, now),
        };
        let Some(reel) = self.reels.get_mut(&id) else {
            return;
        };
        reel.film.add(start.track, start.kind == MediaKind::Video);
        reel.tracks.insert(start.track, Arc::clone(start));
        reel.since.insert(start.track, given);
        if let Some(file) = reel.file.and_then(|file| self.files.get_mut(&file)) {
            file.tracks.push((start.track, Arc::clone(start)));
        }
        self.tracks.insert(start.track, id);
        self.rooms.start(start, now);
    }

    fn new_reel(&mut self, key: Key, start: &Start, now: Origin) -> ReelId {
        let film: Box<dyn Film> = match start.container {
            Container::RtpDump => Box::new(DumpFilm::new(start.segment, now)),
            container => self.films.film(container, start.segment, now),
        };
        let id = ReelId(self.id());
        let reel = Reel {
            film,
            key: key.clone(),
            tracks: BTreeMap::new(),
            since: BTreeMap::new(),
            file: None,
            ending: false,
        };
        self.reels.insert(id, reel);
        self.keys.insert(key, id);
        id
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn stop_track(&mut self, track: TrackId, now: Origin) {
        let Some(id) = self.forget_track(track) else {
            return;
        };
        let Some(reel) = self.reels.get_mut(&id) else {
            return;
        };
        match reel.film.remove(track) {
            true => self.end_reel(id, now),
            false => drop(reel.tracks.remove(&track)),
        }
    }

    fn forget_track(&mut self, track: TrackId) -> Option<ReelId> {
        self.losing.remove(&track);
        self.gate.passed(track);
        self.tracks.remove(&track)
    }

    /// A packet that came from a worker.
    pub(crate) fn packet(&mut self, item: Item, now: Instant) {
        let Item {
            track,
            packet,
            lost,
        } = item;
        let Some(reel) = self
            .tracks
            .get(&track)
            .and_then(|id| self.reels.get_mut(id))
        else {
            return;
        };
        if reel
            .since
            .get(&track)
            .is_some_and(|since| packet.arrived < *since)
        {
            return;
        }
        let of_file = reel.file.and_then(|file| self.files.get(&file));
        let full = self.waiting >= self.settings.waiting_bytes_max
            || of_file.is_some_and(|f| f.waiting() >= self.settings.waiting_bytes_of_a_file_max);
        let pass = match full {
            true => Pass::No,
            false => self.gate.pass(track, &packet),
        };
        let Pass::After(dropped) = pass else {
            stats::add(&self.stats.packets_dropped_disk, 1);
            if self.gate.dropped(track) {
                stats::add(&self.stats.drops, 1);
                self.loss(track, now);
            }
            return;
        };
        self.gate.passed(track);
        if lost > 0 || dropped > 0 {
            self.losing.remove(&track);
            if !matches!(packet.codec, Codec::Opus) {
                reel.film.dropped(track);
            }
        }
        reel.film.packet(track, &packet);
    }

    /// A track began to lose frames.
    pub(crate) fn loss(&mut self, track: TrackId, now: Instant) {
        let reel = self.tracks.get(&track).and_then(|id| self.reels.get(id));
        let start = reel.and_then(|reel| reel.tracks.get(&track));
        if start.is_some_and(|start| start.kind == MediaKind::Video) {
            self.losing.entry(track).or_insert(now);
        }
    }

    fn ask_for_keyframes(&mut self, now: Instant) {
        let mut wanted = Vec::new();
        for (track, due) in &mut self.losing {
            if now >= *due {
                *due = now + KEYFRAME_EVERY;
                wanted.push(*track);
            }
        }
        for track in wanted {
            self.event(Event::KeyframeWanted(track));
        }
    }

    /// What is due by now: called some forty times a second while anything is recorded.
    pub(crate) fn step(&mut self, now: Origin) {
        for id in self.ids(|_| true) {
            let mut steps = std::mem::take(&mut self.steps);
            if let Some(reel) = self.reels.get_mut(&id) {
                reel.film.steps(now.at, &mut steps);
            }
            self.apply(id, &mut steps, now);
            self.steps = steps;
        }
        self.ask_for_keyframes(now.at);
        let watching = !self.reels.is_empty() || self.health.stopped().is_some();
        if watching && self.health.look(now.at) {
            self.jobs.push(Job::Space);
        }
        for (id, file) in &mut self.files {
            if let Some((job, taken)) = file.next(*id, now.at) {
                self.waiting = self.waiting.saturating_sub(taken);
                self.jobs.push(job);
            }
        }
        let files = &self.files;
        let expected = |room| files.values().any(|file| file.room == room);
        self.rooms.jobs(now, expected, &mut self.jobs);
        stats::set(&self.stats.tracks, self.tracks.len() as u64);
        stats::set(&self.stats.files_open, self.files.len() as u64);
        stats::set(&self.stats.waiting_bytes, self.waiting as u64);
    }

    /// Carries out what a film wants.
    fn apply(&mut self, id: ReelId, steps: &mut Vec<Step>, now: Origin) {
        for step in steps.drain(..) {
            match step {
                Step::Begin => self.begin(id, now),
                Step::Write(write) => {
                    if let Some(file) = self.file_of(id) {
                        self.waiting += file.push(write, now.at);
                    }
                }
                Step::End(summaries) => {
                    self.date(id, now);
                    if let Some(file) = self.file_of(id) {
                        file.summaries = Some(summaries);
                    }
                    if let Some(reel) = self.reels.get_mut(&id) {
                        reel.file = None;
                    }
                }
                Step::Started(track) => self.event(Event::Started(track)),
                Step::KeyframeWanted(track) if self.tracks.contains_key(&track) => {
                    self.event(Event::KeyframeWanted(track));
                }
                Step::KeyframeWanted(_) => {}
                Step::Failed(track, reason) => {
                    self.forget_track(track);
                    self.fail_track(id, track, reason);
                }
            }
        }
        self.date(id, now);
        let over = |reel: &Reel| reel.tracks.is_empty() && !reel.ending;
        if self.reels.get(&id).is_some_and(over) {
            self.end_reel(id, now);
        }
    }

    fn file_of(&mut self, id: ReelId) -> Option<&mut File> {
        let file = self.reels.get(&id)?.file?;
        self.files.get_mut(&file)
    }

    /// Keeps when the first frame of a reel's file was captured.
    fn date(&mut self, id: ReelId, now: Origin) {
        let began = self.reels.get(&id).and_then(|reel| reel.film.began());
        if let (Some(began), Some(file)) = (began, self.file_of(id)) {
            let ago = now.at.saturating_duration_since(began);
            file.began = now.wall.checked_sub(ago).unwrap_or(now.wall);
        }
    }

    fn begin(&mut self, id: ReelId, now: Origin) {
        if self.files.len() >= self.settings.files_max {
            let most = self.settings.files_max;
            let reason = format!(
                "{most} files are being written, which is the most that may be: as configured, or half \
                 of the process's open files"
            );
            self.alarm(Cause::Descriptors, &reason);
            return self.fail_reel(id, (Cause::Descriptors, &reason), now);
        }
        let file_id = FileId(self.id());
        let Some(reel) = self.reels.get_mut(&id) else {
            return;
        };
        let (name, _, wish, container) = &reel.key;
        let (room, folder) = self.rooms.begin(name, now);
        let tracks = reel
            .tracks
            .iter()
            .map(|(t, s)| (*t, Arc::clone(s)))
            .collect();
        let place = (folder, safe(wish));
        let file = File::new(room, *container, tracks, place, now);
        // A film that forgot to end the one before would leave it open for ever.
        let forgotten = reel.file.replace(file_id);
        self.files.insert(file_id, file);
        if let Some(file) = forgotten.and_then(|file| self.files.get_mut(&file)) {
            file.summaries.get_or_insert_default();
        }
    }

    /// Everything of it is written, and its file is completed.
    pub(super) fn end_reel(&mut self, id: ReelId, now: Origin) {
        let Some(reel) = self.reels.get_mut(&id) else {
            return;
        };
        let mut steps = Vec::new();
        reel.ending = true;
        reel.film.finish(now.at, &mut steps);
        let tracks: Vec<_> = reel.tracks.keys().copied().collect();
        for track in tracks {
            self.forget_track(track);
        }
        self.apply(id, &mut steps, now);
        if let Some(reel) = self.reels.remove(&id) {
            if self.keys.get(&reel.key) == Some(&id) {
                self.keys.remove(&reel.key);
            }
            if let Some(file) = reel.file.and_then(|file| self.files.get_mut(&file)) {
                file.summaries.get_or_insert_default();
            }
        }
    }

    fn fail_track(&mut self, id: ReelId, track: TrackId, reason: String) {
        let reel = self.reels.get_mut(&id);
        if let Some(start) = reel.and_then(|reel| reel.tracks.remove(&track)) {
            self.rooms.track_failed(&start, &reason);
            self.event(Event::Failed(track, FailureCause::Unsupported, reason));
        }
    }

    /// Its tracks are recorded no more, for a reason; what can be completed of it is.
    pub(super) fn fail_reel(&mut self, id: ReelId, (cause, reason): (Cause, &str), now: Origin) {
        let Some(reel) = self.reels.get(&id) else {
            return;
        };
        let tracks: Vec<_> = reel.tracks.values().cloned().collect();
        let file = reel.file.and_then(|file| self.files.get_mut(&file));
        let works = file.is_some_and(|file| {
            file.told = true;
            file.failed.is_none()
        });
        match works {
            true => self.end_reel(id, now),
            false => self.drop_reel(id, now),
        }
        for start in tracks {
            self.rooms.track_failed(&start, reason);
            let cause = cause.failure();
            self.event(Event::Failed(start.track, cause, reason.to_owned()));
        }
    }

    /// Nothing more of it is written. Its file learns what was in it.
    fn drop_reel(&mut self, id: ReelId, now: Origin) {
        let Some(mut reel) = self.reels.remove(&id) else {
            return;
        };
        if self.keys.get(&reel.key) == Some(&id) {
            self.keys.remove(&reel.key);
        }
        for track in reel.tracks.keys() {
            self.forget_track(*track);
        }
        let Some(file) = reel.file.and_then(|file| self.files.get_mut(&file)) else {
            return;
        };
        let mut steps = Vec::new();
        reel.film.finish(now.at, &mut steps);
        let end = steps.into_iter().find_map(|step| match step {
            Step::End(summaries) => Some(summaries),
            _ => None,
        });
        file.summaries = Some(end.unwrap_or_default());
    }

    /// Nothing is recorded until there is space again: everything is completed.
    pub(super) fn stop_all(&mut self, cause: Cause, why: &str, now: Origin) {
        if self.health.stop(cause, why) {
            stats::set(&self.stats.stopped, 1);
        }
        let reason = format!("recording is stopped: {why}");
        for id in self.ids(|_| true) {
            self.fail_reel(id, (cause, &reason), now);
        }
        self.alarm(cause, why);
    }

    /// Tells operators, once.
    pub(super) fn alarm(&mut self, cause: Cause, why: &str) {
        if self.health.tell(cause) {
            stats::add(&self.stats.alarms, 1);
            let root = self.settings.root.display();
            let stops = match cause.stops_all() {
                true => "recording stopped; calls go on",
                false => "a file of a recording failed; calls and other recordings go on",
            };
            tracing::error!(%root, why, hint = cause.hint(), "{stops}");
        }
    }

    /// Finishes everything; no start is taken any more.
    pub(crate) fn shut(&mut self, now: Origin) {
        self.shut = true;
        for id in self.ids(|_| true) {
            self.end_reel(id, now);
        }
        self.rooms.close_all();
    }

    /// Whether all is done after [`Self::shut`].
    pub(crate) fn is_done(&self) -> bool {
        self.shut && self.is_idle() && self.rooms.is_settled()
    }

    fn is_idle(&self) -> bool {
        self.reels.is_empty()
            && self.files.is_empty()
            && self.jobs_open == 0
            && self.jobs.is_empty()
    }

    /// After what time to call [`Self::step`] again; `None`: when there is an order.
    pub(crate) fn wait(&self) -> Option<Duration> {
        if !self.is_idle() || !self.events.is_empty() {
            return Some(super::TICK);
        }
        let slowly = self.health.stopped().is_some() || !self.rooms.is_settled();
        slowly.then_some(super::TICK_SLOW)
    }
}

//! A core, a disk in memory, and a virtual clock.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::api::{
    Codec, Container, Event, MediaKind, Order, Packet, ParticipantId, Start, TrackId,
};
use crate::disk::fake::FakeDisk;
use crate::disk::{Disk, Done};
use crate::engine::core::Core;
use crate::engine::queue::Item;
use crate::engine::stats::Stats;
use crate::engine::{Settings, Snapshot};
use crate::film::{Film, Films, Origin, Step, TrackSummary, Write};

/// Makes films that write a packet's payload as it comes, and at the end overwrite the first byte.
pub(super) struct FakeFilms;

#[derive(Default)]
struct FakeFilm {
    tracks: Vec<TrackId>,
    all: Vec<TrackId>,
    packets: u64,
    began: Option<Instant>,
    steps: Vec<Step>,
}

impl Films for FakeFilms {
    fn film(&self, _: Container, _: Option<Duration>, _: Origin) -> Box<dyn Film> {
        Box::new(FakeFilm::default())
    }
}

impl Film for FakeFilm {
    fn add(&mut self, track: TrackId, _video: bool) {
        self.tracks.push(track);
        self.all.push(track);
    }

    fn remove(&mut self, track: TrackId) -> bool {
        self.tracks.retain(|t| *t != track);
        self.tracks.is_empty()
    }

    fn packet(&mut self, track: TrackId, packet: &Packet) {
        if packet.codec == Codec::Other {
            let reason = "its codec is not known".to_owned();
            return self.steps.push(Step::Failed(track, reason));
        }
        if self.began.is_none() {
            self.began = Some(packet.captured);
            self.steps.push(Step::Begin);
            self.steps.push(Step::Started(track));
        }
        self.packets += 1;
        let bytes = packet.payload.to_vec();
        self.steps.push(Step::Write(Write::Append(bytes)));
    }

    fn dropped(&mut self, track: TrackId) {
        self.steps.push(Step::KeyframeWanted(track));
    }

    fn steps(&mut self, _now: Instant, into: &mut Vec<Step>) {
        into.append(&mut self.steps);
    }

    fn finish(&mut self, _now: Instant, into: &mut Vec<Step>) {
        into.append(&mut self.steps);
        if self.began.take().is_some() {
            into.push(Step::Write(Write::Overwrite {
                offset: 0,
                bytes: b"E".to_vec(),
            }));
            let summary = |track: &TrackId| TrackSummary {
                track: *track,
                codec: "VP8",
                begins: Duration::ZERO,
                duration: Duration::from_secs(1),
                frames: self.packets,
                gaps: Vec::new(),
                width: 640,
                height: 360,
            };
            into.push(Step::End(self.all.iter().map(summary).collect()));
        }
    }

    fn began(&self) -> Option<Instant> {
        self.began
    }
}

pub(super) struct World {
    pub(super) core: Core,
    pub(super) disk: FakeDisk,
    pub(super) now: Origin,
    pub(super) events: Vec<Event>,
    stats: Arc<Stats>,
    sequence: u64,
}

impl World {
    pub(super) fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::new("/recordings");
        settings.free_bytes_least = 1_000_000;
        change(&mut settings);
        let stats = Arc::new(Stats::default());
        Self {
            core: Core::new(settings, Arc::new(FakeFilms), Arc::clone(&stats)),
            disk: FakeDisk::new(),
            now: Origin {
                at: Instant::now(),
                wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_680_000),
            },
            events: Vec::new(),
            stats,
            sequence: 0,
        }
    }

    pub(super) fn stats(&self) -> Snapshot {
        self.stats.snapshot()
    }

    pub(super) fn start(&mut self, track: u64, owner: u64, name: &str, container: Container) {
        let start = start(track, owner, name, container);
        self.core
            .order(Order::Start(Box::new(start)), self.now.at, self.now);
    }

    pub(super) fn stop(&mut self, track: u64) {
        self.core
            .order(Order::Stop(TrackId(track)), self.now.at, self.now);
    }

    /// A packet of a track, `bytes` long.
    pub(super) fn packet(&mut self, track: u64, bytes: usize, keyframe: bool) {
        self.sequence += 1;
        let packet = packet(self.sequence, self.now.at, bytes, keyframe);
        self.item(track, packet, 0);
    }

    pub(super) fn item(&mut self, track: u64, packet: Packet, lost: u32) {
        let item = Item {
            track: TrackId(track),
            packet,
            lost,
        };
        self.core.packet(item, self.now.at);
    }

    /// One turn of the thread, 25 ms later.
    pub(super) fn turn(&mut self) {
        self.now.at += Duration::from_millis(25);
        self.now.wall += Duration::from_millis(25);
        let mut done: Vec<Done> = Vec::new();
        self.disk.done(&mut done);
        for done in done {
            self.core.done(done, self.now);
        }
        self.core.step(self.now);
        let mut jobs = Vec::new();
        self.core.take_jobs(&mut jobs);
        jobs.into_iter().for_each(|job| self.disk.submit(job));
        while let Some(event) = self.core.pop_event() {
            self.events.push(event);
        }
        assert_eq!(self.disk.overlaps, 0, "two jobs of a file at once");
    }

    pub(super) fn run(&mut self, turns: usize) {
        (0..turns).for_each(|_| self.turn());
    }

    pub(super) fn failed(&self) -> Vec<(u64, &str)> {
        let failed = self.events.iter().filter_map(|event| match event {
            Event::Failed(track, _, reason) => Some((track.0, reason.as_str())),
            _ => None,
        });
        failed.collect()
    }

    pub(super) fn finished(&self) -> Vec<(u64, &str)> {
        let finished = self.events.iter().filter_map(|event| match event {
            Event::Finished(finished) => Some((finished.track.0, finished.name.as_str())),
            _ => None,
        });
        finished.collect()
    }

    pub(super) fn sidecar(&self) -> crate::sidecar::Sidecar {
        let (_, json) = self.disk.sidecars.first_key_value().expect("a sidecar");
        crate::sidecar::Sidecar::from_json(json).expect("is read")
    }
}

pub(super) fn start(track: u64, owner: u64, name: &str, container: Container) -> Start {
    Start {
        room: Arc::from("class"),
        track: TrackId(track),
        owner: ParticipantId(owner),
        identity: Arc::from(format!("user {owner}")),
        kind: MediaKind::Video,
        source: "camera",
        container,
        name: Box::from(name),
        segment: None,
        attributes: vec![("why".to_owned(), "test".to_owned())],
    }
}

pub(super) fn packet(sequence: u64, at: Instant, bytes: usize, keyframe: bool) -> Packet {
    Packet {
        sequence,
        timestamp: 0,
        clock_rate: 90_000,
        captured: at,
        arrived: at,
        marker: true,
        payload_type: 96,
        codec: Codec::Vp8,
        keyframe,
        switched: false,
        payload: Arc::from(vec![b'x'; bytes]),
    }
}

//! What is being recorded in a room: the books between its policy, the core and the recorder.
//!
//! A recording has two ends. The core gives packets of a track from an order on until it says that they
//! ended; the recorder writes from an order on until it is told to stop, and reports files when they are
//! complete. So a start goes to the recorder first, and a stop to the core first: what it still gives away
//! has its place. The books do not depend on the policy: what is being recorded goes on when that fails.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use rillway_core::api::RoomOrderKind;
use rillway_core::id::{self, TrackId};
use rillway_plugin_sdk::recording::{Event, FailureCause, Recorded, Start};
use rillway_plugin_sdk::signaling::RecordingState;
use rillway_plugin_sdk::types::{self, ParticipantId, Track};
use rillway_recorder::api as recorder;
use tokio::sync::Notify;

use super::desk::Desk;
use super::orders::Orders;
use super::translate;

/// Time the recorder has to complete the files of a room that closed, until its policy hears of the end.
const FINISHING_TIME: Duration = Duration::from_secs(20);
/// The same where nothing was written yet: of tracks that were silent there are no files to wait for.
const FIRST_FILE_TIME: Duration = Duration::from_secs(3);

/// Why something is not recorded, and the same for people.
pub(super) type Problem = (FailureCause, String);

/// The books of a room.
pub(super) struct Books {
    room: Rc<str>,
    orders: Orders,
    desk: Rc<Desk>,
    tracks: RefCell<BTreeMap<TrackId, Entry>>,
    /// Tracks that are recorded no more and whose last file is not complete yet, if there is one.
    closing: RefCell<BTreeSet<TrackId>>,
    /// Tracks that are in a file.
    written: RefCell<BTreeSet<TrackId>>,
    /// Who asked last for what is recorded.
    by: Cell<Option<ParticipantId>>,
    /// The sidecar of the room is open.
    begun: Cell<bool>,
    closed: Cell<bool>,
    /// Some entry is gone.
    gone: Notify,
    /// The room is about to be told.
    announcing: Cell<bool>,
}

#[derive(Debug)]
struct Entry {
    stage: Stage,
    /// As it was ordered.
    recorded: Recorded,
    /// Its publisher.
    owner: id::ParticipantId,
    identity: Box<str>,
    source: &'static str,
    container: &'static str,
    since: SystemTime,
}

/// A track that is recorded, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Underway {
    /// Name of its room.
    pub(crate) room: String,
    /// Which.
    pub(crate) track: TrackId,
    /// Its publisher.
    pub(crate) owner: id::ParticipantId,
    /// The publisher's identity.
    pub(crate) identity: String,
    /// `camera`, `microphone`, …
    pub(crate) source: &'static str,
    /// As its policy wants it.
    pub(crate) name: String,
    /// How names of its files end.
    pub(crate) container: &'static str,
    /// When it was ordered.
    pub(crate) since: SystemTime,
    /// A frame of it is in a file.
    pub(crate) writing: bool,
    /// The participant who asked for what is recorded in the room.
    pub(crate) by: Option<id::ParticipantId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is recorded.
    Running,
    /// The core was told to end it.
    Stopping,
    /// So was it, and the recorder has given it up already.
    Failed,
}

impl Books {
    /// Nothing is recorded.
    pub(super) fn new(room: Rc<str>, orders: Orders, desk: Rc<Desk>) -> Self {
        Books {
            room,
            orders,
            desk,
            tracks: RefCell::default(),
            closing: RefCell::default(),
            written: RefCell::default(),
            by: Cell::new(None),
            begun: Cell::new(false),
            closed: Cell::new(false),
            gone: Notify::new(),
            announcing: Cell::new(false),
        }
    }

    /// Who asked last.
    pub(super) fn asked_by(&self, by: Option<ParticipantId>) {
        self.by.set(by);
    }

    /// Whether a track is recorded and nobody has ended that.
    pub(super) fn is_running(&self, track: TrackId) -> bool {
        let tracks = self.tracks.borrow();
        let entry = tracks.get(&track);
        entry.is_some_and(|entry| entry.stage == Stage::Running)
    }

    /// How long to wait for files of tracks that are recorded no more; `None`: they are complete.
    pub(super) fn patience(&self) -> Option<Duration> {
        let (closing, written) = (self.closing.borrow(), self.written.borrow());
        if closing.is_empty() {
            None
        } else if closing.is_disjoint(&written) {
            Some(FIRST_FILE_TIME)
        } else {
            Some(FINISHING_TIME)
        }
    }

    /// A track is in a file.
    pub(super) fn started(&self, track: TrackId) {
        self.written.borrow_mut().insert(track);
    }

    /// Whether the recorder may still say something about a track.
    pub(super) fn expects(&self, track: TrackId) -> bool {
        self.tracks.borrow().contains_key(&track) || self.closing.borrow().contains(&track)
    }

    /// What is recorded, for people; `None`: nothing.
    pub(super) fn state(&self) -> Option<RecordingState> {
        let tracks: Vec<_> = self.ordered().iter().map(|one| one.track).collect();
        (!tracks.is_empty()).then(|| RecordingState {
            active: true,
            by: self.by.get(),
            tracks,
        })
    }

    /// What is running, as it was ordered.
    pub(super) fn ordered(&self) -> Vec<Recorded> {
        let tracks = self.tracks.borrow();
        let running = tracks
            .values()
            .filter(|entry| entry.stage == Stage::Running);
        running.map(|entry| entry.recorded.clone()).collect()
    }

    /// The same for operators.
    pub(super) fn underway(&self) -> Vec<Underway> {
        let (tracks, written) = (self.tracks.borrow(), self.written.borrow());
        let running = tracks.iter();
        let running = running.filter(|(_, entry)| entry.stage == Stage::Running);
        let view = |(track, entry): (&TrackId, &Entry)| Underway {
            room: (*self.room).to_owned(),
            track: *track,
            owner: entry.owner,
            identity: entry.identity.clone().into(),
            source: entry.source,
            name: entry.recorded.name.clone(),
            container: entry.container,
            since: entry.since,
            writing: written.contains(track),
            by: self.by.get().map(|by| id::ParticipantId(by.0)),
        };
        running.map(view).collect()
    }

    /// Begins to record a track, which is not recorded.
    ///
    /// # Errors
    /// What is in the way, for people.
    pub(super) async fn begin(
        &self,
        start: Start,
        track: &Track,
        identity: &str,
    ) -> Result<(), Problem> {
        fits(&start, track)?;
        let key = TrackId(track.id.0);
        // A stop of the same track may be under way.
        while self.tracks.borrow().contains_key(&key) {
            self.gone.notified().await;
        }
        if self.closed.get() {
            let reason = "the room has closed".to_owned();
            return Err((FailureCause::Unavailable, reason));
        }
        let recorded = Recorded {
            track: start.track,
            name: start.name.clone(),
            attributes: start.attributes.clone(),
        };
        let order = translate::start(start, track, identity, &self.room);
        let entry = Entry {
            stage: Stage::Running,
            recorded,
            owner: id::ParticipantId(order.owner.0),
            identity: identity.into(),
            source: order.source,
            container: order.container.extension(),
            since: SystemTime::now(),
        };
        self.desk.start(order)?;
        self.begun.set(true);
        self.closing.borrow_mut().remove(&key);
        self.tracks.borrow_mut().insert(key, entry);
        self.orders.send(RoomOrderKind::Record(key)).await;
        Ok(())
    }

    /// Ends the recording of a track. False: it is not recorded.
    pub(super) async fn end(&self, track: TrackId) -> bool {
        if !self.is_running(track) {
            return false;
        }
        self.advance(track, Stage::Stopping);
        self.orders.send(RoomOrderKind::StopRecording(track)).await;
        true
    }

    /// Puts a recording into another stage. True: it was running.
    fn advance(&self, track: TrackId, to: Stage) -> bool {
        let mut tracks = self.tracks.borrow_mut();
        let entry = tracks.get_mut(&track);
        entry.is_some_and(|entry| std::mem::replace(&mut entry.stage, to) == Stage::Running)
    }

    /// The core gives nothing more of a track.
    pub(super) fn ended(&self, track: TrackId) {
        let entry = self.tracks.borrow_mut().remove(&track);
        if entry.is_some_and(|entry| entry.stage != Stage::Failed) {
            self.closing.borrow_mut().insert(track);
            self.desk
                .must(recorder::Order::Stop(recorder::TrackId(track.0)));
        }
        self.gone.notify_waiters();
    }

    /// The core does not give a track.
    pub(super) fn refused(&self, track: TrackId) {
        if self.tracks.borrow_mut().remove(&track).is_some() {
            self.desk
                .must(recorder::Order::Stop(recorder::TrackId(track.0)));
        }
        self.gone.notify_waiters();
    }

    /// The recorder gave up a track.
    pub(super) fn failed(&self, track: TrackId) {
        self.closing.borrow_mut().remove(&track);
        self.written.borrow_mut().remove(&track);
        if self.advance(track, Stage::Failed) {
            let orders = self.orders.clone();
            tokio::task::spawn_local(async move {
                orders.send(RoomOrderKind::StopRecording(track)).await;
            });
        }
    }

    /// A file is complete for a track.
    pub(super) fn finished(&self, track: TrackId) {
        if self.closing.borrow_mut().remove(&track) {
            self.written.borrow_mut().remove(&track);
        }
    }

    /// The recorder needs a keyframe. It says so again if this one is lost.
    pub(super) fn keyframe(&self, track: TrackId) {
        if self.is_running(track) {
            self.orders.nudge(track, RoomOrderKind::AskKeyframe(track));
        }
    }

    /// Every track that is recorded.
    pub(super) fn recorded(&self) -> Vec<TrackId> {
        self.tracks.borrow().keys().copied().collect()
    }

    /// The room is gone, and what was recorded in it has ended.
    pub(super) fn close(&self) {
        self.closed.set(true);
        for track in self.recorded() {
            self.ended(track);
        }
        if self.begun.get() {
            let room = (*self.room).into();
            self.desk.must(recorder::Order::RoomClosed(room));
        }
    }

    /// Nothing more comes of what is closing.
    pub(super) fn give_up(&self) {
        self.closing.borrow_mut().clear();
    }

    /// Tells the room what is recorded: once for what changes in a moment. Within a `LocalSet`.
    pub(super) fn announce(self: &Rc<Self>) {
        if self.announcing.replace(true) {
            return;
        }
        let books = self.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(super::desk::ANNOUNCED_AFTER).await;
            books.announcing.set(false);
            let state = books.state().unwrap_or_else(|| {
                books.by.set(None);
                RecordingState {
                    active: false,
                    by: None,
                    tracks: Vec::new(),
                }
            });
            books.desk.tell(&books.room, &state);
        });
    }
}

/// Whether a container can hold a track, as far as that is known before its first packet.
pub(super) fn fits(start: &Start, track: &Track) -> Result<(), Problem> {
    use rillway_plugin_sdk::recording::Container;
    let (name, codecs): (_, &[&str]) = match start.container {
        Container::RtpDump => return Ok(()),
        Container::Mp4 => ("MP4", &["VP8", "VP9", "AV1", "H264", "opus"]),
        Container::Webm => ("WebM", &["VP8", "VP9", "AV1", "opus"]),
    };
    if track.encrypted {
        let reason = "the track is end-to-end encrypted: only an RTP dump can hold it, so ask for the \
                      container rtp-dump";
        return Err((FailureCause::Encrypted, reason.to_owned()));
    }
    let known = |codec: &&str| codec.eq_ignore_ascii_case(&track.codec);
    if track.codec.is_empty() || codecs.iter().any(known) {
        return Ok(());
    }
    let other = if track.codec.eq_ignore_ascii_case("H264") {
        "mp4"
    } else {
        "rtp-dump"
    };
    let reason = format!(
        "{name} has no place for {} here: ask for the container {other}",
        track.codec
    );
    Err((FailureCause::Unsupported, reason))
}

/// What a policy hears of a complete file.
pub(super) fn finished(file: recorder::Finished) -> Event {
    Event::Finished(rillway_plugin_sdk::recording::Finished {
        track: types::TrackId(file.track.0),
        name: file.name,
        bytes: file.bytes,
        duration_ms: u64::try_from(file.duration.as_millis()).unwrap_or(u64::MAX),
        sha256: file.sha256,
        attributes: file.attributes,
    })
}

//! What `rillway top` shows and what keys do to it. No terminal, no socket.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::rows;
use super::table::{Look, Table};
use crate::management::wire::{Latency, Reason, Sample, SubscriptionSample, WhyRequest};

/// Values a sparkline remembers: more than any terminal is wide.
const HISTORY_MAX: usize = 512;

/// Rows of a page for PgUp and PgDn.
const PAGE: isize = 10;

/// Longest filter.
const FILTER_MAX: usize = 40;

/// Where somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Every room.
    Rooms,
    /// Every worker.
    Workers,
    /// Every plugin.
    Plugins,
    /// Who is in a room.
    Room(String),
    /// What a participant receives.
    Person { room: String, id: String },
    /// Why it gets that of one track.
    Why {
        room: String,
        participant: String,
        track: String,
    },
}

/// What is wanted of the router, beside samples of all of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Wanted {
    pub(super) room: String,
    pub(super) why: Option<WhyRequest>,
}

/// What has come from the router.
#[derive(Debug)]
pub(super) enum News {
    Connected(String),
    Sample(Box<Sample>),
    Lost(u64),
    Reasons(Result<Vec<Reason>, String>),
    /// It is gone, and is tried again.
    Gone(String),
    /// The process was told to end.
    End,
    /// No router will come of this: why.
    Failed(super::OperateError),
}

/// Whether there is a router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    Connecting,
    Up,
    Down { why: String, since: Instant },
}

/// Everything that is shown.
pub(super) struct Model {
    pub(super) router: String,
    pub(super) link: Link,
    pub(super) sample: Option<Box<Sample>>,
    pub(super) reasons: Option<Result<Vec<Reason>, String>>,
    /// Samples that came too fast for us.
    pub(super) lost: u64,
    /// Forwarding latency, 99 of 100, microseconds, newest last; `None`: nothing was forwarded.
    pub(super) latency: VecDeque<Option<u64>>,
    /// Bits per second to subscribers, newest last.
    pub(super) sent: VecDeque<Option<u64>>,
    /// Of the subscription looked at.
    pub(super) forwarded: VecDeque<Option<u64>>,
    pub(super) filtering: bool,
    pub(super) help: bool,
    pub(super) ended: bool,
    stack: Vec<Place>,
    looks: BTreeMap<&'static str, Look>,
}

fn remember(history: &mut VecDeque<Option<u64>>, value: Option<u64>) {
    if history.len() == HISTORY_MAX {
        history.pop_front();
    }
    history.push_back(value);
}

impl Model {
    /// Begins with all rooms, or with one.
    pub(super) fn new(room: Option<String>) -> Model {
        let mut stack = vec![Place::Rooms];
        stack.extend(room.map(Place::Room));
        Model {
            router: String::new(),
            link: Link::Connecting,
            sample: None,
            reasons: None,
            lost: 0,
            latency: VecDeque::new(),
            sent: VecDeque::new(),
            forwarded: VecDeque::new(),
            filtering: false,
            help: false,
            ended: false,
            stack,
            looks: BTreeMap::new(),
        }
    }

    /// Where one is now.
    pub(super) fn place(&self) -> Place {
        self.stack.last().cloned().unwrap_or(Place::Rooms)
    }

    /// What is wanted for that.
    pub(super) fn wanted(&self) -> Wanted {
        match self.place() {
            Place::Rooms | Place::Workers | Place::Plugins => Wanted::default(),
            Place::Room(room) | Place::Person { room, .. } => Wanted { room, why: None },
            Place::Why {
                room,
                participant,
                track,
            } => Wanted {
                room: room.clone(),
                why: Some(WhyRequest {
                    room,
                    participant,
                    track,
                }),
            },
        }
    }

    /// The table of where one is, as it is looked at; none for reasons.
    pub(super) fn table(&mut self) -> Option<Table> {
        let place = self.place();
        let sample = self.sample.as_deref();
        let mut table = rows::table(&place, sample)?;
        self.look().apply(&mut table);
        Some(table)
    }

    /// How that table is looked at.
    pub(super) fn look(&mut self) -> &mut Look {
        let (name, sort) = match self.place() {
            Place::Rooms => ("rooms", rows::ROOMS_SORT),
            Place::Workers => ("workers", 0),
            Place::Plugins => ("plugins", rows::PLUGINS_SORT),
            Place::Room(_) => ("room", 0),
            Place::Person { .. } => ("person", rows::PERSON_SORT),
            Place::Why { .. } => ("why", 0),
        };
        self.looks.entry(name).or_insert_with(|| Look::by(sort))
    }

    /// Something has come.
    pub(super) fn news(&mut self, news: News) {
        match news {
            News::Connected(router) => {
                self.router = router;
                self.link = Link::Up;
                self.sample = None;
                self.reasons = None;
            }
            News::Sample(sample) => self.sampled(sample),
            News::Lost(count) => self.lost += count,
            News::Reasons(reasons) => self.reasons = Some(reasons),
            News::Gone(why) => {
                let since = match &self.link {
                    Link::Down { since, .. } => *since,
                    _ => Instant::now(),
                };
                self.link = Link::Down { why, since };
            }
            News::End | News::Failed(_) => self.ended = true,
        }
    }

    fn sampled(&mut self, sample: Box<Sample>) {
        // A router that closes ends its workers first: what it can still tell is less than what is shown, and the last
        // there will be.
        if sample.phase == "closing"
            && !sample.silent_workers.is_empty()
            && let Some(shown) = &mut self.sample
        {
            shown.phase = sample.phase;
            return;
        }
        if sample.over_ms > 0 {
            let latency = forwarding(&sample);
            remember(&mut self.latency, latency.map(|(_, p99)| p99));
            let sent = sample.workers.iter().map(|worker| worker.sent_bps).sum();
            remember(&mut self.sent, Some(sent));
            if let Some(found) = self.subscription(&sample) {
                let bps = found.forwarded_bps;
                remember(&mut self.forwarded, Some(bps));
            }
        }
        self.sample = Some(sample);
    }

    fn subscription<'a>(&self, sample: &'a Sample) -> Option<&'a SubscriptionSample> {
        let Place::Why {
            participant, track, ..
        } = self.place()
        else {
            return None;
        };
        let mut all = sample.room.as_ref()?.subscriptions.iter();
        all.find(|one| {
            let one = one.subscription.as_ref();
            one.is_some_and(|one| one.participant == participant && one.track == track)
        })
    }

    /// A key was pressed. Returns false when that is the end.
    pub(super) fn key(&mut self, key: KeyEvent) -> bool {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return false;
        }
        if self.filtering {
            self.filter_key(key.code);
            return true;
        }
        if self.help {
            self.help = false;
            return key.code != KeyCode::Char('q');
        }
        match key.code {
            KeyCode::Char('q') => return false,
            KeyCode::Esc | KeyCode::Backspace => return self.back(key.code == KeyCode::Esc),
            KeyCode::Char('?') | KeyCode::F(1) => self.help = true,
            KeyCode::Char('1') => self.go(Place::Rooms),
            KeyCode::Char('2') => self.go(Place::Workers),
            KeyCode::Char('3') => self.go(Place::Plugins),
            KeyCode::Tab => self.next_pane(),
            KeyCode::Enter => self.enter(),
            KeyCode::Char('/') if self.table().is_some() => self.filtering = true,
            code => self.table_key(code),
        }
        true
    }

    fn table_key(&mut self, code: KeyCode) {
        let Some(table) = self.table() else {
            return;
        };
        let look = self.look();
        match code {
            KeyCode::Up | KeyCode::Char('k') => look.step(&table, -1),
            KeyCode::Down | KeyCode::Char('j') => look.step(&table, 1),
            KeyCode::PageUp => look.step(&table, -PAGE),
            KeyCode::PageDown | KeyCode::Char(' ') => look.step(&table, PAGE),
            KeyCode::Home | KeyCode::Char('g') => look.step(&table, isize::MIN),
            KeyCode::End | KeyCode::Char('G') => look.step(&table, isize::MAX),
            KeyCode::Left | KeyCode::Char('<') => look.sort_by(&table, -1),
            KeyCode::Right | KeyCode::Char('>') => look.sort_by(&table, 1),
            KeyCode::Char('r') => look.reverse = !look.reverse,
            _ => {}
        }
    }

    fn filter_key(&mut self, code: KeyCode) {
        let look = self.look();
        match code {
            KeyCode::Char(c) if look.filter.chars().count() < FILTER_MAX => look.filter.push(c),
            KeyCode::Backspace => {
                look.filter.pop();
            }
            KeyCode::Esc => {
                look.filter.clear();
                self.filtering = false;
            }
            KeyCode::Enter => self.filtering = false,
            _ => {}
        }
    }

    fn go(&mut self, place: Place) {
        self.stack = vec![place];
    }

    fn next_pane(&mut self) {
        let next = match self.stack.first() {
            Some(Place::Rooms) => Place::Workers,
            Some(Place::Workers) => Place::Plugins,
            _ => Place::Rooms,
        };
        self.go(next);
    }

    /// Into what is selected.
    fn enter(&mut self) {
        if self.table().is_none() {
            return;
        }
        let Some(key) = self.look().selected.clone() else {
            return;
        };
        let next = match self.place() {
            Place::Rooms => Place::Room(key),
            Place::Room(room) => Place::Person { room, id: key },
            Place::Person { room, id } => {
                self.reasons = None;
                self.forwarded.clear();
                Place::Why {
                    room,
                    participant: id,
                    track: key,
                }
            }
            _ => return,
        };
        self.stack.push(next);
        // Another room, other people.
        if !matches!(self.place(), Place::Why { .. }) {
            let sort = self.look().sort;
            *self.look() = Look::by(sort);
        }
    }

    /// One level up; from the top, `end` says whether that is the end.
    fn back(&mut self, end: bool) -> bool {
        if !self.look().filter.is_empty() {
            self.look().filter.clear();
            return true;
        }
        if self.stack.len() > 1 {
            self.stack.pop();
            return true;
        }
        !end
    }
}

/// Half of the packets of all workers, and 99 of 100, were faster than this, microseconds; `None`: there were
/// none.
pub(super) fn forwarding(sample: &Sample) -> Option<(u64, u64)> {
    let mut merged = BTreeMap::new();
    let workers = sample.workers.iter();
    for bucket in workers
        .filter_map(|w| w.forwarding.as_ref())
        .flat_map(|l: &Latency| &l.buckets)
    {
        *merged.entry(bucket.up_to_us).or_insert(0_u64) += bucket.count;
    }
    let total: u64 = merged.values().sum();
    let quantile = |permille: u64| {
        let rank = (total * permille).div_ceil(1_000).max(1);
        let mut seen = 0;
        let mut buckets = merged.iter();
        let found = buckets.find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        found.map(|(up_to_us, _)| *up_to_us)
    };
    Some((quantile(500)?, quantile(990)?))
}

//! Calls that go through anything, by a seed: people come, go and vanish, networks lose, reorder, squeeze and break,
//! layers are wished for, paused and lost, addresses change. All the while the invariants of the core are watched
//! over, and at the end everything must have healed and nothing be left.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rillway_core::api::{Action, EventKind};
use rillway_core::id::Reference;

use crate::decoding::mix;
use crate::world::{Who, World};

mod networks;
mod oracles;
mod script;

/// From one action to the next.
const STEP: Duration = Duration::from_millis(100);

/// What is played.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whatever happens follows from it.
    pub seed: u64,
    /// Actions.
    pub steps: u32,
    /// Shards; every room has a part on each.
    pub workers: usize,
    /// Rooms.
    pub rooms: usize,
    /// Most people in a room.
    pub crowd: usize,
    /// What networks do.
    pub weather: Weather,
}

/// What networks do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// They delay, nothing else.
    Calm,
    /// They lose up to 3 % of all packets.
    Rainy,
    /// They lose, reorder, repeat, squeeze, break and change, and people vanish.
    Stormy,
}

impl Settings {
    /// Two rooms on one worker, on rough networks.
    pub fn new(seed: u64) -> Self {
        Settings {
            seed,
            steps: 150,
            workers: 1,
            rooms: 2,
            crowd: 4,
            weather: Weather::Stormy,
        }
    }

    /// One to three rooms of up to three to seven people, on one or two workers, by the seed.
    pub fn varied(seed: u64) -> Self {
        Settings {
            workers: 1 + (seed / 2 % 2) as usize,
            rooms: 1 + (seed % 3) as usize,
            crowd: 3 + (seed % 5) as usize,
            ..Settings::new(seed)
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// All that was received and told, as a number.
    pub trace: u64,
    /// Packets forwarded.
    pub packets: u64,
    /// Of those, sent again.
    pub again: u64,
    /// Virtual time.
    pub simulated: Duration,
    /// Changes from one layer to another that receivers saw.
    pub switches: u64,
    /// Frames shown.
    pub shown: u64,
    /// Times each action was taken.
    pub actions: BTreeMap<&'static str, u32>,
    /// How long it took until every picture ran again after networks had healed.
    pub healed: Duration,
}

struct Actor {
    who: Who,
    room: usize,
    /// Own tracks that are muted.
    muted: BTreeSet<usize>,
    /// Subscriptions it gave up.
    given_up: BTreeSet<rillway_core::id::TrackId>,
}

/// A run.
pub struct Chaos {
    settings: Settings,
    /// Everything.
    pub world: World,
    dice: fastrand::Rng,
    actors: Vec<Actor>,
    /// Everybody there ever was.
    everybody: Vec<Who>,
    /// Addresses that clients had before their NAT gave them others.
    former: BTreeSet<SocketAddr>,
    /// When cut links are whole again.
    cuts: Vec<(std::time::Instant, Who)>,
    next_port: u16,
    outcome: Outcome,
    /// What was done last, told when an invariant is broken.
    history: VecDeque<String>,
}

/// Actions told when an invariant is broken.
const HISTORY: usize = 60;

impl Drop for Chaos {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in &self.history {
                eprintln!("{line}");
            }
        }
    }
}

impl Chaos {
    /// Rooms with two people each.
    pub fn new(settings: Settings) -> Self {
        let mut world = World::new(settings.seed);
        for _ in 0..settings.workers {
            world.add_shard(rillway_core::limits::Limits::default());
        }
        world.tap = Some(Vec::new());
        let mut chaos = Chaos {
            dice: fastrand::Rng::with_seed(settings.seed ^ 0x5eed),
            settings,
            world,
            actors: Vec::new(),
            everybody: Vec::new(),
            former: BTreeSet::new(),
            cuts: Vec::new(),
            next_port: 20_000,
            outcome: Outcome::default(),
            history: VecDeque::new(),
        };
        for room in 0..chaos.settings.rooms {
            if chaos.settings.workers > 1 {
                chaos.world.span(&name(room), true);
            }
            chaos.join(room);
            chaos.join(room);
        }
        chaos
    }

    /// Plays a whole run.
    ///
    /// # Panics
    /// If an invariant is broken; it says which, and when.
    pub fn play(settings: Settings) -> Outcome {
        let mut chaos = Chaos::new(settings);
        chaos.play_on();
        std::mem::take(&mut chaos.outcome)
    }

    /// Plays it to its end.
    ///
    /// # Panics
    /// As [`Chaos::play`].
    pub fn play_on(&mut self) {
        let mut auditor = oracles::Auditor::default();
        for _ in 0..self.settings.steps {
            self.act();
            self.world.run_for(STEP);
            self.mend_cuts();
            self.lose_the_lost();
            self.check(&mut auditor);
        }
        self.heal();
        self.check(&mut auditor);
        self.compare_complete();
        self.check(&mut auditor);
        self.sum_up();
        self.everybody_leaves();
        self.check(&mut auditor);
    }

    fn mend_cuts(&mut self) {
        let now = self.world.now;
        let over: Vec<_> = self
            .cuts
            .extract_if(.., |(until, _)| *until <= now)
            .collect();
        for (_, who) in over {
            let (up, down) = self.world.links(who);
            (up.cut, down.cut) = (false, false);
        }
    }

    /// What its client last said to the control side is that it is gone.
    fn tell_gone(&mut self, who: Who) {
        let client = self.world.client(who).config.client;
        let request = rillway_core::api::Request {
            client,
            reference: Reference(0),
            action: Action::Leave,
        };
        let shard = self.world.shard_of(who);
        self.world.request(shard, request);
    }

    fn sum_up(&mut self) {
        let mut trace = 0;
        for who in &self.everybody {
            let client = self.world.client(*who);
            for inbound in client.inbound.values() {
                if let Some(decoding) = &inbound.decoding {
                    trace = mix(trace, decoding.trace);
                    self.outcome.shown += decoding.shown;
                }
            }
            for event in &client.events {
                trace = mix(trace, told(event));
            }
        }
        self.outcome.trace = trace;
        for shard in 0..self.world.shards() {
            let stats = self.world.stats(shard);
            self.outcome.packets += stats.rtp_forwarded;
            self.outcome.again += stats.rtp_retransmitted;
        }
        self.outcome.simulated = self.world.now - self.world.epoch;
    }
}

/// An event as a number, without the descriptions and secrets in it.
fn told(event: &EventKind) -> u64 {
    match event {
        EventKind::Joined { me, tracks, .. } => mix(me.id.0, tracks.len() as u64),
        EventKind::ParticipantJoined(info) => mix(1, info.id.0),
        EventKind::ParticipantLeft(id) => mix(2, id.0),
        EventKind::TrackPublished(info) => mix(3, info.id.0),
        EventKind::TrackUnpublished(id) => mix(4, id.0),
        EventKind::TrackMuted(id, muted) => mix(5 + u64::from(*muted), id.0),
        EventKind::Answer { reference, .. } => mix(7, reference.0),
        EventKind::Offer { offer_id, .. } => mix(8, *offer_id),
        EventKind::TransportState(direction, state) => {
            mix(9, *direction as u64 * 16 + *state as u64)
        }
        EventKind::Speakers(speakers) => speakers.iter().fold(10, |sum, (id, _)| mix(sum, id.0)),
        EventKind::Layer {
            track,
            spatial,
            temporal,
        } => {
            let level = u64::from(spatial.unwrap_or(99)) << 8 | u64::from(temporal.unwrap_or(99));
            mix(track.0, level)
        }
        EventKind::Done { reference } => mix(11, reference.0),
        EventKind::Failed { reference, .. } => mix(12, reference.0),
        _ => 13,
    }
}

fn name(room: usize) -> String {
    format!("room-{room}")
}

//! From what threads counted to the report.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use hdrhistogram::Histogram;

use crate::health::{Process, Scheduled};
use crate::marker::{Medium, StreamId};
use crate::peer::Outcome;
use crate::plan::{Member, Plan};
use crate::report::{Delivery, Health, Joins, Latency, Report, ThreadHealth, Times, Watched};
use crate::signal::Board;
use crate::tally::times;
use crate::thread::Done;

/// One look at everything, at the beginning or the end of what is measured.
pub(crate) struct Looked {
    pub(crate) at: Instant,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) dropped: u64,
    /// Each with what it had received.
    pub(crate) threads: Vec<(Scheduled, u64)>,
    pub(crate) watched: Vec<Option<Process>>,
}

/// All that was measured.
pub(crate) struct Measured<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) members: &'a [Member],
    pub(crate) board: &'a Board,
    pub(crate) begun: Instant,
    pub(crate) before: Looked,
    pub(crate) after: Looked,
    /// Datagrams dropped by the swarm's sockets, at the end.
    pub(crate) dropped: u64,
    pub(crate) watched_before: Vec<Process>,
    pub(crate) done: Vec<Done>,
}

/// What players got.
#[derive(Default)]
struct Received {
    delivered: HashMap<(u32, StreamId), u64>,
    missing: u64,
    first_frames: BTreeMap<u32, Option<Instant>>,
    profiles: BTreeMap<String, u64>,
}

impl Measured<'_> {
    /// The report of so many threads.
    pub(crate) fn report(&self, threads: usize) -> Report {
        let sent = self.sent();
        let received = self.received();
        let swarm = self.health();
        let delivery = self.delivery(&sent, &received);
        let mut warnings = swarm.warnings();
        warnings.extend(self.warnings(threads));
        Report {
            server: self.plan.server.to_string(),
            joins: self.joins(&received),
            delivery,
            latency: self.latency(),
            swarm,
            watched: self.watched(),
            warnings,
            profiles: received.profiles,
        }
    }

    fn seconds(&self) -> f64 {
        let time = self.after.at.saturating_duration_since(self.before.at);
        time.as_secs_f64()
    }

    fn packets(&self) -> u64 {
        self.after.packets - self.before.packets
    }

    fn sent(&self) -> HashMap<StreamId, u64> {
        let peers = self.done.iter().flat_map(|done| &done.peers);
        let sent = peers.filter_map(|(_, outcome, _)| match outcome {
            Outcome::Sent(sent) => Some(sent),
            Outcome::Received { .. } => None,
        });
        sent.flatten()
            .map(|sent| (sent.stream, sent.packets))
            .collect()
    }

    fn received(&self) -> Received {
        let mut all = Received::default();
        for (key, outcome, _) in self.done.iter().flat_map(|done| &done.peers) {
            let Outcome::Received {
                delivered,
                missing,
                first_frame,
                profile,
            } = outcome
            else {
                continue;
            };
            for of_stream in delivered {
                let at = (key.client, of_stream.stream);
                *all.delivered.entry(at).or_default() += of_stream.packets;
            }
            all.missing += missing;
            all.first_frames.insert(key.client, *first_frame);
            if let Some(profile) = profile {
                *all.profiles.entry(profile.clone()).or_default() += 1;
            }
        }
        all
    }

    /// The streams that each client that joined should have received.
    fn heard(&self) -> impl Iterator<Item = (u32, StreamId)> {
        let mut rooms: HashMap<u32, Vec<u32>> = HashMap::new();
        for member in self.members {
            rooms
                .entry(member.room)
                .or_default()
                .extend(member.publisher);
        }
        let media = self.plan.media.list();
        let players = (0..)
            .zip(self.members)
            .filter(|(client, member)| member.plays && self.board.joined.contains_key(client));
        players.flat_map(move |(client, member)| {
            let room = rooms.get(&member.room).cloned().unwrap_or_default();
            let others = room
                .into_iter()
                .filter(|other| Some(*other) != member.publisher);
            let media = media.clone();
            let streams = others.flat_map(move |other| {
                let streams = media.clone().into_iter();
                streams.map(move |medium| StreamId::new(other, medium))
            });
            streams.map(move |stream| (client, stream))
        })
    }

    fn delivery(&self, sent: &HashMap<StreamId, u64>, received: &Received) -> Delivery {
        let (mut expected, mut delivered) = (0, 0);
        for at in self.heard() {
            let sent = sent.get(&at.1).copied().unwrap_or(0);
            expected += sent;
            // What is not its own counts for nobody.
            delivered += received.delivered.get(&at).copied().unwrap_or(0).min(sent);
        }
        let lost: u64 = expected - delivered;
        let missing = received.missing.min(lost);
        let sum = |of: fn(&Done) -> u64| self.done.iter().map(of).sum::<u64>();
        let seconds = self.seconds();
        Delivery {
            seconds,
            sent: sent.values().sum(),
            expected,
            delivered,
            lost,
            loss_percent: percent(lost, expected),
            missing,
            withheld: lost - missing,
            repeated: sum(|done| done.tally.repeated),
            probes: sum(|done| done.tally.unmarked),
            strange: sum(|done| done.tally.strange + done.tally.foreign),
            packets_per_second: self.packets() as f64 / seconds,
            bits_per_second: (self.after.bytes - self.before.bytes) as f64 * 8.0 / seconds,
        }
    }

    fn joins(&self, received: &Received) -> Joins {
        let (mut took, mut frames) = (times(), times());
        let mut without_frame = 0;
        for (client, joined) in &self.board.joined {
            took.saturating_record(joined.took.as_micros() as u64);
            let plays = self.members.get(*client as usize).is_some_and(|m| m.plays);
            match received.first_frames.get(client) {
                Some(Some(at)) if joined.sees => {
                    let time = at.saturating_duration_since(joined.begun);
                    frames.saturating_record(time.as_micros() as u64);
                }
                Some(Some(_)) => {}
                _ => without_frame += u64::from(plays),
            }
        }
        let mut failures = BTreeMap::new();
        for (_, error) in &self.board.failed {
            *failures.entry(error.to_string()).or_default() += 1;
        }
        for (_, _, ended) in self.done.iter().flat_map(|done| &done.peers) {
            if let Some(error) = ended {
                *failures.entry(error.to_string()).or_default() += 1;
            }
        }
        let joined = self.board.joined.len() as u64;
        let last = self.board.last_join.unwrap_or(self.begun);
        let time = last.saturating_duration_since(self.begun).as_secs_f64();
        Joins {
            clients: self.members.len() as u64,
            joined,
            failed: failures.values().sum(),
            per_second: if time > 0.0 {
                joined as f64 / time
            } else {
                0.0
            },
            per_second_asked: self.plan.joins_per_second,
            took_ms: Times::of(&took),
            first_frame_ms: Times::of(&frames),
            without_frame,
            failures,
        }
    }

    fn latency(&self) -> Latency {
        let merged = |medium: Medium| {
            let mut sum = times();
            for done in &self.done {
                let more = match medium {
                    Medium::Audio => &done.tally.audio,
                    Medium::Video => &done.tally.video,
                };
                add(&mut sum, more);
            }
            sum
        };
        let (audio, video) = (merged(Medium::Audio), merged(Medium::Video));
        let mut all = audio.clone();
        add(&mut all, &video);
        Latency {
            all_ms: Times::of(&all),
            audio_ms: Times::of(&audio),
            video_ms: Times::of(&video),
        }
    }

    fn health(&self) -> Health {
        let nanoseconds = self.seconds() * 1e9;
        let looks = self.before.threads.iter().zip(&self.after.threads);
        let threads = looks.zip(&self.done).map(|((before, after), done)| {
            let used = after.0.since(before.0);
            let packets = after.1 - before.1;
            ThreadHealth {
                busy_percent: used.ran as f64 / nanoseconds * 100.0,
                waited_percent: used.waited as f64 / nanoseconds * 100.0,
                late_ms: Times::of(&done.tally.late),
                us_per_packet: micros_each(used.ran, packets),
            }
        });
        Health {
            threads: threads.collect(),
            dropped_before: self.before.dropped,
            dropped: self.dropped.saturating_sub(self.before.dropped),
        }
    }

    fn watched(&self) -> Vec<Watched> {
        let nanoseconds = self.seconds() * 1e9;
        let looks = self.before.watched.iter().zip(&self.after.watched);
        let all = self.plan.watch.iter().zip(&self.watched_before).zip(looks);
        let both = all.filter_map(|((pid, idle), (before, after))| {
            let (before, after) = before.as_ref().zip(after.as_ref())?;
            let used = after.used_since(before);
            let grown = after.resident.saturating_sub(idle.resident);
            Some(Watched {
                pid: *pid,
                busy_percent: used as f64 / nanoseconds * 100.0,
                us_per_packet: micros_each(used, self.packets()),
                resident_before: idle.resident,
                resident: after.resident,
                resident_per_client: grown / (self.board.joined.len() as u64).max(1),
            })
        });
        both.collect()
    }

    fn warnings(&self, threads: usize) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.done.len() < threads {
            warnings.push(format!(
                "{} threads of the swarm broke: what they received is missing",
                threads - self.done.len()
            ));
        }
        let mut heard: HashMap<u32, u64> = HashMap::new();
        self.heard()
            .for_each(|(client, _)| *heard.entry(client).or_default() += 1);
        let most = heard.values().max().copied().unwrap_or(0);
        if let Some(allowed) = self
            .board
            .subscriptions_max
            .filter(|allowed| *allowed < most)
        {
            warnings.push(format!(
                "each client was to play {most} tracks, and the server lets it have {allowed} \
                 (`limits.subscriptions_per_participant`): the others count as withheld"
            ));
        }
        if self.watched().len() < self.plan.watch.len() {
            warnings.push("a watched process ended".to_owned());
        }
        warnings
    }
}

fn add(sum: &mut Histogram<u64>, more: &Histogram<u64>) {
    sum.add(more).expect("histograms of the same bounds");
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64 * 100.0
}

fn micros_each(nanoseconds: u64, packets: u64) -> f64 {
    if packets == 0 {
        return 0.0;
    }
    nanoseconds as f64 / packets as f64 / 1_000.0
}

//! The invariants (numbers as in docs/simulation.md), and what must hold when everything has healed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use rillway_core::api::{Action, MediaKind, Wish};
use rillway_core::id::TrackId;

use super::{Chaos, Weather, name, networks};
use crate::world::Who;

/// After which every picture must run again, on networks without faults.
const HEALING_MOST: Duration = Duration::from_secs(20);

/// How long a healed call is looked at.
const COMPLETE_TIME: Duration = Duration::from_secs(3);

/// Sees to it that nothing is sealed twice (12): what leaves under one SSRC and packet number of one transport leaves
/// once. Runs are shorter than a round of sequence numbers.
#[derive(Default)]
pub(super) struct Auditor {
    sent: BTreeSet<(SocketAddr, u32, u16)>,
    rtcp: BTreeSet<(SocketAddr, u32, u32)>,
}

impl Chaos {
    fn when(&self) -> String {
        let at = self.world.now - self.world.epoch;
        format!("seed {}, at {at:?}", self.settings.seed)
    }

    /// What must hold always.
    pub(super) fn check(&mut self, auditor: &mut Auditor) {
        let when = self.when();
        for who in &self.everybody {
            let client = self.world.client(*who);
            assert_eq!(client.violations, Vec::<String>::new(), "{when}: {who:?}");
            assert_eq!(
                client.unknown_packets, 0,
                "{when}: {who:?}: packets of no section"
            );
        }
        // Those who vanished run on without a network, and give up.
        for actor in &self.actors {
            let client = self.world.client(actor.who);
            let peers = [&client.publisher, &client.subscriber];
            for peer in peers.into_iter().flatten() {
                assert_eq!(peer.errors, Vec::<String>::new(), "{when}: {:?}", actor.who);
            }
        }
        assert_eq!(self.world.ledger.violations, Vec::<String>::new(), "{when}");
        let strays = std::mem::take(&mut self.world.strays);
        for (to, _) in strays {
            assert!(
                self.former.contains(&to),
                "{when}: a datagram for {to}, who is nobody"
            );
        }
        for shard in 0..self.world.shards() {
            let stats = self.world.stats(shard);
            assert!(stats.rtp_retransmitted <= stats.nacked, "{when}: {stats:?}");
            assert_eq!(stats.transport_panics, 0, "{when}");
        }
        let seen = self.world.tap.replace(Vec::new()).expect("a capture");
        for sighting in seen.iter().filter(|s| !s.inward) {
            auditor.look(sighting.outside, &sighting.contents, &when);
        }
    }

    /// Packets that receivers missed were sent again, and not more often than they were lost (6). Where packets only get
    /// lost: elsewhere, late ones are asked for, and those that nobody keeps any more.
    fn compare_repairs(&mut self) {
        if self.settings.weather != Weather::Rainy {
            return;
        }
        let stats = (0..self.world.shards()).map(|shard| self.world.stats(shard));
        let (asked, again) = stats.fold((0, 0), |(asked, again), stats| {
            (asked + stats.nacked, again + stats.rtp_retransmitted)
        });
        let everybody = self.everybody.clone();
        let lost = everybody.iter().map(|who| self.world.links(*who).1.lost());
        let lost: u64 = lost.sum();
        let what = format!(
            "{}: {lost} lost, {asked} asked for, {again} sent again",
            self.when()
        );
        assert!(again * 4 > asked, "{what}");
        assert!(again * 4 < lost * 5 + 100, "{what}");
    }

    /// Everybody alive, by room.
    fn present(&self, room: usize) -> Vec<Who> {
        let here = self.actors.iter().filter(|actor| actor.room == room);
        here.map(|actor| actor.who).collect()
    }

    /// Networks are good again, everything is wanted and sent; every picture must run before long (8), and all must
    /// agree on who and what is there (11).
    pub(super) fn heal(&mut self) {
        for who in self.world.everybody() {
            let gone = !self.actors.iter().any(|actor| actor.who == who);
            let (up, down) = self.world.links(who);
            for (side, link) in [up, down].into_iter().enumerate() {
                link.set_config(networks::calm(who.0 as u64 * 2 + side as u64));
                link.cut = gone;
            }
        }
        self.cuts.clear();
        self.world.run_for(Duration::from_secs(1));
        for index in 0..self.actors.len() {
            self.want_everything(index);
        }
        let begin = self.world.now;
        self.world.run_for(Duration::from_secs(2));
        self.compare_rosters();
        loop {
            let late = self.late();
            if late.is_empty() {
                break;
            }
            let waited = self.world.now - begin;
            assert!(
                waited < HEALING_MOST,
                "{}: after {waited:?} still without: {late:#?}",
                self.when()
            );
            self.world.run_for(Duration::from_millis(100));
        }
        self.outcome.healed = self.world.now - begin;
    }

    fn want_everything(&mut self, index: usize) {
        let who = self.actors[index].who;
        let muted = std::mem::take(&mut self.actors[index].muted);
        self.world.with(who, |c, _| {
            for number in muted {
                let published = &mut c.published[number];
                published.running = true;
                if let Some(track) = published.track {
                    c.request(Action::Mute(track, false));
                }
            }
            for layer in c.published.iter_mut().flat_map(|p| &mut p.layers) {
                layer.paused = false;
            }
        });
        for track in std::mem::take(&mut self.actors[index].given_up) {
            if self.world.client(who).tracks.contains_key(&track) {
                self.take_again(who, track);
            }
        }
        let tracks: Vec<TrackId> = self.world.client(who).tracks.keys().copied().collect();
        for track in tracks {
            let wish = Wish {
                track,
                width: 0,
                height: 0,
                fps: 0,
                priority: 0,
                paused: false,
            };
            self.world.with(who, |c, _| c.request(Action::Wish(wish)));
        }
    }

    /// Who does not see or hear what.
    fn late(&self) -> Vec<String> {
        let now = (self.world.now - self.world.epoch).as_micros() as u64;
        let mut late = Vec::new();
        for to in &self.actors {
            for from in self
                .actors
                .iter()
                .filter(|a| a.room == to.room && a.who != to.who)
            {
                for (index, published) in self.world.client(from.who).published.iter().enumerate() {
                    let inbound = self.world.inbound(to.who, from.who, index);
                    let decoding = inbound.and_then(|i| i.decoding.as_ref());
                    let shown = decoding.is_some_and(|d| d.shown > 0 && now - d.shown_at < 200_000);
                    if !shown && published.running {
                        late.push(format!(
                            "{:?} of {:?}, {:?}: {}",
                            to.who,
                            from.who,
                            published.spec.kind,
                            describe(decoding.map(|d| &**d)),
                        ));
                    }
                }
            }
        }
        late
    }

    fn compare_rosters(&self) {
        let when = self.when();
        let mut all = 0;
        for room in 0..self.settings.rooms {
            let here = self.present(room);
            all += here.len() as u64;
            let ids: BTreeMap<_, _> = here
                .iter()
                .map(|who| {
                    (
                        self.world
                            .client(*who)
                            .me
                            .unwrap_or_else(|| panic!("{when}: {who:?} did not join")),
                        *who,
                    )
                })
                .collect();
            for who in &here {
                let client = self.world.client(*who);
                assert!(
                    client.unanswered.is_empty(),
                    "{when}: {who:?}: unanswered {:?}",
                    client.unanswered
                );
                let others: Vec<_> = ids
                    .iter()
                    .filter(|(_, w)| *w != who)
                    .map(|(id, _)| *id)
                    .collect();
                let known: Vec<_> = client.roster.keys().copied().collect();
                assert_eq!(known, others, "{when}: {who:?} knows others than there are");
                let tracks: BTreeSet<_> = here
                    .iter()
                    .filter(|w| *w != who)
                    .flat_map(|w| &self.world.client(*w).published)
                    .filter_map(|p| p.track)
                    .collect();
                let known: BTreeSet<_> = client.tracks.keys().copied().collect();
                assert_eq!(
                    known, tracks,
                    "{when}: {who:?} knows other tracks than there are"
                );
            }
        }
        let shards = 0..self.world.shards();
        let participants: u64 = shards.map(|s| self.world.stats(s).participants).sum();
        assert_eq!(participants, all, "{when}: participants");
    }

    /// On networks without faults nothing is lost.
    pub(super) fn compare_complete(&mut self) {
        self.count_switches();
        self.compare_repairs();
        for who in self.everybody.clone() {
            self.world.with(who, |c, _| {
                c.inbound
                    .values_mut()
                    .for_each(crate::inbound::Inbound::forget);
            });
        }
        self.world.run_for(COMPLETE_TIME);
        let when = self.when();
        self.world.stop_media();
        for to in &self.actors {
            for (track, inbound) in &self.world.client(to.who).inbound {
                if !self.world.client(to.who).tracks.contains_key(track) {
                    continue;
                }
                let what = format!("{when}: {:?}, {track:?}", to.who);
                assert_eq!(inbound.rtp_gaps(), 0, "{what}: packets are missing");
                if inbound.info.kind == MediaKind::Audio {
                    assert!(inbound.packets > 100, "{what}: {} packets", inbound.packets);
                }
            }
        }
    }

    fn count_switches(&mut self) {
        let clients = self.everybody.iter().map(|who| self.world.client(*who));
        let inbound = clients.flat_map(|client| client.inbound.values());
        self.outcome.switches = inbound.map(|inbound| inbound.switches).sum();
    }

    /// Everybody leaves; nothing is left (10).
    pub(super) fn everybody_leaves(&mut self) {
        for actor in std::mem::take(&mut self.actors) {
            self.world.with(actor.who, |c, _| c.leave());
        }
        self.world.run_for(Duration::from_secs(2));
        if self.settings.workers > 1 {
            for room in 0..self.settings.rooms {
                self.world.span(&name(room), false);
            }
            self.world.run_for(Duration::from_secs(1));
        }
        for shard in 0..self.world.shards() {
            self.world.assert_empty(shard);
        }
    }
}

fn describe(decoding: Option<&crate::decoding::Decoding>) -> String {
    decoding.map_or_else(
        || "never offered".to_owned(),
        |d| {
            format!(
                "{} shown, last at {} ms, {} asked for",
                d.shown,
                d.shown_at / 1_000,
                d.asked
            )
        },
    )
}

impl Auditor {
    fn look(&mut self, to: SocketAddr, contents: &[u8], when: &str) {
        if contents.len() < 12 || !(128..192).contains(&contents[0]) {
            return;
        }
        let word = |at: usize| u32::from_be_bytes(contents[at..at + 4].try_into().expect("4"));
        if (64..96).contains(&(contents[1] & 0x7f)) {
            // The index at the end (RFC 3711 §3.4).
            let index = word(contents.len() - 4);
            let new = self.rtcp.insert((to, word(4), index));
            assert!(new, "{when}: RTCP {index} of {:08x} sealed twice", word(4));
            return;
        }
        let sequence = u16::from_be_bytes([contents[2], contents[3]]);
        let new = self.sent.insert((to, word(8), sequence));
        assert!(
            new,
            "{when}: packet {sequence} of {:08x} sealed twice",
            word(8)
        );
    }
}

//! What tests assert of a world.

use std::time::Duration;

use rillway_core::api::{Action, MediaKind};
use rillway_core::id::{Reference, TrackId};
use rillway_core::inspect::{Items, NetworkView, Query};

use super::{Who, World};
use crate::client::ClientConfig;
use crate::inbound::Inbound;
use crate::media::TrackSpec;

/// Time in which anything that needs a few round trips must be done, on a link without loss.
pub const SOON: Duration = Duration::from_secs(3);

impl World {
    /// Adds a client of shard 0 with these tracks to publish, and lets it join.
    pub fn join(&mut self, room: &str, tracks: Vec<TrackSpec>) -> Who {
        self.join_with(room, |config| config.tracks = tracks)
    }

    /// Adds a client of shard 0, set up by `adjust`, and lets it join.
    pub fn join_with(&mut self, room: &str, adjust: impl FnOnce(&mut ClientConfig)) -> Who {
        let who = self.add_client(room, adjust);
        self.with(who, |c, _| c.join());
        who
    }

    /// Makes a request of a client and runs until it is answered.
    ///
    /// # Errors
    /// The router's refusal.
    pub fn ask(&mut self, who: Who, action: Action) -> Result<(), rillway_core::api::RequestError> {
        let reference = self.with(who, |c, _| c.request(action));
        self.answer_to(who, reference)
    }

    /// Runs until a request is answered.
    ///
    /// # Errors
    /// The router's refusal.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn answer_to(
        &mut self,
        who: Who,
        reference: Reference,
    ) -> Result<(), rillway_core::api::RequestError> {
        let answered = self.run_until(SOON, |w| !w.client(who).unanswered.contains(&reference));
        assert!(answered, "{who:?}: no answer to {reference:?}");
        let failures = &self.client(who).failures;
        match failures.iter().find(|(r, _)| *r == reference) {
            Some((_, error)) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// What a client's network carries, as its shard sees it.
    pub fn network(&self, who: Who) -> Option<NetworkView> {
        let me = self.client(who).me?;
        let query = Query::Participants { room: None };
        let shard = &self.shards[self.shard_of(who)].shard;
        let Items::Participants(participants) = shard.inspect(self.now, &query, 0).items else {
            return None;
        };
        let found = participants.into_iter().find(|p| p.info.id == me)?;
        found.subscribe?.network
    }

    /// Lets all clients stop sending and everything under way arrive.
    pub fn stop_media(&mut self) {
        for who in self.everybody() {
            self.with(who, |c, _| {
                for published in &mut c.published {
                    published.running = false;
                }
            });
        }
        self.run_for(Duration::from_millis(500));
    }

    /// Id of a client's track, by position.
    ///
    /// # Panics
    /// If it is not published.
    pub fn track(&self, who: Who, index: usize) -> TrackId {
        let published = self.client(who).published.get(index);
        published.and_then(|p| p.track).expect("a published track")
    }

    /// What `to` got of a client's track.
    pub fn inbound(&self, to: Who, from: Who, index: usize) -> Option<&Inbound> {
        self.client(to).inbound.get(&self.track(from, index))
    }

    /// Packets `to` got of a client's track.
    pub fn received(&self, to: Who, from: Who, index: usize) -> u64 {
        self.inbound(to, from, index).map_or(0, |i| i.packets)
    }

    /// Whether `to` receives every track of `from`.
    pub fn hears(&self, to: Who, from: Who) -> bool {
        let published = &self.client(from).published;
        !published.is_empty()
            && published.iter().all(|p| {
                let inbound = p.track.and_then(|t| self.client(to).inbound.get(&t));
                inbound.is_some_and(|i| i.packets > 0)
            })
    }

    /// Asserts that every packet sent on `from`'s track arrived at `to`, from the first that did; call
    /// after [`World::stop_media`]. `lead` bounds how many were sent before the first that arrived.
    ///
    /// # Panics
    /// If not.
    pub fn assert_complete(&self, to: Who, from: Who, index: usize, lead: u32) {
        let published = &self.client(from).published[index];
        let sent = published.layers[0].sequence;
        let what = format!(
            "{to:?} from {from:?}, track {index} ({:?})",
            published.spec.kind
        );
        let inbound = self
            .inbound(to, from, index)
            .unwrap_or_else(|| panic!("{what}: never offered"));
        let log = inbound
            .layers
            .get(&0)
            .unwrap_or_else(|| panic!("{what}: nothing arrived of {sent}"));
        assert!(
            log.first <= lead,
            "{what}: starts at {} of {sent}",
            log.first
        );
        let missing = inbound.missing(0, sent);
        assert!(
            missing.is_empty(),
            "{what}: {} of {sent} missing: {:?}",
            missing.len(),
            &missing[..missing.len().min(20)]
        );
        assert_eq!(
            inbound.rtp_gaps(),
            0,
            "{what}: gaps in RTP sequence numbers"
        );
        assert_eq!(inbound.ssrcs.len(), 1, "{what}: SSRCs {:?}", inbound.ssrcs);
        if published.spec.kind == MediaKind::Video {
            let first = inbound.first.expect("something arrived").body;
            assert!(
                first.keyframe && first.index == 0,
                "{what}: starts in the middle, with {first:?}"
            );
        }
    }

    /// Asserts the rules that hold always: nothing crossed a room, a section or a sender; every request
    /// was answered once; no bytes went to anybody unvalidated; no engine reported a fault.
    ///
    /// # Panics
    /// If one is broken.
    pub fn assert_sound(&self) {
        for who in self.everybody() {
            let client = self.client(who);
            assert_eq!(client.violations, Vec::<String>::new(), "{who:?}");
            assert_eq!(client.unknown_packets, 0, "{who:?}: packets of no section");
            assert!(
                client.unanswered.is_empty(),
                "{who:?}: unanswered {:?}",
                client.unanswered
            );
            for peer in [&client.publisher, &client.subscriber]
                .into_iter()
                .flatten()
            {
                assert_eq!(
                    peer.errors,
                    Vec::<String>::new(),
                    "{who:?} at {}",
                    peer.local
                );
            }
        }
        assert_eq!(self.ledger.violations, Vec::<String>::new());
        let strays: Vec<_> = self.strays.iter().map(|(to, c)| (to, c.len())).collect();
        assert_eq!(strays, Vec::new(), "datagrams to nobody");
    }

    /// Asserts that a shard holds nothing any more.
    ///
    /// # Panics
    /// If it does.
    pub fn assert_empty(&self, shard: usize) {
        let stats = self.stats(shard);
        assert_eq!(
            (
                stats.rooms,
                stats.participants,
                stats.tracks,
                stats.subscriptions,
                stats.transports
            ),
            (0, 0, 0, 0, [0; 4])
        );
        let tables = self.table_sizes(shard);
        let digits = tables.chars().filter(char::is_ascii_digit);
        assert!(digits.clone().all(|c| c == '0'), "left behind: {tables}");
        assert!(digits.count() > 8, "no tables in {tables}");
        assert_eq!(
            self.shard_timeout(shard),
            None,
            "an empty shard wants to run"
        );
    }
}

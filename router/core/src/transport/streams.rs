//! Publishing: which track and layer an SSRC belongs to.

use hashbrown::HashMap;
use str0m::media::Mid;

use crate::limits::SSRCS_PER_TRANSPORT;
use crate::shard::Hasher;
use crate::shard::slab::TrackKey;

/// Where packets of an SSRC go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) track: TrackKey,
    pub(crate) layer: u8,
}

/// The SSRCs seen on one publishing transport and the tracks of its sections.
#[derive(Debug)]
pub(crate) struct Streams {
    by_ssrc: HashMap<u32, Destination, Hasher>,
    /// Distinct SSRCs ever mapped.
    mapped: usize,
    tracks: Vec<(Mid, TrackKey)>,
    /// Sections whose track was unpublished while the client still sends in them.
    withdrawn: Vec<Mid>,
}

impl Streams {
    /// None yet.
    pub(crate) fn new(hasher: Hasher) -> Self {
        Streams {
            by_ssrc: HashMap::with_hasher(hasher),
            mapped: 0,
            tracks: Vec::new(),
            withdrawn: Vec::new(),
        }
    }

    /// Where an SSRC already seen goes.
    pub(crate) fn destination(&self, ssrc: u32) -> Option<Destination> {
        self.by_ssrc.get(&ssrc).copied()
    }

    /// Remembers an SSRC. False: too many.
    pub(crate) fn map(&mut self, ssrc: u32, destination: Destination) -> bool {
        if self.by_ssrc.insert(ssrc, destination).is_none() {
            self.mapped += 1;
        }
        self.mapped <= SSRCS_PER_TRANSPORT
    }

    /// The track of a section.
    pub(crate) fn track(&self, mid: Mid) -> Option<TrackKey> {
        let (_, track) = self.tracks.iter().find(|(known, _)| *known == mid)?;
        Some(*track)
    }

    /// Every section that carries a track.
    pub(crate) fn tracks(&self) -> &[(Mid, TrackKey)] {
        &self.tracks
    }

    /// A section carries a track from now on.
    pub(crate) fn add(&mut self, mid: Mid, track: TrackKey) {
        self.tracks.push((mid, track));
    }

    /// A track has ended.
    pub(crate) fn remove(&mut self, track: TrackKey) {
        self.tracks.retain(|(_, known)| *known != track);
        self.by_ssrc.retain(|_, known| known.track != track);
    }

    /// The section must not publish again before the client has stopped sending in it.
    pub(crate) fn withdraw(&mut self, mid: Mid) {
        self.withdrawn.push(mid);
    }

    /// Whether [`Streams::withdraw`] is in force.
    pub(crate) fn is_withdrawn(&self, mid: Mid) -> bool {
        self.withdrawn.contains(&mid)
    }

    /// The client stopped sending in the section.
    pub(crate) fn readmit(&mut self, mid: Mid) {
        self.withdrawn.retain(|known| *known != mid);
    }
}

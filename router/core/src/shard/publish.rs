//! Publishing: offers of clients.

use std::time::Instant;

use str0m::change::SdpOffer;
use str0m::format::Codec;
use str0m::media::{Mid, Pt, Rid};

use super::lifecycle::engine_kind;
use super::slab::{ParticipantKey, TrackKey, TransportKey};
use super::{Shard, to_public};
use crate::api::{Direction, EventKind, MediaKind, MidTrack, RequestError, Source, TransportState};
use crate::guard::quietly;
use crate::id::{Reference, TrackId};
use crate::limits::SDP_SECTIONS_SPARE;
use crate::track::{NewTrack, Track};
use crate::transport::credentials;
use crate::transport::sdp::{self, Description, SdpBounds, Section, SectionExport, SectionKind};

impl Shard {
    pub(super) fn accept_offer(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        reference: Reference,
        text: &str,
        sources: &[(String, Source)],
    ) -> Result<(), RequestError> {
        let description = sdp::scan(text, self.publish_bounds())?;
        self.check_publication(key, &description, sources)?;
        let offer = parse_offer(&sdp::import_offer(text, &description, Direction::Publish))?;
        let (transport, fresh) =
            self.transport_for_offer(now, key, Direction::Publish, &description)?;
        let most_bps = self
            .participants
            .get(key)
            .and_then(|participant| participant.grant.max_publish_bps);
        let section = |mid: &str| answer_section(&description, mid, most_bps);
        let answered = self.answer_offer(now, transport, offer, &description, &section);
        let answer = match answered {
            Ok(answer) => answer,
            Err(error) => {
                if fresh {
                    self.detach_transport(now, transport, TransportState::Closed);
                }
                return Err(error);
            }
        };
        let published = self.sync_tracks(now, key, transport, &description, sources);
        let tracks = self.carried(transport, &description);
        let Some(participant) = self.participants.get(key) else {
            return Ok(());
        };
        let (client, room) = (participant.client, participant.room);
        self.emit(
            client,
            EventKind::Answer {
                reference,
                sdp: answer,
                tracks,
            },
        );
        for track in published {
            if let Some(info) = self.tracks.get(track).map(|track| track.info(now)) {
                self.broadcast(room, Some(key), &|| EventKind::TrackPublished(info.clone()));
            }
        }
        self.mark(transport);
        Ok(())
    }

    fn publish_bounds(&self) -> SdpBounds {
        let limits = &self.config.limits;
        SdpBounds {
            bytes: limits.sdp_bytes as usize,
            sections: usize::from(limits.tracks_per_participant) + SDP_SECTIONS_SPARE,
        }
    }

    /// What the grant and the bounds say to an offer, before anything is changed.
    fn check_publication(
        &self,
        key: ParticipantKey,
        description: &Description,
        sources: &[(String, Source)],
    ) -> Result<(), RequestError> {
        let Some(participant) = self.participants.get(key) else {
            return Err(RequestError::WrongState("not joined".into()));
        };
        let sending = || {
            description
                .sections
                .iter()
                .filter(|section| section.sends())
        };
        let most = usize::from(self.config.limits.tracks_per_participant);
        if sending().count() > most {
            return Err(RequestError::Limit(format!("{most} tracks")));
        }
        for section in sending() {
            participant.may_publish(source_of(section, sources))?;
        }
        // Sections never change their place or kind (RFC 9429 §5.3.1); the engine would notice too
        // late to undo what it has applied by then.
        let transport = participant
            .publish
            .and_then(|transport| self.transports.get(transport))
            .filter(|transport| transport.session == description.session);
        if let Some(transport) = transport {
            for (mid, track) in transport.streams.tracks() {
                let Some(track) = self.tracks.get(*track) else {
                    continue;
                };
                let section = description
                    .sections
                    .iter()
                    .find(|s| s.mid.as_str() == &**mid);
                let fits = section.is_some_and(|section| kind_of(section) == Some(track.kind));
                if !fits {
                    return Err(RequestError::Invalid(format!(
                        "SDP: section {mid} is gone or of another kind"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Has the engine answer an offer; `section` says what the answer says of each section.
    pub(super) fn answer_offer(
        &mut self,
        now: Instant,
        key: TransportKey,
        offer: SdpOffer,
        description: &Description,
        section: &dyn Fn(&str) -> SectionExport,
    ) -> Result<String, RequestError> {
        let gone = || RequestError::Internal("transport is gone".into());
        let transport = self.transports.get_mut(key).ok_or_else(gone)?;
        let before = transport.remote.replace(description.credentials());
        let restarts = before.is_some_and(|before| before.ufrag != description.ufrag);
        let accepted = transport.guard(|rtc| rtc.sdp_api().accept_offer(offer));
        // The engine restarts with credentials of its own making, even if it fails later on.
        let restarted = if restarts {
            let creds = credentials::generate(&mut self.rng, self.config.worker, key);
            transport.restart_with(creds, now)
        } else {
            Ok(())
        };
        let answer = match (accepted, restarted) {
            (Ok(Ok(answer)), Ok(())) => answer,
            (Ok(Err(error)), Ok(())) => {
                return Err(RequestError::Invalid(format!("SDP: {error}")));
            }
            (Err(fault), _) | (_, Err(fault)) => {
                self.fail_transport(now, key, &fault);
                return Err(RequestError::Internal(fault.to_string()));
            }
        };
        let text = answer.to_sdp_string();
        Ok(sdp::export(&text, transport.credentials(), section))
    }

    /// Starts and ends tracks as the sections say. Returns the new ones.
    fn sync_tracks(
        &mut self,
        now: Instant,
        owner: ParticipantKey,
        key: TransportKey,
        description: &Description,
        sources: &[(String, Source)],
    ) -> Vec<TrackKey> {
        let mut published = Vec::new();
        for section in &description.sections {
            let Some(kind) = kind_of(section) else {
                continue;
            };
            let mid = Mid::from(section.mid.as_str());
            let Some(transport) = self.transports.get_mut(key) else {
                break;
            };
            let track = transport.streams.track(mid);
            let media = transport.rtc().media(mid);
            let receives = section.sends()
                && media.is_some_and(|media| media.direction().is_receiving() && !media.disabled());
            if !receives {
                transport.streams.readmit(mid);
                if let Some(track) = track {
                    self.end_track(now, track);
                }
            } else if track.is_none() && !transport.streams.is_withdrawn(mid) {
                let source = source_of(section, sources);
                published.extend(self.publish(owner, key, mid, kind, source, section));
            }
        }
        published
    }

    fn publish(
        &mut self,
        owner: ParticipantKey,
        key: TransportKey,
        mid: Mid,
        kind: MediaKind,
        source: Source,
        section: &Section,
    ) -> Option<TrackKey> {
        let participant = self.participants.get(owner)?;
        let (owner_id, room) = (participant.id, participant.room);
        let codec = self.first_codec(key, mid, section);
        let codec = codec.unwrap_or(Codec::Unknown);
        let rids = section
            .simulcast
            .iter()
            .map(|rid| Rid::from(rid.as_str()))
            .collect();
        let worker = self.config.worker;
        let track = self.tracks.insert_with(|track| {
            Track::new(NewTrack {
                id: TrackId(to_public(worker, track)),
                owner,
                owner_id,
                room,
                transport: key,
                mid,
                kind,
                source,
                codec,
                rids,
            })
        })?;
        self.transports.get_mut(key)?.streams.add(mid, track);
        self.count_tracks();
        Some(track)
    }

    /// The codec a section most likely carries: the client's first choice of those accepted.
    fn first_codec(&self, key: TransportKey, mid: Mid, section: &Section) -> Option<Codec> {
        let rtc = self.transports.get(key)?.rtc();
        let accepted = rtc.media(mid)?.remote_pts();
        let mut offered = section.payload_types.iter().map(|of| Pt::from(*of));
        let first = offered.find(|of| accepted.contains(of))?;
        let mut params = rtc.codec_config().params().iter();
        Some(params.find(|params| params.pt() == first)?.spec().codec)
    }

    /// What each audio and video section carries.
    fn carried(&self, key: TransportKey, description: &Description) -> Vec<MidTrack> {
        let Some(transport) = self.transports.get(key) else {
            return Vec::new();
        };
        description
            .sections
            .iter()
            .filter(|section| section.kind != SectionKind::Application)
            .map(|section| MidTrack {
                mid: section.mid.clone(),
                track: transport
                    .streams
                    .track(Mid::from(section.mid.as_str()))
                    .and_then(|track| Some(self.tracks.get(track)?.id)),
            })
            .collect()
    }
}

/// An offer as the engine reads it.
pub(super) fn parse_offer(text: &str) -> Result<SdpOffer, RequestError> {
    quietly("SDP", || SdpOffer::from_sdp_string(text))
        .ok_or_else(|| RequestError::Invalid("SDP".into()))?
        .map_err(|error| RequestError::Invalid(format!("SDP: {error}")))
}

/// What the answer says of a section: the client's order of codecs, and its share of the bit rate.
fn answer_section(description: &Description, mid: &str, most_bps: Option<u64>) -> SectionExport {
    let Some(section) = description.sections.iter().find(|s| s.mid == mid) else {
        return SectionExport::default();
    };
    let video = |section: &&Section| section.kind == SectionKind::Video && section.sends();
    let shares = description.sections.iter().filter(video).count() as u64;
    SectionExport {
        prefer: section.payload_types.clone(),
        most_bps: most_bps
            .filter(|_| video(&section))
            .map(|bps| bps / shares.max(1)),
        ..SectionExport::default()
    }
}

fn source_of(section: &Section, sources: &[(String, Source)]) -> Source {
    sources
        .iter()
        .find(|(mid, _)| *mid == section.mid)
        .map_or(Source::Other, |(_, source)| *source)
}

pub(super) fn kind_of(section: &Section) -> Option<MediaKind> {
    let kind = match section.kind {
        SectionKind::Audio => MediaKind::Audio,
        SectionKind::Video => MediaKind::Video,
        SectionKind::Application => return None,
    };
    debug_assert_eq!(engine_kind(kind).is_video(), kind == MediaKind::Video);
    Some(kind)
}

//! A bounded dump of one track, as its packets come.

use std::time::{Duration, Instant, SystemTime};

use rillway_core::api::RequestError;
use rillway_recorder::api::TrackId;
use rillway_recorder::dump::DumpFilm;
use rillway_recorder::film::{Film as _, Origin, Step, Write};

use super::find;
use crate::management::call::{Call, Failure};
use crate::management::wire::error::Code;
use crate::management::wire::response::Part;
use crate::management::wire::{self, CaptureRequest};
use crate::worker::capture::Tail;

/// Captures that may run at once, of all operators.
pub(in crate::management) const CAPTURES_MAX: usize = 4;
/// Packets that wait for a reader: a second of 20 Mbit/s.
const QUEUE_PACKETS: usize = 2_048;
/// How often they are looked for. Nobody wakes a reader: that would cost the worker.
const PERIOD: Duration = Duration::from_millis(20);
/// Bytes of a dump in one part, about.
const PART_BYTES: usize = 64 * 1024;

/// Bounds of a capture where none is named, and the largest ones.
const MS: (u32, u32) = (10_000, 600_000);
const PACKETS: (u64, u64) = (10_000_000, 10_000_000);
const BYTES: (u64, u64) = (64 << 20, 1 << 30);

/// What ends a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    time: Duration,
    packets: u64,
    bytes: u64,
}

impl Bounds {
    fn read(request: &CaptureRequest) -> Result<Bounds, Failure> {
        let packets = within("packets", request.packets, PACKETS)?;
        let bytes = within("bytes", request.bytes, BYTES)?;
        let most = (u64::from(MS.0), u64::from(MS.1));
        let ms = within("ms", request.ms.into(), most)?;
        Ok(Bounds {
            time: Duration::from_millis(ms),
            packets,
            bytes,
        })
    }
}

fn within(name: &str, wanted: u64, (default, most): (u64, u64)) -> Result<u64, Failure> {
    match wanted {
        0 => Ok(default),
        wanted if wanted <= most => Ok(wanted),
        _ => Err(Failure::invalid(format!("`{name}` must be at most {most}"))),
    }
}

/// Sends a track's packets as a dump until a bound is met.
pub(super) async fn capture(call: &mut Call, request: &CaptureRequest) -> Result<(), Failure> {
    let bounds = Bounds::read(request)?;
    let _slot = call.captures.clone().try_acquire_owned().map_err(|_| {
        let text = format!("{CAPTURES_MAX} captures are under way");
        Failure::new(Code::Limit, text, "wait until one is through")
    })?;
    let sources = call.sources.clone();
    let place = find::room(&sources, &request.room).await?;
    let found = find::published(&place, &request.track, &request.participant).await?;
    let track = found.info.id;
    let begun = place
        .worker(track.worker())?
        .capture(track, QUEUE_PACKETS)
        .await?;
    let (video, tail) = begun.map_err(|error| match error {
        RequestError::NotFound(_) => Failure::new(
            Code::NotFound,
            "the track has gone meanwhile".to_owned(),
            "`rillway track ls` shows what is there",
        ),
        other => Failure::new(
            Code::WrongState,
            other.to_string(),
            "wait until that is through",
        ),
    })?;
    // From here on it has to be known even if the router ends first.
    tracing::info!(
        client = call.holder.name,
        room = find::shown(&request.room),
        track = super::id(track.0),
        "management: capture begins"
    );
    Dump::new(TrackId(track.0), video, tail, bounds)
        .send(call)
        .await
}

/// A dump that grows.
struct Dump {
    film: DumpFilm,
    track: TrackId,
    tail: Tail,
    bounds: Bounds,
    ends: Instant,
    packets: u64,
    bytes: u64,
    steps: Vec<Step>,
}

impl Dump {
    fn new(track: TrackId, video: bool, tail: Tail, bounds: Bounds) -> Self {
        let now = Instant::now();
        let origin = Origin {
            at: now,
            wall: SystemTime::now(),
        };
        let mut film = DumpFilm::new(None, origin);
        film.add(track, video);
        Dump {
            film,
            track,
            tail,
            bounds,
            ends: now + bounds.time,
            packets: 0,
            bytes: 0,
            steps: Vec::new(),
        }
    }

    async fn send(mut self, call: &mut Call) -> Result<(), Failure> {
        loop {
            let (bytes, ended) = self.take();
            if !bytes.is_empty() || ended.is_some() {
                let part = self.part(bytes, ended.unwrap_or_default());
                call.send(Part::Captured(part)).await?;
            } else {
                tokio::time::sleep(PERIOD).await;
            }
            if ended.is_some() {
                return Ok(());
            }
        }
    }

    fn part(&self, dump: Vec<u8>, ended: &str) -> wire::Captured {
        wire::Captured {
            dump,
            packets: self.packets,
            bytes: self.bytes,
            lost: self.tail.lost(),
            ended: ended.to_owned(),
        }
    }

    /// What has come since, up to a part; and why that is all.
    fn take(&mut self) -> (Vec<u8>, Option<&'static str>) {
        let now = Instant::now();
        let mut bytes = Vec::new();
        let mut ended = None;
        while bytes.len() < PART_BYTES {
            ended = self.met(now);
            if ended.is_some() {
                break;
            }
            let Some(next) = self.tail.pop() else {
                ended = self.tail.is_over().then_some("track");
                break;
            };
            if next.lost > 0 {
                self.film.dropped(self.track);
            }
            self.film.packet(self.track, &next.packet);
            self.packets += 1;
            self.film.steps(now, &mut self.steps);
            self.bytes += append(&mut self.steps, &mut bytes);
        }
        if ended.is_some() {
            self.film.finish(now, &mut self.steps);
            self.bytes += append(&mut self.steps, &mut bytes);
        }
        (bytes, ended)
    }

    fn met(&self, now: Instant) -> Option<&'static str> {
        if self.packets >= self.bounds.packets {
            Some("packets")
        } else if self.bytes >= self.bounds.bytes {
            Some("bytes")
        } else if now >= self.ends {
            Some("time")
        } else {
            None
        }
    }
}

/// Takes what is to be written from the steps; how much that is.
fn append(steps: &mut Vec<Step>, into: &mut Vec<u8>) -> u64 {
    let before = into.len();
    for step in steps.drain(..) {
        if let Step::Write(Write::Append(bytes)) = step {
            into.extend_from_slice(&bytes);
        }
    }
    (into.len() - before) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_have_defaults_and_ends() {
        let read = |ms, packets, bytes| {
            let request = CaptureRequest {
                ms,
                packets,
                bytes,
                ..CaptureRequest::default()
            };
            Bounds::read(&request).ok()
        };
        let default = read(0, 0, 0).expect("all have one");
        assert_eq!(default.time, Duration::from_secs(10));
        assert_eq!((default.packets, default.bytes), (PACKETS.0, BYTES.0));
        assert!(read(MS.1, PACKETS.1, BYTES.1).is_some());
        assert_eq!(read(MS.1 + 1, 0, 0), None);
        assert_eq!(read(0, PACKETS.1 + 1, 0), None);
        assert_eq!(read(0, 0, BYTES.1 + 1), None);
    }
}

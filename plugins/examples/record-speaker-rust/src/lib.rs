//! Records the active speaker: camera and microphone of whoever speaks, until somebody else has spoken for a
//! while, and nobody otherwise. A web service is told of each file that is complete.
#![forbid(unsafe_code)]

use rillway_plugin_sdk as sdk;
use sdk::recording::{Event, Files, Finished, Order, Recorder};
use sdk::types::ParticipantId;
use sdk::{clock, http, log};

/// `plugins.NAME.config`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where files are reported to, by POST; empty: nowhere. Its origin has to be in `http_origins`.
    webhook: String,
    /// A speaker stays recorded for so many milliseconds after it was last the loudest.
    hold_ms: u32,
    files: Files,
}

/// The policy: one value for each room.
#[derive(Debug)]
pub struct Policy {
    config: Config,
    recorder: Recorder,
    room: String,
    /// Who is the loudest now.
    loudest: Option<ParticipantId>,
    /// Who is recorded, and when it was last the loudest, monotonic milliseconds.
    speaker: Option<(ParticipantId, u64)>,
}

/// How often it is looked whether somebody has spoken for long enough: there is no event while one goes on.
const TICK_MS: u32 = 1_000;

impl sdk::Plugin for Policy {
    type Config = Config;

    fn start(mut config: Config) -> Result<Self, String> {
        let recorder = Recorder::new(std::mem::take(&mut config.files));
        Ok(Policy {
            config,
            recorder,
            room: String::new(),
            loudest: None,
            speaker: None,
        })
    }
}

impl Policy {
    /// Somebody takes over once the one before has been quiet for long enough.
    fn look(&mut self) {
        let loudest = self.loudest;
        let now_ms = clock::monotonic_ns() / 1_000_000;
        let holds = |since: u64| now_ms < since + u64::from(self.config.hold_ms);
        self.speaker = match (self.speaker, loudest) {
            (Some((who, _)), Some(loudest)) if who == loudest => Some((who, now_ms)),
            (Some((who, since)), _) if holds(since) => Some((who, since)),
            (_, Some(loudest)) => Some((loudest, now_ms)),
            // Nobody speaks: the last one stays until somebody does.
            (speaker, None) => speaker,
        };
    }

    /// Posts what is known of a file. The file is there whether or not anybody wants to know.
    fn report(&self, file: &Finished) {
        if self.config.webhook.is_empty() {
            return;
        }
        let body = serde_json::json!({
            "room": self.room,
            "track": file.track.0,
            "file": file.name,
            "bytes": file.bytes,
            "duration_ms": file.duration_ms,
            "sha256": file.sha256,
        });
        let answer = http::send(&http::Request {
            method: "POST".to_owned(),
            url: self.config.webhook.clone(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_string().into_bytes(),
            timeout_ms: 0,
        });
        match answer {
            Ok(answer) if answer.status < 300 => {}
            Ok(answer) => log::warn(&format!("{}: answered {}", file.name, answer.status)),
            Err(error) => log::warn(&format!("{}: {error}", file.name)),
        }
    }
}

impl sdk::Recording for Policy {
    fn decide(&mut self, event: Event) -> Vec<Order> {
        self.recorder.note(&event);
        match &event {
            Event::RoomOpened(room) => {
                self.room.clone_from(room);
                return vec![Order::TickEveryMs(TICK_MS)];
            }
            Event::Speakers(speakers) => self.loudest = speakers.first().copied(),
            Event::ParticipantLeft(who) => {
                self.speaker = self.speaker.filter(|(speaker, _)| speaker != who);
                self.loudest = self.loudest.filter(|loudest| loudest != who);
            }
            Event::Finished(file) => self.report(file),
            _ => {}
        }
        self.look();
        let speaker = self.speaker.map(|(who, _)| who);
        self.recorder.orders(|track| Some(track.owner) == speaker)
    }
}

sdk::export!(Policy: recording);

#[cfg(test)]
mod tests {
    use super::*;
    use sdk::Recording as _;
    use sdk::testing::{self, Host};
    use sdk::types::{MediaKind, Source, Track, TrackId};

    fn policy(config: &str) -> Policy {
        testing::install(Host {
            config: config.to_owned(),
            http: Box::new(|_| Ok(http::Response::default())),
            ..Host::default()
        });
        let mut policy: Policy = testing::start().expect("it starts");
        policy.decide(Event::RoomOpened("room".to_owned()));
        for owner in [1, 2] {
            let track = Track {
                id: TrackId(10 + owner),
                owner: ParticipantId(owner),
                kind: MediaKind::Audio,
                source: Source::Microphone,
                codec: "opus".to_owned(),
                encrypted: false,
                muted: false,
                layers: Vec::new(),
                attributes: Vec::new(),
            };
            assert_eq!(policy.decide(Event::TrackPublished(track)), []);
        }
        policy
    }

    /// What is ordered when this one is the loudest.
    fn speaks(policy: &mut Policy, who: Option<u64>) -> String {
        let speakers = who.map(ParticipantId).into_iter().collect();
        words(&policy.decide(Event::Speakers(speakers)))
    }

    fn words(orders: &[Order]) -> String {
        let word = |order: &Order| match order {
            Order::Start(start) => format!("+{}", start.track.0),
            Order::Stop(track) => format!("-{}", track.0),
            Order::TickEveryMs(period) => format!("every {period}"),
        };
        orders.iter().map(word).collect()
    }

    #[test]
    fn who_speaks_is_recorded_until_somebody_else_has_the_floor() {
        let mut policy = policy(r#"{"hold_ms": 2000}"#);
        let later = |ms: u64| testing::with(|host| host.monotonic_ns += ms * 1_000_000);
        assert_eq!(speaks(&mut policy, None), "");
        assert_eq!(speaks(&mut policy, Some(1)), "+11");
        later(1_000);
        assert_eq!(speaks(&mut policy, Some(2)), "", "a short interruption");
        assert_eq!(speaks(&mut policy, Some(1)), "");
        assert_eq!(speaks(&mut policy, None), "");
        later(1_000);
        assert_eq!(speaks(&mut policy, Some(2)), "");
        later(1_000);
        assert_eq!(words(&policy.decide(Event::Tick)), "-11+12", "it went on");
        let left = policy.decide(Event::ParticipantLeft(ParticipantId(2)));
        assert_eq!(left, [Order::Stop(TrackId(12))]);
    }

    #[test]
    fn a_web_service_is_told_of_each_file() {
        let finished = || {
            Event::Finished(Finished {
                track: TrackId(11),
                name: "room/a.mp4".to_owned(),
                bytes: 7,
                duration_ms: 1_500,
                sha256: "ab".to_owned(),
                attributes: Vec::new(),
            })
        };
        policy("{}").decide(finished());
        assert!(
            testing::with(|host| host.requests.is_empty()),
            "nobody asked"
        );
        policy(r#"{"webhook": "https://example.org/files"}"#).decide(finished());
        let requests = testing::with(|host| std::mem::take(&mut host.requests));
        let [request] = requests.as_slice() else {
            panic!("one request: {requests:?}");
        };
        assert_eq!(request.url, "https://example.org/files");
        let body: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
        assert_eq!(
            (&body["room"], &body["file"]),
            (&"room".into(), &"room/a.mp4".into())
        );
    }
}

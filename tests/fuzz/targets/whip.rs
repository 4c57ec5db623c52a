//! WHIP (RFC 9725) and WHEP: requests of a client, and whatever the host says in between.

use rillway_plugin_sdk::Signaling as _;
use rillway_plugin_sdk::signaling::{
    Action, Command, HttpRequest, Input, MidTrack, Opened, TransportState,
};
use rillway_plugin_sdk::types::{Denial, Direction, ParticipantId, TrackId};
use signaling_whip::Whip;

use super::people::{CODES, LIMITS, grant, participant, track};
use super::reader::{Reader, text};

const RESOURCE: &str = "/whip/resources/00112233445566778899aabbccddeeff";
const METHODS: [&str; 7] = ["POST", "PATCH", "DELETE", "GET", "HEAD", "OPTIONS", "PUT"];
const PATHS: [&str; 6] = ["/whip/r", "/whep/r", RESOURCE, "/whip", "/", "/whip/r%2f"];
const QUERIES: [&str; 6] = [
    "",
    "track=a",
    "participant=p2",
    "source=screen",
    "name=x",
    "&=&",
];
const TYPES: [&str; 4] = [
    "application/sdp",
    "application/trickle-ice-sdpfrag",
    "x/y",
    "application/sdp; charset=utf-8",
];
const TOKENS: [&str; 4] = ["Bearer a", "Bearer b", "Basic x", ""];
const TAGS: [&str; 4] = ["*", "\"rrr1\"", "\"x\"", "W/\"rrr1\""];
const NAMES: [&str; 6] = [
    "content-type",
    "authorization",
    "if-match",
    "accept",
    "link",
    "x-other",
];

/// Input: requests, and inputs of the host.
pub fn run(input: &[u8]) {
    let mut reader = Reader::new(input);
    let mut whip = Whip::new();
    let mut watch = Watch::default();
    watch.check(whip.handle(Input::Opened(Opened {
        resource: Some(RESOURCE.to_owned()),
        attributes: vec![("route".to_owned(), "/whip".to_owned())],
        ..Opened::default()
    })));
    let mut next = 0;
    while let Some(kind) = reader.byte() {
        let input = match kind % 3 {
            0 if watch.closed => return,
            0 => {
                let Some(request) = request(&mut reader, next) else {
                    return;
                };
                watch.open.push(next);
                next += 1;
                Input::Request(request)
            }
            _ => match event(&mut reader) {
                Some(event) => event,
                None => return,
            },
        };
        watch.check(whip.handle(input));
    }
}

fn request(reader: &mut Reader<'_>, id: u64) -> Option<HttpRequest> {
    let free = |reader: &mut Reader<'_>, known: &[&str]| match reader.byte()? {
        255 => reader.chunk().map(text),
        n => Some(known[usize::from(n) % known.len()].to_owned()),
    };
    let method = free(reader, &METHODS)?;
    let path = free(reader, &PATHS)?;
    let query = free(reader, &QUERIES)?;
    let mut headers = Vec::new();
    for (name, known) in [
        ("content-type", &TYPES),
        ("authorization", &TOKENS),
        ("if-match", &TAGS),
    ] {
        let value = free(reader, known)?;
        if !value.is_empty() {
            headers.push((name.to_owned(), value));
        }
    }
    for _ in 0..reader.byte()? % 4 {
        let name = *reader.pick(&NAMES)?;
        headers.push((name.to_owned(), text(reader.chunk()?)));
    }
    Some(HttpRequest {
        id,
        method,
        path,
        query,
        headers,
        body: reader.long_chunk()?.to_vec(),
    })
}

fn event(reader: &mut Reader<'_>) -> Option<Input> {
    let kind = reader.byte()?;
    let reference = |reader: &mut Reader<'_>| reader.byte().map(|n| u64::from(n % 16));
    Some(match kind % 12 {
        0 => Input::Granted(grant(false)),
        1 => Input::Denied(Denial::Forbidden(text(reader.chunk()?))),
        2 => Input::Joined {
            me: participant(99),
            participants: vec![participant(2)],
            tracks: (0..reader.byte()? % 4)
                .map(|n| track(u64::from(n)))
                .collect(),
            limits: LIMITS,
            ice_servers: Vec::new(),
        },
        3 => Input::Answer {
            reference: reference(reader)?,
            sdp: routers(&text(reader.long_chunk()?)),
            tracks: ["0", "1"]
                .map(|mid| MidTrack {
                    mid: mid.to_owned(),
                    track: Some(TrackId(1)),
                })
                .to_vec(),
        },
        4 | 5 => Input::Done {
            reference: reference(reader)?,
        },
        6 => Input::Failed {
            reference: reference(reader)?,
            code: *reader.pick(&CODES)?,
            message: text(reader.chunk()?),
        },
        7 => Input::ParticipantLeft(ParticipantId(2)),
        8 => Input::TrackPublished(track(reference(reader)?)),
        9 => Input::TrackUnpublished(TrackId(reference(reader)?)),
        10 => Input::TransportState(Direction::Publish, TransportState::Failed),
        _ => match reader.byte()? % 2 {
            0 => Input::Removed("kicked".to_owned()),
            _ => Input::Tick,
        },
    })
}

/// A description as the router could have made it: lines of printable characters.
fn routers(text: &str) -> String {
    let lines = text.lines().map(|line| line.replace(char::is_control, ""));
    lines.map(|line| line + "\r\n").collect()
}

/// What has to be kept: one answer to each request, and silence after the end.
#[derive(Default)]
struct Watch {
    open: Vec<u64>,
    closed: bool,
}

impl Watch {
    fn check(&mut self, commands: Vec<Command>) {
        for command in commands {
            assert!(!self.closed, "{command:?} after the end");
            match command.action {
                Action::Respond(response) => {
                    let place = self.open.iter().position(|id| *id == response.id);
                    self.open.remove(place.expect("one answer to each request"));
                    assert!((200..=599).contains(&response.status));
                    assert!(response.headers.len() <= 64);
                    for (name, value) in &response.headers {
                        let plain = |c: char| c.is_ascii_lowercase() || c == '-';
                        assert!(name.chars().all(plain), "{name:?}");
                        // Nothing a client says becomes a header of its own (RFC 9110 §5.5).
                        assert!(!value.contains(['\r', '\n', '\0']), "{name}: {value:?}");
                    }
                }
                Action::Close(..) => {
                    self.closed = true;
                    assert!(self.open.is_empty(), "{:?} unanswered", self.open);
                }
                Action::Send(_) => panic!("there is no WebSocket"),
                _ => {}
            }
        }
    }
}

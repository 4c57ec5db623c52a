//! A client and a host around one state machine.

use crate::subject::Whip;
use rillway_plugin_sdk::Signaling as _;
use rillway_plugin_sdk::signaling::{
    Action, Command, FailureCode, HttpRequest, HttpResponse, Input, MidTrack, Opened,
};
use rillway_plugin_sdk::types::{
    Grant, IceServer, Limits, MediaKind, Participant, ParticipantId, Source, Track, TrackId,
};

pub(crate) const RESOURCE: &str = "/whip/resources/00112233445566778899aabbccddeeff";

pub(crate) const LIMITS: Limits = Limits {
    data_message_bytes: 65_536,
    data_bytes_per_second: 4_194_304,
    sdp_bytes: 4_096,
    tracks_per_participant: 16,
    subscriptions_per_participant: 64,
};

pub(crate) fn grant() -> Grant {
    Grant {
        room: "standup".to_owned(),
        identity: "obs".to_owned(),
        name: None,
        publish: vec![Source::Camera, Source::Microphone],
        subscribe: true,
        publish_data: false,
        record_control: false,
        max_publish_bps: None,
        expires_at_ms: None,
        attributes: Vec::new(),
    }
}

pub(crate) fn participant(id: u64, identity: &str) -> Participant {
    Participant {
        id: ParticipantId(id),
        identity: identity.to_owned(),
        name: None,
        attributes: Vec::new(),
        joined_at_ms: id,
    }
}

pub(crate) fn track(id: u64, owner: u64, kind: MediaKind) -> Track {
    Track {
        id: TrackId(id),
        owner: ParticipantId(owner),
        kind,
        source: match kind {
            MediaKind::Audio => Source::Microphone,
            MediaKind::Video => Source::Camera,
        },
        codec: String::new(),
        encrypted: false,
        muted: false,
        layers: Vec::new(),
        attributes: Vec::new(),
    }
}

/// An offer of audio and video in this direction.
pub(crate) fn offer(direction: &str) -> String {
    format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:cccc\r\n\
         a=ice-pwd:cccccccccccccccccccccccc\r\na=setup:actpass\r\na=mid:0\r\na={direction}\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:cccc\r\n\
         a=ice-pwd:cccccccccccccccccccccccc\r\na=setup:actpass\r\na=mid:1\r\na={direction}\r\n"
    )
}

/// What the router answers.
pub(crate) fn answer(ufrag: &str) -> String {
    format!(
        "v=0\r\no=- 3 4 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=ice-lite\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:rrrr\r\n\
         a=candidate:1 1 udp 2 198.51.100.1 40000 typ host\r\na=mid:0\r\na=rtcp-mux\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:rrrr\r\na=mid:1\r\na=rtcp-mux\r\n"
    )
}

/// A response in a form that is easily asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply(pub(crate) HttpResponse);

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.0.headers.iter().filter(|(known, _)| known == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none() || name == "link", "{name} twice");
        value
    }

    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let all = self.0.headers.iter().filter(|(known, _)| known == name);
        all.map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.0.body).expect("text")
    }

    /// What a problem says.
    pub(crate) fn detail(&self) -> String {
        let value: serde_json::Value = serde_json::from_str(self.text()).expect("a problem");
        assert_eq!(value["status"], self.0.status);
        value["detail"].as_str().expect("a detail").to_owned()
    }
}

/// One client: the plugin's instance, and what it asked for.
pub(crate) struct Client {
    plugin: Whip,
    next_request: u64,
    pub(crate) asked: Vec<Command>,
    pub(crate) replies: Vec<Reply>,
    pub(crate) left: bool,
    pub(crate) closed: bool,
}

impl Client {
    pub(crate) fn new(route: &str) -> Self {
        let mut client = Client {
            plugin: Whip::new(),
            next_request: 0,
            asked: Vec::new(),
            replies: Vec::new(),
            left: false,
            closed: false,
        };
        client.input(Input::Opened(Opened {
            path: "/ignored".to_owned(),
            resource: Some(RESOURCE.to_owned()),
            attributes: vec![("route".to_owned(), route.to_owned())],
            ..Opened::default()
        }));
        client
    }

    pub(crate) fn input(&mut self, input: Input) {
        for command in self.plugin.handle(input) {
            assert!(!self.closed, "{command:?} after close");
            match command.action {
                Action::Respond(response) => {
                    let cors = ("access-control-allow-origin".to_owned(), "*".to_owned());
                    assert!(response.headers.contains(&cors), "{response:?}");
                    self.replies.push(Reply(response));
                }
                Action::Leave => self.left = true,
                Action::Close(..) => self.closed = true,
                // Nobody could be told.
                Action::Notify(notices) => assert!(!notices.speakers && !notices.layers),
                _ => self.asked.push(command),
            }
        }
    }

    /// Sends a request; returns its id.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> u64 {
        self.next_request += 1;
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        self.input(Input::Request(HttpRequest {
            id: self.next_request,
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: headers
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body: body.as_bytes().to_vec(),
        }));
        self.next_request
    }

    /// The answer to the only request so far not answered, which is this one.
    #[track_caller]
    pub(crate) fn reply(&mut self, id: u64) -> Reply {
        let place = self.replies.iter().position(|reply| reply.0.id == id);
        self.replies.remove(place.expect("an answer"))
    }

    /// Sends a request that is answered at once.
    #[track_caller]
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let id = self.send(method, path, headers, body);
        self.reply(id)
    }

    /// The oldest command of a kind, taken; its reference and action.
    #[track_caller]
    pub(crate) fn take(&mut self, fits: impl Fn(&Action) -> bool) -> (u64, Action) {
        let place = self.asked.iter().position(|c| fits(&c.action));
        let place = place.unwrap_or_else(|| panic!("not among {:?}", self.asked));
        let command = self.asked.remove(place);
        (command.reference, command.action)
    }

    /// Grants, joins with these people and tracks, and stops before the negotiation.
    pub(crate) fn admit(&mut self, participants: Vec<Participant>, tracks: Vec<Track>) {
        self.take(|a| matches!(a, Action::Authenticate { .. }));
        self.input(Input::Granted(grant()));
        self.take(|a| matches!(a, Action::Join));
        self.input(Input::Joined {
            me: participant(99, "obs"),
            participants,
            tracks,
            limits: LIMITS,
            ice_servers: vec![IceServer {
                urls: vec!["stun:stun.example.net".to_owned()],
                username: None,
                credential: None,
            }],
        });
    }

    /// Answers the offer that the plugin passed on.
    pub(crate) fn answer_with(&mut self, sdp: &str, tracks: [Option<u64>; 2]) {
        let (reference, _) = self.take(|a| {
            matches!(
                a,
                Action::AcceptOffer { .. } | Action::AcceptReceivingOffer { .. }
            )
        });
        let mids = ["0", "1"].into_iter().zip(tracks);
        self.input(Input::Answer {
            reference,
            sdp: sdp.to_owned(),
            tracks: mids
                .map(|(mid, track)| MidTrack {
                    mid: mid.to_owned(),
                    track: track.map(TrackId),
                })
                .collect(),
        });
    }

    pub(crate) fn fail(&mut self, reference: u64, code: FailureCode) {
        self.input(Input::Failed {
            reference,
            code,
            message: "as the test wants".to_owned(),
        });
    }
}

pub(crate) const SDP: (&str, &str) = ("content-type", "application/sdp");
pub(crate) const FRAGMENT: (&str, &str) = ("content-type", "application/trickle-ice-sdpfrag");
pub(crate) const TOKEN: (&str, &str) = ("authorization", "Bearer s3cret");

/// A publisher with a session, and the entity tag of its ICE session.
pub(crate) fn publisher(headers: &[(&str, &str)]) -> (Client, String) {
    let mut client = Client::new("/whip");
    let all: Vec<_> = [SDP].into_iter().chain(headers.iter().copied()).collect();
    let id = client.send("POST", "/whip/standup", &all, &offer("sendonly"));
    client.admit(Vec::new(), Vec::new());
    client.answer_with(&answer("rrr1"), [Some(1), Some(2)]);
    let created = client.reply(id);
    assert_eq!(created.0.status, 201);
    let etag = created.header("etag").unwrap().to_owned();
    (client, etag)
}

/// A player with a session of what Ada publishes: tracks 10 (audio) and 11.
pub(crate) fn player() -> (Client, String) {
    let mut client = Client::new("/whep");
    let id = client.send("POST", "/whep/standup", &[SDP], &offer("recvonly"));
    client.admit(vec![participant(1, "ada")], ada());
    client.answer_with(&answer("rrr1"), [None, None]);
    for _ in 0..2 {
        let (reference, _) = client.take(|a| matches!(a, Action::Subscribe(_)));
        client.input(Input::Done { reference });
    }
    let created = client.reply(id);
    assert_eq!(created.0.status, 201);
    let etag = created.header("etag").unwrap().to_owned();
    (client, etag)
}

pub(crate) fn ada() -> Vec<Track> {
    vec![
        track(10, 1, MediaKind::Audio),
        track(11, 1, MediaKind::Video),
    ]
}

//! Seeds of what is text, or about it.

use prost::Message as _;

use super::management::wire;
use super::seeds::{Seed, chunk, joined, long};
use super::shards;

pub fn descriptions() -> Vec<Seed> {
    let (audio, both) = (shards::offer(false), shards::offer(true));
    let simulcast = format!("{both}a=rid:h send\r\na=rid:l send\r\na=simulcast:send h;l\r\n");
    let playing = both.replace("a=sendonly", "a=recvonly");
    let data = format!(
        "{}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\n\
         a=sctp-port:5000\r\na=max-message-size:65536\r\n",
        both.replace("BUNDLE 0 1", "BUNDLE 0 1 2")
    );
    let restart = both.replace("a=ice-ufrag:abcd", "a=ice-ufrag:efgh");
    let trickled =
        format!("{audio}a=candidate:1 1 udp 1 192.0.2.7 5 typ host\r\na=end-of-candidates\r\n");
    let all = [
        ("audio", &audio),
        ("both", &both),
        ("simulcast", &simulcast),
        ("playing", &playing),
        ("data", &data),
        ("trickled", &trickled),
    ];
    let mut seeds: Vec<Seed> = all
        .iter()
        .map(|(name, text)| ("sdp", *name, text.as_bytes().to_vec()))
        .collect();
    for (name, text) in all {
        seeds.push(("offers", name, joined(&[&[0], &long(text.as_bytes())])));
    }
    let candidate = b"candidate:1 1 udp 2130706431 192.0.2.7 50000 typ host";
    let twice = joined(&[
        &[0],
        &long(both.as_bytes()),
        &[4],
        &long(candidate),
        &[0],
        &long(restart.as_bytes()),
        &[6, 0, 0],
    ]);
    let play = joined(&[
        &[0x82],
        &long(playing.as_bytes()),
        &[0x85],
        &long(candidate),
        &[0x87, 0, 0],
    ]);
    seeds.push(("offers", "twice", twice));
    seeds.push(("offers", "play", play));
    seeds
}

/// A message of each type.
const MESSAGES: [(&str, &str); 22] = [
    ("join", r#"{"type":"join","id":1,"room":"r","direct":true}"#),
    (
        "token",
        r#"{"type":"join","room":"r","autoSubscribe":false,"token":"t","name":"n"}"#,
    ),
    ("leave", r#"{"type":"leave","id":2}"#),
    (
        "publish",
        r#"{"type":"publish","id":3,"sdp":"v=0","tracks":[{"mid":"0","source":"camera"}]}"#,
    ),
    ("unpublish", r#"{"type":"unpublish","id":4,"track":"1"}"#),
    (
        "answer",
        r#"{"type":"answer","id":5,"offerId":1,"sdp":"v=0"}"#,
    ),
    (
        "candidate",
        r#"{"type":"candidate","direction":"publish","candidate":"candidate:1"}"#,
    ),
    (
        "restart",
        r#"{"type":"restart","id":6,"direction":"subscribe"}"#,
    ),
    ("close", r#"{"type":"close","id":7,"direction":"publish"}"#),
    (
        "subscribe",
        r#"{"type":"subscribe","id":8,"tracks":["1","2","3"]}"#,
    ),
    (
        "unsubscribe",
        r#"{"type":"unsubscribe","id":9,"tracks":["1","2"]}"#,
    ),
    (
        "wish",
        r#"{"type":"wish","track":"1","width":320,"height":180,"fps":30,"priority":2,"paused":false}"#,
    ),
    (
        "mute",
        r#"{"type":"mute","id":10,"track":"1","muted":true}"#,
    ),
    ("record", r#"{"type":"record","id":12,"start":false}"#),
    (
        "notify",
        r#"{"type":"notify","layers":true,"speakers":false}"#,
    ),
    ("base64", r#"{"type":"data","label":"l","base64":"AA=="}"#),
    (
        "text",
        r#"{"type":"data","label":"l","text":"é","to":["2"]}"#,
    ),
    (
        "description",
        r#"{"type":"direct-description","id":13,"call":1,"kind":"offer","sdp":"v=0"}"#,
    ),
    (
        "direct-candidate",
        r#"{"type":"direct-candidate","call":1,"candidate":""}"#,
    ),
    (
        "direct-path",
        r#"{"type":"direct-path","call":1,"path":"failed"}"#,
    ),
    ("ping", r#"{"type":"ping","id":11}"#),
    ("none", r#"{"type":"x","id":9007199254740992}"#),
];

pub fn rooms() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut all = Vec::new();
    let in_room = joined(&[&[0], &chunk(MESSAGES[0].1.as_bytes()), &[4, 1, 5, 1, 4]]);
    for (name, message) in MESSAGES {
        seeds.push(("message", name, message.as_bytes().to_vec()));
        let said = joined(&[&[0], &chunk(message.as_bytes())]);
        all.extend_from_slice(&said);
        seeds.push((
            "rooms",
            name,
            joined(&[&[0], &in_room, &said, &[6, 3, 7, 4]]),
        ));
    }
    // The longest of them, one after the other; and two that call each other.
    seeds.push(("rooms", "all", joined(&[&[0], &in_room, &all])));
    let note = |text: &str| joined(&[&[17, 2], &chunk(text.as_bytes())]);
    let notes = [
        r#"{"note":"ready"}"#,
        r#"{"note":"start","call":1}"#,
        r#"{"note":"end","call":1}"#,
    ];
    let notes: Vec<u8> = notes.into_iter().flat_map(note).collect();
    let path = joined(&[
        &[0],
        &chunk(MESSAGES[17].1.as_bytes()),
        &[0],
        &chunk(MESSAGES[19].1.as_bytes()),
    ]);
    seeds.push((
        "rooms",
        "direct",
        joined(&[&[1], &in_room, &notes, &path, &[12, 3, 13, 3]]),
    ));
    seeds
}

pub fn whip() -> Vec<Seed> {
    let offer = |direction: &str| shards::offer(true).replace("sendonly", direction);
    let request = |method: u8, path: u8, kind: u8, body: &[u8]| {
        joined(&[&[0, method, path, 0, kind, 0, 0, 0], &long(body)])
    };
    let answer = shards::offer(true).replace("a=ice-ufrag:abcd", "a=ice-ufrag:rrr1");
    let granted = joined(&[&[1, 0, 1, 2, 2, 1, 3], &[3], &long(answer.as_bytes())]);
    let publish = joined(&[&request(0, 0, 0, offer("sendonly").as_bytes()), &granted]);
    let play = joined(&[
        &request(0, 1, 0, offer("recvonly").as_bytes()),
        &granted,
        &[1, 4, 4, 1, 4, 5],
    ]);
    let fragment = b"a=ice-ufrag:dddd\r\na=ice-pwd:dddddddddddddddddddddddd\r\n";
    let trickled = b"a=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\n";
    let patched = joined(&[
        &publish,
        &request(1, 2, 1, trickled),
        &request(1, 2, 1, fragment),
    ]);
    vec![
        ("whip", "publish", publish.clone()),
        ("whip", "play", play.clone()),
        ("whip", "patched", patched),
        ("whip", "ended", joined(&[&publish, &request(2, 2, 0, b"")])),
        ("whip", "options", request(5, 0, 0, b"")),
        ("whip", "news", joined(&[&play, &[1, 8, 5, 1, 9, 1, 1, 7]])),
    ]
}

pub fn others() -> Vec<Seed> {
    let name = |parts: [&str; 3], path: &str| {
        let parts = parts.map(|part| chunk(part.as_bytes())).concat();
        joined(&[&parts, path.as_bytes()])
    };
    let pattern = "{room}-{participant}-{media}-{time}";
    let mut seeds = vec![
        (
            "names",
            "pattern",
            name([pattern, "standup", "ada"], "standup/ada.mp4.part"),
        ),
        (
            "names",
            "track",
            name(["{track}{kind}{source}{time}", "é/..", "."], "../../x"),
        ),
        (
            "names",
            "hidden",
            name(["{time}{track}", "", "-rf"], ".hidden/a\0b"),
        ),
    ];
    use wire::request::Verb;
    let text = "room".to_owned();
    let verbs = [
        ("status", Verb::Status(wire::StatusRequest {})),
        (
            "why",
            Verb::Why(wire::WhyRequest {
                room: text.clone(),
                participant: text.clone(),
                track: text.clone(),
            }),
        ),
        (
            "kick",
            Verb::Kick(wire::KickRequest {
                room: text.clone(),
                participant: text.clone(),
                reason: text.clone(),
            }),
        ),
        (
            "diff",
            Verb::ConfigDiff(wire::ConfigDiffRequest {
                text: Some(text.clone()),
                name: text.clone(),
            }),
        ),
        (
            "watch",
            Verb::Watch(wire::WatchRequest {
                interval_ms: 1_000,
                room: text,
            }),
        ),
    ];
    for (name, verb) in verbs {
        let request = wire::Request { verb: Some(verb) };
        let framed = request.encode_length_delimited_to_vec();
        seeds.push(("management", name, joined(&[&[0], &framed, &framed])));
    }
    // A response with an empty message of each kind.
    let kinds: Vec<u8> = (1..=15).flat_map(|tag| [2, tag << 3 | 2, 0]).collect();
    seeds.push(("management", "responses", joined(&[&[1], &kinds])));
    seeds
}

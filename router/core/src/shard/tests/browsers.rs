//! Offers as browsers write them.

use super::*;

fn offer(text: &str) -> String {
    text.replace('\n', "\r\n")
}

fn answer_to(bench: &mut Bench, client: usize, sdp: String) -> (String, Vec<MidTrack>) {
    bench.ignore_answers = true;
    let sources = vec![
        ("0".into(), Source::Microphone),
        ("1".into(), Source::Camera),
    ];
    bench.ok(client, Action::AcceptOffer { sdp, sources });
    let answer = bench.clients[client]
        .events
        .iter()
        .rev()
        .find_map(|e| match e {
            EventKind::Answer { sdp, tracks, .. } => Some((sdp.clone(), tracks.clone())),
            _ => None,
        });
    answer.unwrap()
}

fn section(sdp: &str, index: usize) -> &str {
    sdp.split("\r\nm=").nth(index + 1).unwrap()
}

#[test]
fn chromes_simulcast_offer_is_answered() {
    let mut bench = Bench::new();
    let bob = bench.join("room");
    let alice = bench.join("room");
    let (answer, lines) = answer_to(&mut bench, alice, offer(include_str!("chrome_offer.sdp")));
    assert!(answer.contains("a=group:BUNDLE 0 1 2\r\n"), "{answer}");
    assert!(answer.contains("a=ice-lite\r\n"));
    let tracks: Vec<bool> = lines.iter().map(|line| line.track.is_some()).collect();
    assert_eq!(tracks, [true, true]);
    let audio = section(&answer, 0);
    assert!(
        audio.starts_with("audio 9 UDP/TLS/RTP/SAVPF 111\r\n"),
        "{audio}"
    );
    assert!(audio.contains("a=recvonly") && audio.contains("a=setup:passive"));
    assert!(audio.contains("a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level"));
    let video = section(&answer, 1);
    assert!(
        video.starts_with("video 9 UDP/TLS/RTP/SAVPF 96 97 "),
        "{video}"
    );
    for line in [
        "a=rid:q recv",
        "a=rid:h recv",
        "a=rid:f recv",
        "a=simulcast:recv q;h;f",
        "a=rtcp-fb:96 nack pli",
        "a=rtcp-fb:96 transport-cc",
        "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    ] {
        assert!(video.lines().any(|l| l == line), "{line}: {video}");
    }
    assert!(section(&answer, 2).starts_with("application 9 UDP/DTLS/SCTP"));
    assert!(section(&answer, 2).contains("a=max-message-size:65536"));
    let info = bench.clients[bob]
        .events
        .iter()
        .find_map(|event| match event {
            EventKind::TrackPublished(info) if info.kind == MediaKind::Video => Some(info.clone()),
            _ => None,
        });
    let info = info.unwrap();
    let layers: Vec<_> = info
        .layers
        .iter()
        .map(|l| (l.spatial, l.rid.clone()))
        .collect();
    let rid = |rid: &str| Some(rid.to_owned());
    assert_eq!(layers, [(0, rid("q")), (1, rid("h")), (2, rid("f"))]);
}

#[test]
fn firefoxs_offer_is_answered() {
    let mut bench = Bench::new();
    let alice = bench.join("room");
    let (answer, lines) = answer_to(&mut bench, alice, offer(include_str!("firefox_offer.sdp")));
    let tracks: Vec<bool> = lines.iter().map(|line| line.track.is_some()).collect();
    assert_eq!(tracks, [true, true]);
    let audio = section(&answer, 0);
    assert!(
        audio.starts_with("audio 9 UDP/TLS/RTP/SAVPF 109\r\n"),
        "{audio}"
    );
    let video = section(&answer, 1);
    assert!(
        video.starts_with("video 9 UDP/TLS/RTP/SAVPF 120 124 "),
        "{video}"
    );
    for section in [audio, video] {
        assert!(section.contains("a=recvonly\r\n"), "{section}");
    }
}

#[test]
fn a_changed_camera_section_of_chrome_is_followed() {
    let mut bench = Bench::new();
    let alice = bench.join("room");
    let first = offer(include_str!("chrome_offer.sdp"));
    let (_, before) = answer_to(&mut bench, alice, first.clone());
    // The camera stops: the section stays, inactive; then it is stopped for good: port 0.
    let (head, tail) = first.split_once("m=video").unwrap();
    let inactive = format!(
        "{head}m=video{}",
        tail.replacen("a=sendonly", "a=inactive", 1)
    );
    let (_, lines) = answer_to(&mut bench, alice, inactive.clone());
    assert_eq!((lines[0].track, lines[1].track), (before[0].track, None));
    let stopped = inactive
        .replace("m=video 9 ", "m=video 0 ")
        .replace("BUNDLE 0 1 2", "BUNDLE 0 2");
    let (answer, lines) = answer_to(&mut bench, alice, stopped);
    assert_eq!((lines[0].track, lines[1].track), (before[0].track, None));
    assert!(answer.contains("a=group:BUNDLE 0 2\r\n"), "{answer}");
    assert!(section(&answer, 1).starts_with("video 0 "), "{answer}");
    // A section that disappears is an error, and changes nothing.
    let cut = &first[..first.find("m=video").unwrap()];
    let gone = cut
        .replace("m=audio", "m=video")
        .replace("a=mid:0", "a=mid:7");
    let sdp = gone.replace("BUNDLE 0 1 2", "BUNDLE 7");
    let refused = bench.refused(
        alice,
        Action::AcceptOffer {
            sdp,
            sources: Vec::new(),
        },
    );
    assert!(matches!(refused, RequestError::Invalid(_)));
    assert_eq!(bench.shard.table_sizes().tracks, 1);
}

#[test]
fn the_clients_order_of_codecs_is_kept() {
    let mut bench = Bench::new();
    let bob = bench.join("room");
    let alice = bench.join("room");
    let chrome = offer(include_str!("chrome_offer.sdp"));
    // VP9 first, as `setCodecPreferences` puts it.
    let preferring = chrome
        .replace("SAVPF 96 97 103 ", "SAVPF 98 99 96 97 103 ")
        .replace(" 98 99 100 ", " 100 ");
    assert_ne!(preferring, chrome);
    let (answer, _) = answer_to(&mut bench, alice, preferring);
    let video = section(&answer, 1);
    assert!(
        video.starts_with("video 9 UDP/TLS/RTP/SAVPF 98 99 96 97 "),
        "{video}"
    );
    let codec = bench.clients[bob]
        .events
        .iter()
        .find_map(|event| match event {
            EventKind::TrackPublished(info) if info.kind == MediaKind::Video => {
                Some(info.codec.clone())
            }
            _ => None,
        });
    assert_eq!(codec.as_deref(), Some("VP9"));
}

#[test]
fn descriptions_of_a_large_meeting_stay_small() {
    let mut bench = Bench::new();
    let bob = bench.join("room");
    for _ in 0..32 {
        let (talker, _) = bench.talker("room");
        let tracks = [
            bench.clients[talker].track(0),
            bench.clients[talker].track(1),
        ];
        for track in tracks {
            bench.ok(bob, Action::Subscribe(track));
        }
    }
    bench.run(Duration::from_secs(1));
    let (_, sdp, lines) = bench.clients[bob].last_offer();
    assert_eq!(lines.iter().filter(|line| line.track.is_some()).count(), 64);
    assert!(sdp.len() < 100_000, "{} bytes", sdp.len());
    assert_eq!(bench.clients[bob].failures(), []);
    assert!(bench.clients[bob].subscribe().connected);
}

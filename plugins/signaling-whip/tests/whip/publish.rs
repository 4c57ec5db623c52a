//! WHIP: from an offer to a session.

use rillway_plugin_sdk::signaling::{Action, FailureCode, Input};
use rillway_plugin_sdk::types::Source;

use crate::harness::{Client, RESOURCE, SDP, answer, offer};

fn posted(path: &str, body: &str) -> (Client, u64) {
    let mut client = Client::new("/whip");
    let id = client.send("POST", path, &[SDP], body);
    client.admit(Vec::new(), Vec::new());
    (client, id)
}

#[test]
fn an_offer_becomes_a_session() {
    let (mut client, id) = posted("/whip/standup", &offer("sendonly"));
    assert!(
        client.replies.is_empty(),
        "not before the router has answered"
    );
    let Action::AcceptOffer { sdp, sources } = &client.asked[0].action else {
        panic!("{:?}", client.asked);
    };
    assert_eq!(*sdp, offer("sendonly"), "as it came");
    let named: Vec<_> = sources.iter().map(|s| (s.mid.as_str(), s.source)).collect();
    assert_eq!(named, [("0", Source::Microphone), ("1", Source::Camera)]);
    client.answer_with(&answer("rrr1"), [Some(1), Some(2)]);
    let created = client.reply(id);
    assert_eq!(created.0.status, 201);
    assert_eq!(created.header("location"), Some(RESOURCE));
    assert_eq!(created.header("etag"), Some("\"rrr1\""));
    assert_eq!(created.header("content-type"), Some("application/sdp"));
    assert_eq!(
        created.headers("link"),
        ["<stun:stun.example.net>; rel=\"ice-server\""]
    );
    let sdp = created.text();
    assert_eq!(sdp.replace("a=rtcp-mux-only\r\n", ""), answer("rrr1"));
    assert_eq!(sdp.matches("a=rtcp-mux-only").count(), 2);
    assert!(!client.closed && !client.left && client.asked.is_empty());
}

#[test]
fn the_query_says_what_is_shown() {
    for (query, audio, video) in [
        ("?source=screen", Source::ScreenAudio, Source::Screen),
        ("?source=other", Source::Other, Source::Other),
        ("?source=camera", Source::Microphone, Source::Camera),
    ] {
        let mut client = Client::new("/whip");
        let path = format!("/whip/standup{query}");
        client.send("POST", &path, &[SDP], &offer("sendonly"));
        client.take(|_| true);
        let mut all = crate::harness::grant();
        all.publish = vec![audio, video];
        client.input(Input::Granted(all));
        client.take(|a| matches!(a, Action::Join));
        client.input(Input::Joined {
            me: crate::harness::participant(99, "obs"),
            participants: Vec::new(),
            tracks: Vec::new(),
            limits: crate::harness::LIMITS,
            ice_servers: Vec::new(),
        });
        let (_, accept) = client.take(|a| matches!(a, Action::AcceptOffer { .. }));
        let Action::AcceptOffer { sources, .. } = accept else {
            unreachable!()
        };
        assert_eq!(
            sources.iter().map(|s| s.source).collect::<Vec<_>>(),
            [audio, video]
        );
    }
}

#[test]
fn an_offer_that_the_router_refuses_is_told_and_the_place_given_back() {
    for (code, status) in [
        (FailureCode::Invalid, 422),
        (FailureCode::Forbidden, 403),
        (FailureCode::LimitExceeded, 503),
        (FailureCode::Unavailable, 503),
        (FailureCode::Internal, 500),
    ] {
        let (mut client, id) = posted("/whip/standup", &offer("sendonly"));
        let (reference, _) = client.take(|a| matches!(a, Action::AcceptOffer { .. }));
        client.fail(reference, code);
        let reply = client.reply(id);
        assert_eq!(reply.0.status, status, "{code:?}");
        assert_eq!(reply.detail(), "as the test wants");
        assert!(client.left && client.closed);
    }
}

#[test]
fn half_a_session_is_none() {
    let refused = answer("rrr1").replace("m=video 9", "m=video 0");
    for (sdp, tracks) in [
        (refused, [Some(1), Some(2)]),
        (answer("rrr1"), [Some(1), None]),
    ] {
        let (mut client, id) = posted("/whip/standup", &offer("sendonly"));
        client.answer_with(&sdp, tracks);
        assert_eq!(client.reply(id).0.status, 422);
        assert!(client.left && client.closed);
    }
}

#[test]
fn a_publisher_that_is_removed_meanwhile_may_come_again() {
    let (mut client, id) = posted("/whip/standup", &offer("sendonly"));
    client.input(Input::Removed("the media worker failed".to_owned()));
    let reply = client.reply(id);
    assert_eq!(reply.0.status, 503);
    assert!(reply.header("retry-after").is_some() && client.closed);
}

#[test]
fn what_happens_in_the_room_is_not_a_publishers_business() {
    let (mut client, _) = crate::harness::publisher(&[]);
    for track in crate::harness::ada() {
        client.input(Input::TrackPublished(track));
    }
    client.input(Input::Draining {
        within_ms: 1_000,
        url: None,
    });
    client.input(Input::Tick);
    assert!(client.asked.is_empty() && client.replies.is_empty() && !client.closed);
}

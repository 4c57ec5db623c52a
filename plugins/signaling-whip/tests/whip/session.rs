//! A session: trickled candidates, ICE restarts, its end, and who may ask.

use rillway_plugin_sdk::signaling::{Action, FailureCode, Input, TransportState};
use rillway_plugin_sdk::types::{Denial, Direction};

use crate::harness::{Client, FRAGMENT, RESOURCE, TOKEN, answer, grant, player, publisher};

const TRICKLE: &str = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:cccc\r\n\
    a=ice-pwd:cccccccccccccccccccccccc\r\na=candidate:1 1 udp 1 192.0.2.1 61764 typ host\r\na=end-of-candidates\r\n";

fn restart() -> String {
    TRICKLE
        .replace("ice-ufrag:cccc", "ice-ufrag:dddd")
        .replace("cccccccccccccccccccccccc", "dddddddddddddddddddddddd")
}

fn patch(client: &mut Client, headers: &[(&str, &str)], body: &str) -> crate::harness::Reply {
    client.request("PATCH", RESOURCE, headers, body)
}

fn is_offer(action: &Action) -> bool {
    matches!(
        action,
        Action::AcceptOffer { .. } | Action::AcceptReceivingOffer { .. }
    )
}

#[test]
fn candidates_are_handed_on_and_answered_204_without_an_entity_tag() {
    for (session, direction) in [
        (publisher(&[]), Direction::Publish),
        (player(), Direction::Subscribe),
    ] {
        let (mut client, etag) = session;
        for tag in [etag.as_str(), "*"] {
            let reply = patch(&mut client, &[FRAGMENT, ("if-match", tag)], TRICKLE);
            assert_eq!((reply.0.status, reply.text()), (204, ""));
            assert_eq!(reply.header("etag"), None);
            let (_, action) = client.take(|_| true);
            let line = "candidate:1 1 udp 1 192.0.2.1 61764 typ host".to_owned();
            assert_eq!(action, Action::AddCandidate(direction, line));
        }
        // What becomes of a candidate is nobody's business.
        client.fail(0, FailureCode::Invalid);
        assert!(client.replies.is_empty() && !client.closed);
    }
}

#[test]
fn a_patch_without_or_with_another_entity_tag_is_428_or_412() {
    let (mut client, etag) = publisher(&[]);
    let missing = patch(&mut client, &[FRAGMENT], TRICKLE);
    assert_eq!(missing.0.status, 428);
    for tag in ["\"other\"", "W/\"rrr1\"", ""] {
        let stale = patch(&mut client, &[FRAGMENT, ("if-match", tag)], TRICKLE);
        assert_eq!(stale.0.status, 412, "{tag}");
        assert_eq!(stale.header("etag"), Some(etag.as_str()));
    }
    assert!(client.asked.is_empty() && !client.closed);
}

#[test]
fn a_patch_of_another_kind_is_415_and_nonsense_400() {
    let (mut client, _) = publisher(&[]);
    let any = ("if-match", "*");
    for kind in ["application/sdp", "text/plain"] {
        let headers = [("content-type", kind), any];
        let reply = patch(&mut client, &headers, TRICKLE);
        assert_eq!(reply.0.status, 415, "{kind}");
        let wanted = Some("application/trickle-ice-sdpfrag");
        assert_eq!(reply.header("accept-patch"), wanted);
    }
    let half = restart().replace(
        "a=ice-pwd:dddddddddddddddddddddddd",
        "a=ice-pwd:cccccccccccccccccccccccc",
    );
    for body in ["", "hello", "a=ice-ufrag:abcd\r\n", &half] {
        let reply = patch(&mut client, &[FRAGMENT, any], body);
        assert_eq!(reply.0.status, 400, "{body}");
    }
    assert!(client.asked.is_empty() && !client.closed);
}

#[test]
fn new_credentials_restart_ice() {
    for (session, publishes) in [(publisher(&[]), true), (player(), false)] {
        let (mut client, etag) = session;
        let id = client.send(
            "PATCH",
            RESOURCE,
            &[FRAGMENT, ("if-match", "*")],
            &restart(),
        );
        let offer = &client.asked[0].action;
        let (Action::AcceptOffer { sdp, .. } | Action::AcceptReceivingOffer { sdp }) = offer else {
            panic!("{offer:?}");
        };
        assert_eq!(matches!(offer, Action::AcceptOffer { .. }), publishes);
        assert_eq!(sdp.matches("a=ice-ufrag:dddd\r\n").count(), 2);
        assert!(!sdp.contains("cccc"), "{sdp}");
        client.answer_with(&answer("rrr2"), [Some(1), Some(2)]);
        let reply = client.reply(id);
        assert_eq!(reply.0.status, 200);
        assert_eq!(reply.header("etag"), Some("\"rrr2\""));
        let kind = Some("application/trickle-ice-sdpfrag");
        assert_eq!(reply.header("content-type"), kind);
        for line in [
            "a=ice-lite",
            "a=ice-ufrag:rrr2",
            "a=ice-pwd:rrrr",
            "a=mid:0",
            "a=candidate:1 1 udp 2 198.51.100.1 40000 typ host",
        ] {
            assert!(reply.text().lines().any(|l| l == line), "{line}");
        }
        // The tag of before is outdated, and the new credentials are those in force.
        let stale = [FRAGMENT, ("if-match", etag.as_str())];
        assert_eq!(patch(&mut client, &stale, &restart()).0.status, 412);
        let fresh = [FRAGMENT, ("if-match", "\"rrr2\"")];
        assert_eq!(patch(&mut client, &fresh, &restart()).0.status, 204);
    }
}

#[test]
fn a_restart_that_fails_leaves_the_session_as_it_was() {
    for (code, status) in [
        (FailureCode::LimitExceeded, 429),
        (FailureCode::Invalid, 422),
        (FailureCode::Unavailable, 503),
        (FailureCode::Internal, 500),
    ] {
        let (mut client, etag) = publisher(&[]);
        let id = client.send(
            "PATCH",
            RESOURCE,
            &[FRAGMENT, ("if-match", "*")],
            &restart(),
        );
        let (reference, _) = client.take(is_offer);
        client.fail(reference, code);
        let reply = client.reply(id);
        assert_eq!(reply.0.status, status);
        assert_eq!(
            reply.header("retry-after").is_some(),
            matches!(status, 429 | 503)
        );
        let same = [FRAGMENT, ("if-match", etag.as_str())];
        assert_eq!(patch(&mut client, &same, TRICKLE).0.status, 204);
        assert!(!client.closed);
    }
}

#[test]
fn requests_that_overlap_a_restart_wait_for_it() {
    let (mut client, etag) = publisher(&[]);
    let headers = [FRAGMENT, ("if-match", "*")];
    let first = client.send("PATCH", RESOURCE, &headers, &restart());
    let again = restart().replace("dddd", "eeee");
    let second = client.send("PATCH", RESOURCE, &headers, &again);
    let stale = client.send("PATCH", RESOURCE, &[FRAGMENT, ("if-match", &etag)], TRICKLE);
    let options = client.request("OPTIONS", RESOURCE, &[], "");
    assert_eq!(options.0.status, 200, "this one has not to wait");
    assert!(client.replies.is_empty());
    client.answer_with(&answer("rrr2"), [Some(1), Some(2)]);
    assert_eq!(client.reply(first).0.status, 200);
    assert!(client.replies.is_empty(), "the second restart is under way");
    client.answer_with(&answer("rrr3"), [Some(1), Some(2)]);
    assert_eq!(client.reply(second).header("etag"), Some("\"rrr3\""));
    assert_eq!(client.reply(stale).0.status, 412);
}

#[test]
fn too_many_that_wait_are_429() {
    let (mut client, _) = publisher(&[]);
    let headers = [FRAGMENT, ("if-match", "*")];
    client.send("PATCH", RESOURCE, &headers, &restart());
    for _ in 0..signaling_whip::limits::QUEUE_MAX {
        client.send("GET", RESOURCE, &[], "");
    }
    assert!(client.replies.is_empty());
    let over = client.request("GET", RESOURCE, &[], "");
    assert_eq!(over.0.status, 429);
    client.answer_with(&answer("rrr2"), [Some(1), Some(2)]);
    assert_eq!(client.replies.len(), 1 + signaling_whip::limits::QUEUE_MAX);
}

#[test]
fn delete_ends_it_whatever_the_entity_tag() {
    for session in [publisher(&[]), player()] {
        let (mut client, _) = session;
        let headers = [("if-match", "\"other\"")];
        let reply = client.request("DELETE", RESOURCE, &headers, "");
        assert_eq!(reply.0.status, 200);
        assert!(client.left && client.closed);
    }
}

#[test]
fn a_session_can_be_looked_at_and_nothing_else() {
    let (mut client, _) = publisher(&[]);
    for (method, status) in [
        ("GET", 204),
        ("HEAD", 204),
        ("OPTIONS", 200),
        ("POST", 405),
        ("PUT", 405),
    ] {
        let reply = client.request(method, RESOURCE, &[], "");
        assert_eq!(reply.0.status, status, "{method}");
        let methods = "PATCH, DELETE, GET, HEAD, OPTIONS";
        assert_eq!(
            reply.header("allow") == Some(methods),
            status != 204,
            "{method}"
        );
    }
    assert!(!client.closed);
}

#[test]
fn every_method_wants_the_token() {
    let (mut client, _) = publisher(&[TOKEN]);
    for method in ["GET", "HEAD", "PATCH", "DELETE", "POST"] {
        for other in [None, Some(("authorization", "Basic eDp5"))] {
            let headers: Vec<_> = other.into_iter().collect();
            let reply = client.request(method, RESOURCE, &headers, "");
            assert_eq!(reply.0.status, 401, "{method}");
            assert!(
                reply
                    .header("www-authenticate")
                    .unwrap()
                    .starts_with("Bearer")
            );
        }
    }
    assert_eq!(client.request("OPTIONS", RESOURCE, &[], "").0.status, 200);
    assert!(!client.closed && client.asked.is_empty());
    assert_eq!(client.request("GET", RESOURCE, &[TOKEN], "").0.status, 204);
    assert_eq!(
        client.request("DELETE", RESOURCE, &[TOKEN], "").0.status,
        200
    );
    assert!(client.closed);
}

#[test]
fn another_token_of_the_same_client_takes_the_place_of_the_first() {
    let fresh = ("authorization", "Bearer fresh");
    let (mut client, _) = publisher(&[TOKEN]);
    let id = client.send("GET", RESOURCE, &[fresh], "");
    let (_, asked) = client.take(|_| true);
    assert_eq!(
        asked,
        Action::Authenticate {
            scheme: "token".to_owned(),
            credentials: b"fresh".to_vec(),
            room: Some("standup".to_owned()),
            name: None,
        }
    );
    client.input(Input::Granted(grant()));
    assert_eq!(client.reply(id).0.status, 204);
    assert_eq!(client.request("GET", RESOURCE, &[fresh], "").0.status, 204);
    // The first one is asked about again; the policy may say that it has expired.
    let id = client.send("GET", RESOURCE, &[TOKEN], "");
    client.take(|_| true);
    client.input(Input::Denied(Denial::Unauthenticated("expired".to_owned())));
    assert_eq!(client.reply(id).0.status, 401);
    assert!(!client.closed);
}

#[test]
fn another_clients_token_is_403() {
    let (mut client, _) = publisher(&[TOKEN]);
    let stranger = ("authorization", "Bearer stranger");
    let id = client.send("DELETE", RESOURCE, &[stranger], "");
    client.take(|_| true);
    let mut other = grant();
    other.identity = "mallory".to_owned();
    client.input(Input::Granted(other));
    assert_eq!(client.reply(id).0.status, 403);
    assert!(!client.closed && !client.left);
    // And it does not replace the right one.
    assert_eq!(
        client.request("DELETE", RESOURCE, &[TOKEN], "").0.status,
        200
    );
}

#[test]
fn a_transport_that_ends_takes_the_session_along() {
    use TransportState::{Closed, Connected, Connecting, Disconnected, Failed, New};
    for (end, over) in [
        (New, false),
        (Connecting, false),
        (Connected, false),
        (Disconnected, false),
        (Failed, true),
        (Closed, true),
    ] {
        let (mut client, _) = publisher(&[]);
        client.input(Input::TransportState(Direction::Subscribe, Failed));
        assert!(!client.closed, "not its transport");
        client.input(Input::TransportState(Direction::Publish, end));
        assert_eq!(client.closed, over, "{end:?}");
        let (mut client, _) = player();
        client.input(Input::TransportState(Direction::Subscribe, end));
        assert_eq!(client.closed, over, "{end:?}");
    }
}

#[test]
fn whoever_waits_when_the_session_ends_is_told() {
    let (mut client, _) = publisher(&[]);
    let first = client.send(
        "PATCH",
        RESOURCE,
        &[FRAGMENT, ("if-match", "*")],
        &restart(),
    );
    let second = client.send("GET", RESOURCE, &[], "");
    client.input(Input::Removed("kicked".to_owned()));
    assert_eq!(client.reply(first).0.status, 404);
    assert_eq!(client.reply(second).0.status, 404);
    assert!(client.closed);
}

/// Found by a fuzzer: those behind a DELETE that itself had to wait were never answered.
#[test]
fn whoever_waits_behind_a_delete_is_told() {
    let (mut client, _) = publisher(&[]);
    let headers = [FRAGMENT, ("if-match", "*")];
    let restarted = client.send("PATCH", RESOURCE, &headers, &restart());
    let deleted = client.send("DELETE", RESOURCE, &[], "");
    let behind = client.send("GET", RESOURCE, &[], "");
    client.answer_with(&answer("rrr2"), [Some(1), Some(2)]);
    assert_eq!(client.reply(restarted).0.status, 200);
    assert_eq!(client.reply(deleted).0.status, 200);
    assert_eq!(client.reply(behind).0.status, 404);
    assert!(client.left && client.closed);
}

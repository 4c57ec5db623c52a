//! What an endpoint answers to anything but a session that comes about.

use rillway_plugin_sdk::signaling::{Action, FailureCode, Input};
use rillway_plugin_sdk::types::Denial;

use crate::harness::{Client, LIMITS, RESOURCE, SDP, TOKEN, grant, offer};

fn ask(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> crate::harness::Reply {
    let route = if path.starts_with("/whep") {
        "/whep"
    } else {
        "/whip"
    };
    let mut client = Client::new(route);
    let reply = client.request(method, path, headers, body);
    assert!(client.closed, "nothing is left of {method} {path}");
    assert!(client.asked.is_empty(), "nobody was asked");
    reply
}

#[test]
fn options_tell_pages_and_people_what_may_be_sent() {
    for path in ["/whip/standup", "/whep/standup"] {
        let reply = ask("OPTIONS", path, &[], "");
        assert_eq!(reply.0.status, 200);
        assert_eq!(reply.header("accept-post"), Some("application/sdp"));
        let methods = reply.header("access-control-allow-methods").unwrap();
        assert!(
            methods.contains("POST") && methods.contains("OPTIONS"),
            "{methods}"
        );
        let headers = reply.header("access-control-allow-headers").unwrap();
        for name in ["authorization", "content-type", "if-match"] {
            assert!(headers.contains(name), "{headers}");
        }
        let exposed = reply.header("access-control-expose-headers").unwrap();
        for name in ["location", "etag", "link", "retry-after"] {
            assert!(exposed.contains(name), "{exposed}");
        }
        assert_eq!(reply.header("link"), None, "credentials are no preflight's");
    }
    let gone = ask("OPTIONS", RESOURCE, &[], "");
    assert_eq!(gone.0.status, 200, "a page may then learn that it is gone");
    let methods = gone.header("access-control-allow-methods").unwrap();
    assert!(
        methods.contains("PATCH") && methods.contains("DELETE"),
        "{methods}"
    );
}

#[test]
fn an_endpoint_has_no_representation_but_says_what_it_is() {
    for method in ["GET", "HEAD"] {
        let whip = ask(method, "/whip/standup", &[], "");
        assert_eq!((whip.0.status, whip.text()), (204, ""));
        let whep = ask(method, "/whep/standup", &[], "");
        assert_eq!((whep.0.status, whep.text()), (200, ""));
        assert_eq!(whep.header("content-type"), Some("application/sdp"));
    }
}

#[test]
fn other_methods_are_405_with_those_allowed() {
    for method in ["PUT", "PATCH", "DELETE", "TRACE", "FOO"] {
        let reply = ask(method, "/whip/standup", &[SDP], &offer("sendonly"));
        assert_eq!(reply.0.status, 405, "{method}");
        assert_eq!(reply.header("allow"), Some("POST, GET, HEAD, OPTIONS"));
    }
}

#[test]
fn what_is_not_there_is_404_and_a_room_that_cannot_be_400() {
    for path in [
        "/whip",
        "/whip/",
        "/whip/a/b",
        "/whip/a/b/c",
        RESOURCE,
        "/whipper/a",
    ] {
        for method in ["POST", "PATCH", "DELETE", "GET"] {
            let reply = ask(method, path, &[SDP], &offer("sendonly"));
            assert_eq!(reply.0.status, 404, "{method} {path}");
        }
    }
    let long = format!("/whip/{}", "r".repeat(129));
    for path in ["/whip/%ff", "/whip/a%0ab", &long] {
        let reply = ask("POST", path, &[SDP], &offer("sendonly"));
        assert_eq!(reply.0.status, 400, "{path}");
    }
}

#[test]
fn a_body_of_another_kind_is_415_and_an_answer_of_another_406() {
    for headers in [
        &[][..],
        &[("content-type", "text/plain")],
        &[("content-type", "application/sdpfrag")],
    ] {
        let reply = ask("POST", "/whip/standup", headers, &offer("sendonly"));
        assert_eq!(reply.0.status, 415, "{headers:?}");
        assert_eq!(reply.header("accept-post"), Some("application/sdp"));
    }
    let headers = [SDP, ("accept", "application/json")];
    let reply = ask("POST", "/whip/standup", &headers, &offer("sendonly"));
    assert_eq!(reply.0.status, 406);
    let mut player = Client::new("/whep");
    player.send("POST", "/whep/standup", &headers, &offer("recvonly"));
    let (_, asked) = player.take(|_| true);
    assert!(
        matches!(asked, Action::Authenticate { .. }),
        "406 would announce an offer"
    );
}

#[test]
fn offers_that_are_none_are_400_and_those_that_cannot_be_422() {
    let whip = offer("sendonly");
    let twice = whip.replace("m=video", "m=audio");
    let cases = [
        ("/whip/r", String::new(), 400),
        ("/whip/r", "hello".to_owned(), 400),
        ("/whip/r", whip.replace("a=mid:1\r\n", ""), 400),
        ("/whip/r", whip.replace("a=ice-pwd", "a=x"), 400),
        ("/whip/r?source=nothing", whip.clone(), 400),
        ("/whip/r?name=", whip.clone(), 400),
        ("/whip/r", offer("recvonly"), 422),
        ("/whip/r", offer("inactive"), 422),
        ("/whip/r", twice, 422),
        ("/whip/r", whip.replace("actpass", "passive"), 422),
        ("/whep/r", offer("sendonly"), 422),
        ("/whep/r", offer("inactive"), 422),
        ("/whep/r?track=nothing", offer("recvonly"), 400),
        ("/whep/r?track=1&track=2&track=3", offer("recvonly"), 400),
    ];
    for (path, body, status) in cases {
        let reply = ask("POST", path, &[SDP], &body);
        assert_eq!(reply.0.status, status, "{path} {body}");
        assert!(!reply.detail().is_empty());
    }
}

#[test]
fn credentials_that_are_no_bearer_token_are_401() {
    for value in ["Basic eDp5", "Bearer", "Bearer a b", "s3cret"] {
        let headers = [SDP, ("authorization", value)];
        let reply = ask("POST", "/whip/standup", &headers, &offer("sendonly"));
        assert_eq!(reply.0.status, 401, "{value}");
        let challenge = reply.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer "), "{challenge}");
    }
}

#[test]
fn the_policy_is_asked_with_the_token_or_without() {
    for (headers, scheme, credentials) in
        [(&[SDP][..], "none", ""), (&[SDP, TOKEN], "token", "s3cret")]
    {
        let mut client = Client::new("/whip");
        client.send(
            "POST",
            "/whip/a%20room?name=OBS",
            headers,
            &offer("sendonly"),
        );
        let (_, asked) = client.take(|_| true);
        assert_eq!(
            asked,
            Action::Authenticate {
                scheme: scheme.to_owned(),
                credentials: credentials.as_bytes().to_vec(),
                room: Some("a room".to_owned()),
                name: Some("OBS".to_owned()),
            }
        );
    }
}

/// A POST whose authentication or join ends like this.
fn refused(token: bool, input: Input) -> crate::harness::Reply {
    let mut client = Client::new("/whip");
    let headers: &[_] = if token { &[SDP, TOKEN] } else { &[SDP] };
    let id = client.send("POST", "/whip/standup", headers, &offer("sendonly"));
    client.input(input);
    assert!(client.closed && !client.left);
    client.reply(id)
}

#[test]
fn the_policys_answers_have_their_statuses() {
    let why = || "because".to_owned();
    for (denial, status) in [
        (Denial::Unauthenticated(why()), 401),
        (Denial::Forbidden(why()), 403),
        (Denial::OverQuota(why()), 429),
        (Denial::Unavailable(why()), 503),
    ] {
        for token in [false, true] {
            let reply = refused(token, Input::Denied(denial.clone()));
            assert_eq!(reply.0.status, status);
            assert_eq!(reply.detail(), "because");
            let challenge = reply.header("www-authenticate").map(str::to_owned);
            assert_eq!(challenge.is_some(), status == 401);
            let named = challenge.is_some_and(|c| c.contains("invalid_token"));
            assert_eq!(
                named,
                status == 401 && token,
                "named only if one was presented"
            );
            let again = reply.header("retry-after").is_some();
            assert_eq!(again, matches!(status, 429 | 503));
        }
    }
}

#[test]
fn a_grant_that_does_not_allow_it_is_403_before_anybody_joins() {
    let mut viewer = grant();
    viewer.publish = Vec::new();
    assert_eq!(refused(true, Input::Granted(viewer)).0.status, 403);
    let mut speaker = grant();
    speaker.publish.truncate(1);
    assert_eq!(refused(true, Input::Granted(speaker)).0.status, 403);
    let mut client = Client::new("/whep");
    let id = client.send("POST", "/whep/standup", &[SDP], &offer("recvonly"));
    client.take(|_| true);
    let mut publisher = grant();
    publisher.subscribe = false;
    client.input(Input::Granted(publisher));
    assert_eq!(client.reply(id).0.status, 403);
    assert!(client.closed && client.asked.is_empty());
}

#[test]
fn a_join_that_fails_is_told_with_its_reason() {
    for (code, status) in [
        (FailureCode::Forbidden, 403),
        (FailureCode::LimitExceeded, 503),
        (FailureCode::Unavailable, 503),
        (FailureCode::WrongState, 409),
        (FailureCode::Internal, 500),
    ] {
        let mut client = Client::new("/whip");
        let id = client.send("POST", "/whip/standup", &[SDP], &offer("sendonly"));
        client.take(|_| true);
        client.input(Input::Granted(grant()));
        let (reference, _) = client.take(|a| matches!(a, Action::Join));
        client.fail(reference, code);
        let reply = client.reply(id);
        assert_eq!(reply.0.status, status, "{code:?}");
        assert_eq!(reply.header("retry-after").is_some(), status == 503);
        assert!(client.closed && !client.left);
    }
}

#[test]
fn an_offer_above_the_bound_of_the_router_is_413() {
    let mut client = Client::new("/whip");
    let padding = format!("a=x:{}\r\n", "x".repeat(100)).repeat(50);
    let long = offer("sendonly") + &padding;
    assert!(long.len() > LIMITS.sdp_bytes as usize);
    let id = client.send("POST", "/whip/standup", &[SDP], &long);
    client.admit(Vec::new(), Vec::new());
    assert_eq!(client.reply(id).0.status, 413);
    assert!(client.left && client.closed);
}

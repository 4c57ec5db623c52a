//! WHIP and WHEP over real HTTP, with media.

use std::time::{Duration, Instant};

use rillway_tests::client::full_grant;
use rillway_tests::live::{LiveClient, member};
use rillway_tests::media::TrackSpec;
use rillway_tests::whip::{Offered, Response, Role, Session, http};

use crate::router::{PATIENCE, metric, soon, start};

const SDP: (&str, &str) = ("content-type", "application/sdp");

async fn begin(router: &rillway::Running, role: Role, path: &str) -> Session {
    let begun = Session::begin(router.gateway_address(), role, path);
    soon("a session", begun).await.expect("201 Created")
}

/// Runs sessions until `done` holds.
async fn until(what: &str, sessions: &mut [&mut Session], done: impl Fn(&[&mut Session]) -> bool) {
    let held = Session::run(sessions, PATIENCE, done).await;
    assert!(
        held.expect("sockets work"),
        "not within {PATIENCE:?}: {what}"
    );
}

/// Lets sessions run for a while.
async fn pass(sessions: &mut [&mut Session], ms: u64) {
    let ran = Session::run(sessions, Duration::from_millis(ms), |_| false).await;
    ran.expect("sockets work");
}

async fn post(router: &rillway::Running, role: Role, path: &str) -> Response {
    let offered = Offered::new(role).expect("a socket");
    let posted = http(router.gateway_address(), "POST", path, &[SDP], &offered.sdp);
    soon("an answer", posted).await.expect("HTTP")
}

#[tokio::test]
async fn what_is_published_by_whip_is_played_by_whep() {
    let router = start(|_| {});
    let mut publisher = begin(&router, Role::Publisher, "/whip/show").await;
    let mut player = begin(&router, Role::Player, "/whep/show").await;
    until("media", &mut [&mut publisher, &mut player], |s| {
        s[1].has_received(100)
    })
    .await;
    assert_eq!((player.missing(1), player.strange), (0, 0));
    let deleted = publisher.ask("DELETE", &[], "").await.expect("HTTP");
    assert_eq!(deleted.status, 200);
    let gone = publisher.ask("GET", &[], "").await.expect("HTTP");
    assert_eq!(gone.status, 404);

    // The player stays: another publisher takes the place of the first.
    let mut second = begin(&router, Role::Publisher, "/whip/show").await;
    second.mark = 2;
    let of_second = |session: &Session| {
        let received = session.received.values();
        received
            .map(|bodies| bodies.iter().filter(|body| body.room == 2).count())
            .min()
    };
    until(
        "the second publisher",
        &mut [&mut second, &mut player],
        |s| of_second(s[1]) >= Some(100),
    )
    .await;
    assert_eq!((player.missing(2), player.strange), (0, 0));
    let deleted = player.ask("DELETE", &[], "").await.expect("HTTP");
    assert_eq!(deleted.status, 200);
}

#[tokio::test]
async fn clients_of_all_protocols_meet_in_a_room() {
    let router = start(|_| {});
    let _publisher = begin(&router, Role::Publisher, "/whip/mixed?name=OBS").await;
    let mut config = member(1, "mixed", Instant::now());
    config.grant = full_grant("mixed", "speaker");
    config.tracks = vec![TrackSpec::audio(), TrackSpec::video(1)];
    config.auto_subscribe = false;
    let speaker = LiveClient::connect(router.gateway_address(), config).await;
    let mut speaker = speaker.expect("the gateway listens");
    let heard = speaker.run_until(PATIENCE, |s| {
        s.client.is_publishing() && s.client.tracks.len() == 2
    });
    assert!(
        heard.await.expect("sockets work"),
        "no word of the publisher"
    );
    let named = speaker.client.roster.values().map(|p| p.name.as_deref());
    assert_eq!(named.collect::<Vec<_>>(), [Some("OBS")]);

    let me = speaker.client.me.expect("joined");
    let path = format!("/whep/mixed?participant={:x}", me.0);
    let mut player = begin(&router, Role::Player, &path).await;
    let end = Instant::now() + PATIENCE;
    while !player.has_received(50) {
        assert!(Instant::now() < end, "nothing arrived");
        let step = speaker.run_for(Duration::from_millis(5)).await;
        step.expect("sockets work");
        pass(&mut [&mut player], 5).await;
    }
    assert_eq!((player.strange, speaker.errors.len()), (0, 0));
    for bodies in player.received.values() {
        assert!(bodies.iter().all(|body| body.publisher == me));
    }
}

fn fragment(tag: &str) -> [(&str, &str); 2] {
    [
        ("content-type", "application/trickle-ice-sdpfrag"),
        ("if-match", tag),
    ]
}

#[tokio::test]
async fn ice_restarts_by_patch_and_media_goes_on() {
    let router = start(|_| {});
    let mut publisher = begin(&router, Role::Publisher, "/whip/move").await;
    let mut player = begin(&router, Role::Player, "/whep/move").await;
    until("media", &mut [&mut publisher, &mut player], |s| {
        s[1].has_received(30)
    })
    .await;
    let trickle = "a=ice-ufrag:x\r\n";
    for which in [Role::Publisher, Role::Player] {
        let session = match which {
            Role::Publisher => &mut publisher,
            Role::Player => &mut player,
        };
        let before = session.etag.clone();
        let restarted = session.restart().await.expect("200 OK");
        assert_ne!(session.etag, before);
        assert!(restarted.body.contains("a=candidate:"), "{restarted:?}");
        let stale = session.ask("PATCH", &fragment(&before), trickle).await;
        assert_eq!(stale.expect("HTTP").status, 412);
        let count = player.received.values().map(Vec::len).min().unwrap_or(0);
        until(
            "media after a restart",
            &mut [&mut publisher, &mut player],
            |s| s[1].has_received(count + 50),
        )
        .await;
    }
    let candidate = "a=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\n";
    let trickled = player
        .ask("PATCH", &fragment(&player.etag), candidate)
        .await;
    assert_eq!(trickled.expect("HTTP").status, 204);
}

#[tokio::test]
async fn where_nothing_is_published_players_are_told_to_come_again() {
    let router = start(|_| {});
    let early = post(&router, Role::Player, "/whep/empty").await;
    assert_eq!(
        (early.status, early.header("retry-after")),
        (409, Some("2"))
    );
    assert_eq!(early.header("access-control-allow-origin"), Some("*"));
    let _publisher = begin(&router, Role::Publisher, "/whip/empty").await;
    assert_eq!(post(&router, Role::Player, "/whep/empty").await.status, 201);
}

#[tokio::test]
async fn a_client_that_vanishes_takes_its_session_along() {
    let router = start(|_| {});
    let mut publisher = begin(&router, Role::Publisher, "/whip/gone").await;
    until("a connection", &mut [&mut publisher], |s| {
        s[0].peer.rtc.is_connected()
    })
    .await;
    // DTLS says goodbye (RFC 9725 §4.2): the session ends without a DELETE.
    publisher.peer.rtc.close().expect("a connection");
    publisher.peer.drain();
    let end = Instant::now() + PATIENCE;
    loop {
        pass(&mut [&mut publisher], 20).await;
        let looked = publisher.ask("GET", &[], "").await.expect("HTTP");
        if looked.status == 404 {
            break;
        }
        assert!(Instant::now() < end, "still {}", looked.status);
    }
}

#[tokio::test]
async fn requests_are_bounded_and_pages_may_read_why() {
    let router = start(|config| config.limits.sdp_bytes = 16_384);
    let address = router.gateway_address();
    let long = "x".repeat(40_000);
    let many: Vec<(String, String)> = (0..70).map(|i| (format!("x-{i}"), "1".into())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let query = format!("/whip/r?name={}", "x".repeat(5_000));
    for (path, headers, body, status) in [
        ("/whip/r", &[SDP][..], long.as_str(), 413),
        ("/whip/r", &many, "", 431),
        (&query, &[SDP], "v=0", 414),
    ] {
        let answer = http(address, "POST", path, headers, body)
            .await
            .expect("HTTP");
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    let unknown = format!("/whip/resources/{}", "0".repeat(32));
    for (method, status) in [
        ("GET", 404),
        ("DELETE", 404),
        ("PATCH", 404),
        ("OPTIONS", 200),
    ] {
        let answer = http(address, method, &unknown, &[], "")
            .await
            .expect("HTTP");
        assert_eq!(answer.status, status, "{method}");
    }
    let options = http(address, "OPTIONS", "/whip/r", &[], "")
        .await
        .expect("HTTP");
    assert_eq!(options.header("accept-post"), Some("application/sdp"));
    let head = http(address, "HEAD", "/whep/r", &[], "")
        .await
        .expect("HTTP");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let series = "rillway_gateway_http_requests_total{target=\"endpoint\",status=\"4xx\"}";
    assert_eq!(metric(&router, series).await, Some(6.0));
    let series = "rillway_gateway_rejects_total{cause=\"message_too_long\"}";
    assert_eq!(metric(&router, series).await, Some(1.0));
}

#[tokio::test]
async fn sessions_count_as_clients_and_give_their_places_back() {
    let router = start(|config| config.gateway.connections_max = 2);
    let one = begin(&router, Role::Publisher, "/whip/full").await;
    let _two = begin(&router, Role::Player, "/whep/full").await;
    let full = post(&router, Role::Player, "/whep/full").await;
    assert_eq!(full.status, 503);
    assert!(full.header("retry-after").is_some());
    let gauge = "rillway_gateway_connections";
    assert_eq!(metric(&router, gauge).await, Some(2.0));
    assert_eq!(one.ask("DELETE", &[], "").await.expect("HTTP").status, 200);
    let answer = post(&router, Role::Player, "/whep/full").await;
    assert_eq!(answer.status, 409, "the place is free, the room silent");
}

#[tokio::test]
async fn a_router_that_drains_takes_no_new_sessions_and_ends_those_it_has() {
    let router = start(|config| config.shutdown.notice = Duration::from_millis(1_500));
    let mut publisher = begin(&router, Role::Publisher, "/whip/drain").await;
    let mut player = begin(&router, Role::Player, "/whep/drain").await;
    until("media", &mut [&mut publisher, &mut player], |s| {
        s[1].has_received(10)
    })
    .await;
    router.shutdown();
    let end = Instant::now() + PATIENCE;
    let refused = loop {
        let answer = post(&router, Role::Player, "/whep/drain").await;
        if answer.status == 503 {
            break answer;
        }
        assert!(Instant::now() < end, "still {}", answer.status);
    };
    assert!(refused.header("retry-after").is_some());
    assert_eq!(player.ask("GET", &[], "").await.expect("HTTP").status, 204);
    let count = player.received.values().map(Vec::len).min().unwrap_or(0);
    until(
        "media to the end",
        &mut [&mut publisher, &mut player],
        |s| s[1].has_received(count + 20),
    )
    .await;
    assert_eq!(
        player.ask("DELETE", &[], "").await.expect("HTTP").status,
        200
    );
    until("the publisher is told", &mut [&mut publisher], |s| {
        !s[0].peer.rtc.is_alive()
    })
    .await;
    router.wait().expect("an end on request is no error");
}

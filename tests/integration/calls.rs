//! Calls over real sockets: the whole way from one client's encoder to another's decoder.

use std::time::{Duration, Instant};

use rillway::config::DriverChoice;
use rillway_core::api::{Action, MediaKind};
use rillway_tests::client::full_grant;
use rillway_tests::live::{LiveClient, member};
use rillway_tests::media::TrackSpec;

use crate::router::{PATIENCE, start};

/// Clients of one room that publish a microphone, a camera and data, and receive each other.
async fn call(router: &rillway::Running, room: &str, size: u64, epoch: Instant) -> Vec<LiveClient> {
    let mut clients = Vec::new();
    for number in 0..size {
        let mut config = member(number + 1, room, epoch);
        config.grant = full_grant(room, &format!("person {number}"));
        config.tracks = vec![TrackSpec::audio(), TrackSpec::video(2)];
        config.channels = true;
        let client = LiveClient::connect(router.gateway_address(), config).await;
        clients.push(client.expect("the gateway listens"));
    }
    clients
}

/// Everything sent arrived, from the first packet that did.
pub(crate) fn assert_complete(clients: &[LiveClient]) {
    for to in clients {
        let client = &to.client;
        assert_eq!(client.violations, Vec::<String>::new());
        assert_eq!(client.unknown_packets, 0);
        assert_eq!(to.errors, Vec::new());
        for from in clients {
            for published in &from.client.published {
                let track = published.track.expect("published");
                let Some(inbound) = client.inbound.get(&track) else {
                    assert!(std::ptr::eq(to, from), "a track was not offered");
                    continue;
                };
                let sent = published.layers[0].sequence;
                let missing = inbound.missing(0, sent);
                assert!(missing.is_empty(), "{} of {sent} missing", missing.len());
                assert!(inbound.packets > 50, "{} packets", inbound.packets);
            }
        }
    }
}

pub(crate) async fn stop(clients: &mut [LiveClient]) {
    for client in clients.iter_mut() {
        client.set_running(false);
    }
    let done = LiveClient::run_all(clients, Duration::from_secs(1), |_| false).await;
    done.expect("sockets work");
}

async fn a_call_by(driver: DriverChoice) {
    let router = start(|config| config.media.driver = driver);
    let mut clients = call(&router, "meeting", 3, Instant::now()).await;
    let ready = |c: &LiveClient| c.hears(4) && c.client.is_open("reliable");
    let heard = LiveClient::run_all(&mut clients, PATIENCE, ready).await;
    assert!(heard.expect("sockets work"), "not everybody is heard");
    let now = Instant::now();
    for label in ["reliable", "unreliable"] {
        assert!(clients[0].client.send_data(now, label, label.as_bytes()));
    }
    let quiet = LiveClient::run_all(&mut clients, Duration::from_secs(2), |_| false).await;
    quiet.expect("sockets work");
    stop(&mut clients).await;
    assert_complete(&clients);
    let sender = clients[0].client.me.expect("joined");
    for client in &clients[1..] {
        let mut labels: Vec<_> = client
            .client
            .messages
            .iter()
            .map(|m| m.label.as_str())
            .collect();
        labels.sort_unstable();
        assert_eq!(labels, ["reliable", "unreliable"]);
        for message in &client.client.messages {
            assert_eq!(message.from, sender);
            assert_eq!(message.payload, message.label.as_bytes());
        }
    }
    // One leaves: the others are told at once.
    clients[2].client.leave();
    let gone = LiveClient::run_all(&mut clients, PATIENCE, |c| {
        c.client.me.is_none() || c.client.roster.len() == 1
    });
    assert!(gone.await.expect("sockets work"), "nobody is told");
}

#[tokio::test]
async fn a_call_by_the_ring_driver_is_whole() {
    a_call_by(DriverChoice::Ring).await;
}

#[tokio::test]
async fn a_call_by_the_mmsg_driver_is_whole() {
    a_call_by(DriverChoice::Mmsg).await;
}

#[tokio::test]
async fn rooms_with_equal_names_of_everything_but_themselves_do_not_mix() {
    let router = start(|_| {});
    let epoch = Instant::now();
    // The generator that str0m draws SSRCs from is set alike for both rooms.
    fastrand::seed(7);
    let mut clients = call(&router, "left", 2, epoch).await;
    fastrand::seed(7);
    clients.extend(call(&router, "right!", 2, epoch).await);
    let heard = LiveClient::run_all(&mut clients, PATIENCE, |c| c.hears(2)).await;
    assert!(heard.expect("sockets work"), "not everybody is heard");

    // What the neighbours have is asked for by its id, and is not there.
    let foreign: Vec<_> = clients[2..]
        .iter()
        .flat_map(|c| c.client.published.iter().filter_map(|p| p.track))
        .collect();
    assert_eq!(foreign.len(), 4);
    for track in &foreign {
        clients[0].client.request(Action::Subscribe(*track));
        clients[0].client.request(Action::Mute(*track, true));
        clients[0].client.request(Action::Unpublish(*track));
    }
    let answered = LiveClient::run_all(&mut clients, PATIENCE, |c| c.client.unanswered.is_empty());
    assert!(answered.await.expect("sockets work"), "unanswered");
    assert_eq!(clients[0].client.failures.len(), 12);
    let on = LiveClient::run_all(&mut clients, Duration::from_secs(1), |_| false).await;
    on.expect("sockets work");
    stop(&mut clients).await;
    assert_complete(&clients[..2]);
    assert_complete(&clients[2..]);
    for client in &clients {
        assert_eq!(client.client.inbound.len(), 2);
        assert_eq!(client.client.roster.len(), 1);
        let muted = client.client.tracks.values().filter(|t| t.muted);
        assert_eq!(muted.count(), 0);
        let video = client
            .client
            .tracks
            .values()
            .filter(|t| t.kind == MediaKind::Video);
        assert_eq!(video.count(), 1);
    }
}

#[tokio::test]
async fn a_router_that_drains_tells_clients_in_a_call_and_serves_them_until_then() {
    let router = start(|config| config.shutdown.notice = Duration::from_millis(1_500));
    let mut clients = call(&router, "r", 2, Instant::now()).await;
    let heard = LiveClient::run_all(&mut clients, PATIENCE, |c| c.hears(2)).await;
    assert!(heard.expect("sockets work"), "not everybody is heard");
    router.shutdown();
    let told = LiveClient::run_all(&mut clients, PATIENCE, |c| c.draining.is_some()).await;
    assert!(told.expect("sockets work"), "nobody was told");
    let packets = |c: &LiveClient| c.client.inbound.values().map(|i| i.packets).sum::<u64>();
    let before: Vec<_> = clients.iter().map(packets).collect();
    let more = LiveClient::run_all(&mut clients, Duration::from_millis(500), |_| false).await;
    more.expect("sockets work");
    for (client, before) in clients.iter().zip(before) {
        assert!(packets(client) > before + 30, "media stopped at the notice");
    }
    let ended = LiveClient::run_all(&mut clients, PATIENCE, |c| c.ended.is_some()).await;
    assert!(ended.expect("sockets work"), "still connected");
    for client in &clients {
        assert_eq!(client.ended.as_ref().and_then(|e| e.code), Some(1_001));
    }
    router.wait().expect("an end on request is no error");
}

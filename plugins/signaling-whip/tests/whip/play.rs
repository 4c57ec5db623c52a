//! WHEP: what is played, and what when there is nothing.

use rillway_plugin_sdk::signaling::{Action, FailureCode, Input};
use rillway_plugin_sdk::types::{MediaKind, ParticipantId, TrackId};

use crate::harness::{Client, RESOURCE, SDP, ada, answer, offer, participant, player, track};

fn subscribed(client: &Client) -> Vec<u64> {
    let commands = client.asked.iter();
    commands
        .filter_map(|command| match command.action {
            Action::Subscribe(TrackId(id)) => Some(id),
            _ => None,
        })
        .collect()
}

fn posted(query: &str, body: &str) -> (Client, u64) {
    let mut client = Client::new("/whep");
    let path = format!("/whep/standup{query}");
    let id = client.send("POST", &path, &[SDP], body);
    let mut tracks = vec![track(20, 2, MediaKind::Video)];
    tracks.extend(ada());
    client.admit(vec![participant(1, "ada"), participant(2, "grace")], tracks);
    (client, id)
}

#[test]
fn the_first_publisher_is_played() {
    let (mut client, id) = posted("", &offer("recvonly"));
    assert_eq!(subscribed(&client), [10, 11]);
    client.answer_with(&answer("rrr1"), [None, None]);
    assert!(
        client.replies.is_empty(),
        "not before both tracks are there"
    );
    for _ in 0..2 {
        let (reference, _) = client.take(|a| matches!(a, Action::Subscribe(_)));
        client.input(Input::Done { reference });
    }
    let created = client.reply(id);
    assert_eq!(created.0.status, 201);
    assert_eq!(created.header("location"), Some(RESOURCE));
    assert_eq!(created.header("etag"), Some("\"rrr1\""));
    assert!(created.text().starts_with("v=0\r\n"));
}

#[test]
fn the_answer_may_come_after_the_tracks() {
    let (mut client, id) = posted("", &offer("recvonly"));
    for _ in 0..2 {
        let (reference, _) = client.take(|a| matches!(a, Action::Subscribe(_)));
        client.input(Input::Done { reference });
    }
    assert!(client.replies.is_empty());
    client.answer_with(&answer("rrr1"), [None, None]);
    assert_eq!(client.reply(id).0.status, 201);
}

#[test]
fn the_query_chooses() {
    for (query, expected) in [
        ("?participant=grace", &[20][..]),
        ("?participant=2", &[20]),
        ("?track=14", &[20]),
        ("?track=a&track=14", &[10, 20]),
        ("", &[10, 11]),
    ] {
        let (client, _) = posted(query, &offer("recvonly"));
        assert_eq!(subscribed(&client), expected, "{query}");
    }
}

#[test]
fn only_the_kinds_that_were_offered_are_played() {
    let audio = offer("recvonly");
    let audio = &audio[..audio.find("m=video").unwrap()];
    let (client, _) = posted("", audio);
    assert_eq!(subscribed(&client), [10]);
}

#[test]
fn nothing_to_play_is_409_and_worth_another_try() {
    let mut client = Client::new("/whep");
    let id = client.send("POST", "/whep/standup", &[SDP], &offer("recvonly"));
    client.admit(vec![participant(1, "ada")], Vec::new());
    let reply = client.reply(id);
    assert_eq!(
        (reply.0.status, reply.header("retry-after")),
        (409, Some("2"))
    );
    assert!(client.left && client.closed);

    let (mut client, id) = posted("?participant=nobody", &offer("recvonly"));
    assert_eq!(client.reply(id).0.status, 409);
}

#[test]
fn a_track_that_cannot_be_had_ends_the_attempt() {
    for (code, status) in [
        (FailureCode::Invalid, 422),
        (FailureCode::NotFound, 409),
        (FailureCode::LimitExceeded, 503),
        (FailureCode::Internal, 500),
    ] {
        let (mut client, id) = posted("", &offer("recvonly"));
        let (reference, _) = client.take(|a| matches!(a, Action::Subscribe(TrackId(11))));
        client.fail(reference, code);
        assert_eq!(client.reply(id).0.status, status, "{code:?}");
        assert!(client.left && client.closed);
    }
    let (mut client, id) = posted("", &offer("recvonly"));
    let (reference, _) = client.take(|a| matches!(a, Action::AcceptReceivingOffer { .. }));
    client.fail(reference, FailureCode::Invalid);
    assert_eq!(client.reply(id).0.status, 422);
}

#[test]
fn a_publisher_that_reconnects_is_played_again() {
    let (mut client, _) = player();
    for id in [10, 11] {
        client.input(Input::TrackUnpublished(TrackId(id)));
    }
    client.input(Input::ParticipantLeft(ParticipantId(1)));
    assert!(client.asked.is_empty() && !client.closed, "it waits");
    client.input(Input::ParticipantJoined(participant(3, "ada")));
    client.input(Input::TrackPublished(track(30, 3, MediaKind::Audio)));
    client.input(Input::TrackPublished(track(31, 3, MediaKind::Video)));
    assert_eq!(subscribed(&client), [30, 31]);
}

#[test]
fn a_publisher_in_a_codec_the_player_lacks_is_passed_over() {
    let (mut client, _) = player();
    client.input(Input::TrackUnpublished(TrackId(11)));
    client.input(Input::TrackPublished(track(12, 1, MediaKind::Video)));
    let (reference, _) = client.take(|a| matches!(a, Action::Subscribe(TrackId(12))));
    client.fail(reference, FailureCode::Invalid);
    assert!(client.asked.is_empty() && client.replies.is_empty());
    client.input(Input::TrackPublished(track(13, 1, MediaKind::Video)));
    assert_eq!(
        subscribed(&client),
        [13],
        "the one before is not tried again"
    );
}

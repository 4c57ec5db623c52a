//! `autoSubscribe`, and subscribing by hand.

use rillway_plugin_sdk::signaling::{Action, Command, FailureCode, Input};
use rillway_plugin_sdk::types::{Limits, MediaKind, TrackId};
use serde_json::json;

use crate::harness::{Connection, LIMITS, Output, grant, joined, track};

const AUDIO: MediaKind = MediaKind::Audio;
const VIDEO: MediaKind = MediaKind::Video;

/// Tracks the host was asked to subscribe to.
fn subscribed(output: &Output) -> Vec<u64> {
    let tracks = output.actions().into_iter().filter_map(|a| match a {
        Action::Subscribe(track) => Some(track.0),
        _ => None,
    });
    tracks.collect()
}

fn fail(command: &Command, code: FailureCode) -> Input {
    Input::Failed {
        reference: command.reference,
        code,
        message: "because".to_owned(),
    }
}

/// In a room with room for `places` subscriptions.
fn with_places(places: u16) -> Connection {
    let limits = Limits {
        subscriptions_per_participant: places,
        ..LIMITS
    };
    Connection::in_room_with(&grant("r"), limits, Vec::new(), true)
}

#[test]
fn present_and_future_tracks_are_subscribed_after_they_are_told() {
    let mut connection = Connection::open();
    connection.say(&json!({"type": "join", "id": 1, "room": "r"}));
    connection.host(Input::Granted(grant("r")));
    let output = connection.host(joined(LIMITS, vec![track(5, 2, VIDEO), track(6, 2, AUDIO)]));
    assert!(
        matches!(output.0[0].action, Action::Send(_)),
        "`joined` comes first"
    );
    assert_eq!(subscribed(&output), [6, 5]);

    let output = connection.host(Input::TrackPublished(track(7, 3, VIDEO)));
    assert!(
        matches!(output.0[0].action, Action::Send(_)),
        "`track-published` comes first"
    );
    assert_eq!(subscribed(&output), [7]);
    assert_eq!(
        connection.done(output.command().reference).0,
        [],
        "the client did not ask"
    );
}

#[test]
fn nothing_is_subscribed_without_wish_or_grant() {
    let mut forbidden = grant("r");
    forbidden.subscribe = false;
    for (grant, auto) in [(grant("r"), false), (forbidden, true)] {
        let mut connection =
            Connection::in_room_with(&grant, LIMITS, vec![track(5, 2, AUDIO)], auto);
        let output = connection.host(Input::TrackPublished(track(6, 2, VIDEO)));
        assert_eq!(output.actions(), Vec::<&Action>::new());
    }
}

#[test]
fn what_exceeds_the_limit_waits_for_a_place() {
    let mut connection = with_places(1);
    let publish = |c: &mut Connection, id, kind| {
        let output = c.host(Input::TrackPublished(track(id, 2, kind)));
        subscribed(&output)
    };
    assert_eq!(publish(&mut connection, 1, VIDEO), [1]);
    assert_eq!(publish(&mut connection, 2, VIDEO), [0; 0]);
    assert_eq!(publish(&mut connection, 3, AUDIO), [0; 0]);
    let output = connection.host(Input::TrackUnpublished(TrackId(1)));
    assert_eq!(subscribed(&output), [3], "sound comes first");
    let output = connection.say(&json!({"type": "unsubscribe", "id": 9, "tracks": ["3"]}));
    assert_eq!(
        output.actions()[0],
        &Action::Unsubscribe(TrackId(3)),
        "before the next"
    );
    assert_eq!(subscribed(&output), [2]);
}

#[test]
fn refusals_of_automatic_subscriptions() {
    let refuse = |code| {
        let mut connection = with_places(1);
        let output = connection.host(Input::TrackPublished(track(1, 2, VIDEO)));
        connection.host(Input::TrackPublished(track(2, 2, VIDEO)));
        let output = connection.host(fail(output.command(), code));
        (connection, output)
    };
    let (mut connection, output) = refuse(FailureCode::LimitExceeded);
    assert_eq!(
        output.0,
        [],
        "it waits, and nothing is tried before something ends"
    );
    let output = connection.host(Input::TrackUnpublished(TrackId(9)));
    assert_eq!(subscribed(&output), [1]);

    let (_, output) = refuse(FailureCode::NotFound);
    assert_eq!(
        output.messages().len(),
        0,
        "it ended: `track-unpublished` says so"
    );
    assert_eq!(subscribed(&output), [2]);

    let (_, output) = refuse(FailureCode::Forbidden);
    assert!(
        output
            .error("forbidden", None)
            .contains("autoSubscribe, track 1")
    );
    assert_eq!(subscribed(&output), [2]);
}

#[test]
fn lists_do_what_they_can_and_answer_once() {
    let mut connection = Connection::in_room();
    let request = json!({"type": "subscribe", "id": 4, "tracks": ["1", "2", "3"]});
    let output = connection.say(&request);
    assert_eq!(subscribed(&output), [1, 2, 3]);
    let commands: Vec<Command> = output.commands().into_iter().cloned().collect();
    assert_eq!(connection.done(commands[2].reference).0, []);
    assert_eq!(
        connection.host(fail(&commands[1], FailureCode::NotFound)).0,
        []
    );
    let message = connection
        .done(commands[0].reference)
        .error("not_found", Some(4));
    assert_eq!(message, "1 of 3 failed: track 2: because");

    let output = connection.say(&request);
    let mut last = Vec::new();
    for command in output.commands() {
        assert_eq!(last, Vec::<serde_json::Value>::new(), "answered too early");
        last = connection.done(command.reference).messages();
    }
    assert_eq!(last, [json!({"type": "ok", "id": 4})]);
}

#[test]
fn a_track_asked_for_by_hand_is_not_subscribed_again_by_itself() {
    let mut connection = with_places(2);
    let output = connection.say(&json!({"type": "subscribe", "id": 4, "tracks": ["1"]}));
    assert_eq!(subscribed(&output), [1]);
    let output = connection.host(Input::TrackPublished(track(1, 2, VIDEO)));
    assert_eq!(subscribed(&output), [0; 0]);
}

#[test]
fn a_refused_request_frees_the_place_it_held() {
    let mut connection = with_places(1);
    let output = connection.say(&json!({"type": "subscribe", "id": 4, "tracks": ["ff"]}));
    let command = output.command().clone();
    let waiting = connection.host(Input::TrackPublished(track(1, 2, VIDEO)));
    assert_eq!(subscribed(&waiting), [0; 0]);
    let output = connection.host(fail(&command, FailureCode::NotFound));
    assert_eq!(subscribed(&output), [1]);
    output.error("not_found", Some(4));
}

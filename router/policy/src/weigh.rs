//! Bytes of a value, roughly: what has a length, and a constant for the rest. For budgets and metrics.

use rillway_plugin_sdk::authentication::Attempt;
use rillway_plugin_sdk::layers::{Choice, View};
use rillway_plugin_sdk::recording::{Event, Order};
use rillway_plugin_sdk::signaling::{Action, Command, Frame, Input, MidTrack};
use rillway_plugin_sdk::types::{Attributes, Denial, Grant, IceServer, Participant, Track};

/// A record without its texts and lists.
const RECORD: usize = 32;

fn text(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

fn pairs(pairs: &Attributes) -> usize {
    pairs.iter().map(|(a, b)| a.len() + b.len() + 8).sum()
}

fn participant(who: &Participant) -> usize {
    RECORD + who.identity.len() + text(who.name.as_ref()) + pairs(&who.attributes)
}

fn track(track: &Track) -> usize {
    RECORD + track.codec.len() + track.layers.len() * RECORD + pairs(&track.attributes)
}

fn grant(grant: &Grant) -> usize {
    RECORD
        + grant.room.len()
        + grant.identity.len()
        + text(grant.name.as_ref())
        + pairs(&grant.attributes)
}

fn denial(denial: &Denial) -> usize {
    match denial {
        Denial::Unauthenticated(text)
        | Denial::Forbidden(text)
        | Denial::OverQuota(text)
        | Denial::Unavailable(text) => RECORD + text.len(),
    }
}

fn frame(frame: &Frame) -> usize {
    match frame {
        Frame::Text(text) => text.len(),
        Frame::Binary(bytes) => bytes.len(),
    }
}

fn sections(sdp: &str, tracks: &[MidTrack]) -> usize {
    RECORD + sdp.len() + tracks.iter().map(|t| t.mid.len() + 16).sum::<usize>()
}

fn server(server: &IceServer) -> usize {
    let urls: usize = server.urls.iter().map(String::len).sum();
    urls + text(server.username.as_ref()) + text(server.credential.as_ref())
}

pub(crate) fn attempt(attempt: &Attempt) -> usize {
    RECORD
        + attempt.scheme.len()
        + attempt.credentials.len()
        + text(attempt.room.as_ref())
        + text(attempt.name.as_ref())
        + attempt.remote_address.len()
        + attempt.protocol.len()
        + attempt.guest_identity.len()
        + pairs(&attempt.attributes)
}

pub(crate) fn decision(decision: &Result<Grant, Denial>) -> usize {
    match decision {
        Ok(granted) => grant(granted),
        Err(denied) => denial(denied),
    }
}

pub(crate) fn input(input: &Input) -> usize {
    match input {
        Input::Opened(opened) => {
            RECORD + opened.path.len() + opened.query.len() + pairs(&opened.attributes)
        }
        Input::Message(message) => frame(message),
        Input::Request(request) => {
            RECORD
                + request.path.len()
                + request.query.len()
                + pairs(&request.headers)
                + request.body.len()
        }
        Input::Closed(reason) | Input::Removed(reason) => reason.len(),
        Input::Granted(granted) => grant(granted),
        Input::Denied(denied) => denial(denied),
        Input::Joined {
            me,
            participants,
            tracks,
            ice_servers,
            ..
        } => {
            participant(me)
                + participants.iter().map(participant).sum::<usize>()
                + tracks.iter().map(track).sum::<usize>()
                + ice_servers.iter().map(server).sum::<usize>()
        }
        Input::ParticipantJoined(who) => participant(who),
        Input::TrackPublished(published) => track(published),
        Input::Answer { sdp, tracks, .. } | Input::Offer { sdp, tracks, .. } => {
            sections(sdp, tracks)
        }
        Input::Speakers(speakers) => speakers.len() * 16,
        Input::Data { label, payload, .. } => RECORD + label.len() + payload.len(),
        Input::Relayed(_, relayed) => frame(relayed),
        Input::Recording(state) => RECORD + state.tracks.len() * 8,
        Input::Failed { message, .. } => RECORD + message.len(),
        Input::Extension(extension) => extension.name.len() + extension.json.len(),
        _ => RECORD,
    }
}

pub(crate) fn commands(commands: &[Command]) -> usize {
    commands
        .iter()
        .map(|command| RECORD + action(&command.action))
        .sum()
}

fn action(action: &Action) -> usize {
    match action {
        Action::Send(sent) | Action::SendTo(_, sent) => frame(sent),
        Action::Respond(response) => pairs(&response.headers) + response.body.len(),
        Action::Close(_, reason) => reason.len(),
        Action::Authenticate {
            scheme,
            credentials,
            room,
            name,
        } => scheme.len() + credentials.len() + text(room.as_ref()) + text(name.as_ref()),
        Action::AcceptOffer { sdp, sources } => {
            sdp.len() + sources.iter().map(|s| s.mid.len() + 8).sum::<usize>()
        }
        Action::AcceptAnswer { sdp, .. } | Action::AcceptReceivingOffer { sdp } => sdp.len(),
        Action::AddCandidate(_, line) => line.len(),
        Action::SendData { to, label, payload } => to.len() * 8 + label.len() + payload.len(),
        Action::Extension(extension) => extension.name.len() + extension.json.len(),
        _ => 0,
    }
}

pub(crate) fn view(view: &View) -> usize {
    let subscribers = view.subscribers.iter().map(|subscriber| {
        RECORD + subscriber.subscriptions.len() * RECORD + pairs(&subscriber.attributes)
    });
    RECORD
        + view.tracks.iter().map(track).sum::<usize>()
        + subscribers.sum::<usize>()
        + (view.speakers.len() + view.tracks_gone.len() + view.subscribers_gone.len()) * 8
        + pairs(&view.attributes)
}

pub(crate) fn choices(choices: &[Choice]) -> usize {
    choices.iter().map(|c| RECORD + c.reason.len()).sum()
}

pub(crate) fn event(event: &Event) -> usize {
    match event {
        Event::RoomOpened(room) => room.len(),
        Event::ParticipantJoined(who) => participant(who),
        Event::TrackPublished(published) => track(published),
        Event::Speakers(speakers) => speakers.len() * 8,
        Event::Requested(request) => RECORD + pairs(&request.attributes),
        Event::Finished(file) => RECORD + file.name.len() + pairs(&file.attributes) + 64,
        Event::Failed(failure) => RECORD + failure.message.len(),
        Event::Recording(recorded) => {
            let tracks = recorded.iter();
            tracks
                .map(|r| RECORD + r.name.len() + pairs(&r.attributes))
                .sum()
        }
        _ => RECORD,
    }
}

pub(crate) fn orders(orders: &[Order]) -> usize {
    orders
        .iter()
        .map(|order| match order {
            Order::Start(start) => RECORD + start.name.len() + pairs(&start.attributes),
            Order::Stop(_) | Order::TickEveryMs(_) => RECORD,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_weigh_what_they_are() {
        let text = |bytes: usize| Frame::Text("x".repeat(bytes));
        assert_eq!(input(&Input::Message(text(5_000))), 5_000);
        let command = Command {
            reference: 1,
            action: Action::Send(text(5_000)),
        };
        assert_eq!(commands(&[command.clone(), command]), 2 * (5_000 + RECORD));
    }
}

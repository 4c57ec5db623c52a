//! What a good token is worth.

use rillway_plugin_sdk::authentication::Attempt;
use rillway_plugin_sdk::types::{Attributes, Denial, Grant, Source};
use rillway_plugin_sdk::wildcard;

use crate::claims::{self, Claims, Publish, Rillway, Video};

/// Bounds of the ABI on a grant (`plugin-sdk/wit/types.wit`): told here by the claim's name.
const NAME_BYTES_MAX: usize = 128;
const ATTRIBUTES_MAX: usize = 32;
const ATTRIBUTE_NAME_BYTES_MAX: usize = 64;
const ATTRIBUTE_BYTES_MAX: usize = 1_024;

/// The grant that the claims ask for.
///
/// # Errors
/// They prove somebody who may not do this.
pub(crate) fn grant(
    claims: Claims,
    attempt: Attempt,
    exp_ends_session: Option<bool>,
) -> Result<Grant, Denial> {
    let expires_at_ms = claims.expires_at_ms();
    let ends = |by_default: bool| expires_at_ms.filter(|_| exp_ends_session.unwrap_or(by_default));
    let mut grant = match (claims.rillway, claims.video) {
        (Some(ours), _) => own(ours, attempt.room, ends(true))?,
        (None, Some(video)) => livekit(&video, attempt.room, ends(false))?,
        (None, None) => {
            return Err(forbidden(
                "the token grants nothing: it has neither `rillway` nor `video`",
            ));
        }
    };
    let identity = claims.sub.filter(|sub| !sub.is_empty());
    grant.identity = identity.unwrap_or(attempt.guest_identity);
    let name = claims.name.filter(|name| !name.is_empty());
    grant.name = name.or(attempt.name);
    grant.attributes = claims.attributes.into_iter().collect();
    if !claims.metadata.is_empty() {
        let metadata = ("metadata".to_owned(), claims.metadata);
        grant.attributes.push(metadata);
    }
    fits(&grant)?;
    Ok(grant)
}

/// Nothing but a room; the rest is for the claims to say.
fn nothing(room: String, expires_at_ms: Option<u64>) -> Grant {
    Grant {
        room,
        identity: String::new(),
        name: None,
        publish: Vec::new(),
        subscribe: false,
        publish_data: false,
        record_control: false,
        max_publish_bps: None,
        expires_at_ms,
        attributes: Attributes::new(),
    }
}

fn own(ours: Rillway, wanted: Option<String>, expires_at_ms: Option<u64>) -> Result<Grant, Denial> {
    let room = match wanted {
        Some(wanted) if wildcard::matches(&ours.room, &wanted) => wanted,
        Some(_) => return Err(other_room(&ours.room)),
        None if ours.room.contains('*') => {
            let pattern = &ours.room;
            return Err(Denial::Forbidden(format!(
                "name a room: the token is for any that fits `{pattern}`"
            )));
        }
        None => ours.room,
    };
    Ok(Grant {
        publish: match ours.publish {
            Publish::Any(false) => Vec::new(),
            Publish::Any(true) => every_source(),
            Publish::Sources(sources) => sources.into_iter().map(source).collect(),
        },
        subscribe: ours.subscribe,
        publish_data: ours.publish_data,
        record_control: ours.record_control,
        max_publish_bps: ours.max_publish_bps,
        ..nothing(room, expires_at_ms)
    })
}

/// By LiveKit's rules: who may join may publish, subscribe and send data unless the token says otherwise.
fn livekit(
    video: &Video,
    wanted: Option<String>,
    expires_at_ms: Option<u64>,
) -> Result<Grant, Denial> {
    if !video.room_join {
        return Err(forbidden(
            "the token does not allow to join (`video.roomJoin`)",
        ));
    }
    if video.hidden {
        return Err(forbidden(
            "the token is for a hidden participant (`video.hidden`): nobody is hidden here",
        ));
    }
    if video.room.is_empty() {
        return Err(forbidden("the token names no room (`video.room`)"));
    }
    // No pattern: in LiveKit a room may be called `*`, and a token for it opens no other.
    if wanted.is_some_and(|wanted| wanted != video.room) {
        return Err(other_room(&video.room));
    }
    let can_publish = video.can_publish.unwrap_or(true);
    let sources = video.can_publish_sources.as_slice();
    Ok(Grant {
        publish: match (can_publish, sources) {
            (false, _) => Vec::new(),
            (true, []) => every_source(),
            (true, names) => names.iter().filter_map(|n| livekit_source(n)).collect(),
        },
        subscribe: video.can_subscribe.unwrap_or(true),
        publish_data: video.can_publish_data.unwrap_or(can_publish),
        record_control: video.room_record,
        ..nothing(video.room.clone(), expires_at_ms)
    })
}

fn every_source() -> Vec<Source> {
    vec![
        Source::Camera,
        Source::Microphone,
        Source::Screen,
        Source::ScreenAudio,
        Source::Other,
    ]
}

fn source(source: claims::Source) -> Source {
    match source {
        claims::Source::Camera => Source::Camera,
        claims::Source::Microphone => Source::Microphone,
        claims::Source::Screen => Source::Screen,
        claims::Source::ScreenAudio => Source::ScreenAudio,
        claims::Source::Other => Source::Other,
    }
}

/// A source that is not known is one that may not be published.
fn livekit_source(name: &str) -> Option<Source> {
    match name {
        "camera" => Some(Source::Camera),
        "microphone" => Some(Source::Microphone),
        "screen_share" => Some(Source::Screen),
        "screen_share_audio" => Some(Source::ScreenAudio),
        _ => None,
    }
}

fn fits(grant: &Grant) -> Result<(), Denial> {
    if grant.identity.len() > NAME_BYTES_MAX {
        return Err(forbidden("the token's `sub` has more than 128 bytes"));
    }
    if grant
        .name
        .as_ref()
        .is_some_and(|n| n.len() > NAME_BYTES_MAX)
    {
        return Err(forbidden("the name has more than 128 bytes"));
    }
    if grant.attributes.len() > ATTRIBUTES_MAX {
        return Err(forbidden("the token has more than 32 attributes"));
    }
    for (name, value) in &grant.attributes {
        if name.is_empty() || name.len() > ATTRIBUTE_NAME_BYTES_MAX {
            return Err(forbidden(
                "a name of the token's attributes has not 1 to 64 bytes",
            ));
        }
        if value.len() > ATTRIBUTE_BYTES_MAX {
            return Err(Denial::Forbidden(format!(
                "the token's attribute `{name}` has more than 1024 bytes"
            )));
        }
    }
    Ok(())
}

fn forbidden(why: &str) -> Denial {
    Denial::Forbidden(why.to_owned())
}

fn other_room(room: &str) -> Denial {
    Denial::Forbidden(format!("the token is for the room `{room}`"))
}

//! Reading requests.

use percent_encoding::percent_decode_str;
use rillway_plugin_sdk::signaling::HttpRequest;
use rillway_plugin_sdk::types::{ParticipantId, Source, TrackId};

use crate::limits::{NAME_BYTES_MAX, TOKEN_BYTES_MAX, TRACKS_MAX};

/// Media type of session descriptions (RFC 8866 §8.2.1).
pub(crate) const SDP: &str = "application/sdp";
/// Media type of fragments of them (RFC 8840 §9).
pub(crate) const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// Which of the two protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// The client publishes.
    Whip,
    /// The client plays.
    Whep,
}

/// Where a request goes, if it is no session's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) protocol: Protocol,
    pub(crate) room: String,
}

/// Why a path is no endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathError {
    /// There is nothing.
    NotFound,
    /// The room's name is none.
    Room,
}

/// Reads a path below the route that led here: `…/whip/ROOM` or `…/whep/ROOM`, where the protocol may be
/// the route's last part or the first part below it.
pub(crate) fn endpoint(route: &str, path: &str) -> Result<Endpoint, PathError> {
    let below = path.strip_prefix(route).ok_or(PathError::NotFound)?;
    let below = below.strip_suffix('/').unwrap_or(below);
    let mut parts = below.split('/');
    if parts.next() != Some("") {
        return Err(PathError::NotFound);
    }
    let (first, second, more) = (parts.next(), parts.next(), parts.next());
    let of_route = route.rsplit('/').next().and_then(protocol);
    let (protocol, room) = match (of_route, first, second, more) {
        (Some(protocol), Some(room), None, None) => (Some(protocol), room),
        (None, Some(name), Some(room), None) => (protocol(name), room),
        _ => (None, ""),
    };
    let protocol = protocol.ok_or(PathError::NotFound)?;
    if room.is_empty() {
        return Err(PathError::NotFound);
    }
    let room = percent_decode_str(room)
        .decode_utf8()
        .map_err(|_| PathError::Room)?;
    if room.len() > NAME_BYTES_MAX || room.chars().any(char::is_control) {
        return Err(PathError::Room);
    }
    Ok(Endpoint {
        protocol,
        room: room.into_owned(),
    })
}

fn protocol(name: &str) -> Option<Protocol> {
    match name {
        "whip" => Some(Protocol::Whip),
        "whep" => Some(Protocol::Whep),
        _ => None,
    }
}

/// The value of a header that is there once.
pub(crate) fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    let mut values = request.headers.iter().filter(|(known, _)| known == name);
    let value = values.next().map(|(_, value)| value.trim());
    value.filter(|_| values.next().is_none())
}

/// Whether the body is of a media type; its parameters do not matter.
pub(crate) fn is_of_type(request: &HttpRequest, wanted: &str) -> bool {
    header(request, "content-type").is_some_and(|value| {
        let name = value.split(';').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case(wanted)
    })
}

/// Whether the client takes a session description as answer (RFC 9110 §12.5.1).
pub(crate) fn accepts_sdp(request: &HttpRequest) -> bool {
    let mut ranges = request
        .headers
        .iter()
        .filter(|(name, _)| name == "accept")
        .flat_map(|(_, value)| value.split(','))
        .map(str::trim)
        .filter(|range| !range.is_empty())
        .peekable();
    if ranges.peek().is_none() {
        return true;
    }
    ranges.any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let refused = parts.any(|part| {
            let weight = part.to_ascii_lowercase().replace(' ', "");
            let weight = weight.strip_prefix("q=").map(str::parse::<f32>);
            matches!(weight, Some(Ok(weight)) if weight <= 0.0)
        });
        matches!(name.as_str(), "*/*" | "application/*" | SDP) && !refused
    })
}

/// What a request says about who sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Nothing.
    None,
    /// A bearer token (RFC 6750 §2.1).
    Bearer(String),
    /// Something that is no bearer token.
    Other,
}

pub(crate) fn credentials(request: &HttpRequest) -> Credentials {
    let mut values = request
        .headers
        .iter()
        .filter(|(name, _)| name == "authorization");
    let (value, more) = (values.next(), values.next());
    let Some((_, value)) = value else {
        return Credentials::None;
    };
    let bearer = value.trim().split_once(' ').filter(|(scheme, token)| {
        let token = token.trim();
        // b64token of RFC 6750.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        scheme.eq_ignore_ascii_case("bearer")
            && (1..=TOKEN_BYTES_MAX).contains(&token.len())
            && token.bytes().all(plain)
    });
    match (bearer, more) {
        (Some((_, token)), None) => Credentials::Bearer(token.trim().to_owned()),
        _ => Credentials::Other,
    }
}

/// What a client would like, by the query of its endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// WHIP: the name it wants to be shown by.
    pub(crate) name: Option<String>,
    /// WHIP: sources of its audio and of its video.
    pub(crate) sources: (Source, Source),
    /// WHEP: tracks it wants.
    pub(crate) tracks: Vec<TrackId>,
    /// WHEP: identity or id of the publisher it wants.
    pub(crate) participant: Option<String>,
}

/// Reads a query; names that mean nothing here are left to others.
///
/// # Errors
/// What is wrong with it, for people.
pub(crate) fn wishes(query: &str) -> Result<Wishes, String> {
    let mut wishes = Wishes {
        name: None,
        sources: (Source::Microphone, Source::Camera),
        tracks: Vec::new(),
        participant: None,
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.replace('+', " ");
        let value = percent_decode_str(&value)
            .decode_utf8()
            .map_err(|_| format!("`{key}` of the query is not UTF-8"))?;
        let fits = |value: &str| {
            let printable = !value.chars().any(char::is_control);
            if (1..=NAME_BYTES_MAX).contains(&value.len()) && printable {
                return Ok(Some(value.to_owned()));
            }
            Err(format!("`{key}` has 1 to {NAME_BYTES_MAX} bytes"))
        };
        match key {
            "name" => wishes.name = fits(&value)?,
            "participant" => wishes.participant = fits(&value)?,
            "source" => wishes.sources = sources(&value)?,
            "track" => {
                let id = id(&value).ok_or_else(|| format!("`{value}` is no track"))?;
                wishes.tracks.push(TrackId(id));
                if wishes.tracks.len() > TRACKS_MAX {
                    return Err(format!("at most {TRACKS_MAX} tracks: one audio, one video"));
                }
            }
            _ => {}
        }
    }
    Ok(wishes)
}

fn sources(value: &str) -> Result<(Source, Source), String> {
    match value {
        "camera" => Ok((Source::Microphone, Source::Camera)),
        "screen" => Ok((Source::ScreenAudio, Source::Screen)),
        "other" => Ok((Source::Other, Source::Other)),
        _ => Err("`source` is `camera`, `screen` or `other`".to_owned()),
    }
}

/// An id as the rooms protocol writes it: hexadecimal, one way for each.
fn id(text: &str) -> Option<u64> {
    let id = u64::from_str_radix(text, 16).ok()?;
    (format!("{id:x}") == text).then_some(id)
}

/// Whether a participant is the one a query names.
pub(crate) fn is_named(wanted: &str, participant: ParticipantId, identity: &str) -> bool {
    wanted == identity || id(wanted) == Some(participant.0)
}

/// Whether a request is for the ICE session of this entity tag (RFC 9110 §13.1.1; the strong comparison).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// Nothing is said.
    Missing,
    /// It is for another one.
    Fails,
    /// It is, or for any.
    Holds,
}

pub(crate) fn precondition(request: &HttpRequest, etag: &str) -> Precondition {
    let mut values = request
        .headers
        .iter()
        .filter(|(name, _)| name == "if-match")
        .flat_map(|(_, value)| value.split(','))
        .map(str::trim)
        .peekable();
    if values.peek().is_none() {
        return Precondition::Missing;
    }
    // Clients were seen to quote the asterisk, as the examples of RFC 9725 do.
    if values.any(|value| value == "*" || value == "\"*\"" || value == etag) {
        Precondition::Holds
    } else {
        Precondition::Fails
    }
}

/// Compares secrets in a time that says nothing about where they differ.
pub(crate) fn is_equal(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && a.bytes()
            .zip(b.bytes())
            .fold(0, |differs, (a, b)| differs | (a ^ b))
            == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> HttpRequest {
        HttpRequest {
            id: 1,
            method: "POST".into(),
            path: "/whip/r".into(),
            query: String::new(),
            headers: headers
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body: Vec::new(),
        }
    }

    #[test]
    fn paths_name_a_protocol_and_a_room() {
        let at = |protocol, room: &str| {
            Ok(Endpoint {
                protocol,
                room: room.to_owned(),
            })
        };
        use Protocol::{Whep, Whip};
        for (route, path, expected) in [
            ("/whip", "/whip/standup", at(Whip, "standup")),
            ("/whep", "/whep/standup/", at(Whep, "standup")),
            ("/whip", "/whip/a%20b%2Fc", at(Whip, "a b/c")),
            ("/whip", "/whip/resources", at(Whip, "resources")),
            ("/live/whip", "/live/whip/r", at(Whip, "r")),
            ("/live", "/live/whep/r", at(Whep, "r")),
            ("", "/whep/r", at(Whep, "r")),
            ("/whip", "/whip", Err(PathError::NotFound)),
            ("/whip", "/whip/", Err(PathError::NotFound)),
            ("/whip", "/whipper/r", Err(PathError::NotFound)),
            ("/whip", "/whip/resources/00", Err(PathError::NotFound)),
            ("/whip", "/whep/r", Err(PathError::NotFound)),
            ("/live", "/live/whop/r", Err(PathError::NotFound)),
            ("/whip", "/whip/%ff", Err(PathError::Room)),
            ("/whip", "/whip/%00", Err(PathError::Room)),
        ] {
            assert_eq!(endpoint(route, path), expected, "{path}");
        }
        let long = format!("/whip/{}", "r".repeat(NAME_BYTES_MAX + 1));
        assert_eq!(endpoint("/whip", &long), Err(PathError::Room));
    }

    #[test]
    fn media_types_are_compared_without_parameters_and_case() {
        for (value, fits) in [
            ("application/sdp", true),
            ("Application/SDP; charset=utf-8", true),
            ("application/sdpx", false),
            ("text/plain", false),
        ] {
            assert_eq!(is_of_type(&request(&[("content-type", value)]), SDP), fits);
        }
        assert!(!is_of_type(&request(&[]), SDP));
    }

    #[test]
    fn accept_is_heeded() {
        for (value, fits) in [
            ("application/sdp", true),
            ("*/*", true),
            ("text/html, application/*;q=0.5", true),
            ("application/sdp; q=0", false),
            ("application/json", false),
            ("", true),
        ] {
            let accepts = accepts_sdp(&request(&[("accept", value)]));
            assert_eq!(accepts, fits, "{value:?}");
        }
        assert!(accepts_sdp(&request(&[])));
    }

    #[test]
    fn tokens_are_bearer_tokens_or_none() {
        let bearer = |token: &str| Credentials::Bearer(token.to_owned());
        for (headers, expected) in [
            (&[][..], Credentials::None),
            (
                &[("authorization", "Bearer a.b-c_d~+/=")],
                bearer("a.b-c_d~+/="),
            ),
            (&[("authorization", "bearer  x ")], bearer("x")),
            (&[("authorization", "Basic eDp5")], Credentials::Other),
            (&[("authorization", "Bearer")], Credentials::Other),
            (&[("authorization", "Bearer a b")], Credentials::Other),
            (
                &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
                Credentials::Other,
            ),
        ] {
            assert_eq!(credentials(&request(headers)), expected, "{headers:?}");
        }
        let long = format!("Bearer {}", "x".repeat(TOKEN_BYTES_MAX + 1));
        let found = credentials(&request(&[("authorization", &long)]));
        assert_eq!(found, Credentials::Other);
    }

    #[test]
    fn queries_say_what_is_wished() {
        let found = wishes("name=Ada+L%C3%B6we&track=1f&track=2&participant=ada&jwt=x&=&").unwrap();
        assert_eq!(found.name.as_deref(), Some("Ada Löwe"));
        assert_eq!(found.tracks, [TrackId(0x1f), TrackId(2)]);
        assert_eq!(found.participant.as_deref(), Some("ada"));
        assert_eq!(found.sources, (Source::Microphone, Source::Camera));
        let screen = wishes("source=screen").unwrap().sources;
        assert_eq!(screen, (Source::ScreenAudio, Source::Screen));
        for bad in [
            "name=",
            "name=%ff",
            "source=x",
            "track=0x1",
            "track=1F",
            "track=1&track=2&track=3",
            "participant=%0a",
        ] {
            assert!(wishes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn entity_tags_are_compared_strongly() {
        use Precondition::{Fails, Holds, Missing};
        for (headers, expected) in [
            (&[][..], Missing),
            (&[("if-match", "\"a\"")], Holds),
            (&[("if-match", "\"x\", \"a\"")], Holds),
            (&[("if-match", "*")], Holds),
            (&[("if-match", "\"*\"")], Holds),
            (&[("if-match", "\"b\"")], Fails),
            (&[("if-match", "W/\"a\"")], Fails),
            (&[("if-match", "a")], Fails),
            (&[("if-match", "")], Fails),
        ] {
            assert_eq!(
                precondition(&request(headers), "\"a\""),
                expected,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn secrets_are_equal_or_not() {
        assert!(is_equal("abc", "abc") && is_equal("", ""));
        for other in ["abd", "ab", "abcd", ""] {
            assert!(!is_equal("abc", other));
        }
    }

    #[test]
    fn people_are_named_by_identity_or_id() {
        let ada = ParticipantId(0xa1);
        assert!(is_named("ada", ada, "ada") && is_named("a1", ada, "ada"));
        assert!(!is_named("A1", ada, "ada") && !is_named("grace", ada, "ada"));
    }
}

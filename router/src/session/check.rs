//! Bounds on what a signaling plugin may ask for: it is not trusted, and it passes on what clients
//! wrote.

use rillway_plugin_sdk::signaling::{Action, FailureCode, HttpResponse};
use rillway_plugin_sdk::types::Limits;

use super::auth::NAME_BYTES_MAX;
use super::connection::frame_bytes;

/// Longest answer to a request, bytes (part of the ABI).
const BODY_BYTES_MAX: usize = 1 << 20;
/// Headers of an answer (part of the ABI).
const HEADERS_MAX: usize = 64;
/// Largest frame to another client's instance, bytes (part of the ABI).
const RELAY_BYTES_MAX: usize = 128 << 10;
/// Largest frame to a client, bytes: a room of 1,000 participants with their tracks fits twice.
const FRAME_BYTES_MAX: usize = 1 << 20;
/// Longest name of a scheme, bytes.
const SCHEME_BYTES_MAX: usize = 32;
/// Largest credentials, bytes: a token with a long certificate chain.
const CREDENTIALS_BYTES_MAX: usize = 16 << 10;
/// Longest `candidate:` line, bytes; a real one is below 200.
const CANDIDATE_BYTES_MAX: usize = 1 << 10;
/// Longest `a=mid`, bytes; browsers use one to three.
const MID_BYTES_MAX: usize = 64;
/// Sections of an offer whose source may be named.
const SOURCES_MAX: usize = 256;
/// Longest label of a data message, bytes.
const LABEL_BYTES_MAX: usize = 128;
/// Receivers of a data message that may be named.
const RECEIVERS_MAX: usize = 1_000;

/// Why a command is refused before anything is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: FailureCode,
    pub(super) message: &'static str,
}

const fn too_long(message: &'static str) -> Refusal {
    Refusal {
        code: FailureCode::LimitExceeded,
        message,
    }
}

const fn invalid(message: &'static str) -> Refusal {
    Refusal {
        code: FailureCode::Invalid,
        message,
    }
}

/// Checks sizes and forms; state is the session's business, and existence the core's.
///
/// # Errors
/// [`Refusal`].
pub(super) fn check(action: &Action, limits: &Limits) -> Result<(), Refusal> {
    let sdp_fits = |sdp: &str| sdp.len() <= limits.sdp_bytes as usize;
    match action {
        Action::Send(frame) => need(
            frame_bytes(frame) <= FRAME_BYTES_MAX,
            too_long("the frame is above 1 MiB"),
        ),
        Action::SendTo(_, frame) => need(
            frame_bytes(frame) <= RELAY_BYTES_MAX,
            too_long("the frame is above 128 KiB"),
        ),
        Action::Respond(response) => check_response(response),
        Action::Authenticate {
            scheme,
            credentials,
            room,
            name,
        } => check_credentials(scheme, credentials, room.as_deref(), name.as_deref()),
        Action::AcceptOffer { sdp, sources } => {
            need(sdp_fits(sdp), too_long("the SDP is too long"))?;
            need(
                sources.len() <= SOURCES_MAX,
                too_long("too many sections are named"),
            )?;
            need(
                sources.iter().all(|s| s.mid.len() <= MID_BYTES_MAX),
                invalid("a mid has at most 64 bytes"),
            )
        }
        Action::AcceptAnswer { sdp, .. } | Action::AcceptReceivingOffer { sdp } => {
            need(sdp_fits(sdp), too_long("the SDP is too long"))
        }
        Action::AddCandidate(_, line) => need(
            line.len() <= CANDIDATE_BYTES_MAX,
            too_long("the candidate is above 1 KiB"),
        ),
        Action::SendData { to, label, payload } => {
            need(
                payload.len() <= limits.data_message_bytes as usize,
                too_long("the data message is too long"),
            )?;
            need(
                label.len() <= LABEL_BYTES_MAX,
                too_long("the label is above 128 bytes"),
            )?;
            need(
                to.len() <= RECEIVERS_MAX,
                too_long("more than 1,000 receivers are named"),
            )
        }
        _ => Ok(()),
    }
}

fn check_credentials(
    scheme: &str,
    credentials: &[u8],
    room: Option<&str>,
    name: Option<&str>,
) -> Result<(), Refusal> {
    need(
        (1..=SCHEME_BYTES_MAX).contains(&scheme.len()),
        invalid("a scheme has 1 to 32 bytes"),
    )?;
    need(
        credentials.len() <= CREDENTIALS_BYTES_MAX,
        too_long("the credentials are above 16 KiB"),
    )?;
    need(
        room.is_none_or(|room| (1..=NAME_BYTES_MAX).contains(&room.len())),
        invalid("a room's name has 1 to 128 bytes"),
    )?;
    need(
        name.is_none_or(|name| name.len() <= NAME_BYTES_MAX),
        invalid("a name has at most 128 bytes"),
    )
}

fn need(holds: bool, refusal: Refusal) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(refusal) }
}

fn check_response(response: &HttpResponse) -> Result<(), Refusal> {
    need(
        (200..=599).contains(&response.status),
        invalid("a status is 200 to 599"),
    )?;
    need(
        response.headers.len() <= HEADERS_MAX,
        too_long("a response has more than 64 headers"),
    )?;
    need(
        response.body.len() <= BODY_BYTES_MAX,
        too_long("the body of a response is above 1 MiB"),
    )
}

/// Whether a plugin may close a connection with this code (RFC 6455 §7.4.2; 1005, 1006 and 1015
/// must not be sent, and the rest below 3000 is not ours to give).
pub(super) fn is_close_code(code: u16) -> bool {
    matches!(
        code,
        1000 | 1001 | 1003 | 1007 | 1008 | 1009 | 1011 | 1013 | 3000..=4999
    )
}

#[cfg(test)]
mod tests {
    use rillway_plugin_sdk::signaling::{Frame, PublishedSource};
    use rillway_plugin_sdk::types::{Direction, ParticipantId, Source};

    use super::*;

    const LIMITS: Limits = Limits {
        data_message_bytes: 100,
        data_bytes_per_second: 1_000,
        sdp_bytes: 1_000,
        tracks_per_participant: 4,
        subscriptions_per_participant: 4,
    };

    fn refused(action: &Action) -> Option<FailureCode> {
        check(action, &LIMITS).err().map(|r| r.code)
    }

    fn authenticate(scheme: &str, credentials: usize, room: usize, name: usize) -> Action {
        Action::Authenticate {
            scheme: scheme.into(),
            credentials: vec![0; credentials],
            room: Some("r".repeat(room)),
            name: Some("n".repeat(name)),
        }
    }

    #[test]
    fn what_fits_passes() {
        let offer = Action::AcceptOffer {
            sdp: "x".repeat(1_000),
            sources: vec![PublishedSource {
                mid: "0".into(),
                source: Source::Camera,
            }],
        };
        let data = Action::SendData {
            to: vec![ParticipantId(1)],
            label: "chat".into(),
            payload: vec![0; 100],
        };
        for action in [
            Action::Send(Frame::Text("x".repeat(FRAME_BYTES_MAX))),
            authenticate("none", 0, 1, 0),
            authenticate("token", CREDENTIALS_BYTES_MAX, 128, 128),
            offer,
            data,
            Action::AddCandidate(Direction::Publish, String::new()),
            Action::Join,
        ] {
            assert_eq!(refused(&action), None);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_a_stable_code() {
        use FailureCode::{Invalid, LimitExceeded};
        let source = |mid: &str| PublishedSource {
            mid: mid.into(),
            source: Source::Camera,
        };
        let offer = |sdp: usize, sources| Action::AcceptOffer {
            sdp: "x".repeat(sdp),
            sources,
        };
        let data = |to: usize, label: usize, payload: usize| Action::SendData {
            to: vec![ParticipantId(1); to],
            label: "l".repeat(label),
            payload: vec![0; payload],
        };
        let frame = Frame::Binary(vec![0; FRAME_BYTES_MAX + 1]);
        let answer = Action::AcceptAnswer {
            offer_id: 1,
            sdp: "x".repeat(1_001),
        };
        for (action, code) in [
            (Action::Send(frame), LimitExceeded),
            (authenticate(&"s".repeat(33), 0, 1, 0), Invalid),
            (authenticate("token", 16_385, 1, 0), LimitExceeded),
            (authenticate("none", 0, 0, 0), Invalid),
            (authenticate("none", 0, 129, 0), Invalid),
            (authenticate("none", 0, 1, 129), Invalid),
            (offer(1_001, vec![]), LimitExceeded),
            (offer(1, vec![source("0"); 257]), LimitExceeded),
            (offer(1, vec![source(&"m".repeat(65))]), Invalid),
            (answer, LimitExceeded),
            (
                Action::AddCandidate(Direction::Subscribe, "c".repeat(1_025)),
                LimitExceeded,
            ),
            (data(1, 1, 101), LimitExceeded),
            (data(1, 129, 1), LimitExceeded),
            (data(1_001, 1, 1), LimitExceeded),
        ] {
            assert_eq!(refused(&action), Some(code));
        }
    }

    #[test]
    fn responses_and_relayed_frames_have_their_bounds() {
        use FailureCode::{Invalid, LimitExceeded};
        let response = |status, headers, body| {
            Action::Respond(HttpResponse {
                id: 1,
                status,
                headers: vec![("a".into(), "b".into()); headers],
                body: vec![0; body],
            })
        };
        let relay = |bytes| Action::SendTo(ParticipantId(1), Frame::Text("x".repeat(bytes)));
        for (action, expected) in [
            (response(200, 64, 1 << 20), None),
            (response(599, 0, 0), None),
            (response(199, 0, 0), Some(Invalid)),
            (response(101, 0, 0), Some(Invalid)),
            (response(600, 0, 0), Some(Invalid)),
            (response(200, 65, 0), Some(LimitExceeded)),
            (response(200, 0, (1 << 20) + 1), Some(LimitExceeded)),
            (relay(128 << 10), None),
            (relay((128 << 10) + 1), Some(LimitExceeded)),
        ] {
            assert_eq!(refused(&action), expected);
        }
    }

    #[test]
    fn close_codes_that_must_not_be_sent_are_not() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, u16::MAX] {
            assert!(!is_close_code(code), "{code}");
        }
        for code in [1000, 1001, 1011, 3000, 4001, 4999] {
            assert!(is_close_code(code), "{code}");
        }
    }
}

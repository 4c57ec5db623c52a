//! What must be known of an SDP before the engine sees it, and what must be changed in one.
//!
//! The engine applies a description step by step, so that one refused half-way leaves it changed. What
//! can be refused is refused here, before. Texts are rewritten where the engine has no setting:
//! - candidates of clients are left out: an ICE-lite agent learns addresses from authenticated checks
//!   only, and names (`.local`) mean nothing to it;
//! - every section gets the ICE credentials of the BUNDLE's first, which is the one that counts;
//! - clients' `sendrecv` becomes `sendonly`, `recvonly` becomes `inactive`: a publishing transport
//!   never sends media; where the client offers to receive it is the other way round;
//! - outgoing ICE credentials are replaced by ours (the engine's own come from a weak generator), and
//!   `msid` by what a section carries now (the engine fixes it for the section's lifetime);
//! - an answer keeps the client's order of codecs, and an offer names only the codec its track uses.

use std::borrow::Cow;

use str0m::IceCreds;

use crate::api::{Direction, RequestError};
use crate::limits::{CANDIDATES_PER_SECTION, LAYERS_PER_TRACK, SDP_LINE_BYTES};

/// Why a description was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SdpError {
    /// A bound was met.
    #[error("{what}: at most {most}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// Something required is not there.
    #[error("missing {0}")]
    Missing(&'static str),
    /// Something is there that cannot be.
    #[error("{0}")]
    Unacceptable(String),
}

impl From<SdpError> for RequestError {
    fn from(error: SdpError) -> Self {
        match error {
            SdpError::Limit { .. } => RequestError::Limit(format!("SDP: {error}")),
            _ => RequestError::Invalid(format!("SDP: {error}")),
        }
    }
}

/// What a section is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SectionKind {
    Audio,
    Video,
    Application,
}

/// Direction attribute (RFC 8866 §6.7), from the author's point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SdpDirection {
    SendReceive,
    SendOnly,
    ReceiveOnly,
    Inactive,
}

/// One m-line and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) kind: SectionKind,
    pub(crate) mid: String,
    /// Port 0 and not in the BUNDLE group (RFC 9143 §7.2.1).
    pub(crate) rejected: bool,
    pub(crate) direction: SdpDirection,
    /// Rids the author sends, in the order of `a=simulcast` (RFC 8853 §5.1).
    pub(crate) simulcast: Vec<String>,
    /// In the author's order of preference.
    pub(crate) payload_types: Vec<u8>,
}

impl Section {
    /// Whether its author sends audio or video in it.
    pub(crate) fn sends(&self) -> bool {
        !self.rejected
            && self.kind != SectionKind::Application
            && matches!(
                self.direction,
                SdpDirection::SendReceive | SdpDirection::SendOnly
            )
    }

    /// Whether its author receives audio or video in it.
    pub(crate) fn receives(&self) -> bool {
        !self.rejected
            && self.kind != SectionKind::Application
            && matches!(
                self.direction,
                SdpDirection::SendReceive | SdpDirection::ReceiveOnly
            )
    }

    /// The line that says of its direction what a transport of this direction makes of it.
    fn direction_line(&self, transport: Direction) -> &'static str {
        match transport {
            Direction::Publish if self.sends() => "a=sendonly",
            Direction::Subscribe if self.receives() => "a=recvonly",
            _ => "a=inactive",
        }
    }
}

/// A description, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Description {
    /// `sess-id` of the o-line: the same for as long as its author's connection object lives.
    pub(crate) session: String,
    pub(crate) ufrag: String,
    pub(crate) password: String,
    pub(crate) sections: Vec<Section>,
}

impl Description {
    /// What the checks of its author are made with.
    pub(crate) fn credentials(&self) -> IceCreds {
        IceCreds {
            ufrag: self.ufrag.clone(),
            pass: self.password.clone(),
        }
    }
}

/// Bounds of a description.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SdpBounds {
    pub(crate) bytes: usize,
    pub(crate) sections: usize,
}

#[derive(Default)]
struct Scan<'a> {
    session: Option<&'a str>,
    bundle: Vec<&'a str>,
    ice: Ice<'a>,
    fingerprint: bool,
    /// Of sections that name none (RFC 8866 §6.7).
    direction: Option<SdpDirection>,
    sections: Vec<Draft<'a>>,
}

/// Credentials of the session or of a section.
#[derive(Default, Clone, Copy)]
struct Ice<'a> {
    ufrag: Option<&'a str>,
    password: Option<&'a str>,
}

impl<'a> Ice<'a> {
    fn both(self) -> Option<(&'a str, &'a str)> {
        Some((self.ufrag?, self.password?))
    }
}

struct Draft<'a> {
    kind: SectionKind,
    port_zero: bool,
    mid: Option<&'a str>,
    ice: Ice<'a>,
    direction: Option<SdpDirection>,
    simulcast: Vec<String>,
    payload_types: Vec<u8>,
    candidates: usize,
}

/// Reads a description and refuses what must not reach the engine.
pub(crate) fn scan(text: &str, bounds: SdpBounds) -> Result<Description, SdpError> {
    if text.len() > bounds.bytes {
        return Err(SdpError::Limit {
            what: "bytes",
            most: bounds.bytes,
        });
    }
    let mut scan = Scan::default();
    for line in text.lines() {
        if line.len() > SDP_LINE_BYTES {
            return Err(SdpError::Limit {
                what: "bytes in a line",
                most: SDP_LINE_BYTES,
            });
        }
        match line.split_once('=') {
            Some(("o", origin)) => scan.session = origin.split_ascii_whitespace().nth(1),
            Some(("m", media)) => {
                if scan.sections.len() >= bounds.sections {
                    return Err(SdpError::Limit {
                        what: "sections",
                        most: bounds.sections,
                    });
                }
                scan.sections.push(media_line(media)?);
            }
            Some(("a", attribute)) => scan.attribute(attribute)?,
            _ => {}
        }
    }
    scan.finish()
}

fn media_line<'a>(media: &str) -> Result<Draft<'a>, SdpError> {
    let mut words = media.split_ascii_whitespace();
    let kind = match words.next() {
        Some("audio") => SectionKind::Audio,
        Some("video") => SectionKind::Video,
        Some("application") => SectionKind::Application,
        other => {
            let other = other.unwrap_or_default();
            return Err(SdpError::Unacceptable(format!("unknown media {other:?}")));
        }
    };
    let port_zero = words.next() == Some("0");
    // Media in the clear or with keys in the SDP (RFC 4568) is never accepted.
    let protocol = words.next().unwrap_or_default();
    let fits = match kind {
        SectionKind::Application => matches!(protocol, "UDP/DTLS/SCTP" | "DTLS/SCTP"),
        _ => protocol == "UDP/TLS/RTP/SAVPF",
    };
    if !fits {
        return Err(SdpError::Unacceptable(format!(
            "protocol {protocol:?}: only DTLS-protected media over UDP"
        )));
    }
    Ok(Draft {
        kind,
        port_zero,
        mid: None,
        ice: Ice::default(),
        direction: None,
        simulcast: Vec::new(),
        payload_types: words.filter_map(|word| word.parse().ok()).collect(),
        candidates: 0,
    })
}

impl<'a> Scan<'a> {
    fn attribute(&mut self, attribute: &'a str) -> Result<(), SdpError> {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name {
            "group" => {
                if let Some(mids) = value.strip_prefix("BUNDLE") {
                    self.bundle = mids.split_ascii_whitespace().collect();
                }
            }
            "ice-lite" => {
                return Err(SdpError::Unacceptable(
                    "ice-lite: the router is ICE-lite itself".into(),
                ));
            }
            "crypto" => {
                return Err(SdpError::Unacceptable("keys in the SDP (a=crypto)".into()));
            }
            "ice-ufrag" => self.ice().ufrag = Some(value),
            "ice-pwd" => self.ice().password = Some(value),
            "fingerprint" => self.fingerprint |= fingerprint(value)?,
            _ => match self.sections.last_mut() {
                Some(section) => section.attribute(name, value)?,
                None => self.direction = direction(name).or(self.direction),
            },
        }
        Ok(())
    }

    /// The level the present line is at.
    fn ice(&mut self) -> &mut Ice<'a> {
        match self.sections.last_mut() {
            Some(section) => &mut section.ice,
            None => &mut self.ice,
        }
    }

    /// Those of the transport that the whole BUNDLE uses: of its first section (RFC 9143 §7.1). Some
    /// clients give the others credentials of their own, for peers that do not know BUNDLE.
    fn bundle_ice(&self) -> Result<(&'a str, &'a str), SdpError> {
        let first = self.bundle.first();
        let tagged = self.sections.iter().find(|s| s.mid.as_ref() == first);
        tagged
            .and_then(|section| section.ice.both())
            .or_else(|| self.ice.both())
            .or_else(|| self.sections.iter().find_map(|section| section.ice.both()))
            .ok_or(SdpError::Missing("a=ice-ufrag and a=ice-pwd"))
    }

    fn finish(self) -> Result<Description, SdpError> {
        let (ufrag, password) = self.bundle_ice()?;
        if !self.fingerprint {
            return Err(SdpError::Missing("a=fingerprint with sha-256"));
        }
        if self.sections.is_empty() {
            return Err(SdpError::Missing("m-lines"));
        }
        let bundle = &self.bundle;
        let default = self.direction.unwrap_or(SdpDirection::SendReceive);
        let alone = self.sections.len() == 1;
        let mut sections: Vec<Section> = Vec::with_capacity(self.sections.len());
        for draft in self.sections {
            let mid = draft.mid.ok_or(SdpError::Missing("a=mid"))?;
            if sections.iter().any(|section| section.mid == mid) {
                return Err(SdpError::Unacceptable(format!("mid {mid:?} twice")));
            }
            // A lone section needs no group to share a transport with nobody.
            let bundled = bundle.contains(&mid) || (alone && !draft.port_zero);
            let rejected = draft.port_zero && !bundled;
            if !rejected && !bundled {
                return Err(SdpError::Unacceptable(format!(
                    "mid {mid:?} is not in the BUNDLE group"
                )));
            }
            sections.push(Section {
                kind: draft.kind,
                mid: mid.to_owned(),
                rejected,
                direction: draft.direction.unwrap_or(default),
                simulcast: draft.simulcast,
                payload_types: draft.payload_types,
            });
        }
        Ok(Description {
            session: self.session.unwrap_or_default().to_owned(),
            ufrag: ufrag.to_owned(),
            password: password.to_owned(),
            sections,
        })
    }
}

impl<'a> Draft<'a> {
    fn attribute(&mut self, name: &str, value: &'a str) -> Result<(), SdpError> {
        match name {
            "mid" => {
                if !is_token(value, 16) {
                    return Err(SdpError::Unacceptable(format!(
                        "mid {value:?}: 1 to 16 letters and digits"
                    )));
                }
                self.mid = Some(value);
            }
            "candidate" => {
                self.candidates += 1;
                if self.candidates > CANDIDATES_PER_SECTION {
                    return Err(SdpError::Limit {
                        what: "candidates in a section",
                        most: CANDIDATES_PER_SECTION,
                    });
                }
            }
            "simulcast" => self.simulcast = simulcast_send(value)?,
            _ => {
                self.direction = direction(name).or(self.direction);
            }
        }
        Ok(())
    }
}

fn direction(name: &str) -> Option<SdpDirection> {
    match name {
        "sendrecv" => Some(SdpDirection::SendReceive),
        "sendonly" => Some(SdpDirection::SendOnly),
        "recvonly" => Some(SdpDirection::ReceiveOnly),
        "inactive" => Some(SdpDirection::Inactive),
        _ => None,
    }
}

/// Whether this fingerprint (RFC 8122 §5) is one we verify. A longer hash beside it does no harm.
fn fingerprint(value: &str) -> Result<bool, SdpError> {
    let (hash, bytes) = value
        .split_once(' ')
        .ok_or(SdpError::Missing("value of a=fingerprint"))?;
    if !hash.eq_ignore_ascii_case("sha-256") {
        return Err(SdpError::Unacceptable(format!(
            "fingerprint {hash:?}: sha-256 is required"
        )));
    }
    let octets = bytes.trim().split(':').count();
    if octets != 32 {
        return Err(SdpError::Unacceptable(
            "fingerprint of a wrong length".into(),
        ));
    }
    Ok(true)
}

/// The send list of `a=simulcast` (RFC 8853 §5.1); of alternatives the first.
fn simulcast_send(value: &str) -> Result<Vec<String>, SdpError> {
    let mut words = value.split_ascii_whitespace();
    while let Some(word) = words.next() {
        let list = words.next().unwrap_or_default();
        if word != "send" {
            continue;
        }
        let mut rids = Vec::new();
        for alternatives in list.split(';') {
            let first = alternatives.split(',').next().unwrap_or_default();
            let rid = first.trim_start_matches('~');
            if !is_token(rid, 8) {
                return Err(SdpError::Unacceptable(format!(
                    "rid {rid:?}: 1 to 8 letters and digits"
                )));
            }
            rids.push(rid.to_owned());
        }
        if rids.len() > LAYERS_PER_TRACK {
            return Err(SdpError::Limit {
                what: "simulcast layers",
                most: LAYERS_PER_TRACK,
            });
        }
        return Ok(rids);
    }
    Ok(Vec::new())
}

/// What the engine keeps unchanged: it maps anything else to an underscore and cuts the rest.
fn is_token(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A client's offer as the engine shall see it, on a transport of this direction.
pub(crate) fn import_offer(text: &str, description: &Description, transport: Direction) -> String {
    let mut out = String::with_capacity(text.len());
    let mut sections = description.sections.iter();
    // The direction of the section we are in, until it is written: before its other attributes.
    let mut pending = None;
    let mut media = false;
    for line in text.lines() {
        if line.starts_with("m=") {
            let section = sections.next();
            media = section.is_some_and(|section| section.kind != SectionKind::Application);
            pending = section
                .filter(|_| media)
                .map(|section| section.direction_line(transport));
        }
        let attribute = line.strip_prefix("a=");
        if attribute.is_some()
            && let Some(direction) = pending.take()
        {
            push(&mut out, direction);
        }
        // As it was scanned: by the name, whatever comes after it.
        let name = attribute.and_then(|attribute| attribute.split(':').next());
        if !media || name.and_then(direction).is_none() {
            import_line(&mut out, line, description);
        }
    }
    out
}

/// An answer as the engine shall see it.
pub(crate) fn import_answer(text: &str, description: &Description) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        import_line(&mut out, line, description);
    }
    out
}

fn import_line(out: &mut String, line: &str, description: &Description) {
    if line.starts_with("a=ice-ufrag:") {
        push(out, &format!("a=ice-ufrag:{}", description.ufrag));
    } else if line.starts_with("a=ice-pwd:") {
        push(out, &format!("a=ice-pwd:{}", description.password));
    } else if !is_candidate(line) {
        push(out, line);
    }
}

fn is_candidate(line: &str) -> bool {
    line.starts_with("a=candidate:") || line.starts_with("a=end-of-candidates")
}

fn push(out: &mut String, line: &str) {
    out.push_str(line);
    out.push_str("\r\n");
}

/// What is changed in one section of a description on its way out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SectionExport {
    /// Stream and track it carries.
    pub(crate) msid: Option<(String, String)>,
    /// Payload types to keep; the others are left out, to keep descriptions of large rooms small.
    pub(crate) keep: Option<Vec<u8>>,
    /// Payload types in the order of preference; those not named come last.
    pub(crate) prefer: Vec<u8>,
    /// Bits per second the client may send in it.
    pub(crate) most_bps: Option<u64>,
}

/// A description of the engine's as the client shall see it: with our credentials, and what `section`
/// says for each mid.
pub(crate) fn export(
    text: &str,
    creds: &IceCreds,
    section: &dyn Fn(&str) -> SectionExport,
) -> String {
    let mut out = String::with_capacity(text.len() + 256);
    let lines: Vec<&str> = text.lines().collect();
    let is_start = |line: &&str| line.starts_with("m=");
    let mut rest = lines.as_slice();
    while !rest.is_empty() {
        let skip = usize::from(rest.first().is_some_and(is_start));
        let length = rest.iter().skip(skip).position(is_start);
        let (part, after) = rest.split_at(length.map_or(rest.len(), |length| length + skip));
        let mid = part.iter().find_map(|line| line.strip_prefix("a=mid:"));
        let change = mid.map(section).unwrap_or_default();
        for line in part {
            export_line(&mut out, line, creds, &change);
        }
        rest = after;
    }
    out
}

fn export_line(out: &mut String, line: &str, creds: &IceCreds, change: &SectionExport) {
    if let Some(of) = payload_type_of(line)
        && change.keep.as_ref().is_some_and(|keep| !keep.contains(&of))
    {
        return;
    }
    if line.starts_with("m=") {
        return push(out, &media_line_with(line, change));
    }
    push(out, &replaced(line, creds, change));
    // b= follows c= (RFC 8866 §5); TIAS (RFC 3890) is what all browsers read.
    if line.starts_with("c=")
        && let Some(bps) = change.most_bps
    {
        push(out, &format!("b=TIAS:{bps}"));
    }
}

/// The payload type an attribute is about.
fn payload_type_of(line: &str) -> Option<u8> {
    let names = ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"];
    let value = names.iter().find_map(|name| line.strip_prefix(name))?;
    value.split(' ').next()?.parse().ok()
}

fn media_line_with(line: &str, change: &SectionExport) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    if words.len() <= 3 || line.starts_with("m=application") {
        return line.to_owned();
    }
    let mut formats = words.split_off(3);
    let number = |word: &str| word.parse::<u8>().ok();
    if let Some(keep) = &change.keep {
        formats.retain(|word| number(word).is_none_or(|of| keep.contains(&of)));
    }
    let rank = |word: &&str| {
        let of = number(word);
        let preferred = change.prefer.iter().position(|known| Some(*known) == of);
        preferred.unwrap_or(usize::MAX)
    };
    formats.sort_by_key(rank);
    words.append(&mut formats);
    words.join(" ")
}

fn replaced<'a>(line: &'a str, creds: &IceCreds, change: &SectionExport) -> Cow<'a, str> {
    if line.starts_with("a=ice-ufrag:") {
        return format!("a=ice-ufrag:{}", creds.ufrag).into();
    }
    if line.starts_with("a=ice-pwd:") {
        return format!("a=ice-pwd:{}", creds.pass).into();
    }
    if line.starts_with("a=candidate:")
        && let Some((before, _)) = line.split_once(" ufrag ")
    {
        return format!("{before} ufrag {}", creds.ufrag).into();
    }
    if line.starts_with("a=msid-semantic:") {
        return "a=msid-semantic: WMS *".into();
    }
    let Some((stream, track)) = &change.msid else {
        return line.into();
    };
    if line.starts_with("a=msid:") {
        return format!("a=msid:{stream} {track}").into();
    }
    if line.starts_with("a=ssrc:")
        && let Some((ssrc, _)) = line.split_once(" msid:")
    {
        return format!("{ssrc} msid:{stream} {track}").into();
    }
    line.into()
}

#[cfg(test)]
#[path = "sdp_tests.rs"]
mod tests;

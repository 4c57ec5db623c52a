//! What has to be known of session descriptions here. Whether one is right is the router's to say; it reads
//! all of it.

use crate::limits::{CANDIDATES_MAX, SECTIONS_MAX};
use crate::request::Protocol;

/// Audio, video, or something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Audio,
    Video,
    Other,
}

/// An m-line and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) kind: Kind,
    pub(crate) mid: String,
    /// The author sends in it.
    sends: bool,
    /// The author receives in it.
    receives: bool,
}

/// Why an offer is none that can be answered here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OfferError {
    /// It is no session description.
    Malformed(&'static str),
    /// It asks for what the protocol does not have.
    Unacceptable(String),
}

/// A client's offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    text: String,
    pub(crate) sections: Vec<Section>,
    /// ICE credentials that count: the first there are.
    pub(crate) ice: Ice,
}

/// ICE credentials (RFC 8839 §5.4).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ice {
    pub(crate) ufrag: String,
    pub(crate) password: String,
}

impl Offer {
    /// Reads an offer.
    ///
    /// # Errors
    /// [`OfferError`].
    pub(crate) fn read(body: &[u8], protocol: Protocol) -> Result<Self, OfferError> {
        let text = std::str::from_utf8(body).map_err(|_| OfferError::Malformed("not UTF-8"))?;
        if text.lines().next().map(str::trim_end) != Some("v=0") {
            return Err(OfferError::Malformed("it does not begin with v=0"));
        }
        let sections = sections(text)?;
        let ice = first_ice(text).ok_or(OfferError::Malformed("no a=ice-ufrag and a=ice-pwd"))?;
        let offer = Offer {
            text: text.to_owned(),
            sections,
            ice,
        };
        offer.check(protocol)?;
        Ok(offer)
    }

    /// What RFC 9725 §4.2 and §4.4, and draft-ietf-wish-whep-04, demand of an offer.
    fn check(&self, protocol: Protocol) -> Result<(), OfferError> {
        let refuse = |text: String| Err(OfferError::Unacceptable(text));
        for section in self.media() {
            let (fits, wanted) = match protocol {
                Protocol::Whip => (section.sends, "sendonly or sendrecv"),
                Protocol::Whep => (section.receives, "recvonly or sendrecv"),
            };
            if !fits {
                let mid = &section.mid;
                return refuse(format!("section {mid}: the direction has to be {wanted}"));
            }
        }
        for kind in [Kind::Audio, Kind::Video] {
            if self.media().filter(|s| s.kind == kind).count() > 1 {
                return refuse("at most one section of audio and one of video".to_owned());
            }
        }
        if self.media().next().is_none() {
            return refuse("neither audio nor video is offered".to_owned());
        }
        let setup = |wanted: &str| {
            let mut lines = self.text.lines();
            lines.any(|line| line.trim_end().strip_prefix("a=setup:") == Some(wanted))
        };
        if setup("passive") || setup("holdconn") {
            return refuse("a=setup has to be actpass or active: the router accepts".to_owned());
        }
        Ok(())
    }

    /// Sections of audio and video.
    pub(crate) fn media(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(|s| s.kind != Kind::Other)
    }

    /// Whether there is a section of this kind.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.sections.iter().any(|section| section.kind == kind)
    }

    /// The offer as it came.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The same offer with other ICE credentials and without candidates (RFC 9725 §4.3.3: everything else
    /// stays).
    pub(crate) fn restarted(&self, ice: &Ice) -> Offer {
        let mut text = String::with_capacity(self.text.len() + 64);
        for line in self.text.lines().map(str::trim_end) {
            if line.starts_with("a=ice-ufrag:") {
                text.push_str("a=ice-ufrag:");
                text.push_str(&ice.ufrag);
            } else if line.starts_with("a=ice-pwd:") {
                text.push_str("a=ice-pwd:");
                text.push_str(&ice.password);
            } else if line.starts_with("a=candidate:") || line == "a=end-of-candidates" {
                continue;
            } else {
                text.push_str(line);
            }
            text.push_str("\r\n");
        }
        Offer {
            text,
            sections: self.sections.clone(),
            ice: ice.clone(),
        }
    }
}

fn sections(text: &str) -> Result<Vec<Section>, OfferError> {
    let mut sections: Vec<Section> = Vec::new();
    // Of sections that name none (RFC 8866 §6.7).
    let mut default = (true, true);
    for line in text.lines().map(str::trim_end) {
        if let Some(media) = line.strip_prefix("m=") {
            if sections.len() >= SECTIONS_MAX {
                let text = format!("more than {SECTIONS_MAX} sections");
                return Err(OfferError::Unacceptable(text));
            }
            let kind = match media.split(' ').next() {
                Some("audio") => Kind::Audio,
                Some("video") => Kind::Video,
                _ => Kind::Other,
            };
            sections.push(Section {
                kind,
                mid: String::new(),
                sends: default.0,
                receives: default.1,
            });
            continue;
        }
        let Some(attribute) = line.strip_prefix("a=") else {
            continue;
        };
        let direction = match attribute {
            "sendrecv" => Some((true, true)),
            "sendonly" => Some((true, false)),
            "recvonly" => Some((false, true)),
            "inactive" => Some((false, false)),
            _ => None,
        };
        match (sections.last_mut(), direction) {
            (Some(section), Some((sends, receives))) => {
                (section.sends, section.receives) = (sends, receives);
            }
            (None, Some(direction)) => default = direction,
            (Some(section), None) => {
                if let Some(mid) = attribute.strip_prefix("mid:") {
                    section.mid = mid.to_owned();
                }
            }
            (None, None) => {}
        }
    }
    if sections.is_empty() {
        return Err(OfferError::Malformed("no section (m=)"));
    }
    if sections.iter().any(|section| section.mid.is_empty()) {
        return Err(OfferError::Malformed("a section has no a=mid"));
    }
    Ok(sections)
}

fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim_end);
    lines.find_map(|line| {
        line.strip_prefix("a=")?
            .strip_prefix(name)?
            .strip_prefix(':')
    })
}

fn first_ice(text: &str) -> Option<Ice> {
    Some(Ice {
        ufrag: value(text, "ice-ufrag")?.to_owned(),
        password: value(text, "ice-pwd")?.to_owned(),
    })
}

/// The router's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer<'a>(pub(crate) &'a str);

impl Answer<'_> {
    /// As the client shall see it: RFC 9725 §4.4.1 wants `rtcp-mux-only` (RFC 8858) in every section.
    pub(crate) fn text(&self) -> String {
        let mut out = String::with_capacity(self.0.len() + 64);
        for line in self.0.lines() {
            out.push_str(line);
            out.push_str("\r\n");
            if line == "a=rtcp-mux" {
                out.push_str("a=rtcp-mux-only\r\n");
            }
        }
        out
    }

    /// Whether a section was refused (RFC 9725 §4.4.3 wants none to be).
    pub(crate) fn is_partial(&self) -> bool {
        let mut sections = self.0.lines().filter_map(|line| line.strip_prefix("m="));
        sections.any(|media| media.split(' ').nth(1) == Some("0"))
    }

    /// Names the ICE session: a strong entity tag. Every restart makes another ufrag.
    pub(crate) fn etag(&self) -> String {
        // ice-char is a part of what an entity tag may hold (RFC 8839 §5.4, RFC 9110 §8.8.3).
        format!("\"{}\"", value(self.0, "ice-ufrag").unwrap_or_default())
    }

    /// What the client has to know after an ICE restart (RFC 8840 §4.4).
    pub(crate) fn fragment(&self) -> String {
        let mut out = String::new();
        let mut push = |line: &str| {
            out.push_str(line);
            out.push_str("\r\n");
        };
        let head = self.0.split("\r\nm=").next().unwrap_or_default();
        for line in head.lines() {
            if matches!(line, "a=ice-lite") || is_any(line, &["a=group:", "a=ice-options:"]) {
                push(line);
            }
        }
        let section = self.0.split("\r\nm=").nth(1).unwrap_or_default();
        for (index, line) in section.lines().enumerate() {
            let wanted = ["a=mid:", "a=ice-", "a=candidate:"];
            if index == 0 {
                push(&format!("m={line}"));
            } else if is_any(line, &wanted) {
                push(line);
            }
        }
        push("a=end-of-candidates");
        out
    }
}

fn is_any(line: &str, starts: &[&str]) -> bool {
    starts.iter().any(|start| line.starts_with(start))
}

/// A client's fragment (RFC 8840 §9.2): trickled candidates, or new credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fragment {
    /// `None`: those in force are meant.
    pub(crate) ice: Option<Ice>,
    /// `candidate:` lines.
    pub(crate) candidates: Vec<String>,
}

impl Fragment {
    /// Reads a fragment.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(crate) fn read(body: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(body).map_err(|_| "the fragment is not UTF-8")?;
        let mut candidates = Vec::new();
        let mut lines = 0;
        for line in text.lines().map(str::trim_end).filter(|l| !l.is_empty()) {
            lines += 1;
            let known = matches!(line.as_bytes(), [b'a' | b'm' | b'c' | b'b', b'=', ..]);
            if !known {
                return Err("a line of the fragment is neither a= nor m=");
            }
            if let Some(candidate) = line.strip_prefix("a=")
                && candidate.starts_with("candidate:")
            {
                candidates.push(candidate.to_owned());
            }
        }
        if lines == 0 {
            return Err("the fragment is empty");
        }
        if candidates.len() > CANDIDATES_MAX {
            return Err("too many candidates in one fragment");
        }
        let is_token = |text: &str, least: usize| {
            let ice_char = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
            (least..=256).contains(&text.len()) && text.bytes().all(ice_char)
        };
        let ice = match (value(text, "ice-ufrag"), value(text, "ice-pwd")) {
            (Some(ufrag), Some(password)) => {
                if !is_token(ufrag, 4) || !is_token(password, 22) {
                    return Err("ICE credentials that are none (RFC 8839 §5.4)");
                }
                Some(Ice {
                    ufrag: ufrag.to_owned(),
                    password: password.to_owned(),
                })
            }
            (None, None) => None,
            _ => return Err("a=ice-ufrag and a=ice-pwd belong together"),
        };
        Ok(Fragment { ice, candidates })
    }
}

#[cfg(test)]
#[path = "sdp_tests.rs"]
mod tests;

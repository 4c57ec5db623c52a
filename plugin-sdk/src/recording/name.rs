//! Names of files, by a pattern.

use crate::types::{MediaKind, Source, TrackId};

/// Longest name, bytes (part of the ABI).
const NAME_BYTES: usize = 128;
/// Fewest bytes that a pattern has to leave for each name of a room or participant.
const NAME_BYTES_LEAST: usize = 8;
/// 31 December 9999, the last day that [`write_time`] can write, Unix milliseconds.
const LAST_MS: u64 = 253_402_300_799_999;

/// A pattern of file names, as a policy's configuration has it: text with parts in braces. `{time}` has to be
/// there, and one of `{media}`, `{source}` and `{track}`.
///
/// Tracks of one participant that are recorded at a time under one name share a file. So with `{media}` a camera
/// and its microphone are in one file, a screen and its sound in another; with `{source}` or `{track}` each track
/// has a file of its own.
///
/// | part | what it becomes |
/// |---|---|
/// | `{room}`, `{participant}` | the room's name, the publisher's identity; what is no ASCII letter, digit, `-` or `_` becomes `_`, and what is too long is cut |
/// | `{media}` | `camera` (with the microphone), `screen` (with its sound), or `other-` and the track's number |
/// | `{track}` | the track's number |
/// | `{source}` | `camera`, `microphone`, `screen`, `screen-audio`, `other` |
/// | `{kind}` | `audio`, `video` |
/// | `{time}` | when the recording of the first of these tracks began, UTC: `20260131T235959123Z` |
///
/// Names have 1 to 128 bytes, all of them letters, digits, `-`, `_` or `.`, and begin with neither `-` nor
/// `.`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct NamePattern {
    parts: Vec<Part>,
    /// Bytes for each name of a room or participant.
    share: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Room,
    Participant,
    Media,
    Track,
    Source,
    Kind,
    Time,
}

/// What a file is named after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named<'a> {
    /// The room's name.
    pub room: &'a str,
    /// The publisher's identity; empty if it is not known.
    pub participant: &'a str,
    /// The track.
    pub track: TrackId,
    /// Its source.
    pub source: Source,
    /// Its kind.
    pub kind: MediaKind,
    /// When the recording began, Unix milliseconds.
    pub began_ms: u64,
}

impl Default for NamePattern {
    /// `{room}-{time}-{participant}-{media}`
    fn default() -> Self {
        let text = |text: &str| Part::Text(text.to_owned());
        let parts = vec![
            Part::Room,
            text("-"),
            Part::Time,
            text("-"),
            Part::Participant,
            text("-"),
            Part::Media,
        ];
        NamePattern {
            share: share(&parts),
            parts,
        }
    }
}

impl TryFrom<String> for NamePattern {
    type Error = String;

    fn try_from(pattern: String) -> Result<Self, String> {
        let parts = parts(&pattern)?;
        if !parts.contains(&Part::Time) {
            return Err(format!(
                "`{pattern}` has no {{time}}: a recording would want the name of the one before it"
            ));
        }
        if ![Part::Media, Part::Source, Part::Track]
            .iter()
            .any(|part| parts.contains(part))
        {
            return Err(format!(
                "`{pattern}` has neither {{media}} nor {{source}} nor {{track}}: a camera and a screen \
                 would want the same name"
            ));
        }
        let share = share(&parts);
        if share < NAME_BYTES_LEAST {
            return Err(format!(
                "`{pattern}` is too long: {share} of {NAME_BYTES} bytes are left for a room's or \
                 participant's name, and {NAME_BYTES_LEAST} are needed"
            ));
        }
        Ok(NamePattern { parts, share })
    }
}

impl NamePattern {
    /// The name of a file.
    #[must_use]
    pub fn name(&self, of: &Named<'_>) -> String {
        let mut name = String::with_capacity(NAME_BYTES);
        for part in &self.parts {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Room => write_name(&mut name, of.room, self.share),
                Part::Participant => write_name(&mut name, of.participant, self.share),
                Part::Media => write_media(&mut name, of),
                Part::Track => name.push_str(&of.track.0.to_string()),
                Part::Source => name.push_str(source(of.source)),
                Part::Kind => name.push_str(kind(of.kind)),
                Part::Time => write_time(&mut name, of.began_ms),
            }
        }
        name
    }
}

fn parts(pattern: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some((text, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            return Err(format!("`{pattern}` has a brace that is not closed"));
        };
        push_text(&mut parts, text)?;
        parts.push(match name {
            "room" => Part::Room,
            "participant" => Part::Participant,
            "media" => Part::Media,
            "track" => Part::Track,
            "source" => Part::Source,
            "kind" => Part::Kind,
            "time" => Part::Time,
            other => {
                return Err(format!(
                    "`{pattern}`: there is no {{{other}}}, but {{room}}, {{participant}}, {{media}}, \
                     {{source}}, {{kind}}, {{track}}, {{time}}"
                ));
            }
        });
        rest = after;
    }
    push_text(&mut parts, rest)?;
    if pattern.starts_with(['-', '.']) {
        return Err(format!("`{pattern}` begins with `-` or `.`"));
    }
    Ok(parts)
}

fn push_text(parts: &mut Vec<Part>, text: &str) -> Result<(), String> {
    if let Some(wrong) = text.chars().find(|c| !is_safe(*c) && *c != '.') {
        return Err(format!(
            "{wrong:?} cannot be in a name: letters, digits, `-`, `_` and `.` can"
        ));
    }
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
    Ok(())
}

/// Bytes for each name of a room or participant, whatever the others become.
fn share(parts: &[Part]) -> usize {
    let bytes = parts.iter().map(|part| match part {
        Part::Text(text) => text.len(),
        Part::Room | Part::Participant => 0,
        Part::Media => "other-18446744073709551615".len(),
        Part::Track => "18446744073709551615".len(),
        Part::Source => "screen-audio".len(),
        Part::Kind => "audio".len(),
        Part::Time => "20260131T235959123Z".len(),
    });
    let is_name = |part: &&Part| matches!(part, Part::Room | Part::Participant);
    let names = parts.iter().filter(is_name).count();
    let left = NAME_BYTES.saturating_sub(bytes.sum());
    // Without any name the rest still has to fit.
    left.checked_div(names)
        .unwrap_or(if left > 0 { NAME_BYTES_LEAST } else { 0 })
}

fn is_safe(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

fn write_name(name: &mut String, wanted: &str, bytes: usize) {
    let at_start = name.is_empty();
    let safe = wanted.chars().map(|c| if is_safe(c) { c } else { '_' });
    let before = name.len();
    name.extend(safe.take(bytes));
    if name.len() == before {
        name.push('_');
    }
    if at_start && name.starts_with('-') {
        name.replace_range(..1, "_");
    }
}

fn write_media(name: &mut String, of: &Named<'_>) {
    match of.source {
        Source::Camera | Source::Microphone => name.push_str("camera"),
        Source::Screen | Source::ScreenAudio => name.push_str("screen"),
        Source::Other => name.push_str(&format!("other-{}", of.track.0)),
    }
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Camera => "camera",
        Source::Microphone => "microphone",
        Source::Screen => "screen",
        Source::ScreenAudio => "screen-audio",
        Source::Other => "other",
    }
}

fn kind(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
    }
}

/// Basic format of ISO 8601, in UTC, with milliseconds.
fn write_time(name: &mut String, unix_ms: u64) {
    let ms = unix_ms.min(LAST_MS);
    let (seconds, ms) = (ms / 1_000, ms % 1_000);
    let (minutes, second) = (seconds / 60, seconds % 60);
    let (hours, minute) = (minutes / 60, minutes % 60);
    let (mut days, hour) = (hours / 24, hours % 24);
    let mut year = 1970;
    while days >= days_of_year(year) {
        days -= days_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while days >= days_of_month(year, month) {
        days -= days_of_month(year, month);
        month += 1;
    }
    let day = days + 1;
    name.push_str(&format!(
        "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}{ms:03}Z"
    ));
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of_year(year: u64) -> u64 {
    365 + u64::from(is_leap(year))
}

fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Result<NamePattern, String> {
        text.to_owned().try_into()
    }

    fn named(room: &str) -> Named<'_> {
        Named {
            room,
            participant: "Ada @ home",
            track: TrackId(7),
            source: Source::ScreenAudio,
            kind: MediaKind::Audio,
            began_ms: 1_767_225_600_042,
        }
    }

    #[test]
    fn parts_become_what_they_stand_for() {
        let name = |text| pattern(text).expect("good").name(&named("class/3"));
        assert_eq!(name("{kind}.{track}_{time}"), "audio.7_20260101T000000042Z");
        assert_eq!(
            name("{participant}{track}{time}"),
            "Ada___home720260101T000000042Z"
        );
        assert_eq!(
            NamePattern::default().name(&named("class/3")),
            "class_3-20260101T000000042Z-Ada___home-screen"
        );
        let mut other = named("r");
        other.source = Source::Other;
        let other = pattern("{time}{media}").expect("good").name(&other);
        assert_eq!(other, "20260101T000000042Zother-7");
        let default = pattern("{room}-{time}-{participant}-{media}");
        assert_eq!(default, Ok(NamePattern::default()));
    }

    #[test]
    fn every_name_is_safe_and_fits() {
        let rooms = [
            String::new(),
            "-rf".to_owned(),
            "../../etc/passwd".to_owned(),
            "ä\0\n".repeat(40),
            "x".repeat(128),
        ];
        for text in [
            "{room}-{track}-{time}",
            "{participant}{room}{participant}{track}{time}",
            &format!("{}{{track}}{{time}}{{room}}", "y".repeat(81)),
        ] {
            let pattern = pattern(text).expect("good");
            for room in &rooms {
                let mut of = named(room);
                of.participant = room;
                of.track = TrackId(u64::MAX);
                of.began_ms = u64::MAX;
                let name = pattern.name(&of);
                assert!((1..=128).contains(&name.len()), "{name}");
                assert!(name.chars().all(|c| is_safe(c) || c == '.'), "{name}");
                assert!(!name.starts_with(['-', '.']), "{name}");
            }
        }
    }

    #[test]
    fn bad_patterns_are_refused_with_the_reason() {
        for (text, reason) in [
            ("{room}-{time}", "neither {media} nor {source} nor {track}"),
            ("{room}-{track}", "no {time}"),
            ("{track}{time}{rome}", "there is no {rome}, but {room}"),
            ("{track}{time", "not closed"),
            ("{room}/{track}{time}", "'/' cannot be in a name"),
            ("{track}}{time}", "'}' cannot be in a name"),
            (".{track}{time}", "begins with"),
        ] {
            let error = pattern(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
        let long = format!("{}{{track}}{{time}}{{room}}", "y".repeat(82));
        let error = pattern(&long).expect_err("too long");
        assert!(error.contains("7 of 128 bytes are left"), "{error}");
        let long = format!("{}{{track}}{{time}}", "y".repeat(89));
        assert!(pattern(&long).is_err());
    }

    #[test]
    fn time_is_that_of_the_calendar() {
        // As `date -u +%Y%m%dT%H%M%S` has them.
        for (unix_s, expected) in [
            (0, "19700101T000000000Z"),
            (951_782_399, "20000228T235959000Z"),
            (951_782_400, "20000229T000000000Z"),
            (1_709_251_199, "20240229T235959000Z"),
            (1_735_689_599, "20241231T235959000Z"),
            (4_107_542_400, "21000301T000000000Z"),
            (u64::MAX / 1_000, "99991231T235959999Z"),
        ] {
            let mut text = String::new();
            write_time(&mut text, unix_s * 1_000);
            assert_eq!(text, expected);
        }
    }
}

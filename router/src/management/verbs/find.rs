//! What a request names: rooms by name, who and what is in them by id or by a word that only one has.

use std::sync::Arc;

use rillway_core::api::TrackInfo;
use rillway_core::id::{ParticipantId, TrackId, WorkerId};
use rillway_core::inspect::{Items, ParticipantView, Query, RoomView, TrackView};

use super::convert;
use crate::management::call::Failure;
use crate::management::source::{NoAnswer, Sources, WorkerSource};
use crate::management::wire::error::Code;

/// Names that an error lists at most.
const NAMED_MAX: usize = 5;

/// Bytes of a name that is said again.
const SHOWN_BYTES: usize = 64;

impl From<NoAnswer> for Failure {
    fn from(_: NoAnswer) -> Self {
        Failure::new(
            Code::Unavailable,
            "a media worker does not answer".to_owned(),
            "try again; the log says why a worker ended",
        )
    }
}

/// A name as it may stand in an error or a log line.
pub(super) fn shown(name: &str) -> String {
    let mut kept = String::new();
    for c in name.chars().filter(|c| !c.is_control()) {
        if kept.len() + c.len_utf8() > SHOWN_BYTES {
            kept.push('…');
            break;
        }
        kept.push(c);
    }
    kept
}

/// A few of them, and how many more there are.
fn few(names: &[String]) -> String {
    let named: Vec<String> = names.iter().take(NAMED_MAX).map(|n| shown(n)).collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    match more {
        0 => named.join(", "),
        _ => format!("{} and {more} more", named.join(", ")),
    }
}

/// A room and its workers.
pub(super) struct Place<'a> {
    /// Those that have parts of it; at least one.
    pub(super) workers: Vec<&'a WorkerSource>,
    /// All of them together.
    pub(super) room: RoomView,
}

impl Place<'_> {
    /// The worker of one who, or of what, is in the room.
    ///
    /// # Errors
    /// It has no part of it any more.
    pub(super) fn worker(&self, id: WorkerId) -> Result<&WorkerSource, Failure> {
        let found = self.workers.iter().find(|worker| worker.id == id);
        found.copied().ok_or_else(|| NoAnswer.into())
    }
}

/// Finds a room.
///
/// # Errors
/// There is none of that name; a few that there are, are named. Or a worker does not answer, and no other
/// has it.
pub(super) async fn room<'a>(sources: &'a Sources, name: &str) -> Result<Place<'a>, Failure> {
    let query = Arc::new(Query::Rooms {
        name: Some(name.to_owned()),
    });
    let mut silent = None;
    let mut found: Option<Place<'a>> = None;
    for worker in &sources.workers {
        match worker.page(&query, 0).await {
            Ok(page) => {
                let Items::Rooms(mut rooms) = page.items else {
                    continue;
                };
                match (rooms.pop(), &mut found) {
                    (None, _) => {}
                    (Some(part), Some(place)) => {
                        place.workers.push(worker);
                        place.room.add(&part);
                    }
                    (Some(room), None) => {
                        let workers = vec![worker];
                        found = Some(Place { workers, room });
                    }
                }
            }
            Err(none) => silent = Some(none),
        }
    }
    match (found, silent) {
        (Some(place), _) => Ok(place),
        (None, Some(none)) => Err(none.into()),
        (None, None) => Err(no_room(sources, name).await),
    }
}

async fn no_room(sources: &Sources, name: &str) -> Failure {
    let all = Arc::new(Query::Rooms { name: None });
    let mut names = Vec::new();
    let mut others = 0;
    for worker in &sources.workers {
        // A page is enough to name some.
        if let Ok(page) = worker.page(&all, 0).await
            && let Items::Rooms(rooms) = page.items
        {
            names.extend(rooms.into_iter().map(|room| room.name));
            others += usize::from(page.next.is_some());
        }
    }
    names.sort_unstable();
    // One that has parts on several workers.
    names.dedup();
    let help = match (names.is_empty(), others) {
        (true, _) => "no room is open now".to_owned(),
        (false, 0) => format!("open are: {}", few(&names)),
        (false, _) => format!("open are: {}, and others", few(&names)),
    };
    let text = format!("there is no room `{}`", shown(name));
    Failure::new(Code::NotFound, text, &help)
}

/// Every item of a table of a room's workers; `take` makes them of a page.
pub(super) async fn all<T>(
    place: &Place<'_>,
    query: Query,
    take: impl Fn(Items) -> Vec<T>,
) -> Result<Vec<T>, Failure> {
    let mut all = Vec::new();
    for worker in &place.workers {
        let mut pages = worker.pages(query.clone());
        while let Some(items) = pages.next().await? {
            all.extend(take(items));
        }
    }
    Ok(all)
}

/// Every participant of a room.
async fn participants(place: &Place<'_>) -> Result<Vec<ParticipantView>, Failure> {
    let room = Some(place.room.name.clone());
    all(place, Query::Participants { room }, |items| match items {
        Items::Participants(found) => found,
        _ => Vec::new(),
    })
    .await
}

/// Every track of a room.
pub(super) async fn tracks(place: &Place<'_>) -> Result<Vec<TrackView>, Failure> {
    let room = Some(place.room.name.clone());
    all(place, Query::Tracks { room }, |items| match items {
        Items::Tracks(found) => found,
        _ => Vec::new(),
    })
    .await
}

/// Finds a participant by id, or by an identity or a display name that only one in the room has.
///
/// # Errors
/// None or several are meant; who is there is named.
pub(super) async fn participant(
    place: &Place<'_>,
    wanted: &str,
) -> Result<ParticipantView, Failure> {
    let all = participants(place).await?;
    let id = convert::number(wanted).map(ParticipantId);
    let by_id = all.iter().position(|p| Some(p.info.id) == id);
    let keys: [fn(&ParticipantView) -> Option<&str>; 2] =
        [|p| Some(&p.info.identity), |p| p.info.name.as_deref()];
    let indices = match by_id {
        Some(index) => vec![index],
        None => one_key(&all, &keys, wanted),
    };
    let name = |p: &ParticipantView| {
        let id = convert::id(p.info.id.0);
        match &p.info.name {
            Some(name) => format!("{id} ({name})"),
            None => format!("{id} ({})", p.info.identity),
        }
    };
    pick(
        all,
        &indices,
        name,
        ("participant", wanted, &place.room.name),
    )
}

/// Finds a track of these by id, or by a source (`camera`) that only one has.
///
/// # Errors
/// None or several are meant; what is there is named.
pub(super) fn track<T>(
    all: Vec<T>,
    info: impl Fn(&T) -> &TrackInfo,
    wanted: &str,
    room: &str,
) -> Result<T, Failure> {
    let id = convert::number(wanted).map(TrackId);
    let by_id = all.iter().position(|t| Some(info(t).id) == id);
    let by_source = |t: &T| info(t).source.as_str() == wanted;
    let indices = match by_id {
        Some(index) => vec![index],
        None => positions(&all, by_source),
    };
    let name = |t: &T| {
        let info = info(t);
        format!("{} ({})", convert::id(info.id.0), info.source.as_str())
    };
    pick(all, &indices, name, ("track", wanted, room))
}

/// Finds a published track; `of`: only tracks of this participant are meant, if it names one.
///
/// # Errors
/// As with [`track`].
pub(super) async fn published(
    place: &Place<'_>,
    wanted: &str,
    of: &str,
) -> Result<TrackView, Failure> {
    let mut all = tracks(place).await?;
    if !of.is_empty() {
        let publisher = participant(place, of).await?;
        all.retain(|track| track.info.owner == publisher.info.id);
    }
    track(all, |view| &view.info, wanted, &place.room.name)
}

fn positions<T>(all: &[T], fits: impl Fn(&T) -> bool) -> Vec<usize> {
    let fitting = all.iter().enumerate().filter(|(_, item)| fits(item));
    fitting.map(|(index, _)| index).collect()
}

/// Those of which the first of these keys that any has is what is wanted.
fn one_key<T>(all: &[T], keys: &[fn(&T) -> Option<&str>], wanted: &str) -> Vec<usize> {
    let found = keys
        .iter()
        .map(|key| positions(all, |item| key(item) == Some(wanted)));
    found
        .into_iter()
        .find(|found| !found.is_empty())
        .unwrap_or_default()
}

/// The only one, or why not.
fn pick<T>(
    mut all: Vec<T>,
    indices: &[usize],
    name: impl Fn(&T) -> String,
    (what, wanted, room): (&str, &str, &str),
) -> Result<T, Failure> {
    match indices {
        [index] => Ok(all.swap_remove(*index)),
        [] => {
            let names: Vec<String> = all.iter().map(&name).collect();
            let help = match names.is_empty() {
                true => format!("there is no {what} there now"),
                false => format!("there are: {}", few(&names)),
            };
            let text = format!("room `{}` has no {what} `{}`", shown(room), shown(wanted));
            Err(Failure::new(Code::NotFound, text, &help))
        }
        several => {
            let named = several.iter().filter_map(|index| all.get(*index));
            let names: Vec<String> = named.map(name).collect();
            let text = format!(
                "`{}` means {} {what}s of room `{}`",
                shown(wanted),
                several.len(),
                shown(room)
            );
            let help = format!("name one by its id: {}", few(&names));
            Err(Failure::new(Code::Invalid, text, &help))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<&str, Failure>) -> (Code, String, String) {
        match result {
            Err(Failure::Error(error)) => (error.code(), error.message, error.help),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn errors_name_a_few_and_say_how_many_more_there_are() {
        let all = vec!["a", "b", "c", "d", "e", "f", "g"];
        let about = ("participant", "eve\u{1b}[31m", "r");
        let name = |item: &&str| (*item).to_owned();
        assert_eq!(pick(all.clone(), &[2], name, about).ok(), Some("c"));
        let (code, text, help) = message(pick(all.clone(), &[], name, about));
        assert_eq!(code, Code::NotFound);
        assert_eq!(text, "room `r` has no participant `eve[31m`");
        assert_eq!(help, "there are: a, b, c, d, e and 2 more");
        let (code, text, help) = message(pick(all, &[0, 3], name, about));
        assert_eq!(code, Code::Invalid);
        assert!(text.contains("2 participants"), "{text}");
        assert!(help.ends_with("a, d"), "{help}");
        let (_, _, help) = message(pick(Vec::new(), &[], name, about));
        assert_eq!(help, "there is no participant there now");
        assert_eq!(shown(&"é".repeat(100)).chars().count(), SHOWN_BYTES / 2 + 1);
    }

    #[test]
    fn an_identity_goes_before_a_name() {
        let all = [("ada", "eve"), ("eve", "ada"), ("bob", "bob")];
        let all = all.map(|(identity, name)| (identity.to_owned(), name.to_owned()));
        type Person = (String, String);
        let keys: [fn(&Person) -> Option<&str>; 2] = [|p| Some(&p.0), |p| Some(&p.1)];
        let found = |wanted| one_key(&all, &keys, wanted);
        assert_eq!(found("ada"), [0]);
        assert_eq!(found("eve"), [1]);
        assert_eq!(found("zoe"), Vec::<usize>::new());
    }
}

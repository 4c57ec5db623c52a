//! Verbs about the configuration.

use std::time::UNIX_EPOCH;

use tokio::sync::oneshot;

use super::convert::whole_ms;
use crate::config::{Change, ConfigError, Origin, RereadError};
use crate::management::call::{Call, Failure};
use crate::management::wire::error::Code;
use crate::management::wire::response::Part;
use crate::management::wire::{self, ConfigApplyRequest, ConfigDiffRequest};
use crate::run::{NewText, Reload, ReloadError};

/// Longest name of a text, bytes.
const NAME_BYTES_MAX: usize = 1_024;

/// Every key of the configuration in force.
pub(super) async fn show(call: &mut Call) -> Result<(), Failure> {
    let now = call.sources.asked.config.look();
    let config = now.config.clone();
    let listed = tokio::task::spawn_blocking(move || config.settings()).await;
    let settings = listed.map_err(|_| broken())?;
    let settings = settings.into_iter().map(|setting| wire::ConfigSetting {
        origin: setting.origin.as_str().to_owned(),
        place: place(&setting.origin),
        effect: setting.effect.to_string(),
        key: setting.key,
        value: setting.value,
    });
    let file = now.config.file();
    let since = now.since.duration_since(UNIX_EPOCH).unwrap_or_default();
    let shown = wire::Config {
        file: file.map_or_else(String::new, |file| file.display().to_string()),
        generation: now.generation,
        since_ms: whole_ms(since),
        settings: settings.collect(),
    };
    call.send(Part::Config(shown)).await
}

fn is_name(name: &str) -> Result<(), Failure> {
    if name.len() > NAME_BYTES_MAX || name.contains(char::is_control) {
        let text = format!("`name` must be one line of at most {NAME_BYTES_MAX} bytes");
        return Err(Failure::invalid(text));
    }
    Ok(())
}

/// What a reload would change.
pub(super) async fn diff(call: &mut Call, request: ConfigDiffRequest) -> Result<(), Failure> {
    let ConfigDiffRequest { text, name } = request;
    is_name(&name)?;
    let now = call.sources.asked.config.look();
    let config = now.config.clone();
    let compared = tokio::task::spawn_blocking(move || {
        let other = match text {
            Some(text) => config.reread_as(&name, &text),
            None => config.reread(),
        };
        other.map(|other| config.changes(&other))
    });
    let compared = compared.await.map_err(|_| broken())?;
    let changes = compared.map_err(|error| unread(&error))?;
    send(call, changes).await
}

/// Puts into force what differs in the file.
pub(super) async fn reload(call: &mut Call) -> Result<(), Failure> {
    put_in_force(call, None).await
}

/// Puts a text into the file, and into force.
pub(super) async fn apply(call: &mut Call, request: ConfigApplyRequest) -> Result<(), Failure> {
    let ConfigApplyRequest { text, name } = request;
    is_name(&name)?;
    put_in_force(call, Some(NewText { name, text })).await
}

async fn put_in_force(call: &mut Call, text: Option<NewText>) -> Result<(), Failure> {
    let (answer, answered) = oneshot::channel();
    let busy = |_| {
        let text = "as many reloads wait as may be".to_owned();
        Failure::new(Code::Unavailable, text, "try again")
    };
    let asked = &call.sources.asked;
    asked
        .reloads
        .try_send(Reload { text, answer })
        .map_err(busy)?;
    let ending = |_| Failure::new(Code::Unavailable, "the router is ending".to_owned(), "");
    let reloaded = answered.await.map_err(ending)?;
    let changes = reloaded.map_err(|error| match error {
        ReloadError::Unread(error) => unread(&error),
        ReloadError::Refused(error) => refused(&error),
        unwritten @ ReloadError::Unwritten { .. } => Failure::new(
            Code::Refused,
            unwritten.to_string(),
            "everything stays as it was; the router needs to write to the file's folder",
        ),
        ReloadError::Broken => broken(),
    })?;
    send(call, changes).await
}

async fn send(call: &mut Call, changes: Vec<Change>) -> Result<(), Failure> {
    let needs_restart = changes.iter().any(|change| !change.effect.is_live());
    let changes = changes.into_iter().map(|change| wire::ConfigChange {
        origin: change.origin.as_str().to_owned(),
        place: place(&change.origin),
        effect: change.effect.to_string(),
        key: change.key,
        before: change.before,
        after: change.after,
        content: change.content,
    });
    let changes = wire::ConfigChanges {
        changes: changes.collect(),
        needs_restart,
        generation: call.sources.asked.config.look().generation,
    };
    call.send(Part::ConfigChanges(changes)).await
}

fn place(origin: &Origin) -> String {
    match origin.as_str() {
        "file" | "flag" => origin.to_string(),
        _ => String::new(),
    }
}

fn unread(error: &RereadError) -> Failure {
    match error {
        RereadError::Config(error) => refused(error),
        RereadError::NoFile => Failure::new(
            Code::WrongState,
            error.to_string(),
            "start it with `--config FILE`",
        ),
    }
}

/// With the whole report, as at a start: what, where, and how to mend it.
fn refused(error: &ConfigError) -> Failure {
    let text = format!("the configuration is refused\n\n{error}\n");
    Failure::new(Code::Refused, text, "everything stays as it was")
}

fn broken() -> Failure {
    let text = "the configuration was not read to its end".to_owned();
    Failure::new(Code::Unavailable, text, "the router's log says why")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_refusal_has_the_whole_report() {
        let error = Config::parse("a.toml", "[media]\nworkres = 1\n").expect_err("a typo");
        let Failure::Error(failure) = refused(&error) else {
            panic!("it is said");
        };
        assert_eq!(failure.code(), Code::Refused);
        assert!(failure.message.contains("a.toml:2:1"), "{failure:?}");
        assert!(failure.message.contains("did you mean `workers`?"));
    }
}

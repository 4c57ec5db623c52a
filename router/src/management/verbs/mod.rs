//! The verbs: what each needs, and where it is carried out.

mod capture;
mod change;
mod config;
pub(super) mod convert;
mod drain;
mod events;
mod find;
mod lists;
mod log;
mod moving;
mod plugins;
mod rooms;
mod watch;
mod workers;

pub(super) use capture::CAPTURES_MAX;
pub(crate) use convert::id;
pub(crate) use rooms::reasons;
pub(super) use workers::latency;

use super::call::{Call, Failure};
use super::role::Role;
use super::wire::error::Code;
use super::wire::request::Verb;
use super::wire::response::Part;
use super::wire::{Event, Status};

/// What is fixed about a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Facts {
    /// Its name: the field of `Request`.
    name: &'static str,
    /// The role it needs.
    role: Role,
    /// Whether `peer` may use it besides.
    peer: bool,
    /// Whether it changes something, and is logged with who asked.
    changes: bool,
}

const fn sees(name: &'static str) -> Facts {
    Facts {
        name,
        role: Role::Viewer,
        peer: false,
        changes: false,
    }
}

const fn changes(name: &'static str, role: Role) -> Facts {
    Facts {
        name,
        role,
        peer: false,
        changes: true,
    }
}

/// What is fixed about a request's verb.
fn facts(verb: &Verb) -> Facts {
    match verb {
        Verb::Status(_) => Facts {
            peer: true,
            ..sees("status")
        },
        Verb::Workers(_) => sees("workers"),
        Verb::Plugins(_) => sees("plugins"),
        Verb::Config(_) => sees("config"),
        // A text may name any file of the router's machine, and the answer tells of it.
        Verb::ConfigDiff(request) if request.text.is_some() => Facts {
            role: Role::Admin,
            ..sees("config_diff")
        },
        Verb::ConfigDiff(_) => sees("config_diff"),
        Verb::ConfigReload(_) => changes("config_reload", Role::Admin),
        Verb::Rooms(_) => sees("rooms"),
        Verb::Room(_) => sees("room"),
        Verb::Participant(_) => sees("participant"),
        Verb::Why(_) => sees("why"),
        Verb::Events(_) => sees("events"),
        Verb::LogLevels(_) => sees("log_levels"),
        Verb::Tracks(_) => sees("tracks"),
        Verb::Subscriptions(_) => sees("subscriptions"),
        Verb::Transports(_) => sees("transports"),
        Verb::Recordings(_) => sees("recordings"),
        Verb::Metrics(_) => sees("metrics"),
        Verb::Participants(_) => sees("participants"),
        Verb::Watch(_) => sees("watch"),
        Verb::Kick(_) => changes("kick", Role::Operator),
        Verb::Move(_) => changes("move", Role::Operator),
        Verb::Mute(_) => changes("mute", Role::Operator),
        Verb::CloseRoom(_) => changes("close_room", Role::Operator),
        Verb::Record(_) => changes("record", Role::Operator),
        Verb::Drain(_) => changes("drain", Role::Admin),
        Verb::LogSet(_) => changes("log_set", Role::Admin),
        Verb::LogReset(_) => changes("log_reset", Role::Admin),
        // It changes nothing, and gives away what people say: it has to be known who took it.
        Verb::Capture(_) => changes("capture", Role::Admin),
        Verb::ConfigApply(_) => changes("config_apply", Role::Admin),
        Verb::PluginReload(_) => changes("plugin_reload", Role::Admin),
        Verb::PluginPromote(_) => changes("plugin_promote", Role::Admin),
        Verb::PluginReturn(_) => changes("plugin_return", Role::Admin),
    }
}

/// What a request is about, for the log.
fn target(verb: &Verb) -> String {
    let both = |room: &str, what: &str| format!("{} in {}", find::shown(what), find::shown(room));
    match verb {
        Verb::PluginReload(request) => find::shown(&request.name),
        Verb::PluginPromote(request) => find::shown(&request.name),
        Verb::PluginReturn(request) => find::shown(&request.name),
        Verb::Kick(request) => both(&request.room, &request.participant),
        Verb::Move(request) => format!(
            "{} to worker {}",
            both(&request.room, &request.participant),
            request.worker
        ),
        Verb::Mute(request) => {
            let muted = if request.muted { "on" } else { "off" };
            format!("{} {muted}", both(&request.room, &request.track))
        }
        Verb::CloseRoom(request) => find::shown(&request.room),
        Verb::Record(request) => {
            let what = if request.start { "start" } else { "stop" };
            both(&request.room, what)
        }
        Verb::LogSet(request) => format!(
            "{}={} for {} ms",
            find::shown(&request.target),
            find::shown(&request.level),
            request.ms
        ),
        Verb::LogReset(request) if request.target.is_empty() => "all".to_owned(),
        Verb::LogReset(request) => find::shown(&request.target),
        Verb::Capture(request) => both(&request.room, &request.track),
        Verb::ConfigApply(request) => find::shown(&request.name),
        Verb::Drain(request) => match request.deadline_ms {
            Some(deadline_ms) => format!("within {deadline_ms} ms"),
            None => "as configured".to_owned(),
        },
        _ => String::new(),
    }
}

/// The room that a change is about; empty: none.
fn room(verb: &Verb) -> String {
    match verb {
        Verb::Kick(request) => request.room.clone(),
        Verb::Move(request) => request.room.clone(),
        Verb::Mute(request) => request.room.clone(),
        Verb::CloseRoom(request) => request.room.clone(),
        Verb::Record(request) => request.room.clone(),
        Verb::Capture(request) => request.room.clone(),
        _ => String::new(),
    }
}

/// Checks the role and carries the verb out. Changes are logged.
pub(super) async fn run(call: &mut Call, verb: Verb) -> Result<(), Failure> {
    let facts = facts(&verb);
    let holder = call.holder.clone();
    let admitted = holder.role.includes(facts.role) || (facts.peer && holder.role == Role::Peer);
    if !admitted {
        tracing::warn!(
            client = holder.name,
            role = %holder.role,
            verb = facts.name,
            "management: forbidden"
        );
        return Err(Failure::new(
            Code::Forbidden,
            format!(
                "`{}` needs the role {}, and this certificate has {}",
                facts.name, facts.role, holder.role
            ),
            "use a certificate with that role: `rillway ca issue NAME --role ROLE` makes one",
        ));
    }
    if !facts.changes {
        return dispatch(call, verb).await;
    }
    let target = target(&verb);
    let about = (room(&verb), target.clone());
    let events = call.sources.events.clone();
    let result = dispatch(call, verb).await;
    let outcome = match &result {
        Ok(()) => "done",
        Err(Failure::Gone) => "client gone",
        Err(Failure::Error(error)) => error.message.as_str(),
    };
    events.publish(|| Event {
        kind: "operator".to_owned(),
        room: about.0,
        identity: holder.name.clone(),
        detail: format!("{} {}: {outcome}", facts.name, about.1),
        ..Event::default()
    });
    tracing::info!(
        client = holder.name,
        role = %holder.role,
        verb = facts.name,
        target,
        outcome,
        "management"
    );
    result
}

async fn dispatch(call: &mut Call, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Status(_) => status(call).await,
        Verb::Workers(_) => workers::list(call).await,
        Verb::Plugins(_) => plugins::list(call).await,
        Verb::Config(_) => config::show(call).await,
        Verb::ConfigDiff(request) => config::diff(call, request).await,
        Verb::ConfigReload(_) => config::reload(call).await,
        Verb::Rooms(_) => rooms::list(call).await,
        Verb::Room(request) => rooms::show(call, &request).await,
        Verb::Participant(request) => rooms::participant(call, &request).await,
        Verb::Why(request) => rooms::why(call, &request).await,
        Verb::Events(request) => events::watch(call, &request).await,
        Verb::LogLevels(_) => log::list(call).await,
        Verb::LogSet(request) => log::set(call, &request).await,
        Verb::LogReset(request) => log::reset(call, &request).await,
        Verb::Capture(request) => capture::capture(call, &request).await,
        Verb::ConfigApply(request) => config::apply(call, request).await,
        Verb::Participants(request) => lists::participants(call, request).await,
        Verb::Tracks(request) => lists::tracks(call, request).await,
        Verb::Subscriptions(request) => lists::subscriptions(call, request).await,
        Verb::Transports(request) => lists::transports(call, request).await,
        Verb::Recordings(request) => lists::recordings(call, &request).await,
        Verb::Metrics(request) => lists::metrics(call, &request).await,
        Verb::Watch(request) => watch::watch(call, &request).await,
        Verb::Kick(request) => change::kick(call, request).await,
        Verb::Move(request) => moving::to_worker(call, request).await,
        Verb::Mute(request) => change::mute(call, &request).await,
        Verb::CloseRoom(request) => change::close_room(call, request).await,
        Verb::Record(request) => change::record(call, request).await,
        Verb::Drain(request) => drain::drain(call, request).await,
        Verb::PluginReload(request) => plugins::reload(call, request).await,
        Verb::PluginPromote(request) => plugins::promote(call, &request.name).await,
        Verb::PluginReturn(request) => plugins::rollback(call, &request.name).await,
    }
}

async fn status(call: &mut Call) -> Result<(), Failure> {
    let sources = call.sources.clone();
    let uptime_ms = sources.started.elapsed().as_millis();
    let status = Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        phase: sources.phase().to_owned(),
        uptime_ms: u64::try_from(uptime_ms).unwrap_or(u64::MAX),
        gateway: sources.gateway.to_string(),
        workers: u32::try_from(sources.workers.len()).unwrap_or(u32::MAX),
        role: call.holder.role.to_string(),
        client: call.holder.name.clone(),
    };
    call.send(Part::Status(status)).await
}

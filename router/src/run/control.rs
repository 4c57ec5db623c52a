//! The control thread: gateway, sessions, directory and the dispatchers of worker events, as tasks
//! of one single-threaded runtime.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::Instant;

use rillway_core::api::{Event, RoomEvent};
use rillway_core::id::WorkerId;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::LocalSet;

use crate::config::Config;
use crate::console;
use crate::directory::MemoryDirectory;
use crate::gateway::{Accepted, Gateway, Route};
use crate::management::events::Events;
use crate::management::server as management;
use crate::management::source::{Asked, Sources};
use crate::management::watch::Watch;
use crate::policies::{self, Policies, PoliciesError};
use crate::recorder;
use crate::rules::{Desk, NO_POLICY, RecorderOrders, RuleSet, Rules};
use crate::session::{self, Authenticator, Clients, Control, Phase, SignalingFactory};
use crate::telemetry;
use crate::telemetry::metrics::{
    ConfigRecorder, GatewayRecorder, ManagementRecorder, Registry, RulesRecorder,
};
use crate::telemetry::traces::Traces;
use crate::turn;
use crate::worker::Worker;

use super::drain::{self, Drain};
use super::feed::{self, Feed, Told};
use super::reload::{self, Current, Reload, Reloads};
use super::supervisor::Supervisor;
use super::{Order, RunError, Signals, clock, errands, settings};

/// Connections between gateway and session acceptor; the acceptor never waits, so they are few.
const ACCEPTED_MAX: usize = 1_024;

/// Orders of operators that wait: there are two kinds, and a third has nothing to add.
const ORDERS_MAX: usize = 4;

/// What the control thread is given.
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) signals: Signals,
    pub(super) gateway: TcpListener,
    pub(super) metrics: Option<TcpListener>,
    pub(super) management: Option<UdpSocket>,
    pub(super) console: Option<TcpListener>,
    pub(super) turn: Option<turn::Bound>,
    pub(super) workers: Vec<Worker>,
    pub(super) recorder: Option<recorder::Running>,
    pub(super) registry: Registry,
    pub(super) traces: Traces,
    pub(super) orders: mpsc::Receiver<Order>,
    /// Told when everything is set up.
    pub(super) ready: std_mpsc::Sender<()>,
}

/// The thread.
pub(super) fn thread_main(parts: Parts) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| RunError::Start {
            what: "the control thread's runtime",
            source,
        })?;
    let local = LocalSet::new();
    let result = local.block_on(&runtime, serve(parts));
    drop(local);
    // Nothing is left that must not be cut off.
    runtime.shutdown_background();
    result
}

async fn serve(parts: Parts) -> Result<(), RunError> {
    let Parts {
        config,
        signals,
        gateway: listener,
        metrics,
        management,
        console,
        turn,
        registry,
        traces,
        workers,
        recorder: recording,
        orders,
        ready,
    } = parts;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(start)?;
    let (config, current) = Current::new(config);
    let (asked, of_operators, to_run, to_reload) = operators(&current);
    let hangups = reload::hangups(&config, signals).map_err(start)?;
    let supervisor = Supervisor::of_environment(&config, signals, &workers);
    let orders = drain::Orders::new(orders, of_operators, signals).map_err(start)?;
    let deciders = deciders(&config, &registry).await.map_err(refused)?;
    let (mint, _turn) = relay(turn, &workers, &registry).map_err(start)?;
    let (policies, deciding, served) = (deciders.policies, deciders.deciding, deciders.served);
    workers.iter().for_each(log_worker);
    let seen = (registry.gateway(), traces);
    let recorders = (seen.0.clone(), registry.rules());
    let (recorded, reloaded) = (registry.recorder(), registry.config());
    let of_channel = (registry.management(), registry.clone());
    serve_metrics(&listener, metrics, registry).map_err(start)?;
    let (phase, phase_seen) = watch::channel(Phase::Serving);
    // Before the policies in the order of ends: its calls hold their handles.
    let (address, events) = (listener.local_addr().map_err(start)?, Events::default());
    let asked = (asked, events.clone(), of_channel);
    let sources = sources(address, &workers, &phase_seen, &policies, asked);
    let (management, _console) = shown((management, console), &config, &sources).map_err(start)?;
    let alive = Arc::new(AtomicUsize::new(workers.len()));
    let (desk, following) = desk(&config, recording);
    let deciding = (deciding, desk, events.clone());
    let given = (&*config, mint, &*workers);
    let control = Rc::new(control(given, deciding, &phase_seen, recorders));
    let feed = feed(&config, &control, &policies, &phase_seen, events);
    beside(&control, to_run);
    let recorder_end = following.map(|f| f.follow(control.rules.clone(), recorded));
    let (threads, all_ended) = follow_workers(workers, (&control, feed), &alive, &phase_seen);
    let (accepted, to_accept) = mpsc::channel(ACCEPTED_MAX);
    let settings = settings::gateway(&config, served.iter().map(|s| s.route.clone()).collect());
    let gateway = Arc::new(Gateway::new(settings, phase_seen, accepted, alive, seen));
    let parts = (&current, &gateway, &control, &supervisor);
    let reloads = reloads(parts, &policies, management.as_ref(), reloaded);
    tokio::task::spawn_local(reloads.run(to_reload, hangups));
    tokio::task::spawn_local(accept(control.clone(), served, to_accept));
    tokio::spawn(crate::gateway::serve(gateway.clone(), listener));
    supervisor.serving();
    // Nobody waits any more only if the start was given up; then an order to stop is on its way.
    let _ = ready.send(());
    drain::until_end(Drain {
        config: current,
        orders,
        phase,
        gateway,
        control,
        threads,
        all_ended,
        recorder: recorder_end,
        supervisor,
    })
    .await
}

/// What a reload changes.
fn reloads(
    (current, gateway, control, supervisor): (&Current, &Arc<Gateway>, &Rc<Control>, &Supervisor),
    policies: &Policies,
    management: Option<&management::Listener>,
    metrics: ConfigRecorder,
) -> Reloads {
    Reloads {
        current: current.clone(),
        gateway: gateway.clone(),
        control: control.clone(),
        plugins: policies.plugins().cloned().collect(),
        management: management.map(management::Listener::control),
        metrics,
        supervisor: supervisor.clone(),
    }
}

/// What operators who watch are told, if any can.
fn feed(
    config: &Config,
    control: &Control,
    policies: &Policies,
    phase: &watch::Receiver<Phase>,
    events: Events,
) -> Option<Rc<Feed>> {
    config.management.as_ref()?;
    for plugin in policies.plugins() {
        tokio::spawn(feed::plugin(plugin.clone(), events.clone()));
    }
    tokio::spawn(feed::phases(phase.clone(), events.clone()));
    Some(Rc::new(Feed::new(events, control.workers.clone())))
}

/// The way of operators to this thread: what they may ask, and where their orders and errands come out.
fn operators(
    current: &Current,
) -> (
    Asked,
    mpsc::Receiver<Order>,
    mpsc::Receiver<errands::Errand>,
    mpsc::Receiver<Reload>,
) {
    let (reloads, to_reload) = mpsc::channel(reload::RELOADS_MAX);
    let (orders, of_operators) = mpsc::channel(ORDERS_MAX);
    let (errands, to_run) = mpsc::channel(errands::ERRANDS_MAX);
    let asked = Asked {
        errands,
        orders,
        reloads,
        config: current.clone(),
    };
    (asked, of_operators, to_run, to_reload)
}

/// Follows what workers say until each has ended. Returns their threads, and what hears when none is left.
fn follow_workers(
    workers: Vec<Worker>,
    (control, feed): (&Rc<Control>, Option<Rc<Feed>>),
    alive: &Arc<AtomicUsize>,
    phase: &watch::Receiver<Phase>,
) -> (Vec<JoinHandle<()>>, Rc<Notify>) {
    let all_ended = Rc::new(Notify::new());
    let watch = |id| WorkerWatch {
        id,
        control: control.clone(),
        feed: feed.clone(),
        alive: alive.clone(),
        all_ended: all_ended.clone(),
        phase: phase.clone(),
    };
    let threads = workers
        .into_iter()
        .map(|worker| {
            let rules = control.rules.clone();
            tokio::task::spawn_local(follow_rooms(rules, feed.clone(), worker.rooms));
            tokio::task::spawn_local(dispatch(watch(worker.id), worker.events));
            worker.thread
        })
        .collect();
    (threads, all_ended)
}

/// Where orders to a recorder go, or why there is none; and what is to be followed.
type RecorderSide = Result<Rc<dyn RecorderOrders>, &'static str>;

fn desk(
    config: &Config,
    running: Option<recorder::Running>,
) -> (RecorderSide, Option<recorder::Following>) {
    match running.map(recorder::Running::part) {
        Some((orders, following)) => (Ok(orders), Some(following)),
        None if config.recording.is_none() => (Err(NO_POLICY), None),
        None => (Err(recorder::NOT_CONFIGURED), None),
    }
}

/// Says who listens where, and begins with metrics.
fn serve_metrics(
    gateway: &tokio::net::TcpListener,
    listener: Option<TcpListener>,
    registry: Registry,
) -> io::Result<()> {
    log_listeners(gateway, listener.as_ref());
    if let Some(listener) = listener {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tokio::spawn(telemetry::metrics::serve(listener, registry));
    }
    Ok(())
}

/// Tasks beside all others.
fn beside(control: &Rc<Control>, errands: mpsc::Receiver<errands::Errand>) {
    tokio::task::spawn_local(clock::watch());
    tokio::task::spawn_local(errands::run(control.clone(), errands));
    tokio::task::spawn_local(session::deliver_leaves(control.clone()));
}

/// The TURN relay, where it is on, and what makes credentials for it.
fn relay(
    bound: Option<turn::Bound>,
    workers: &[Worker],
    registry: &Registry,
) -> io::Result<(Option<Arc<turn::Minter>>, Option<turn::Running>)> {
    let mint = bound.as_ref().map(turn::Bound::minter);
    let told = |worker: &Worker| -> Vec<_> {
        let bound = worker.addresses.iter().copied();
        bound.zip(worker.advertised.iter().copied()).collect()
    };
    let media: Vec<_> = workers.iter().flat_map(told).collect();
    let started = bound.map(|bound| turn::start(bound, &media, registry.turn()));
    Ok((mint, started.transpose()?))
}

/// What operators look in by, where it is on: the management channel and the console.
fn shown(
    (socket, console): (Option<UdpSocket>, Option<TcpListener>),
    config: &Config,
    sources: &Arc<Sources>,
) -> io::Result<(Option<management::Listener>, Option<console::Listener>)> {
    let console = console.map(|listener| console::start(listener, sources.clone()));
    let managed = match (socket, &config.management) {
        (Some(socket), Some(settings)) => {
            Some(management::start(socket, settings, sources.clone())?)
        }
        _ => None,
    };
    Ok((managed, console.transpose()?))
}

fn sources(
    gateway: SocketAddr,
    workers: &[Worker],
    phase: &watch::Receiver<Phase>,
    policies: &Policies,
    (asked, events, (recorder, registry)): (Asked, Events, (ManagementRecorder, Registry)),
) -> Arc<Sources> {
    Arc::new(Sources {
        started: Instant::now(),
        gateway,
        workers: workers.iter().map(Into::into).collect(),
        phase: phase.clone(),
        plugins: policies.by_name(),
        watch: Watch::default(),
        asked,
        events,
        recorder,
        registry,
    })
}

fn control(
    (config, mint, workers): (&Config, Option<Arc<turn::Minter>>, &[Worker]),
    (deciding, desk, events): (Deciding, RecorderSide, Events),
    phase: &watch::Receiver<Phase>,
    (recorder, rules): (GatewayRecorder, RulesRecorder),
) -> Control {
    let queues: Vec<_> = workers.iter().map(|w| w.requests.clone()).collect();
    let clients = Rc::new(Clients::default());
    let told = Told {
        clients: clients.clone(),
        events,
    };
    let desk = Desk::new(desk, Rc::new(told));
    let rules = Rules::new(deciding.rules, queues.clone(), rules, desk);
    Control {
        directory: Box::new(MemoryDirectory::new(
            workers.iter().map(|w| (w.id, Some(w.requests.clone()))),
            config.media.participants_per_part,
        )),
        workers: queues,
        clients,
        rules: Rc::new(rules),
        authenticator: deciding.authenticator,
        facts: RefCell::new(Rc::new(settings::join_facts(config, mint))),
        phase: phase.clone(),
        join_timeout: session::JOIN_TIMEOUT,
        idle_time: session::IDLE_TIME,
        recorder,
    }
}

fn start(source: io::Error) -> RunError {
    RunError::Start {
        what: "the control thread",
        source,
    }
}

fn refused(error: PoliciesError) -> RunError {
    match error {
        PoliciesError::Config(error) => RunError::Config(error),
        other => start(io::Error::other(other)),
    }
}

/// A route of the gateway and the plugin it leads to.
struct Served {
    route: Route,
    factory: Rc<dyn SignalingFactory>,
}

/// The policies in use.
struct Deciders {
    /// Kept for their host.
    policies: Policies,
    deciding: Deciding,
    served: Vec<Served>,
}

/// Who decides about clients and rooms.
struct Deciding {
    authenticator: Box<dyn Authenticator>,
    rules: RuleSet,
}

async fn deciders(config: &Config, registry: &Registry) -> Result<Deciders, PoliciesError> {
    let policies = Policies::load(config).await?;
    let deciders = Deciders {
        deciding: Deciding {
            authenticator: policies.authenticator(config)?,
            rules: policies.rules(config)?,
        },
        served: signaling(config, &policies)?,
        policies,
    };
    for plugin in deciders.policies.plugins() {
        tokio::spawn(policies::report(
            plugin.clone(),
            registry.plugin(plugin.name(), &plugin.kinds()),
        ));
        if config.policy.watch_files {
            tokio::spawn(policies::watch(plugin.clone()));
        }
    }
    Ok(deciders)
}

fn signaling(config: &Config, policies: &Policies) -> Result<Vec<Served>, PoliciesError> {
    let served = config.signaling_routes.iter().map(|route| {
        Ok(Served {
            factory: policies.signaling(config, &route.plugin)?,
            route: Route {
                path: route.path.clone(),
                subprotocol: route.subprotocol.clone(),
            },
        })
    });
    served.collect()
}

fn log_worker(worker: &Worker) {
    let list = |addresses: &[SocketAddr]| {
        let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        texts.join(" ")
    };
    tracing::info!(
        worker = worker.id.0,
        driver = %worker.chosen.kind,
        reason = worker.chosen.reason,
        bound = list(&worker.addresses),
        advertised = list(&worker.advertised),
        "media worker ready"
    );
}

fn log_listeners(gateway: &tokio::net::TcpListener, metrics: Option<&TcpListener>) {
    let text = |at: io::Result<SocketAddr>| at.map_or_else(|e| e.to_string(), |at| at.to_string());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        gateway = text(gateway.local_addr()),
        metrics = metrics.map_or_else(|| "off".into(), |metrics| text(metrics.local_addr())),
        "listening"
    );
}

/// Starts a session for each client the gateway accepts.
async fn accept(control: Rc<Control>, served: Vec<Served>, mut accepted: mpsc::Receiver<Accepted>) {
    while let Some(Accepted { route, connection }) = accepted.recv().await {
        // A route that is none: dropped, which closes it as our fault.
        let Some(Served { factory, .. }) = served.get(route) else {
            continue;
        };
        let (control, plugin, opening) = (control.clone(), factory.plugin(), factory.open());
        let mut span = connection.arrival.place.span("signaling open");
        tokio::task::spawn_local(async move {
            let opened = opening.await;
            span.set_text("rillway.plugin", &plugin);
            match &opened {
                Ok(instance) if span.is_kept() => {
                    span.set_text("rillway.plugin.version", &instance.version());
                }
                Ok(_) => {}
                Err(_) => span.fail("no instance of the plugin"),
            }
            span.end();
            match opened {
                Ok(instance) => session::run(control, plugin, instance, connection).await,
                Err(fault) => session::refuse(&plugin, &fault, connection).await,
            }
        });
    }
}

struct WorkerWatch {
    id: WorkerId,
    control: Rc<Control>,
    feed: Option<Rc<Feed>>,
    alive: Arc<AtomicUsize>,
    all_ended: Rc<Notify>,
    phase: watch::Receiver<Phase>,
}

/// Hands a worker's events about rooms to their policies.
async fn follow_rooms(
    rules: Rc<Rules>,
    feed: Option<Rc<Feed>>,
    mut events: mpsc::Receiver<RoomEvent>,
) {
    while let Some(event) = events.recv().await {
        if let Some(feed) = &feed {
            feed.on_event(&event);
        }
        rules.on_event(event);
    }
}

/// Hands a worker's events to its clients, and tells them when the worker ends.
async fn dispatch(watch: WorkerWatch, mut events: mpsc::Receiver<Event>) {
    while let Some(event) = events.recv().await {
        watch.control.clients.deliver(event);
    }
    watch.control.directory.worker_ended(watch.id);
    watch.control.rules.worker_ended(watch.id);
    if let Some(feed) = &watch.feed {
        feed.worker_ended(watch.id);
    }
    let clients = watch.control.clients.worker_ended(watch.id);
    let left = watch
        .alive
        .fetch_sub(1, Ordering::Relaxed)
        .saturating_sub(1);
    if *watch.phase.borrow() != Phase::Closing {
        tracing::error!(
            worker = watch.id.0,
            clients,
            workers_left = left,
            "media worker lost; its rooms are told"
        );
    }
    if left == 0 {
        watch.all_ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use rillway_core::api::EventKind;

    use super::*;
    use crate::directory::Comer;
    use crate::session::{Company, JoinFacts, Mail, Open};
    use futures_util::FutureExt as _;
    use rillway_plugin_sdk::types::Limits;

    fn control(directory: MemoryDirectory, phase: watch::Receiver<Phase>) -> Rc<Control> {
        Rc::new(Control {
            directory: Box::new(directory),
            workers: Vec::new(),
            clients: Rc::default(),
            rules: Rc::new(Rules::new(
                RuleSet::default(),
                Vec::new(),
                Registry::new().rules(),
                Desk::new(Err(NO_POLICY), Rc::new(Clients::default())),
            )),
            authenticator: Box::new(Open),
            facts: RefCell::new(Rc::new(JoinFacts {
                limits: Limits {
                    data_message_bytes: 1,
                    data_bytes_per_second: 1,
                    sdp_bytes: 1,
                    tracks_per_participant: 1,
                    subscriptions_per_participant: 1,
                },
                ice_servers: Vec::new(),
                turn: None,
            })),
            phase,
            join_timeout: session::JOIN_TIMEOUT,
            idle_time: session::IDLE_TIME,
            recorder: Registry::new().gateway(),
        })
    }

    #[tokio::test]
    async fn a_worker_that_dies_takes_only_its_own_rooms_with_it() {
        let workers = [WorkerId(0), WorkerId(1)];
        let (_phase, seen) = watch::channel(Phase::Serving);
        let control = control(
            MemoryDirectory::new(workers.map(|id| (id, None)), 0),
            seen.clone(),
        );
        let alive = Arc::new(AtomicUsize::new(2));
        let all_ended = Rc::new(Notify::new());
        let comer = Comer {
            identity: "ada",
            name: None,
        };
        let leases = [
            control.directory.place("a", comer).await.unwrap(),
            control.directory.place("b", comer).await.unwrap(),
        ];
        let company = || Company {
            plugin: "p".into(),
            room: "r".into(),
        };
        let mut mailboxes = leases
            .each_ref()
            .map(|lease| control.clients.add(lease.worker(), company()).1);
        let watch = |id| WorkerWatch {
            id,
            control: control.clone(),
            feed: None,
            alive: alive.clone(),
            all_ended: all_ended.clone(),
            phase: seen.clone(),
        };
        let dead = leases[0].worker();
        let (_, closed) = mpsc::channel(1);
        dispatch(watch(dead), closed).await;
        assert!(matches!(
            mailboxes[0].next().await,
            Some(Mail::Event(EventKind::Removed { .. }))
        ));
        assert!(mailboxes[1].next().now_or_never().is_none());
        assert_eq!(alive.load(Ordering::Relaxed), 1);
        let again = control.directory.place("a", comer).await.unwrap();
        assert_ne!(again.worker(), dead, "the room comes back elsewhere");

        let (_, closed) = mpsc::channel(1);
        dispatch(watch(again.worker()), closed).await;
        all_ended.notified().await;
        assert!(control.directory.place("c", comer).await.is_err());
    }
}

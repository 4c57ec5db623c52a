//! The same room beside plugins that do whatever a plugin can do wrong.

use std::net::SocketAddr;
use std::time::Duration;

use rillway_policy::testing::{Behaviour, bytes_spec, component};
use rillway_policy::{Host, HostConfig, Kind};
use rillway_tests::smith;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::router::Router;
use crate::{Meanwhile, Stretch, calm, crowd, stretch_seconds};

/// Clients that ask for a hostile plugin at once.
const CLIENTS: usize = 4;
/// Pause of each between two requests: what a client that means no good gets without effort.
const PAUSE: Duration = Duration::from_millis(2);
/// What the router may keep of it all: caches and what the allocator holds back.
const KEPT_BYTES_MAX: u64 = 32 << 20;

/// Where the search for a module of `wasm-smith` begins, if the environment names no seed.
const SMITH_SEED: u64 = 1;
/// Seeds that are tried: two of three make one that loads.
const SMITH_SEEDS: u64 = 100;

/// A plugin that does something wrong.
struct Hostile {
    name: &'static str,
    component: Vec<u8>,
    /// Further lines of its table.
    more: String,
}

/// One that fails at its start is not among them: it is tried when it is loaded, and never serves.
fn corpus(silent: SocketAddr) -> Vec<Hostile> {
    let behaviours = behaviours(silent).into_iter();
    let mut corpus: Vec<Hostile> = behaviours
        .map(|(name, behaviour)| Hostile {
            name,
            component: component(Kind::Signaling, &behaviour),
            more: match behaviour {
                Behaviour::Fetch(_) => {
                    format!("imports = [\"http\"]\nhttp_origins = [\"http://{silent}\"]\n")
                }
                _ => String::new(),
            },
        })
        .collect();
    corpus.push(Hostile {
        name: "wasm-smith",
        component: smith(),
        more: String::new(),
    });
    corpus
}

/// One that nobody wrote: of the first seed whose component a plugin host loads, from the environment's on.
fn smith() -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let host = Host::start(HostConfig {
        instances: 10,
        ..HostConfig::default()
    });
    let host = host.expect("the host starts");
    let first = smith::seed_of_environment().unwrap_or(SMITH_SEED);
    let seeds = first..first.saturating_add(SMITH_SEEDS);
    for (seed, _, component) in smith::components(&[Kind::Signaling], seeds) {
        let spec = bytes_spec("wasm-smith", component.clone());
        if runtime.block_on(host.load(spec)).is_ok() {
            println!("wasm-smith: {}={seed}", smith::SEED);
            return component;
        }
    }
    panic!("no component of the {SMITH_SEEDS} seeds from {first} on is loaded");
}

fn behaviours(silent: SocketAddr) -> Vec<(&'static str, Behaviour)> {
    vec![
        ("endless-loop", Behaviour::Spin),
        ("busy", Behaviour::Busy(2_000_000)),
        ("slow-http", Behaviour::Fetch(format!("http://{silent}/"))),
        (
            "trap-third-call",
            Behaviour::After(2, Box::new(Behaviour::Trap)),
        ),
        ("memory-bomb", Behaviour::Grow),
        ("memory-hog", Behaviour::GrowTo(256)),
        ("table-bomb", Behaviour::GrowTable),
        ("recursion", Behaviour::Recurse),
        ("huge-return", Behaviour::Huge),
        ("many-values", Behaviour::Values(100_000)),
        ("bad-variant", Behaviour::BadCase),
        ("bad-utf8", Behaviour::BadUtf8),
        ("bad-pointer", Behaviour::BadPointer),
        ("million-log-lines", Behaviour::Log(1_000_000)),
    ]
}

fn configuration(corpus: &[Hostile]) -> String {
    let mut text = String::from(
        "[[signaling.routes]]\npath = \"/signal/rooms\"\nplugin = \"signaling-rooms\"\n\
         subprotocol = \"rillway.rooms.v1\"\n",
    );
    for Hostile { name, .. } in corpus {
        text += &format!("[[signaling.routes]]\npath = \"/{name}\"\nplugin = \"{name}\"\n");
    }
    for Hostile { name, more, .. } in corpus {
        text += &format!("[plugins.{name}]\ncomponent = \"{name}.wasm\"\n{more}");
    }
    text
}

/// Clients that keep asking for a plugin.
pub(crate) struct Attack(#[expect(dead_code, reason = "dropped, they end")] JoinSet<()>);

impl Attack {
    pub(crate) fn begin(gateway: SocketAddr, plugin: &str) -> Attack {
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let request =
                format!("GET /{plugin}/x HTTP/1.1\r\nhost: {gateway}\r\nconnection: close\r\n\r\n");
            clients.spawn_local(async move {
                loop {
                    ask(gateway, &request).await;
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        Attack(clients)
    }
}

/// One request; what comes of it does not matter here.
async fn ask(gateway: SocketAddr, request: &str) {
    let Ok(mut stream) = TcpStream::connect(gateway).await else {
        return;
    };
    let mut answer = Vec::new();
    if stream.write_all(request.as_bytes()).await.is_ok() {
        let read = stream.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_millis(500), read).await;
    }
}

/// A server that takes connections and never says a word.
fn silent() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// To the media worker, which is pinned there.
fn leave_first_core() {
    let mut cores = sched_getaffinity(None).expect("known");
    let first = (0..CpuSet::MAX_CPU).find(|core| cores.is_set(*core));
    cores.unset(first.expect("a core"));
    sched_setaffinity(None, &cores).expect("there is another core");
}

/// With `$RILLWAY_PINNED`, for figures: the worker has a core for itself, all others share the rest, and each plugin is
/// between two calm stretches.
pub(crate) fn run() {
    // The kernel takes its connections; nobody ever reads from them.
    let (_listener, address) = silent();
    let corpus = corpus(address);
    let files: Vec<_> = corpus
        .iter()
        .map(|hostile| (format!("{}.wasm", hostile.name), hostile.component.clone()))
        .collect();
    let pinned = std::env::var_os("RILLWAY_PINNED").is_some();
    let configuration = format!("media.pin_cpus = {pinned}\n{}", configuration(&corpus));
    let router = Router::start_with("ring", &configuration, &files);
    if pinned {
        leave_first_core();
    }
    let mut stretches = vec![calm("calm", stretch_seconds(5))];
    for Hostile { name, .. } in &corpus {
        stretches.push(Stretch {
            title: format!("beside {name}"),
            seconds: stretch_seconds(2),
            meanwhile: Meanwhile::Attack((*name).to_owned()),
        });
        if pinned {
            stretches.push(calm("calm", stretch_seconds(2)));
        }
    }
    stretches.push(calm("calm again", stretch_seconds(5)));
    let memory = crowd(&router, &stretches);
    let (before, after) = (memory[0], memory[memory.len() - 1]);
    assert!(
        after < before + KEPT_BYTES_MAX,
        "memory does not return: {memory:?}"
    );
}

//! The same room while every plugin gets other versions, by the management channel; one of them fails and goes back.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rillway::management::pki::{Authority, Subject};
use rillway::management::wire::request::Verb;
use rillway::management::wire::response::Part;
use rillway::management::wire::{Plugin, PluginReloadRequest, PluginsRequest};
use rillway::management::{Client, Identity, Role, Target};
use rillway_policy::Kind;
use rillway_policy::testing::{Behaviour, component};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};

use crate::router::Router;
use crate::{Meanwhile, Stretch, calm, crowd};

/// Plugins of the room, each of another kind.
const PLUGINS: [&str; 4] = [
    "signaling-rooms",
    "auth-open",
    "layers-adaptive",
    "record-on-request",
];
/// Pause between two swaps.
const PAUSE: Duration = Duration::from_millis(500);
/// Share of a version that fails, percent.
const CANARY: u32 = 20;
/// Time of each kind of stretch, seconds.
const SECONDS: u64 = 10;
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// What an operator does in a stretch.
#[derive(Debug, Clone, Copy)]
enum Plan {
    /// Every plugin of the room gets another version, one after the other, again and again.
    Everything,
    /// A version that always traps gets a share of the requests to a plugin of its own route.
    Failing,
}

/// Somebody with an admin's certificate.
pub(crate) struct Operator {
    target: Target,
    plan: Plan,
    swaps: Rc<Cell<usize>>,
}

/// An operator at work.
pub(crate) struct Work {
    operator: JoinHandle<()>,
    requests: JoinSet<()>,
}

impl Work {
    /// Waits until the operator has done what was begun.
    pub(crate) async fn end(self) {
        self.operator.await.expect("the operator failed");
        drop(self.requests);
    }
}

impl Operator {
    pub(crate) fn begin(self: &Rc<Self>, gateway: SocketAddr) -> Work {
        let operator = self.clone();
        let mut requests = JoinSet::new();
        if matches!(self.plan, Plan::Failing) {
            requests.spawn_local(async move {
                loop {
                    ask(gateway).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
        Work {
            operator: tokio::task::spawn_local(async move { operator.work().await }),
            requests,
        }
    }

    async fn work(&self) {
        let client = Client::connect(&self.target).await;
        let client = client.unwrap_or_else(|error| panic!("{error}"));
        match self.plan {
            Plan::Everything => {
                let until = tokio::time::Instant::now() + Duration::from_secs(SECONDS);
                for name in PLUGINS.iter().cycle() {
                    if tokio::time::Instant::now() >= until {
                        break;
                    }
                    reload(&client, name, Vec::new(), 0).await;
                    self.swaps.set(self.swaps.get() + 1);
                    tokio::time::sleep(PAUSE).await;
                }
            }
            Plan::Failing => {
                let failing = component(Kind::Signaling, &Behaviour::Trap);
                reload(&client, "echo", failing, CANARY).await;
                for _ in 0..SECONDS {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    if plugins(&client)
                        .await
                        .iter()
                        .any(|p| p.name == "echo" && p.returns == 1)
                    {
                        self.swaps.set(self.swaps.get() + 1);
                        break;
                    }
                }
            }
        }
        client.close().await;
    }
}

async fn reload(client: &Client, name: &str, component: Vec<u8>, canary_percent: u32) {
    let name = name.to_owned();
    let request = PluginReloadRequest {
        name,
        component,
        canary_percent,
    };
    call(client, Verb::PluginReload(request)).await;
}

async fn plugins(client: &Client) -> Vec<Plugin> {
    match call(client, Verb::Plugins(PluginsRequest {})).await {
        Part::Plugins(plugins) => plugins.plugins,
        other => panic!("{other:?}"),
    }
}

async fn call(client: &Client, verb: Verb) -> Part {
    let answer = async { client.call(verb).await?.next().await };
    match answer.await {
        Ok(Some(part)) => part,
        Ok(None) => panic!("no answer"),
        Err(error) => panic!("{error}"),
    }
}

/// A request to the plugin that fails; what comes of it is seen in the plugin's counters.
async fn ask(gateway: SocketAddr) {
    let Ok(mut stream) = TcpStream::connect(gateway).await else {
        return;
    };
    let request = format!("GET /echo/x HTTP/1.1\r\nhost: {gateway}\r\nconnection: close\r\n\r\n");
    let mut answer = Vec::new();
    if stream.write_all(request.as_bytes()).await.is_ok() {
        // One that behaves well never answers: it is not waited for.
        let read = stream.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_millis(20), read).await;
    }
}

pub(crate) fn identity(authority: &Authority, role: Option<Role>) -> Identity {
    let hosts = if role.is_none() {
        vec!["127.0.0.1".to_owned()]
    } else {
        Vec::new()
    };
    let subject = Subject {
        name: "load".to_owned(),
        role,
        hosts,
        valid: HOUR,
    };
    let issued = authority.issue(&subject).expect("a certificate");
    Identity {
        certificate: issued.certificate,
        key: issued.key,
        authority: authority.certificate().to_owned(),
    }
}

fn configuration(port: u16) -> String {
    format!(
        "authentication.policy = \"auth-open\"\n\
         [management]\nlisten = \"127.0.0.1:{port}\"\ncertificate = \"router.pem\"\n\
         key = \"router.key\"\nclient_ca = \"ca.pem\"\n\
         [[signaling.routes]]\npath = \"/signal/rooms\"\nplugin = \"signaling-rooms\"\n\
         subprotocol = \"rillway.rooms.v1\"\n\
         [[signaling.routes]]\npath = \"/echo\"\nplugin = \"echo\"\n\
         [plugins.echo]\ncomponent = \"echo.wasm\"\n"
    )
}

pub(crate) fn run() {
    let authority = Authority::create("load", HOUR).expect("an authority");
    let server = identity(&authority, None);
    // A port that was free a moment ago.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("bound");
    drop(socket);
    let files = [
        ("router.pem", server.certificate.clone().into_bytes()),
        ("router.key", server.key.reveal().as_bytes().to_vec()),
        ("ca.pem", authority.certificate().as_bytes().to_vec()),
        ("echo.wasm", component(Kind::Signaling, &Behaviour::Well)),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes));
    let router = Router::start_with("ring", &configuration(address.port()), &files);
    let swaps = Rc::new(Cell::new(0));
    let operator = |title: &str, plan| Stretch {
        title: title.to_owned(),
        seconds: SECONDS,
        meanwhile: Meanwhile::Swap(Rc::new(Operator {
            target: Target {
                address,
                name: "127.0.0.1".to_owned(),
                identity: identity(&authority, Some(Role::Admin)),
            },
            plan,
            swaps: swaps.clone(),
        })),
    };
    let stretches = [
        calm("calm", SECONDS),
        operator("every plugin swapped", Plan::Everything),
        operator("a canary that fails", Plan::Failing),
        calm("calm again", SECONDS),
    ];
    crowd(&router, &stretches);
    println!("{} swaps, the return of the canary among them", swaps.get());
    assert!(swaps.get() > 2 * PLUGINS.len(), "{} swaps", swaps.get());
}

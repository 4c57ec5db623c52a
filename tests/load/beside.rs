//! What operators and strangers do to a router beside the room of 200, on a thread of their own.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rillway::management::pki::Authority;
use rillway::management::{Client, Role, Target};
use tokio::task::LocalSet;

use crate::router::Router;
use crate::swap::{HOUR, identity};

/// Something that is done until its end is asked for.
pub(crate) type Deed = Arc<dyn Fn(Stop) -> Pin<Box<dyn Future<Output = ()>>> + Send + Sync>;

/// Whether the end is asked for.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn asked(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Waits, but not beyond the end.
    pub(crate) async fn pause(&self, time: Duration) {
        let until = tokio::time::Instant::now() + time;
        while !self.asked() && tokio::time::Instant::now() < until {
            let step = (until - tokio::time::Instant::now()).min(Duration::from_millis(50));
            tokio::time::sleep(step).await;
        }
    }
}

/// A deed as it is done.
pub(crate) struct Doing {
    stop: Stop,
    thread: std::thread::JoinHandle<()>,
}

impl Doing {
    pub(crate) fn begin(deed: &Deed) -> Doing {
        let (deed, stop) = (deed.clone(), Stop::default());
        let of_thread = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            LocalSet::new().block_on(&runtime.expect("a runtime"), deed(of_thread));
        });
        Doing { stop, thread }
    }

    /// Asks for its end and waits for it.
    pub(crate) async fn end(self) {
        self.stop.0.store(true, Relaxed);
        let ended = tokio::task::spawn_blocking(|| self.thread.join()).await;
        ended.expect("no panic here").expect("the deed failed");
    }
}

/// A router with a management channel, and who may use it.
pub(crate) struct Managed {
    pub(crate) router: Router,
    authority: Authority,
    address: SocketAddr,
    /// Its configuration but for `more`, to be written anew.
    pub(crate) text: String,
}

impl Managed {
    /// `more`: further lines; keys with dots alone.
    pub(crate) fn start(more: &str) -> Managed {
        let authority = Authority::create("load", HOUR).expect("an authority");
        let server = identity(&authority, None);
        let [address, metrics] = [(); 2].map(|()| free_address());
        let files = [
            ("router.pem", server.certificate.clone().into_bytes()),
            ("router.key", server.key.reveal().as_bytes().to_vec()),
            ("ca.pem", authority.certificate().as_bytes().to_vec()),
        ]
        .map(|(name, bytes)| (name.to_owned(), bytes));
        let text = format!(
            "authentication.policy = \"auth-open\"\n\
             management.listen = \"{address}\"\nmanagement.certificate = \"router.pem\"\n\
             management.key = \"router.key\"\nmanagement.client_ca = \"ca.pem\"\n\
             management.connections_max = 100\nmanagement.calls_per_second_max = 10000\n"
        );
        let router = Router::start_at("ring", metrics, &format!("{text}{more}"), &files);
        let text = format!("{}{text}", Router::base("ring", metrics));
        Managed {
            router,
            authority,
            address,
            text,
        }
    }

    /// Where it is, for somebody of this role.
    pub(crate) fn target(&self, role: Role) -> Target {
        Target {
            address: self.address,
            name: "127.0.0.1".to_owned(),
            identity: identity(&self.authority, Some(role)),
        }
    }
}

/// A port that was free a moment ago, both for UDP and for TCP.
fn free_address() -> SocketAddr {
    loop {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("bound");
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

pub(crate) async fn connect(target: &Target) -> Client {
    let client = Client::connect(target).await;
    client.unwrap_or_else(|error| panic!("{error}"))
}

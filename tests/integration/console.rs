//! The console: who may look, what a browser gets, and that nobody notices one that does not read.

use std::net::SocketAddr;
use std::time::Duration;

use rillway::config::{Console, Secret};
use rillway::management::Role;
use rillway::{Running, Signals};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::management::ask;
use crate::operating::{meeting, run_for};
use crate::reload::{call, during, managed, nothing_is_lost, reload};
use crate::router::{Answer, PATIENCE, config, get, http, raw, soon};
use crate::site::Site;

const TOKEN: &str = "0123456789abcdef";

fn start() -> (Running, SocketAddr) {
    let mut config = config();
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    config.console = Some(Console::new(loopback, Secret::new(TOKEN.to_owned())));
    let running = rillway::run(config, Signals::Ignore).expect("free ports on loopback");
    let address = running.console_address().expect("it is on");
    (running, address)
}

async fn log_in(console: SocketAddr, token: &str, headers: &str) -> Answer {
    let length = token.len();
    let head = format!(
        "POST /login HTTP/1.1\r\nhost: {console}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{token}"
    );
    raw(console, &head).await
}

/// A session, as a header.
async fn session(console: SocketAddr) -> String {
    let answer = log_in(console, TOKEN, "").await;
    assert_eq!(answer.status, 204, "{answer:?}");
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    let pair = cookie.split(';').next().expect("a pair");
    format!("cookie: other=1; {pair}\r\n")
}

/// A stream of samples.
struct Samples {
    stream: TcpStream,
    text: String,
}

impl Samples {
    async fn open(console: SocketAddr, path: &str, headers: &str) -> Samples {
        let mut stream = TcpStream::connect(console).await.expect("listening");
        let head =
            format!("GET {path} HTTP/1.1\r\nhost: {console}\r\nconnection: close\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).await.expect("taken");
        Samples {
            stream,
            text: String::new(),
        }
    }

    /// The next one; `None`: the stream has ended.
    async fn next(&mut self) -> Option<Value> {
        let mut bytes = [0; 65_536];
        loop {
            // Events are lines; how they are cut into chunks does not matter here.
            if let Some(at) = self.text.find("data: {")
                && let Some(end) = self.text[at..].find("}\n\n")
            {
                let json = self.text[at + 6..=at + end].to_owned();
                self.text.drain(..at + end + 1);
                return Some(serde_json::from_str(&json).expect("JSON"));
            }
            let read = soon("a sample", self.stream.read(&mut bytes)).await;
            match read.expect("it is open") {
                0 => return None,
                count => self.text += &String::from_utf8_lossy(&bytes[..count]),
            }
        }
    }
}

#[tokio::test]
async fn without_the_token_nothing_is_shown() {
    let (running, console) = start();
    let page = get(console, "/").await;
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    for path in ["/main.js", "/console.css", "/icon.svg"] {
        assert_eq!(get(console, path).await.status, 200, "{path}");
    }
    for path in [
        "/package.json",
        "/tsconfig.json",
        "/../mod.rs",
        "/metrics",
        "/nothing.js",
    ] {
        assert_eq!(get(console, path).await.status, 404, "{path}");
    }
    let version = env!("CARGO_PKG_VERSION");
    assert!(!page.body.contains(version), "it is the same for everybody");

    let foreign = "origin: http://evil.example\r\n";
    let right = session(console).await;
    let made_up = format!("cookie: rillway_console={}\r\n", "0".repeat(64));
    let cases = [
        ("nothing", "", 401),
        ("a session that was made up", &*made_up, 401),
        (
            "another token",
            "authorization: Bearer 0123456789abcdeg\r\n",
            401,
        ),
        ("no token", "authorization: Bearer \r\n", 401),
        ("another page", &*format!("{foreign}{right}"), 403),
        (
            "another site",
            &*format!("sec-fetch-site: cross-site\r\n{right}"),
            403,
        ),
    ];
    for (title, headers, status) in cases {
        for path in [
            "/api/watch",
            "/api/watch?room=r",
            "/api/why?room=r&participant=p&track=t",
        ] {
            let answer = http(console, "GET", path, headers).await;
            assert_eq!(answer.status, status, "{title}: {path}");
            assert!(!answer.body.contains("workers"), "{title}: {}", answer.body);
        }
    }
    assert_eq!(log_in(console, TOKEN, foreign).await.status, 403);
    assert_eq!(
        http(console, "POST", "/api/watch", &right).await.status,
        405
    );

    // Guesses are few.
    let mut seen = Vec::new();
    for _ in 0..12 {
        seen.push(log_in(console, "a guess", "").await.status);
    }
    assert!(seen.contains(&401) && seen.contains(&429), "{seen:?}");
    running.stop();
}

#[tokio::test]
async fn a_session_and_a_token_show_the_same_samples() {
    let (running, console) = start();
    let cookie = session(console).await;
    let mut clients = meeting(&running, "a/b & c").await;
    let bearer = format!("authorization: Bearer {TOKEN}\r\n");
    let path = "/api/watch?room=a%2Fb%20%26%20c";
    let mut one = Samples::open(console, path, &cookie).await;
    let mut other = Samples::open(console, path, &bearer).await;
    let watching = async {
        for _ in 0..2 {
            one.next().await.expect("a sample");
            other.next().await.expect("a sample");
        }
        (one.next().await, other.next().await)
    };
    let (samples, ()) = tokio::join!(watching, run_for(&mut clients, Duration::from_secs(5)));
    let (sample, same) = (samples.0.expect("a sample"), samples.1.expect("a sample"));
    assert_eq!(sample["at_ms"], same["at_ms"], "one measurement for both");
    assert!(
        sample["rooms"][0]["sent_bps"].as_u64() > Some(100_000),
        "{sample}"
    );
    let people = sample["room"]["participants"].as_array();
    assert_eq!(people.map(Vec::len), Some(2), "{sample}");

    let subscription = &sample["room"]["subscriptions"][0]["subscription"];
    let text = |name: &str| subscription[name].as_str().expect("an id").to_owned();
    let path = format!(
        "/api/why?room=a%2Fb%20%26%20c&participant={}&track={}",
        text("participant"),
        text("track")
    );
    let why = http(console, "GET", &path, &cookie).await;
    assert_eq!(why.status, 200, "{why:?}");
    let why: Value = serde_json::from_str(&why.body).expect("JSON");
    assert_eq!(why[0]["subscription"]["track"], subscription["track"]);
    let none = http(console, "GET", "/api/why?room=x", &cookie).await;
    assert_eq!(none.status, 404);
    assert!(none.body.contains("there is no room `x`"), "{}", none.body);
    let out = http(console, "POST", "/logout", &cookie).await;
    assert!(
        out.header("set-cookie")
            .is_some_and(|value| value.contains("Max-Age=0"))
    );
}

/// Browsers that read nothing, connections that say nothing: a call and the gateway do not notice.
#[tokio::test]
async fn who_does_not_read_and_who_says_nothing_delay_nobody() {
    let (running, console) = start();
    let bearer = format!("authorization: Bearer {TOKEN}\r\n");
    let mut clients = call(running.gateway_address()).await;
    let mut stalled = Vec::new();
    for _ in 0..20 {
        stalled.push(Samples::open(console, "/api/watch?room=call", &bearer).await);
    }
    for _ in 0..100 {
        stalled.push(Samples {
            stream: TcpStream::connect(console)
                .await
                .expect("the kernel takes it"),
            text: String::new(),
        });
    }
    let gateway = running.gateway_address();
    during(&mut clients, async {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(get(gateway, "/readyz").await.status, 200);
        }
        // All places are taken until those that said nothing are given up.
        let mut late = Samples::open(console, "/api/watch", &bearer).await;
        let sample = tokio::time::timeout(2 * PATIENCE, async {
            drop(stalled);
            late.next().await
        });
        assert!(sample.await.expect("a place").is_some());
    })
    .await;
    nothing_is_lost(&mut clients).await;
}

#[tokio::test]
async fn a_new_token_ends_the_sessions_of_the_old_one() {
    let site = Site::new("console");
    site.secret("token", TOKEN);
    let text = "authentication.policy = \"auth-open\"\nconsole = { listen = \"127.0.0.1:0\", token_file = \"token\" }\n";
    let managed = managed(&site, text);
    let admin = managed.client(Role::Admin).await;
    let console = managed.running.console_address().expect("it is on");
    let cookie = session(console).await;
    let mut samples = Samples::open(console, "/api/watch", &cookie).await;
    assert!(samples.next().await.is_some());
    site.secret("token", "another token of the console");
    ask(&admin, reload()).await.expect("a reload");
    let end = async { while samples.next().await.is_some() {} };
    soon("the end of the session", end).await;
    assert_eq!(
        http(console, "GET", "/api/watch", &cookie).await.status,
        401
    );
    assert_eq!(log_in(console, TOKEN, "").await.status, 401);
}

#[test]
fn a_console_without_a_good_token_is_refused() {
    let site = Site::new("console-refused");
    site.write("open", TOKEN);
    site.secret("short", "too short");
    let base = "authentication.policy = \"auth-open\"\n[console]\n";
    let listen = "listen = \"127.0.0.1:7444\"\n";
    let cases = [
        (listen.to_owned(), "`console.token_file` is not"),
        ("token_file = \"open\"\n".to_owned(), "the console is off"),
        (
            format!("{listen}token_file = \"open\"\n"),
            "everybody on this machine may read it",
        ),
        (
            format!("{listen}token_file = \"short\"\n"),
            "fewer than 16 characters",
        ),
        (
            format!("{listen}token_file = \"none\"\n"),
            "cannot use the token in",
        ),
    ];
    for (text, wanted) in cases {
        let report = site.invalid(&format!("{base}{text}"));
        assert!(
            report.contains(wanted) && report.contains("help"),
            "{report}"
        );
    }
    site.secret("good", TOKEN);
    let same =
        format!("{base}{listen}token_file = \"good\"\n[metrics]\nlisten = \"127.0.0.1:7444\"\n");
    let report = site.invalid(&same);
    assert!(report.contains("both want TCP port 7444"), "{report}");
}

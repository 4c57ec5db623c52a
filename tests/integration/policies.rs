//! Policies that the configuration names, as components in a running router.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use clap::Parser as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rillway::Running;
use rillway::cli::{Action, Arguments};
use rillway::config::{Config, Overrides};
use rillway_policy::Kind;
use rillway_policy::testing::{Behaviour, component};
use rillway_tests::whip;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use crate::router::{Client, connect, get, join, metric, metric_becomes, soon};
use crate::site::Site;

/// Whoever joins brings a token, sealed by the secret in `jwt.secret`.
pub(crate) const BY_TOKEN: &str = "authentication.policy = \"auth-jwt\"\n\
    [plugins.auth-jwt.config]\nkeys = [{ name = \"main\" }]\n\
    [plugins.auth-jwt.keys.main]\nalgorithm = \"HS256\"\nfile = \"jwt.secret\"\n";
pub(crate) const SECRET: &str = "a secret of more than thirty-two bytes";

pub(crate) fn token(secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).expect("a token")
}

/// A token for `class-*` that the command line makes.
fn made_by_the_program(secret: &Path) -> String {
    let secret = secret.to_str().expect("UTF-8");
    let line = ["rillway", "token", "--secret-file", secret];
    let line = line
        .into_iter()
        .chain(["--room", "class-*", "--identity", "bob"]);
    let line = line.chain(["--publish", "microphone", "--subscribe"]);
    let arguments = Arguments::try_parse_from(line).expect("such a command");
    match arguments.action().expect("no configuration is read") {
        Action::Token(token) => token.run().expect("signed").trim_end().to_owned(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn in_an_hour() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("after 1970").as_secs() + 3_600
}

async fn ask_to_join(running: &Running, room: &str, token: Option<&str>) -> (Client, Value) {
    let mut client = connect(running).await;
    let mut request = json!({"type": "join", "room": room});
    if let Some(token) = token {
        request["token"] = token.into();
    }
    let answer = client.ask(request).await;
    (client, answer)
}

#[tokio::test]
async fn tokens_decide_who_joins_and_what_they_may() {
    let site = Site::new("tokens");
    site.secret("jwt.secret", SECRET);
    let running = site.run(BY_TOKEN);
    let claims = json!({
        "sub": "ada", "name": "Ada", "exp": in_an_hour(),
        "rillway": {"room": "class-*", "publish": ["microphone"], "subscribe": true},
    });
    let good = token(SECRET, &claims);
    let (_ada, joined) = ask_to_join(&running, "class-7", Some(&good)).await;
    assert_eq!(joined["type"], "joined", "{joined}");
    assert_eq!(joined["participant"]["identity"], "ada");
    assert_eq!(joined["grant"]["publish"], json!(["microphone"]));
    assert_eq!(joined["grant"]["publishData"], false);
    let made = made_by_the_program(&site.0.join("jwt.secret"));
    let (_bob, also) = ask_to_join(&running, "class-7", Some(&made)).await;
    assert_eq!(also["participant"]["identity"], "bob", "{also}");
    assert_eq!(also["grant"], joined["grant"]);

    let forged = token("another secret of more than 32 bytes", &claims);
    for (room, token, code) in [
        ("class-7", None, "unauthenticated"),
        ("class-7", Some(forged.as_str()), "unauthenticated"),
        ("class-7", Some("no.token.atall"), "unauthenticated"),
        ("board", Some(good.as_str()), "forbidden"),
    ] {
        let (mut client, answer) = ask_to_join(&running, room, token).await;
        assert_eq!(answer["code"], code, "{room}, {token:?}: {answer}");
        assert_eq!(answer["fatal"], true);
        assert_eq!(client.closed().await, 4001);
    }
    // WHIP asks the same policy.
    let address = running.gateway_address();
    let offer = whip::Offered::new(whip::Role::Publisher).expect("a socket");
    let sdp = ("content-type", "application/sdp");
    let refused = whip::http(address, "POST", "/whip/class-7", &[sdp], &offer.sdp).await;
    assert_eq!(refused.expect("an answer").status, 401);
    let calls = "rillway_plugin_calls_total{plugin=\"auth-jwt\",kind=\"authentication\"}";
    metric_becomes(&running, calls, 7.0).await;
}

/// A service that admits whoever brings the right words; says how often it was asked.
async fn webhook(listener: tokio::net::TcpListener, asked: std::sync::Arc<AtomicUsize>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = String::new();
        let mut buffer = [0; 4_096];
        // Its body ends with the JSON object.
        while !request.ends_with('}') {
            match stream.read(&mut buffer).await {
                Ok(n @ 1..) => request.push_str(&String::from_utf8_lossy(&buffer[..n])),
                _ => break,
            }
        }
        asked.fetch_add(1, Ordering::Relaxed);
        let signed = request.to_lowercase().contains("rillway-signature: t=");
        let (status, body) = match request.contains("\"open sesame\"") && signed {
            true => ("200 OK", r#"{"identity": "ali", "subscribe": true}"#),
            false => ("403 Forbidden", r#"{"message": "not those words"}"#),
        };
        let head = "content-type: application/json\r\nconnection: close\r\n";
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\n{head}content-length: {length}\r\n\r\n{body}");
        stream
            .write_all(answer.as_bytes())
            .await
            .expect("it listens");
    }
}

#[tokio::test]
async fn a_service_of_the_operator_decides_who_joins() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a free port");
    let origin = format!("http://{}", listener.local_addr().expect("bound"));
    let asked = std::sync::Arc::new(AtomicUsize::new(0));
    let service = tokio::spawn(webhook(listener, asked.clone()));
    let site = Site::new("webhook");
    site.secret("webhook.secret", SECRET);
    let running = site.run(&format!(
        "authentication.policy = \"auth-webhook\"\n\
         [plugins.auth-webhook]\nhttp_origins = [\"{origin}\"]\n\
         [plugins.auth-webhook.config]\nurl = \"{origin}/join\"\nkey = \"main\"\n\
         [plugins.auth-webhook.keys.main]\nalgorithm = \"HS256\"\nfile = \"webhook.secret\"\n\
         [plugins.auth-webhook.budgets]\ncall_ms_max = 5000\n"
    ));
    let (_ali, joined) = ask_to_join(&running, "cave", Some("open sesame")).await;
    assert_eq!(joined["type"], "joined", "{joined}");
    assert_eq!(joined["participant"]["identity"], "ali");
    assert_eq!(joined["grant"]["publish"], json!([]));
    let (_, answer) = ask_to_join(&running, "cave", Some("open barley")).await;
    assert_eq!(answer["code"], "forbidden", "{answer}");
    assert!(
        answer["message"].to_string().contains("not those words"),
        "{answer}"
    );
    // The first answer is kept for a while.
    let (_ali, joined) = ask_to_join(&running, "cave", Some("open sesame")).await;
    assert_eq!(joined["type"], "joined", "{joined}");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    // Without the service nobody new gets in.
    service.abort();
    let _ = service.await;
    let (_, answer) = ask_to_join(&running, "tent", Some("open sesame")).await;
    assert_eq!(answer["code"], "unavailable", "{answer}");
}

#[tokio::test]
async fn components_that_cannot_be_used_are_refused_with_place_and_cure() {
    let site = Site::new("refused");
    site.write(
        "deny.wasm",
        component(Kind::Authentication, &Behaviour::Deny),
    );
    site.write("chat.wasm", component(Kind::Signaling, &Behaviour::Well));
    site.write("text.wasm", "no component");
    let policy = "authentication.policy = \"mine\"\n[plugins.mine]\n";
    for (table, wanted) in [
        (
            "component = \"text.wasm\"\n",
            vec!["text.wasm", "no WebAssembly"],
        ),
        ("component = \"chat.wasm\"\n", vec!["authentication"]),
        (
            "component = \"deny.wasm\"\n\
             sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"\n",
            vec!["9f86d081"],
        ),
    ] {
        let said = site.refusal(&format!("{policy}{table}"));
        assert!(said.contains("rillway.toml:"), "the place: {said}");
        for part in wanted {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
    site.write(
        "jwt.wasm",
        rillway_components::get("auth-jwt").expect("shipped"),
    );
    let said = site.refusal(&format!(
        "{policy}component = \"jwt.wasm\"\nimports = [\"config\"]\n"
    ));
    assert!(said.contains("not granted"), "{said}");
    assert!(said.contains("plugins.mine.imports"), "{said}");
}

#[tokio::test]
async fn a_failing_authentication_denies_and_its_breaker_opens() {
    let site = Site::new("failing");
    site.write(
        "trap.wasm",
        component(Kind::Authentication, &Behaviour::Trap),
    );
    let running =
        site.run("authentication.policy = \"mine\"\n[plugins.mine]\ncomponent = \"trap.wasm\"\n");
    for _ in 0..4 {
        let (mut client, answer) = ask_to_join(&running, "r", None).await;
        assert_eq!(answer["code"], "unavailable", "{answer}");
        assert_eq!(client.closed().await, 4013);
    }
    let labels = "plugin=\"mine\",kind=\"authentication\"";
    let fault = format!("rillway_plugin_faults_total{{{labels},fault=\"trapped\"}}");
    metric_becomes(&running, &fault, 3.0).await;
    let refused = format!("rillway_plugin_refused_total{{{labels},reason=\"breaker\"}}");
    metric_becomes(&running, &refused, 1.0).await;
    let open = format!("rillway_plugin_breaker{{{labels},state=\"open\"}}");
    metric_becomes(&running, &open, 1.0).await;
}

/// Routes of the rooms protocol, and of a component in `mine.wasm` that speaks it or something else.
const TWO_ROUTES: &str = "authentication.policy = \"auth-open\"\n\
     [[signaling.routes]]\npath = \"/signal/rooms\"\nplugin = \"signaling-rooms\"\n\
     subprotocol = \"rillway.rooms.v1\"\n\
     [[signaling.routes]]\npath = \"/mine\"\nplugin = \"mine\"\n\
     [plugins.mine]\ncomponent = \"mine.wasm\"\n";

#[tokio::test]
async fn a_failing_signaling_costs_its_client_alone() {
    let site = Site::new("signaling");
    site.write("mine.wasm", component(Kind::Signaling, &Behaviour::Trap));
    let running = site.run(TWO_ROUTES);
    let (mut ada, _) = join(&running, "r", "Ada").await;
    let address = running.gateway_address();
    for wanted in [500, 500, 500, 503, 503] {
        let answer = get(address, "/mine/anything").await;
        assert_eq!(answer.status, wanted, "{}", answer.body);
    }
    let retry = get(address, "/mine/anything").await;
    assert!(retry.header("retry-after").is_some(), "it says when");
    // The other plugin's clients have noticed nothing.
    let (_bob, joined) = join(&running, "r", "Bob").await;
    assert_eq!(joined["participants"][0]["name"], "Ada");
    ada.told("participant-joined").await;
}

#[tokio::test]
async fn a_signaling_that_never_ends_does_not_stop_others() {
    let site = Site::new("spin");
    site.write("mine.wasm", component(Kind::Signaling, &Behaviour::Spin));
    let running = site.run(TWO_ROUTES);
    let address = running.gateway_address();
    let stuck = tokio::spawn(async move { get(address, "/mine/anything").await.status });
    let (_ada, _) = join(&running, "r", "Ada").await;
    assert_eq!(soon("the deadline", stuck).await.expect("no panic"), 500);
    let timeout =
        "rillway_plugin_faults_total{plugin=\"mine\",kind=\"signaling\",fault=\"timeout\"}";
    metric_becomes(&running, timeout, 1.0).await;
}

#[tokio::test]
async fn a_changed_component_takes_over_and_clients_stay() {
    let site = Site::new("swap");
    let rooms = rillway_components::get("signaling-rooms").expect("shipped");
    site.write("rooms.wasm", rooms);
    let running = site.run(
        "authentication.policy = \"auth-open\"\npolicy.watch_files = true\n\
         [[signaling.routes]]\npath = \"/signal/rooms\"\nplugin = \"mine\"\n\
         subprotocol = \"rillway.rooms.v1\"\n\
         [plugins.mine]\ncomponent = \"rooms.wasm\"\n\
         imports = [\"log\", \"metrics\", \"config\", \"clock\", \"kv\", \"crypto\"]\n",
    );
    let (mut ada, _) = join(&running, "r", "Ada").await;
    let generation = "rillway_plugin_generation{plugin=\"mine\"}";
    metric_becomes(&running, generation, 1.0).await;

    // One that cannot be used changes nothing.
    site.replace("rooms.wasm", b"no component");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(metric(&running, generation).await, Some(1.0));

    site.replace("rooms.wasm", &component(Kind::Signaling, &Behaviour::Well));
    metric_becomes(&running, generation, 2.0).await;
    let mut echo = connect(&running).await;
    let answer = echo.ask(json!({"type": "join", "room": "r"})).await;
    assert_eq!(
        answer["room"], "r",
        "the new version sends back what it gets"
    );
    // Who was there is served by the version that it began with.
    let answer = ada.ask(json!({"type": "nonsense"})).await;
    assert_eq!(answer["code"], "unknown_type", "{answer}");
    ada.send(Message::text("{")).await;
    assert_eq!(ada.told("error").await["code"], "bad_message");
}

#[test]
fn names_and_files_are_checked_before_anything_runs() {
    let site = Site::new("names");
    let path = site.0.join("rillway.toml");
    let load = |text: &str| {
        std::fs::write(&path, text).expect("written");
        match Config::load(Path::new(&path), &Overrides::default()) {
            Err(error) => error.render(false),
            Ok(_) => panic!("valid: {text}"),
        }
    };
    for (text, wanted) in [
        ("authentication.policy = \"auth-jwtt\"\n", "\"auth-jwt\""),
        ("authentication.policy = \"open\"\n", "auth-open"),
        ("authentication.policy = \"signaling-rooms\"\n", "signaling"),
        (
            "authentication.policy = \"mine\"\n[plugins.mine]\ncomponent = \"gone.wasm\"\n",
            "gone.wasm",
        ),
    ] {
        let said = load(text);
        assert!(
            said.contains(wanted) && said.contains("rillway.toml"),
            "{said}"
        );
    }
}

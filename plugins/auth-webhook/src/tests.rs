//! Services of all sorts.

use rillway_plugin_sdk as sdk;
use sdk::Authentication as _;
use sdk::authentication::Attempt;
use sdk::http::{Error, Response};
use sdk::testing::{self, Host, Key};
use sdk::types::{Denial, Grant, Source};
use serde_json::{Value, json};

use crate::{Webhook, signature};

const NOW_MS: u64 = 1_767_225_600_000;

/// A host whose service always answers so.
fn service(config: &Value, answer: Result<(u16, Value), Error>) {
    let secret = Key::new("HS256", b"the webhook's secret");
    testing::install(Host {
        config: config.to_string(),
        now_ms: NOW_MS,
        keys: [("webhook".to_owned(), secret)].into(),
        http: Box::new(move |_| {
            answer.clone().map(|(status, body)| Response {
                status,
                headers: Vec::new(),
                body: body.to_string().into_bytes(),
            })
        }),
        ..Host::default()
    });
}

fn config() -> Value {
    json!({"url": "https://backend.example/join", "key": "webhook"})
}

fn attempt() -> Attempt {
    Attempt {
        scheme: "token".to_owned(),
        credentials: b"a secret".to_vec(),
        room: Some("r".to_owned()),
        name: Some("Ada".to_owned()),
        remote_address: "192.0.2.7".to_owned(),
        protocol: "signaling-rooms".to_owned(),
        guest_identity: "guest-1".to_owned(),
        attributes: Vec::new(),
    }
}

fn ask(attempt: Attempt) -> Result<Grant, Denial> {
    let mut plugin: Webhook = testing::start().expect("the configuration is good");
    plugin.authenticate(attempt)
}

fn questions() -> usize {
    testing::with(|host| host.requests.len())
}

#[test]
fn the_service_is_asked_and_believed() {
    let answer = json!({
        "identity": "ada", "publish": ["camera", "screen_audio"], "subscribe": true,
        "expiresAtMs": NOW_MS + 1, "attributes": {"team": "blue"},
    });
    service(&config(), Ok((200, answer)));
    let grant = ask(attempt()).expect("a grant");
    assert_eq!((grant.room.as_str(), grant.identity.as_str()), ("r", "ada"));
    assert_eq!(grant.publish, [Source::Camera, Source::ScreenAudio]);
    assert!(grant.subscribe && !grant.publish_data && !grant.record_control);
    assert_eq!(grant.expires_at_ms, Some(NOW_MS + 1));

    let request = testing::with(|host| host.requests[0].clone());
    assert_eq!((request.method.as_str(), request.timeout_ms), ("POST", 0));
    assert_eq!(request.url, "https://backend.example/join");
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    let expected = json!({
        "scheme": "token", "credentials": "a secret", "room": "r", "name": "Ada",
        "remoteAddress": "192.0.2.7", "protocol": "signaling-rooms", "guestIdentity": "guest-1",
        "attributes": {},
    });
    assert_eq!(body, expected);
    let signed = signature("webhook", NOW_MS / 1_000, &request.body).expect("the key is there");
    let mut headers = request.headers.iter();
    let header = headers.find(|(name, _)| name == "rillway-signature");
    assert_eq!(header.map(|(_, value)| value), Some(&signed));
    assert!(
        signed.starts_with("t=1767225600,v1=") && signed.len() == 16 + 64,
        "{signed}"
    );
}

#[test]
fn an_empty_grant_grants_nothing() {
    service(&config(), Ok((200, json!({}))));
    let grant = ask(attempt()).expect("a grant");
    assert_eq!(
        (grant.room.as_str(), grant.identity.as_str()),
        ("r", "guest-1")
    );
    assert!(grant.publish.is_empty() && !grant.subscribe && !grant.publish_data);
}

#[test]
fn the_service_may_name_the_room_and_somebody_has_to() {
    let homeless = || Attempt {
        room: None,
        ..attempt()
    };
    service(&config(), Ok((200, json!({"room": "s"}))));
    assert_eq!(ask(homeless()).expect("a grant").room, "s");
    service(&config(), Ok((200, json!({}))));
    assert!(matches!(ask(homeless()), Err(Denial::Forbidden(_))));
}

#[test]
fn refusals_reach_the_client() {
    let ask = |status, body| {
        service(&config(), Ok((status, body)));
        ask(attempt()).expect_err("refused")
    };
    let text = |text: &str| text.to_owned();
    assert_eq!(
        ask(401, json!({"message": "who?"})),
        Denial::Unauthenticated(text("who?"))
    );
    assert_eq!(
        ask(403, json!(null)),
        Denial::Forbidden(text("this is not allowed"))
    );
    assert_eq!(
        ask(429, json!({"message": "full"})),
        Denial::OverQuota(text("full"))
    );
}

#[test]
fn everything_else_keeps_out() {
    let answers = [
        Err(Error::Timeout),
        Err(Error::Failed("connection refused".to_owned())),
        Err(Error::NotAllowed("https://backend.example".to_owned())),
        Ok((500, json!({}))),
        Ok((204, json!({}))),
        Ok((302, json!({}))),
        Ok((200, json!("yes"))),
        Ok((200, json!({"subscribe": "yes"}))),
        Ok((200, json!({"publish": ["kamera"]}))),
        Ok((200, json!({"publishing": []}))),
    ];
    for answer in answers {
        service(&config(), answer.clone());
        let denial = ask(attempt()).expect_err("refused");
        assert!(
            matches!(denial, Denial::Unavailable(_)),
            "{answer:?}: {denial:?}"
        );
        let lines = testing::with(|host| host.log.len());
        assert_eq!(lines, 1, "the operator is told: {answer:?}");
    }
}

#[test]
fn a_grant_is_cached_for_the_same_attempt() {
    service(&config(), Ok((200, json!({"subscribe": true}))));
    ask(attempt()).expect("a grant");
    let guest = Attempt {
        guest_identity: "guest-2".to_owned(),
        ..attempt()
    };
    let again = ask(guest).expect("a grant");
    assert_eq!(
        again.identity, "guest-2",
        "a guest's identity is never another's"
    );
    assert_eq!(questions(), 1);
    let changes: [fn(&mut Attempt); 5] = [
        |a| a.credentials = b"another".to_vec(),
        |a| a.credentials = vec![0xff],
        |a| a.room = Some("s".to_owned()),
        |a| a.remote_address = "192.0.2.8".to_owned(),
        |a| a.name = None,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut other = attempt();
        change(&mut other);
        ask(other).expect("a grant");
        assert_eq!(questions(), index + 2);
    }
    testing::with(|host| host.now_ms += 29_999);
    ask(attempt()).expect("a grant");
    assert_eq!(questions(), 6);
    testing::with(|host| host.now_ms += 1);
    ask(attempt()).expect("a grant");
    assert_eq!(questions(), 7);
}

#[test]
fn the_answer_may_shorten_the_cache() {
    service(&config(), Ok((200, json!({"cacheSeconds": 0}))));
    ask(attempt()).expect("a grant");
    ask(attempt()).expect("a grant");
    assert_eq!(questions(), 2);
    service(&config(), Ok((200, json!({"cacheSeconds": 3_600}))));
    ask(attempt()).expect("a grant");
    testing::with(|host| host.now_ms += 30_000);
    ask(attempt()).expect("a grant");
    assert_eq!(questions(), 2, "no longer than the operator allows");
}

#[test]
fn neither_refusals_nor_expired_grants_come_from_the_cache() {
    service(&config(), Ok((401, json!({}))));
    ask(attempt()).expect_err("refused");
    ask(attempt()).expect_err("refused");
    assert_eq!(questions(), 2);
    service(&config(), Ok((200, json!({"expiresAtMs": NOW_MS + 1_000}))));
    ask(attempt()).expect("a grant");
    testing::with(|host| host.now_ms += 1_000);
    ask(attempt()).expect("what the service says; the router refuses it");
    assert_eq!(questions(), 2);
}

#[test]
fn a_full_store_costs_a_question() {
    service(&config(), Ok((200, json!({}))));
    testing::with(|host| host.kv_bytes_max = 10);
    ask(attempt()).expect("a grant");
    ask(attempt()).expect("a grant");
    assert_eq!(questions(), 2);
}

#[test]
fn credentials_of_bytes_are_encoded() {
    service(&config(), Ok((200, json!({}))));
    let bytes = Attempt {
        credentials: vec![0xff, 0x00],
        ..attempt()
    };
    ask(bytes).expect("a grant");
    let body = testing::with(|host| host.requests[0].body.clone());
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["credentialsBase64"], "/wA=");
    assert_eq!(body.get("credentials"), None);
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let start = |config: Value| {
        service(&config, Err(Error::Timeout));
        testing::start::<Webhook>()
            .map(|_| ())
            .expect_err("refused")
    };
    assert!(start(json!({"key": "webhook"})).contains("`url`"));
    assert!(start(json!({"url": "ftp://x", "key": "webhook"})).contains("https://"));
    assert!(start(json!({"url": "https://x", "key": "other"})).contains("`other`"));
    let mut typo = config();
    typo["cach_s"] = json!(1);
    assert!(start(typo).contains("cach_s"));
}

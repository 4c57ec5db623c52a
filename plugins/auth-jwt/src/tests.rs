//! Tokens of all sorts.

use rillway_plugin_sdk as sdk;
use sdk::Authentication as _;
use sdk::authentication::Attempt;
use sdk::testing::{self, Host, Key};
use sdk::types::{Denial, Grant, Source};
use serde_json::{Value, json};

use crate::Jwt;

/// Unix seconds of every test.
const NOW_S: u64 = 1_767_225_600;

fn host(config: &Value) {
    let keys = [
        ("main", Key::new("HS256", b"the main secret")),
        ("es", Key::new("ES256", b"stands for a key pair")),
        ("next", Key::new("HS256", b"the next secret")),
    ];
    testing::install(Host {
        config: config.to_string(),
        now_ms: NOW_S * 1_000,
        keys: keys.map(|(name, key)| (name.to_owned(), key)).into(),
        ..Host::default()
    });
}

fn key(name: &str) -> Key {
    testing::with(|host| host.keys[name].clone())
}

/// Asks with a token, for a room.
fn ask(token: &str, room: Option<&str>) -> Result<Grant, Denial> {
    let mut plugin: Jwt = testing::start().expect("the configuration is good");
    plugin.authenticate(Attempt {
        scheme: "token".to_owned(),
        credentials: token.as_bytes().to_vec(),
        room: room.map(str::to_owned),
        name: Some("says Ada".to_owned()),
        guest_identity: "guest-1".to_owned(),
        ..Attempt::default()
    })
}

/// Asks for the room `r` with claims that the key `main` signed.
fn claim(claims: &Value) -> Result<Grant, Denial> {
    host(&json!({"keys": [{"name": "main"}]}));
    ask(
        &key("main").sign(&json!({"alg": "HS256"}), claims),
        Some("r"),
    )
}

#[track_caller]
fn refused(result: Result<Grant, Denial>, with: &str) {
    let text = match result {
        Ok(grant) => panic!("admitted: {grant:?}"),
        Err(Denial::Unauthenticated(why) | Denial::Forbidden(why)) => why,
        Err(other) => panic!("{other:?}"),
    };
    assert!(text.contains(with), "`{text}` does not say `{with}`");
}

fn exp() -> u64 {
    NOW_S + 60
}

#[test]
fn own_claims_become_a_grant() {
    let grant = claim(&json!({
        "sub": "ada", "name": "Ada", "exp": exp(), "attributes": {"team": "blue"},
        "rillway": {
            "room": "r", "publish": ["camera", "screen_audio"], "subscribe": true,
            "publishData": true, "recordControl": true, "maxPublishBps": 1_000_000,
        },
    }))
    .expect("a grant");
    let expected = Grant {
        room: "r".to_owned(),
        identity: "ada".to_owned(),
        name: Some("Ada".to_owned()),
        publish: vec![Source::Camera, Source::ScreenAudio],
        subscribe: true,
        publish_data: true,
        record_control: true,
        max_publish_bps: Some(1_000_000),
        expires_at_ms: Some(exp() * 1_000),
        attributes: vec![("team".to_owned(), "blue".to_owned())],
    };
    assert_eq!(grant, expected);
}

#[test]
fn what_own_claims_leave_out_is_not_granted() {
    let grant = claim(&json!({"exp": exp(), "rillway": {"room": "r"}})).expect("a grant");
    assert_eq!(grant.identity, "guest-1");
    assert_eq!(grant.name.as_deref(), Some("says Ada"));
    assert!(grant.publish.is_empty());
    assert!(!grant.subscribe && !grant.publish_data && !grant.record_control);
    let all = claim(&json!({"exp": exp(), "rillway": {"room": "r", "publish": true}}));
    assert_eq!(all.expect("a grant").publish.len(), 5);
}

#[test]
fn livekit_claims_become_a_grant() {
    let grant = claim(&json!({
        "iss": "APIabc", "sub": "ada", "exp": exp(), "nbf": NOW_S, "metadata": "{\"x\":1}",
        "video": {"roomJoin": true, "room": "r"},
    }))
    .expect("a grant");
    assert_eq!(grant.publish.len(), 5);
    assert!(grant.subscribe && grant.publish_data && !grant.record_control);
    // `exp` is about joining there: whoever is in may stay.
    assert_eq!(grant.expires_at_ms, None);
    let metadata = ("metadata".to_owned(), "{\"x\":1}".to_owned());
    assert_eq!(grant.attributes, [metadata]);

    let narrow = claim(&json!({
        "sub": "ada", "exp": exp(),
        "video": {
            "roomJoin": true, "room": "r", "canPublishSources": ["screen_share", "microphone", "x"],
            "canSubscribe": false, "roomRecord": true,
        },
    }))
    .expect("a grant");
    assert_eq!(narrow.publish, [Source::Screen, Source::Microphone]);
    assert!(!narrow.subscribe && narrow.record_control);

    let viewer = claim(&json!({
        "sub": "ada", "exp": exp(),
        "video": {"roomJoin": true, "room": "r", "canPublish": false},
    }))
    .expect("a grant");
    assert!(viewer.publish.is_empty() && !viewer.publish_data && viewer.subscribe);
}

#[test]
fn livekit_claims_that_admit_nobody_are_refused() {
    let video = |video: Value| claim(&json!({"sub": "a", "exp": exp(), "video": video}));
    refused(video(json!({"room": "r"})), "roomJoin");
    refused(video(json!({"roomJoin": true})), "names no room");
    refused(video(json!({"roomJoin": true, "room": "s"})), "room `s`");
    // A room called `*` is one room.
    refused(video(json!({"roomJoin": true, "room": "*"})), "room `*`");
    refused(
        video(json!({"roomJoin": true, "room": "r", "hidden": true})),
        "hidden",
    );
    refused(claim(&json!({"sub": "a", "exp": exp()})), "grants nothing");
}

#[test]
fn time_is_checked_with_leeway() {
    let at = |exp: i64, nbf: i64| {
        let now = i64::try_from(NOW_S).expect("it fits");
        claim(&json!({"exp": now + exp, "nbf": now + nbf, "rillway": {"room": "r"}}))
    };
    assert!(at(60, 0).is_ok());
    assert!(at(-9, 0).is_ok());
    refused(at(-10, 0), "expired 10 s ago");
    refused(at(-86_400, 0), "expired 86400 s ago");
    assert!(at(60, 10).is_ok());
    refused(at(60, 11), "good in 11 s");
    refused(claim(&json!({"rillway": {"room": "r"}})), "no `exp`");
    let fraction = json!({"exp": 1_767_225_660.5, "rillway": {"room": "r"}});
    let grant = claim(&fraction).expect("a grant");
    assert_eq!(grant.expires_at_ms, Some(1_767_225_660_500));
    refused(
        claim(&json!({"exp": "soon", "rillway": {"room": "r"}})),
        "`exp`",
    );
    refused(
        claim(&json!({"exp": -1e300, "rillway": {"room": "r"}})),
        "expired",
    );
}

#[test]
fn malformed_claims_are_told_by_name() {
    let grants = |grants: Value| claim(&json!({"exp": exp(), "rillway": grants}));
    refused(grants(json!({"room": 3})), "`rillway.room`");
    refused(
        grants(json!({"room": "r", "publish": ["kamera"]})),
        "screen_audio",
    );
    refused(grants(json!({"room": "r", "subscibe": true})), "subscibe");
    refused(claim(&json!([])), "malformed");
    let many: serde_json::Map<_, _> = (0..33).map(|i| (i.to_string(), json!(""))).collect();
    refused(
        claim(&json!({"exp": exp(), "attributes": many, "rillway": {"room": "r"}})),
        "32 attributes",
    );
    let long = json!({"exp": exp(), "sub": "x".repeat(129), "rillway": {"room": "r"}});
    refused(claim(&long), "`sub`");
}

#[test]
fn a_pattern_admits_to_what_fits() {
    host(&json!({"keys": [{"name": "main"}]}));
    let claims = json!({"exp": exp(), "rillway": {"room": "class-*"}});
    let token = key("main").sign(&json!({"alg": "HS256"}), &claims);
    assert_eq!(
        ask(&token, Some("class-7")).expect("a grant").room,
        "class-7"
    );
    refused(ask(&token, Some("staff")), "class-*");
    refused(ask(&token, None), "name a room");
    let claims = json!({"exp": exp(), "rillway": {"room": "r"}});
    let token = key("main").sign(&json!({"alg": "HS256"}), &claims);
    assert_eq!(ask(&token, None).expect("a grant").room, "r");
}

#[test]
fn keys_are_found_by_kid_and_otherwise_tried() {
    host(&json!({"keys": [{"name": "main"}, {"name": "es"}, {"name": "next", "kid": "n"}]}));
    let claims = json!({"exp": exp(), "rillway": {"room": "r"}});
    let signed = |by: &str, header: Value| ask(&key(by).sign(&header, &claims), Some("r"));
    assert!(signed("main", json!({"alg": "HS256"})).is_ok());
    assert!(signed("main", json!({"alg": "HS256", "kid": "unknown"})).is_ok());
    assert!(signed("es", json!({"alg": "ES256"})).is_ok());
    assert!(signed("next", json!({"alg": "HS256", "kid": "n"})).is_ok());
    refused(
        signed("next", json!({"alg": "HS256"})),
        "signature is wrong",
    );
    refused(
        signed("main", json!({"alg": "HS256", "kid": "n"})),
        "signature is wrong",
    );
    // The algorithm is the key's, whatever the token says.
    refused(signed("es", json!({"alg": "HS256"})), "signature is wrong");
    refused(signed("es", json!({"alg": "none"})), "malformed");
    refused(
        signed("main", json!({"alg": "HS256", "crit": ["x"]})),
        "crit",
    );
    host(&json!({"keys": [{"name": "next", "kid": "n"}]}));
    refused(
        ask(
            &key("next").sign(&json!({"alg": "HS256"}), &claims),
            Some("r"),
        ),
        "`kid`",
    );
}

#[test]
fn a_key_may_be_bound_to_an_issuer() {
    host(&json!({"keys": [{"name": "main", "issuer": "APIabc"}]}));
    let token = |iss: Value| {
        let claims = json!({"iss": iss, "exp": exp(), "rillway": {"room": "r"}});
        key("main").sign(&json!({"alg": "HS256"}), &claims)
    };
    assert!(ask(&token(json!("APIabc")), Some("r")).is_ok());
    refused(ask(&token(json!("APIxyz")), Some("r")), "`iss`");
    refused(ask(&token(json!(null)), Some("r")), "`iss`");
}

#[test]
fn the_audience_is_checked_if_there_is_one() {
    host(&json!({"keys": [{"name": "main"}], "audience": "sfu"}));
    let token = |aud: Value| {
        let claims = json!({"aud": aud, "exp": exp(), "rillway": {"room": "r"}});
        key("main").sign(&json!({"alg": "HS256"}), &claims)
    };
    assert!(ask(&token(json!("sfu")), Some("r")).is_ok());
    assert!(ask(&token(json!(["x", "sfu"])), Some("r")).is_ok());
    refused(ask(&token(json!("x")), Some("r")), "`aud`");
    refused(ask(&token(json!(null)), Some("r")), "`aud`");
}

#[test]
fn without_a_token_nobody_gets_in() {
    host(&json!({"keys": [{"name": "main"}]}));
    for token in ["", "x", "x.y", "x.y.z", "..", "e30.e30.", "\u{1F600}.a.b"] {
        assert!(
            matches!(ask(token, Some("r")), Err(Denial::Unauthenticated(_))),
            "{token}"
        );
    }
    let mut plugin: Jwt = testing::start().expect("it starts");
    refused(plugin.authenticate(Attempt::default()), "a token is needed");
    let bytes = Attempt {
        scheme: "token".to_owned(),
        credentials: vec![0xff, 0xfe],
        ..Attempt::default()
    };
    refused(plugin.authenticate(bytes), "no text");
}

#[test]
fn when_a_session_ends_can_be_chosen() {
    let ends = |choice: Value, claims: Value| {
        host(&json!({"keys": [{"name": "main"}], "exp_ends_session": choice}));
        let token = key("main").sign(&json!({"alg": "HS256"}), &claims);
        ask(&token, Some("r")).expect("a grant").expires_at_ms
    };
    let ours = json!({"exp": exp(), "rillway": {"room": "r"}});
    let livekit = json!({"exp": exp(), "video": {"roomJoin": true, "room": "r"}});
    assert_eq!(ends(json!(false), ours), None);
    assert_eq!(ends(json!(true), livekit), Some(exp() * 1_000));
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let start = |config: Value| {
        host(&config);
        testing::start::<Jwt>().map(|_| ()).unwrap_err()
    };
    assert!(start(json!({})).contains("`keys`"));
    assert!(start(json!({"keys": []})).contains("1 to 16"));
    let unknown = start(json!({"keys": [{"name": "main"}, {"name": "x"}]}));
    assert!(
        unknown.contains("keys[1].name") && unknown.contains("`x`"),
        "{unknown}"
    );
    assert!(start(json!({"keys": [{"name": "main"}], "leway_s": 3})).contains("leway_s"));
}

//! The management channel of a running router: who may do what, plugins changed while clients stay, and
//! clients that mean no good.

use std::time::Duration;

use rillway::config::{Management, Secret};
use rillway::management::pki::{Authority, Subject};
use rillway::management::wire::error::Code;
use rillway::management::wire::request::Verb;
use rillway::management::wire::response::Part;
use rillway::management::wire::{
    CaptureRequest, CloseRoomRequest, ConfigApplyRequest, ConfigDiffRequest, ConfigReloadRequest,
    ConfigRequest, DrainRequest, EventsRequest, KickRequest, LogLevelsRequest, LogResetRequest,
    LogSetRequest, MetricsRequest, MoveRequest, MuteRequest, ParticipantRequest,
    ParticipantsRequest, Plugin, PluginPromoteRequest, PluginReloadRequest, PluginReturnRequest,
    PluginsRequest, RecordRequest, RecordingsRequest, RoomRequest, RoomsRequest, StatusRequest,
    SubscriptionsRequest, TracksRequest, TransportsRequest, WhyRequest, WorkersRequest,
};
use rillway::management::{CallError, Client, ConnectError, Identity, Role, Target};
use rillway::{Running, Signals};
use rillway_policy::Kind;
use rillway_policy::testing::{Behaviour, component};
use serde_json::json;

use crate::router::{config, connect, join, soon};
use crate::site::Site;

pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// An authority, and a router whose operators it certifies.
pub(crate) struct Managed {
    pub(crate) authority: Authority,
    pub(crate) running: Running,
}

pub(crate) fn authority() -> Authority {
    Authority::create("test", HOUR).expect("an authority")
}

/// A certificate of `authority` for somebody who trusts `trusted`.
pub(crate) fn identity(
    authority: &Authority,
    trusted: &Authority,
    role: Option<Role>,
    valid: Duration,
) -> Identity {
    let hosts = if role.is_none() {
        vec!["127.0.0.1".to_owned()]
    } else {
        Vec::new()
    };
    let issued = authority.issue(&Subject {
        name: "ada".to_owned(),
        role,
        hosts,
        valid,
    });
    let issued = issued.expect("a certificate");
    Identity {
        certificate: issued.certificate,
        key: issued.key,
        authority: trusted.certificate().to_owned(),
    }
}

pub(crate) fn management(authority: &Authority) -> Management {
    let listen = "127.0.0.1:0".parse().expect("an address");
    Management::new(listen, identity(authority, authority, None, HOUR))
}

impl Managed {
    pub(crate) fn start(change: impl FnOnce(&mut Management)) -> Managed {
        let authority = authority();
        let mut config = config();
        let mut settings = management(&authority);
        change(&mut settings);
        config.management = Some(settings);
        let running = rillway::run(config, Signals::Ignore).expect("free ports on loopback");
        Managed { authority, running }
    }

    pub(crate) fn target(&self, identity: Identity) -> Target {
        Target {
            address: self.running.management_address().expect("it is on"),
            name: "127.0.0.1".to_owned(),
            identity,
        }
    }

    pub(crate) async fn client(&self, role: Role) -> Client {
        let identity = identity(&self.authority, &self.authority, Some(role), HOUR);
        let client = Client::connect(&self.target(identity)).await;
        client.unwrap_or_else(|error| panic!("{error}"))
    }
}

/// All parts of an answer.
pub(crate) async fn ask(client: &Client, verb: Verb) -> Result<Vec<Part>, CallError> {
    soon("the answer", async {
        let mut answer = client.call(verb).await?;
        let mut parts = Vec::new();
        while let Some(part) = answer.next().await? {
            parts.push(part);
        }
        Ok(parts)
    })
    .await
}

pub(crate) fn code(result: Result<Vec<Part>, CallError>) -> Option<Code> {
    match result {
        Ok(_) => None,
        Err(CallError::Said(error)) => Some(error.code()),
        Err(error) => panic!("no answer: {error}"),
    }
}

fn reload(name: &str, component: Vec<u8>, canary_percent: u32) -> Verb {
    let name = name.to_owned();
    Verb::PluginReload(PluginReloadRequest {
        name,
        component,
        canary_percent,
    })
}

fn promote(name: &str) -> Verb {
    Verb::PluginPromote(PluginPromoteRequest {
        name: name.to_owned(),
    })
}

fn rollback(name: &str) -> Verb {
    Verb::PluginReturn(PluginReturnRequest {
        name: name.to_owned(),
    })
}

/// What a verb answers to each role, viewer, operator, admin, peer, where there is no such room and no file; `None`: it
/// is carried out.
type Answers = [Option<Code>; 4];

/// Lists, the log, captures.
fn newer_verbs() -> Vec<(Verb, Answers)> {
    let (forbidden, missing) = (Some(Code::Forbidden), Some(Code::NotFound));
    let no_file = Some(Code::WrongState);
    let seen = [None, None, None, forbidden];
    vec![
        (Verb::Participants(ParticipantsRequest::default()), seen),
        (Verb::Tracks(TracksRequest::default()), seen),
        (Verb::Subscriptions(SubscriptionsRequest::default()), seen),
        (Verb::Transports(TransportsRequest::default()), seen),
        (Verb::Recordings(RecordingsRequest::default()), seen),
        (Verb::Metrics(MetricsRequest::default()), seen),
        (Verb::LogLevels(LogLevelsRequest {}), seen),
        // The log of this process is the test's.
        (
            Verb::LogSet(LogSetRequest {
                ms: 1_000,
                ..LogSetRequest::default()
            }),
            [forbidden, forbidden, no_file, forbidden],
        ),
        (
            Verb::LogReset(LogResetRequest::default()),
            [forbidden, forbidden, no_file, forbidden],
        ),
        (
            Verb::Capture(CaptureRequest::default()),
            [forbidden, forbidden, missing, forbidden],
        ),
        (
            Verb::ConfigApply(ConfigApplyRequest::default()),
            [forbidden, forbidden, no_file, forbidden],
        ),
    ]
}

#[tokio::test]
async fn each_role_has_its_verbs_and_no_other() {
    let managed = Managed::start(|_| {});
    // What a verb without right to it answers, and what it answers with: there is no such plugin or room.
    let (forbidden, missing) = (Some(Code::Forbidden), Some(Code::NotFound));
    let no_file = Some(Code::WrongState);
    let seen = [None, None, None, forbidden];
    let verbs = [
        (Verb::Status(StatusRequest {}), [None, None, None, None]),
        (Verb::Workers(WorkersRequest {}), seen),
        (Verb::Plugins(PluginsRequest {}), seen),
        (Verb::Config(ConfigRequest {}), seen),
        // It runs without a file.
        (
            Verb::ConfigDiff(ConfigDiffRequest::default()),
            [no_file, no_file, no_file, forbidden],
        ),
        (
            Verb::ConfigDiff(ConfigDiffRequest {
                text: Some(String::new()),
                ..ConfigDiffRequest::default()
            }),
            [forbidden, forbidden, no_file, forbidden],
        ),
        (
            Verb::ConfigReload(ConfigReloadRequest {}),
            [forbidden, forbidden, no_file, forbidden],
        ),
        (Verb::Rooms(RoomsRequest {}), [None, None, None, forbidden]),
        (
            Verb::Room(RoomRequest::default()),
            [missing, missing, missing, forbidden],
        ),
        (
            Verb::Participant(ParticipantRequest::default()),
            [missing, missing, missing, forbidden],
        ),
        (
            Verb::Why(WhyRequest::default()),
            [missing, missing, missing, forbidden],
        ),
        (
            Verb::Kick(KickRequest::default()),
            [forbidden, missing, missing, forbidden],
        ),
        (
            Verb::Move(MoveRequest::default()),
            [forbidden, missing, missing, forbidden],
        ),
        (
            Verb::Mute(MuteRequest::default()),
            [forbidden, missing, missing, forbidden],
        ),
        (
            Verb::CloseRoom(CloseRoomRequest::default()),
            [forbidden, missing, missing, forbidden],
        ),
        (
            Verb::Record(RecordRequest::default()),
            [forbidden, missing, missing, forbidden],
        ),
        // Out of bounds, so that it ends nothing.
        (
            Verb::Drain(DrainRequest {
                deadline_ms: Some(u32::MAX),
            }),
            [forbidden, forbidden, Some(Code::Invalid), forbidden],
        ),
        (
            reload("none", Vec::new(), 0),
            [forbidden, forbidden, missing, forbidden],
        ),
        (promote("none"), [forbidden, forbidden, missing, forbidden]),
        (rollback("none"), [forbidden, forbidden, missing, forbidden]),
    ];
    let newer = newer_verbs();
    for (index, role) in Role::ALL.into_iter().enumerate() {
        let client = managed.client(role).await;
        for (verb, wanted) in verbs.iter().chain(&newer) {
            let got = code(ask(&client, verb.clone()).await);
            assert_eq!(got, wanted[index], "{role}: {verb:?}");
        }
        client.close().await;
    }
    // A watch does not end by itself.
    for (role, sees) in Role::ALL.into_iter().zip([true, true, true, false]) {
        let client = managed.client(role).await;
        let mut watch = client
            .call(Verb::Events(EventsRequest::default()))
            .await
            .expect("a stream");
        match soon("a part", watch.next()).await {
            Ok(Some(Part::Lost(lost))) => assert!(sees && lost.count == 0, "{role}"),
            Err(CallError::Said(error)) => assert!(!sees && error.code() == Code::Forbidden),
            other => panic!("{role}: {other:?}"),
        }
    }
    let client = managed.client(Role::Viewer).await;
    let status = ask(&client, Verb::Status(StatusRequest {}))
        .await
        .expect("an answer");
    let [Part::Status(status)] = status.as_slice() else {
        panic!("{status:?}");
    };
    assert_eq!((status.phase.as_str(), status.workers), ("serving", 1));
    assert_eq!(
        (status.client.as_str(), status.role.as_str()),
        ("ada", "viewer")
    );
    assert_eq!(
        status.gateway,
        managed.running.gateway_address().to_string()
    );
}

/// Why a client with this identity gets nothing; panics if it gets something.
async fn refused(managed: &Managed, identity: Identity) -> ConnectError {
    let client = match Client::connect(&managed.target(identity)).await {
        Err(error) => return error,
        Ok(client) => client,
    };
    match ask(&client, Verb::Status(StatusRequest {})).await {
        Err(CallError::Connection(error)) => error,
        other => panic!("it was heard: {other:?}"),
    }
}

#[tokio::test]
async fn without_a_valid_certificate_nobody_is_heard() {
    let managed = Managed::start(|_| {});
    let (ours, theirs) = (&managed.authority, &authority());
    let admin = Some(Role::Admin);

    let other = refused(&managed, identity(theirs, ours, admin, HOUR)).await;
    assert!(
        matches!(other, ConnectError::Refused(_)),
        "another authority: {other}"
    );
    let ended = identity(ours, ours, admin, Duration::ZERO);
    // Certificates count whole seconds.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let expired = refused(&managed, ended).await;
    assert!(expired.to_string().contains("expired"), "{expired}");
    // Nor is one that ends while its connection is open.
    let short = identity(ours, ours, admin, Duration::from_secs(2));
    let client = Client::connect(&managed.target(short))
        .await
        .expect("still valid");
    let status = || Verb::Status(StatusRequest {});
    assert_eq!(code(ask(&client, status()).await), None);
    tokio::time::sleep(Duration::from_millis(3_100)).await;
    assert_eq!(code(ask(&client, status()).await), Some(Code::Forbidden));
    // A router's certificate is no operator's.
    let roleless = refused(&managed, identity(ours, ours, None, HOUR)).await;
    assert!(
        matches!(roleless, ConnectError::Refused(_)),
        "no role: {roleless}"
    );
    // Nor does a client believe a router of another authority.
    let untrusted = refused(&managed, identity(ours, theirs, admin, HOUR)).await;
    assert!(
        matches!(untrusted, ConnectError::Untrusted(_)),
        "{untrusted}"
    );
    let broken = Identity {
        key: Secret::new("no key".to_owned()),
        ..identity(ours, ours, admin, HOUR)
    };
    assert!(matches!(
        refused(&managed, broken).await,
        ConnectError::Identity(_)
    ));

    // One that speaks no QUIC; tests of roles have those that prove nothing.
    let address = managed.running.management_address().expect("on");
    let plain = tokio::net::UdpSocket::bind("127.0.0.1:0")
        .await
        .expect("a port");
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 1_200], &[0xff; 1_200]] {
        plain.send_to(bytes, address).await.expect("sent");
    }
    let mut room = [0; 2_000];
    let heard = tokio::time::timeout(Duration::from_millis(300), plain.recv(&mut room));
    // At most a version negotiation, which says nothing.
    if let Ok(Ok(length)) = heard.await {
        assert!(length <= 1_200, "an answer longer than what was sent");
    }
    let client = managed.client(Role::Viewer).await;
    assert_eq!(
        code(ask(&client, Verb::Status(StatusRequest {})).await),
        None,
        "others are served"
    );
}

/// The one plugin of an answer.
fn plugin(answer: Result<Vec<Part>, CallError>) -> Plugin {
    match answer {
        Ok(mut parts) => match parts.remove(0) {
            Part::Plugins(mut plugins) if plugins.plugins.len() == 1 => plugins.plugins.remove(0),
            other => panic!("{other:?}"),
        },
        Err(error) => panic!("{error}"),
    }
}

fn share(plugin: &Plugin, generation: u64) -> Option<u32> {
    let of = |version: &str| {
        version
            .split('-')
            .next()
            .and_then(|n| n.parse::<u64>().ok())
    };
    let version = plugin
        .versions
        .iter()
        .find(|v| of(&v.version) == Some(generation));
    version.map(|version| version.percent)
}

#[tokio::test]
async fn plugins_are_swapped_on_trial_and_back_and_nobody_leaves() {
    let site = Site::new("managed");
    site.write(
        "rooms.wasm",
        rillway_components::get("signaling-rooms").expect("shipped"),
    );
    let mut config = site.config(
        "authentication.policy = \"auth-open\"\n\
         [[signaling.routes]]\npath = \"/signal/rooms\"\nplugin = \"mine\"\n\
         subprotocol = \"rillway.rooms.v1\"\n\
         [plugins.mine]\ncomponent = \"rooms.wasm\"\n\
         imports = [\"log\", \"metrics\", \"config\", \"clock\", \"kv\", \"crypto\"]\n",
    );
    let authority = authority();
    config.management = Some(management(&authority));
    let running = rillway::run(config, Signals::Ignore).expect("free ports");
    let managed = Managed { authority, running };
    let admin = managed.client(Role::Admin).await;
    let (mut ada, _) = join(&managed.running, "r", "Ada").await;

    // One that cannot be used changes nothing, and says why.
    let refused = ask(&admin, reload("mine", b"no component".to_vec(), 0)).await;
    let Err(CallError::Said(error)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(error.code(), Code::Refused);
    assert!(
        error.help.contains("1-") && error.help.contains("still runs"),
        "{error:?}"
    );
    let wrong = component(Kind::Recording, &Behaviour::Well);
    assert_eq!(
        code(ask(&admin, reload("mine", wrong, 0)).await),
        Some(Code::Refused)
    );
    let much = ask(&admin, reload("mine", Vec::new(), 100)).await;
    assert_eq!(code(much), Some(Code::Invalid));
    let back = ask(&admin, rollback("mine")).await;
    assert_eq!(
        code(back),
        Some(Code::WrongState),
        "there is nothing to go back to"
    );

    // Half of the new clients get the new version, which sends back what it hears.
    let echo = component(Kind::Signaling, &Behaviour::Well);
    let trial = plugin(ask(&admin, reload("mine", echo, 50)).await);
    assert_eq!(
        (share(&trial, 1), share(&trial, 2)),
        (Some(50), Some(50)),
        "{trial:?}"
    );
    let mut echoes = 0;
    for number in 0..8 {
        let mut client = connect(&managed.running).await;
        let answer = client
            .ask(json!({"type": "join", "room": "other", "name": number.to_string()}))
            .await;
        echoes += usize::from(answer["type"] == "join");
    }
    assert_eq!(echoes, 4, "every other one");
    let all = plugin(ask(&admin, promote("mine")).await);
    assert_eq!(share(&all, 2), Some(100), "{all:?}");
    let mut client = connect(&managed.running).await;
    assert_eq!(
        client.ask(json!({"type": "join", "room": "r"})).await["type"],
        "join"
    );
    let before = plugin(ask(&admin, rollback("mine")).await);
    assert_eq!(share(&before, 1), Some(100), "{before:?}");
    let (_bob, joined) = join(&managed.running, "r", "Bob").await;
    assert_eq!(
        joined["participants"][0]["name"], "Ada",
        "she has been there all the time"
    );
    ada.told("participant-joined").await;

    // One that traps is on trial for as long as it takes to see that.
    let trap = component(Kind::Signaling, &Behaviour::Trap);
    plugin(ask(&admin, reload("mine", trap, 50)).await);
    for _ in 0..12 {
        let mut client = connect(&managed.running).await;
        // Half of them are closed by the version on trial.
        let join = json!({"type": "join", "room": "other"}).to_string();
        client
            .send(tokio_tungstenite::tungstenite::Message::text(join))
            .await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let list = plugin(Ok(one_of(
        ask(&admin, Verb::Plugins(PluginsRequest {})).await,
        "mine",
    )));
    assert_eq!(list.returns, 1, "it came back by itself: {list:?}");
    assert_eq!(share(&list, 1), Some(100), "{list:?}");
    let (_eve, joined) = join(&managed.running, "r", "Eve").await;
    assert_eq!(joined["participants"].as_array().map(Vec::len), Some(2));
    ada.told("participant-joined").await;
}

/// The part with one plugin of the list.
fn one_of(answer: Result<Vec<Part>, CallError>, name: &str) -> Vec<Part> {
    let mut parts = answer.unwrap_or_else(|error| panic!("{error}"));
    let Part::Plugins(plugins) = &mut parts[0] else {
        panic!("{parts:?}");
    };
    plugins.plugins.retain(|plugin| plugin.name == name);
    parts
}

#[tokio::test]
async fn clients_that_mean_no_good_cost_themselves() {
    let managed = Managed::start(|settings| {
        settings.connections_max = 3;
        settings.calls_per_second_max = 40;
    });
    let viewer = managed.client(Role::Viewer).await;
    // What is no request is answered as such, and the next call is served.
    for bytes in [
        &[5, 1, 2, 3, 4, 5][..],
        &[],
        &[3, 0xff, 0xff, 0xff],
        &[2, 0xfa, 0x3f],
    ] {
        assert_ne!(raw(&viewer, bytes, true).await, None, "{bytes:?}");
    }
    // More than a viewer may send: the length alone is enough.
    assert_eq!(
        raw(&viewer, &[0x80, 0x80, 0x04], false).await,
        Some(Code::Limit)
    );
    // Streams on which nothing ever comes hold nobody up.
    let mut silent = Vec::new();
    for _ in 0..20 {
        let mut streams = viewer.connection().open_bi().await.expect("a stream");
        streams
            .0
            .write_all(&[100])
            .await
            .expect("half of a request");
        silent.push(streams);
    }
    // The bound on connections is met, and another gets in when one has left.
    let second = managed.client(Role::Viewer).await;
    let third = managed.client(Role::Viewer).await;
    let identity = identity(
        &managed.authority,
        &managed.authority,
        Some(Role::Admin),
        HOUR,
    );
    let fourth = Client::connect(&managed.target(identity)).await.err();
    assert!(matches!(fourth, Some(ConnectError::Full)), "{fourth:?}");
    second.close().await;
    drop(third);
    let mut limited = 0;
    for _ in 0..60 {
        limited += usize::from(
            code(ask(&viewer, Verb::Status(StatusRequest {})).await) == Some(Code::Limit),
        );
    }
    assert!(limited >= 10, "{limited} of 60 calls beyond the rate");
    // The router itself has noticed nothing.
    let (_ada, joined) = join(&managed.running, "r", "Ada").await;
    assert_eq!(joined["room"], "r");
    drop(silent);
}

/// Sends bytes as a request; the code of the error that is answered.
async fn raw(client: &Client, bytes: &[u8], finish: bool) -> Option<Code> {
    use rillway::management::frame;
    use rillway::management::wire::Response;
    let (mut sending, mut answer) = client.connection().open_bi().await.expect("a stream");
    sending.write_all(bytes).await.expect("taken");
    if finish {
        sending.finish().expect("open");
    }
    let response = soon("an answer", frame::read::<Response, _>(&mut answer, 10_000)).await;
    match response.expect("a message").expect("an answer").part {
        Some(Part::Error(error)) => Some(error.code()),
        other => panic!("{other:?}"),
    }
}

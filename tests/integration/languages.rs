//! The management channel as programs in other languages speak it: a client in Python, made of the schema and
//! docs/management.md alone.

use std::path::Path;
use std::process::Stdio;

use rillway::management::Role;
use rillway::management::pki::Authority;
use serde_json::Value;
use tokio::process::Command;

use crate::management::{HOUR, Managed, authority, identity};
use crate::router::{join, soon};
use crate::site::Site;

/// A Python with aioquic and protobuf: `tests/setup/install management-python`.
const PYTHON: &str = "management-python";
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/management/client.py");
const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../router/src/management");

async fn installed(program: &str) -> bool {
    installed_as(program, "--version").await
}

/// Whether a program is there, which then prints its version at this argument.
pub(crate) async fn installed_as(program: &str, version: &str) -> bool {
    let mut command = Command::new(program);
    let command = command.arg(version).stdout(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}

/// What the client says, standard output and error; whether it ended well.
async fn run(site: &Site, managed: &Managed, verb: &[&str]) -> (bool, String, String) {
    let address = managed.running.management_address().expect("on");
    let file = |name: &str| site.0.join(name);
    let mut command = Command::new(PYTHON);
    command
        .arg(CLIENT)
        .arg(address.to_string())
        .args([file("ca.pem"), file("ada.pem"), file("ada.key")])
        .args(verb)
        .env("PYTHONPATH", &site.0)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .kill_on_drop(true);
    let output = soon("the client's end", command.output()).await;
    let output = output.expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    (output.status.success(), stdout, stderr)
}

/// Gives her a certificate of one authority, and has her believe it.
pub(crate) fn show(site: &Site, authority: &Authority, role: Role) {
    let ada = identity(authority, authority, Some(role), HOUR);
    site.secret("ca.pem", authority.certificate());
    site.secret("ada.pem", &ada.certificate);
    site.secret("ada.key", ada.key.reveal());
}

#[tokio::test]
async fn a_client_in_python_is_made_of_schema_and_document() {
    if !installed(PYTHON).await || !installed("protoc").await {
        println!("skipped: no {PYTHON} or protoc here (tests/setup/install management-python)");
        return;
    }
    let site = Site::new("python");
    let mut protoc = Command::new("protoc");
    let protoc = protoc.arg("--python_out").arg(&site.0);
    let protoc = protoc.arg("-I").arg(Path::new(SCHEMA));
    let made = protoc.arg("rillway.management.v1.proto").status().await;
    assert!(made.expect("it runs").success());

    let managed = Managed::start(|_| {});
    show(&site, &managed.authority, Role::Viewer);
    let (_ada, _) = join(&managed.running, "standup", "Ada").await;
    let ask = async |verb: &str| {
        let (good, stdout, stderr) = run(&site, &managed, &[verb]).await;
        assert!(good, "{verb}: {stderr}");
        let parts = stdout.lines().map(serde_json::from_str::<Value>);
        let parts: Result<Vec<_>, _> = parts.collect();
        parts.expect("JSON")
    };
    let status = ask("status").await;
    assert_eq!(status.len(), 1);
    assert_eq!(
        (&status[0]["phase"], &status[0]["client"]),
        (&"serving".into(), &"ada".into())
    );
    let rooms = ask("rooms").await;
    assert_eq!(rooms[0]["rooms"][0]["name"], "standup", "{rooms:?}");
    assert!(
        ask("plugins").await[0]["plugins"]
            .as_array()
            .is_some_and(|p| p.len() > 2)
    );

    // A watch, in which somebody comes.
    let (watched, _) = tokio::join!(run(&site, &managed, &["events", "4"]), async {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        join(&managed.running, "standup", "Bob").await
    });
    assert!(watched.0 && watched.1.contains("\"joined\""), "{watched:?}");

    // Roles and certificates are the router's to judge.
    let (good, _, stderr) = run(&site, &managed, &["config_reload"]).await;
    assert!(!good && stderr.contains("CODE_FORBIDDEN"), "{stderr}");
    show(&site, &authority(), Role::Admin);
    let (good, stdout, _) = run(&site, &managed, &["status"]).await;
    assert!(!good && stdout.is_empty(), "{stdout}");
}

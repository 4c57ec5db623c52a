//! `rillway serve` keeps to its files, and says so where a reload wants others.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{File, any_ports, rillway};

/// A component that is loaded by every version of these tests.
const COMPONENT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../plugins/components/auth-open.wasm"
);

pub(super) struct Serving {
    pub(super) child: Child,
    log: std::path::PathBuf,
}

impl Serving {
    pub(super) fn start(file: &File) -> Serving {
        let log = file.0.with_extension("log");
        let child = rillway(&["serve", "--config", file.path()])
            .env("CREDENTIALS_DIRECTORY", credentials(file))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).expect("file"))
            .spawn()
            .expect("runs");
        Serving { child, log }
    }

    /// Waits until the log has this.
    pub(super) fn says(&self, part: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let text = std::fs::read_to_string(&self.log).expect("reads");
            if text.contains(part) {
                return;
            }
            assert!(Instant::now() < deadline, "{part} is not in {text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &id]).status();
        assert!(status.expect("kill").success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a service manager hands over: not beneath the folder of the configuration.
fn credentials(file: &File) -> std::path::PathBuf {
    file.0
        .parent()
        .expect("a folder")
        .with_extension("credentials")
}

fn plugin(component: &Path) -> String {
    let text = any_ports("").replace("auth-open", "mine");
    format!(
        "{text}[plugins.mine]\ncomponent = \"{}\"\n",
        component.display()
    )
}

#[test]
fn serve_reaches_no_file_that_its_configuration_did_not_name() {
    let file = File::new("confined", "");
    let other = File::new("confined-other", "");
    let folder = file.0.parent().expect("a folder").join("plugins");
    std::fs::create_dir_all(&folder).expect("made");
    let (named, new) = (folder.join("one.wasm"), folder.join("two.wasm"));
    let outside = other.0.with_file_name("three.wasm");
    for place in [&named, &new, &outside] {
        std::fs::copy(COMPONENT, place).expect("copied");
    }
    std::fs::write(&file.0, plugin(&named)).expect("written");
    let handed = credentials(&file);
    std::fs::create_dir_all(&handed).expect("made");
    let secret = handed.join("turn");
    std::fs::write(&secret, "secret\n").expect("written");
    std::fs::set_permissions(&secret, Permissions::from_mode(0o600)).expect("ours");
    let router = Serving::start(&file);
    router.says("\"listening\"");
    let status = std::fs::read_to_string(format!("/proc/{}/status", router.child.id()));
    let text = std::fs::read_to_string(&router.log).expect("reads");
    if text.contains("not confined to files") {
        eprintln!("skipped: no Landlock here");
        return;
    }
    router.says("confined to the files that the configuration names");
    let status = status.expect("it runs");
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    // Out of reach, and said so with the line; everything stays as it was.
    std::fs::write(&file.0, plugin(&outside)).expect("written");
    router.signal("-HUP");
    router.says("is out of reach");
    router.says("rillway.toml:8:13");
    // Beside what was named at the start.
    std::fs::write(&file.0, plugin(&new)).expect("written");
    router.signal("-HUP");
    router.says("plugins.mine.component");
    // Handed over at the start, and named only now. (A line of the log comes once a second.)
    std::thread::sleep(Duration::from_millis(1_100));
    let server = "[[ice.servers]]\nurls = [\"turn:turn.example.org\"]\nusername = \"us\"\n\
        credential_file = \"$CREDENTIALS_DIRECTORY/turn\"\n";
    std::fs::write(&file.0, plugin(&new) + server).expect("written");
    router.signal("-HUP");
    router.says("\"changed\":\"ice.servers");
    std::fs::remove_dir_all(handed).expect("ours");
}

#[test]
fn a_router_that_shall_not_be_confined_is_not() {
    let file = File::new("unconfined", &any_ports("sandbox.files = \"off\"\n"));
    let router = Serving::start(&file);
    router.says("\"listening\"");
    let status = std::fs::read_to_string(format!("/proc/{}/status", router.child.id()));
    let status = status.expect("it runs");
    assert!(status.contains("NoNewPrivs:\t0"), "{status}");
}

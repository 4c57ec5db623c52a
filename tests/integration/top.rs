//! `rillway top` in a real terminal: tmux's, over a router with a call in it.
//!
//! The program in it is this test binary again, running [`child`] alone: arguments → `rillway top`. Screens are kept
//! in `tests/artifacts/top`: as text, and with colours (`cat` shows them).

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use clap::Parser as _;
use rillway::cli::{Action, Arguments};
use rillway::management::Role;
use rillway_tests::live::LiveClient;
use tokio::process::Command;

use crate::languages::{installed_as, show};
use crate::operating::{meeting, two_workers};
use crate::router::PATIENCE;
use crate::site::Site;

const ENVIRONMENT: &str = "RILLWAY_TEST_TOP";
const ARTIFACTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/artifacts/top");

/// Not a test of its own: the program in the terminal.
#[test]
#[ignore = "run by the test beside it"]
fn child() {
    let Ok(arguments) = std::env::var(ENVIRONMENT) else {
        return;
    };
    let arguments = ["rillway", "top"].into_iter().chain(arguments.split(' '));
    let action = Arguments::parse_from(arguments).action();
    let Action::Top(top) = action.expect("arguments") else {
        panic!("it is top");
    };
    match top.run() {
        Ok(text) => println!("{text}TOP HAS ENDED"),
        Err(error) => println!("TOP HAS FAILED: {error}"),
    }
}

/// A terminal that nobody else sees. It ends with the test.
struct Terminal {
    socket: PathBuf,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut command = std::process::Command::new("tmux");
        let command = command.arg("-S").arg(&self.socket).arg("kill-server");
        // It is gone already, if its program is.
        let _ = command.stderr(Stdio::null()).status();
    }
}

impl Terminal {
    async fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.env_remove("TMUX").env("LC_ALL", "C.UTF-8");
        command
            .args(["-u", "-f", "/dev/null", "-S"])
            .arg(&self.socket);
        let output = command.args(arguments).output().await.expect("it runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts `rillway top` in it.
    async fn start(folder: &Path, arguments: &str) -> Terminal {
        let terminal = Terminal {
            socket: folder.join("tmux"),
        };
        let this = std::env::current_exe().expect("this binary");
        let program = format!(
            "env -u NO_COLOR {ENVIRONMENT}='{arguments}' '{}' top::child --exact --ignored --nocapture; sleep 100",
            this.display()
        );
        let size = ["new-session", "-d", "-x", "100", "-y", "30"];
        terminal.tmux(&[&size[..], &[&program]].concat()).await;
        terminal
    }

    async fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat()).await;
    }

    /// Waits for a screen with all of these in it, and keeps it.
    async fn shows(&self, name: &str, wanted: &[&str]) -> String {
        let end = tokio::time::Instant::now() + 2 * PATIENCE;
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]).await;
            if wanted.iter().all(|text| screen.contains(text)) {
                std::fs::create_dir_all(ARTIFACTS).expect("a folder");
                let keep = |suffix: &str, text: &str| {
                    let path = Path::new(ARTIFACTS).join(format!("{name}.{suffix}"));
                    std::fs::write(path, text).expect("written");
                };
                keep("txt", &screen);
                keep("ansi", &self.tmux(&["capture-pane", "-p", "-e"]).await);
                return screen;
            }
            let late = tokio::time::Instant::now() >= end;
            assert!(!late, "{name}: not all of {wanted:?}:\n{screen}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// From the rooms down to a subscription's reasons, and out again.
async fn look_around(terminal: &Terminal) {
    // Busy, and bit rates of the second sample.
    let call = [
        "1 Rooms",
        "standup",
        "people 2",
        "subscriptions 4",
        " µs",
        " %",
    ];
    terminal.shows("rooms", &call).await;
    terminal.press(&["2"]).await;
    terminal.shows("workers", &["DRIVER", "P99"]).await;
    terminal.press(&["3"]).await;
    terminal
        .shows("plugins", &["BREAKER", "layers-adaptive", "closed"])
        .await;
    terminal.press(&["1", "Enter"]).await;
    let room = terminal
        .shows("room", &["Plugins  > standup", "Ada", "Bob", "connected"])
        .await;
    let rows = |screen: &str| -> Vec<usize> {
        ["Ada", "Bob"]
            .map(|name| screen.find(name).expect("shown"))
            .to_vec()
    };
    let [ada, bob] = rows(&room)[..] else {
        unreachable!("two")
    };
    assert!(ada < bob, "sorted by their names:\n{room}");
    terminal.press(&["r"]).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let reversed = terminal.shows("room-reversed", &["Ada", "Bob"]).await;
    let [ada, bob] = rows(&reversed)[..] else {
        unreachable!("two")
    };
    assert!(bob < ada, "the other way round:\n{reversed}");
    terminal.press(&["r", "g", "Enter"]).await;
    terminal
        .shows(
            "person",
            &["Ada receives", "camera", "microphone", "forwarding"],
        )
        .await;
    terminal.press(&["/"]).await;
    terminal.press(&["-l", "camera"]).await;
    terminal
        .shows("filter", &["filter: camera_", "camera"])
        .await;
    terminal.press(&["Enter", "Enter"]).await;
    let why = [
        "why Ada gets",
        "wish",
        "estimate",
        "decided",
        "layers-adaptive",
        "bit/s",
    ];
    terminal.shows("why", &why).await;
    terminal.press(&["Escape"]).await;
    terminal
        .shows("person-again", &["Ada receives", "camera"])
        .await;
}

#[tokio::test]
async fn top_shows_a_call_in_a_real_terminal() {
    if !installed_as("tmux", "-V").await {
        return println!("skipped: no tmux here (tests/setup/install tmux)");
    }
    let site = Site::new("top");
    let managed = two_workers();
    show(&site, &managed.authority, Role::Viewer);
    let mut clients = meeting(&managed.running, "standup").await;
    let file = |name: &str| site.0.join(name).display().to_string();
    let arguments = format!(
        "--router {} --ca {} --certificate {} --key {}",
        managed.running.management_address().expect("on"),
        file("ca.pem"),
        file("ada.pem"),
        file("ada.key")
    );
    let terminal = Terminal::start(&site.0, &arguments).await;
    tokio::select! {
        () = look_around(&terminal) => {}
        ran = LiveClient::run_all(&mut clients, Duration::from_secs(170), |_| false) => {
            panic!("{ran:?}")
        }
    }
    drop((clients, managed));
    terminal
        .shows("gone", &["trying again", "Ada receives"])
        .await;
    terminal.press(&["q"]).await;
    let ended = terminal.shows("ended", &["TOP HAS ENDED"]).await;
    assert!(
        !ended.contains("Ada receives"),
        "the terminal is given back:\n{ended}"
    );
    let alternate = ["display-message", "-p", "#{alternate_on}"];
    assert_eq!(terminal.tmux(&alternate).await.trim(), "0");
}

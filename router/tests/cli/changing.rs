//! What the command line changes about a running router: its log, and its configuration.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::Router;
use crate::management::Machine;

const EXIT_REFUSED: i32 = 1;
/// Longest wait for something that must happen, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A router that writes its log into a file.
struct Logged {
    machine: Machine,
    log: PathBuf,
    _router: Router,
}

impl Logged {
    fn start(name: &str, more: &str) -> Logged {
        let machine = Machine::new(name, more);
        let log = machine.folder().join("log");
        let file = File::create(&log).expect("a writable folder");
        let router = machine.start_with("dev", |command| {
            command.stderr(file);
        });
        Logged {
            machine,
            log,
            _router: router,
        }
    }

    fn lines(&self) -> String {
        fs::read_to_string(&self.log).expect("it is there")
    }

    /// Waits for so many lines with this in them.
    fn wait_for(&self, part: &str, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.lines().matches(part).count() < count {
            assert!(Instant::now() < deadline, "no {part}: {}", self.lines());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_log_level_is_set_for_a_time_and_comes_back_by_itself() {
    let router = Logged::start("levels", "");
    let run = |arguments: &[&str]| {
        let (code, stdout, stderr) = router.machine.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {stderr}");
        stdout
    };
    // Each command is a connection, of which the log says at the level debug.
    let connected = "management: connected";
    run(&["node"]);
    assert!(!router.lines().contains(connected), "{}", router.lines());
    assert!(run(&["log", "ls"]).contains("and nothing else"));

    let shown = run(&["log", "set", "rillway::management", "debug", "--for", "2h"]);
    assert!(shown.contains("rillway::management"), "{shown}");
    run(&["node"]);
    router.wait_for(connected, 1);
    let shown = run(&["log", "reset", "rillway::management"]);
    assert!(shown.contains("and nothing else"), "{shown}");
    let before = router.lines().matches(connected).count();
    run(&["node"]);
    let listed = run(&["log", "ls"]);
    assert_eq!(
        router.lines().matches(connected).count(),
        before,
        "{listed}"
    );

    run(&["log", "set", "rillway::management", "debug", "--for", "1s"]);
    router.wait_for("log level as configured again", 1);
    let before = router.lines().matches(connected).count();
    run(&["node"]);
    assert!(run(&["log", "ls"]).contains("and nothing else"));
    assert_eq!(router.lines().matches(connected).count(), before);

    let (code, _, stderr) = router.machine.run(&["log", "reset", "none"]);
    assert_eq!(code, EXIT_REFUSED, "{stderr}");
    let (code, _, stderr) = router.machine.run(&["log", "set", "a,b=trace", "info"]);
    assert!(
        code == EXIT_REFUSED && stderr.contains("target"),
        "{stderr}"
    );
}

const LIMIT: &str = "[limits]\nparticipants_per_room = ";

fn limit(router: &Logged) -> String {
    let config = router.machine.json(&["config", "show", "--json"]);
    let settings = config["settings"].as_array().expect("a list");
    let key = |s: &&serde_json::Value| s["key"] == "limits.participants_per_room";
    let found = settings.iter().find(key).expect("it is one");
    found["value"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_configuration_is_applied_whole_or_not_at_all() {
    let router = Logged::start("apply", &format!("{LIMIT}50\n"));
    let file = router.machine.file();
    let before = fs::read_to_string(&file).expect("its file");
    let new = router.machine.folder().join("new.toml");
    let apply = |text: &str| {
        fs::write(&new, text).expect("writable");
        router.machine.run(&["config", "apply", "new.toml"])
    };
    // A typo, and a key that needs a restart: nothing changes, in the file neither.
    for (bad, why) in [
        (
            before.replace("participants_per_room", "participants"),
            "did you mean `participants_per_room`",
        ),
        (
            format!("media.tcp_connections_max = 7\n{before}"),
            "needs a restart",
        ),
    ] {
        let (code, _, stderr) = apply(&bad);
        assert_eq!(code, EXIT_REFUSED, "{stderr}");
        assert!(
            stderr.contains(why) && stderr.contains("new.toml:"),
            "{stderr}"
        );
        assert_eq!(fs::read_to_string(&file).expect("its file"), before);
        assert_eq!(limit(&router), "50");
    }
    let good = format!("# from now on\n{}", before.replace("= 50", "= 80"));
    let (code, stdout, stderr) = apply(&good);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("in force, generation 2"), "{stdout}");
    assert_eq!(fs::read_to_string(&file).expect("its file"), good);
    assert_eq!(limit(&router), "80");
    let left = router.machine.folder().read_dir().expect("ours");
    let names = left.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let left: Vec<_> = names.filter(|name| name.ends_with(".new")).collect();
    assert!(left.is_empty(), "{left:?}");
    // What was written is no news.
    let (code, stdout, _) = router.machine.run(&["config", "reload"]);
    assert!(code == 0 && stdout.contains("nothing differs"), "{stdout}");
}

#[test]
fn a_file_that_is_watched_is_reloaded_when_it_was_left_alone() {
    let watched = format!("[reload]\nwatch = true\n{LIMIT}50\n");
    let router = Logged::start("watched", &watched);
    let file = router.machine.file();
    let text = fs::read_to_string(&file).expect("its file");
    // An editor writes in place, half of it first; the rest follows later.
    fs::write(&file, text.replace("= 50", "= \"6")).expect("writable");
    router.wait_for("everything stays as it was", 1);
    assert_eq!(limit(&router), "50");
    fs::write(&file, text.replace("= 50", "= 60")).expect("writable");
    router.wait_for("changed=", 1);
    assert_eq!(limit(&router), "60");
    // Another renames.
    let beside = router.machine.folder().join("beside");
    fs::write(&beside, text.replace("= 50", "= 70")).expect("writable");
    fs::rename(&beside, &file).expect("ours");
    let deadline = Instant::now() + PATIENCE;
    while limit(&router) != "70" {
        assert!(Instant::now() < deadline, "{}", router.lines());
        std::thread::sleep(Duration::from_millis(50));
    }
    // The last thing that it watches for is that it shall not.
    fs::write(&file, text.replace("= true", "= false")).expect("writable");
    let deadline = Instant::now() + PATIENCE;
    while limit(&router) != "50" {
        assert!(Instant::now() < deadline, "{}", router.lines());
        std::thread::sleep(Duration::from_millis(50));
    }
    fs::write(
        &file,
        text.replace("= 50", "= 90").replace("= true", "= false"),
    )
    .expect("writable");
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(limit(&router), "50");
    let (code, _, stderr) = router.machine.run(&["config", "reload"]);
    assert_eq!((code, limit(&router)), (0, "90".to_owned()), "{stderr}");
}

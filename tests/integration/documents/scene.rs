//! A router in a folder of its own, with a call in it, and a shell beside it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rillway_tests::client::full_grant;
use rillway_tests::live::{LiveClient, member};
use rillway_tests::media::TrackSpec;

use super::blocks::{Command, words};
use crate::router::PATIENCE;
use crate::site::Site;

/// A start compiles components; beside other work that takes a while.
const START_TIME: Duration = Duration::from_secs(60);

/// What the documents say of a router elsewhere, of which there is one here.
const ELSEWHERE: &str = "sfu.example.org";

const CONFIGURATION: &str = "\
authentication.policy = \"auth-ours\"

[plugins.auth-ours]
component = \"auth-ours.wasm\"

[gateway]
listen = \"127.0.0.1:0\"
connections_max = 500

[recording]
directory = \"recordings\"

[limits]
participants_per_room = 50

[policy]
cache_folder = \"cache\"
";

/// Of routers that do nothing but end. Components are compiled once for all.
const ENDING: &str = "\
authentication.policy = \"auth-open\"
recording.policy = \"none\"
policy.cache_folder = \"cache\"
";

/// What came of a command.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) code: Option<i32>,
    /// What it wrote, anywhere.
    pub(super) text: String,
}

/// A program of ours that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It is ours, and may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Folder, router, and those who talk.
pub(super) struct Scene {
    shell: Shell,
    clients: [LiveClient; 2],
}

/// What a command needs.
struct Shell {
    /// Ends before the folder does.
    routers: Vec<Running>,
    site: Site,
    program: PathBuf,
    /// The one with certificates, when there is one.
    elsewhere: Option<SocketAddr>,
}

/// The program beside this test: `cargo test` of the workspace makes it.
fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("RILLWAY_BIN") {
        return program.into();
    }
    let test = std::env::current_exe().expect("this test");
    let program = test
        .parent()
        .and_then(Path::parent)
        .map(|folder| folder.join("rillway"));
    let program = program.expect("it is in a target folder");
    assert!(
        program.exists(),
        "no {}: run the suite `cli` too, or name one by RILLWAY_BIN",
        program.display()
    );
    program
}

impl Scene {
    pub(super) async fn start() -> Scene {
        let mut shell = Shell::new();
        let gateway = shell.dev("", &["--config", "rillway.toml"]);
        let talker = async |number, name: &str| {
            let mut config = member(number, "standup", Instant::now());
            config.grant = full_grant("standup", name);
            config.tracks = vec![TrackSpec::audio(), TrackSpec::simulcast()];
            let client = LiveClient::connect(gateway, config).await;
            client.expect("the gateway listens")
        };
        let mut clients = [talker(1, "Ada").await, talker(2, "Bob").await];
        let heard = LiveClient::run_all(&mut clients, PATIENCE, |c| c.hears(2)).await;
        assert!(heard.expect("sockets work"), "they hear each other");
        // Rates are measured over a second.
        let settled = Duration::from_millis(2_500);
        let ran = LiveClient::run_all(&mut clients, settled, |_| false).await;
        ran.expect("sockets work");
        Scene { shell, clients }
    }

    /// Carries the commands out one after another while the call goes on.
    pub(super) async fn play(self, commands: Vec<Command>) -> Vec<(Command, Output)> {
        let Scene { shell, mut clients } = self;
        let playing = tokio::task::spawn_blocking(move || shell.play(commands));
        loop {
            if playing.is_finished() {
                return playing.await.expect("no panic");
            }
            let step = Duration::from_millis(100);
            // Whoever was taken out has nothing more to do.
            for client in clients.iter_mut().filter(|client| client.ended.is_none()) {
                let _ = client.run_for(step / 2).await;
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Shell {
    fn new() -> Shell {
        let site = Site::new("documents");
        let component = |name| rillway_components::get(name).expect("it is built in");
        site.write("auth-ours.wasm", component("auth-open"));
        site.write("new.wasm", component("auth-open"));
        site.write("rillway.toml", CONFIGURATION);
        site.write("ending.toml", ENDING);
        site.write("new.toml", CONFIGURATION.replace("= 50\n", "= 80\n"));
        site.secret("jwt.secret", &"0123456789abcdef".repeat(4));
        std::fs::create_dir(site.0.join("recordings")).expect("ours");
        Shell {
            routers: Vec::new(),
            site,
            program: program(),
            elsewhere: None,
        }
    }

    /// A process in the folder, whose routers are found in a folder of this name beneath.
    fn process(&self, program: &Path, machine: &str) -> Process {
        let mut process = Process::new(program);
        let path = std::env::var("PATH").unwrap_or_default();
        let own = self.program.parent().unwrap_or(Path::new("")).display();
        process
            .current_dir(&self.site.0)
            .env("PATH", format!("{own}:{path}"))
            .env("XDG_RUNTIME_DIR", self.site.0.join(format!("run{machine}")))
            .env("NO_COLOR", "1")
            .env("COLUMNS", "160")
            .stdin(Stdio::null());
        process
    }

    /// Starts a router for development; where its gateway is.
    fn dev(&mut self, machine: &str, more: &[&str]) -> SocketAddr {
        let folder = self.site.0.join(format!("run{machine}"));
        std::fs::create_dir_all(folder).expect("ours");
        let mut dev = self.process(&self.program, machine);
        dev.args(["dev", "--listen", "127.0.0.1:0", "--metrics", "off"])
            .args(["--first-port", "0", "--workers", "1", "--driver", "mmsg"])
            .args(more);
        let line = self.start(dev, "Open http://");
        let (address, _) = line.split_once('/').expect("a path follows");
        address.parse().expect("an address")
    }

    /// Starts a program that says something with this in it; what follows there.
    fn start(&mut self, mut program: Process, mark: &'static str) -> String {
        let child = program
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut running = Running(child.expect("it starts"));
        let (said, line) = mpsc::channel();
        let out = running.0.stdout.take().expect("piped");
        let log = running.0.stderr.take().expect("piped");
        let streams: [Box<dyn std::io::Read + Send>; 2] = [Box::new(out), Box::new(log)];
        for stream in streams {
            let said = said.clone();
            // Read to its end, so that it can write.
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = said.send(line);
                }
            });
        }
        drop(said);
        self.routers.push(running);
        let mut all = String::new();
        loop {
            match line.recv_timeout(START_TIME) {
                Ok(line) => match line.split_once(mark) {
                    Some((_, rest)) => return rest.to_owned(),
                    None => all = all + &line + "\n",
                },
                Err(error) => panic!("no {mark}: {error}: {all}"),
            }
        }
    }

    fn play(mut self, commands: Vec<Command>) -> Vec<(Command, Output)> {
        let mut outputs = Vec::new();
        for command in commands {
            let began = Instant::now();
            let output = self.run(&command);
            let took = began.elapsed();
            println!("{:>5} ms  {}", took.as_millis(), command.text);
            outputs.push((command, output));
        }
        outputs
    }

    fn run(&mut self, command: &Command) -> Output {
        let words = words(&command.text);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut machine = String::new();
        match words.as_slice() {
            // It runs since the beginning.
            ["rillway", "dev", ..] => {
                return Output {
                    code: Some(0),
                    text: String::new(),
                };
            }
            ["rillway", "serve", ..] => {
                self.elsewhere();
                return Output {
                    code: Some(0),
                    text: String::new(),
                };
            }
            // The end of a router of its own.
            ["rillway", "drain", ..] => {
                machine = format!("-{}", self.routers.len());
                self.dev(&machine, &["--config", "ending.toml"]);
            }
            _ => {}
        }
        let mut text = command.text.clone();
        if text.contains("--router") {
            text = text.replace(&format!("{ELSEWHERE}:7443"), &self.elsewhere().to_string());
        }
        let text = text
            .replace(&format!("--host {ELSEWHERE}"), "--host 127.0.0.1")
            .replace("/mnt/backup", "recordings")
            // What follows a pipe is for people who have it.
            .split(" | ")
            .next()
            .unwrap_or_default()
            .to_owned();
        let endless = matches!(words.as_slice(), ["rillway", "events", ..]);
        let endless = endless && !words.contains(&"--count");
        let line = match endless {
            true => format!("timeout 0.5 {text}"),
            false => text,
        };
        let mut shell = self.process(Path::new("sh"), &machine);
        let output = shell
            .args(["-c", &format!("{line}\n")])
            .output()
            .expect("sh");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).expect("UTF-8");
        let code = match output.status.code() {
            // It watched until it was told to end.
            Some(124) if endless => Some(0),
            code => code,
        };
        let folder = self.site.0.display().to_string();
        Output {
            code,
            text: text.replace(&folder, "/srv/rillway"),
        }
    }

    /// A router with the certificates that the documents have made by now.
    fn elsewhere(&mut self) -> SocketAddr {
        if let Some(address) = self.elsewhere {
            return address;
        }
        let text = "authentication.policy = \"auth-open\"\nmetrics.enabled = false\n\
                    recording.policy = \"none\"\npolicy.cache_folder = \"cache\"\n\
                    gateway.listen = \"127.0.0.1:0\"\n\
                    media = { workers = 1, first_port = 0, bind = [\"127.0.0.1\"] }\n\
                    [management]\nlisten = \"127.0.0.1:0\"\ncertificate = \"router.pem\"\n\
                    key = \"router.key\"\nclient_ca = \"ca.pem\"\n";
        self.site.write("elsewhere.toml", text);
        let mut serve = self.process(&self.program, "-elsewhere");
        serve.args([
            "serve",
            "--config",
            "elsewhere.toml",
            "--log-format",
            "human",
        ]);
        let rest = self.start(serve, "management channel ready address=");
        let address = rest.split_whitespace().next().unwrap_or_default();
        let address = address.parse().expect("an address");
        self.elsewhere = Some(address);
        address
    }
}

//! A router with a configuration file, and the files beside it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use rillway::config::{Config, Overrides};
use rillway::{RunError, Running, Signals};

/// A configuration of its own in a folder of its own, which ends with it.
pub(crate) struct Site(pub(crate) PathBuf);

impl Site {
    pub(crate) fn new(name: &str) -> Site {
        let folder = std::env::temp_dir().join(format!("rillway-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        Site(folder)
    }

    pub(crate) fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(file), content).expect("written");
    }

    pub(crate) fn secret(&self, file: &str, content: &str) {
        use std::os::unix::fs::PermissionsExt;
        self.write(file, content);
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(self.0.join(file), mode).expect("changed");
    }

    /// Free ports, and what the test says beside them.
    pub(crate) fn config(&self, text: &str) -> Config {
        self.save(text);
        Site::load(&self.0)
    }

    /// Writes that configuration.
    pub(crate) fn save(&self, text: &str) {
        let path = self.0.join("rillway.toml");
        let base = "gateway.listen = \"127.0.0.1:0\"\nmetrics.listen = \"127.0.0.1:0\"\n\
                    media = { workers = 1, first_port = 0, bind = [\"127.0.0.1\"] }\n";
        std::fs::write(&path, format!("{base}{text}")).expect("written");
    }

    /// The configuration in a site's folder.
    pub(crate) fn load(folder: &std::path::Path) -> Config {
        let path = folder.join("rillway.toml");
        Config::load(&path, &Overrides::default())
            .unwrap_or_else(|error| panic!("{}", error.render(false)))
    }

    /// What is wrong with a text, before anything runs.
    pub(crate) fn invalid(&self, text: &str) -> String {
        let path = self.0.join("rillway.toml");
        std::fs::write(&path, text).expect("written");
        match Config::load(&path, &Overrides::default()) {
            Err(error) => error.render(false),
            Ok(_) => panic!("it is valid: {text}"),
        }
    }

    pub(crate) fn run(&self, text: &str) -> Running {
        rillway::run(self.config(text), Signals::Ignore).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What the router says of a configuration that it does not run with.
    pub(crate) fn refusal(&self, text: &str) -> String {
        match rillway::run(self.config(text), Signals::Ignore) {
            Err(RunError::Config(error)) => error.render(false),
            Err(error) => panic!("another error: {error}"),
            Ok(_) => panic!("it runs with {text}"),
        }
    }

    /// Replaces a file as a careful tool does: there is never half of it.
    pub(crate) fn replace(&self, file: &str, content: &[u8]) {
        self.write("new", content);
        std::fs::rename(self.0.join("new"), self.0.join(file)).expect("renamed");
        // A clock that is coarse must not make the two look the same.
        let later = SystemTime::now() + Duration::from_secs(2);
        let opened = std::fs::File::options().write(true).open(self.0.join(file));
        opened
            .and_then(|file| file.set_modified(later))
            .expect("touched");
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const ENVIRONMENT: &str = "RILLWAY_TEST_SITE";
const MARK: &str = "gateway at ";

/// Not a test of its own: the body of a [`Process`].
#[test]
#[ignore = "run by the tests that need a process"]
fn child() {
    let Ok(folder) = std::env::var(ENVIRONMENT) else {
        return;
    };
    let config = Site::load(std::path::Path::new(&folder));
    let running = rillway::run(config, Signals::Handle).expect("free ports");
    println!("{MARK}{}", running.gateway_address());
    running.wait().expect("an end on request is no error");
}

/// A router with a site's configuration in a process of its own, which is this test binary again. Ends with
/// the test.
pub(crate) struct Process {
    child: Child,
    pub(crate) gateway: SocketAddr,
}

impl Process {
    pub(crate) fn start(site: &Site) -> Process {
        Process::start_with(site, &[])
    }

    /// With these variables in its environment.
    pub(crate) fn start_with(site: &Site, environment: &[(&str, &str)]) -> Process {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["site::child", "--exact", "--ignored", "--nocapture"])
            .env(ENVIRONMENT, &site.0)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this binary runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let gateway = lines
            .find_map(|line| line.ok()?.split_once(MARK)?.1.parse().ok())
            .expect("the child says where it listens");
        // Keep reading, so that the child can write.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Process { child, gateway }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.expect("kill").success());
    }

    /// Waits for its end; the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().expect("it ended").code()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ended");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It is ours, and may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

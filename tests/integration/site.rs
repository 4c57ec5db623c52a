//! A router with a configuration file, and the files beside it.

use std::path::PathBuf;
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

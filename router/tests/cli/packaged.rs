//! The Debian package: built, looked into, installed into a folder, removed.

use std::path::{Path, PathBuf};
use std::process::Command;

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("runs");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    text(&output.stdout)
}

fn dpkg(root: &Path, arguments: &[&str]) -> String {
    let root = format!("--root={}", root.display());
    // Nothing of it is run in a root of its own: there is no shell. Libraries are the host's.
    let forced = [
        "--force-script-chrootless",
        "--force-depends",
        "--force-not-root",
    ];
    run(Command::new("dpkg").arg(root).args(forced).args(arguments))
}

#[test]
fn a_debian_package_installs_what_runs_and_keeps_the_configuration() {
    let name = format!("rillway-package-{}", std::process::id());
    let folder = Folder(std::env::temp_dir().join(name));
    let root = folder.0.join("root");
    for place in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/log"] {
        std::fs::create_dir_all(root.join(place)).expect("made");
    }
    std::fs::write(root.join("var/lib/dpkg/status"), "").expect("written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/package/deb");
    let mut build = Command::new(script);
    build.arg(env!("CARGO_BIN_EXE_rillway")).arg(&folder.0);
    // Quickly, in place of small.
    build.env("DPKG_DEB_COMPRESSOR_TYPE", "gzip");
    build.env("DPKG_DEB_COMPRESSOR_LEVEL", "1");
    let package = run(&mut build);
    let package = package.trim();
    let field = |name| run(Command::new("dpkg-deb").args(["--field", package, name]));
    assert_eq!(field("Version").trim(), env!("CARGO_PKG_VERSION"));
    assert!(
        field("Depends").contains("libc6 (>= "),
        "{}",
        field("Depends")
    );
    let listed = run(Command::new("dpkg-deb").args(["--contents", package]));
    assert!(
        listed.lines().all(|line| line.contains("root/root")),
        "{listed}"
    );

    dpkg(&root, &["--install", package]);
    let program = root.join("usr/bin/rillway");
    let version = run(Command::new(&program).arg("--version"));
    assert_eq!(version, format!("rillway {}\n", env!("CARGO_PKG_VERSION")));
    let unit = std::fs::read_to_string(root.join("usr/lib/systemd/system/rillway.service"));
    let unit = unit.expect("installed");
    assert!(unit.contains("ExecStart=/usr/bin/rillway serve --config /etc/rillway/rillway.toml\n"));
    // What is installed says what is missing; what is added is kept.
    let configuration = root.join("etc/rillway/rillway.toml");
    let mut text = std::fs::read_to_string(&configuration).expect("installed");
    text += "\n# mine\n";
    std::fs::write(&configuration, &text).expect("written");
    dpkg(&root, &["--force-confold", "--install", package]);
    assert_eq!(std::fs::read_to_string(&configuration).expect("kept"), text);
    dpkg(&root, &["--remove", "rillway"]);
    assert!(!program.exists() && configuration.exists());
    dpkg(&root, &["--purge", "rillway"]);
    assert!(!configuration.exists());
}

//! `rillway plugin` as an author meets it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::{EXIT_CONFIG, EXIT_PLUGIN, File, output};

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn a_shipped_component_is_fit() {
    let (code, stdout, stderr) = output(&["plugin", "check", "auth-open", "--json"]);
    assert_eq!(code, 0, "{stderr}");
    let report = json(&stdout);
    assert_eq!(report["fit"], true);
    assert_eq!(report["abi"], "0.2.0");
    assert_eq!(report["exports"][0], "authentication");
    assert_eq!(report["smoke"][0]["calls"], 3);
    let (code, stdout, stderr) = output(&["plugin", "check", "signaling-rooms"]);
    assert_eq!(code, 0, "{stderr}");
    for part in ["none failed", "[[signaling.routes]]", "sha256  "] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
}

#[test]
fn what_cannot_be_loaded_says_how_to_mend_it() {
    let (code, _, stderr) = output(&["plugin", "check", "nowhere.wasm"]);
    assert_eq!(code, EXIT_PLUGIN);
    assert!(
        stderr.contains("nowhere.wasm") && stderr.contains("auth-open"),
        "{stderr}"
    );

    let file = File::new("module", "");
    let module = file.0.with_file_name("module.wasm");
    std::fs::write(&module, b"\0asm\x01\0\0\0").expect("a file");
    let module = module.to_str().expect("UTF-8");
    let (code, _, stderr) = output(&["plugin", "check", module]);
    assert_eq!(code, EXIT_PLUGIN);
    assert!(stderr.contains("rillway plugin wrap"), "{stderr}");
    let out = file.0.with_file_name("out.wasm");
    let (code, _, stderr) = output(&[
        "plugin",
        "wrap",
        module,
        "--out",
        out.to_str().expect("UTF-8"),
    ]);
    assert_eq!(code, EXIT_PLUGIN);
    assert!(
        stderr.contains("module.wasm") && stderr.contains("exports no policy"),
        "{stderr}"
    );
    assert!(!out.exists());
}

#[test]
fn a_plugin_gets_what_the_configuration_gives_it() {
    let secret = File::new("jwt-secret", "");
    let key = secret.0.with_file_name("jwt.secret");
    std::fs::write(&key, "0123456789abcdef0123456789abcdef\n").expect("a file");
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("it is ours");
    let table = "
        [plugins.auth-jwt.config]
        keys = [{ name = \"main\" }]
        [plugins.auth-jwt.keys.main]
        algorithm = \"HS256\"
        file = \"jwt.secret\"
    ";
    std::fs::write(&secret.0, table).expect("a file");
    let (code, stdout, stderr) = output(&[
        "plugin",
        "run",
        "auth-jwt",
        "--config",
        secret.path(),
        "--json",
    ]);
    assert_eq!(code, 0, "{stderr}");
    // Its script has tokens that are signed with another key.
    let lines: Vec<Value> = stdout.lines().map(json).collect();
    assert_eq!(lines.len(), 4);
    assert!(
        lines
            .iter()
            .all(|line| line["denied"]["unauthenticated"].is_string()),
        "{stdout}"
    );

    let (code, _, stderr) = output(&[
        "plugin",
        "check",
        "auth-open",
        "--config",
        secret.path(),
        "--name",
        "members",
    ]);
    assert_eq!(code, EXIT_PLUGIN);
    assert!(stderr.contains("no [plugins.members]"), "{stderr}");
    std::fs::write(&secret.0, "plugins.auth-jwt.config = 3\n").expect("a file");
    let (code, _, stderr) = output(&["plugin", "check", "auth-jwt", "--config", secret.path()]);
    assert_eq!(code, EXIT_CONFIG, "{stderr}");
    assert!(stderr.contains("plugins.auth-jwt.config"), "{stderr}");
}

#[test]
fn scripts_are_played_and_judged() {
    let script = File::new(
        "script",
        "# Two.\n{\"room\": \"a\", \"guest_identity\": \"g\"}\n\n{\"room\": null}\n",
    );
    let (code, stdout, stderr) = output(&["plugin", "run", "auth-open", script.path(), "--json"]);
    assert_eq!(code, 0, "{stderr}");
    let lines: Vec<Value> = stdout.lines().map(json).collect();
    assert_eq!(lines.len(), 2, "{stdout}");
    assert_eq!(lines[0]["granted"]["room"], "a");
    assert_eq!(lines[1]["denied"]["forbidden"], "name a room");
    let (_, stdout, _) = output(&["plugin", "run", "auth-open", script.path()]);
    assert!(
        stdout.contains("> {") && stdout.contains("< {\"granted\""),
        "{stdout}"
    );

    std::fs::write(&script.0, "{\"rom\": \"a\"}\n").expect("a file");
    let (code, stdout, stderr) = output(&["plugin", "run", "auth-open", script.path()]);
    assert_eq!((code, stdout.as_str()), (EXIT_PLUGIN, ""));
    assert!(
        stderr.contains("rillway.toml:1") && stderr.contains("`rom`"),
        "{stderr}"
    );
}

#[test]
fn costs_are_told_beside_those_of_nothing() {
    let (code, stdout, stderr) = output(&[
        "plugin",
        "bench",
        "signaling-whip",
        "--instances",
        "3",
        "--json",
    ]);
    assert_eq!(code, 0, "{stderr}");
    let cost = &json(&stdout)["costs"][0];
    assert_eq!(cost["kind"], "signaling");
    assert_eq!(cost["instances"], 3);
    assert_eq!(cost["calls"], 3 * 10);
    assert_eq!(cost["call_budget_ns"], 20_000_000);
    for spread in ["call", "empty_call", "start", "empty_start"] {
        let at = |name: &str| cost[spread][name].as_u64().expect("a number");
        assert!(0 < at("p50_ns"), "{spread}: {stdout}");
        assert!(
            at("p50_ns") <= at("p99_ns") && at("p99_ns") <= at("max_ns"),
            "{spread}: {stdout}"
        );
    }
    assert!(
        cost["memory_bytes"].as_u64() > cost["empty_memory_bytes"].as_u64(),
        "{stdout}"
    );
    let (_, stdout, _) = output(&["plugin", "bench", "auth-open", "--instances", "1"]);
    for part in ["p50", "p99", "budget", "new instance", "empty", "memory"] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
}

#[test]
fn a_new_plugin_is_whole_and_never_overwrites() {
    let file = File::new("new", "");
    let folder = file.0.with_file_name("members");
    let folder = folder.to_str().expect("UTF-8");
    let new = [
        "plugin",
        "new",
        "authentication",
        "members",
        "--dir",
        folder,
    ];
    let (code, stdout, stderr) = output(&new);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("rillway plugin build"), "{stdout}");
    for file in [
        "Cargo.toml",
        "README.md",
        "rillway.toml",
        "src/lib.rs",
        "sdk/src/lib.rs",
        "sdk/wit/types.wit",
    ] {
        assert!(Path::new(folder).join(file).is_file(), "{file}");
    }
    let (code, _, stderr) = output(&new);
    assert_eq!(code, EXIT_PLUGIN);
    assert!(stderr.contains("is there already"), "{stderr}");
}

#[test]
fn interfaces_and_bindings_are_written() {
    let file = File::new("wit", "");
    let wit = file.0.with_file_name("wit");
    let generated = file.0.with_file_name("generated");
    let (wit, generated) = (
        wit.to_str().expect("UTF-8"),
        generated.to_str().expect("UTF-8"),
    );
    let (code, stdout, stderr) = output(&["plugin", "wit", wit]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("signaling.wit"), "{stdout}");
    let c = [
        "plugin",
        "wit",
        generated,
        "--bindings",
        "c",
        "--from",
        wit,
        "--world",
        "recording-plugin",
    ];
    let (code, stdout, stderr) = output(&c);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("recording_plugin.h"), "{stdout}");
    assert!(
        Path::new(generated)
            .join("recording_plugin_component_type.o")
            .is_file()
    );
}

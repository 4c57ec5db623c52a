//! What is loaded, what is refused, and what the refusal says.

use std::time::Duration;

use rillway_policy::testing::{Assembly, Behaviour, Start, bytes_spec, component, spec};
use rillway_policy::{
    Budgets, Capability, HostConfig, Kind, LoadError, PluginSpec, Rollout, Source,
};
use sha2::{Digest, Sha256};

use crate::support::{Folder, TestHost, sent, text};

/// The complaint about a plugin that must not load.
async fn complaint(host: &TestHost, spec: PluginSpec) -> String {
    host.0.load(spec).await.unwrap_err().to_string()
}

fn well() -> PluginSpec {
    spec("test", Kind::Signaling, &Behaviour::Well)
}

/// Fails the test unless every part is in the text.
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[tokio::test]
async fn what_is_no_component_is_named() {
    let host = TestHost::new();
    let bytes = |bytes: &[u8]| PluginSpec {
        source: Source::Bytes(bytes.into()),
        ..well()
    };
    let module = b"\0asm\x01\0\0\0";
    says(
        &complaint(&host, bytes(module)).await,
        &["core module", "rillway plugin build"],
    );
    says(
        &complaint(&host, bytes(b"#!/bin/sh")).await,
        &["no WebAssembly"],
    );
    says(&complaint(&host, bytes(b"")).await, &["no WebAssembly"]);
    let mut broken = component(Kind::Signaling, &Behaviour::Well);
    broken.truncate(broken.len() / 2);
    says(
        &complaint(&host, bytes(&broken)).await,
        &["cannot be compiled"],
    );
    let missing = PluginSpec {
        source: Source::File("/nowhere/plugin.wasm".into()),
        ..well()
    };
    says(
        &complaint(&host, missing).await,
        &["cannot read /nowhere/plugin.wasm", "No such file"],
    );
    for name in ["", "With Space", &"x".repeat(65)] {
        let spec = PluginSpec {
            name: name.to_owned(),
            ..well()
        };
        says(&complaint(&host, spec).await, &["name has 1 to 64"]);
    }
}

#[tokio::test]
async fn the_pin_is_the_files() {
    let host = TestHost::new();
    let folder = Folder::new("pin");
    let file = folder.path("plugin.wasm");
    let bytes = component(Kind::Signaling, &Behaviour::Well);
    std::fs::write(&file, &bytes).unwrap();
    let pinned = |sha256: [u8; 32]| PluginSpec {
        source: Source::File(file.clone()),
        sha256: Some(sha256),
        ..well()
    };
    let digest: [u8; 32] = Sha256::digest(&bytes).into();
    let plugin = host.load(pinned(digest)).await;
    assert_eq!(plugin.version().sha256, digest);
    let said = complaint(&host, pinned([0xab; 32])).await;
    says(
        &said,
        &["plugins.test.sha256", "abababab", "restore the file"],
    );
}

#[tokio::test]
async fn a_component_has_a_size() {
    let host = TestHost::with(HostConfig {
        instances: 50,
        component_bytes: 1_000,
        ..HostConfig::default()
    });
    let folder = Folder::new("size");
    let file = folder.path("plugin.wasm");
    std::fs::write(&file, component(Kind::Signaling, &Behaviour::Well)).unwrap();
    let from_file = PluginSpec {
        source: Source::File(file),
        ..well()
    };
    for spec in [well(), from_file] {
        says(
            &complaint(&host, spec).await,
            &["at most 1000", "policy.component_bytes"],
        );
    }
}

#[tokio::test]
async fn imports_need_a_grant() {
    let host = TestHost::new();
    let logs = |imports: &[Capability]| PluginSpec {
        imports: imports.to_vec(),
        ..spec("test", Kind::Signaling, &Behaviour::Log(1))
    };
    let said = complaint(&host, logs(&[Capability::Kv])).await;
    says(
        &said,
        &["imports `log`", "add \"log\" to plugins.test.imports"],
    );
    let plugin = host.load(logs(&[Capability::Log])).await;
    assert_eq!(plugin.imports(), [Capability::Log]);
    let bare = host.plugin(Kind::Signaling, &Behaviour::Well).await;
    assert_eq!(bare.imports(), []);
}

#[tokio::test]
async fn another_version_of_the_abi_is_named() {
    let host = TestHost::new();
    let assembly = Assembly::new(Kind::Signaling, "(i32.const 0)").version("0.9.0");
    let said = complaint(&host, bytes_spec("test", assembly.build())).await;
    says(&said, &["@0.9.0", "speaks 0.2.0 and 0.1.0", "rebuild it"]);
    assert_eq!(host.load(well()).await.abi(), "0.2.0");
}

#[tokio::test]
async fn a_plugin_says_why_it_does_not_start() {
    let host = TestHost::new();
    let starting = |start| spec("test", Kind::Signaling, &Behaviour::Starting(start));
    let said = complaint(&host, starting(Start::Fail("no\ncolour".to_owned()))).await;
    says(&said, &["first instance failed", "no\\ncolour"]);
    says(&complaint(&host, starting(Start::Trap)).await, &["trapped"]);
    says(
        &complaint(&host, starting(Start::Spin)).await,
        &["longer than 250 ms"],
    );
}

#[tokio::test]
async fn bounds_fit_the_host() {
    let host = TestHost::new();
    let budgets = |budgets| PluginSpec { budgets, ..well() };
    let memory = Budgets {
        memory_bytes: Some(1 << 30),
        ..Budgets::default()
    };
    let said = complaint(&host, budgets(memory)).await;
    says(
        &said,
        &["plugins.test.memory_bytes", "policy.instance_memory_bytes"],
    );
    let config = PluginSpec {
        config: serde_json::json!([1]),
        ..well()
    };
    says(
        &complaint(&host, config).await,
        &["plugins.test.config", "table"],
    );
}

#[tokio::test]
async fn a_failed_reload_leaves_everything_as_it_was() {
    let host = TestHost::new();
    let plugin = host.load(well()).await;
    let version = plugin.version();
    let with = |behaviour: &Behaviour| Some(spec("test", Kind::Signaling, behaviour));
    let fails = Behaviour::Starting(Start::Fail("no".to_owned()));
    let error = plugin.reload(with(&fails), Rollout::default()).await;
    assert!(matches!(error, Err(LoadError::Trial { .. })));
    let other = Some(spec("test", Kind::Recording, &Behaviour::Well));
    let error = plugin.reload(other, Rollout::default()).await;
    assert!(matches!(
        error,
        Err(LoadError::KindLost {
            kind: Kind::Signaling,
            ..
        })
    ));
    let named = Some(spec("other", Kind::Signaling, &Behaviour::Well));
    assert!(plugin.reload(named, Rollout::default()).await.is_err());
    assert!(plugin.reload(None, Rollout::canary(0)).await.is_err());
    assert_eq!(plugin.version(), version);
    let mut instance = plugin.signaling().unwrap().open().await.unwrap();
    assert_eq!(sent(&instance.call(text("x")).await.unwrap()), Some("x"));
}

#[tokio::test]
async fn compiled_code_is_cached_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new("cache");
    let cache = folder.path("cache");
    let config = || HostConfig {
        instances: 50,
        cache: Some(cache.clone()),
        ..HostConfig::default()
    };
    let files = || walk(&cache).len();
    for _ in 0..2 {
        let host = TestHost::with(config());
        let mut instance = host
            .load(well())
            .await
            .signaling()
            .unwrap()
            .open()
            .await
            .unwrap();
        assert_eq!(sent(&instance.call(text("x")).await.unwrap()), Some("x"));
        assert!(files() >= 1, "nothing is cached");
    }
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = rillway_policy::Host::start(config())
        .unwrap_err()
        .to_string();
    says(&error, &["policy.cache", "chmod go-w"]);
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(walk(&path)),
            path => found.push(path),
        }
    }
    found
}

#[tokio::test]
async fn a_host_that_is_gone_says_so() {
    let host = TestHost::new();
    let plugin = host.load(well()).await;
    let policy = plugin.signaling().unwrap();
    let mut instance = policy.open().await.unwrap();
    assert!(host.0.shutdown(Duration::from_secs(10)));
    assert!(matches!(
        host.0.load(well()).await,
        Err(LoadError::ShutDown { .. })
    ));
    assert!(policy.open().await.is_err());
    assert_eq!(
        instance.call(text("x")).await,
        Err(rillway_policy::Fault::Gone)
    );
}

#[tokio::test]
async fn a_host_ends_while_a_plugin_loops() {
    let host = TestHost::new();
    let spin = PluginSpec {
        budgets: Budgets {
            call: Some(Duration::from_secs(600)),
            ..Budgets::default()
        },
        ..spec("test", Kind::Signaling, &Behaviour::Spin)
    };
    let plugin = host.load(spin).await;
    let mut instance = plugin.signaling().unwrap().open().await.unwrap();
    let call = tokio::spawn(async move { instance.call(text("x")).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let began = std::time::Instant::now();
    assert!(host.0.shutdown(Duration::from_secs(10)));
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(call.await.unwrap(), Err(rillway_policy::Fault::Gone));
}

#[test]
fn what_cannot_be_is_refused_at_the_start() {
    for (config, key) in [
        (
            HostConfig {
                threads: 0,
                ..HostConfig::default()
            },
            "policy.threads",
        ),
        (
            HostConfig {
                instances: 0,
                ..HostConfig::default()
            },
            "policy.instances",
        ),
        (
            HostConfig {
                instance_memory_bytes: 1_000,
                ..HostConfig::default()
            },
            "policy.instance_memory_bytes",
        ),
    ] {
        let error = rillway_policy::Host::start(config).unwrap_err().to_string();
        says(&error, &[key]);
    }
}

//! The checked-in code is what the schema says.

use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../router/src/management")
}

/// Code of the messages, as `prost-build` writes it. No protoc: the schema is parsed in Rust.
fn generated() -> String {
    let files = protox::compile(["rillway.management.v1.proto"], [folder()]).expect("a schema");
    let out = std::env::temp_dir().join(format!("rillway-wire-{}", std::process::id()));
    std::fs::create_dir_all(&out).expect("a folder");
    prost_build::Config::new()
        .out_dir(&out)
        .type_attribute(".", "#[derive(serde::Serialize)]")
        .compile_fds(files)
        .expect("code");
    let text = std::fs::read_to_string(out.join("rillway.management.v1.rs")).expect("one file");
    std::fs::remove_dir_all(&out).expect("our folder");
    text
}

/// `RILLWAY_WRITE=1 tests/run schema` writes it anew.
#[test]
fn checked_in_code_is_what_the_schema_generates() {
    let path = folder().join("wire/generated.inc");
    let generated = generated();
    if std::env::var_os("RILLWAY_WRITE").is_some() {
        std::fs::write(&path, &generated).expect("our source");
    }
    let same = std::fs::read_to_string(&path).expect("it is checked in") == generated;
    assert!(same, "stale: RILLWAY_WRITE=1 tests/run schema");
}

//! Hosts that forbid io_uring: `auto` must notice, say why and carry datagrams all the same; `ring`
//! must fail with words that help.
//!
//! Every case runs in a process of its own (this binary again), because seccomp filters, user ids and
//! limits cannot be taken back.
#![allow(unsafe_code)]

mod child;

use std::process::Command;

/// Says to the child which case it is.
const CASE_VARIABLE: &str = "RILLWAY_DENIAL_CASE";

fn in_its_own_process(case: &str) {
    let this = std::env::current_exe().unwrap();
    let output = Command::new(this)
        .args(["--exact", "in_child", "--ignored", "--nocapture"])
        .env(CASE_VARIABLE, case)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    print!("{said}{errors}");
    assert!(output.status.success(), "{case}: {}", output.status);
    assert!(said.contains("case ended"), "the child ran no case");
}

#[test]
#[ignore = "what the other tests run in a process of its own"]
fn in_child() {
    let case = std::env::var(CASE_VARIABLE).expect("run by the other tests only");
    child::run(&case);
    println!("case ended");
}

macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        $(#[test] fn $case() { in_its_own_process(stringify!($case)); })*
    };
}

cases! {
    nothing_denied,
    setup_is_eperm,
    setup_is_enosys,
    register_is_eperm,
    enter_is_eperm,
    memlock_of_64_kib,
    memlock_for_the_runtime_only,
    memlock_as_advised,
    memory_gone_after_the_probe,
}

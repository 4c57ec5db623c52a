//! The cases, in a process that denies itself something.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rillway_ring::runtime::Runtime;
use rillway_ring::{
    Driver, DriverChoice, DriverConfig, DriverKind, OpenError, Receiver, SendRun, SocketId,
    UdpDriver, choose, memlock_bytes, open,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// User ids above this belong to nobody; one per process, because the kernel charges locked memory to
/// the user and the cases run side by side.
const USER_START: u32 = 1_000_000;

pub(crate) fn run(case: &str) {
    // SAFETY: takes nothing, returns a number.
    let user = unsafe { libc::geteuid() };
    if case.starts_with("mem") && user != 0 {
        // As another user, locked memory of unrelated processes would count too.
        println!("skipped: {case} takes root, to become a user without other processes");
        return;
    }
    let setup = libc::SYS_io_uring_setup;
    match case {
        "nothing_denied" => {
            expect_auto(DriverKind::Ring, &["io_uring works"]);
        }
        "setup_is_eperm" => {
            deny(setup, libc::EPERM);
            expect_denied(&["io_uring_setup", "Operation not permitted", "seccomp"]);
        }
        "setup_is_enosys" => {
            deny(setup, libc::ENOSYS);
            expect_denied(&["io_uring_setup", "Function not implemented", "no io_uring"]);
        }
        "register_is_eperm" => {
            deny(libc::SYS_io_uring_register, libc::EPERM);
            expect_denied(&[
                "registering the sockets",
                "Operation not permitted",
                "seccomp",
            ]);
        }
        "enter_is_eperm" => {
            deny(libc::SYS_io_uring_enter, libc::EPERM);
            expect_denied(&["io_uring_enter", "Operation not permitted", "seccomp"]);
        }
        "memlock_of_64_kib" => {
            become_unprivileged(64 << 10);
            let need = format!("needs {} KiB", memlock_bytes(&config()).div_ceil(1024));
            expect_denied(&["io_uring_setup", "RLIMIT_MEMLOCK is 64 KiB", &need]);
        }
        "memlock_for_the_runtime_only" => {
            // The second ring is what fails: the number must count both.
            become_unprivileged(memlock_bytes(&config()) * 3 / 4);
            expect_denied(&["Cannot allocate memory", "RLIMIT_MEMLOCK"]);
        }
        "memlock_as_advised" => {
            // What the advice says is enough for one worker; and it is not twice what is needed.
            become_unprivileged(memlock_bytes(&config()));
            expect_auto(DriverKind::Ring, &["io_uring works"]);
        }
        "memory_gone_after_the_probe" => memory_gone_after_the_probe(),
        other => panic!("no case {other}"),
    }
}

fn config() -> DriverConfig {
    DriverConfig::new(["127.0.0.1:0".parse().unwrap()])
}

/// From now on every thread of this process gets `errno` from this system call.
fn deny(call: i64, errno: i32) {
    let rules = BTreeMap::from([(call, Vec::new())]);
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(errno as u32),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter_all_threads(&program).unwrap();
}

/// Memory limits bind those without CAP_IPC_LOCK only: root becomes somebody else first.
fn become_unprivileged(memlock_bytes: usize) {
    let limit = libc::rlimit {
        rlim_cur: memlock_bytes as libc::rlim_t,
        rlim_max: memlock_bytes as libc::rlim_t,
    };
    // SAFETY: reads one live struct; changes a limit of this process.
    let limited = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
    assert_eq!(limited, 0, "{}", io::Error::last_os_error());
    let id = USER_START + std::process::id();
    // SAFETY: changes this process's group ids; no memory is involved.
    let group = unsafe { libc::setresgid(id, id, id) };
    assert_eq!(group, 0, "{}", io::Error::last_os_error());
    // SAFETY: changes this process's user ids and with them its capabilities; no memory is involved.
    let user = unsafe { libc::setresuid(id, id, id) };
    assert_eq!(user, 0, "{}", io::Error::last_os_error());
}

/// `ring` fails in these words, `auto` falls back with the same reason, and datagrams flow.
fn expect_denied(words: &[&str]) {
    let Err(error) = choose(DriverChoice::Ring, &config()) else {
        panic!("io_uring was to be denied");
    };
    assert!(matches!(error, OpenError::Ring(_)), "{error:?}");
    let said = error.to_string();
    println!("{said}");
    assert!(said.contains("driver = \"mmsg\""), "a way out: {said}");
    assert!(!said.contains('\n'), "one line: {said}");
    for word in words {
        assert!(said.contains(word), "{word:?} in {said:?}");
    }
    // The runtime says so too, instead of panicking.
    if let Err(error) = Runtime::new(DriverKind::Ring) {
        println!("{error}");
        assert!(
            error
                .to_string()
                .contains("cannot start the ring worker runtime")
        );
    }
    expect_auto(DriverKind::Mmsg, words);
}

fn expect_auto(kind: DriverKind, words: &[&str]) {
    let (runtime, chosen) = Runtime::for_choice(DriverChoice::Auto, &config()).unwrap();
    assert_eq!(chosen.kind, kind, "{}", chosen.reason);
    let chosen = runtime.block_on(carry());
    println!("{}: {}", chosen.0, chosen.1);
    assert_eq!(chosen.0, kind, "{}", chosen.1);
    for word in words {
        assert!(chosen.1.contains(word), "{word:?} in {:?}", chosen.1);
    }
    assert!(!chosen.1.contains('\n'), "one line: {}", chosen.1);
}

#[derive(Default)]
struct Sum(usize, u64);

impl Receiver for Sum {
    fn datagram(&mut self, _: SocketId, _: SocketAddr, data: &mut [u8]) {
        self.0 += 1;
        self.1 += data.iter().map(|&byte| u64::from(byte)).sum::<u64>();
    }
}

/// 1,000 datagrams through a driver opened by `auto`, to itself.
async fn carry() -> (DriverKind, String) {
    let (mut driver, chosen) = open(DriverChoice::Auto, &config()).unwrap();
    assert_eq!(driver.kind(), chosen.kind);
    let payload: Vec<u8> = (0..12_000).map(|index| (index % 251) as u8).collect();
    let expected = 100 * payload.iter().map(|&byte| u64::from(byte)).sum::<u64>();
    let mut sum = Sum::default();
    for round in 1..=100 {
        send(&mut driver, &payload);
        let turns = async {
            while sum.0 < 10 * round {
                poll_fn(|context| driver.poll_ready(context)).await.unwrap();
                driver.receive(64, &mut sum).unwrap();
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(10), turns).await;
        assert!(ended.is_ok(), "round {round}: {}", sum.0);
    }
    assert_eq!((sum.0, sum.1), (1_000, expected));
    driver.shutdown();
    (chosen.kind, chosen.reason)
}

fn send(driver: &mut Driver, payload: &[u8]) {
    let run = SendRun {
        socket: SocketId(0),
        destination: driver.local_addresses()[0],
        segment_bytes: 1_200,
        payload,
    };
    driver.send(run).unwrap();
    driver.flush().unwrap();
}

/// Another worker takes the memory between the choice and the opening: the runtime's ring and the
/// probe's are there, the driver's own is not.
fn memory_gone_after_the_probe() {
    let need = memlock_bytes(&config());
    become_unprivileged(need * 3);
    let (runtime, chosen) = Runtime::for_choice(DriverChoice::Auto, &config()).unwrap();
    assert_eq!(chosen.kind, DriverKind::Ring, "{}", chosen.reason);
    runtime.block_on(async {
        // More drivers than the limit allows: each opens, the last ones without io_uring.
        let drivers: Vec<_> = (0..6)
            .map(|_| open(DriverChoice::Auto, &config()).unwrap())
            .collect();
        let kinds: Vec<_> = drivers.iter().map(|(driver, _)| driver.kind()).collect();
        println!("{kinds:?}");
        assert_eq!(kinds.first(), Some(&DriverKind::Ring));
        assert_eq!(kinds.last(), Some(&DriverKind::Mmsg));
        assert!(
            drivers[5].1.reason.contains("RLIMIT_MEMLOCK"),
            "{}",
            drivers[5].1.reason
        );
    });
}

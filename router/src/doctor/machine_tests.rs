use super::*;
use crate::doctor::report::Verdict;
use rillway_ring::DriverConfig;

fn config(more: &str) -> Config {
    let text = format!("authentication.policy = \"auth-open\"\nmedia.workers = 2\n{more}");
    Config::parse("r.toml", &text).expect("valid")
}

fn workers() -> Vec<Worker> {
    let worker = |port: u16| {
        let bound = vec![([127, 0, 0, 1], port).into(), ([10, 0, 0, 5], port).into()];
        Worker {
            driver: DriverConfig::new(bound.clone()),
            choice: rillway_ring::DriverChoice::Auto,
            told: bound.clone(),
            tcp: Vec::new(),
            bound,
        }
    };
    vec![worker(40_000), worker(40_001)]
}

fn has(memlock_bytes: Option<u64>, descriptors: Option<u64>, capabilities: u64) -> Limits {
    Limits {
        memlock_bytes,
        descriptors,
        capabilities,
    }
}

#[test]
fn a_clock_is_right_or_nobody_keeps_it() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH_SECONDS + 1);
    let status = |synchronised, ms| {
        Ok(ClockStatus {
            synchronised,
            error_max: Duration::from_millis(ms),
        })
    };
    let verdict = |status, now| judge_clock(status, now).verdict;
    assert_eq!(verdict(status(true, 20), now), Verdict::Ok);
    assert_eq!(verdict(status(true, 1_500), now), Verdict::Warning);
    assert_eq!(verdict(status(false, 20), now), Verdict::Warning);
    let denied = Err(io::ErrorKind::PermissionDenied.into());
    assert_eq!(verdict(denied, now), Verdict::NotChecked);
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(60);
    assert_eq!(verdict(status(true, 20), long_ago), Verdict::Problem);
}

#[test]
fn limits_are_read_as_proc_writes_them() {
    let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                Max locked memory         8388608              unlimited            bytes     \n\
                Max open files            1024                 524288               files     \n";
    let status = "Name:\trillway\nCapEff:\t0000000000004000\n";
    let read = parse_limits(text, status);
    assert_eq!(read, has(Some(8_388_608), Some(1_024), 1 << CAP_IPC_LOCK));
    assert!(read.may(CAP_IPC_LOCK) && !read.may(CAP_NET_ADMIN));
    let text = "Max locked memory         unlimited            unlimited            bytes     \n";
    assert_eq!(parse_limits(text, ""), has(None, None, 0));
    let own = limits(Path::new("/proc/self")).expect("our own");
    assert!(own.descriptors.is_none_or(|n| n > 10), "{own:?}");
}

#[test]
fn locked_memory_is_enough_for_all_workers() {
    let judged = |driver: &str, limit, capabilities, whose| {
        let config = config(&format!("media.driver = \"{driver}\"\n"));
        judge_memlock(&config, &workers(), whose, has(limit, None, capabilities))
    };
    // Two workers of 100 KiB.
    let (enough, little) = (Some(200 << 10), Some((200 << 10) - 1));
    assert_eq!(judged("auto", enough, 0, Whose::Ours).verdict, Verdict::Ok);
    assert_eq!(judged("auto", None, 0, Whose::Ours).verdict, Verdict::Ok);
    let short = judged("auto", little, 0, Whose::Ours);
    assert_eq!(short.verdict, Verdict::Warning);
    assert!(short.mend[0].contains("LimitMEMLOCK=1M"), "{short:?}");
    assert!(short.mend[1].contains("memlock=1048576"), "{short:?}");
    let refused = judged("ring", little, 0, Whose::Ours);
    assert_eq!(refused.verdict, Verdict::Problem);
    assert_eq!(judged("mmsg", little, 0, Whose::Ours).verdict, Verdict::Ok);
    // The running router's capability counts. Ours, a root shell's, says nothing of the service's.
    let capable = 1 << CAP_IPC_LOCK;
    let running = judged("ring", little, capable, Whose::Router(7));
    assert_eq!(running.verdict, Verdict::Ok);
    let ours = judged("ring", little, capable, Whose::Ours);
    assert_eq!(ours.verdict, Verdict::Problem);
}

#[test]
fn descriptors_are_enough_to_start_and_for_all_that_is_allowed() {
    let bounds = "gateway.connections_max = 1000\nmedia.tcp_connections_max = 100\n";
    let wanted = Descriptors::of(&config(bounds), &workers());
    // Two sockets for each of four addresses; 100 connections for each of two workers.
    assert_eq!(wanted.start, DESCRIPTORS_BESIDE + 8 + 16);
    assert_eq!(wanted.full, wanted.start + 1_000 + 200);
    let relay = "[turn]\nudp = [\"127.0.0.1:3478\"]\nallocations_max = 50\n";
    let relayed = Descriptors::of(&config(&format!("{bounds}{relay}")), &workers());
    assert_eq!(relayed.full, wanted.full + 50);
    let verdict = |limit| judge_descriptors(wanted, Whose::Ours, has(None, limit, 0)).verdict;
    assert_eq!(verdict(None), Verdict::Ok);
    assert_eq!(verdict(Some(wanted.full)), Verdict::Ok);
    assert_eq!(verdict(Some(wanted.full - 1)), Verdict::Warning);
    assert_eq!(verdict(Some(wanted.start - 1)), Verdict::Problem);
}

#[test]
fn socket_buffers_are_what_was_asked_for() {
    let judged = |max, forced| judge_buffer("rmem_max", max, 4_194_304, forced);
    assert_eq!(judged(Some(4_194_304), false).verdict, Verdict::Ok);
    assert_eq!(judged(Some(212_992), true).verdict, Verdict::Ok);
    assert_eq!(judged(None, false).verdict, Verdict::NotChecked);
    let short = judged(Some(212_992), false);
    assert_eq!(short.verdict, Verdict::Warning);
    let way = "`sysctl -w net.core.rmem_max=4194304`, then restart rillway";
    assert_eq!(short.mend[0], way);
    assert_eq!(short.key.as_deref(), Some("media.receive_buffer_bytes"));
}

#[test]
fn more_workers_than_cores_wait_for_each_other() {
    assert_eq!(judge_cores(2, 2).what, "2 workers on 2 cores");
    assert_eq!(judge_cores(1, 2).verdict, Verdict::Ok);
    assert_eq!(judge_cores(3, 2).verdict, Verdict::Warning);
}

#[test]
fn a_driver_is_had_or_another_one_or_none() {
    let chosen = |kind| {
        Ok(Chosen {
            kind,
            reason: "why".to_owned(),
        })
    };
    let verdict = |choice, kind| judge_driver(choice, chosen(kind)).verdict;
    assert_eq!(verdict(DriverChoice::Auto, DriverKind::Ring), Verdict::Ok);
    assert_eq!(verdict(DriverChoice::Mmsg, DriverKind::Mmsg), Verdict::Ok);
    let other = judge_driver(DriverChoice::Auto, chosen(DriverKind::Mmsg));
    assert_eq!(other.verdict, Verdict::Warning);
    assert_eq!(other.what, "\"auto\" takes mmsg: why");
    let none = judge_driver(DriverChoice::Ring, Err(OpenError::Config("no")));
    assert_eq!(none.verdict, Verdict::Problem);
}

#[test]
fn confinement_is_required_or_wished_for() {
    let verdict = |wanted, confined| judge_confinement(wanted, &Ok(confined)).verdict;
    let (auto, required) = (Confinement::Auto, Confinement::Required);
    assert_eq!(verdict(required, Confined::Whole), Verdict::Ok);
    assert_eq!(verdict(auto, Confined::Partly), Verdict::Ok);
    assert_eq!(verdict(auto, Confined::Not), Verdict::Warning);
    assert_eq!(verdict(required, Confined::Not), Verdict::Problem);
    let refused = judge_confinement(auto, &Err(SandboxError::Absent));
    assert_eq!(refused.verdict, Verdict::Problem);
}

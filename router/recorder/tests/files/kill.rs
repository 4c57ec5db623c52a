//! A process that records is killed.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use rillway_recorder::dump::{Reader, Record, check};
use rillway_recorder::sidecar::State;
use rillway_recorder::verify::list;

use crate::support::{Folder, PATIENCE, all_well, child, run, settings, until};

/// Packets that had to survive, and that did.
struct Survived {
    durable: u64,
    packets: u64,
}

fn kill_at(delay: Duration) -> Survived {
    let folder = Folder::new("kill");
    let mut command = child("until-killed", &folder.0);
    let mut recorder = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    std::thread::sleep(delay);
    recorder.kill().expect("it runs");
    recorder.wait().expect("it ended");
    // Whatever it could still say is in the pipe; the last line may be half.
    let mut durable = 0;
    let mut text = Vec::new();
    let mut out = BufReader::new(recorder.stdout.take().expect("a pipe"));
    while out.read_until(b'\n', &mut text).is_ok_and(|n| n > 0) {
        let line = String::from_utf8_lossy(&text);
        if let Some(rest) = line.strip_prefix("durable ")
            && line.ends_with('\n')
        {
            let number = rest.split(' ').next().and_then(|n| n.parse().ok());
            durable = number.expect("a number");
        }
        text.clear();
    }
    if !folder.0.exists() {
        return Survived {
            durable,
            packets: 0,
        };
    }
    let name = folder.0.join("a_room_of_ours/killed.rtpd");
    let torn = name.with_extension("rtpd.part");
    let before = std::fs::read(&torn).unwrap_or_default();
    let running = run(settings(&folder.0));
    if !before.is_empty() {
        until(&running, "it is recovered", |s| s.files_recovered == 1);
    }
    assert!(running.recorder.finish(PATIENCE));
    assert!(!torn.exists(), "it is finished");
    let Ok(after) = std::fs::read(&name) else {
        assert_eq!(durable, 0, "a file had to be there");
        return Survived {
            durable,
            packets: 0,
        };
    };
    let report = check(&after[..]).expect("a dump");
    assert!(report.complete, "{report:?}");
    assert!(
        report.packets >= durable,
        "{} of {durable} packets",
        report.packets
    );
    whole(&after);
    let findings = crate::support::verified(&folder.0);
    if findings
        .iter()
        .any(|f| f.verdict == rillway_recorder::verify::Verdict::Unlisted)
    {
        // Killed before its sidecar was there for the first time.
        assert_eq!(findings.len(), 1, "{findings:?}");
    } else {
        assert_eq!(all_well(&folder.0), 1);
        let root = rillway_recorder::disk::Root::view(&folder.0).expect("is there");
        let recordings = list(&root).expect("is read");
        let sidecar = recordings[0].contents.as_ref().expect("is read");
        assert_eq!(sidecar.files[0].state, State::Recovered);
    }
    Survived {
        durable,
        packets: report.packets,
    }
}

/// The packets of each track are those from the first on, without a hole.
fn whole(bytes: &[u8]) {
    let mut next = [0; 3];
    for record in Reader::new(bytes).expect("a dump") {
        if let Record::Packet(packet) = record.expect("is whole") {
            let next = &mut next[usize::try_from(packet.track.0).expect("small")];
            assert_eq!(packet.sequence, *next);
            assert_eq!(packet.payload.len() as u64, 200 + *next % 700);
            *next += 1;
        }
    }
}

#[test]
fn what_was_synced_survives_a_kill() {
    let kills = std::env::var("RILLWAY_TEST_KILLS")
        .ok()
        .and_then(|n| n.parse().ok());
    let seed = std::env::var("RILLWAY_TEST_SEED")
        .ok()
        .and_then(|n| n.parse().ok());
    let seed = seed.unwrap_or(0x8_0821);
    let mut random = fastrand::Rng::with_seed(seed);
    let delays: Vec<u64> = (0..kills.unwrap_or(20))
        .map(|_| random.u64(50..2_500))
        .collect();
    let mut survived = Vec::new();
    for some in delays.chunks(4) {
        std::thread::scope(|scope| {
            let killed = |delay: &u64| {
                let delay = Duration::from_millis(*delay);
                scope.spawn(move || kill_at(delay))
            };
            let threads: Vec<_> = some.iter().map(killed).collect();
            for (thread, delay) in threads.into_iter().zip(some) {
                let result = thread.join();
                assert!(result.is_ok(), "killed after {delay} ms (seed {seed})");
                survived.extend(result);
            }
        });
    }
    let proven = survived.iter().filter(|s| s.durable > 0).count();
    let packets: u64 = survived.iter().map(|s| s.packets).sum();
    let durable: u64 = survived.iter().map(|s| s.durable).sum();
    eprintln!(
        "{proven} of {} had synced; {durable} packets had to survive, {packets} did",
        survived.len()
    );
    assert!(proven > 0, "no kill came after a sync");
}

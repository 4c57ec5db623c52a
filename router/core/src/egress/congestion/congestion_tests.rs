use super::*;
use crate::shard::testing::start;

/// A path of one rate with a queue, a receiver that reports every 50 ms, and a sender of evenly spaced
/// packets.
struct Path {
    congestion: Congestion,
    began: Instant,
    now: Instant,
    number: u16,
    free: i64,
    rate_bps: f64,
    /// (number, arrival), microseconds.
    arrived: Vec<(u16, i64)>,
    reported: u16,
    /// The receiver looks into its socket so often, microseconds; 0: at once.
    reads_every: i64,
    /// It has so much else to do that it falls behind and catches up again: most it is behind, microseconds.
    behind_most: i64,
    /// It sleeps for random times, and reads when it wakes up.
    sleeper: Option<Sleeper>,
    /// Bytes of media that are due.
    owed: f64,
}

struct Sleeper {
    random: fastrand::Rng,
    mean_micros: f64,
    wakes_at: i64,
}

impl Sleeper {
    /// When it reads what comes then.
    fn reads(&mut self, comes_at: i64) -> i64 {
        while self.wakes_at < comes_at {
            let times = (-self.random.f64().max(1e-9).ln()).min(6.0);
            self.wakes_at += 200 + (times * self.mean_micros) as i64;
        }
        self.wakes_at
    }
}

const DELAY: i64 = 20_000;

impl Path {
    fn new(rate_bps: f64) -> Self {
        let now = start();
        Path {
            congestion: Congestion::new(now),
            began: now,
            now,
            number: 0,
            free: 0,
            rate_bps,
            arrived: Vec::new(),
            reported: 0,
            reads_every: 0,
            behind_most: 0,
            sleeper: None,
            owed: 0.0,
        }
    }

    fn micros(&self) -> i64 {
        (self.now - self.began).as_micros() as i64
    }

    fn send(&mut self, bytes: usize) {
        self.congestion.on_sent(self.number, bytes);
        let bits = (bytes + IP_BYTES) as f64 * 8.0;
        self.free = self.free.max(self.micros()) + (bits * 1e6 / self.rate_bps) as i64;
        let round = self.micros().rem_euclid(1_500_000);
        let behind = self.behind_most * round.min(1_000_000) / 1_000_000;
        let mut at = self.free + DELAY + behind;
        if self.reads_every > 0 {
            // Not at even times: other work of its thread takes more or less.
            let waver = (i64::from(self.number / 16) * 7_919) % (self.reads_every / 2);
            at = (at / self.reads_every + 1) * self.reads_every + waver;
        }
        if let Some(sleeper) = &mut self.sleeper {
            at = sleeper.reads(at);
        }
        // In order, however far behind it was.
        at = at.max(self.arrived.last().map_or(0, |(_, before)| *before));
        self.arrived.push((self.number, at));
        self.number = self.number.wrapping_add(1);
    }

    /// Sends packets of a thousand bytes at a rate, and padding where it is asked for.
    fn run(&mut self, seconds: f64, bps: f64) {
        let until = self.now + Duration::from_secs_f64(seconds);
        let mut step = 0;
        while self.now < until {
            self.now += Duration::from_millis(1);
            step += 1;
            self.owed += bps / 8.0 / 1e3;
            let wake_at = self.congestion.wake_at();
            let asks = wake_at.is_some_and(|at| at <= self.now);
            if self.owed >= 1_000.0 || asks {
                let asked = self.congestion.begin_turn(self.now, self.number);
                let mut sent = 0;
                while self.owed >= 1_000.0 {
                    self.owed -= 1_000.0;
                    sent += 1_000;
                    self.send(1_000 - IP_BYTES);
                }
                while asked.is_some_and(|asked| sent < asked.bytes) {
                    sent += 300;
                    self.send(300 - IP_BYTES);
                }
                self.congestion.end_turn();
            }
            if step % 50 == 0 {
                self.report();
            }
        }
    }

    fn report(&mut self) {
        let now = self.micros() - DELAY;
        let (here, later) = self.arrived.iter().partition(|(_, at)| *at <= now);
        let here: Vec<(u16, i64)> = here;
        self.arrived = later;
        let Some(&(base, first)) = here.first() else {
            return;
        };
        let reference = first / 64_000;
        let mut control = base.to_be_bytes().to_vec();
        control.extend((here.len() as u16).to_be_bytes());
        control.extend(&(reference as u32).to_be_bytes()[1..]);
        control.push(self.reported as u8);
        self.reported += 1;
        // All arrived, with large deltas.
        control.extend((0x4000 | here.len() as u16).to_be_bytes());
        let mut before = reference * 256;
        for (_, at) in here {
            let delta = at / 250 - before;
            before += delta;
            control.extend((delta as i16).to_be_bytes());
        }
        let whole =
            self.congestion
                .on_arrivals(self.now, &control, Some(Duration::from_millis(40)));
        assert!(whole);
    }

    fn estimate(&self) -> f64 {
        self.congestion.estimate_bps(self.now).expect("known") as f64
    }
}

fn near(bps: f64, expected: f64, share: f64) -> bool {
    (bps / expected - 1.0).abs() <= share
}

#[test]
fn nothing_is_said_before_anything_is_known() {
    let mut path = Path::new(10e6);
    path.run(0.9, 1e6);
    assert_eq!(path.congestion.estimate_bps(path.now), None);
    assert_eq!(path.congestion.pace(), None, "nothing waits");
    // Sound alone says nothing of what pictures find.
    let mut path = Path::new(10e6);
    path.run(20.0, 60_000.0);
    assert_eq!(path.congestion.estimate_bps(path.now), None);
}

#[test]
fn a_path_with_room_is_asked_up_to_what_is_of_use() {
    let mut path = Path::new(100e6);
    path.congestion.want(3_000_000);
    path.run(6.0, 1e6);
    let estimate = path.estimate();
    assert!((7.0e6..9.5e6).contains(&estimate), "{estimate}");
    let sent = path.number;
    path.run(20.0, 1e6);
    assert_eq!(
        u32::from(path.number - sent),
        20 * 125,
        "and left alone then"
    );
}

#[test]
fn a_path_that_is_full_is_known_within_a_tenth() {
    for rate in [400_000.0, 1e6, 5e6] {
        let mut path = Path::new(rate);
        path.congestion.want(20_000_000);
        path.run(1.5, rate * 1.3);
        assert!(path.estimate() < rate, "found full: {}", path.estimate());
        path.run(20.0, rate * 0.6);
        assert!(
            near(path.estimate(), rate, 0.1),
            "{rate}: {}",
            path.estimate()
        );
        // And follows when it changes.
        path.rate_bps = rate * 3.0;
        path.run(15.0, rate * 0.6);
        assert!(
            near(path.estimate(), rate * 3.0, 0.1),
            "{rate}: {}",
            path.estimate()
        );
        path.rate_bps = rate;
        path.run(15.0, rate * 0.6);
        assert!(
            near(path.estimate(), rate, 0.1),
            "{rate}: {}",
            path.estimate()
        );
    }
}

#[test]
fn what_is_not_used_is_neither_lost_nor_grows() {
    let mut path = Path::new(3e6);
    path.congestion.want(2_000_000);
    path.run(20.0, 1.5e6);
    let before = path.estimate();
    assert!(near(before, 3e6, 0.1), "{before}");
    path.congestion.want(50_000);
    path.run(60.0, 50_000.0);
    assert!(near(path.estimate(), 3e6, 0.12), "{}", path.estimate());
}

#[test]
fn silence_lowers_it_and_feedback_brings_it_back() {
    let mut path = Path::new(3e6);
    path.congestion.want(2_000_000);
    path.run(10.0, 1.5e6);
    assert!(!path.congestion.is_slowed(path.now, None));
    let before = path.estimate();
    // The path stalls: packets leave, and nothing is heard.
    let mut slowed = 0;
    for _ in 0..9 {
        path.now += Duration::from_secs(1);
        path.congestion.begin_turn(path.now, path.number);
        path.send(1_000);
        path.congestion.end_turn();
        slowed += u32::from(path.congestion.is_slowed(path.now, None));
    }
    assert!((3..=5).contains(&slowed), "{slowed}");
    assert!(path.estimate() < before * 0.3);
    path.run(10.0, 0.4e6);
    assert!(near(path.estimate(), 3e6, 0.12), "{}", path.estimate());
    // Who sends nothing hears nothing.
    path.now += Duration::from_secs(60);
    assert!(!path.congestion.is_slowed(path.now, None));
}

/// Sends so much while the estimate allows it, else the lower rate; how long it takes until that is so for a second.
fn until_carried(path: &mut Path, bps: f64, else_bps: f64, most: f64) -> f64 {
    let (began, mut carried) = (path.now, 0);
    while carried < 10 {
        let fits = path.estimate() >= bps * 1.05;
        carried = if fits { carried + 1 } else { 0 };
        path.run(0.1, if fits { bps } else { else_bps });
        if (path.now - began).as_secs_f64() > most {
            return f64::INFINITY;
        }
    }
    (path.now - began).as_secs_f64() - 1.0
}

/// A receiver without a core of its own reads late, in steps, and falls behind for a second again and again. The path
/// is as wide as ever.
#[test]
fn what_a_late_reader_took_comes_back_soon() {
    const PICTURES: f64 = 1.4e6;
    for reads_every in [0, 10_000, 20_000] {
        for (behind_most, kept) in [(300_000, 0.8), (1_000_000, 0.0)] {
            let mut path = Path::new(100e6);
            path.congestion.want(PICTURES as u64);
            path.reads_every = reads_every;
            path.run(10.0, PICTURES);
            path.behind_most = behind_most;
            for _ in 0..60 {
                let fits = path.estimate() >= PICTURES * 1.05;
                path.run(0.1, if fits { PICTURES } else { 60_000.0 });
            }
            let least = path.estimate();
            assert!(
                least >= PICTURES * kept,
                "{reads_every} {behind_most}: {least}"
            );
            path.behind_most = 0;
            let took = until_carried(&mut path, PICTURES, 60_000.0, 60.0);
            assert!(took < 4.0, "{reads_every} {behind_most}: {took} s");
        }
    }
}

/// A browser that begins with three decoders on two cores is far behind at first, and wakes up at any time after that.
#[test]
fn a_reader_that_wakes_up_at_any_time_is_not_taken_for_a_full_path() {
    for (all, sound) in [(340_000.0, 160_000.0), (1_400_000.0, 60_000.0)] {
        for mean_micros in [8_000.0, 15_000.0, 25_000.0] {
            for seed in 0..40 {
                let mut path = Path::new(100e6);
                path.congestion.want(all as u64);
                path.sleeper = Some(Sleeper {
                    random: fastrand::Rng::with_seed(seed),
                    mean_micros,
                    wakes_at: 0,
                });
                path.behind_most = 800_000;
                path.run(1.4, all);
                path.behind_most = 0;
                let took = until_carried(&mut path, all, sound, 60.0);
                assert!(took < 9.0, "{all} {mean_micros} {seed}: {took} s");
            }
        }
    }
}

#[test]
fn what_the_receiver_says_bounds_it_for_a_while_and_is_all_there_is_without_feedback() {
    let mut path = Path::new(3e6);
    path.congestion.on_capacity(path.now, 800_000);
    assert_eq!(path.estimate(), 800_000.0);
    path.now += Duration::from_secs(600);
    assert_eq!(path.estimate(), 800_000.0, "nothing else is known");
    assert_eq!(path.congestion.pace(), None);
    path.congestion.want(2_000_000);
    path.run(10.0, 1.5e6);
    assert!(near(path.estimate(), 3e6, 0.1), "too long ago");
    path.congestion.on_capacity(path.now, 700_000);
    assert_eq!(path.estimate(), 700_000.0);
    let bounds = path.congestion.bounds(path.now);
    assert_eq!(bounds.remb_bps, Some(700_000));
    assert!(bounds.delay_bps.is_some_and(|bps| bps > 2_000_000));
    path.now += CAPACITY_AGE;
    assert!(path.estimate() > 2e6);
    assert_eq!(path.congestion.bounds(path.now).remb_bps, None);
}

#[test]
fn no_feedback_makes_it_panic_or_say_nonsense() {
    let mut random = fastrand::Rng::with_seed(5);
    let mut path = Path::new(3e6);
    path.congestion.want(2_000_000);
    for round in 0..30_000 {
        path.run(0.002, 1.5e6);
        let mut control = path
            .number
            .wrapping_sub(random.u16(0..200))
            .to_be_bytes()
            .to_vec();
        control.extend(random.u16(..).to_be_bytes());
        control.extend((0..random.usize(0..120)).map(|_| random.u8(..)));
        control.truncate(random.usize(0..=control.len()));
        path.congestion.on_arrivals(path.now, &control, None);
        if round % 100 == 0
            && let Some(bps) = path.congestion.estimate_bps(path.now)
        {
            let most = rate::RATE_BPS.1 as u64;
            assert!((1..=most).contains(&bps), "{bps}");
        }
    }
}

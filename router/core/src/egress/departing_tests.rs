//! What waits, what is given up, and what is added: as the client sees it.

use super::*;
use crate::egress::rtcp::Reception;
use crate::egress::sent::Variation;

/// Feedback that packets from a number on arrived, at this time and then every 10 ms.
fn arrivals(base: u16, count: u16, at_ms: u32) -> Vec<u8> {
    let mut control = base.to_be_bytes().to_vec();
    control.extend(count.to_be_bytes());
    control.extend(&(at_ms / 64).to_be_bytes()[1..]);
    control.push(0);
    // A run of large deltas, 250 µs each.
    control.extend((0x4000 | count).to_be_bytes());
    let deltas = std::iter::once(at_ms as u16 % 64).chain(std::iter::repeat(10));
    for delta in deltas.take(count.into()) {
        control.extend((delta * 4).to_be_bytes());
    }
    control
}

/// A rig whose path is known to carry about so much, found by sending just that for two seconds.
fn bounded() -> (Rig, u64) {
    let mut rig = Rig::new(Some(REPAIR));
    let mut sequence = 100;
    // 1,100 bytes with everything each 10 ms are 0.88 Mb/s.
    for round in 0..40_u32 {
        let mut base = None;
        for _ in 0..5 {
            let seen = media(&rig.send([sequence]));
            base = base.or(seen.first().map(|packet| packet.transport_sequence));
            sequence += 1;
            rig.now += Duration::from_millis(10);
        }
        let control = arrivals(base.unwrap(), 5, round * 50);
        assert!(rig.sender.on_arrivals(rig.now, &control));
    }
    let estimate = rig.sender.estimate_bps(rig.now).expect("known") as f64;
    assert!((0.8e6..1.6e6).contains(&estimate), "{estimate}");
    // The client itself says that it is no more.
    rig.sender.on_capacity(rig.now, 800_000);
    rig.sender.want(800_000);
    (rig, sequence)
}

#[test]
fn a_burst_is_spread_and_comes_whole_and_in_order() {
    let (mut rig, first) = bounded();
    rig.now += Duration::from_millis(100);
    let mut numbers: Vec<u16> = Vec::new();
    let mut turns = 0;
    let mut datagrams = rig.send(first..first + 40);
    loop {
        let seen = media(&datagrams);
        numbers.extend(seen.iter().filter(|p| p.ssrc == MAIN).map(|p| p.sequence));
        if numbers.len() == 40 {
            break;
        }
        turns += 1;
        assert!(turns < 200);
        let at = rig.sender.wake_at(rig.now).expect("it is woken");
        assert!(at > rig.now);
        rig.now = at;
        datagrams = rig.flush().1;
    }
    assert!(turns > 10, "{turns}");
    let expected = (first..first + 40).map(|number| number as u16);
    assert!(numbers.into_iter().eq(expected));
}

#[test]
fn sound_overtakes_what_waits() {
    let (mut rig, first) = bounded();
    rig.send(first..first + 40);
    let packet = rig.packet(7);
    let sound = Departure {
        packet: rig.egress.admit(packet),
        stream: rig.stream,
        again: false,
        waits: false,
        sequence: first + 40,
        origin: origin(),
        variation: Variation::default(),
    };
    assert!(rig.sender.queue(sound));
    let seen = media(&rig.flush().1);
    assert!(seen.iter().any(|p| p.sequence == (first + 40) as u16));
}

#[test]
fn what_is_given_up_leaves_no_gap() {
    let (mut rig, first) = bounded();
    let mut sent = media(&rig.send(first..first + 40));
    let stream = rig.stream;
    let dropped = rig.sender.supersede(stream);
    assert!((20..40).contains(&dropped), "{dropped}");
    assert_eq!(rig.sender.supersede(stream), 0);
    // The keyframe that takes their place.
    for number in first + 40..first + 60 {
        rig.now += Duration::from_millis(50);
        sent.extend(media(&rig.send([number])));
    }
    let numbers = sent.iter().filter(|p| p.ssrc == MAIN).map(|p| p.sequence);
    let expected = (first..first + 60 - dropped).map(|number| number as u16);
    assert!(numbers.eq(expected));
    let last = &sent.iter().rev().find(|p| p.ssrc == MAIN).unwrap().payload;
    assert_eq!(last[0], (first + 59) as u8);
    // What is missed is asked for by the numbers the client saw.
    let number = (first + 59 - dropped) as u16;
    let wanted = rig.sender.take_again(rig.now, MAIN, number).unwrap().1;
    assert_eq!(
        (wanted.source, wanted.sequence),
        (first + 59, number.into())
    );
}

#[test]
fn a_late_packet_that_is_given_up_takes_no_number_from_those_after_it() {
    let (mut rig, first) = bounded();
    let mut sent = Vec::new();
    for number in [first, first + 2, first + 3, first + 4] {
        sent.extend(media(&rig.send([number])));
        rig.now += Duration::from_millis(50);
    }
    // A burst has to wait, and behind it the packet that was late.
    sent.extend(media(&rig.send((first + 5..first + 45).chain([first + 1]))));
    let highest = sent.iter().filter(|p| p.ssrc == MAIN).map(|p| p.sequence);
    let highest = highest.max().expect("sent");
    let stream = rig.stream;
    assert!(rig.sender.supersede(stream) > 20);
    // What comes still later belongs before what was given up.
    let late = media(&rig.send([first + 20]));
    assert!(late.iter().all(|packet| packet.ssrc != MAIN));
    let mut after = Vec::new();
    for number in first + 45..first + 65 {
        rig.now += Duration::from_millis(50);
        after.extend(media(&rig.send([number])));
    }
    let numbers = after.iter().filter(|p| p.ssrc == MAIN);
    let numbers: Vec<_> = numbers.map(|p| p.sequence).collect();
    let expected: Vec<_> = (1..=20).map(|n| highest.wrapping_add(n)).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn of_a_stream_that_ended_nothing_leaves_any_more() {
    let (mut rig, first) = bounded();
    rig.send(first..first + 40);
    assert!(rig.sender.take_again(rig.now, MAIN, first as u16).is_some());
    let stream = rig.stream;
    assert!(rig.sender.end(stream) > 20);
    rig.now += Duration::from_secs(1);
    assert!(rig.sender.take_again(rig.now, MAIN, first as u16).is_none());
    let left = media(&rig.flush().1);
    assert!(left.iter().all(|packet| packet.padded));
}

#[test]
fn what_waits_too_long_breaks_its_stream() {
    let (mut rig, first) = bounded();
    // More than 1.5 s take.
    let mut written = Written::default();
    for number in first..first + 800 {
        rig.queue(number, false);
    }
    for _ in 0..800 {
        let turn = rig.flush().0;
        written.packets += turn.packets;
        written.dropped += turn.dropped;
        if turn.dropped > 0 {
            break;
        }
        rig.now = rig.sender.wake_at(rig.now).expect("it is woken");
    }
    assert_eq!(written.packets + written.dropped, 800);
    assert!(written.dropped > 100, "{written:?}");
    assert_eq!(rig.sender.take_broken(), Some(rig.stream));
    assert_eq!(rig.sender.take_broken(), None);
}

#[test]
fn without_a_way_nothing_waits() {
    let (mut rig, first) = bounded();
    rig.send(first..first + 40);
    let mut sink = Sink::default();
    let written = rig.egress.flush(rig.now, &mut rig.sender, None, &mut sink);
    assert!(written.dropped > 20);
    assert_eq!(rig.sender.wake_at(rig.now), None, "and nobody is woken");
}

#[test]
fn padding_looks_like_an_empty_retransmission_and_is_numbered() {
    let (mut rig, first) = bounded();
    rig.sender.want(9_000_000);
    // What the client said counts no more: the path is asked.
    rig.now += Duration::from_secs(6);
    let mut asked = Vec::new();
    let mut probes = 0;
    rig.queue(first, false);
    for _ in 0..60 {
        let (written, datagrams) = rig.flush();
        probes += written.probes;
        asked.extend(media(&datagrams));
        let Some(at) = rig.sender.wake_at(rig.now) else {
            break;
        };
        if at > rig.now + Duration::from_millis(50) {
            break;
        }
        rig.now = at;
    }
    assert_eq!(probes, 1);
    let padding: Vec<&Seen> = asked.iter().filter(|p| p.ssrc == REPAIR).collect();
    assert!(padding.len() > 8, "{}", padding.len());
    for packet in &padding {
        assert!(packet.padded);
        assert_eq!(packet.payload_type, 97);
        assert_eq!(
            (packet.payload.len(), packet.payload.last()),
            (255, Some(&255))
        );
        assert!(packet.payload[..254].iter().all(|byte| *byte == 0));
    }
    for (before, after) in padding.iter().zip(padding.iter().skip(1)) {
        assert_eq!(after.sequence, before.sequence.wrapping_add(1));
    }
    for (before, after) in asked.iter().zip(asked.iter().skip(1)) {
        let next = before.transport_sequence.wrapping_add(1);
        assert_eq!(after.transport_sequence, next, "one numbering for all");
    }
    // A retransmission goes on where padding stopped.
    let last = padding.last().unwrap().sequence;
    let reception = Reception {
        ssrc: REPAIR,
        fraction_lost: 0,
        highest: last.into(),
        last_report: 0,
        delay: 0,
    };
    let clock = rig.egress.clock;
    rig.sender.on_reception(rig.now, &clock, &reception);
    assert!(rig.miss(first as u16));
    rig.now += Duration::from_millis(50);
    let seen = media(&rig.flush().1);
    let again = seen.iter().find(|p| p.ssrc == REPAIR && !p.padded).unwrap();
    assert_eq!(again.sequence, last.wrapping_add(1));
}

#[test]
fn without_numbers_nothing_is_counted_and_feedback_changes_nothing() {
    let mut rig = Rig::new(Some(REPAIR));
    let mut plain = negotiated(MAIN, Some(REPAIR));
    plain.ids = plain.ids.unnumbered();
    rig.sender.open(plain).unwrap();
    for sequence in 0..100 {
        rig.queue(sequence, false);
        rig.flush();
        rig.now += Duration::from_millis(10);
    }
    assert!(rig.sender.on_arrivals(rig.now, &arrivals(0, 50, 0)));
    assert_eq!(rig.sender.estimate_bps(rig.now), None);
    assert_eq!(rig.sender.bounds(rig.now), Bounds::default());
}

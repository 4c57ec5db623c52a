use std::time::Duration;

use super::*;
use crate::shard::testing::start;

fn packet(sequence: u64, bytes: usize) -> Packet {
    Packet {
        payload: vec![sequence as u8; bytes].into(),
        extensions: Passed::default(),
        dependency: None,
        descriptor: None,
        marker: false,
        sequence,
        timestamp: 0,
        captured: start(),
        clock_rate: 90_000,
    }
}

fn sequences(history: &History) -> Vec<u64> {
    history.packets.iter().map(|k| k.packet.sequence).collect()
}

#[test]
fn packets_are_found_by_number_in_whatever_order_they_came() {
    let (now, mut history) = (start(), History::default());
    for sequence in [10, 12, 11, 15, 9, 12, 14] {
        history.keep(now, &packet(sequence, 3));
    }
    assert_eq!(sequences(&history), [9, 10, 11, 12, 14, 15]);
    assert_eq!(history.bytes, 18, "12 came twice");
    for sequence in 8..17 {
        let found = history.get(sequence).map(|p| p.payload[0]);
        let kept = [9, 10, 11, 12, 14, 15].contains(&sequence);
        assert_eq!(found, kept.then_some(sequence as u8));
    }
}

#[test]
fn age_number_and_bytes_are_bounded() {
    let (now, mut history) = (start(), History::default());
    history.keep(now, &packet(1, 3));
    history.keep(now + HISTORY_AGE, &packet(2, 3));
    assert_eq!(sequences(&history), [1, 2]);
    let later = now + HISTORY_AGE + Duration::from_millis(1);
    assert!(history.prune(later));
    assert_eq!(sequences(&history), [2]);
    for sequence in 3..3_000 {
        history.keep(later, &packet(sequence, 3));
        assert!(history.packets.len() <= HISTORY_PACKETS);
    }
    for sequence in 3_000..5_000 {
        history.keep(later, &packet(sequence, 1_400));
        assert!(history.bytes <= HISTORY_BYTES);
    }
    let kept: usize = history.packets.iter().map(|k| k.packet.payload.len()).sum();
    assert_eq!(history.bytes, kept);
    assert!(!history.prune(later + HISTORY_AGE * 2));
    assert_eq!((history.packets.len(), history.bytes), (0, 0));
}

#[test]
fn what_is_forgotten_frees_its_payload() {
    let (now, mut history) = (start(), History::default());
    let packet = packet(1, 100);
    history.keep(now, &packet);
    assert_eq!(Arc::strong_count(&packet.payload), 2);
    history.clear();
    assert_eq!(Arc::strong_count(&packet.payload), 1);
    assert!(history.get(1).is_none());
}

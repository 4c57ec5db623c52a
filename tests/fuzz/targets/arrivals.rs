//! Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).

use rillway_core::fuzzing;

/// Input: two bytes that bound how many packets are told of, and feedback control information.
pub fn run(input: &[u8]) {
    let Some((&[high, low], control)) = input.split_first_chunk() else {
        return;
    };
    let most = u16::from_be_bytes([high, low]);
    let (told, whole) = fuzzing::arrivals(control, most);
    assert!(told.len() <= usize::from(most));
    let Some(&[b0, b1, c0, c1]) = control.first_chunk() else {
        assert!(told.is_empty() && !whole);
        return;
    };
    let count = u16::from_be_bytes([c0, c1]);
    assert!(told.len() <= usize::from(count));
    assert!(!whole || told.len() == usize::from(count.min(most)));
    let base = u16::from_be_bytes([b0, b1]);
    let numbers = told.iter().map(|(number, _)| *number);
    assert!(numbers.eq((0..told.len()).map(|index| base.wrapping_add(index as u16))));
    // Each packet that arrived took a byte at least.
    let arrived = told.iter().filter(|(_, at)| at.is_some()).count();
    assert!(arrived <= control.len());
    // With a lower bound it says the same of fewer.
    let (fewer, _) = fuzzing::arrivals(control, most / 2);
    assert_eq!(fewer[..], told[..fewer.len()]);
}

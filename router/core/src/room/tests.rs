use super::*;

const A: ParticipantId = ParticipantId(1);
const B: ParticipantId = ParticipantId(2);

#[test]
fn only_changes_are_announced() {
    let mut room = Room::new("r".into());
    assert!(!room.update_speakers(&mut []));
    assert!(room.update_speakers(&mut [(A, 90)]));
    assert!(
        !room.update_speakers(&mut [(A, 70)]),
        "a level is no change"
    );
    assert!(room.update_speakers(&mut [(A, 70), (B, 60)]));
    assert!(room.update_speakers(&mut []));
}

#[test]
fn the_order_changes_only_when_somebody_is_clearly_louder() {
    let mut room = Room::new("r".into());
    assert!(room.update_speakers(&mut [(A, 90), (B, 80)]));
    let mut close = [(A, 90), (B, 94)];
    assert!(!room.update_speakers(&mut close));
    assert_eq!(close, [(A, 90), (B, 94)], "the announced order stays");
    let mut louder = [(A, 90), (B, 97)];
    assert!(room.update_speakers(&mut louder));
    assert_eq!(louder, [(B, 97), (A, 90)]);
}

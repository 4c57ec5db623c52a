use super::*;

#[test]
fn stale_keys_never_resurrect() {
    let mut slab: Slab<TrackKey, u32> = Slab::new();
    let first = slab.insert_with(|_| 1).unwrap();
    assert_eq!(slab.remove(first), Some(1));
    let second = slab.insert_with(|_| 2).unwrap();
    assert_eq!(second.slot(), first.slot(), "the slot is reused");
    assert_ne!(second, first);
    assert_eq!(slab.get(first), None);
    assert_eq!(slab.get_mut(first), None);
    assert_eq!(slab.remove(first), None);
    assert_eq!(slab.get(second), Some(&2));
    assert_eq!(slab.len(), 1);
}

#[test]
fn public_ids_round_trip_and_fit_a_json_number() {
    for (slot, generation) in [(0, 1), (SLOTS_MAX - 1, GENERATION_MAX), (7, 12_345)] {
        let key = ParticipantKey::from_parts(slot, generation);
        for worker in [0, 3, 255] {
            let id = to_public(WorkerId(worker), key);
            assert!(id < 1 << 53);
            assert_eq!(from_public(WorkerId(worker), id), Some(key));
            assert_eq!(
                from_public::<ParticipantKey>(WorkerId(worker ^ 1), id),
                None
            );
        }
    }
    assert_eq!(from_public::<TrackKey>(WorkerId(0), u64::MAX), None);
}

#[test]
fn a_worn_out_slot_is_retired() {
    let mut slab: Slab<RoomKey, ()> = Slab::new();
    let key = slab.insert_with(|_| ()).unwrap();
    slab.entries[0].generation = GENERATION_MAX;
    let worn = RoomKey::from_parts(key.slot(), GENERATION_MAX);
    assert!(slab.remove(worn).is_some());
    assert_ne!(slab.insert_with(|_| ()).unwrap().slot(), key.slot());
}

#[test]
fn public_ids_of_two_runs_differ() {
    let ids = |random| {
        let mut slab: Slab<ParticipantKey, ()> = Slab::starting_anywhere(random);
        (0..100)
            .map(|_| {
                let key = slab.insert_with(|_| ()).unwrap();
                slab.remove(key);
                to_public(WorkerId(0), key)
            })
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert!(ids(7).is_disjoint(&ids(u32::MAX / 3)));
    // However high the draw, many generations are left.
    assert!(ids(u32::MAX).iter().max() < Some(&(u64::from(GENERATION_MAX) << SLOT_BITS)));
}

use rand_chacha::rand_core::SeedableRng;

use super::*;

#[test]
fn a_ufrag_names_its_transport() {
    let mut rng = ChaCha20Rng::from_seed([7; 32]);
    for (worker, slot, generation) in [(0, 0, 1), (255, (1 << 20) - 1, u32::MAX), (3, 77, 9)] {
        let key = TransportKey::from_parts(slot, generation);
        let creds = generate(&mut rng, WorkerId(worker), key);
        assert_eq!(creds.ufrag.len(), 20);
        assert_eq!(creds.pass.len(), 32);
        assert_eq!(parse_ufrag(&creds.ufrag), Some((WorkerId(worker), key)));
    }
}

#[test]
fn two_seeds_differ_and_one_seed_repeats() {
    let key = TransportKey::from_parts(1, 1);
    let make = |seed| generate(&mut ChaCha20Rng::from_seed([seed; 32]), WorkerId(0), key);
    assert_eq!(make(1), make(1));
    assert_ne!(make(1).ufrag, make(2).ufrag);
    assert_ne!(make(1).pass, make(2).pass);
}

#[test]
fn anything_else_is_no_ufrag_of_ours() {
    for text in [
        "",
        "a",
        "AAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAA=AAAAAAAAA",
        "ÄÄÄÄÄÄÄÄÄÄ",
    ] {
        assert_eq!(parse_ufrag(text), None, "{text}");
    }
}

use super::*;

fn record(content: u8, epoch: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![content, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 1];
    out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    out.extend_from_slice(payload);
    out
}

fn fragment(message: u8, length: u8, offset: u8, body: &[u8]) -> Vec<u8> {
    let size = body.len() as u8;
    let mut out = vec![message, 0, 0, length, 0, 0, 0, 0, offset, 0, 0, size];
    out.extend_from_slice(body);
    record(CONTENT_HANDSHAKE, 0, &out)
}

#[test]
fn what_only_the_other_role_sends_is_left_out() {
    for (message, server, client) in [
        (0, false, false),
        (1, true, false),
        (2, false, true),
        (3, false, true),
        (11, true, true),
        (14, false, true),
        (15, true, false),
        (16, true, false),
        (20, false, false),
        (250, false, false),
    ] {
        let packet = fragment(message, 1, 0, &[0]);
        assert_eq!(sift(&packet, false).is_some(), server, "{message}");
        assert_eq!(sift(&packet, true).is_some(), client, "{message}");
    }
}

#[test]
fn plain_alerts_and_torn_ends_are_cut_out_and_the_rest_is_kept() {
    let finished = record(CONTENT_HANDSHAKE, 1, &[7; 40]);
    let certificate = fragment(11, 3, 0, &[0; 3]);
    let alert = record(21, 0, &[2, 40]);
    let data = record(23, 0, b"data");
    let sealed_alert = record(21, 1, &[9; 20]);
    let packet = [&certificate[..], &alert, &data, &sealed_alert, &finished].concat();
    let expected = [&certificate[..], &sealed_alert, &finished].concat();
    assert_eq!(sift(&packet, false).as_deref(), Some(&expected[..]));
    let torn = [&certificate[..], &finished[..20]].concat();
    assert_eq!(sift(&torn, false).as_deref(), Some(&certificate[..]));
    for nothing in [&[][..], &[22], &alert, &finished[..20]] {
        assert_eq!(sift(nothing, false), None);
    }
}

#[test]
fn a_client_hello_is_known_by_its_first_fragment() {
    let begin = fragment(1, 80, 0, &[5; 40]);
    let hello = Hello {
        random: [5; 32],
        length: [0, 0, 80],
    };
    assert_eq!(client_hello(&begin), Some(ClientHello::Begins(hello)));
    let rest = ClientHello::Continues([0, 0, 80]);
    assert_eq!(client_hello(&fragment(1, 80, 40, &[5; 40])), Some(rest));
    assert_eq!(client_hello(&fragment(1, 80, 0, &[5; 10])), Some(rest));
    assert_eq!(client_hello(&fragment(11, 80, 0, &[5; 40])), None);
    assert_eq!(client_hello(&record(22, 1, &[1; 60])), None);
}

#[allow(clippy::disallowed_methods)]
fn association() -> Association {
    let certificate = Provider(KeyHolder::Engine)
        .generate_certificate()
        .expect("a certificate");
    let config = config(None).expect("a configuration");
    let mut association = Association::new(config, certificate, KeyHolder::Engine, Instant::now());
    association.set_active(false);
    association
}

#[test]
fn nothing_that_comes_before_a_client_hello_takes_its_place() {
    let mut association = association();
    for packet in [
        fragment(1, 255, 200, &[1; 20]),
        fragment(11, 3, 0, &[0; 3]),
        fragment(250, 3, 0, &[0; 3]),
        record(CONTENT_CHANGE_CIPHER_SPEC, 0, &[1]),
    ] {
        association.handle_packet(&packet).expect("never an error");
        assert_eq!(association.handshakes.len(), 1);
        assert!(association.handshakes[0].hello.is_none());
        assert!(!association.handshakes[0].progressed);
    }
    for random in 0..100 {
        let packet = fragment(1, 80, 0, &[random; 40]);
        association.handle_packet(&packet).expect("never an error");
        assert!(association.handshakes.len() <= HANDSHAKES);
    }
    assert!(association.begun <= HANDSHAKES_TOTAL);
}

#[test]
fn the_configuration_is_made_once() {
    let first = config(None).expect("a configuration");
    let second = config(None).expect("a configuration");
    assert!(Arc::ptr_eq(&first, &second));
}

use super::*;

fn offer() -> String {
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
     m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
     a=setup:actpass\r\na=mid:0\r\na=sendonly\r\na=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\na=end-of-candidates\r\n\
     m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
     a=mid:1\r\na=sendonly\r\n"
        .to_owned()
}

fn read(text: &str, protocol: Protocol) -> Result<Offer, OfferError> {
    Offer::read(text.as_bytes(), protocol)
}

#[test]
fn an_offer_is_read_as_far_as_it_matters() {
    let read = read(&offer(), Protocol::Whip).unwrap();
    let kinds: Vec<_> = read.media().map(|s| (s.kind, s.mid.as_str())).collect();
    assert_eq!(kinds, [(Kind::Audio, "0"), (Kind::Video, "1")]);
    assert_eq!(read.ice.ufrag, "EsAw");
    assert!(read.has(Kind::Video) && !read.has(Kind::Other));
    assert_eq!(read.text(), offer());
}

#[test]
fn directions_fit_the_protocol_and_both_ways_fit_both() {
    let both = offer().replace("a=sendonly", "a=sendrecv");
    let silent = offer().replace("a=sendonly\r\n", "");
    let receives = offer().replace("a=sendonly", "a=recvonly");
    let session = silent.replace("a=group", "a=recvonly\r\na=group");
    for (text, whip, whep) in [
        (offer(), true, false),
        (both, true, true),
        (silent, true, true),
        (receives, false, true),
        (session, false, true),
        (offer().replace("a=sendonly", "a=inactive"), false, false),
    ] {
        assert_eq!(read(&text, Protocol::Whip).is_ok(), whip, "{text}");
        assert_eq!(read(&text, Protocol::Whep).is_ok(), whep, "{text}");
    }
}

#[test]
fn malformed_and_unacceptable_are_told_apart() {
    let malformed = [
        "".to_owned(),
        "hello".to_owned(),
        "v=0\r\n".to_owned(),
        offer().replace("a=mid:1\r\n", ""),
        offer().replace("a=ice-pwd", "a=x"),
    ];
    for text in malformed {
        let error = read(&text, Protocol::Whip).unwrap_err();
        assert!(matches!(error, OfferError::Malformed(_)), "{text}");
    }
    assert_eq!(
        Offer::read(b"v=0\r\n\xff", Protocol::Whip),
        Err(OfferError::Malformed("not UTF-8"))
    );
    let unacceptable = [
        offer().replace("m=video", "m=audio"),
        offer()
            .replace("m=video", "m=application")
            .replace("m=audio", "m=application"),
        offer().replace("actpass", "passive"),
        format!(
            "{}{}",
            offer(),
            "m=application 9 x y\r\na=mid:d\r\n".repeat(15)
        ),
    ];
    for text in unacceptable {
        let error = read(&text, Protocol::Whip).unwrap_err();
        assert!(matches!(error, OfferError::Unacceptable(_)), "{text}");
    }
    assert!(read(&offer().replace("actpass", "active"), Protocol::Whip).is_ok());
}

#[test]
fn a_restart_changes_the_credentials_and_nothing_else() {
    let ice = Ice {
        ufrag: "NEWU".into(),
        password: "p".repeat(24),
    };
    let restarted = read(&offer(), Protocol::Whip).unwrap().restarted(&ice);
    let text = restarted.text();
    assert_eq!(text.matches("a=ice-ufrag:NEWU\r\n").count(), 2);
    assert!(!text.contains("EsAw") && !text.contains("candidate"));
    let expected = offer()
        .replace("EsAw", "NEWU")
        .replace("P2uYro0UCOQ4zxjKXaWCBui1", &ice.password)
        .replace(
            "a=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\na=end-of-candidates\r\n",
            "",
        );
    assert_eq!(text, expected);
    assert_eq!(restarted.ice, ice);
}

const ANSWER: &str = "v=0\r\no=- 3 4 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=ice-lite\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:Rr+/\r\na=ice-pwd:secret\r\na=ice-options:trickle\r\n\
    a=candidate:1 1 udp 2 198.51.100.1 39132 typ host\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=rtcp-mux\r\n";

#[test]
fn an_answer_says_that_rtcp_is_multiplexed() {
    let text = Answer(ANSWER).text();
    assert_eq!(text.matches("a=rtcp-mux\r\na=rtcp-mux-only\r\n").count(), 2);
    assert_eq!(text.replace("a=rtcp-mux-only\r\n", ""), ANSWER);
    assert!(!Answer(ANSWER).is_partial());
    let refused = ANSWER.replace("m=video 9", "m=video 0");
    assert!(Answer(&refused).is_partial());
}

#[test]
fn an_answer_names_its_ice_session_and_shrinks_to_a_fragment() {
    assert_eq!(Answer(ANSWER).etag(), "\"Rr+/\"");
    assert_eq!(
        Answer(ANSWER).fragment(),
        "a=group:BUNDLE 0 1\r\na=ice-lite\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:Rr+/\r\n\
         a=ice-pwd:secret\r\na=ice-options:trickle\r\na=candidate:1 1 udp 2 198.51.100.1 39132 typ host\r\n\
         a=mid:0\r\na=end-of-candidates\r\n"
    );
}

#[test]
fn fragments_bring_candidates_or_new_credentials() {
    let text = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\n\
                a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=candidate:1 1 udp 1 192.0.2.1 61764 typ host\r\n\
                a=candidate:2 1 tcp 1 192.0.2.1 9 typ host tcptype active\r\na=end-of-candidates\r\n";
    let fragment = Fragment::read(text.as_bytes()).unwrap();
    assert_eq!(fragment.ice.unwrap().ufrag, "EsAw");
    assert_eq!(fragment.candidates.len(), 2);
    assert!(fragment.candidates[0].starts_with("candidate:1 1 udp"));
    let bare = Fragment::read(b"a=candidate:1 1 udp 1 192.0.2.1 5 typ host\n").unwrap();
    assert_eq!((bare.ice, bare.candidates.len()), (None, 1));
    let many = "a=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\n".repeat(CANDIDATES_MAX + 1);
    for bad in [
        "",
        "\r\n\r\n",
        "hello",
        "{}",
        "v=0\r\n",
        "a=ice-ufrag:EsAw\r\n",
        "a=ice-ufrag:abc\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n",
        "a=ice-ufrag:EsAw\r\na=ice-pwd:short\r\n",
        "a=ice-ufrag:E Aw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n",
        &many,
    ] {
        assert!(Fragment::read(bad.as_bytes()).is_err(), "{bad}");
    }
    assert!(Fragment::read(b"a=\xff").is_err());
}

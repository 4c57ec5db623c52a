use super::*;

const BOUNDS: SdpBounds = SdpBounds {
    bytes: 10_000,
    sections: 3,
};

fn offer() -> String {
    let fingerprint = vec!["AB"; 32].join(":");
    format!(
        "v=0\r\no=- 77 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE a v\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:uu\r\na=ice-pwd:pp\r\n\
         a=fingerprint:sha-256 {fingerprint}\r\na=mid:a\r\na=candidate:1 1 udp 1 1.2.3.4 5 typ host\r\n\
         a=sendrecv\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:v\r\na=recvonly\r\n\
         a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
    )
}

#[test]
fn what_matters_is_read() {
    let description = scan(&offer(), BOUNDS).unwrap();
    assert_eq!(description.session, "77");
    assert_eq!(description.ufrag, "uu");
    let [audio, video] = description.sections.as_slice() else {
        panic!("two sections");
    };
    assert_eq!((audio.kind, audio.mid.as_str()), (SectionKind::Audio, "a"));
    assert_eq!(audio.payload_types, [111, 0]);
    assert!(audio.sends() && !video.sends());
    assert_eq!(video.direction, SdpDirection::ReceiveOnly);
}

#[test]
fn what_must_not_pass_does_not() {
    let good = offer();
    let fingerprint = good
        .lines()
        .find(|l| l.starts_with("a=fingerprint"))
        .unwrap();
    let edits: [(&str, &str, &str); 13] = [
        ("a=mid:v", "a=mid:a", "twice"),
        ("a=mid:v\r\n", "", "missing a=mid"),
        ("a=mid:v", "a=mid:v-1", "letters and digits"),
        ("a=mid:v", "a=mid:vvvvvvvvvvvvvvvvv", "letters and digits"),
        ("BUNDLE a v", "BUNDLE a", "BUNDLE"),
        (
            "a=ice-ufrag:uu\r\n",
            "",
            "missing a=ice-ufrag and a=ice-pwd",
        ),
        ("a=ice-pwd:pp\r\n", "", "missing a=ice-ufrag and a=ice-pwd"),
        (fingerprint, "a=x", "missing a=fingerprint"),
        (
            fingerprint,
            "a=fingerprint:sha-1 AB:CD",
            "sha-256 is required",
        ),
        (
            "m=video 9 UDP/TLS/RTP/SAVPF",
            "m=video 9 RTP/SAVP",
            "DTLS-protected",
        ),
        ("m=video", "m=text", "unknown media"),
        (
            "a=sendrecv",
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x",
            "keys in the SDP",
        ),
        ("a=group", "a=ice-lite\r\na=group", "ICE-lite"),
    ];
    for (from, to, message) in edits {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        let error = scan(&bad, BOUNDS).unwrap_err().to_string();
        assert!(error.contains(message), "{error} for {to:?}");
    }
}

#[test]
fn bounds_are_met_with_an_error_that_names_them() {
    let good = offer();
    let many = format!("{good}{}", "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n".repeat(2));
    let long = format!("{good}a={}\r\n", "x".repeat(5_000));
    let candidate = "a=candidate:1 1 udp 1 1.2.3.4 5 typ host\r\n";
    let candidates = good.replace("a=sendrecv", &format!("{}a=sendrecv", candidate.repeat(40)));
    let simulcast = format!("{good}a=simulcast:send a;b;c;d;e\r\n");
    for (text, what) in [
        ("x".repeat(10_001), "bytes"),
        (many, "sections"),
        (long, "bytes in a line"),
        (candidates, "candidates in a section"),
        (simulcast, "simulcast layers"),
    ] {
        match scan(&text, BOUNDS) {
            Err(SdpError::Limit { what: found, .. }) => assert_eq!(found, what),
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn simulcast_lists_keep_their_order() {
    assert_eq!(simulcast_send("send q;h;f").unwrap(), ["q", "h", "f"]);
    assert_eq!(simulcast_send("recv x;y send ~1,2;3").unwrap(), ["1", "3"]);
    assert_eq!(simulcast_send("recv x;y").unwrap(), [""; 0]);
    assert!(simulcast_send("send").is_err());
    assert!(simulcast_send("send a b;;c").is_ok());
}

#[test]
fn offers_come_in_without_candidates_and_never_ask_for_media() {
    let text = imported(&offer(), Direction::Publish);
    assert!(!text.contains("candidate"));
    assert_eq!(directions(&text), ["sendonly", "inactive"]);
}

/// Found by a fuzzer: a direction with a value was one when scanned, and went on to the engine as it was.
#[test]
fn directions_with_a_value_do_not_come_in() {
    let odd = offer().replace("a=sendrecv", "a=sendrecv:x");
    for (transport, expected) in [
        (Direction::Publish, ["sendonly", "inactive"]),
        (Direction::Subscribe, ["recvonly", "recvonly"]),
    ] {
        let text = imported(&odd, transport);
        assert!(!text.contains("sendrecv"), "{text}");
        assert_eq!(directions(&text), expected);
    }
}

#[test]
fn receiving_offers_come_in_without_media_of_the_client() {
    let text = imported(&offer(), Direction::Subscribe);
    assert_eq!(directions(&text), ["recvonly", "recvonly"]);
    let sends = offer().replace("a=sendrecv", "a=sendonly");
    let text = imported(&sends, Direction::Subscribe);
    assert_eq!(directions(&text), ["inactive", "recvonly"]);
}

#[test]
fn a_direction_that_is_not_named_is_that_of_the_session_or_both() {
    let silent = offer().replace("a=sendrecv\r\n", "");
    let text = imported(&silent, Direction::Publish);
    assert_eq!(directions(&text), ["sendonly", "inactive"]);
    let session = silent.replace("a=group", "a=recvonly\r\na=group");
    let description = scan(&session, BOUNDS).unwrap();
    assert!(!description.sections[0].sends() && description.sections[0].receives());
    let text = imported(&session, Direction::Publish);
    assert_eq!(directions(&text), ["recvonly", "inactive", "inactive"]);
}

fn imported(text: &str, transport: Direction) -> String {
    import_offer(text, &scan(text, BOUNDS).unwrap(), transport)
}

/// Direction attributes in their order.
fn directions(text: &str) -> Vec<&str> {
    let attributes = text.lines().filter_map(|line| line.strip_prefix("a="));
    attributes
        .filter(|name| direction(name).is_some())
        .collect()
}

#[test]
fn descriptions_go_out_with_our_credentials_and_what_is_said_of_sections() {
    let creds = IceCreds {
        ufrag: "OURS".into(),
        pass: "SECRET".into(),
    };
    let text = offer().replace("typ host", "typ host ufrag uu").replace(
        "a=recvonly",
        "a=msid:- -\r\na=ssrc:5 cname:x\r\na=ssrc:5 msid:- -\r\na=recvonly",
    );
    let out = export(&text, &creds, &|mid| match mid {
        "v" => SectionExport {
            msid: Some(("stream".into(), "track".into())),
            keep: Some(vec![96]),
            most_bps: Some(1_500),
            ..Default::default()
        },
        _ => SectionExport {
            prefer: vec![0],
            ..Default::default()
        },
    });
    for line in [
        "a=ice-ufrag:OURS",
        "a=ice-pwd:SECRET",
        "a=candidate:1 1 udp 1 1.2.3.4 5 typ host ufrag OURS",
        "m=audio 9 UDP/TLS/RTP/SAVPF 0 111",
        "m=video 9 UDP/TLS/RTP/SAVPF 96",
        "a=msid:stream track",
        "a=ssrc:5 msid:stream track",
        "a=ssrc:5 cname:x",
        "a=rtpmap:96 VP8/90000",
        "b=TIAS:1500",
    ] {
        assert_eq!(
            out.lines().filter(|l| *l == line).count(),
            1,
            "{line} in {out}"
        );
    }
    assert!(!out.contains(":97"), "{out}");
    let c = out.find("m=video").unwrap() + out[out.find("m=video").unwrap()..].find("c=").unwrap();
    assert!(out[c..].starts_with("c=IN IP4 0.0.0.0\r\nb=TIAS:1500\r\n"));
}

#[test]
fn the_first_section_of_the_bundle_has_the_credentials() {
    let own = "a=ice-ufrag:other\r\na=ice-pwd:word\r\na=mid:v";
    for (group, ufrag, password) in [("a v", "uu", "pp"), ("v a", "other", "word")] {
        let text = offer()
            .replace("a=mid:v", own)
            .replace("BUNDLE a v", &format!("BUNDLE {group}"));
        let description = scan(&text, BOUNDS).unwrap();
        assert_eq!(description.ufrag, ufrag);
        let imported = import_answer(&text, &description);
        assert_eq!(
            imported
                .matches(&format!("a=ice-ufrag:{ufrag}\r\n"))
                .count(),
            2
        );
        assert_eq!(
            imported
                .matches(&format!("a=ice-pwd:{password}\r\n"))
                .count(),
            2
        );
    }
}

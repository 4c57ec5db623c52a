use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).expect("a digit") as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn derived(master: &Master, label: Label, bytes: usize) -> Vec<u8> {
    let mut out = vec![0xee; bytes];
    master.derive(label, &mut out).expect("derived");
    out
}

#[test]
fn session_keys_are_those_of_rfc_3711() {
    // Appendix B.3.
    let master = Master {
        key: hex("E1F97A0D3E018BE0D64FA32C06DE4139"),
        salt: hex("0EC675AD498AFEEBB6960B3AABE6"),
    };
    assert_eq!(
        derived(&master, Label::RtpEncryption, 16),
        hex("C61E7A93744F39EE10734AFE3FF7A087")
    );
    assert_eq!(
        derived(&master, Label::RtpSalt, 14),
        hex("30CBBC08863D8C85D49DB34A9AE1")
    );
    let long = hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4
                    8F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF72270986371C10C
                    9A369AC2F94A8C5FBCDDDC256D6E919A48B610EF17C2041E474035766B68642C
                    59BBFC2F34DB60DBDFB2DC68");
    assert_eq!(derived(&master, Label::RtpAuthentication, 94), long[..94]);
}

#[test]
fn session_keys_of_aes_256_are_those_of_rfc_6188() {
    // Section 7.4.
    let master = Master {
        key: hex("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6"),
        salt: hex("3b04803de51ee7c96423ab5b78d2"),
    };
    assert_eq!(
        derived(&master, Label::RtpEncryption, 32),
        hex("5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4")
    );
    assert_eq!(
        derived(&master, Label::RtpSalt, 14),
        hex("fa31791685ca444a9e07c6c64e93")
    );
    assert_eq!(
        derived(&master, Label::RtpAuthentication, 20),
        hex("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05")
    );
}

/// Session key and salt of the examples in RFC 7714 §16 and §17.
fn rfc_7714(profile: Profile) -> Cipher {
    let key: Vec<u8> = (0..profile.key_bytes() as u8).collect();
    let mut salt = [0; 14];
    salt[..12].copy_from_slice(b"Quid pro quo");
    Cipher::new(profile, &key, &salt, &[]).expect("a cipher")
}

#[test]
fn rtp_is_sealed_as_in_rfc_7714() {
    let plain = hex(
        "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976
                     69736120 696e2070 61727465 73207472 6573",
    );
    // Sections 16.1.1 and 16.2.1.
    let cases = [
        (
            Profile::Gcm128,
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5
             0d294e6f 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
        ),
        (
            Profile::Gcm256,
            "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238
             9a58e2f3 b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
        ),
    ];
    for (profile, sealed) in cases {
        let sealer = RtpSealer(rfc_7714(profile));
        let mut slot = plain.clone();
        slot.resize(plain.len() + 40, 0xaa);
        let bytes = sealer
            .seal(&mut slot, 12, plain.len(), 0x5501_a0b2, 0xf17b)
            .expect("sealed");
        assert_eq!(slot[..bytes], hex(sealed));
        assert!(slot[bytes..].iter().all(|b| *b == 0xaa), "nothing beyond");
    }
}

#[test]
fn rtcp_is_sealed_and_opened_as_in_rfc_7714() {
    let plain = hex(
        "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61
                     deadbeef deadbeef deadbeef deadbeef deadbeef",
    );
    // Sections 17.1 and 17.2.
    let cases = [
        (
            Profile::Gcm128,
            "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d
             c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872
             45d9eade 800005d4",
        ),
        (
            Profile::Gcm256,
            "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50
             a2eaa5c1 110555be 8415f658 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c
             b26ac3be 800005d4",
        ),
    ];
    for (profile, sealed) in cases {
        let mut sealer = RtcpSealer {
            cipher: rfc_7714(profile),
            next: 0x5d4,
        };
        let mut slot = plain.clone();
        slot.resize(plain.len() + RTCP_OVERHEAD_BYTES, 0);
        let bytes = sealer.seal(&mut slot, plain.len()).expect("sealed");
        assert_eq!(slot[..bytes], hex(sealed));
        let mut opener = RtcpOpener {
            cipher: rfc_7714(profile),
            seen: Vec::new(),
        };
        assert_eq!(opener.open(&mut hex(sealed)), Some(&plain[..]));
        assert_eq!(opener.open(&mut hex(sealed)), None, "a repetition");
    }
}

/// Master key and salt of libsrtp's `srtp_validate`.
fn libsrtp() -> Keys {
    let master = || Master {
        key: hex("e1f97a0d3e018be0d64fa32c06de4139"),
        salt: hex("0ec675ad498afeebb6960b3aabe6"),
    };
    Keys {
        profile: Profile::Cm128,
        ours: master(),
        theirs: master(),
    }
}

#[test]
fn counter_mode_with_hmac_is_that_of_libsrtp() {
    let rtp = hex("800f1234 decafbad cafebabe abababab abababab abababab abababab");
    let mut slot = rtp.clone();
    slot.resize(rtp.len() + TAG_BYTES, 0);
    let sealer = libsrtp().rtp_sealer().unwrap();
    let bytes = sealer.seal(&mut slot, 12, rtp.len(), 0xcafe_babe, 0x1234);
    let expected = hex(
        "800f1234 decafbad cafebabe 4e55dc4c e79978d8 8ca4d215 949d2402
                        b78d6acc 99ea179b 8dbb",
    );
    assert_eq!(slot[..bytes.unwrap()], expected);

    let rtcp = hex("81c8000b cafebabe abababab abababab abababab abababab");
    let mut slot = rtcp.clone();
    slot.resize(rtcp.len() + RTCP_OVERHEAD_BYTES, 0);
    let bytes = libsrtp().rtcp_sealer().unwrap().seal(&mut slot, rtcp.len());
    let expected = hex(
        "81c8000b cafebabe 7128035b e487b9bd bef89041 f977a5a8 80000001
                        993e08cd 54d6c123 0798",
    );
    assert_eq!(slot[..bytes.unwrap()], expected);
    let mut opener = libsrtp().rtcp_opener().unwrap();
    assert_eq!(opener.open(&mut expected.clone()), Some(&rtcp[..]));
}

const PROFILES: [(SrtpProfile, usize); 3] = [
    (SrtpProfile::AES128_CM_SHA1_80, 60),
    (SrtpProfile::AEAD_AES_128_GCM, 56),
    (SrtpProfile::AEAD_AES_256_GCM, 88),
];

fn pair(profile: SrtpProfile, bytes: usize) -> (Keys, Keys) {
    let material: Vec<u8> = (0..bytes).map(|n| (n * 7) as u8).collect();
    let exported = |client| Keys::exported(profile, &material, client).expect("enough");
    (exported(true), exported(false))
}

#[test]
fn each_side_opens_what_the_other_sealed_and_nothing_else() {
    for (profile, bytes) in PROFILES {
        let (client, server) = pair(profile, bytes);
        for (ours, theirs) in [(&client, &server), (&server, &client)] {
            let mut sealer = ours.rtcp_sealer().unwrap();
            let mut opener = theirs.rtcp_opener().unwrap();
            let mut mirror = ours.rtcp_opener().unwrap();
            for round in 0..200_u8 {
                let mut packet = vec![0x80, 201, 0, 1, 1, 2, 3, round % 3];
                packet.extend(vec![round; usize::from(round % 5) * 4]);
                let mut slot = packet.clone();
                slot.resize(packet.len() + RTCP_OVERHEAD_BYTES, 0);
                let bytes = sealer.seal(&mut slot, packet.len()).unwrap();
                let sealed = &slot[..bytes];
                assert_eq!(mirror.open(&mut sealed.to_vec()), None, "the other key");
                for position in 0..sealed.len() {
                    let mut forged = sealed.to_vec();
                    forged[position] ^= 0x10;
                    assert_eq!(opener.open(&mut forged), None, "byte {position}");
                }
                for shorter in 0..sealed.len() {
                    assert_eq!(opener.open(&mut sealed[..shorter].to_vec()), None);
                }
                assert_eq!(opener.open(&mut sealed.to_vec()), Some(&packet[..]));
                assert_eq!(opener.open(&mut sealed.to_vec()), None, "a repetition");
            }
        }
    }
}

#[test]
fn short_keying_material_and_unknown_profiles_are_refused() {
    for (profile, bytes) in PROFILES {
        for shorter in 0..bytes {
            assert!(Keys::exported(profile, &vec![1; shorter], true).is_none());
        }
        assert!(Keys::exported(profile, &vec![1; bytes], true).is_some());
    }
}

#[test]
fn a_slot_without_room_for_the_tag_is_refused() {
    for (profile, bytes) in PROFILES {
        let (client, _) = pair(profile, bytes);
        let sealer = client.rtp_sealer().unwrap();
        for room in 0..TAG_BYTES {
            let mut slot = vec![0; 40 + room];
            assert_eq!(sealer.seal(&mut slot, 12, 40, 1, 1), None);
        }
        assert_eq!(
            sealer.seal(&mut [0; 60], 50, 40, 1, 1),
            None,
            "a header beyond the packet"
        );
    }
}

#[test]
fn the_last_index_of_a_key_is_the_last() {
    let mut sealer = libsrtp().rtcp_sealer().unwrap();
    sealer.next = ENCRYPTED - 1;
    let mut slot = vec![0; 60];
    assert!(sealer.seal(&mut slot, 20).is_some());
    assert_eq!(sealer.seal(&mut slot, 20), None);
}

#[test]
fn a_client_cannot_make_replay_windows_without_end() {
    let (client, server) = pair(SrtpProfile::AEAD_AES_128_GCM, 56);
    let mut sealer = client.rtcp_sealer().unwrap();
    let mut opener = server.rtcp_opener().unwrap();
    let mut opened = 0;
    for ssrc in 0..100_u8 {
        let mut slot = vec![0x80, 201, 0, 1, 9, 9, 9, ssrc];
        slot.resize(8 + RTCP_OVERHEAD_BYTES, 0);
        let bytes = sealer.seal(&mut slot, 8).unwrap();
        opened += usize::from(opener.open(&mut slot[..bytes]).is_some());
    }
    assert_eq!(opened, FEEDBACK_SENDERS);
}

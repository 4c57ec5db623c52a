//! SRTP of a player: RTP and RTCP opened, RTCP sealed. The ciphers are str0m's, without its engine around them.

use str0m_proto::crypto::dtls::SrtpProfile;
use str0m_proto::crypto::{
    AeadAes128Gcm, AeadAes128GcmCipher, AeadAes256Gcm, AeadAes256GcmCipher, Aes128CmSha1_80,
    Aes128CmSha1_80Cipher, CryptoProvider, SrtpProvider,
};

use crate::dtls::Exported;

const TAG_BYTES: usize = 16;
const SHORT_TAG_BYTES: usize = Aes128CmSha1_80::HMAC_TAG_LEN;
/// Of an RTCP packet in the clear: the header and the sender's SSRC.
const RTCP_CLEAR_BYTES: usize = 8;
/// Marks an SRTCP index as that of an encrypted packet (RFC 3711 §3.4).
const ENCRYPTED: u32 = 1 << 31;

/// Labels of session keys (RFC 3711 §4.3.2): encryption, authentication, salt.
const RTP_LABELS: [u8; 3] = [0, 1, 2];
const RTCP_LABELS: [u8; 3] = [3, 4, 5];

/// Master key and salt of one side.
struct Master<'a> {
    key: &'a [u8],
    salt: &'a [u8],
}

impl Master<'_> {
    /// RFC 3711 §4.3.1 with a key derivation rate of zero.
    fn derive<const N: usize>(&self, with: &dyn SrtpProvider, label: u8) -> [u8; N] {
        let mut block = [0; 16];
        for (to, from) in block.iter_mut().zip(self.salt) {
            *to = *from;
        }
        block[7] ^= label;
        let mut out = [0; N];
        for (round, part) in (0_u16..).zip(out.chunks_mut(16)) {
            let [high, low] = round.to_be_bytes();
            block[14] = high;
            block[15] = low;
            let mut stream = [0; 32];
            match self.key.len() {
                16 => with.srtp_aes_128_ecb_round(self.key, &block, &mut stream),
                _ => with.srtp_aes_256_ecb_round(self.key, &block, &mut stream),
            }
            for (to, from) in part.iter_mut().zip(stream) {
                *to = from;
            }
        }
        out
    }
}

/// A session key with its salt.
enum Cipher {
    Gcm128(Box<dyn AeadAes128GcmCipher>, [u8; 12]),
    Gcm256(Box<dyn AeadAes256GcmCipher>, [u8; 12]),
    Cm(Box<dyn Aes128CmSha1_80Cipher>, [u8; 14], [u8; 20]),
}

impl Cipher {
    fn derived(
        crypto: &CryptoProvider,
        profile: SrtpProfile,
        master: &Master<'_>,
        [encryption, authentication, salt]: [u8; 3],
        seals: bool,
    ) -> Option<Self> {
        let with = crypto.srtp_provider;
        Some(match profile {
            SrtpProfile::AEAD_AES_128_GCM => Cipher::Gcm128(
                with.aead_aes_128_gcm()
                    .create_cipher(master.derive(with, encryption), seals),
                master.derive(with, salt),
            ),
            SrtpProfile::AEAD_AES_256_GCM => Cipher::Gcm256(
                with.aead_aes_256_gcm()
                    .create_cipher(master.derive(with, encryption), seals),
                master.derive(with, salt),
            ),
            SrtpProfile::AES128_CM_SHA1_80 => Cipher::Cm(
                with.aes_128_cm_sha1_80()
                    .create_cipher(master.derive(with, encryption), seals),
                master.derive(with, salt),
                master.derive(with, authentication),
            ),
            _ => return None,
        })
    }
}

/// The keys of one player.
pub(crate) struct Srtp {
    crypto: CryptoProvider,
    profile: SrtpProfile,
    rtp: Cipher,
    rtcp: Cipher,
    ours: Cipher,
    next_index: u32,
}

impl Srtp {
    /// From what a handshake left.
    pub(crate) fn new(exported: &Exported) -> Option<Self> {
        let (key_bytes, salt_bytes) = match exported.profile {
            SrtpProfile::AES128_CM_SHA1_80 => (Aes128CmSha1_80::KEY_LEN, Aes128CmSha1_80::SALT_LEN),
            SrtpProfile::AEAD_AES_128_GCM => (AeadAes128Gcm::KEY_LEN, AeadAes128Gcm::SALT_LEN),
            SrtpProfile::AEAD_AES_256_GCM => (AeadAes256Gcm::KEY_LEN, AeadAes256Gcm::SALT_LEN),
            _ => return None,
        };
        // RFC 5764 §4.2: both keys, then both salts, the client's first.
        let (keys, salts) = exported.material.split_at_checked(key_bytes * 2)?;
        let (keys, salts) = (
            keys.split_at(key_bytes),
            salts.split_at_checked(salt_bytes)?,
        );
        let client = Master {
            key: keys.0,
            salt: salts.0,
        };
        let server = Master {
            key: keys.1,
            salt: salts.1.get(..salt_bytes)?,
        };
        let (ours, theirs) = if exported.client {
            (client, server)
        } else {
            (server, client)
        };
        let crypto = str0m_aws_lc_rs::default_provider();
        let profile = exported.profile;
        let make = |master: &Master<'_>, labels, seals| {
            Cipher::derived(&crypto, profile, master, labels, seals)
        };
        let rtp = make(&theirs, RTP_LABELS, false)?;
        let rtcp = make(&theirs, RTCP_LABELS, false)?;
        let ours = make(&ours, RTCP_LABELS, true)?;
        Some(Srtp {
            crypto,
            profile,
            rtp,
            rtcp,
            ours,
            next_index: 1,
        })
    }

    /// What was negotiated.
    pub(crate) fn profile(&self) -> SrtpProfile {
        self.profile
    }

    /// Opens an RTP packet whose header is so long; the length of what is in `out` then. `None`: it is forged, or the
    /// index is not its own.
    pub(crate) fn open_rtp(
        &mut self,
        packet: &[u8],
        header_bytes: usize,
        ssrc: u32,
        index: u64,
        out: &mut [u8],
    ) -> Option<usize> {
        let (header, sealed) = packet.split_at_checked(header_bytes)?;
        let (rollover, sequence) = ((index >> 16) as u32, index as u16);
        match &mut self.rtp {
            Cipher::Gcm128(cipher, salt) => {
                let length = sealed.len().checked_sub(TAG_BYTES)?;
                let iv = AeadAes128Gcm::rtp_iv(*salt, ssrc, rollover, sequence);
                let out = out.get_mut(..length)?;
                cipher.decrypt(&iv, &[header], sealed, out).ok()
            }
            Cipher::Gcm256(cipher, salt) => {
                let length = sealed.len().checked_sub(TAG_BYTES)?;
                let iv = AeadAes256Gcm::rtp_iv(*salt, ssrc, rollover, sequence);
                let out = out.get_mut(..length)?;
                cipher.decrypt(&iv, &[header], sealed, out).ok()
            }
            Cipher::Cm(cipher, salt, key) => {
                let (signed, tag) = packet.split_last_chunk::<SHORT_TAG_BYTES>()?;
                let hmac = |key: &[u8], parts: &[&[u8]]| {
                    self.crypto.sha1_hmac_provider.sha1_hmac(key, parts)
                };
                if !Aes128CmSha1_80::rtp_verify(hmac, key, signed, index, tag) {
                    return None;
                }
                let sealed = signed.get(header_bytes..)?;
                let iv = Aes128CmSha1_80::rtp_iv(*salt, ssrc, index);
                let out = out.get_mut(..sealed.len())?;
                cipher.decrypt(&iv, sealed, out).ok()?;
                Some(sealed.len())
            }
        }
    }

    /// Opens an RTCP packet; the length of what is in `out` then. `None`: it is forged, or not encrypted.
    pub(crate) fn open_rtcp(&mut self, packet: &[u8], out: &mut [u8]) -> Option<usize> {
        let clear = *packet.first_chunk::<RTCP_CLEAR_BYTES>()?;
        let ssrc = sender(&clear);
        let tail = match self.rtcp {
            Cipher::Cm(..) => packet.len().checked_sub(SHORT_TAG_BYTES)?,
            _ => packet.len(),
        };
        let (signed, tag) = packet.split_at_checked(tail)?;
        let (body, word) = signed.split_last_chunk::<4>()?;
        let word = u32::from_be_bytes(*word);
        if word & ENCRYPTED == 0 {
            return None;
        }
        let index = word & !ENCRYPTED;
        let sealed = body.get(RTCP_CLEAR_BYTES..)?;
        let plain = sealed.len().checked_sub(match self.rtcp {
            Cipher::Cm(..) => 0,
            _ => TAG_BYTES,
        })?;
        let (head, rest) = out.split_first_chunk_mut::<RTCP_CLEAR_BYTES>()?;
        *head = clear;
        let rest = rest.get_mut(..plain)?;
        let aad = signed_part(&clear, word);
        match &mut self.rtcp {
            Cipher::Gcm128(cipher, salt) => {
                let iv = AeadAes128Gcm::rtcp_iv(*salt, ssrc, index);
                cipher.decrypt(&iv, &[&aad], sealed, rest).ok()?;
            }
            Cipher::Gcm256(cipher, salt) => {
                let iv = AeadAes256Gcm::rtcp_iv(*salt, ssrc, index);
                cipher.decrypt(&iv, &[&aad], sealed, rest).ok()?;
            }
            Cipher::Cm(cipher, salt, key) => {
                let hmac = |key: &[u8], parts: &[&[u8]]| {
                    self.crypto.sha1_hmac_provider.sha1_hmac(key, parts)
                };
                if !Aes128CmSha1_80::rtcp_verify(hmac, key, signed, tag) {
                    return None;
                }
                let iv = Aes128CmSha1_80::rtp_iv(*salt, ssrc, index.into());
                cipher.decrypt(&iv, sealed, rest).ok()?;
            }
        }
        Some(RTCP_CLEAR_BYTES + plain)
    }

    /// Seals a compound RTCP packet.
    pub(crate) fn seal_rtcp(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let clear = *packet.first_chunk::<RTCP_CLEAR_BYTES>()?;
        let body = packet.get(RTCP_CLEAR_BYTES..)?;
        let (ssrc, index) = (sender(&clear), self.next_index);
        self.next_index = self.next_index.checked_add(1).filter(|n| *n < ENCRYPTED)?;
        let word = ENCRYPTED | index;
        let aad = signed_part(&clear, word);
        let mut out = clear.to_vec();
        let tag = match self.ours {
            Cipher::Cm(..) => 0,
            _ => TAG_BYTES,
        };
        out.resize(packet.len() + tag, 0);
        let sealed = out.get_mut(RTCP_CLEAR_BYTES..)?;
        match &mut self.ours {
            Cipher::Gcm128(cipher, salt) => {
                let iv = AeadAes128Gcm::rtcp_iv(*salt, ssrc, index);
                cipher.encrypt(&iv, &aad, body, sealed).ok()?;
            }
            Cipher::Gcm256(cipher, salt) => {
                let iv = AeadAes256Gcm::rtcp_iv(*salt, ssrc, index);
                cipher.encrypt(&iv, &aad, body, sealed).ok()?;
            }
            Cipher::Cm(cipher, salt, _) => {
                let iv = Aes128CmSha1_80::rtp_iv(*salt, ssrc, index.into());
                cipher.encrypt(&iv, body, sealed).ok()?;
            }
        }
        out.extend_from_slice(&word.to_be_bytes());
        if let Cipher::Cm(_, _, key) = &self.ours {
            let tag = self.crypto.sha1_hmac_provider.sha1_hmac(key, &[&out]);
            out.extend_from_slice(tag.first_chunk::<SHORT_TAG_BYTES>()?);
        }
        Some(out)
    }
}

fn sender(clear: &[u8; RTCP_CLEAR_BYTES]) -> u32 {
    let [_, _, _, _, ssrc @ ..] = *clear;
    u32::from_be_bytes(ssrc)
}

/// What GCM signs beside the body (RFC 7714 §9.2).
fn signed_part(clear: &[u8; RTCP_CLEAR_BYTES], word: u32) -> [u8; RTCP_CLEAR_BYTES + 4] {
    let mut out = [0; RTCP_CLEAR_BYTES + 4];
    for (to, from) in out.iter_mut().zip(clear.iter().chain(&word.to_be_bytes())) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILES: [(SrtpProfile, usize); 3] = [
        (SrtpProfile::AES128_CM_SHA1_80, 60),
        (SrtpProfile::AEAD_AES_128_GCM, 56),
        (SrtpProfile::AEAD_AES_256_GCM, 88),
    ];

    fn sides(profile: SrtpProfile, bytes: usize) -> [Srtp; 2] {
        [true, false].map(|client| {
            let material = (0..bytes).map(|byte| byte as u8).collect();
            let exported = Exported {
                profile,
                material,
                client,
            };
            Srtp::new(&exported).expect("a known profile")
        })
    }

    #[test]
    fn what_one_side_seals_the_other_opens() {
        for (profile, bytes) in PROFILES {
            let [mut a, mut b] = sides(profile, bytes);
            let packet: Vec<u8> = (0..64).collect();
            let mut out = [0; 128];
            for _ in 0..2 {
                let sealed = a.seal_rtcp(&packet).expect("sealed");
                let length = b.open_rtcp(&sealed, &mut out);
                assert_eq!(length.map(|n| &out[..n]), Some(&packet[..]), "{profile:?}");
                let mut forged = sealed.clone();
                forged[20] ^= 1;
                assert_eq!(b.open_rtcp(&forged, &mut out), None, "{profile:?}");
                assert_eq!(a.open_rtcp(&sealed, &mut out), None, "its own keys");
            }
        }
    }

    /// Session keys of RFC 3711 appendix B.3.
    #[test]
    fn keys_are_derived_as_in_the_rfc() {
        let key = [
            0xe1, 0xf9, 0x7a, 0x0d, 0x3e, 0x01, 0x8b, 0xe0, 0xd6, 0x4f, 0xa3, 0x2c, 0x06, 0xde,
            0x41, 0x39,
        ];
        let salt = [
            0x0e, 0xc6, 0x75, 0xad, 0x49, 0x8a, 0xfe, 0xeb, 0xb6, 0x96, 0x0b, 0x3a, 0xab, 0xe6,
        ];
        let master = Master {
            key: &key,
            salt: &salt,
        };
        let with = str0m_aws_lc_rs::default_provider().srtp_provider;
        assert_eq!(
            master.derive::<16>(with, 0),
            [
                0xc6, 0x1e, 0x7a, 0x93, 0x74, 0x4f, 0x39, 0xee, 0x10, 0x73, 0x4a, 0xfe, 0x3f, 0xf7,
                0xa0, 0x87
            ]
        );
        assert_eq!(
            master.derive::<14>(with, 2),
            [
                0x30, 0xcb, 0xbc, 0x08, 0x86, 0x3d, 0x8c, 0x85, 0xd4, 0x9d, 0xb3, 0x4a, 0x9a, 0xe1
            ]
        );
        let authentication = master.derive::<20>(with, 1);
        assert_eq!(
            (&authentication[..4], &authentication[16..]),
            (&[0xce, 0xbe, 0x32, 0x1f][..], &[0x6d, 0x38, 0xba, 0xa4][..])
        );
    }
}

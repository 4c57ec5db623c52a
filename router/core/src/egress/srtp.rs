//! SRTP and SRTCP: session keys (RFC 3711 §4.3), sealing in place, opening feedback.
//!
//! AES-GCM encrypts nothing safely twice under one nonce, and the nonce is made of SSRC and packet index
//! (RFC 7714 §8.1, §9.1). So the keys of a transport have exactly one user: the engine is not given those
//! of a subscribing transport ([`crate::transport::dtls`]), [`RtcpSealer`] counts by itself, and whoever
//! uses [`RtpSealer`] shows each index to a [`super::window::Window`] first.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use str0m_proto::crypto::dtls::SrtpProfile;

use super::window::Window;

/// Longest tag of all profiles, bytes.
pub(crate) const TAG_BYTES: usize = 16;

/// What sealing adds to an RTCP packet at most: index and tag, bytes.
pub(crate) const RTCP_OVERHEAD_BYTES: usize = 4 + TAG_BYTES;

/// Tag of AES_CM_128_HMAC_SHA1_80, bytes.
const SHORT_TAG_BYTES: usize = 10;

/// In an RTCP packet before what is encrypted: the first header with its sender, bytes.
const RTCP_CLEAR_BYTES: usize = 8;

/// In the word with an SRTCP index: the packet is encrypted.
const ENCRYPTED: u32 = 0x8000_0000;

/// Senders of feedback remembered on one transport; browsers have one for audio and one for video.
const FEEDBACK_SENDERS: usize = 32;

/// A protection profile (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// AES128_CM_HMAC_SHA1_80.
    Cm128,
    /// AEAD_AES_128_GCM.
    Gcm128,
    /// AEAD_AES_256_GCM.
    Gcm256,
}

impl Profile {
    fn negotiated(profile: SrtpProfile) -> Option<Self> {
        match profile {
            SrtpProfile::AES128_CM_SHA1_80 => Some(Profile::Cm128),
            SrtpProfile::AEAD_AES_128_GCM => Some(Profile::Gcm128),
            SrtpProfile::AEAD_AES_256_GCM => Some(Profile::Gcm256),
            _ => None,
        }
    }

    fn key_bytes(self) -> usize {
        match self {
            Profile::Cm128 | Profile::Gcm128 => 16,
            Profile::Gcm256 => 32,
        }
    }

    fn salt_bytes(self) -> usize {
        match self {
            Profile::Cm128 => 14,
            Profile::Gcm128 | Profile::Gcm256 => 12,
        }
    }
}

/// Master key and salt of one side.
struct Master {
    key: Vec<u8>,
    salt: Vec<u8>,
}

/// Which session key (RFC 3711 §4.3.2).
#[derive(Debug, Clone, Copy)]
enum Label {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

impl Master {
    /// A session key (RFC 3711 §4.3.1, §4.3.3; RFC 6188 §3 with AES-256; RFC 7714 §11 with a shorter
    /// salt). The key derivation rate is zero, so the index is not part of it.
    fn derive(&self, label: Label, out: &mut [u8]) -> Option<()> {
        let mut iv = [0; 16];
        iv.get_mut(..self.salt.len())?.copy_from_slice(&self.salt);
        *iv.get_mut(7)? ^= label as u8;
        out.fill(0);
        ctr_key(&self.key)?
            .less_safe_encrypt(out, EncryptionContext::Iv128(FixedLength::from(iv)))
            .ok()?;
        Some(())
    }
}

/// What a DTLS handshake left for media: the master keys of both sides.
pub(crate) struct Keys {
    profile: Profile,
    ours: Master,
    theirs: Master,
}

impl Keys {
    /// Cuts exported keying material up (RFC 5764 §4.2). `client`: we were the DTLS client.
    pub(crate) fn exported(profile: SrtpProfile, material: &[u8], client: bool) -> Option<Self> {
        let profile = Profile::negotiated(profile)?;
        let mut rest = material;
        let mut cut = |bytes: usize| {
            let (part, after) = rest.split_at_checked(bytes)?;
            rest = after;
            Some(part.to_vec())
        };
        let keys = [cut(profile.key_bytes())?, cut(profile.key_bytes())?];
        let salts = [cut(profile.salt_bytes())?, cut(profile.salt_bytes())?];
        let mut masters = keys.into_iter().zip(salts);
        let mut next = || masters.next().map(|(key, salt)| Master { key, salt });
        let (of_client, of_server) = (next()?, next()?);
        let (ours, theirs) = if client {
            (of_client, of_server)
        } else {
            (of_server, of_client)
        };
        Some(Keys {
            profile,
            ours,
            theirs,
        })
    }

    /// Seals RTP of ours.
    pub(crate) fn rtp_sealer(&self) -> Option<RtpSealer> {
        let labels = [
            Label::RtpEncryption,
            Label::RtpSalt,
            Label::RtpAuthentication,
        ];
        Cipher::derived(self.profile, &self.ours, labels).map(RtpSealer)
    }

    /// Seals RTCP of ours.
    pub(crate) fn rtcp_sealer(&self) -> Option<RtcpSealer> {
        let cipher = Cipher::derived(self.profile, &self.ours, RTCP_LABELS)?;
        Some(RtcpSealer { cipher, next: 1 })
    }

    /// Opens RTCP of the other side.
    pub(crate) fn rtcp_opener(&self) -> Option<RtcpOpener> {
        let cipher = Cipher::derived(self.profile, &self.theirs, RTCP_LABELS)?;
        Some(RtcpOpener {
            cipher,
            seen: Vec::new(),
        })
    }
}

const RTCP_LABELS: [Label; 3] = [
    Label::RtcpEncryption,
    Label::RtcpSalt,
    Label::RtcpAuthentication,
];

/// A session key with its salt.
enum Cipher {
    /// RFC 7714.
    Gcm { key: LessSafeKey, salt: [u8; 12] },
    /// RFC 3711.
    Cm(Box<CounterMode>),
}

struct CounterMode {
    key: EncryptingKey,
    salt: [u8; 14],
    authentication: hmac::Key,
}

impl Cipher {
    fn derived(profile: Profile, master: &Master, labels: [Label; 3]) -> Option<Self> {
        let [encryption, salt, authentication] = labels;
        let mut key = vec![0; profile.key_bytes()];
        master.derive(encryption, &mut key)?;
        let mut salts = [0; 14];
        master.derive(salt, salts.get_mut(..profile.salt_bytes())?)?;
        let mut secret = [0; 20];
        master.derive(authentication, &mut secret)?;
        Self::new(profile, &key, &salts, &secret)
    }

    fn new(profile: Profile, key: &[u8], salt: &[u8; 14], authentication: &[u8]) -> Option<Self> {
        let algorithm = match profile {
            Profile::Cm128 => {
                return Some(Cipher::Cm(Box::new(CounterMode {
                    key: ctr_key(key)?,
                    salt: *salt,
                    authentication: hmac::Key::new(
                        hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                        authentication,
                    ),
                })));
            }
            Profile::Gcm128 => &AES_128_GCM,
            Profile::Gcm256 => &AES_256_GCM,
        };
        Some(Cipher::Gcm {
            key: LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?),
            salt: *salt.first_chunk()?,
        })
    }
}

fn ctr_key(key: &[u8]) -> Option<EncryptingKey> {
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    EncryptingKey::ctr(UnboundCipherKey::new(algorithm, key).ok()?).ok()
}

/// The nonce of a packet: RTP has an index of 48 bits (RFC 7714 §8.1), RTCP one of 31 with zeros before
/// it (§9.1), which is the same bytes.
fn gcm_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let plain = (u128::from(ssrc) << 48) | u128::from(index & 0xffff_ffff_ffff);
    let mut nonce = [0; 12];
    let [_, _, _, _, bytes @ ..] = plain.to_be_bytes();
    for ((out, salt), plain) in nonce.iter_mut().zip(salt).zip(bytes) {
        *out = salt ^ plain;
    }
    Nonce::assume_unique_for_key(nonce)
}

/// The counter block of a packet (RFC 3711 §4.1.1).
fn cm_counter(salt: &[u8; 14], ssrc: u32, index: u64) -> EncryptionContext {
    let plain = (u128::from(ssrc) << 64) | (u128::from(index & 0xffff_ffff_ffff) << 16);
    let mut counter = plain.to_be_bytes();
    for (out, salt) in counter.iter_mut().zip(salt) {
        *out ^= salt;
    }
    EncryptionContext::Iv128(FixedLength::from(counter))
}

/// Writes the HMAC over `packet[..end + suffix]` to `packet[end..]` in place of the suffix.
fn append_hmac(key: &hmac::Key, packet: &mut [u8], end: usize, signed: usize) -> Option<usize> {
    let tag = hmac::sign(key, packet.get(..signed)?);
    let tag = tag.as_ref().get(..SHORT_TAG_BYTES)?;
    let after = end.checked_add(SHORT_TAG_BYTES)?;
    packet.get_mut(end..after)?.copy_from_slice(tag);
    Some(after)
}

/// Seals RTP packets of one transport.
pub(crate) struct RtpSealer(Cipher);

impl RtpSealer {
    /// Seals the packet at the start of a slot, in place; its length then. `None`, and a useless slot:
    /// the slot is too short. No (SSRC, index) may ever be given twice.
    pub(crate) fn seal(
        &self,
        slot: &mut [u8],
        header_bytes: usize,
        packet_bytes: usize,
        ssrc: u32,
        index: u64,
    ) -> Option<usize> {
        if slot.len() < packet_bytes.checked_add(TAG_BYTES)? {
            return None;
        }
        match &self.0 {
            Cipher::Gcm { key, salt } => {
                let (packet, tag) = slot.split_at_mut(packet_bytes);
                let (header, body) = packet.split_at_mut_checked(header_bytes)?;
                let sealed = key
                    .seal_in_place_separate_tag(
                        gcm_nonce(salt, ssrc, index),
                        Aad::from(&*header),
                        body,
                    )
                    .ok()?;
                tag.get_mut(..TAG_BYTES)?.copy_from_slice(sealed.as_ref());
                Some(packet_bytes + TAG_BYTES)
            }
            Cipher::Cm(cipher) => {
                let CounterMode {
                    key,
                    salt,
                    authentication,
                } = &**cipher;
                let body = slot.get_mut(header_bytes..packet_bytes)?;
                key.less_safe_encrypt(body, cm_counter(salt, ssrc, index))
                    .ok()?;
                // The rollover counter is signed with the packet and not sent (RFC 3711 §4.2).
                let rollover = (index >> 16) as u32;
                let signed = packet_bytes + 4;
                slot.get_mut(packet_bytes..signed)?
                    .copy_from_slice(&rollover.to_be_bytes());
                append_hmac(authentication, slot, packet_bytes, signed)
            }
        }
    }
}

/// Seals RTCP packets of one transport. One index counts for all their senders, so that none is used
/// twice whatever SSRC comes first.
pub(crate) struct RtcpSealer {
    cipher: Cipher,
    next: u32,
}

impl RtcpSealer {
    /// Seals the compound packet at the start of a slot, in place; its length then. `None`: the slot is
    /// too short, or the 2³¹ packets a key may protect (RFC 3711 §9.2) have been sent.
    pub(crate) fn seal(&mut self, slot: &mut [u8], packet_bytes: usize) -> Option<usize> {
        let ssrc = sender(slot)?;
        if slot.len() < packet_bytes.checked_add(RTCP_OVERHEAD_BYTES)? || self.next >= ENCRYPTED {
            return None;
        }
        let index = self.next;
        self.next += 1;
        let word = (ENCRYPTED | index).to_be_bytes();
        match &self.cipher {
            Cipher::Gcm { key, salt } => {
                // Signed are header and index (RFC 7714 §9.2).
                let mut signed = [0; RTCP_CLEAR_BYTES + 4];
                let (head, tail) = signed.split_at_mut(RTCP_CLEAR_BYTES);
                head.copy_from_slice(slot.get(..RTCP_CLEAR_BYTES)?);
                tail.copy_from_slice(&word);
                let body = slot.get_mut(RTCP_CLEAR_BYTES..packet_bytes)?;
                let nonce = gcm_nonce(salt, ssrc, index.into());
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(signed), body);
                let after_tag = packet_bytes + TAG_BYTES;
                slot.get_mut(packet_bytes..after_tag)?
                    .copy_from_slice(tag.ok()?.as_ref());
                slot.get_mut(after_tag..after_tag + 4)?
                    .copy_from_slice(&word);
                Some(after_tag + 4)
            }
            Cipher::Cm(cipher) => {
                let CounterMode {
                    key,
                    salt,
                    authentication,
                } = &**cipher;
                let body = slot.get_mut(RTCP_CLEAR_BYTES..packet_bytes)?;
                key.less_safe_encrypt(body, cm_counter(salt, ssrc, index.into()))
                    .ok()?;
                let signed = packet_bytes + 4;
                slot.get_mut(packet_bytes..signed)?.copy_from_slice(&word);
                append_hmac(authentication, slot, signed, signed)
            }
        }
    }
}

/// Opens RTCP packets of the other side of one transport, each once (RFC 3711 §3.3.2).
pub(crate) struct RtcpOpener {
    cipher: Cipher,
    /// Indices seen, by sender: each has a counter of its own.
    seen: Vec<(u32, Window<2>)>,
}

impl RtcpOpener {
    /// Opens a datagram in place. `None`: it is forged, repeated, too old, not encrypted or no RTCP.
    pub(crate) fn open<'a>(&mut self, datagram: &'a mut [u8]) -> Option<&'a [u8]> {
        let ssrc = sender(datagram)?;
        let (index, bytes) = match &self.cipher {
            Cipher::Gcm { key, salt } => open_gcm(key, salt, ssrc, datagram)?,
            Cipher::Cm(cipher) => open_cm(cipher, ssrc, datagram)?,
        };
        if !self.is_new(ssrc, index) {
            return None;
        }
        datagram.get(..bytes)
    }

    fn is_new(&mut self, ssrc: u32, index: u32) -> bool {
        let known = self.seen.iter().position(|(known, _)| *known == ssrc);
        let position = match known {
            Some(position) => position,
            // An authenticated client that changes its SSRC all the time is no browser.
            None if self.seen.len() >= FEEDBACK_SENDERS => return false,
            None => {
                self.seen.push((ssrc, Window::default()));
                self.seen.len() - 1
            }
        };
        let window = self.seen.get_mut(position);
        window.is_some_and(|(_, window)| window.admit(index.into()))
    }
}

/// The index in the word that carries it. RTCP in the clear is none of WebRTC's (RFC 8827 §6.5).
fn index_in(word: [u8; 4]) -> Option<u32> {
    let word = u32::from_be_bytes(word);
    (word & ENCRYPTED != 0).then_some(word & !ENCRYPTED)
}

/// Opens in place (RFC 7714 §9.2); index and length of the packet.
fn open_gcm(
    key: &LessSafeKey,
    salt: &[u8; 12],
    ssrc: u32,
    datagram: &mut [u8],
) -> Option<(u32, usize)> {
    let (rest, word) = datagram.split_last_chunk_mut::<4>()?;
    let index = index_in(*word)?;
    let (head, sealed) = rest.split_first_chunk_mut::<RTCP_CLEAR_BYTES>()?;
    let mut signed = [0; RTCP_CLEAR_BYTES + 4];
    let (first, last) = signed.split_at_mut(RTCP_CLEAR_BYTES);
    first.copy_from_slice(head);
    last.copy_from_slice(word);
    let nonce = gcm_nonce(salt, ssrc, index.into());
    let plain = key.open_in_place(nonce, Aad::from(signed), sealed).ok()?;
    Some((index, RTCP_CLEAR_BYTES + plain.len()))
}

/// Opens in place (RFC 3711 §3.4); index and length of the packet.
fn open_cm(cipher: &CounterMode, ssrc: u32, datagram: &mut [u8]) -> Option<(u32, usize)> {
    let CounterMode {
        key,
        salt,
        authentication,
    } = cipher;
    let (signed, tag) = datagram.split_last_chunk_mut::<SHORT_TAG_BYTES>()?;
    let computed = hmac::sign(authentication, signed);
    let computed = computed.as_ref().get(..SHORT_TAG_BYTES)?;
    aws_lc_rs::constant_time::verify_slices_are_equal(computed, tag).ok()?;
    let (packet, word) = signed.split_last_chunk_mut::<4>()?;
    let index = index_in(*word)?;
    let body = packet.get_mut(RTCP_CLEAR_BYTES..)?;
    key.less_safe_encrypt(body, cm_counter(salt, ssrc, index.into()))
        .ok()?;
    Some((index, packet.len()))
}

/// The sender of an RTCP packet's first part.
fn sender(packet: &[u8]) -> Option<u32> {
    let (head, _) = packet.split_first_chunk::<RTCP_CLEAR_BYTES>()?;
    let [_, _, _, _, ssrc @ ..] = *head;
    Some(u32::from_be_bytes(ssrc))
}

/// Key and salt of our RTP, for tests that open what was sealed.
#[cfg(test)]
pub(crate) fn rtp_session_key(keys: &Keys) -> (Vec<u8>, Vec<u8>) {
    let mut key = vec![0; keys.profile.key_bytes()];
    let mut salt = vec![0; keys.profile.salt_bytes()];
    keys.ours.derive(Label::RtpEncryption, &mut key).unwrap();
    keys.ours.derive(Label::RtpSalt, &mut salt).unwrap();
    (key, salt)
}

#[cfg(test)]
#[path = "srtp_tests.rs"]
mod tests;

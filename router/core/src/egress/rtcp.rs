//! RTCP (RFC 3550 §6): reading what subscribers report, writing what senders must.

/// Packet types.
mod kind {
    pub(super) const SENDER_REPORT: u8 = 200;
    pub(super) const RECEIVER_REPORT: u8 = 201;
    pub(super) const SOURCE_DESCRIPTION: u8 = 202;
    pub(super) const GOODBYE: u8 = 203;
    /// Transport-layer feedback (RFC 4585 §6.2).
    pub(super) const TRANSPORT_FEEDBACK: u8 = 205;
    /// Payload-specific feedback (RFC 4585 §6.3).
    pub(super) const PAYLOAD_FEEDBACK: u8 = 206;
    /// Extended report (RFC 3611 §2).
    pub(super) const EXTENDED_REPORT: u8 = 207;
}

/// One thing a receiver reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feedback<'a> {
    /// How a stream arrives (RFC 3550 §6.4.1).
    Reception(Reception),
    /// Packets are missing (RFC 4585 §6.2.1): this one, and of the 16 after it those whose bit is set.
    Missing {
        ssrc: u32,
        first: u16,
        following: u16,
    },
    /// A keyframe is needed (PLI: RFC 4585 §6.3.1, FIR: RFC 5104 §4.3.1).
    Keyframe { ssrc: u32 },
    /// When packets arrived (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1): the feedback
    /// control information.
    Arrivals(&'a [u8]),
    /// What the receiver thinks it can get, bits per second (draft-alvestrand-rmcat-remb-03 §2.2).
    Capacity { bps: u64 },
    /// The receiver's clock, to be told how long ago it was (RFC 3611 §4.4).
    Reference { sender: u32, ntp: u64 },
}

/// A report block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reception {
    pub(crate) ssrc: u32,
    /// Lost since the last report, of 256.
    pub(crate) fraction_lost: u8,
    /// Extended highest sequence number received.
    pub(crate) highest: u32,
    /// The last sender report it got, the middle of its NTP time; 0: none.
    pub(crate) last_report: u32,
    /// For how long it has had it, 1/65536 s.
    pub(crate) delay: u32,
}

/// Reads a compound packet part by part and stops where it is malformed.
pub(crate) fn read<'a>(packet: &'a [u8], tell: &mut dyn FnMut(Feedback<'a>)) {
    let mut rest = packet;
    while let Some((part, after)) = split(rest) {
        let _ = part.read(tell);
        rest = after;
    }
}

struct Part<'a> {
    kind: u8,
    /// Report count or feedback message type.
    count: u8,
    body: &'a [u8],
}

/// The first part of a compound packet (RFC 3550 §6.4.1), and what comes after it.
fn split(packet: &[u8]) -> Option<(Part<'_>, &[u8])> {
    let (&[first, kind, high, low], _) = packet.split_first_chunk::<4>()?;
    if first >> 6 != 2 {
        return None;
    }
    let bytes = 4 * (usize::from(u16::from_be_bytes([high, low])) + 1);
    let (part, after) = packet.split_at_checked(bytes)?;
    let (_, mut body) = part.split_first_chunk::<4>()?;
    if first & 0x20 != 0 {
        let padding = usize::from(*body.last()?);
        body = body.get(..body.len().checked_sub(padding)?)?;
    }
    let count = first & 0x1f;
    Some((Part { kind, count, body }, after))
}

impl<'a> Part<'a> {
    fn read(&self, tell: &mut dyn FnMut(Feedback<'a>)) -> Option<()> {
        match self.kind {
            kind::SENDER_REPORT => self.receptions(self.body.get(24..)?, tell),
            kind::RECEIVER_REPORT => self.receptions(self.body.get(4..)?, tell),
            kind::TRANSPORT_FEEDBACK => self.transport_feedback(tell),
            kind::PAYLOAD_FEEDBACK => self.payload_feedback(tell),
            kind::EXTENDED_REPORT => self.extended(tell),
            _ => None,
        }
    }

    fn receptions(&self, blocks: &[u8], tell: &mut dyn FnMut(Feedback<'a>)) -> Option<()> {
        let blocks = blocks.chunks_exact(24).take(self.count.into());
        for block in blocks {
            tell(Feedback::Reception(Reception {
                ssrc: word(block, 0)?,
                fraction_lost: *block.get(4)?,
                highest: word(block, 8)?,
                last_report: word(block, 16)?,
                delay: word(block, 20)?,
            }));
        }
        Some(())
    }

    fn transport_feedback(&self, tell: &mut dyn FnMut(Feedback<'a>)) -> Option<()> {
        let ssrc = word(self.body, 4)?;
        let control = self.body.get(8..)?;
        match self.count {
            1 => {
                for entry in control.chunks_exact(4) {
                    let entry = word(entry, 0)?;
                    tell(Feedback::Missing {
                        ssrc,
                        first: (entry >> 16) as u16,
                        following: entry as u16,
                    });
                }
            }
            15 => tell(Feedback::Arrivals(control)),
            _ => {}
        }
        Some(())
    }

    fn payload_feedback(&self, tell: &mut dyn FnMut(Feedback<'a>)) -> Option<()> {
        let control = self.body.get(8..)?;
        match self.count {
            1 => tell(Feedback::Keyframe {
                ssrc: word(self.body, 4)?,
            }),
            4 => {
                for entry in control.chunks_exact(8) {
                    tell(Feedback::Keyframe {
                        ssrc: word(entry, 0)?,
                    });
                }
            }
            15 if control.starts_with(b"REMB") => {
                let rate = word(control, 4)?;
                let exponent = (rate >> 18) & 0x3f;
                let mantissa = u64::from(rate & 0x3_ffff);
                // Beyond 64 bits nobody means it.
                let bps = if exponent > 45 {
                    u64::MAX
                } else {
                    mantissa << exponent
                };
                tell(Feedback::Capacity { bps });
            }
            _ => {}
        }
        Some(())
    }

    fn extended(&self, tell: &mut dyn FnMut(Feedback<'a>)) -> Option<()> {
        let sender = word(self.body, 0)?;
        let mut blocks = self.body.get(4..)?;
        loop {
            let (&[block, _, high, low], rest) = blocks.split_first_chunk::<4>()?;
            let bytes = 4 * usize::from(u16::from_be_bytes([high, low]));
            let (content, after) = rest.split_at_checked(bytes)?;
            if block == 4 {
                let ntp = content.first_chunk::<8>()?;
                tell(Feedback::Reference {
                    sender,
                    ntp: u64::from_be_bytes(*ntp),
                });
            }
            blocks = after;
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*bytes))
}

/// A compound packet being written into a slot.
pub(crate) struct Compound<'a> {
    slot: &'a mut [u8],
    at: usize,
}

/// The sender's part of a sender report (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SenderInfo {
    pub(crate) ssrc: u32,
    /// Now, and the same moment in the stream's time.
    pub(crate) ntp: u64,
    pub(crate) timestamp: u32,
    pub(crate) packets: u32,
    pub(crate) octets: u32,
}

/// An answer to [`Feedback::Reference`] (RFC 3611 §4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Echo {
    pub(crate) sender: u32,
    /// The middle of the NTP time it sent.
    pub(crate) reference: u32,
    /// How long ago, 1/65536 s.
    pub(crate) delay: u32,
}

impl<'a> Compound<'a> {
    /// An empty one; it takes at most the slot.
    pub(crate) fn new(slot: &'a mut [u8]) -> Self {
        Compound { slot, at: 0 }
    }

    /// Its length, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.at
    }

    /// Adds a report of a sender with its name (RFC 3550 §6.5.1); false: no room for both.
    pub(crate) fn report(&mut self, info: &SenderInfo, cname: &[u8]) -> bool {
        let begin = self.at;
        let added = self.sender_report(info).is_some() && self.name(info.ssrc, cname).is_some();
        if !added {
            self.at = begin;
        }
        added
    }

    fn sender_report(&mut self, info: &SenderInfo) -> Option<()> {
        let body = self.part(kind::SENDER_REPORT, 0, 24)?;
        let mut fields = [0; 24];
        let ntp = info.ntp.to_be_bytes();
        let words = [info.ssrc, 0, 0, info.timestamp, info.packets, info.octets];
        for (field, word) in fields.chunks_exact_mut(4).zip(words) {
            field.copy_from_slice(&word.to_be_bytes());
        }
        fields.get_mut(4..12)?.copy_from_slice(&ntp);
        body.copy_from_slice(&fields);
        Some(())
    }

    fn name(&mut self, ssrc: u32, cname: &[u8]) -> Option<()> {
        let length = u8::try_from(cname.len()).ok()?;
        // The list of items ends with at least one zero and fills its last word.
        let bytes = (4 + 2 + cname.len() + 1).next_multiple_of(4);
        let body = self.part(kind::SOURCE_DESCRIPTION, 1, bytes)?;
        body.fill(0);
        let (head, items) = body.split_first_chunk_mut::<4>()?;
        *head = ssrc.to_be_bytes();
        let (head, text) = items.split_first_chunk_mut::<2>()?;
        *head = [1, length];
        text.get_mut(..cname.len())?.copy_from_slice(cname);
        Some(())
    }

    /// Adds answers to reference times; the first that do not fit are left out.
    pub(crate) fn echoes(&mut self, ssrc: u32, echoes: &[Echo]) -> Option<()> {
        if echoes.is_empty() {
            return None;
        }
        let body = self.part(kind::EXTENDED_REPORT, 0, 8 + 12 * echoes.len())?;
        let words = u16::try_from(3 * echoes.len()).ok()?;
        let (head, blocks) = body.split_first_chunk_mut::<8>()?;
        let head: &mut [u8] = head;
        head.get_mut(..4)?.copy_from_slice(&ssrc.to_be_bytes());
        let [high, low] = words.to_be_bytes();
        head.get_mut(4..)?.copy_from_slice(&[5, 0, high, low]);
        for (block, echo) in blocks.chunks_exact_mut(12).zip(echoes) {
            let words = [echo.sender, echo.reference, echo.delay];
            for (field, word) in block.chunks_exact_mut(4).zip(words) {
                field.copy_from_slice(&word.to_be_bytes());
            }
        }
        Some(())
    }

    /// Adds that senders end (RFC 3550 §6.6), at most 31.
    pub(crate) fn goodbye(&mut self, ssrcs: &[u32]) -> Option<()> {
        let count = u8::try_from(ssrcs.len()).ok().filter(|count| *count < 32)?;
        let body = self.part(kind::GOODBYE, count, 4 * ssrcs.len())?;
        for (field, ssrc) in body.chunks_exact_mut(4).zip(ssrcs) {
            field.copy_from_slice(&ssrc.to_be_bytes());
        }
        Some(())
    }

    /// Adds an empty receiver report, which a compound packet may begin with (RFC 3550 §6.4.2).
    pub(crate) fn empty_report(&mut self, ssrc: u32) -> Option<()> {
        let body = self.part(kind::RECEIVER_REPORT, 0, 4)?;
        body.copy_from_slice(&ssrc.to_be_bytes());
        Some(())
    }

    /// Room for another part.
    fn part(&mut self, kind: u8, count: u8, body_bytes: usize) -> Option<&mut [u8]> {
        let words = u16::try_from(body_bytes / 4).ok()?;
        let after = self.at.checked_add(4 + body_bytes)?;
        let part = self.slot.get_mut(self.at..after)?;
        self.at = after;
        let (head, body) = part.split_first_chunk_mut::<4>()?;
        let [high, low] = words.to_be_bytes();
        *head = [0x80 | count, kind, high, low];
        Some(body)
    }
}

#[cfg(test)]
#[path = "rtcp_tests.rs"]
mod tests;

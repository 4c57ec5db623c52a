//! Frames of a byte stream: two bytes of length, then a packet (RFC 4571 §2).

/// Longest packet taken, bytes: more than a datagram of WebRTC ever has. What announces a longer one does
/// not speak this protocol.
pub(super) const FRAME_BYTES_MAX: usize = 2_048;

/// Bytes of a frame's length.
pub(super) const LENGTH_BYTES: usize = 2;

/// A frame longer than [`FRAME_BYTES_MAX`] was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Oversized;

/// Puts the frames of one connection together. Holds at most the one that is not complete.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    partial: Vec<u8>,
}

impl Assembler {
    /// Takes what was read and hands over every packet it completes; returns how many. Empty ones, which
    /// mean nothing, are passed over.
    ///
    /// # Errors
    /// [`Oversized`]: what follows makes no sense, and the connection is of no use.
    pub(super) fn feed(
        &mut self,
        mut data: &mut [u8],
        deliver: &mut dyn FnMut(&mut [u8]),
    ) -> Result<usize, Oversized> {
        let mut delivered = 0;
        while !data.is_empty() {
            if self.partial.is_empty()
                && let Some(&[high, low]) = data.first_chunk::<LENGTH_BYTES>()
            {
                let end = LENGTH_BYTES + checked(high, low)?;
                if end <= data.len() {
                    let (frame, rest) = data.split_at_mut(end);
                    delivered += hand_over(frame, deliver);
                    data = rest;
                    continue;
                }
            }
            let wanted = self.wanted()?.min(data.len());
            let (part, rest) = data.split_at_mut(wanted);
            self.partial.extend_from_slice(part);
            data = rest;
            if self.partial.len() >= LENGTH_BYTES && self.wanted()? == 0 {
                delivered += hand_over(&mut self.partial, deliver);
                self.partial.clear();
            }
        }
        Ok(delivered)
    }

    /// Whether a frame has begun and not ended.
    pub(super) fn is_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Bytes that the frame begun lacks: of its length first, then of the rest.
    fn wanted(&self) -> Result<usize, Oversized> {
        match self.partial.first_chunk::<LENGTH_BYTES>() {
            Some(&[high, low]) => {
                let end = LENGTH_BYTES + checked(high, low)?;
                Ok(end.saturating_sub(self.partial.len()))
            }
            None => Ok(LENGTH_BYTES - self.partial.len()),
        }
    }
}

/// Hands a whole frame's packet over; returns how many that were.
fn hand_over(frame: &mut [u8], deliver: &mut dyn FnMut(&mut [u8])) -> usize {
    match frame.get_mut(LENGTH_BYTES..) {
        Some(packet) if !packet.is_empty() => {
            deliver(packet);
            1
        }
        _ => 0,
    }
}

fn checked(high: u8, low: u8) -> Result<usize, Oversized> {
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > FRAME_BYTES_MAX {
        return Err(Oversized);
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(packets: &[Vec<u8>]) -> Vec<u8> {
        let mut stream = Vec::new();
        for packet in packets {
            stream.extend((packet.len() as u16).to_be_bytes());
            stream.extend(packet);
        }
        stream
    }

    proptest! {
        #[test]
        fn however_it_is_cut_every_packet_comes_out_once(
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
            cuts in prop::collection::vec(1_usize..400, 1..40),
        ) {
            let mut stream = framed(&packets);
            let mut assembler = Assembler::default();
            let mut out = Vec::new();
            let mut rest = &mut stream[..];
            let mut cuts = cuts.iter().cycle();
            while !rest.is_empty() {
                let (part, after) = rest.split_at_mut((*cuts.next().unwrap()).min(rest.len()));
                let fed = assembler.feed(part, &mut |packet| out.push(packet.to_vec()));
                prop_assert!(fed.is_ok());
                rest = after;
            }
            let whole: Vec<_> = packets.into_iter().filter(|p| !p.is_empty()).collect();
            prop_assert_eq!(out, whole);
            prop_assert!(!assembler.is_partial());
        }

        #[test]
        fn arbitrary_bytes_are_bounded(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5_000), 0..20),
        ) {
            let mut assembler = Assembler::default();
            for mut part in parts {
                let longest = &mut 0;
                let fed = assembler.feed(&mut part, &mut |packet| *longest = packet.len().max(*longest));
                prop_assert!(*longest <= FRAME_BYTES_MAX);
                prop_assert!(assembler.partial.len() < LENGTH_BYTES + FRAME_BYTES_MAX);
                if fed.is_err() {
                    break;
                }
            }
        }
    }

    #[test]
    fn a_longer_frame_than_allowed_is_refused_at_its_length() {
        let most = (FRAME_BYTES_MAX as u16).to_be_bytes();
        let more = (FRAME_BYTES_MAX as u16 + 1).to_be_bytes();
        let mut assembler = Assembler::default();
        assert_eq!(assembler.feed(&mut most.clone(), &mut |_| {}), Ok(0));
        assert!(assembler.is_partial());
        let mut assembler = Assembler::default();
        assert_eq!(
            assembler.feed(&mut more.clone(), &mut |_| {}),
            Err(Oversized)
        );
        // And so byte by byte.
        let mut assembler = Assembler::default();
        assert_eq!(assembler.feed(&mut more[..1].to_vec(), &mut |_| {}), Ok(0));
        assert_eq!(
            assembler.feed(&mut more[1..].to_vec(), &mut |_| {}),
            Err(Oversized)
        );
    }
}

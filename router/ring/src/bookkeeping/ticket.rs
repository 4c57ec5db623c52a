//! What a completion belongs to, packed into the 64 bits that the kernel carries along. Holds all
//! that is needed when a send failed, because its slot is in use again by then.

use crate::driver::SocketId;

/// A ring operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ticket {
    /// A multishot receive.
    Receive(SocketId),
    /// One message out.
    Send {
        socket: SocketId,
        datagrams: u16,
        segmented: bool,
    },
    /// None of ours.
    Other,
}

const RECEIVE: u64 = 1;
const SEND: u64 = 2;

impl From<Ticket> for u64 {
    fn from(ticket: Ticket) -> Self {
        match ticket {
            Ticket::Receive(SocketId(socket)) => RECEIVE << 56 | Self::from(socket),
            Ticket::Send {
                socket: SocketId(socket),
                datagrams,
                segmented,
            } => {
                SEND << 56
                    | Self::from(segmented) << 32
                    | Self::from(datagrams) << 16
                    | Self::from(socket)
            }
            Ticket::Other => 0,
        }
    }
}

impl From<u64> for Ticket {
    fn from(bits: u64) -> Self {
        let socket = SocketId(bits as u16);
        match bits >> 56 {
            RECEIVE => Self::Receive(socket),
            SEND => Self::Send {
                socket,
                datagrams: (bits >> 16) as u16,
                segmented: bits >> 32 & 1 == 1,
            },
            _ => Self::Other,
        }
    }
}

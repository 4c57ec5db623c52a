//! Socket addresses in the kernel's layout.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Room for a `sockaddr_in6`, the longest address of a UDP socket.
pub(crate) const ADDRESS_BYTES: usize = 28;
/// Length of a `sockaddr_in`.
const V4_BYTES: usize = 16;

/// A `sockaddr_in` or `sockaddr_in6`, ready for `msg_name`.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct RawAddress {
    bytes: [u8; ADDRESS_BYTES],
    len: u32,
}

impl RawAddress {
    /// Not an address: what a kernel-filled slot holds before use.
    pub(crate) const EMPTY: Self = Self {
        bytes: [0; ADDRESS_BYTES],
        len: 0,
    };

    /// `sockaddr` bytes; [`Self::len`] of them count.
    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.bytes.as_ptr()
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same for the kernel to fill; room for [`ADDRESS_BYTES`].
    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr()
    }

    /// Bytes used (`msg_namelen`).
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// The address that this was made from.
    pub(crate) fn decoded(&self) -> Option<SocketAddr> {
        self.filled(self.len as usize)
    }

    /// The address in the first `len` bytes, as the kernel left them.
    pub(crate) fn filled(&self, len: usize) -> Option<SocketAddr> {
        decode(self.bytes.get(..len.min(ADDRESS_BYTES))?)
    }
}

impl From<SocketAddr> for RawAddress {
    fn from(address: SocketAddr) -> Self {
        let mut bytes = [0; ADDRESS_BYTES];
        let len = match address {
            SocketAddr::V4(v4) => {
                bytes[0..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                bytes[2..4].copy_from_slice(&v4.port().to_be_bytes());
                bytes[4..8].copy_from_slice(&v4.ip().octets());
                V4_BYTES
            }
            SocketAddr::V6(v6) => {
                bytes[0..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                bytes[2..4].copy_from_slice(&v6.port().to_be_bytes());
                bytes[4..8].copy_from_slice(&v6.flowinfo().to_be_bytes());
                bytes[8..24].copy_from_slice(&v6.ip().octets());
                bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                ADDRESS_BYTES
            }
        };
        Self {
            bytes,
            len: len as u32,
        }
    }
}

/// Reads a `sockaddr` as the kernel wrote it; `None` for another family or too few bytes.
pub(crate) fn decode(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(field(bytes, 0)?);
    let port = u16::from_be_bytes(field(bytes, 2)?);
    if family == libc::AF_INET as u16 {
        let ip: [u8; 4] = field(bytes, 4)?;
        return Some(SocketAddrV4::new(Ipv4Addr::from(ip), port).into());
    }
    if family == libc::AF_INET6 as u16 {
        let flowinfo = u32::from_be_bytes(field(bytes, 4)?);
        let ip: [u8; 16] = field(bytes, 8)?;
        let scope = u32::from_ne_bytes(field(bytes, 24)?);
        return Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, flowinfo, scope).into());
    }
    None
}

/// `N` bytes at `offset`.
pub(crate) fn field<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset.checked_add(N)?)?.try_into().ok()
}

//! What the media ring may do, for good: a seccomp filter does not see what is asked for through a ring, so that a
//! process that was taken over could open files and connect by it whatever the filter says.

use std::io;

use io_uring::register::Restriction;
use io_uring::squeue::Flags;
use io_uring::{IoUring, opcode};

/// Codes of `io_uring_register(2)` that closing the ring takes (`linux/io_uring.h`).
const UNREGISTER_FILES: u8 = 3;
const UNREGISTER_PBUF_RING: u8 = 23;
const REGISTER_SYNC_CANCEL: u8 = 24;

/// Enables a ring that was made disabled: it sends and receives messages on the sockets that are registered by now,
/// and nothing else, no other socket either.
pub(super) fn enable(ring: &IoUring) -> io::Result<()> {
    let mut allowed = [
        Restriction::sqe_op(opcode::RecvMsgMulti::CODE),
        Restriction::sqe_op(opcode::SendMsg::CODE),
        Restriction::sqe_flags_required(Flags::FIXED_FILE.bits()),
        Restriction::sqe_flags_allowed((Flags::BUFFER_SELECT | Flags::SKIP_SUCCESS).bits()),
        Restriction::register_op(UNREGISTER_FILES),
        Restriction::register_op(UNREGISTER_PBUF_RING),
        Restriction::register_op(REGISTER_SYNC_CANCEL),
    ];
    let submitter = ring.submitter();
    submitter.register_restrictions(&mut allowed)?;
    submitter.register_enable_rings()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd as _;

    use io_uring::types::{Fd, Fixed};
    use io_uring::{Probe, squeue};

    use super::super::core::RingCore;
    use super::*;
    use crate::config::DriverConfig;
    use crate::socket;

    /// `None`: there is no io_uring here.
    fn ring() -> Option<RingCore> {
        let config = DriverConfig::new(["127.0.0.1:0".parse().unwrap()]);
        let sockets = socket::bind_all(&config, false).unwrap();
        match RingCore::new(&config, sockets) {
            Ok(core) => Some(core),
            Err(fault) => {
                eprintln!("skipped: {fault}");
                None
            }
        }
    }

    #[test]
    fn the_ring_neither_opens_files_nor_connects() {
        let Some(mut core) = ring() else { return };
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        let path = c"/etc/hostname";
        let address: libc::sockaddr_in = libc::sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: 9_u16.to_be(),
            sin_addr: libc::in_addr {
                s_addr: u32::from_be_bytes([127, 0, 0, 1]).to_be(),
            },
            sin_zero: [0; 8],
        };
        let here = Fd(libc::AT_FDCWD);
        let mut byte = [0_u8; 1];
        let own = Fixed(0);
        let forbidden: [(&str, squeue::Entry); 7] = [
            (
                "openat",
                opcode::OpenAt::new(here, path.as_ptr())
                    .flags(libc::O_RDONLY)
                    .build(),
            ),
            (
                "connect",
                opcode::Connect::new(own, (&raw const address).cast(), 16).build(),
            ),
            (
                "socket",
                opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0).build(),
            ),
            ("unlink", opcode::UnlinkAt::new(here, path.as_ptr()).build()),
            (
                "read of its own socket",
                opcode::Read::new(own, byte.as_mut_ptr(), 1).build(),
            ),
            ("no-op", opcode::Nop::new().build()),
            (
                "sending on a socket that is not registered",
                opcode::SendMsg::new(Fd(stranger.as_raw_fd()), std::ptr::null()).build(),
            ),
        ];
        for (name, entry) in forbidden {
            assert_eq!(core.attempt(&entry), -libc::EACCES, "{name}");
        }
    }

    #[test]
    fn nothing_more_is_registered_and_the_list_is_final() {
        let Some(core) = ring() else { return };
        let denied = |result: io::Result<()>| {
            let errno = result.unwrap_err().raw_os_error();
            // The list itself may be given only while the ring is disabled.
            assert!(
                matches!(errno, Some(libc::EACCES | libc::EBADFD)),
                "{errno:?}"
            );
        };
        let submitter = core.submitter();
        denied(submitter.register_probe(&mut Probe::new()));
        denied(submitter.register_files_sparse(4));
        denied(submitter.register_personality().map(drop));
        denied(submitter.register_restrictions(&mut [Restriction::sqe_op(opcode::OpenAt::CODE)]));
    }
}

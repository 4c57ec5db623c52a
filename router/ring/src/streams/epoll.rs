//! A set of descriptors to wait for.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Events taken at once.
const EVENTS: usize = 64;

/// What a descriptor is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interest {
    /// Nothing but its end.
    Nothing,
    /// Something to read.
    Read,
    /// Something to read, or room to write.
    ReadAndWrite,
}

impl Interest {
    fn bits(self) -> u32 {
        let bits = match self {
            Self::Nothing => 0,
            Self::Read => libc::EPOLLIN,
            Self::ReadAndWrite => libc::EPOLLIN | libc::EPOLLOUT,
        };
        bits as u32
    }
}

/// A descriptor that is ready.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    /// What it was added with.
    pub(super) token: u64,
    /// There is something to read, an end or an error included.
    pub(super) readable: bool,
    /// There is room to write.
    pub(super) writable: bool,
}

/// A level-triggered epoll set.
#[derive(Debug)]
pub(super) struct Epoll {
    descriptor: OwnedFd,
}

impl AsRawFd for Epoll {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

impl Epoll {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer.
        let descriptor = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just opened it for us, and nobody else knows it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Self { descriptor })
    }

    /// Adds a descriptor; it leaves the set when it is closed.
    pub(super) fn add(
        &self,
        descriptor: &impl AsRawFd,
        token: u64,
        interest: Interest,
    ) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, descriptor.as_raw_fd(), token, interest)
    }

    /// Changes what a descriptor in the set is waited for.
    pub(super) fn change(
        &self,
        descriptor: &impl AsRawFd,
        token: u64,
        interest: Interest,
    ) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, descriptor.as_raw_fd(), token, interest)
    }

    fn control(
        &self,
        operation: i32,
        descriptor: RawFd,
        token: u64,
        interest: Interest,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: interest.bits(),
            u64: token,
        };
        let set = self.descriptor.as_raw_fd();
        // SAFETY: `event` lives through the call, which copies it; a wrong descriptor is an error.
        let result = unsafe { libc::epoll_ctl(set, operation, descriptor, &raw mut event) };
        match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// What is ready now, at most [`EVENTS`] descriptors in turn. Does not wait.
    pub(super) fn poll(&self, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        let set = self.descriptor.as_raw_fd();
        // SAFETY: the kernel writes at most `EVENTS` entries, which the array has.
        let count = unsafe { libc::epoll_wait(set, events.as_mut_ptr(), EVENTS as i32, 0) };
        if count < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::Interrupted => Ok(()),
                _ => Err(error),
            };
        }
        ready.extend(events.iter().take(count as usize).map(|event| {
            let bits = event.events as i32;
            let over = bits & (libc::EPOLLHUP | libc::EPOLLERR) != 0;
            Ready {
                token: event.u64,
                readable: over || bits & libc::EPOLLIN != 0,
                writable: bits & libc::EPOLLOUT != 0,
            }
        }));
        Ok(())
    }
}

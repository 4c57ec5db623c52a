//! Whether the kernel's clock follows the world's (adjtimex(2)).
#![allow(unsafe_code)]

use std::io;
use std::time::Duration;

/// What the kernel knows of its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStatus {
    /// Something (chrony, systemd-timesyncd, ntpd) keeps it right.
    pub synchronised: bool,
    /// How wrong it may be, as far as that knows.
    pub error_max: Duration,
}

/// Asks the kernel; changes nothing.
///
/// # Errors
/// A filter forbids the question.
pub fn status() -> io::Result<ClockStatus> {
    // SAFETY: a struct of integers, for which all zeros is a value; `modes` 0 only reads.
    let mut answer: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `answer` lives through the call, which fills it in.
    let state = unsafe { libc::adjtimex(&raw mut answer) };
    if state == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(ClockStatus {
        synchronised: state != libc::TIME_ERROR && answer.status & libc::STA_UNSYNC == 0,
        error_max: Duration::from_micros(u64::try_from(answer.maxerror).unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_how_its_clock_is() {
        let status = status().expect("reading is allowed to everybody");
        // 16 s is what the kernel says of a clock that nothing keeps.
        assert!(status.error_max <= Duration::from_secs(17), "{status:?}");
    }
}

//! Waiting for locked memory that is on its way back.

use std::io;
use std::time::Duration;

const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// Tries again on ENOMEM, for 0.2 s. The kernel tears a closed ring down in the background and charges
/// its memory until then; the probe's rings were closed a moment before the worker's are made, and
/// under a tight RLIMIT_MEMLOCK both do not fit. Only at start; nothing waits here later.
pub(crate) fn for_memory<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => std::thread::sleep(PAUSE),
            result => return result,
        }
    }
    attempt()
}

//! Progress on standard error, for those who watch it there: nothing where it is no terminal, and nothing of what is
//! over within a second.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is over sooner needs no progress.
const PATIENCE: Duration = Duration::from_secs(1);

/// Progress toward an end that is known.
pub(super) struct Progress {
    bar: ProgressBar,
    began: Instant,
    shown: bool,
}

impl Progress {
    /// Of bytes.
    pub(super) fn bytes(what: &'static str, length: u64) -> Self {
        Progress::new(
            what,
            length,
            "{msg} {wide_bar} {bytes} of {total_bytes}, {eta} left",
        )
    }

    /// Of files; how many, [`Progress::of`] says.
    pub(super) fn files(what: &'static str) -> Self {
        Progress::new(what, 0, "{msg} {wide_bar} {pos} of {len} files")
    }

    /// Of milliseconds that pass.
    pub(super) fn time(what: &'static str, ms: u64) -> Self {
        Progress::new(what, ms, "{msg} {wide_bar} {eta} left")
    }

    fn new(what: &'static str, length: u64, template: &str) -> Self {
        // Hidden until it is worth it.
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what);
        Progress {
            bar,
            began: Instant::now(),
            shown: false,
        }
    }

    /// How many there are.
    pub(super) fn of(&self, count: u64) {
        self.bar.set_length(count);
    }

    /// So far, and in other words.
    pub(super) fn say(&mut self, at: u64, what: String) {
        self.bar.set_message(what);
        self.at(at);
    }

    /// So far.
    pub(super) fn at(&mut self, at: u64) {
        if !self.shown && self.began.elapsed() >= PATIENCE {
            self.shown = true;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(at);
    }
}

/// Reads, and shows how far it is.
pub(super) struct Watched<R> {
    from: R,
    progress: Progress,
    read: u64,
}

impl<R> Watched<R> {
    /// Of something that is so long.
    pub(super) fn new(from: R, length: u64) -> Self {
        Watched {
            from,
            progress: Progress::bytes("reading", length),
            read: 0,
        }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let some = self.from.read(into)?;
        self.read += some as u64;
        self.progress.at(self.read);
        Ok(some)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_within_a_second_is_not_shown() {
        let mut watched = Watched::new(&[7; 10][..], 10);
        let mut some = [0; 6];
        assert_eq!(watched.read(&mut some).expect("memory"), 6);
        assert!(!watched.progress.shown);
        let before = Instant::now().checked_sub(PATIENCE);
        watched.progress.began = before.expect("this machine is up for longer");
        assert_eq!(watched.read(&mut some).expect("memory"), 4);
        assert!(watched.progress.shown);
        assert_eq!(watched.progress.bar.position(), 10);
    }
}

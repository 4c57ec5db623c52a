//! Progress on standard error, for those who watch it there: nothing where it is no terminal, and nothing of what is
//! over within a second.

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

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

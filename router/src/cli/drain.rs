//! `rillway drain`: the end of a running router, and its progress.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args;

use super::operate::{Ask, OperateError};
use super::progress::Progress;
use crate::management::wire::request::Verb;
use crate::management::wire::response::Part;
use crate::management::wire::{DrainRequest, Draining};

pub(super) const HELP: &str = "\
Examples:
  rillway drain                  with the time that `shutdown.notice_ms` gives clients
  rillway drain --deadline 10m
  rillway drain --deadline 0s    now; also of a router that drains already

New clients are refused, those connected are told to leave, and what they send and receive goes on until they
have left or the time is over. The command ends with the router.";

/// `rillway drain`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Drain {
    /// Time that clients have: `500ms`, `30s`, `10m`, `2h` [default: `shutdown.notice_ms`]
    #[arg(long, value_name = "TIME", value_parser = time)]
    deadline: Option<Duration>,
    #[command(flatten)]
    ask: Ask,
}

/// Reads a time with its unit.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("a number and ms, s, m or h: 500ms, 30s, 10m, 2h".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "a whole number must stand before the unit".to_owned())?;
    let whole = number.checked_mul(ms).filter(|ms| *ms <= 86_400_000);
    let whole = whole.ok_or_else(|| "at most 24h".to_owned())?;
    Ok(Duration::from_millis(whole))
}

impl Drain {
    /// Asks, and says each second who is left.
    ///
    /// # Errors
    /// [`OperateError`].
    pub fn run(&self) -> Result<String, OperateError> {
        let deadline = self.deadline.map(|time| time.as_millis());
        let request = DrainRequest {
            deadline_ms: deadline.map(|ms| u32::try_from(ms).unwrap_or(u32::MAX)),
        };
        let mut bar = None;
        self.ask.follow(Verb::Drain(request), |part| match part {
            Part::Draining(draining) if self.is_watched() => {
                let left = u64::from(draining.ms_left);
                let (whole, bar) = bar.get_or_insert_with(|| (left, Progress::time("", left)));
                let who = format!("{} participants", draining.participants);
                bar.say(whole.saturating_sub(left), who);
                Ok(true)
            }
            Part::Draining(draining) => self.say(&draining).map(|()| true),
            _ => Ok(true),
        })?;
        drop(bar);
        Ok(if self.ask.is_json() {
            String::new()
        } else {
            "ended\n".to_owned()
        })
    }

    /// Somebody looks at standard error: a bar says it there.
    fn is_watched(&self) -> bool {
        !self.ask.is_json() && io::stderr().is_terminal()
    }

    fn say(&self, draining: &Draining) -> Result<(), OperateError> {
        let line = if self.ask.is_json() {
            serde_json::to_string(draining).map_err(|e| OperateError::Local(e.to_string()))?
        } else {
            let seconds = f64::from(draining.ms_left) / 1_000.0;
            format!(
                "{} participants, {seconds:.1} s left",
                draining.participants
            )
        };
        let mut out = io::stdout().lock();
        // Where nobody reads, the router drains all the same.
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_bounds() {
        let ms = |text| time(text).map(|time| time.as_millis());
        assert_eq!(ms("500ms"), Ok(500));
        assert_eq!(ms("30s"), Ok(30_000));
        assert_eq!(ms("10m"), Ok(600_000));
        assert_eq!(ms("24h"), Ok(86_400_000));
        assert_eq!(ms("0s"), Ok(0));
        for bad in [
            "",
            "30",
            "s",
            "-1s",
            "1.5s",
            "25h",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}

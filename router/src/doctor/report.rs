//! What was found, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::config::{Config, ConfigError};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and will not always, or not for everybody.
    Warning,
    /// It is broken.
    Problem,
    /// Nobody here can tell.
    NotChecked,
}

impl Verdict {
    /// As people read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Problem => "problem",
            Verdict::NotChecked => "not checked",
        }
    }
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// Which check; stable.
    pub check: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found, on one line.
    pub what: String,
    /// The configuration's key that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Where that key's value is from: `FILE:LINE`, or `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What to do, a way a line.
    pub mend: Vec<String>,
}

impl Finding {
    pub(super) fn new(check: &'static str, verdict: Verdict, what: impl Into<String>) -> Finding {
        Finding {
            check,
            verdict,
            what: what.into(),
            key: None,
            place: None,
            mend: Vec::new(),
        }
    }

    pub(super) fn ok(check: &'static str, what: impl Into<String>) -> Finding {
        Finding::new(check, Verdict::Ok, what)
    }

    pub(super) fn warning(check: &'static str, what: impl Into<String>) -> Finding {
        Finding::new(check, Verdict::Warning, what)
    }

    pub(super) fn problem(check: &'static str, what: impl Into<String>) -> Finding {
        Finding::new(check, Verdict::Problem, what)
    }

    pub(super) fn not_checked(check: &'static str, what: impl Into<String>) -> Finding {
        Finding::new(check, Verdict::NotChecked, what)
    }

    /// The key that it is about; where its value is from is filled in at the end.
    pub(super) fn at(mut self, key: impl Into<String>) -> Finding {
        self.key = Some(key.into());
        self
    }

    pub(super) fn mend(mut self, way: impl Into<String>) -> Finding {
        self.mend.push(way.into());
        self
    }
}

/// Everything that is wrong with a configuration, a finding each.
pub(super) fn of_config(check: &'static str, name: &str, error: &ConfigError) -> Vec<Finding> {
    let found = error.problems().iter().map(|problem| {
        let mut finding = Finding::problem(check, problem.title());
        let line = error.line_column(problem).map(|(line, _)| line);
        finding.place = line.map(|line| format!("{name}:{line}"));
        finding.mend = problem.help_lines().to_vec();
        finding
    });
    found.collect()
}

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// In the order of the checks.
    pub findings: Vec<Finding>,
}

impl Report {
    /// With the places of keys filled in.
    pub(super) fn new(mut findings: Vec<Finding>, config: Option<&Config>) -> Report {
        for finding in &mut findings {
            if let (Some(key), None, Some(config)) = (&finding.key, &finding.place, config) {
                finding.place = Some(config.origin(key).to_string());
            }
        }
        Report { findings }
    }

    /// Whether anything is broken.
    #[must_use]
    pub fn has_problem(&self) -> bool {
        self.count(Verdict::Problem) > 0
    }

    fn count(&self, verdict: Verdict) -> usize {
        let all = self.findings.iter();
        all.filter(|finding| finding.verdict == verdict).count()
    }

    /// For people: a line for each check, and below those that are not well, where and what to do.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let width = self.findings.iter().map(|f| f.check.len()).max();
        let width = width.unwrap_or_default();
        // Writing to a string cannot fail.
        for finding in &self.findings {
            let (verdict, check) = (finding.verdict.as_str(), finding.check);
            let _ = writeln!(text, "{verdict:<12}{check:<width$}  {}", finding.what);
            if finding.verdict == Verdict::Ok {
                continue;
            }
            let indent = " ".repeat(12 + width + 2);
            let place = match (&finding.key, &finding.place) {
                (Some(key), Some(place)) => Some(format!("{key}, {place}")),
                (Some(one), None) | (None, Some(one)) => Some(one.clone()),
                (None, None) => None,
            };
            if let Some(place) = place {
                let _ = writeln!(text, "{indent}at: {place}");
            }
            for way in &finding.mend {
                let way = way.replace('\n', &format!("\n{indent}    "));
                let _ = writeln!(text, "{indent}do: {way}");
            }
        }
        let counts = [
            Verdict::Ok,
            Verdict::Warning,
            Verdict::Problem,
            Verdict::NotChecked,
        ];
        let counts = counts.map(|verdict| match (verdict, self.count(verdict)) {
            (Verdict::Problem | Verdict::Warning, n) if n != 1 => {
                format!("{n} {}s", verdict.as_str())
            }
            (_, n) => format!("{n} {}", verdict.as_str()),
        });
        let _ = writeln!(text, "{}", counts.join(", "));
        text
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> String {
        let value = serde_json::json!({
            "findings": self.findings,
            "ok": self.count(Verdict::Ok),
            "warnings": self.count(Verdict::Warning),
            "problems": self.count(Verdict::Problem),
            "not_checked": self.count(Verdict::NotChecked),
        });
        format!("{value:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_what_where_and_what_to_do() {
        let config = Config::parse(
            "r.toml",
            "authentication.policy = \"auth-open\"\nmedia.first_port = 40000\n",
        )
        .expect("valid");
        let findings = vec![
            Finding::ok("clock", "synchronised").mend("not shown"),
            Finding::problem("gateway", "TCP 127.0.0.1:8080 is held by nginx (pid 7)")
                .at("gateway.listen")
                .mend("end it\nor not"),
            Finding::warning("media", "odd").at("media.first_port"),
        ];
        let report = Report::new(findings, Some(&config));
        assert!(report.has_problem());
        assert_eq!(
            report.text(),
            "ok          clock    synchronised\n\
             problem     gateway  TCP 127.0.0.1:8080 is held by nginx (pid 7)\n\
             \u{20}                    at: gateway.listen, default\n\
             \u{20}                    do: end it\n\
             \u{20}                        or not\n\
             warning     media    odd\n\
             \u{20}                    at: media.first_port, r.toml:2\n\
             1 ok, 1 warning, 1 problem, 0 not checked\n"
        );
        let json: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
        assert_eq!(json["problems"], 1);
        assert_eq!(json["findings"][2]["place"], "r.toml:2");
        assert_eq!(json["findings"][0]["verdict"], "ok");
        assert_eq!(json["findings"][0].get("key"), None);
    }

    #[test]
    fn a_configuration_that_cannot_be_used_is_told_problem_by_problem() {
        let error = Config::parse("r.toml", "[gateway]\nlisen = 1\npage = 2\n").expect_err("bad");
        let found = of_config("configuration", "r.toml", &error);
        let places: Vec<_> = found.iter().map(|f| f.place.as_deref()).collect();
        assert_eq!(places, [Some("r.toml:2"), Some("r.toml:3")]);
        assert!(found[0].what.contains("`lisen`"), "{found:?}");
        assert!(found[0].mend[0].contains("`listen`"), "{found:?}");
    }
}

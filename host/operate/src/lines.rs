//! Which lines of logs are wanted, and how they are written.
//!
//! Severities are syslog's (RFC 5424, table 2): 0 emergency, 1 alert, 2 critical, 3 error, 4 warning,
//! 5 notice, 6 informational, 7 debug. A line says its own with `<n>` before it, as containers' lines do that
//! are made for a journal, or as JSON with a member `level` or `severity`; where it says none, the one counts
//! that it was logged with.

use edge_core::Timestamp;
use regex::{Regex, RegexBuilder};
use serde::Serialize;

/// Bytes that a compiled pattern may take.
const PATTERN_SIZE: usize = 1 << 20;

/// How bad: 0 (emergency) to 7 (debug), as syslog has it.
pub type Severity = u8;

/// A line, as it is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// When it came.
    pub time: Timestamp,
    /// Whose it is.
    pub module: &'a str,
    /// What it was logged with.
    pub logged: Severity,
    /// `stdout` or `stderr`, or what the module named as its context.
    pub stream: &'a str,
    /// The line.
    pub text: &'a str,
}

/// Which severities are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// This one alone, as the seed system's methods have it.
    Exactly(Severity),
    /// This one and all that are worse.
    AtLeast(Severity),
}

/// Which lines are wanted; by default all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Not before this.
    pub since: Option<Timestamp>,
    /// Not after this.
    pub until: Option<Timestamp>,
    /// Of this severity.
    pub level: Option<Wanted>,
    /// In which this is found.
    pub grep: Option<Regex>,
    /// At most so many, the newest.
    pub tail: Option<usize>,
}

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pattern {pattern:?} cannot be used: {why}")]
pub struct BadPattern {
    pattern: String,
    why: String,
}

/// Compiles a pattern of a caller.
///
/// # Errors
/// It is none, or would take too much memory.
pub fn pattern(text: &str, ignore_case: bool) -> Result<Regex, BadPattern> {
    let built = RegexBuilder::new(text)
        .case_insensitive(ignore_case)
        .size_limit(PATTERN_SIZE)
        .dfa_size_limit(PATTERN_SIZE)
        .build();
    built.map_err(|error| BadPattern {
        pattern: text.to_owned(),
        // It draws the pattern with a mark under it, in several lines; the last one says what is wrong.
        why: error
            .to_string()
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .to_owned(),
    })
}

impl Filter {
    /// Whether a line is wanted, the number of lines apart.
    pub fn wants(&self, line: &Line<'_>) -> bool {
        self.since.is_none_or(|since| line.time >= since)
            && self.until.is_none_or(|until| line.time <= until)
            && self.level.is_none_or(|level| {
                let severity = line.severity();
                match level {
                    Wanted::Exactly(wanted) => severity == wanted,
                    Wanted::AtLeast(wanted) => severity <= wanted,
                }
            })
            && self
                .grep
                .as_ref()
                .is_none_or(|grep| grep.is_match(line.text))
    }

    /// Takes all but the newest lines away, if there are more than are wanted.
    pub fn cut<T>(&self, lines: &mut Vec<T>) {
        if let Some(tail) = self.tail {
            lines.drain(..lines.len().saturating_sub(tail));
        }
    }
}

impl Line<'_> {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        severity_of(self.text).unwrap_or(self.logged)
    }

    /// As the seed system's modules write it: `<6> 2026-11-24T08:00:00.000Z text`. A line that has such a
    /// beginning is left as it is.
    pub fn plain(&self) -> String {
        match prefix(self.text) {
            Some(_) => self.text.to_owned(),
            None => format!("<{}> {} {}", self.severity(), self.time, self.text),
        }
    }
}

/// A line as an element of what `contentType: json` gives, with the seed system's names.
#[derive(Debug, Serialize)]
pub(crate) struct JsonLine<'a> {
    pub(crate) iothub: &'a str,
    pub(crate) device: &'a str,
    pub(crate) id: &'a str,
    pub(crate) stream: &'a str,
    pub(crate) loglevel: Severity,
    pub(crate) timestamp: String,
    pub(crate) text: &'a str,
}

/// What a line itself says of how bad it is.
pub fn severity_of(text: &str) -> Option<Severity> {
    if let Some(severity) = prefix(text) {
        return Some(severity);
    }
    if !text.starts_with('{') {
        return None;
    }
    #[derive(serde::Deserialize)]
    struct Json {
        #[serde(alias = "severity", alias = "lvl", alias = "Level", alias = "loglevel")]
        level: serde_json::Value,
    }
    match serde_json::from_str::<Json>(text).ok()?.level {
        serde_json::Value::String(word) => named(&word),
        serde_json::Value::Number(number) => {
            let number = u8::try_from(number.as_u64()?).ok()?;
            (number <= 7).then_some(number)
        }
        _ => None,
    }
}

/// `<n>` at the start of a line.
fn prefix(text: &str) -> Option<Severity> {
    match text.as_bytes() {
        [b'<', digit @ b'0'..=b'7', b'>', ..] => Some(digit - b'0'),
        _ => None,
    }
}

/// A severity by one of its names.
pub(crate) fn named(word: &str) -> Option<Severity> {
    Some(match word.to_ascii_lowercase().as_str() {
        "emerg" | "emergency" | "panic" => 0,
        "alert" => 1,
        "crit" | "critical" | "fatal" => 2,
        "err" | "error" => 3,
        "warn" | "warning" => 4,
        "notice" => 5,
        "info" | "information" | "informational" => 6,
        "debug" | "trace" | "verbose" => 7,
        _ => return None,
    })
}

impl std::str::FromStr for Wanted {
    type Err = String;

    /// A name (`warn`) or a number of syslog: that one and all that are worse.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = || text.parse().ok().filter(|number| *number <= 7);
        named(text).or_else(number).map(Self::AtLeast).ok_or_else(|| {
            format!(
                "{text:?} is no level: expected emergency, alert, critical, error, warn, notice, info, debug, or 0 to 7"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line<'_> {
        Line {
            time: Timestamp(2_000_000_000),
            module: "cam",
            logged: 6,
            stream: "stdout",
            text,
        }
    }

    #[test]
    fn a_line_that_says_its_severity_is_believed() {
        for (text, severity) in [
            ("<3> 2026-11-24 it broke", 3),
            ("<8> no level", 6),
            (r#"{"level":"warn","msg":"x"}"#, 4),
            (r#"{"msg":"x","severity":2}"#, 2),
            (r#"{"level":30,"msg":"of another kind"}"#, 6),
            (r#"{"level":"#, 6),
            ("error: only words", 6),
        ] {
            assert_eq!(line(text).severity(), severity, "{text}");
        }
    }

    #[test]
    fn every_part_of_a_filter_narrows_what_is_wanted() {
        let at = |seconds: u64| Some(Timestamp(seconds * 1_000_000_000));
        let all = Filter::default();
        let wants = |filter: Filter, text: &str| filter.wants(&line(text));
        assert!(all.wants(&line("x")));
        assert!(!wants(
            Filter {
                since: at(3),
                ..all.clone()
            },
            "x"
        ));
        assert!(wants(
            Filter {
                since: at(2),
                ..all.clone()
            },
            "x"
        ));
        assert!(!wants(
            Filter {
                until: at(1),
                ..all.clone()
            },
            "x"
        ));
        let level = |level| Filter {
            level: Some(level),
            ..all.clone()
        };
        assert!(wants(level(Wanted::AtLeast(4)), "<3> x"));
        assert!(!wants(level(Wanted::Exactly(4)), "<3> x"));
        assert!(!wants(level(Wanted::AtLeast(4)), "x"));
        let grep = |text| Filter {
            grep: Some(pattern(text, false).expect("pattern")),
            ..all.clone()
        };
        assert!(wants(grep("b.k"), "it broke: bak"));
        assert!(!wants(grep("^b.k"), "it broke: bak"));
        let mut lines = vec![1, 2, 3];
        Filter {
            tail: Some(2),
            ..all.clone()
        }
        .cut(&mut lines);
        assert_eq!(lines, [2, 3]);
    }

    #[test]
    fn bad_patterns_are_refused_in_one_line() {
        for text in ["(", "a{1000}{1000}{1000}", "[z-a]"] {
            let error = pattern(text, true).expect_err("no pattern").to_string();
            assert!(
                error.starts_with("pattern ") && !error.contains('\n'),
                "{error}"
            );
        }
    }

    #[test]
    fn levels_have_names_and_numbers() {
        assert_eq!("warn".parse(), Ok(Wanted::AtLeast(4)));
        assert_eq!("3".parse(), Ok(Wanted::AtLeast(3)));
        for bad in ["8", "loud", ""] {
            assert!(bad.parse::<Wanted>().is_err(), "{bad}");
        }
    }

    #[test]
    fn lines_get_a_beginning_only_where_they_have_none() {
        assert_eq!(line("x").plain(), "<6> 1970-01-01T00:00:02.000Z x");
        assert_eq!(line("<4> x").plain(), "<4> x");
    }
}

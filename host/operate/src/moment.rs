//! Points in time as people and the seed system's requests write them.

use std::time::Duration;

use edge_core::{Timestamp, parse_duration};

/// Text that is no point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no time: expected a span before now as in 1d or 2h30m, a time as in 2026-11-24T08:00:00Z, or seconds since 1970"
)]
pub struct BadMoment(pub String);

/// Reads a span before `now` (`1d`, `2h 30m`, `90 minutes`), an RFC 3339 time, or seconds since 1970.
///
/// # Errors
/// It is none of them.
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp, BadMoment> {
    let bad = || BadMoment(text.to_owned());
    let trimmed = text.trim();
    if !trimmed.is_empty() && trimmed.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds: u64 = trimmed.parse().map_err(|_| bad())?;
        return seconds
            .checked_mul(1_000_000_000)
            .map(Timestamp)
            .ok_or_else(bad);
    }
    if let Some(span) = span(trimmed) {
        let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        return Ok(Timestamp(now.0.saturating_sub(span)));
    }
    trimmed.parse().map_err(|_| bad())
}

/// A span of time, units in letters or words, blanks between them or not.
fn span(text: &str) -> Option<Duration> {
    let mut plain = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let unit = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, tail) = rest.split_at(unit);
        let end = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        plain.push_str(number.trim());
        plain.push_str(match unit.to_ascii_lowercase().as_str() {
            "d" | "day" | "days" => "d",
            "h" | "hr" | "hour" | "hours" => "h",
            "m" | "min" | "minute" | "minutes" => "m",
            "s" | "sec" | "second" | "seconds" => "s",
            "ms" => "ms",
            _ => return None,
        });
        rest = next.trim_start();
    }
    parse_duration(&plain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

    #[test]
    fn spans_times_and_seconds_are_understood() {
        let before = |seconds: u64| Timestamp(NOW.0 - seconds * 1_000_000_000);
        for (text, expected) in [
            ("1d", before(86_400)),
            ("2h30m", before(9_000)),
            ("2 days 3 hours 2 minutes", before(183_720)),
            ("90 s", before(90)),
            ("1700000000", Timestamp(1_700_000_000_000_000_000)),
            ("2026-11-24T08:00:00Z", Timestamp(1_795_507_200_000_000_000)),
            (
                "2026-11-24T09:00:00+01:00",
                Timestamp(1_795_507_200_000_000_000),
            ),
        ] {
            assert_eq!(moment(text, NOW), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_is_one() {
        for text in [
            "",
            "yesterday",
            "1",
            "d",
            "-1d",
            "1x",
            "99999999999999999999",
        ] {
            let read = moment(text, NOW);
            match text {
                "1" => assert_eq!(read, Ok(Timestamp(1_000_000_000))),
                _ => assert!(read.is_err(), "{text}: {read:?}"),
            }
        }
        let error = moment("soon", NOW).expect_err("no time").to_string();
        assert!(error.contains("1d"), "{error}");
    }
}

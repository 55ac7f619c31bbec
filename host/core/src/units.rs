//! Units that people write: points in time, spans of time, sizes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This time and a span; stays at the end of time rather than wrapping.
    pub fn after(self, span: Duration) -> Self {
        let ns = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(ns))
    }

    /// The span since an earlier time; nothing if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// RFC 3339 with milliseconds, in UTC: `2026-03-04T05:06:07.089Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0 / 1_000_000_000;
        let (days, day_secs) = (secs / 86_400, secs % 86_400);
        // Days to a civil date: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".
        let z = days + 719_468;
        let (era, doe) = (z / 146_097, z % 146_097);
        let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + u64::from(month <= 2);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            day_secs / 3_600,
            day_secs / 60 % 60,
            day_secs % 60,
            self.0 / 1_000_000 % 1_000,
        )
    }
}

impl FromStr for Timestamp {
    type Err = ParseUnitError;

    /// Reads ISO 8601 as the SDKs write it: `2026-11-24T08:00:00`, a fraction, and `Z`, `±hh:mm` or
    /// nothing, which is UTC.
    ///
    /// # Errors
    /// Other text, and times before 1970 or past 2554.
    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        instant(text.as_bytes()).ok_or_else(|| ParseUnitError {
            text: text.to_owned(),
            expected: "a time, as in \"2026-11-24T08:00:00Z\"",
        })
    }
}

fn instant(s: &[u8]) -> Option<Timestamp> {
    let number = |from: usize, len: usize| {
        s.get(from..from + len)?.iter().try_fold(0i64, |n, b| {
            b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let signs = s[4] == b'-' && s[7] == b'-' && matches!(s[10], b'T' | b't' | b' ');
    let fields = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24;
    if !signs || s[13] != b':' || s[16] != b':' || !fields || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = &s[19..];
    let mut nanos = 0;
    if let [b'.' | b',', tail @ ..] = rest {
        let digits = tail.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let scaled = |n: i64, place: usize| {
            n * 10 + tail[..digits].get(place).map_or(0, |b| i64::from(b - b'0'))
        };
        nanos = (0..9).fold(0, scaled);
        rest = &tail[digits..];
    }
    let two = |tens: u8, ones: u8| {
        (tens.is_ascii_digit() && ones.is_ascii_digit())
            .then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
    };
    let offset = match rest {
        [] | [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), a, b, b':', c, d] | [sign @ (b'+' | b'-'), a, b, c, d] => {
            let minutes = two(*a, *b)? * 60 + two(*c, *d)?;
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    // A civil date to days: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let y = if month <= 2 { year - 1 } else { year };
    let (era, yoe) = (y / 400, y % 400);
    let doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468;
    let secs = days * 86_400 + (hour * 60 + minute - offset) * 60 + second;
    let (secs, nanos) = (u64::try_from(secs).ok()?, u64::try_from(nanos).ok()?);
    let ns = secs.checked_mul(1_000_000_000)?.checked_add(nanos)?;
    Some(Timestamp(ns))
}

/// A number of bytes; written `512`, `64KiB`, `16MiB`, `1GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Text that is no size or span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct ParseUnitError {
    text: String,
    expected: &'static str,
}

const SIZES: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, factor) = SIZES
            .iter()
            .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))
            .unwrap_or((text, 1));
        digits
            .trim()
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| ParseUnitError {
                text: text.to_owned(),
                expected: "a size: expected a whole number and B, KiB, MiB, GiB, kB, MB or GB",
            })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0;
        let unit = ["GiB", "MiB", "KiB"]
            .into_iter()
            .zip([1u64 << 30, 1 << 20, 1 << 10])
            .find(|(_, size)| n >= *size && n.is_multiple_of(*size));
        match unit {
            Some((unit, size)) => write!(f, "{}{unit}", n / size),
            None => write!(f, "{n}B"),
        }
    }
}

/// Reads a span of time: a number and `ns`, `us`, `ms`, `s`, `m`, `h` or `d` (24 hours); several may
/// follow one another (`1m30s`).
///
/// # Errors
/// Anything else, and spans of more than 2⁶⁴ nanoseconds.
pub fn parse_duration(text: &str) -> Result<Duration, ParseUnitError> {
    let parse = || {
        let (mut rest, mut total) = (text.trim(), 0u64);
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
            let (number, tail) = rest.split_at(end);
            let unit_end = tail
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(tail.len());
            let (unit, next) = tail.split_at(unit_end);
            let ns: u64 = match unit {
                "ns" => 1,
                "us" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                "d" => 86_400_000_000_000,
                _ => return None,
            };
            let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
            let mut value = whole.parse::<u64>().ok()?.checked_mul(ns)?;
            let mut scale = ns;
            for digit in fraction.bytes() {
                if !digit.is_ascii_digit() {
                    return None;
                }
                scale /= 10;
                value = value.checked_add(u64::from(digit - b'0') * scale)?;
            }
            total = total.checked_add(value)?;
            rest = next;
        }
        Some(Duration::from_nanos(total))
    };
    parse().ok_or_else(|| ParseUnitError {
        text: text.to_owned(),
        expected: "a span of time: expected a number and ns, us, ms, s, m, h or d, as in 500ms or 1m30s",
    })
}

/// Writes a span of time as [`parse_duration`] reads it, in the largest unit that keeps it whole.
pub fn format_duration(span: Duration) -> String {
    let ns = span.as_nanos();
    let units: [(&str, u128); 7] = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];
    let (unit, size) = units
        .into_iter()
        .find(|(_, size)| ns > 0 && ns.is_multiple_of(*size))
        .unwrap_or(("s", 1_000_000_000));
    format!("{}{unit}", ns / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_sdks_write_them() {
        let at = |text: &str| text.parse::<Timestamp>().map(|at| at.to_string());
        for (text, same) in [
            ("2026-11-24T08:00:00Z", "2026-11-24T08:00:00.000Z"),
            ("2026-11-24T08:00:00.123456", "2026-11-24T08:00:00.123Z"),
            ("2024-02-29 23:59:59+01:30", "2024-02-29T22:29:59.000Z"),
            (
                "2026-11-24T08:00:00.1234567-0800",
                "2026-11-24T16:00:00.123Z",
            ),
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
            ("2554-07-21T23:34:33.709Z", "2554-07-21T23:34:33.709Z"),
        ] {
            assert_eq!(at(text).as_deref(), Ok(same), "{text}");
        }
        for bad in [
            "",
            "2026-11-24",
            "2026-13-24T08:00:00Z",
            "1969-12-31T23:59:59Z",
            "2554-07-21T23:34:34Z",
            "2026-11-24T08:00:00.Z",
        ] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_written_as_rfc_3339() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            Timestamp(1_709_164_800_123_000_000).to_string(),
            "2024-02-29T00:00:00.123Z"
        );
        assert_eq!(
            Timestamp(4_102_444_799_999_000_000).to_string(),
            "2099-12-31T23:59:59.999Z"
        );
    }

    #[test]
    fn sizes_are_read_and_written() {
        for (text, n) in [
            ("64MiB", 64 << 20),
            ("1 KiB", 1024),
            ("5", 5),
            ("2GB", 2_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(n)), "{text}");
        }
        assert_eq!(ByteSize(64 << 20).to_string(), "64MiB");
        for bad in ["", "MiB", "-1", "1.5MiB", "99999999999GiB", "1 mib"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_are_read_and_written() {
        for (text, ms) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("1m30s", 90_000),
            ("1.5s", 1_500),
            ("2h", 7_200_000),
            ("90d", 7_776_000_000),
            ("1d12h", 129_600_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(ms)),
                "{text}"
            );
        }
        assert_eq!(format_duration(Duration::from_millis(1_500)), "1500ms");
        assert_eq!(format_duration(Duration::from_secs(172_800)), "2d");
        for bad in ["", "5", "s", "5 s", "1.s.", "-1s", "9999999999999h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}

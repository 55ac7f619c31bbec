//! Strings that the peer's JSON reader takes for dates (section 7), which makes them undefined.

/// Whether a string is a date to that reader: ISO 8601 with a time, or `/Date(…)/`.
pub(crate) fn is_date(text: &str) -> bool {
    iso(text.as_bytes()).is_some() || microsoft(text).is_some()
}

/// `yyyy-MM-ddTHH:mm:ss`, up to seven digits of a fraction, and `Z` or an offset.
fn iso(s: &[u8]) -> Option<()> {
    if !(19..=40).contains(&s.len()) || s[10] != b'T' {
        return None;
    }
    let number = |from: usize, len: usize| {
        s.get(from..from + len)?.iter().try_fold(0u32, |n, b| {
            b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0'))
        })
    };
    let signs = s[4] == b'-' && s[7] == b'-' && s[13] == b':' && s[16] == b':';
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    let midnight = hour == 24 && minute == 0 && second == 0;
    let valid = signs && year > 0 && (1..=days).contains(&day) && (hour < 24 || midnight);
    if !valid || minute > 59 || second > 59 {
        return None;
    }
    let mut rest = &s[19..];
    if let [b'.', tail @ ..] = rest {
        let n = tail.iter().take_while(|b| b.is_ascii_digit()).count();
        if n == 0 || n > 7 || midnight && tail[..n].iter().any(|b| *b != b'0') {
            return None;
        }
        rest = &tail[n..];
    }
    let digits = |s: &[u8]| s.iter().all(u8::is_ascii_digit);
    match rest {
        [] | [b'Z' | b'z'] => Some(()),
        [b'+' | b'-', h @ ..] => match h {
            [_, _] => digits(h).then_some(()),
            [a, b, b':', c, d] | [a, b, c, d] => digits(&[*a, *b, *c, *d]).then_some(()),
            _ => None,
        },
        _ => None,
    }
}

/// `/Date(1700000000000)/`, with an offset or without.
fn microsoft(text: &str) -> Option<()> {
    let inner = text.strip_prefix("/Date(")?.strip_suffix(")/")?;
    let unsigned = inner.strip_prefix('-').unwrap_or(inner);
    let (ticks, offset) = match unsigned.find(['+', '-']) {
        Some(at) => (&unsigned[..at], &unsigned[at + 1..]),
        None => (unsigned, "0000"),
    };
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let valid = digits(ticks)
        && ticks.parse::<i64>().is_ok()
        && digits(offset)
        && matches!(offset.len(), 2 | 4);
    valid.then_some(())
}

#[cfg(test)]
mod tests {
    use super::is_date;

    #[test]
    fn dates_are_told_from_text() {
        for date in [
            "2017-03-09T00:00:00.000Z",
            "2017-02-15T00:42:19.8563501Z",
            "2024-02-29T23:59:59",
            "2024-02-29T23:59:59+01:00",
            "2024-02-29T23:59:59-0130",
            "2024-02-29T24:00:00z",
            "/Date(1700000000000)/",
            "/Date(-5+0100)/",
        ] {
            assert!(is_date(date), "{date}");
        }
        for text in [
            "",
            "2017-03-09",
            "2017-03-09 00:00:00",
            "2023-02-29T00:00:00",
            "2017-13-01T00:00:00",
            "2017-03-09T25:00:00",
            "2017-03-09T00:00:00.",
            "2017-03-09T00:00:00.12345678Z",
            "2017-03-09T00:00:00Q",
            "2017-03-09T00:00:0äZ",
            "/Date(x)/",
            "/Date()/",
        ] {
            assert!(!is_date(text), "{text}");
        }
    }
}

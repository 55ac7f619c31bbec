//! Text as the language counts and orders it: in UTF-16 code units, without culture.

use std::cmp::Ordering;

/// Length in UTF-16 units.
pub(crate) fn len(s: &str) -> usize {
    if s.is_ascii() {
        s.len()
    } else {
        s.chars().map(char::len_utf16).sum()
    }
}

/// Order by UTF-16 code units. It differs from that of bytes only where one character is beyond
/// U+FFFF (surrogates from U+D800) and the other between U+E000 and U+FFFF.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let first_difference = a.bytes().zip(b.bytes()).find(|(x, y)| x != y);
    match first_difference {
        None => a.len().cmp(&b.len()),
        Some((0xEE..=0xEF, 0xF0..)) => Ordering::Greater,
        Some((0xF0.., 0xEE..=0xEF)) => Ordering::Less,
        Some((x, y)) => x.cmp(&y),
    }
}

/// Position of a part in UTF-16 units.
pub(crate) fn index_of(s: &str, part: &str) -> Option<usize> {
    Some(len(&s[..s.find(part)?]))
}

/// The units from `start`, at most `count` of them. A surrogate pair that is cut leaves U+FFFD.
pub(crate) fn substring(s: &str, start: usize, count: Option<usize>) -> String {
    let end = count.map_or(usize::MAX, |n| start.saturating_add(n));
    if s.is_ascii() {
        return s[start.min(s.len())..end.min(s.len())].to_owned();
    }
    let units = s.encode_utf16().skip(start).take(end - start);
    char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// Lower case, one character for one: `İ` has no such partner and stays.
pub(crate) fn lower(s: &str) -> String {
    s.chars().map(|c| single(c, c.to_lowercase())).collect()
}

/// Upper case, one character for one: `ß` and `ı` stay.
pub(crate) fn upper(s: &str) -> String {
    s.chars()
        .map(|c| {
            if c == 'ı' {
                c
            } else {
                single(c, c.to_uppercase())
            }
        })
        .collect()
}

fn single(c: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// What follows a prefix, letter case ignored.
pub(crate) fn strip_prefix_ignoring_case<'a>(s: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, tail) = s.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_positions_count_utf16_units() {
        assert_eq!((len("abc"), len("äb"), len("😀")), (3, 2, 2));
        assert_eq!(index_of("😀x", "x"), Some(2));
        assert_eq!(substring("a😀b", 1, Some(2)), "😀");
        assert_eq!(substring("a😀b", 2, None), "\u{FFFD}b");
        assert_eq!(substring("abc", 3, None), "");
    }

    #[test]
    fn order_is_that_of_utf16_units() {
        assert_eq!(compare("😀", "\u{FF5E}"), Ordering::Less);
        assert_eq!(compare("\u{FF5E}", "😀"), Ordering::Greater);
        assert_eq!(compare("a", "B"), Ordering::Greater);
        assert_eq!(compare("ab", "a"), Ordering::Greater);
        for (a, b) in [("😀a", "😀b"), ("é", "z"), ("\u{D7FF}", "😀"), ("", "a")] {
            let units = |s: &str| s.encode_utf16().collect::<Vec<_>>();
            assert_eq!(compare(a, b), units(a).cmp(&units(b)), "{a} {b}");
        }
    }

    #[test]
    fn case_mapping_is_one_to_one() {
        assert_eq!(upper("straße é ı"), "STRAßE É ı");
        assert_eq!(lower("ÉΣ"), "éσ");
    }
}

//! Values of literals.

use crate::lexer::Tok;
use crate::mode::Mode;

/// The value of a number token; none where the language says that it is undefined (`e5`, or more
/// than 64 bits of hexadecimal).
pub(crate) fn number(kind: Tok, text: &str) -> Option<f64> {
    match kind {
        Tok::Hex => {
            let digits = text.get(2..)?.trim_start_matches('0');
            if digits.is_empty() {
                return Some(0.0);
            }
            // 64 bits, read as two's complement.
            let bits = u64::from_str_radix(digits, 16).ok()?;
            Some(bits.cast_signed() as f64)
        }
        _ if text.trim_start_matches('-').starts_with(['e', 'E']) => None,
        _ => text.parse().ok(),
    }
}

/// The value of a string token, quotes included in `text`.
pub(crate) fn string(text: &str, mode: Mode) -> String {
    let inner = text
        .get(1..text.len().saturating_sub(1))
        .unwrap_or_default();
    unescape(inner, mode)
}

/// Resolves escapes. Halves of surrogate pairs join; a half alone becomes U+FFFD.
///
/// Compat mode resolves `\uXXXX` everywhere first and quotes and backslashes afterwards, so that
/// `\\u0041` is `\A`; strict mode goes from left to right.
pub(crate) fn unescape(text: &str, mode: Mode) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let units: Vec<u16> = text.encode_utf16().collect();
    let units = match mode {
        Mode::Compat => {
            let unicode = replace(&units, unicode_escape);
            replace(&unicode, simple_escape)
        }
        Mode::Strict => replace(&units, |u| simple_escape(u).or_else(|| unicode_escape(u))),
    };
    String::from_utf16_lossy(&units)
}

/// Replaces what a rule finds; the rule gives the new unit and how many old ones it stands for.
fn replace(units: &[u16], rule: impl Fn(&[u16]) -> Option<(u16, usize)>) -> Vec<u16> {
    let mut out = Vec::with_capacity(units.len());
    let mut at = 0;
    while let Some(&unit) = units.get(at) {
        let (unit, len) = rule(&units[at..]).unwrap_or((unit, 1));
        out.push(unit);
        at += len;
    }
    out
}

const BACKSLASH: u16 = b'\\' as u16;

fn unicode_escape(units: &[u16]) -> Option<(u16, usize)> {
    if units.first() != Some(&BACKSLASH)
        || !matches!(char::from_u32((*units.get(1)?).into()), Some('u' | 'U'))
    {
        return None;
    }
    let mut value = 0u16;
    for unit in units.get(2..6)? {
        let digit = char::from_u32((*unit).into())?.to_digit(16)?;
        value = value << 4 | u16::try_from(digit).ok()?;
    }
    Some((value, 6))
}

fn simple_escape(units: &[u16]) -> Option<(u16, usize)> {
    let second = *units.get(1)?;
    let quoted = second == BACKSLASH || second == u16::from(b'"') || second == u16::from(b'\'');
    (units[0] == BACKSLASH && quoted).then_some((second, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_64_bits_of_twos_complement() {
        assert_eq!(number(Tok::Hex, "0xFFFFFFFFFFFFFFFF"), Some(-1.0));
        assert_eq!(number(Tok::Hex, "0x0000000000000000000001"), Some(1.0));
        assert_eq!(number(Tok::Hex, "0x0"), Some(0.0));
        assert_eq!(number(Tok::Hex, "0x1FFFFFFFFFFFFFFFF"), None);
    }

    #[test]
    fn a_bare_exponent_has_no_value() {
        assert_eq!(number(Tok::Real, "e5"), None);
        assert_eq!(number(Tok::Real, "-E5"), None);
        assert_eq!(number(Tok::Real, "-.5e1"), Some(-5.0));
        assert_eq!(number(Tok::Int, "-007"), Some(-7.0));
    }

    #[test]
    fn escapes_are_resolved_as_the_mode_says() {
        assert_eq!(string(r#"'a\'b\\\"'"#, Mode::Compat), r#"a'b\""#);
        assert_eq!(string(r"'\uD83D\uDE00'", Mode::Compat), "😀");
        assert_eq!(string(r"'\uD83D'", Mode::Compat), "\u{FFFD}");
        assert_eq!(string(r"'\\u0041'", Mode::Compat), r"\A");
        assert_eq!(string(r"'\\u0041'", Mode::Strict), r"\u0041");
    }
}

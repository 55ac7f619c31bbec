//! Character classes, strings and numbers, as section 4 of the language has them.

use super::Tok;

/// What separates tokens. No other white space does: it is part of names.
pub(crate) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// What a name may hold.
pub(crate) fn is_name_char(c: char) -> bool {
    is_dollar_char(c) && !matches!(c, '[' | ']')
}

/// What a name after `$` may hold: brackets as well, for body paths.
pub(super) fn is_dollar_char(c: char) -> bool {
    !is_blank(c) && !"()<>@,;:\\\"/?={}".contains(c)
}

/// What a key of a body path may hold.
pub(crate) fn is_key_char(c: char) -> bool {
    is_name_char(c) && c != '.'
}

/// What a name may hold in strict mode: no operator signs.
pub(crate) fn is_strict_name_char(c: char) -> bool {
    is_name_char(c) && !"+-*%!'|&".contains(c)
}

/// The string that a text begins with. A backslash that begins no escape ends it as unterminated.
pub(super) fn scan_string(rest: &str) -> (Tok, usize) {
    let bytes = rest.as_bytes();
    let quote = bytes[0];
    let mut at = 1;
    while let Some(&b) = bytes.get(at) {
        if b == quote {
            return (Tok::Str, at + 1);
        }
        if b == b'\\' {
            match bytes.get(at + 1) {
                Some(b'"' | b'\'' | b'\\') => at += 2,
                Some(b'u')
                    if bytes
                        .get(at + 2..at + 6)
                        .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) =>
                {
                    at += 6;
                }
                _ => break,
            }
        } else {
            at += 1;
        }
    }
    (Tok::Unterminated, at)
}

/// The kind of number that a whole text is. `e5`, an exponent without digits before it, is one.
pub(super) fn number(text: &str) -> Option<Tok> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))
        && !hex.is_empty()
        && hex.bytes().all(|b| b.is_ascii_hexdigit())
    {
        return Some(Tok::Hex);
    }
    let text = text.strip_prefix('-').unwrap_or(text);
    let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(text);
    let mut rest = &text[whole..];
    if rest.is_empty() {
        return (whole > 0).then_some(Tok::Int);
    }
    let mut real = false;
    if let Some(fraction) = rest.strip_prefix('.') {
        let n = digits(fraction);
        if n == 0 {
            return None;
        }
        (rest, real) = (&fraction[n..], true);
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let n = digits(exponent);
        if n == 0 {
            return None;
        }
        (rest, real) = (&exponent[n..], true);
    }
    (real && rest.is_empty()).then_some(Tok::Real)
}

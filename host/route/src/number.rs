//! `as_number`: text to number, as liberal as a culture-free general number of .NET.

/// The number that a text is: blanks around, a sign in front or behind, parentheses for minus,
/// thousands commas, a decimal point, an exponent, `NaN`, `Infinity`, the neutral currency sign.
pub(crate) fn parse(text: &str) -> Option<f64> {
    if is_plain(text) {
        return text.parse().ok();
    }
    general(text).or_else(|| symbol(text))
}

/// `12`, `-1.5`, `+1e3`: what needs no tidying up.
fn is_plain(text: &str) -> bool {
    let digits = |s: &[u8]| s.iter().take_while(|b| b.is_ascii_digit()).count();
    let mut rest = text.as_bytes();
    if let [b'-' | b'+', tail @ ..] = rest {
        rest = tail;
    }
    let whole = digits(rest);
    rest = &rest[whole..];
    if whole == 0 {
        return false;
    }
    if let [b'.', tail @ ..] = rest {
        rest = &tail[digits(tail)..];
    }
    if let [b'e' | b'E', tail @ ..] = rest {
        let tail = match tail {
            [b'-' | b'+', tail @ ..] => tail,
            _ => tail,
        };
        let n = digits(tail);
        return n > 0 && n == tail.len();
    }
    rest.is_empty()
}

fn is_space(c: char) -> bool {
    matches!(c, '\t'..='\r' | ' ')
}

/// `NaN` and `Infinity`, in any case and with a sign.
fn symbol(text: &str) -> Option<f64> {
    let text = text.trim_matches(is_space);
    let (negative, bare) = match text.strip_prefix('-') {
        Some(bare) => (true, bare),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if bare.eq_ignore_ascii_case("NaN") {
        return Some(f64::NAN);
    }
    let infinity = if negative {
        f64::NEG_INFINITY
    } else {
        f64::INFINITY
    };
    bare.eq_ignore_ascii_case("Infinity").then_some(infinity)
}

fn general(text: &str) -> Option<f64> {
    let mut rest = text;
    let (mut signed, mut negative, mut parens, mut currency) = (false, false, false, false);
    loop {
        let mut chars = rest.chars();
        let c = chars.next()?;
        match c {
            // Blanks stop after a sign, unless a currency sign stands between.
            _ if is_space(c) && (!signed || currency) => {}
            '+' | '-' if !signed => (signed, negative) = (true, c == '-'),
            '(' if !signed => (signed, negative, parens) = (true, true, true),
            '¤' if !currency => currency = true,
            _ => break,
        }
        rest = chars.as_str();
    }

    let mut plain = String::with_capacity(rest.len() + 1);
    let (mut digits, mut point) = (false, false);
    let mut end = rest.len();
    for (i, c) in rest.char_indices() {
        match c {
            '0'..='9' => {
                digits = true;
                plain.push(c);
            }
            '.' if !point => {
                point = true;
                plain.push(c);
            }
            ',' if digits && !point => {}
            _ => {
                end = i;
                break;
            }
        }
    }
    if !digits {
        return None;
    }
    rest = &rest[end..];
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let n = unsigned.bytes().take_while(u8::is_ascii_digit).count();
        if n > 0 {
            plain.push('e');
            plain.push_str(&exponent[..exponent.len() - unsigned.len() + n]);
            rest = &unsigned[n..];
        }
    }

    for c in rest.trim_end_matches('\0').chars() {
        match c {
            _ if is_space(c) => {}
            '+' | '-' if !signed => (signed, negative) = (true, c == '-'),
            ')' if parens => parens = false,
            '¤' if !currency => currency = true,
            _ => return None,
        }
    }
    if parens {
        return None;
    }
    let value: f64 = plain.parse().ok()?;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn general_numbers_are_read() {
        for (text, value) in [
            ("3", 3.0),
            (" 3 ", 3.0),
            ("-3", -3.0),
            ("3-", -3.0),
            ("+3", 3.0),
            ("3 -", -3.0),
            ("(3)", -3.0),
            ("( 3 )", f64::NAN),
            ("1,234.5", 1234.5),
            ("1,,2", 12.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("1E-3", 0.001),
            ("10e1000", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            (" infinity ", f64::INFINITY),
            ("¤5", 5.0),
            ("5\0", 5.0),
        ] {
            match value.is_nan() {
                true => assert_eq!(parse(text), None, "{text:?}"),
                false => assert_eq!(parse(text), Some(value), "{text:?}"),
            }
        }
        assert!(parse("nan").is_some_and(f64::is_nan));
    }

    #[test]
    fn the_rest_is_refused() {
        for text in [
            "", " ", ".", ",1", "0x10", "1 2", "- 3", "--3", "-3-", "(3", "3)", "1e", "e5", "inf",
            "abc", "1.2.3",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}

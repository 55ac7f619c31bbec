//! Tokens of strict mode: operator signs end names, and a source is read by rules of its own.

use super::chars::{is_name_char, is_strict_name_char, number, scan_string};
use super::{HYPHENATED, Tok, run, sign, word};

/// Part of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
    /// Between `FROM` and `WHERE` or `INTO`: no comments, no operators.
    Source,
    /// A condition, and what precedes `FROM`.
    Condition,
    /// After `INTO`: no comments.
    Sink,
}

impl Zone {
    pub(super) fn after(self, tok: Tok) -> Self {
        match tok {
            Tok::From => Self::Source,
            Tok::Where => Self::Condition,
            Tok::Into => Self::Sink,
            _ => self,
        }
    }
}

pub(super) fn token(rest: &str, c: char, zone: Zone) -> (Tok, usize) {
    if matches!(c, '"' | '\'') {
        return scan_string(rest);
    }
    if zone == Zone::Source && is_name_char(c) {
        let len = run(rest, |c| is_name_char(c) && c != '\'');
        let text = &rest[..len];
        return match text {
            "*" => (Tok::Star, 1),
            _ => (route_word(text).unwrap_or(Tok::Name), len),
        };
    }
    if let Some(found) = sign(rest, c) {
        return found;
    }
    match c {
        '+' => return (Tok::Plus, 1),
        '-' => return (Tok::Minus, 1),
        '*' => return (Tok::Star, 1),
        '%' => return (Tok::Percent, 1),
        '|' if rest.starts_with("||") => return (Tok::Concat, 2),
        '$' => {
            let len = dollar(rest);
            if len > 1 {
                return (Tok::Dollar, len);
            }
        }
        '[' => {
            if let Some(len) =
                bracket(rest).filter(|len| *len > 2 && !rest.as_bytes()[1].is_ascii_digit())
            {
                return (Tok::QuotedName, len);
            }
            return (Tok::Unknown, 1);
        }
        _ => {}
    }
    if !is_strict_name_char(c) {
        return (Tok::Unknown, c.len_utf8());
    }
    let mut len = run(rest, is_strict_name_char);
    let text = &rest[..len];
    // `1e-3`: the sign of an exponent belongs to the number.
    if text.ends_with(['e', 'E'])
        && number(&text[..len - 1]).is_some()
        && rest[len..].starts_with(['+', '-'])
        && rest[len + 1..].starts_with(|c: char| c.is_ascii_digit())
    {
        let longer = len + 1 + run(&rest[len + 1..], |c| c.is_ascii_digit());
        if number(&rest[..longer]).is_some() {
            len = longer;
        }
    }
    let text = &rest[..len];
    // `e5` is a name here.
    let number =
        number(text).filter(|_| text.starts_with(|c: char| c.is_ascii_digit() || c == '.'));
    (word(text).or(number).unwrap_or(Tok::Name), len)
}

/// The words that end a source or stand before one.
fn route_word(text: &str) -> Option<Tok> {
    word(text).filter(|tok| matches!(tok, Tok::Select | Tok::From | Tok::Where | Tok::Into))
}

/// Length of a `$`-name with its path: `$body.a[0]['odd key'].b`, `$['x-y']`.
fn dollar(rest: &str) -> usize {
    let after = &rest[1..];
    let hyphenated = HYPHENATED.iter().find(|name| {
        after
            .get(..name.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(name))
            && !after[name.len()..].starts_with(is_strict_name_char)
    });
    if let Some(name) = hyphenated {
        return 1 + name.len();
    }
    let mut len = 1;
    loop {
        let more = run(&rest[len..], is_strict_name_char);
        let more = if more == 0 {
            bracket(&rest[len..]).unwrap_or(0)
        } else {
            more
        };
        if more == 0 {
            return len;
        }
        len += more;
    }
}

/// Length of `[12]`, `['k']` or `["k"]`.
fn bracket(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('[')?;
    let len = match inner.as_bytes().first()? {
        b'\'' | b'"' => match scan_string(inner) {
            (Tok::Str, len) => len,
            _ => return None,
        },
        b'0'..=b'9' => run(inner, |c| c.is_ascii_digit()),
        _ => return None,
    };
    inner[len..].starts_with(']').then_some(len + 2)
}

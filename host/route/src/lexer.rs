//! Tokens.
//!
//! Compat mode takes the longest match, so that names swallow most operator signs (`a-b` is one
//! name); strict mode lets an operator sign end a name, and knows three zones with rules of their
//! own: source, condition, sink.

use crate::diagnostic::Span;
use crate::mode::Mode;

mod chars;
mod strict;

pub(crate) use chars::{is_blank, is_key_char, is_name_char};
use chars::{is_dollar_char, number, scan_string};

/// System properties whose names hold a `-`, which strict mode elsewhere reads as an operator.
pub(crate) const HYPHENATED: [&str; 3] =
    ["absolute-expiry-time", "iothub-interface-id", "dt-subject"];

/// Kinds of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tok {
    Select,
    From,
    Where,
    Into,
    Str,
    Unterminated,
    Int,
    Hex,
    Real,
    True,
    False,
    Null,
    Undefined,
    Open,
    Close,
    Comma,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    And,
    Or,
    Not,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Concat,
    Coalesce,
    BraceOpen,
    BraceClose,
    /// `$name`, `$body.path[0]`.
    Dollar,
    Name,
    /// Strict: `['any name']`.
    QuotedName,
    /// Compat: a name with brackets in it, which nothing accepts.
    Bracketed,
    Unknown,
    End,
}

/// A token and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub kind: Tok,
    pub span: Span,
}

/// Tokens of a text, an [`Tok::End`] last, and where comments stood.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub list: Vec<Token>,
    pub comments: Vec<Span>,
}

/// Whether a text is a route or a condition alone: strict mode reads a source differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextKind {
    Route,
    Condition,
}

/// Cuts a text into tokens. Never fails: what is no token is [`Tok::Unknown`].
pub(crate) fn tokens(text: &str, mode: Mode, kind: TextKind) -> Tokens {
    let mut out = Tokens {
        list: Vec::new(),
        comments: Vec::new(),
    };
    let mut zone = strict::Zone::Condition;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if is_blank(c) {
            at += c.len_utf8();
            continue;
        }
        let comments = mode == Mode::Compat || zone == strict::Zone::Condition;
        if let Some(len) = comment(rest).filter(|_| comments) {
            out.comments.push(Span::new(at, at + len));
            at += len;
            continue;
        }
        let (tok, len) = match mode {
            Mode::Compat => compat(rest, c),
            Mode::Strict => strict::token(rest, c, zone),
        };
        if mode == Mode::Strict && kind == TextKind::Route {
            zone = zone.after(tok);
        }
        out.list.push(Token {
            kind: tok,
            span: Span::new(at, at + len),
        });
        at += len;
    }
    out.list.push(Token {
        kind: Tok::End,
        span: Span::new(text.len(), text.len()),
    });
    out
}

/// Length of a comment; an unclosed one is none.
fn comment(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix("/*")?;
    Some(inner.find("*/")? + 4)
}

/// Length of the run of characters that satisfy a condition.
fn run(rest: &str, accept: impl Fn(char) -> bool) -> usize {
    rest.find(|c| !accept(c)).unwrap_or(rest.len())
}

/// Tokens that no name can be part of, the same in both modes.
fn sign(rest: &str, c: char) -> Option<(Tok, usize)> {
    let two = |second: char| rest[c.len_utf8()..].starts_with(second);
    Some(match c {
        '(' => (Tok::Open, 1),
        ')' => (Tok::Close, 1),
        ',' => (Tok::Comma, 1),
        '{' => (Tok::BraceOpen, 1),
        '}' => (Tok::BraceClose, 1),
        '/' => (Tok::Slash, 1),
        '=' => (Tok::Eq, 1),
        '!' if two('=') => (Tok::Ne, 2),
        '<' if two('>') => (Tok::Ne, 2),
        '<' if two('=') => (Tok::Le, 2),
        '<' => (Tok::Lt, 1),
        '>' if two('=') => (Tok::Ge, 2),
        '>' => (Tok::Gt, 1),
        '?' if two('?') => (Tok::Coalesce, 2),
        '?' | '@' | ';' | ':' | '\\' => (Tok::Unknown, 1),
        _ => return None,
    })
}

/// A word that is a keyword or literal.
fn word(text: &str) -> Option<Tok> {
    let keyword = [
        ("select", Tok::Select),
        ("from", Tok::From),
        ("where", Tok::Where),
        ("into", Tok::Into),
        ("and", Tok::And),
        ("or", Tok::Or),
        ("not", Tok::Not),
    ];
    if let Some((_, tok)) = keyword.iter().find(|(k, _)| text.eq_ignore_ascii_case(k)) {
        return Some(*tok);
    }
    // Literals are lower case only; `True` is a property.
    match text {
        "true" => Some(Tok::True),
        "false" => Some(Tok::False),
        "null" => Some(Tok::Null),
        "undefined" => Some(Tok::Undefined),
        _ => None,
    }
}

/// One token by the longest match (section 4): names may hold everything that numbers, keywords and
/// most operators consist of, so those stand only where the name ends with them.
fn compat(rest: &str, c: char) -> (Tok, usize) {
    if c == '"' {
        return scan_string(rest);
    }
    let name = run(rest, is_name_char);
    let dollar = run(rest, is_dollar_char);
    if name <= 1
        && let Some(found) = sign(rest, c)
    {
        return found;
    }
    if c == '\'' {
        let string = scan_string(rest);
        if string.1 >= dollar {
            return string;
        }
    }
    if dollar > name {
        return (
            if c == '$' {
                Tok::Dollar
            } else {
                Tok::Bracketed
            },
            dollar,
        );
    }
    let text = &rest[..name];
    let tok = match text {
        "+" => Tok::Plus,
        "-" => Tok::Minus,
        "*" => Tok::Star,
        "%" => Tok::Percent,
        "||" => Tok::Concat,
        _ if c == '$' && name > 1 => Tok::Dollar,
        _ => word(text).or_else(|| number(text)).unwrap_or(Tok::Name),
    };
    (tok, name)
}

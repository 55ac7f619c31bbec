//! A JSON document as a tree that knows where everything stands.
//!
//! Strict JSON (RFC 8259). The parser underneath reads a superset; what its switches cannot turn off
//! (control characters in strings, other white space) and its recursion are guarded by
//! [`scan`], which runs before.
//!
//! Positions are offsets in bytes plus a base, so that one number also tells the document
//! ([`crate::sources`]).

use jsonc_parser::ast;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

mod scan;
mod syntax;

pub(crate) use scan::MAX_DEPTH;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Its first byte.
    pub start: usize,
    /// The byte behind its last one.
    pub end: usize,
    /// What it is.
    pub value: Value,
}

/// A JSON value.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    String(String),
    Array(Vec<Node>),
    /// In the document's order; keys may repeat, which [`crate::checker`] reports.
    Object(Vec<Member>),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub key: String,
    /// The key's first byte: its quote.
    pub at: usize,
    pub node: Node,
}

impl Node {
    /// The value's kind, with its article.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        }
    }

    /// The value for a message: short ones in full, of others the kind.
    pub fn show(&self) -> String {
        match &self.value {
            Value::Bool(value) => value.to_string(),
            Value::Number(text) if text.len() <= 40 => text.clone(),
            Value::String(text) => crate::mistake::quote(text),
            _ => self.kind().to_owned(),
        }
    }
}

/// The member with this key.
pub(crate) fn get<'n>(members: &'n [Member], key: &str) -> Option<&'n Member> {
    members.iter().find(|member| member.key == key)
}

/// Why text is no JSON: the first place.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub at: usize,
    pub message: String,
    pub hint: Option<String>,
}

/// Parses a document. Positions in it and in the error are counted from `base`.
pub(crate) fn parse(text: &str, base: usize) -> Result<Node, SyntaxError> {
    const STRICT: ParseOptions = ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let place = |mut error: SyntaxError| {
        error.at += base;
        error
    };
    let scanned = scan::scan(text);
    if let Err(error @ scan::Fault { deep: true, .. }) = scanned {
        // The parser recurses: it must not see this.
        return Err(place(error.into()));
    }
    let parsed = parse_to_ast(text, &CollectOptions::default(), &STRICT);
    match (parsed, scanned) {
        (Ok(result), Ok(())) => match result.value {
            Some(value) => Ok(node(value, base)),
            None => Err(place(syntax::empty(text))),
        },
        (Ok(_), Err(fault)) => Err(place(fault.into())),
        (Err(error), Ok(())) => Err(place(syntax::explain(&error, text))),
        (Err(error), Err(fault)) => {
            // Behind the first mistake the other one may see ghosts.
            let error = syntax::explain(&error, text);
            Err(place(if fault.at <= error.at {
                fault.into()
            } else {
                error
            }))
        }
    }
}

fn node(value: ast::Value<'_>, base: usize) -> Node {
    use jsonc_parser::common::Ranged;
    let range = value.range();
    Node {
        start: base + range.start,
        end: base + range.end,
        value: match value {
            ast::Value::NullKeyword(_) => Value::Null,
            ast::Value::BooleanLit(lit) => Value::Bool(lit.value),
            ast::Value::NumberLit(lit) => Value::Number(lit.value.to_owned()),
            ast::Value::StringLit(lit) => Value::String(lit.value.into_owned()),
            ast::Value::Array(array) => {
                Value::Array(array.elements.into_iter().map(|v| node(v, base)).collect())
            }
            ast::Value::Object(object) => Value::Object(
                object
                    .properties
                    .into_iter()
                    .map(|property| Member {
                        at: base + property.range.start,
                        key: property.name.into_string(),
                        node: node(property.value, base),
                    })
                    .collect(),
            ),
        },
    }
}

/// For each byte of a string's value the byte of its literal that it comes from, and last the place
/// of the closing quote. `literal` is the string as the document has it, with both quotes.
pub(crate) fn literal_offsets(literal: &str) -> Vec<usize> {
    let close = literal.len().saturating_sub(1);
    let inner = literal.get(1..close).unwrap_or_default();
    let mut offsets = Vec::with_capacity(inner.len() + 1);
    let mut at = 0;
    while let Some(c) = inner[at..].chars().next() {
        let (taken, written) = if c == '\\' {
            escape(&inner[at..])
        } else {
            (c.len_utf8(), c.len_utf8())
        };
        offsets.extend(std::iter::repeat_n(at + 1, written));
        at += taken;
    }
    offsets.push(close);
    offsets
}

/// Bytes that the escape at the start of `text` takes, and bytes of what it stands for. The parser
/// has accepted it; what it would not have accepted counts as one byte.
fn escape(text: &str) -> (usize, usize) {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let Some(first) = unit(0) else {
        return (2.min(text.len()), 1);
    };
    match char::decode_utf16([Some(first), unit(6)].into_iter().flatten()).next() {
        Some(Ok(c)) => (6 * c.len_utf16(), c.len_utf8()),
        _ => (6, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_of_literals_follow_escapes() {
        let literal = r#""a\"b\u0041\u00e9\ud83d\ude00c""#;
        let Ok(Node {
            value: Value::String(value),
            ..
        }) = parse(literal, 0)
        else {
            panic!("a string");
        };
        assert_eq!(value, "a\"bAé😀c");
        let offsets = literal_offsets(literal);
        assert_eq!(offsets.len(), value.len() + 1);
        let of = |c: char| literal[offsets[value.find(c).expect("is in it")]..].to_owned();
        assert!(of('"').starts_with("\\\"b"));
        assert!(of('A').starts_with("\\u0041"));
        assert!(of('é').starts_with("\\u00e9"));
        assert!(of('😀').starts_with("\\ud83d"));
        assert!(of('c').starts_with("c\""));
        assert_eq!(offsets.last(), Some(&(literal.len() - 1)));
    }

    #[test]
    fn deep_nesting_is_refused_before_it_is_parsed() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(&deep(MAX_DEPTH), 0).is_ok());
        assert!(parse(&deep(MAX_DEPTH + 1), 0).is_err());
        assert!(parse(&"[".repeat(5_000_000), 0).is_err());
        assert!(parse(&"{\"a\":".repeat(1_000_000), 0).is_err());
    }

    #[test]
    fn nothing_but_json_is_accepted() {
        let bad = [
            "",
            " ",
            "{",
            "[1,]",
            "[1,,2]",
            "{,}",
            "{\"a\":1,}",
            "{a:1}",
            "'a'",
            "[0x1]",
            "[+1]",
            "[.5]",
            "[1.]",
            "[01]",
            "[NaN]",
            "[-Infinity]",
            "[1 2]",
            "{\"a\":1 \"b\":2}",
            "[\"\\x41\"]",
            "[\"\\'\"]",
            "[1]//",
            "/**/1",
            "[\"a\nb\"]",
            "[\u{b}1]",
            "[\u{a0}1]",
            "[\u{feff}1]",
            "[\"\u{0}\"]",
            "[] []",
            "[\"\\ud800\"]",
            "[\"",
            "[\"\\",
            "[\"\\u12",
            "tru",
            "[1}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\" 1}",
            "[-]",
            "[1e]",
            "[1e+]",
            "nulll",
        ];
        for text in bad {
            assert!(parse(text, 0).is_err(), "{text:?}");
            assert!(
                serde_json::from_str::<serde_json::Value>(text).is_err(),
                "{text:?}"
            );
        }
        for text in [
            "0",
            "[]",
            " {\"a\": [1, -2.5e3, \"\\u00e9\", null, true]} ",
            "\"\u{7f}\"",
            "[\"'\"]",
        ] {
            assert!(parse(text, 0).is_ok(), "{text:?}");
        }
    }
}

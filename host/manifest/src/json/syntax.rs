//! Syntax errors in words: what was found, what was expected.

use jsonc_parser::ParseStringErrorKind;
use jsonc_parser::errors::{ParseError, ParseErrorKind};

use super::SyntaxError;

/// A document without a value.
pub(super) fn empty(text: &str) -> SyntaxError {
    SyntaxError {
        at: text.len(),
        message: "the document is empty, expected an object".to_owned(),
        hint: None,
    }
}

pub(super) fn explain(error: &ParseError, text: &str) -> SyntaxError {
    use ParseErrorKind as Kind;
    let at = error.range().start.min(text.len());
    let here = found(text, at);
    let (message, hint) = match error.kind() {
        Kind::CommentsNotAllowed | Kind::UnterminatedCommentBlock => (
            "found a comment, which JSON does not have".to_owned(),
            Some("remove it"),
        ),
        Kind::TrailingCommasNotAllowed => (
            "found a comma before the closing bracket, expected one more element or none"
                .to_owned(),
            Some("remove the comma"),
        ),
        Kind::ExpectedComma => (
            "expected a comma between this and what follows".to_owned(),
            None,
        ),
        Kind::ExpectedColonAfterObjectKey => (
            format!("found {here}, expected a colon after the key"),
            None,
        ),
        Kind::ExpectedObjectValue => (
            format!("found {here}, expected a value after the colon"),
            None,
        ),
        Kind::ExpectedStringObjectProperty | Kind::UnexpectedTokenInObject => (
            format!("found {here}, expected a key in double quotes or the closing brace"),
            None,
        ),
        Kind::SingleQuotedStringsNotAllowed => (
            "found a single quote, expected strings in double quotes".to_owned(),
            None,
        ),
        Kind::UnterminatedObject => (
            "this object is not closed: found the end of the document, expected a closing brace"
                .to_owned(),
            None,
        ),
        Kind::UnterminatedArray => (
            "this array is not closed: found the end of the document, expected a closing bracket"
                .to_owned(),
            None,
        ),
        Kind::MultipleRootJsonValues => (
            format!("found {here}, expected the end of the document"),
            None,
        ),
        Kind::HexadecimalNumbersNotAllowed => (
            "found a hexadecimal number, expected a decimal one".to_owned(),
            None,
        ),
        Kind::UnaryPlusNumbersNotAllowed => (
            "found a number with a plus sign, expected none".to_owned(),
            None,
        ),
        Kind::BareDecimalPointNumbersNotAllowed => (
            "found a number that begins or ends with its point, expected digits on both sides"
                .to_owned(),
            None,
        ),
        Kind::NonFiniteNumbersNotAllowed => ("found a number that is not finite".to_owned(), None),
        Kind::ExpectedDigit
        | Kind::ExpectedDigitFollowingNegativeSign
        | Kind::ExpectedPlusMinusOrDigitInNumberLiteral => {
            (format!("found {here}, expected digits of a number"), None)
        }
        Kind::String(ParseStringErrorKind::UnterminatedStringLiteral) => (
            "this string is not closed: found the end of the document, expected a double quote"
                .to_owned(),
            None,
        ),
        Kind::String(ParseStringErrorKind::ExpectedFourHexDigits) => (
            "expected four hexadecimal digits after \\u".to_owned(),
            None,
        ),
        Kind::String(ParseStringErrorKind::InvalidUnicodeEscapeSequence(_)) => (
            "found half of a surrogate pair, expected both halves".to_owned(),
            None,
        ),
        Kind::String(_) => (
            "found an escape that JSON does not have".to_owned(),
            Some(r#"there are \" \\ \/ \b \f \n \r \t and \u with four hexadecimal digits"#),
        ),
        _ => (format!("found {here}, expected a value"), None),
    };
    SyntaxError {
        at,
        message,
        hint: hint.map(str::to_owned),
    }
}

/// What stands there, in a few characters.
fn found(text: &str, at: usize) -> String {
    let rest = text.get(at..).unwrap_or_default();
    match rest.chars().next() {
        None => "the end of the document".to_owned(),
        Some('"') => "a string".to_owned(),
        Some(c) if c.is_alphanumeric() => {
            let word: String = rest
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .take(20)
                .collect();
            format!("`{word}`")
        }
        Some(c) => format!("`{}`", c.escape_debug()),
    }
}

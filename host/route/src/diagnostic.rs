//! What is wrong with a text, and where.

use std::fmt;

use serde::Serialize;

/// A part of a text, in bytes; the end is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// From the start of this one to the end of another.
    pub fn to(self, other: Self) -> Self {
        Self::new(self.start, other.end)
    }

    pub fn of(self, text: &str) -> &str {
        text.get(self.start..self.end).unwrap_or_default()
    }
}

/// An error or a warning about a route or condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Line, from 1.
    pub line: u32,
    /// First column, from 1, in characters.
    pub column: u32,
    /// Column after the last one; what goes over several lines ends with the first.
    pub end_column: u32,
    /// What kind of fault.
    pub code: DiagnosticCode,
    /// What was found, what was expected, and what to write instead where that is known.
    pub message: String,
}

impl Diagnostic {
    pub(crate) fn new(
        text: &str,
        span: Span,
        code: DiagnosticCode,
        message: impl Into<String>,
    ) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        let first_line = span.of(text).split(['\r', '\n']).next().unwrap_or_default();
        // The end of the text is a place, too: one column wide.
        let width = first_line.chars().count().max(1);
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            line: narrow(line),
            column: narrow(column),
            end_column: narrow(column + width),
            code,
            message: message.into(),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.message
        )
    }
}

impl std::error::Error for Diagnostic {}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Kinds of faults. The text of each is stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
        #[non_exhaustive]
        pub enum DiagnosticCode {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl DiagnosticCode {
            /// The stable text.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// A character that no token begins with.
    InvalidSymbol = "invalid-symbol",
    /// A token where none of its kind may stand.
    Syntax = "syntax",
    /// A string without its closing quote, or with an escape that there is not.
    UnterminatedString = "unterminated-string",
    /// A parenthesis too many or too few.
    UnmatchedParenthesis = "unmatched-parenthesis",
    /// No function has this name.
    UnknownFunction = "unknown-function",
    /// The function exists, and not for routes from this source.
    FunctionUnavailable = "function-unavailable",
    /// Number or types of arguments.
    Arguments = "arguments",
    /// Types of operands.
    Operands = "operands",
    /// A body path that cannot be one.
    BodyPath = "body-path",
    /// A source that cannot be one.
    Source = "source",
    /// An endpoint that cannot be one.
    Endpoint = "endpoint",
    /// Parentheses and operators nested too deep.
    TooDeep = "too-deep",
    /// A text over the limit.
    TooLong = "too-long",
    /// Warning: a name with operator signs in it.
    OperatorInName = "operator-in-name",
    /// Warning, in strict mode an error: text after the end.
    TrailingText = "trailing-text",
    /// Warning: a comparison that an absent body value satisfies.
    AbsentCompares = "absent-compares",
    /// Warning: `is_null` of a body value says the opposite.
    InvertedIsNull = "inverted-is-null",
    /// Warning, in strict mode an error: a wildcard before the end of a source.
    InnerWildcard = "inner-wildcard",
    /// Warning, in strict mode an error: an address without `modules` and `inputs`.
    AddressWords = "address-words",
    /// Warning: a wildcard or address that begins a comment.
    CommentInRoute = "comment-in-route",
}

impl fmt::Display for DiagnosticCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

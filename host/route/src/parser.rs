//! The parser's cursor, and what parsing of routes and of expressions share.

use crate::diagnostic::{Diagnostic, DiagnosticCode, Span};
use crate::lexer::{TextKind, Tok, Token, Tokens, tokens};
use crate::mode::Mode;

mod expr;
mod parens;
mod route;

pub(crate) use route::{RawRoute, RawSink, SourceItem};

use crate::syntax::Expr;

/// Longest text of a route or condition, in bytes.
pub(crate) const MAX_TEXT: usize = 1 << 20;

/// A condition as parsed.
#[derive(Debug)]
pub(crate) struct RawCondition {
    /// None: the text is blank.
    pub expr: Option<Expr>,
    /// From its first token to its last.
    pub span: Span,
    /// How many tokens it has; a blank one counts as one.
    pub tokens: usize,
}

pub(crate) struct Parser<'a> {
    pub text: &'a str,
    pub mode: Mode,
    tokens: Tokens,
    at: usize,
    /// Calls under way of functions that call one another.
    depth: usize,
    /// Parentheses around that a `)` could close.
    open: usize,
    /// Tokens that are a `(` without its `)`.
    unclosed: Vec<usize>,
}

/// Parsing came to a place from where it cannot go on.
pub(crate) struct Stop(pub Diagnostic);

impl<'a> Parser<'a> {
    pub fn new(text: &'a str, mode: Mode, kind: TextKind) -> Result<Self, Diagnostic> {
        if text.len() > MAX_TEXT {
            return Err(Diagnostic::new(
                text,
                Span::new(0, 0),
                DiagnosticCode::TooLong,
                format!("the text has {} bytes; {MAX_TEXT} are allowed", text.len()),
            ));
        }
        Ok(Self {
            text,
            mode,
            tokens: tokens(text, mode, kind),
            at: 0,
            depth: 0,
            open: 0,
            unclosed: Vec::new(),
        })
    }

    pub fn comments(&self) -> &[Span] {
        &self.tokens.comments
    }

    pub fn peek(&self) -> Token {
        // The last token is `End`, and nothing goes past it.
        self.tokens.list[self.at.min(self.tokens.list.len() - 1)]
    }

    fn peek_second(&self) -> Tok {
        self.tokens
            .list
            .get(self.at + 1)
            .map_or(Tok::End, |t| t.kind)
    }

    fn previous_end(&self) -> usize {
        self.at
            .checked_sub(1)
            .and_then(|i| self.tokens.list.get(i))
            .map_or(0, |t| t.span.end)
    }

    pub fn next(&mut self) -> Token {
        let token = self.peek();
        if token.kind != Tok::End {
            self.at += 1;
        }
        token
    }

    fn eat(&mut self, kind: Tok) -> Option<Token> {
        (self.peek().kind == kind).then(|| self.next())
    }

    pub fn diagnostic(
        &self,
        span: Span,
        code: DiagnosticCode,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::new(self.text, span, code, message)
    }

    /// The fault at the next token: what it is, what was expected there, and more if it helps.
    fn unexpected(&self, expected: &str, hint: &str) -> Stop {
        let token = self.peek();
        let text = token.span.of(self.text);
        let mut message = match token.kind {
            Tok::Unterminated => unterminated(text),
            Tok::End => format!("the text ends here; expected {expected}"),
            _ => format!("found `{text}`; expected {expected}"),
        };
        if !hint.is_empty() && token.kind != Tok::Unterminated {
            message.push_str(": ");
            message.push_str(hint);
        }
        if let Some(comment) = self.comment_before(token) {
            let column = self.diagnostic(comment, DiagnosticCode::Syntax, "").column;
            message.push_str(&format!(
                " (the text from `/*` in column {column} to `*/` is read as a comment)"
            ));
        }
        let code = match token.kind {
            Tok::Unknown => DiagnosticCode::InvalidSymbol,
            Tok::Unterminated => DiagnosticCode::UnterminatedString,
            Tok::Close => DiagnosticCode::UnmatchedParenthesis,
            _ => DiagnosticCode::Syntax,
        };
        Stop(self.diagnostic(token.span, code, message))
    }

    /// A comment that may be to blame for what comes right after it or is missing at the end.
    fn comment_before(&self, token: Token) -> Option<Span> {
        let mut before = self.comments().iter().rev();
        let last = before.find(|c| c.end <= token.span.start).copied()?;
        (token.kind == Tok::End || last.end == token.span.start).then_some(last)
    }

    /// A condition from here on. What follows it is left.
    pub fn condition(&mut self) -> Result<RawCondition, Stop> {
        let (first, start) = (self.at, self.peek());
        if start.kind == Tok::End {
            return Ok(RawCondition {
                expr: None,
                span: start.span,
                tokens: 1,
            });
        }
        self.unclosed = parens::unclosed(&self.tokens.list, first);
        let expr = self.expression(0)?;
        Ok(RawCondition {
            expr: Some(expr),
            span: Span::new(start.span.start, self.previous_end()),
            tokens: self.at - first,
        })
    }

    /// What to say about text after the end of a condition.
    pub fn leftover(&self, expected: &str) -> Stop {
        let token = self.peek();
        let text = token.span.of(self.text);
        let hint = match (token.kind, text) {
            (Tok::Unknown | Tok::Name, "&" | "&&") => "write AND".to_owned(),
            (Tok::Unknown, "|") => "write OR, or || to join strings".to_owned(),
            (Tok::Unknown, "!") => "write NOT or !=".to_owned(),
            (Tok::Int | Tok::Real, _) if text.starts_with('-') => {
                format!(
                    "a sign directly before a number belongs to it: write - {}",
                    &text[1..]
                )
            }
            (Tok::Name, _) => crate::suggest::nearest(text, ["AND", "OR", "INTO", "WHERE"])
                .map(|word| format!("did you mean {word}?"))
                .unwrap_or_default(),
            _ => String::new(),
        };
        self.unexpected(expected, &hint)
    }
}

/// The message about an unterminated string.
fn unterminated(text: &str) -> String {
    let quote = text.chars().next().unwrap_or('\'');
    format!(
        "unterminated string: expected a closing {quote}; within a string only \\\" \\' \\\\ and \\uXXXX are escapes"
    )
}

//! Conditions: compiled once, evaluated for each message.

use std::sync::Arc;

use crate::body::Body;
use crate::check::check;
use crate::diagnostic::{Diagnostic, DiagnosticCode, Span};
use crate::eval::Env;
use crate::ir::Node;
use crate::lexer::{TextKind, Tok};
use crate::mode::Mode;
use crate::parser::{Parser, RawCondition};
use crate::path::BodyPath;
use crate::value::{Truth, Value};
use crate::view::MessageView;

/// What a condition may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileOptions {
    /// The dialect.
    pub mode: Mode,
    /// Whether it is for changes of twins: only then is there `twin_change_includes`.
    pub twin_source: bool,
    /// Parts of the language that can be switched off.
    pub features: Features,
}

/// Parts of the language that can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// `$body.…`; without it that is a system property of a strange name.
    pub body_query: bool,
    /// `twin_change_includes`.
    pub twin_change_includes: bool,
}

impl CompileOptions {
    /// What a hub offers for messages in this mode: body queries, and in strict mode
    /// `twin_change_includes` for sources of twin changes.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            twin_source: false,
            features: Features {
                body_query: true,
                twin_change_includes: mode == Mode::Strict,
            },
        }
    }
}

/// What an expression comes to, outside of a condition.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// No value.
    Undefined,
    /// Null.
    Null,
    /// True or false.
    Bool(bool),
    /// A number; infinite after an overflow.
    Number(f64),
    /// A string.
    String(String),
}

impl From<Value<'_>> for Scalar {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Undefined => Self::Undefined,
            Value::Null | Value::Missing | Value::NullStr => Self::Null,
            Value::Bool(b) => Self::Bool(b),
            Value::Num(n) => Self::Number(n),
            Value::Str(s) => Self::String(s.into_owned()),
        }
    }
}

/// A compiled condition. Cheap to evaluate, and it may be evaluated by many at once.
#[derive(Debug, Clone)]
pub struct Condition {
    /// The text that it was compiled from, which may be a whole route's.
    text: Arc<str>,
    span: Span,
    node: Node,
    tokens: usize,
}

impl Condition {
    /// Compiles a condition that stands alone. In compat mode it ends where it cannot go on, and
    /// what follows is ignored; blank ones are undefined.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(text: &str, options: &CompileOptions) -> Result<Self, Vec<Diagnostic>> {
        Self::compile_with_warnings(text, options).map(|(condition, _)| condition)
    }

    /// As [`compile`](Self::compile), with what compat mode takes without a word.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile_with_warnings(
        text: &str,
        options: &CompileOptions,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut parser =
            Parser::new(text, options.mode, TextKind::Condition).map_err(|d| vec![d])?;
        let raw = parser.condition().map_err(|stop| vec![stop.0])?;
        let mut warnings = Vec::new();
        if parser.peek().kind != Tok::End {
            if options.mode == Mode::Strict {
                return Err(vec![
                    parser.leftover("an operator or the end of the condition").0,
                ]);
            }
            let rest = Span::new(parser.peek().span.start, text.trim_end().len());
            let message = format!(
                "`{}` is ignored: the condition ends before it",
                rest.of(text)
            );
            warnings.push(parser.diagnostic(rest, DiagnosticCode::TrailingText, message));
        }
        let condition = Self::new(raw, &text.into(), options, &mut warnings)?;
        Ok((condition, warnings))
    }

    /// Compiles a parsed condition of a text.
    pub(crate) fn new(
        raw: RawCondition,
        text: &Arc<str>,
        options: &CompileOptions,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<Self, Vec<Diagnostic>> {
        Ok(Self {
            node: check(raw.expr.as_ref(), text, options, warnings)?,
            text: Arc::clone(text),
            span: raw.span,
            tokens: raw.tokens,
        })
    }

    /// What the condition comes to for a message. `body` holds the parsed body of this very message
    /// or nothing yet; [`Body::clear`] it between messages.
    pub fn evaluate(&self, view: &(impl MessageView + ?Sized), body: &mut Body) -> Truth {
        self.truth(view, body).0
    }

    /// The same, and whether the body was asked for in vain.
    pub(crate) fn truth(&self, view: &(impl MessageView + ?Sized), body: &Body) -> (Truth, bool) {
        let env = Env::new(view, body);
        let truth = env.truth(&self.node);
        (truth, env.unreadable.get())
    }

    /// The value before it becomes a truth.
    pub fn value(&self, view: &(impl MessageView + ?Sized), body: &mut Body) -> Scalar {
        Env::new(view, body).eval(&self.node).into()
    }

    /// The complexity of a text whose types are not looked at.
    ///
    /// # Errors
    /// What keeps it from being parsed.
    pub fn complexity_of(text: &str, mode: Mode) -> Result<usize, Diagnostic> {
        let raw = Parser::new(text, mode, TextKind::Condition)?.condition();
        raw.map(|raw| raw.tokens).map_err(|stop| stop.0)
    }

    /// Number of tokens, which bounds the work of evaluating it.
    pub fn complexity(&self) -> usize {
        self.tokens
    }

    /// The condition as written, white space included.
    pub fn text(&self) -> &str {
        self.span.of(&self.text)
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// The text that spans of nodes refer to.
    pub(crate) fn full_text(&self) -> &str {
        &self.text
    }

    pub(crate) fn paths_mut(&mut self, mut f: impl FnMut(&mut BodyPath, Option<&str>)) {
        self.node.paths_mut(&mut f);
    }
}

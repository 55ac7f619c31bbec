//! Routes, compiled.

use std::sync::Arc;

use crate::condition::{CompileOptions, Condition};
use crate::diagnostic::{Diagnostic, DiagnosticCode, Span};
use crate::endpoint::{EndpointError, RouteEndpoint};
use crate::lexer::{TextKind, Tok};
use crate::mode::Mode;
use crate::parser::{Parser, RawRoute, RawSink};
use crate::source::SourcePattern;

/// `FROM <source> WHERE <condition> INTO <endpoint>`, with everything in it checked.
#[derive(Debug, Clone)]
pub struct Route {
    text: Arc<str>,
    mode: Mode,
    source: SourcePattern,
    condition: Condition,
    endpoint: RouteEndpoint,
    warnings: Vec<Diagnostic>,
}

/// What the condition of a route without `WHERE` is.
const ALWAYS: &str = "true";

impl Route {
    /// Compiles a route; none for a blank text. What comes back is right in syntax and types.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the text.
    pub fn compile(text: &str, mode: Mode) -> Result<Option<Self>, Vec<Diagnostic>> {
        let mut parser = Parser::new(text, mode, TextKind::Route).map_err(|d| vec![d])?;
        let Some(mut raw) = parser.route().map_err(|stop| vec![stop.0])? else {
            return Ok(None);
        };
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        let at = |span, code, message: String| Diagnostic::new(text, span, code, message);

        let source = SourcePattern::from_items(&raw.source, mode);
        let source = source.map_err(|(span, code, message)| errors.push(at(span, code, message)));
        let shared: Arc<str> = text.into();
        let mut options = CompileOptions::new(mode);
        // Compat keeps to the peer, which never offers the function.
        options.twin_source = source.as_ref().is_ok_and(SourcePattern::is_twin_change);
        let condition = match raw.condition.take() {
            Some(condition) => Condition::new(condition, &shared, &options, &mut warnings),
            None => Condition::compile(ALWAYS, &options),
        };
        let condition = condition.map_err(|mut more| errors.append(&mut more));
        let (endpoint, span) = match &raw.sink {
            RawSink::System(span) => (RouteEndpoint::system(span.of(text)), *span),
            RawSink::Function {
                name,
                address,
                value,
            } => {
                let endpoint = RouteEndpoint::function(name.of(text), value, mode);
                let span = match endpoint {
                    Err(EndpointError::UnknownFunction(..)) => *name,
                    _ => *address,
                };
                (endpoint, span)
            }
        };
        let code = match endpoint {
            Err(EndpointError::Word { .. }) => DiagnosticCode::AddressWords,
            _ => DiagnosticCode::Endpoint,
        };
        let endpoint = endpoint.map_err(|error| errors.push(at(span, code, error.to_string())));
        if let Some(rest) = raw.trailing {
            let rest_text = rest.of(text);
            let code = DiagnosticCode::TrailingText;
            match mode {
                Mode::Strict => {
                    errors.push(at(
                        rest,
                        code,
                        format!("found `{rest_text}` after the endpoint; expected the end"),
                    ));
                }
                Mode::Compat => warnings.push(at(
                    rest,
                    code,
                    format!("`{rest_text}` is ignored: the route ends before it"),
                )),
            }
        }
        let (Ok(source), Ok(condition), Ok(endpoint)) = (source, condition, endpoint) else {
            return Err(errors);
        };
        if !errors.is_empty() {
            return Err(errors);
        }
        if mode == Mode::Compat {
            lint(&raw, &parser, &mut warnings);
            warnings.sort_by_key(|w| (w.line, w.column));
        }
        Ok(Some(Self {
            text: shared,
            mode,
            source,
            condition,
            endpoint,
            warnings,
        }))
    }

    /// A route from its parts, the condition compiled alone; the source is read as in compat mode.
    ///
    /// # Errors
    /// Everything that is wrong with the condition.
    pub fn from_parts(
        source: &str,
        condition: &str,
        endpoint: RouteEndpoint,
        mode: Mode,
    ) -> Result<Self, Vec<Diagnostic>> {
        let source = SourcePattern::new(source);
        let mut options = CompileOptions::new(mode);
        options.twin_source = source.is_twin_change();
        let (condition, warnings) = Condition::compile_with_warnings(condition, &options)?;
        Ok(Self {
            text: condition.full_text().into(),
            mode,
            source,
            condition,
            endpoint,
            warnings,
        })
    }

    /// The route as written, or the condition if it was made from parts.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The dialect.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Which messages it takes.
    pub fn source(&self) -> &SourcePattern {
        &self.source
    }

    /// On what condition; `true` where there is no `WHERE`.
    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// The condition as written; `true` where there is no `WHERE`.
    pub fn condition_text(&self) -> &str {
        self.condition.text()
    }

    /// Where it leads.
    pub fn endpoint(&self) -> &RouteEndpoint {
        &self.endpoint
    }

    /// What is taken without a word in compat mode and probably not meant. None in strict mode.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    pub(crate) fn condition_mut(&mut self) -> &mut Condition {
        &mut self.condition
    }
}

/// Warnings about source and sink (section 13, items 9 to 12).
fn lint(raw: &RawRoute, parser: &Parser<'_>, warnings: &mut Vec<Diagnostic>) {
    let mut warn =
        |span: Span, code, message: String| warnings.push(parser.diagnostic(span, code, message));
    let last = raw.source.len().saturating_sub(1);
    for (i, item) in raw.source.iter().enumerate() {
        let name = &item.text;
        if name.contains('*') && (i < last || name != "*") {
            let message = match name.as_str() {
                "*" => "a `*` before the end of a source matches only the letter `*`".to_owned(),
                _ => format!("`{name}` is no pattern: `*` stands for whole parts, at the end"),
            };
            warn(item.span, DiagnosticCode::InnerWildcard, message);
        }
    }
    let sink_start = match &raw.sink {
        RawSink::System(span) => span.start,
        RawSink::Function {
            name,
            address,
            value,
        } => {
            if let Err(error @ EndpointError::Word { .. }) =
                RouteEndpoint::function(name.of(parser.text), value, Mode::Strict)
            {
                warn(*address, DiagnosticCode::AddressWords, error.to_string());
            }
            name.start
        }
    };
    for comment in parser.comments() {
        let in_source = (raw.source_span.start..=raw.source_span.end).contains(&comment.start);
        if in_source || comment.start >= sink_start {
            let message = "the text from `/*` to `*/` is a comment, not a part of the route";
            warn(*comment, DiagnosticCode::CommentInRoute, message.to_owned());
        }
    }
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "FROM {} WHERE {} INTO {}",
            self.source,
            self.condition_text(),
            self.endpoint
        )
    }
}

/// Whether a text holds a route at all: blank ones do not.
pub fn is_blank(text: &str) -> bool {
    Parser::new(text, Mode::Compat, TextKind::Route)
        .is_ok_and(|parser| parser.peek().kind == Tok::End)
}

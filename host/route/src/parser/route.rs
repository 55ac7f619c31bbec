//! Routes (section 1).

use super::{Parser, RawCondition, Stop};
use crate::diagnostic::{DiagnosticCode, Span};
use crate::lexer::{Tok, Token};
use crate::literal;
use crate::mode::Mode;

/// A route as parsed; its parts are not looked into yet.
#[derive(Debug)]
pub(crate) struct RawRoute {
    pub source: Vec<SourceItem>,
    pub source_span: Span,
    /// None: no `WHERE`.
    pub condition: Option<RawCondition>,
    pub sink: RawSink,
    /// Where text begins that follows a complete sink.
    pub trailing: Option<Span>,
}

/// A step of a source path.
#[derive(Debug)]
pub(crate) struct SourceItem {
    pub text: String,
    pub span: Span,
    /// It is in quotes, so a `*` in it is no wildcard.
    pub quoted: bool,
}

/// Where a route leads, as written.
#[derive(Debug)]
pub(crate) enum RawSink {
    System(Span),
    Function {
        name: Span,
        address: Span,
        value: String,
    },
}

impl Parser<'_> {
    /// A route; none for a blank text.
    pub fn route(&mut self) -> Result<Option<RawRoute>, Stop> {
        if self.peek().kind == Tok::End {
            return Ok(None);
        }
        if self.eat(Tok::Select).is_some() && self.eat(Tok::Star).is_none() {
            return Err(self.unexpected(
                "`*`",
                "a route passes whole messages on: write SELECT * or leave it out",
            ));
        }
        if self.eat(Tok::From).is_none() {
            let text = self.peek().span.of(self.text);
            let hint = match crate::suggest::nearest(text, ["FROM", "SELECT"]) {
                Some(word) => format!("did you mean {word}?"),
                None => "a route is FROM <source> WHERE <condition> INTO <endpoint>".to_owned(),
            };
            return Err(self.unexpected("FROM", &hint));
        }
        let (source, source_span) = self.source()?;
        let condition = match self.eat(Tok::Where) {
            Some(_) if self.peek().kind == Tok::End => {
                return Err(self.unexpected("a condition", ""));
            }
            Some(_) => Some(self.condition()?),
            None => None,
        };
        if self.eat(Tok::Into).is_none() {
            let expected = match condition {
                Some(_) => "an operator or INTO",
                None => "`/`, WHERE or INTO",
            };
            return Err(self.leftover(expected));
        }
        let sink = self.sink()?;
        let rest = self.peek();
        let trailing =
            (rest.kind != Tok::End).then(|| Span::new(rest.span.start, self.text.trim_end().len()));
        Ok(Some(RawRoute {
            source,
            source_span,
            condition,
            sink,
            trailing,
        }))
    }

    fn source(&mut self) -> Result<(Vec<SourceItem>, Span), Stop> {
        let start = self.peek().span;
        if self.peek().kind != Tok::Slash {
            return Err(self.unexpected(
                "a source",
                "it begins with `/`, as in /messages/modules/m/outputs/*",
            ));
        }
        let mut items = Vec::new();
        while self.eat(Tok::Slash).is_some() {
            items.push(self.item()?);
        }
        let end = items.last().map_or(start, |item: &SourceItem| item.span);
        Ok((items, start.to(end)))
    }

    fn item(&mut self) -> Result<SourceItem, Stop> {
        let Token { kind, span } = self.peek();
        let text = span.of(self.text);
        let quoted = kind == Tok::Str && self.mode == Mode::Strict;
        let text = match kind {
            Tok::Star | Tok::Name => text.to_owned(),
            Tok::Str if quoted => literal::string(text, self.mode),
            Tok::Into | Tok::Where | Tok::End | Tok::Slash => {
                return Err(self.unexpected("a name or `*`", "a source does not end with `/`"));
            }
            _ if self.mode == Mode::Strict => {
                return Err(
                    self.unexpected("a name or `*`", "put a name like this in quotes: 'name'")
                );
            }
            _ => {
                return Err(self.unexpected(
                    "a name or `*`",
                    "keywords, numbers, and names with one of ( ) < > @ , ; : \\ \" [ ] ? = { } or a leading $ cannot be a part of a source",
                ));
            }
        };
        if quoted && (text.is_empty() || text.contains('/')) {
            return Err(Stop(self.diagnostic(
                span,
                DiagnosticCode::Source,
                "a quoted part of a source must not be empty or hold a `/`",
            )));
        }
        self.next();
        Ok(SourceItem { text, span, quoted })
    }

    fn sink(&mut self) -> Result<RawSink, Stop> {
        const FORMS: &str = "$upstream or BrokeredEndpoint(\"/modules/<module>/inputs/<input>\")";
        if let Some(token) = self.eat(Tok::Dollar) {
            return Ok(RawSink::System(token.span));
        }
        let Some(name) = self.eat(Tok::Name) else {
            return Err(self.unexpected("an endpoint", FORMS));
        };
        if self.eat(Tok::Open).is_none() {
            return Err(self.unexpected("`(`", FORMS));
        }
        let Some(address) = self.eat(Tok::Str) else {
            return Err(self.unexpected("an address in quotes", FORMS));
        };
        if self.eat(Tok::Close).is_none() {
            return Err(self.unexpected("`)`", ""));
        }
        let text = address.span.of(self.text);
        let value = match self.mode {
            // Escapes in an address were never resolved.
            Mode::Compat => text.get(1..text.len() - 1).unwrap_or_default().to_owned(),
            Mode::Strict => literal::string(text, self.mode),
        };
        Ok(RawSink::Function {
            name: name.span,
            address: address.span,
            value,
        })
    }
}

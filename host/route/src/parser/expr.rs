//! Expressions, by precedence climbing (section 8).

use super::{Parser, Stop, unterminated};
use crate::diagnostic::{DiagnosticCode, Span};
use crate::lexer::Tok;
use crate::literal;
use crate::syntax::{BinaryOp, Expr, ExprKind, Fault, LogicOp};

/// Deepest nesting, of parentheses and operators together: evaluation goes as deep as the tree.
const MAX_DEPTH: usize = 250;

/// Binding power of what stands tighter than every binary operator.
const PREFIX: u8 = 8;

enum Infix {
    Binary(BinaryOp),
    Logic(LogicOp),
    /// A character that is nothing, between two operands.
    Unknown,
}

fn infix(tok: Tok) -> Option<(u8, Infix)> {
    use BinaryOp as B;
    Some(match tok {
        Tok::Star => (7, Infix::Binary(B::Mul)),
        Tok::Slash => (7, Infix::Binary(B::Div)),
        Tok::Percent => (7, Infix::Binary(B::Mod)),
        Tok::Plus => (6, Infix::Binary(B::Add)),
        Tok::Minus => (6, Infix::Binary(B::Sub)),
        Tok::Concat => (6, Infix::Binary(B::Concat)),
        Tok::Lt => (5, Infix::Binary(B::Lt)),
        Tok::Le => (5, Infix::Binary(B::Le)),
        Tok::Gt => (5, Infix::Binary(B::Gt)),
        Tok::Ge => (5, Infix::Binary(B::Ge)),
        Tok::Eq => (4, Infix::Binary(B::Eq)),
        Tok::Ne => (4, Infix::Binary(B::Ne)),
        Tok::And => (3, Infix::Logic(LogicOp::And)),
        Tok::Or => (2, Infix::Logic(LogicOp::Or)),
        Tok::Coalesce => (1, Infix::Binary(B::Coalesce)),
        Tok::Unknown => (0, Infix::Unknown),
        _ => return None,
    })
}

fn starts_expression(tok: Tok) -> bool {
    matches!(
        tok,
        Tok::Str
            | Tok::Unterminated
            | Tok::Int
            | Tok::Hex
            | Tok::Real
            | Tok::True
            | Tok::False
            | Tok::Null
            | Tok::Undefined
            | Tok::Open
            | Tok::Minus
            | Tok::Not
            | Tok::BraceOpen
            | Tok::Dollar
            | Tok::Name
            | Tok::QuotedName
            | Tok::Unknown
    )
}

impl Parser<'_> {
    /// An expression of operators that bind at least as tight as `min`.
    pub(super) fn expression(&mut self, min: u8) -> Result<Expr, Stop> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.too_deep(self.peek().span));
        }
        let mut left = self.operand()?;
        while let Some((power, infix)) = infix(self.peek().kind).filter(|(power, _)| *power >= min)
        {
            let op = self.next().span;
            let doubled = op.of(self.text) == "=" && self.peek().kind == Tok::Eq;
            if !starts_expression(self.peek().kind) {
                let hint = if doubled {
                    "equality is written with one ="
                } else {
                    ""
                };
                return Err(self.unexpected(&format!("an operand of `{}`", op.of(self.text)), hint));
            }
            let right = self.expression(power + 1)?;
            left = self.join(left, op, &infix, right)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn join(&self, left: Expr, op: Span, infix: &Infix, right: Expr) -> Result<Expr, Stop> {
        let span = left.span.to(right.span);
        let depth = left.depth.max(right.depth) + 1;
        if depth > MAX_DEPTH {
            return Err(self.too_deep(op));
        }
        let (kind, depth) = match infix {
            Infix::Unknown => (self.invalid_symbol(op), 1),
            Infix::Binary(binary) => (
                ExprKind::Binary(*binary, op, Box::new([left, right])),
                depth,
            ),
            Infix::Logic(logic) => match left.kind {
                // One in parentheses is a thing of its own, told by its span.
                ExprKind::Logic(same, first, mut more)
                    if same == *logic && left.span.start == first.span.start =>
                {
                    let depth = left.depth.max(right.depth + 1);
                    more.push((op, right));
                    (ExprKind::Logic(same, first, more), depth)
                }
                _ => (
                    ExprKind::Logic(*logic, Box::new(left), vec![(op, right)]),
                    depth,
                ),
            },
        };
        Ok(Expr { kind, span, depth })
    }

    fn too_deep(&self, span: Span) -> Stop {
        Stop(self.diagnostic(
            span,
            DiagnosticCode::TooDeep,
            format!(
                "the condition is nested deeper than {MAX_DEPTH} levels: split the route in two"
            ),
        ))
    }

    fn invalid_symbol(&self, span: Span) -> ExprKind {
        let symbol = span.of(self.text);
        let hint = match symbol {
            "&" => ": write AND",
            "|" => ": write OR, or || to join strings",
            "!" => ": write NOT or !=",
            "?" => ": write ?? for a default",
            "[" => ": a name in brackets is written ['name']",
            _ => "",
        };
        ExprKind::Fault(Fault {
            code: DiagnosticCode::InvalidSymbol,
            span,
            message: format!("invalid symbol `{symbol}`; expected an operator or operand{hint}"),
        })
    }

    fn operand(&mut self) -> Result<Expr, Stop> {
        let token = self.peek();
        let leaf = |kind| Expr {
            kind,
            span: token.span,
            depth: 1,
        };
        let text = token.span.of(self.text);
        let kind = match token.kind {
            Tok::True => ExprKind::Bool(true),
            Tok::False => ExprKind::Bool(false),
            Tok::Null => ExprKind::Null,
            Tok::Undefined => ExprKind::Undefined,
            Tok::Int | Tok::Hex | Tok::Real => {
                literal::number(token.kind, text).map_or(ExprKind::Undefined, ExprKind::Num)
            }
            Tok::Str => ExprKind::Str(literal::string(text, self.mode)),
            Tok::Unterminated => ExprKind::Fault(Fault {
                code: DiagnosticCode::UnterminatedString,
                span: token.span,
                message: unterminated(text),
            }),
            Tok::Name if self.peek_second() == Tok::Open => return self.call(),
            Tok::Name => ExprKind::App(text.to_owned()),
            Tok::QuotedName => {
                let inner = text.get(1..text.len() - 1).unwrap_or_default();
                ExprKind::App(literal::string(inner, self.mode))
            }
            Tok::Dollar => ExprKind::Dollar {
                name: text[1..].to_owned(),
                escaped: false,
            },
            Tok::BraceOpen => return self.braced(),
            Tok::Minus | Tok::Not => return self.prefixed(),
            Tok::Open => return self.parenthesized(),
            Tok::Unknown => {
                self.next();
                let kind = self.invalid_symbol(token.span);
                if starts_expression(self.peek().kind) {
                    self.expression(0)?;
                }
                return Ok(leaf(kind));
            }
            Tok::Bracketed => {
                return Err(self.unexpected(
                    "a value",
                    "brackets belong to body paths, as in $body.list[0]",
                ));
            }
            Tok::Select | Tok::From | Tok::Where | Tok::Into => {
                return Err(self.unexpected(
                    "a value",
                    "this word is a keyword and cannot name a property",
                ));
            }
            _ => return Err(self.unexpected("a value, a property, a function or `(`", "")),
        };
        self.next();
        Ok(leaf(kind))
    }

    /// `- x`, `NOT x`: both bind tighter than every binary operator.
    fn prefixed(&mut self) -> Result<Expr, Stop> {
        let op = self.next();
        let inner = self.expression(PREFIX)?;
        let (span, depth) = (op.span.to(inner.span), inner.depth + 1);
        let inner = Box::new(inner);
        let kind = match op.kind {
            Tok::Not => ExprKind::Not(op.span, inner),
            _ => ExprKind::Negate(op.span, inner),
        };
        Ok(Expr { kind, span, depth })
    }

    /// `{$name}`: the system property, whatever application properties there are.
    fn braced(&mut self) -> Result<Expr, Stop> {
        let open = self.next().span;
        let Some(name) = self.eat(Tok::Dollar) else {
            return Err(self.unexpected("a system property", "braces are written {$name}"));
        };
        let Some(close) = self.eat(Tok::BraceClose) else {
            return Err(self.unexpected("`}`", ""));
        };
        Ok(Expr {
            kind: ExprKind::Dollar {
                name: name.span.of(self.text)[1..].to_owned(),
                escaped: true,
            },
            span: open.to(close.span),
            depth: 1,
        })
    }

    fn parenthesized(&mut self) -> Result<Expr, Stop> {
        let index = self.at;
        let open = self.next().span;
        if self.unclosed.contains(&index) {
            let inner = self.expression(0)?;
            return Ok(Expr {
                kind: ExprKind::Fault(Fault {
                    code: DiagnosticCode::UnmatchedParenthesis,
                    span: open,
                    message: "this `(` is never closed; expected a `)`".to_owned(),
                }),
                span: open.to(inner.span),
                depth: 1,
            });
        }
        self.open += 1;
        let mut inner = self.expression(0)?;
        let Some(close) = self.eat(Tok::Close) else {
            return Err(self.leftover("an operator or `)`"));
        };
        self.open -= 1;
        inner.span = open.to(close.span);
        Ok(self.extra_close(inner))
    }

    fn call(&mut self) -> Result<Expr, Stop> {
        let name = self.next().span;
        self.next();
        self.open += 1;
        let mut args = Vec::new();
        if self.peek().kind != Tok::Close {
            loop {
                args.push(self.expression(0)?);
                if self.eat(Tok::Comma).is_none() {
                    break;
                }
            }
        }
        let Some(close) = self.eat(Tok::Close) else {
            return Err(self.leftover("an operator, `,` or `)`"));
        };
        self.open -= 1;
        let depth = args.iter().map(|a| a.depth).max().unwrap_or(0) + 1;
        if depth > MAX_DEPTH {
            return Err(self.too_deep(name));
        }
        Ok(self.extra_close(Expr {
            kind: ExprKind::Call { name, args },
            span: name.to(close.span),
            depth,
        }))
    }

    /// A `)` after something closed, with nothing left to close.
    fn extra_close(&mut self, inner: Expr) -> Expr {
        if self.open > 0 || self.peek().kind != Tok::Close {
            return inner;
        }
        let span = self.next().span;
        Expr {
            kind: ExprKind::Fault(Fault {
                code: DiagnosticCode::UnmatchedParenthesis,
                span,
                message: "this `)` closes nothing".to_owned(),
            }),
            span: inner.span.to(span),
            depth: 1,
        }
    }
}

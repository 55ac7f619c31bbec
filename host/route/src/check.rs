//! Types and names: from a syntax tree to a compiled one, or to everything that is wrong with it
//! (sections 5 to 9).

use crate::body::Reader;
use crate::condition::CompileOptions;
use crate::diagnostic::{Diagnostic, DiagnosticCode, Span};
use crate::ir::{Arith, Node, NotANumber, Op, Rule};
use crate::mode::Mode;
use crate::path::BodyPath;
use crate::syntax::{BinaryOp, Expr, ExprKind};
use crate::text::strip_prefix_ignoring_case;
use crate::value::Type;

mod calls;
mod describe;
mod logic;
mod warnings;

/// Compiles an expression of `text`; none is a blank condition.
pub(crate) fn check(
    expr: Option<&Expr>,
    text: &str,
    options: &CompileOptions,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Node, Vec<Diagnostic>> {
    let mut checker = Checker {
        text,
        options,
        errors: Vec::new(),
        warnings,
    };
    let node = match expr {
        Some(expr) => checker.visit(expr),
        None => undefined(Span::new(0, 0)),
    };
    if checker.errors.is_empty() {
        Ok(node)
    } else {
        Err(checker.errors)
    }
}

struct Checker<'a> {
    text: &'a str,
    options: &'a CompileOptions,
    errors: Vec<Diagnostic>,
    warnings: &'a mut Vec<Diagnostic>,
}

/// What stands for a part with an error, so that checking goes on.
fn undefined(span: Span) -> Node {
    Node {
        op: Op::Undefined,
        ty: Type::Undefined,
        span,
    }
}

/// Whether an operand fits where a type is wanted; a body value fits all but the literal `undefined`.
fn fits(given: Type, wanted: Type) -> bool {
    given == wanted
        || given == Type::Query && wanted != Type::Undefined
        || wanted == Type::Query && given != Type::Undefined
}

impl Checker<'_> {
    fn strict(&self) -> bool {
        self.options.mode == Mode::Strict
    }

    fn error(&mut self, span: Span, code: DiagnosticCode, message: impl Into<String>) {
        self.errors
            .push(Diagnostic::new(self.text, span, code, message));
    }

    /// Warnings say what compat mode does in silence; strict mode does not do it.
    fn warn(&mut self, span: Span, code: DiagnosticCode, message: impl Into<String>) {
        if !self.strict() {
            self.warnings
                .push(Diagnostic::new(self.text, span, code, message));
        }
    }

    fn visit(&mut self, expr: &Expr) -> Node {
        let (op, ty) = match &expr.kind {
            ExprKind::Bool(b) => (Op::Bool(*b), Type::Bool),
            ExprKind::Num(n) => (Op::Num(*n), Type::Num),
            ExprKind::Str(s) => (Op::Str(s.as_str().into()), Type::Str),
            ExprKind::Null => (Op::Null, Type::Null),
            ExprKind::Undefined => (Op::Undefined, Type::Undefined),
            ExprKind::App(name) => {
                self.warn_operator(name, expr.span);
                (Op::App(name.as_str().into()), Type::Str)
            }
            ExprKind::Dollar { name, escaped } => self.dollar(name, *escaped, expr.span),
            ExprKind::Call { name, args } => self.call(*name, args),
            ExprKind::Negate(op, inner) => self.negate(*op, inner),
            ExprKind::Not(op, inner) => self.not(*op, inner),
            ExprKind::Binary(op, span, pair) => self.binary(*op, *span, pair),
            ExprKind::Logic(op, first, rest) => self.logic(*op, first, rest),
            ExprKind::Fault(fault) => {
                self.error(fault.span, fault.code, fault.message.clone());
                // An unterminated string is still one.
                let ty = match fault.code {
                    DiagnosticCode::UnterminatedString => Type::Str,
                    _ => Type::Undefined,
                };
                (Op::Undefined, ty)
            }
        };
        Node {
            op,
            ty,
            span: expr.span,
        }
    }

    /// `$name`: a body query, or a system property; an application property of that name goes first
    /// unless it is escaped.
    fn dollar(&mut self, name: &str, escaped: bool, span: Span) -> (Op, Type) {
        let over = (!escaped).then(|| format!("${name}").into_boxed_str());
        if self.strict() {
            return self.strict_dollar(name, over, span);
        }
        let brackets = name.contains(['[', ']']);
        let body =
            strip_prefix_ignoring_case(name, "body.").filter(|_| self.options.features.body_query);
        if let Some(path) = body {
            match BodyPath::compat(path) {
                Ok(path) => {
                    let op = Op::Body {
                        path,
                        over: over.filter(|_| !brackets),
                        reader: Reader::Compat,
                    };
                    return (op, Type::Query);
                }
                Err(why) => {
                    self.error(
                        span,
                        DiagnosticCode::BodyPath,
                        format!("body path `{path}`: {why}"),
                    );
                    // What an escaped or bracketed one leaves behind is the literal `undefined`.
                    return (
                        Op::Undefined,
                        if escaped || brackets {
                            Type::Undefined
                        } else {
                            Type::Str
                        },
                    );
                }
            }
        }
        if brackets {
            return (Op::Undefined, Type::Undefined);
        }
        self.warn_operator(name, span);
        let op = Op::System {
            name: name.into(),
            over,
        };
        (op, Type::Str)
    }

    fn strict_dollar(&mut self, name: &str, over: Option<Box<str>>, span: Span) -> (Op, Type) {
        let body = strip_prefix_ignoring_case(name, "body")
            .filter(|p| p.is_empty() || p.starts_with(['.', '[']));
        if let Some(path) = body {
            return match BodyPath::strict(path) {
                Ok(path) => {
                    let op = Op::Body {
                        path,
                        over,
                        reader: Reader::Strict,
                    };
                    (op, Type::Query)
                }
                Err(why) => {
                    self.error(
                        span,
                        DiagnosticCode::BodyPath,
                        format!("body path `${name}`: {why}"),
                    );
                    (Op::Undefined, Type::Query)
                }
            };
        }
        // `$['x-y']`: any name.
        let quoted = name
            .strip_prefix('[')
            .and_then(|n| n.strip_suffix(']'))
            .filter(|n| n.starts_with(['\'', '"']));
        let name = match quoted {
            Some(quoted) => crate::literal::string(quoted, Mode::Strict),
            None if name.contains(['[', ']']) => {
                let message = format!(
                    "`${name}` is a property, not a body path; only $body takes brackets after a name"
                );
                self.error(span, DiagnosticCode::BodyPath, message);
                return (Op::Undefined, Type::Str);
            }
            None => name.to_owned(),
        };
        let op = Op::System {
            over: over.map(|_| format!("${name}").into()),
            name: name.into(),
        };
        (op, Type::Str)
    }

    fn negate(&mut self, op: Span, inner: &Expr) -> (Op, Type) {
        let node = self.visit(inner);
        match node.ty {
            Type::Num => match node.op {
                Op::Num(n) => (Op::Num(-n), Type::Num),
                _ => (Op::Negate(Box::new(node)), Type::Num),
            },
            Type::Query if self.strict() => (Op::Negate(Box::new(node)), Type::Query),
            Type::Query => {
                let message = format!(
                    "`-` does not take body values: write 0 - {}",
                    inner.span.of(self.text)
                );
                self.error(op, DiagnosticCode::Operands, message);
                (Op::Undefined, Type::Undefined)
            }
            _ => {
                let message = format!(
                    "{}, `-` takes a number{}",
                    self.describe(&node),
                    self.as_number_hint(&node)
                );
                self.error(op, DiagnosticCode::Operands, message);
                (Op::Undefined, Type::Undefined)
            }
        }
    }

    fn not(&mut self, op: Span, inner: &Expr) -> (Op, Type) {
        let node = self.visit(inner);
        match node.ty {
            Type::Null | Type::Bool | Type::Query => (Op::Not(Box::new(node)), Type::Bool),
            _ => {
                let message = format!(
                    "{}, NOT takes a bool: it binds tighter than comparisons, so write NOT (… = …)",
                    self.describe(&node)
                );
                self.error(op, DiagnosticCode::Operands, message);
                (Op::Undefined, Type::Undefined)
            }
        }
    }

    fn binary(&mut self, op: BinaryOp, span: Span, pair: &[Expr; 2]) -> (Op, Type) {
        let [left, right] = pair.each_ref().map(|e| self.visit(e));
        let query = left.ty == Type::Query || right.ty == Type::Query;
        let arith = match op {
            BinaryOp::Mul => Some(Arith::Mul),
            BinaryOp::Div => Some(Arith::Div),
            BinaryOp::Mod => Some(Arith::Mod),
            BinaryOp::Add => Some(Arith::Add),
            BinaryOp::Sub => Some(Arith::Sub),
            _ => None,
        };
        let wanted = match (arith, op) {
            (Some(_), _) => Type::Num,
            (_, BinaryOp::Concat) => Type::Str,
            _ => left.ty,
        };
        if !fits(left.ty, wanted) || !fits(right.ty, wanted) {
            let message = self.operand_fault(op, span, &left, &right);
            self.error(span, DiagnosticCode::Operands, message);
            return (Op::Undefined, Type::Undefined);
        }
        if let Some(arith) = arith {
            if arith == Arith::Mod && query && !self.strict() {
                self.error(
                    span,
                    DiagnosticCode::Operands,
                    "`%` does not take body values",
                );
                return (Op::Undefined, Type::Undefined);
            }
            let nan = match query && !self.strict() {
                true => NotANumber::Kept,
                false => NotANumber::Undefined,
            };
            return (
                Op::Arith(arith, nan, Box::new([left, right])),
                if query { Type::Query } else { Type::Num },
            );
        }
        match op {
            BinaryOp::Concat => (Op::Concat(Box::new([left, right])), Type::Str),
            BinaryOp::Coalesce => {
                let ty = if query { Type::Query } else { left.ty };
                (Op::Coalesce(Box::new([left, right])), ty)
            }
            _ => {
                if query {
                    self.warn_absent(op, span, &left, &right);
                }
                let rule = match (query, self.options.mode) {
                    (false, _) => Rule::Static,
                    (true, Mode::Compat) => Rule::Ranked,
                    (true, Mode::Strict) => Rule::Kinds,
                };
                (Op::Compare(op, rule, Box::new([left, right])), Type::Bool)
            }
        }
    }
}

//! What compat mode does in silence and strict mode does not.

use super::Checker;
use crate::diagnostic::{DiagnosticCode, Span};
use crate::ir::Node;
use crate::lexer::HYPHENATED;
use crate::syntax::BinaryOp;
use crate::value::Type;

impl Checker<'_> {
    pub(super) fn warn_operator(&mut self, name: &str, span: Span) {
        let sign = name.char_indices().find(|&(i, c)| match c {
            '+' | '*' | '%' | '|' | '\'' => true,
            '-' => i + 1 < name.len(),
            '!' => i + 1 == name.len() || i == 0,
            _ => false,
        });
        if let Some((_, sign)) = sign.filter(|_| {
            !HYPHENATED
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name))
        }) {
            let message = format!(
                "`{name}` is read as one property name; if `{sign}` is meant as an operator, put blanks around it"
            );
            self.warn(span, DiagnosticCode::OperatorInName, message);
        }
    }

    /// Comparisons that hold for an absent body value, which counts as null, the highest kind.
    pub(super) fn warn_absent(&mut self, op: BinaryOp, span: Span, left: &Node, right: &Node) {
        let fires = match op {
            BinaryOp::Gt | BinaryOp::Ge => left.ty == Type::Query,
            BinaryOp::Lt | BinaryOp::Le => right.ty == Type::Query,
            BinaryOp::Ne => true,
            _ => false,
        };
        let null = left.ty == Type::Null || right.ty == Type::Null;
        if fires && !null {
            self.warn(
                span,
                DiagnosticCode::AbsentCompares,
                format!(
                    "this `{}` is true when the body has no such value: a missing one counts as null, which ranks above numbers and strings",
                    span.of(self.text)
                ),
            );
        }
    }
}

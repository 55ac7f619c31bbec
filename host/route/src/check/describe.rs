//! Words for operands that do not fit.

use super::Checker;
use crate::diagnostic::Span;
use crate::ir::{Node, Op};
use crate::syntax::BinaryOp;
use crate::value::Type;

impl Checker<'_> {
    /// "property `key2` is a string", "`3 + 4` is a number".
    pub(super) fn describe(&self, node: &Node) -> String {
        let text = node.span.of(self.text);
        let what = match node.op {
            Op::App(_) => "property ",
            Op::System { .. } => "system property ",
            _ => "",
        };
        match node.ty {
            Type::Null => format!("`{text}` is null"),
            Type::Undefined => format!("`{text}` has no value"),
            ty => format!("{what}`{text}` is a {ty}"),
        }
    }

    /// The way out where text is given and a number wanted.
    pub(super) fn as_number_hint(&self, node: &Node) -> String {
        match node.ty {
            Type::Str => format!(": write as_number({})", node.span.of(self.text)),
            _ => String::new(),
        }
    }

    /// What is wrong with the operands of a binary operator.
    pub(super) fn operand_fault(
        &self,
        op: BinaryOp,
        span: Span,
        left: &Node,
        right: &Node,
    ) -> String {
        let sign = span.of(self.text);
        match op {
            BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Add | BinaryOp::Sub => {
                let wrong = if super::fits(left.ty, Type::Num) {
                    right
                } else {
                    left
                };
                let hint = match (op, wrong.ty) {
                    (BinaryOp::Add, Type::Str) if left.ty == right.ty => {
                        ": strings are joined with ||".to_owned()
                    }
                    _ => self.as_number_hint(wrong),
                };
                format!("{}, `{sign}` takes numbers{hint}", self.describe(wrong))
            }
            BinaryOp::Concat => {
                let wrong = if super::fits(left.ty, Type::Str) {
                    right
                } else {
                    left
                };
                format!("{}, `{sign}` joins strings", self.describe(wrong))
            }
            _ => {
                // The side that is text is the one to change.
                let (named, other) = match (left.ty, right.ty) {
                    (_, Type::Str) => (right, left),
                    _ => (left, right),
                };
                let verb = if op == BinaryOp::Coalesce {
                    "replaces"
                } else {
                    "compares"
                };
                let with = match other.ty {
                    Type::Null => "null".to_owned(),
                    Type::Undefined => "undefined".to_owned(),
                    ty => format!("a {ty}"),
                };
                let text = named.span.of(self.text);
                let hint = match (named.ty, other.ty) {
                    _ if op == BinaryOp::Coalesce => {
                        ": both sides must be of one type, and ?? binds weaker than all else"
                            .to_owned()
                    }
                    (Type::Str, Type::Num) => format!(": write as_number({text})"),
                    (Type::Str, Type::Bool) => match other.op {
                        Op::Bool(b) => format!(": write {text} {sign} '{b}'"),
                        _ => String::new(),
                    },
                    (_, Type::Null) => format!(": write is_null({text})"),
                    (_, Type::Undefined) => format!(": write is_defined({text})"),
                    _ => String::new(),
                };
                format!(
                    "{}, `{sign}` {verb} it with {with}{hint}",
                    self.describe(named)
                )
            }
        }
    }
}

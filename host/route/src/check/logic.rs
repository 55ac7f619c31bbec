//! AND and OR: what may stand on which side, and by which rule operands join.

use super::Checker;
use crate::diagnostic::{DiagnosticCode, Span};
use crate::ir::{LogicRule, Node, Op};
use crate::mode::Mode;
use crate::syntax::{Expr, LogicOp};
use crate::value::Type;

impl Checker<'_> {
    /// A chain folds from the left: each operand is checked against what all before it come to.
    pub(super) fn logic(&mut self, op: LogicOp, first: &Expr, rest: &[(Span, Expr)]) -> (Op, Type) {
        let first = self.visit(first);
        let (mut ty, mut nodes) = (first.ty, vec![(LogicRule::ThreeValued, first)]);
        for (span, expr) in rest {
            let right = self.visit(expr);
            ty = self.join(op, *span, ty, &nodes, &right);
            let query = nodes.len() == 1 && nodes[0].1.ty == Type::Query || right.ty == Type::Query;
            let rule = match (query, self.options.mode) {
                (true, Mode::Compat) => LogicRule::BothBools,
                _ => LogicRule::ThreeValued,
            };
            nodes.push((rule, right));
        }
        (Op::Logic(op, nodes), ty)
    }

    /// The type of `left AND right`; an error leaves undefined.
    fn join(
        &mut self,
        op: LogicOp,
        span: Span,
        left: Type,
        nodes: &[(LogicRule, Node)],
        right: &Node,
    ) -> Type {
        let takes = |ty| matches!(ty, Type::Null | Type::Bool | Type::Undefined);
        let strict = self.strict();
        let left_ok = takes(left) || left == Type::Query;
        // Compat lets anything stand to the right of a body value, and no body value there else.
        let right_ok = takes(right.ty)
            || match strict {
                true => right.ty == Type::Query,
                false => left == Type::Query,
            };
        let name = op.text();
        if !left_ok || !right_ok {
            let message = if right.ty == Type::Query && left_ok {
                format!("{name} takes a body value on the left only: swap the operands of {name}")
            } else {
                let wrong = match nodes {
                    [(_, node)] if !left_ok => node,
                    _ => right,
                };
                let hint = match wrong.ty {
                    Type::Str => {
                        format!(": compare it, as in {} = 'true'", wrong.span.of(self.text))
                    }
                    _ => String::new(),
                };
                format!("{}, {name} takes bools{hint}", self.describe(wrong))
            };
            self.error(span, DiagnosticCode::Operands, message);
            return Type::Undefined;
        }
        match (left, right.ty) {
            (Type::Null, Type::Null) => Type::Null,
            (Type::Null, Type::Undefined | Type::Query)
            | (Type::Undefined | Type::Query, Type::Null)
                if !strict =>
            {
                let message = format!(
                    "{name} does not join the literal null with `undefined` or a body value"
                );
                self.error(span, DiagnosticCode::Operands, message);
                Type::Undefined
            }
            (Type::Null, _) | (_, Type::Null) if op == LogicOp::And => Type::Null,
            _ => Type::Bool,
        }
    }
}
